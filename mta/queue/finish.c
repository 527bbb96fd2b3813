/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: how letters end. What tells the sender stands in the same journal record as the end (dsn.c).
 * What nobody is told of is kept as a dead letter, bounded, for the admin.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bounce.h"
#include "log.h"
#include "queue.h"
#include "way.h"

#define SWEEP_BAD_READS	    4	       /* at one look through all letters */
#define SWEEP_PENDING_BYTES (4u << 20) /* of records on their way to the disk */

static const struct mta_route *route_of(struct queue *q, const struct letter *l,
					const struct store_reading *r, size_t i)
{
	return way_route(q->ch->config, l->way, &r->env, r->env.rcpt[i].addr);
}

int finish_letter(struct queue *q, struct store_change *c, struct letter *l, bool dead)
{
	int rc = store_put_state(c, l, dead ? LETTER_DEAD : LETTER_GONE);
	char hex[LETTER_ID_STR_MAX];

	if (rc || !dead)
		return rc;
	history_note(q->history, HISTORY_DEAD, l->id, "kept for the admin");
	log_warn(NULL, "letter=%s msg=\"kept as a dead letter\"", letter_id_str(l->id, hex));
	counters_add(q->ch->counters, COUNTER_DEAD, NULL, 1);
	return 0;
}

/* Tells of @bad who wants to know; true: of somebody who ended badly nobody is told. */
static bool tell_bad(struct queue *q, struct store_change *c, struct letter *l, struct store_reading *r,
		     const uint16_t *bad, size_t count)
{
	static uint16_t tell[ENVELOPE_RCPTS_MAX];
	const struct mta_config *config = q->ch->config;
	bool untold = false;
	size_t n = 0;

	for (size_t i = 0; i < count; i++)
		if (bounce_wanted(config, route_of(q, l, r, bad[i]), &r->env, &r->env.rcpt[bad[i]]))
			tell[n++] = bad[i];
	for (size_t i = 0; i < l->rcpt_count; i++)
		untold |= l->rcpt[i].state == RCPT_EXPIRED ||
			  (l->rcpt[i].state == RCPT_FAILED &&
			   !bounce_wanted(config, route_of(q, l, r, i), &r->env, &r->env.rcpt[i]));
	return (n && dsn_send(q, c, l, r, tell, n, DSN_FAILED, 0)) || untold;
}

int finish_rcpts(struct queue *q, struct store_change *c, struct letter *l, const uint16_t *bad,
		 size_t count)
{
	struct store_reading r;
	bool dead, nobodys, ended = false;
	int rc;

	for (size_t i = 0; i < l->rcpt_count; i++)
		ended |= l->rcpt[i].state == RCPT_FAILED || l->rcpt[i].state == RCPT_EXPIRED;
	if (l->flags & ENV_PROBE) {
		probe_report(q, c, l, bad, count, DSN_FAILED);
		return l->open ? 0 : finish_letter(q, c, l, false);
	}
	if (!ended || (!count && l->open))
		return l->open ? 0 : finish_letter(q, c, l, false);
	rc = store_read(q->store, l, &r);
	if (rc == -ENOMEM)
		return rc;
	dead = true;
	nobodys = l->flags & ENV_BOUNCE;
	if (!rc) {
		dead = tell_bad(q, c, l, &r, bad, count);
		nobodys |= !r.env.sender[0];
		store_reading_clear(&r);
	} /* else there is nothing to quote from */
	if (l->open)
		return 0;
	/* An undeliverable bounce has served its time: never a bounce of it, nor a corpse. */
	dead = dead && (rc || !(l->flags & ENV_BOUNCE));
	rc = finish_letter(q, c, l, dead);
	if (!rc && dead && !nobodys)
		report_died(q, l);
	return rc;
}

int finish_success(struct queue *q, struct store_change *c, struct letter *l, const uint16_t *good,
		   size_t count, enum dsn_kind kind)
{
	uint16_t tell[FINISH_SLICE];
	struct store_reading r;
	size_t n = 0;
	int rc;

	if (l->flags & ENV_PROBE)
		probe_report(q, c, l, good, count, kind);
	if (!count || l->flags & (ENV_BOUNCE | ENV_PROBE))
		return 0;
	rc = store_read(q->store, l, &r);
	if (rc)
		return rc == -ENOMEM ? rc : 0; /* what cannot be read is not told of */
	for (size_t i = 0; i < count; i++)
		if (bounce_success_wanted(q->ch->config, route_of(q, l, &r, good[i]), &r.env,
					  &r.env.rcpt[good[i]]))
			tell[n++] = good[i];
	if (n)
		dsn_send(q, c, l, &r, tell, n, kind, 0);
	store_reading_clear(&r);
	return 0;
}

