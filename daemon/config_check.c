/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What can only be judged by looking at several keys or peers at once. */
#include "config.h"
#include "config_int.h"

#include <stdlib.h>
#include <string.h>

/* ---- one peer ---- */

/* How it proves itself: one of ca, public-key, psk; a psk beside the others can only be our own proof. */
static void check_remote_auth(struct config *cfg, const struct config_peer *p,
			      const struct conf_section *s)
{
	struct conf *c = cfg->conf;

	if (!p->psk && !p->public_key_count && !p->ca)
		conf_error(
		    c, p->line,
		    "[peer %s] cannot be authenticated; it needs public-key, psk, or ca with "
		    "certificate",
		    p->name);
	else if (p->public_key_count && p->ca)
		conf_error(c, p->line, "[peer %s] has both public-key and ca; allowed: one of them",
			   p->name);
	else if (p->psk && p->auth != CONFIG_AUTH_PSK && p->local_auth != CONFIG_AUTH_PSK)
		conf_error(c, conf_line(s, "psk"),
			   "[peer %s] has more than one of public-key, psk and ca; allowed: one of "
			   "them, or psk beside another with local-auth = psk",
			   p->name);
}

/* How we prove ourselves to it. */
static void check_local_auth(struct config *cfg, const struct config_peer *p,
			     const struct conf_section *s)
{
	struct conf *c = cfg->conf;

	if (p->local_auth == CONFIG_AUTH_PSK && !p->psk)
		conf_error(c, conf_line(s, "local-auth"), "local-auth = psk: [peer %s] has no psk",
			   p->name);
	else if (p->local_auth == CONFIG_AUTH_PSK && conf_is_set(s, "private-key"))
		conf_error(
		    c, conf_line(s, "private-key"),
		    "private-key is of no use to [peer %s], to which we prove ourselves by psk; "
		    "remove it, or set local-auth",
		    p->name);
	else if (p->local_auth != CONFIG_AUTH_PSK && !p->private_key)
		conf_error(
		    c, p->line,
		    "[peer %s] needs private-key, here or in [posternd]; make one with postern "
		    "keygen",
		    p->name);
	if (p->local_auth == CONFIG_AUTH_CERT && !p->certificate)
		conf_error(c, conf_line(s, p->ca ? "ca" : "local-auth"),
			   "[peer %s] has %s but no certificate of ours, here or in [posternd]",
			   p->name, p->ca ? "ca" : "local-auth = certificate");
	if (p->certificate && p->local_auth != CONFIG_AUTH_CERT)
		conf_error(c, conf_line(s, "certificate"),
			   "[peer %s] has certificate but neither ca nor local-auth = certificate",
			   p->name);
}

static void check_auth(struct config *cfg, const struct config_peer *p,
		       const struct conf_section *s)
{
	check_remote_auth(cfg, p, s);
	check_local_auth(cfg, p, s);
}

static void check_call(struct config *cfg, const struct config_peer *p,
		       const struct conf_section *s)
{
	struct conf *c = cfg->conf;

	if (p->start != CONFIG_START_NO && !p->address_count)
		conf_error(
		    c, conf_line(s, "start"),
		    "start = %s: [peer %s] has no address to call; add address, or start = no",
		    conf_text(s, "start"), p->name);
	if (p->start != CONFIG_START_NO && p->from_count)
		conf_error(
		    c, conf_line(s, "from"),
		    "from is for peers that call us, and we call [peer %s]; remove from or start",
		    p->name);
	if (p->start != CONFIG_START_NO && p->assign_count)
		conf_error(
		    c, conf_line(s, "assign"),
		    "assign is for peers that call us, and we call [peer %s]; what lies there "
		    "stands in networks",
		    p->name);
	if (p->start != CONFIG_START_NO && p->redirect_to.name)
		conf_error(
		    c, conf_line(s, "redirect-to"),
		    "redirect-to is for peers that call us, and we call [peer %s]; remove redirect-to or "
		    "start",
		    p->name);
	if (p->start == CONFIG_START_ALWAYS && p->inactivity_ms)
		conf_error(c, conf_line(s, "inactivity"),
			   "inactivity: [peer %s] is always up (start = always); remove inactivity, or "
			   "set start = on-demand",
			   p->name);
	if (p->start == CONFIG_START_NO && p->request_address)
		conf_error(c, conf_line(s, "request-address"),
			   "request-address = yes: [peer %s] calls us; only who calls can ask for "
			   "addresses",
			   p->name);
	for (size_t i = 0; i < p->child_count; i++) {
		if (p->ike_lifetime_s > p->child[i].lifetime_s)
			continue;
		conf_error(c, conf_line(s, "ike-lifetime"),
			   "ike-lifetime of [peer %s] must be longer than lifetime", p->name);
		break;
	}
}

