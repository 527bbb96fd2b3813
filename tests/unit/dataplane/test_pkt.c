/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "packets.h"

static const struct made syn4 = { 4, PKT_TCP, 1, 2, 3, 4, 5, 0x02, 6, 0, 8 };

static void checksum_agrees_with_the_textbook(void **state)
{
	uint8_t b[600];

	(void)state;
	srand(1);
	for (size_t off = 0; off < 8; off++) {
		for (size_t n = 0; n < 500; n++) {
			uint32_t s = 0;
			uint16_t got;

			for (size_t i = 0; i < n; i++)
				b[off + i] = (uint8_t)(n % 3 ? rand() : 0xff);
			naive_sum(b + off, n, &s);
			while (s >> 16)
				s = (s & 0xffff) + (s >> 16);
			got = csum_fold(csum_add(b + off, n, 0));
			assert_int_equal(be16toh(got) % 0xffff, s % 0xffff);
		}
	}
}

/* Whatever instructions are used; with the largest sums there are, and none read before or behind. */
static void checksum_is_the_same_by_every_instruction(void **state)
{
	enum { MOST = 1100 };
	uint8_t *b = malloc(65536 + 64);

	(void)state;
	srand(2);
	for (size_t i = 0; i < 65536 + 64; i++)
		b[i] = (uint8_t)(i % 5 ? rand() : 0xff);
	for (size_t off = 0; off < 64; off++) {
		for (size_t n = 0; n <= MOST; n++)
			assert_true(csum_add(b + off, n, n) == csum_add_portable(b + off, n, n));
	}
	for (size_t n = 65536; n > 65536 - 70; n--)
		assert_true(csum_add(b + 1, n, 0) == csum_add_portable(b + 1, n, 0));
	memset(b, 0xff, 65536);
	assert_true(csum_add(b, 65536, 0) == 16384 * 0xffffffffull);
	free(b);
	for (size_t n = 0; n < 300; n++) {
		uint8_t *exact = malloc(n + 1);

		memset(exact, 0xff, n);
		assert_true(csum_add(exact, n, 0) == csum_add_portable(exact, n, 0));
		free(exact);
	}
}

static void parse_survives_every_truncation(void **state)
{
	struct made m[] = { syn4, { 6, PKT_UDP, 1, 2, 3, 4, 0, 0, 0, 0, 0 } };
	uint8_t b[200];

	(void)state;
	for (int i = 0; i < 2; i++) {
		size_t len = make_packet(&m[i], b, 30);
		struct pkt k;

		for (size_t n = 0; n < len; n++) {
			uint8_t *exact = malloc(n + 1);

			memcpy(exact, b, n);
			assert_int_not_equal(pkt_parse(exact, n, &k), 0);
			free(exact);
		}
		assert_int_equal(pkt_parse(b, len, &k), 0);
		assert_int_equal(pkt_parse(b, len + 1, &k), 0); /* TFC padding behind */
		assert_int_equal(k.total, len);
		assert_true(k.ports && k.plain);
		assert_int_equal(k.sport, 3);
		assert_int_equal(k.dport, 4);
	}
}

static void parse_walks_extension_headers(void **state)
{
	struct made m = { 6, PKT_UDP, 1, 2, 3, 4, 0, 0, 0, 0, 0 };
	uint8_t b[200], e[300];
	size_t len = make_packet(&m, b, 10);
	struct pkt k;

	(void)state;
	memcpy(e, b, 40);
	memset(e + 40, 0, 16);
	e[6] = 0;   /* hop by hop */
	e[40] = 44; /* then a fragment header */
	e[48] = PKT_UDP;
	memcpy(e + 56, b + 40, len - 40);
	put16(e + 4, (uint16_t)(len - 40 + 16));
	assert_int_equal(pkt_parse(e, len + 16, &k), 0);
	assert_true(k.fragment && !k.later_fragment && !k.plain && k.ports);
	assert_int_equal(k.l4, 56);
	assert_int_equal(k.proto, PKT_UDP);
	put16(e + 50, 8); /* offset 1: a later fragment has no ports */
	assert_int_equal(pkt_parse(e, len + 16, &k), 0);
	assert_true(k.later_fragment && !k.ports);
	e[41] = 200; /* a header longer than the packet */
	assert_int_not_equal(pkt_parse(e, len + 16, &k), 0);
}

