/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_QUEUE_WAY_H
#define MTA_QUEUE_WAY_H

/*
 * Theory: the route of a recipient follows from facts and the configuration (route.h). What the admin
 * moved to another route by hand is an exception of that letter: a list of pairs, "who would go by
 * FROM goes by TO", each FROM once. It is one string: from, NUL, to, NUL, and so on, and a NUL behind
 * the last; NULL or an empty one: no exception. A TO that the configuration has no more counts for
 * nothing, so that the letter goes where it would have gone.
 */

#include "config.h"
#include "envelope.h"

/** way_add() - @way and one more pair; a new string of the caller's, or NULL. */
char *way_add(const char *way, const char *from, const char *to);
/** way_copy() - NULL without memory. */
char *way_copy(const char *way);
/** way_move() - @way, but what goes by @from until now goes by @to; a new string, or NULL. */
char *way_move(const struct mta_config *c, const char *way, const char *from, const char *to);
/** way_next() - The pair at @way; where the next one begins, or NULL at the end. */
const char *way_next(const char *way, const char **from, const char **to);
/** way_route() - route_choose() with a letter's exceptions. */
const struct mta_route *way_route(const struct mta_config *c, const char *way,
				  const struct envelope *e, const char *rcpt);

#endif
