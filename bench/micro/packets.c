/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What happens to a packet besides its cipher: cut, joined, summed, counted, queued. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "fq.h"
#include "micro.h"
#include "offload.h"
#include "packets.h"
#include "replay.h"

#define SEGS 44 /* of one read or write, with the usual MTU */
#define MSS  1348

/* ---- checksum ---- */

struct sum_bench {
	uint8_t *p;
	size_t len;
	uint64_t (*add)(const uint8_t *p, size_t len, uint64_t sum);
	uint64_t sum;
};

static uint64_t sum(void *arg, unsigned n)
{
	struct sum_bench *b = arg;
	uint64_t began = bench_ns();

	for (unsigned i = 0; i < n; i++)
		b->sum = csum_fold(b->add(b->p, b->len, b->sum));
	return bench_ns() - began;
}

static void add_sums(void)
{
	static const size_t sizes[] = { 20, 64, 256, 1400, 16384 };

	for (int portable = 0; portable < 2; portable++) {
		for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
			struct sum_bench *b = bench_alloc(sizeof(*b));
			char col[24];

			b->len = sizes[i];
			b->p = bench_alloc(b->len);
			memset(b->p, 0xa5, b->len);
			b->add = portable ? csum_add_portable : csum_add;
			snprintf(col, sizeof(col), "%zu", b->len);
			bench_add("csum_add: bytes", portable ? "portable" : "as it is used here",
				  col, sum, b);
		}
	}
}

/* ---- split ---- */

struct gso_bench {
	uint8_t *p, *was;
	size_t len, stride;
	struct virtio_net_hdr v;
	/* merge */
	struct merge m;
	struct tunw w[MERGE_FLOWS + 1];
	struct buf buf;
	unsigned writes;
};

static uint64_t split(void *arg, unsigned n)
{
	struct gso_bench *b = arg;
	uint64_t began = bench_ns();

	for (unsigned i = 0; i < n; i += SEGS) {
		struct piece piece;
		struct split s;
		bool clamped;

		memcpy(b->p, b->was, 80); /* the first piece has changed the headers */
		if (split_parse(&s, b->p, b->len) != DP_OUT_PKT ||
		    split_init(&s, &b->v, 1400, &clamped) != DP_OUT_PKT)
			abort();
		while (split_next(&s, &piece))
			;
	}
	return bench_ns() - began;
}

/* ---- merge ---- */

static struct tunw *get(void *arg)
{
	struct gso_bench *b = arg;

	return &b->w[b->writes++ % (MERGE_FLOWS + 1)];
}

static void ready(void *arg, struct tunw *w)
{
	(void)arg;
	(void)w;
}

static void hold(struct buf *b)
{
	b->refs++;
}

static uint64_t merge(void *arg, unsigned n)
{
	struct gso_bench *b = arg;
	uint64_t ns = 0;

	for (unsigned i = 0; i < n; i += SEGS) {
		uint64_t began;

		memcpy(b->p, b->was, 16 + 80); /* the write has changed the first one's headers */
		began = bench_ns();
		for (unsigned k = 0; k < SEGS; k++) {
			uint8_t *p = b->p + k * b->stride + 16;
			struct pkt pkt;

			if (pkt_parse(p, b->len, &pkt))
				abort();
			merge_add(&b->m, p, &pkt, &b->buf);
		}
		merge_flush(&b->m);
		ns += bench_ns() - began;
	}
	return ns;
}

