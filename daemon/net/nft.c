/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: Linux takes a packet for a local address on whatever interface it arrives (measured), so a
 * neighbour on the WAN segment could reach the tunnel address without the tunnel. The table
 *
 *	table inet postern {
 *		set addr4 { type ipv4_addr; }	set addr6 { type ipv6_addr; }
 *		chain guard { type filter hook prerouting priority raw; policy accept;
 *			ip  daddr @addr4 iif != { TUN, lo } counter drop
 *			ip6 daddr @addr6 iif != { TUN, lo } counter drop
 *		}
 *		# only with a 0/0 route: replies of the peer bear our mark, which strict rp_filter with
 *		# src_valid_mark needs, or it would look for the peer behind the tunnel
 *		chain mark_out { type filter hook output priority mangle;
 *			meta mark MARK ct mark set meta mark }
 *		chain mark_in { type filter hook prerouting priority mangle;
 *			iif != TUN ct mark MARK meta mark set ct mark }
 *	}
 *
 * is written whole in one batch, which the kernel carries out as one transaction: there is no moment
 * without it.
 */
#include "net_int.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"

#define BATCH_MAX      32768
#define LO_IFINDEX     1 /* in every network namespace */
#define PRI_RAW	       (-300)
#define PRI_MANGLE     (-150)
#define TYPE_IPV4      7 /* nft's own type numbers, so that `nft list` prints addresses */
#define TYPE_IPV6      8
#define SRC_VALID_MARK "/proc/sys/net/ipv4/conf/all/src_valid_mark"

struct batch {
	struct mnl_nlmsg_batch *b;
	uint8_t *buf;
	struct nl *nf;
	uint32_t first_seq;
	unsigned count; /* of messages that are acknowledged */
};

static struct nlmsghdr *put_header(struct batch *b, uint16_t type, uint8_t family, uint16_t res_id)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(mnl_nlmsg_batch_current(b->b));
	struct nfgenmsg *nfg;

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST;
	nlh->nlmsg_seq = ++b->nf->seq;
	nfg = mnl_nlmsg_put_extra_header(nlh, sizeof(*nfg));
	nfg->nfgen_family = family;
	nfg->version = NFNETLINK_V0;
	nfg->res_id = htons(res_id);
	return nlh;
}

static struct nlmsghdr *begin(struct batch *b, uint16_t msg, uint16_t flags)
{
	struct nlmsghdr *nlh =
	    put_header(b, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | msg), NFPROTO_INET, 0);

	nlh->nlmsg_flags |= NLM_F_ACK | flags;
	b->count++;
	return nlh;
}

static void end(struct batch *b)
{
	/* BATCH_MAX is far above what NET_ADDRS_MAX addresses can fill. */
	(void)mnl_nlmsg_batch_next(b->b);
}

