/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The wish and its upkeep: see the theory in net.h. */
#include "net_int.h"

#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

#define SETTLE_MS 100
#define LOOK_MS	  5000

bool net_no_family(int rc)
{
	return rc == -EAFNOSUPPORT || rc == -EOPNOTSUPP || rc == -EACCES;
}

/* ---- events ---- */

static void settle(struct net *n, bool redo)
{
	n->redo |= redo;
	n->path_changed = true;
	n->links_known = false;
	if (!timer_armed(&n->settle))
		(void)timer_set(loop_timers(n->loop), &n->settle, loop_now_ms(n->loop) + SETTLE_MS);
}

void net_lose_tun(struct net *n)
{
	n->lost = true;
	settle(n, false);
}

static void on_firewall(struct timer *t, uint64_t now_ms)
{
	(void)now_ms;
	(void)net_firewall_apply(t->arg);
}

static void on_look(struct timer *t, uint64_t now_ms)
{
	(void)now_ms;
	net_managed_look(t->arg);
}

static void on_settled(struct timer *t, uint64_t now_ms)
{
	struct net *n = t->arg;
	bool redo = n->redo, changed = n->path_changed;

	(void)now_ms;
	n->redo = n->path_changed = false;
	/* A lost TUN is the owner's to make again; he reconciles when it is there. */
	if (redo && !n->lost) {
		(void)net_reconcile(n);
		net_managed_look(n);
	} else if (n->leak_count && n->started)
		(void)net_leak_apply(n); /* a default route makes another interface the WAN */
	if (changed && n->change)
		n->change(n->change_arg);
}

static bool route_event_is_ours(const struct net *n, const struct nlmsghdr *nlh, bool *quiet)
{
	const struct rtmsg *rtm = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *tb[RTA_MAX + 1];
	uint32_t table;

	nl_attrs(nlh, sizeof(*rtm), tb, RTA_MAX);
	table = tb[RTA_TABLE] ? nl_u32(tb[RTA_TABLE]) : rtm->rtm_table;
	/* Host routes of local addresses come with their address event; clones are no routes. */
	*quiet = table == RT_TABLE_LOCAL || rtm->rtm_flags & RTM_F_CLONED;
	return table == n->p.table || table == n->p.table + 1;
}

static void route_event(struct net *n, const struct nlmsghdr *nlh)
{
	bool quiet;

	switch (nlh->nlmsg_type) {
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
		if (route_event_is_ours(n, nlh, &quiet))
			settle(n, true);
		else if (!quiet)
			settle(n, false);
		break;
	case RTM_NEWLINK:
	case RTM_DELLINK: {
		const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);
		bool ours = (uint32_t)ifi->ifi_index == n->ifindex;

		if (ours && nlh->nlmsg_type == RTM_DELLINK)
			net_lose_tun(n);
		/* A TUN set down loses its v6 routes; one that only lost its carrier keeps them. */
		settle(n, ours && (nlh->nlmsg_type == RTM_DELLINK || !(ifi->ifi_flags & IFF_UP)));
		break;
	}
	default: /* addresses: subnets for the throw routes; rules */
		settle(n, true);
	}
}

static void on_route_events(struct loop_fd *lf, uint32_t events)
{
	uint8_t buf[32768] __attribute__((aligned(8)));
	struct net *n = lf->arg;

	(void)events;
	for (int i = 0; i < 64; i++) {
		ssize_t len = recv(lf->fd, buf, sizeof(buf), MSG_DONTWAIT);
		int left = (int)len;

		if (len < 0 && errno == ENOBUFS)
			settle(n, true); /* some were lost: look at everything */
		if (len <= 0)
			return;
		for (struct nlmsghdr *h = (void *)buf; mnl_nlmsg_ok(h, left);
		     h = mnl_nlmsg_next(h, &left)) {
			if (h->nlmsg_pid != n->rt.portid) /* not our own doing */
				route_event(n, h);
		}
	}
}

