/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "policy.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static bool is_host(const struct prefix *p, const struct addr *a)
{
	return p->len == addr_bits(a) && addr_eq(&p->addr, a);
}

static int refuse(char *why, const char *what, const char *which)
{
	snprintf(why, POLICY_WHY_MAX, "%s%s%s", what, which ? " " : "", which ? which : "");
	return -EPROTO;
}

/* Whose address is it already? NULL: nobody's. */
static const char *taken(const struct config *cfg, const struct addr *a, const char **how)
{
	*how = "is an address of our own pool";
	for (size_t i = 0; i < cfg->pool_count; i++)
		for (size_t k = 0; k < cfg->pools[i].prefix_count; k++)
			if (prefix_contains(&cfg->pools[i].prefixes[k], a))
				return cfg->pools[i].name;
	for (size_t i = 0; i < cfg->peer_count; i++) {
		const struct config_peer *p = &cfg->peers[i];

		*how = "is the outer address of peer";
		for (size_t k = 0; k < p->address_count; k++) {
			if (p->address[k].addr.family && addr_eq(&p->address[k].addr, a))
				return p->name;
		}
		*how = "is in the networks of peer";
		for (size_t k = 0; k < p->network_count; k++) {
			if (is_host(&p->networks[k], a))
				return p->name;
		}
		*how = "is assigned to peer";
		for (size_t k = 0; k < p->assign_count; k++) {
			if (addr_eq(&p->assign[k], a))
				return p->name;
		}
	}
	return NULL;
}

static bool accepted(const struct config_peer *peer, const struct addr *a)
{
	for (size_t i = 0; i < peer->accept_assigned_count; i++) {
		if (prefix_contains(&peer->accept_assigned[i], a))
			return true;
	}
	return false;
}

static int check_assigned(const struct policy *p, const struct config_peer *peer,
			  const struct prefix *addr, char *why)
{
	const struct addr *a = &addr->addr;
	char s[PREFIX_STR_MAX];
	struct prefix which;
	const char *who, *how;

	if (!peer->request_address)
		return refuse(why, "request-address is no for this peer", NULL);
	if (addr->len != addr_bits(a))
		return refuse(why, "only single addresses are taken, not", prefix_str(addr, s));
	/* Whatever accept-assigned says: these are nobody's to give. */
	if (!config_addr_unicast(a))
		return refuse(why, "not a unicast address:", prefix_str(addr, s));
	if (!accepted(peer, a))
		return refuse(why, "not inside accept-assigned", NULL);
	who = taken(p->cfg, a, &how);
	if (who)
		return refuse(why, how, who);
	if (p->local && p->local(addr, &which, p->arg))
		return refuse(why, "inside the local subnet", prefix_str(&which, s));
	return 0;
}

int policy_addr(const struct policy *p, const struct pq_addr *q, char why[static POLICY_WHY_MAX])
{
	const struct config_peer *peer = config_peer_find(p->cfg, q->peer);

	if (!peer)
		return refuse(why, "no such peer in the configuration", NULL);
	return check_assigned(p, peer, &q->addr, why);
}

int policy_route(const struct policy *p, const struct pq_route *q, char why[static POLICY_WHY_MAX])
{
	const struct config_peer *peer = config_peer_find(p->cfg, q->peer);

	if (!peer)
		return refuse(why, "no such peer in the configuration", NULL);
	for (size_t i = 0; i < peer->network_count; i++) {
		if (prefix_covers(&peer->networks[i], &q->dst))
			return 0;
	}
	for (size_t i = 0; i < peer->assign_count; i++) {
		if (is_host(&q->dst, &peer->assign[i]))
			return 0;
	}
	return refuse(why, "not inside the networks of this peer", NULL);
}

int policy_hook(const struct policy *p, const struct pq_hook *q, char why[static POLICY_WHY_MAX])
{
	const struct config_peer *peer = config_peer_find(p->cfg, q->peer);
	char s[ADDR_STR_MAX];

	if (!peer)
		return refuse(why, "no such peer in the configuration", NULL);
	if (!peer->request_address)
		return refuse(why, "request-address is no for this peer", NULL);
	for (size_t i = 0; i < q->dns_count; i++)
		if (!config_addr_unicast(&q->dns[i]))
			return refuse(why, "not a unicast address:", addr_str(&q->dns[i], s));
	return 0;
}

int policy_stream(const struct policy *p, const struct pq_stream *q, char why[static POLICY_WHY_MAX])
{
	const struct config_peer *peer = config_peer_find(p->cfg, q->peer);

	if (!peer)
		return refuse(why, "no such peer", NULL);
	if (peer->start == CONFIG_START_NO || peer->tcp == CONFIG_TCP_NEVER)
		return refuse(why, "this peer is not called by TCP", NULL);
	if (!config_ports_have(&peer->tcp_ports, (uint16_t)q->port, q->tls))
		return refuse(why, "none of the peer's tcp-ports", NULL);
	return 0;
}

bool policy_pool(const struct policy *p, const struct prefix *dst)
{
	for (size_t i = 0; i < p->cfg->pool_count; i++) {
		const struct config_pool *pool = &p->cfg->pools[i];

		for (size_t k = 0; k < pool->prefix_count; k++)
			if (pool->prefixes[k].len == dst->len &&
			    addr_eq(&pool->prefixes[k].addr, &dst->addr))
				return true;
	}
	return false;
}

bool policy_adopt(const struct policy *p, const struct addr *a)
{
	struct prefix addr = prefix_host(a);
	char why[POLICY_WHY_MAX];

	for (size_t i = 0; i < p->cfg->peer_count; i++) {
		if (!check_assigned(p, &p->cfg->peers[i], &addr, why))
			return true;
	}
	return false;
}
