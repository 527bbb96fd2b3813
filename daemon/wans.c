/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Ways out: which one each peer is reached by, how long its NAT remembers, what that costs. The rules are
 * in peer/wan.c, keepalive.c and mapping.c; here they get sockets, timers and files.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "child_int.h"
#include "path.h"
#include "secret.h"

#define LOOK_MS	   5000	  /* how often it is looked at whether there is something to measure */
#define SAVE_MS	   60000  /* what was learnt is written at most this often, */
#define METERED_MS 600000 /* and what was used by a metered line this often */
#define LARGE_BYTES 400	  /* an IKE message of so many is no question about life */

/* The measurement on one WAN, by one of its peers. */
struct survey {
	struct mapping m;
	struct child *child;
	uint32_t peer; /* 0: none */
	struct engine_path path; /* the second socket's */
};

struct wans {
	struct wan_table table;
	struct survey survey[WAN_COUNT_MAX]; /* as table.wan */
	struct timer tick, save;
	uint64_t saved_ms, learnt;
};

/* ---- kept over restarts ---- */

/* Changes with what is worth a write. */
static uint64_t learnt(const struct wan_table *t)
{
	uint64_t sum = t->count;

	for (size_t i = 0; i < t->count; i++) {
		const struct wan *w = &t->wan[i];

		sum = sum * 31 + w->interval_ms + 3 * w->ok_ms + 5 * w->bad_ms +
		      7 * w->rebinding + 11 * w->rung_ok + 13 * w->rung_bad;
	}
	return sum;
}

static void save(struct child *c)
{
	struct wans *v = c->wans;
	int rc;

	v->saved_ms = child_now(c);
	v->learnt = learnt(&v->table);
	if (c->inv.state_fd[PROC_STATE_WANS] < 0)
		return;
	rc = wan_save(&c->inv.state_fd[PROC_STATE_WANS], &v->table);
	if (rc)
		log_warn(NULL, "what is known of ways out cannot be kept in state-dir: %s",
			 strerror(-rc));
}

static bool any_metered(const struct wan_table *t)
{
	for (size_t i = 0; i < t->count; i++)
		if (t->wan[i].metered && t->wan[i].refs)
			return true;
	return false;
}

static void on_save(struct timer *t, uint64_t now_ms)
{
	struct child *c = t->arg;
	struct wans *v = c->wans;

	if (learnt(&v->table) != v->learnt ||
	    (any_metered(&v->table) && now_ms - v->saved_ms >= METERED_MS))
		save(c);
	(void)timer_set(loop_timers(c->loop), t, now_ms + SAVE_MS);
}

/* ---- measuring ---- */

static struct peer *surveyor(const struct survey *s)
{
	struct peer *p = s->peer ? child_peer(s->child, s->peer) : NULL;

	return p && sup_is_up(&p->sup, child_now(s->child)) ? p : NULL;
}

static void o_dummy(void *arg, const uint8_t token[static MAPPING_TOKEN_LEN])
{
	struct survey *s = arg;
	struct peer *p = surveyor(s);
	struct dp_path via = dp_path_of(&s->path);
	struct dp_dummy d = { .via = &via, .token_len = MAPPING_TOKEN_LEN };

	memcpy(d.token, token, MAPPING_TOKEN_LEN);
	if (p && !dp_send_dummy(s->child->dp, p->id, &d))
		wans_spend(p, WAN_KEEPALIVE, WANS_DUMMY_BYTES + MAPPING_TOKEN_LEN + 12);
}

static void o_ask(void *arg, uint16_t seconds, const uint8_t token[static MAPPING_TOKEN_LEN])
{
	uint8_t bytes[MAPPING_NOTIFY_LEN] = { (uint8_t)(seconds >> 8), (uint8_t)seconds };
	struct survey *s = arg;
	struct child *c = s->child;
	struct peer *p = surveyor(s);

	memcpy(bytes + 2, token, MAPPING_TOKEN_LEN);
	if (p)
		(void)engine_private(c->engine, child_now(c), p->sup.ike, POSTERN_PROBE_ECHO, bytes,
				     sizeof(bytes), &c->fx);
}

