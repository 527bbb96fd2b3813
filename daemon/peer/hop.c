/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "hop.h"

#include "call.h"
#include "transport.h"

static bool waits(const struct sup_attempt *a)
{
	return a->state == SUP_AT_CALLING && a->host < SUP_HOSTS_MAX;
}

/* Since when the oldest request has no answer; 0: there is none. */
static uint64_t waits_since(const struct supervisor *s)
{
	/* A stream has its own way: see transport.h. */
	uint64_t since = s->ike && !transport_is_stream(&s->where.path) ? s->asked_ms : 0;

	for (size_t i = 0; i < s->attempt_count; i++)
		if (waits(&s->attempt[i]) && (!since || s->attempt[i].at_ms < since))
			since = s->attempt[i].at_ms;
	return since;
}

/* The socket whose turn it is, of those that reach @a and are not the usual one; -1: there is none. */
static int turn(const struct supervisor *s, const struct addr *a, uint32_t usual, uint64_t now_ms)
{
	size_t mine[SUP_SOCKS_MAX], n = 0, first;

	for (size_t i = 0; i < s->env->sock_count; i++)
		if (s->env->sock_set[i] == s->cfg.sock_set)
			mine[n++] = i;
	first = n ? (size_t)(now_ms / SUP_HOP_TURN_MS) % n : 0;
	for (size_t i = 0; i < n; i++) {
		int sock = call_sock(s, a, mine[(first + i) % n]);

		if (sock >= 0 && s->env->sock_number[sock] != usual)
			return sock;
	}
	return -1;
}

static void hop(struct supervisor *s, uint32_t ike, const struct sup_attempt *a,
		const struct addr *src, const struct endpoint *remote, uint32_t usual,
		uint64_t now_ms)
{
	int sock = turn(s, &remote->addr, usual, now_ms);
	struct engine_path via;

	if (sock < 0)
		return;
	via = call_path(s, (size_t)sock, src, remote);
	if (!call_depart(s, a, &via, now_ms))
		return;
	s->hops++;
	s->env->ops->retransmit(s->env->arg, ike, &via);
}

uint64_t hop_tick(struct supervisor *s, uint64_t now_ms)
{
	const struct addr any = { 0 };
	uint64_t since = waits_since(s);

	if (!since || s->cfg.start == SUP_WAIT || s->env->sock_count < 2) {
		s->hop_due_ms = 0;
		return UINT64_MAX;
	}
	if (!s->hop_due_ms)
		s->hop_due_ms = since + SUP_HOP_MS;
	if (now_ms < s->hop_due_ms)
		return s->hop_due_ms;
	/* Each is armed anew by this; the usual socket's turn comes before the next. */
	s->hop_due_ms = now_ms + call_gap_ms(s, now_ms) + call_gap_ms(s, now_ms);
	if (s->ike && !transport_is_stream(&s->where.path) && s->asked_ms &&
	    now_ms - s->asked_ms >= SUP_HOP_MS)
		hop(s, s->ike, NULL, &s->where.path.local.addr, &s->where.path.remote,
		    s->where.path.sock, now_ms);
	for (size_t i = 0; i < s->attempt_count; i++) {
		const struct sup_attempt *a = &s->attempt[i];

		if (waits(a) && now_ms - a->at_ms >= SUP_HOP_MS)
			hop(s, a->ike, a, &any, &a->remote,
			    s->env->sock_number[call_good(s)], now_ms);
	}
	return s->hop_due_ms;
}
