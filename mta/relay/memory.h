/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_RELAY_MEMORY_H
#define MTA_RELAY_MEMORY_H

/*
 * What is remembered of a route from one connection to the next: whose turn it is among its sources, and
 * which of its next hops worked when those before it in the list did not. A host that swallows what it is
 * sent costs half a minute, and would cost each connection that again; so the one that worked comes first
 * for MEMORY_GOOD_MS. Then the order of the configuration counts again.
 */

#include <stddef.h>
#include <stdint.h>

#include "config.h"

#define MEMORY_GOOD_MS 300000

struct memory {
	struct memory_route {
		uint32_t turn;
		size_t first; /* in the route's addresses */
		uint64_t until_ms;
	} * route; /* by index in the configuration; NULL: nothing yet */
	size_t count;
};

/* @r: a route of @c, which is the same until memory_clear(). */

/** memory_turn() - The number of this connection. */
uint32_t memory_turn(struct memory *m, const struct mta_config *c, const struct mta_route *r);
/** memory_first() - Where in the route's addresses to begin. */
size_t memory_first(const struct memory *m, const struct mta_config *c, const struct mta_route *r,
		    uint64_t now_ms);
/** memory_worked() - A session with the host at @index was greeted. */
void memory_worked(struct memory *m, const struct mta_config *c, const struct mta_route *r,
		   size_t index, uint64_t now_ms);
/** memory_clear() - The configuration is another one. */
void memory_clear(struct memory *m);

#endif
