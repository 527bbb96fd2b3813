/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "memory.h"

#include <stdlib.h>

/* NULL without memory: then there is none. */
static struct memory_route *of(struct memory *m, const struct mta_config *c,
			       const struct mta_route *r)
{
	if (!m->route) {
		m->route = calloc(c->route_count, sizeof(*m->route));
		m->count = m->route ? c->route_count : 0;
	}
	return (size_t)(r - c->routes) < m->count ? &m->route[r - c->routes] : NULL;
}

uint32_t memory_turn(struct memory *m, const struct mta_config *c, const struct mta_route *r)
{
	struct memory_route *x = of(m, c, r);

	return x ? x->turn++ : 0;
}

size_t memory_first(const struct memory *m, const struct mta_config *c, const struct mta_route *r,
		    uint64_t now_ms)
{
	size_t i = (size_t)(r - c->routes);

	return i < m->count && now_ms < m->route[i].until_ms &&
		       m->route[i].first < r->addresses.count
		   ? m->route[i].first
		   : 0;
}

void memory_worked(struct memory *m, const struct mta_config *c, const struct mta_route *r,
		   size_t index, uint64_t now_ms)
{
	struct memory_route *x = of(m, c, r);

	/* Who is used because of this memory does not prolong it: the first one gets its chance again. */
	if (!x || (x->first == index && now_ms < x->until_ms))
		return;
	x->first = index;
	x->until_ms = index ? now_ms + MEMORY_GOOD_MS : 0;
}

void memory_clear(struct memory *m)
{
	free(m->route);
	*m = (struct memory){ 0 };
}
