/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "buf.h"
#include "offload.h"
#include "packets.h"

#define ROOM (VNET_LEN + 65536 + 64)

static const struct made kinds[] = {
	{ 4, PKT_TCP, 0x0a630001, 0x0a630002, 4000, 25, 1000, 0x18, 77, 0, 12 },
	{ 6, PKT_TCP, 1, 2, 4000, 25, 0xfffff000, 0x10, 0, 2, 12 },
	{ 4, PKT_UDP, 0x0a630001, 0x0a630002, 4000, 443, 5, 0, 9, 0, 0 },
	{ 6, PKT_UDP, 1, 2, 4000, 443, 5, 0, 0, 0, 0 },
};

/* ---- a merge that keeps what it was told to write ---- */

struct sink {
	struct tunw w[256];
	unsigned taken, writes;
	uint8_t *out[256];
	size_t len[256];
	unsigned pkts[256];
};

static struct tunw *get(void *arg)
{
	struct sink *s = arg;

	return &s->w[s->taken++];
}

static void ready(void *arg, struct tunw *w)
{
	struct sink *s = arg;
	size_t at = 0;
	uint8_t *o = malloc(ROOM);

	for (unsigned i = 0; i < w->iovs; i++) {
		memcpy(o + at, w->iov[i].iov_base, w->iov[i].iov_len);
		at += w->iov[i].iov_len;
	}
	s->out[s->writes] = o;
	s->pkts[s->writes] = w->pkts;
	s->len[s->writes++] = at;
}

static void hold(struct buf *b)
{
	b->refs++;
}

static const struct merge_ops ops = { get, ready, hold };

static void sink_init(struct merge *m, struct sink *s)
{
	memset(m, 0, sizeof(*m));
	memset(s, 0, sizeof(*s));
	m->ops = &ops;
	m->arg = s;
	m->vnet = m->tcp = m->udp = true;
}

static void sink_clear(struct sink *s)
{
	for (unsigned i = 0; i < s->writes; i++)
		free(s->out[i]);
}

static void add(struct merge *m, uint8_t *p, size_t len, struct buf *b)
{
	struct pkt k;

	assert_int_equal(pkt_parse(p, len, &k), 0);
	merge_add(m, p, &k, b);
}

/* A super-packet as the kernel gives it: partial checksum, virtio-net header. */
static size_t make_super(const struct made *m, uint8_t *p, size_t payload, uint16_t gso,
			 struct virtio_net_hdr *v)
{
	size_t total = make_packet(m, p, payload), l4 = m->ver == 4 ? 20 : 40;
	uint16_t sum = csum_fold(csum_pseudo(p, m->proto, total - l4));

	memset(v, 0, sizeof(*v));
	v->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	v->gso_type = m->proto == PKT_UDP ? VIRTIO_NET_HDR_GSO_UDP_L4
		      : m->ver == 4	  ? VIRTIO_NET_HDR_GSO_TCPV4
					  : VIRTIO_NET_HDR_GSO_TCPV6;
	v->gso_size = gso;
	v->hdr_len = (uint16_t)made_head(m);
	v->csum_start = (uint16_t)l4;
	v->csum_offset = m->proto == PKT_TCP ? 16 : 6;
	memcpy(p + l4 + v->csum_offset, &sum, 2);
	return total;
}

static void expect_piece(const struct made *m, const struct piece *p, size_t at, size_t slice,
			 bool first, bool last)
{
	uint8_t *want = malloc(ROOM);
	struct made n = *m;

	n.seq += (uint32_t)at;
	if (m->proto == PKT_TCP && !last)
		n.flags &= 0xf6; /* FIN, PSH */
	if (m->proto == PKT_TCP && !first)
		n.flags &= 0x7f; /* CWR */
	if (m->ver == 4)
		n.id = get16(p->data + 4);
	assert_int_equal(p->len, made_head(m) + slice);
	make_packet(&n, want, slice);
	assert_memory_equal(p->data, want, p->len);
	free(want);
}

