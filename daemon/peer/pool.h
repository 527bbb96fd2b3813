/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef PEER_POOL_H
#define PEER_POOL_H

/*
 * Theory: the addresses of one [pool], and which of them are somebody's. Prefixes less what may not be
 * given out are a sorted list of ranges; a cursor walks through them once, what was given back
 * is taken first. What is taken stands in a hash table. So an address costs O(1) on average, and a
 * certain one (as remembered over a restart) O(log ranges).
 *
 * Who has which address is the caller's affair: a pool knows no peers.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"

#define POOL_V6_BITS_MIN 64 /* an IPv6 prefix is a /64 or longer */

struct pool;

/** pool_new() - NULL: out of memory. */
struct pool *pool_new(void);
void pool_free(struct pool *p);

/*
 * All of both before the first address is taken, the prefixes first. 0, -ENOMEM, -EINVAL (IPv6 shorter than /64).
 * The first and last address of an IPv4 prefix (network, broadcast) and the first of an IPv6 one
 * (RFC 4291 s2.6.1) are never given, but of a /31, /32, /127 or /128.
 */
int pool_add(struct pool *p, const struct prefix *net);
int pool_exclude(struct pool *p, const struct prefix *net);

/** pool_take() - Any free address. 0, -ENOENT (no such family here), -ENOSPC (all taken), -ENOMEM. */
int pool_take(struct pool *p, int family, struct addr *out);
/** pool_claim() - This very one. 0, -ENOENT (not one of these), -EADDRINUSE, -ENOMEM. */
int pool_claim(struct pool *p, const struct addr *a);
/** pool_give() - It is free again. Not taken: nothing happens. */
void pool_give(struct pool *p, const struct addr *a);

struct pool_counts {
	uint64_t size,
	    taken; /* @size: that can be given out at all; UINT64_MAX: that many or more */
};
void pool_count(struct pool *p, int family, struct pool_counts *n);

#endif
