/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "clock.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

uint64_t clock_boot_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000 + 1;
}

uint64_t clock_slept_ms(void)
{
	struct timespec boot, awake;

	/* In this order: what passes in between is no sleep. */
	clock_gettime(CLOCK_BOOTTIME, &boot);
	clock_gettime(CLOCK_MONOTONIC, &awake);
	boot.tv_sec -= awake.tv_sec;
	boot.tv_nsec -= awake.tv_nsec;
	return boot.tv_sec * 1000 + boot.tv_nsec / 1000000 > 0
		   ? (uint64_t)(boot.tv_sec * 1000 + boot.tv_nsec / 1000000)
		   : 0;
}

int64_t clock_wall_s(void)
{
	return (int64_t)time(NULL);
}

static void place(struct timers *ts, size_t i, struct timer *t)
{
	ts->heap[i] = t;
	t->slot = i + 1;
}

static void sift_up(struct timers *ts, size_t i)
{
	struct timer *t = ts->heap[i];

	while (i && ts->heap[(i - 1) / 2]->at_ms > t->at_ms) {
		place(ts, i, ts->heap[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	place(ts, i, t);
}

static void sift_down(struct timers *ts, size_t i)
{
	struct timer *t = ts->heap[i];

	for (;;) {
		size_t kid = 2 * i + 1;

		if (kid >= ts->count)
			break;
		if (kid + 1 < ts->count && ts->heap[kid + 1]->at_ms < ts->heap[kid]->at_ms)
			kid++;
		if (ts->heap[kid]->at_ms >= t->at_ms)
			break;
		place(ts, i, ts->heap[kid]);
		i = kid;
	}
	place(ts, i, t);
}

int timers_reserve(struct timers *ts, size_t count)
{
	size_t cap = ts->cap ? ts->cap : 16;
	struct timer **heap;

	if (count <= ts->cap)
		return 0;
	while (cap < count)
		cap *= 2;
	heap = realloc(ts->heap, cap * sizeof(*heap));
	if (!heap)
		return -ENOMEM;
	ts->heap = heap;
	ts->cap = cap;
	return 0;
}

int timer_set(struct timers *ts, struct timer *t, uint64_t at_ms)
{
	timer_clear(ts, t);
	if (timers_reserve(ts, ts->count + 1))
		return -ENOMEM;
	t->at_ms = at_ms;
	place(ts, ts->count, t);
	sift_up(ts, ts->count++);
	return 0;
}

void timer_clear(struct timers *ts, struct timer *t)
{
	size_t i = t->slot - 1;
	struct timer *last;

	if (!t->slot)
		return;
	t->slot = 0;
	last = ts->heap[--ts->count];
	if (last == t)
		return;
	place(ts, i, last);
	sift_up(ts, i);
	sift_down(ts, last->slot - 1);
}

uint64_t timers_next_ms(const struct timers *ts)
{
	return ts->count ? ts->heap[0]->at_ms : UINT64_MAX;
}

void timers_run(struct timers *ts, uint64_t now_ms)
{
	/* A timer that re-arms itself for now or earlier waits for the next run: no endless loop. */
	size_t budget = ts->count;

	while (budget-- && ts->count && ts->heap[0]->at_ms <= now_ms) {
		struct timer *t = ts->heap[0];

		timer_clear(ts, t);
		t->fire(t, now_ms);
	}
}

void timers_free(struct timers *ts)
{
	for (size_t i = 0; i < ts->count; i++)
		ts->heap[i]->slot = 0;
	free(ts->heap);
	*ts = (struct timers){ 0 };
}
