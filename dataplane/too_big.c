/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "too_big.h"

#define TTL		64
#define TOS		0xc0 /* internetwork control, RFC 1812 s4.3.2.5 */
#define ICMP_UNREACH	3
#define ICMP_FRAG	4
#define ICMPV6_TOO_BIG	2
#define ICMPV6_INFO	128 /* below it: errors (RFC 4443 s2.1) */
#define ICMP_HEAD	8

static bool icmp4_error(uint8_t type)
{
	return type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
}

/* 0/8, 127/8, multicast, reserved and broadcast are nobody who could be told, and nobody who tells. */
static bool nobody4(uint32_t a)
{
	return a >> 24 == 0 || a >> 24 == 127 || a >> 28 >= 14;
}

static bool nobody6(const uint64_t a[2])
{
	return a[0] >> 56 == 0xff || (!a[0] && a[1] <= 1);
}

static bool may_answer(const struct pkt *k)
{
	bool icmp = k->proto == (k->ver == 4 ? PKT_ICMP : PKT_ICMPV6);

	if (k->later_fragment || (icmp && !k->ports))
		return false;
	if (k->ver == 4)
		return !nobody4((uint32_t)k->src[1]) && !nobody4((uint32_t)k->dst[1]) &&
		       !(icmp && icmp4_error((uint8_t)(k->sport >> 8)));
	return !nobody6(k->src) && !nobody6(k->dst) && !(icmp && k->sport >> 8 < ICMPV6_INFO);
}

static size_t build4(const uint8_t *p, size_t bytes, size_t have, uint16_t mtu, uint8_t *o)
{
	size_t quote = have < TOO_BIG_V4_MAX - 20 - ICMP_HEAD ? have
							      : TOO_BIG_V4_MAX - 20 - ICMP_HEAD;
	uint8_t *c = o + 20;

	memset(o, 0, 20 + ICMP_HEAD);
	o[0] = 0x45;
	o[1] = TOS;
	put16(o + 2, (uint16_t)(20 + ICMP_HEAD + quote));
	o[6] = 0x40;
	o[8] = TTL;
	o[9] = PKT_ICMP;
	memcpy(o + 12, p + 16, 4);
	memcpy(o + 16, p + 12, 4);
	csum_ipv4_header(o);
	c[0] = ICMP_UNREACH;
	c[1] = ICMP_FRAG;
	put16(c + 6, mtu);
	memcpy(c + ICMP_HEAD, p, quote);
	put16(c + ICMP_HEAD + 2, (uint16_t)bytes);
	csum_ipv4_header(c + ICMP_HEAD);
	csum_put(c + 2, csum_add(c, ICMP_HEAD + quote, 0));
	return 20 + ICMP_HEAD + quote;
}

static size_t build6(const uint8_t *p, size_t bytes, size_t have, uint16_t mtu, uint8_t *o)
{
	size_t quote = have < TOO_BIG_V6_MAX - 40 - ICMP_HEAD ? have
							      : TOO_BIG_V6_MAX - 40 - ICMP_HEAD;
	uint8_t *c = o + 40;

	memset(o, 0, 40 + ICMP_HEAD);
	o[0] = 0x60;
	put16(o + 4, (uint16_t)(ICMP_HEAD + quote));
	o[6] = PKT_ICMPV6;
	o[7] = TTL;
	memcpy(o + 8, p + 24, 16);
	memcpy(o + 24, p + 8, 16);
	c[0] = ICMPV6_TOO_BIG;
	put32(c + 4, mtu);
	memcpy(c + ICMP_HEAD, p, quote);
	put16(c + ICMP_HEAD + 4, (uint16_t)(bytes - 40));
	csum_put(c + 2, csum_add(c, ICMP_HEAD + quote,
				 csum_pseudo(o, PKT_ICMPV6, ICMP_HEAD + quote)));
	return 40 + ICMP_HEAD + quote;
}

size_t too_big_build(const uint8_t *p, const struct pkt *k, size_t bytes, uint16_t mtu,
		     uint8_t *out)
{
	size_t have = bytes < k->total ? bytes : k->total;

	if (!may_answer(k))
		return 0;
	return k->ver == 4 ? build4(p, bytes, have, mtu, out) : build6(p, bytes, have, mtu, out);
}