static bool any_assigned(const struct config_ts *ts, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (ts[i].assigned)
			return true;
	return false;
}

/* Is there any packet that both sides of it fit? */
static bool carries(const struct config_child *c)
{
	for (size_t i = 0; i < c->local_ts_count; i++)
		for (size_t k = 0; k < c->remote_ts_count; k++) {
			const struct config_ts *a = &c->local_ts[i], *b = &c->remote_ts[k];

			if (a->prefix.addr.family == b->prefix.addr.family &&
			    (!a->proto || !b->proto || a->proto == b->proto))
				return true;
		}
	return false;
}

static void check_child(struct config *cfg, const struct config_peer *p,
			const struct config_child *ch, const char *kind)
{
	struct conf *c = cfg->conf;

	if (ch->local_ts_count > CONFIG_TS_MAX || ch->remote_ts_count > CONFIG_TS_MAX)
		conf_error(
		    c, ch->line,
		    "[%s %s] has %zu selectors on our side and %zu on the other; allowed: up to "
		    "%d on each; put some into another [child]",
		    kind, ch->name, ch->local_ts_count, ch->remote_ts_count, CONFIG_TS_MAX);
	if (any_assigned(ch->local_ts, ch->local_ts_count) && !p->request_address)
		conf_error(
		    c, ch->line,
		    "[%s %s] has the word assigned on our side, but no address is asked for; "
		    "[peer %s] needs request-address = yes",
		    kind, ch->name, p->name);
	if (any_assigned(ch->remote_ts, ch->remote_ts_count) && !p->assign_count && !p->pool)
		conf_error(c, ch->line,
			   "[%s %s] has the word assigned on the peer's side, but it is given no "
			   "address; [peer %s] needs assign or pool",
			   kind, ch->name, p->name);
	if (ch->local_ts_count && ch->remote_ts_count && !carries(ch))
		conf_error(c, ch->line,
			   "[%s %s] can carry nothing: no selector of local-ts has family and "
			   "protocol of one of remote-ts",
			   kind, ch->name);
}

static void check_selectors(struct config *cfg, const struct config_peer *p)
{
	struct conf *c = cfg->conf;
	bool section = p->child->line != p->line;
	const char *kind = section ? "child" : "peer";

	if (p->child_count > CONFIG_CHILDREN_MAX)
		conf_error(c, p->child[CONFIG_CHILDREN_MAX].line,
			   "%zu [child] sections for [peer %s]; allowed: up to %d", p->child_count,
			   p->name, CONFIG_CHILDREN_MAX);
	for (size_t i = 0; i < p->child_count; i++) {
		const struct config_child *ch = &p->child[i];

		if (!ch->remote_ts_count)
			conf_error(c, ch->line,
				   "[%s %s] has nothing to send to; it needs networks, assign, "
				   "pool or remote-ts",
				   kind, ch->name);
		if (!ch->local_ts_count)
			conf_error(
			    c, ch->line,
			    "[%s %s] meets no address of ours; [posternd] needs tunnel-address, or "
			    "this section local-ts or request-address = yes",
			    kind, ch->name);
		check_child(cfg, p, ch, kind);
	}
}

