/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the supervisors ask for; and the words of resolver and parent brought to them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "child_int.h"
#include "secret.h"

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

static int s_update_addresses(void *arg, uint32_t ike)
{
	struct child *c = arg;
	struct engine_ike_info info;

	if (!engine_ike_info(c->engine, ike, &info))
		return -ENOENT;
	return engine_update_addresses(c->engine, child_now(c), ike, &info.path, &c->fx);
}

static bool s_answered(void *arg, uint32_t ike)
{
	struct child *c = arg;
	struct engine_ike_info info;

	return engine_ike_info(c->engine, ike, &info) && info.answered;
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

static struct request *request_to(struct child *c, uint32_t peer, const struct addr *to)
{
	struct request *r = request_new(c, peer);

	if (r)
		r->to = *to;
	return r;
}

/* Whoever could not be asked will not answer. */
static int asked(struct request *r, int rc)
{
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
			path_mtu_route(p, &r->to, path->mtu);
		if (p && (!p->sup.ike || addr_eq(&r->to, &p->sup.where.path.remote.addr)))
			wans_on_route(p, &route);
	}
	if (p) {
		sup_on_route(&p->sup, &r->to, status, path ? &route : NULL, child_now(c));
		peer_arm(p);
		effects_apply(c);
	}
	free(r);
}

static uint32_t mark_of(const struct child *c, uint32_t peer)
{
	const struct peer *p = child_peer(c, peer);

	return p ? p->cfg->mark : 0;
}

static int s_route(void *arg, uint32_t peer, const struct addr *to)
{
	struct child *c = arg;
	struct request *r = request_to(c, peer, to);

	return r ? asked(r, priv_path(c->priv, to, mark_of(c, peer), on_path, r)) : -ENOMEM;
}

static void on_ways(int status, const struct proc_way *way, size_t count, void *arg)
{
	struct request *r = arg;
	struct child *c = r->child;
	struct peer *p = child_peer(c, r->peer);
	struct sup_way list[PROC_WAYS_MAX];

	if (p && !status) {
		for (size_t i = 0; i < count; i++) {
			list[i] = (struct sup_way){ .ifindex = way[i].ifindex,
						    .chosen = way[i].chosen,
						    .src = way[i].src,
						    .gateway = way[i].gateway };
			memcpy(list[i].name, way[i].name, sizeof(list[i].name));
		}
		path_on_ways(&p->sup, &r->to, list, count, child_now(c));
		/* From here on it matters by which device something came. */
		c->pinned |= path_leads(&p->sup);
		peer_arm(p);
		effects_apply(c);
	}
	free(r);
}

static int s_ways(void *arg, uint32_t peer, const struct addr *to)
{
	struct child *c = arg;
	struct request *r = request_to(c, peer, to);

	return r ? asked(r, priv_ways(c->priv, to, mark_of(c, peer), on_ways, r)) : -ENOMEM;
}

static void s_nat64(void *arg)
{
	nat64_ask(arg);
}

static void s_test_way(void *arg, uint32_t peer, const struct engine_path *via,
		       const uint8_t *token, size_t len)
{
	struct child *c = arg;
	struct dp_path path = dp_path_of(via);
	struct dp_dummy d = { .via = &path, .token_len = (uint8_t)len };

	memcpy(d.token, token, len);
	(void)dp_send_dummy(c->dp, peer, &d);
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
	else if (p && !limited) /* else probes would use up what may be sent there */
		path_mtu_moved(p);
	if (p)
		wans_on_path(p);
}

static void s_dummy(void *arg, uint32_t peer)
{
	struct child *c = arg;

	struct peer *p = child_peer(c, peer);

	if (!dp_send_dummy(c->dp, peer, NULL) && p)
		wans_spend(p, WAN_KEEPALIVE, WANS_DUMMY_BYTES);
}

static void s_nat_keepalive(void *arg, uint32_t peer)
{
	struct child *c = arg;

	struct peer *p = child_peer(c, peer);

	if (!dp_send_nat_keepalive(c->dp, peer) && p)
		wans_spend(p, WAN_KEEPALIVE, 1);
}

static void s_activity(void *arg, uint32_t peer, struct sup_activity *a)
{
	struct child *c = arg;
	struct dp_activity d = { 0 };

	(void)dp_peer_activity(c->dp, peer, &d);
	*a = (struct sup_activity){ d.tx_data_ms, d.tx_any_ms, d.rx_auth_ms, d.rx_data_ms,
				    d.tx_first_ms };
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
	if (p->servers)
		servers_changed(p);
	else
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

static void s_probe(void *arg, uint32_t ike, const struct engine_path *via)
{
	struct child *c = arg;

	(void)engine_probe(c->engine, child_now(c), ike, via, &c->fx);
}

static int s_connect(void *arg, uint32_t peer, const struct endpoint *to, bool tls)
{
	return streams_connect(arg, peer, to, tls);
}

static void s_disconnect(void *arg, uint32_t sock)
{
	streams_disconnect(arg, sock);
}

const struct sup_ops child_sup_ops = {
	.probe = s_probe,
	.connect = s_connect,
	.disconnect = s_disconnect,
	.initiate = s_initiate,
	.drop = s_drop,
	.close = s_close,
	.liveness = s_liveness,
	.retransmit = s_retransmit,
	.set_path = s_set_path,
	.update_addresses = s_update_addresses,
	.answered = s_answered,
	.resolve = s_resolve,
	.route = s_route,
	.ways = s_ways,
	.nat64 = s_nat64,
	.test_way = s_test_way,
	.move = s_move,
	.dummy = s_dummy,
	.nat_keepalive = s_nat_keepalive,
	.activity = s_activity,
	.changed = s_changed,
	.roamed = s_roamed,
	.remember = s_remember,
	.random = s_random,
};
