/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TESTS_DATAPLANE_PACKETS_H
#define TESTS_DATAPLANE_PACKETS_H

/* Inner packets for tests, with right checksums. */

#include <stdlib.h>
#include <string.h>

#include "pkt.h"

struct made {
	uint8_t ver, proto;
	uint32_t src, dst; /* last four bytes of the address */
	uint16_t sport, dport;
	uint32_t seq;
	uint8_t flags;
	uint16_t id;
	uint8_t ecn;
	size_t options; /* bytes of TCP options, a multiple of 4 */
};

static inline void naive_sum(const uint8_t *p, size_t n, uint32_t *s)
{
	for (size_t i = 0; i < n; i++)
		*s += i & 1 ? p[i] : (uint32_t)p[i] << 8;
}

/* The textbook checksum, so that the fast one has something to agree with. */
static inline uint16_t naive_l4(const uint8_t *ip, size_t l4, size_t total, uint8_t proto)
{
	uint32_t s = 0, len = (uint32_t)(total - l4);
	uint8_t tail[8] = { 0, 0, (uint8_t)(len >> 8), (uint8_t)len, 0, 0, 0, proto };

	naive_sum(ip + (ip[0] >> 4 == 4 ? 12 : 8), ip[0] >> 4 == 4 ? 8 : 32, &s);
	naive_sum(tail, 8, &s);
	naive_sum(ip + l4, len, &s);
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return (uint16_t)~s;
}

static inline size_t made_head(const struct made *m)
{
	return (m->ver == 4 ? 20u : 40u) + (m->proto == PKT_TCP ? 20u + m->options : 8u);
}

static inline void made_csum(const struct made *m, uint8_t *p, size_t total)
{
	size_t l4 = m->ver == 4 ? 20 : 40, at = l4 + (m->proto == PKT_TCP ? 16u : 6u);

	put16(p + at, 0);
	put16(p + at, naive_l4(p, l4, total, m->proto));
	if (m->proto == PKT_UDP && !get16(p + at))
		put16(p + at, 0xffff);
	if (m->ver == 4) {
		uint32_t s = 0;

		put16(p + 10, 0);
		naive_sum(p, 20, &s);
		while (s >> 16)
			s = (s & 0xffff) + (s >> 16);
		put16(p + 10, (uint16_t)~s);
	}
}

/* Writes header and payload (a pattern by stream offset); returns the length. */
static inline size_t make_packet(const struct made *m, uint8_t *p, size_t payload)
{
	size_t head = made_head(m), l4 = m->ver == 4 ? 20 : 40, total = head + payload;

	memset(p, 0, head);
	if (m->ver == 4) {
		p[0] = 0x45;
		p[1] = m->ecn;
		put16(p + 2, (uint16_t)total);
		put16(p + 4, m->id);
		p[6] = 0x40;
		p[8] = 64;
		p[9] = m->proto;
		put32(p + 12, m->src);
		put32(p + 16, m->dst);
	} else {
		p[0] = 0x60;
		p[1] = (uint8_t)(m->ecn << 4);
		put16(p + 4, (uint16_t)(total - 40));
		p[6] = m->proto;
		p[7] = 64;
		p[8] = p[24] = 0xfd;
		put32(p + 20, m->src);
		put32(p + 36, m->dst);
	}
	put16(p + l4, m->sport);
	put16(p + l4 + 2, m->dport);
	if (m->proto == PKT_TCP) {
		put32(p + l4 + 4, m->seq);
		put32(p + l4 + 8, 0x01020304);
		p[l4 + 12] = (uint8_t)((20 + m->options) / 4 << 4);
		p[l4 + 13] = m->flags;
		put16(p + l4 + 14, 512);
		memset(p + l4 + 20, 1, m->options);
	} else {
		put16(p + l4 + 4, (uint16_t)(8 + payload));
	}
	for (size_t i = 0; i < payload; i++)
		p[head + i] = (uint8_t)((m->seq + i) * 131 >> 3);
	made_csum(m, p, total);
	return total;
}

#endif
