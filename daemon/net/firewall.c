/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: an `accept` in a table of ours does not help where another table drops: each base chain of a hook has
 * its say. So where a machine's own firewall (fw4, firewalld, ufw, a nftables.conf) closes input or
 * forwarding, rules of ours go to the head of its base chain:
 *
 *	input	udp dport { 4500, 500 } counter accept		the outer ports, where a peer calls us
 *		iifname TUN tcp dport { 25 } counter accept	what the peers may reach here
 *		iifname TUN meta l4proto { icmp, icmpv6 } counter accept
 *	forward	iifname TUN counter accept			only where a network lies behind us;
 *		oifname TUN counter accept			selectors say which, both ways
 *
 * each with the comment "postern TUN", by which they are found again. They are put back when the firewall was
 * loaded anew, and taken away at the end. A chain is closed when its policy is drop, or when its last
 * rule drops, rejects or jumps without looking at the packet.
 *
 * Chains of iptables-nft (`ip filter INPUT`) get rules in its own words, or it would refuse to list them.
 * iptables-legacy is not of nft and cannot be reached from here: that is said.
 */
#include "net_int.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/x_tables.h>
#include <linux/netfilter/xt_tcpudp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "nft_msg.h"

#define CHAINS_MAX     64
#define HANDLES_MAX    128
#define BATCH_CAP      65536
#define READ_TRIES     5
#define FIREWALL_MS    300
#define CALM_MS	       60000 /* without a write: whoever wrote against us has stopped */
#define PATIENCE	       8     /* writes after which a quarrel gets SLOW_MS between two of them */
#define SLOW_MS	       30000
#define UDATA_COMMENT  0 /* as nft and iptables write it: type, length, text with NUL */
#define LEGACY	       "/proc/net/ip_tables_names"
#define LEGACY6	       "/proc/net/ip6_tables_names"

struct chain {
	uint8_t family; /* NFPROTO_IPV4, _IPV6, _INET */
	char table[NFT_TABLE_MAXNAMELEN], name[NFT_CHAIN_MAXNAMELEN];
	uint32_t hook;
	bool closed;
	uint64_t ours[HANDLES_MAX];
	size_t ours_count;
};

struct chains {
	struct chain *v;
	size_t count;
	bool more; /* than CHAINS_MAX */
};

struct rules {
	struct chain *c;
	char tag[NET_TAG_MAX];
};

static void tag_of(const char *tun, char tag[static NET_TAG_MAX])
{
	snprintf(tag, NET_TAG_MAX, "postern %s", tun);
}

/* ---- what stands ---- */

static bool text(const struct nlattr *a, char *out, size_t cap)
{
	if (!a || mnl_attr_validate(a, MNL_TYPE_NUL_STRING) < 0 ||
	    strlen(mnl_attr_get_str(a)) >= cap)
		return false;
	strcpy(out, mnl_attr_get_str(a)); /* fits: looked at above */
	return true;
}

static int on_chain(const struct nlmsghdr *nlh, void *arg)
{
	const struct nfgenmsg *nfg = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *tb[NFTA_CHAIN_MAX + 1], *hook[NFTA_HOOK_MAX + 1];
	struct chain c = { .family = nfg->nfgen_family };
	struct chains *l = arg;
	char type[16];

	nl_attrs(nlh, sizeof(*nfg), tb, NFTA_CHAIN_MAX);
	nl_nested(tb[NFTA_CHAIN_HOOK], hook, NFTA_HOOK_MAX);
	if (!hook[NFTA_HOOK_HOOKNUM] || !text(tb[NFTA_CHAIN_TYPE], type, sizeof(type)) ||
	    strcmp(type, "filter") != 0 || !text(tb[NFTA_CHAIN_TABLE], c.table, sizeof(c.table)) ||
	    !text(tb[NFTA_CHAIN_NAME], c.name, sizeof(c.name)))
		return MNL_CB_OK;
	c.hook = ntohl(nl_u32(hook[NFTA_HOOK_HOOKNUM]));
	if ((c.hook != NF_INET_LOCAL_IN && c.hook != NF_INET_FORWARD) ||
	    (c.family != NFPROTO_INET && c.family != NFPROTO_IPV4 && c.family != NFPROTO_IPV6) ||
	    !strcmp(c.table, NET_NFT_TABLE) || !strcmp(c.table, NET_LEAK_TABLE))
		return MNL_CB_OK;
	c.closed = tb[NFTA_CHAIN_POLICY] && ntohl(nl_u32(tb[NFTA_CHAIN_POLICY])) == NF_DROP;
	if (l->count == CHAINS_MAX)
		l->more = true;
	else
		l->v[l->count++] = c;
	return MNL_CB_OK;
}

