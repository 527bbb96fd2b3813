/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"
#include "config_int.h"
#include "proposal_words.h"

#include <assert.h>
#include <errno.h>
#include <malloc.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- lists of values into arrays of ours ---- */

/* NULL where there is none: with *@count a failure. */
static void *list_of(struct config *cfg, const struct conf_section *s, const char *key, size_t size,
		     size_t *count)
{
	const struct conf_entry *e = conf_get(s, key);

	*count = e->count;
	return e->count ? conf_room(cfg->conf, e->count * size) : NULL;
}

int config_take_hosts(struct config *cfg, struct config_peer *p, const struct conf_section *s)
{
	const struct conf_entry *e = conf_get(s, "address");

	p->address = list_of(cfg, s, "address", sizeof(*p->address), &p->address_count);
	for (size_t i = 0; p->address && i < e->count; i++)
		p->address[i] = (struct config_host){ e->values[i].text, e->values[i].addr };
	return p->address || !e->count ? 0 : -ENOMEM;
}

static struct config_host take_host(const struct conf_section *s, const char *key)
{
	const struct conf_entry *e = conf_get(s, key);

	return e->count ? (struct config_host){ e->values[0].text, e->values[0].addr }
			: (struct config_host){ .name = NULL };
}

static int take_prefixes(struct config *cfg, const struct conf_section *s, const char *key,
			 struct prefix **list, size_t *count)
{
	const struct conf_entry *e = conf_get(s, key);

	*list = list_of(cfg, s, key, sizeof(**list), count);
	for (size_t i = 0; *list && i < e->count; i++)
		(*list)[i] = e->values[i].prefix;
	return *list || !e->count ? 0 : -ENOMEM;
}

static int take_assign(struct config *cfg, struct config_peer *p, const struct conf_section *s)
{
	const struct conf_entry *e = conf_get(s, "assign");

	p->assign = list_of(cfg, s, "assign", sizeof(*p->assign), &p->assign_count);
	for (size_t i = 0; p->assign && i < e->count; i++)
		p->assign[i] = e->values[i].addr;
	return p->assign || !e->count ? 0 : -ENOMEM;
}

int config_take_public_keys(struct config *cfg, struct config_peer *p,
			    const struct conf_section *s)
{
	const struct conf_entry *e = conf_get(s, "public-key");

	p->public_key =
	    list_of(cfg, s, "public-key", sizeof(*p->public_key), &p->public_key_count);
	for (size_t i = 0; p->public_key && i < e->count; i++)
		p->public_key[i] = e->values[i].text;
	return p->public_key || !e->count ? 0 : -ENOMEM;
}

struct config_id config_take_id(const struct conf_section *s, const char *key)
{
	const struct conf_entry *e = conf_get(s, key);

	if (!e->count)
		return (struct config_id){ NULL, { 0 } };
	return (struct config_id){ e->values[0].text, e->values[0].addr };
}

/* ---- selectors ---- */

static struct config_ts ts_of(const struct prefix *p)
{
	return (struct config_ts){ .prefix = *p, .port_hi = 65535 };
}

static void assigned_ts(struct config_ts *list, size_t *count, int family)
{
	list[(*count)++] = (struct config_ts){ .assigned = true,
					       .prefix = { .addr = { .family = (uint8_t)family } },
					       .port_hi = 65535 };
}

static int take_written_ts(struct config *cfg, const struct conf_section *s, const char *key,
			   struct config_ts **list, size_t *count)
{
	const struct conf_entry *e = conf_get(s, key);
	char why[CONF_WHY_MAX];

	*list = conf_room(cfg->conf, (2 * e->count + 1) * sizeof(**list));
	for (size_t i = 0; *list && i < e->count; i++) {
		struct config_ts *ts = &(*list)[(*count)++];

		(void)config_ts_parse(e->values[i].text, ts, why, sizeof(why));
		/* The word means both families, where the protocol does not name one. */
		if (!ts->assigned || ts->proto == IPPROTO_ICMP)
			continue;
		if (ts->proto != IPPROTO_ICMPV6) {
			ts[1] = ts[0];
			++*count;
			ts++;
		}
		ts->prefix.addr.family = AF_INET6;
	}
	return *list ? 0 : -ENOMEM;
}