static void check_owners(struct config *cfg)
{
	const struct conf_section *s = NULL;
	size_t owned = 0, all = 0;

	for (size_t i = 0; i < cfg->peer_count; i++)
		if (!cfg->peers[i].of && cfg->peers[i].child->line != cfg->peers[i].line)
			owned += cfg->peers[i].child_count;
	while ((s = conf_next(cfg->conf, "child", s)))
		all++;
	/* Looked up one by one only where it has to be told: there may be tens of thousands. */
	while (all > owned && (s = conf_next(cfg->conf, "child", s)))
		if (!conf_find(cfg->conf, "peer", conf_text(s, "peer")))
			conf_error(cfg->conf, conf_line(s, "peer"),
				   "peer = %s: there is no section [peer %s]", conf_text(s, "peer"),
				   conf_text(s, "peer"));
}

/* ---- addresses ---- */

/* One prefix that somebody claims, and where. */
struct claim {
	const struct config_peer *peer; /* NULL: our own, or a pool's */
	bool pool;
	const char *key;
	unsigned line;
	const char *text; /* as written */
	struct prefix prefix;
};

/* Shorter prefixes first among equal addresses: what covers stands before what it covers. */
static int by_prefix(const void *x, const void *y)
{
	const struct prefix *a = &((const struct claim *)x)->prefix;
	const struct prefix *b = &((const struct claim *)y)->prefix;
	int d;

	if (a->addr.family != b->addr.family)
		return a->addr.family < b->addr.family ? -1 : 1;
	d = memcmp(a->addr.b, b->addr.b, sizeof(a->addr.b));
	if (!d)
		d = (int)a->len - (int)b->len;
	/* A pool behind what it must not give out: of equal ones only the first is looked at. */
	return d ? d : ((const struct claim *)x)->pool - ((const struct claim *)y)->pool;
}

/* May @outer, which covers @inner, not stand beside it? */
static bool clash(const struct claim *outer, const struct claim *inner)
{
	bool networks = !strcmp(outer->key, "networks");

	/* A pool gives nobody what is somebody's; but it must have something left. */
	if (outer->pool || inner->pool)
		return inner->pool && (outer->pool || (networks && outer->prefix.len));
	if (outer->peer == inner->peer)
		return false;
	/* A default route holds all others, on purpose; and our own address may lie in their network. */
	if (networks && outer->prefix.len < inner->prefix.len &&
	    (!outer->prefix.len || !inner->peer))
		return false;
	return true;
}

static void overlap(struct config *cfg, const struct claim *a, const struct claim *b)
{
	/* Blame the later line. */
	if (a->line > b->line) {
		const struct claim *t = a;

		a = b;
		b = t;
	}
	conf_error(cfg->conf, b->line, "%s = %s overlaps with %s = %s%s%s in line %u", b->key,
		   b->text, a->key, a->text, a->peer ? " of peer " : "",
		   a->peer ? a->peer->name : "", a->line);
}

static size_t add_claims(struct claim *to, const struct conf_section *s, const char *key,
			 const struct config_peer *p)
{
	const struct conf_entry *e = conf_get(s, key);

	for (size_t i = 0; i < e->count; i++) {
		const struct conf_value *v = &e->values[i];

		to[i] = (struct claim){ .peer = p,
					.pool = !strcmp(key, "addresses"),
					.key = key,
					.line = v->line,
					.text = v->text,
					.prefix = v->prefix };
		if (v->addr.family)
			to[i].prefix = prefix_host(&v->addr);
	}
	return e->count;
}

