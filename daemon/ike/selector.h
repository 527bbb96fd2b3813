/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef IKE_SELECTOR_H
#define IKE_SELECTOR_H

/*
 * Theory: traffic selectors (RFC 7296 s3.13, s2.9): ranges of addresses and ports. For ICMP
 * the "ports" are type << 8 | code (RFC 4301 s4.4.1.1). 0..65535 is ANY; 65535..0 is OPAQUE: port not
 * visible (fragments). ANY contains OPAQUE; OPAQUE meets a true range nowhere.
 */

#include "addr.h"
#include "message.h"

#define TS_MAX	   64 /* kept from one payload; further ones are dropped, which narrows */
#define TS_STR_MAX 128

struct ts {
	uint8_t proto; /* IP protocol; 0: any */
	uint16_t port_lo, port_hi;
	struct addr lo, hi; /* same family */
};

struct ts_list {
	unsigned count;
	unsigned skipped; /* of unknown type, unusable, or over TS_MAX */
	struct ts ts[TS_MAX];
};

/** ts_parse() - Body of TSi or TSr; unusable selectors are skipped. 0 or -EBADMSG (framing). */
int ts_parse(struct span body, struct ts_list *out);
/** ts_add() - @pld is PLD_TSI or PLD_TSR. */
void ts_add(struct ike_build *b, uint8_t pld, const struct ts_list *l);

/** ts_from_prefix() - All protocols and ports of a prefix. */
struct ts ts_from_prefix(const struct prefix *p);
/** ts_to_prefix() - The smallest prefix that covers the range; true when it is exactly the range. */
bool ts_to_prefix(const struct ts *t, struct prefix *out);
/** ts_append() - Unless full: -ENOSPC. */
int ts_append(struct ts_list *l, const struct ts *t);
/** ts_intersect() - What lies in both; false: nothing. */
bool ts_intersect(const struct ts *a, const struct ts *b, struct ts *out);
/** ts_covers() - Is all of @inner within @outer? */
bool ts_covers(const struct ts *outer, const struct ts *inner);
bool ts_equal(const struct ts *a, const struct ts *b);
/** ts_list_covers() - Is each of @inner within one of @outer? */
bool ts_list_covers(const struct ts_list *outer, const struct ts_list *inner);
bool ts_list_equal(const struct ts_list *a, const struct ts_list *b);
/**
 * ts_narrow() - The responder's answer (s2.9): every intersection of an offered selector with one of
 * ours, in the order of the offer, without those that another covers.
 * 0, -ENOENT (TS_UNACCEPTABLE). @out may not be one of the inputs.
 */
int ts_narrow(const struct ts_list *offered, const struct ts_list *ours, struct ts_list *out);
/**
 * ts_match() - Does a packet belong? @port: of this end, or type << 8 | code; -1: not visible.
 */
bool ts_match(const struct ts_list *l, const struct addr *a, uint8_t proto, int port);
/** ts_str() - "10.0.0.0/8[tcp/25]", "10.0.0.1-10.0.0.9"; returns @out. */
const char *ts_str(const struct ts *t, char out[static TS_STR_MAX]);
const char *ts_list_str(const struct ts_list *l, char *out, size_t cap);

#endif
