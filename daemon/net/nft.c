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
 *		# only with a 0/0 route: replies of the peer, and of the name server to the resolver, bear our
 *		# mark, which strict rp_filter with src_valid_mark needs, or it would look for both behind the
 *		# tunnel
 *		chain mark_out { type filter hook output priority mangle;
 *			meta mark MARK ct mark set meta mark
 *			meta mark PEER'S meta skuid 0 ct mark set meta mark
 *			meta skuid RESOLVER ct mark set MARK }
 *		chain mark_in { type filter hook prerouting priority mangle;
 *			iif != TUN ct mark MARK meta mark set ct mark	and for each mark of a peer }
 *	}
 *
 * is written whole in one batch, which the kernel carries out as one transaction: there is no moment
 * without it.
 */
#include "net_int.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "nft_msg.h"

#define BATCH_MAX      32768 /* far above what NET_ADDRS_MAX addresses can fill */
#define LO_IFINDEX     1     /* in every network namespace */
#define SRC_VALID_MARK "/proc/sys/net/ipv4/conf/all/src_valid_mark"

static void guard(struct nft_batch *b, const struct net *n, uint8_t family, const char *set_name,
		  uint32_t id)
{
	uint32_t lo = LO_IFINDEX; /* host order, as meta iif gives it */
	struct nft_rule r = nft_rule(b, NFPROTO_INET, NET_NFT_TABLE, "guard", true);

	nft_family(&r, family);
	nft_meta(&r, NFT_META_IIF);
	nft_cmp(&r, NFT_CMP_NEQ, &n->ifindex, sizeof(n->ifindex));
	nft_meta(&r, NFT_META_IIF);
	nft_cmp(&r, NFT_CMP_NEQ, &lo, sizeof(lo));
	nft_daddr(&r, family);
	nft_in_set(&r, set_name, id);
	nft_counter(&r);
	nft_verdict(&r, NF_DROP);
	nft_rule_end(&r);
}

/* What leaves with @mark tells it to its connection, */
static void mark_out(struct nft_batch *b, uint32_t mark, bool peers)
{
	struct nft_rule r = nft_rule(b, NFPROTO_INET, NET_NFT_TABLE, "mark_out", true);
	const uint32_t root = 0;

	nft_meta(&r, NFT_META_MARK);
	nft_cmp(&r, NFT_CMP_EQ, &mark, sizeof(mark));
	if (peers) {
		nft_meta(&r, NFT_META_SKUID);
		nft_cmp(&r, NFT_CMP_EQ, &root, sizeof(root));
		nft_meta(&r, NFT_META_MARK);
	}
	nft_ct_mark(&r, false);
	nft_rule_end(&r);
}

/* and what comes back has it again. */
static void mark_in(struct nft_batch *b, const struct net *n, uint32_t mark)
{
	struct nft_rule r = nft_rule(b, NFPROTO_INET, NET_NFT_TABLE, "mark_in", true);

	nft_meta(&r, NFT_META_IIF);
	nft_cmp(&r, NFT_CMP_NEQ, &n->ifindex, sizeof(n->ifindex));
	nft_ct_mark(&r, true);
	nft_cmp(&r, NFT_CMP_EQ, &mark, sizeof(mark));
	nft_meta_set(&r, NFT_META_MARK);
	nft_rule_end(&r);
}

static void marks(struct nft_batch *b, const struct net *n)
{
	struct nft_rule r;

	nft_chain(b, NET_NFT_TABLE, "mark_out", NF_INET_LOCAL_OUT, NFT_PRI_MANGLE);
	mark_out(b, n->p.mark, false);
	for (size_t i = 0; i < n->mark_count; i++)
		mark_out(b, n->marks[i], true);
	for (size_t i = 0; i < n->p.bypass_count; i++) {
		uint32_t uid = n->p.bypass_uid[i];

		r = nft_rule(b, NFPROTO_INET, NET_NFT_TABLE, "mark_out", true);
		nft_meta(&r, NFT_META_SKUID);
		nft_cmp(&r, NFT_CMP_EQ, &uid, sizeof(uid));
		nft_value(&r, &n->p.mark, sizeof(n->p.mark));
		nft_ct_mark(&r, false);
		nft_rule_end(&r);
	}
	nft_chain(b, NET_NFT_TABLE, "mark_in", NF_INET_PRE_ROUTING, NFT_PRI_MANGLE);
	mark_in(b, n, n->p.mark);
	for (size_t i = 0; i < n->mark_count; i++)
		mark_in(b, n, n->marks[i]);
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
	struct nft_batch b;
	int rc = nft_begin(&b, &n->nf, BATCH_MAX);

	if (rc)
		return rc;
	nft_table_anew(&b, NET_NFT_TABLE);
	nft_set(&b, NET_NFT_TABLE, "addr4", 1, AF_INET, false);
	nft_set_addrs(&b, NET_NFT_TABLE, "addr4", 1, AF_INET, n->addrs, n->addr_count);
	nft_set(&b, NET_NFT_TABLE, "addr6", 2, AF_INET6, false);
	nft_set_addrs(&b, NET_NFT_TABLE, "addr6", 2, AF_INET6, n->addrs, n->addr_count);
	nft_chain(&b, NET_NFT_TABLE, "guard", NF_INET_PRE_ROUTING, NFT_PRI_RAW);
	guard(&b, n, AF_INET, "addr4", 1);
	guard(&b, n, AF_INET6, "addr6", 2);
	if (with_marks)
		marks(&b, n);
	return nft_run(&b);
}

int net_nft_apply(struct net *n)
{
	/* A way of its own is another one than that of the main table, by which rp_filter judges too. */
	bool dflt = net_wants_default(n) || n->mark_count;
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

int net_nft_remove(struct nl *nf, const char *table)
{
	struct nft_batch b;
	int rc = nft_begin(&b, nf, BATCH_MAX);

	if (rc)
		return rc;
	nft_table(&b, NFT_MSG_NEWTABLE, table);
	nft_table(&b, NFT_MSG_DELTABLE, table);
	return nft_run(&b);
}
