/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TESTS_DATAPLANE_MIX_H
#define TESTS_DATAPLANE_MIX_H

/* Random flows, the units of them that a kernel may give to read from a TUN, and a network that is not kind. */

#include <stdbool.h>
#include <stdint.h>

#include "offload.h"

#define MIX_MTU	  1400 /* to which MSS is clamped */
#define MIX_TFC	  40
#define FLOWS_MAX 12
#define EXT_MAX	  1024
#define WIRES_MAX 3000

struct wire {
	struct flow *flow;
	uint8_t *pkt; /* sealed */
	size_t len;
	uint8_t *want; /* what it carries */
	size_t want_len;
	uint64_t seq;
	bool spoilt, arrived, no_mark;
	struct wire *next; /* of its flow, in the order of arrival */
};

struct flow {
	uint8_t ver, proto;
	uint32_t src, dst;
	uint16_t sport, dport;
	uint8_t tos, ttl;
	uint32_t label;
	bool df;
	uint8_t ids; /* 0: run on, 1: stand still, 2: any */
	uint16_t id;
	uint32_t seq, ack;
	uint8_t ece, ae;       /* of TCP: bits that all its packets have, as those do that tell of marks */
	uint16_t window, size; /* payload that it likes */
	uint8_t opt[40];       /* of TCP */
	size_t opt_len;
	uint8_t ext[EXT_MAX]; /* options of IPv4, extension headers of IPv6 */
	size_t ext_len;
	uint8_t ext_first; /* IPv6: what the header names */
	struct wire *head, **tail;
};

struct unit {
	struct flow *flow;
	uint8_t *p;    /* as read, with room behind */
	uint8_t *want; /* as it is in the end, before it is cut */
	size_t len, l4, head;
	struct virtio_net_hdr v;
	bool has_v, bad_ip;
	size_t tfc;
};

struct run {
	uint64_t seed, state, seq;
	bool verbose, vnet, tcp, udp;
	struct flow flow[FLOWS_MAX];
	unsigned flows;
	struct wire wire[WIRES_MAX + 1];
	unsigned wires;
	struct wire *arrival[2 * WIRES_MAX];
	unsigned arrivals;
	uint8_t *mem;
	size_t used;
	uint8_t *noise;
};

struct run *mix_new(void);
void mix_free(struct run *r);
/** mix_begin() - Forget the seed before, and draw the flows of this one. */
void mix_begin(struct run *r, uint64_t seed, bool verbose);
uint64_t mix_draw(struct run *r);
static inline unsigned below(struct run *r, unsigned n)
{
	return (unsigned)((mix_draw(r) >> 32) * n >> 32);
}
static inline bool one_in(struct run *r, unsigned n)
{
	return !below(r, n);
}
/** mix_keep() - Memory until the next seed, with a copy of @p; NULL: with nothing. */
uint8_t *mix_keep(struct run *r, const uint8_t *p, size_t len);
void mix_unit(struct run *r, struct unit *u);
/** mix_network() - From wire to arrival. */
void mix_network(struct run *r);
/** mix_due() - @w has arrived: its flow waits for it. */
void mix_due(struct wire *w);
/** mix_fail() - Ends the test and says how to see it again. */
void mix_fail(struct run *r, const char *why);
void mix_say(struct run *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