static int batch_open(struct batch *b, struct nl *nf)
{
	*b = (struct batch){ .nf = nf, .buf = malloc(BATCH_MAX * 2) };
	if (!b->buf)
		return -ENOMEM;
	b->b = mnl_nlmsg_batch_start(b->buf, BATCH_MAX);
	if (!b->b) {
		free(b->buf);
		return -ENOMEM;
	}
	put_header(b, NFNL_MSG_BATCH_BEGIN, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
	end(b);
	b->first_seq = nf->seq;
	return 0;
}

static int batch_run(struct batch *b)
{
	uint8_t in[NL_BUF] __attribute__((aligned(8)));
	int rc = 0;

	put_header(b, NFNL_MSG_BATCH_END, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
	end(b);
	if (mnl_socket_sendto(b->nf->s, mnl_nlmsg_batch_head(b->b), mnl_nlmsg_batch_size(b->b)) < 0)
		rc = -errno;
	for (unsigned got = 0; !rc && got < b->count;) {
		ssize_t n = mnl_socket_recvfrom(b->nf->s, in, sizeof(in));
		int left = (int)n;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			rc = errno == EAGAIN ? -ETIMEDOUT : -errno;
			break;
		}
		for (struct nlmsghdr *h = (void *)in; mnl_nlmsg_ok(h, left);
		     h = mnl_nlmsg_next(h, &left)) {
			const struct nlmsgerr *e = mnl_nlmsg_get_payload(h);

			if (h->nlmsg_type != NLMSG_ERROR || h->nlmsg_seq - b->first_seq > 1000)
				continue;
			got++;
			if (e->error && !rc)
				rc = e->error;
		}
	}
	mnl_nlmsg_batch_stop(b->b);
	free(b->buf);
	return rc;
}

static void table(struct batch *b, uint16_t msg, uint16_t flags)
{
	struct nlmsghdr *nlh = begin(b, msg, flags);

	mnl_attr_put_strz(nlh, NFTA_TABLE_NAME, NET_NFT_TABLE);
	end(b);
}

static void chain(struct batch *b, const char *name, uint32_t hook, int32_t priority)
{
	struct nlmsghdr *nlh = begin(b, NFT_MSG_NEWCHAIN, NLM_F_CREATE);
	struct nlattr *nest;

	mnl_attr_put_strz(nlh, NFTA_CHAIN_TABLE, NET_NFT_TABLE);
	mnl_attr_put_strz(nlh, NFTA_CHAIN_NAME, name);
	nest = mnl_attr_nest_start(nlh, NFTA_CHAIN_HOOK);
	mnl_attr_put_u32(nlh, NFTA_HOOK_HOOKNUM, htonl(hook));
	mnl_attr_put_u32(nlh, NFTA_HOOK_PRIORITY, htonl((uint32_t)priority));
	mnl_attr_nest_end(nlh, nest);
	mnl_attr_put_u32(nlh, NFTA_CHAIN_POLICY, htonl(NF_ACCEPT));
	mnl_attr_put_strz(nlh, NFTA_CHAIN_TYPE, "filter");
	end(b);
}

static void set(struct batch *b, const char *name, uint32_t id, const struct net *n, uint8_t family)
{
	struct nlmsghdr *nlh = begin(b, NFT_MSG_NEWSET, NLM_F_CREATE);
	struct nlattr *list;
	bool any = false;

	mnl_attr_put_strz(nlh, NFTA_SET_TABLE, NET_NFT_TABLE);
	mnl_attr_put_strz(nlh, NFTA_SET_NAME, name);
	mnl_attr_put_u32(nlh, NFTA_SET_ID, htonl(id));
	mnl_attr_put_u32(nlh, NFTA_SET_FLAGS, 0);
	mnl_attr_put_u32(nlh, NFTA_SET_KEY_TYPE, htonl(family == AF_INET ? TYPE_IPV4 : TYPE_IPV6));
	mnl_attr_put_u32(nlh, NFTA_SET_KEY_LEN, htonl(family == AF_INET ? 4 : 16));
	end(b);
	for (size_t i = 0; i < n->addr_count; i++)
		any |= n->addrs[i].family == family;
	if (!any)
		return;
	nlh = begin(b, NFT_MSG_NEWSETELEM, NLM_F_CREATE);
	mnl_attr_put_strz(nlh, NFTA_SET_ELEM_LIST_TABLE, NET_NFT_TABLE);
	mnl_attr_put_strz(nlh, NFTA_SET_ELEM_LIST_SET, name);
	mnl_attr_put_u32(nlh, NFTA_SET_ELEM_LIST_SET_ID, htonl(id));
	list = mnl_attr_nest_start(nlh, NFTA_SET_ELEM_LIST_ELEMENTS);
	for (size_t i = 0; i < n->addr_count; i++) {
		struct nlattr *elem, *key;

		if (n->addrs[i].family != family)
			continue;
		elem = mnl_attr_nest_start(nlh, NFTA_LIST_ELEM);
		key = mnl_attr_nest_start(nlh, NFTA_SET_ELEM_KEY);
		mnl_attr_put(nlh, NFTA_DATA_VALUE, addr_len(&n->addrs[i]), n->addrs[i].b);
		mnl_attr_nest_end(nlh, key);
		mnl_attr_nest_end(nlh, elem);
	}
	mnl_attr_nest_end(nlh, list);
	end(b);
}

/* ---- rules as lists of expressions ---- */

struct rule {
	struct nlmsghdr *nlh;
	struct nlattr *list, *elem, *data;
};

static struct rule rule_begin(struct batch *b, const char *chain_name)
{
	struct rule r = { .nlh = begin(b, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND) };

	mnl_attr_put_strz(r.nlh, NFTA_RULE_TABLE, NET_NFT_TABLE);
	mnl_attr_put_strz(r.nlh, NFTA_RULE_CHAIN, chain_name);
	r.list = mnl_attr_nest_start(r.nlh, NFTA_RULE_EXPRESSIONS);
	return r;
}

static void rule_end(struct batch *b, struct rule *r)
{
	mnl_attr_nest_end(r->nlh, r->list);
	end(b);
}

static void expr_begin(struct rule *r, const char *name)
{
	r->elem = mnl_attr_nest_start(r->nlh, NFTA_LIST_ELEM);
	mnl_attr_put_strz(r->nlh, NFTA_EXPR_NAME, name);
	r->data = mnl_attr_nest_start(r->nlh, NFTA_EXPR_DATA);
}

static void expr_end(struct rule *r)
{
	mnl_attr_nest_end(r->nlh, r->data);
	mnl_attr_nest_end(r->nlh, r->elem);
}

/* "meta" and "ct" share the numbers of KEY, DREG and SREG but not their attribute numbers. */
static void meta_load(struct rule *r, uint32_t key)
{
	expr_begin(r, "meta");
	mnl_attr_put_u32(r->nlh, NFTA_META_KEY, htonl(key));
	mnl_attr_put_u32(r->nlh, NFTA_META_DREG, htonl(NFT_REG_1));
	expr_end(r);
}

static void meta_set_mark(struct rule *r)
{
	expr_begin(r, "meta");
	mnl_attr_put_u32(r->nlh, NFTA_META_KEY, htonl(NFT_META_MARK));
	mnl_attr_put_u32(r->nlh, NFTA_META_SREG, htonl(NFT_REG_1));
	expr_end(r);
}

static void ct_mark(struct rule *r, bool load)
{
	expr_begin(r, "ct");
	mnl_attr_put_u32(r->nlh, NFTA_CT_KEY, htonl(NFT_CT_MARK));
	mnl_attr_put_u32(r->nlh, load ? NFTA_CT_DREG : NFTA_CT_SREG, htonl(NFT_REG_1));
	expr_end(r);
}

static void compare(struct rule *r, uint32_t op, const void *value, size_t len)
{
	struct nlattr *data;

	expr_begin(r, "cmp");
	mnl_attr_put_u32(r->nlh, NFTA_CMP_SREG, htonl(NFT_REG_1));
	mnl_attr_put_u32(r->nlh, NFTA_CMP_OP, htonl(op));
	data = mnl_attr_nest_start(r->nlh, NFTA_CMP_DATA);
	mnl_attr_put(r->nlh, NFTA_DATA_VALUE, len, value);
	mnl_attr_nest_end(r->nlh, data);
	expr_end(r);
}

static void in_set(struct rule *r, const char *name, uint32_t id)
{
	expr_begin(r, "lookup");
	mnl_attr_put_strz(r->nlh, NFTA_LOOKUP_SET, name);
	mnl_attr_put_u32(r->nlh, NFTA_LOOKUP_SET_ID, htonl(id));
	mnl_attr_put_u32(r->nlh, NFTA_LOOKUP_SREG, htonl(NFT_REG_1));
	expr_end(r);
}

static void drop(struct rule *r)
{
	struct nlattr *data, *verdict;

	expr_begin(r, "counter");
	expr_end(r);
	expr_begin(r, "immediate");
	mnl_attr_put_u32(r->nlh, NFTA_IMMEDIATE_DREG, htonl(NFT_REG_VERDICT));
	data = mnl_attr_nest_start(r->nlh, NFTA_IMMEDIATE_DATA);
	verdict = mnl_attr_nest_start(r->nlh, NFTA_DATA_VERDICT);
	mnl_attr_put_u32(r->nlh, NFTA_VERDICT_CODE, htonl(NF_DROP));
	mnl_attr_nest_end(r->nlh, verdict);
	mnl_attr_nest_end(r->nlh, data);
	expr_end(r);
}

static void guard(struct batch *b, const struct net *n, uint8_t family, const char *set_name,
		  uint32_t id)
{
	uint8_t nfproto = family == AF_INET ? NFPROTO_IPV4 : NFPROTO_IPV6;
	uint32_t lo = LO_IFINDEX; /* host order, as meta iif gives it */
	struct rule r = rule_begin(b, "guard");

	meta_load(&r, NFT_META_NFPROTO);
	compare(&r, NFT_CMP_EQ, &nfproto, sizeof(nfproto));
	meta_load(&r, NFT_META_IIF);
	compare(&r, NFT_CMP_NEQ, &n->ifindex, sizeof(n->ifindex));
	meta_load(&r, NFT_META_IIF);
	compare(&r, NFT_CMP_NEQ, &lo, sizeof(lo));
	expr_begin(&r, "payload");
	mnl_attr_put_u32(r.nlh, NFTA_PAYLOAD_DREG, htonl(NFT_REG_1));
	mnl_attr_put_u32(r.nlh, NFTA_PAYLOAD_BASE, htonl(NFT_PAYLOAD_NETWORK_HEADER));
	mnl_attr_put_u32(r.nlh, NFTA_PAYLOAD_OFFSET,
			 htonl(family == AF_INET ? 16 : 24)); /* daddr */
	mnl_attr_put_u32(r.nlh, NFTA_PAYLOAD_LEN, htonl(family == AF_INET ? 4 : 16));
	expr_end(&r);
	in_set(&r, set_name, id);
	drop(&r);
	rule_end(b, &r);
}

static void marks(struct batch *b, const struct net *n)
{
	struct rule r;

	chain(b, "mark_out", NF_INET_LOCAL_OUT, PRI_MANGLE);
	r = rule_begin(b, "mark_out");
	meta_load(&r, NFT_META_MARK);
	compare(&r, NFT_CMP_EQ, &n->p.mark, sizeof(n->p.mark));
	ct_mark(&r, false);
	rule_end(b, &r);
	chain(b, "mark_in", NF_INET_PRE_ROUTING, PRI_MANGLE);
	r = rule_begin(b, "mark_in");
	meta_load(&r, NFT_META_IIF);
	compare(&r, NFT_CMP_NEQ, &n->ifindex, sizeof(n->ifindex));
	ct_mark(&r, true);
	compare(&r, NFT_CMP_EQ, &n->p.mark, sizeof(n->p.mark));
	meta_set_mark(&r);
	rule_end(b, &r);
}

static void src_valid_mark(void)
{
	int fd = open(SRC_VALID_MARK, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "1\n", 2) != 2)
		log_warn(NULL, "cannot set %s; a strict rp_filter will drop the peer's packets",
			 SRC_VALID_MARK);
	if (fd >= 0)
		close(fd);
}

