/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What does not fit: cut as TCP or as IPv4 fragments, or answered; and the rate of a peer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "fit.h"
#include "limit.h"
#include "packets.h"
#include "too_big.h"

#define ROOM 70000

static const struct made tcp4 = { 4, PKT_TCP, 0x0a630001, 0x0a630002, 4000, 25, 1000, 0x19, 7, 0, 12 };
static const struct made tcp6 = { 6, PKT_TCP, 1, 2, 4000, 25, 0xfffffe00, 0x18, 0, 0, 12 };
static const struct made udp4 = { 4, PKT_UDP, 0x0a630001, 0x0a630002, 4000, 443, 5, 0, 9, 0, 0 };
static const struct made udp6 = { 6, PKT_UDP, 0xb, 0xc, 4000, 443, 5, 0, 0, 0, 0 };

static size_t begin(struct split *s, uint8_t *p, const struct made *m, size_t payload)
{
	size_t len = make_packet(m, p, payload);
	bool clamped;

	assert_int_equal(split_parse(s, p, len), DP_OUT_PKT);
	assert_int_equal(split_init(s, NULL, 65535, &clamped), DP_OUT_PKT);
	return len;
}

/* Sum over what a checksum covers, checksum included: 0xffff when it is right. */
static bool sums(const uint8_t *p, size_t at, size_t len, uint64_t more)
{
	return csum_fold(csum_add(p + at, len, more)) == 0xffff;
}

/* ---- cutting ---- */

static void tcp_is_cut_into_segments_as_if_sent_so(void **state)
{
	static const struct made *kinds[] = { &tcp4, &tcp6 };
	static const size_t sizes[] = { 600, 1200, 1348, 1400 };
	uint8_t *p = malloc(ROOM), *want = malloc(ROOM);

	(void)state;
	for (size_t c = 0; c < 2; c++) {
		for (size_t i = 0; i < 4; i++) {
			struct made m = *kinds[c];
			size_t head = made_head(&m), at = 0;
			struct piece piece;
			struct split s;

			begin(&s, p, &m, 1400);
			assert_true(split_recut(&s, sizes[i]));
			while (split_next(&s, &piece)) {
				size_t slice = piece.len - head;
				struct made one = m;
				bool last = at + slice == 1400;

				assert_true(piece.len <= sizes[i]);
				one.seq += (uint32_t)at;
				one.id = m.ver == 4 ? get16(piece.data + 4) : 0;
				if (!last)
					one.flags &= 0xf6;
				make_packet(&one, want, slice);
				assert_memory_equal(piece.data, want, piece.len);
				at += slice;
			}
			assert_int_equal(at, 1400);
		}
	}
	free(p);
	free(want);
}

static void tcp_with_a_wrong_checksum_is_not_made_right(void **state)
{
	uint8_t *p = malloc(ROOM);
	struct split s;

	(void)state;
	begin(&s, p, &tcp4, 1400);
	p[900] ^= 1;
	assert_false(split_recut(&s, 1200));
	free(p);
}

static void an_ipv4_header_with_a_wrong_checksum_is_not_made_right(void **state)
{
	uint8_t *p = malloc(ROOM);
	struct split s;

	(void)state;
	begin(&s, p, &tcp4, 1400);
	p[10] ^= 1;
	assert_false(split_recut(&s, 600));
	begin(&s, p, &udp4, 1400);
	p[6] = 0; /* DF was there: now the checksum is wrong */
	assert_false(split_fragment(&s, 600));
	csum_ipv4_header(p);
	assert_true(split_fragment(&s, 600));
	free(p);
}

