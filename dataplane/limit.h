/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DATAPLANE_LIMIT_H
#define DATAPLANE_LIMIT_H

/*
 * Theory: a token bucket as the one number it needs, the time at which all that has passed would have
 * left a line of that rate (the generic cell rate algorithm). What comes in while that lies more than
 * the burst ahead is dropped; what goes out waits in the queue (fq.h), behind nobody else's packets. All workers that carry the peer share the number by one compare-and-swap per unit, so each
 * takes the share that its traffic has, and none has to be divided beforehand.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * What may come in at once. A TCP that lost a whole window here is silent for its RTO, 200 ms at the least: a burst
 * shorter than that would lose what the rate had meant for the silence, a third of it and more.
 */
#define LIMIT_BURST_NS	  300000000ull
#define LIMIT_BURST_BYTES 6000	       /* and never less than a few full packets */
#define LIMIT_SHAPE_NS	  5000000ull   /* what waits is let go in smaller portions */
#define LIMIT_SHAPE_BYTES 1500

struct limit {
	_Atomic uint64_t bits_s; /* 0: none */
	_Atomic uint64_t sent_ns;
	_Atomic uint64_t held_pkts;
};

static inline void limit_set(struct limit *l, uint64_t bits_s)
{
	atomic_store_explicit(&l->bits_s, bits_s, memory_order_relaxed);
	atomic_store_explicit(&l->sent_ns, 0, memory_order_relaxed);
}

/* How far what has passed may be ahead of a line of @rate bits a second. */
static inline uint64_t limit_burst_ns(uint64_t rate, uint64_t least_ns, uint64_t least_bytes)
{
	uint64_t ns = least_bytes * 8000000000ull / rate;

	return ns < least_ns ? least_ns : ns;
}

/*
 * How many of @n packets, of @bytes in all, may pass now, when what has passed may be @least_ns of the rate ahead
 * of the line, or @least_bytes. @one: if any may, then one in spite of its size, for which those after it wait.
 */
static inline unsigned limit_some(struct limit *l, uint64_t now_ns, uint64_t least_ns, uint64_t least_bytes,
				  unsigned n, uint64_t bytes, bool one)
{
	uint64_t rate = atomic_load_explicit(&l->bits_s, memory_order_relaxed);
	uint64_t was, from, cost, burst, ahead;
	unsigned take;

	if (!rate)
		return n;
	cost = bytes * 8000000000ull / rate;
	burst = limit_burst_ns(rate, least_ns, least_bytes);
	was = atomic_load_explicit(&l->sent_ns, memory_order_relaxed);
	do {
		from = was > now_ns ? was : now_ns;
		ahead = from - now_ns;
		if (ahead >= burst)
			return 0;
		take = cost <= burst - ahead ? n : (unsigned)(n * (burst - ahead) / cost);
		if (!take && !one)
			return 0;
		take = take ? take : 1;
	} while (!atomic_compare_exchange_weak_explicit(&l->sent_ns, &was, from + cost * take / n,
							memory_order_relaxed,
							memory_order_relaxed));
	return take;
}

/**
 * limit_take() - How many of @n packets, of @bytes in all, may pass now.
 * The others are counted as dropped. Any worker.
 */
static inline unsigned limit_take(struct limit *l, uint64_t now_ms, unsigned n, uint64_t bytes)
{
	unsigned take = limit_some(l, now_ms * 1000000, LIMIT_BURST_NS, LIMIT_BURST_BYTES, n, bytes,
				   false);

	if (take < n)
		atomic_fetch_add_explicit(&l->held_pkts, n - take, memory_order_relaxed);
	return take;
}

/**
 * limit_pass() - The same for packets that can wait: what is ahead is short, so that they wait here.
 * 0: none for now; *@wait_us: until when. Each that has to wait is counted once, by @first.
 */
static inline unsigned limit_pass(struct limit *l, uint64_t now_ms, unsigned n, uint64_t bytes, bool first,
				  uint64_t *wait_us)
{
	uint64_t now_ns = now_ms * 1000000, rate = atomic_load_explicit(&l->bits_s, memory_order_relaxed);
	unsigned take = limit_some(l, now_ns, LIMIT_SHAPE_NS, LIMIT_SHAPE_BYTES, n, bytes,
				   true);
	uint64_t sent = atomic_load_explicit(&l->sent_ns, memory_order_relaxed), burst;

	if (first && take < n)
		atomic_fetch_add_explicit(&l->held_pkts, n - take, memory_order_relaxed);
	if (take || !rate)
		return take;
	burst = limit_burst_ns(rate, LIMIT_SHAPE_NS, LIMIT_SHAPE_BYTES);
	*wait_us = sent > now_ns + burst ? (sent - now_ns - burst) / 1000 + 1 : 1;
	return 0;
}

#endif