static void o_random(void *arg, uint8_t *p, size_t len)
{
	(void)arg;
	(void)secret_random(p, len);
}

static const struct mapping_ops ops = { o_dummy, o_ask, o_random };

/* Who can measure on @w: up, behind it, a Postern on the other side, and a port to spare. */
static bool can_survey(const struct child *c, const struct peer *p, const struct wan *w,
		       struct engine_path *path)
{
	const struct supervisor *s = &p->sup;

	if (s->ka.wan != w || !s->ka.counted || !s->postern || !sup_is_up(s, child_now(c)) ||
	    s->where.path.sock >= SOCK_HOPS_END)
		return false;
	for (size_t i = c->env.sock_count; i-- > 0;) {
		if (c->env.sock_number[i] == s->where.path.sock || !c->env.sock_port[i] ||
		    c->env.sock_set[i] != s->cfg.sock_set ||
		    (c->env.sock_family[i] == AF_INET &&
		     s->where.path.remote.addr.family != AF_INET))
			continue;
		*path = s->where.path;
		path->sock = c->env.sock_number[i];
		path->local.port = c->env.sock_port[i];
		return true;
	}
	return false;
}

static void concluded(struct child *c, size_t i, uint64_t gap_ms, enum mapping_verdict v)
{
	struct wan *w = &c->wans->table.wan[i];
	struct survey *s = &c->wans->survey[i];
	struct peer *p = child_peer(c, s->peer);

	s->peer = 0;
	if (v == MAPPING_UNKNOWN) {
		log_debug(p ? &p->log : NULL, "wan=%s: its NAT cannot be measured now",
			  w->id.ifname);
		wan_not_measured(w, child_now(c));
		return;
	}
	wan_measured(w, gap_ms, v == MAPPING_LIVED);
	log_info(p ? &p->log : NULL, "wan=%s: a mapping %s %llu s of silence; keepalives every %llu s",
		 w->id.ifname, v == MAPPING_LIVED ? "lives through" : "dies in",
		 (unsigned long long)gap_ms / 1000,
		 (unsigned long long)wan_interval_ms(w) / 1000);
	save(c);
}

static void survey_tick(struct child *c, size_t i, uint64_t now_ms)
{
	struct wan *w = &c->wans->table.wan[i];
	struct survey *s = &c->wans->survey[i];
	uint64_t gap_ms = s->m.gap_ms;
	enum mapping_verdict v;
	struct peer *p;

	if (s->peer) {
		p = surveyor(s);
		if (!p || p->sup.ka.wan != w) {
			mapping_stop(&s->m);
			concluded(c, i, 0, MAPPING_UNKNOWN);
			return;
		}
		v = mapping_tick(&s->m, now_ms, &ops, s);
		if (v != MAPPING_GOES_ON)
			concluded(c, i, gap_ms, v);
		return;
	}
	gap_ms = w->users ? wan_gap_ms(w, now_ms) : 0;
	for (p = NULL; gap_ms && (p = child_peer_next(c, p));) {
		/* Just up: whether it stays is not sure yet, and much else is under way. */
		if (now_ms - p->sup.up_ms < LOOK_MS || !can_survey(c, p, w, &s->path))
			continue;
		s->child = c;
		s->peer = p->id;
		mapping_begin(&s->m, (uint32_t)gap_ms, now_ms, &ops, s);
		return;
	}
}

static void on_tick(struct timer *t, uint64_t now_ms)
{
	struct child *c = t->arg;

	for (size_t i = 0; i < c->wans->table.count; i++)
		survey_tick(c, i, now_ms);
	effects_apply(c);
	wans_arm(c);
}

