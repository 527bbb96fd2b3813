/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the engine asks for, done in one place and in its order; and the other way, the words of
 * data plane, keys process, resolver and parent brought to engine and supervisors.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "child_int.h"
#include "secret.h"

#define EVENTS_AT_ONCE 64

/* An answer that is on its way names its peer by number: it may be gone when the answer comes. */
struct request {
	struct child *child;
	uint32_t peer;
	size_t host;
	struct addr to;
	uint64_t token;
};

static struct request *request_new(struct child *c, uint32_t peer)
{
	struct request *r = calloc(1, sizeof(*r));

	if (r) {
		r->child = c;
		r->peer = peer;
	}
	return r;
}

static struct dp_path dp_path_of(const struct engine_path *p)
{
	return (struct dp_path){ .sock = (uint8_t)p->sock,
				 .local = p->local.addr,
				 .remote = p->remote };
}

static uint16_t sock_port(const struct child *c, unsigned sock)
{
	if (sock == SOCK_IKE)
		return c->inv.port500.port;
	if (sock >= SOCK_HOP0 && sock < SOCK_HOP0 + c->inv.hop_count)
		return c->inv.hop[sock - SOCK_HOP0].port;
	return c->inv.outer[0].port;
}

static struct engine_path engine_path_of(const struct child *c, const struct dp_path *p)
{
	return (struct engine_path){ .sock = p->sock,
				     .local = { p->local, sock_port(c, p->sock) },
				     .remote = p->remote };
}

/* ---- the engine's questions, answered at once ---- */

static int op_spi_alloc(void *arg, uint32_t peer, uint32_t *spi)
{
	struct child *c = arg;
	int rc = dp_spi_alloc(c->dp, spi);

	(void)peer;
	*spi = ntohl(*spi);
	return rc;
}

static void op_spi_free(void *arg, uint32_t peer, uint32_t spi)
{
	struct child *c = arg;

	(void)peer;
	dp_spi_release(c->dp, htonl(spi));
}

static int cipher_of(const struct esp_suite *s, enum dp_cipher *cipher)
{
	bool large = s->encr_bits == 256;

	switch (s->encr) {
	case ENCR_AES_GCM_16:
		*cipher = large ? DP_AES_256_GCM_16 : DP_AES_128_GCM_16;
		return 0;
	case ENCR_CHACHA20_POLY1305:
		*cipher = DP_CHACHA20_POLY1305;
		return 0;
	case ENCR_AES_CBC:
		*cipher = large ? DP_AES_256_CBC_SHA256 : DP_AES_128_CBC_SHA256;
		if (s->integ == AUTH_HMAC_SHA2_384_192)
			*cipher += DP_AES_128_CBC_SHA384 - DP_AES_128_CBC_SHA256;
		else if (s->integ == AUTH_HMAC_SHA2_512_256)
			*cipher += DP_AES_128_CBC_SHA512 - DP_AES_128_CBC_SHA256;
		return 0;
	default:
		return -ENOTSUP;
	}
}

static void ts_for_dp(struct dp_ts *to, const struct ts *from, size_t count)
{
	for (size_t i = 0; i < count; i++)
		to[i] = (struct dp_ts){ .from = from[i].lo,
					.to = from[i].hi,
					.proto = from[i].proto,
					.port_from = from[i].port_lo,
					.port_to = from[i].port_hi };
}

static struct pair *pair_of(struct peer *p, uint32_t spi_in)
{
	for (size_t i = 0; i < p->pair_count; i++)
		if (p->pair[i].spi_in == spi_in)
			return &p->pair[i];
	return NULL;
}

static struct pair *pair_new(struct peer *p, uint32_t spi_in)
{
	struct pair *pair = pair_of(p, 0);

	if (!pair) {
		pair = realloc(p->pair, (p->pair_count + 1) * sizeof(*pair));
		if (!pair)
			return NULL;
		p->pair = pair;
		pair = &p->pair[p->pair_count++];
	}
	*pair = (struct pair){ .spi_in = spi_in, .generation = ++p->generation };
	return pair;
}

