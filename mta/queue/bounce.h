/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_QUEUE_BOUNCE_H
#define MTA_QUEUE_BOUNCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config.h"
#include "envelope.h"

#define BOUNCE_BODY_MAX	   (60 * 1024)
#define BOUNCE_HEADERS_MAX (16 * 1024) /* of the original header section */

/**
 * bounce_wanted() - Does the sender get a DSN for this recipient?
 *
 * Never for the null sender, our own bounces, NOTIFY=NEVER or a NOTIFY without FAILURE. Else by
 * the route's policy; below "all" and "verified" only to senders who are ours: the letter began
 * here, was authenticated, or came over the tunnel, and the address is in a domain of ours.
 * (A letter from here with a foreign sender address is an outsider's: forwarded mail.)
 */
bool bounce_wanted(const struct mta_config *c, const struct mta_route *route,
		   const struct envelope *e, const struct env_rcpt *r);

struct bounce_text {
	const char *hostname;
	const uint8_t *headers; /* beginning of the original letter */
	size_t headers_len;
	int64_t now_s; /* wall clock, for Date */
	uint8_t id[LETTER_ID_LEN];
};

/**
 * bounce_build() - Text of a DSN (RFC 3464), header section of the original only.
 * @e: the original; of its recipients those in @which (indices) are told about.
 * @count: in: how many; out: how many found room; call again for the rest with a new id.
 *
 * Returns the length, or 0 when @out is too small for even one.
 */
size_t bounce_build(const struct bounce_text *t, const struct envelope *e, const uint16_t *which,
		    size_t *count, uint8_t out[static BOUNCE_BODY_MAX]);

#endif
