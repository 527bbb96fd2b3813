/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: TCP encapsulation's connections, ours and those of strangers. The data plane carries them
 * (dp.h); here is who may have one, whose it is, and when it is not needed any more.
 *
 *	accepted	unproved ──(an authenticated exchange came by it)──► a peer's ──► closed
 *	connected	a supervisor's try ──(the same)──► a peer's
 *
 * Of strangers' there are UNPROVED_MAX at most, PREFIX_MAX from one /24 or /56, for ten seconds each; what is
 * beyond that is hung up on in the accepting, without a line in the log. A peer's that is the path of
 * nothing for LINGER_MS is closed: what was on its way in it has come; and sooner the oldest, where it opens
 * more than PEER_MAX, so that no peer has the places of all the others.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "child_int.h"
#include "cloak.h"
#include "transport.h"

#define UNPROVED_MAX 256
#define PREFIX_MAX   32
#define PEER_MAX     8 /* that it opened itself */
#define ACCEPT_BURST 16
#define SWEEP_MS     1000
#define LINGER_MS    10000
#define ACCEPT_MS    1000 /* pause, when there is no descriptor or memory for another connection */

struct stream_entry {
	uint32_t sock; /* 0: free */
	uint32_t peer; /* 0: a stranger's */
	bool accepted, opening, tls;
	struct endpoint remote;
	uint64_t used_ms;
};

struct streams {
	struct child *child;
	struct stream_entry *v;
	size_t cap;
	size_t count, unproved;
	struct loop_fd listen[PROC_PORTS], young;
	struct cloak_ctx *server, *client;
	struct timer sweep, again;
	uint64_t accepted, refused, timed_out;
};

/* ---- entries ---- */

static struct stream_entry *entry_of(struct streams *st, uint32_t sock)
{
	for (size_t i = 0; sock && i < st->cap; i++)
		if (st->v[i].sock == sock)
			return &st->v[i];
	return NULL;
}

static struct stream_entry *entry_new(struct streams *st)
{
	struct stream_entry *grown;
	size_t cap;

	for (size_t i = 0; i < st->cap; i++)
		if (!st->v[i].sock)
			return &st->v[i];
	cap = st->cap ? 2 * st->cap : 16;
	grown = realloc(st->v, cap * sizeof(*grown));
	if (!grown)
		return NULL;
	memset(grown + st->cap, 0, (cap - st->cap) * sizeof(*grown));
	st->v = grown;
	st->cap = cap;
	return &grown[st->count]; /* all before it are taken */
}

static void entry_close(struct streams *st, struct stream_entry *e)
{
	dp_stream_close(st->child->dp, e->sock);
	if (e->accepted && !e->peer)
		st->unproved--;
	memset(e, 0, sizeof(*e));
	st->count--;
}

static void sweep_soon(struct streams *st)
{
	if (!timer_armed(&st->sweep))
		(void)timer_set(loop_timers(st->child->loop), &st->sweep,
				child_now(st->child) + SWEEP_MS);
}

static int add(struct streams *st, const struct dp_stream *s, uint32_t peer)
{
	struct stream_entry *e = entry_new(st);
	uint32_t sock;
	int rc = e ? dp_stream_add(st->child->dp, s, &sock) : -ENOMEM;

	if (rc)
		return rc;
	*e = (struct stream_entry){ .sock = sock,
				    .peer = peer,
				    .accepted = s->accepted,
				    .opening = !s->accepted,
				    .tls = s->cloak != NULL,
				    .remote = s->remote,
				    .used_ms = child_now(st->child) };
	st->count++;
	sweep_soon(st);
	return 0;
}

/* ---- strangers ---- */

static bool welcome(const struct streams *st, const struct addr *a)
{
	struct prefix from = prefix_of(a, a->family == AF_INET ? 24 : 56);
	size_t n = 0;

	if (st->unproved >= UNPROVED_MAX)
		return false;
	for (size_t i = 0; i < st->cap; i++) {
		const struct stream_entry *e = &st->v[i];

		n += e->sock && e->accepted && !e->peer && prefix_contains(&from, &e->remote.addr);
	}
	return n < PREFIX_MAX;
}

