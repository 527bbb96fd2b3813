/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: the guard behind `leak = never`. Routes keep what belongs in the tunnel off other ways as long as
 * they stand and nobody has a better one: a rule of another program before ours, a route that somebody
 * on the WAN hands out by DHCP (option 121) in front of a 0/0 of ours, a link that comes up before we
 * do. So a table of its own looks at every packet where nothing changes it any more:
 *
 *	table inet postern_leak {
 *		set first4, lan4, net4 (networks)	the same for IPv6
 *		chain leak { type filter hook postrouting priority 300; policy accept;
 *			oifname { "lo", TUN } accept
 *			meta mark MARK accept				our own outer packets
 *			meta mark PEER'S meta skuid 0 udp, tcp accept	those with a mark of their own
 *			meta skuid RESOLVER udp, tcp dport { 53, 853 } accept	the peers' names
 *			ip daddr @first4 counter drop			lies inside of a LAN
 *			ip daddr @lan4 accept				a LAN inside of a network
 *			ip daddr @net4 counter drop
 *			# only with 0/0
 *			DHCP, DHCPv6, neighbour and router discovery of this machine accept
 *			ip daddr { private, link-local, local multicast } accept
 *			meta nfproto ipv4 counter drop
 *		}
 *	}
 *
 * It stands from before the network comes up (`posternd --leak-guard apply`, an early unit) until
 * `posternd --leak-guard remove` or `--cleanup`; the daemon takes it over, follows the LANs with it,
 * and leaves it behind.
 *
 * A LAN is the subnet of an interface that has no default route and is no way out by the configuration,
 * and nothing is one before some interface has a default route: whoever answers DHCP on a WAN, of which there may
 * be two, must not be able to call a piece of the internet a LAN.
 * Private addresses outside of the networks that the configuration names are let out of a 0/0: no
 * internet lies there, and an admin who broke his configuration must reach his router.
 */
#include "net_int.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "nft_msg.h"

#define TABLE	    NET_LEAK_TABLE
#define STANDBY	    NET_LEAK_TABLE "_new" /* while TABLE is written */
#define CHAIN	    "leak"
#define ELEMENT_MAX 96 /* bytes of a network in a set, both its ends */
#define BATCH_BASE  65536
#define WAN_MAX	    32

enum { SET_FIRST4 = 1, SET_FIRST6, SET_LAN4, SET_LAN6, SET_NET4, SET_NET6, SET_NEAR4, SET_NEAR6 };

struct lan {
	struct prefix p;
	uint32_t ifindex;
};

struct view {
	struct net *n;
	struct lan subnets[NET_SUBNETS_MAX];
	size_t subnet_count;
	uint32_t wan[WAN_MAX];
	size_t wan_count;
};

/* ---- which subnets are LANs ---- */

static int on_subnet(const struct nlmsghdr *nlh, void *arg)
{
	const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *tb[IFA_MAX + 1];
	struct view *v = arg;
	struct addr a;

	nl_attrs(nlh, sizeof(*ifa), tb, IFA_MAX);
	a = nl_addr(tb[IFA_ADDRESS] ? tb[IFA_ADDRESS] : tb[IFA_LOCAL]);
	/* A host address has no neighbours. */
	if (!a.family || ifa->ifa_index == v->n->ifindex || addr_is_loopback(&a) ||
	    ifa->ifa_prefixlen >= addr_bits(&a) || !ifa->ifa_prefixlen ||
	    v->subnet_count == NET_SUBNETS_MAX)
		return MNL_CB_OK;
	v->subnets[v->subnet_count++] =
	    (struct lan){ prefix_of(&a, ifa->ifa_prefixlen), ifa->ifa_index };
	return MNL_CB_OK;
}

static void add_wan(struct view *v, uint32_t ifindex)
{
	for (size_t i = 0; i < v->wan_count; i++)
		if (v->wan[i] == ifindex)
			return;
	if (ifindex && v->wan_count < WAN_MAX)
		v->wan[v->wan_count++] = ifindex;
}

