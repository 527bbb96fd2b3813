/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The addresses at which peers could reach this machine, as MOBIKE tells them (RFC 4555 s3.6). */
#include "net_int.h"

#include <linux/if_addr.h>
#include <linux/rtnetlink.h>

#define UNUSABLE                                                                                   \
	(IFA_F_TEMPORARY | IFA_F_DEPRECATED | IFA_F_TENTATIVE | IFA_F_DADFAILED | IFA_F_OPTIMISTIC)

struct outer_list {
	struct net *n;
	struct addr *out;
	uint32_t *ifindex;
	size_t count, cap;
};

static bool is_up(const struct net *n, uint32_t ifindex)
{
	for (size_t i = 0; i < n->link_count; i++)
		if (n->links[i].ifindex == ifindex)
			return true;
	return false;
}

static int on_addr(const struct nlmsghdr *nlh, void *arg)
{
	const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *tb[IFA_MAX + 1];
	struct outer_list *l = arg;
	uint32_t flags;
	struct addr a;

	nl_attrs(nlh, sizeof(*ifa), tb, IFA_MAX);
	a = nl_addr(tb[IFA_LOCAL] ? tb[IFA_LOCAL] : tb[IFA_ADDRESS]);
	flags = tb[IFA_FLAGS] ? nl_u32(tb[IFA_FLAGS]) : ifa->ifa_flags;
	/* IFA_F_TEMPORARY is what IPv4 calls secondary: a second address of a subnet is as good as the first. */
	if (a.family == AF_INET)
		flags &= ~(uint32_t)IFA_F_TEMPORARY;
	if (!a.family || ifa->ifa_scope != RT_SCOPE_UNIVERSE || flags & UNUSABLE ||
	    addr_is_loopback(&a) || !is_up(l->n, ifa->ifa_index) || l->count == l->cap)
		return MNL_CB_OK;
	l->ifindex[l->count] = ifa->ifa_index;
	l->out[l->count++] = a;
	return MNL_CB_OK;
}

/* Whose best route to somewhere on the internet is asked for; nothing is sent there. */
static bool leads_out(struct net *n, uint8_t family, uint32_t ifindex)
{
	static const struct addr v4 = { .family = AF_INET, .b = { 9, 9, 9, 9 } };
	static const struct addr v6 = { .family = AF_INET6, .b = { 0x26, 0x20, 0, 0xfe, [15] = 0xfe } };
	struct net_way w = { .path.ifindex = ifindex };

	return net_has_way(n, family == AF_INET ? &v4 : &v6, 0, &w);
}

int net_outer_addresses(struct net *n, struct addr *out, size_t cap)
{
	uint8_t buf[NL_BUF];
	uint32_t ifindex[NET_OUTER_MAX];
	struct outer_list l = { n, out, ifindex, 0, cap < NET_OUTER_MAX ? cap : NET_OUTER_MAX };
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct ifaddrmsg *ifa;
	size_t kept = 0;
	int rc = net_links_read(n);

	nlh->nlmsg_type = RTM_GETADDR;
	nlh->nlmsg_flags = NLM_F_DUMP;
	ifa = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifa));
	ifa->ifa_family = AF_UNSPEC;
	if (!rc)
		rc = nl_talk(net_outside(n), nlh, on_addr, &l);
	for (size_t i = 0; !rc && i < l.count; i++)
		if (!addr_is_private(&out[i]) || leads_out(n, out[i].family, ifindex[i]))
			out[kept++] = out[i];
	return rc ? rc : (int)kept;
}