static int op_child_install(void *arg, enum engine_dir dir, const struct engine_child *ch)
{
	struct child *c = arg;
	struct peer *p = child_peer(c, ch->peer);
	struct dp_ts local[ENGINE_TS_MAX], remote[ENGINE_TS_MAX];
	struct dp_sa sa = { .peer = ch->peer };
	struct pair *pair = p ? pair_of(p, ch->spi_in) : NULL;
	uint8_t key[DP_CIPHER_KEY_LEN_MAX];
	int rc = p ? cipher_of(&ch->suite, &sa.cipher) : -ENOENT;

	if (rc)
		return rc;
	if (ch->key.len + ch->integ_key.len > sizeof(key))
		return -EINVAL;
	if (!pair)
		pair = pair_new(p, ch->spi_in);
	if (!pair)
		return -ENOMEM;
	pair->spi_out = ch->spi_out;
	ts_for_dp(local, ch->local_ts, ch->local_ts_count);
	ts_for_dp(remote, ch->remote_ts, ch->remote_ts_count);
	sa.spi = htonl(dir == ENGINE_IN ? ch->spi_in : ch->spi_out);
	sa.generation = pair->generation;
	sa.line = ch->line;
	sa.soft_bytes = ch->soft_bytes;
	sa.hard_bytes = ch->hard_bytes;
	sa.soft_pkts = ch->soft_pkts;
	sa.hard_pkts = ch->hard_pkts;
	memcpy(key, ch->key.p, ch->key.len);
	if (ch->integ_key.len)
		memcpy(key + ch->key.len, ch->integ_key.p, ch->integ_key.len);
	sa.key = key;
	sa.key_len = ch->key.len + ch->integ_key.len;
	sa.esn = ch->suite.esn == ESN_YES;
	sa.local = local;
	sa.local_count = ch->local_ts_count;
	sa.remote = remote;
	sa.remote_count = ch->remote_ts_count;
	rc = dir == ENGINE_IN ? dp_sa_install_in(c->dp, &sa) : dp_sa_install_out(c->dp, &sa);
	secret_wipe(key, sizeof(key));
	if (!rc)
		lease_cipher(c, sa.cipher);
	log_debug(&p->log, "CHILD SA %s spi=%08x generation=%u: %s",
		  dir == ENGINE_IN ? "in" : "out", ntohl(sa.spi), sa.generation,
		  rc ? strerror(-rc) : "installed");
	if (rc && dir == ENGINE_IN)
		memset(pair, 0, sizeof(*pair));
	return rc;
}

static bool has_key(const struct conf_section *s, const char *key)
{
	for (size_t i = 0; i < s->kind->key_count; i++)
		if (!strcmp(s->kind->keys[i].name, key))
			return true;
	return false;
}

static void op_where(void *arg, uint32_t id, const char *key, char *out, size_t cap)
{
	struct child *c = arg;
	const struct conf *conf = c->cfg->conf;
	const struct peer *known = child_peer(c, id); /* by number: strangers make us ask, thousands of times */
	const struct config_peer *p = known ? known->cfg : NULL;
	const struct conf_section *all = conf_find(conf, "posternd", ""),
				  *own = p ? conf_find(conf, "peer", p->name) : NULL;

	/* Its own line, else that of all, else where it could be written. */
	if (own && has_key(own, key) && conf_is_set(own, key))
		snprintf(out, cap, "%s:%u", conf->path, conf_line(own, key));
	else if (has_key(all, key) && conf_is_set(all, key))
		snprintf(out, cap, "%s:%u", conf->path, conf_line(all, key));
	else if (own && has_key(own, key))
		snprintf(out, cap, "not set in [peer %s], %s:%u", p->name, conf->path, own->line);
	else if (has_key(all, key))
		snprintf(out, cap, "not set in [posternd], %s:%u", conf->path, all->line);
}

const struct engine_ops child_engine_ops = {
	.spi_alloc = op_spi_alloc,
	.spi_free = op_spi_free,
	.child_install = op_child_install,
	.address_lease = op_address_lease,
	.where = op_where,
};

/* ---- AUTH by the keys process ---- */

static void on_octets(int status, const uint8_t *data, size_t len, void *arg)
{
	struct request *r = arg;

	engine_on_auth_result(r->child->engine, child_now(r->child), r->token, status ? NULL : data,
			      status ? 0 : len, &r->child->fx);
	effects_apply(r->child);
	free(r);
}

