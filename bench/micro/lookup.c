/* SPDX-License-Identifier: GPL-3.0-or-later */
/* From SPI to inbound SA, from inner packet to outbound SA, and the check of selectors, by how many there are. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "micro.h"
#include "sad.h"
#include "spd.h"

#define ASKED 4096 /* in an order that no cache foresees */

struct look_bench {
	struct spd spd;
	struct rtab sad;
	struct rcu rcu;
	struct peer peer;
	struct sa_in **in;
	uint32_t spi[ASKED];
	struct pkt pkt[ASKED];
	unsigned pick[ASKED], at;
};

static uint64_t by_spi(void *arg, unsigned n)
{
	struct look_bench *b = arg;
	uint64_t began = bench_ns();

	for (unsigned i = 0; i < n; i++) {
		if (!sad_lookup(&b->sad, b->spi[b->at++ % ASKED]))
			abort();
	}
	return bench_ns() - began;
}

static uint64_t by_packet(void *arg, unsigned n)
{
	struct look_bench *b = arg;
	uint64_t began = bench_ns();

	for (unsigned i = 0; i < n; i++) {
		if (!spd_lookup(&b->spd, &b->pkt[b->at++ % ASKED]).sa)
			abort();
	}
	return bench_ns() - began;
}

static uint64_t by_selector(void *arg, unsigned n)
{
	struct look_bench *b = arg;
	uint64_t began = bench_ns();

	for (unsigned i = 0; i < n; i++) {
		unsigned k = b->at++ % ASKED;
		struct pkt back = b->pkt[k];

		back.src[1] = b->pkt[k].dst[1];
		back.dst[1] = b->pkt[k].src[1];
		if (!selector_check(b->in[b->pick[k]], &back))
			abort();
	}
	return bench_ns() - began;
}

static struct dp_ts host_ts(uint32_t from, uint32_t to)
{
	struct dp_ts t = { .port_to = 65535 };

	t.from.family = t.to.family = AF_INET;
	from = htobe32(from);
	to = htobe32(to);
	memcpy(t.from.b, &from, 4);
	memcpy(t.to.b, &to, 4);
	return t;
}

static void install(struct look_bench *b, unsigned i)
{
	static const uint8_t key[36] = { 1 };
	struct dp_ts us = host_ts(0x0a000001, 0x0a000001),
		     them = host_ts(0x0b000000 + i, 0x0b000000 + i);
	struct dp_sa d = { .spi = (uint32_t)hash_mix(i + 1),
			   .generation = i,
			   .cipher = DP_AES_128_GCM_16,
			   .key = key,
			   .key_len = 20,
			   .esn = true,
			   .local = &us,
			   .local_count = 1,
			   .remote = &them,
			   .remote_count = 1 };
	struct sa_out *out;

	if (sa_in_new(&d, &b->peer, 0, &b->in[i]) || sa_out_new(&d, &b->peer, 1, &out) ||
	    spd_add_sa(&b->spd, &b->rcu, out))
		abort();
	b->in[i]->node.h = hash_mix(d.spi);
	if (rtab_add(&b->sad, &b->rcu, &b->in[i]->node))
		abort();
}

void add_lookups(void)
{
	static const unsigned counts[] = { 1, 1000, 100000 };
	uint64_t random = 1;

	for (int c = 0; c < 3; c++) {
		struct look_bench *b = bench_alloc(sizeof(*b));
		char col[24];

		rcu_init(&b->rcu);
		b->in = bench_alloc(counts[c] * sizeof(struct sa_in *));
		if (spd_init(&b->spd) || rtab_init(&b->sad))
			abort();
		for (unsigned i = 0; i < counts[c]; i++)
			install(b, i);
		rcu_reap(&b->rcu, NULL, 0);
		for (unsigned i = 0; i < ASKED; i++) {
			struct pkt *k = &b->pkt[i];

			random = random * 6364136223846793005ull + 1442695040888963407ull;
			b->pick[i] = (unsigned)((random >> 33) % counts[c]);
			b->spi[i] = (uint32_t)hash_mix(b->pick[i] + 1u);
			*k = (struct pkt){ .ver = 4,
					   .proto = PKT_TCP,
					   .plain = true,
					   .ports = true,
					   .sport = 4000,
					   .dport = 25 };
			k->src[1] = 0x0a000001;
			k->dst[1] = 0x0b000000 + b->pick[i];
		}
		snprintf(col, sizeof(col), "%u", counts[c]);
		bench_add("lookup: among so many SAs, each with a selector of its own",
			  "sad_lookup", col, by_spi, b);
		bench_add("lookup: among so many SAs, each with a selector of its own",
			  "spd_lookup", col, by_packet, b);
		bench_add("lookup: among so many SAs, each with a selector of its own",
			  "selector_check", col, by_selector, b);
	}
}
