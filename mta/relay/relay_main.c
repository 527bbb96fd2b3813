/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "relay.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "sandbox.h"
#include "secret.h"

#define RESULT_MAX IPC_PAYLOAD_MAX

/* ---- results ---- */

void relay_settle(struct attempt *a, enum rcpt_result result, enum fault_scope scope, uint16_t code,
		  const char *enhanced, const char *text)
{
	for (size_t i = 0; i < a->letter.rcpt_count; i++) {
		struct out_rcpt *r = &a->letter.rcpt[i];

		if (r->settled)
			continue;
		r->settled = true;
		r->result = (uint8_t)result;
		r->scope = (uint8_t)scope;
		r->reply.code = code;
		snprintf(r->reply.enhanced, sizeof(r->reply.enhanced), "%s", enhanced);
		snprintf(r->reply.text, sizeof(r->reply.text), "%s", text);
	}
}

static void log_result(const struct attempt *a, const struct out_rcpt *r)
{
	static const char *const words[] = { "delivered", "deferred", "failed", "not-tried" };
	char id[LETTER_ID_STR_MAX], rcpt[400], text[1100];

	if (r->result == RCPT_RES_NOT_TRIED)
		return;
	log_info(NULL, "letter=%s to=%s route=%s hop=%s result=%s code=%u reply=\"%s\"",
		 letter_id_str(a->env.id, id),
		 log_quote(rcpt, sizeof(rcpt), r->addr, strlen(r->addr)), a->msg.route,
		 a->msg.next_hop, words[r->result], r->reply.code,
		 log_quote(text, sizeof(text), r->reply.text, strlen(r->reply.text)));
}

void relay_answer(struct attempt *a)
{
	static uint8_t out[RESULT_MAX], rcpts[RESULT_MAX];
	struct wr w = wr_init(out, sizeof(out)), rw = wr_init(rcpts, sizeof(rcpts));
	struct msg_r_result m = { .host = "" };
	const struct conn *c = a->conn;
	/* 512 bytes of text for each of 1000 recipients do not fit; less for each then. */
	size_t text_max = a->letter.rcpt_count > 60 ? 20 : 500, len;

	if (a->answered)
		return;
	a->answered = true;
	for (size_t i = 0; i < a->letter.rcpt_count; i++) {
		struct out_rcpt *r = &a->letter.rcpt[i];
		char text[REPLY_TEXT_MAX + 1];
		struct msg_r_rcpt_result one = { .index = a->index[i],
						 .result = r->result,
						 .scope = r->scope,
						 .code = r->reply.code,
						 .enhanced = r->reply.enhanced,
						 .text = text };

		snprintf(text, sizeof(text), "%.*s", (int)text_max, r->reply.text);
		msg_r_rcpt_result_put(&rw, &one);
		log_result(a, r);
	}
	if (c && c->dial.count) {
		const struct dial_target *t = &c->dial.target[c->target];

		m.host = t->path[0] ? t->path : t->name;
		m.address = t->at.addr;
		m.families_failed = c->dial.failed;
		m.families_ok = c->dial.ok;
	}
	m.rcpt_count = (uint16_t)a->letter.rcpt_count;
	m.rcpts = rd_init(rcpts, rw.len);
	msg_r_result_put(&w, &m);
	if (rw.bad || wr_finish(&w, &len)) {
		log_err(NULL, "a result does not fit");
		len = 0;
	}
	if (a->body_fd >= 0)
		close(a->body_fd);
	a->body_fd = -1;
	if (a->conn)
		a->conn->uncommitted++;
	if (a->relay->queue && len)
		ipc_send(a->relay->queue, MSG_R_RESULT, a->id, out, len);
}

static void attempt_free(struct attempt *a)
{
	hash_remove(&a->relay->attempts, &a->node);
	if (a->body_fd >= 0)
		close(a->body_fd);
	envelope_clear(&a->env);
	free(a->letter.rcpt);
	free(a->index);
	free(a->data);
	free(a);
}

static void grant(struct relay *r, uint32_t n)
{
	uint8_t b[4];
	struct wr w = wr_init(b, sizeof(b));

	wr_be32(&w, n);
	if (r->queue)
		ipc_send(r->queue, MSG_R_CREDIT, 0, b, sizeof(b));
}

