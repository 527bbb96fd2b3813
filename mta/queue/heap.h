/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_QUEUE_HEAP_H
#define MTA_QUEUE_HEAP_H

/* Theory: a binary heap of structs that embed a struct heap_node, which knows its place, so that any can leave. */

#include <stdbool.h>
#include <stddef.h>

struct heap_node {
	size_t slot; /* 1-based; 0: in no heap */
};

/* All zeros but @before is an empty one. */
struct heap {
	struct heap_node **v;
	size_t count, cap;
	bool (*before)(const struct heap_node *a, const struct heap_node *b);
};

/** heap_reserve() - Room for @n, so that heap_put() does not fail up to there. 0 or -ENOMEM. */
int heap_reserve(struct heap *h, size_t n);
/** heap_put() - 0 or -ENOMEM. */
int heap_put(struct heap *h, struct heap_node *n);
/** heap_take() - @n, which is in @h, leaves it. */
void heap_take(struct heap *h, struct heap_node *n);
/** heap_first() - NULL when empty. */
struct heap_node *heap_first(const struct heap *h);
/** heap_clear() - Frees the table, not the nodes. */
void heap_clear(struct heap *h);

#endif
