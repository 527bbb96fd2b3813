/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One side of a year: what effects.c, sup_ops.c and the data plane are to the daemon. */
#include "year.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "prf.h"
#include "secret.h"

#define CLOCK_BASE_MS	100000 /* a machine's clock when it has just started */
#define HOP_REST_MS	10000
#define RESOLVE_MS	30
#define ROUTE_MS	2
#define RECALL_AFTER_MS 200

static struct secret psk;

uint64_t node_now(const struct node *n)
{
	return n->y->now_ms - n->born_ms + CLOCK_BASE_MS;
}

static uint64_t world_time(const struct node *n, uint64_t local_ms)
{
	return local_ms == UINT64_MAX ? UINT64_MAX : local_ms + n->born_ms - CLOCK_BASE_MS;
}

static void apply(struct node *n);

/* For people: what happened, when a single seed is run. */
static void say(const struct node *n, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(const struct node *n, const char *fmt, ...)
{
	va_list ap;

	if (!n->y->verbose)
		return;
	fprintf(stderr, "      %llu.%03llu %s: ", (unsigned long long)(n->y->now_ms / 1000),
		(unsigned long long)(n->y->now_ms % 1000), n->index == HOME ? "home" : "vps");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

/* ---- data plane ---- */

static struct year_kid *kid_in(struct node *n, uint32_t spi)
{
	for (int i = 0; i < YEAR_KIDS; i++)
		if (n->kid[i].in && n->kid[i].spi_in == spi)
			return &n->kid[i];
	return NULL;
}

static struct year_kid *kid_sends(struct node *n)
{
	struct year_kid *best = NULL;

	for (int i = 0; i < YEAR_KIDS; i++)
		if (n->kid[i].out && (!best || n->kid[i].order > best->order))
			best = &n->kid[i];
	return best;
}

static void seal(struct node *n, struct year_kid *k, bool data)
{
	struct flight f = { .spi = k->spi_out,
			    .key = k->key_out,
			    .seq = ++k->seq_out,
			    .sent_ms = n->y->now_ms,
			    .data = data };

	if (!n->has_path || (n->limited && !n->credit))
		return;
	n->credit -= n->limited;
	n->act.tx_any_ms = node_now(n);
	if (data)
		n->act.tx_data_ms = node_now(n);
	year_send(n->y, n->index, &n->path, NULL, 100, &f);
}

void node_data(struct node *n)
{
	struct year_kid *k = kid_sends(n);

	if (k) {
		seal(n, k, true);
		return;
	}
	if (n->acquire_ms && node_now(n) - n->acquire_ms < 1000)
		return;
	n->acquire_ms = node_now(n);
	if (n->sup.ike)
		(void)engine_acquire(n->e, node_now(n), n->sup.ike, &n->here[0].ts.lo,
				     &n->there[0].ts.lo, &n->fx);
	sup_on_inner_packet(&n->sup, node_now(n));
	apply(n);
}

static bool is_newest(const struct node *n, const struct year_kid *k)
{
	for (int i = 0; i < YEAR_KIDS; i++)
		if (n->kid[i].in && n->kid[i].seen && n->kid[i].order > k->order)
			return false;
	return true;
}

static void unknown(struct node *n, const struct flight *f, const struct engine_path *path)
{
	bool known = n->has_path && endpoint_eq(&n->path.remote, &f->from);

	say(n, "does not know SPI %08x", f->spi);
	engine_on_unknown_spi(n->e, node_now(n), known ? n->peer.id : 0, path, f->spi, &n->fx);
	apply(n);
}

static void esp(struct node *n, const struct flight *f, const struct engine_path *path)
{
	struct year_kid *k = kid_in(n, f->spi);
	bool newest;

	if (!k || k->key_in != f->key) {
		unknown(n, f, path);
		return;
	}
	n->act.rx_auth_ms = node_now(n);
	if (f->data) {
		n->act.rx_data_ms = node_now(n);
		if (n->y->node[!n->index].got_sent_ms < f->sent_ms)
			n->y->node[!n->index].got_sent_ms = f->sent_ms;
		n->y->delivered++;
	}
	newest = f->seq > k->seq_in && is_newest(n, k);
	if (f->seq > k->seq_in)
		k->seq_in = f->seq;
	if (!k->seen) {
		k->seen = true;
		engine_on_child_event(n->e, node_now(n), f->spi, ENGINE_CHILD_FIRST_PACKET, &n->fx);
	}
	if (n->has_path && n->limited && endpoint_eq(&n->path.remote, &f->from))
		n->credit += 3;
	if (n->has_path && (path->sock != n->path.sock || !endpoint_eq(&n->path.remote, &f->from)))
		sup_on_endpoint(&n->sup, path, 100, newest, node_now(n));
	apply(n);
}

void node_packet(struct node *n, const struct flight *f, const struct engine_path *path)
{
	char a[ENDPOINT_STR_MAX], b[ENDPOINT_STR_MAX];

	if (f->ike)
		say(n, "gets exchange %u, flags %02x, ID %u, SPIs %02x%02x/%02x%02x, %s -> %s",
		    f->ike[18], f->ike[19], f->ike[23], f->ike[0], f->ike[1], f->ike[8], f->ike[9],
		    endpoint_str(&f->from, a), endpoint_str(&f->dst, b));
	if (!f->ike) {
		esp(n, f, path);
		return;
	}
	engine_on_datagram(n->e, node_now(n), path, f->ike, f->len, &n->fx);
	apply(n);
}

/* ---- what the engine must have at once ---- */

static int op_spi_alloc(void *arg, uint32_t peer, uint32_t *spi)
{
	struct node *n = arg;

	(void)peer;
	*spi = 0x1000 + n->next_spi++ % 0x7fffffff;
	return 0;
}

static void op_spi_free(void *arg, uint32_t peer, uint32_t spi)
{
	(void)arg, (void)peer, (void)spi;
}

static uint64_t hash(struct span key)
{
	uint64_t h = 1469598103934665603u;

	for (size_t i = 0; i < key.len; i++)
		h = (h ^ ((const uint8_t *)key.p)[i]) * 1099511628211u;
	return h;
}

static int op_install(void *arg, enum engine_dir dir, const struct engine_child *c)
{
	struct node *n = arg;
	struct year_kid *k = kid_in(n, c->spi_in);

	for (int i = 0; !k && i < YEAR_KIDS; i++)
		if (!n->kid[i].in && !n->kid[i].out)
			k = &n->kid[i];
	if (!k)
		return -ENOSPC;
	if (dir == ENGINE_IN) {
		*k = (struct year_kid){ .in = true, .spi_in = c->spi_in, .key_in = hash(c->key) };
		k->order = ++n->order;
	} else {
		k->out = true;
		k->spi_in = c->spi_in;
		k->spi_out = c->spi_out;
		k->key_out = hash(c->key);
		k->order = ++n->order;
	}
	return 0;
}

static void op_random(void *arg, void *p, size_t len)
{
	struct node *n = arg;
	uint8_t *b = p;

	for (size_t i = 0; i < len; i++)
		b[i] = (uint8_t)(year_random(n->y) >> 24);
}

static const struct engine_ops engine_ops = {
	.spi_alloc = op_spi_alloc,
	.spi_free = op_spi_free,
	.child_install = op_install,
	.random = op_random,
};

/* ---- effects ---- */

static void keys(struct node *n, const struct fx *f)
{
	const struct span octets = { f->auth.octets, f->auth.len };
	uint8_t out[64];
	size_t len = 0;

	if (auth_psk(f->auth.prf, &psk, octets, out, &len))
		abort();
	engine_on_auth_result(n->e, node_now(n), f->auth.token, out, len, &n->fx);
}

static void hop_used(struct node *n, uint32_t sock)
{
	for (size_t i = 1; i < n->env.sock_count; i++)
		if (n->env.sock_number[i] == sock)
			n->hop_used_ms[i] = node_now(n);
}

static void tell(const struct node *n, const struct fx *f)
{
	char a[ENDPOINT_STR_MAX], b[ENDPOINT_STR_MAX];

	switch (f->kind) {
	case FX_PEER_UP:
		say(n, "IKE SA %u is up, %s -> %s", f->up.ike, endpoint_str(&f->up.path.local, a),
		    endpoint_str(&f->up.path.remote, b));
		break;
	case FX_PEER_DOWN:
		say(n, "IKE SA %u is down: %s", f->down.ike, engine_why_str(f->down.why));
		break;
	case FX_REPLY:
		say(n, "is answered on IKE SA %u (%u is live)%s from %s", f->reply.ike, n->sup.ike,
		    f->reply.routable ? "" : ", no proof of the path,",
		    endpoint_str(&f->reply.path.remote, a));
		break;
	case FX_HINT:
		say(n, "is told that %s is lost",
		    f->reply.about_child ? "a CHILD SA" : "the IKE SA");
		break;
	default:
		break;
	}
}

static void apply_one(struct node *n, struct fx *f)
{
	switch (f->kind) {
	case FX_SEND:
		hop_used(n, f->send.path.sock);
		year_send(n->y, n->index, &f->send.path, f->send.bytes, f->send.len, NULL);
		return;
	case FX_AUTH:
		keys(n, f);
		return;
	case FX_CHILD_REMOVE_OUT:
		for (int i = 0; i < YEAR_KIDS; i++)
			if (n->kid[i].out && n->kid[i].spi_out == f->child.spi_out)
				n->kid[i].out = false;
		return;
	case FX_CHILD_REMOVE_IN:
		for (int i = 0; i < YEAR_KIDS; i++)
			if (n->kid[i].spi_in == f->child.spi_in)
				n->kid[i] = (struct year_kid){ 0 };
		return;
	case FX_PEER_UP:
		n->y->handshakes += n->index == HOME;
		break;
	default:
		break;
	}
	tell(n, f);
	sup_on_fx(&n->sup, f, node_now(n));
}

static void apply(struct node *n)
{
	if (n->applying || !n->e)
		return;
	n->applying = true;
	for (size_t i = 0; i < n->fx.count; i++) {
		struct fx f = n->fx.v[i];

		apply_one(n, &f);
	}
	fx_list_clear(&n->fx);
	n->applying = false;
}

/* ---- what the supervisor asks for ---- */

static int64_t s_initiate(void *arg, uint32_t peer, const struct engine_path *path)
{
	struct node *n = arg;

	say(n, "calls");
	return engine_initiate(n->e, node_now(n), peer, path, &n->fx);
}

static void s_drop(void *arg, uint32_t ike)
{
	struct node *n = arg;

	(void)engine_drop(n->e, node_now(n), ike, &n->fx);
}

static void s_close(void *arg, uint32_t ike)
{
	struct node *n = arg;

	(void)engine_delete(n->e, node_now(n), ike, &n->fx);
}

static void s_liveness(void *arg, uint32_t ike)
{
	struct node *n = arg;

	say(n, "asks");
	(void)engine_liveness(n->e, node_now(n), ike, &n->fx);
}

static void s_retransmit(void *arg, uint32_t ike, const struct engine_path *via)
{
	struct node *n = arg;

	say(n, "%s", via ? "hops" : "asks again");
	(void)engine_retransmit(n->e, node_now(n), ike, via, &n->fx);
}

static void s_set_path(void *arg, uint32_t ike, const struct engine_path *path)
{
	struct node *n = arg;

	(void)engine_set_path(n->e, node_now(n), ike, path, &n->fx);
}

static bool s_answered(void *arg, uint32_t ike)
{
	struct node *n = arg;
	struct engine_ike_info info;

	return engine_ike_info(n->e, ike, &info) && info.answered;
}

static int s_resolve(void *arg, uint32_t peer, size_t host, const char *name)
{
	struct node *n = arg;

	(void)peer, (void)host, (void)name;
	if (!n->resolves++)
		n->resolve_at_ms = n->y->now_ms + RESOLVE_MS;
	return 0;
}

static int s_route(void *arg, uint32_t peer, const struct addr *to)
{
	struct node *n = arg;

	(void)peer;
	if (n->routes == 32)
		return -EAGAIN;
	if (!n->routes)
		n->route_at_ms = n->y->now_ms + ROUTE_MS;
	n->route_to[n->routes++] = *to;
	return 0;
}

static void s_move(void *arg, uint32_t peer, const struct engine_path *path, bool limited,
		   uint64_t credit_bytes)
{
	struct node *n = arg;

	(void)peer, (void)credit_bytes;
	n->has_path = true;
	n->path = *path;
	n->limited = limited;
	n->credit = 3;
}

static void s_dummy(void *arg, uint32_t peer)
{
	struct node *n = arg;
	struct year_kid *k = kid_sends(n);

	(void)peer;
	if (k)
		seal(n, k, false);
}

static void s_activity(void *arg, uint32_t peer, struct sup_activity *a)
{
	struct node *n = arg;

	(void)peer;
	*a = n->act;
}

static void s_changed(void *arg, uint32_t peer, bool up)
{
	struct node *n = arg;

	(void)peer;
	say(n, "%s", up ? "up" : "down");
}

static void s_roamed(void *arg, uint32_t peer, const struct endpoint *from,
		     const struct endpoint *to, const char *why)
{
	char a[ENDPOINT_STR_MAX], b[ENDPOINT_STR_MAX];

	(void)peer;
	say(arg, "%s -> %s (%s)", endpoint_str(from, a), endpoint_str(to, b), why);
}

static void s_remember(void *arg, uint32_t peer)
{
	struct node *n = arg;

	(void)peer;
	n->kept = n->sup.memory.endpoint;
}

static uint32_t s_random(void *arg, uint32_t below)
{
	struct node *n = arg;

	return year_below(n->y, below);
}

static const struct sup_ops sup_ops = {
	.initiate = s_initiate,
	.drop = s_drop,
	.close = s_close,
	.liveness = s_liveness,
	.retransmit = s_retransmit,
	.set_path = s_set_path,
	.answered = s_answered,
	.resolve = s_resolve,
	.route = s_route,
	.move = s_move,
	.dummy = s_dummy,
	.nat_keepalive = s_dummy,
	.activity = s_activity,
	.changed = s_changed,
	.roamed = s_roamed,
	.remember = s_remember,
	.random = s_random,
};

/* ---- life ---- */

static void configure(struct node *n)
{
	static const char *const name[2] = { "home.example.net", "vps.example.net" };
	static const char *const net[2] = { "10.99.0.2/32", "10.99.0.1/32" };
	const char *us = name[n->index], *them = name[!n->index];
	struct prefix here, there;

	if (!psk.len && secret_set(&psk, "a secret of many words, for a year", 34))
		abort();
	if (prefix_parse(net[n->index], &here) || prefix_parse(net[!n->index], &there))
		abort();
	n->here[0].ts = ts_from_prefix(&here);
	n->there[0].ts = ts_from_prefix(&there);
	proposals_default_ike(&n->ike_ps, true);
	proposals_default_esp(&n->esp_ps, true, true);
	n->conf.id = 1;
	n->conf.name = them;
	n->conf.local_ts = n->here;
	n->conf.remote_ts = n->there;
	n->conf.local_ts_count = n->conf.remote_ts_count = 1;
	n->peer.id = 1;
	n->peer.name = them;
	n->peer.local_id = (struct engine_id){ ID_FQDN, (const uint8_t *)us, strlen(us) };
	n->peer.remote_id = (struct engine_id){ ID_FQDN, (const uint8_t *)them, strlen(them) };
	n->peer.local_auth.kind = n->peer.remote_auth.kind = ENGINE_AUTH_PSK;
	n->peer.local_auth.key_ref = n->peer.remote_auth.psk_ref = 1;
	n->peer.ike = &n->ike_ps;
	n->peer.esp = &n->esp_ps;
	n->peer.child = &n->conf;
	n->peer.child_count = 1;
	n->peer.accept = true;
	n->host[0].name = "vps";
	n->cfg = (struct sup_config){ .peer = 1,
				      .start = n->index == HOME ? SUP_ALWAYS : SUP_WAIT,
				      .host = n->host,
				      .host_count = n->index == HOME,
				      .port = 4500,
				      .retry_max_ms = 4000,
				      .keepalive_ms = 15000 };
	n->env = (struct sup_env){ .ops = &sup_ops, .arg = n };
	n->env.sock_count = n->index == HOME ? YEAR_SOCKS : 1;
	for (size_t i = 0; i < n->env.sock_count; i++) {
		n->env.sock_number[i] = i ? (uint32_t)i + 1 : 0;
		n->env.sock_family[i] = AF_INET6;
		n->env.sock_port[i] =
		    n->index == HOME ? (uint16_t)(40000 + n->port_next++ % 20000) : 4500;
	}
}

void node_start(struct node *n)
{
	struct engine_config cfg = { .ops = &engine_ops, .arg = n };
	struct sup_memory m = { .endpoint = n->kept };

	configure(n);
	memset(n->kid, 0, sizeof(n->kid));
	memset(&n->act, 0, sizeof(n->act));
	memset(n->hop_used_ms, 0, sizeof(n->hop_used_ms));
	n->has_path = n->limited = false;
	n->resolves = n->routes = 0;
	n->acquire_ms = 0;
	n->e = engine_new(&cfg);
	if (!n->e || engine_peer_update(n->e, node_now(n), &n->peer, &n->fx))
		abort();
	n->running = true;
	sup_init(&n->sup, &n->env, &n->cfg, &m, node_now(n));
	if (n->index == VPS)
		sup_recall(&n->sup, node_now(n) + RECALL_AFTER_MS);
	apply(n);
}

void node_stop(struct node *n, bool orderly)
{
	if (!n->running)
		return;
	if (orderly) {
		engine_delete_all(n->e, node_now(n), &n->fx);
		apply(n);
	}
	n->running = n->asleep = false;
	sup_clear(&n->sup);
	engine_free(n->e);
	n->e = NULL;
	fx_list_free(&n->fx);
}

void node_free(struct node *n)
{
	node_stop(n, false);
}

/* ---- time ---- */

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

uint64_t node_due(const struct node *n)
{
	uint64_t due;

	if (!n->running || n->asleep)
		return UINT64_MAX;
	due = world_time(n, least(sup_due_ms(&n->sup), engine_next_timer_ms(n->e)));
	if (n->resolves)
		due = least(due, n->resolve_at_ms);
	if (n->routes)
		due = least(due, n->route_at_ms);
	return due;
}

static void answer_routes(struct node *n)
{
	struct addr to[32];
	int count = n->routes;
	struct sup_route r = { .ifindex = n->ifindex, .src = n->src };

	memcpy(to, n->route_to, sizeof(to));
	n->routes = 0;
	for (int i = 0; i < count; i++)
		sup_on_route(&n->sup, &to[i], n->route ? 0 : -ENETUNREACH, n->route ? &r : NULL,
			     node_now(n));
}

static void renew_ports(struct node *n)
{
	for (size_t i = 1; i < n->env.sock_count; i++) {
		if (!n->hop_used_ms[i] || node_now(n) - n->hop_used_ms[i] < HOP_REST_MS)
			continue;
		n->hop_used_ms[i] = 0;
		if (n->sup.ike && n->sup.where.path.sock == n->env.sock_number[i])
			n->hop_used_ms[i] = node_now(n);
		else
			n->env.sock_port[i] = (uint16_t)(40000 + n->port_next++ % 20000);
	}
}

void node_run(struct node *n)
{
	struct year *y = n->y;

	if (!n->running || n->asleep)
		return;
	renew_ports(n);
	if (world_time(n, engine_next_timer_ms(n->e)) <= y->now_ms) {
		engine_on_timer(n->e, node_now(n), &n->fx);
		apply(n);
	}
	if (n->resolves && n->resolve_at_ms <= y->now_ms) {
		bool ok = y->dns_ok && n->route;

		n->resolves = 0;
		sup_on_resolved(&n->sup, 0, ok ? 0 : -EAGAIN, &y->dns, ok, node_now(n));
	}
	if (n->routes && n->route_at_ms <= y->now_ms)
		answer_routes(n);
	if (world_time(n, sup_due_ms(&n->sup)) <= y->now_ms)
		sup_tick(&n->sup, node_now(n));
	apply(n);
}

void node_wake(struct node *n)
{
	n->asleep = false;
}

void node_path_changed(struct node *n)
{
	if (!n->running || n->asleep)
		return;
	sup_on_path_change(&n->sup, node_now(n));
	apply(n);
}

void node_icmp(struct node *n)
{
	if (!n->running || n->asleep)
		return;
	sup_on_icmp(&n->sup, node_now(n));
	apply(n);
}

void node_lie(struct node *n)
{
	struct fx fx = { .kind = FX_HINT };

	if (!n->running || n->asleep || !n->sup.ike)
		return;
	fx.reply.peer = 1;
	fx.reply.ike = n->sup.ike;
	fx.reply.path = n->sup.where.path;
	fx.reply.about_child = year_below(n->y, 2);
	sup_on_fx(&n->sup, &fx, node_now(n));
	apply(n);
}