static void add_gso(uint8_t ver, uint8_t proto, bool joins, const char *row)
{
	static const struct merge_ops ops = { get, ready, hold };
	struct made made = {
		ver, proto, 1, 2, 4000, 25, 1000, 0x10, 1, 0, proto == PKT_TCP ? 12 : 0
	};
	struct gso_bench *m = bench_alloc(sizeof(*m));
	size_t head = made_head(&made);

	if (joins) {
		struct gso_bench *s = bench_alloc(sizeof(*s));

		s->p = bench_alloc(65536 + SPLIT_SPARE);
		s->len = make_packet(&made, s->p, SEGS * MSS);
		s->was = bench_alloc(80);
		memcpy(s->was, s->p, 80);
		s->v.gso_size = MSS;
		s->v.hdr_len = (uint16_t)head;
		s->v.gso_type = proto == PKT_UDP ? VIRTIO_NET_HDR_GSO_UDP_L4
				: ver == 4	 ? VIRTIO_NET_HDR_GSO_TCPV4
						 : VIRTIO_NET_HDR_GSO_TCPV6;
		bench_add("split, merge: a packet of a unit of 44, 1348 bytes of payload", row,
			  "split", split, s);
	}
	m->stride = head + MSS + 32;
	m->len = head + MSS;
	m->p = bench_alloc(SEGS * m->stride);
	for (unsigned k = 0; k < SEGS; k++) {
		(void)make_packet(&made, m->p + k * m->stride + 16, MSS);
		made.seq += joins ? MSS : MSS + 1;
		made.id++;
		made.dport += !joins && proto == PKT_UDP;
	}
	m->was = bench_alloc(16 + 80);
	memcpy(m->was, m->p, 16 + 80);
	m->m.ops = &ops;
	m->m.arg = m;
	m->m.vnet = m->m.tcp = m->m.udp = true;
	bench_add("split, merge: a packet of a unit of 44, 1348 bytes of payload", row, "merge",
		  merge, m);
}

/* ---- replay ---- */

struct replay_bench {
	struct replay *r;
	uint64_t next;
	unsigned swap; /* numbers come in groups of so many, backwards */
};

static uint64_t replay(void *arg, unsigned n)
{
	struct replay_bench *b = arg;
	uint64_t began = bench_ns();

	for (unsigned i = 0; i < n; i++) {
		uint64_t at = b->next++, seq = at - at % b->swap + (b->swap - 1 - at % b->swap) + 1;
		uint64_t full = replay_infer(b->r, (uint32_t)seq);

		if (replay_check(b->r, full) != REPLAY_NEW)
			abort();
		(void)replay_commit(b->r, full);
	}
	return bench_ns() - began;
}

static void add_replay(void)
{
	static const unsigned swaps[] = { 1, 64, 1024 };
	static const char *const rows[] = { "in order", "groups of 64 backwards",
					    "groups of 1024 backwards" };

	for (int i = 0; i < 3; i++) {
		struct replay_bench *b = bench_alloc(sizeof(*b));

		b->r = replay_new(0, true);
		b->swap = swaps[i];
		if (!b->r)
			abort();
		bench_add("replay: infer, check, commit", rows[i], "window 4096", replay, b);
	}
}

/* ---- queue ---- */

#define QUEUED 1024

struct fq_bench {
	struct fq fq;
	struct fq_unit unit[QUEUED];
	unsigned flows, at;
	uint64_t now_us;
};

static uint64_t queue(void *arg, unsigned n)
{
	struct fq_bench *b = arg;
	uint64_t began = bench_ns();

	for (unsigned i = 0; i < n; i++) {
		struct fq_unit *u;
		bool mark;

		b->now_us++;
		u = fq_next(&b->fq, b->now_us, &mark);
		if (!u)
			abort();
		fq_took(&b->fq, u, u->bytes, true);
		u->bytes = 1400;
		fq_add(&b->fq, u, (uint32_t)(b->at++ % b->flows * 2654435761u), b->now_us);
	}
	return bench_ns() - began;
}

static void add_queue(void)
{
	static const unsigned flows[] = { 1, 16, 200 };

	for (int i = 0; i < 3; i++) {
		struct fq_bench *b = bench_alloc(sizeof(*b));
		char row[32];

		fq_init(&b->fq);
		b->flows = flows[i];
		for (unsigned k = 0; k < QUEUED; k++) {
			b->unit[k].bytes = 1400;
			fq_add(&b->fq, &b->unit[k], (uint32_t)(k % b->flows * 2654435761u), 0);
		}
		snprintf(row, sizeof(row), "%u flow%s", flows[i], i ? "s" : "");
		bench_add("fq: one unit goes and one comes, 1024 wait", row, "next, took, add",
			  queue, b);
	}
}

void add_packets(void)
{
	add_sums();
	add_gso(4, PKT_TCP, true, "TCP, IPv4");
	add_gso(6, PKT_TCP, true, "TCP, IPv6");
	add_gso(4, PKT_UDP, true, "UDP, IPv4");
	add_gso(6, PKT_UDP, true, "UDP, IPv6");
	add_gso(4, PKT_TCP, false, "TCP that does not join");
	add_gso(4, PKT_UDP, false, "44 flows of UDP");
	add_replay();
	add_queue();
}
