/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DATAPLANE_RTAB_H
#define DATAPLANE_RTAB_H

/*
 * Theory: tables that the control thread writes and workers read without a lock. A reader sees a
 * pointer or not; what a pointer points to does not change. What was taken out is freed when each
 * worker has been at a quiet point since:
 *
 *	control				worker
 *	unpublish(p)			turn:	quiet = epoch	(holds no pointer here)
 *	retire(p): p.epoch = ++epoch		... reads tables, uses what it found ...
 *	reap: min(quiet) >= p.epoch	wait:	quiet = 0	(offline: counts as quiet)
 *	      -> free(p)
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- deferred freeing ---- */

struct rcu_node {
	struct rcu_node *next;
	uint64_t epoch;
	void (*free)(struct rcu_node *n);
};

struct rcu {
	_Atomic uint64_t epoch; /* starts at 1 */
	struct rcu_node *first, **last;
};

struct rcu_reader {
	_Atomic uint64_t quiet; /* the epoch seen at the last quiet point; 0: offline */
};

void rcu_init(struct rcu *r);
/** rcu_online() - By the reader, at each quiet point: what it found before is forgotten. */
void rcu_online(const struct rcu *r, struct rcu_reader *me);
/** rcu_offline() - Before it sleeps. */
static inline void rcu_offline(struct rcu_reader *me)
{
	atomic_store_explicit(&me->quiet, 0, memory_order_release);
}
/** rcu_retire() - @n is unpublished already. */
void rcu_retire(struct rcu *r, struct rcu_node *n, void (*free_fn)(struct rcu_node *n));
/** rcu_reap() - Free what all @readers are past. */
void rcu_reap(struct rcu *r, struct rcu_reader *const *readers, unsigned count);

/* ---- a published hash table of pointers (open addressing) ---- */

struct rtab_node {
	uint64_t h; /* hash; constant while in a table */
};

struct rtab_arr {
	struct rcu_node rcu;
	size_t mask;
	_Atomic(struct rtab_node *) slot[];
};

struct rtab {
	_Atomic(struct rtab_arr *) arr;
	size_t live, used; /* used counts graves too */
};

int rtab_init(struct rtab *t);
/** rtab_free() - The table, not the nodes; no reader is left. */
void rtab_free(struct rtab *t);
/** rtab_add() - Visible to readers on return; 0 or -ENOMEM. */
int rtab_add(struct rtab *t, struct rcu *r, struct rtab_node *n);
void rtab_del(struct rtab *t, struct rtab_node *n);
/** rtab_swap() - @to takes the place of @from (same hash), readers see one or the other. */
void rtab_swap(struct rtab *t, struct rtab_node *from, struct rtab_node *to);

struct rtab_it {
	const struct rtab_arr *arr;
	size_t i, left;
	uint64_t h;
};

/** rtab_next() - Nodes with the hash given to rtab_first(); NULL at the end. */
struct rtab_node *rtab_next(struct rtab_it *it);
static inline struct rtab_node *rtab_first(const struct rtab *t, uint64_t h, struct rtab_it *it)
{
	it->arr = atomic_load_explicit(&t->arr, memory_order_acquire);
	it->i = h & it->arr->mask;
	it->left = it->arr->mask + 1;
	it->h = h;
	return rtab_next(it);
}

/** hash_mix() - Spread a key that no stranger chooses (ours, or authenticated). */
static inline uint64_t hash_mix(uint64_t x)
{
	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdull;
	x ^= x >> 33;
	x *= 0xc4ceb9fe1a85ec53ull;
	return x ^ x >> 33;
}

#endif
