/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "keepalive.h"

#include <string.h>

#include "supervisor.h"
#include "wan.h"

#define SILENCE_MS   2000  /* shorter ones are traffic */
#define VERDICT_MS   5000  /* a change of port told later than this after a silence is not its effect, */
#define DOUBT_MS     30000 /* ... or this, where the question had to be repeated */
#define CALL_BYTES   600   /* what an attempt costs: IKE_SA_INIT of one call, and a copy */

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* A firewall with state forgets us as a NAT does: who calls, keeps the way open. */
static bool ours(const struct supervisor *s)
{
	return s->ike && (s->nat_local || s->cfg.start != SUP_WAIT);
}

static bool adaptive(const struct supervisor *s)
{
	return s->postern && s->ka.wan && !s->cfg.keepalive_ms;
}

uint64_t keepalive_interval_ms(const struct supervisor *s)
{
	uint64_t ms = s->cfg.keepalive_ms;

	if (!ms)
		ms = s->ka.wan ? wan_interval_ms(s->ka.wan) : WAN_START_MS;
	/* Nothing was measured between us and somebody who does not answer probes. */
	if (!s->cfg.keepalive_ms && !s->postern && !(s->ka.wan && wan_is_stretched(s->ka.wan)))
		ms = least(ms, WAN_FOREIGN_MS);
	return ms;
}

uint64_t keepalive_next_ms(struct supervisor *s, const struct sup_activity *a, uint64_t now_ms)
{
	uint64_t last = later(later(a->tx_any_ms, s->ike_tx_ms), s->ka.seen_ms), due;

	if (!ours(s))
		return UINT64_MAX;
	due = adaptive(s) ? wan_due_ms(s->ka.wan, last, now_ms, s->env->ops->random, s->env->arg)
			  : last + keepalive_interval_ms(s);
	return s->ka.settle_ms ? least(due, s->ka.settle_ms) : due;
}

/* ---- silences and what became of them ---- */

static void silence(struct keepalive *k, uint64_t from_ms, uint64_t to_ms)
{
	if (!from_ms || to_ms < from_ms + SILENCE_MS)
		return;
	k->gap_ms = to_ms - from_ms;
	k->gap_at_ms = to_ms;
	k->answered = false;
	k->doubt = false;
}

static void judged(struct keepalive *k)
{
	k->gap_at_ms = 0;
	k->answered = false;
	k->doubt = false;
}

void keepalive_left(struct supervisor *s, uint64_t now_ms)
{
	silence(&s->ka, later(s->ka.seen_ms, s->ike_tx_ms), now_ms);
	s->ka.seen_ms = now_ms;
}

static void answered(struct keepalive *k, uint64_t now_ms)
{
	k->row = 0;
	if (k->gap_at_ms && now_ms - k->gap_at_ms <= VERDICT_MS && !k->doubt)
		k->answered = true;
}

/* The far side sees us elsewhere; it is told again from there, and once more a little later. */
static void port_changed(struct supervisor *s, uint64_t now_ms)
{
	struct keepalive *k = &s->ka;
	uint64_t within = k->doubt ? DOUBT_MS : VERDICT_MS, gap;

	if (!ours(s) || now_ms < k->quiet_ms)
		return;
	gap = k->gap_at_ms && now_ms - k->gap_at_ms <= within ? k->gap_ms : 0;
	if (k->wan)
		wan_port_changed(k->wan, gap, now_ms);
	judged(k);
	k->settle_ms = now_ms + KEEPALIVE_SETTLE_MS;
	s->env->ops->dummy(s->env->arg, s->cfg.peer);
}

static void recount(struct supervisor *s)
{
	struct keepalive *k = &s->ka;
	bool count = k->wan && ours(s);

	if (count && !k->counted)
		k->wan->users++;
	else if (!count && k->counted)
		k->wan->users--;
	k->counted = count;
}

static void began(struct supervisor *s, uint64_t now_ms)
{
	struct keepalive *k = &s->ka;

	judged(k);
	k->row = 0;
	k->seen_ms = now_ms;
	k->quiet_ms = now_ms + KEEPALIVE_QUIET_MS;
	k->settle_ms = ours(s) ? now_ms + KEEPALIVE_SETTLE_MS : 0;
	k->sock = s->where.path.sock;
	k->local = s->where.path.local.addr;
}

/* From another port or address of our own: what the far side sees then says nothing about the NAT. */
static void look_at_path(struct supervisor *s, uint64_t now_ms)
{
	if (s->ka.sock != s->where.path.sock || !addr_eq(&s->ka.local, &s->where.path.local.addr))
		began(s, now_ms);
}