static void what_cannot_be_cut_stays_whole(void **state)
{
	uint8_t *p = malloc(ROOM);
	struct made m = tcp4;
	struct split s;

	(void)state;
	m.flags = 0x02; /* SYN with data */
	begin(&s, p, &m, 1400);
	assert_false(split_recut(&s, 1200));
	m.flags = 0x30; /* URG: its pointer counts from the segment's own number */
	begin(&s, p, &m, 1400);
	assert_false(split_recut(&s, 1200));
	begin(&s, p, &udp4, 1400);
	assert_false(split_recut(&s, 1200));
	assert_false(split_fragment(&s, 1200)); /* DF */
	begin(&s, p, &udp6, 1400);
	assert_false(split_fragment(&s, 1200));
	begin(&s, p, &tcp4, 1400);
	assert_false(split_recut(&s, 60)); /* no payload would fit */
	free(p);
}

static void ipv4_without_df_is_fragmented(void **state)
{
	static const size_t sizes[] = { 68, 576, 1001, 1400 };
	uint8_t *p = malloc(ROOM), *whole = malloc(ROOM), *got = malloc(ROOM);

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		size_t len, at = 0;
		struct piece piece;
		struct split s;

		begin(&s, p, &udp4, 1441);
		p[6] = 0;
		csum_ipv4_header(p);
		len = s.k.total;
		memcpy(whole, p, len);
		assert_true(split_fragment(&s, sizes[i]));
		while (split_next(&s, &piece)) {
			size_t slice = piece.len - 20;
			uint16_t field = get16(piece.data + 6);

			assert_true(piece.len <= sizes[i]);
			assert_int_equal(get16(piece.data + 2), piece.len);
			assert_int_equal(get16(piece.data + 4), udp4.id);
			assert_int_equal((field & 0x1fff) * 8, at);
			assert_true(sums(piece.data, 0, 20, 0));
			memcpy(got + at, piece.data + 20, slice);
			at += slice;
			assert_int_equal(!(field & 0x2000), at == len - 20);
		}
		assert_int_equal(at, len - 20);
		assert_memory_equal(got, whole + 20, at);
	}
	free(p);
	free(whole);
	free(got);
}

/* A fragment that is cut again keeps its place, and More Fragments in its last piece too. */
static void a_fragment_is_cut_again(void **state)
{
	uint8_t *p = malloc(ROOM);
	struct piece piece;
	struct split s;
	unsigned off = 100;
	size_t len = make_packet(&udp4, p, 1400);
	bool clamped;

	(void)state;
	put16(p + 6, (uint16_t)(0x2000 | off));
	csum_ipv4_header(p);
	assert_int_equal(split_parse(&s, p, len), DP_OUT_PKT);
	assert_int_equal(split_init(&s, NULL, 65535, &clamped), DP_OUT_PKT);
	assert_true(split_fragment(&s, 600));
	while (split_next(&s, &piece)) {
		assert_int_equal(get16(piece.data + 6), 0x2000 | off);
		off += (unsigned)(piece.len - 20) / 8;
	}
	free(p);
}

static void only_options_to_be_copied_are_in_later_fragments(void **state)
{
	/* Record Route (not copied), then Router Alert (copied). */
	static const uint8_t options[12] = { 7, 7, 4, 0, 0, 0, 0, 0x94, 4, 0, 0, 0 };
	uint8_t *p = malloc(ROOM), *q = malloc(ROOM);
	size_t len = make_packet(&udp4, q, 1200);
	struct piece piece;
	struct split s;
	bool clamped;

	(void)state;
	memcpy(p, q, 20);
	memcpy(p + 20, options, 12);
	memcpy(p + 32, q + 20, len - 20);
	p[0] = 0x48;
	p[6] = 0;
	put16(p + 2, (uint16_t)(len + 12));
	csum_ipv4_header(p);
	assert_int_equal(split_parse(&s, p, len + 12), DP_OUT_PKT);
	assert_int_equal(split_init(&s, NULL, 65535, &clamped), DP_OUT_PKT);
	assert_true(split_fragment(&s, 600));
	assert_true(split_next(&s, &piece));
	assert_memory_equal(piece.data + 20, options, 12);
	while (split_next(&s, &piece)) {
		assert_int_equal(piece.data[20], 1);
		assert_int_equal(piece.data[26], 1);
		assert_memory_equal(piece.data + 27, options + 7, 4);
		assert_true(sums(piece.data, 0, 32, 0));
	}
	free(p);
	free(q);
}

