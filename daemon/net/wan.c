/* SPDX-License-Identifier: GPL-3.0-or-later */
/* By what a way out is known again: interface, gateway, its MAC, and the prefix of our address there. */
#include "net_int.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>

struct search {
	const struct net_path *path;
	struct net_wan *out;
};

static int on_link(const struct nlmsghdr *nlh, void *arg)
{
	const struct nlattr *tb[IFLA_MAX + 1];
	struct search *s = arg;

	if (nlh->nlmsg_type != RTM_NEWLINK)
		return MNL_CB_OK;
	nl_attrs(nlh, sizeof(struct ifinfomsg), tb, IFLA_MAX);
	if (tb[IFLA_IFNAME])
		snprintf(s->out->ifname, sizeof(s->out->ifname), "%s",
			 mnl_attr_get_str(tb[IFLA_IFNAME]));
	return MNL_CB_OK;
}

static int on_neighbour(const struct nlmsghdr *nlh, void *arg)
{
	const struct ndmsg *ndm = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *tb[NDA_MAX + 1];
	struct search *s = arg;
	struct addr a;

	if (nlh->nlmsg_type != RTM_NEWNEIGH || ndm->ndm_ifindex != (int)s->path->ifindex)
		return MNL_CB_OK;
	nl_attrs(nlh, sizeof(*ndm), tb, NDA_MAX);
	a = nl_addr(tb[NDA_DST]);
	if (addr_eq(&a, &s->path->gateway) && tb[NDA_LLADDR] &&
	    mnl_attr_get_payload_len(tb[NDA_LLADDR]) == sizeof(s->out->mac))
		memcpy(s->out->mac, mnl_attr_get_payload(tb[NDA_LLADDR]), sizeof(s->out->mac));
	return MNL_CB_OK;
}

static int on_address(const struct nlmsghdr *nlh, void *arg)
{
	const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *tb[IFA_MAX + 1];
	struct search *s = arg;
	struct addr a;

	if (nlh->nlmsg_type != RTM_NEWADDR || ifa->ifa_index != s->path->ifindex)
		return MNL_CB_OK;
	nl_attrs(nlh, sizeof(*ifa), tb, IFA_MAX);
	a = nl_addr(tb[IFA_LOCAL] ? tb[IFA_LOCAL] : tb[IFA_ADDRESS]);
	if (addr_eq(&a, &s->path->src) && ifa->ifa_prefixlen <= addr_bits(&a))
		s->out->prefix = prefix_of(&a, ifa->ifa_prefixlen);
	return MNL_CB_OK;
}

static int dump(struct net *n, uint16_t type, uint8_t family, mnl_cb_t cb, struct search *s)
{
	uint8_t buf[NL_BUF];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct rtgenmsg *g;
	/* Long enough for each of the three headers: what is behind the family is no filter. */
	size_t len = type == RTM_GETADDR ? sizeof(struct ifaddrmsg) : sizeof(struct ndmsg);

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_DUMP;
	g = mnl_nlmsg_put_extra_header(nlh, len);
	g->rtgen_family = family;
	return nl_talk(&n->rt, nlh, cb, s);
}

int net_wan_lookup(struct net *n, const struct net_path *path, struct net_wan *out)
{
	struct search s = { .path = path, .out = out };
	uint8_t buf[NL_BUF];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct ifinfomsg *ifi;
	int rc;

	memset(out, 0, sizeof(*out));
	nlh->nlmsg_type = RTM_GETLINK;
	ifi = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifi));
	ifi->ifi_index = (int)path->ifindex;
	rc = nl_talk(&n->rt, nlh, on_link, &s);
	if (!rc && path->gateway.family)
		rc = dump(n, RTM_GETNEIGH, path->gateway.family, on_neighbour, &s);
	if (!rc && path->src.family)
		rc = dump(n, RTM_GETADDR, path->src.family, on_address, &s);
	return rc ? rc : out->ifname[0] ? 0 : -ENODEV;
}