static void on_fx(struct supervisor *s, const struct fx *fx, uint64_t now_ms)
{
	switch (fx->kind) {
	case FX_PEER_UP:
		if (fx->up.ike == s->ike)
			began(s, now_ms);
		recount(s);
		break;
	case FX_PEER_DOWN:
		recount(s);
		break;
	case FX_REPLY:
		if (fx->reply.ike != s->ike)
			break;
		look_at_path(s, now_ms);
		answered(&s->ka, now_ms);
		break;
	case FX_UNANSWERED:
		if (fx->unanswered.ike == s->ike)
			s->ka.doubt = s->ka.gap_at_ms != 0;
		break;
	case FX_NAT_CHANGED:
		if (fx->reply.ike != s->ike || !s->postern)
			break;
		look_at_path(s, now_ms);
		port_changed(s, now_ms);
		s->due_ms = now_ms;
		break;
	default:
		break;
	}
}

const struct sup_hook keepalive_hook = { .fx = on_fx };

void keepalive_use(struct supervisor *s, struct wan *w, uint64_t now_ms)
{
	struct keepalive *k = &s->ka;

	if (k->wan != w) {
		if (k->counted)
			k->wan->users--;
		if (k->wan) {
			k->wan->refs--;
			began(s, now_ms); /* another way: what comes of its silences is its own */
		}
		if (w)
			w->refs++;
		k->counted = false;
		k->wan = w;
	}
	recount(s);
}

/* ---- what is to be sent ---- */

/* Rule (2) of liveness, a little early: then it takes the place of a keepalive. */
static bool question_due(const struct supervisor *s, uint64_t now_ms)
{
	uint64_t interval = keepalive_interval_ms(s), bound = later(SUP_START_ASK_MS, 2 * interval);

	return s->cfg.start != SUP_WAIT && now_ms - s->reply_ms + interval / 2 >= bound;
}

enum keepalive_what keepalive_look(struct supervisor *s, const struct sup_activity *a,
				   uint64_t now_ms)
{
	struct keepalive *k = &s->ka;
	uint64_t last;

	if (!ours(s))
		return KEEPALIVE_NONE;
	look_at_path(s, now_ms);
	last = later(k->seen_ms, s->ike_tx_ms);
	/* A packet of others that ended a silence: at least from then until we last looked. */
	if (a->tx_any_ms > last)
		silence(k, last, k->looked_ms);
	k->seen_ms = later(k->seen_ms, a->tx_any_ms);
	k->looked_ms = now_ms;
	if (k->answered) {
		if (k->wan)
			wan_kept(k->wan, k->gap_ms, now_ms);
		judged(k);
	}
	if (now_ms < keepalive_next_ms(s, a, now_ms))
		return KEEPALIVE_NONE;
	if (k->settle_ms && now_ms >= k->settle_ms) {
		k->settle_ms = 0;
		return s->postern ? KEEPALIVE_DUMMY : KEEPALIVE_0XFF;
	}
	if (!s->postern)
		return KEEPALIVE_0XFF;
	if (!s->asked_ms && (++k->row >= KEEPALIVE_ROW || question_due(s, now_ms))) {
		k->row = 0;
		return KEEPALIVE_ASK;
	}
	keepalive_left(s, now_ms);
	return KEEPALIVE_DUMMY;
}

uint64_t keepalive_retry_max_ms(const struct supervisor *s)
{
	return later(s->cfg.retry_max_ms, s->ka.wan ? wan_retry_ms(s->ka.wan, CALL_BYTES) : 0);
}

/* ---- the answering side ---- */

void keepalive_rebound(struct supervisor *s, uint64_t now_ms)
{
	uint64_t gap = s->rx_auth_ms ? now_ms - s->rx_auth_ms : 0;

	s->ka.rebind_gap_s[s->ka.gap_count % KEEPALIVE_GAPS] =
	    (uint16_t)least((gap + 999) / 1000, UINT16_MAX);
	if (++s->ka.gap_count == 2 * KEEPALIVE_GAPS)
		s->ka.gap_count = KEEPALIVE_GAPS;
}

uint64_t keepalive_rebind_median_ms(const struct supervisor *s)
{
	size_t n = s->ka.gap_count < KEEPALIVE_GAPS ? s->ka.gap_count : KEEPALIVE_GAPS;
	uint16_t v[KEEPALIVE_GAPS];

	for (size_t i = 0; i < n; i++) {
		size_t at = i;

		for (; at && v[at - 1] > s->ka.rebind_gap_s[i]; at--)
			v[at] = v[at - 1];
		v[at] = s->ka.rebind_gap_s[i];
	}
	return n ? v[n / 2] * 1000ull : 0;
}