static int ends_of(int fd, struct dp_stream *s)
{
	struct sockaddr_storage a;
	socklen_t len = sizeof(a);

	if (getsockname(fd, (struct sockaddr *)&a, &len) ||
	    endpoint_from_sockaddr(&s->local, (struct sockaddr *)&a))
		return -ENOTCONN;
	return 0;
}

static void listen_all(struct streams *st, uint32_t events)
{
	for (size_t i = 0; i < st->child->inv.tcp_count; i++)
		(void)loop_mod(st->child->loop, &st->listen[i], events);
}

static void on_again(struct timer *t, uint64_t now_ms)
{
	(void)now_ms;
	listen_all(t->arg, EPOLLIN);
}

/* Who waits keeps the port readable: without a pause the loop would do nothing else. */
static void pause_accept(struct streams *st)
{
	if (!timer_set(loop_timers(st->child->loop), &st->again, child_now(st->child) + ACCEPT_MS))
		listen_all(st, 0);
}

static void on_listen(struct loop_fd *lf, uint32_t events)
{
	struct streams *st = lf->arg;
	struct child *c = st->child;
	bool tls = c->inv.tls[lf - st->listen];

	(void)events;
	for (int i = 0; i < ACCEPT_BURST; i++) {
		struct dp_stream s = { .accepted = true, .cloak = tls ? st->server : NULL };
		struct sockaddr_storage from;
		socklen_t len = sizeof(from);

		s.fd = accept4(lf->fd, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (s.fd < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
			    errno == ENOMEM)
				pause_accept(st);
			return;
		}
		if (endpoint_from_sockaddr(&s.remote, (struct sockaddr *)&from) ||
		    ends_of(s.fd, &s) || !welcome(st, &s.remote.addr) || add(st, &s, 0)) {
			st->refused++;
			close(s.fd);
			continue;
		}
		st->accepted++;
		st->unproved++;
	}
}

/* ---- our own ---- */

struct connecting {
	struct child *child;
	uint32_t peer;
	struct endpoint to;
	bool tls;
};

static void tell_try(struct child *c, uint32_t peer, const struct endpoint *to, bool tls, int status,
		     uint32_t sock)
{
	struct peer *p = child_peer(c, peer);
	struct dp_path path = { .sock = sock, .remote = *to };
	struct dp_stream_info info;
	struct engine_path ep;
	char text[ENDPOINT_STR_MAX];

	if (!p)
		return;
	log_debug(&p->log, "TCP to %s%s: %s", endpoint_str(to, text), tls ? " in TLS" : "",
		  strerror(-status));
	if (!status && dp_stream_info(c->dp, sock, &info))
		path.local = info.local.addr;
	ep = engine_path_of(c, &path);
	sup_on_stream(&p->sup, to, tls, status, &ep, child_now(c));
	peer_arm(p);
}

static void on_socket(int status, int fd, void *arg)
{
	struct connecting *q = arg;
	struct child *c = q->child;
	struct peer *p = child_peer(c, q->peer);
	struct dp_stream s = { .fd = fd, .remote = q->to };

	if (p && !status) {
		s.cloak = q->tls ? c->streams->client : NULL;
		s.name = p->cfg->tls_name;
		status = ends_of(fd, &s);
		if (!status)
			status = add(c->streams, &s, q->peer);
		if (status)
			close(fd);
	} else if (fd >= 0) {
		close(fd);
	}
	if (status)
		tell_try(c, q->peer, &q->to, q->tls, status, 0);
	effects_apply(c);
	free(q);
}

int streams_connect(struct child *c, uint32_t peer, const struct endpoint *to, bool tls)
{
	struct peer *p = child_peer(c, peer);
	struct connecting *q = p ? malloc(sizeof(*q)) : NULL;
	int rc;

	if (!q)
		return p ? -ENOMEM : -ENOENT;
	*q = (struct connecting){ c, peer, *to, tls };
	rc = priv_stream(c->priv, p->cfg->name, to, tls, on_socket, q);
	if (rc)
		free(q);
	return rc;
}

void streams_disconnect(struct child *c, uint32_t sock)
{
	struct stream_entry *e = entry_of(c->streams, sock);

	if (e)
		entry_close(c->streams, e);
}