/* In all nf_tables messages that matter the table's name is attribute 1. */
static bool nft_event_is_ours(const struct nlmsghdr *nlh)
{
	const struct nlattr *tb[2];

	if (nlh->nlmsg_type >> 8 != NFNL_SUBSYS_NFTABLES ||
	    (nlh->nlmsg_type & 0xff) == NFT_MSG_NEWGEN)
		return false;
	nl_attrs(nlh, sizeof(struct nfgenmsg), tb, 1);
	return tb[1] && mnl_attr_validate(tb[1], MNL_TYPE_NUL_STRING) >= 0 &&
	       (!strcmp(mnl_attr_get_str(tb[1]), NET_NFT_TABLE) ||
		!strcmp(mnl_attr_get_str(tb[1]), NET_LEAK_TABLE));
}

/* A table, chain or rule of somebody: perhaps a firewall that was loaded anew. Sets change all day. */
static bool nft_event_is_firewalls(const struct nlmsghdr *nlh)
{
	uint16_t msg = nlh->nlmsg_type & 0xff;

	return nlh->nlmsg_type >> 8 == NFNL_SUBSYS_NFTABLES &&
	       (msg == NFT_MSG_NEWTABLE || msg == NFT_MSG_DELTABLE || msg == NFT_MSG_NEWCHAIN ||
		msg == NFT_MSG_DELCHAIN || msg == NFT_MSG_NEWRULE || msg == NFT_MSG_DELRULE);
}

static void on_nft_events(struct loop_fd *lf, uint32_t events)
{
	uint8_t buf[32768] __attribute__((aligned(8)));
	struct net *n = lf->arg;

	(void)events;
	for (int i = 0; i < 64; i++) {
		ssize_t len = recv(lf->fd, buf, sizeof(buf), MSG_DONTWAIT);
		bool ours = len < 0 && errno == ENOBUFS, others = ours;
		int left = (int)len;

		for (struct nlmsghdr *h = (void *)buf; len > 0 && mnl_nlmsg_ok(h, left);
		     h = mnl_nlmsg_next(h, &left)) {
			bool foreign = h->nlmsg_pid != n->nf.portid;

			ours |= foreign && nft_event_is_ours(h);
			others |= foreign && nft_event_is_firewalls(h);
		}
		if (others && n->open)
			net_firewall_settle(n);
		if (ours) {
			n->nft_dirty = n->leak_dirty = true;
			settle(n, true);
		}
		if (len <= 0)
			return;
	}
}

static int subscribe(struct net *n, struct mnl_socket **s, int family, const int *groups,
		     struct loop_fd *lf, void (*ready)(struct loop_fd *lf, uint32_t events))
{
	int size = 1 << 20;

