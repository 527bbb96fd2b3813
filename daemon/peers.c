/* SPDX-License-Identifier: GPL-3.0-or-later */
/* From the configuration to running peers, at start and at each reload. */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "child_int.h"
#include "secret.h"

#define KEY_RETRY_MS	1000
#define SAVE_AFTER_MS	2000
#define RECALL_FIRST_MS 200
#define PATHS_MAX 64 /* distinct private keys */

/* ---- table ---- */

struct peer *child_peer(const struct child *c, uint32_t id)
{
	return id && id < c->peer_cap ? c->peer[id] : NULL;
}

struct peer *child_peer_from(const struct child *c, size_t id)
{
	for (; id < c->peer_cap; id++)
		if (c->peer[id])
			return c->peer[id];
	return NULL;
}

struct peer *child_peer_next(const struct child *c, const struct peer *p)
{
	return child_peer_from(c, p ? (size_t)p->id + 1 : 1);
}

struct peer *child_peer_named(const struct child *c, const char *name)
{
	for (struct peer *p = NULL; (p = child_peer_next(c, p));)
		if (!strcmp(p->cfg->name, name))
			return p;
	return NULL;
}

static int table_room(struct child *c, uint32_t id)
{
	size_t cap = c->peer_cap ? c->peer_cap : 64;
	struct peer **grown;

	if (id < c->peer_cap)
		return 0;
	while (cap <= id)
		cap *= 2;
	grown = calloc(cap, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	if (c->peer_cap)
		memcpy(grown, c->peer, c->peer_cap * sizeof(*grown));
	free(c->peer);
	c->peer = grown;
	c->peer_cap = cap;
	return 0;
}

/* ---- memory ---- */

void peers_save_soon(struct child *c)
{
	uint64_t at_ms = c->saved_ms + SAVE_AFTER_MS;

	/* The first change at once, what follows in one go: thousands may come up together. */
	if (!timer_armed(&c->save_timer))
		(void)timer_set(loop_timers(c->loop), &c->save_timer,
				c->saved_ms && at_ms > child_now(c) ? at_ms : child_now(c));
}

void peers_save_now(struct child *c)
{
	struct memory m = { .serial = c->memory_serial };
	size_t n = 0;
	int rc;

	timer_clear(loop_timers(c->loop), &c->save_timer);
	c->saved_ms = child_now(c);
	for (struct peer *p = NULL; (p = child_peer_next(c, p));)
		n++;
	if (c->inv.state_fd[0] < 0)
		return;
	/* What it points to is the peers' own; only the list goes. */
	m.entries = calloc(n + 1, sizeof(*m.entries));
	if (!m.entries)
		return;
	for (struct peer *p = NULL; (p = child_peer_next(c, p));) {
		struct memory_entry *e = &m.entries[m.count++];

		e->name = p->cfg->name;
		e->m = p->sup.memory;
		if (p->leased[0].family || p->leased[1].family) {
			e->identity = p->cfg->remote_id.text;
			memcpy(e->lease, p->leased, sizeof(e->lease));
		}
	}
	rc = memory_save(c->inv.state_fd, &m);
	c->memory_serial = m.serial;
	free(m.entries);
	if (rc)
		log_warn(NULL, "the endpoints of peers cannot be kept in state-dir: %s",
			 strerror(-rc));
}

/* ---- one peer ---- */

/* Where it is called; NULL: nowhere, or out of memory. */
static struct sup_host *hosts_of(const struct config_peer *p)
{
	struct sup_host *hosts = p->address_count ? calloc(p->address_count, sizeof(*hosts)) : NULL;

	for (size_t i = 0; hosts && i < p->address_count; i++) {
		bool name = !p->address[i].addr.family;

		hosts[i] =
		    (struct sup_host){ name ? p->address[i].name : NULL, p->address[i].addr };
	}
	return hosts;
}

/* @hosts: hosts_of(p), and as long as what is made here. */
static struct sup_transport_config transport_of(const struct config_peer *p)
{
	static const enum sup_tcp tcp[] = {
		[CONFIG_TCP_AUTO] = SUP_TCP_AUTO,
		[CONFIG_TCP_NEVER] = SUP_TCP_NEVER,
		[CONFIG_TCP_ALWAYS] = SUP_TCP_ALWAYS,
	};
	struct sup_transport_config t = { .tcp = tcp[p->tcp],
					  .udp_count = p->udp_ports.count,
					  .tcp_count = p->tcp_ports.count };

	for (size_t i = 0; i < p->udp_ports.count; i++)
		t.udp[i] = p->udp_ports.port[i].port;
	for (size_t i = 0; i < p->tcp_ports.count; i++) {
		t.tcp_port[i] = p->tcp_ports.port[i].port;
		t.tls |= (uint8_t)(p->tcp_ports.port[i].tls << i);
	}
	return t;
}

/* The sockets that the parent gave that mark; a number that no socket has until the newest is in use. */
static uint8_t sock_set_of(const struct child *c, const struct config_peer *p)
{
	const uint32_t *mark = priv_marks(c->priv);

	for (uint8_t i = 0; p->mark && i < PROC_MARKS; i++)
		if (mark[i] == p->mark)
			return i + 1;
	return p->mark ? UINT8_MAX : 0;
}

static struct sup_config sup_config_of(const struct child *c, const struct config_peer *p,
				       const struct sup_host *hosts)
{
	static const enum sup_start start[] = {
		[CONFIG_START_ALWAYS] = SUP_ALWAYS,
		[CONFIG_START_ON_DEMAND] = SUP_ON_DEMAND,
		[CONFIG_START_NO] = SUP_WAIT,
	};
	size_t count = p->address_count < SUP_HOSTS_MAX ? p->address_count : SUP_HOSTS_MAX;

	return (struct sup_config){ .peer = p->id,
				    .start = start[p->start],
				    .host = hosts,
				    .host_count = hosts ? count : 0,
				    .port = p->port,
				    .interface = p->interface,
				    .sock_set = sock_set_of(c, p),
				    .retry_max_ms = p->retry_max_ms,
				    .keepalive_ms = p->keepalive_ms,
				    .inactivity_ms = p->inactivity_ms,
				    .gives = p->assign_count || p->pool,

				    .transport = transport_of(p) };
}

/* The lines out, as [wan] sections say. */
static void take_wans(struct child *c, const struct config *cfg)
{
	for (size_t i = 0; i < cfg->wan_count; i++)
		c->wan[i] = (struct sup_wan){ cfg->wans[i].interface, cfg->wans[i].priority };
	c->env.nat64 = &c->nat64;
	c->env.wan = c->wan;
	c->env.wan_count = cfg->wan_count;
}

static void on_tick(struct timer *t, uint64_t now_ms)
{
	struct peer *p = t->arg;

	sup_tick(&p->sup, now_ms);
	peer_arm(p);
	effects_apply(p->child);
}

void peer_networks(struct peer *p)
{
	const struct config_peer *cfg = p->cfg;
	struct prefix *list = calloc(cfg->network_count + cfg->assign_count + 2, sizeof(*list));
	size_t n = 0;
	int rc = -ENOMEM;

	if (list) {
		for (size_t i = 0; i < cfg->network_count; i++)
			list[n++] = cfg->networks[i];
		for (size_t i = 0; i < cfg->assign_count; i++)
			list[n++] = prefix_host(&cfg->assign[i]);
		for (int s = 0; s < 2; s++)
			if (p->leased[s].family)
				list[n++] = prefix_host(&p->leased[s]);
		rc = dp_peer_networks(p->child->dp, p->id, list, n);
	}
	if (rc)
		log_err(&p->log, "networks cannot be used: %s", strerror(-rc));
	free(list);
}

static void peer_rate(struct peer *p)
{
	(void)dp_peer_set_rate(p->child->dp, p->id, p->cfg->rate_out, p->cfg->rate_in);
}

/* Keys and certificates are read and the engine gets to know it; on failure it is out of service. */
static int peer_enable(struct peer *p)
{
	struct child *c = p->child;
	struct conf_files files = bundle_files(c->inv.bundle);
	struct view *old = p->view;
	char why[2 * CONF_WHY_MAX];
	int rc;

	p->view = view_new(p->cfg, &files, p->own_key, &c->ike, &c->esp, why, sizeof(why));
	if (p->view)
		memcpy(p->view->peer.lease, p->leased, sizeof(p->leased));
	rc =
	    p->view ? engine_peer_update(c->engine, child_now(c), &p->view->peer, &c->fx) : -EINVAL;
	if (rc) {
		if (p->view)
			snprintf(why, sizeof(why), "%s", strerror(-rc));
		log_err(&p->log, "out of service: %s", why);
		sup_say(&p->sup.failure, why);
		engine_peer_remove(c->engine, child_now(c), p->id, &c->fx);
		view_free(p->view);
		p->view = NULL;
	}
	effects_apply(c); /* while the old view still is what the effects of its SAs refer to */
	view_free(old);
	return rc;
}

static void peer_free(struct peer *p)
{
	view_free(p->view);
	log_clear(&p->log);
	free(p->hosts);
	free(p->pair);
	free(p->dns);
	free(p);
}

static struct peer *peer_add(struct child *c, const struct config_peer *cfg)
{
	struct peer *p = calloc(1, sizeof(*p));
	struct sup_config sc;
	int rc = p ? table_room(c, cfg->id) : -ENOMEM;

	if (!rc)
		rc = dp_peer_set(c->dp, cfg->id, NULL, false, 0);
	if (rc) {
		log_err(NULL, "peer=%s cannot be served: %s", cfg->name, strerror(-rc));
		free(p);
		return NULL;
	}
	p->child = c;
	p->id = cfg->id;
	p->cfg = cfg;
	p->hosts = hosts_of(cfg);
	sc = sup_config_of(c, cfg, p->hosts);
	p->present = true;
	p->tick = (struct timer){ .fire = on_tick, .arg = p };
	p->down_since_ms = child_now(c);
	log_set(&p->log, "peer=%s", cfg->name);
	path_mtu_init(p);
	peer_rate(p);
	sup_init(&p->sup, &c->env, &sc, memory_find(&c->memory, cfg->name), child_now(c));
	c->peer[p->id] = p;
	peer_networks(p);
	return p;
}

static void peer_remove(struct peer *p)
{
	struct child *c = p->child;
	json_t *gone = telling_peer_event(p);

	bench_forget(p);
	sup_remove(&p->sup);
	engine_peer_remove(c->engine, child_now(c), p->id, &c->fx);
	effects_apply(c);
	lease_drop(p);
	path_mtu_clear(p);
	timer_clear(loop_timers(c->loop), &p->tick);
	wans_forget_peer(p);
	streams_forget(c, p->id);
	dp_peer_remove(c->dp, p->id);
	c->peer[p->id] = NULL;
	(void)json_object_set_new(gone, "state", json_string("down"));
	(void)json_object_set_new(gone, "removed", json_true());
	telling_send(c, gone);
	peer_free(p);
}

/* ---- our own keys ---- */

struct key_request {
	struct child *child;
	uint64_t generation; /* of the configuration */
	char path[];
};

static void ask_keys(struct child *c);

bool peer_key_awaited(const struct peer *p)
{
	return p->cfg->private_key && p->own_key == KEY_NONE &&
	       p->key_generation != p->child->inv.generation;
}

static void key_retry(struct timer *t, uint64_t now_ms)
{
	struct child *c = t->arg;

	(void)now_ms;
	free(t);
	ask_keys(c);
}

static void on_public(int status, const uint8_t *spki, size_t len, void *arg)
{
	struct key_request *r = arg;
	struct child *c = r->child;
	struct pubkey *k = NULL;
	enum key_type type = KEY_NONE;

	if (r->generation != c->inv.generation)
		goto out; /* a reload came between: it has asked anew */
	if (!status && !pubkey_from_spki(spki, len, &k))
		type = pubkey_type(k);
	pubkey_free(k);
	if (type == KEY_NONE && (status == -ECONNRESET || status == -EAGAIN)) {
		struct timer *t = calloc(1, sizeof(*t));

		if (t) {
			*t = (struct timer){ .fire = key_retry, .arg = c };
			if (timer_set(loop_timers(c->loop), t, child_now(c) + KEY_RETRY_MS))
				free(t);
		}
		goto out;
	}
	if (type == KEY_NONE)
		log_err(NULL, "private-key = %s cannot be used: %s", r->path,
			strerror(status ? -status : EBADMSG));
	for (struct peer *p = NULL; (p = child_peer_next(c, p));) {
		if (!p->cfg->private_key || strcmp(p->cfg->private_key, r->path) ||
		    p->key_generation == r->generation)
			continue;
		p->key_generation = r->generation;
		if (p->view && p->own_key == type && type != KEY_NONE)
			continue; /* what the reload made holds */
		p->own_key = type;
		if (!peer_enable(p))
			peer_arm(p);
	}
	effects_apply(c);
out:
	free(r);
}

static void ask_key(struct child *c, const struct peer *p)
{
	struct key_request *r = calloc(1, sizeof(*r) + strlen(p->cfg->private_key) + 1);
	int rc = -ENOMEM;

	if (r) {
		r->child = c;
		r->generation = c->inv.generation;
		strcpy(r->path, p->cfg->private_key);
		rc = priv_public(c->priv, p->cfg->name, on_public, r);
	}
	if (rc) {
		log_err(&p->log, "the keys process cannot be asked: %s", strerror(-rc));
		free(r);
	}
}

/* Of which type is each private key? One question for each file, answered by the keys process. */
static void ask_keys(struct child *c)
{
	const char *asked[PATHS_MAX];
	size_t n = 0, i;

	for (struct peer *p = NULL; (p = child_peer_next(c, p));) {
		if (!p->cfg->private_key || p->key_generation == c->inv.generation)
			continue;
		for (i = 0; i < n && strcmp(asked[i], p->cfg->private_key); i++)
			;
		if (i < n)
			continue;
		if (n < PATHS_MAX)
			asked[n++] = p->cfg->private_key;
		ask_key(c, p);
	}
}

/* ---- those that were here before our start ---- */

static void begin_recall(void *arg, uint32_t id, uint64_t now_ms)
{
	struct peer *p = child_peer(arg, id);

	sup_recall(&p->sup, now_ms);
	peer_arm(p);
}

static void end_recall(void *arg, uint32_t id)
{
	struct peer *p = child_peer(arg, id);

	sup_recall_end(&p->sup);
	peer_arm(p);
}

static enum recall_state recall_state(void *arg, uint32_t id)
{
	struct peer *p = child_peer(arg, id);

	return p ? sup_recall_state(&p->sup) : RECALL_DONE;
}

static const struct recall_ops recall_ops = { begin_recall, end_recall, recall_state };

static void on_recall(struct timer *t, uint64_t now_ms)
{
	struct child *c = t->arg;
	uint64_t next_ms = recall_step(&c->recall, now_ms);

	effects_apply(c);
	if (next_ms != UINT64_MAX && timer_set(loop_timers(c->loop), t, next_ms))
		log_err(NULL, "out of memory: no timer");
}

/* ---- all ---- */

int peers_start(struct child *c)
{
	const uint64_t recall_ms = child_now(c) + RECALL_FIRST_MS;

	c->recall = (struct recall){ .ops = &recall_ops, .arg = c };
	c->recall_timer = (struct timer){ .fire = on_recall, .arg = c };
	(void)memory_load(c->inv.state_fd, &c->memory);
	take_wans(c, c->cfg);
	c->memory_serial = c->memory.serial;
	if (wans_start(c))
		return -ENOMEM;
	for (size_t i = 0; i < c->cfg->peer_count; i++)
		if (!peer_add(c, &c->cfg->peers[i]))
			return -ENOMEM;
	/* What was somebody's before the restart is his before anybody can ask. */
	if (pools_make(c, c->cfg))
		return -ENOMEM;
	pools_recall(c);
	if (servers_make(c))
		return -ENOMEM;
	memory_free(&c->memory); /* from now on each peer has its own */
	for (struct peer *p = NULL; (p = child_peer_next(c, p));) {
		if (p->cfg->start == CONFIG_START_NO && p->sup.memory.endpoint.addr.family &&
		    recall_add(&c->recall, p->id, recall_ms))
			return -ENOMEM;
		if (!p->cfg->private_key && !peer_enable(p))
			peer_arm(p);
	}
	ask_keys(c);
	return c->recall.count ? timer_set(loop_timers(c->loop), &c->recall_timer, recall_ms) : 0;
}

static void peer_change(struct peer *p, const struct config_peer *cfg)
{
	struct sup_host *hosts = hosts_of(cfg), *old = p->hosts;
	struct sup_config sc = sup_config_of(p->child, cfg, hosts);
	unsigned diff = config_peer_diff(p->cfg, cfg);
	const char *was = p->cfg->private_key, *is = cfg->private_key;
	const char *there = p->cfg->redirect_to.name, *to = cfg->redirect_to.name;
	bool moved = to && (!there || strcmp(there, to));
	struct child *c = p->child;

	if (!was || !is || strcmp(was, is))
		p->own_key = KEY_NONE; /* of the other file nothing is known yet */
	if (cfg->mark != p->cfg->mark)
		streams_drop(p);
	p->cfg = cfg;
	if (diff || p->sup.failure)
		sup_update(&p->sup, &sc, child_now(c)); /* what was refused may be right now */
	else
		p->sup.cfg = sc; /* the names are those of the new text */
	p->hosts = hosts;
	free(old);
	peer_rate(p);
	if (diff & CONFIG_DIFF_ROUTES)
		peer_networks(p);
	/* Files may have changed behind the same names: always looked at again. The type of our own key is
	 * taken to be what it was until the keys process has told. */
	(void)peer_enable(p);
	if (moved && p->view && p->view->peer.redirect_to &&
	    engine_redirect(c->engine, child_now(c), p->id, p->view->peer.redirect_to, &c->fx))
		effects_apply(c);
	peer_arm(p);
	if (diff)
		log_info(&p->log, "configuration changed");
}

void peers_reload(struct child *c, struct config *cfg)
{
	struct config *old = c->cfg;
	struct peer *p = NULL, *next;

	if (config_adopt_ids(cfg, old)) {
		log_err(NULL, "configuration not taken: out of memory");
		config_free(cfg);
		return;
	}
	if (pools_make(c, cfg))
		log_err(NULL, "out of memory: no peer gets an address from a pool");
	c->cfg = cfg;
	take_wans(c, cfg);
	while ((p = child_peer_next(c, p)))
		p->present = false;
	for (size_t i = 0; i < cfg->peer_count; i++) {
		p = child_peer(c, cfg->peers[i].id);
		if (p) {
			p->present = true;
			peer_change(p, &cfg->peers[i]);
		} else {
			p = peer_add(c, &cfg->peers[i]);
			if (p && !p->cfg->private_key && !peer_enable(p))
				peer_arm(p);
		}
	}
	for (p = child_peer_next(c, NULL); p; p = next) {
		next = child_peer_next(c, p);
		if (!p->present)
			peer_remove(p);
	}
	path_mtu_reload(c);
	wans_configure(c);
	drain_reload(c);
	bench_reload(c);
	if (servers_make(c))
		log_err(NULL, "out of memory: not all servers of peers are looked after");
	for (p = NULL; (p = child_peer_next(c, p));)
		if (p->sup.path)
			sup_on_path_change(&p->sup, child_now(c)); /* lines may be other ones */
	ask_keys(c);
	effects_apply(c);
	config_free(old);
	(void)malloc_trim(0);
	log_info(NULL, "configuration reloaded");
}

void peers_free(struct child *c)
{
	servers_free(c);
	timer_clear(loop_timers(c->loop), &c->recall_timer);
	recall_clear(&c->recall);
	for (struct peer *p = NULL; (p = child_peer_next(c, p));) {
		timer_clear(loop_timers(c->loop), &p->tick);
		timer_clear(loop_timers(c->loop), &p->mtu_timer);
		wans_forget_peer(p);
		sup_clear(&p->sup);
		c->peer[p->id] = NULL;
		peer_free(p);
		p = NULL; /* from the beginning: those before are gone */
	}
	free(c->peer);
	pools_free(c);
	memory_free(&c->memory);
}
