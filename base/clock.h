/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

/*
 * Theory: time is an argument. A state machine takes now_ms; only the loop reads a clock, and a
 * test passes what it likes. All intervals are CLOCK_BOOTTIME, so that a suspended machine finds
 * its timers due on resume. Wall-clock time is for log lines, certificates and mail headers.
 *
 * Timers live in a binary heap of pointers; a struct timer is embedded in its owner, and the owner
 * clears it before it goes away.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** clock_boot_ms() - Milliseconds of CLOCK_BOOTTIME; never 0. */
uint64_t clock_boot_ms(void);
/** clock_slept_ms() - How much longer this machine has been up than awake, all its sleeps together. */
uint64_t clock_slept_ms(void);
/** clock_wall_s() - Seconds since 1970; may be plainly wrong on a router without a battery. */
int64_t clock_wall_s(void);

struct timer {
	uint64_t at_ms; /* due time; meaningful while armed */
	size_t slot;	/* 1-based place in the heap; 0: not armed */
	void (*fire)(struct timer *t, uint64_t now_ms);
	void *arg;
};

struct timers {
	struct timer **heap;
	size_t count;
	size_t cap;
};

/** timer_set() - Arm or re-arm @t for @at_ms; 0 or -ENOMEM (then @t is not armed). */
int timer_set(struct timers *ts, struct timer *t, uint64_t at_ms);
/** timers_reserve() - Room for @count in all: while no more are armed, timer_set() succeeds; 0 or -ENOMEM. */
int timers_reserve(struct timers *ts, size_t count);
void timer_clear(struct timers *ts, struct timer *t);
static inline bool timer_armed(const struct timer *t)
{
	return t->slot != 0;
}
/** timers_next_ms() - Due time of the earliest; UINT64_MAX when none. */
uint64_t timers_next_ms(const struct timers *ts);
/** timers_run() - Fire all that are due at @now_ms, earliest first; each is disarmed before. */
void timers_run(struct timers *ts, uint64_t now_ms);
void timers_free(struct timers *ts);

#endif
