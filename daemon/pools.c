/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: addresses that we give to peers from the pools of the configuration. A lease belongs to an
 * identity, for as long as that has a peer section which names the pool: the same address after every
 * reconnect, after a restart (it stands in state-dir) and for a second IKE SA beside the first. So
 * nothing is taken back but from peers that are gone, and a pool that is too small says so.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "child_int.h"
#include "hash.h"
#include "pool.h"

/* ---- the pools of a configuration ---- */

static int exclude_host(struct pool *p, const struct addr *a)
{
	struct prefix host = prefix_host(a);

	return pool_exclude(p, &host);
}

/* Ours, anybody's by `assign`, and what lies behind a peer; a default route means nobody. */
static int exclude_all(struct pool *p, const struct config *cfg)
{
	int rc = 0;

	for (size_t i = 0; i < cfg->tunnel_address_count && !rc; i++)
		rc = exclude_host(p, &cfg->tunnel_address[i]);
	for (size_t i = 0; i < cfg->peer_count; i++) {
		const struct config_peer *peer = &cfg->peers[i];

		for (size_t k = 0; k < peer->assign_count && !rc; k++)
			rc = exclude_host(p, &peer->assign[k]);
		for (size_t k = 0; k < peer->network_count && !rc; k++)
			if (peer->networks[k].len)
				rc = pool_exclude(p, &peer->networks[k]);
	}
	return rc;
}

static struct pool *pool_make(const struct config *cfg, const struct config_pool *from)
{
	struct pool *p = pool_new();
	struct pool_counts n[2];
	int rc = p ? 0 : -ENOMEM;

	for (size_t i = 0; i < from->prefix_count && !rc; i++)
		rc = pool_add(p, &from->prefixes[i]);
	if (!rc)
		rc = exclude_all(p, cfg);
	if (rc) {
		log_err(NULL, "pool %s cannot be used: %s", from->name, strerror(-rc));
		pool_free(p);
		return NULL;
	}
	pool_count(p, AF_INET, &n[0]);
	pool_count(p, AF_INET6, &n[1]);
	if (!n[0].size && !n[1].size)
		log_warn(
		    NULL,
		    "pool %s has no address to give: all of them are ours, assigned to a peer or "
		    "in its networks",
		    from->name);
	return p;
}

/* By name: a reload is under way when the peer's configuration is the old one still. */
static struct pool *pool_of(const struct child *c, const struct config *cfg,
			    const struct config_peer *p)
{
	for (size_t i = 0; p->pool && i < cfg->pool_count && i < c->pool_count; i++)
		if (!strcmp(cfg->pools[i].name, p->pool->name))
			return c->pool[i];
	return NULL;
}

void pools_free(struct child *c)
{
	for (size_t i = 0; i < c->pool_count; i++)
		pool_free(c->pool[i]);
	free(c->pool);
	c->pool = NULL;
	c->pool_count = 0;
}

/* What the peer has is still its own, if the pool that it names now has it. */
static void keep(struct peer *p, struct pool *pool)
{
	char text[ADDR_STR_MAX];

	for (int s = 0; s < 2; s++) {
		struct addr *a = &p->leased[s];

		if (!a->family || (pool && !pool_claim(pool, a)))
			continue;
		log_info(&p->log, "its address %s is no longer in its pool", addr_str(a, text));
		memset(a, 0, sizeof(*a));
		peer_networks(p);
	}
}

int pools_make(struct child *c, const struct config *cfg)
{
	pools_free(c);
	c->pool = calloc(cfg->pool_count + 1, sizeof(*c->pool));
	if (!c->pool)
		return -ENOMEM;
	for (; c->pool_count < cfg->pool_count; c->pool_count++)
		c->pool[c->pool_count] = pool_make(cfg, &cfg->pools[c->pool_count]);
	for (size_t i = 0; i < cfg->peer_count; i++) {
		struct peer *p = child_peer(c, cfg->peers[i].id);

		if (p && strcmp(p->cfg->remote_id.text, cfg->peers[i].remote_id.text) != 0) {
			memset(p->leased, 0, sizeof(p->leased)); /* it is someone else now */
			peer_networks(p);
		}
		if (p)
			keep(p, pool_of(c, cfg, &cfg->peers[i]));
	}
	return 0;
}

