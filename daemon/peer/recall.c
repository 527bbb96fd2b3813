/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "recall.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

struct recall_turn {
	uint32_t peer;
	uint32_t gap_ms; /* what it waits when it gives way, 0: RECALL_AGAIN_MS */
	bool out;
	uint64_t at_ms; /* called since; or not before */
};

int recall_add(struct recall *r, uint32_t peer, uint64_t at_ms)
{
	if (r->count == r->room) {
		size_t room = r->room ? 2 * r->room : 16;
		struct recall_turn *more = realloc(r->turn, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		r->turn = more;
		r->room = room;
	}
	r->turn[r->count++] = (struct recall_turn){ .peer = peer, .at_ms = at_ms };
	return 0;
}

void recall_clear(struct recall *r)
{
	free(r->turn);
	r->turn = NULL;
	r->count = r->room = r->at = r->out = 0;
}

static void later(struct recall *r, struct recall_turn *t, uint64_t now_ms)
{
	t->gap_ms = t->gap_ms ? 2 * t->gap_ms : RECALL_AGAIN_MS;
	if (t->gap_ms > RECALL_LONG_MS)
		t->gap_ms = RECALL_LONG_MS;
	t->at_ms = now_ms + t->gap_ms;
	t->out = false;
	r->out--;
}

static bool somebody_waits(const struct recall *r, uint64_t now_ms)
{
	for (size_t i = 0; i < r->count; i++)
		if (!r->turn[i].out && r->turn[i].at_ms <= now_ms)
			return true;
	return false;
}

/* Those that are called: who is there, and who gives way. */
static void look(struct recall *r, uint64_t now_ms)
{
	bool crowded = r->out == RECALL_OUT_MAX && somebody_waits(r, now_ms);
	size_t kept = 0, at = r->at;

	for (size_t i = 0; i < r->count; i++) {
		struct recall_turn *t = &r->turn[i];
		enum recall_state state = t->out ? r->ops->state(r->arg, t->peer) : RECALL_OVER;

		if (state == RECALL_DONE) {
			r->out--;
			r->at -= i < at;
			continue;
		}
		if (t->out && state == RECALL_SILENT && crowded &&
		    now_ms - t->at_ms >= RECALL_PATIENCE_MS) {
			r->ops->end(r->arg, t->peer);
			state = RECALL_OVER;
		}
		if (t->out && state == RECALL_OVER)
			later(r, t, now_ms);
		r->turn[kept++] = *t;
	}
	r->count = kept;
}

/* The next ones, in a round: who comes again does not come before those that were not called at all. */
static void go_on(struct recall *r, uint64_t now_ms)
{
	unsigned begun = 0;

	for (size_t n = 0; n < r->count && r->out < RECALL_OUT_MAX && begun < RECALL_STEP_CALLS; n++) {
		struct recall_turn *t = &r->turn[r->at %= r->count];

		r->at++;
		if (t->out || t->at_ms > now_ms)
			continue;
		t->out = true;
		t->at_ms = now_ms;
		r->out++;
		if (r->ops->state(r->arg, t->peer) == RECALL_DONE)
			continue; /* the next look takes it out */
		r->ops->begin(r->arg, t->peer, now_ms);
		begun++;
	}
}

uint64_t recall_step(struct recall *r, uint64_t now_ms)
{
	uint64_t due = UINT64_MAX;

	look(r, now_ms);
	go_on(r, now_ms);
	if (!r->count) {
		recall_clear(r);
		return UINT64_MAX;
	}
	for (size_t i = 0; i < r->count; i++) {
		const struct recall_turn *t = &r->turn[i];
		uint64_t at = t->out || t->at_ms <= now_ms ? now_ms + RECALL_STEP_MS : t->at_ms;

		due = at < due ? at : due;
	}
	return due;
}