static int get(struct nl *nf, uint16_t msg, const struct chain *c, mnl_cb_t cb, void *arg)
{
	uint8_t buf[NL_BUF];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct nfgenmsg *nfg;

	nlh->nlmsg_type = (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | msg);
	nlh->nlmsg_flags = NLM_F_DUMP;
	nfg = mnl_nlmsg_put_extra_header(nlh, sizeof(*nfg));
	nfg->nfgen_family = c ? c->family : NFPROTO_UNSPEC;
	nfg->version = NFNETLINK_V0;
	if (c) {
		mnl_attr_put_strz(nlh, NFTA_RULE_TABLE, c->table);
		mnl_attr_put_strz(nlh, NFTA_RULE_CHAIN, c->name);
	}
	return nl_talk(nf, nlh, cb, arg);
}

/* Does one expression decide for every packet (1), for some (-1), or not at all (0)? */
static int decides(const struct nlattr *elem)
{
	const struct nlattr *tb[NFTA_EXPR_MAX + 1], *data[NFTA_IMMEDIATE_MAX + 1];
	const struct nlattr *value[NFTA_DATA_MAX + 1], *verdict[NFTA_VERDICT_MAX + 1];
	char name[32], target[32];
	int code;

	nl_nested(elem, tb, NFTA_EXPR_MAX);
	if (!text(tb[NFTA_EXPR_NAME], name, sizeof(name)))
		return -1;
	if (!strcmp(name, "counter") || !strcmp(name, "log"))
		return 0;
	if (!strcmp(name, "reject"))
		return 1;
	nl_nested(tb[NFTA_EXPR_DATA], data, NFTA_IMMEDIATE_MAX);
	if (!strcmp(name, "match")) /* of iptables: name is attribute 1 */
		return text(data[1], target, sizeof(target)) && !strcmp(target, "comment") ? 0 : -1;
	if (!strcmp(name, "target"))
		return text(data[1], target, sizeof(target)) && !strcmp(target, "REJECT") ? 1 : 0;
	if (strcmp(name, "immediate") != 0)
		return -1;
	nl_nested(data[NFTA_IMMEDIATE_DATA], value, NFTA_DATA_MAX);
	nl_nested(value[NFTA_DATA_VERDICT], verdict, NFTA_VERDICT_MAX);
	code = (int)ntohl(nl_u32(verdict[NFTA_VERDICT_CODE]));
	return code == NF_DROP || code == NFT_JUMP || code == NFT_GOTO;
}

static bool closes(const struct nlattr *exprs)
{
	const struct nlattr *elem;
	bool yes = false;

	if (!exprs)
		return false;
	mnl_attr_for_each_nested(elem, exprs)
	{
		int d = decides(elem);

		if (d < 0)
			return false;
		yes |= d > 0;
	}
	return yes;
}

static bool has_tag(const struct nlattr *a, const char *tag)
{
	size_t want = strlen(tag) + 1, len = a ? mnl_attr_get_payload_len(a) : 0;
	const uint8_t *p = a ? mnl_attr_get_payload(a) : NULL;

	while (len >= 2 && p[1] <= len - 2) {
		if (p[0] == UDATA_COMMENT && p[1] == want && !memcmp(p + 2, tag, want))
			return true;
		len -= 2u + p[1];
		p += 2 + p[1];
	}
	return false;
}