static void do_auth(struct child *c, struct fx *fx)
{
	/* No such secret: the same way and the same time, to a key that nobody has. */
	struct peer *p = fx->auth.key_ref ? child_peer(c, fx->auth.key_ref) : NULL;
	const char *name = p ? p->cfg->name : "-";
	struct request *r = request_new(c, fx->auth.peer);
	int rc = -ENOMEM;

	if (r) {
		r->token = fx->auth.token;
		rc = fx->auth.op == FX_AUTH_SIGN
			 ? priv_sign(c->priv, name, fx->auth.scheme, fx->auth.octets, fx->auth.len,
				     on_octets, r)
			 : priv_psk_auth(c->priv, name, fx->auth.prf, fx->auth.octets, fx->auth.len,
					 on_octets, r);
	}
	if (!rc)
		return;
	free(r);
	log_warn(p ? &p->log : NULL, "the keys process cannot be asked: %s", strerror(-rc));
	engine_on_auth_result(c->engine, child_now(c), fx->auth.token, NULL, 0, &c->fx);
}

/* ---- the list ---- */

static void do_send(struct child *c, struct fx *fx)
{
	struct dp_path path = dp_path_of(&fx->send.path);
	struct peer *p = child_peer(c, fx->send.peer);
	char to[ENDPOINT_STR_MAX];
	int rc;

	if (p && !sup_may_send(&p->sup, child_now(c)))
		return;
	rc = dp_send_ike(c->dp, &path, fx->send.bytes, fx->send.len);
	if (rc)
		log_debug(p ? &p->log : NULL, "IKE datagram of %zu bytes to %s: %s", fx->send.len,
			  endpoint_str(&path.remote, to), strerror(-rc));
}

/* The keys of the peer's log lines follow its IKE SA. */
static void log_ike(struct peer *p, uint32_t ike)
{
	struct engine_ike_info info;

	if (engine_ike_info(p->child->engine, ike, &info))
		log_set(&p->log, "peer=%s spi_i=%016llx spi_r=%016llx", p->cfg->name,
			(unsigned long long)info.spi_i, (unsigned long long)info.spi_r);
}

static void log_up(struct peer *p, const struct fx *fx)
{
	char to[ENDPOINT_STR_MAX];

	log_ike(p, fx->up.ike);
	log_info(&p->log, "endpoint %s%s%s%s%s", endpoint_str(&fx->up.path.remote, to),
		 fx->up.initiator ? ", we called" : ", it called",
		 fx->up.postern ? ", Postern" : "", fx->up.nat_local ? ", NAT on our side" : "",
		 fx->up.nat_remote ? ", NAT on its side" : "");
}

static void tell_rekey(struct peer *p, const char *what)
{
	telling_send(p->child, json_pack("{s:s, s:s, s:s}", "event", "rekey", "peer", p->cfg->name,
					 "what", what));
}

static uint32_t peer_of(const struct fx *fx)
{
	switch (fx->kind) {
	case FX_PEER_UP:
		return fx->up.peer;
	case FX_PEER_DOWN:
		return fx->down.peer;
	case FX_CHILD_UP:
	case FX_CHILD_REKEYED:
	case FX_CHILD_DOWN:
	case FX_CHILD_REMOVE_IN:
	case FX_CHILD_REMOVE_OUT:
		return fx->child.peer;
	case FX_IKE_REKEYED:
		return fx->rekeyed.peer;
	case FX_ADDRESSES:
		return fx->addresses.peer;
	case FX_REPLY:
	case FX_REQUEST_FROM:
	case FX_HINT:
		return fx->reply.peer;
	case FX_UNANSWERED:
		return fx->unanswered.peer;
	case FX_FAILED:
		return fx->failed.peer;
	default:
		return 0;
	}
}

static void do_one(struct child *c, struct fx *fx)
{
	struct peer *p = child_peer(c, peer_of(fx));
	struct pair *pair;

	switch (fx->kind) {
	case FX_SEND:
		do_send(c, fx);
		return;
	case FX_AUTH:
		do_auth(c, fx);
		return;
	case FX_CHILD_REMOVE_OUT:
		dp_sa_remove_out(c->dp, fx->child.peer, htonl(fx->child.spi_out));
		return;
	case FX_CHILD_REMOVE_IN:
		dp_sa_remove_in(c->dp, htonl(fx->child.spi_in));
		pair = p ? pair_of(p, fx->child.spi_in) : NULL;
		if (pair)
			memset(pair, 0, sizeof(*pair));
		return;
	case FX_PEER_UP:
		if (p)
			log_up(p, fx);
		break;
	case FX_CHILD_REKEYED:
		if (p)
			tell_rekey(p, "child");
		break;
	case FX_IKE_REKEYED:
		if (p) {
			log_ike(p, fx->rekeyed.new_ike);
			tell_rekey(p, "ike");
		}
		break;
	case FX_FAILED:
		if (!p) {
			sup_say(&c->refused, fx->failed.text);
			c->refused_ms = child_now(c);
		}
		break;
	case FX_ADDRESSES:
		if (p)
			lease_take(p, fx);
		return;
	default:
		break;
	}
	if (p) {
		sup_on_fx(&p->sup, fx, child_now(c));
		peer_arm(p);
	}
}

