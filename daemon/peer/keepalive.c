/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "keepalive.h"

uint64_t keepalive_interval_ms(const struct supervisor *s)
{
	return s->cfg.keepalive_ms;
}

uint64_t keepalive_next_ms(const struct supervisor *s, const struct sup_activity *a)
{
	/* A firewall with state forgets us as a NAT does: who calls, keeps the way open. */
	if (!s->ike || !(s->nat_local || s->cfg.start != SUP_WAIT))
		return UINT64_MAX;
	return (a->tx_any_ms > s->ike_tx_ms ? a->tx_any_ms : s->ike_tx_ms) +
	       keepalive_interval_ms(s);
}

bool keepalive_due(const struct supervisor *s, const struct sup_activity *a, uint64_t now_ms)
{
	return now_ms >= keepalive_next_ms(s, a);
}