static int on_rule(const struct nlmsghdr *nlh, void *arg)
{
	const struct nlattr *tb[NFTA_RULE_MAX + 1];
	struct rules *r = arg;
	struct chain *c = r->c;
	uint64_t handle;

	nl_attrs(nlh, sizeof(struct nfgenmsg), tb, NFTA_RULE_MAX);
	if (!tb[NFTA_RULE_HANDLE] || mnl_attr_get_payload_len(tb[NFTA_RULE_HANDLE]) != sizeof(handle))
		return MNL_CB_OK;
	memcpy(&handle, mnl_attr_get_payload(tb[NFTA_RULE_HANDLE]), sizeof(handle));
	if (has_tag(tb[NFTA_RULE_USERDATA], r->tag)) {
		if (c->ours_count < HANDLES_MAX)
			c->ours[c->ours_count++] = handle; /* network order, as it goes back */
		return MNL_CB_OK;
	}
	c->closed |= closes(tb[NFTA_RULE_EXPRESSIONS]);
	return MNL_CB_OK;
}

static int read_once(struct nl *nf, const char *tun, struct chains *l)
{
	struct rules r;
	int rc;

	l->count = 0;
	l->more = false;
	rc = get(nf, NFT_MSG_GETCHAIN, NULL, on_chain, l);
	tag_of(tun, r.tag);
	for (size_t i = 0; !rc && i < l->count; i++) {
		r.c = &l->v[i];
		rc = get(nf, NFT_MSG_GETRULE, r.c, on_rule, &r);
		if (rc == -ENOENT)
			rc = 0; /* gone meanwhile; its end is an event, which brings us back */
	}
	return rc;
}

static int read_chains(struct nl *nf, const char *tun, struct chains *l)
{
	int rc = -EINTR;

	*l = (struct chains){ .v = calloc(CHAINS_MAX, sizeof(*l->v)) };
	if (!l->v)
		return -ENOMEM;
	/* EINTR: somebody writes while we read. */
	for (int i = 0; i < READ_TRIES && rc == -EINTR; i++)
		rc = read_once(nf, tun, l);
	if (rc)
		free(l->v);
	return rc;
}

/* ---- rules of ours, in nft's words or in those of iptables ---- */

struct one {
	const char *iif, *oif; /* NULL: any */
	uint8_t proto;	       /* 0: any */
	uint16_t dport;	       /* 0: any */
};

static bool of_iptables(const struct chain *c)
{
	return c->family != NFPROTO_INET && !strcmp(c->table, "filter") &&
	       !strcmp(c->name, c->hook == NF_INET_LOCAL_IN ? "INPUT" : "FORWARD");
}

static void device(struct nft_rule *r, uint32_t key, const char *name, bool iptables)
{
	if (!name)
		return;
	if (!iptables) {
		nft_ifname(r, key, NFT_CMP_EQ, name);
		return;
	}
	nft_meta(r, key);
	nft_cmp(r, NFT_CMP_EQ, name, strlen(name) + 1);
}

/* "-p udp --dport 4500": the protocol must be told to the match beside the rule. */
static void ports_of_iptables(struct nft_rule *r, const struct one *o)
{
	union {
		struct xt_udp udp;
		struct xt_tcp tcp;
		uint8_t b[XT_ALIGN(sizeof(struct xt_tcp))];
	} info = { .b = { 0 } };
	bool udp = o->proto == IPPROTO_UDP;

	_Static_assert(XT_ALIGN(sizeof(struct xt_udp)) == XT_ALIGN(sizeof(struct xt_tcp)), "info");
	if (udp)
		info.udp = (struct xt_udp){ .spts = { 0, 0xffff }, .dpts = { o->dport, o->dport } };
	else
		info.tcp = (struct xt_tcp){ .spts = { 0, 0xffff }, .dpts = { o->dport, o->dport } };
	nft_expr(r, "match");
	mnl_attr_put_strz(r->nlh, NFTA_MATCH_NAME, udp ? "udp" : "tcp");
	mnl_attr_put_u32(r->nlh, NFTA_MATCH_REV, htonl(0));
	mnl_attr_put(r->nlh, NFTA_MATCH_INFO, sizeof(info.b), info.b);
	nft_expr_end(r);
}

