/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: the admin wants what waits on a route, or on all, to be tried now. Next hops may be tried at once; the letters
 * are walked through in slices, one a turn of the loop, the first one in that of the verb itself. Who asked hears when
 * all are done. What comes later has no waits.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "answer.h"

struct flush {
	struct timer timer;
	struct queue *q;
	struct store_walk walk;
	uint32_t id;
	uint64_t until_seq; /* what came later is not looked at */
	size_t count;
	bool all;
	char route[MTA_NAME_MAX];
};

static void slice(struct flush *f)
{
	uint64_t now_ms = loop_now_ms(f->q->loop);
	struct letter *l;

	for (size_t looks = 0; looks < QUEUE_SWEEP_LOOKS; looks += 1 + l->rcpt_count) {
		l = store_walk_next(&f->walk);
		if (!l || l->seq >= f->until_seq)
			return store_walk_end(&f->walk);
		schedule_flush_letter(f->q->schedule, f->all ? NULL : f->route, l, now_ms);
	}
}

static void end(struct flush *f)
{
	timer_clear(loop_timers(f->q->loop), &f->timer);
	store_walk_end(&f->walk);
	f->q->flushing = NULL;
	free(f);
}

/* Takes @f, or goes on in the next turn. */
static void run(struct flush *f)
{
	struct queue *q = f->q;

	slice(f);
	if (store_walk_on(&f->walk)) {
		if (!timer_set(loop_timers(q->loop), &f->timer, loop_now_ms(q->loop)))
			return attempt_pump(q);
		answer_fail(q, f->id, "out of memory: some letters still wait");
	} else {
		answer_reply(q, f->id,
			     json_pack("{s:I,s:s}", "count", (json_int_t)f->count, "text",
				       "waits are cleared; holds, down routes and the pace still "
				       "count"));
	}
	end(f);
	attempt_pump(q);
}

static void on_turn(struct timer *t, uint64_t now_ms)
{
	(void)now_ms;
	run(t->arg);
}

void flush_run(struct queue *q, uint32_t id, const char *route)
{
	struct flush *f = q->flushing ? NULL : calloc(1, sizeof(*f));

	if (!f)
		return answer_fail(q, id,
				   q->flushing ? "a flush is under way; ask again in a moment"
					       : "out of memory");
	*f = (struct flush){ .timer = { .fire = on_turn, .arg = f },
			     .q = q,
			     .id = id,
			     .until_seq = store_next_seq(q->store),
			     .all = !route,
			     .count = schedule_flush(q->schedule, route, loop_now_ms(q->loop)) };
	snprintf(f->route, sizeof(f->route), "%s", route ? route : "");
	store_walk_begin(q->store, &f->walk);
	q->flushing = f;
	run(f);
}

void flush_close(struct queue *q)
{
	if (!q->flushing)
		return;
	answer_fail(q, q->flushing->id, "the queue stops; its next start tries what waits");
	end(q->flushing);
}