void effects_apply(struct child *c)
{
	if (c->applying)
		return; /* the outer one works it off */
	c->applying = true;
	for (size_t i = 0; i < c->fx.count; i++) {
		struct fx fx = c->fx.v[i]; /* the array may move while it is worked */

		do_one(c, &fx);
	}
	if (c->fx.lost)
		log_warn(NULL, "out of memory: what the engine asked for was lost in part");
	fx_list_clear(&c->fx);
	c->applying = false;
	if (timer_set(loop_timers(c->loop), &c->engine_timer, engine_next_timer_ms(c->engine)))
		log_err(NULL, "out of memory: no timer");
}

void peer_arm(struct peer *p)
{
	struct timers *ts = loop_timers(p->child->loop);

	/* Until the engine knows it nothing can be begun; a call made now would be lost for seconds. */
	if (!p->view || peer_key_awaited(p) || sup_due_ms(&p->sup) == UINT64_MAX)
		timer_clear(ts, &p->tick);
	else
		(void)timer_set(ts, &p->tick, sup_due_ms(&p->sup));
}

/* ---- what the supervisor asks for ---- */

static int64_t s_initiate(void *arg, uint32_t peer, const struct engine_path *path)
{
	struct child *c = arg;
	char to[ENDPOINT_STR_MAX];
	struct peer *p = child_peer(c, peer);

	if (p)
		log_debug(&p->log, "calling %s", endpoint_str(&path->remote, to));
	return engine_initiate(c->engine, child_now(c), peer, path, &c->fx);
}

static void s_drop(void *arg, uint32_t ike)
{
	struct child *c = arg;

	(void)engine_drop(c->engine, child_now(c), ike, &c->fx);
}

/* The other IKE SAs of whose this one is: a foreign peer may have several. */
static size_t ikes_beside(struct child *c, uint32_t ike, uint32_t *list, size_t cap)
{
	struct engine_ike_info info;
	size_t n, kept = 0;

	if (!engine_ike_info(c->engine, ike, &info))
		return 0;
	n = engine_peer_ikes(c->engine, info.peer, list, cap);
	for (size_t i = 0; i < n && i < cap; i++)
		if (list[i] != ike)
			list[kept++] = list[i];
	return kept;
}

static void s_close(void *arg, uint32_t ike)
{
	struct child *c = arg;
	uint32_t list[16];
	size_t n = ikes_beside(c, ike, list, CONF_COUNT(list));

	/* Any that is left would be up again at once. */
	(void)engine_delete(c->engine, child_now(c), ike, &c->fx);
	for (size_t i = 0; i < n; i++)
		(void)engine_delete(c->engine, child_now(c), list[i], &c->fx);
}

static void s_liveness(void *arg, uint32_t ike)
{
	struct child *c = arg;
	struct engine_ike_info info;
	uint32_t list[16];
	size_t n;

	/* Who is dead is found out together. */
	(void)engine_liveness(c->engine, child_now(c), ike, &c->fx);
	if (!engine_ike_info(c->engine, ike, &info) || info.postern)
		return;
	n = ikes_beside(c, ike, list, CONF_COUNT(list));
	for (size_t i = 0; i < n; i++)
		(void)engine_liveness(c->engine, child_now(c), list[i], &c->fx);
}

static void s_retransmit(void *arg, uint32_t ike, const struct engine_path *via)
{
	struct child *c = arg;

	(void)engine_retransmit(c->engine, child_now(c), ike, via, &c->fx);
}

static void s_set_path(void *arg, uint32_t ike, const struct engine_path *path)
{
	struct child *c = arg;

	(void)engine_set_path(c->engine, child_now(c), ike, path, &c->fx);
}

