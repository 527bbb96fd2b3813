/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "liveness.h"

#include "keepalive.h"

static uint64_t later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static bool older(uint64_t then_ms, uint64_t now_ms, uint64_t age_ms)
{
	return now_ms > then_ms && now_ms - then_ms >= age_ms;
}

uint64_t liveness_next_ms(const struct supervisor *s, const struct sup_activity *a)
{
	uint64_t due = UINT64_MAX, next;

	/* (1) Data, not keepalives, has left since the last proof, and the proof is old: both sides. */
	if (a->tx_data_ms > s->reply_ms)
		due = s->reply_ms + (s->eager ? SUP_EAGER_ASK_MS : SUP_DATA_ASK_MS);
	if (s->cfg.start == SUP_WAIT)
		/* (3) The waiting side misses an idle peer after three of its usual gaps. */
		next = later(a->rx_auth_ms, s->reply_ms) +
		       later(SUP_WAIT_ASK_MS, 3 * s->rx_gap_ms);
	else
		/* (2) The start side asks by time, more often where no authenticated dummy can be sent. */
		next = s->reply_ms + (s->postern ? later(SUP_START_ASK_MS, 2 * keepalive_interval_ms(s))
						 : SUP_FOREIGN_ASK_MS);
	return next < due ? next : due;
}

bool liveness_due(struct supervisor *s, const struct sup_activity *a, uint64_t now_ms)
{
	/*
	 * What went both ways a moment ago only leaves now: most likely the path has died, and each second
	 * until we know is one that the user sees. One small request is what it costs to be sure.
	 */
	if (a->tx_data_ms >= a->rx_auth_ms + SUP_DUMB_MS && a->rx_auth_ms > s->up_ms &&
	    !older(a->rx_auth_ms, now_ms, SUP_DUMB_LAST_MS) &&
	    older(s->reply_ms, now_ms, SUP_DUMB_PROOF_MS) &&
	    older(s->dumb_ms, now_ms, SUP_DUMB_PACE_MS)) {
		s->dumb_ms = now_ms;
		return true;
	}
	return now_ms >= liveness_next_ms(s, a);
}

void liveness_heard(struct supervisor *s, uint64_t rx_auth_ms)
{
	uint64_t gap;

	if (!s->rx_auth_ms || rx_auth_ms <= s->rx_auth_ms) {
		s->rx_auth_ms = later(s->rx_auth_ms, rx_auth_ms);
		return;
	}
	gap = rx_auth_ms - s->rx_auth_ms;
	s->rx_auth_ms = rx_auth_ms;
	if (gap < SUP_SAMPLE_MS)
		return; /* busy: says nothing about how long its pauses are */
	s->rx_gap_ms = s->rx_gap_ms ? (7 * s->rx_gap_ms + gap) / 8 : gap;
}
