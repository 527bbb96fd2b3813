/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BASE_PREFIX_SET_H
#define BASE_PREFIX_SET_H

/*
 * Theory: is a prefix inside one of many others? A sorted list without doubles, asked once for each
 * length that occurs in it: ten thousand questions about ten thousand networks take milliseconds.
 */

#include <stdbool.h>
#include <stddef.h>

#include "addr.h"

struct prefix_set {
	struct prefix *v;
	size_t count, cap;
	bool len[2][129]; /* which lengths occur: IPv4, IPv6 */
};

/** prefix_set_add() - Copies @p; 0 or -ENOMEM. A zeroed set is an empty one. */
int prefix_set_add(struct prefix_set *s, const struct prefix *p);
/** prefix_set_sort() - All are added: each stays once. Before any prefix_set_covers(). */
void prefix_set_sort(struct prefix_set *s);
/** prefix_set_covers() - Is @p equal to a member or inside one? */
bool prefix_set_covers(const struct prefix_set *s, const struct prefix *p);
void prefix_set_clear(struct prefix_set *s);

#endif
