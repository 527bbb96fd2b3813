/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the control thread knows, as JSON for status and subscribers and as text for Prometheus. */
#include <arpa/inet.h>
#include <string.h>

#include "child_int.h"

static json_t *prefix_json(const struct prefix *p)
{
	char text[PREFIX_STR_MAX];

	if (p->len == addr_bits(&p->addr))
		return json_string(addr_str(&p->addr, text));
	return json_string(prefix_str(p, text));
}

static json_t *endpoint_json(const struct endpoint *e)
{
	char text[ENDPOINT_STR_MAX];

	return e->addr.family ? json_string(endpoint_str(e, text)) : json_null();
}

static json_t *age_json(uint64_t then_ms, uint64_t now_ms)
{
	return then_ms && then_ms <= now_ms ? json_real((double)(now_ms - then_ms) / 1000)
					    : json_null();
}

/* What lies behind the peer. */
static json_t *inner_json(const struct peer *p)
{
	json_t *list = json_array();

	for (size_t i = 0; i < p->cfg->assign_count; i++) {
		struct prefix host = prefix_host(&p->cfg->assign[i]);

		json_array_append_new(list, prefix_json(&host));
	}
	for (int s = 0; s < 2; s++) {
		struct prefix host = prefix_host(&p->leased[s]);

		if (host.len)
			json_array_append_new(list, prefix_json(&host));
	}
	for (size_t i = 0; i < p->cfg->network_count; i++)
		json_array_append_new(list, prefix_json(&p->cfg->networks[i]));
	return list;
}

/* What it tells us to ask. */
static json_t *dns_json(const struct peer *p)
{
	json_t *list = json_array();
	char text[ADDR_STR_MAX];

	for (size_t i = 0; i < p->dns_count; i++)
		json_array_append_new(list, json_string(addr_str(&p->dns[i], text)));
	return list;
}

static json_t *own_addresses(const struct child *c)
{
	json_t *list = json_array();
	char text[ADDR_STR_MAX];

	for (size_t i = 0; i < c->cfg->tunnel_address_count; i++)
		json_array_append_new(list,
				      json_string(addr_str(&c->cfg->tunnel_address[i], text)));
	for (struct peer *p = NULL; (p = child_peer_next(c, p));)
		for (int i = 0; i < 2; i++)
			if (p->assigned[i].family)
				json_array_append_new(list,
						      json_string(addr_str(&p->assigned[i], text)));
	return list;
}

/* ---- events ---- */

json_t *telling_peer_event(const struct peer *p)
{
	const struct peer *head = servers_head(p), *active = servers_active(p);
	bool up = sup_is_up(active ? &active->sup : &p->sup, child_now(p->child));

	/* Several servers are one peer, who is what the one that carries says he is. */
	p = head ? head : p;
	return json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:s}", "event", "peer", "peer",
			 p->cfg->name, "identity",
			 (active ? active : p)->cfg->remote_id.text, "state", up ? "up" : "down", "inner", inner_json(p), "dns", dns_json(p), "tun",
			 p->child->inv.tun_name);
}

json_t *telling_addresses(const struct child *c, const char *event)
{
	return json_pack("{s:s, s:s, s:o}", "event", event, "tun", c->inv.tun_name, "addresses",
			 own_addresses(c));
}

void telling_send(struct child *c, json_t *event)
{
	json_incref(event);
	if (c->control)
		control_event(c->control, event);
	else
		json_decref(event);
	if (c->events)
		control_event(c->events, event);
	else
		json_decref(event);
}

void telling_greet(struct control_server *s, struct control_ref ref, void *arg)
{
	struct child *c = arg;

	control_event_to(s, ref, telling_addresses(c, "hello"));
	for (struct peer *p = NULL; (p = child_peer_next(c, p));)
		if (!p->cfg->of)
			control_event_to(s, ref, telling_peer_event(p));
	control_event_to(s, ref, json_pack("{s:s}", "event", "ready"));
}

/* ---- status ---- */

static json_t *limit_json(uint64_t limit)
{
	return limit ? json_integer((json_int_t)limit) : json_null();
}

