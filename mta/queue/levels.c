/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What stands in the queue, for the metrics: looked at once a second and not kept up with each event,
 * so that a letter on its way costs nothing. A next hop belongs to a stranger, so it is a number and
 * never a label.
 */
#include <stdlib.h>

#include "queue.h"

struct level {
	uint64_t letters, hops[DEST_STATES], backups;
};

struct levels {
	const struct mta_config *config;
	struct level *route; /* in the order of config.routes */
};

static void add(const struct dest *d, void *arg)
{
	struct levels *x = arg;
	struct level *v;

	if (!d->policy)
		return;
	v = &x->route[d->policy - x->config->routes];
	v->letters += d->waiting.count + d->ready.count + d->flying;
	v->hops[d->state]++;
	v->backups += d->on_backup;
}

static void count_routes(struct queue *q)
{
	static const enum counter_word words[DEST_STATES] = {
		[DEST_UP] = WORD_UP,	       [DEST_PROBING] = WORD_PROBING,
		[DEST_UNKNOWN] = WORD_UNKNOWN, [DEST_DOWN] = WORD_DOWN,
		[DEST_HELD] = WORD_HELD,
	};
	struct levels x = { .config = q->ch->config };

	x.route = calloc(x.config->route_count, sizeof(*x.route));
	if (!x.route)
		return;
	schedule_each(q->schedule, add, &x);
	for (size_t i = 0; i < x.config->route_count; i++) {
		struct counter_labels l = { .name = x.config->routes[i].name };

		counters_set(q->ch->counters, COUNTER_WAITING, &l, x.route[i].letters);
		for (size_t k = 0; k < DEST_STATES; k++) {
			l.result = words[k];
			counters_set(q->ch->counters, COUNTER_NEXT_HOPS, &l, x.route[i].hops[k]);
		}
		l.result = WORD_NONE;
		if (x.config->routes[i].backup)
			counters_set(q->ch->counters, COUNTER_BACKUPS, &l, x.route[i].backups);
	}
	free(x.route);
}

static void count_letters(struct queue *q)
{
	static const struct {
		enum letter_state state;
		enum counter_word word;
	} states[] = {
		{ LETTER_QUEUED, WORD_QUEUED },
		{ LETTER_HELD, WORD_HELD },
		{ LETTER_DEAD, WORD_DEAD },
	};

	for (size_t i = 0; i < CONF_COUNT(states); i++) {
		struct counter_labels l = { .result = states[i].word };

		counters_set(q->ch->counters, COUNTER_QUEUE, &l,
			     store_count(q->store, states[i].state));
	}
}

static void count_journal(struct queue *q)
{
	struct counter_labels ok = { .result = WORD_OK }, failed = { .result = WORD_FAILED };
	struct journal_stats st;

	store_journal_stats(q->store, &st);
	counters_set(q->ch->counters, COUNTER_RECORDS, NULL, st.records);
	counters_set(q->ch->counters, COUNTER_SYNCS, &ok, st.batches);
	counters_set(q->ch->counters, COUNTER_SYNCS, &failed, st.failed_syncs);
}

void levels_count(struct queue *q)
{
	if (!q->ch->counters)
		return;
	count_letters(q);
	count_routes(q);
	count_journal(q);
	counters_set(q->ch->counters, COUNTER_ACCEPTING, NULL, q->accepting);
}
