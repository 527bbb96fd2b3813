/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DAEMON_NET_NET_H
#define DAEMON_NET_NET_H

/*
 * Theory: the kernel's side of the tunnel, through libmnl, in the root parent only. struct net holds
 * what shall stand (the wish); every call records the wish and carries it out, and net_reconcile()
 * makes the kernel equal to it: what bears our mark of ownership and is not wished for goes, what
 * is wished for and missing comes. It runs at start, and again (debounced) when anyone else
 * touches links, addresses, routes, rules or our nft table.
 *
 * What bears our mark of ownership:
 *	link	the TUN of our name; other TUNs whose alias is ours (renamed in the configuration)
 *	address	all on the TUN but link-local ones
 *	route	protocol NET_PROTO in our two tables
 *	rule	protocol NET_PROTO that names our tables, our mark, or our place in the order
 *	nft	tables `inet postern` and `inet postern_leak`, rules with our comment in chains of others
 *
 * Routes live in tables of their own, looked up before main, and past which the marked outer sockets
 * and the daemon's own users are sent, so that no tunnel route ever captures the way to the peer:
 *
 *	15700	fwmark MARK		goto 15705	and one per mark of a peer
 *	15701	uidrange U-U		goto 15705	one per user of the daemon
 *	15702	from all		lookup TABLE	all routes but 0/0
 *	15703	from all		lookup main suppress_prefixlength 0	} only with a
 *	15704	from all		lookup TABLE+1				} default route
 *	15705	from all		nop
 *
 * A local subnet that lies inside a tunnel route gets a `throw` route in TABLE: the LAN stays
 * reachable when 10/8 is tunnelled. Beneath each tunnel route lies an unreachable one with a worse
 * metric, so nothing leaks when the TUN's carrier drops and such routes are skipped.
 */

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "addr.h"
#include "loop.h"

#define NET_PROTO	   157 /* rtm_protocol, fra_protocol: "postern" in /etc/iproute2/rt_protos */
#define NET_TABLE	   15700  /* routing table; TABLE + 1 has 0/0 */
#define NET_MARK	   0x3d54 /* fwmark of all outer sockets */
#define NET_RULE_FIRST	   15700
#define NET_RULE_LAST	   15705
#define NET_METRIC	   157
#define NET_METRIC_UNREACH 1570000
#define NET_BYPASS_MAX	   4
#define NET_MARKS_MAX	   4
#define NET_OUTER_MAX	   32
#define NET_OUTSIDE_MAX	   32
#define NET_NFT_TABLE	   "postern"
#define NET_LEAK_TABLE	   "postern_leak"

struct net_params {
	char tun[IFNAMSIZ];
	char alias[64]; /* "postern RUN-DIR": tells our TUNs from those of another instance */
	uint32_t table; /* NET_TABLE */
	uint32_t mark;	/* NET_MARK */
	uid_t bypass_uid[NET_BYPASS_MAX]; /* whose traffic never enters the tunnel tables */
	size_t bypass_count;
};

/* A route through the TUN. */
struct net_route {
	struct prefix dst;
	struct addr src; /* preferred source, one of our tunnel addresses; family 0: none */
};

/* What the kernel would do with a packet of a marked socket. */
struct net_path {
	uint32_t ifindex;
	struct addr src;
	struct addr gateway; /* family 0: on link */
	uint32_t mtu;	     /* of the route or the link; 0: not told */
};

#define NET_OPEN_PORTS_MAX 16

/* What a firewall of this machine, where there is one, shall let in. */
struct net_opening {
	uint16_t udp[NET_OPEN_PORTS_MAX], tcp[NET_OPEN_PORTS_MAX]; /* outer ports */
	size_t udp_count, tcp_count;
	uint16_t tunnel_tcp[NET_OPEN_PORTS_MAX]; /* of this machine, from the tunnel */
	size_t tunnel_tcp_count;
	bool forward; /* between the tunnel and networks behind us */
};

struct net_wan {
	char ifname[IFNAMSIZ];
	struct prefix prefix; /* of our address there; family 0: none */
	uint8_t mac[6];	      /* of the gateway; zeros: none, or not known yet */
};

/* One of several ways to an address. */
struct net_way {
	struct net_path path;
	uint32_t metric; /* of the route */
	bool chosen;	 /* without a wish the kernel takes this one */
	char name[IFNAMSIZ];
};

struct net;

/**
 * net_tun_open() - Create or attach to the persistent multi-queue TUN (IFF_TUN | IFF_NO_PI | IFF_VNET_HDR).
 * @fds: gets @queues descriptors, close-on-exec, non-blocking; all or none.
 * -EBUSY for a second when a killed predecessor still holds it: tried again inside.
 */
int net_tun_open(const char *name, unsigned queues, int *fds);
/** net_tun_remove() - Take the persistent device away; 0 also when there is none. */
int net_tun_remove(const char *name);