/* ---- what the data plane and the engine say ---- */

void streams_on_event(struct child *c, const struct dp_event *ev)
{
	struct stream_entry *e = entry_of(c->streams, ev->path.sock), was;
	struct peer *p;

	if (!e) {
		dp_stream_close(c->dp, ev->path.sock);
		return;
	}
	if (ev->kind == DP_EV_STREAM_OPEN) {
		e->opening = false;
		tell_try(c, e->peer, &e->remote, e->tls, 0, e->sock);
		return;
	}
	was = *e;
	if (was.accepted && !was.peer && ev->icmp_errno == ETIMEDOUT)
		c->streams->timed_out++;
	entry_close(c->streams, e);
	p = child_peer(c, was.peer);
	if (!p)
		return;
	if (was.opening) {
		tell_try(c, was.peer, &was.remote, was.tls, -(int)ev->icmp_errno, 0);
		return;
	}
	if (p->sup.ike && p->sup.where.path.sock == was.sock)
		log_info(&p->log, "its TCP connection is over: %s", strerror((int)ev->icmp_errno));
	sup_on_stream_gone(&p->sup, was.sock, child_now(c));
	peer_arm(p);
}

static bool in_use(const struct peer *p, uint32_t sock)
{
	return p && p->sup.ike && p->sup.where.path.sock == sock;
}

/* @e has just become one of the peer's. */
static void bound_peer(struct streams *st, const struct peer *p, const struct stream_entry *e)
{
	struct stream_entry *oldest = NULL;
	size_t n = 0;

	for (size_t i = 0; i < st->cap; i++) {
		struct stream_entry *o = &st->v[i];

		if (!o->sock || o->peer != e->peer || !o->accepted)
			continue;
		n++;
		if (o != e && !in_use(p, o->sock) && (!oldest || o->used_ms < oldest->used_ms))
			oldest = o;
	}
	if (n > PEER_MAX && oldest)
		entry_close(st, oldest);
}

void streams_proved(struct child *c, uint32_t peer, uint32_t sock)
{
	struct stream_entry *e = sock >= DP_STREAM_FIRST ? entry_of(c->streams, sock) : NULL;
	int rc;

	if (!e)
		return;
	e->used_ms = child_now(c);
	if (e->accepted && !e->peer) {
		e->peer = peer;
		c->streams->unproved--;
		bound_peer(c->streams, child_peer(c, peer), e);
	}
	rc = dp_stream_trust(c->dp, sock, peer);
	if (rc)
		log_debug(NULL, "a TCP connection cannot be used: %s", strerror(-rc));
}

void streams_forget(struct child *c, uint32_t peer)
{
	for (size_t i = 0; i < c->streams->cap; i++)
		if (c->streams->v[i].sock && c->streams->v[i].peer == peer)
			entry_close(c->streams, &c->streams->v[i]);
}

void streams_drop(struct peer *p)
{
	struct streams *st = p->child->streams;

	for (size_t i = 0; i < st->cap; i++) {
		uint32_t sock = st->v[i].sock;

		if (!sock || st->v[i].peer != p->id)
			continue;
		entry_close(st, &st->v[i]);
		sup_on_stream_gone(&p->sup, sock, child_now(p->child));
	}
}

static void on_sweep(struct timer *t, uint64_t now_ms)
{
	struct streams *st = t->arg;
	struct child *c = st->child;

	for (size_t i = 0; i < st->cap; i++) {
		struct stream_entry *e = &st->v[i];
		const struct peer *p = e->sock && e->peer ? child_peer(c, e->peer) : NULL;

		/* Tries are their supervisor's; the rest is used as long as data may come by it. */
		if (!e->sock || !e->peer || e->opening || in_use(p, e->sock))
			e->used_ms = now_ms;
		else if (now_ms - e->used_ms >= LINGER_MS && !(p && sup_tries(&p->sup, e->sock)))
			entry_close(st, e);
	}
	dp_stream_sweep(c->dp, now_ms);
	if (st->count)
		sweep_soon(st);
}

static void on_young(struct loop_fd *lf, uint32_t events)
{
	struct streams *st = lf->arg;

	(void)events;
	dp_stream_poll(st->child->dp);
	effects_on_dp(st->child);
}