/* ---- answering ---- */

static void frag_needed_quotes_the_packet_and_says_what_fits(void **state)
{
	static const size_t payloads[] = { 0, 100, 520, 521, 1400 };
	uint8_t p[2000], o[TOO_BIG_V6_MAX];

	(void)state;
	for (size_t i = 0; i < 5; i++) {
		size_t len = make_packet(&udp4, p, payloads[i]), n, quote;
		struct pkt k;

		assert_int_equal(pkt_parse(p, len, &k), 0);
		n = too_big_build(p, &k, len, 1218, o);
		quote = len < 548 ? len : 548;
		assert_int_equal(n, 28 + quote);
		assert_true(n <= TOO_BIG_V4_MAX);
		assert_int_equal(get16(o + 2), n);
		assert_true(sums(o, 0, 20, 0));
		assert_memory_equal(o + 12, p + 16, 4); /* from where it was to go */
		assert_memory_equal(o + 16, p + 12, 4);
		assert_int_equal(get16(o + 20), 3 << 8 | 4);
		assert_int_equal(get16(o + 26), 1218);
		assert_true(sums(o, 20, n - 20, 0));
		assert_memory_equal(o + 28, p, quote);
	}
}

static void packet_too_big_is_as_long_as_ipv6_allows(void **state)
{
	static const size_t payloads[] = { 0, 1183, 1184, 1185, 1400 };
	uint8_t p[2000], o[TOO_BIG_V6_MAX];

	(void)state;
	for (size_t i = 0; i < 5; i++) {
		size_t len = make_packet(&udp6, p, payloads[i]), n, quote = len < 1232 ? len : 1232;
		struct pkt k;

		assert_int_equal(pkt_parse(p, len, &k), 0);
		n = too_big_build(p, &k, len, 1300, o);
		assert_int_equal(n, 48 + quote);
		assert_true(n <= 1280);
		assert_int_equal(get16(o + 4), n - 40);
		assert_memory_equal(o + 8, p + 24, 16);
		assert_memory_equal(o + 24, p + 8, 16);
		assert_int_equal(get16(o + 40), 2 << 8);
		assert_int_equal(get32(o + 44), 1300);
		assert_true(sums(o, 40, n - 40, csum_pseudo(o, PKT_ICMPV6, n - 40)));
		assert_memory_equal(o + 48, p, quote);
	}
}

static void a_super_packet_is_quoted_as_one_segment(void **state)
{
	uint8_t *p = malloc(ROOM), o[TOO_BIG_V6_MAX];
	struct pkt k;
	size_t len = make_packet(&tcp4, p, 9000);

	(void)state;
	assert_int_equal(pkt_parse(p, len, &k), 0);
	assert_int_equal(too_big_build(p, &k, 1400, 1200, o), TOO_BIG_V4_MAX);
	assert_int_equal(get16(o + 28 + 2), 1400);
	assert_true(sums(o, 28, 20, 0));
	free(p);
}

static size_t answered(const uint8_t *p, size_t len)
{
	uint8_t o[TOO_BIG_V6_MAX];
	struct pkt k;

	assert_int_equal(pkt_parse(p, len, &k), 0);
	return too_big_build(p, &k, len, 1280, o);
}

