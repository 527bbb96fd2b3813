/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DATAPLANE_STATS_H
#define DATAPLANE_STATS_H

/* Counters with one writing thread and any reader: a relaxed load and store, no locked add. */

#include <stdatomic.h>
#include <stdint.h>

#include "dp.h"

struct stats {
	_Atomic uint64_t n[DP_VERDICT_COUNT];
};

static inline void count_add(_Atomic uint64_t *c, uint64_t by)
{
	atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + by,
			      memory_order_relaxed);
}

static inline uint64_t count_get(const _Atomic uint64_t *c)
{
	return atomic_load_explicit(c, memory_order_relaxed);
}

static inline void count_set(_Atomic uint64_t *c, uint64_t v)
{
	atomic_store_explicit(c, v, memory_order_relaxed);
}

static inline void stats_add(struct stats *s, enum dp_verdict v, uint64_t by)
{
	count_add(&s->n[v], by);
}

/** stats_sum() - Adds @s to @to. */
void stats_sum(const struct stats *s, struct dp_stats *to);

#endif