static size_t syn_with_mss(const struct made *m, uint8_t *b, uint16_t mss, size_t odd)
{
	size_t len = make_packet(m, b, 0), l4 = m->ver == 4 ? 20 : 40;

	b[l4 + 20 + odd] = 2;
	b[l4 + 21 + odd] = 4;
	put16(b + l4 + 22 + odd, mss);
	made_csum(m, b, len);
	return len;
}

static void ike_case_111_mss_is_clamped_and_the_checksum_follows(void **state)
{
	(void)state;
	for (int i = 0; i < 8; i++) {
		struct made m = syn4;
		uint8_t b[100];
		struct pkt k;
		size_t len, l4, odd = i & 1;

		m.ver = i & 2 ? 6 : 4;
		m.flags = i & 4 ? 0x12 : 0x02; /* the answer says what its side takes, too */
		l4 = m.ver == 4 ? 20 : 40;
		len = syn_with_mss(&m, b, 1460, odd);
		assert_int_equal(pkt_parse(b, len, &k), 0);
		assert_true(pkt_clamp_mss(b, &k, 1400, false));
		assert_int_equal(get16(b + l4 + 22 + odd), m.ver == 4 ? 1360 : 1340);
		assert_int_equal(naive_l4(b, l4, len, PKT_TCP), 0);
		assert_false(pkt_clamp_mss(b, &k, 1400, false)); /* fits now */
		assert_false(pkt_clamp_mss(b, &k, 1500, false)); /* never raised */
	}
}

static void ike_case_111_mss_is_left_alone_where_it_must_be(void **state)
{
	struct made m = syn4;
	uint8_t b[100];
	struct pkt k;
	size_t len;

	(void)state;
	m.flags = 0x10;
	len = syn_with_mss(&m, b, 1460, 0);
	pkt_parse(b, len, &k);
	assert_false(pkt_clamp_mss(b, &k, 1400, false));
	m.flags = 0x02;
	len = make_packet(&m, b, 0); /* none there: its least is what will be sent */
	pkt_parse(b, len, &k);
	assert_false(pkt_clamp_mss(b, &k, 1400, false));
	len = syn_with_mss(&m, b, 1460, 0);
	b[41] = 1; /* option length below two */
	pkt_parse(b, len, &k);
	assert_false(pkt_clamp_mss(b, &k, 1400, false));
	b[41] = 40; /* beyond the header */
	assert_false(pkt_clamp_mss(b, &k, 1400, false));
	b[32] = 0xf0; /* header beyond the packet */
	assert_false(pkt_clamp_mss(b, &k, 1400, false));
}

static void ecn_is_set_and_the_checksum_follows(void **state)
{
	(void)state;
	for (int ver = 4; ver <= 6; ver += 2) {
		for (uint8_t from = 0; from < 4; from++) {
			for (uint8_t to = 0; to < 4; to++) {
				struct made m = syn4;
				uint8_t b[100];
				uint32_t s = 0;

				m.ver = (uint8_t)ver;
				m.ecn = from;
				make_packet(&m, b, 8);
				assert_int_equal(pkt_ecn(b), from);
				pkt_set_ecn(b, to);
				assert_int_equal(pkt_ecn(b), to);
				if (ver == 6)
					continue;
				naive_sum(b, 20, &s);
				while (s >> 16)
					s = (s & 0xffff) + (s >> 16);
				assert_int_equal(s, 0xffff);
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(checksum_agrees_with_the_textbook),
		cmocka_unit_test(checksum_is_the_same_by_every_instruction),
		cmocka_unit_test(parse_survives_every_truncation),
		cmocka_unit_test(parse_walks_extension_headers),
		cmocka_unit_test(ike_case_111_mss_is_clamped_and_the_checksum_follows),
		cmocka_unit_test(ike_case_111_mss_is_left_alone_where_it_must_be),
		cmocka_unit_test(ecn_is_set_and_the_checksum_follows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