static json_t *child_json(struct child *c, uint32_t peer, const struct engine_child_info *ch)
{
	struct dp_sa_counts in = { 0 }, out = { 0 };
	uint64_t now = child_now(c);
	char spi_in[9], spi_out[9];
	json_t *o;

	(void)dp_sa_counts_in(c->dp, htonl(ch->spi_in), &in);
	(void)dp_sa_counts_out(c->dp, peer, htonl(ch->spi_out), &out);
	snprintf(spi_in, sizeof(spi_in), "%08x", ch->spi_in);
	snprintf(spi_out, sizeof(spi_out), "%08x", ch->spi_out);
	o = json_pack("{s:s, s:s, s:s, s:s, s:o, s:f, s:s, s:s}", "name", ch->name, "spi_in",
		      spi_in, "spi_out", spi_out, "suite", ch->suite, "age_s",
		      age_json(ch->since_ms, now), "rekey_in_s",
		      ch->rekey_at_ms > now ? (double)(ch->rekey_at_ms - now) / 1000 : 0.0,
		      "local_ts", ch->local_ts, "remote_ts", ch->remote_ts);
	json_object_set_new(o, "tx_bytes", json_integer((json_int_t)out.bytes));
	json_object_set_new(o, "tx_packets", json_integer((json_int_t)out.pkts));
	json_object_set_new(o, "rx_bytes", json_integer((json_int_t)in.bytes));
	json_object_set_new(o, "rx_packets", json_integer((json_int_t)in.pkts));
	json_object_set_new(o, "lifetime_bytes", limit_json(ch->lifetime_bytes));
	json_object_set_new(o, "lifetime_packets", limit_json(ch->lifetime_pkts));
	return o;
}

static json_t *ike_json(struct child *c, uint32_t ike)
{
	uint64_t now = child_now(c);
	struct engine_ike_info i;
	json_t *children = json_array(), *o;
	char spi_i[17], spi_r[17];

	if (!engine_ike_info(c->engine, ike, &i)) {
		json_decref(children);
		return json_null();
	}
	for (size_t n = 0; n < i.child_count && n < CONF_COUNT(i.child); n++)
		json_array_append_new(children, child_json(c, i.peer, &i.child[n]));
	snprintf(spi_i, sizeof(spi_i), "%016llx", (unsigned long long)i.spi_i);
	snprintf(spi_r, sizeof(spi_r), "%016llx", (unsigned long long)i.spi_r);
	o = json_pack("{s:s, s:s, s:s, s:s, s:b, s:b, s:o, s:f, s:b, s:b}", "spi_i", spi_i, "spi_r",
		      spi_r, "state", i.state, "suite", i.suite, "initiator", i.initiator,
		      "postern", i.postern, "age_s", age_json(i.since_ms, now), "rekey_in_s",
		      i.rekey_at_ms > now ? (double)(i.rekey_at_ms - now) / 1000 : 0.0,
		      "outstanding", i.outstanding, "dates_unjudged", i.dates_unjudged);
	json_object_set_new(o, "mobike", json_boolean(i.mobike));
	json_object_set_new(o, "crash_token", json_boolean(i.qcd)); /* RFC 6290 */
	json_object_set_new(o, "children", children);
	return o;
}

/* A foreign peer may have several IKE SAs, one for each of its policies. */
static json_t *beside_json(struct child *c, const struct peer *p)
{
	json_t *list = json_array();
	struct engine_ike_info i;
	uint32_t ikes[16];
	size_t n = engine_peer_ikes(c->engine, p->id, ikes, CONF_COUNT(ikes));

	for (size_t k = 0; k < n && k < CONF_COUNT(ikes); k++)
		if (ikes[k] != p->sup.ike && engine_ike_info(c->engine, ikes[k], &i) &&
		    i.established)
			json_array_append_new(list, ike_json(c, ikes[k]));
	return list;
}

static void add_attempts(const struct peer *p, json_t *o)
{
	json_t *list = json_array();

	for (size_t i = 0; i < p->sup.attempt_count; i++)
		if (p->sup.attempt[i].state != SUP_AT_NONE)
			json_array_append_new(list, endpoint_json(&p->sup.attempt[i].remote));
	json_object_set_new(o, "calling", list);
}

