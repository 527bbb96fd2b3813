/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef IKE_SK_H
#define IKE_SK_H

/*
 * Encrypted payloads: SK (RFC 7296 s3.14) and SKF (RFC 7383 s2.5). Both are last in their message; all
 * before the IV is additional authenticated data (RFC 5282 s5.1).
 */

#include "ike_aead.h"
#include "message.h"

/** sk_overhead() - Bytes that SK adds to an inner chain, at most, IKE header included. */
size_t sk_overhead(const struct ike_aead *a);
/**
 * sk_seal() - A whole protected message.
 * @h: next and length are filled in. @first, @inner: from ike_build_inner(); may be empty (0, NULL, 0).
 * @out: must not overlap @inner. 0, -EMSGSIZE, or what ike_aead_seal() gives.
 */
int sk_seal(struct ike_aead *a, const struct ike_hdr *h, uint8_t first, const void *inner,
	    size_t inner_len, uint8_t *out, size_t cap, size_t *len);
/**
 * sk_open() - Verify and decrypt the SK or SKF payload of a message that ike_msg_parse() accepted.
 * @plain: takes the inner chain (SK) or this fragment of it (SKF), padding removed.
 * m->raw is only read: several contexts can be tried on one datagram.
 * Returns 0, -ENOENT (no SK or SKF), -EBADMSG (lengths, padding), -EKEYREJECTED (ICV), -EMSGSIZE.
 */
int sk_open(struct ike_aead *a, const struct ike_msg *m, uint8_t *plain, size_t cap, size_t *len);

#endif
