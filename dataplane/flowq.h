/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DATAPLANE_FLOWQ_H
#define DATAPLANE_FLOWQ_H

/*
 * Theory: a TUN of several queues gives what leaves of a flow to the queue that was last written for it (it knows for three
 * seconds, by a hash that is the same both ways), else to one by that hash. Were all that comes in written by the
 * worker of its SPI, all that goes back would be read by that one. So where all workers may send, a flow is written to
 * the queue by which it left last, and keeps it: nothing of it overtakes. One that has not left yet goes to a queue of
 * our choice, by which it will then leave.
 *
 * A slot is one number that any worker may write. Two flows of one slot only forget each other.
 */

#include <stdatomic.h>
#include <stdint.h>

#include "pkt.h"
#include "rtab.h"

#define FLOWQ_SLOTS 4096 /* as many as a TUN remembers; a power of two */

struct flowq {
	_Atomic uint32_t slot[FLOWQ_SLOTS]; /* hash above FLOWQ_SLOTS << 8 | queue + 1; 0: none */
};

static inline uint64_t flowq_end(const uint64_t a[2], uint16_t port)
{
	return hash_mix(a[1] ^ hash_mix(a[0] ^ (uint64_t)port << 40));
}

/** flowq_hash() - The same for both directions of a flow, and for all fragments. */
static inline uint32_t flowq_hash(const struct pkt *k)
{
	bool ports = (k->proto == PKT_TCP || k->proto == PKT_UDP) && k->ports && !k->fragment;

	return (uint32_t)hash_mix(flowq_end(k->src, ports ? k->sport : 0) +
				  flowq_end(k->dst, ports ? k->dport : 0) + k->proto);
}

/** flowq_left() - A packet of @k was read from @queue. */
static inline void flowq_left(struct flowq *f, const struct pkt *k, unsigned queue)
{
	uint32_t h = flowq_hash(k), is = (h / FLOWQ_SLOTS) << 8 | (queue + 1);
	_Atomic uint32_t *slot = &f->slot[h % FLOWQ_SLOTS];

	if (atomic_load_explicit(slot, memory_order_relaxed) != is)
		atomic_store_explicit(slot, is, memory_order_relaxed);
}

/** flowq_back() - To which of @queues what comes in of @k is written. */
static inline unsigned flowq_back(const struct flowq *f, const struct pkt *k, unsigned queues)
{
	uint32_t h = flowq_hash(k), is = atomic_load_explicit(&f->slot[h % FLOWQ_SLOTS], memory_order_relaxed);

	return is && is >> 8 == h / FLOWQ_SLOTS ? (is & 255) - 1 : h / FLOWQ_SLOTS % queues;
}

#endif
