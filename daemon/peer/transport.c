/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "transport.h"

#include <stdlib.h>
#include <string.h>

#include "call.h"

enum try_state { TRY_IDLE, TRY_CONNECTING, TRY_OPEN, TRY_CALLING };

struct transport_try {
	enum try_state state;
	struct endpoint to;
	bool tls;
	struct engine_path path; /* OPEN, CALLING */
	uint32_t ike;		 /* CALLING */
	uint64_t at_ms;		 /* when it came into its state */
};

/* There only for a peer that needed it. */
struct sup_transport {
	struct transport_try try[TRANSPORT_TRIES_MAX];
	uint64_t since_ms; /* called without an answer since; 0: not */
	uint64_t next_ms;  /* when to try what is not being tried */
	uint64_t probe_ms;
	unsigned probed; /* which UDP port had the last probe */
	bool on_stream;
	bool broken; /* the live stream is: nothing has to be waited for */
};

static const struct sup_ops *ops(const struct supervisor *s)
{
	return s->env->ops;
}

static bool on_stream(const struct supervisor *s)
{
	return s->ike && transport_is_stream(&s->where.path);
}

static bool possible(const struct supervisor *s)
{
	return s->cfg.start != SUP_WAIT && !s->admin_down && ops(s)->connect &&
	       (s->cfg.transport.udp_count ||
		(s->cfg.transport.tcp != SUP_TCP_NEVER && s->cfg.transport.tcp_count));
}

static struct sup_transport *state_of(struct supervisor *s)
{
	if (!s->transport)
		s->transport = calloc(1, sizeof(*s->transport));
	return s->transport;
}

void transport_clear(struct supervisor *s)
{
	free(s->transport);
	s->transport = NULL;
}

/* ---- tries ---- */

static void try_end(struct supervisor *s, struct transport_try *t)
{
	if (t->state == TRY_OPEN || t->state == TRY_CALLING)
		ops(s)->disconnect(s->env->arg, t->path.sock);
	memset(t, 0, sizeof(*t));
}

static void tries_end(struct supervisor *s)
{
	for (int i = 0; s->transport && i < TRANSPORT_TRIES_MAX; i++)
		try_end(s, &s->transport->try[i]);
}

/*
 * UDP answers: no stream is needed any more, but for a call that was answered by one. Its IKE_AUTH is out, and the
 * far side may have taken that for the newest IKE SA already, which it tells by this stream alone (RFC 9329 s3).
 */
static void tries_end_unanswered(struct supervisor *s)
{
	for (int i = 0; s->transport && i < TRANSPORT_TRIES_MAX; i++) {
		struct transport_try *t = &s->transport->try[i];

		if (t->state == TRY_CALLING && call_find(s, t->ike)) {
			if (ops(s)->answered(s->env->arg, t->ike))
				continue;
			call_drop(s, t->ike);
		}
		try_end(s, t);
	}
}

static void try_begin(struct supervisor *s, const struct endpoint *to, bool tls, uint64_t now_ms)
{
	struct transport_try *room = NULL;

	for (int i = 0; i < TRANSPORT_TRIES_MAX; i++) {
		struct transport_try *t = &s->transport->try[i];

		if (t->state == TRY_IDLE)
			room = room ? room : t;
		else if (endpoint_eq(&t->to, to) && t->tls == tls)
			return;
	}
	if (!room || ops(s)->connect(s->env->arg, s->cfg.peer, to, tls))
		return;
	*room = (struct transport_try){
		.state = TRY_CONNECTING, .to = *to, .tls = tls, .at_ms = now_ms
	};
}

