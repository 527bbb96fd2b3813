/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A reload gave the peer another mark, or took it away: what lives moves to the sockets that have it. */
#include "mark.h"

#include "call.h"
#include "transport.h"

static bool is_right(const struct supervisor *s, uint32_t sock)
{
	for (size_t i = 0; i < s->env->sock_count; i++)
		if (s->env->sock_number[i] == sock)
			return s->env->sock_set[i] == s->cfg.sock_set;
	return s->cfg.sock_set == 0; /* where the peer called us */
}

static void on_init(struct supervisor *s, uint64_t now_ms)
{
	const struct sup_ops *ops = s->env->ops;
	const struct endpoint *remote = &s->where.path.remote;
	const struct addr any = { 0 };
	struct engine_path to;
	int sock;

	if (s->cfg.start == SUP_WAIT || !s->ike || transport_is_stream(&s->where.path) ||
	    is_right(s, s->where.path.sock))
		return;
	sock = call_sock(s, &remote->addr, 0);
	if (sock < 0)
		return;
	to = call_path(s, (size_t)sock, &any, remote);
	endpoint_set(&s->where, &to);
	s->moves++;
	ops->move(s->env->arg, s->cfg.peer, &s->where.path, false, 0);
	ops->set_path(s->env->arg, s->ike, &s->where.path);
	if (s->postern)
		ops->dummy(s->env->arg, s->cfg.peer); /* the far side's data follows it */
	sup_ask_moved(s, now_ms);
}

const struct sup_hook mark_hook = { .init = on_init };
