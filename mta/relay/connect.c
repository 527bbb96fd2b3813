/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "conn_int.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "address.h"
#include "clock.h"
#include "log.h"
#include "secret.h"

#define TLS_HANDSHAKE_MS 30000
#define BOTH		 (MSG_R_FAMILY4 | MSG_R_FAMILY6)
#define SECRETS_MS	 5000 /* that the parent may take to send a password */
#define SECRETS_LOOK_MS	 50

/* ---- the end of a connection ---- */

void conn_fd_close(struct conn *c)
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
 * connection now, and some time after all of them are settled the far side knows the copies no more (STORE_SEEN_LEAST_S).
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
	conn_fd_close(c);
	r->conn_count--;
	if (c->publishes)
		publisher_ended(&r->publisher);
	if (c->question)
		asker_ended(c, why);
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
	/* The queue may hear first that it is up again: no letter of then may be given to a session of now. */
	if (p && p->state == TUNNEL_DOWN && c->state != CONN_RESOLVE) {
		c->old = true;
		if (!c->session_open || !c->session.letters)
			conn_close(c, "the tunnel is down");
		return;
	}
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
		if (o != c && !o->dead && !o->old && !conn_opening(o))
			return true;
	}
	return false;
}

/* Never got as far as letters, and there is no other host to try. */
static void give_up(struct conn *c, enum rcpt_result result, enum fault_scope scope, uint16_t code,
		    const char *enhanced, const char *text)
{
	struct hop *h = c->hop;
	bool work = others_work(c);
	char quoted[600];

	log_info(NULL, "route=%s hop=%s msg=\"cannot be used: %s\"", h->route_name, h->next_hop,
		 log_quote(quoted, sizeof(quoted), text, strlen(text)));
	/*
	 * While another session of this hop works, what waits goes there, and to open one more at once would bring
	 * the same no, as often as the host can say it. An old one speaks for no letter.
	 */
	if (work && !c->old)
		h->enough_ms = loop_now_ms(h->relay->ch->loop) + ENOUGH_MS;
	if (h->waiting && !c->old && !work) {
		h->waiting->conn = c; /* for the host and the families in its result */
		relay_fail_waiting(h, result, scope, code, enhanced, text);
	}
	conn_close(c, text);
}

void conn_give_up_host(struct conn *c, const char *enhanced, const char *text)
{
	give_up(c, RCPT_RES_TEMPFAIL, SCOPE_HOST, 0, enhanced, text);
}

