/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BASE_ADDR_H
#define BASE_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* An IPv4 or IPv6 address. A v4-mapped IPv6 address is always turned into AF_INET. */
struct addr {
	uint8_t family; /* AF_INET, AF_INET6, or 0 for none */
	uint8_t b[16];  /* network order; IPv4 in the first four, the rest zero */
};

struct prefix {
	struct addr addr; /* host bits zero */
	uint8_t len;	  /* bits: 0..32 or 0..128 */
};

struct endpoint {
	struct addr addr;
	uint16_t port; /* host order */
};

#define ADDR_STR_MAX	 46
#define PREFIX_STR_MAX	 (ADDR_STR_MAX + 4)
#define ENDPOINT_STR_MAX (ADDR_STR_MAX + 9)

/** addr_parse() - Numeric text only, no names, no scope; -EINVAL. */
int addr_parse(const char *s, struct addr *a);
/** prefix_parse() - "10.0.0.0/8", or an address alone as /32 or /128; host bits set: -EDOM. */
int prefix_parse(const char *s, struct prefix *p);
/** endpoint_parse() - "192.0.2.1:4500", "[2001:db8::1]:4500"; without a port @dflt is used. */
int endpoint_parse(const char *s, uint16_t dflt, struct endpoint *e);

/* The _str functions write at most the _STR_MAX above and return @out. */
const char *addr_str(const struct addr *a, char out[static ADDR_STR_MAX]);
const char *prefix_str(const struct prefix *p, char out[static PREFIX_STR_MAX]);
const char *endpoint_str(const struct endpoint *e, char out[static ENDPOINT_STR_MAX]);

/** addr_family_word() - "ipv4", "ipv6", "unix", or "" of anything else: as logs and metrics have it. */
const char *addr_family_word(int family);

size_t addr_len(const struct addr *a);	/* bytes: 4, 16 or 0 */
unsigned addr_bits(const struct addr *a); /* 32, 128 or 0 */
bool addr_eq(const struct addr *a, const struct addr *b);
bool endpoint_eq(const struct endpoint *a, const struct endpoint *b);
/** addr_from_bytes() - @len is 4 or 16; -EINVAL. A v4-mapped one becomes AF_INET. */
int addr_from_bytes(struct addr *a, const void *bytes, size_t len);
/** addr_is_unspecified() - 0.0.0.0, ::, or no address at all. */
bool addr_is_unspecified(const struct addr *a);
bool addr_is_loopback(const struct addr *a);
/** addr_is_private() - Means nothing on the internet: private, shared, link-local, unique local. */
bool addr_is_private(const struct addr *a);

bool prefix_contains(const struct prefix *p, const struct addr *a);
bool prefix_covers(const struct prefix *outer, const struct prefix *inner);
bool prefix_overlaps(const struct prefix *a, const struct prefix *b);
/** prefix_host() - @a alone: a /32 or /128. */
struct prefix prefix_host(const struct addr *a);
/** prefix_of() - The first @len bits of @a. */
struct prefix prefix_of(const struct addr *a, uint8_t len);

/** endpoint_from_sockaddr() - AF_INET and AF_INET6 (mapped too); -EAFNOSUPPORT. */
int endpoint_from_sockaddr(struct endpoint *e, const struct sockaddr *sa);
/**
 * endpoint_to_sockaddr() - For a socket of @family (AF_INET6 takes v4 as mapped).
 * Returns the length, 0 when an IPv6 address meets an AF_INET socket.
 */
socklen_t endpoint_to_sockaddr(const struct endpoint *e, int family, struct sockaddr_storage *ss);
/** addr_hash() - Of the address, or of its first @bits bits; for tables and log limits. */
uint32_t addr_hash(const struct addr *a, unsigned bits);

#endif
