/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "opening.h"

#include <string.h>

static void add_port(uint16_t *list, size_t *count, uint16_t port)
{
	for (size_t i = 0; i < *count; i++)
		if (list[i] == port)
			return;
	if (port && *count < NET_OPEN_PORTS_MAX)
		list[(*count)++] = port;
}

static bool own_host(const struct config *cfg, const struct prefix *p)
{
	for (size_t i = 0; i < cfg->tunnel_address_count; i++)
		if (prefix_contains(p, &cfg->tunnel_address[i]) &&
		    p->len == addr_bits(&cfg->tunnel_address[i]))
			return true;
	return false;
}

/* Is there anything behind us that a peer may reach, or that may reach a peer? */
static bool has_network(const struct config *cfg)
{
	for (size_t i = 0; i < cfg->peer_count; i++) {
		const struct config_peer *p = &cfg->peers[i];

		for (size_t k = 0; k < p->child_count; k++) {
			const struct config_child *c = &p->child[k];

			for (size_t t = 0; t < c->local_ts_count; t++)
				if (!c->local_ts[t].assigned &&
				    !own_host(cfg, &c->local_ts[t].prefix))
					return true;
		}
	}
	return false;
}

bool opening_of(const struct config *cfg, const struct outer *outer, struct net_opening *o)
{
	memset(o, 0, sizeof(*o));
	if (!cfg->firewall)
		return false;
	/* Who calls gets answers, which every firewall knows to let in. */
	if (config_waits(cfg)) {
		if (outer->count)
			add_port(o->udp, &o->udp_count, outer->group[0].port);
		if (outer->port500.fd >= 0)
			add_port(o->udp, &o->udp_count, outer->port500.port);
	}
	for (size_t i = 0; i < outer->port_count; i++)
		add_port(o->udp, &o->udp_count, outer->port[i].port);
	for (size_t i = 0; i < outer->tcp_count; i++)
		add_port(o->tcp, &o->tcp_count, outer->tcp[i].port);
	for (size_t i = 0; i < cfg->tunnel_port_count; i++)
		add_port(o->tunnel_tcp, &o->tunnel_tcp_count, cfg->tunnel_ports[i]);
	o->forward = has_network(cfg);
	return true;
}