static void split_gives_packets_as_if_never_joined(void **state)
{
	static const size_t payloads[] = { 1, 2, 999, 1000, 1001, 2000, 4999, 40000, 65000 };
	static const uint16_t gsos[] = { 40, 536, 1000, 1348, 65000 };
	uint8_t *p = malloc(ROOM);

	(void)state;
	for (size_t c = 0; c < 4; c++) {
		for (size_t i = 0; i < 9 * 5; i++) {
			size_t payload = payloads[i / 5], at = 0;
			uint16_t gso = gsos[i % 5], id0;
			struct made m = kinds[c];
			struct virtio_net_hdr v;
			struct piece piece;
			struct split s;
			bool clamped;
			size_t len;
			unsigned n = 0;

			m.flags |= m.proto == PKT_TCP ? 0x89 : 0; /* CWR, PSH, FIN */
			len = make_super(&m, p, payload, gso, &v);
			id0 = m.id;
			assert_int_equal(split_parse(&s, p, len), DP_OUT_PKT);
			assert_int_equal(split_init(&s, &v, 1400, &clamped), DP_OUT_PKT);
			while (split_next(&s, &piece)) {
				size_t slice = payload - at < gso ? payload - at : gso;
				uint8_t save[8];

				if (m.ver == 4)
					assert_int_equal(get16(piece.data + 4), id0 + n);
				expect_piece(&m, &piece, at, slice, !at, at + slice == payload);
				/* What esp_seal does behind it must not be seen later. */
				memcpy(save, piece.data + piece.len, 8);
				memset(piece.data + piece.len, 0xee, 8);
				memcpy(piece.data + piece.len, save, 8);
				at += slice;
				n++;
			}
			assert_int_equal(at, payload);
			assert_int_equal(n, s.count);
		}
	}
	free(p);
}

/* Extension headers stand in every piece, however long they are, and be they longer than the slices. */
static void split_repeats_headers_of_any_length(void **state)
{
	static const size_t chains[] = { 8, 200, 512, 2048, 6144 };
	uint8_t *p = malloc(ROOM), *want = malloc(ROOM), exts[6144];

	(void)state;
	for (size_t c = 1; c < 4; c += 2) {
		for (size_t i = 0; i < 5 * 2; i++) {
			struct made m = kinds[c];
			size_t chain = chains[i / 2], head = made_head(&m), at = 0, len;
			uint16_t gso = i & 1 ? 1300 : 90;
			struct virtio_net_hdr v;
			struct piece piece;
			struct split s;
			bool clamped;

			len = make_super(&m, p, 20000, gso, &v);
			memmove(p + 40 + chain, p + 40, len - 40);
			for (size_t h = 0; h < chain; h += 2048) {
				size_t n = chain - h < 2048 ? chain - h : 2048;

				memset(p + 40 + h, 0, n);
				p[40 + h] = h + n < chain ? 60 : m.proto;
				p[41 + h] = (uint8_t)(n / 8 - 1);
			}
			memcpy(exts, p + 40, chain);
			p[6] = 60;
			put16(p + 4, (uint16_t)(len - 40 + chain));
			v.csum_start = (uint16_t)(40 + chain);
			assert_int_equal(split_parse(&s, p, len + chain), DP_OUT_PKT);
			assert_int_equal(split_init(&s, &v, 1400, &clamped), DP_OUT_PKT);
			for (; split_next(&s, &piece); at += gso) {
				size_t slice = 20000 - at < gso ? 20000 - at : gso;
				struct made n = m;

				n.seq += (uint32_t)at;
				n.flags &= at + slice < 20000 ? 0xf6 : 0xff;
				make_packet(&n, want, slice);
				put16(want + 4, (uint16_t)(head - 40 + slice + chain));
				assert_int_equal(piece.len, head + slice + chain);
				assert_int_equal(piece.data[6], 60);
				assert_memory_equal(piece.data, want, 6);
				assert_memory_equal(piece.data + 40, exts, chain);
				assert_memory_equal(piece.data + 40 + chain, want + 40,
						    head - 40 + slice);
			}
			assert_in_range(at, 20000, 20000 + gso - 1);
		}
	}
	free(p);
	free(want);
}