/* ---- what was leased before a restart ---- */

struct known {
	struct hash_node node;
	const struct memory_entry *e;
};

static uint64_t name_hash(const char *identity)
{
	return hash_bytes(identity, strlen(identity));
}

static const struct memory_entry *find(const struct hash_table *t, const char *identity)
{
	for (struct hash_node *n = hash_first(t, name_hash(identity)); n; n = hash_next(n)) {
		struct known *k = (struct known *)((char *)n - offsetof(struct known, node));

		if (!strcmp(k->e->identity, identity))
			return k->e;
	}
	return NULL;
}

void pools_recall(struct child *c)
{
	struct known *known = calloc(c->memory.count + 1, sizeof(*known));
	struct hash_table t = { 0 };

	if (!known)
		return;
	for (size_t i = 0; i < c->memory.count; i++) {
		known[i].e = &c->memory.entries[i];
		if (known[i].e->identity && *known[i].e->identity && !find(&t, known[i].e->identity) &&
		    hash_insert(&t, &known[i].node, name_hash(known[i].e->identity)))
			break;
	}
	for (struct peer *p = NULL; (p = child_peer_next(c, p));) {
		const struct memory_entry *e =
		    p->cfg->pool ? find(&t, p->cfg->remote_id.text) : NULL;

		if (!e)
			continue;
		memcpy(p->leased, e->lease, sizeof(p->leased));
		keep(p, pool_of(c, c->cfg, p->cfg));
		peer_networks(p);
	}
	hash_free(&t);
	free(known);
}

/* ---- asked by the engine ---- */

static void explain(const struct peer *p, struct pool *pool, bool v4, bool v6, char *why,
		    size_t cap)
{
	struct pool_counts n[2];
	bool empty;

	pool_count(pool, AF_INET, &n[0]);
	pool_count(pool, AF_INET6, &n[1]);
	empty = (!v4 || !n[0].size) && (!v6 || !n[1].size);
	if (empty)
		snprintf(why, cap, "pool %s has no %s addresses", p->cfg->pool->name,
			 v4 && v6 ? "free"
			 : v4	  ? "IPv4"
				  : "IPv6");
	else
		snprintf(why, cap, "all %llu addresses of pool %s are taken; key `addresses`",
			 (unsigned long long)(v4 && n[0].size ? n[0].taken : n[1].taken),
			 p->cfg->pool->name);
}

int op_address_lease(void *arg, uint32_t peer, bool v4, bool v6, struct addr out[static 2],
		     char *why, size_t cap)
{
	struct child *c = arg;
	struct peer *p = child_peer(c, peer);
	struct pool *pool = p ? pool_of(c, c->cfg, p->cfg) : NULL;
	const bool want[2] = { v4, v6 };
	char text[ADDR_STR_MAX];
	bool changed = false;
	int rc = -ENOENT;

	snprintf(why, cap, "its pool cannot be used");
	if (!pool)
		return rc;
	for (int s = 0; s < 2; s++) {
		struct addr *a = &p->leased[s];
		int one = 0;

		if (!want[s])
			continue;
		if (!a->family) {
			one = pool_take(pool, s ? AF_INET6 : AF_INET, a);
			changed |= !one;
			if (one)
				memset(a, 0, sizeof(*a));
			else
				log_info(&p->log, "address %s from pool %s", addr_str(a, text),
					 p->cfg->pool->name);
		}
		out[s] = *a;
		rc = one ? rc : 0;
	}
	if (rc)
		explain(p, pool, v4, v6, why, cap);
	if (changed) {
		peer_networks(p);
		peers_save_soon(c);
	}
	return rc;
}
