/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: `postern mail stats`: how old is what waits, by route. A route with all its recipients in the
 * young columns is busy, one with all in the old ones is broken. Counted when it is asked, of the index in
 * memory, in slices, one a turn of the loop, the first one in that of the verb itself; what happened since the start is
 * not its business. Who asks meanwhile has the same answer.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "answer.h"

#define AGES	6
#define ASKED_MAX 64 /* as many as the parent has clients */

static const uint32_t bounds_s[AGES - 1] = { 300, 3600, 14400, 86400, 432000 };

/* What waits in one row: of a route, or of those that have none. */
struct row {
	char name[MTA_NAME_MAX]; /* the route may go meanwhile */
	size_t recipients, ages[AGES];
	uint64_t oldest_s;
};

struct rows {
	struct row row[MTA_ROUTES_MAX + 3];
	size_t count;
	struct row *last; /* neighbours in the queue mostly go the same way */
};

static struct row *row_of(struct rows *t, const char *name)
{
	if (t->last && !strcmp(t->last->name, name))
		return t->last;
	t->last = NULL;
	for (size_t i = 0; i < t->count && !t->last; i++)
		if (!strcmp(t->row[i].name, name))
			t->last = &t->row[i];
	if (!t->last && t->count < sizeof(t->row) / sizeof(t->row[0])) {
		t->last = &t->row[t->count++];
		*t->last = (struct row){ .recipients = 0 };
		snprintf(t->last->name, sizeof(t->last->name), "%s", name);
	}
	return t->last;
}

/* In parentheses, which no name of a route has. */
static const char *way_name(const struct letter *l, const struct letter_rcpt *r)
{
	if (l->state == LETTER_HELD)
		return "(held)";
	if (!r->leg)
		return "(unreadable)";
	return *r->leg->dest->route ? r->leg->dest->route : "(no route)";
}

static void add_letter(struct rows *t, const struct letter *l, uint64_t age_s)
{
	for (size_t i = 0; i < l->rcpt_count; i++) {
		struct row *row;
		size_t k = 0;

		if (l->rcpt[i].state != RCPT_PENDING)
			continue;
		row = row_of(t, way_name(l, &l->rcpt[i]));
		if (!row)
			continue;
		while (k < AGES - 1 && age_s >= bounds_s[k])
			k++;
		row->recipients++;
		row->ages[k]++;
		if (age_s > row->oldest_s)
			row->oldest_s = age_s;
	}
}

static json_t *rows_json(const struct rows *t)
{
	json_t *all = json_array();

	for (size_t i = 0; i < t->count; i++) {
		const struct row *r = &t->row[i];
		json_t *ages = json_array();

		for (size_t k = 0; k < AGES; k++)
			json_array_append_new(ages, json_integer((json_int_t)r->ages[k]));
		json_array_append_new(all,
				      json_pack("{s:s,s:I,s:I,s:o}", "route", r->name, "recipients",
						(json_int_t)r->recipients, "oldest_s",
						(json_int_t)r->oldest_s, "ages", ages));
	}
	return all;
}

struct stats {
	struct timer timer;
	struct queue *q;
	struct store_walk walk;
	uint64_t until_seq; /* what came later is not counted */
	uint64_t bytes;
	struct rows rows;
	uint32_t asked[ASKED_MAX]; /* by these requests */
	size_t asked_count;
};

static json_t *stats_json(const struct stats *x)
{
	json_t *bounds = json_array();
	struct queue *q = x->q;
	struct journal_stats st;

	for (size_t k = 0; k < AGES - 1; k++)
		json_array_append_new(bounds, json_integer(bounds_s[k]));
	store_journal_stats(q->store, &st);
	return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:o,s:o}", "queued",
			 (json_int_t)store_count(q->store, LETTER_QUEUED), "held",
			 (json_int_t)store_count(q->store, LETTER_HELD), "dead",
			 (json_int_t)store_count(q->store, LETTER_DEAD), "bytes",
			 (json_int_t)x->bytes, "journal_segments", (json_int_t)st.segments,
			 "journal_bytes", (json_int_t)st.bytes, "bounds_s", bounds, "routes",
			 rows_json(&x->rows));
}

static void slice(struct stats *x)
{
	struct letter *l;

	for (size_t looks = 0; looks < QUEUE_SWEEP_LOOKS; looks += 1 + l->rcpt_count) {
		l = store_walk_next(&x->walk);
		if (!l || l->seq >= x->until_seq)
			return store_walk_end(&x->walk);
		if (l->state == LETTER_GONE)
			continue;
		x->bytes += l->body_len;
		if (l->state != LETTER_DEAD)
			add_letter(&x->rows, l, store_age(x->q->store, l));
	}
}

/* @why NULL: it is counted. */
static void end(struct stats *x, const char *why)
{
	struct queue *q = x->q;

	timer_clear(loop_timers(q->loop), &x->timer);
	store_walk_end(&x->walk);
	q->stats = NULL;
	for (size_t i = 0; i < x->asked_count; i++) {
		if (why)
			answer_fail(q, x->asked[i], why);
		else
			answer_reply(q, x->asked[i], stats_json(x));
	}
	free(x);
}

static void on_turn(struct timer *t, uint64_t now_ms)
{
	struct stats *x = t->arg;

	slice(x);
	if (!store_walk_on(&x->walk))
		end(x, NULL);
	else if (timer_set(loop_timers(x->q->loop), t, now_ms))
		end(x, "out of memory");
}

void stats_run(struct queue *q, uint32_t id)
{
	struct stats *x = q->stats;

	if (x && x->asked_count == ASKED_MAX)
		return answer_fail(q, id, "too many ask; ask again in a moment");
	if (x) {
		x->asked[x->asked_count++] = id;
		return;
	}
	x = calloc(1, sizeof(*x));
	if (!x)
		return answer_fail(q, id, "out of memory");
	x->timer = (struct timer){ .fire = on_turn, .arg = x };
	x->q = q;
	x->until_seq = store_next_seq(q->store);
	x->asked[x->asked_count++] = id;
	store_walk_begin(q->store, &x->walk);
	q->stats = x;
	on_turn(&x->timer, loop_now_ms(q->loop));
}

void stats_close(struct queue *q)
{
	if (q->stats)
		end(q->stats, "the queue stops");
}