static struct attempt *find(struct relay *r, uint32_t id)
{
	struct hash_node *n = hash_first(&r->attempts, id);

	return n ? (struct attempt *)n : NULL;
}

static void on_committed(struct relay *r, uint32_t id)
{
	struct attempt *a = find(r, id);
	struct conn *c = a ? a->conn : NULL;

	if (!a || !a->answered) {
		log_err(NULL, "the queue committed what was not answered");
		return;
	}
	attempt_free(a);
	grant(r, 1);
	if (!c)
		return;
	c->uncommitted--;
	relay_pump(c->hop);
}

/* ---- hops ---- */

const struct mta_route *relay_route(const struct hop *h)
{
	return config_route(h->relay->ch->config, h->route_name);
}

static struct hop *hop_get(struct relay *r, const char *route, const char *next_hop)
{
	char key[MTA_NAME_MAX + ROUTE_HOP_MAX];
	struct hash_node *n;
	struct hop *h;
	uint64_t hash;

	snprintf(key, sizeof(key), "%s %s", route, next_hop);
	hash = hash_bytes(key, strlen(key));
	for (n = hash_first(&r->hops, hash); n; n = hash_next(n)) {
		h = (struct hop *)n;
		if (!strcmp(h->route_name, route) && !strcmp(h->next_hop, next_hop))
			return h;
	}
	h = calloc(1, sizeof(*h));
	if (!h)
		return NULL;
	h->relay = r;
	h->waiting_tail = &h->waiting;
	snprintf(h->route_name, sizeof(h->route_name), "%s", route);
	snprintf(h->next_hop, sizeof(h->next_hop), "%s", next_hop);
	if (hash_insert(&r->hops, &h->node, hash)) {
		free(h);
		return NULL;
	}
	return h;
}

struct attempt *relay_pop(struct hop *h)
{
	struct attempt *a = h->waiting;

	if (!a)
		return NULL;
	h->waiting = a->next;
	if (!h->waiting)
		h->waiting_tail = &h->waiting;
	h->waiting_count--;
	a->next = NULL;
	return a;
}

static void hop_add(struct hop *h, struct attempt *a)
{
	*h->waiting_tail = a;
	h->waiting_tail = &a->next;
	h->waiting_count++;
}

void relay_fail_waiting(struct hop *h, enum rcpt_result result, enum fault_scope scope,
			uint16_t code, const char *enhanced, const char *text)
{
	struct attempt *a;
	bool first = true;

	/* A firm no (no such domain) holds for each of them. */
	while ((a = relay_pop(h))) {
		if (first || scope != SCOPE_HOST)
			relay_settle(a, result, scope, code, enhanced, text);
		else
			relay_settle(a, RCPT_RES_NOT_TRIED, SCOPE_NONE, 0, "", "");
		first = false;
		relay_answer(a);
	}
}

/* Give what waits to who can take it, and open connections for the rest. */
void relay_pump(struct hop *h)
{
	const struct mta_route *route = relay_route(h);
	size_t count = 0, opening = 0;
	struct attempt *a;

	if (!route) {
		while ((a = relay_pop(h))) {
			relay_settle(a, RCPT_RES_NOT_TRIED, SCOPE_NONE, 0, "", "");
			relay_answer(a);
		}
		return;
	}
	if (route->kind == ROUTE_DELIVER) {
		while ((a = relay_pop(h)))
			mailbox_deliver(a);
		return;
	}
	for (struct conn *c = h->conns; c; c = c->next) {
		if (c->dead)
			continue;
		while (h->waiting && conn_can_take(c))
			conn_give(c, relay_pop(h));
		count++;
		opening += conn_opening(c);
		conn_check_idle(c);
	}
	/* Over the tunnel one session carries many letters at once: another only when it is full. */
	while (h->waiting_count > opening && count < route->sessions_max &&
	       h->relay->conn_count < CONNS_MAX && !(route->kind == ROUTE_TUNNEL && opening)) {
		int rc =
		    h->waiting->msg.flags & MSG_R_PROBE && count ? -EBUSY : conn_new(h, h->waiting);

		if (rc)
			break;
		count++;
		opening++;
	}
	if (!h->waiting && !h->conns)
		relay_reap_soon(h->relay);
}