	*s = mnl_socket_open2(family, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!*s || mnl_socket_bind(*s, 0, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	for (; *groups; groups++) {
		int g = *groups;

		if (mnl_socket_setsockopt(*s, NETLINK_ADD_MEMBERSHIP, &g, sizeof(g)) < 0)
			return -errno;
	}
	(void)setsockopt(mnl_socket_get_fd(*s), SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	*lf = (struct loop_fd){ .fd = mnl_socket_get_fd(*s), .ready = ready, .arg = n };
	return loop_add(n->loop, lf, EPOLLIN);
}

static int watch(struct net *n)
{
	static const int rt[] = { RTNLGRP_LINK,	       RTNLGRP_IPV4_IFADDR,
				  RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE,
				  RTNLGRP_IPV6_ROUTE,  RTNLGRP_IPV4_RULE,
				  RTNLGRP_IPV6_RULE,   0 };
	static const int nf[] = { NFNLGRP_NFTABLES, 0 };
	int rc = subscribe(n, &n->ev_rt, NETLINK_ROUTE, rt, &n->lf_rt, on_route_events);

	if (rc)
		return rc;
	rc = subscribe(n, &n->ev_nf, NETLINK_NETFILTER, nf, &n->lf_nf, on_nft_events);
	if (rc)
		log_warn(NULL, "nft events: %s; a flushed table is not noticed", strerror(-rc));
	return 0;
}

struct nl *net_outside(struct net *n)
{
	return n->outer.s ? &n->outer : &n->rt;
}

static void on_outer_events(struct loop_fd *lf, uint32_t events)
{
	uint8_t buf[32768] __attribute__((aligned(8)));
	struct net *n = lf->arg;

	(void)events;
	for (int i = 0; i < 64; i++) {
		ssize_t len = recv(lf->fd, buf, sizeof(buf), MSG_DONTWAIT);

		if (len <= 0 && errno != ENOBUFS)
			return;
		settle(n, false);
	}
}

int net_watch_outer(struct net *n)
{
	static const int rt[] = { RTNLGRP_LINK,	      RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR,
				  RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE,  RTNLGRP_IPV4_RULE,
				  RTNLGRP_IPV6_RULE,  0 };
	int rc = nl_open(&n->outer, NETLINK_ROUTE);

	n->links_known = false;
	return rc ? rc : subscribe(n, &n->ev_outer, NETLINK_ROUTE, rt, &n->lf_outer, on_outer_events);
}

/* ---- life ---- */

struct net *net_new(struct loop *l, const struct net_params *p)
{
	struct net *n = calloc(1, sizeof(*n));
	bool is_tun;
	int rc;

	if (!n)
		return NULL;
	n->loop = l;
	n->p = *p;
	n->nft_dirty = n->leak_dirty = true;
	n->settle = (struct timer){ .fire = on_settled, .arg = n };
	n->fw = (struct timer){ .fire = on_firewall, .arg = n };
	n->look = (struct timer){ .fire = on_look, .arg = n };
	n->fw_dirty = true;
	rc = nl_open(&n->rt, NETLINK_ROUTE);
	if (!rc && nl_open(&n->nf, NETLINK_NETFILTER))
		log_warn(NULL, "this kernel has no nfnetlink; tunnel addresses are not guarded");
	if (rc) {
		net_free(n);
		errno = -rc;
		return NULL;
	}
	/* Known from now on: what stands on it is not a local subnet. */
	(void)net_link_find(&n->rt, n->p.tun, &n->ifindex, &is_tun);
	n->ifindex = is_tun ? n->ifindex : 0;
	return n;
}

static void free_wish(struct hash_node *hn, void *arg)
{
	(void)arg;
	free(hn); /* the node comes first in struct wish_route */
}

void net_free(struct net *n)
{
	if (!n)
		return;
	timer_clear(loop_timers(n->loop), &n->settle);
	timer_clear(loop_timers(n->loop), &n->fw);
	timer_clear(loop_timers(n->loop), &n->look);
	loop_del(n->loop, &n->lf_rt);
	loop_del(n->loop, &n->lf_nf);
	if (n->ev_outer) {
		loop_del(n->loop, &n->lf_outer);
		mnl_socket_close(n->ev_outer);
	}
	nl_close(&n->outer);
	if (n->ev_rt)
		mnl_socket_close(n->ev_rt);
	if (n->ev_nf)
		mnl_socket_close(n->ev_nf);
	nl_close(&n->rt);
	nl_close(&n->nf);
	hash_each(&n->routes, free_wish, NULL);
	hash_free(&n->routes);
	free(n->leak);
	free(n);
}

int net_reconcile(struct net *n)
{
	int rc = net_link_apply(n), step;

	if (rc)
		return rc;
	n->lost = false;
	/* The guard stands before the address that it guards. */
	rc = n->nf.s ? net_nft_apply(n) : 0;
	step = net_leak_apply(n);
	rc = rc ? rc : step;
	step = net_address_apply(n);
	rc = rc ? rc : step;
	step = net_subnets_read(n);
	rc = rc ? rc : step;
	step = net_rule_apply(n);
	rc = rc ? rc : step;
	step = net_route_apply(n);
	rc = rc ? rc : step;
	if (n->fw_dirty)
		(void)net_firewall_apply(n); /* its failure is told, and is not ours to try again */
	return rc;
}

int net_start(struct net *n)
{
	int rc = watch(n);

	if (rc)
		return rc;
	(void)net_link_remove_stale(&n->rt, &n->p, false);
	n->started = true;
	/* Others have had the time to see a new device then. */
	(void)timer_set(loop_timers(n->loop), &n->look, loop_now_ms(n->loop) + LOOK_MS);
	return net_reconcile(n);
}

void net_on_change(struct net *n, void (*fn)(void *arg), void *arg)
{
	n->change = fn;
	n->change_arg = arg;
}

uint32_t net_tun_ifindex(const struct net *n)
{
	return n->ifindex;
}

bool net_tun_lost(const struct net *n)
{
	return n->lost;
}

/* ---- wishes ---- */

int net_link_set(struct net *n, uint32_t mtu, uint32_t gso_max_size, uint32_t gso_max_segs)
{
	n->mtu = mtu ? mtu : n->mtu;
	n->gso_max_size = gso_max_size ? gso_max_size : n->gso_max_size;
	n->gso_max_segs = gso_max_segs ? gso_max_segs : n->gso_max_segs;
	return n->started ? net_link_apply(n) : 0;
}

bool net_has_addr(const struct net *n, const struct addr *a)
{
	for (size_t i = 0; i < n->addr_count; i++) {
		if (addr_eq(&n->addrs[i], a))
			return true;
	}
	return false;
}

int net_addr_add(struct net *n, const struct addr *a)
{
	if (!addr_bits(a))
		return -EINVAL;
	if (net_has_addr(n, a))
		return 0;
	if (n->addr_count == NET_ADDRS_MAX)
		return -ENOSPC;
	n->addrs[n->addr_count++] = *a;
	n->nft_dirty = true;
	if (!n->started)
		return 0; /* net_start() carries it out */
	if (n->nf.s)
		(void)net_nft_apply(n);
	return net_address_change(n, true, a);
}

int net_addr_del(struct net *n, const struct addr *a)
{
	int rc = 0;

	for (size_t i = 0; i < n->addr_count; i++) {
		if (!addr_eq(&n->addrs[i], a))
			continue;
		n->addrs[i] = n->addrs[--n->addr_count];
		n->nft_dirty = true;
		if (!n->started)
			break;
		rc = net_address_change(n, false, a);
		if (n->nf.s)
			(void)net_nft_apply(n);
		/* The kernel took v4 routes with that preferred source along. */
		(void)net_route_apply(n);
		break;
	}
	return rc;
}

struct keep {
	struct net *n;
	bool (*route)(const struct net_route *r, void *arg);
	void *arg;
};

static void keep_route(struct hash_node *hn, void *arg)
{
	struct wish_route *w = (struct wish_route *)(void *)hn;
	struct keep *k = arg;

	if (!k->route(&w->r, k->arg)) {
		hash_remove(&k->n->routes, &w->node);
		free(w);
	}
}

void net_keep_only(struct net *n, bool (*addr)(const struct addr *a, void *arg),
		   bool (*route)(const struct net_route *r, void *arg), void *arg)
{
	struct keep k = { .n = n, .route = route, .arg = arg };
	bool dflt = net_wants_default(n);

	for (size_t i = 0; addr && i < n->addr_count;) {
		if (addr(&n->addrs[i], arg)) {
			i++;
			continue;
		}
		n->addrs[i] = n->addrs[--n->addr_count];
		n->nft_dirty = true;
	}
	if (route)
		hash_each(&n->routes, keep_route, &k);
	n->nft_dirty |= dflt != net_wants_default(n);
}

int net_cleanup(const struct net_params *p)
{
	struct nl rt, nf;
	int rc = nl_open(&rt, NETLINK_ROUTE), step;
	uint32_t ifindex;
	bool is_tun;

	if (rc)
		return rc;
	rc = net_rule_flush(&rt, p);
	step = net_route_flush(&rt, p);
	rc = rc ? rc : step;
	step = net_link_remove_stale(&rt, p, true);
	rc = rc ? rc : step;
	/* Ours by name, made by a run that ended before it could write the alias. */
	if (!net_link_find(&rt, p->tun, &ifindex, &is_tun) && is_tun) {
		step = net_tun_remove(p->tun);
		rc = rc ? rc : step;
	}
	nl_close(&rt);
	step = nl_open(&nf, NETLINK_NETFILTER);
	if (!step) {
		step = net_nft_remove(&nf, NET_NFT_TABLE);
		rc = rc ? rc : step;
		step = net_nft_remove(&nf, NET_LEAK_TABLE);
		rc = rc ? rc : step;
		step = net_firewall_remove(&nf, p->tun);
		nl_close(&nf);
	}
	return rc ? rc : step;
}