static int write_table(struct net *n, bool with_marks)
{
	struct batch b;
	int rc = batch_open(&b, &n->nf);

	if (rc)
		return rc;
	/* Make it, so that the removal cannot fail; then afresh. */
	table(&b, NFT_MSG_NEWTABLE, NLM_F_CREATE);
	table(&b, NFT_MSG_DELTABLE, 0);
	table(&b, NFT_MSG_NEWTABLE, NLM_F_CREATE);
	set(&b, "addr4", 1, n, AF_INET);
	set(&b, "addr6", 2, n, AF_INET6);
	chain(&b, "guard", NF_INET_PRE_ROUTING, PRI_RAW);
	guard(&b, n, AF_INET, "addr4", 1);
	guard(&b, n, AF_INET6, "addr6", 2);
	if (with_marks)
		marks(&b, n);
	return batch_run(&b);
}

int net_nft_apply(struct net *n)
{
	bool dflt = net_wants_default(n);
	int rc;

	if (!n->nft_dirty)
		return 0;
	rc = write_table(n, dflt);
	if (rc && dflt) {
		log_warn(NULL, "nft: no conntrack marks (%s): the guard alone", strerror(-rc));
		rc = write_table(n, false);
	}
	if (dflt)
		src_valid_mark();
	if (rc && !n->nft_failed)
		log_err(NULL,
			"nft: cannot write table inet %s: %s; neighbours on other interfaces "
			"can reach the tunnel addresses. Load nf_tables, or filter by hand",
			NET_NFT_TABLE, strerror(-rc));
	n->nft_failed = rc != 0;
	n->nft_dirty = rc != 0;
	return rc;
}

int net_nft_remove(struct nl *nf)
{
	struct batch b;
	int rc = batch_open(&b, nf);

	if (rc)
		return rc;
	table(&b, NFT_MSG_NEWTABLE, NLM_F_CREATE);
	table(&b, NFT_MSG_DELTABLE, 0);
	return batch_run(&b);
}