void relay_reap_soon(struct relay *r)
{
	timer_set(loop_timers(r->ch->loop), &r->reap, loop_now_ms(r->ch->loop));
}

static void reap_hop(struct hash_node *n, void *arg)
{
	struct relay *r = arg;
	struct hop *h = (struct hop *)n;
	struct conn **at = &h->conns;

	while (*at) {
		struct conn *c = *at;

		if (!c->dead) {
			at = &c->next;
			continue;
		}
		*at = c->next;
		conn_free(c);
	}
	if (h->conns || h->waiting)
		return;
	hash_remove(&r->hops, n);
	free(h);
}

static void pump_hop(struct hash_node *n, void *arg)
{
	struct hop *h = (struct hop *)n;

	(void)arg;
	if (h->waiting)
		relay_pump(h);
}

static void on_reap(struct timer *t, uint64_t now_ms)
{
	struct relay *r = t->arg;

	(void)now_ms;
	hash_each(&r->hops, reap_hop, r);
	hash_each(&r->hops, pump_hop, r); /* room became free */
}

/* ---- attempts ---- */

static ssize_t read_body(struct out_letter *l, uint64_t off, void *buf, size_t len)
{
	struct attempt *a = l->arg;
	ssize_t n;

	if (a->body_fd >= 0) {
		do
			n = pread(a->body_fd, buf, len, (off_t)(a->msg.body_off + off));
		while (n < 0 && errno == EINTR);
		return n;
	}
	if (off >= a->msg.body_len)
		return 0;
	if (len > a->msg.body_len - off)
		len = (size_t)(a->msg.body_len - off);
	memcpy(buf, a->msg.body + off, len);
	return (ssize_t)len;
}

/* 0, -EBADMSG or -ENOMEM. */
static int attempt_parse(struct attempt *a, size_t len)
{
	struct rd in = rd_init(a->data, len);
	int rc = msg_r_attempt_get(&in, &a->msg);

	if (!rc)
		rc = envelope_parse(&a->env, a->msg.env, a->msg.env_len);
	if (rc)
		return rc;
	a->letter.rcpt = calloc(a->msg.rcpt_count ? a->msg.rcpt_count : 1, sizeof(*a->letter.rcpt));
	a->index = calloc(a->msg.rcpt_count ? a->msg.rcpt_count : 1, sizeof(*a->index));
	if (!a->letter.rcpt || !a->index)
		return -ENOMEM;
	in = a->msg.rcpts;
	for (size_t i = 0; i < a->msg.rcpt_count; i++) {
		struct msg_r_rcpt r;

		rc = msg_r_rcpt_get(&in, &r);
		if (rc)
			return rc;
		a->letter.rcpt[i] =
		    (struct out_rcpt){ .addr = r.addr, .orcpt = r.orcpt, .notify = r.notify };
		a->index[i] = r.index;
	}
	a->letter.rcpt_count = a->msg.rcpt_count;
	a->letter.sender = a->env.sender;
	a->letter.flags = a->env.flags;
	a->letter.envid = a->env.envid;
	a->letter.size = a->msg.body_len;
	a->letter.read = read_body;
	a->letter.arg = a;
	if (!xpostern_params(&a->env, a->msg.seq, a->msg.low_seq, a->hop_params))
		a->letter.hop_params = a->hop_params;
	return 0;
}

