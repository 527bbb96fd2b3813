/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "heap.h"

#include <errno.h>
#include <stdlib.h>

static void place(struct heap *h, size_t i, struct heap_node *n)
{
	h->v[i] = n;
	n->slot = i + 1;
}

static void sift(struct heap *h, size_t i)
{
	struct heap_node *n = h->v[i];

	while (i && h->before(n, h->v[(i - 1) / 2])) {
		place(h, i, h->v[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	for (;;) {
		size_t kid = 2 * i + 1;

		if (kid + 1 < h->count && h->before(h->v[kid + 1], h->v[kid]))
			kid++;
		if (kid >= h->count || !h->before(h->v[kid], n))
			break;
		place(h, i, h->v[kid]);
		i = kid;
	}
	place(h, i, n);
}

int heap_reserve(struct heap *h, size_t n)
{
	size_t cap = h->cap ? h->cap : 4;
	struct heap_node **v;

	if (n <= h->cap)
		return 0;
	while (cap < n)
		cap *= 2;
	v = realloc(h->v, cap * sizeof(struct heap_node *));
	if (!v)
		return -ENOMEM;
	h->v = v;
	h->cap = cap;
	return 0;
}

int heap_put(struct heap *h, struct heap_node *n)
{
	if (heap_reserve(h, h->count + 1))
		return -ENOMEM;
	place(h, h->count++, n);
	sift(h, n->slot - 1);
	return 0;
}

void heap_take(struct heap *h, struct heap_node *n)
{
	size_t i = n->slot - 1;
	struct heap_node *last = h->v[--h->count];

	n->slot = 0;
	if (last == n)
		return;
	place(h, i, last);
	sift(h, i);
}

struct heap_node *heap_first(const struct heap *h)
{
	return h->count ? h->v[0] : NULL;
}

void heap_clear(struct heap *h)
{
	free(h->v);
	h->v = NULL;
	h->count = h->cap = 0;
}