void wans_arm(struct child *c)
{
	struct wans *v = c->wans;
	uint64_t now = child_now(c), due = UINT64_MAX, at;

	for (size_t i = 0; i < v->table.count; i++) {
		const struct wan *w = &v->table.wan[i];

		if (v->survey[i].peer)
			at = v->survey[i].m.due_ms;
		else if (w->users && !wan_is_measured(w))
			at = w->measure_ms > now + LOOK_MS ? w->measure_ms : now + LOOK_MS;
		else
			continue;
		if (at < due)
			due = at;
	}
	if (due == UINT64_MAX)
		timer_clear(loop_timers(c->loop), &v->tick);
	else if (!timer_armed(&v->tick) || due < v->tick.at_ms)
		(void)timer_set(loop_timers(c->loop), &v->tick, due);
}

/* ---- taking part in a measurement of the peer's ---- */

static void echo_arm(struct peer *p)
{
	struct timers *ts = loop_timers(p->child->loop);
	uint64_t due = p->echoes ? echo_due_ms(p->echoes) : UINT64_MAX;

	if (due == UINT64_MAX)
		timer_clear(ts, &p->echo);
	else
		(void)timer_set(ts, &p->echo, due);
}

static void on_echo(struct timer *t, uint64_t now_ms)
{
	struct peer *p = t->arg;
	struct dp_dummy d = { .token_len = MAPPING_TOKEN_LEN };
	struct engine_path path;

	while (echo_next(p->echoes, now_ms, d.token, &path)) {
		struct dp_path via = dp_path_of(&path);

		d.via = &via;
		(void)dp_send_dummy(p->child->dp, p->id, &d);
	}
	echo_arm(p);
}

static struct echoes *echoes_of(struct peer *p)
{
	if (!p->echoes) {
		p->echoes = calloc(1, sizeof(*p->echoes));
		p->echo = (struct timer){ .fire = on_echo, .arg = p };
	}
	return p->echoes;
}

bool wans_on_probe(struct peer *p, const struct dp_event *ev)
{
	struct child *c = p->child;
	struct engine_path path = engine_path_of(c, &ev->path);
	uint64_t now = child_now(c);

	if (!mapping_is_token(ev->data, ev->len))
		return false;
	for (size_t i = 0; i < c->wans->table.count; i++) {
		struct survey *s = &c->wans->survey[i];
		uint64_t gap_ms = s->m.gap_ms;
		enum mapping_verdict v;

		if (s->peer != p->id || memcmp(s->m.token, ev->data, MAPPING_TOKEN_LEN) != 0)
			continue;
		wans_spend(p, WAN_KEEPALIVE, ev->bytes);
		v = mapping_echoed(&s->m, ev->data, now);
		if (v != MAPPING_GOES_ON)
			concluded(c, i, gap_ms, v);
		wans_arm(c);
		return true;
	}
	if (p->sup.postern && echoes_of(p)) {
		(void)echo_token(p->echoes, ev->data, &path, now);
		echo_arm(p);
	}
	return true;
}

void wans_on_private(struct peer *p, const struct fx *fx)
{
	const uint8_t *bytes = fx->private_notify.bytes;

	if (fx->private_notify.type != POSTERN_PROBE_ECHO || !bytes || !echoes_of(p))
		return;
	(void)echo_asked(p->echoes, bytes, fx->private_notify.len, child_now(p->child));
	echo_arm(p);
}

/* ---- which way ---- */

static const uint8_t no_mac[WAN_MAC_LEN];

static void on_wan(int status, const struct pr_wan *w, void *arg)
{
	struct request *r = arg;
	struct child *c = r->child;
	struct peer *p = child_peer(c, r->peer);
	struct wan_id id = { 0 };

	if (status || !p)
		goto out;
	memcpy(id.ifname, w->ifname, sizeof(id.ifname));
	memcpy(id.mac, w->mac, sizeof(id.mac));
	id.gateway = r->to;
	id.prefix = w->prefix;
	/* Before the first packet was sent the gateway's MAC is not known: wait for it. */
	if (id.gateway.family && !memcmp(id.mac, no_mac, sizeof(no_mac)) && !p->sup.ike)
		goto out;
	keepalive_use(&p->sup, wan_get(&c->wans->table, &id, child_now(c)), child_now(c));
	wans_configure(c);
	wans_arm(c);
	peer_arm(p);
out:
	free(r);
}