/* Our tunnel addresses, then what a peer gives us: all that write no local-ts share the one list. */
static int take_own_ts(struct config *cfg)
{
	size_t n = 0;

	cfg->own_ts = calloc(cfg->tunnel_address_count + 2, sizeof(*cfg->own_ts));
	if (!cfg->own_ts)
		return -ENOMEM;
	for (size_t i = 0; i < cfg->tunnel_address_count; i++) {
		struct prefix own = prefix_host(&cfg->tunnel_address[i]);

		cfg->own_ts[n++] = ts_of(&own);
	}
	assigned_ts(cfg->own_ts, &n, AF_INET);
	assigned_ts(cfg->own_ts, &n, AF_INET6);
	return 0;
}

static int take_local_ts(const struct config *cfg, const struct config_peer *p,
			 struct config_child *c)
{
	c->local_ts = cfg->own_ts;
	c->local_ts_count = cfg->tunnel_address_count + (p->request_address ? 2 : 0);
	return 0;
}

static int take_remote_ts(struct config *cfg, const struct config_peer *p, struct config_child *c)
{
	bool v4 = config_pool_has(p->pool, AF_INET), v6 = config_pool_has(p->pool, AF_INET6);

	for (size_t i = 0; i < p->assign_count; i++) {
		v4 |= p->assign[i].family == AF_INET;
		v6 |= p->assign[i].family == AF_INET6;
	}
	if (!v4 && !v6 && !p->network_count)
		return 0;
	c->remote_ts =
	    conf_room(cfg->conf, (p->network_count + v4 + v6) * sizeof(*c->remote_ts));
	if (!c->remote_ts)
		return -ENOMEM;
	if (v4)
		assigned_ts(c->remote_ts, &c->remote_ts_count, AF_INET);
	if (v6)
		assigned_ts(c->remote_ts, &c->remote_ts_count, AF_INET6);
	for (size_t i = 0; i < p->network_count; i++)
		c->remote_ts[c->remote_ts_count++] = ts_of(&p->networks[i]);
	return 0;
}

/* ---- proposals ---- */

struct config_proposals {
	struct config_proposals *next;
	struct proposals ps;
};

/*
 * The list of proposals under @key, or @dflt where none stands. Equal lists are one: ten thousand peers
 * share them, and the engine compares pointers first.
 */
static int take_proposals(struct config *cfg, const struct conf_section *s, const char *key,
			  uint8_t proto, const struct proposals *dflt, const struct proposals **out)
{
	const struct conf_entry *e = conf_get(s, key);
	struct config_proposals *l;
	char why[CONF_WHY_MAX];

	*out = dflt;
	if (!e->count)
		return 0;
	if (e->count > PROPOSALS_MAX) {
		conf_error(cfg->conf, conf_line(s, key), "%zu %s; allowed: up to %d", e->count, key,
			   PROPOSALS_MAX);
		return 0;
	}
	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	for (size_t i = 0; i < e->count; i++) {
		struct proposal *p = proposal_add(&l->ps, proto);
		uint8_t number = p->number;

		(void)proposal_from_words(e->values[i].text, proto, p, why, sizeof(why));
		p->number = number;
	}
	for (const struct config_proposals *o = cfg->proposal_lists; o; o = o->next) {
		if (!proposals_equal(&o->ps, &l->ps))
			continue;
		free(l);
		*out = &o->ps;
		return 0;
	}
	l->next = cfg->proposal_lists;
	cfg->proposal_lists = l;
	*out = &l->ps;
	return 0;
}

/* ---- sections ---- */

/* Where a key of a CHILD SA stands: in its own section, or for all of them in that of the peer. */
static const struct conf_section *where(const struct conf_section *s, const char *key,
					const struct conf_section *peer)
{
	return s && conf_is_set(s, key) ? s : peer;
}

