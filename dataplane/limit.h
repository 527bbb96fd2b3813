/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DATAPLANE_LIMIT_H
#define DATAPLANE_LIMIT_H

/*
 * Theory: a token bucket as the one number it needs, the time at which all that has passed would have
 * left a line of that rate (the generic cell rate algorithm). What comes while that lies more than
 * the burst ahead is dropped: nobody else's packets wait for it, as they would if the TUN were not
 * read. All workers that carry the peer share the number by one compare-and-swap per unit, so each
 * takes the share that its traffic has, and none has to be divided beforehand.
 */

#include <stdatomic.h>
#include <stdint.h>

#define LIMIT_BURST_NS	  100000000ull /* what may come at once: a tenth of a second of the rate, */
#define LIMIT_BURST_BYTES 6000	       /* and never less than a few full packets */

struct limit {
	_Atomic uint64_t bits_s; /* 0: none */
	_Atomic uint64_t sent_ns;
	_Atomic uint64_t dropped_pkts;
};

static inline void limit_set(struct limit *l, uint64_t bits_s)
{
	atomic_store_explicit(&l->bits_s, bits_s, memory_order_relaxed);
	atomic_store_explicit(&l->sent_ns, 0, memory_order_relaxed);
}

/**
 * limit_take() - How many of @n packets, of @bytes in all, may pass now.
 * The others are counted as dropped. Any worker.
 */
static inline unsigned limit_take(struct limit *l, uint64_t now_ms, unsigned n, uint64_t bytes)
{
	uint64_t rate = atomic_load_explicit(&l->bits_s, memory_order_relaxed);
	uint64_t now = now_ms * 1000000, was, from, cost, burst, ahead;
	unsigned take;

	if (!rate)
		return n;
	cost = bytes * 8000000000ull / rate;
	burst = LIMIT_BURST_BYTES * 8000000000ull / rate;
	if (burst < LIMIT_BURST_NS)
		burst = LIMIT_BURST_NS;
	was = atomic_load_explicit(&l->sent_ns, memory_order_relaxed);
	do {
		from = was > now ? was : now;
		ahead = from - now;
		take = ahead >= burst		? 0
		       : cost <= burst - ahead ? n
						: (unsigned)(n * (burst - ahead) / cost);
		if (!take)
			break;
	} while (!atomic_compare_exchange_weak_explicit(&l->sent_ns, &was, from + cost * take / n,
							memory_order_relaxed,
							memory_order_relaxed));
	if (take < n)
		atomic_fetch_add_explicit(&l->dropped_pkts, n - take, memory_order_relaxed);
	return take;
}

#endif
