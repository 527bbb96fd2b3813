/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DAEMON_NET_NET_INT_H
#define DAEMON_NET_NET_INT_H

/* Inside daemon/net only. */

#include "hash.h"
#include "net.h"
#include "nl.h"

#define NET_TAG_MAX	32 /* comment of our rules in chains of others */
#define NET_ADDRS_MAX	64
#define NET_ROUTES_MAX	65536
#define NET_SUBNETS_MAX 256
#define NET_LINKS_MAX	64

struct wish_route {
	struct hash_node node;
	struct net_route r;
};

/* A route as the kernel has it, or shall have it. */
struct kernel_route {
	struct prefix dst;
	uint32_t table, metric, oif; /* oif 0: unreachable, throw */
	uint8_t type;		     /* RTN_UNICAST, RTN_UNREACHABLE, RTN_THROW */
	struct addr src;
	bool seen;
};

/* A device by which packets could leave: up, with carrier. */
struct net_link {
	uint32_t ifindex;
	char name[IFNAMSIZ];
};

struct net {
	struct loop *loop;
	struct net_params p;
	struct nl rt, nf;
	struct nl outer; /* .s NULL: the TUN's namespace is that of the outer packets too */
	struct mnl_socket *ev_rt, *ev_nf, *ev_outer;
	struct loop_fd lf_rt, lf_nf, lf_outer;
	struct timer settle;
	bool lost; /* the TUN was removed under us */
	bool redo, nft_dirty, nft_failed, path_changed;
	bool v6_missing;  /* said once */
	bool started;	  /* wishes are carried out at once */
	uint32_t ifindex; /* of the TUN, 0: absent */
	uint32_t mtu, gso_max_size, gso_max_segs;
	struct addr addrs[NET_ADDRS_MAX];
	size_t addr_count;
	struct hash_table routes;
	struct prefix subnets[NET_SUBNETS_MAX]; /* of other interfaces */
	size_t subnet_count;
	/* What may leave by the TUN alone: leak.c. */
	struct prefix *leak;
	size_t leak_count;
	struct prefix leak_lan[NET_SUBNETS_MAX];
	size_t leak_lan_count;
	char outside[NET_OUTSIDE_MAX][IFNAMSIZ];
	size_t outside_count;
	bool leak_dirty, leak_failed;
	uint32_t marks[NET_MARKS_MAX]; /* of peers */
	size_t mark_count;
	/* Rules in the chains of the machine's own firewall: firewall.c. */
	struct net_opening opening;
	struct timer fw;
	struct timer look; /* who else manages the TUN: managed.c */
	bool managed_told;
	unsigned fw_writes; /* since it was last quiet */
	uint64_t fw_last_ms;
	bool open, fw_dirty, fw_told, fw_legacy_told;
	struct net_link links[NET_LINKS_MAX];
	size_t link_count;
	bool links_known; /* since the last event */
	void (*change)(void *arg);
	void *change_arg;
};

/* net.c */
/** net_outside() - To ask about what outer packets do. */
struct nl *net_outside(struct net *n);
void net_lose_tun(struct net *n); /* it is gone: the owner is told from the loop */
/* link.c */
int net_link_find(struct nl *nl, const char *name, uint32_t *ifindex, bool *is_tun);
/** net_link_mtu() - Of a device; 0: not told. */
uint32_t net_link_mtu(struct net *n, uint32_t ifindex);
int net_link_apply(struct net *n);
int net_link_remove_stale(struct nl *nl, const struct net_params *p, bool all);
/* address.c */
int net_address_change(struct net *n, bool add, const struct addr *a);
int net_address_apply(struct net *n);
int net_subnets_read(struct net *n);
/* route.c */
int net_route_install(struct net *n, const struct net_route *r);
int net_route_remove(struct net *n, const struct prefix *dst);
int net_route_apply(struct net *n);
int net_route_flush(struct nl *nl, const struct net_params *p);
bool net_wants_default(const struct net *n);
/** net_default_changed() - The first 0/0 route came or the last went: other rules, other nft table. */
void net_default_changed(struct net *n);
/** net_route_floor() - The unreachable route of @dst alone. */
int net_route_floor(struct net *n, const struct prefix *dst);
/* way.c */
/** net_links_read() - n->links, unless they are known; 0 or -errno. */
int net_links_read(struct net *n);
/** net_has_way() - Is there a route to @dst through w->path.ifindex? Sets w->metric. */
bool net_has_way(struct net *n, const struct addr *dst, uint32_t mark, struct net_way *w);
/* leak.c */
int net_leak_apply(struct net *n);
/* firewall.c */
int net_firewall_apply(struct net *n);
/** net_firewall_settle() - Somebody changed the rules of nft: look again soon. */
void net_firewall_settle(struct net *n);
int net_firewall_remove(struct nl *nf, const char *tun);
/* managed.c */
void net_managed_look(struct net *n);
/* rule.c */
int net_rule_apply(struct net *n);
int net_rule_flush(struct nl *nl, const struct net_params *p);
/* nft.c */
int net_nft_apply(struct net *n);
/** net_nft_remove() - Take our table of that name away; 0 also when there is none. */
int net_nft_remove(struct nl *nf, const char *table);

/** net_no_family() - Errors that mean "this machine has no such family", told apart once. */
bool net_no_family(int rc);

#endif