static void call_at(struct supervisor *s, const struct addr *a, size_t host, uint64_t now_ms)
{
	const struct sup_transport_config *c = &s->cfg.transport;

	for (int i = 0; i < c->udp_count && c->tcp != SUP_TCP_ALWAYS; i++) {
		struct endpoint e = { *a, c->udp[i] };

		call_add(s, &e, host, now_ms);
	}
	for (int i = 0; i < c->tcp_count && c->tcp != SUP_TCP_NEVER; i++) {
		struct endpoint e = { *a, c->tcp_port[i] };

		try_begin(s, &e, c->tls >> i & 1, now_ms);
	}
}

static void begin(struct supervisor *s, uint64_t now_ms)
{
	const struct sup_names *n = s->memory.names;

	s->transport->next_ms =
	    now_ms + (s->cfg.retry_max_ms > TRANSPORT_RETRY_MS ? s->cfg.retry_max_ms
							       : TRANSPORT_RETRY_MS);
	if (s->ike)
		call_at(s, &s->where.path.remote.addr, SUP_HOSTS_MAX, now_ms);
	for (size_t h = 0; h < s->cfg.host_count; h++) {
		if (!s->cfg.host[h].name)
			call_at(s, &s->cfg.host[h].addr, h, now_ms);
		for (int i = 0; s->cfg.host[h].name && n && i < n->count[h]; i++)
			call_at(s, &n->addr[h][i], h, now_ms);
	}
}

/* Has the far side said anything in a call by UDP? Then nothing is blocked. By a stream it is what that is for. */
static bool answered(const struct supervisor *s)
{
	for (size_t i = 0; i < s->attempt_count; i++)
		if (s->attempt[i].state == SUP_AT_CALLING && !s->attempt[i].stream &&
		    ops(s)->answered(s->env->arg, s->attempt[i].ike))
			return true;
	return false;
}

/* Since when it has been called in vain; 0: it has not. */
static uint64_t in_vain_since(struct supervisor *s, uint64_t now_ms)
{
	struct sup_transport *t = s->transport;

	if (s->ike)
		return s->asked_ms;
	if (!call_wanted(s, now_ms) || now_ms < s->refused_until_ms || answered(s)) {
		t->since_ms = 0;
		return 0;
	}
	if (!t->since_ms)
		t->since_ms = now_ms;
	return t->since_ms;
}

/*
 * Until when an open stream leaves it to UDP. A live IKE SA whose source port is eaten on the way needs
 * but another one, which the hop brings a second after the stream was begun: no new keys for that.
 */
static uint64_t udp_first_ms(const struct supervisor *s, const struct transport_try *t)
{
	uint64_t until = t->at_ms + TRANSPORT_HEADSTART_MS, hop;

	if (s->cfg.transport.tcp == SUP_TCP_ALWAYS)
		return 0;
	if (!s->ike || !s->asked_ms || on_stream(s))
		return until;
	hop = s->asked_ms + SUP_HOP_MS + TRANSPORT_HOP_WAIT_MS;
	return hop > until ? hop : until;
}

/*
 * One call by a stream at a time, in the order of the configuration, unless it gets no answer: two that
 * authenticate in the same moment are two IKE SAs of which each side may keep the other.
 */
static uint64_t turn_ms(const struct supervisor *s, uint64_t now_ms)
{
	for (int i = 0; i < TRANSPORT_TRIES_MAX; i++) {
		const struct transport_try *t = &s->transport->try[i];

		if (t->state != TRY_CALLING)
			continue;
		if (ops(s)->answered(s->env->arg, t->ike))
			return now_ms + TRANSPORT_ALONE_MS;
		if (now_ms - t->at_ms < TRANSPORT_ALONE_MS)
			return t->at_ms + TRANSPORT_ALONE_MS;
	}
	return now_ms;
}