/* @s: its section, NULL: the peer's one CHILD SA has none. */
static int take_child(struct config *cfg, const struct config_peer *p, const struct conf_section *s,
		      const struct conf_section *peer, struct config_child *c)
{
	const struct conf_section *local = where(s, "local-ts", peer);
	const struct conf_section *remote = where(s, "remote-ts", peer);
	int rc;

	c->id = (uint32_t)(c - p->child) + 1;
	c->name = s ? s->name : p->name;
	c->line = s ? s->line : p->line;
	c->lifetime_s = (uint32_t)(conf_uint(where(s, "lifetime", peer), "lifetime") / 1000);
	c->lifetime_bytes = conf_uint(where(s, "lifetime-bytes", peer), "lifetime-bytes");
	c->lifetime_pkts = conf_uint(where(s, "lifetime-packets", peer), "lifetime-packets");
	rc = take_proposals(cfg, s ? s : peer, "esp-proposals", PROTO_ESP, p->esp_proposals,
			    &c->esp_proposals);
	if (rc)
		return rc;
	rc = conf_is_set(local, "local-ts")
		 ? take_written_ts(cfg, local, "local-ts", &c->local_ts, &c->local_ts_count)
		 : take_local_ts(cfg, p, c);
	if (rc)
		return rc;
	return conf_is_set(remote, "remote-ts")
		   ? take_written_ts(cfg, remote, "remote-ts", &c->remote_ts, &c->remote_ts_count)
		   : take_remote_ts(cfg, p, c);
}

/* A section [child NAME] by the peer that it names; @order keeps those of one peer in file order. */
struct child_of {
	const char *peer;
	const struct conf_section *s;
	size_t order;
};

static int by_peer(const void *x, const void *y)
{
	const struct child_of *a = x, *b = y;
	int d = strcmp(a->peer, b->peer);

	return d ? d : (a->order > b->order) - (a->order < b->order);
}

static struct child_of *child_sections(const struct conf *c, size_t *count)
{
	const struct conf_section *s = NULL;
	struct child_of *list;

	*count = 0;
	while ((s = conf_next(c, "child", s)))
		++*count;
	list = calloc(*count + 1, sizeof(*list));
	for (size_t i = 0; list && i < *count; i++) {
		s = conf_next(c, "child", s);
		list[i] = (struct child_of){ conf_text(s, "peer"), s, i };
	}
	if (list)
		qsort(list, *count, sizeof(*list), by_peer);
	return list;
}

