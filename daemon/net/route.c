/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Routes in our two tables. Each wish becomes
 *
 *	DST dev TUN proto 157 metric 157 src SRC	and beneath it
 *	unreachable DST proto 157 metric 1570000
 *
 * and each local subnet inside of one a `throw`, which sends the look-up on to the next table.
 */
#include "net_int.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

static uint32_t table_of(const struct net *n, const struct prefix *dst)
{
	return dst->len ? n->p.table : n->p.table + 1;
}

static uint64_t hash_prefix(const struct prefix *p)
{
	uint8_t key[18] = { p->addr.family, p->len };

	memcpy(key + 2, p->addr.b, sizeof(p->addr.b));
	return hash_bytes(key, sizeof(key));
}

static bool same_prefix(const struct prefix *a, const struct prefix *b)
{
	return a->len == b->len && addr_eq(&a->addr, &b->addr);
}

static struct wish_route *find(const struct net *n, const struct prefix *dst)
{
	uint64_t h = hash_prefix(dst);

	for (struct hash_node *hn = hash_first(&n->routes, h); hn; hn = hash_next(hn)) {
		struct wish_route *w = (struct wish_route *)(void *)hn; /* node comes first */

		if (same_prefix(&w->r.dst, dst))
			return w;
	}
	return NULL;
}

bool net_has_route(const struct net *n, const struct prefix *dst)
{
	return find(n, dst) != NULL;
}

bool net_wants_default(const struct net *n)
{
	struct prefix v4 = { .addr.family = AF_INET }, v6 = { .addr.family = AF_INET6 };

	return find(n, &v4) || find(n, &v6);
}

static struct nlmsghdr *msg(uint8_t *buf, uint16_t type, const struct kernel_route *k)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct rtmsg *rtm;

	nlh->nlmsg_type = type;
	rtm = mnl_nlmsg_put_extra_header(nlh, sizeof(*rtm));
	rtm->rtm_family = k->dst.addr.family;
	rtm->rtm_dst_len = k->dst.len;
	rtm->rtm_table = RT_TABLE_UNSPEC;
	rtm->rtm_protocol = NET_PROTO;
	rtm->rtm_type = k->type;
	rtm->rtm_scope = k->oif ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
	nl_put_addr(nlh, RTA_DST, &k->dst.addr);
	mnl_attr_put_u32(nlh, RTA_TABLE, k->table);
	mnl_attr_put_u32(nlh, RTA_PRIORITY, k->metric);
	if (k->oif)
		mnl_attr_put_u32(nlh, RTA_OIF, k->oif);
	if (k->oif && k->src.family)
		nl_put_addr(nlh, RTA_PREFSRC, &k->src);
	return nlh;
}

static int add(struct net *n, const struct kernel_route *k)
{
	uint8_t buf[NL_BUF];
	struct nlmsghdr *nlh = msg(buf, RTM_NEWROUTE, k);
	char s[PREFIX_STR_MAX];
	int rc;

	nlh->nlmsg_flags = NLM_F_CREATE | NLM_F_REPLACE;
	rc = nl_talk(&n->rt, nlh, NULL, NULL);
	if (rc == -EINVAL && k->src.family) {
		/* The preferred source is not ours (any more): better a route without it. */
		struct kernel_route bare = *k;

		bare.src.family = 0;
		return add(n, &bare);
	}
	if (rc)
		log_warn(NULL, "route type=%u to %s: %s", k->type, prefix_str(&k->dst, s),
			 strerror(-rc));
	return rc;
}

static int del(struct nl *rt, const struct kernel_route *k)
{
	uint8_t buf[NL_BUF];
	struct nlmsghdr *nlh = msg(buf, RTM_DELROUTE, k);
	int rc;

	((struct rtmsg *)mnl_nlmsg_get_payload(nlh))->rtm_scope = RT_SCOPE_NOWHERE;
	rc = nl_talk(rt, nlh, NULL, NULL);
	return rc == -ESRCH || rc == -ENODEV ? 0 : rc;
}

static struct kernel_route over(const struct net *n, const struct net_route *r)
{
	return (struct kernel_route){ .dst = r->dst,
				      .table = table_of(n, &r->dst),
				      .metric = NET_METRIC,
				      .oif = n->ifindex,
				      .type = RTN_UNICAST,
				      .src = r->src };
}