/* False: nothing of it has expired (any more). */
static bool expire(struct queue *q, struct letter *l, uint64_t uptime_s)
{
	uint16_t bad[FINISH_SLICE];
	uint64_t age = store_age(q->store, l);
	struct store_change *c = NULL;
	char hex[LETTER_ID_STR_MAX];
	size_t n = 0;
	int rc;

	for (size_t i = 0; i < l->rcpt_count && n < FINISH_SLICE; i++)
		if (l->rcpt[i].leg && schedule_expired(l->rcpt[i].leg, &l->rcpt[i], age, uptime_s))
			bad[n++] = (uint16_t)i;
	if (!n)
		return false;
	c = store_begin(q->store);
	if (!c || store_remember(c, l)) {
		store_cancel(c);
		return false;
	}
	for (size_t i = 0; i < n; i++) {
		struct counter_labels route = { .name = l->rcpt[bad[i]].leg->dest->route };

		counters_add(q->ch->counters, COUNTER_EXPIRED, &route, 1);
		history_rcpt(q->history, HISTORY_EXPIRED, l->id, bad[i], 0,
			     l->rcpt[bad[i]].attempts, "route=%s age_s=%llu", route.name,
			     (unsigned long long)age);
		store_put_rcpt(c, l, bad[i], RCPT_EXPIRED, l->rcpt[bad[i]].attempts, NULL);
	}
	log_warn(NULL, "letter=%s age_s=%llu rcpts=%zu msg=\"expired\"", letter_id_str(l->id, hex),
		 (unsigned long long)age, n);
	rc = finish_rcpts(q, c, l, bad, n);
	if (rc)
		store_cancel(c);
	else
		rc = store_commit(c, true, NULL);
	if (rc)
		log_err(NULL, "letter=%s msg=\"its end could not be written: it waits on\"",
			letter_id_str(l->id, hex));
	else if (l->state == LETTER_QUEUED)
		schedule_settle(q->schedule, l, loop_now_ms(q->loop));
	else
		schedule_remove(q->schedule, l);
	return !rc;
}

/*
 * A disk, or the way to it, may come back. A read that fails may take long: that is a turn of the loop, and few of them
 * are tried at one look, the longer one has failed the more rarely, and not all at the same one. What can be read goes
 * out before anybody asks how old it is.
 */
static size_t read_again(struct queue *q, struct letter *l)
{
	uint64_t each = 1ull << (l->bad_reads ? l->bad_reads - 1 : 0);
	int rc;

	if (q->sweep.bad >= SWEEP_BAD_READS || (q->sweep.number + l->seq) % each)
		return 0;
	rc = store_retry(q->store, l);
	if (!rc)
		attempt_reroute(q, l);
	if (!rc || rc == -EBUSY || rc == -ENOMEM)
		return 1;
	q->sweep.bad++;
	l->bad_reads += l->bad_reads < FINISH_BAD_READS;
	return QUEUE_SWEEP_ENDS;
}

/* @l and what its turn costs; all of it, so that it is not met again with a part. */
static size_t look(struct queue *q, struct letter *l)
{
	uint64_t uptime_s = (q->sweep.now_ms - q->started_ms) / 1000;
	size_t n = 0;

	if (l->unreadable)
		return l->state == LETTER_QUEUED ? read_again(q, l) : 0;
	if (schedule_misses(l)) {
		attempt_reroute(q, l);
		n++;
	}
	while (l->state == LETTER_QUEUED && l->legs && expire(q, l, uptime_s))
		n++;
	while (l->state == LETTER_QUEUED && l->legs && delay_letter(q, l))
		n++;
	return n;
}

/* Letters that are routed anew would be judged by routes that they have no more; a slow disk has enough to do. */
bool finish_waits(const struct queue *q)
{
	struct journal_stats st;

	store_journal_stats(q->store, &st);
	return q->rerouting || st.pending_bytes > SWEEP_PENDING_BYTES;
}

static void sweep(struct timer *t, uint64_t now_ms)
{
	struct queue *q = t->arg;
	size_t looks = 0, ends = 0;
	struct letter *l;

	if (finish_waits(q)) {
		timer_set(loop_timers(q->loop), t, now_ms + QUEUE_SWEEP_WAIT_MS);
		return;
	}
	for (; looks < QUEUE_SWEEP_LOOKS && ends < QUEUE_SWEEP_ENDS && (l = store_walk_next(&q->sweep.walk));
	     looks++)
		ends += look(q, l);
	q->sweep.on = store_walk_on(&q->sweep.walk) || dead_bound(q);
	if (q->sweep.on)
		timer_set(loop_timers(q->loop), t, now_ms);
}

void finish_expired(struct queue *q, uint64_t now_ms)
{
	if (q->sweep.on)
		return;
	q->sweep.timer.fire = sweep;
	q->sweep.timer.arg = q;
	store_walk_begin(q->store, &q->sweep.walk);
	q->sweep.now_ms = now_ms;
	q->sweep.number++;
	q->sweep.bad = 0;
	q->sweep.on = !timer_set(loop_timers(q->loop), &q->sweep.timer, loop_now_ms(q->loop));
}