static json_t *rate_json(const struct peer *p, const struct dp_activity *a)
{
	if (!p->cfg->rate_in && !p->cfg->rate_out)
		return json_null();
	return json_pack("{s:o, s:o, s:I, s:I}", "in", limit_json(p->cfg->rate_in), "out",
			 limit_json(p->cfg->rate_out), "in_dropped",
			 (json_int_t)a->rx_limited_pkts, "out_held",
			 (json_int_t)a->tx_limited_pkts);
}

/* Of the peer that has several servers; null for all others. */
static json_t *servers_json(const struct peer *p)
{
	uint64_t now = child_now(p->child);
	json_t *list;

	if (!p->servers || p->cfg->of)
		return json_null();
	list = json_array();
	for (struct peer *s = NULL; (s = servers_next(p, s));)
		json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:b}", "peer", s->cfg->name,
						      "identity", s->cfg->remote_id.text, "state",
						      sup_state(&s->sup, now), "active",
						      s == servers_active(p)));
	return list;
}

static json_t *peer_json(struct child *c, const struct peer *p)
{
	const struct supervisor *s = &p->sup;
	uint64_t now = child_now(c);
	bool up = sup_is_up(s, now);
	struct dp_activity a = { 0 };
	json_t *o;

	(void)dp_peer_activity(c->dp, p->id, &a);
	o = json_pack("{s:s, s:s, s:s, s:o, s:o, s:o}", "name", p->cfg->name, "identity",
		      p->cfg->remote_id.text, "state", sup_state(s, now), "since_s",
		      age_json(up ? p->up_since_ms : p->down_since_ms, now), "inner", inner_json(p),
		      "endpoint", s->ike ? endpoint_json(&s->where.path.remote) : json_null());
	json_object_set_new(o, "dns", dns_json(p));
	json_object_set_new(o, "elsewhere", telling_elsewhere(p));
	json_object_set_new(o, "mark",
			    p->cfg->mark ? json_integer(p->cfg->mark) : json_null());
	json_object_set_new(o, "leak", json_string(p->cfg->leak_never ? "never" : "allow"));
	if (s->ike) {
		json_object_set_new(o, "local", endpoint_json(&s->where.path.local));
		json_object_set_new(o, "on_trial", json_boolean(s->where.trial_until_ms));
		json_object_set_new(o, "nat_local", json_boolean(s->nat_local));
		json_object_set_new(o, "nat_remote", json_boolean(s->nat_remote));
		json_object_set_new(o, "reply_age_s", age_json(s->reply_ms, now));
		json_object_set_new(o, "unanswered_s", age_json(s->asked_ms, now));
		json_object_set_new(o, "ike", ike_json(c, s->ike));
		json_object_set_new(o, "beside", beside_json(c, p));
		json_object_set_new(o, "path", telling_path(c, p));
	}
	json_object_set_new(o, "mtu", path_mtu_json(p));
	json_object_set_new(o, "rate_limit", rate_json(p, &a));
	json_object_set_new(o, "keepalive", wans_keepalive_json(c, p));
	json_object_set_new(o, "servers", servers_json(p));
	add_attempts(p, o);
	json_object_set_new(o, "transport", streams_peer_json(p));
	json_object_set_new(o, "failure", s->failure ? json_string(s->failure) : json_null());
	json_object_set_new(o, "claim", s->claim ? json_string(s->claim) : json_null());
	json_object_set_new(o, "claim_age_s", s->claim ? age_json(s->claim_ms, now) : json_null());
	json_object_set_new(o, "claims", json_integer((json_int_t)s->claims));
	if (s->failure)
		json_object_set_new(o, "failure_age_s", age_json(s->failure_ms, now));
	if (now < s->refused_until_ms)
		json_object_set_new(o, "retry_in_s",
				    json_real((double)(s->refused_until_ms - now) / 1000));
	if (!up && !s->admin_down)
		json_object_set_new(o, "cost_mb_day",
				    json_real((double)sup_cost_bytes(s, now) / 1e6));
	json_object_set_new(o, "tx_bytes", json_integer((json_int_t)a.tx_bytes));
	json_object_set_new(o, "rx_bytes", json_integer((json_int_t)a.rx_bytes));
	json_object_set_new(o, "tx_packets", json_integer((json_int_t)a.tx_pkts));
	json_object_set_new(o, "rx_packets", json_integer((json_int_t)a.rx_pkts));
	json_object_set_new(o, "heard_age_s", age_json(a.rx_auth_ms, now));
	json_object_set_new(o, "moves", json_integer((json_int_t)s->moves));
	json_object_set_new(o, "trials", json_integer((json_int_t)s->trials));
	json_object_set_new(o, "trials_won", json_integer((json_int_t)s->trials_won));
	json_object_set_new(o, "trials_lost", json_integer((json_int_t)s->trials_lost));
	json_object_set_new(o, "hops", json_integer((json_int_t)s->hops));
	json_object_set_new(o, "ups", json_integer((json_int_t)s->ups));
	return o;
}