static void look_up(struct peer *p, const struct sup_route *route)
{
	struct child *c = p->child;
	struct request *r;
	const struct wan *w = p->sup.ka.wan;
	bool same = p->way.ifindex == route->ifindex && addr_eq(&p->way.src, &route->src) &&
		    addr_eq(&p->way.gateway, &route->gateway);

	/* Who waits, and is behind no NAT, sends no keepalives: 10 000 of them need no WAN. */
	if ((p->sup.cfg.start == SUP_WAIT && !p->sup.nat_local) || !route->src.family ||
	    (same && w && (!w->id.gateway.family || memcmp(w->id.mac, no_mac, sizeof(no_mac)))))
		return;
	p->way = *route;
	r = request_new(c, p->id);
	if (!r)
		return;
	r->to = route->gateway;
	if (priv_wan(c->priv, route->ifindex, &route->src, &route->gateway, on_wan, r))
		free(r);
}

void wans_on_path(struct peer *p)
{
	const struct path_way *w = path_current(&p->sup);

	if (w)
		look_up(p, &(struct sup_route){ w->ifindex, w->src, w->gateway });
}

void wans_on_route(struct peer *p, const struct sup_route *route)
{
	/* The kernel's best route is not the way in use where that was chosen by us. */
	if (path_current(&p->sup))
		wans_on_path(p);
	else
		look_up(p, route);
}

void wans_configure(struct child *c)
{
	for (size_t i = 0; i < c->wans->table.count; i++) {
		struct wan *w = &c->wans->table.wan[i];
		const struct config_wan *cfg = config_wan_on(c->cfg, w->id.ifname);

		w->metered = cfg && cfg->metered;
		w->budget_bytes = cfg ? cfg->budget_bytes : 0;
	}
}

/* ---- what it costs ---- */

static size_t outer_bytes(const struct peer *p)
{
	return p->sup.where.path.remote.addr.family == AF_INET6 ? 48 : 28;
}

void wans_spend(struct peer *p, enum wan_use use, size_t bytes)
{
	struct wan *w = p->sup.ka.wan;

	if (w)
		wan_spend(w, use, bytes + outer_bytes(p), child_now(p->child));
}

void wans_spend_ike(struct peer *p, size_t bytes, bool answer)
{
	const struct supervisor *s = &p->sup;
	bool live = s->ike && (!s->asked_ms || child_now(p->child) - s->asked_ms < 500);

	if (!s->ka.wan)
		return;
	if (answer) {
		if (p->asked_bytes && p->asked_bytes < LARGE_BYTES)
			s->ka.wan->ask_bytes = (uint32_t)(2 * (p->asked_bytes + outer_bytes(p)));
		bytes = p->asked_bytes;
	} else {
		bytes += 4; /* the marker */
		p->asked_bytes = bytes;
	}
	wans_spend(p, live ? WAN_LIVENESS : WAN_RETRY, bytes);
	if (p->view) /* what is left of a budget bounds the engine's own tries too */
		p->view->peer.retry_max_ms = keepalive_retry_max_ms(s);
}

/* ---- life ---- */

int wans_start(struct child *c)
{
	struct wans *v = calloc(1, sizeof(*v));

	if (!v)
		return -ENOMEM;
	c->wans = v;
	v->tick = (struct timer){ .fire = on_tick, .arg = c };
	v->save = (struct timer){ .fire = on_save, .arg = c };
	wan_load(&c->inv.state_fd[PROC_STATE_WANS], &v->table);
	v->learnt = learnt(&v->table);
	v->saved_ms = child_now(c);
	return timer_set(loop_timers(c->loop), &v->save, child_now(c) + SAVE_MS);
}