static struct kernel_route beneath(const struct net *n, const struct prefix *dst)
{
	return (struct kernel_route){ .dst = *dst,
				      .table = table_of(n, dst),
				      .metric = NET_METRIC_UNREACH,
				      .type = RTN_UNREACHABLE };
}

int net_route_floor(struct net *n, const struct prefix *dst)
{
	struct kernel_route low = beneath(n, dst);

	return add(n, &low);
}

int net_route_install(struct net *n, const struct net_route *r)
{
	struct kernel_route low = beneath(n, &r->dst), high = over(n, r);
	/* The floor first: there is no moment in which the tunnel route stands without it. */
	int rc = add(n, &low);

	return rc ? rc : add(n, &high);
}

int net_route_remove(struct net *n, const struct prefix *dst)
{
	struct net_route r = { .dst = *dst };
	struct kernel_route low = beneath(n, dst), high = over(n, &r);
	int rc = del(&n->rt, &high), rc2 = del(&n->rt, &low);

	return rc ? rc : rc2;
}

/* ---- reconcile ---- */

struct routes {
	struct kernel_route *r;
	size_t count, cap;
	const struct net_params *p;
	bool oom;
};

static void push(struct routes *l, const struct kernel_route *k)
{
	if (l->count == l->cap) {
		size_t cap = l->cap ? 2 * l->cap : 64;
		struct kernel_route *r = realloc(l->r, cap * sizeof(*r));

		if (!r) {
			l->oom = true;
			return;
		}
		l->r = r;
		l->cap = cap;
	}
	l->r[l->count++] = *k;
}

static int compare(const void *va, const void *vb)
{
	const struct kernel_route *a = va, *b = vb;
	int d = memcmp(a->dst.addr.b, b->dst.addr.b, sizeof(a->dst.addr.b));

	if (a->dst.addr.family != b->dst.addr.family)
		return a->dst.addr.family < b->dst.addr.family ? -1 : 1;
	if (d)
		return d;
	if (a->dst.len != b->dst.len)
		return a->dst.len < b->dst.len ? -1 : 1;
	if (a->table != b->table)
		return a->table < b->table ? -1 : 1;
	if (a->metric != b->metric)
		return a->metric < b->metric ? -1 : 1;
	return 0;
}

static int on_route(const struct nlmsghdr *nlh, void *arg)
{
	const struct rtmsg *rtm = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *tb[RTA_MAX + 1];
	struct kernel_route k = { 0 };
	struct routes *l = arg;

	nl_attrs(nlh, sizeof(*rtm), tb, RTA_MAX);
	k.table = tb[RTA_TABLE] ? nl_u32(tb[RTA_TABLE]) : rtm->rtm_table;
	if (rtm->rtm_protocol != NET_PROTO || rtm->rtm_flags & RTM_F_CLONED ||
	    (k.table != l->p->table && k.table != l->p->table + 1))
		return MNL_CB_OK;
	k.dst.addr = nl_addr(tb[RTA_DST]);
	k.dst.addr.family = rtm->rtm_family;
	k.dst.len = rtm->rtm_dst_len;
	k.metric = nl_u32(tb[RTA_PRIORITY]);
	k.type = rtm->rtm_type;
	k.oif = k.type == RTN_UNICAST ? nl_u32(tb[RTA_OIF]) : 0;
	k.src = nl_addr(tb[RTA_PREFSRC]);
	push(l, &k);
	return MNL_CB_OK;
}

static int dump(struct nl *rt, struct routes *l)
{
	static const uint8_t family[] = { AF_INET, AF_INET6 };
	int rc = 0;

	for (size_t i = 0; !rc && i < 4; i++) {
		uint8_t buf[NL_BUF];
		struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
		struct rtmsg *rtm;

		nlh->nlmsg_type = RTM_GETROUTE;
		nlh->nlmsg_flags = NLM_F_DUMP;
		rtm = mnl_nlmsg_put_extra_header(nlh, sizeof(*rtm));
		rtm->rtm_family = family[i / 2];
		mnl_attr_put_u32(nlh, RTA_TABLE, l->p->table + i % 2);
		rc = nl_talk(rt, nlh, on_route, l);
		/* ENOENT: no such table yet. An old kernel dumps everything twice, which is harmless. */
		if (rc == -ENOENT || net_no_family(rc))
			rc = 0;
	}
	return rc ? rc : l->oom ? -ENOMEM : 0;
}