static void put_rule(struct nft_batch *b, const struct chain *c, const struct one *o, const char *tag)
{
	bool iptables = of_iptables(c);
	struct nft_rule r = nft_rule(b, c->family, c->table, c->name, false);
	size_t len = strlen(tag) + 1;
	uint8_t udata[2 + NET_TAG_MAX] = { UDATA_COMMENT, (uint8_t)len };
	struct nlattr *compat;

	device(&r, NFT_META_IIFNAME, o->iif, iptables);
	device(&r, NFT_META_OIFNAME, o->oif, iptables);
	if (o->proto)
		nft_l4(&r, o->proto);
	if (o->dport && iptables)
		ports_of_iptables(&r, o);
	else if (o->dport)
		nft_port(&r, 2, o->dport);
	nft_counter(&r);
	nft_verdict(&r, NF_ACCEPT);
	mnl_attr_nest_end(r.nlh, r.list);
	if (o->dport && iptables) {
		compat = mnl_attr_nest_start(r.nlh, NFTA_RULE_COMPAT);
		mnl_attr_put_u32(r.nlh, NFTA_RULE_COMPAT_PROTO, htonl(o->proto));
		mnl_attr_put_u32(r.nlh, NFTA_RULE_COMPAT_FLAGS, htonl(0));
		mnl_attr_nest_end(r.nlh, compat);
	}
	memcpy(udata + 2, tag, len);
	mnl_attr_put(r.nlh, NFTA_RULE_USERDATA, 2 + len, udata);
	nft_end(b);
}

/* What this chain shall have; the count. */
static size_t wanted(const struct net *n, const struct chain *c, struct one *out)
{
	const struct net_opening *o = &n->opening;
	size_t count = 0;

	if (!c->closed || !n->open)
		return 0;
	if (c->hook == NF_INET_FORWARD) {
		if (o->forward) {
			out[count++] = (struct one){ .iif = n->p.tun };
			out[count++] = (struct one){ .oif = n->p.tun };
		}
		return count;
	}
	for (size_t i = 0; i < o->udp_count; i++)
		out[count++] = (struct one){ .proto = IPPROTO_UDP, .dport = o->udp[i] };
	for (size_t i = 0; i < o->tcp_count; i++)
		out[count++] = (struct one){ .proto = IPPROTO_TCP, .dport = o->tcp[i] };
	for (size_t i = 0; i < o->tunnel_tcp_count; i++)
		out[count++] = (struct one){ .iif = n->p.tun,
					     .proto = IPPROTO_TCP,
					     .dport = o->tunnel_tcp[i] };
	if (c->family != NFPROTO_IPV6)
		out[count++] = (struct one){ .iif = n->p.tun, .proto = IPPROTO_ICMP };
	if (c->family != NFPROTO_IPV4)
		out[count++] = (struct one){ .iif = n->p.tun, .proto = IPPROTO_ICMPV6 };
	return count;
}

static void delete_ours(struct nft_batch *b, const struct chain *c)
{
	for (size_t i = 0; i < c->ours_count; i++) {
		struct nlmsghdr *nlh = nft_put(b, NFT_MSG_DELRULE, c->family, 0);

		mnl_attr_put_strz(nlh, NFTA_RULE_TABLE, c->table);
		mnl_attr_put_strz(nlh, NFTA_RULE_CHAIN, c->name);
		mnl_attr_put(nlh, NFTA_RULE_HANDLE, sizeof(c->ours[i]), &c->ours[i]);
		nft_end(b);
	}
}

static int write_chain(struct net *n, const struct chain *c, bool anew)
{
	struct one want[3 * NET_OPEN_PORTS_MAX + 4];
	size_t count = wanted(n, c, want);
	char tag[NET_TAG_MAX];
	struct nft_batch b;
	int rc;

	if (!anew && count == c->ours_count)
		return 0;
	rc = nft_begin(&b, &n->nf, BATCH_CAP);
	if (rc)
		return rc;
	tag_of(n->p.tun, tag);
	delete_ours(&b, c);
	for (size_t i = count; i-- > 0;) /* each goes to the head */
		put_rule(&b, c, &want[i], tag);
	n->fw_writes++;
	n->fw_last_ms = loop_now_ms(n->loop);
	return nft_run(&b);
}

/* ---- what the admin is told ---- */

static const char *family_word(uint8_t family)
{
	return family == NFPROTO_IPV4 ? "ip" : family == NFPROTO_IPV6 ? "ip6" : "inet";
}

