/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Questions of other hops about letters, on their way to the queue and back. Who asks is told to it by what nobody
 * can say of himself: posternd's name of the tunnel peer, or the address. One question of a session is under way at
 * a time; its number is new for each, so an answer for a session that is gone meets nobody.
 */
#include <stdio.h>

#include "match.h"
#include "smtpd.h"

bool traced_offered(const struct mta_config *cfg, const struct mta_listener *l,
		    const struct addr *client, const char *peer)
{
	if (cfg->cut_through) /* nothing is kept that could be told */
		return false;
	if (l->class == LISTEN_TUNNEL)
		return peer != NULL;
	for (size_t i = 0; i < l->trace_client_count; i++) {
		if (prefix_contains(&l->trace_clients[i], client))
			return true;
	}
	return false;
}

static void answer(struct conn *c, const struct msg_traced *m)
{
	c->trace = 0;
	session_traced(&c->s, m, loop_now_ms(c->d->ch->loop));
	connection_pump(c);
}

/* The configuration may have changed since EHLO. False: @no says why. */
static bool may_ask(const struct conn *c, struct msg_traced *no)
{
	const struct mta_config *cfg = c->d->ch->config;
	const struct mta_listener *l = answers_listener(c);
	const struct mta_home *home = c->peer[0] ? config_home_by_peer(cfg, c->peer) : NULL;
	struct reply r = { 550, "5.7.1 Nothing is told here" };
	bool shown = l && (l->client_cert != CLIENT_CERT_VERIFY || (c->tls && tls_verified(c->tls)));

	if (shown && traced_offered(cfg, l, &c->client, c->peer[0] ? c->peer : NULL)) {
		if (!home || answers_pinned(c, home))
			return true;
		r = answers_unpinned();
	}
	*no = (struct msg_traced){ .code = r.code, .text = r.text };
	return false;
}

void traced_ask(struct conn *c, const struct xtrace *x)
{
	struct msg_traced no = { .code = 451, .text = "4.3.0 Queue is not there, try again" };
	char args[XTRACE_ARGS_MAX], addr[ADDR_STR_MAX];
	struct msg_q_trace m = { .peer = c->peer,
				 .client = c->peer[0] ? "" : addr_str(&c->client, addr),
				 .args = xtrace_build(x, args) };
	struct smtpd *d = c->d;
	uint8_t buf[512];
	struct wr w = wr_init(buf, sizeof(buf));
	size_t n;

	c->trace = ++d->next_trace ? d->next_trace : ++d->next_trace;
	msg_q_trace_put(&w, &m);
	if (may_ask(c, &no) && d->queue && !wr_finish(&w, &n) &&
	    !ipc_send(d->queue, MSG_Q_TRACE, c->trace, buf, n))
		return;
	answer(c, &no);
}

void traced_answer(struct smtpd *d, uint32_t id, struct rd *r)
{
	struct conn *c = d->conns;
	struct msg_traced m;

	while (c && c->trace != id)
		c = c->next;
	if (!msg_traced_get(r, &m) && id && c)
		answer(c, &m);
}

void traced_lost(struct smtpd *d)
{
	static const struct msg_traced lost = { .code = 451,
						.text = "4.3.0 Queue went away, try again" };
	struct conn *c, *next;

	for (c = d->conns; c; c = next) {
		next = c->next; /* the answer may free @c, and only that */
		if (c->trace)
			answer(c, &lost);
	}
}
