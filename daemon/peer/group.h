/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef PEER_GROUP_H
#define PEER_GROUP_H

/*
 * Theory: the servers behind one [peer] section, in order of preference, and the rule which of them
 * carries the inner traffic (is active) and which are kept up.
 *
 *	preferred answers ────────────────────────► active: the preferred one
 *	active silent for GROUP_SHAKY_MS, or down ─► the best other that answers, at once
 *	a better one answers for GROUP_RETURN_MS ──► back to it
 *
 * With `servers = all` every one is up always; with `standby` those that are better than the active
 * one are called, and a worse one only when the active one fails: the next at once, each further one
 * GROUP_PATIENCE_MS later. It goes GROUP_SETTLE_MS after a better one took over. Pure: time and
 * what the supervisors say are arguments.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GROUP_MAX	  9 /* the peer's section and CONFIG_SERVERS_MAX more */
#define GROUP_SHAKY_MS	  2000
#define GROUP_RETURN_MS	  30000
#define GROUP_PATIENCE_MS 5000
#define GROUP_SETTLE_MS	  10000

enum group_state {
	GROUP_DOWN,
	GROUP_SHAKY, /* up, but a request is unanswered for GROUP_SHAKY_MS */
	GROUP_UP,
};

struct group {
	bool all;
	bool carried; /* some member was up before */
	size_t count, active;
	uint64_t lost_ms;	   /* since when the active one does not answer; 0: it does */
	uint64_t up_ms[GROUP_MAX]; /* since when each answers without a break; 0: it does not */
	bool want[GROUP_MAX];	   /* who is to be up */
};

/** group_init() - @count: 2 .. GROUP_MAX; the first one is active and called. */
void group_init(struct group *g, size_t count, bool all, uint64_t now_ms);
/** group_step() - What each member is now. Returns when to look again. */
uint64_t group_step(struct group *g, const enum group_state state[static 1], uint64_t now_ms);

#endif