static bool s_answered(void *arg, uint32_t ike)
{
	struct child *c = arg;
	struct engine_ike_info info, other;
	uint32_t list[16];
	size_t n;

	if (!engine_ike_info(c->engine, ike, &info))
		return false;
	if (info.spi_r)
		return true;
	/* An attempt that was answered lives on in candidates of its own number. */
	n = engine_peer_ikes(c->engine, info.peer, list, CONF_COUNT(list));
	for (size_t i = 0; i < n && i < CONF_COUNT(list); i++)
		if (engine_ike_info(c->engine, list[i], &other) && other.initiator &&
		    !other.established && other.spi_r && other.spi_i == info.spi_i)
			return true;
	return false;
}

#define RESOLVE_MS 5000

static void on_resolved(int status, const struct addr *addr, size_t count, void *arg)
{
	struct request *r = arg;
	struct child *c = r->child;
	struct peer *p = child_peer(c, r->peer);

	if (p) {
		sup_on_resolved(&p->sup, r->host, status, addr, count, child_now(c));
		peer_arm(p);
		effects_apply(c);
	}
	free(r);
}

static int s_resolve(void *arg, uint32_t peer, size_t host, const char *name)
{
	struct child *c = arg;
	struct request *r = request_new(c, peer);
	int rc;

	if (!r)
		return -ENOMEM;
	r->host = host;
	rc = priv_resolve(c->priv, name, RESOLVE_MS, on_resolved, r);
	if (rc)
		free(r);
	return rc;
}

static void on_path(int status, const struct pr_path *path, void *arg)
{
	struct request *r = arg;
	struct child *c = r->child;
	struct peer *p = child_peer(c, r->peer);
	struct sup_route route = { 0 };

	if (path) {
		route = (struct sup_route){ path->ifindex, path->src, path->gateway };
		if (p)
			lease_path_mtu(p, path->mtu);
	}
	if (p) {
		sup_on_route(&p->sup, &r->to, status, path ? &route : NULL, child_now(c));
		peer_arm(p);
		effects_apply(c);
	}
	free(r);
}

static int s_route(void *arg, uint32_t peer, const struct addr *to)
{
	struct child *c = arg;
	struct request *r = request_new(c, peer);
	int rc;

	if (!r)
		return -ENOMEM;
	r->to = *to;
	rc = priv_path(c->priv, to, on_path, r);
	if (rc)
		free(r);
	return rc;
}

static void s_move(void *arg, uint32_t peer, const struct engine_path *path, bool limited,
		   uint64_t credit)
{
	struct child *c = arg;
	struct dp_path to = dp_path_of(path);
	struct peer *p = child_peer(c, peer);
	char text[ENDPOINT_STR_MAX];
	int rc = dp_peer_set(c->dp, peer, &to, limited, credit);

	if (rc && p)
		log_err(&p->log, "endpoint %s cannot be used: %s", endpoint_str(&to.remote, text),
			strerror(-rc));
}

static void s_dummy(void *arg, uint32_t peer)
{
	struct child *c = arg;

	(void)dp_send_dummy(c->dp, peer, NULL);
}

static void s_nat_keepalive(void *arg, uint32_t peer)
{
	struct child *c = arg;

	(void)dp_send_nat_keepalive(c->dp, peer);
}

static void s_activity(void *arg, uint32_t peer, struct sup_activity *a)
{
	struct child *c = arg;
	struct dp_activity d = { 0 };

	(void)dp_peer_activity(c->dp, peer, &d);
	*a = (struct sup_activity){ d.tx_data_ms, d.tx_any_ms, d.rx_auth_ms };
}

static void s_changed(void *arg, uint32_t peer, bool up)
{
	struct child *c = arg;
	struct peer *p = child_peer(c, peer);

	if (!p)
		return;
	if (up)
		p->up_since_ms = child_now(c);
	else
		p->down_since_ms = child_now(c);
	log_info(&p->log, "%s",
		 up				 ? "up"
		 : p->sup.ike && p->sup.asked_ms ? "down: it does not answer"
						 : "down");
	telling_send(c, telling_peer_event(p));
	lease_changed(p, up);
}

static void s_roamed(void *arg, uint32_t peer, const struct endpoint *from,
		     const struct endpoint *to, const char *why)
{
	struct child *c = arg;
	struct peer *p = child_peer(c, peer);
	char a[ENDPOINT_STR_MAX], b[ENDPOINT_STR_MAX];

	if (!p)
		return;
	log_info(&p->log, "endpoint %s -> %s (%s)", endpoint_str(from, a), endpoint_str(to, b),
		 why);
	telling_send(c, json_pack("{s:s, s:s, s:s, s:s, s:s}", "event", "roam", "peer",
				  p->cfg->name, "from", endpoint_str(from, a), "to",
				  endpoint_str(to, b), "why", why));
}

