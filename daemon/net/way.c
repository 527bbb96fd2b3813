/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: the ways out to an address. The kernel knows one, by its best route; the others are found by
 * asking it about each device alone (RTA_OIF), so whatever rules and tables the admin has made, the
 * answer is what a marked packet with that interface would do. For IPv4 an answer alone says nothing,
 * since the kernel takes an address that no route of the device covers to be on link there: only a
 * route that it can name (RTM_F_FIB_MATCH) makes a way.
 */
#include "net_int.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int on_link(const struct nlmsghdr *nlh, void *arg)
{
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *tb[IFLA_MASTER + 1];
	struct net *n = arg;
	struct net_link *l = &n->links[n->link_count];

	/* What is part of a bridge or bond has no routes of its own. */
	nl_attrs(nlh, sizeof(*ifi), tb, IFLA_MASTER);
	if ((!n->outer.s && (uint32_t)ifi->ifi_index == n->ifindex) || ifi->ifi_flags & IFF_LOOPBACK ||
	    (ifi->ifi_flags & (IFF_UP | IFF_RUNNING)) != (IFF_UP | IFF_RUNNING) ||
	    tb[IFLA_MASTER] || !tb[IFLA_IFNAME] || n->link_count == NET_LINKS_MAX)
		return MNL_CB_OK;
	l->ifindex = (uint32_t)ifi->ifi_index;
	snprintf(l->name, sizeof(l->name), "%s", mnl_attr_get_str(tb[IFLA_IFNAME]));
	n->link_count++;
	return MNL_CB_OK;
}

int net_links_read(struct net *n)
{
	uint8_t buf[NL_BUF];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct ifinfomsg *ifi;
	int rc;

	if (n->links_known)
		return 0;
	n->link_count = 0;
	nlh->nlmsg_type = RTM_GETLINK;
	nlh->nlmsg_flags = NLM_F_DUMP;
	ifi = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifi));
	ifi->ifi_family = AF_UNSPEC;
	rc = nl_talk(net_outside(n), nlh, on_link, n);
	n->links_known = !rc && n->started; /* nobody tells of changes before */
	return rc;
}

static int on_match(const struct nlmsghdr *nlh, void *arg)
{
	const struct rtmsg *rtm = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *tb[RTA_MAX + 1];
	struct net_way *w = arg;

	if (nlh->nlmsg_type != RTM_NEWROUTE || rtm->rtm_type != RTN_UNICAST)
		return MNL_CB_OK;
	nl_attrs(nlh, sizeof(*rtm), tb, RTA_MAX);
	w->metric = nl_u32(tb[RTA_PRIORITY]);
	w->path.ifindex = 1; /* there is one */
	return MNL_CB_OK;
}

bool net_has_way(struct net *n, const struct addr *dst, uint32_t mark, struct net_way *w)
{
	uint8_t buf[NL_BUF];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct rtmsg *rtm;
	uint32_t oif = w->path.ifindex;
	bool yes;

	nlh->nlmsg_type = RTM_GETROUTE;
	rtm = mnl_nlmsg_put_extra_header(nlh, sizeof(*rtm));
	rtm->rtm_family = dst->family;
	rtm->rtm_dst_len = (uint8_t)addr_bits(dst);
	rtm->rtm_flags = RTM_F_FIB_MATCH;
	nl_put_addr(nlh, RTA_DST, dst);
	mnl_attr_put_u32(nlh, RTA_OIF, oif);
	mnl_attr_put_u32(nlh, RTA_MARK, mark ? mark : n->p.mark);
	w->path.ifindex = 0;
	yes = !nl_talk(net_outside(n), nlh, on_match, w) && w->path.ifindex;
	w->path.ifindex = oif;
	return yes;
}

static bool usable_source(const struct addr *a)
{
	bool link_local = a->family == AF_INET6 && a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80;

	return a->family && !addr_is_unspecified(a) && !link_local;
}

static int by_metric(const void *x, const void *y)
{
	const struct net_way *a = x, *b = y;

	if (a->chosen != b->chosen)
		return a->chosen ? -1 : 1;
	return (a->metric > b->metric) - (a->metric < b->metric);
}

int net_ways(struct net *n, const struct addr *dst, uint32_t mark, struct net_way *out, size_t cap,
	     size_t *count)
{
	struct net_path best = { 0 };
	int rc = net_links_read(n);
	size_t got = 0;

	*count = 0;
	if (rc)
		return rc;
	(void)net_path_lookup(n, dst, mark, 0, &best);
	for (size_t i = 0; i < n->link_count && got < cap; i++) {
		struct net_way *w = &out[got];

		memset(w, 0, sizeof(*w));
		w->path.ifindex = n->links[i].ifindex;
		if (!net_has_way(n, dst, mark, w) ||
		    net_path_lookup(n, dst, mark, n->links[i].ifindex, &w->path) ||
		    !usable_source(&w->path.src))
			continue;
		memcpy(w->name, n->links[i].name, sizeof(w->name));
		w->chosen = w->path.ifindex == best.ifindex;
		got++;
	}
	qsort(out, got, sizeof(*out), by_metric);
	*count = got;
	return 0;
}
