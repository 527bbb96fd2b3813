/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "relay.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "address.h"
#include "log.h"
#include "secret.h"

#define TLS_HANDSHAKE_MS 30000
#define READ_MAX	 16384
#define PROGRESS_BYTES	 4096 /* that the peer must take in the time of a deadline */

static void dial_begin(struct conn *c);
static void move(struct conn *c);

/* ---- the end of a connection ---- */

static void fd_close(struct conn *c)
{
	if (c->lf.fd < 0)
		return;
	loop_del(c->hop->relay->ch->loop, &c->lf);
	if (c->tls)
		tls_close(c->tls);
	tls_free(c->tls);
	c->tls = NULL;
	close(c->lf.fd);
	c->lf.fd = -1;
}

/*
 * Given up in the middle of its letters: what the kernel still holds must not arrive later. They go by another
 * connection now, and once all of them are settled the far side knows the copies no more (XPOSTERN's low-water mark).
 */
static void abandon(const struct conn *c)
{
	static const struct linger at_once = { .l_onoff = 1, .l_linger = 0 };

	if (c->lf.fd >= 0 && c->session_open && !c->session.quit_sent)
		(void)setsockopt(c->lf.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
}

void conn_close(struct conn *c, const char *why)
{
	struct relay *r = c->hop->relay;

	if (c->dead)
		return;
	c->dead = true;
	lookup_cancel(&c->lookup);
	dial_stop(&c->dial);
	timer_clear(loop_timers(r->ch->loop), &c->begin);
	timer_clear(loop_timers(r->ch->loop), &c->deadline);
	timer_clear(loop_timers(r->ch->loop), &c->idle);
	if (c->session_open && c->session.letters)
		client_lost(&c->session, why);
	abandon(c);
	fd_close(c);
	r->conn_count--;
	relay_reap_soon(r);
}

/*
 * TCP doubles its wait with each packet that the cut swallowed: after a minute without a tunnel a
 * connection sleeps on for up to another minute. So when the tunnel is up again, what was opened
 * before makes room for a fresh one.
 */
void conn_after_cut(struct conn *c)
{
	const struct tunnel_table *t = &c->hop->relay->ch->tunnel;
	const struct mta_route *route = relay_route(c->hop);
	const struct tunnel_peer *p;

	if (c->dead || !route || route->kind != ROUTE_TUNNEL)
		return;
	p = tunnel_peer(t, route->peer);
	if (!p || p->state != TUNNEL_UP || c->state == CONN_RESOLVE || c->begun_ms >= p->changed_ms)
		return;
	if (c->session_open)
		client_withdraw(&c->session, "the tunnel was down meanwhile");
	conn_close(c, "the tunnel was down meanwhile");
}

static void forget_conn(struct hash_node *n, void *arg)
{
	struct attempt *a = (struct attempt *)n;

	if (a->conn == arg)
		a->conn = NULL;
}

void conn_free(struct conn *c)
{
	hash_each(&c->hop->relay->attempts, forget_conn, c);
	if (c->session_open)
		client_clear(&c->session);
	tls_ctx_put(c->tls_ctx);
	if (c->password)
		secret_wipe(c->password, strlen(c->password));
	free(c->ehlo);
	free(c->username);
	free(c->password);
	free(c);
}

static bool others_work(const struct conn *c)
{
	for (const struct conn *o = c->hop->conns; o; o = o->next) {
		if (o != c && !o->dead && !conn_opening(o))
			return true;
	}
	return false;
}

/* Never got as far as letters, and there is no other host to try. */
static void give_up(struct conn *c, enum rcpt_result result, enum fault_scope scope, uint16_t code,
		    const char *enhanced, const char *text)
{
	struct hop *h = c->hop;

	log_info(NULL, "route=%s hop=%s cannot be used: %s", h->route_name, h->next_hop, text);
	/* While another session of this hop works, what waits goes there. */
	if (h->waiting && !others_work(c)) {
		h->waiting->conn = c; /* for the host and the families in its result */
		relay_fail_waiting(h, result, scope, code, enhanced, text);
	}
	conn_close(c, text);
}

static void give_up_host(struct conn *c, const char *enhanced, const char *text)
{
	give_up(c, RCPT_RES_TEMPFAIL, SCOPE_HOST, 0, enhanced, text);
}

/* This host will not do: the next one, if there is. */
static void next_host(struct conn *c, uint16_t code, const char *enhanced, const char *text)
{
	fd_close(c);
	if (c->session_open)
		client_clear(&c->session);
	c->session_open = false;
	if (dial_more(&c->dial)) {
		c->plain = false;
		c->state = CONN_DIAL;
		timer_clear(loop_timers(c->hop->relay->ch->loop), &c->deadline);
		dial_start(&c->dial);
		return;
	}
	give_up(c, RCPT_RES_TEMPFAIL, SCOPE_HOST, code, enhanced, text);
}

/* ---- the session's bytes ---- */

static void on_done(void *arg, struct out_letter *l)
{
	(void)arg;
	relay_answer(l->arg);
}

static void session_begin(struct conn *c)
{
	struct client_conf conf = {
		.ehlo = c->ehlo,
		.lmtp = c->route.kind == ROUTE_LMTP,
		.tls = c->plain ? TLS_NONE : c->route.tls,
		.tls_on = c->tls != NULL,
		.hop = c->route.kind == ROUTE_TUNNEL,
		.username = c->username,
		.password = c->password,
		.done = on_done,
		.arg = c,
	};

	c->state = CONN_SESSION;
	client_start(&c->session, &conf);
	c->session_open = true;
	c->progress_ms = loop_now_ms(c->hop->relay->ch->loop);
}

static struct tls_ctx *tls_context(struct conn *c, char err[static TLS_ERROR_MAX])
{
	struct relay *r = c->hop->relay;
	const struct mta_route *route = relay_route(c->hop);
	struct tls_pin pins[TLS_PINS_MAX];
	struct tls_client_conf conf = { .verify = TLS_VERIFY_NONE, .pins = pins };
	struct tls_ctx *ctx;
	size_t len;

	if (!route) {
		snprintf(err, TLS_ERROR_MAX, "the route is gone");
		return NULL;
	}
	for (size_t i = 0; i < route->tls_pins.count && i < TLS_PINS_MAX; i++)
		pin_parse(route->tls_pins.v[i], pins[conf.pin_count++].sha256);
	if (route->tls == TLS_PIN) {
		conf.verify = TLS_VERIFY_PIN;
	} else if (route->tls == TLS_VERIFY) {
		conf.verify = TLS_VERIFY_NAME;
		conf.ca_pem = r->authorities;
		conf.ca_pem_len = r->authorities_len;
		if (r->ch->config->ca_file) {
			conf.ca_pem = bundle_file(r->ch->bundle, r->ch->config->ca_file, &len);
			conf.ca_pem_len = conf.ca_pem ? len : 0;
		}
	}
	/* Our own certificate is for peers that know it, not for the world. */
	if (r->client_chain && route->kind == ROUTE_TUNNEL)
		conf.keypair = (struct tls_keypair){ r->client_chain, r->client_chain_len,
						     r->client_key, r->client_key_len };
	return tls_client_ctx_new(&ctx, &conf, err) ? NULL : ctx;
}

static void tls_begin(struct conn *c)
{
	char err[TLS_ERROR_MAX];
	const struct mta_route *route = relay_route(c->hop);
	const char *name =
	    route && route->tls_name ? route->tls_name : c->dial.target[c->target].name;

	if (!c->tls_ctx)
		c->tls_ctx = tls_context(c, err);
	c->tls = c->tls_ctx ? tls_connect(c->tls_ctx, c->lf.fd, name) : NULL;
	if (!c->tls) {
		give_up_host(c, "4.7.5", c->tls_ctx ? "out of memory" : err);
		return;
	}
	c->state = CONN_TLS;
}

/* Opportunistic TLS that fails is tried once more without (RFC 7435); a policy never is. */
static void tls_failed(struct conn *c, int rc)
{
	char text[TLS_ERROR_MAX + 200];

	snprintf(text, sizeof(text), "TLS with %s failed: %s", c->dial.target[c->target].name,
		 *tls_error(c->tls) ? tls_error(c->tls) : strerror(-rc));
	if (c->route.tls == TLS_MAY && !c->plain && !c->tls_implicit) {
		log_info(NULL, "route=%s %s; once more without TLS", c->route.name, text);
		fd_close(c);
		client_clear(&c->session);
		c->session_open = false;
		c->plain = true;
		c->state = CONN_DIAL;
		/* The same target again, as a list of its own. */
		c->dial.target[0] = c->dial.target[c->target];
		c->dial.count = 1;
		c->dial.next = 0;
		dial_start(&c->dial);
		return;
	}
	next_host(c, 0, "4.7.5", text);
}

static void tls_step(struct conn *c)
{
	int rc = tls_handshake(c->tls);

	if (rc == -EAGAIN) {
		loop_mod(c->hop->relay->ch->loop, &c->lf, tls_events(c->tls));
		return;
	}
	if (rc) {
		tls_failed(c, rc);
		return;
	}
	log_debug(NULL, "route=%s host=%s tls=%s cipher=%s", c->route.name,
		  c->dial.target[c->target].name, tls_version(c->tls), tls_cipher(c->tls));
	if (c->session_open) {
		c->state = CONN_SESSION;
		client_tls_done(&c->session);
	} else {
		session_begin(c);
	}
	move(c);
}

static ssize_t bytes_in(struct conn *c, void *buf, size_t cap)
{
	ssize_t n;

	if (c->tls)
		return tls_read(c->tls, buf, cap);
	do
		n = read(c->lf.fd, buf, cap);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static ssize_t bytes_out(struct conn *c, const void *buf, size_t len)
{
	ssize_t n;

	if (c->tls)
		return tls_write(c->tls, buf, len);
	do
		n = send(c->lf.fd, buf, len, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/* The session is over: orderly, by a fault before letters, or by one among them. */
static void session_ended(struct conn *c)
{
	struct client *s = &c->session;
	struct reply why = s->fault;

	if (!s->failed) {
		conn_close(c, "closed");
		relay_pump(c->hop);
		return;
	}
	/*
	 * Sent away before a letter was given: that it greeted us makes no difference, and to come again at
	 * once, for nobody's account, would go on for ever.
	 */
	if (!s->greeted || (!c->letters && c->hop->waiting)) {
		next_host(c, why.code,
			  why.enhanced[0] ? why.enhanced
			  : s->tls_failed ? "4.7.4"
					  : "4.4.0",
			  why.text);
		return;
	}
	conn_close(c, why.text);
	relay_pump(c->hop);
}

/* False: there is more than one turn should take. */
static bool read_all(struct conn *c)
{
	char buf[READ_MAX];
	uint64_t replies;

	for (int i = 0; i < 16; i++) {
		ssize_t n = bytes_in(c, buf, sizeof(buf));

		if (n == -EAGAIN)
			return true;
		if (n <= 0) {
			if (c->session.quit_sent && !c->session.letter_count)
				c->session.want = CLIENT_OVER;
			else
				client_lost(&c->session, n ? "the connection was lost"
							   : "the next hop closed the connection");
			return true;
		}
		/* A whole reply is progress; one byte of it each minute is not. */
		replies = c->session.replies;
		client_input(&c->session, buf, (size_t)n);
		if (c->session.replies != replies)
			c->progress_ms = loop_now_ms(c->hop->relay->ch->loop);
		if (c->session.want == CLIENT_TLS || c->session.want == CLIENT_OVER)
			return true;
	}
	return false;
}

/* True: everything that was to be written is. */
static bool write_all(struct conn *c)
{
	const char *data;
	size_t len;

	while ((len = client_output(&c->session, &data)) && c->session.want != CLIENT_OVER) {
		ssize_t n = bytes_out(c, data, len);

		if (n == -EAGAIN)
			return false;
		if (n < 0) {
			client_lost(&c->session, "the connection was lost");
			return true;
		}
		c->trickle += (size_t)n;
		if ((size_t)n == len || c->trickle >= PROGRESS_BYTES) {
			c->trickle = 0;
			c->progress_ms = loop_now_ms(c->hop->relay->ch->loop);
		}
		client_sent(&c->session, (size_t)n);
	}
	return true;
}

static void set_deadline(struct conn *c)
{
	struct loop *l = c->hop->relay->ch->loop;
	uint64_t ms = client_timeout_ms(&c->session);

	if (ms == UINT64_MAX)
		timer_clear(loop_timers(l), &c->deadline);
	else
		timer_set(loop_timers(l), &c->deadline, c->progress_ms + ms);
}

/* Read, think, write, until nothing moves. */
static void move(struct conn *c)
{
	struct relay *r = c->hop->relay;
	bool written, more;

	if (c->dead || c->state != CONN_SESSION)
		return;
	more = !read_all(c);
	if (c->session.want == CLIENT_TLS) {
		tls_begin(c);
		if (!c->dead)
			tls_step(c);
		return;
	}
	if (c->session.want == CLIENT_READY && c->session.greeted && !c->dead) {
		written = write_all(c);
		/* Letters for a session that has just become free, this one first. */
		if (conn_can_take(c) && c->hop->waiting) {
			relay_pump(c->hop);
			if (c->dead)
				return;
		}
	}
	written = write_all(c);
	if (c->session.want == CLIENT_OVER) {
		session_ended(c);
		return;
	}
	set_deadline(c);
	/* What OpenSSL has read ahead wakes nobody: come back as soon as something can be written. */
	loop_mod(r->ch->loop, &c->lf,
		 EPOLLIN | (more      ? (uint32_t)EPOLLOUT
			    : written ? 0
			    : c->tls  ? tls_events(c->tls)
				      : (uint32_t)EPOLLOUT));
	conn_check_idle(c);
}

static void on_ready(struct loop_fd *lf, uint32_t events)
{
	struct conn *c = lf->arg;

	(void)events;
	if (c->state == CONN_TLS)
		tls_step(c);
	else
		move(c);
}

static void on_deadline(struct timer *t, uint64_t now_ms)
{
	struct conn *c = t->arg;

	(void)now_ms;
	if (c->state == CONN_TLS) {
		next_host(c, 0, "4.7.5", "the TLS handshake took too long");
		return;
	}
	if (c->session.quit_sent && !c->session.letter_count) {
		conn_close(c, "no answer to QUIT");
		return;
	}
	client_lost(&c->session, "the next hop did not answer in time");
	session_ended(c);
}

static void on_idle(struct timer *t, uint64_t now_ms)
{
	struct conn *c = t->arg;

	(void)now_ms;
	if (!c->dead && c->state == CONN_SESSION && !c->session.letter_count) {
		client_quit(&c->session);
		move(c);
	}
}

/* ---- letters ---- */

bool conn_opening(const struct conn *c)
{
	return !c->dead && (c->state != CONN_SESSION || !c->session.greeted);
}

bool conn_can_take(const struct conn *c)
{
	if (c->dead || c->state != CONN_SESSION || !client_can_take(&c->session))
		return false;
	if (c->route.letters_per_session && c->letters >= c->route.letters_per_session)
		return false;
	return c->session.postern || c->uncommitted <= COMMIT_WINDOW;
}

void conn_give(struct conn *c, struct attempt *a)
{
	struct loop *l = c->hop->relay->ch->loop;

	a->conn = c;
	a->letter.required_8bitmime = c->route.required_8bitmime;
	c->letters++;
	c->progress_ms = loop_now_ms(l);
	timer_clear(loop_timers(l), &c->idle);
	client_letter(&c->session, &a->letter);
	/* Written from the loop: a burst of letters leaves as one flight. */
	loop_mod(l, &c->lf, EPOLLIN | EPOLLOUT);
}

void conn_check_idle(struct conn *c)
{
	struct loop *l = c->hop->relay->ch->loop;
	bool full = c->route.letters_per_session && c->letters >= c->route.letters_per_session;

	if (c->dead || c->state != CONN_SESSION || !c->session.greeted || c->session.letter_count ||
	    c->session.quit_sent || timer_armed(&c->idle))
		return;
	timer_set(loop_timers(l), &c->idle,
		  loop_now_ms(l) + (full			? 0
				    : c->route.kind == ROUTE_MX ? IDLE_MX_MS
								: IDLE_TUNNEL_MS));
}

/* ---- the way there ---- */

static void on_dialed(struct dial *d, int fd, size_t target)
{
	struct conn *c = d->arg;
	struct loop *l = c->hop->relay->ch->loop;

	if (fd < 0) {
		give_up_host(c, "4.4.1", d->why);
		return;
	}
	c->target = target;
	c->lf = (struct loop_fd){ .fd = fd, .ready = on_ready, .arg = c };
	if (loop_add(l, &c->lf, EPOLLIN)) {
		give_up_host(c, "4.3.0", "out of memory");
		return;
	}
	timer_set(loop_timers(l), &c->deadline, loop_now_ms(l) + TLS_HANDSHAKE_MS);
	if (c->tls_implicit) {
		tls_begin(c);
		if (!c->dead)
			tls_step(c);
		return;
	}
	session_begin(c);
	set_deadline(c);
}

static void dial_begin(struct conn *c)
{
	c->state = CONN_DIAL;
	dial_start(&c->dial);
}

/* This machine, or one behind the tunnel: mail goes there by its own route, or not at all. */
static bool is_inside(const struct child *ch, const struct addr *a)
{
	for (size_t i = 0; i < ch->tunnel.peer_count; i++) {
		const struct tunnel_peer *p = &ch->tunnel.peers[i];

		for (size_t k = 0; k < p->inner_count; k++) {
			/* Of a wider network it is not said that all of it is theirs alone. */
			if (p->inner[k].len == addr_bits(a) && addr_eq(&p->inner[k].addr, a))
				return true;
		}
	}
	return dial_addr_is_local(a);
}

static bool is_self(void *arg, const struct lookup_host *h)
{
	const struct child *ch = arg;
	const struct mta_config *c = ch->config;

	if (!strcasecmp(h->name, c->hostname))
		return true;
	for (size_t i = 0; i < c->listener_count; i++) {
		if (!strcasecmp(h->name, c->listeners[i].hostname))
			return true;
	}
	for (size_t i = 0; i < h->addr_count; i++) {
		if (is_inside(ch, &h->addr[i]))
			return true;
	}
	return false;
}

static void on_mx(struct lookup_req *req, const struct lookup_mx *m)
{
	struct conn *c = req->arg;
	const struct mta_route *route = relay_route(c->hop);
	char why[DIAL_WHY_MAX + 300];
	size_t n;

	switch (m->status) {
	case LOOKUP_OK:
		break;
	case LOOKUP_NULL_MX:
		give_up(c, RCPT_RES_PERMFAIL, SCOPE_RECIPIENT, 556, "5.1.10",
			"the domain takes no mail (null MX)");
		return;
	case LOOKUP_NONE:
		give_up(c, RCPT_RES_PERMFAIL, SCOPE_RECIPIENT, 0, "5.1.2",
			"the domain has no mail host and no address");
		return;
	default:
		give_up_host(c, "4.4.3", "DNS does not answer");
		return;
	}
	if (!route) {
		give_up(c, RCPT_RES_NOT_TRIED, SCOPE_NONE, 0, "", "the route is gone");
		return;
	}
	n = dial_mx_self(m->host, m->host_count, is_self, c->hop->relay->ch);
	if (!n && m->host_count) {
		give_up(c, RCPT_RES_PERMFAIL, SCOPE_RECIPIENT, 554, "5.4.6",
			"mail for the domain loops back to us: its best mail host is this machine");
		return;
	}
	if (!dial_hosts(&c->dial, route, m->host, n, c->families, why)) {
		give_up_host(c, "4.4.4", why);
		return;
	}
	dial_begin(c);
}

/* Names of smarthost and LMTP routes, one after another. */
static void resolve_addresses(struct conn *c);

static void on_addr(struct lookup_req *req, const struct lookup_mx *m)
{
	struct conn *c = req->arg;
	const struct mta_route *route = relay_route(c->hop);
	char why[DIAL_WHY_MAX];
	size_t from = c->dial.count;

	if (route && m->status == LOOKUP_OK)
		dial_hosts(&c->dial, route, m->host, m->host_count, c->families, why);
	for (size_t i = from; i < c->dial.count; i++)
		c->dial.target[i].host = (unsigned)c->address_next;
	resolve_addresses(c);
}

static void add_numeric(struct conn *c, const struct mta_route *route, const struct endpoint *e,
			unsigned host, const struct addr *source)
{
	struct dial_target t = { .at = *e, .host = host };

	addr_str(&e->addr, t.name);
	if (source)
		t.source = *source;
	for (size_t i = 0; !source && i < route->source_count && !t.source.family; i++) {
		if (route->sources[i].addr.family == e->addr.family)
			t.source = route->sources[i].addr;
	}
	if (c->families & (e->addr.family == AF_INET6 ? MSG_R_FAMILY6 : MSG_R_FAMILY4))
		dial_add(&c->dial, &t);
}

static void resolve_addresses(struct conn *c)
{
	const struct mta_route *route = relay_route(c->hop);

	while (route && c->address_next < route->addresses.count) {
		const char *word = route->addresses.v[c->address_next++];
		struct endpoint e = { .port = route->port };

		if (*word == '/') {
			struct dial_target t = { .host = (unsigned)c->address_next };

			snprintf(t.path, sizeof(t.path), "%s", word);
			snprintf(t.name, sizeof(t.name), "%s", c->hop->relay->ch->config->hostname);
			dial_add(&c->dial, &t);
		} else if (!endpoint_parse(word, route->port, &e)) {
			add_numeric(c, route, &e, (unsigned)c->address_next, NULL);
		} else if (!lookup_addr(c->hop->relay->lookup, &c->lookup, word)) {
			return; /* on_addr() goes on */
		}
	}
	if (!c->dial.count)
		give_up_host(c, "4.4.3",
			     "none of the route's addresses can be used or resolved now");
	else
		dial_begin(c);
}

/* The peer's addresses behind the tunnel, from our own one, on the device: no other way exists. */
static int tunnel_targets(struct conn *c, const struct mta_route *route)
{
	const struct tunnel_table *t = &c->hop->relay->ch->tunnel;
	const struct tunnel_peer *p = tunnel_peer(t, route->peer);

	if (!p || p->state == TUNNEL_DOWN || !t->dev[0])
		return -ENETDOWN;
	snprintf(c->dial.dev, sizeof(c->dial.dev), "%s", p->dev[0] ? p->dev : t->dev);
	for (size_t i = 0; i < p->inner_count; i++) {
		struct endpoint e = { .addr = p->inner[i].addr, .port = route->port };
		const struct addr *source = tunnel_source(t, e.addr.family);

		/* A network behind the peer names no host. */
		if (route->addresses.count || p->inner[i].len != addr_bits(&e.addr) || !source)
			continue;
		add_numeric(c, route, &e, 0, source);
	}
	for (size_t i = 0; i < route->addresses.count; i++) {
		struct endpoint e = { .port = route->port };
		const struct addr *source;

		if (endpoint_parse(route->addresses.v[i], route->port, &e))
			continue;
		source = tunnel_source(t, e.addr.family);
		if (source)
			add_numeric(c, route, &e, 0, source);
	}
	return c->dial.count ? 0 : -EADDRNOTAVAIL;
}

static void on_begin(struct timer *timer, uint64_t now_ms)
{
	struct conn *c = timer->arg;
	struct relay *r = c->hop->relay;
	const struct mta_route *route = relay_route(c->hop);
	struct endpoint e = { .port = 25 };
	int rc;

	(void)now_ms;
	if (!route) {
		give_up(c, RCPT_RES_NOT_TRIED, SCOPE_NONE, 0, "", "the route is gone");
		return;
	}
	switch (route->kind) {
	case ROUTE_TUNNEL:
		rc = tunnel_targets(c, route);
		if (!rc)
			dial_begin(c);
		else if (rc == -ENETDOWN && loop_now_ms(r->ch->loop) - c->begun_ms < TUNNEL_NEWS_MS)
			/* The queue may have heard that it is up a moment before us. */
			timer_set(loop_timers(r->ch->loop), &c->begin,
				  loop_now_ms(r->ch->loop) + TUNNEL_LOOK_MS);
		else if (rc == -ENETDOWN)
			give_up(c, RCPT_RES_NOT_TRIED, SCOPE_NONE, 0, "", "the tunnel is down");
		else
			give_up_host(c, "4.4.4",
				     "the tunnel peer has no address that we can reach");
		break;
	case ROUTE_MX:
		if (c->hop->next_hop[0] == '[') {
			if (address_literal_parse(c->hop->next_hop, strlen(c->hop->next_hop),
						  &e.addr)) {
				give_up(c, RCPT_RES_PERMFAIL, SCOPE_RECIPIENT, 0, "5.1.2",
					"the address literal is not understood");
			} else if (is_inside(r->ch, &e.addr)) {
				give_up(c, RCPT_RES_PERMFAIL, SCOPE_RECIPIENT, 554, "5.4.6",
					"the address literal is this machine");
			} else {
				e.port = route->port;
				add_numeric(c, route, &e, 0, NULL);
				dial_begin(c);
			}
			break;
		}
		c->lookup.done.mx = on_mx;
		if (lookup_mx(r->lookup, &c->lookup, c->hop->next_hop))
			give_up(c, RCPT_RES_PERMFAIL, SCOPE_RECIPIENT, 0, "5.1.2",
				"the domain is not a name");
		break;
	default:
		c->lookup.done.mx = on_addr;
		resolve_addresses(c);
	}
}

int conn_new(struct hop *h, const struct attempt *first)
{
	struct relay *r = h->relay;
	const struct mta_route *route = relay_route(h);
	struct conn *c = calloc(1, sizeof(*c));
	size_t index = (size_t)(route - r->ch->config->routes);

	if (!c)
		return -ENOMEM;
	c->hop = h;
	c->lf.fd = -1;
	c->state = CONN_RESOLVE;
	c->route = *route;
	c->route.tls_name = NULL;
	c->families = first->msg.families;
	c->tls_implicit = route->tls_implicit;
	c->lookup.arg = c;
	c->ehlo = strdup(r->ch->config->hostname);
	if (route->username && index < r->password_count && r->passwords[index].password) {
		c->username = strdup(route->username);
		c->password = strdup(r->passwords[index].password);
	}
	if (!c->ehlo) {
		free(c);
		return -ENOMEM;
	}
	dial_init(&c->dial, r->ch->loop, on_dialed, c);
	c->idle = (struct timer){ .fire = on_idle, .arg = c };
	/* From the loop, so that a failure at once is not told from inside of relay_pump(). */
	c->deadline = (struct timer){ .fire = on_deadline, .arg = c };
	c->begin = (struct timer){ .fire = on_begin, .arg = c };
	c->begun_ms = loop_now_ms(r->ch->loop);
	timer_set(loop_timers(r->ch->loop), &c->begin, c->begun_ms);
	c->next = h->conns;
	h->conns = c;
	r->conn_count++;
	return 0;
}
