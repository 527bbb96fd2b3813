/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the end of an attempt means for its next hop, and when its recipients are tried again. */
#include "schedule_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROBE_MAX_MS	  10000
#define UNKNOWN_MAX_MS	  30000
#define LIMIT_PER_SESSION 32
#define MX_PER_SESSION	  2 /* one under way and one behind it: nothing is pipelined there */

static uint64_t doubling(uint64_t first, uint64_t max, uint32_t failures)
{
	for (uint32_t i = 1; i < failures && first < max; i++)
		first *= 2;
	return first < max ? first : max;
}

static void host_fault(struct schedule *s, struct dest *d, bool probe, const char *text,
		       uint64_t now_ms)
{
	uint64_t wait;

	snprintf(d->fault, sizeof(d->fault), "%s", text ? text : "");
	backup_fails(d, now_ms);
	d->limit = SCHEDULE_LIMIT_FIRST;
	/* Many attempts tell of the same event: the first counts, later only probes do. */
	if (!d->policy || d->state == DEST_DOWN || d->state == DEST_HELD ||
	    (d->state != DEST_UP && !probe))
		return;
	d->failures++;
	if (!dest_is_tunnel(d)) {
		wait = route_wait_ms(&d->policy->schedule, d->failures,
				     (uint32_t)hash_bytes(&now_ms, sizeof(now_ms)));
		wait = backup_patience(d, wait);
		dest_enter(d, DEST_PROBING,
			   now_ms + (wait < PROBE_FIRST_MS ? PROBE_FIRST_MS : wait), text);
	} else if (dest_tunnel(s, d) == TUNNEL_UNKNOWN) {
		wait = doubling(UNKNOWN_FIRST_MS, UNKNOWN_MAX_MS, d->failures);
		dest_enter(d, DEST_UNKNOWN, now_ms + wait, text);
	} else {
		wait = doubling(PROBE_FIRST_MS, PROBE_MAX_MS, d->failures);
		dest_enter(d, DEST_PROBING, now_ms + wait, text);
	}
}

void schedule_host(struct schedule *s, struct leg *g, const struct msg_r_result *r, bool fault,
		   bool worked, const char *text, uint64_t now_ms)
{
	struct dest *d = g->dest;
	uint32_t max = d->policy && d->policy->sessions_max ? d->policy->sessions_max : 1;

	max *= d->policy && d->policy->kind == ROUTE_MX ? MX_PER_SESSION : LIMIT_PER_SESSION;

	if (r)
		family_note(d, r, now_ms);
	if (worked && d->policy && d->state != DEST_DOWN && d->state != DEST_HELD) {
		d->failures = 0;
		d->fault[0] = 0;
		backup_works(s, d);
		if (d->state != DEST_UP)
			dest_enter(d, DEST_UP, 0, "next hop answers");
		d->limit = d->limit * 2 < max ? d->limit * 2 : max;
	}
	if (fault)
		host_fault(s, d, leg_probed(g), text, now_ms);
	turn_touch(s, d);
}

/* The tunnel went and came while it was under way: it is still the oldest, and goes first. */
static bool cut_off(const struct leg *g)
{
	const struct dest *d = g->dest;

	return dest_is_tunnel(d) && d->state == DEST_UP &&
	       leg_launched_ms(g) < d->ups_ms[SCHEDULE_FLAPS - 1];
}

struct schedule_verdict schedule_rcpt(struct schedule *s, struct leg *g, uint16_t index,
				      const struct msg_r_rcpt_result *res, uint32_t random,
				      uint64_t now_ms)
{
	struct letter_rcpt *r = &g->letter->rcpt[index];
	struct schedule_verdict v = { RCPT_PENDING, false };
	const struct mta_route *p = g->dest->policy;
	uint64_t wait;

	r->flying = false;
	switch (res->result) {
	case RCPT_RES_DELIVERED:
		return (struct schedule_verdict){ RCPT_DELIVERED, true };
	case RCPT_RES_PERMFAIL:
		if (res->scope != SCOPE_HOST)
			return (struct schedule_verdict){ RCPT_FAILED, true };
		/* A host that turns everybody away says nothing about this letter. */
		v.charged = !dest_is_tunnel(g->dest);
		break;
	case RCPT_RES_TEMPFAIL:
		v.charged = res->scope != SCOPE_HOST || !dest_is_tunnel(g->dest);
		if (res->scope == SCOPE_HOST)
			break;
		wait = p ? route_wait_ms(&p->schedule, r->attempts + 1u, random) : 60000;
		r->next_s = (uint32_t)((now_ms + wait + 999) / 1000);
		break;
	default:
		/* Not reached. If the dest stays open the relay had its own reason: no tight loop. */
		if (cut_off(g))
			break;
		if (g->dest->state == DEST_UP)
			r->next_s = (uint32_t)(now_ms / 1000 + 1);
		else if (g->dest->until_ms <= now_ms)
			g->dest->until_ms = now_ms + UNKNOWN_FIRST_MS;
		turn_touch(s, g->dest);
		break;
	}
	return v;
}

void schedule_landed(struct schedule *s, struct leg *g, uint64_t now_ms)
{
	struct dest *d = g->dest;
	uint16_t open = 0;

	for (size_t i = 0; i < g->letter->rcpt_count; i++) {
		struct letter_rcpt *r = &g->letter->rcpt[i];

		if (r->leg != g)
			continue;
		r->flying = false;
		open += r->state == RCPT_PENDING;
	}
	g->open = open;
	g->flying = false;
	d->flying--;
	s->flying--;
	s->mx_flying -= g->mx;
	turn_share(s);
	turn_touch(s, d);
	if (open)
		leg_queue(s, g, now_ms);
	else
		leg_drop(s, g, false);
}

void schedule_lost(struct schedule *s, struct letter *l, uint64_t now_ms)
{
	struct leg *g, *next;

	for (g = l->legs; g; g = next) {
		next = g->next;
		if (g->flying)
			schedule_landed(s, g, now_ms);
	}
}

bool schedule_expired(const struct leg *g, const struct letter_rcpt *r, uint64_t age_s,
		      uint64_t uptime_s)
{
	const struct mta_route *p = g->dest->policy;

	if (!p || r->flying || r->state != RCPT_PENDING || age_s * 1000 < p->ttl_ms)
		return false;
	return r->attempts || uptime_s >= SCHEDULE_EXPIRE_UP_S;
}