static uint64_t try_tick(struct supervisor *s, struct transport_try *t, uint64_t now_ms)
{
	uint64_t turn;

	switch (t->state) {
	case TRY_CONNECTING:
		if (now_ms - t->at_ms < TRANSPORT_CONNECT_MS)
			return t->at_ms + TRANSPORT_CONNECT_MS;
		try_end(s, t);
		break;
	case TRY_OPEN:
		turn = udp_first_ms(s, t);
		if (now_ms < turn)
			return turn;
		turn = turn_ms(s, now_ms);
		if (turn > now_ms)
			return turn;
		t->ike = call_stream(s, &t->path, now_ms);
		if (!t->ike) {
			try_end(s, t);
			break;
		}
		t->state = TRY_CALLING;
		t->at_ms = now_ms;
		break;
	case TRY_CALLING:
		if (s->ike != t->ike && !call_find(s, t->ike))
			try_end(s, t);
		break;
	default:
		break;
	}
	return UINT64_MAX;
}

/* ---- back to UDP ---- */

static uint64_t probe_tick(struct supervisor *s, uint64_t now_ms)
{
	const struct sup_transport_config *c = &s->cfg.transport;
	struct sup_transport *t = s->transport;
	struct engine_path via;
	struct endpoint to;
	int sock;

	if (now_ms < t->probe_ms)
		return t->probe_ms;
	t->probe_ms = now_ms + TRANSPORT_PROBE_MS +
		      ops(s)->random(s->env->arg, TRANSPORT_PROBE_MS + 1);
	if (s->asked_ms)
		t->probe_ms = now_ms + TRANSPORT_PROBE_SOON_MS; /* the stream may be the dead one */
	to = (struct endpoint){ s->where.path.remote.addr, s->cfg.port };
	if (t->probed > c->udp_count)
		t->probed = 0; /* a reload took ports away */
	if (t->probed)
		to.port = c->udp[t->probed - 1];
	t->probed = (t->probed + 1) % (c->udp_count + 1u);
	sock = call_sock(s, &to.addr, 0);
	if (sock < 0 || !ops(s)->probe)
		return t->probe_ms;
	via = call_path(s, (size_t)sock, &s->where.path.local.addr, &to);
	if (!call_depart(s, NULL, &via, now_ms))
		return t->probe_ms;
	/* One request at a time: what is out already serves as well. */
	if (s->asked_ms)
		ops(s)->retransmit(s->env->arg, s->ike, &via);
	else
		ops(s)->probe(s->env->arg, s->ike, &via);
	return t->probe_ms;
}

/* ---- the hook ---- */

static uint64_t tick(struct supervisor *s, uint64_t now_ms)
{
	bool always = s->cfg.transport.tcp == SUP_TCP_ALWAYS;
	uint64_t since, from, due = UINT64_MAX, next;
	struct sup_transport *t;

	if (!possible(s)) {
		tries_end(s);
		return UINT64_MAX;
	}
	t = state_of(s);
	if (!t)
		return UINT64_MAX;
	since = in_vain_since(s, now_ms);
	if (since) {
		/* A stream that broke says at once what silence says after a while. */
		from = always || t->broken ? since : since + (s->ike ? TRANSPORT_ASKED_MS
							     : TRANSPORT_AFTER_MS);
		if (from < t->next_ms)
			from = t->next_ms;
		if (now_ms >= from) {
			begin(s, now_ms);
			from = t->next_ms;
		}
		due = from;
	} else {
		tries_end_unanswered(s);
	}
	for (int i = 0; i < TRANSPORT_TRIES_MAX; i++) {
		next = try_tick(s, &t->try[i], now_ms);
		due = next < due ? next : due;
	}
	if (on_stream(s) && !always) {
		next = probe_tick(s, now_ms);
		due = next < due ? next : due;
	}
	return due;
}

static bool depart(struct supervisor *s, const struct sup_attempt *a, struct engine_path *path,
		   uint64_t now_ms)
{
	(void)a;
	(void)now_ms;
	return transport_is_stream(path) || s->cfg.transport.tcp != SUP_TCP_ALWAYS ||
	       s->cfg.start == SUP_WAIT;
}