/* Every interface with a default route, in whatever table, but for the TUN. */
static int on_default(const struct nlmsghdr *nlh, void *arg)
{
	const struct rtmsg *rtm = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *tb[RTA_MAX + 1];
	struct view *v = arg;
	uint32_t oif;

	if (rtm->rtm_dst_len || rtm->rtm_type != RTN_UNICAST || rtm->rtm_flags & RTM_F_CLONED)
		return MNL_CB_OK;
	nl_attrs(nlh, sizeof(*rtm), tb, RTA_MAX);
	oif = nl_u32(tb[RTA_OIF]);
	if (oif && oif != v->n->ifindex)
		add_wan(v, oif);
	if (tb[RTA_MULTIPATH]) {
		const struct rtnexthop *nh = mnl_attr_get_payload(tb[RTA_MULTIPATH]);
		int left = mnl_attr_get_payload_len(tb[RTA_MULTIPATH]);

		for (; RTNH_OK(nh, left); left -= RTNH_ALIGN(nh->rtnh_len), nh = RTNH_NEXT(nh))
			add_wan(v, (uint32_t)nh->rtnh_ifindex);
	}
	return MNL_CB_OK;
}

static int dump(struct net *n, uint16_t type, uint8_t family, size_t head, mnl_cb_t cb, void *arg)
{
	uint8_t buf[NL_BUF];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	uint8_t *h;
	int rc;

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_DUMP;
	h = mnl_nlmsg_put_extra_header(nlh, head);
	h[0] = family; /* rtm_family, ifa_family */
	rc = nl_talk(&n->rt, nlh, cb, arg);
	return net_no_family(rc) ? 0 : rc;
}

static bool is_wan(const struct view *v, uint32_t ifindex)
{
	for (size_t i = 0; i < v->wan_count; i++)
		if (v->wan[i] == ifindex)
			return true;
	return v->wan_count == 0;
}

/* The networks of @list that belong to LANs: the guard lets these pass where a wider one is guarded. */
static int read_lans(struct net *n, struct prefix *out, size_t *count)
{
	struct view v = { .n = n };
	int rc = dump(n, RTM_GETADDR, AF_UNSPEC, sizeof(struct ifaddrmsg), on_subnet, &v);

	if (!rc)
		rc = dump(n, RTM_GETROUTE, AF_INET, sizeof(struct rtmsg), on_default, &v);
	if (!rc)
		rc = dump(n, RTM_GETROUTE, AF_INET6, sizeof(struct rtmsg), on_default, &v);
	for (size_t i = 0; v.wan_count && i < n->outside_count; i++)
		add_wan(&v, if_nametoindex(n->outside[i]));
	*count = 0;
	for (size_t i = 0; !rc && i < v.subnet_count; i++)
		if (!is_wan(&v, v.subnets[i].ifindex))
			out[(*count)++] = v.subnets[i].p;
	return rc;
}

/* ---- the table ---- */

static const char *const near4[] = { "10.0.0.0/8",	"172.16.0.0/12", "192.168.0.0/16",
				     "169.254.0.0/16",	"224.0.0.0/24",	 "239.255.0.0/16",
				     "255.255.255.255", NULL };
static const char *const near6[] = { "fc00::/7", "fe80::/10", "ff01::/16", "ff02::/16", NULL };

static struct nft_rule rule(struct nft_batch *b)
{
	return nft_rule(b, NFPROTO_INET, b->table, CHAIN, true);
}

static void end(struct nft_rule *r, int verdict)
{
	if (verdict == NF_DROP)
		nft_counter(r);
	nft_verdict(r, verdict);
	nft_rule_end(r);
}