static void s_remember(void *arg, uint32_t peer)
{
	(void)peer;
	peers_save_soon(arg);
}

static uint32_t s_random(void *arg, uint32_t below)
{
	uint32_t n = 0;

	(void)arg;
	(void)secret_random(&n, sizeof(n));
	return below ? n % below : 0;
}

const struct sup_ops child_sup_ops = {
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
	.nat_keepalive = s_nat_keepalive,
	.activity = s_activity,
	.changed = s_changed,
	.roamed = s_roamed,
	.remember = s_remember,
	.random = s_random,
};

/* ---- the data plane's events ---- */

/* Our inbound SPI of the CHILD SA that an event is about; 0: not known any more. */
static uint32_t spi_in_of(struct peer *p, const struct dp_event *ev)
{
	for (size_t i = 0; i < p->pair_count; i++) {
		const struct pair *q = &p->pair[i];

		if (q->spi_in && (ev->outbound ? q->spi_out : q->spi_in) == ntohl(ev->spi))
			return q->spi_in;
	}
	return 0;
}

/* Source and destination of an inner packet; -EBADMSG. */
static int addrs_of(const uint8_t *pkt, size_t len, struct addr *from, struct addr *to)
{
	bool v6 = len && pkt[0] >> 4 == 6;
	size_t at = v6 ? 8 : 12, n = v6 ? 16 : 4;

	if (len < at + 2 * n)
		return -EBADMSG;
	*from = *to = (struct addr){ .family = v6 ? AF_INET6 : AF_INET };
	memcpy(from->b, pkt + at, n);
	memcpy(to->b, pkt + at + n, n);
	return 0;
}

static void on_acquire(struct child *c, struct peer *p, const struct dp_event *ev)
{
	struct addr from, to;

	/* The IKE SA lives but nothing on it carries this: what is missing is asked for now. */
	if (p->sup.ike && !addrs_of(ev->data, ev->len, &from, &to))
		(void)engine_acquire(c->engine, child_now(c), p->sup.ike, &from, &to, &c->fx);
	sup_on_inner_packet(&p->sup, child_now(c));
}

static void on_child_event(struct child *c, struct peer *p, const struct dp_event *ev)
{
	static const enum engine_child_event map[] = {
		[DP_EV_REKEY] = ENGINE_CHILD_SOFT,
		[DP_EV_EXPIRED] = ENGINE_CHILD_HARD,
		[DP_EV_FIRST_IN] = ENGINE_CHILD_FIRST_PACKET,
	};
	uint32_t spi_in = spi_in_of(p, ev);

	if (spi_in)
		engine_on_child_event(c->engine, child_now(c), spi_in, map[ev->kind], &c->fx);
}

static void on_event(struct child *c, const struct dp_event *ev)
{
	struct engine_path path = engine_path_of(c, &ev->path);
	uint64_t now = child_now(c);
	struct peer *p;

	if (ev->kind == DP_EV_IKE) {
		engine_on_datagram(c->engine, now, &path, ev->data, ev->len, &c->fx);
		return;
	}
	p = child_peer(c, ev->peer);
	if (!p)
		return;
	switch (ev->kind) {
	case DP_EV_ENDPOINT:
		sup_on_endpoint(&p->sup, &path, ev->bytes, ev->newest, now);
		break;
	case DP_EV_ACQUIRE:
		on_acquire(c, p, ev);
		break;
	case DP_EV_REKEY:
	case DP_EV_EXPIRED:
	case DP_EV_FIRST_IN:
		on_child_event(c, p, ev);
		break;
	case DP_EV_UNKNOWN_SPI:
		engine_on_unknown_spi(c->engine, now, ev->peer, &path, ntohl(ev->spi), &c->fx);
		break;
	case DP_EV_ICMP:
		if (ev->icmp_errno == ECONNREFUSED)
			engine_unreachable(c->engine, now, ev->peer, &ev->path.remote, &c->fx);
		sup_on_icmp(&p->sup, now);
		break;
	default:
		break;
	}
	peer_arm(p);
}

void effects_on_dp(struct child *c)
{
	struct dp_event ev;

	/* Under a flood there is always one more: timers, keys and the control socket have their turn too. */
	for (int i = 0; i < EVENTS_AT_ONCE && dp_event_next(c->dp, &ev); i++) {
		on_event(c, &ev);
		effects_apply(c);
	}
}