void wans_forget_peer(struct peer *p)
{
	keepalive_use(&p->sup, NULL, child_now(p->child));
	timer_clear(loop_timers(p->child->loop), &p->echo);
	free(p->echoes);
	p->echoes = NULL;
}

void wans_free(struct child *c)
{
	if (!c->wans)
		return;
	if (learnt(&c->wans->table) != c->wans->learnt || any_metered(&c->wans->table))
		save(c);
	timer_clear(loop_timers(c->loop), &c->wans->tick);
	timer_clear(loop_timers(c->loop), &c->wans->save);
	free(c->wans);
	c->wans = NULL;
}

/* ---- telling ---- */

static json_t *seconds(uint64_t ms)
{
	return ms ? json_real((double)ms / 1000) : json_null();
}

static json_t *megabytes(uint64_t bytes)
{
	return json_real((double)bytes / 1e6);
}

static json_t *wan_json(const struct wan *w)
{
	char gateway[ADDR_STR_MAX], prefix[PREFIX_STR_MAX];
	json_t *o = json_pack(
	    "{s:s, s:o, s:o, s:i, s:f, s:o, s:o, s:b, s:b, s:I}", "interface", w->id.ifname,
	    "gateway",
	    w->id.gateway.family ? json_string(addr_str(&w->id.gateway, gateway)) : json_null(),
	    "prefix",
	    w->id.prefix.addr.family ? json_string(prefix_str(&w->id.prefix, prefix)) : json_null(),
	    "peers", (int)w->refs, "interval_s", (double)wan_interval_ms(w) / 1000, "survived_s",
	    seconds(w->ok_ms), "died_s", seconds(w->bad_ms), "measured", wan_is_measured(w),
	    "rebinding", w->rebinding, "rebinds", (json_int_t)w->rebinds);

	json_object_set_new(o, "metered", json_boolean(w->metered));
	json_object_set_new(o, "budget_mb",
			    w->metered ? megabytes(w->budget_bytes) : json_null());
	json_object_set_new(o, "used_mb", megabytes(wan_used(w)));
	json_object_set_new(o, "used",
			    json_pack("{s:o, s:o, s:o}", "keepalive",
				      megabytes(w->used_bytes[WAN_KEEPALIVE]), "liveness",
				      megabytes(w->used_bytes[WAN_LIVENESS]), "retry",
				      megabytes(w->used_bytes[WAN_RETRY])));
	json_object_set_new(o, "month_s", json_real((double)w->month_ms / 1000));
	json_object_set_new(o, "mb_per_month", megabytes(wan_projected(w)));
	json_object_set_new(o, "recovery",
			    json_string(wan_is_stretched(w) ? "slowed by the budget" : "normal"));
	return o;
}

json_t *wans_json(struct child *c)
{
	json_t *list = json_array();

	for (size_t i = 0; i < c->wans->table.count; i++)
		if (c->wans->table.wan[i].refs)
			json_array_append_new(list, wan_json(&c->wans->table.wan[i]));
	return list;
}

json_t *wans_keepalive_json(struct child *c, const struct peer *p)
{
	const struct supervisor *s = &p->sup;
	bool sends = s->ike && (s->nat_local || s->cfg.start != SUP_WAIT);
	const char *kind = !sends ? "none" : s->postern ? "dummy" : "0xff";
	json_t *o = json_pack("{s:s}", "kind", kind);

	(void)c;
	if (sends) {
		json_object_set_new(o, "interval_s",
				    json_real((double)keepalive_interval_ms(s) / 1000));
		json_object_set_new(o, "adaptive", json_boolean(!s->cfg.keepalive_ms && s->postern));
		json_object_set_new(o, "wan",
				    s->ka.wan ? json_string(s->ka.wan->id.ifname) : json_null());
		json_object_set_new(o, "rebinding",
				    json_boolean(s->ka.wan && s->ka.wan->rebinding));
	}
	json_object_set_new(o, "rebind_gap_s", seconds(keepalive_rebind_median_ms(s)));
	return o;
}