static json_t *counters_json(struct child *c)
{
	struct engine_counters e = { 0 };
	struct dp_stats d;
	json_t *o = json_object();

	dp_stats(c->dp, &d);
	for (int i = 0; i < DP_VERDICT_COUNT; i++)
		json_object_set_new(o, dp_verdict_word((enum dp_verdict)i),
				    json_integer((json_int_t)d.n[i]));
	engine_counters_get(c->engine, &e);
#define E(name) json_object_set_new(o, "ike_" #name, json_integer((json_int_t)e.name))
	E(in), E(out), E(in_dropped), E(in_malformed), E(in_unauthenticated), E(in_retransmits);
	E(out_retransmits), E(cookies_sent), E(half_open_refused), E(half_open_evicted);
	E(auth_failed), E(half_open), E(ike_sas), E(child_sas);
#undef E
	return o;
}

static json_t *dataplane_json(const struct child *c)
{
	json_t *features = json_array();
	struct dp_info info;

	dp_info(c->dp, &info);
	for (unsigned bit = 0; bit < DP_F_COUNT; bit++)
		if (info.features & (1u << bit))
			json_array_append_new(features, json_string(dp_feature_word(1u << bit)));
	return json_pack("{s:s, s:o, s:i, s:s, s:s}", "io",
			 info.io == DP_IO_URING ? "io_uring" : "epoll", "features", features,
			 "workers", (int)info.workers, "crypto", info.crypto, "why_not_io_uring",
			 info.why_not_uring);
}

json_t *telling_next_peer(void *arg, uint64_t *at)
{
	struct child *c = arg;
	const struct peer *p = child_peer_from(c, (uint32_t)*at + 1);

	if (!p)
		return NULL;
	*at = p->id;
	return peer_json(c, p);
}

json_t *telling_status(struct child *c, bool counters)
{
	json_t *o =
	    json_pack("{s:s, s:s, s:o, s:{s:s, s:i, s:o}, s:i, s:o}", "version",
		      POSTERN_VERSION, "identity", c->cfg->identity.text, "uptime_s",
		      age_json(c->started_ms, child_now(c)), "tun", "name", c->inv.tun_name, "mtu",
		      (int)c->tun_mtu, "addresses", own_addresses(c), "port",
		      (int)c->inv.outer[0].port, "dataplane", dataplane_json(c));
	json_object_set_new(o, "tcp", streams_json(c));
	json_object_set_new(o, "drain", drain_json(c));
	if (c->refused) {
		json_object_set_new(o, "refused", json_string(c->refused));
		json_object_set_new(o, "refused_age_s", age_json(c->refused_ms, child_now(c)));
	}
	json_object_set_new(o, "wans", wans_json(c));
	if (counters)
		json_object_set_new(o, "counters", counters_json(c));
	return o;
}

/* ---- Prometheus ---- */

static void peer_family(struct metrics *m, struct child *c, const char *name,
			enum metrics_type type, const char *help,
			uint64_t (*value)(struct child *c, const struct peer *p))
{
	metrics_family(m, name, type, help);
	for (struct peer *p = NULL; (p = child_peer_next(c, p));) {
		int family = p->sup.where.path.remote.addr.family;
		const struct metrics_label l[] = {
			{ "peer", p->cfg->name },
			{ "family", !p->sup.ike || !family ? "none"
				    : family == AF_INET	   ? "ipv4"
							   : "ipv6" },
		};

		metrics_count(m, l, CONF_COUNT(l), value(c, p));
	}
}

