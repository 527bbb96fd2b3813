/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "group.h"

#include <string.h>

#define CALM_MS	   1000
#define TROUBLE_MS 250

void group_init(struct group *g, size_t count, bool all, uint64_t now_ms)
{
	memset(g, 0, sizeof(*g));
	g->all = all;
	g->count = count;
	g->lost_ms = now_ms ? now_ms : 1;
	for (size_t i = 0; i < count; i++)
		g->want[i] = all || !i;
}

static void choose(struct group *g, const enum group_state *state, uint64_t now_ms)
{
	size_t best = 0;

	while (best < g->count && state[best] != GROUP_UP)
		best++;
	if (best == g->count)
		return; /* nobody answers: who carried is as good as any */
	if (state[g->active] != GROUP_UP ||
	    (best < g->active && now_ms - g->up_ms[best] >= GROUP_RETURN_MS))
		g->active = best;
}

/* Is one that is worse than the active one to be up? */
static bool needed(const struct group *g, size_t i, uint64_t now_ms)
{
	size_t further = i - g->active;
	uint64_t lost;

	if (!g->lost_ms) /* while it is new, who carried before it stays */
		return g->up_ms[i] && now_ms - g->up_ms[g->active] < GROUP_SETTLE_MS;
	lost = now_ms - g->lost_ms;
	/* At our own start the preferred one has its time; one that worked and is silent has had it. */
	return further <= lost / GROUP_PATIENCE_MS + g->carried;
}

uint64_t group_step(struct group *g, const enum group_state state[static 1], uint64_t now_ms)
{
	for (size_t i = 0; i < g->count; i++) {
		if (state[i] != GROUP_UP)
			g->up_ms[i] = 0;
		else if (!g->up_ms[i])
			g->up_ms[i] = now_ms;
	}
	choose(g, state, now_ms);
	if (state[g->active] == GROUP_UP) {
		g->lost_ms = 0;
		g->carried = true;
	} else if (!g->lost_ms) {
		g->lost_ms = now_ms;
	}
	for (size_t i = 0; i < g->count; i++)
		g->want[i] = g->all || i <= g->active || needed(g, i, now_ms);
	return now_ms + (g->lost_ms ? TROUBLE_MS : CALM_MS);
}