static void errors_fragments_and_nobody_get_no_answer(void **state)
{
	uint8_t p[2000];
	size_t len;

	(void)state;
	for (unsigned type = 0; type < 256; type++) {
		bool error = type == 3 || type == 4 || type == 5 || type == 11 || type == 12;

		len = make_packet(&udp4, p, 1400);
		p[9] = PKT_ICMP;
		p[20] = (uint8_t)type;
		assert_int_equal(!answered(p, len), error);
		len = make_packet(&udp6, p, 1400);
		p[6] = PKT_ICMPV6;
		p[40] = (uint8_t)type;
		assert_int_equal(!answered(p, len), type < 128);
	}
	len = make_packet(&udp4, p, 1400);
	put16(p + 6, 10); /* a later fragment */
	assert_int_equal(answered(p, len), 0);
	static const uint32_t none[] = { 0, 0x7f000001, 0xe0000001, 0xffffffff };
	for (size_t i = 0; i < 4; i++) {
		len = make_packet(&udp4, p, 1400);
		put32(p + 12, none[i]);
		assert_int_equal(answered(p, len), 0);
		len = make_packet(&udp4, p, 1400);
		put32(p + 16, none[i]);
		assert_int_equal(answered(p, len), 0);
	}
	len = make_packet(&udp6, p, 1400);
	p[24] = 0xff; /* multicast */
	assert_int_equal(answered(p, len), 0);
	len = make_packet(&udp6, p, 1400);
	memset(p + 8, 0, 16);
	assert_int_equal(answered(p, len), 0);
}

/* ---- rate ---- */

static void what_passes_in_the_long_run_is_the_rate(void **state)
{
	static const uint64_t rates[] = { 64000, 1000000, 100000000, 10000000000ull };

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		struct limit l = { 0 };
		uint64_t passed = 0, ms = 60000, asked = 0;

		limit_set(&l, rates[i]);
		for (uint64_t now = 1; now <= ms; now++) {
			/* Three times as much as may pass, in units of several packets. */
			unsigned n = 1 + (unsigned)(3 * rates[i] / 8000 / 1400);

			asked += n;
			passed += limit_take(&l, now, n, n * 1400ull) * 1400ull;
		}
		assert_true(passed * 8 >= rates[i] / 1000 * ms * 97 / 100);
		assert_true(passed * 8 <= rates[i] / 1000 * (ms + LIMIT_BURST_NS / 1000000) + LIMIT_BURST_BYTES * 8);
		assert_int_equal(atomic_load(&l.held_pkts), asked - passed / 1400);
	}
}

static void without_a_rate_all_passes(void **state)
{
	struct limit l = { 0 };

	(void)state;
	assert_int_equal(limit_take(&l, 5, 1000, 1000000), 1000);
	limit_set(&l, 8000);
	assert_int_equal(limit_take(&l, 5, 1, 1400), 1);
	while (limit_take(&l, 5, 1, 1400))
		;
	limit_set(&l, 0);
	assert_int_equal(limit_take(&l, 5, 1, 1400), 1);
}

static void an_idle_peer_may_send_a_burst_and_no_more(void **state)
{
	struct limit l = { 0 };

	(void)state;
	limit_set(&l, 80000000); /* 10 kB a millisecond */
	assert_int_equal(limit_take(&l, 1000000, 4000, 4000000), 3000);
	assert_int_equal(limit_take(&l, 1000000, 1, 1000), 0);
	assert_int_equal(limit_take(&l, 1000010, 200, 200000), 100);
	assert_int_equal(limit_take(&l, 2000000, 4000, 4000000), 3000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tcp_is_cut_into_segments_as_if_sent_so),
		cmocka_unit_test(tcp_with_a_wrong_checksum_is_not_made_right),
		cmocka_unit_test(an_ipv4_header_with_a_wrong_checksum_is_not_made_right),
		cmocka_unit_test(what_cannot_be_cut_stays_whole),
		cmocka_unit_test(ipv4_without_df_is_fragmented),
		cmocka_unit_test(a_fragment_is_cut_again),
		cmocka_unit_test(only_options_to_be_copied_are_in_later_fragments),
		cmocka_unit_test(frag_needed_quotes_the_packet_and_says_what_fits),
		cmocka_unit_test(packet_too_big_is_as_long_as_ipv6_allows),
		cmocka_unit_test(a_super_packet_is_quoted_as_one_segment),
		cmocka_unit_test(errors_fragments_and_nobody_get_no_answer),
		cmocka_unit_test(what_passes_in_the_long_run_is_the_rate),
		cmocka_unit_test(without_a_rate_all_passes),
		cmocka_unit_test(an_idle_peer_may_send_a_burst_and_no_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
