/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef PEER_NAT64_H
#define PEER_NAT64_H

/*
 * Theory: a line with IPv6 alone, whose carrier reaches IPv4 by NAT64. A name comes with an IPv6 address
 * that its resolver (DNS64) has made; an IPv4 address in the configuration, or from a resolver that
 * makes none, has to be made here. The carrier's prefix is what stands around the two well-known
 * addresses of ipv4only.arpa when that is asked for (RFC 7050 s3); there may be several:
 *
 *	/96	prefix (12 bytes) 192.0.0.170
 *	/64	prefix (8) 0 192.0.0.170 (4) 0 0 0		bits 64 to 71 are zero (RFC 6052 s2.2)
 *	/56	prefix (7) 192 0 0.0.170 (3) 0 0 0 0	and so on for /48, /40 and /32
 *
 * Whoever forges the answer leads us to himself, where he cannot authenticate: it needs no DNSSEC.
 */

#include <stdbool.h>
#include <stddef.h>

#include "addr.h"

#define NAT64_NAME	   "ipv4only.arpa" /* RFC 7050 s8.2 */
#define NAT64_PREFIXES_MAX 4

struct nat64 {
	struct prefix prefix[NAT64_PREFIXES_MAX];
	size_t count;
};

/** nat64_learn() - From the addresses of NAT64_NAME; those of IPv4 in it say nothing. */
void nat64_learn(struct nat64 *n, const struct addr *addr, size_t count);
/** nat64_make() - @v4 by that prefix (RFC 6052 s2.2). */
struct addr nat64_make(const struct prefix *p, const struct addr *v4);
/** nat64_from() - The IPv4 address that @v6 was made of; false when it is within none of @n. */
bool nat64_from(const struct nat64 *n, const struct addr *v6, struct addr *v4);

#endif
