/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DATAPLANE_SAD_H
#define DATAPLANE_SAD_H

/* SPI -> inbound SA. All but the counters is used by the one worker that the SPI names. */

#include "esp.h"
#include "peer.h"
#include "replay.h"
#include "spd.h"

struct sa_in {
	struct rtab_node node;
	struct rcu_node rcu;
	struct esp_key key;
	struct replay *replay;
	struct peer *peer;
	uint32_t generation, line;
	_Atomic bool newest; /* of its line */
	uint8_t worker;
	bool first_told, soft_told, hard_told;
	uint64_t soft_pkts, hard_pkts, soft_bytes, hard_bytes;
	struct endpoint told; /* the tuple of the last DP_EV_ENDPOINT, and when */
	uint64_t told_ms;
	_Atomic uint64_t pkts, bytes, top, replays, bad_icv, last_ms;
	struct sa_in *next; /* of the peer; control thread */
	size_t local_count, remote_count;
	struct ts ts[]; /* local, then remote */
};

/** sad_lookup() - @spi in network order; NULL when unknown. */
static inline struct sa_in *sad_lookup(const struct rtab *sad, uint32_t spi)
{
	struct rtab_it it;

	/* hash_mix() is a bijection, so equal hashes are equal SPIs. */
	return (struct sa_in *)rtab_first(sad, hash_mix(spi), &it);
}

/** sa_in_new() - Copies all of @sa; 0, -EINVAL, -ENOMEM. */
int sa_in_new(const struct dp_sa *sa, struct peer *peer, uint8_t worker, struct sa_in **out);
void sa_in_free(struct rcu_node *n);
/** selector_check() - Inner source and destination belong to this SA (RFC 4301 s5.2 step 4). */
bool selector_check(const struct sa_in *sa, const struct pkt *k);

#endif
