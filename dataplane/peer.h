/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DATAPLANE_PEER_H
#define DATAPLANE_PEER_H

/*
 * Theory: what workers know of a peer. The endpoint is one pointer to an immutable entry (its two byte
 * counters apart): the control thread swaps it, each worker sees the old or the new one. Counters
 * here are added to with a relaxed locked add, once per unit and not per packet, since more than
 * one worker may carry a peer.
 */

#include <netinet/in.h>
#include <sys/socket.h>

#include "dp.h"
#include "limit.h"
#include "rtab.h"

struct sa_in;
struct sa_out;
struct stream;

struct ep {
	struct rcu_node rcu;
	struct dp_path path;
	bool limited;
	uint64_t credit_bytes;
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} to; /* path.remote in the family of the socket */
	socklen_t to_len;
	struct stream *stream; /* held; NULL: path.sock is a socket group */
	_Atomic uint64_t rx_bytes, tx_bytes; /* with that tuple, since it was set */
};

struct peer {
	struct rcu_node rcu;
	uint32_t id;
	uint8_t owner; /* the worker that sends for it, alone or with the others (sa_out) */
	bool passive;  /* another one stands for it: nothing is looked up to it; control thread */
	_Atomic(struct ep *) ep;
	_Atomic(struct sa_out *) out; /* the newest outbound SA: dummies go by it */
	_Atomic uint64_t acquire_ms;  /* last DP_EV_ACQUIRE */
	_Atomic uint64_t tx_data_ms, tx_any_ms, rx_auth_ms, rx_data_ms;
	_Atomic uint64_t tx_first_ms; /* first data that left since rx_data_ms */
	_Atomic uint64_t tx_pkts, tx_bytes, rx_pkts, rx_bytes;
	_Atomic uint16_t path_mtu; /* outer packet; 0: not known, whatever the socket takes */
	_Atomic uint64_t stalled_ms; /* last DP_EV_STALLED */
	_Atomic uint64_t large;	     /* large packets since, about, of which nobody can tell whether they arrive */
	struct limit out_limit, in_limit;
	/* the control thread's own */
	struct prefix *nets;
	size_t net_count;
	struct sa_in *ins;
	struct sa_out *outs;
};

static inline void peer_add(_Atomic uint64_t *c, uint64_t by)
{
	atomic_fetch_add_explicit(c, by, memory_order_relaxed);
}

static inline void peer_stamp(_Atomic uint64_t *c, uint64_t now_ms)
{
	if (atomic_load_explicit(c, memory_order_relaxed) != now_ms)
		atomic_store_explicit(c, now_ms, memory_order_relaxed);
}

/**
 * ep_take() - Does the budget of an unvalidated address allow @bytes more? Then they are taken from it, so that of several
 * workers each has what no other has; what does not leave goes back by worker_charge(). Any worker.
 */
static inline bool ep_take(struct ep *ep, uint64_t bytes)
{
	uint64_t tx = atomic_load_explicit(&ep->tx_bytes, memory_order_relaxed), most;

	if (!ep->limited)
		return true;
	most = 3 * (atomic_load_explicit(&ep->rx_bytes, memory_order_relaxed) + ep->credit_bytes);
	do {
		if (tx + bytes > most)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(&ep->tx_bytes, &tx, tx + bytes, memory_order_relaxed,
							memory_order_relaxed));
	return true;
}

#endif
