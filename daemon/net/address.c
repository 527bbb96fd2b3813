/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Addresses of the TUN: /32 and /128 without a prefix route, without duplicate detection. All that
 * stand on our TUN and are not wished for go (but link-local ones, which the kernel makes).
 */
#include "net_int.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include "log.h"

static bool link_local(const struct addr *a)
{
	return a->family == AF_INET6 && a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80;
}

static struct nlmsghdr *msg(uint8_t *buf, uint16_t type, uint8_t family, uint32_t ifindex)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct ifaddrmsg *ifa;

	nlh->nlmsg_type = type;
	ifa = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifa));
	ifa->ifa_family = family;
	ifa->ifa_index = ifindex;
	return nlh;
}

static int change(struct net *n, bool add, const struct addr *a, unsigned len)
{
	uint8_t buf[NL_BUF];
	struct nlmsghdr *nlh = msg(buf, add ? RTM_NEWADDR : RTM_DELADDR, a->family, n->ifindex);
	struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(nlh);
	char s[ADDR_STR_MAX];
	int rc;

	ifa->ifa_prefixlen = (uint8_t)len;
	nl_put_addr(nlh, IFA_LOCAL, a);
	nl_put_addr(nlh, IFA_ADDRESS, a);
	if (add) {
		uint32_t flags = IFA_F_NOPREFIXROUTE | (a->family == AF_INET6 ? IFA_F_NODAD : 0);

		nlh->nlmsg_flags = NLM_F_CREATE | NLM_F_REPLACE;
		mnl_attr_put_u32(nlh, IFA_FLAGS, flags);
	}
	rc = nl_talk(&n->rt, nlh, NULL, NULL);
	if (!add && (rc == -EADDRNOTAVAIL || rc == -ENODEV))
		return 0;
	if (rc)
		log_warn(NULL, "tun=%s address %s %s: %s", n->p.tun, add ? "add" : "remove",
			 addr_str(a, s), strerror(-rc));
	else
		log_info(NULL, "tun=%s address %s %s", n->p.tun, add ? "added" : "removed",
			 addr_str(a, s));
	return rc;
}

int net_address_change(struct net *n, bool add, const struct addr *a)
{
	return change(n, add, a, addr_bits(a));
}

#define FOUND_MAX (2 * NET_ADDRS_MAX)

struct found {
	uint32_t ifindex;
	struct addr addrs[FOUND_MAX];
	uint8_t len[FOUND_MAX];
	size_t count;
};

static int on_addr(const struct nlmsghdr *nlh, void *arg)
{
	const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *tb[IFA_MAX + 1];
	struct found *f = arg;
	struct addr a;

	nl_attrs(nlh, sizeof(*ifa), tb, IFA_MAX);
	a = nl_addr(tb[IFA_LOCAL] ? tb[IFA_LOCAL] : tb[IFA_ADDRESS]);
	if (ifa->ifa_index != f->ifindex || !a.family || link_local(&a))
		return MNL_CB_OK;
	if (f->count < FOUND_MAX) {
		f->len[f->count] = ifa->ifa_prefixlen;
		f->addrs[f->count++] = a;
	}
	return MNL_CB_OK;
}

static bool in(const struct addr *list, size_t count, const struct addr *a)
{
	for (size_t i = 0; i < count; i++) {
		if (addr_eq(&list[i], a))
			return true;
	}
	return false;
}

static int dump(struct net *n, struct found *f)
{
	uint8_t buf[NL_BUF];
	struct nlmsghdr *nlh = msg(buf, RTM_GETADDR, AF_UNSPEC, 0);

	nlh->nlmsg_flags = NLM_F_DUMP;
	return nl_talk(&n->rt, nlh, on_addr, f);
}

int net_adopt(struct net *n, bool (*yes)(const struct addr *a, void *arg), void *arg)
{
	struct found f = { .ifindex = n->ifindex };
	int rc = n->ifindex ? dump(n, &f) : 0;

	for (size_t i = 0; !rc && i < f.count; i++) {
		const struct addr *a = &f.addrs[i];

		if (f.len[i] == addr_bits(a) && !net_has_addr(n, a) && yes(a, arg))
			rc = net_addr_add(n, a);
	}
	return rc;
}

int net_address_apply(struct net *n)
{
	struct found f = { .ifindex = n->ifindex };
	int rc = dump(n, &f), first = 0;

	if (rc)
		return rc;
	for (size_t i = 0; i < f.count; i++) {
		bool whole = f.len[i] == addr_bits(&f.addrs[i]);

		if (whole && in(n->addrs, n->addr_count, &f.addrs[i]))
			continue;
		rc = change(n, false, &f.addrs[i], f.len[i]);
		if (rc && !first)
			first = rc;
		/* Right address, wrong length: gone now, so it is added anew below. */
		f.addrs[i].family = whole ? f.addrs[i].family : 0;
	}
	for (size_t i = 0; i < n->addr_count; i++) {
		if (in(f.addrs, f.count, &n->addrs[i]))
			continue;
		rc = net_address_change(n, true, &n->addrs[i]);
		if (rc && !first && !net_no_family(rc))
			first = rc;
	}
	return first;
}

static int on_subnet(const struct nlmsghdr *nlh, void *arg)
{
	const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *tb[IFA_MAX + 1];
	struct net *n = arg;
	struct addr a;

	nl_attrs(nlh, sizeof(*ifa), tb, IFA_MAX);
	a = nl_addr(tb[IFA_ADDRESS] ? tb[IFA_ADDRESS] : tb[IFA_LOCAL]);
	if (!a.family || ifa->ifa_index == n->ifindex || addr_is_loopback(&a) || link_local(&a) ||
	    ifa->ifa_prefixlen > addr_bits(&a) || n->subnet_count == NET_SUBNETS_MAX)
		return MNL_CB_OK;
	n->subnets[n->subnet_count++] = prefix_of(&a, ifa->ifa_prefixlen);
	return MNL_CB_OK;
}

int net_subnets_read(struct net *n)
{
	uint8_t buf[NL_BUF];
	struct nlmsghdr *nlh = msg(buf, RTM_GETADDR, AF_UNSPEC, 0);

	n->subnet_count = 0;
	nlh->nlmsg_flags = NLM_F_DUMP;
	return nl_talk(&n->rt, nlh, on_subnet, n);
}

bool net_local_subnet(struct net *n, const struct prefix *p, struct prefix *which)
{
	(void)net_subnets_read(n);
	for (size_t i = 0; i < n->subnet_count; i++) {
		if (prefix_overlaps(&n->subnets[i], p)) {
			*which = n->subnets[i];
			return true;
		}
	}
	return false;
}
