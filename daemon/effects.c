/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the engine asks for, done in one place and in its order. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "child_int.h"

struct request *request_new(struct child *c, uint32_t peer)
{
	struct request *r = calloc(1, sizeof(*r));

	if (r) {
		r->child = c;
		r->peer = peer;
	}
	return r;
}

struct dp_path dp_path_of(const struct engine_path *p)
{
	return (struct dp_path){ .sock = p->sock,
				 .ifindex = p->ifindex,
				 .local = p->local.addr,
				 .remote = p->remote };
}

static uint16_t sock_port(const struct child *c, unsigned sock)
{
	struct dp_stream_info info;

	if (sock >= DP_STREAM_FIRST)
		return dp_stream_info(c->dp, sock, &info) ? info.local.port : 0;
	if (sock == SOCK_IKE)
		return c->inv.port500.port;
	if (sock >= SOCK_HOP0 && sock < SOCK_HOP0 + c->inv.hop_count)
		return c->inv.hop[sock - SOCK_HOP0].port;
	if (sock >= SOCK_PORT0 && sock < SOCK_PORT0 + c->inv.port_count)
		return c->inv.port[sock - SOCK_PORT0].port;
	return c->inv.outer[0].port;
}

struct engine_path engine_path_of(const struct child *c, const struct dp_path *p)
{
	return (struct engine_path){ .sock = p->sock,
				     .ifindex = c->pinned ? p->ifindex : 0,
				     .local = { p->local, sock_port(c, p->sock) },
				     .remote = p->remote };
}

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

	hop_used(c, path.sock);
	rc = dp_send_ike(c->dp, &path, fx->send.bytes, fx->send.len);
	if (p && !rc) {
		if (fx->send.path.sock == p->sup.where.path.sock)
			keepalive_left(&p->sup, child_now(c));
		wans_spend_ike(p, fx->send.len, false);
	}
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

static void log_redirect(struct peer *p, const struct fx *fx)
{
	const struct engine_gateway *to = &fx->redirect.to;
	char text[ADDR_STR_MAX];

	log_info(&p->log, "sent elsewhere: %s", to->addr.family ? addr_str(&to->addr, text) : to->name);
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
	case FX_NAT_CHANGED:
		return fx->reply.peer;
	case FX_UPDATE:
	case FX_UPDATED:
		return fx->update.peer;
	case FX_PEER_ADDRESSES:
		return fx->peer_addresses.peer;
	case FX_UNANSWERED:
		return fx->unanswered.peer;
	case FX_FAILED:
		return fx->failed.peer;
	case FX_REDIRECT:
		return fx->redirect.peer;
	case FX_PRIVATE:
		return fx->private_notify.peer;
	default:
		return 0;
	}
}

static void on_wan_fx(struct peer *p, const struct fx *fx)
{
	if (fx->kind == FX_REPLY)
		wans_spend_ike(p, 0, true);
	else if (fx->kind == FX_PRIVATE)
		wans_on_private(p, fx);
	else if (fx->kind == FX_PEER_UP || fx->kind == FX_NAT_CHANGED)
		wans_arm(p->child);
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
		streams_proved(c, fx->up.peer, fx->up.path.sock);
		if (p)
			log_up(p, fx);
		break;
	case FX_REPLY:
	case FX_REQUEST_FROM:
		streams_proved(c, fx->reply.peer, fx->reply.path.sock);
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
	case FX_REDIRECT:
		if (p && fx->redirect.log)
			log_redirect(p, fx);
		if (!p || !p->servers)
			break;
		servers_drained(p); /* it has a better place for us than any gateway says */
		return;
	default:
		break;
	}
	if (p) {
		sup_on_fx(&p->sup, fx, child_now(c));
		path_mtu_fx(p, fx);
		on_wan_fx(p, fx);
		if (fx->kind == FX_PRIVATE)
			bench_on_private(p, fx);
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

	streams_carrier(p);
	/* Until the engine knows it nothing can be begun; a call made now would be lost for seconds. */
	if (!p->view || peer_key_awaited(p) || sup_due_ms(&p->sup) == UINT64_MAX)
		timer_clear(ts, &p->tick);
	else
		(void)timer_set(ts, &p->tick, sup_due_ms(&p->sup));
}
