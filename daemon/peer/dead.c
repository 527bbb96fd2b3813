/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "dead.h"

static const struct sup_ops *ops(const struct supervisor *s)
{
	return s->env->ops;
}

static uint64_t later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static void try_others(struct supervisor *s, struct path_way *cur, uint64_t now_ms)
{
	struct path *p = s->path;

	if (p->tried_ms && now_ms - p->tried_ms < PATH_TURN_MS)
		return;
	p->tried_ms = now_ms;
	for (size_t n = 0; n < p->count; n++) {
		struct path_way *w = &p->way[p->turn++ % p->count];
		struct engine_path via;

		if (w == cur)
			continue;
		via = path_by(s, w);
		ops(s)->retransmit(s->env->arg, s->ike, &via);
		return;
	}
}

uint64_t dead_tick(struct supervisor *s, struct path_way *cur, uint64_t now_ms)
{
	struct path *p = s->path;
	struct sup_activity a = { 0 };
	uint64_t heard;

	if (s->asked_ms) {
		if (now_ms - s->asked_ms < PATH_OTHER_MS)
			return s->asked_ms + PATH_OTHER_MS;
		if (p->count < 2)
			return UINT64_MAX;
		try_others(s, cur, now_ms);
		return p->tried_ms + PATH_TURN_MS;
	}
	p->tried_ms = 0;
	if (p->count < 2)
		return UINT64_MAX;
	ops(s)->activity(s->env->arg, s->cfg.peer, &a);
	heard = later(a.rx_auth_ms, s->reply_ms);
	if (a.tx_data_ms <= heard)
		p->out_ms = 0;
	else if (!p->out_ms)
		p->out_ms = a.tx_data_ms;
	if (p->out_ms && now_ms - p->out_ms >= PATH_DUMB_MS) {
		p->out_ms = 0;
		sup_ask(s, now_ms);
		return now_ms + PATH_OTHER_MS;
	}
	return now_ms + PATH_TURN_MS;
}