static void check_addresses(struct config *cfg)
{
	const struct conf_section *s = conf_find(cfg->conf, "posternd", "");
	/* What covers the claim that is looked at, outermost first; nesting is at most 129 deep. */
	const struct claim *stack[130];
	size_t n = conf_get(s, "tunnel-address")->count, depth = 0;
	struct claim *list;

	for (size_t i = 0; i < cfg->peer_count; i++)
		n += cfg->peers[i].network_count + cfg->peers[i].assign_count;
	for (size_t i = 0; i < cfg->pool_count; i++)
		n += cfg->pools[i].prefix_count;
	list = calloc(n + 1, sizeof(*list));
	if (!list) {
		conf_error(cfg->conf, 0, "out of memory");
		return;
	}
	n = add_claims(list, s, "tunnel-address", NULL);
	for (s = NULL; (s = conf_next(cfg->conf, "pool", s));)
		n += add_claims(list + n, s, "addresses", NULL);
	s = NULL;
	for (size_t i = 0; i < cfg->peer_count && !cfg->peers[i].of; i++) {
		s = conf_next(cfg->conf, "peer", s);
		n += add_claims(list + n, s, "networks", &cfg->peers[i]);
		n += add_claims(list + n, s, "assign", &cfg->peers[i]);
	}
	qsort(list, n, sizeof(*list), by_prefix);
	for (size_t i = 0; i < n; i++) {
		while (depth && !prefix_covers(&stack[depth - 1]->prefix, &list[i].prefix))
			depth--;
		for (size_t d = depth; d > 0; d--) {
			if (!clash(stack[d - 1], &list[i]))
				continue;
			overlap(cfg, stack[d - 1], &list[i]);
			break; /* one word about each is enough */
		}
		/* Equal prefixes of one owner do not grow the stack. */
		if (!depth || stack[depth - 1]->prefix.len != list[i].prefix.len)
			stack[depth++] = &list[i];
	}
	free(list);
}

static void check_leak(struct config *cfg)
{
	const struct conf_section *s = NULL;
	size_t n = 0;

	for (size_t i = 0; i < cfg->peer_count; i++) {
		const struct config_peer *p = &cfg->peers[i];
		size_t own = p->network_count + p->assign_count;

		s = conf_next(cfg->conf, "peer", s);
		if (!p->leak_never)
			continue;
		if (!own && !p->pool)
			conf_error(cfg->conf, conf_line(s, "leak"),
				   "leak = never: [peer %s] has nothing to guard; it needs networks, assign "
				   "or pool",
				   p->name);
		n += own + (p->pool ? p->pool->prefix_count : 0);
		if (n <= CONFIG_LEAK_MAX)
			continue;
		conf_error(cfg->conf, conf_line(s, "leak"),
			   "leak = never: more than %d networks up to [peer %s]; name wider ones",
			   CONFIG_LEAK_MAX, p->name);
		break;
	}
}

static int by_identity(const void *x, const void *y)
{
	const struct config_peer *a = *(const struct config_peer *const *)x;
	const struct config_peer *b = *(const struct config_peer *const *)y;
	int d = strcmp(a->remote_id.text, b->remote_id.text);

	if (!d)
		d = strcmp(a->local_id.text, b->local_id.text);
	return d ? d : (a->line > b->line) - (a->line < b->line);
}

static void check_identities(struct config *cfg)
{
	const struct config_peer **list = calloc(cfg->peer_count + 1, sizeof(*list));

	if (!list) {
		conf_error(cfg->conf, 0, "out of memory");
		return;
	}
	for (size_t i = 0; i < cfg->peer_count; i++)
		list[i] = &cfg->peers[i];
	qsort(list, cfg->peer_count, sizeof(*list), by_identity);
	for (size_t i = 1; i < cfg->peer_count; i++) {
		const struct config_peer *p = list[i - 1], *q = list[i];

		if (strcmp(p->remote_id.text, q->remote_id.text) ||
		    strcmp(p->local_id.text, q->local_id.text))
			continue;
		conf_error(cfg->conf,
			   q->of ? q->line
				 : conf_line(conf_find(cfg->conf, "peer", q->name), "identity"),
			   "identity = %s is that of peer %s too (line %u); each peer has its own",
			   q->remote_id.text, p->name, p->line);
	}
	free(list);
}