static void let_out(struct nft_batch *b, const struct net *n)
{
	static const uint16_t ports[] = { 53, 853 };
	static const uint8_t protos[] = { IPPROTO_UDP, IPPROTO_TCP };
	struct nft_rule r = rule(b);

	nft_ifname(&r, NFT_META_OIFNAME, NFT_CMP_EQ, "lo");
	end(&r, NF_ACCEPT);
	r = rule(b);
	nft_ifname(&r, NFT_META_OIFNAME, NFT_CMP_EQ, n->p.tun);
	end(&r, NF_ACCEPT);
	r = rule(b);
	nft_meta(&r, NFT_META_MARK);
	nft_cmp(&r, NFT_CMP_EQ, &n->p.mark, sizeof(n->p.mark));
	end(&r, NF_ACCEPT);
	/* What the admin may put on packets of others as well: of these, root's own alone, as our sockets are. */
	for (size_t i = 0; i < 2 * n->mark_count; i++) {
		const uint32_t root = 0;

		r = rule(b);
		nft_meta(&r, NFT_META_MARK);
		nft_cmp(&r, NFT_CMP_EQ, &n->marks[i / 2], sizeof(n->marks[0]));
		nft_meta(&r, NFT_META_SKUID);
		nft_cmp(&r, NFT_CMP_EQ, &root, sizeof(root));
		nft_l4(&r, protos[i % 2]);
		end(&r, NF_ACCEPT);
	}
	for (size_t i = 0; i < 4 * n->p.bypass_count; i++) {
		uint32_t uid = n->p.bypass_uid[i / 4];

		r = rule(b);
		nft_meta(&r, NFT_META_SKUID);
		nft_cmp(&r, NFT_CMP_EQ, &uid, sizeof(uid));
		nft_l4(&r, protos[i % 2]);
		nft_port(&r, 2, ports[i / 2 % 2]);
		end(&r, NF_ACCEPT);
	}
}

static void by_set(struct nft_batch *b, uint8_t family, const char *set, uint32_t id, int verdict)
{
	struct nft_rule r = rule(b);

	nft_daddr(&r, family);
	nft_in_set(&r, set, id);
	end(&r, verdict);
}

/* What this machine itself must say to have a network at all; a packet that it forwards has an input device. */
static struct nft_rule own(struct nft_batch *b)
{
	struct nft_rule r = rule(b);
	uint32_t none = 0;

	nft_meta(&r, NFT_META_IIF);
	nft_cmp(&r, NFT_CMP_EQ, &none, sizeof(none));
	return r;
}

static void dhcp(struct nft_batch *b, uint8_t family, uint16_t from, uint16_t to)
{
	struct nft_rule r = own(b);

	nft_family(&r, family);
	nft_l4(&r, IPPROTO_UDP);
	nft_port(&r, 0, from);
	nft_port(&r, 2, to);
	end(&r, NF_ACCEPT);
}

static void discovery(struct nft_batch *b)
{
	/* Multicast listeners 130-132, routers and neighbours 133-137, listeners version 2 143 */
	static const uint8_t types[] = { 130, 131, 132, 133, 134, 135, 136, 137, 143 };

	for (size_t i = 0; i < sizeof(types); i++) {
		struct nft_rule r = own(b);

		nft_l4(&r, IPPROTO_ICMPV6);
		nft_payload(&r, NFT_PAYLOAD_TRANSPORT_HEADER, 0, 1);
		nft_cmp(&r, NFT_CMP_EQ, &types[i], 1);
		end(&r, NF_ACCEPT);
	}
}

static void everything(struct nft_batch *b, uint8_t family)
{
	bool v4 = family == AF_INET;
	struct prefix near[8];
	size_t count = 0;
	struct nft_rule r;

	for (const char *const *s = v4 ? near4 : near6; *s; s++)
		count += !prefix_parse(*s, &near[count]);
	/* The side that asks, and the side that answers: a router is both. */
	dhcp(b, family, v4 ? 68 : 546, v4 ? 67 : 547);
	dhcp(b, family, v4 ? 67 : 547, v4 ? 68 : 546);
	if (!v4)
		discovery(b);
	nft_set(b, b->table, v4 ? "near4" : "near6", v4 ? SET_NEAR4 : SET_NEAR6, family, true);
	nft_set_prefixes(b, b->table, v4 ? "near4" : "near6", v4 ? SET_NEAR4 : SET_NEAR6, family, near,
			 count);
	by_set(b, family, v4 ? "near4" : "near6", v4 ? SET_NEAR4 : SET_NEAR6, NF_ACCEPT);
	r = rule(b);
	nft_family(&r, family);
	end(&r, NF_DROP);
}