static uint64_t v_up(struct child *c, const struct peer *p)
{
	return sup_is_up(&p->sup, child_now(c));
}

static uint64_t v_moves(struct child *c, const struct peer *p)
{
	(void)c;
	return p->sup.moves;
}

static uint64_t v_trials_won(struct child *c, const struct peer *p)
{
	(void)c;
	return p->sup.trials_won;
}

static uint64_t v_trials_lost(struct child *c, const struct peer *p)
{
	(void)c;
	return p->sup.trials_lost;
}

static uint64_t v_ups(struct child *c, const struct peer *p)
{
	(void)c;
	return p->sup.ups;
}

static uint64_t v_rebind_gap(struct child *c, const struct peer *p)
{
	(void)c;
	return keepalive_rebind_median_ms(&p->sup) / 1000;
}

static uint64_t v_tx(struct child *c, const struct peer *p)
{
	struct dp_activity a = { 0 };

	(void)dp_peer_activity(c->dp, p->id, &a);
	return a.tx_bytes;
}

static uint64_t v_rx(struct child *c, const struct peer *p)
{
	struct dp_activity a = { 0 };

	(void)dp_peer_activity(c->dp, p->id, &a);
	return a.rx_bytes;
}

void telling_metrics(struct metrics *m, void *arg)
{
	struct child *c = arg;
	struct engine_counters e = { 0 };
	struct dp_stats d;

	peer_family(m, c, "postern_peer_up", METRICS_GAUGE, "1 while the peer is up and answers",
		    v_up);
	peer_family(m, c, "postern_peer_ups_total", METRICS_COUNTER, "IKE SAs that came up", v_ups);
	peer_family(m, c, "postern_peer_moves_total", METRICS_COUNTER, "changes of its endpoint",
		    v_moves);
	peer_family(m, c, "postern_peer_trials_won_total", METRICS_COUNTER,
		    "new addresses of it that answered", v_trials_won);
	peer_family(m, c, "postern_peer_trials_lost_total", METRICS_COUNTER,
		    "new addresses of it that did not, and were left", v_trials_lost);
	peer_family(m, c, "postern_peer_rebind_gap_seconds", METRICS_GAUGE,
		    "median silence after which it came from another address or port", v_rebind_gap);
	peer_family(m, c, "postern_peer_sent_bytes_total", METRICS_COUNTER,
		    "inner bytes sent to it", v_tx);
	peer_family(m, c, "postern_peer_received_bytes_total", METRICS_COUNTER,
		    "inner bytes received from it", v_rx);
	metrics_family(m, "postern_packets_total", METRICS_COUNTER,
		       "what became of packets, by verdict (postern status --counters)");
	dp_stats(c->dp, &d);
	for (int i = 0; i < DP_VERDICT_COUNT; i++) {
		const struct metrics_label l = { "verdict", dp_verdict_word((enum dp_verdict)i) };

		metrics_count(m, &l, 1, d.n[i]);
	}
	engine_counters_get(c->engine, &e);
	metrics_family(m, "postern_ike_half_open", METRICS_GAUGE, "IKE SAs not yet authenticated");
	metrics_count(m, NULL, 0, e.half_open);
	metrics_family(m, "postern_ike_sas", METRICS_GAUGE, "IKE SAs");
	metrics_count(m, NULL, 0, e.ike_sas);
	metrics_family(m, "postern_ike_auth_failed_total", METRICS_COUNTER,
		       "failed authentications");
	metrics_count(m, NULL, 0, e.auth_failed);
	metrics_family(m, "postern_ike_retransmits_total", METRICS_COUNTER, "requests sent again");
	metrics_count(m, NULL, 0, e.out_retransmits);
	metrics_family(m, "postern_ike_cookies_total", METRICS_COUNTER, "cookies asked for");
	metrics_count(m, NULL, 0, e.cookies_sent);
}
