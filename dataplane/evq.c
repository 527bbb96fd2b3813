/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "evq.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct rec {
	uint32_t size;	/* of the whole record; a multiple of 8 */
	uint32_t event; /* 0: filler */
	struct dp_event ev;
};

int evq_init(struct evq *q, size_t cap)
{
	memset(q, 0, sizeof(*q));
	if (cap < 65536 || (cap & (cap - 1)))
		return -EINVAL;
	q->mem = aligned_alloc(64, cap);
	if (!q->mem)
		return -ENOMEM;
	q->cap = cap;
	return 0;
}

void evq_free(struct evq *q)
{
	free(q->mem);
	q->mem = NULL;
}

/* What has to stay free for others. */
static size_t reserve(const struct evq *q, const struct dp_event *ev)
{
	if (ev->kind != DP_EV_IKE)
		return 0;
	return ev->opening ? q->cap / 2 : EVQ_RESERVE;
}

bool evq_push(struct evq *q, const struct dp_event *ev)
{
	size_t tail = atomic_load_explicit(&q->tail, memory_order_relaxed);
	size_t room = q->cap - (tail - atomic_load_explicit(&q->head, memory_order_acquire));
	size_t need = (sizeof(struct rec) + ev->len + 7) & ~(size_t)7;
	size_t at = tail & (q->cap - 1), to_end = q->cap - at;
	size_t fill = to_end < need ? to_end : 0;
	struct rec *r;

	if (need + fill + reserve(q, ev) > room)
		return false;
	if (fill) {
		r = (struct rec *)(q->mem + at);
		r->size = (uint32_t)fill; /* at least 8 bytes: all sizes are multiples of 8 */
		r->event = 0;
		at = 0;
	}
	r = (struct rec *)(q->mem + at);
	r->size = (uint32_t)need;
	r->event = 1;
	r->ev = *ev;
	if (ev->len)
		memcpy(r + 1, ev->data, ev->len);
	atomic_store_explicit(&q->tail, tail + fill + need, memory_order_release);
	return true;
}

bool evq_pop(struct evq *q, struct dp_event *ev)
{
	size_t head = atomic_load_explicit(&q->head, memory_order_relaxed) + q->taken;
	struct rec *r;

	if (q->taken)
		atomic_store_explicit(&q->head, head, memory_order_release);
	q->taken = 0;
	for (;;) {
		if (head == atomic_load_explicit(&q->tail, memory_order_acquire))
			return false;
		r = (struct rec *)(q->mem + (head & (q->cap - 1)));
		if (r->event)
			break;
		head += r->size;
		atomic_store_explicit(&q->head, head, memory_order_release);
	}
	q->taken = r->size;
	*ev = r->ev;
	ev->data = ev->len ? (const uint8_t *)(r + 1) : NULL;
	return true;
}
