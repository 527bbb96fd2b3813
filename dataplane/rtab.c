/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "rtab.h"

#include <errno.h>
#include <stdlib.h>

#define GRAVE ((struct rtab_node *)(uintptr_t)1)

/* A full barrier between a store and the loads after it, in a form that ThreadSanitizer knows. */
static void barrier_store(_Atomic uint64_t *p, uint64_t v)
{
	atomic_exchange_explicit(p, v, memory_order_seq_cst);
#ifndef __SANITIZE_THREAD__
	atomic_thread_fence(memory_order_seq_cst);
#endif
}

void rcu_init(struct rcu *r)
{
	atomic_init(&r->epoch, 1);
	r->first = NULL;
	r->last = &r->first;
}

void rcu_online(const struct rcu *r, struct rcu_reader *me)
{
	uint64_t e = atomic_load_explicit(&r->epoch, memory_order_acquire);

	/* An unchanged epoch while online needs no barrier: nothing was retired since. */
	if (atomic_load_explicit(&me->quiet, memory_order_relaxed) != e)
		barrier_store(&me->quiet, e);
}

void rcu_retire(struct rcu *r, struct rcu_node *n, void (*free_fn)(struct rcu_node *n))
{
	n->next = NULL;
	n->free = free_fn;
	n->epoch = atomic_fetch_add_explicit(&r->epoch, 1, memory_order_seq_cst) + 1;
	*r->last = n;
	r->last = &n->next;
}

void rcu_reap(struct rcu *r, struct rcu_reader *const *readers, unsigned count)
{
	uint64_t min = UINT64_MAX;

	if (!r->first)
		return;
#ifndef __SANITIZE_THREAD__
	atomic_thread_fence(memory_order_seq_cst);
#endif
	for (unsigned i = 0; i < count; i++) {
		uint64_t q = atomic_load_explicit(&readers[i]->quiet, memory_order_seq_cst);

		if (q && q < min)
			min = q;
	}
	while (r->first && r->first->epoch <= min) {
		struct rcu_node *n = r->first;

		r->first = n->next;
		if (!r->first)
			r->last = &r->first;
		n->free(n);
	}
}

static struct rtab_arr *arr_new(size_t slots)
{
	struct rtab_arr *a = calloc(1, sizeof(*a) + slots * sizeof(a->slot[0]));

	if (a)
		a->mask = slots - 1;
	return a;
}

static void arr_free(struct rcu_node *n)
{
	free((struct rtab_arr *)((char *)n - offsetof(struct rtab_arr, rcu)));
}

int rtab_init(struct rtab *t)
{
	struct rtab_arr *a = arr_new(16);

	if (!a)
		return -ENOMEM;
	t->live = t->used = 0;
	atomic_init(&t->arr, a);
	return 0;
}

void rtab_free(struct rtab *t)
{
	free(atomic_load(&t->arr));
	atomic_store(&t->arr, NULL);
}

static struct rtab_node *peek(const struct rtab_arr *a, size_t i)
{
	return atomic_load_explicit(&a->slot[i], memory_order_acquire);
}

static void put(struct rtab_arr *a, size_t i, struct rtab_node *n)
{
	atomic_store_explicit(&a->slot[i], n, memory_order_release);
}

/* Slots that were never used end a search, so a grave is not filled again before the next rebuild. */
static void place(struct rtab_arr *a, struct rtab_node *n)
{
	size_t i = n->h & a->mask;

	while (peek(a, i))
		i = (i + 1) & a->mask;
	put(a, i, n);
}

static int rebuild(struct rtab *t, struct rcu *r)
{
	struct rtab_arr *old = atomic_load_explicit(&t->arr, memory_order_relaxed), *fresh;
	size_t slots = 16;

	while (slots < 3 * (t->live + 1)) /* a sixth is free for graves, at least */
		slots *= 2;
	fresh = arr_new(slots);
	if (!fresh)
		return -ENOMEM;
	for (size_t i = 0; i <= old->mask; i++) {
		struct rtab_node *n = peek(old, i);

		if (n && n != GRAVE)
			place(fresh, n);
	}
	t->used = t->live;
	atomic_store_explicit(&t->arr, fresh, memory_order_release);
	rcu_retire(r, &old->rcu, arr_free);
	return 0;
}

int rtab_add(struct rtab *t, struct rcu *r, struct rtab_node *n)
{
	struct rtab_arr *a = atomic_load_explicit(&t->arr, memory_order_relaxed);

	if (2 * (t->used + 1) > a->mask + 1) {
		int rc = rebuild(t, r);

		if (rc)
			return rc;
		a = atomic_load_explicit(&t->arr, memory_order_relaxed);
	}
	place(a, n);
	t->live++;
	t->used++;
	return 0;
}

static void replace(struct rtab *t, struct rtab_node *from, struct rtab_node *to)
{
	struct rtab_arr *a = atomic_load_explicit(&t->arr, memory_order_relaxed);
	size_t i = from->h & a->mask;

	while (peek(a, i) != from)
		i = (i + 1) & a->mask;
	put(a, i, to);
}

void rtab_del(struct rtab *t, struct rtab_node *n)
{
	replace(t, n, GRAVE);
	t->live--;
}

void rtab_swap(struct rtab *t, struct rtab_node *from, struct rtab_node *to)
{
	replace(t, from, to);
}

struct rtab_node *rtab_next(struct rtab_it *it)
{
	while (it->left) {
		struct rtab_node *n = peek(it->arr, it->i);

		it->left--;
		it->i = (it->i + 1) & it->arr->mask;
		if (!n)
			break;
		if (n != GRAVE && n->h == it->h)
			return n;
	}
	it->left = 0;
	return NULL;
}