static void tell_failure(struct net *n, const struct chain *c, int rc)
{
	if (n->fw_told)
		return;
	n->fw_told = true;
	log_warn(NULL,
		 "firewall: chain %s %s %s drops, and takes no rule of ours: %s; let in there what "
		 "`firewall` of postern.conf(5) names%s",
		 family_word(c->family), c->table, c->name, strerror(-rc),
		 strstr(c->table, "firewalld")
		     ? " (firewall-cmd --permanent --add-port=PORT/udp, or NftablesTableOwner=no)"
		     : "");
}

static bool names_filter(const char *path)
{
	char buf[256] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);

	if (fd >= 0)
		close(fd);
	return len > 0 && strstr(buf, "filter");
}

static void tell_legacy(struct net *n)
{
	if (n->fw_legacy_told || !n->open || (!n->opening.udp_count && !n->opening.tcp_count) ||
	    (!names_filter(LEGACY) && !names_filter(LEGACY6)))
		return;
	n->fw_legacy_told = true;
	log_warn(NULL,
		 "firewall: iptables-legacy is in use, where nothing is put by us; where it drops, add "
		 "iptables -I INPUT -p udp --dport %u -j ACCEPT, and the same with ip6tables",
		 n->opening.udp_count ? n->opening.udp[0] : n->opening.tcp[0]);
}

/* ---- calls ---- */

int net_firewall_apply(struct net *n)
{
	bool anew = n->fw_dirty;
	struct chains l;
	int rc, first = 0;

	n->fw_dirty = false;
	if (!n->nf.s)
		return 0;
	rc = read_chains(&n->nf, n->p.tun, &l);
	if (rc == -EINTR) {
		n->fw_dirty = anew;
		net_firewall_settle(n);
		return 0;
	}
	if (rc) {
		if (!n->fw_told)
			log_warn(NULL, "firewall: the rules of nft cannot be read: %s",
				 strerror(-rc));
		n->fw_told = true;
		return rc;
	}
	for (size_t i = 0; i < l.count; i++) {
		rc = write_chain(n, &l.v[i], anew);
		if (rc) {
			tell_failure(n, &l.v[i], rc);
			first = first ? first : rc;
		}
	}
	if (l.more && !n->fw_told) {
		log_warn(NULL, "firewall: more than %d base chains; those behind are not looked at",
			 CHAINS_MAX);
		n->fw_told = true;
	}
	free(l.v);
	tell_legacy(n);
	return first;
}

void net_firewall_settle(struct net *n)
{
	uint64_t now = loop_now_ms(n->loop);

	if (now - n->fw_last_ms > CALM_MS)
		n->fw_writes = 0;
	if (!timer_armed(&n->fw))
		(void)timer_set(loop_timers(n->loop), &n->fw,
				now + (n->fw_writes > PATIENCE ? SLOW_MS : FIREWALL_MS));
}

static bool same_ports(const uint16_t *a, size_t na, const uint16_t *b, size_t nb)
{
	return na == nb && !memcmp(a, b, na * sizeof(*a));
}

void net_firewall_set(struct net *n, const struct net_opening *o)
{
	const struct net_opening none = { 0 }, *now = o ? o : &none, *was = &n->opening;

	n->fw_dirty |= n->open != (o != NULL) || was->forward != now->forward ||
		       !same_ports(was->udp, was->udp_count, now->udp, now->udp_count) ||
		       !same_ports(was->tcp, was->tcp_count, now->tcp, now->tcp_count) ||
		       !same_ports(was->tunnel_tcp, was->tunnel_tcp_count, now->tunnel_tcp,
				   now->tunnel_tcp_count);
	n->open = o != NULL;
	n->opening = *now;
}

int net_firewall_remove(struct nl *nf, const char *tun)
{
	struct nft_batch b;
	struct chains l;
	int rc = read_chains(nf, tun, &l);

	if (rc)
		return rc;
	rc = nft_begin(&b, nf, BATCH_CAP);
	for (size_t i = 0; !rc && i < l.count; i++)
		delete_ours(&b, &l.v[i]);
	free(l.v);
	return rc ? rc : nft_run(&b);
}

void net_close(struct net *n)
{
	int rc = n->nf.s && n->open ? net_firewall_remove(&n->nf, n->p.tun) : 0;

	if (rc)
		log_warn(NULL, "firewall: our rules in it stay: %s", strerror(-rc));
}