struct build {
	struct net *n;
	struct routes *want;
};

static void want_route(struct hash_node *hn, void *arg)
{
	struct wish_route *w = (struct wish_route *)(void *)hn;
	struct build *b = arg;
	struct kernel_route k = over(b->n, &w->r);

	push(b->want, &k);
	k = beneath(b->n, &w->r.dst);
	push(b->want, &k);
	for (size_t i = 0; w->r.dst.len && i < b->n->subnet_count; i++) {
		const struct prefix *s = &b->n->subnets[i];

		if (!prefix_covers(&w->r.dst, s) || same_prefix(&w->r.dst, s))
			continue;
		k = (struct kernel_route){
			.dst = *s, .table = b->n->p.table, .metric = NET_METRIC, .type = RTN_THROW
		};
		push(b->want, &k);
	}
}

static void dedup(struct routes *l)
{
	size_t out = 0;

	qsort(l->r, l->count, sizeof(*l->r), compare);
	for (size_t i = 0; i < l->count; i++) {
		if (!out || compare(&l->r[out - 1], &l->r[i]))
			l->r[out++] = l->r[i];
	}
	l->count = out;
}

static bool matches(const struct kernel_route *want, const struct kernel_route *is)
{
	return want->type == is->type && want->oif == is->oif &&
	       (!want->src.family || addr_eq(&want->src, &is->src));
}

int net_route_apply(struct net *n)
{
	struct routes want = { .p = &n->p }, have = { .p = &n->p };
	struct build b = { .n = n, .want = &want };
	int rc, first = 0;

	hash_each(&n->routes, want_route, &b);
	rc = want.oom ? -ENOMEM : dump(&n->rt, &have);
	if (rc)
		goto out;
	if (want.count)
		dedup(&want);
	for (size_t i = 0; i < have.count; i++) {
		struct kernel_route *w =
		    want.count ? bsearch(&have.r[i], want.r, want.count, sizeof(*want.r), compare)
			       : NULL;
		char s[PREFIX_STR_MAX];

		/* One that differs is replaced where it stands: no gap. */
		if (w) {
			w->seen = matches(w, &have.r[i]);
			continue;
		}
		rc = del(&n->rt, &have.r[i]);
		log_info(NULL, "route type=%u to %s removed: not in the configuration%s%s",
			 have.r[i].type, prefix_str(&have.r[i].dst, s), rc ? ": " : "",
			 rc ? strerror(-rc) : "");
		if (rc && !first)
			first = rc;
	}
	/* Worse metrics sort behind: walked backwards, the floor comes before the tunnel route. */
	for (size_t i = want.count; i-- > 0;) {
		rc = want.r[i].seen ? 0 : add(n, &want.r[i]);
		if (rc && !first && !net_no_family(rc))
			first = rc;
	}
	rc = first;
out:
	free(want.r);
	free(have.r);
	return rc;
}

int net_route_flush(struct nl *rt, const struct net_params *p)
{
	struct routes have = { .p = p };
	int rc = dump(rt, &have);

	for (size_t i = 0; i < have.count; i++) {
		int one = del(rt, &have.r[i]);

		if (one && !rc)
			rc = one;
	}
	free(have.r);
	return rc;
}

/* ---- wishes ---- */

void net_default_changed(struct net *n)
{
	n->nft_dirty = true;
	if (!n->started)
		return;
	(void)net_rule_apply(n);
	if (n->nf.s)
		(void)net_nft_apply(n);
}