static void fx_came(struct supervisor *s, const struct fx *fx, uint64_t now_ms)
{
	struct sup_transport *t = s->transport;

	if (!t || (fx->kind != FX_PEER_UP && fx->kind != FX_REPLY))
		return;
	if (!s->ike || (fx->kind == FX_PEER_UP ? fx->up.ike : fx->reply.ike) != s->ike)
		return;
	/* The stream of the one that is up is not a try any more. */
	for (int i = 0; i < TRANSPORT_TRIES_MAX; i++)
		if (t->try[i].state == TRY_CALLING && t->try[i].path.sock == s->where.path.sock)
			memset(&t->try[i], 0, sizeof(t->try[i]));
	tries_end_unanswered(s);
	t->since_ms = 0;
	t->next_ms = 0;
	t->broken = false;
	if (on_stream(s) && !t->on_stream) {
		s->tcp_ups++;
		t->probed = 0;
		t->probe_ms = now_ms + TRANSPORT_PROBE_FIRST_MS;
	} else if (!on_stream(s) && t->on_stream) {
		s->udp_returns++;
	}
	t->on_stream = on_stream(s);
}

static void network(struct supervisor *s, uint64_t now_ms)
{
	if (s->transport && on_stream(s))
		s->transport->probe_ms = now_ms;
}

uint64_t transport_udp_ms(const struct supervisor *s)
{
	return s->transport && on_stream(s) && possible(s) && s->cfg.transport.tcp != SUP_TCP_ALWAYS
		   ? s->transport->probe_ms
		   : 0;
}

const struct sup_hook transport_hook = {
	.tick = tick, .depart = depart, .fx = fx_came, .network = network
};

/* ---- answers ---- */

void sup_on_stream(struct supervisor *s, const struct endpoint *to, bool tls, int status,
		   const struct engine_path *path, uint64_t now_ms)
{
	for (int i = 0; s->transport && i < TRANSPORT_TRIES_MAX; i++) {
		struct transport_try *t = &s->transport->try[i];

		if (t->state != TRY_CONNECTING || !endpoint_eq(&t->to, to) || t->tls != tls)
			continue;
		s->due_ms = now_ms;
		if (status) {
			memset(t, 0, sizeof(*t));
			return;
		}
		t->state = TRY_OPEN;
		t->path = *path;
		t->at_ms = now_ms;
		if (s->ike && s->asked_ms && !on_stream(s))
			ops(s)->retransmit(s->env->arg, s->ike, NULL);
		for (size_t k = 0; k < s->attempt_count; k++)
			if (s->attempt[k].state == SUP_AT_CALLING && !s->attempt[k].stream)
				ops(s)->retransmit(s->env->arg, s->attempt[k].ike, NULL);
		return;
	}
	if (!status)
		ops(s)->disconnect(s->env->arg, path->sock);
}

bool sup_tries(const struct supervisor *s, uint32_t sock)
{
	for (int i = 0; s->transport && i < TRANSPORT_TRIES_MAX; i++)
		if (s->transport->try[i].state != TRY_IDLE &&
		    s->transport->try[i].path.sock == sock)
			return true;
	return false;
}

void sup_on_stream_gone(struct supervisor *s, uint32_t sock, uint64_t now_ms)
{
	for (int i = 0; s->transport && i < TRANSPORT_TRIES_MAX; i++) {
		struct transport_try *t = &s->transport->try[i];

		if (t->path.sock != sock || (t->state != TRY_OPEN && t->state != TRY_CALLING))
			continue;
		if (t->state == TRY_CALLING)
			call_drop(s, t->ike);
		memset(t, 0, sizeof(*t));
	}
	if (!s->ike || s->where.path.sock != sock)
		return;
	/* What is asked now goes nowhere, and the calls beside it begin at once. */
	sup_ask(s, now_ms);
	if (s->transport)
		s->transport->broken = true;
	s->hinted = s->cfg.start != SUP_WAIT;
	s->next_call_ms = now_ms;
	s->due_ms = now_ms;
}
