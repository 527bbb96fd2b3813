/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DATAPLANE_FRAME_H
#define DATAPLANE_FRAME_H

/*
 * What a TCP stream carries (RFC 9329 s3): whoever opened it first says who it is, then each message of
 * both sides has its length before it, that of the length itself included:
 *
 *	"IKETCP" | be16 length | ESP packet, or four zero bytes and an IKE message | be16 length | ...
 *
 * A length that cannot be leaves no way to find the next one: the stream ends there.
 */

#include <stddef.h>
#include <stdint.h>

#define FRAME_PREFIX	 "IKETCP" /* RFC 9329 s4, without the NUL */
#define FRAME_PREFIX_LEN 6
#define FRAME_HEAD	 2
#define FRAME_MAX	 65535 /* with its length */

enum frame_word {
	FRAME_PART,  /* not all of it is there */
	FRAME_WHOLE, /* *len bytes of payload at FRAME_HEAD; none: a keepalive */
	FRAME_BROKEN,
};

/**
 * frame_next() - Is the first frame of @have bytes at @p there? One of more than @max bytes (with its
 * length) is broken, before it is waited for.
 */
enum frame_word frame_next(const uint8_t *p, size_t have, size_t max, size_t *len);
/** frame_prefix() - Of a stream's first @have bytes: FRAME_WHOLE when it begins as it has to. */
enum frame_word frame_prefix(const uint8_t *p, size_t have);
/** frame_head() - The length before a payload of @len bytes. */
static inline void frame_head(uint8_t *p, size_t len)
{
	p[0] = (uint8_t)((len + FRAME_HEAD) >> 8);
	p[1] = (uint8_t)(len + FRAME_HEAD);
}

#endif
