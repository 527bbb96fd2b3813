/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BENCH_MICRO_H
#define BENCH_MICRO_H

/*
 * One step of a packet's way alone. Each file adds what it measures; main.c decides how often, takes turns between all
 * of them, so that a slow second of the machine does not fall on one alone, and prints the medians.
 */

#include <stdint.h>
#include <time.h>

/** bench_fn - Do it @n times; returns the nanoseconds of that alone, without what prepares it. */
typedef uint64_t bench_fn(void *arg, unsigned n);

/** bench_add() - A cell of the table @group. Strings are copied; @arg stays. */
void bench_add(const char *group, const char *row, const char *col, bench_fn *run, void *arg);
/** bench_alloc() - Zeroed, or the program ends. */
void *bench_alloc(size_t bytes);

static inline uint64_t bench_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void add_crypto(void);
void add_packets(void);
void add_lookups(void);

#endif