/* What is guarded, in the three steps in which the chain looks at it. */
struct steps {
	struct prefix *first, *lan, *net;
	size_t first_count, lan_count, net_count;
	bool all4, all6;
};

static int sort_out(const struct net *n, struct steps *s)
{
	const struct prefix *p = n->leak, *l = n->leak_lan;

	s->first = calloc(2 * n->leak_count + n->leak_lan_count + 1, sizeof(*s->first));
	if (!s->first)
		return -ENOMEM;
	s->net = s->first + n->leak_count;
	s->lan = s->net + n->leak_count;
	for (size_t i = 0; i < n->leak_count; i++) {
		bool inside = false;

		if (!p[i].len) {
			*(p[i].addr.family == AF_INET ? &s->all4 : &s->all6) = true;
			continue;
		}
		for (size_t k = 0; k < n->leak_lan_count && !inside; k++)
			inside = prefix_covers(&l[k], &p[i]);
		if (inside)
			s->first[s->first_count++] = p[i];
		else
			s->net[s->net_count++] = p[i];
	}
	memcpy(s->lan, l, n->leak_lan_count * sizeof(*l));
	s->lan_count = n->leak_lan_count;
	return 0;
}

static void sets(struct nft_batch *b, struct steps *s)
{
	static const uint8_t family[] = { AF_INET, AF_INET6 };
	static const char *const first[] = { "first4", "first6" }, *const lan[] = { "lan4", "lan6" },
				 *const net[] = { "net4", "net6" };

	for (uint32_t i = 0; i < 2; i++) {
		nft_set(b, b->table, first[i], SET_FIRST4 + i, family[i], true);
		nft_set_prefixes(b, b->table, first[i], SET_FIRST4 + i, family[i], s->first,
				 s->first_count);
		nft_set(b, b->table, lan[i], SET_LAN4 + i, family[i], true);
		nft_set_prefixes(b, b->table, lan[i], SET_LAN4 + i, family[i], s->lan, s->lan_count);
		nft_set(b, b->table, net[i], SET_NET4 + i, family[i], true);
		nft_set_prefixes(b, b->table, net[i], SET_NET4 + i, family[i], s->net, s->net_count);
		by_set(b, family[i], first[i], SET_FIRST4 + i, NF_DROP);
		by_set(b, family[i], lan[i], SET_LAN4 + i, NF_ACCEPT);
		by_set(b, family[i], net[i], SET_NET4 + i, NF_DROP);
	}
}

static int write_table(struct net *n, const char *table)
{
	struct steps s = { .first = NULL };
	struct nft_batch b;
	int rc = sort_out(n, &s);

	if (!rc)
		rc = nft_begin(&b, &n->nf,
			       BATCH_BASE + ELEMENT_MAX * (n->leak_count + n->leak_lan_count));
	if (rc)
		goto out;
	b.table = table;
	nft_table_anew(&b, table);
	nft_chain(&b, table, CHAIN, NF_INET_POST_ROUTING, NFT_PRI_LAST);
	let_out(&b, n);
	sets(&b, &s);
	if (s.all4)
		everything(&b, AF_INET);
	if (s.all6)
		everything(&b, AF_INET6);
	rc = nft_run(&b);
out:
	free(s.first);
	return rc;
}

/*
 * One transaction takes the former chain away and puts the new one up, but a packet may meet the new one before it counts
 * and the former one when it does no more: so another table with the same stands beside it meanwhile.
 */
