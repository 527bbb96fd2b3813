/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "relay.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "sandbox.h"

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

static struct attempt *find(struct relay *r, uint32_t id)
{
	struct hash_node *n = hash_first(&r->attempts, id);

	return n ? (struct attempt *)n : NULL;
}

static void on_committed(struct relay *r, uint32_t id)
{
	struct attempt *a = find(r, id);
	struct conn *c = a ? a->conn : NULL;

	if (!a && relay_refused(r, id)) {
		relay_grant(r, 1);
		return;
	}
	if (!a || !a->answered) {
		log_err(NULL, "the queue committed what was not answered");
		return;
	}
	attempt_free(a);
	relay_grant(r, 1);
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

struct hop *relay_hop(struct relay *r, const char *route, const char *next_hop)
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

struct total {
	const char *route;
	size_t count;
};

static void add_conns(struct hash_node *n, void *arg)
{
	const struct hop *h = (const struct hop *)n;
	struct total *t = arg;

	if (strcmp(h->route_name, t->route))
		return;
	for (const struct conn *c = h->conns; c; c = c->next)
		t->count += !c->dead;
}

/* May @route have one connection more, whoever it is to? */
static bool room_for_one(struct relay *r, const struct mta_route *route)
{
	struct total t = { .route = route->name };

	if (r->conn_count >= CONNS_MAX)
		return false;
	if (route->sessions_total)
		hash_each(&r->hops, add_conns, &t);
	return !route->sessions_total || t.count < route->sessions_total;
}

/* Does @h, with so many connections, want no more for the moment? Then it is looked at again after that. */
static bool has_enough(struct hop *h, size_t count)
{
	struct relay *r = h->relay;

	if (!count || loop_now_ms(r->ch->loop) >= h->enough_ms)
		return false;
	if (!timer_armed(&r->reap))
		timer_set(loop_timers(r->ch->loop), &r->reap, h->enough_ms);
	return true;
}

/* Give what waits to who can take it, and open connections for the rest. */
void relay_pump(struct hop *h)
{
	const struct mta_route *route = relay_route(h);
	size_t count = 0, opening = 0;
	bool single = false;
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
	/* Who is idle first: behind the dot of another letter is the second best place. */
	for (struct conn *c = h->conns; c; c = c->next)
		if (h->waiting && !c->session.letter_count && conn_can_take(c))
			conn_give(c, relay_pop(h));
	for (struct conn *c = h->conns; c; c = c->next) {
		if (c->dead || c->publishes || c->question)
			continue;
		while (h->waiting && conn_can_take(c))
			conn_give(c, relay_pop(h));
		count++;
		opening += conn_opening(c);
		single |= c->state == CONN_SESSION && c->session.greeted &&
			  !client_carries_many(&c->session);
		conn_check_idle(c);
	}
	/*
	 * Over the tunnel one session carries many letters at once: another only when it is full. With a peer
	 * that is no Postern it does not, and to open one after another would cost 5 RTT each.
	 */
	while (h->waiting_count > opening && count < route->sessions_max &&
	       room_for_one(h->relay, route) && !has_enough(h, count) &&
	       !(route->kind == ROUTE_TUNNEL && opening && !single)) {
		int rc = h->waiting->msg.flags & MSG_R_PROBE && count
			     ? -EBUSY
			     : conn_new(h, h->waiting->msg.families);

		/* Nobody would wake them. */
		if (rc == -ENOMEM && !h->conns)
			relay_fail_waiting(h, RCPT_RES_NOT_TRIED, SCOPE_NONE, 0, "", "");
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

/* NULL: there is nothing of it. */
static struct attempt *attempt_new(struct relay *r, const struct ipc_msg *m)
{
	struct attempt *a = calloc(1, sizeof(*a));
	int rc;

	if (!a)
		return NULL;
	a->relay = r;
	a->id = m->id;
	a->body_fd = -1;
	a->data = malloc(m->len ? m->len : 1);
	if (!a->data || hash_insert(&r->attempts, &a->node, a->id)) {
		free(a->data);
		free(a);
		return NULL;
	}
	memcpy(a->data, m->data, m->len);
	rc = attempt_parse(a, m->len);
	if (!rc)
		return a;
	if (rc != -ENOMEM)
		log_err(NULL, "an attempt of the queue is not understood: %s", strerror(-rc));
	attempt_free(a);
	return NULL;
}

static void on_attempt(struct relay *r, struct ipc_msg *m)
{
	struct attempt *a = attempt_new(r, m);
	struct hop *h = NULL;

	if (!a) {
		relay_refuse(r, m->id);
		return;
	}
	if (!(a->msg.flags & MSG_R_INLINE) && m->fd_count == 1) {
		a->body_fd = m->fd[0];
		m->fd[0] = -1;
	}
	if (config_route(r->ch->config, a->msg.route))
		h = relay_hop(r, a->msg.route, a->msg.next_hop);
	if (!h ||
	    ((a->msg.flags & MSG_R_INLINE) ? !a->msg.body && a->msg.body_len : a->body_fd < 0)) {
		relay_settle(a, RCPT_RES_NOT_TRIED, SCOPE_NONE, 0, "", "");
		relay_answer(a);
		return;
	}
	sender_write(r, a);
	hop_add(h, a);
	relay_pump(h);
}

static void on_cancel(struct relay *r, uint32_t id)
{
	struct attempt *a = find(r, id);
	struct attempt **at;
	struct hop *h;

	if (!a || a->answered)
		return;
	if (a->conn) {
		conn_cancel(a->conn, a);
		return;
	}
	if (a->mailbox_open) {
		mailbox_cancel(a);
		return;
	}
	h = relay_hop(r, a->msg.route, a->msg.next_hop);
	for (at = h ? &h->waiting : NULL; at && *at; at = &(*at)->next) {
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
	case MSG_R_TRACE:
		asker_ask(r, m);
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
	results_forget(r);
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
		relay_grant(r, CREDITS);
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
	int rc;

	tls_load(); /* contexts come with the first sessions that need one */
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
	publisher_init(&r->publisher, r);
	return !r->lookup || results_init(r) ? -ENOMEM : confine();
}

static void forget_routes(struct relay *r)
{
	secrets_forget(&r->secrets);
	memory_clear(&r->memory);
}

/*
 * A route may want TLS, another version or another key from now on: no letter of tomorrow leaves by a
 * session of yesterday. Idle ones end, busy ones once they have answered.
 */
static void end_idle(struct hash_node *n, void *arg)
{
	struct hop *h = (struct hop *)n;

	(void)arg;
	for (struct conn *c = h->conns; c; c = c->next) {
		c->old = true;
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
	forget_routes(r);
	hash_each(&r->hops, end_idle, r);
	publisher_soon(&r->publisher);
}

static void on_key(struct child *ch, uint32_t id, const char *chain, size_t chain_len,
		   const char *key, size_t key_len)
{
	struct relay *r = ch->state;

	if (id == MTA_KEY_HOPS)
		return hop_pins_take(r, key, key_len);
	secrets_take(&r->secrets, ch->config, id, chain, chain_len, key, key_len);
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
	publisher_tunnel(&r->publisher);
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