static void on_attempt(struct relay *r, struct ipc_msg *m)
{
	struct attempt *a = calloc(1, sizeof(*a));
	struct hop *h = NULL;
	int rc = -ENOMEM;

	if (!a)
		return;
	a->relay = r;
	a->id = m->id;
	a->body_fd = -1;
	a->data = malloc(m->len ? m->len : 1);
	if (a->data && !hash_insert(&r->attempts, &a->node, a->id)) {
		memcpy(a->data, m->data, m->len);
		rc = attempt_parse(a, m->len);
	} else {
		free(a->data);
		free(a);
		return;
	}
	if (rc) {
		log_err(NULL, "an attempt of the queue is not understood: %s", strerror(-rc));
		attempt_free(a);
		return;
	}
	if (!(a->msg.flags & MSG_R_INLINE) && m->fd_count == 1) {
		a->body_fd = m->fd[0];
		m->fd[0] = -1;
	}
	if (config_route(r->ch->config, a->msg.route))
		h = hop_get(r, a->msg.route, a->msg.next_hop);
	if (!h ||
	    ((a->msg.flags & MSG_R_INLINE) ? !a->msg.body && a->msg.body_len : a->body_fd < 0)) {
		relay_settle(a, RCPT_RES_NOT_TRIED, SCOPE_NONE, 0, "", "");
		relay_answer(a);
		return;
	}
	hop_add(h, a);
	relay_pump(h);
}

static void on_cancel(struct relay *r, uint32_t id)
{
	struct attempt *a = find(r, id);
	struct hop *h = a ? hop_get(r, a->msg.route, a->msg.next_hop) : NULL;
	struct attempt **at = h ? &h->waiting : NULL;

	/* Under way it runs to its end; waiting it is taken out. */
	for (; at && *at; at = &(*at)->next) {
		if (*at != a)
			continue;
		*at = a->next;
		if (!*at)
			h->waiting_tail = at;
		h->waiting_count--;
		relay_settle(a, RCPT_RES_NOT_TRIED, SCOPE_NONE, 0, "", "");
		relay_answer(a);
		return;
	}
}

static void on_message(struct ipc *ipc, struct ipc_msg *m, void *arg)
{
	struct relay *r = arg;

	(void)ipc;
	switch (m->type) {
	case MSG_R_ATTEMPT:
		on_attempt(r, m);
		break;
	case MSG_R_COMMITTED:
		on_committed(r, m->id);
		break;
	case MSG_R_CANCEL:
		on_cancel(r, m->id);
		break;
	default:
		log_err(NULL, "unknown message type=%u from the queue", m->type);
	}
}

/* ---- links ---- */

static void drop_conns(struct hash_node *n, void *arg)
{
	struct hop *h = (struct hop *)n;

	(void)arg;
	while (relay_pop(h))
		;
	for (struct conn *c = h->conns; c; c = c->next)
		conn_close(c, "the queue was restarted");
}

static void drop_attempt(struct hash_node *n, void *arg)
{
	struct attempt *a = (struct attempt *)n;

	(void)arg;
	if (!a->mailbox_open) {
		attempt_free(a);
		return;
	}
	/* mailbox.c frees it with its last answer; its id may be another attempt's by then. */
	a->answered = true;
	a->orphan = true;
	hash_remove(&a->relay->attempts, &a->node);
}

/*
 * All that is under way is void for the queue that comes next. Sessions are cut before the dot where
 * that has not left, which saves a duplicate.
 */
static void on_queue_gone(struct relay *r)
{
	hash_each(&r->hops, drop_conns, r);
	hash_each(&r->attempts, drop_attempt, r);
	relay_reap_soon(r);
}

static void on_closed(struct ipc *ipc, void *arg)
{
	struct relay *r = arg;

	ipc_free(ipc);
	r->queue = NULL;
	on_queue_gone(r);
}

static void on_peer(struct child *ch, enum mta_proc who, int fd)
{
	static const struct ipc_ops ops = { .message = on_message, .closed = on_closed };
	struct relay *r = ch->state;

	if (who == MTA_PROC_LOOKUP) {
		if (lookup_attach(r->lookup, fd))
			log_err(NULL, "cannot join lookup");
		return;
	}
	if (r->queue) {
		ipc_free(r->queue);
		r->queue = NULL;
		on_queue_gone(r);
	}
	r->queue = ipc_new(ch->loop, fd, &ops, r);
	if (!r->queue)
		log_err(NULL, "cannot join the queue: %s", strerror(errno));
	else
		grant(r, CREDITS);
}

/* ---- life ---- */