/* This host will not do: the next one, if there is. */
void conn_next_host(struct conn *c, uint16_t code, const char *enhanced, const char *text)
{
	conn_fd_close(c);
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

/* ---- the way there ---- */

static void count_dial(const struct conn *c, int family, enum counter_word result)
{
	struct counter_labels l = { .name = c->hop->route_name,
				    .family = family,
				    .result = result };

	counters_add(c->hop->relay->ch->counters, COUNTER_CONNECTIONS, &l, 1);
}

/* A family that failed counts beside the one that answered, once however many hosts are tried. */
static void count_dialed(struct conn *c, const struct dial_target *won)
{
	uint8_t failed = c->dial.failed & (uint8_t)~c->counted;

	if (failed & MSG_R_FAMILY4)
		count_dial(c, AF_INET, WORD_FAILED);
	if (failed & MSG_R_FAMILY6)
		count_dial(c, AF_INET6, WORD_FAILED);
	c->counted |= failed;
	if (won)
		count_dial(c, won->path[0] ? AF_UNIX : won->at.addr.family, WORD_OK);
	else if (!c->dial.failed)
		count_dial(c, 0, WORD_FAILED);
}

static void on_dialed(struct dial *d, int fd, size_t target)
{
	struct conn *c = d->arg;
	struct loop *l = c->hop->relay->ch->loop;

	count_dialed(c, fd < 0 ? NULL : &d->target[target]);
	if (fd < 0) {
		conn_give_up_host(c, "4.4.1", d->why);
		return;
	}
	c->target = target;
	c->lf = (struct loop_fd){ .fd = fd, .ready = conn_on_ready, .arg = c };
	if (loop_add(l, &c->lf, EPOLLIN)) {
		conn_give_up_host(c, "4.3.0", "out of memory");
		return;
	}
	timer_set(loop_timers(l), &c->deadline, loop_now_ms(l) + TLS_HANDSHAKE_MS);
	if (c->tls_implicit) {
		conn_tls_begin(c);
		if (!c->dead)
			conn_tls_step(c);
		return;
	}
	conn_session_begin(c);
	conn_set_deadline(c);
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
		conn_give_up_host(c, "4.4.3", "DNS does not answer");
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
		conn_give_up_host(c, "4.4.4", why);
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
	size_t from = c->dial.count;

	if (route && m->status == LOOKUP_OK)
		dial_hosts(&c->dial, route, m->host, m->host_count, c->families, c->dial.why);
	for (size_t i = from; i < c->dial.count; i++) {
		c->dial.target[i].host = (unsigned)c->address_next;
		c->dial.target[i].at.port = c->port;
	}
	resolve_addresses(c);
}

/* @source: NULL for one of the route's. */
static void add_numeric(struct conn *c, const struct mta_route *route, const struct endpoint *e,
			unsigned host, const struct addr *source)
{
	struct dial_target t = { .at = *e, .host = host };
	uint8_t family = e->addr.family == AF_INET6 ? MSG_R_FAMILY6 : MSG_R_FAMILY4;

	addr_str(&e->addr, t.name);
	if (source)
		t.source = *source;
	if (c->families & route_families(route) & family)
		dial_add(&c->dial, &t);
}

static void add_path(struct conn *c, const char *path)
{
	struct dial_target t = { .host = (unsigned)c->address_next };

	snprintf(t.path, sizeof(t.path), "%s", path);
	snprintf(t.name, sizeof(t.name), "%s", c->hop->relay->ch->config->hostname);
	dial_add(&c->dial, &t);
}

/* Of the @n-th that is looked at, from 0: the list begins anew behind its end. */
static size_t address_index(const struct conn *c, const struct mta_route *route, size_t n)
{
	return (c->address_first + n) % route->addresses.count;
}

/* Its target's host is the count of those looked at, itself included. */
void conn_worked(struct conn *c)
{
	struct relay *r = c->hop->relay;
	const struct mta_route *route = relay_route(c->hop);
	unsigned host = c->dial.target[c->target].host;

	if (!c->old && route && host && route->addresses.count > 1)
		memory_worked(&r->memory, r->ch->config, route, address_index(c, route, host - 1),
			      loop_now_ms(r->ch->loop));
}

static void resolve_addresses(struct conn *c)
{
	const struct mta_route *route = relay_route(c->hop);
	char name[MTA_DOMAIN_MAX];
	struct endpoint e;

	while (route && c->address_next < route->addresses.count) {
		const char *word = route->addresses.v[address_index(c, route, c->address_next++)];

		if (*word == '/') {
			add_path(c, word);
			continue;
		}
		if (route_address_parse(word, route->port, &e, name))
			continue;
		c->port = e.port;
		if (!name[0])
			add_numeric(c, route, &e, (unsigned)c->address_next, NULL);
		else if (!lookup_addr(c->hop->relay->lookup, &c->lookup, name))
			return; /* on_addr() goes on */
	}
	if (!c->dial.count && c->families != BOTH) {
		c->families = BOTH; /* what worked lately is not there: anything */
		c->address_next = 0;
		resolve_addresses(c);
	} else if (c->dial.count)
		dial_begin(c);
	else
		conn_give_up_host(
		    c, c->dial.why[0] ? "4.4.4" : "4.4.3",
		    c->dial.why[0] ? c->dial.why
				   : "none of the route's addresses can be used or resolved now");
}

/* The peer's addresses of one family. */
static void add_tunnel(struct conn *c, const struct mta_route *route, const struct tunnel_peer *p,
		       int family)
{
	const struct addr *source = tunnel_source(&c->hop->relay->ch->tunnel, family);

	for (size_t i = 0; source && !route->addresses.count && i < p->inner_count; i++) {
		struct endpoint e = { .addr = p->inner[i].addr, .port = route->port };

		/* A network behind the peer names no host. */
		if (e.addr.family == family && p->inner[i].len == addr_bits(&e.addr))
			add_numeric(c, route, &e, 0, source);
	}
	for (size_t i = 0; source && i < route->addresses.count; i++) {
		struct endpoint e = { .port = route->port };

		if (!endpoint_parse(route->addresses.v[i], route->port, &e) &&
		    e.addr.family == family)
			add_numeric(c, route, &e, 0, source);
	}
}

/* The peer's addresses behind the tunnel, from our own one, on the device: no other way exists. */
static int tunnel_targets(struct conn *c, const struct mta_route *route)
{
	const struct tunnel_table *t = &c->hop->relay->ch->tunnel;
	const struct tunnel_peer *p = tunnel_peer(t, route->peer);
	bool v6_first = dial_v6_first(&c->dial, route);

	if (!p || p->state == TUNNEL_DOWN || !t->dev[0])
		return -ENETDOWN;
	snprintf(c->dial.dev, sizeof(c->dial.dev), "%s", p->dev[0] ? p->dev : t->dev);
	for (int i = 0; i < 2 && !c->dial.count; i++, c->families = BOTH) {
		add_tunnel(c, route, p, v6_first ? AF_INET6 : AF_INET);
		add_tunnel(c, route, p, v6_first ? AF_INET : AF_INET6);
	}
	/* Who is up first may send before the other is there; TCP would come again after a second only. */
	if (c->dial.count == 1)
		dial_add(&c->dial, &c->dial.target[0]);
	return c->dial.count ? 0 : -EADDRNOTAVAIL;
}

/* Mail for user@[192.0.2.1]. */
static void literal_target(struct conn *c, const struct mta_route *route)
{
	const struct hop *h = c->hop;
	struct lookup_host host = { .addr_count = 1 };
	char why[DIAL_WHY_MAX];

	if (address_literal_parse(h->next_hop, strlen(h->next_hop), &host.addr[0])) {
		give_up(c, RCPT_RES_PERMFAIL, SCOPE_RECIPIENT, 0, "5.1.2",
			"the address literal is not understood");
	} else if (is_inside(h->relay->ch, &host.addr[0])) {
		give_up(c, RCPT_RES_PERMFAIL, SCOPE_RECIPIENT, 554, "5.4.6",
			"the address literal is this machine");
	} else {
		addr_str(&host.addr[0], host.name);
		if (dial_hosts(&c->dial, route, &host, 1, c->families, why))
			dial_begin(c);
		else
			conn_give_up_host(c, "4.4.4", why);
	}
}

/*
 * Without what shows who we are nobody is asked: a host that does not know us may refuse for good. After
 * a reload the parent needs a moment to send it. False: not (yet) there.
 */
static bool take_login(struct conn *c, const struct mta_route *route)
{
	struct relay *r = c->hop->relay;
	const char *why = secrets_missing(&r->secrets, route);

	if (!why && route->tls_learn && !r->shown_known)
		why = "it is not known which keys peers have shown before";
	if (why && loop_now_ms(r->ch->loop) < c->begun_ms + SECRETS_MS) {
		timer_set(loop_timers(r->ch->loop), &c->begin,
			  loop_now_ms(r->ch->loop) + SECRETS_LOOK_MS);
		return false;
	}
	if (why) {
		conn_give_up_host(c, "4.3.5", why);
		return false;
	}
	if (!route->username || c->username)
		return true;
	c->username = strdup(route->username);
	c->password = strdup(secrets_password(&r->secrets, route));
	if (c->username && c->password)
		return true;
	conn_give_up_host(c, "4.3.0", "out of memory");
	return false;
}

static void on_begin(struct timer *timer, uint64_t now_ms)
{
	struct conn *c = timer->arg;
	struct relay *r = c->hop->relay;
	const struct mta_route *route = relay_route(c->hop);
	int rc;

	(void)now_ms;
	if (!route) {
		give_up(c, RCPT_RES_NOT_TRIED, SCOPE_NONE, 0, "", "the route is gone");
		return;
	}
	if (!take_login(c, route))
		return;
	switch (route->kind) {
	case ROUTE_TUNNEL:
		rc = tunnel_targets(c, route);
		hop_pin_begin(c, route);
		if (!rc)
			dial_begin(c);
		else if (rc == -ENETDOWN && loop_now_ms(r->ch->loop) < c->begun_ms + TUNNEL_NEWS_MS)
			/* The queue may have heard that it is up a moment before us. */
			timer_set(loop_timers(r->ch->loop), &c->begin,
				  loop_now_ms(r->ch->loop) + TUNNEL_LOOK_MS);
		else if (rc == -ENETDOWN)
			give_up(c, RCPT_RES_NOT_TRIED, SCOPE_NONE, 0, "", "the tunnel is down");
		else
			conn_give_up_host(c, "4.4.4",
					  "the tunnel peer has no address that we can reach");
		break;
	case ROUTE_MX:
		if (c->hop->next_hop[0] == '[') {
			literal_target(c, route);
			break;
		}
		c->lookup.done.mx = on_mx;
		rc = lookup_mx(r->lookup, &c->lookup, c->hop->next_hop);
		if (rc == -E2BIG)
			give_up(c, RCPT_RES_PERMFAIL, SCOPE_RECIPIENT, 0, "5.1.2",
				"the domain is not a name");
		else if (rc)
			conn_give_up_host(c, "4.3.0", "out of memory");
		break;
	default:
		c->lookup.done.mx = on_addr;
		c->address_first = memory_first(&r->memory, r->ch->config, route, now_ms);
		resolve_addresses(c);
	}
}

int conn_new(struct hop *h, uint8_t families)
{
	struct relay *r = h->relay;
	const struct mta_route *route = relay_route(h);
	struct conn *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->hop = h;
	c->lf.fd = -1;
	c->state = CONN_RESOLVE;
	c->route = *route;
	c->route.tls_name = NULL;
	c->families = families;
	c->tls_implicit = route->tls_implicit;
	c->lookup.arg = c;
	c->ehlo = strdup(route->helo ? route->helo : r->ch->config->hostname);
	if (!c->ehlo) {
		free(c);
		return -ENOMEM;
	}
	dial_init(&c->dial, r->ch->loop, on_dialed, c);
	dial_from(&c->dial, route, memory_turn(&r->memory, r->ch->config, route));
	c->idle = (struct timer){ .fire = conn_on_idle, .arg = c };
	/* From the loop, so that a failure at once is not told from inside of relay_pump(). */
	c->deadline = (struct timer){ .fire = conn_on_deadline, .arg = c };
	c->begin = (struct timer){ .fire = on_begin, .arg = c };
	/* Not the loop's, which is of before this turn: we may have heard of the tunnel's last change in it. */
	c->begun_ms = clock_boot_ms();
	timer_set(loop_timers(r->ch->loop), &c->begin, loop_now_ms(r->ch->loop));
	c->next = h->conns;
	h->conns = c;
	r->conn_count++;
	return 0;
}
