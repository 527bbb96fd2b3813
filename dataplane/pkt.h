/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DATAPLANE_PKT_H
#define DATAPLANE_PKT_H

/* The inner packet: what selectors, splitting and merging need to know of it; and its checksums. */

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define PKT_TCP	   6
#define PKT_UDP	   17
#define PKT_ICMP   1
#define PKT_ICMPV6 58

struct pkt {
	uint8_t ver;	     /* 4 or 6 */
	uint8_t proto;	     /* upper-layer protocol, after IPv6 extension headers */
	bool later_fragment; /* not the first one: no ports */
	bool fragment;	     /* any */
	bool plain; /* IPv4 without options or IPv6 without extension headers, no fragment */
	bool ports; /* sport and dport are known; ICMP: type << 8 | code in both */
	uint16_t sport, dport;
	uint16_t l4;		 /* offset of the upper-layer header */
	uint32_t total;		 /* length by the IP header */
	uint64_t src[2], dst[2]; /* host order; IPv4 in [1] */
};

static inline uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return be32toh(v);
}

static inline void put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void put32(uint8_t *p, uint32_t v)
{
	v = htobe32(v);
	memcpy(p, &v, 4);
}

/**
 * pkt_parse() - Look at an inner packet of @len bytes; 0, or -EBADMSG.
 * The IP length must not exceed @len; it may be less (TFC padding), see @k->total.
 */
int pkt_parse(const uint8_t *p, size_t len, struct pkt *k);

/** csum_add() - One's complement sum of @len bytes, added to @sum; folds nothing. */
uint64_t csum_add(const uint8_t *p, size_t len, uint64_t sum);
/** csum_add_portable() - The same without vector instructions; csum_add() gives exactly this, unfolded. */
uint64_t csum_add_portable(const uint8_t *p, size_t len, uint64_t sum);
/** csum_fold() - To 16 bits, not complemented, in memory order as csum_add() read them. */
static inline uint16_t csum_fold(uint64_t s)
{
	s = (s & 0xffffffff) + (s >> 32);
	s = (s & 0xffffffff) + (s >> 32);
	s = (s & 0xffff) + (s >> 16);
	s = (s & 0xffff) + (s >> 16);
	return (uint16_t)s;
}
/** csum_put() - Store the complement of @sum at @p. */
static inline void csum_put(uint8_t *p, uint64_t sum)
{
	uint16_t c = (uint16_t)~csum_fold(sum);

	memcpy(p, &c, 2);
}
/** csum_pseudo() - Pseudo header of the packet at @ip (v4 or v6) for @l4_len bytes of @proto. */
uint64_t csum_pseudo(const uint8_t *ip, uint8_t proto, size_t l4_len);
/** csum_ipv4_header() - Compute and store the header checksum. */
void csum_ipv4_header(uint8_t *ip);

/**
 * pkt_clamp_mss() - Lower the MSS option of a TCP SYN to fit @mtu; true when it was changed.
 * Keeps the checksum right (RFC 1624), also a partial one that covers only the pseudo header
 * when @partial.
 */
bool pkt_clamp_mss(uint8_t *p, const struct pkt *k, uint16_t mtu, bool partial);

/** pkt_is_syn() - A TCP packet with SYN, whole enough to be looked into. */
static inline bool pkt_is_syn(const uint8_t *p, const struct pkt *k)
{
	return k->proto == PKT_TCP && !k->fragment && k->l4 + 20u <= k->total && p[k->l4 + 13] & 2;
}

/** pkt_ecn() - The ECN field of the IP header at @p. */
static inline uint8_t pkt_ecn(const uint8_t *p)
{
	return p[0] >> 4 == 4 ? p[1] & 3 : p[1] >> 4 & 3;
}
/** pkt_set_ecn() - Replace it; IPv4's checksum follows. */
void pkt_set_ecn(uint8_t *p, uint8_t ecn);

#endif
