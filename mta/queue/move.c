/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: the admin moves what waits on one route to another (way.h): a next hop is gone for long, or a
 * smarthost has to help out. All is noted in the journal first, in slices, one a turn of the loop; then letters
 * are routed anew, as after a reload, in pieces. What is under way lands first. What comes later goes by the
 * configuration, also what comes while that is noted.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "answer.h"
#include "log.h"
#include "way.h"

#define MOVE_SLICE 256 /* letters in one record */

/* @from NULL: by any route. */
static bool goes_by(const struct leg *g, const char *from)
{
	return *g->dest->route && (!from || !strcmp(g->dest->route, from));
}

static bool waits_on(const struct letter *l, const char *route)
{
	const struct leg *g = l->legs;

	while (g && !goes_by(g, route))
		g = g->next;
	return g;
}

/* It need not wait any longer: what it waited for was the other route. */
static void wake(struct letter *l, const char *from)
{
	for (size_t i = 0; i < l->rcpt_count; i++)
		if (l->rcpt[i].leg && goes_by(l->rcpt[i].leg, from))
			l->rcpt[i].next_s = 0;
}

/* What of @l goes by @from (NULL: by any route) goes by @to; 0, or -errno. */
static int mark(struct queue *q, struct store_change *c, struct letter *l, const char *from,
		const char *to, bool *any)
{
	char *way;
	int rc;

	*any = false;
	wake(l, from);
	rc = store_remember(c, l);
	for (struct leg *g = l->legs; g && !rc; g = g->next) {
		const char *now = g->dest->route;

		if (!goes_by(g, from) || !strcmp(now, to))
			continue;
		if (from && *any) /* one pair is enough for all its hosts */
			continue;
		way = way_move(q->ch->config, l->way, now, to);
		if (!way)
			return -ENOMEM;
		*any = true;
		rc = store_put_way(c, l, way);
	}
	return rc;
}

/* One record. @count: letters that now stand in the journal, or will. */
static int commit(struct answer_later *a, struct store_change *c, size_t in_record, size_t *count)
{
	int rc = answer_commit(a, c);

	*count += rc ? 0 : in_record;
	answer_so_far(a, *count, "moved so far, and the others follow");
	return rc;
}

static int move_letter(struct queue *q, struct answer_later *a, struct letter *l, const char *to,
		       size_t *count)
{
	struct store_change *c = store_begin(q->store);
	bool any = false;
	int rc = c ? mark(q, c, l, NULL, to, &any) : -ENOMEM;

	*count = !rc && !any; /* there already */
	if (rc || !any) {
		store_cancel(c);
		return rc;
	}
	rc = commit(a, c, 1, count);
	if (rc)
		return rc;
	history_note(q->history, HISTORY_MOVED, l->id, "to=%s", to);
	attempt_reroute(q, l);
	return 0;
}

/* What waits on one route, to another. */
struct move {
	struct timer timer;
	struct queue *q;
	struct store_walk walk;
	struct answer_later *answer;
	uint32_t id;
	uint64_t until_seq; /* what came later stays */
	size_t count;	    /* that stand in the journal, or will */
	char from[MTA_NAME_MAX], to[MTA_NAME_MAX];
};

static void answer(struct queue *q, struct answer_later *a, uint32_t id, size_t count, int rc)
{
	char why[160];

	snprintf(why, sizeof(why),
		 "it could not be written (%s): %zu letters are moved, the others are as they were",
		 rc == -ENOENT ? "a reload took the route away" : strerror(-rc), count);
	if (rc)
		answer_not(a, q, id, why);
	else
		answer_count(a, count, "moved; what comes later goes by mta.conf");
	attempt_pump(q);
}

static void end_route(struct move *m, int rc)
{
	struct queue *q = m->q;

	if (rc)
		log_err(NULL, "route=%s to=%s msg=\"a move could not be written: %s\"", m->from, m->to,
			strerror(-rc));
	if (m->count) {
		log_warn(NULL, "route=%s to=%s letters=%zu msg=\"moved by the admin\"", m->from, m->to,
			 m->count);
		queue_reroute(q);
	}
	q->move = NULL;
	store_walk_end(&m->walk);
	answer(q, m->answer, m->id, m->count, rc);
	free(m);
}

/* A turn's part of it. */
static int move_slice(struct move *m)
{
	struct store_change *c = NULL;
	struct queue *q = m->q;
	size_t in_record = 0;
	struct letter *l;
	bool any = false;
	int rc = 0;

	for (size_t looks = 0; looks < QUEUE_SWEEP_LOOKS && in_record < MOVE_SLICE && !rc; looks++) {
		l = store_walk_next(&m->walk);
		if (!l || l->seq >= m->until_seq) {
			store_walk_end(&m->walk);
			break;
		}
		if (l->state != LETTER_QUEUED || !waits_on(l, m->from))
			continue;
		c = c ? c : store_begin(q->store);
		rc = c ? mark(q, c, l, m->from, m->to, &any) : -ENOMEM;
		in_record += any;
	}
	if (in_record && !rc)
		return commit(m->answer, c, in_record, &m->count);
	store_cancel(c);
	return rc;
}

static void on_turn(struct timer *t, uint64_t now_ms)
{
	struct move *m = t->arg;
	struct queue *q = m->q;
	int rc = 0;

	if (finish_waits(q)) {
		timer_set(loop_timers(q->loop), t, now_ms + QUEUE_SWEEP_WAIT_MS);
		return;
	}
	if (!config_route(q->ch->config, m->from) || !config_route(q->ch->config, m->to))
		rc = -ENOENT;
	if (!rc)
		rc = move_slice(m);
	if (rc || !store_walk_on(&m->walk))
		end_route(m, rc);
	else
		timer_set(loop_timers(q->loop), t, now_ms);
}

static int begin_route(struct queue *q, struct answer_later *a, uint32_t id, const char *from,
		       const char *to)
{
	struct move *m = calloc(1, sizeof(*m));

	if (!m)
		return -ENOMEM;
	*m = (struct move){ .timer = { .fire = on_turn, .arg = m },
			    .q = q,
			    .answer = a,
			    .id = id,
			    .until_seq = store_next_seq(q->store) };
	snprintf(m->from, sizeof(m->from), "%s", from);
	snprintf(m->to, sizeof(m->to), "%s", to);
	if (timer_set(loop_timers(q->loop), &m->timer, loop_now_ms(q->loop))) {
		free(m);
		return -ENOMEM;
	}
	store_walk_begin(q->store, &m->walk);
	q->move = m;
	return 0;
}

void move_run(struct queue *q, uint32_t id, struct letter *l, const char *from, const char *to)
{
	struct answer_later *a = answer_later(q, id);
	size_t count = 0;
	int rc = !a ? -ENOMEM : l ? move_letter(q, a, l, to, &count) : begin_route(q, a, id, from, to);

	if (rc)
		log_err(NULL, "route=%s to=%s msg=\"a move could not be written: %s\"", l ? "" : from,
			to, strerror(-rc));
	if (l || rc)
		answer(q, a, id, count, rc);
}

void move_close(struct queue *q)
{
	struct move *m = q->move;

	if (!m)
		return;
	timer_clear(loop_timers(q->loop), &m->timer);
	store_walk_end(&m->walk);
	answer_not(m->answer, q, m->id, "the queue stops; what is not moved yet stays as it was");
	q->move = NULL;
	free(m);
}