/* The first of the peer's sections in a list by_peer(). */
static size_t first_of(const struct child_of *list, size_t count, const char *peer)
{
	size_t lo = 0, hi = count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (strcmp(list[mid].peer, peer) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static int take_children(struct config *cfg, struct config_peer *p, const struct conf_section *peer,
			 const struct child_of *list, size_t count)
{
	const char *owner = p->of ? p->of->name : p->name;
	size_t at = first_of(list, count, owner), n = 0;
	int rc = 0;

	while (at + n < count && !strcmp(list[at + n].peer, owner))
		n++;
	p->child = conf_room(cfg->conf, (n ? n : 1) * sizeof(*p->child));
	if (!p->child)
		return -ENOMEM;
	p->child_count = n ? n : 1;
	for (size_t i = 0; i < p->child_count && !rc; i++)
		rc = take_child(cfg, p, n ? list[at + i].s : NULL, peer, &p->child[i]);
	return rc;
}

void config_take_auth(const struct config *cfg, struct config_peer *p,
		      const struct conf_section *proof, const struct conf_section *s)
{
	p->psk = conf_text(proof, "psk");
	p->ca = conf_text(proof, "ca");
	p->certificate = conf_text(s, "certificate");
	p->private_key =
	    conf_is_set(s, "private-key") ? conf_text(s, "private-key") : cfg->private_key;
	p->auth = p->ca					    ? CONFIG_AUTH_CERT
		  : p->psk && !conf_is_set(proof, "public-key") ? CONFIG_AUTH_PSK
							    : CONFIG_AUTH_RAW;
	p->local_auth =
	    conf_is_set(s, "local-auth") ? (enum config_auth)conf_uint(s, "local-auth") : p->auth;
	if (p->local_auth == CONFIG_AUTH_CERT && !p->certificate)
		p->certificate = conf_text(conf_find(cfg->conf, "posternd", ""), "certificate");
	if (p->local_auth == CONFIG_AUTH_PSK)
		p->private_key = NULL;
}

/* Who writes none shares the default. */
static int take_accept_assigned(struct config *cfg, struct config_peer *p,
				const struct conf_section *s)
{
	if (conf_is_set(s, "accept-assigned"))
		return take_prefixes(cfg, s, "accept-assigned", &p->accept_assigned,
				     &p->accept_assigned_count);
	if (!cfg->accept_assigned && take_prefixes(cfg, s, "accept-assigned", &cfg->accept_assigned,
						   &cfg->accept_assigned_count))
		return -ENOMEM;
	p->accept_assigned = cfg->accept_assigned;
	p->accept_assigned_count = cfg->accept_assigned_count;
	return 0;
}

static int take_peer(struct config *cfg, struct config_peer *p, const struct conf_section *s)
{
	p->id = (uint32_t)(p - cfg->peers) + 1;
	p->name = s->name;
	p->line = s->line;
	p->port = (uint16_t)conf_uint(s, "port");
	p->interface = conf_text(s, "interface");
	config_take_mark(p, s);
	p->start = (enum config_start)conf_uint(s, "start");
	p->remote_id = config_take_id(s, "identity");
	p->local_id =
	    conf_is_set(s, "local-identity") ? config_take_id(s, "local-identity") : cfg->identity;
	config_take_auth(cfg, p, s, s);
	p->request_address = conf_is_set(s, "request-address")
				 ? conf_bool(s, "request-address")
				 : p->start != CONFIG_START_NO && !cfg->tunnel_address_count;
	p->ike_lifetime_s = (uint32_t)(conf_uint(s, "ike-lifetime") / 1000);
	p->redirect_follow = p->start != CONFIG_START_NO && conf_uint(s, "redirect") == 0;
	p->redirect_to = take_host(s, "redirect-to");
	p->servers_all = conf_uint(s, "servers") == 1;
	p->childless = (enum config_childless)conf_uint(s, "childless");
	p->retry_max_ms = conf_uint(s, "retry-max");
	p->inactivity_ms = conf_uint(s, "inactivity");
	p->keepalive_ms = conf_uint(s, "keepalive");
	p->bench_allowed = conf_uint(s, "bench") != 0;
	p->leak_never = conf_uint(s, "leak") != 0;
	p->rate_in = conf_uint(s, conf_is_set(s, "rate-limit-in") ? "rate-limit-in" : "rate-limit");
	p->rate_out = conf_uint(s, conf_is_set(s, "rate-limit-out") ? "rate-limit-out" : "rate-limit");
	config_take_peer_ports(cfg, p, s);
	if (config_take_hosts(cfg, p, s) || config_take_public_keys(cfg, p, s) ||
	    take_assign(cfg, p, s) ||
	    config_take_pool(cfg, p, s) ||
	    take_prefixes(cfg, s, "networks", &p->networks, &p->network_count) ||
	    take_prefixes(cfg, s, "from", &p->from, &p->from_count) ||
	    take_accept_assigned(cfg, p, s) ||
	    take_proposals(cfg, s, "ike-proposals", PROTO_IKE, cfg->ike_proposals,
			   &p->ike_proposals) ||
	    take_proposals(cfg, s, "esp-proposals", PROTO_ESP, cfg->esp_proposals,
			   &p->esp_proposals))
		return -ENOMEM;
	return 0;
}

static int take_daemon(struct config *cfg, const struct conf_section *s)
{
	const struct conf_entry *e = conf_get(s, "tunnel-address");

	cfg->identity = config_take_id(s, "identity");
	cfg->private_key = conf_text(s, "private-key");
	for (size_t i = 0; i < e->count && i < CONFIG_ADDRS_MAX; i++)
		cfg->tunnel_address[cfg->tunnel_address_count++] = e->values[i].addr;
	snprintf(cfg->tun, sizeof(cfg->tun), "%s", conf_text(s, "tun"));
	cfg->mtu = (uint32_t)conf_uint(s, "mtu");
	cfg->run_dir = conf_text(s, "run-dir");
	cfg->state_dir = conf_text(s, "state-dir");
	cfg->user = conf_text(s, "user");
	cfg->keys_user = conf_text(s, "keys-user");
	cfg->resolver_user = conf_text(s, "resolver-user");
	cfg->admin_group = conf_text(s, "admin-group");
	cfg->outer_netns = conf_text(s, "outer-netns");
	cfg->tun_netns = conf_text(s, "tun-netns");
	cfg->workers = (uint32_t)conf_uint(s, "workers");
	cfg->io = (enum config_io)conf_uint(s, "io");
	cfg->crypto = (enum config_crypto)conf_uint(s, "crypto");
	cfg->metrics = conf_text(s, "metrics");
	cfg->hook = conf_text(s, "hook");
	cfg->redirect_to = take_host(s, "redirect-to");
	cfg->firewall = conf_uint(s, "firewall") == 0;
	e = conf_get(s, "name-users");
	for (size_t i = 0; i < e->count && i < CONFIG_NAME_USERS_MAX; i++)
		cfg->name_users[cfg->name_user_count++] = e->values[i].text;
	e = conf_get(s, "tunnel-ports");
	for (size_t i = 0; i < e->count && i < CONFIG_PORTS_MAX; i++)
		if (e->values[i].u)
			cfg->tunnel_ports[cfg->tunnel_port_count++] = (uint16_t)e->values[i].u;
	cfg->log_level = (enum log_level)conf_uint(s, "log-level");
	cfg->port = (uint16_t)conf_uint(s, "port");
	cfg->port_500 = conf_bool(s, "port-500");
	return take_proposals(cfg, s, "ike-proposals", PROTO_IKE, NULL, &cfg->ike_proposals) ||
		       take_proposals(cfg, s, "esp-proposals", PROTO_ESP, NULL, &cfg->esp_proposals)
		   ? -ENOMEM
		   : 0;
}

static int by_name(const void *x, const void *y)
{
	return strcmp((*(struct config_peer *const *)x)->name,
		      (*(struct config_peer *const *)y)->name);
}

/* Behind the peers, since the sections of those are gone through beside them. */
static int take_servers(struct config *cfg, const struct child_of *children, size_t child_count)
{
	const struct conf_section *s = NULL;
	size_t n = cfg->peer_count;
	int rc = 0;

	while (!rc && (s = conf_next(cfg->conf, "server", s))) {
		const char *name = conf_text(s, "peer");
		const struct config_peer *found = config_peer_find(cfg, name);
		const struct conf_section *peer = conf_find(cfg->conf, "peer", name);
		struct config_peer *of, *p = &cfg->peers[n];

		if (!found) {
			conf_error(cfg->conf, conf_line(s, "peer"),
				   "peer = %s: there is no section [peer %s]", name, name);
			continue;
		}
		of = &cfg->peers[found - cfg->peers];
		of->server_count++;
		cfg->by_name[n++] = p;
		rc = take_peer(cfg, p, peer) || config_take_server(cfg, p, of, s, peer) ||
		     take_children(cfg, p, peer, children, child_count);
	}
	cfg->peer_count = n;
	if (n)
		qsort(cfg->by_name, n, sizeof(*cfg->by_name), by_name);
	return rc ? -ENOMEM : 0;
}

struct config *config_make(struct conf *c)
{
	struct config *cfg = calloc(1, sizeof(*cfg));
	const struct conf_section *s = NULL;
	struct child_of *children = NULL;
	size_t n = 0, servers = 0, child_count = 0;

	if (!c || !cfg) {
		conf_free(c);
		free(cfg);
		return NULL;
	}
	cfg->conf = c;
	if (!conf_ok(c))
		return cfg;
	if (take_daemon(cfg, conf_find(c, "posternd", "")))
		goto nomem;
	while ((s = conf_next(c, "peer", s)))
		n++;
	while ((s = conf_next(c, "server", s)))
		servers++;
	cfg->peers = calloc(n + servers + 1, sizeof(*cfg->peers));
	cfg->peer_count = cfg->peers ? n : 0;
	children = child_sections(c, &child_count);
	n = 0;
	cfg->by_name = calloc(cfg->peer_count + servers + 1, sizeof(*cfg->by_name));
	if (!cfg->peers || !cfg->by_name || !children || take_own_ts(cfg) ||
	    config_take_pools(cfg) || config_take_wans(cfg))
		goto nomem;
	while ((s = conf_next(c, "peer", s))) {
		struct config_peer *p = &cfg->peers[n];

		cfg->by_name[n++] = p;
		if (take_peer(cfg, p, s) || take_children(cfg, p, s, children, child_count))
			goto nomem;
	}
	if (n)
		qsort(cfg->by_name, n, sizeof(*cfg->by_name), by_name);
	if (take_servers(cfg, children, child_count))
		goto nomem;
	free(children);
	config_check(cfg);
	if (!cfg->port && config_waits(cfg))
		cfg->port = CONFIG_PORT_ESP;
	cfg->port_500 = cfg->port_500 && config_waits(cfg);
	config_take_ports(cfg, conf_find(c, "posternd", ""));
	return cfg;
nomem:
	free(children);
	config_free(cfg);
	return NULL;
}

struct config *config_load(const char *path)
{
	return config_make(conf_load(&config_schema, path));
}

struct config *config_from_bundle(const struct bundle *b)
{
	struct config *cfg = config_make(bundle_conf(b, &config_schema));

	if (cfg)
		config_settle(cfg);
	return cfg;
}

void config_settle(struct config *cfg)
{
	if (!conf_ok(cfg->conf))
		return;
	conf_forget_values(cfg->conf, "peer");
	conf_forget_values(cfg->conf, "child");
	conf_forget_values(cfg->conf, "pool");
	(void)malloc_trim(0);
}

void config_free(struct config *cfg)
{
	struct config_proposals *l;

	if (!cfg)
		return;
	for (size_t i = 0; i < cfg->peer_count; i++) {
		struct config_peer *p = &cfg->peers[i];

		free(p->own_name);
		free(p->own_dns);
	}
	while ((l = cfg->proposal_lists)) {
		cfg->proposal_lists = l->next;
		free(l);
	}
	free(cfg->peers);
	free(cfg->by_name);
	free(cfg->own_ts);
	config_free_pools(cfg);
	free(cfg->wans);
	conf_free(cfg->conf);
	free(cfg);
}

/* ---- looking in ---- */

static int name_is(const void *name, const void *peer)
{
	return strcmp(name, (*(struct config_peer *const *)peer)->name);
}

const struct config_peer *config_peer_find(const struct config *cfg, const char *name)
{
	struct config_peer **p = cfg->peer_count ? bsearch(name, cfg->by_name, cfg->peer_count,
							   sizeof(*cfg->by_name), name_is)
						 : NULL;

	return p ? *p : NULL;
}

bool config_waits(const struct config *cfg)
{
	for (size_t i = 0; i < cfg->peer_count; i++)
		if (cfg->peers[i].start == CONFIG_START_NO)
			return true;
	return false;
}

/* ---- reload ---- */

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

static bool same_entry(const struct conf_section *a, const struct conf_section *b, const char *key)
{
	const struct conf_entry *x = conf_get(a, key), *y = conf_get(b, key);
	bool same = x->count == y->count;

	for (size_t i = 0; same && i < x->count; i++)
		same = same_text(x->values[i].text, y->values[i].text);
	return same;
}

bool config_reloadable(const struct config *old, struct config *cfg)
{
	static const char *const fixed[] = {
		"tun",	     "port",	"port-500",	 "workers",
		"io",	     "crypto",	"run-dir", "state-dir",	 "user",
		"keys-user", "metrics", "resolver-user", "admin-group", "outer-netns", "tun-netns", "name-users"
	};
	const struct conf_section *was, *is;
	bool ok = true;

	if (!conf_ok(old->conf) || !conf_ok(cfg->conf))
		return false;
	was = conf_find(old->conf, "posternd", "");
	is = conf_find(cfg->conf, "posternd", "");
	if (!config_ports_equal(&old->udp_ports, &cfg->udp_ports) ||
	    !config_ports_equal(&old->tcp_ports, &cfg->tcp_ports)) {
		conf_error(cfg->conf, is->line,
			   "udp-ports or tcp-ports have changed, which a reload cannot do; restart "
			   "posternd");
		ok = false;
	}
	for (size_t i = 0; i < CONF_COUNT(fixed); i++) {
		if (same_entry(was, is, fixed[i]))
			continue;
		conf_error(cfg->conf, conf_line(is, fixed[i]),
			   "%s = %s: was %s, which a reload cannot change; restart posternd",
			   fixed[i],
			   conf_text(is, fixed[i]) ? conf_text(is, fixed[i]) : "(not set)",
			   conf_text(was, fixed[i]) ? conf_text(was, fixed[i]) : "(not set)");
		ok = false;
	}
	if (ok && old->port != cfg->port) {
		/* No `port` in either, but now somebody calls us, or nobody does any more. */
		conf_error(
		    cfg->conf, is->line,
		    "the first peer that calls us, or the last one gone, changes the local port "
		    "from %u to %u, which a reload cannot; restart posternd",
		    old->port, cfg->port);
		ok = false;
	}
	return ok;
}

/* Children of the same name keep their number, new ones get one that no child of @was had. */
static void adopt_children(struct config_peer *p, const struct config_peer *was)
{
	uint32_t next = 1;

	for (size_t k = 0; k < was->child_count; k++)
		next = was->child[k].id >= next ? was->child[k].id + 1 : next;
	for (size_t i = 0; i < p->child_count; i++) {
		p->child[i].id = 0;
		for (size_t k = 0; k < was->child_count && !p->child[i].id; k++)
			if (!strcmp(p->child[i].name, was->child[k].name))
				p->child[i].id = was->child[k].id;
		if (!p->child[i].id)
			p->child[i].id = next++;
	}
}

int config_adopt_ids(struct config *cfg, const struct config *old)
{
	uint32_t next = 1, top = 0;
	bool *taken;

	for (size_t i = 0; i < old->peer_count; i++)
		top = old->peers[i].id > top ? old->peers[i].id : top;
	/* Each new one needs one more at most. */
	taken = calloc(top + cfg->peer_count + 2, sizeof(*taken));
	if (!taken)
		return -ENOMEM;
	/* Not one that @old had: what is on its way for that peer must not meet another one. */
	for (size_t i = 0; i < old->peer_count; i++)
		taken[old->peers[i].id] = true;
	for (size_t i = 0; i < cfg->peer_count; i++) {
		struct config_peer *p = &cfg->peers[i];
		const struct config_peer *was = config_peer_find(old, p->name);

		p->id = was ? was->id : 0;
		if (was)
			adopt_children(p, was);
	}
	for (size_t i = 0; i < cfg->peer_count; i++) {
		if (cfg->peers[i].id)
			continue;
		while (taken[next])
			next++;
		cfg->peers[i].id = next++;
	}
	free(taken);
	return 0;
}

static bool same_id(const struct config_id *a, const struct config_id *b)
{
	return same_text(a->text, b->text);
}

static bool same_array(const void *a, size_t na, const void *b, size_t nb, size_t size)
{
	return na == nb && (!na || !memcmp(a, b, na * size));
}

static bool same_prefixes(const struct prefix *a, size_t na, const struct prefix *b, size_t nb)
{
	bool same = na == nb;

	for (size_t i = 0; same && i < na; i++)
		same = a[i].len == b[i].len && addr_eq(&a[i].addr, &b[i].addr);
	return same;
}

static bool same_ts(const struct config_ts *a, size_t na, const struct config_ts *b, size_t nb)
{
	bool same = na == nb;

	for (size_t i = 0; same && i < na; i++)
		same = a[i].assigned == b[i].assigned &&
		       same_prefixes(&a[i].prefix, 1, &b[i].prefix, 1) &&
		       a[i].proto == b[i].proto && a[i].port_lo == b[i].port_lo &&
		       a[i].port_hi == b[i].port_hi;
	return same;
}

static bool same_children(const struct config_peer *a, const struct config_peer *b)
{
	bool same = a->child_count == b->child_count;

	for (size_t i = 0; same && i < a->child_count; i++) {
		const struct config_child *x = &a->child[i], *y = &b->child[i];

		same = !strcmp(x->name, y->name) && x->lifetime_s == y->lifetime_s &&
		       x->lifetime_bytes == y->lifetime_bytes &&
		       x->lifetime_pkts == y->lifetime_pkts &&
		       proposals_equal(x->esp_proposals, y->esp_proposals) &&
		       same_ts(x->local_ts, x->local_ts_count, y->local_ts, y->local_ts_count) &&
		       same_ts(x->remote_ts, x->remote_ts_count, y->remote_ts, y->remote_ts_count);
	}
	return same;
}

unsigned config_peer_diff(const struct config_peer *a, const struct config_peer *b)
{
	unsigned diff = 0;
	bool keys = a->public_key_count == b->public_key_count, call;

	for (size_t i = 0; keys && i < a->public_key_count; i++)
		keys = same_text(a->public_key[i], b->public_key[i]);
	if (!keys || !same_id(&a->local_id, &b->local_id) ||
	    !same_id(&a->remote_id, &b->remote_id) || a->auth != b->auth ||
	    a->local_auth != b->local_auth || !same_text(a->psk, b->psk) ||
	    !same_text(a->private_key, b->private_key) ||
	    !same_text(a->certificate, b->certificate) || !same_text(a->ca, b->ca) ||
	    a->request_address != b->request_address || a->childless != b->childless ||
	    a->redirect_follow != b->redirect_follow ||
	    !same_text(a->redirect_to.name, b->redirect_to.name) ||
	    a->ike_lifetime_s != b->ike_lifetime_s ||
	    !proposals_equal(a->ike_proposals, b->ike_proposals) ||
	    !proposals_equal(a->esp_proposals, b->esp_proposals) ||
	    !same_prefixes(a->from, a->from_count, b->from, b->from_count) || !same_children(a, b))
		diff |= CONFIG_DIFF_POLICY;
	if (!same_array(a->dns, a->dns_count, b->dns, b->dns_count, sizeof(*a->dns)))
		diff |= CONFIG_DIFF_POLICY;
	if (!same_text(a->pool ? a->pool->name : NULL, b->pool ? b->pool->name : NULL) ||
	    !same_prefixes(a->networks, a->network_count, b->networks, b->network_count) ||
	    !same_array(a->assign, a->assign_count, b->assign, b->assign_count, sizeof(*a->assign)))
		diff |= CONFIG_DIFF_ROUTES | CONFIG_DIFF_POLICY;
	call = a->address_count == b->address_count && a->port == b->port && a->start == b->start &&
	       a->retry_max_ms == b->retry_max_ms && a->keepalive_ms == b->keepalive_ms &&
	       a->inactivity_ms == b->inactivity_ms &&
	       same_text(a->interface, b->interface) && a->mark == b->mark;
	for (size_t i = 0; call && i < a->address_count; i++)
		call = same_text(a->address[i].name, b->address[i].name);
	if (!call || a->tcp != b->tcp || !config_ports_equal(&a->udp_ports, &b->udp_ports) ||
	    !config_ports_equal(&a->tcp_ports, &b->tcp_ports) ||
	    !same_text(a->tls_name, b->tls_name))
		diff |= CONFIG_DIFF_CALL;
	return diff;
}