static int write_guard(struct net *n)
{
	int rc = write_table(n, STANDBY);

	rc = rc ? rc : write_table(n, TABLE);
	return rc ? rc : net_nft_remove(&n->nf, STANDBY);
}

/* Who was killed while he wrote it may have left both. */
static int remove_guard(struct net *n)
{
	int rc = net_nft_remove(&n->nf, TABLE), step = net_nft_remove(&n->nf, STANDBY);

	return rc ? rc : step;
}

int net_leak_apply(struct net *n)
{
	struct prefix lan[NET_SUBNETS_MAX];
	size_t count = 0;
	int rc = 0;

	if (!n->nf.s)
		return n->leak_count ? -EOPNOTSUPP : 0;
	if (n->leak_count)
		rc = read_lans(n, lan, &count);
	if (rc)
		count = 0; /* nothing is a LAN that we cannot see */
	if (count != n->leak_lan_count || (count && memcmp(lan, n->leak_lan, count * sizeof(*lan)))) {
		memcpy(n->leak_lan, lan, count * sizeof(*lan));
		n->leak_lan_count = count;
		n->leak_dirty = true;
	}
	if (!n->leak_dirty)
		return 0;
	rc = n->leak_count ? write_guard(n) : remove_guard(n);
	if (rc && n->leak_count && !n->leak_failed)
		log_err(NULL,
			"nft: cannot write table inet %s: %s; `leak = never` has its routes alone. "
			"Load nf_tables",
			TABLE, strerror(-rc));
	n->leak_failed = rc != 0;
	n->leak_dirty = rc != 0;
	return rc;
}

void net_marks_set(struct net *n, const uint32_t *mark, size_t count)
{
	if (count > NET_MARKS_MAX)
		count = NET_MARKS_MAX;
	if (count == n->mark_count && !memcmp(n->marks, mark, count * sizeof(*mark)))
		return;
	memcpy(n->marks, mark, count * sizeof(*mark));
	n->mark_count = count;
	n->nft_dirty = n->leak_dirty = true;
}

void net_outside_set(struct net *n, const char *const *name, size_t count)
{
	n->outside_count = count < NET_OUTSIDE_MAX ? count : NET_OUTSIDE_MAX;
	for (size_t i = 0; i < n->outside_count; i++)
		snprintf(n->outside[i], sizeof(n->outside[i]), "%s", name[i]);
}

int net_leak_set(struct net *n, const struct prefix *p, size_t count)
{
	struct prefix *copy = calloc(count + 1, sizeof(*copy));

	if (!copy)
		return -ENOMEM;
	if (count)
		memcpy(copy, p, count * sizeof(*copy));
	n->leak_dirty |= count != n->leak_count || (count && memcmp(copy, n->leak, count * sizeof(*copy)));
	free(n->leak);
	n->leak = copy;
	n->leak_count = count;
	return 0;
}

int net_leak_early(struct net *n)
{
	int rc = net_leak_apply(n), step;

	/*
	 * The floor beneath what has no room for a LAN: so the answer comes at once, and stays when somebody
	 * flushes all of nft. Wider networks get theirs from the daemon, which watches the LANs in them.
	 */
	for (size_t i = 0; i < n->leak_count; i++) {
		const struct prefix *p = &n->leak[i];

		if (p->len && p->len < addr_bits(&p->addr))
			continue;
		step = net_route_floor(n, p);
		rc = rc || net_no_family(step) ? rc : step;
	}
	step = net_rule_apply(n);
	return rc ? rc : step;
}

int net_leak_remove(struct net *n)
{
	int rc = n->nf.s ? remove_guard(n) : 0, step;

	if (n->ifindex)
		return rc; /* with a TUN there is, or was, a daemon: the routes are its own */
	step = net_rule_flush(&n->rt, &n->p);
	rc = rc ? rc : step;
	step = net_route_flush(&n->rt, &n->p);
	return rc ? rc : step;
}
