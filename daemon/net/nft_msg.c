/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "nft_msg.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGE_MAX  40000 /* of one message: MSG_ELEMENTS elements of at most 36 bytes, and its head */
#define MSG_ELEMENTS 1000
#define TYPE_IPV4    7 /* nft's own type numbers, so that `nft list` prints addresses */
#define TYPE_IPV6    8
#define SEND_MARGIN  4096

/* ---- batches ---- */

static struct nlmsghdr *put_header(struct nft_batch *b, uint16_t type, uint8_t family,
				   uint16_t res_id)
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

struct nlmsghdr *nft_put(struct nft_batch *b, uint16_t msg, uint8_t family, uint16_t flags)
{
	struct nlmsghdr *nlh =
	    put_header(b, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | msg), family, 0);

	nlh->nlmsg_flags |= NLM_F_ACK | flags;
	b->count++;
	return nlh;
}

void nft_end(struct nft_batch *b)
{
	/* Past the limit the message is left out; the next one may be written over it. */
	b->full |= !mnl_nlmsg_batch_next(b->b);
}

int nft_begin(struct nft_batch *b, struct nl *nf, size_t cap)
{
	*b = (struct nft_batch){ .nf = nf, .buf = malloc(cap + MESSAGE_MAX) };
	if (!b->buf)
		return -ENOMEM;
	b->b = mnl_nlmsg_batch_start(b->buf, cap);
	if (!b->b) {
		free(b->buf);
		return -ENOMEM;
	}
	put_header(b, NFNL_MSG_BATCH_BEGIN, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
	nft_end(b);
	b->first_seq = nf->seq;
	return 0;
}

static int send_batch(struct nft_batch *b)
{
	size_t size = mnl_nlmsg_batch_size(b->b);
	int room = (int)size + SEND_MARGIN;

	/* A datagram larger than the socket's buffer is not taken at all; in a container only the first helps. */
	if (size > 65536) {
		(void)setsockopt(mnl_socket_get_fd(b->nf->s), SOL_SOCKET, SO_SNDBUF, &room,
				 sizeof(room));
		(void)setsockopt(mnl_socket_get_fd(b->nf->s), SOL_SOCKET, SO_SNDBUFFORCE, &room,
				 sizeof(room));
	}
	return mnl_socket_sendto(b->nf->s, mnl_nlmsg_batch_head(b->b), size) < 0 ? -errno : 0;
}

int nft_run(struct nft_batch *b)
{
	uint8_t in[NL_BUF] __attribute__((aligned(8)));
	int rc;

	put_header(b, NFNL_MSG_BATCH_END, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
	nft_end(b);
	rc = b->full ? -EMSGSIZE : send_batch(b);
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

			if (h->nlmsg_type != NLMSG_ERROR || h->nlmsg_seq - b->first_seq > 100000)
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

/* ---- tables, chains, sets ---- */

void nft_table(struct nft_batch *b, uint16_t msg, const char *name)
{
	struct nlmsghdr *nlh =
	    nft_put(b, msg, NFPROTO_INET, msg == NFT_MSG_NEWTABLE ? NLM_F_CREATE : 0);

	mnl_attr_put_strz(nlh, NFTA_TABLE_NAME, name);
	nft_end(b);
}

void nft_table_anew(struct nft_batch *b, const char *name)
{
	/* Make it, so that the removal cannot fail; then afresh. */
	nft_table(b, NFT_MSG_NEWTABLE, name);
	nft_table(b, NFT_MSG_DELTABLE, name);
	nft_table(b, NFT_MSG_NEWTABLE, name);
}

void nft_chain(struct nft_batch *b, const char *table, const char *name, uint32_t hook,
	       int32_t priority)
{
	struct nlmsghdr *nlh = nft_put(b, NFT_MSG_NEWCHAIN, NFPROTO_INET, NLM_F_CREATE);
	struct nlattr *nest;

	mnl_attr_put_strz(nlh, NFTA_CHAIN_TABLE, table);
	mnl_attr_put_strz(nlh, NFTA_CHAIN_NAME, name);
	nest = mnl_attr_nest_start(nlh, NFTA_CHAIN_HOOK);
	mnl_attr_put_u32(nlh, NFTA_HOOK_HOOKNUM, htonl(hook));
	mnl_attr_put_u32(nlh, NFTA_HOOK_PRIORITY, htonl((uint32_t)priority));
	mnl_attr_nest_end(nlh, nest);
	mnl_attr_put_u32(nlh, NFTA_CHAIN_POLICY, htonl(NF_ACCEPT));
	mnl_attr_put_strz(nlh, NFTA_CHAIN_TYPE, "filter");
	nft_end(b);
}

void nft_set(struct nft_batch *b, const char *table, const char *name, uint32_t id, uint8_t family,
	     bool interval)
{
	struct nlmsghdr *nlh = nft_put(b, NFT_MSG_NEWSET, NFPROTO_INET, NLM_F_CREATE);

	mnl_attr_put_strz(nlh, NFTA_SET_TABLE, table);
	mnl_attr_put_strz(nlh, NFTA_SET_NAME, name);
	mnl_attr_put_u32(nlh, NFTA_SET_ID, htonl(id));
	mnl_attr_put_u32(nlh, NFTA_SET_FLAGS, htonl(interval ? NFT_SET_INTERVAL : 0));
	mnl_attr_put_u32(nlh, NFTA_SET_KEY_TYPE, htonl(family == AF_INET ? TYPE_IPV4 : TYPE_IPV6));
	mnl_attr_put_u32(nlh, NFTA_SET_KEY_LEN, htonl(family == AF_INET ? 4 : 16));
	nft_end(b);
}

/* Elements go in messages of MSG_ELEMENTS, since a nest's length is 16 bits. */
struct elements {
	struct nft_batch *b;
	const char *table, *name;
	uint32_t id;
	struct nlmsghdr *nlh; /* NULL: none begun */
	struct nlattr *list;
	unsigned count;
};

static void elements_end(struct elements *e)
{
	if (!e->nlh)
		return;
	mnl_attr_nest_end(e->nlh, e->list);
	nft_end(e->b);
	e->nlh = NULL;
	e->count = 0;
}

static void element(struct elements *e, const struct addr *a, bool end)
{
	struct nlattr *elem, *key;

	/* After an overflow there is no room to write into, only to write over. */
	if (e->b->full)
		return;
	if (!e->nlh) {
		e->nlh = nft_put(e->b, NFT_MSG_NEWSETELEM, NFPROTO_INET, NLM_F_CREATE);
		mnl_attr_put_strz(e->nlh, NFTA_SET_ELEM_LIST_TABLE, e->table);
		mnl_attr_put_strz(e->nlh, NFTA_SET_ELEM_LIST_SET, e->name);
		mnl_attr_put_u32(e->nlh, NFTA_SET_ELEM_LIST_SET_ID, htonl(e->id));
		e->list = mnl_attr_nest_start(e->nlh, NFTA_SET_ELEM_LIST_ELEMENTS);
	}
	elem = mnl_attr_nest_start(e->nlh, NFTA_LIST_ELEM);
	if (end)
		mnl_attr_put_u32(e->nlh, NFTA_SET_ELEM_FLAGS, htonl(NFT_SET_ELEM_INTERVAL_END));
	key = mnl_attr_nest_start(e->nlh, NFTA_SET_ELEM_KEY);
	mnl_attr_put(e->nlh, NFTA_DATA_VALUE, addr_len(a), a->b);
	mnl_attr_nest_end(e->nlh, key);
	mnl_attr_nest_end(e->nlh, elem);
	if (++e->count == MSG_ELEMENTS)
		elements_end(e);
}

void nft_set_addrs(struct nft_batch *b, const char *table, const char *name, uint32_t id,
		   uint8_t family, const struct addr *a, size_t count)
{
	struct elements e = { .b = b, .table = table, .name = name, .id = id };

	for (size_t i = 0; i < count; i++)
		if (a[i].family == family)
			element(&e, &a[i], false);
	elements_end(&e);
}

static int by_address(const void *x, const void *y)
{
	const struct prefix *a = x, *b = y;
	int d = (int)a->addr.family - (int)b->addr.family;

	d = d ? d : memcmp(a->addr.b, b->addr.b, sizeof(a->addr.b));
	return d ? d : (int)a->len - (int)b->len;
}

/* The first address behind @p; false: there is none. */
static bool behind(const struct prefix *p, struct addr *out)
{
	unsigned at = p->len ? (p->len - 1u) / 8 : 0, add;

	*out = p->addr;
	if (!p->len)
		return false;
	for (add = 1u << (7 - (p->len - 1u) % 8); add;) {
		unsigned sum = out->b[at] + add;

		out->b[at] = (uint8_t)sum;
		add = sum >> 8;
		if (add && !at--)
			return false;
	}
	return true;
}

void nft_set_prefixes(struct nft_batch *b, const char *table, const char *name, uint32_t id,
		      uint8_t family, struct prefix *p, size_t count)
{
	struct elements e = { .b = b, .table = table, .name = name, .id = id };
	struct addr end = { 0 };
	bool open = false, ends = false;

	if (count)
		qsort(p, count, sizeof(*p), by_address);
	for (size_t i = 0; i < count; i++) {
		struct addr next;
		bool has_next;

		if (p[i].addr.family != family)
			continue;
		/* Starts behind the interval that is open? Then that one ends. */
		if (open && ends && memcmp(p[i].addr.b, end.b, sizeof(end.b)) > 0) {
			element(&e, &end, true);
			open = false;
		}
		if (!open)
			element(&e, &p[i].addr, false);
		has_next = behind(&p[i], &next);
		if (!open || (ends && (!has_next || memcmp(next.b, end.b, sizeof(end.b)) > 0))) {
			end = next;
			ends = has_next;
		}
		open = true;
	}
	if (open && ends)
		element(&e, &end, true);
	elements_end(&e);
}

/* ---- rules as lists of expressions ---- */

struct nft_rule nft_rule(struct nft_batch *b, uint8_t family, const char *table, const char *chain,
			 bool append)
{
	uint16_t flags = NLM_F_CREATE | (append ? NLM_F_APPEND : 0);
	struct nft_rule r = { .b = b, .nlh = nft_put(b, NFT_MSG_NEWRULE, family, flags) };

	mnl_attr_put_strz(r.nlh, NFTA_RULE_TABLE, table);
	mnl_attr_put_strz(r.nlh, NFTA_RULE_CHAIN, chain);
	r.list = mnl_attr_nest_start(r.nlh, NFTA_RULE_EXPRESSIONS);
	return r;
}

void nft_rule_end(struct nft_rule *r)
{
	mnl_attr_nest_end(r->nlh, r->list);
	nft_end(r->b);
}

void nft_expr(struct nft_rule *r, const char *name)
{
	r->elem = mnl_attr_nest_start(r->nlh, NFTA_LIST_ELEM);
	mnl_attr_put_strz(r->nlh, NFTA_EXPR_NAME, name);
	r->data = mnl_attr_nest_start(r->nlh, NFTA_EXPR_DATA);
}

void nft_expr_end(struct nft_rule *r)
{
	mnl_attr_nest_end(r->nlh, r->data);
	mnl_attr_nest_end(r->nlh, r->elem);
}

/* "meta" and "ct" share the numbers of KEY, DREG and SREG but not their attribute numbers. */
void nft_meta(struct nft_rule *r, uint32_t key)
{
	nft_expr(r, "meta");
	mnl_attr_put_u32(r->nlh, NFTA_META_KEY, htonl(key));
	mnl_attr_put_u32(r->nlh, NFTA_META_DREG, htonl(NFT_REG_1));
	nft_expr_end(r);
}

void nft_meta_set(struct nft_rule *r, uint32_t key)
{
	nft_expr(r, "meta");
	mnl_attr_put_u32(r->nlh, NFTA_META_KEY, htonl(key));
	mnl_attr_put_u32(r->nlh, NFTA_META_SREG, htonl(NFT_REG_1));
	nft_expr_end(r);
}

void nft_ct_mark(struct nft_rule *r, bool load)
{
	nft_expr(r, "ct");
	mnl_attr_put_u32(r->nlh, NFTA_CT_KEY, htonl(NFT_CT_MARK));
	mnl_attr_put_u32(r->nlh, load ? NFTA_CT_DREG : NFTA_CT_SREG, htonl(NFT_REG_1));
	nft_expr_end(r);
}

void nft_payload(struct nft_rule *r, uint32_t base, uint32_t offset, uint32_t len)
{
	nft_expr(r, "payload");
	mnl_attr_put_u32(r->nlh, NFTA_PAYLOAD_DREG, htonl(NFT_REG_1));
	mnl_attr_put_u32(r->nlh, NFTA_PAYLOAD_BASE, htonl(base));
	mnl_attr_put_u32(r->nlh, NFTA_PAYLOAD_OFFSET, htonl(offset));
	mnl_attr_put_u32(r->nlh, NFTA_PAYLOAD_LEN, htonl(len));
	nft_expr_end(r);
}

static void put_data(struct nft_rule *r, uint16_t type, const void *value, size_t len)
{
	struct nlattr *data = mnl_attr_nest_start(r->nlh, type);

	mnl_attr_put(r->nlh, NFTA_DATA_VALUE, len, value);
	mnl_attr_nest_end(r->nlh, data);
}

void nft_cmp(struct nft_rule *r, uint32_t op, const void *value, size_t len)
{
	nft_expr(r, "cmp");
	mnl_attr_put_u32(r->nlh, NFTA_CMP_SREG, htonl(NFT_REG_1));
	mnl_attr_put_u32(r->nlh, NFTA_CMP_OP, htonl(op));
	put_data(r, NFTA_CMP_DATA, value, len);
	nft_expr_end(r);
}

void nft_value(struct nft_rule *r, const void *value, size_t len)
{
	nft_expr(r, "immediate");
	mnl_attr_put_u32(r->nlh, NFTA_IMMEDIATE_DREG, htonl(NFT_REG_1));
	put_data(r, NFTA_IMMEDIATE_DATA, value, len);
	nft_expr_end(r);
}

void nft_in_set(struct nft_rule *r, const char *name, uint32_t id)
{
	nft_expr(r, "lookup");
	mnl_attr_put_strz(r->nlh, NFTA_LOOKUP_SET, name);
	mnl_attr_put_u32(r->nlh, NFTA_LOOKUP_SET_ID, htonl(id));
	mnl_attr_put_u32(r->nlh, NFTA_LOOKUP_SREG, htonl(NFT_REG_1));
	nft_expr_end(r);
}

void nft_family(struct nft_rule *r, uint8_t family)
{
	uint8_t nfproto = family == AF_INET ? NFPROTO_IPV4 : NFPROTO_IPV6;

	nft_meta(r, NFT_META_NFPROTO);
	nft_cmp(r, NFT_CMP_EQ, &nfproto, sizeof(nfproto));
}

void nft_daddr(struct nft_rule *r, uint8_t family)
{
	nft_family(r, family);
	nft_payload(r, NFT_PAYLOAD_NETWORK_HEADER, family == AF_INET ? 16 : 24,
		    family == AF_INET ? 4 : 16);
}

void nft_l4(struct nft_rule *r, uint8_t proto)
{
	nft_meta(r, NFT_META_L4PROTO);
	nft_cmp(r, NFT_CMP_EQ, &proto, sizeof(proto));
}

void nft_ifname(struct nft_rule *r, uint32_t key, uint32_t op, const char *name)
{
	char field[IFNAMSIZ] = { 0 };

	memcpy(field, name, strnlen(name, IFNAMSIZ - 1));
	nft_meta(r, key);
	nft_cmp(r, op, field, sizeof(field));
}

void nft_port(struct nft_rule *r, uint32_t offset, uint16_t port)
{
	uint16_t be = htons(port);

	nft_payload(r, NFT_PAYLOAD_TRANSPORT_HEADER, offset, sizeof(be));
	nft_cmp(r, NFT_CMP_EQ, &be, sizeof(be));
}

void nft_counter(struct nft_rule *r)
{
	nft_expr(r, "counter");
	nft_expr_end(r);
}

void nft_verdict(struct nft_rule *r, int code)
{
	struct nlattr *data, *verdict;

	nft_expr(r, "immediate");
	mnl_attr_put_u32(r->nlh, NFTA_IMMEDIATE_DREG, htonl(NFT_REG_VERDICT));
	data = mnl_attr_nest_start(r->nlh, NFTA_IMMEDIATE_DATA);
	verdict = mnl_attr_nest_start(r->nlh, NFTA_DATA_VERDICT);
	mnl_attr_put_u32(r->nlh, NFTA_VERDICT_CODE, htonl((uint32_t)code));
	mnl_attr_nest_end(r->nlh, verdict);
	mnl_attr_nest_end(r->nlh, data);
	nft_expr_end(r);
}
