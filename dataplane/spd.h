/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DATAPLANE_SPD_H
#define DATAPLANE_SPD_H

/*
 * Theory: inner packet -> outbound SA (RFC 4301 s5.1). Selectors of all outbound SAs and the networks of
 * all peers ("traps") hang in one published table, keyed by the smallest prefix that covers
 * their remote side. A lookup goes through the prefix lengths in use, longest first; within one
 * prefix the more specific selector stands first, among equals the newest SA.
 *
 *	dst 10.99.0.2 -> /32 {10.99.0.2}: [SA 7 tcp 25] [SA 7 any] [trap of peer 3]
 *		      -> /0  {0.0.0.0}:	  [SA 9 any]
 *
 * A trap that is met before an SA names the peer: only SAs of that peer may follow, and when
 * there is none the packet asks for one (DP_EV_ACQUIRE). So a peer that is down never has its
 * packets sent to another one whose selectors are wider.
 */

#include "esp.h"
#include "peer.h"
#include "pkt.h"

/* One side of a selector, in the form that is compared. */
struct ts {
	uint8_t ver; /* 4 or 6 */
	uint8_t proto;
	uint16_t port_from, port_to;
	uint64_t from[2], to[2]; /* host order, as struct pkt */
};

/** ts_set() - From the daemon's form; -EINVAL when it is not well-formed. */
int ts_set(struct ts *t, const struct dp_ts *from);
static inline bool ts_any_port(const struct ts *t)
{
	return t->port_from == 0 && t->port_to == UINT16_MAX;
}

static inline bool ts_opaque(const struct ts *t)
{
	return t->port_from > t->port_to;
}

/**
 * ts_match() - @a, @port: address and port of the packet on that side; @source: it is the packet's source.
 *
 * Without ports (later fragments, a first one too short to show them) only selectors that ask for none
 * match, or for OPAQUE (RFC 4301 s4.4.1, s7). ICMP has one type and code for both sides: a selector says
 * what its side may send, so it is compared at the source alone (s4.4.1.3).
 */
static inline bool ts_match(const struct ts *t, const struct pkt *k, const uint64_t a[2],
			    uint16_t port, bool source)
{
	if (t->ver != k->ver || (t->proto && t->proto != k->proto))
		return false;
	if (a[0] < t->from[0] || (a[0] == t->from[0] && a[1] < t->from[1]))
		return false;
	if (a[0] > t->to[0] || (a[0] == t->to[0] && a[1] > t->to[1]))
		return false;
	if (ts_any_port(t))
		return true;
	if (!source && (k->proto == PKT_ICMP || k->proto == PKT_ICMPV6))
		return k->ports || ts_opaque(t);
	if (ts_opaque(t))
		return !k->ports;
	return k->ports && port >= t->port_from && port <= t->port_to;
}

/* A context is one worker's. */
struct sa_key {
	_Alignas(64) struct esp_key key;
};

struct sa_out {
	struct rcu_node rcu;
	struct esp_key key;   /* the owner's */
	struct sa_key *other; /* of each worker, where all of them send; NULL: only the owner does */
	unsigned other_count;
	struct peer *peer;
	uint32_t generation;
	_Atomic uint64_t seq; /* last number taken */
	uint64_t soft_pkts, hard_pkts, hard_seq, soft_bytes, hard_bytes;
	_Atomic bool soft_told, hard_told;
	_Atomic uint64_t pkts, bytes, last_ms;
	struct sa_out *next; /* of the peer; control thread */
	size_t local_count, remote_count;
	struct ts ts[]; /* local, then remote */
};

struct spd {
	struct rtab tab;
	/* which prefix lengths are in use: [0] IPv4, [1] IPv6 */
	_Atomic uint64_t lens[2][3];
	uint32_t refs[2][129];
};

struct spd_hit {
	struct sa_out *sa; /* NULL: none */
	struct peer *peer; /* when sa is NULL: the trap's peer, or NULL when nothing matches */
};

int spd_init(struct spd *s);
/** spd_free() - Sets and table; no reader is left. */
void spd_free(struct spd *s);
/** spd_add_sa() - All its pairs of selectors; 0 or -ENOMEM, then nothing was added. */
int spd_add_sa(struct spd *s, struct rcu *r, struct sa_out *sa);
void spd_del_sa(struct spd *s, struct rcu *r, struct sa_out *sa);
int spd_add_trap(struct spd *s, struct rcu *r, struct peer *p, const struct prefix *net);
void spd_del_trap(struct spd *s, struct rcu *r, struct peer *p, const struct prefix *net);
/** spd_lookup() - By a worker, between two quiet points. */
struct spd_hit spd_lookup(const struct spd *s, const struct pkt *k);

/** sa_out_new() - Copies all of @sa, for @workers if the peer's window allows more than one; 0, -EINVAL, -ENOMEM. */
int sa_out_new(const struct dp_sa *sa, struct peer *peer, unsigned workers, struct sa_out **out);
void sa_out_free(struct rcu_node *n);

/** sa_out_key() - The context of @worker; NULL: another one sends. */
static inline struct esp_key *sa_out_key(struct sa_out *sa, unsigned worker)
{
	if (sa->peer->owner == worker)
		return &sa->key;
	return sa->other ? &sa->other[worker].key : NULL;
}

/**
 * sa_out_next_seq() - Take @n numbers, the first goes to @first.
 * DP_OUT_PKT, DP_DROP_SEQ_EXHAUSTED or DP_DROP_HARD_LIMIT; @bytes is what they will carry.
 */
enum dp_verdict sa_out_next_seq(struct sa_out *sa, unsigned n, uint64_t bytes, uint64_t *first);

#endif
