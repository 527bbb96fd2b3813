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

/** bounce_date() - RFC 5322 s3.3, in UTC; returns @out. */
const char *bounce_date(int64_t s, char out[static 64]);
/**
 * bounce_one_line() - What a next hop said, or NULL, fit for a header field: one line, no controls, and
 * bounded; returns @out.
 */
const char *bounce_one_line(const char *s, char out[static 512]);

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
/**
 * bounce_delay_wanted() - Is the sender told that this recipient's letter waits? As bounce_wanted(), with
 * DELAY for FAILURE in a NOTIFY.
 */
bool bounce_delay_wanted(const struct mta_config *c, const struct mta_route *route,
			 const struct envelope *e, const struct env_rcpt *r);

/**
 * bounce_success_wanted() - Is the sender told that it arrived? Only who asked by NOTIFY=SUCCESS; else as
 * bounce_wanted().
 */
bool bounce_success_wanted(const struct mta_config *c, const struct mta_route *route,
			   const struct envelope *e, const struct env_rcpt *r);

/* Action of RFC 3464 s2.3.3. */
enum dsn_kind {
	DSN_FAILED,
	DSN_DELAYED,
	DSN_DELIVERED,
	DSN_RELAYED,
	DSN_PROBED /* it ended before the mailbox */
};

struct bounce_text {
	enum dsn_kind kind;
	const char *hostname;
	const uint8_t *headers; /* beginning of the original letter */
	size_t headers_len;
	int64_t now_s;	 /* wall clock, for Date */
	int64_t until_s; /* DSN_DELAYED: wall clock, they are given up then */
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
