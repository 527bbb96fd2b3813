/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_ROUTE_H
#define MTA_ROUTE_H

/*
 * Theory: the route of a recipient follows from the envelope's facts and the configuration, and is
 * computed anew at each try: a repaired configuration reaches letters that already wait. The rules are
 * asked by the same code as smtpd asks them (policy/ruleset.h). A struct mta_route is policy without
 * state; the state of next hops lives in the queue.
 */

#include <stddef.h>
#include <stdint.h>

#include "config.h"
#include "envelope.h"

#define ROUTE_HOP_MAX 320 /* NUL included */

/**
 * route_choose() - The way of one recipient.
 *
 * The route of the first rule that accepts and names one; else by domain: our own ([deliver]),
 * a home's, a route's own, "*". A recipient without a domain (postmaster) is our own. NULL: the
 * configuration has no way; the letter is held and the admin told, never bounced for it.
 * A report on a probe goes to the tunnel peer @e->peer, by no rule and no domain.
 */
const struct mta_route *route_choose(const struct mta_config *c, const struct envelope *e,
				     const char *rcpt);
/**
 * route_next_hop() - What letters of a route must share to use one session: the key of the state.
 *
 * MX: the recipient's domain; TUNNEL: the peer; SMARTHOST, LMTP: the first address; DELIVER: "local".
 * Lower case, a domain as domain_spell() has it; returns @out.
 */
const char *route_next_hop(const struct mta_route *r, const char *rcpt,
			   char out[static ROUTE_HOP_MAX]);
/** route_wait_ms() - Wait after the @failures-th failure (1..); @random spreads it by the jitter. */
uint64_t route_wait_ms(const struct mta_schedule *s, uint32_t failures, uint32_t random);
/** route_domain() - After the last '@', or "" when there is none; points into @address. */
const char *route_domain(const char *address);

#endif