int net_route_add(struct net *n, const struct net_route *r)
{
	struct wish_route *w = find(n, &r->dst);
	bool dflt = net_wants_default(n);
	int rc;

	if (r->dst.len > addr_bits(&r->dst.addr) || !r->dst.addr.family)
		return -EINVAL;
	if (!w) {
		if (n->routes.count >= NET_ROUTES_MAX)
			return -ENOSPC;
		w = calloc(1, sizeof(*w));
		if (!w)
			return -ENOMEM;
		w->r = *r;
		rc = hash_insert(&n->routes, &w->node, hash_prefix(&r->dst));
		if (rc) {
			free(w);
			return rc;
		}
	}
	w->r = *r;
	if (!n->started)
		return 0; /* net_start() carries it out */
	if (dflt != net_wants_default(n))
		net_default_changed(n);
	rc = net_route_install(n, r);
	/* A wide route may cover a local subnet, which then wants its throw. */
	if (!rc && r->dst.len && r->dst.len < addr_bits(&r->dst.addr)) {
		for (size_t i = 0; i < n->subnet_count; i++) {
			struct kernel_route k = { .dst = n->subnets[i],
						  .table = n->p.table,
						  .metric = NET_METRIC,
						  .type = RTN_THROW };

			if (prefix_covers(&r->dst, &k.dst) && !same_prefix(&r->dst, &k.dst))
				(void)add(n, &k);
		}
	}
	return rc;
}

int net_route_del(struct net *n, const struct prefix *dst)
{
	struct wish_route *w = find(n, dst);
	bool dflt = net_wants_default(n);
	int rc;

	if (!w)
		return 0;
	hash_remove(&n->routes, &w->node);
	free(w);
	if (!n->started)
		return 0;
	rc = net_route_remove(n, dst);
	if (dflt != net_wants_default(n))
		net_default_changed(n);
	return rc;
}

/* ---- what a marked packet would do ---- */

static bool expires(const struct nlattr *a)
{
	struct rta_cacheinfo info;

	if (mnl_attr_get_payload_len(a) < sizeof(info))
		return false;
	memcpy(&info, mnl_attr_get_payload(a), sizeof(info));
	return info.rta_expires != 0;
}

static int on_path(const struct nlmsghdr *nlh, void *arg)
{
	const struct rtmsg *rtm = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *tb[RTA_MAX + 1], *metrics[RTAX_MTU + 1];
	struct net_path *out = arg;

	if (nlh->nlmsg_type != RTM_NEWROUTE)
		return MNL_CB_OK;
	nl_attrs(nlh, sizeof(*rtm), tb, RTA_MAX);
	nl_nested(tb[RTA_METRICS], metrics, RTAX_MTU);
	if (rtm->rtm_type != RTN_UNICAST && rtm->rtm_type != RTN_LOCAL)
		return MNL_CB_OK;
	out->ifindex = nl_u32(tb[RTA_OIF]);
	out->src = nl_addr(tb[RTA_PREFSRC]);
	out->gateway = nl_addr(tb[RTA_GATEWAY]);
	/* What an ICMP error made the kernel believe expires; it is no fact about the way, and forgeable. */
	if (!tb[RTA_CACHEINFO] || !expires(tb[RTA_CACHEINFO]))
		out->mtu = nl_u32(metrics[RTAX_MTU]);
	return MNL_CB_OK;
}

int net_path_lookup(struct net *n, const struct addr *dst, uint32_t mark, uint32_t oif,
		    struct net_path *out)
{
	struct kernel_route k = { .dst = prefix_host(dst) };
	uint8_t buf[NL_BUF];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct rtmsg *rtm;
	int rc;

	memset(out, 0, sizeof(*out));
	nlh->nlmsg_type = RTM_GETROUTE;
	rtm = mnl_nlmsg_put_extra_header(nlh, sizeof(*rtm));
	rtm->rtm_family = dst->family;
	rtm->rtm_dst_len = k.dst.len;
	nl_put_addr(nlh, RTA_DST, dst);
	mnl_attr_put_u32(nlh, RTA_MARK, mark ? mark : n->p.mark);
	if (oif)
		mnl_attr_put_u32(nlh, RTA_OIF, oif);
	rc = nl_talk(net_outside(n), nlh, on_path, out);
	if (!rc && out->ifindex && !out->mtu)
		out->mtu = net_link_mtu(n, out->ifindex);
	return rc ? rc : out->ifindex ? 0 : -ENETUNREACH;
}
