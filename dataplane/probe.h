/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DATAPLANE_PROBE_H
#define DATAPLANE_PROBE_H

/*
 * What a dummy of ours carries. RFC 4303 s2.6 lets the plaintext of a dummy be anything, and the
 * receiver discards it; between Posterns a probe begins with a mark and a token:
 *
 *	"PSTNprb1" | length of the token | token | zeros
 */

#include <stddef.h>
#include <stdint.h>

struct esp_shape;

/**
 * probe_build() - Content of a dummy whose ESP packet has at most @udp_bytes (0: the smallest), with a
 * cipher of shape @s.
 * @token_len: 0 for a plain dummy. @out: @cap bytes. Returns the content's length.
 */
size_t probe_build(const struct esp_shape *s, const uint8_t *token, size_t token_len,
		   size_t udp_bytes, uint8_t *out, size_t cap);
/** probe_parse() - The token in a received dummy, and its length; 0 when there is none. */
size_t probe_parse(const uint8_t *content, size_t len, const uint8_t **token);

#endif