static void check_daemon(struct config *cfg)
{
	const struct conf_section *s = conf_find(cfg->conf, "posternd", "");
	static const char *const users[] = { "user", "keys-user", "resolver-user" };

	if (conf_get(s, "tunnel-address")->count > CONFIG_ADDRS_MAX)
		conf_error(cfg->conf, conf_line(s, "tunnel-address"),
			   "%zu tunnel-addresses; allowed: up to %d",
			   conf_get(s, "tunnel-address")->count, CONFIG_ADDRS_MAX);
	for (size_t i = 0; i < cfg->tunnel_address_count; i++) {
		const struct addr *a = &cfg->tunnel_address[i];
		char text[ADDR_STR_MAX];

		if (addr_is_loopback(a) || addr_is_unspecified(a))
			conf_error(
			    cfg->conf, conf_line(s, "tunnel-address"),
			    "tunnel-address = %s: no address for a tunnel; allowed: a private one, "
			    "such as 10.99.0.1 or fd99::1",
			    addr_str(a, text));
		if (a->family == AF_INET6 && cfg->mtu && cfg->mtu < 1280)
			conf_error(cfg->conf, conf_line(s, "mtu"),
				   "mtu = %u: IPv6 in the tunnel (%s) needs 1280 or more", cfg->mtu,
				   addr_str(a, text));
	}
	if (conf_get(s, "name-users")->count > CONFIG_NAME_USERS_MAX)
		conf_error(cfg->conf, conf_line(s, "name-users"),
			   "%zu name-users; allowed: up to %d", conf_get(s, "name-users")->count,
			   CONFIG_NAME_USERS_MAX);
	if (conf_get(s, "tunnel-ports")->count > CONFIG_PORTS_MAX)
		conf_error(cfg->conf, conf_line(s, "tunnel-ports"),
			   "%zu tunnel-ports; allowed: up to %d",
			   conf_get(s, "tunnel-ports")->count, CONFIG_PORTS_MAX);
	for (size_t i = 0; i < CONF_COUNT(users); i++)
		for (size_t j = i + 1; j < CONF_COUNT(users); j++)
			if (!strcmp(conf_text(s, users[i]), conf_text(s, users[j])))
				conf_error(
				    cfg->conf, conf_line(s, users[j]),
				    "%s = %s is also %s; each process needs a user of its own",
				    users[j], conf_text(s, users[j]), users[i]);
	if (cfg->peer_count > CONFIG_PEERS_MAX)
		conf_error(cfg->conf, 0, "%zu peers; allowed: up to %d", cfg->peer_count,
			   CONFIG_PEERS_MAX);
}

void config_check(struct config *cfg)
{
	const struct conf_section *s = NULL;

	check_daemon(cfg);
	for (size_t i = 0; i < cfg->peer_count; i++) {
		const struct config_peer *p = &cfg->peers[i];

		s = p->of ? conf_find(cfg->conf, "peer", p->of->name)
			  : conf_next(cfg->conf, "peer", s);
		check_auth(cfg, p, s);
		check_call(cfg, p, s);
		check_selectors(cfg, p);
		config_check_server(cfg, p);
		config_check_peer_pool(cfg, p, s);
		config_check_peer_ways(cfg, p, s);
		config_check_peer_mark(cfg, p, s);
		if (p->assign_count > CONFIG_ADDRS_MAX)
			conf_error(cfg->conf, conf_line(s, "assign"),
				   "%zu addresses for [peer %s]; allowed: up to %d",
				   p->assign_count, p->name, CONFIG_ADDRS_MAX);
	}
	config_check_pools(cfg);
	config_check_wans(cfg);
	config_check_marks(cfg);
	check_owners(cfg);
	check_addresses(cfg);
	check_leak(cfg);
	check_identities(cfg);
}