static void split_then_merge_is_identity(void **state)
{
	uint8_t *p = malloc(ROOM), *was = malloc(ROOM), *recv = malloc(2 * ROOM);
	struct sink *k = malloc(sizeof(*k));

	(void)state;
	for (size_t c = 0; c < 4; c++) {
		size_t at = 0, payload = 41234, len, n = 0;
		struct virtio_net_hdr v, got;
		struct piece piece;
		struct merge m;
		struct split s;
		struct buf b = { 0 };
		bool clamped;

		sink_init(&m, k);
		len = make_super(&kinds[c], p, payload, 1300, &v);
		memcpy(was, p, len);
		split_parse(&s, p, len);
		assert_int_equal(split_init(&s, &v, 1400, &clamped), DP_OUT_PKT);
		while (split_next(&s, &piece)) {
			uint8_t *to = recv + at + 16;

			memcpy(to, piece.data, piece.len);
			add(&m, to, piece.len, &b);
			at += 16 + piece.len;
			n++;
		}
		merge_flush(&m);
		assert_int_equal(k->writes, 1);
		assert_int_equal(k->pkts[0], n);
		assert_int_equal(b.refs, 1);
		memcpy(&got, k->out[0], VNET_LEN);
		assert_memory_equal(&got, &v, VNET_LEN);
		assert_int_equal(k->len[0], VNET_LEN + len);
		if (kinds[c].ver == 4) /* its checksum was not filled in by the tests' maker */
			csum_ipv4_header(was);
		assert_memory_equal(k->out[0] + VNET_LEN, was, len);
		sink_clear(k);
	}
	free(p);
	free(was);
	free(recv);
	free(k);
}

static void split_refuses_what_the_header_does_not_fit(void **state)
{
	uint8_t *p = malloc(ROOM);
	struct virtio_net_hdr good, v;
	struct split s;
	bool clamped;
	size_t len;

	(void)state;
	len = make_super(&kinds[0], p, 5000, 1000, &good);
	for (int i = 0; i < 10; i++) {
		v = good;
		split_parse(&s, p, len);
		switch (i) {
		case 0:
			v.gso_size = 0;
			break;
		case 1:
			v.gso_type = VIRTIO_NET_HDR_GSO_TCPV6;
			break;
		case 2:
			v.gso_type = VIRTIO_NET_HDR_GSO_UDP;
			break;
		case 3:
			v.gso_type = VIRTIO_NET_HDR_GSO_UDP_L4;
			break;
		case 4:
			v.gso_type = 77;
			break;
		case 5:
			v.gso_type = 0;
			v.csum_start = 60000;
			break;
		case 6:
			v.gso_type = 0;
			v.csum_offset = 65535;
			break;
		case 7:
			s.k.fragment = true;
			break;
		case 8: /* a checksum into the IP header, where its length is, say */
			v.gso_type = 0;
			v.csum_start = v.csum_offset = 0;
			break;
		case 9:
			v.gso_type = 0;
			v.csum_start = 19;
			break;
		}
		assert_int_equal(split_init(&s, &v, 1400, &clamped), DP_DROP_VNET);
	}
	p[32] = 0x40; /* data offset below five words */
	split_parse(&s, p, len);
	assert_int_equal(split_init(&s, &good, 1400, &clamped), DP_DROP_VNET);
	for (size_t n = 0; n < 20; n++)
		assert_int_equal(split_parse(&s, p, n), DP_DROP_TUN_SHORT);
	free(p);
}

/* A checksum that comes out as zero means none, in the packet and in one that it carries. */
static void split_leaves_no_udp_checksum_out(void **state)
{
	struct virtio_net_hdr v = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_offset = 6 };
	struct made m = kinds[3];
	uint8_t p[300];
	struct split s;
	bool clamped;

	(void)state;
	for (int carried = 0; carried < 2; carried++) {
		size_t len = make_packet(&m, p, 100), at = carried ? 84 : 40;

		if (carried) {
			p[6] = 47; /* GRE with IPv6 in it */
			memset(p + 40, 0, 100);
		}
		v.csum_start = (uint16_t)at;
		memset(p + at + 8, 0, len - at - 8);
		put16(p + at + 6, 0);
		/* The sum of all is 0xffff now. */
		csum_put(p + at + 8, csum_add(p + at, len - at, 0));
		assert_int_equal(split_parse(&s, p, len), DP_OUT_PKT);
		assert_int_equal(split_init(&s, &v, 1400, &clamped), DP_OUT_PKT);
		assert_int_equal(get16(p + at + 6), 0xffff);
	}
}