/** net_new() - Opens netlink; changes nothing. NULL and errno. */
struct net *net_new(struct loop *l, const struct net_params *p);
void net_free(struct net *n);
/** net_start() - Take link, addresses, routes, rules and nft table to the wish; then watch. 0, -errno. */
int net_start(struct net *n);
/**
 * net_watch_outer() - The outer sockets are in the present namespace, not in that of net_new(): paths and
 * ways are looked up here from now on, and its changes are told by net_on_change(). 0 or -errno.
 */
int net_watch_outer(struct net *n);
/** net_reconcile() - One pass; 0 or the first error. */
int net_reconcile(struct net *n);

/* Wishes. An error means: not done now; the wish stays and the next reconcile tries again, but
 * for -EINVAL (nonsense) and -ENOSPC (too many), which record nothing. */
int net_link_set(struct net *n, uint32_t mtu, uint32_t gso_max_size,
		 uint32_t gso_max_segs); /* 0: leave */
int net_addr_add(struct net *n, const struct addr *a);
int net_addr_del(struct net *n, const struct addr *a);
int net_route_add(struct net *n, const struct net_route *r);
int net_route_del(struct net *n, const struct prefix *dst);
bool net_has_addr(const struct net *n, const struct addr *a);
bool net_has_route(const struct net *n, const struct prefix *dst);
/**
 * net_adopt() - Addresses that stand on the TUN already (from a parent before us) and that @yes takes
 * become wishes; before net_start(). So inner connections live through a restart of the parent.
 */
int net_adopt(struct net *n, bool (*yes)(const struct addr *a, void *arg), void *arg);
/** net_keep_only() - Drop the wishes for which a function says no (NULL keeps); net_reconcile() follows. */
void net_keep_only(struct net *n, bool (*addr)(const struct addr *a, void *arg),
		   bool (*route)(const struct net_route *r, void *arg), void *arg);

/**
 * net_leak_set() - What may leave this machine by the TUN and in our own outer packets alone; the whole list.
 * Carried out by net_start(), net_reconcile() or net_leak_early(). 0 or -ENOMEM.
 */
int net_leak_set(struct net *n, const struct prefix *p, size_t count);
/** net_leak_early() - Put the guard up without a TUN: after net_new(), all wishes and net_leak_set(). */
int net_leak_early(struct net *n);
/** net_leak_remove() - The guard away; where no TUN stands its routes and rules too. */
int net_leak_remove(struct net *n);

/**
 * net_marks_set() - Marks of peers' outer sockets, other than ours: the whole list, at most NET_MARKS_MAX. Carried
 * out by net_start(), net_reconcile() or net_leak_early().
 */
void net_marks_set(struct net *n, const uint32_t *mark, size_t count);

/**
 * net_outside_set() - Devices that the configuration knows as ways out: no subnet of theirs is a LAN to the guard,
 * whatever routes they have. At most NET_OUTSIDE_MAX, of others nothing is known. As net_marks_set().
 */
void net_outside_set(struct net *n, const char *const *name, size_t count);

/** net_firewall_set() - NULL: nothing is opened. Carried out by net_start() and net_reconcile(). */
void net_firewall_set(struct net *n, const struct net_opening *o);
/** net_close() - At an orderly end: the rules in chains of others go, all else stays. */
void net_close(struct net *n);

/** net_wan_lookup() - How the network is known again by which @path leaves; 0, -ENODEV, -errno. */
int net_wan_lookup(struct net *n, const struct net_path *path, struct net_wan *out);
/**
 * net_path_lookup() - For a packet of a socket with @mark (0: ours) to @dst by device @oif (0: any).
 * 0, -ENETUNREACH, -errno. With @oif an IPv4 answer does not mean that a route leads there: net_ways().
 */
int net_path_lookup(struct net *n, const struct addr *dst, uint32_t mark, uint32_t oif,
		    struct net_path *out);
/**
 * net_ways() - All devices, up and with carrier, by which a route leads to @dst and which have a
 * source address for it; that which the kernel takes first, then by metric.
 */
int net_ways(struct net *n, const struct addr *dst, uint32_t mark, struct net_way *out, size_t cap,
	     size_t *count);
/**
 * net_outer_addresses() - Where a peer could reach us: addresses of devices that are up, but for the TUN, loopback,
 * link-local ones, those that are temporary, deprecated or not yet sure, and private ones of a device that
 * leads to no internet. At most @cap; their number, or -errno.
 */
int net_outer_addresses(struct net *n, struct addr *out, size_t cap);
/** net_local_subnet() - A subnet of another interface that overlaps @p; false when none. */
bool net_local_subnet(struct net *n, const struct prefix *p, struct prefix *which);
/** net_on_change() - @fn is called, at most every 100 ms, when links, addresses or routes changed. */
void net_on_change(struct net *n, void (*fn)(void *arg), void *arg);
uint32_t net_tun_ifindex(const struct net *n);
/** net_tun_lost() - Somebody removed the device: its descriptors are dead, net_tun_open() it anew. */
bool net_tun_lost(const struct net *n);

/** net_cleanup() - Remove all that bears our mark of ownership (`posternd --cleanup`). */
int net_cleanup(const struct net_params *p);

#endif