/* No file at all: bodies come from the queue as descriptors, certificates from the parent. */
static const struct sandbox_role role = {
	.name = "relay",
	.calls = SANDBOX_IPC | SANDBOX_INET | SANDBOX_UNIX | SANDBOX_SYNC,
	.extra = { "memfd_create" },
	.ring_register = { -1 },
};

static int confine(void)
{
	struct tls_client_conf none = { .verify = TLS_VERIFY_NONE };
	char err[TLS_ERROR_MAX];
	struct tls_ctx *ctx;
	int rc;

	/* OpenSSL reads its configuration with the first context, while it still can. */
	if (!tls_client_ctx_new(&ctx, &none, err))
		tls_ctx_put(ctx);
	rc = sandbox_opened(&role, NULL, 0);
	return rc ? rc : sandbox_run(&role);
}

static int on_start(struct child *ch)
{
	struct relay *r = ch->state;

	r->ch = ch;
	r->reap = (struct timer){ .fire = on_reap, .arg = r };
	r->lookup = lookup_new(ch->loop);
	mailbox_init(r);
	return r->lookup ? confine() : -ENOMEM;
}

static void forget_passwords(struct relay *r)
{
	for (size_t i = 0; i < r->password_count; i++) {
		if (r->passwords[i].password)
			secret_wipe(r->passwords[i].password, strlen(r->passwords[i].password));
		free(r->passwords[i].password);
	}
	free(r->passwords);
	r->passwords = NULL;
	r->password_count = 0;
}

static void end_idle(struct hash_node *n, void *arg)
{
	struct hop *h = (struct hop *)n;

	(void)arg;
	for (struct conn *c = h->conns; c; c = c->next) {
		if (c->dead || c->state != CONN_SESSION || c->session.letter_count)
			continue;
		client_quit(&c->session);
		loop_mod(h->relay->ch->loop, &c->lf, EPOLLIN | EPOLLOUT); /* written from there */
	}
	relay_pump(h);
}

static void on_reload(struct child *ch, const struct mta_config *old)
{
	struct relay *r = ch->state;

	(void)old;
	forget_passwords(r);
	hash_each(&r->hops, end_idle, r);
}

static void keep(char **to, size_t *to_len, const char *from, size_t len)
{
	if (*to)
		secret_wipe(*to, *to_len);
	free(*to);
	*to = malloc(len + 1);
	*to_len = *to ? len : 0;
	if (*to) {
		memcpy(*to, from, len);
		(*to)[len] = 0;
	}
}

static void on_key(struct child *ch, uint32_t id, const char *chain, size_t chain_len,
		   const char *key, size_t key_len)
{
	struct relay *r = ch->state;
	size_t i;

	if (id == MTA_KEY_CLIENT) {
		keep(&r->client_chain, &r->client_chain_len, chain, chain_len);
		keep(&r->client_key, &r->client_key_len, key, key_len);
	} else if (id == MTA_KEY_CA) {
		keep(&r->authorities, &r->authorities_len, key, key_len);
	} else if (id >= MTA_KEY_PASSWORD && id < MTA_KEY_PASSWORD + ch->config->route_count) {
		i = id - MTA_KEY_PASSWORD;
		if (!r->passwords) {
			r->passwords = calloc(ch->config->route_count, sizeof(*r->passwords));
			r->password_count = r->passwords ? ch->config->route_count : 0;
		}
		if (i < r->password_count) {
			free(r->passwords[i].password);
			r->passwords[i].password = strndup(key, key_len);
		}
	}
}

static void after_cut(struct hash_node *n, void *arg)
{
	struct hop *h = (struct hop *)n;

	(void)arg;
	for (struct conn *c = h->conns; c; c = c->next)
		conn_after_cut(c);
	if (h->waiting)
		relay_pump(h);
}

static void on_tunnel(struct child *ch)
{
	struct relay *r = ch->state;

	hash_each(&r->hops, after_cut, r);
}

static const struct child_ops ops = {
	.start = on_start,
	.tunnel = on_tunnel,
	.reload = on_reload,
	.peer = on_peer,
	.key = on_key,
};

int relay_main(void)
{
	static struct relay r; /* goes with the process */

	return child_run(MTA_PROC_RELAY, &ops, &r);
}
