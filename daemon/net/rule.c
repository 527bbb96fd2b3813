/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The look-up order: see the table in net.h. All rules are ours that bear NET_PROTO and stand in our
 * range of priorities. */
#include "net_int.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include "log.h"

#define RULES_MAX (8 + NET_BYPASS_MAX)
#define HAVE_MAX  64

struct krule {
	uint8_t family, action;
	uint32_t priority, table, mark, go, suppress; /* suppress: UINT32_MAX none */
	bool has_uid;
	struct fib_rule_uid_range uid;
};

struct rules {
	struct krule r[HAVE_MAX];
	size_t count;
};

static void want(struct rules *l, struct krule r)
{
	if (!r.suppress)
		r.suppress = UINT32_MAX;
	else
		r.suppress--;
	l->r[l->count++] = r;
}

static void build(const struct net *n, uint8_t family, struct rules *l)
{
	uint32_t first = NET_RULE_FIRST, last = NET_RULE_LAST;

	/* The goal of the jumps comes first, so that none is ever unresolved. */
	want(l, (struct krule){ .family = family, .action = FR_ACT_NOP, .priority = last });
	want(l, (struct krule){ .family = family,
				.action = FR_ACT_GOTO,
				.priority = first,
				.mark = n->p.mark,
				.go = last });
	for (size_t i = 0; i < n->mark_count; i++)
		want(l, (struct krule){ .family = family,
					.action = FR_ACT_GOTO,
					.priority = first,
					.mark = n->marks[i],
					.go = last });
	for (size_t i = 0; i < n->p.bypass_count; i++)
		want(l, (struct krule){ .family = family,
					.action = FR_ACT_GOTO,
					.priority = first + 1,
					.go = last,
					.has_uid = true,
					.uid = { n->p.bypass_uid[i], n->p.bypass_uid[i] } });
	want(l, (struct krule){ .family = family,
				.action = FR_ACT_TO_TBL,
				.priority = first + 2,
				.table = n->p.table });
	if (!net_wants_default(n))
		return;
	want(l, (struct krule){ .family = family,
				.action = FR_ACT_TO_TBL,
				.priority = first + 3,
				.table = RT_TABLE_MAIN,
				.suppress = 1 }); /* prefix length 0 */
	want(l, (struct krule){ .family = family,
				.action = FR_ACT_TO_TBL,
				.priority = first + 4,
				.table = n->p.table + 1 });
}

static int change(struct nl *rt, uint16_t type, const struct krule *r)
{
	uint8_t buf[NL_BUF];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct fib_rule_hdr *h;

	nlh->nlmsg_type = type;
	if (type == RTM_NEWRULE)
		nlh->nlmsg_flags = NLM_F_CREATE | NLM_F_EXCL;
	h = mnl_nlmsg_put_extra_header(nlh, sizeof(*h));
	h->family = r->family;
	h->action = r->action;
	mnl_attr_put_u32(nlh, FRA_PRIORITY, r->priority);
	mnl_attr_put_u8(nlh, FRA_PROTOCOL, NET_PROTO);
	if (r->action == FR_ACT_TO_TBL)
		mnl_attr_put_u32(nlh, FRA_TABLE, r->table);
	if (r->action == FR_ACT_GOTO)
		mnl_attr_put_u32(nlh, FRA_GOTO, r->go);
	if (r->mark) {
		mnl_attr_put_u32(nlh, FRA_FWMARK, r->mark);
		mnl_attr_put_u32(nlh, FRA_FWMASK, UINT32_MAX);
	}
	if (r->has_uid)
		mnl_attr_put(nlh, FRA_UID_RANGE, sizeof(r->uid), &r->uid);
	if (r->suppress != UINT32_MAX)
		mnl_attr_put_u32(nlh, FRA_SUPPRESS_PREFIXLEN, r->suppress);
	return nl_talk(rt, nlh, NULL, NULL);
}