/* ---- telling ---- */

json_t *streams_json(const struct child *c)
{
	const struct streams *st = c->streams;

	return json_pack("{s:I, s:I, s:I, s:I, s:I}", "connections", (json_int_t)st->count,
			 "unproved", (json_int_t)st->unproved, "accepted",
			 (json_int_t)st->accepted, "refused", (json_int_t)st->refused, "timed_out",
			 (json_int_t)st->timed_out);
}

void streams_carrier(struct peer *p)
{
	uint32_t sock = p->sup.where.path.sock;
	const struct stream_entry *e =
	    p->sup.ike && sock >= DP_STREAM_FIRST ? entry_of(p->child->streams, sock) : NULL;
	const char *now = !p->sup.ike		     ? NULL
			  : sock < DP_STREAM_FIRST ? "udp"
			  : e			     ? (e->tls ? "tls" : "tcp")
			  : p->carrier		     ? p->carrier /* it is over, and no other is found yet */
						     : "tcp";

	/* Its successor on the same transport goes on with the old date. */
	if (now && (!p->carrier || strcmp(now, p->carrier) != 0))
		p->carrier_ms = child_now(p->child);
	p->carrier = now;
}

json_t *streams_peer_json(const struct peer *p)
{
	const struct supervisor *s = &p->sup;
	const struct engine_path *at = &s->where.path;
	uint64_t now = child_now(p->child), back = transport_udp_ms(s);

	return json_pack(
	    "{s:s?, s:o, s:o, s:o, s:I, s:I}", "by", p->carrier, "port",
	    p->carrier ? json_integer(s->cfg.start == SUP_WAIT ? at->local.port : at->remote.port)
		       : json_null(),
	    "since_s", p->carrier ? json_real((double)(now - p->carrier_ms) / 1000) : json_null(),
	    "udp_tried_in_s",
	    back ? json_real(back > now ? (double)(back - now) / 1000 : 0) : json_null(), "tcp_ups",
	    (json_int_t)s->tcp_ups, "udp_returns", (json_int_t)s->udp_returns);
}

/* ---- life ---- */

static int make_cloaks(struct streams *st)
{
	struct child *c = st->child;
	char why[CONF_WHY_MAX] = "";
	bool tls = false;
	int rc;

	st->client = cloak_client();
	for (size_t i = 0; i < c->inv.tcp_count; i++)
		tls |= c->inv.tls[i];
	if (!tls)
		return st->client ? 0 : -ENOMEM;
	rc = cloak_server(NULL, 0, NULL, 0, &st->server, why, sizeof(why));
	if (rc)
		log_err(NULL, "TLS: %s", why);
	return rc;
}

int streams_start(struct child *c)
{
	struct streams *st = calloc(1, sizeof(*st));
	int rc;

	c->streams = st;
	if (!st)
		return -ENOMEM;
	st->child = c;
	st->sweep = (struct timer){ .fire = on_sweep, .arg = st };
	st->again = (struct timer){ .fire = on_again, .arg = st };
	st->young = (struct loop_fd){ .fd = dp_stream_fd(c->dp), .ready = on_young, .arg = st };
	rc = make_cloaks(st);
	if (!rc)
		rc = loop_add(c->loop, &st->young, EPOLLIN);
	for (size_t i = 0; !rc && i < c->inv.tcp_count; i++) {
		st->listen[i] = (struct loop_fd){ .fd = c->inv.tcp[i].fd,
						  .ready = on_listen,
						  .arg = st };
		rc = loop_add(c->loop, &st->listen[i], EPOLLIN);
	}
	return rc;
}

void streams_free(struct child *c)
{
	struct streams *st = c->streams;

	if (!st)
		return;
	if (st->young.added)
		loop_del(c->loop, &st->young);
	for (size_t i = 0; i < PROC_PORTS; i++)
		if (st->listen[i].added)
			loop_del(c->loop, &st->listen[i]);
	timer_clear(loop_timers(c->loop), &st->sweep);
	timer_clear(loop_timers(c->loop), &st->again);
	cloak_ctx_free(st->server);
	cloak_ctx_free(st->client);
	free(st->v);
	free(st);
	c->streams = NULL;
}