static void split_finishes_partial_checksums(void **state)
{
	uint8_t p[300], want[300];
	struct virtio_net_hdr v;
	struct piece piece;
	struct split s;
	bool clamped;

	(void)state;
	for (size_t c = 0; c < 4; c++) {
		size_t len = make_super(&kinds[c], p, 101, 1000, &v);

		make_packet(&kinds[c], want, 101);
		v.gso_type = VIRTIO_NET_HDR_GSO_NONE;
		split_parse(&s, p, len);
		assert_int_equal(split_init(&s, &v, 1400, &clamped), DP_OUT_PKT);
		assert_true(split_next(&s, &piece));
		assert_memory_equal(piece.data, want, len);
		assert_false(split_next(&s, &piece));
	}
}

/* Two packets, the second changed in one way: do they leave as one? */
static unsigned writes_for(const struct made *a, size_t alen, const struct made *b, size_t blen,
			   int spoil)
{
	uint8_t *mem = malloc(2 * ROOM), *q = mem + ROOM + 16;
	struct sink *s = malloc(sizeof(*s));
	struct buf buf = { 0 };
	struct merge m;
	unsigned writes;
	size_t la, lb;

	sink_init(&m, s);
	la = make_packet(a, mem + 16, alen);
	lb = make_packet(b, q, blen);
	if (spoil >= 0) {
		q[spoil] ^= 0x10;
		if (spoil < (b->ver == 4 ? 20 : 40))
			made_csum(b, q, lb);
	}
	add(&m, mem + 16, la, &buf);
	add(&m, q, lb, &buf);
	merge_flush(&m);
	writes = s->writes;
	sink_clear(s);
	free(s);
	free(mem);
	return writes;
}

static void merge_joins_only_what_the_kernel_would(void **state)
{
	(void)state;
	for (size_t c = 0; c < 4; c++) {
		struct made a = kinds[c], b;
		size_t l4 = a.ver == 4 ? 20 : 40;

		a.flags = 0x10;
		b = a;
		b.seq += 1000;
		b.id++;
		assert_int_equal(writes_for(&a, 1000, &b, 1000, -1), 1);
		assert_int_equal(writes_for(&a, 1000, &b, 1, -1), 1);	 /* a shorter last one */
		assert_int_equal(writes_for(&a, 1000, &b, 1001, -1), 2); /* a longer one */
		assert_int_equal(writes_for(&a, 1000, &b, 1000, (int)l4 + 60), 2); /* corrupt */
		assert_int_equal(writes_for(&a, 1000, &b, 1000, (int)(a.ver == 4 ? 8 : 7)), 2);
		b.dport++;
		assert_int_equal(writes_for(&a, 1000, &b, 1000, -1), 2);
		if (a.proto == PKT_UDP)
			continue;
		b = a;
		b.seq += 1001; /* a gap */
		assert_int_equal(writes_for(&a, 1000, &b, 1000, -1), 2);
		b.seq = a.seq + 1000;
		b.flags = 0x11; /* FIN */
		assert_int_equal(writes_for(&a, 1000, &b, 1000, -1), 2);
		b.flags = 0x50; /* ECE in the second alone, in both; CWR is for the first alone to say */
		assert_int_equal(writes_for(&a, 1000, &b, 1000, -1), 2);
		a.flags = 0x50;
		assert_int_equal(writes_for(&a, 1000, &b, 1000, -1), 1);
		a.flags = b.flags = 0x90;
		assert_int_equal(writes_for(&a, 1000, &b, 1000, -1), 2);
		a.flags = b.flags = 0x10;
		b.ecn = a.ecn ^ 1;
		assert_int_equal(writes_for(&a, 1000, &b, 1000, -1), 2);
		b.ecn = a.ecn;
		b.options = 0;
		assert_int_equal(writes_for(&a, 1000, &b, 1000, -1), 2);
		b = a;
		b.seq += 1000;
		a.flags = 0x18; /* PSH closes */
		assert_int_equal(writes_for(&a, 1000, &b, 1000, -1), 2);
	}
}

