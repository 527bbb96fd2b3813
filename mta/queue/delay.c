/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: a letter that waits for longer than its route's delay-warning is told of to its sender, once
 * (RFC 3461 s4.1, RFC 3464 s2.3.3). Recipients of one route go into one notice: their time is over at
 * the same moment. That they were told of stands in the journal beside the notice, so it comes once
 * across restarts too. Whom nobody tells is marked in memory alone, not to be looked at each minute.
 * What the admin holds quietly is not told of while he does; after that it is, if it still waits.
 */
#include <errno.h>

#include "bounce.h"
#include "log.h"
#include "queue.h"

static const struct mta_route *route_of(const struct letter_rcpt *r)
{
	return r->leg ? r->leg->dest->policy : NULL;
}

static bool late(const struct letter_rcpt *r, uint64_t age_s)
{
	const struct mta_route *p = route_of(r);

	return p && p->delay_warning_ms && !r->told && !r->flying && r->state == RCPT_PENDING &&
	       age_s * 1000 >= p->delay_warning_ms && !r->leg->dest->quiet;
}

/* Of one route, FINISH_SLICE at most; all are marked. */
static size_t take_late(struct letter *l, uint64_t age_s, uint16_t *which,
			const struct mta_route **route)
{
	size_t n = 0;

	*route = NULL;
	for (uint16_t i = 0; i < l->rcpt_count && n < FINISH_SLICE; i++) {
		struct letter_rcpt *r = &l->rcpt[i];

		if (!late(r, age_s) || (*route && *route != route_of(r)))
			continue;
		*route = route_of(r);
		r->told = true;
		which[n++] = i;
	}
	return n;
}

/* False: it could not be written, so nobody is told yet. */
static bool tell(struct queue *q, struct letter *l, const struct store_reading *r,
		 const uint16_t *which, size_t n, uint64_t waits_s)
{
	struct store_change *c = store_begin(q->store);
	char hex[LETTER_ID_STR_MAX];
	int rc = c ? store_put_told(c, l, which, n) : -ENOMEM;

	if (!rc) {
		dsn_send(q, c, l, r, which, n, DSN_DELAYED, waits_s);
		rc = store_commit(c, true, NULL);
	} else {
		store_cancel(c);
	}
	if (rc)
		log_err(NULL, "letter=%s msg=\"that it is delayed could not be written\"",
			letter_id_str(l->id, hex));
	for (size_t i = 0; rc && i < n; i++)
		l->rcpt[which[i]].told = false;
	return !rc;
}

bool delay_letter(struct queue *q, struct letter *l)
{
	uint64_t age_s = store_age(q->store, l), ttl_s;
	uint16_t which[FINISH_SLICE];
	const struct mta_route *p;
	struct store_reading r;
	size_t count = take_late(l, age_s, which, &p), n = 0;
	bool told = true;

	if (!count)
		return false;
	if (l->flags & (ENV_BOUNCE | ENV_PROBE) || l->unreadable || store_read(q->store, l, &r))
		return true;
	for (size_t i = 0; i < count; i++)
		if (bounce_delay_wanted(q->ch->config, p, &r.env, &r.env.rcpt[which[i]]))
			which[n++] = which[i];
	ttl_s = p->ttl_ms / 1000;
	if (n)
		told = tell(q, l, &r, which, n, ttl_s > age_s ? ttl_s - age_s : 1);
	store_reading_clear(&r);
	return told;
}
