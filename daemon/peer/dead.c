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

static uint64_t sooner(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t bounded(uint64_t ms, uint64_t least, uint64_t most)
{
	return ms < least ? least : ms > most ? most : ms;
}

static uint64_t rtt_ms(const struct supervisor *s, const struct path_way *cur)
{
	return cur && cur->rtt_ms != UINT32_MAX ? cur->rtt_ms : s->answer_ms;
}

/* ---- suspicion ---- */

/* Our data was the last word, or came with it. */
static bool unanswered(const struct supervisor *s, const struct sup_activity *a)
{
	return a->tx_data_ms > s->reply_ms && a->tx_data_ms >= a->rx_data_ms;
}

/* When that has lasted too long. One whose answers take longer, or never come, is not asked again so soon. */
static uint64_t suspect_ms(const struct supervisor *s, const struct path_way *cur,
			   const struct sup_activity *a)
{
	struct path *p = s->path;
	uint64_t dumb = bounded(4 * rtt_ms(s, cur), PATH_DUMB_MS, PATH_DUMB_MAX);

	if (!unanswered(s, a))
		p->out_ms = 0;
	else if (a->tx_first_ms >= later(a->rx_data_ms, s->reply_ms))
		p->out_ms = a->tx_first_ms;
	else if (!p->out_ms || p->out_ms < a->rx_data_ms)
		p->out_ms = a->tx_data_ms;
	return p->out_ms ? p->out_ms + bounded(dumb << p->vain, 0, PATH_DUMB_MAX) : UINT64_MAX;
}

/* One dummy at once and another one soon: they tell a lost request from a dead way. */
static void suspect(struct supervisor *s, struct path_way *cur, const struct sup_activity *a,
		    uint64_t now_ms)
{
	struct path *p = s->path;

	if (a->rx_data_ms > p->alarm_ms)
		p->vain = 0;
	else if (p->vain < 2)
		p->vain++;
	p->alarm_ms = now_ms;
	if (!s->asked_ms)
		sup_ask(s, now_ms);
	if (!cur || !s->postern || !ops(s)->test_way)
		return;
	p->prove_ms = now_ms + PATH_DUMB_MS;
	path_test(s, cur, now_ms);
}

/* ---- the other ways ---- */

static void by_way(struct supervisor *s, const struct path_way *w)
{
	struct engine_path via = path_by(s, w);

	ops(s)->retransmit(s->env->arg, s->ike, &via);
}

/* First all, then by turns. */
static void try_others(struct supervisor *s, const struct path_way *cur, uint64_t now_ms)
{
	struct path *p = s->path;
	bool all = !p->tried_ms;

	if (!all && now_ms - p->tried_ms < PATH_TURN_MS)
		return;
	p->tried_ms = now_ms;
	for (size_t n = 0; n < p->count; n++) {
		const struct path_way *w = all ? &p->way[n] : &p->way[p->turn++ % p->count];

		if (w == cur)
			continue;
		by_way(s, w);
		if (!all)
			return;
	}
}

/* Until when @cur has time to answer what was asked. */
static uint64_t others_ms(const struct supervisor *s, const struct path_way *cur,
			  const struct sup_activity *a)
{
	uint64_t alarm = s->path->alarm_ms;

	if (cur && cur->heard_ms > s->asked_ms) /* both directions live, and just the request got lost */
		return cur->heard_ms + PATH_OTHER_MS;
	if (alarm < s->asked_ms || a->rx_data_ms > alarm)
		return s->asked_ms + PATH_OTHER_MS;
	return alarm + bounded((s->postern ? PATH_SOON_MS : PATH_FOREIGN_MS) + 2 * rtt_ms(s, cur), 0,
			       PATH_OTHER_MS);
}

static uint64_t asked_tick(struct supervisor *s, struct path_way *cur,
			   const struct sup_activity *a, uint64_t now_ms)
{
	struct path *p = s->path;
	uint64_t suspicion = UINT64_MAX, due;

	if (p->count < 2)
		return UINT64_MAX;
	if (p->alarm_ms < s->asked_ms) {
		suspicion = suspect_ms(s, cur, a);
		if (now_ms >= suspicion)
			suspect(s, cur, a, now_ms);
		else if (suspicion == UINT64_MAX)
			suspicion = now_ms + PATH_TURN_MS;
	}
	if (p->prove_ms && cur && now_ms >= p->prove_ms) {
		p->prove_ms = cur->heard_ms > s->asked_ms ? now_ms + PATH_PROVE_MS : 0;
		path_test(s, cur, now_ms);
	}
	due = others_ms(s, cur, a);
	if (now_ms >= due) {
		try_others(s, cur, now_ms);
		due = p->tried_ms + PATH_TURN_MS;
	}
	if (p->prove_ms > now_ms)
		due = sooner(due, p->prove_ms);
	return suspicion > now_ms ? sooner(due, suspicion) : due;
}

uint64_t dead_tick(struct supervisor *s, struct path_way *cur, uint64_t now_ms)
{
	struct path *p = s->path;
	struct sup_activity a = { 0 };
	uint64_t due;

	ops(s)->activity(s->env->arg, s->cfg.peer, &a);
	if (s->asked_ms)
		return asked_tick(s, cur, &a, now_ms);
	p->tried_ms = 0;
	p->prove_ms = 0;
	if (p->count < 2)
		return UINT64_MAX;
	due = suspect_ms(s, cur, &a);
	if (now_ms >= due) {
		suspect(s, cur, &a, now_ms);
		return p->prove_ms ? p->prove_ms : others_ms(s, cur, &a);
	}
	return sooner(due, now_ms + (now_ms - a.tx_data_ms < PATH_BUSY_MS ? PATH_ASK_MS : PATH_TURN_MS));
}
