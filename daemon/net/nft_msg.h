/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DAEMON_NET_NFT_MSG_H
#define DAEMON_NET_NFT_MSG_H

/*
 * Theory: nf_tables speaks in batches, which the kernel carries out as one transaction, and a rule is a
 * list of expressions that share registers. Here stand the words; what is said with them stands in
 * nft.c (our own table), leak.c (the guard) and firewall.c (rules in tables of others).
 *
 *	nft_begin(&b, nf, cap);
 *	nft_table(&b, NFT_MSG_NEWTABLE, "postern"); ...
 *	r = nft_rule(&b, family, table, chain, true);
 *	nft_meta(&r, NFT_META_OIF); nft_cmp(&r, NFT_CMP_EQ, ...); nft_verdict(&r, NF_DROP);
 *	nft_rule_end(&r);
 *	rc = nft_run(&b);		frees, whatever it gives
 */

#include "nl.h" /* before the kernel's: netinet/in.h has to come first */

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#define NFT_PRI_RAW    (-300)
#define NFT_PRI_MANGLE (-150)
#define NFT_PRI_LAST   300 /* behind all that may still change a packet's address */

struct nft_batch {
	struct mnl_nlmsg_batch *b;
	uint8_t *buf;
	struct nl *nf;
	uint32_t first_seq;
	unsigned count; /* of messages that are acknowledged */
	bool full;
	const char *table; /* for who makes it: the one that is being written */
};

struct nft_rule {
	struct nft_batch *b;
	struct nlmsghdr *nlh;
	struct nlattr *list, *elem, *data;
};

/** nft_begin() - Room for @cap bytes of messages; 0 or -ENOMEM. */
int nft_begin(struct nft_batch *b, struct nl *nf, size_t cap);
/** nft_run() - All or nothing: 0, the first error of the kernel, -EMSGSIZE when @cap was too small. */
int nft_run(struct nft_batch *b);
/** nft_put() - The head of a message of @family; its attributes follow, then nft_end(). */
struct nlmsghdr *nft_put(struct nft_batch *b, uint16_t msg, uint8_t family, uint16_t flags);
void nft_end(struct nft_batch *b);

/* In a table of family inet. */
void nft_table(struct nft_batch *b, uint16_t msg, const char *name);
/** nft_table_anew() - An empty table of that name, whatever stood there. */
void nft_table_anew(struct nft_batch *b, const char *name);
void nft_chain(struct nft_batch *b, const char *table, const char *name, uint32_t hook,
	       int32_t priority);
/**
 * nft_set() - A set of addresses (@interval false) or of networks.
 * @id: unique in the batch. Elements come by the functions below.
 */
void nft_set(struct nft_batch *b, const char *table, const char *name, uint32_t id, uint8_t family,
	     bool interval);
void nft_set_addrs(struct nft_batch *b, const char *table, const char *name, uint32_t id,
		   uint8_t family, const struct addr *a, size_t count);
/** nft_set_prefixes() - Those of @family; sorted by address here (in place), and merged where they touch. */
void nft_set_prefixes(struct nft_batch *b, const char *table, const char *name, uint32_t id,
		      uint8_t family, struct prefix *p, size_t count);

/** nft_rule() - @append: behind the rules of the chain, else before them. */
struct nft_rule nft_rule(struct nft_batch *b, uint8_t family, const char *table, const char *chain,
			 bool append);
void nft_rule_end(struct nft_rule *r);
void nft_expr(struct nft_rule *r, const char *name); /* its attributes follow, then */
void nft_expr_end(struct nft_rule *r);

/* Into register 1: */
void nft_meta(struct nft_rule *r, uint32_t key);
void nft_payload(struct nft_rule *r, uint32_t base, uint32_t offset, uint32_t len);
/** nft_daddr() - Only packets of @family, and their destination. */
void nft_daddr(struct nft_rule *r, uint8_t family);
void nft_ct_mark(struct nft_rule *r, bool load); /* false: register 1 becomes the mark */
void nft_value(struct nft_rule *r, const void *value, size_t len);
/* Of register 1: */
void nft_cmp(struct nft_rule *r, uint32_t op, const void *value, size_t len);
void nft_in_set(struct nft_rule *r, const char *name, uint32_t id);
void nft_meta_set(struct nft_rule *r, uint32_t key);
/** nft_l4() - Only packets of IP protocol @proto. */
void nft_l4(struct nft_rule *r, uint8_t proto);
/** nft_family() - Only packets of AF_INET or AF_INET6, in a table that has both. */
void nft_family(struct nft_rule *r, uint8_t family);
/** nft_ifname() - Only packets that come from (NFT_META_IIFNAME) or go to (_OIFNAME) a device, there or not yet. */
void nft_ifname(struct nft_rule *r, uint32_t key, uint32_t op, const char *name);
/** nft_port() - @offset 0: source, 2: destination. */
void nft_port(struct nft_rule *r, uint32_t offset, uint16_t port);

void nft_counter(struct nft_rule *r);
void nft_verdict(struct nft_rule *r, int code); /* NF_DROP, NF_ACCEPT, NFT_RETURN */

#endif