/* What the kernel makes anew, or takes from the first packet, has to be as it would make it. */
static void merge_hides_no_ip_checksum_and_no_urgent_pointer(void **state)
{
	(void)state;
	for (int what = 0; what < 3; what++) {
		uint8_t *mem = malloc(4096), *q = mem + 2048;
		struct sink *s = malloc(sizeof(*s));
		struct made a = kinds[0], b;
		struct buf buf = { 0 };
		struct merge m;
		size_t la, lb;

		a.flags = 0x10;
		b = a;
		b.seq += 1000;
		b.id++;
		sink_init(&m, s);
		la = make_packet(&a, mem + 16, 1000);
		lb = make_packet(&b, q, 1000);
		if (what == 1)
			q[11] ^= 1;
		if (what == 2) {
			put16(q + 38, 7);
			made_csum(&b, q, lb);
		}
		add(&m, mem + 16, la, &buf);
		add(&m, q, lb, &buf);
		merge_flush(&m);
		assert_int_equal(s->writes, what ? 2 : 1);
		sink_clear(s);
		free(s);
		free(mem);
	}
}

static void merge_never_reorders_a_flow(void **state)
{
	enum { N = 40 };
	uint8_t *mem = malloc(N * 256);
	struct sink *s = malloc(sizeof(*s));
	struct made m = kinds[0];
	struct buf buf = { 0 };
	struct merge mg;
	uint32_t next[3] = { 0 };

	(void)state;
	sink_init(&mg, s);
	srand(3);
	for (int i = 0; i < N; i++) {
		int flow = rand() % 3;
		size_t payload = rand() % 4 ? 100 : (size_t)(rand() % 90 + 1);

		m.sport = (uint16_t)(1000 + flow);
		m.seq = next[flow];
		m.flags = rand() % 6 ? 0x10 : 0x11; /* some that may not join */
		next[flow] += (uint32_t)payload;
		add(&mg, mem + i * 256 + 16, make_packet(&m, mem + i * 256 + 16, payload), &buf);
	}
	merge_flush(&mg);
	memset(next, 0, sizeof(next));
	for (unsigned i = 0; i < s->writes; i++) {
		const uint8_t *p = s->out[i] + VNET_LEN;
		int flow = get16(p + 20) - 1000;

		assert_int_equal(get32(p + 24), next[flow]);
		next[flow] += (uint32_t)(get16(p + 2) - 52);
	}
	assert_true(s->writes < N);
	sink_clear(s);
	free(s);
	free(mem);
}

static void merge_writes_more_flows_than_it_keeps(void **state)
{
	uint8_t *mem = malloc(64 * 256);
	struct sink *s = malloc(sizeof(*s));
	struct made m = kinds[3];
	struct buf buf = { 0 };
	struct merge mg;

	(void)state;
	sink_init(&mg, s);
	for (int i = 0; i < 64; i++) {
		m.sport = (uint16_t)(i % 20);
		add(&mg, mem + i * 256 + 16, make_packet(&m, mem + i * 256 + 16, 100), &buf);
	}
	merge_flush(&mg);
	assert_int_equal(mg.open, 0);
	assert_int_equal(s->taken, s->writes);
	sink_clear(s);
	free(s);
	free(mem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(split_gives_packets_as_if_never_joined),
		cmocka_unit_test(split_then_merge_is_identity),
		cmocka_unit_test(split_repeats_headers_of_any_length),
		cmocka_unit_test(split_leaves_no_udp_checksum_out),
		cmocka_unit_test(split_refuses_what_the_header_does_not_fit),
		cmocka_unit_test(split_finishes_partial_checksums),
		cmocka_unit_test(merge_joins_only_what_the_kernel_would),
		cmocka_unit_test(merge_hides_no_ip_checksum_and_no_urgent_pointer),
		cmocka_unit_test(merge_never_reorders_a_flow),
		cmocka_unit_test(merge_writes_more_flows_than_it_keeps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