static int on_rule(const struct nlmsghdr *nlh, void *arg)
{
	const struct fib_rule_hdr *h = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *tb[FRA_MAX + 1];
	struct krule r = { .family = h->family, .action = h->action, .suppress = UINT32_MAX };
	struct rules *l = arg;

	nl_attrs(nlh, sizeof(*h), tb, FRA_MAX);
	r.priority = nl_u32(tb[FRA_PRIORITY]);
	if (!tb[FRA_PROTOCOL] || mnl_attr_get_u8(tb[FRA_PROTOCOL]) != NET_PROTO ||
	    r.priority < NET_RULE_FIRST || r.priority > NET_RULE_LAST || l->count == HAVE_MAX)
		return MNL_CB_OK;
	if (r.action == FR_ACT_TO_TBL)
		r.table = tb[FRA_TABLE] ? nl_u32(tb[FRA_TABLE]) : h->table;
	if (r.action == FR_ACT_GOTO)
		r.go = nl_u32(tb[FRA_GOTO]);
	r.mark = nl_u32(tb[FRA_FWMARK]);
	if (tb[FRA_SUPPRESS_PREFIXLEN])
		r.suppress = nl_u32(tb[FRA_SUPPRESS_PREFIXLEN]);
	if (tb[FRA_UID_RANGE] && mnl_attr_get_payload_len(tb[FRA_UID_RANGE]) >= sizeof(r.uid)) {
		memcpy(&r.uid, mnl_attr_get_payload(tb[FRA_UID_RANGE]), sizeof(r.uid));
		r.has_uid = true;
	}
	l->r[l->count++] = r;
	return MNL_CB_OK;
}

static int dump(struct nl *rt, uint8_t family, struct rules *l)
{
	uint8_t buf[NL_BUF];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct fib_rule_hdr *h;
	int rc;

	nlh->nlmsg_type = RTM_GETRULE;
	nlh->nlmsg_flags = NLM_F_DUMP;
	h = mnl_nlmsg_put_extra_header(nlh, sizeof(*h));
	h->family = family;
	rc = nl_talk(rt, nlh, on_rule, l);
	return net_no_family(rc) ? 0 : rc;
}

static bool same(const struct krule *a, const struct krule *b)
{
	return a->family == b->family && a->action == b->action && a->priority == b->priority &&
	       a->table == b->table && a->mark == b->mark && a->go == b->go &&
	       a->suppress == b->suppress && a->has_uid == b->has_uid &&
	       a->uid.start == b->uid.start && a->uid.end == b->uid.end;
}

static bool in(const struct rules *l, const struct krule *r)
{
	for (size_t i = 0; i < l->count; i++) {
		if (same(&l->r[i], r))
			return true;
	}
	return false;
}

static int apply_family(struct net *n, uint8_t family)
{
	struct rules wanted = { .count = 0 }, have = { .count = 0 };
	int rc = dump(&n->rt, family, &have), first = rc;

	build(n, family, &wanted);
	for (size_t i = 0; !rc && i < wanted.count; i++) {
		int one = in(&have, &wanted.r[i]) ? 0 : change(&n->rt, RTM_NEWRULE, &wanted.r[i]);

		if (one && one != -EEXIST && !net_no_family(one)) {
			log_err(NULL, "rule priority=%u family=%u: %s", wanted.r[i].priority,
				family, strerror(-one));
			first = first ? first : one;
		}
	}
	for (size_t i = 0; !rc && i < have.count; i++) {
		int one = in(&wanted, &have.r[i]) ? 0 : change(&n->rt, RTM_DELRULE, &have.r[i]);

		if (one && one != -ENOENT)
			first = first ? first : one;
	}
	return first;
}

int net_rule_apply(struct net *n)
{
	int rc = apply_family(n, AF_INET), rc2 = apply_family(n, AF_INET6);

	return rc ? rc : rc2;
}

int net_rule_flush(struct nl *rt, const struct net_params *p)
{
	static const uint8_t family[] = { AF_INET, AF_INET6 };
	int rc = 0;

	(void)p;
	for (size_t f = 0; f < 2; f++) {
		struct rules have = { .count = 0 };
		int one = dump(rt, family[f], &have);

		rc = rc ? rc : one;
		/* From the front: the jumps go before what they jump to. */
		for (size_t i = 0; i < have.count; i++) {
			one = change(rt, RTM_DELRULE, &have.r[i]);
			rc = rc ? rc : one == -ENOENT ? 0 : one;
		}
	}
	return rc;
}
