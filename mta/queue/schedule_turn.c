/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Whose turn it is: see turn_touch(). */
#include "schedule_int.h"

static bool is_mx(const struct dest *d)
{
	return d->policy && d->policy->kind == ROUTE_MX && !d->force;
}

/* Strangers' hosts have all the attempts that they may have. */
static bool mx_full(const struct schedule *s)
{
	return s->mx_flying >= SCHEDULE_MX_FLYING;
}

/* May @d have one more of the relay's places? The first one always. */
static bool has_share(const struct schedule *s, const struct dest *d)
{
	return d->force || !d->flying || d->flying + s->flying < SCHEDULE_FLYING;
}

/* When @d could start a leg if nothing happens; UINT64_MAX: then it never will. */
static uint64_t due_of(const struct dest *d)
{
	uint64_t t = d->ready.count	? 0
		     : d->waiting.count ? leg_at(heap_first(&d->waiting))->next_ms
					: UINT64_MAX;

	if (!d->policy || d->admin_hold || t == UINT64_MAX)
		return UINT64_MAX;
	if (d->force)
		return t;
	if (d->state == DEST_DOWN || d->state == DEST_HELD)
		return UINT64_MAX;
	if (d->state == DEST_UP ? d->flying >= d->limit : d->flying)
		return UINT64_MAX;
	if (d->state == DEST_UP && d->paced >= SCHEDULE_RELEASE_PER_S && t < d->pace_ms + 1000)
		t = d->pace_ms + 1000;
	return t > d->until_ms ? t : d->until_ms;
}

void turn_touch(struct schedule *s, struct dest *d)
{
	uint64_t due;

	if (d->in_line)
		return; /* it is looked at when its turn comes */
	due = due_of(d);
	if (d->sleep.slot) {
		if (due == d->due_ms)
			return;
		heap_take(&s->sleeping, &d->sleep);
	}
	d->due_ms = due;
	if (due != UINT64_MAX)
		heap_put(&s->sleeping, &d->sleep); /* its place was reserved when it was made */
}

static void leave_line(struct schedule *s, struct dest *d)
{
	TAILQ_REMOVE(&s->turn[d->line_of], d, line);
	d->in_line = false;
}

static void join_line(struct schedule *s, struct dest *d, enum turn_line line)
{
	d->in_line = true;
	d->line_of = (uint8_t)line;
	TAILQ_INSERT_TAIL(&s->turn[line], d, line);
}

void turn_share(struct schedule *s)
{
	struct dest *d, *next;

	for (d = TAILQ_FIRST(&s->turn[LINE_SHARE]); d; d = next) {
		next = TAILQ_NEXT(d, line);
		if (has_share(s, d))
			turn_again(s, d);
	}
}

void turn_leave(struct schedule *s, struct dest *d)
{
	if (d->in_line)
		leave_line(s, d);
	if (d->sleep.slot)
		heap_take(&s->sleeping, &d->sleep);
}

void turn_again(struct schedule *s, struct dest *d)
{
	if (d->in_line)
		leave_line(s, d);
	turn_touch(s, d);
}

/* Legs whose time has come: ready, the oldest letter first. */
static void ripen(struct schedule *s, struct dest *d, uint64_t now_ms)
{
	while (d->waiting.count && leg_at(heap_first(&d->waiting))->next_ms <= now_ms) {
		struct leg *g = leg_of(heap_first(&d->waiting));

		heap_take(&d->waiting, &g->node);
		leg_queue(s, g, now_ms);
		if (g->waiting)
			break;
	}
}

static void wake(struct schedule *s, uint64_t now_ms)
{
	struct heap_node *n;

	while ((n = heap_first(&s->sleeping)) && dest_at(n)->due_ms <= now_ms) {
		struct dest *d = dest_of_sleep(n);

		heap_take(&s->sleeping, n);
		join_line(s, d, is_mx(d) ? LINE_MX : LINE_OWN);
	}
}

struct dest *turn_next(struct schedule *s, uint64_t now_ms)
{
	struct dest *d;

	wake(s, now_ms);
	for (int i = 0; i < 2; i++) {
		int line = (s->served + 1 + i) % 2;

		while (!(line == LINE_MX && mx_full(s)) && (d = TAILQ_FIRST(&s->turn[line]))) {
			leave_line(s, d);
			ripen(s, d, now_ms);
			s->served = line;
			if (!d->ready.count || due_of(d) > now_ms)
				turn_touch(s, d);
			else if (!has_share(s, d))
				join_line(s, d, LINE_SHARE);
			else
				return d;
		}
	}
	return NULL;
}

uint64_t schedule_due(const struct schedule *s, uint64_t now_ms)
{
	const struct heap_node *n = heap_first(&s->sleeping);
	uint64_t due = n ? dest_at(n)->due_ms : UINT64_MAX;

	if (!TAILQ_EMPTY(&s->turn[LINE_OWN]) || (!TAILQ_EMPTY(&s->turn[LINE_MX]) && !mx_full(s)))
		return now_ms;
	return due > now_ms ? due : now_ms;
}
