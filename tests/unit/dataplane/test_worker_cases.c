/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Cases 100 to 109 and 113 as two whole data planes show them; test_worker.c says how they are joined. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dp.h"
#include "esp.h"
#include "loopback.h"
#include "packets.h"
#include "pair.h"
#include "replay.h"

/* ---- 100, 102, 103: numbers ---- */

static bool arrives(struct world *w, uint64_t seq)
{
	uint8_t p[200], got[65536];
	size_t n = make_packet(&inner, p, 10);

	inject(w, seq, ESP_NH_IPV4, p, n, 0);
	return tun_read(w, &w->e[1], got, PATIENCE_MS) == n;
}

static void lost(struct world *w, uint64_t seq)
{
	uint8_t p[200];

	inject(w, seq, ESP_NH_IPV4, p, make_packet(&inner, p, 10), 0);
}

/* The same without ESN: the associated data has no high half, and an old number is not taken for a future one. */
static void inject_short(struct world *w, uint32_t seq)
{
	struct sockaddr_storage to;
	socklen_t len = endpoint_to_sockaddr(&w->e[1].at, AF_INET, &to);
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	uint8_t p[200], out[200];
	size_t n = make_packet(&inner, p, 10);
	struct esp_key k;

	assert_int_equal(esp_key_init(&k, DP_AES_256_GCM_16, key[0], w->e[1].spi, false, true), 0);
	assert_int_equal(esp_seal(&k, seq, ESP_NH_IPV4, p, n, out), 0);
	assert_true(sendto(fd, out, esp_len(&k.shape, n), 0, (struct sockaddr *)&to, len) > 0);
	esp_key_clear(&k);
	close(fd);
}

static void ike_case_100_copies_and_what_is_left_of_the_window_are_dropped_and_counted(void **state)
{
	enum { TOP = 10000, W = REPLAY_WINDOW_DEFAULT };
	static const uint32_t fresh[] = { TOP, TOP - 1, TOP - W + 1, TOP + 1 };
	struct world *w = *state;
	struct dp_ts t = any();
	struct dp_sa in = sa_of(w, 0, &t);
	uint8_t got[65536];

	dp_sa_remove_in(w->e[1].dp, w->e[1].spi);
	assert_int_equal(dp_spi_reserve(w->e[1].dp, w->e[1].spi), 0);
	in.esn = false;
	assert_int_equal(dp_sa_install_in(w->e[1].dp, &in), 0);
	for (int i = 0; i < 3; i++) {
		inject_short(w, fresh[i]);
		assert_true(tun_read(w, &w->e[1], got, PATIENCE_MS) > 0);
	}
	for (int i = 0; i < 3; i++)
		inject_short(w, fresh[i]);
	assert_true(counts(w->e[1].dp, DP_DROP_REPLAY, 3));
	inject_short(w, TOP - W);
	inject_short(w, 1);
	assert_true(counts(w->e[1].dp, DP_DROP_STALE, 2));
	inject_short(w, fresh[3]);
	assert_true(tun_read(w, &w->e[1], got, PATIENCE_MS) > 0);
	assert_int_equal(count(w->e[1].dp, DP_IN_PKT), 4);
}

/* With ESN what is left of the window could be meant for the next 2^32 as well: it is what it is nearer to. */
static void ike_case_100_with_esn_too(void **state)
{
	enum { TOP = 10000, W = REPLAY_WINDOW_DEFAULT };
	struct world *w = *state;

	assert_true(arrives(w, TOP));
	assert_true(arrives(w, TOP - W + 1));
	lost(w, TOP);
	lost(w, TOP - W + 1);
	assert_true(counts(w->e[1].dp, DP_DROP_REPLAY, 2));
	lost(w, TOP - W);
	lost(w, 1);
	assert_true(counts(w->e[1].dp, DP_DROP_STALE, 2));
	assert_int_equal(count(w->e[1].dp, DP_DROP_ICV), 0);
	assert_true(arrives(w, TOP + 1));
}

static void ike_case_102_the_first_number_is_one_and_zero_is_dropped(void **state)
{
	struct world *w = *state;
	struct dp_path path = { .sock = 0 };
	uint8_t got[2000];
	int fd = bound(&path.remote, 0);

	lost(w, 0);
	assert_true(counts(w->e[1].dp, DP_DROP_STALE, 1));
	assert_true(arrives(w, 1));
	assert_int_equal(dp_peer_set(w->e[0].dp, 1, &path, false, 0), 0);
	put_in(w, 0, &inner, 10);
	assert_true(readable(fd, PATIENCE_MS));
	assert_true(recv(fd, got, sizeof(got), 0) > ESP_HEAD_LEN);
	assert_int_equal(get32(got + 4), 1);
	assert_int_equal(get32(got + 8), 0);
	assert_int_equal(get32(got + 12), 1);
	close(fd);
}

/* What travels is 32 bits; the packets open only if the other 32 were inferred right. */
static void ike_case_103_with_esn_the_low_word_wraps_and_the_high_one_is_inferred(void **state)
{
	static const uint64_t seqs[] = { 1,	      0x80000001, /* a jump of 2^31 */
					 0xffffffff,  0x100000000, 0x100000001,
					 0xfffffffe, /* behind the wrap, in the window still */
					 0x180000001, 0x1fffffff0, 0x200000005,
					 0x280000000, 0x2fffff000 };
	struct world *w = *state;

	for (size_t i = 0; i < sizeof(seqs) / sizeof(*seqs); i++)
		assert_true(arrives(w, seqs[i]));
	lost(w, 0x200000005); /* is taken for the next subspace's, and does not open */
	assert_true(counts(w->e[1].dp, DP_DROP_ICV, 1));
	assert_true(arrives(w, 0x2fffff001));
}

/* ---- 101: what is no ESP, or is ESP and nonsense ---- */

static void send_raw(struct world *w, const uint8_t *p, size_t n)
{
	struct sockaddr_storage to;
	socklen_t len = endpoint_to_sockaddr(&w->e[1].at, AF_INET, &to);
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	assert_true(sendto(fd, p, n, 0, (struct sockaddr *)&to, len) >= 0);
	close(fd);
}

/* @text with its own trailer, sealed under @seq. */
static size_t seal_raw(struct world *w, uint64_t seq, const uint8_t *text, size_t n, uint8_t *out)
{
	struct aead *a = aead_new(DP_AES_256_GCM_16, key[0], 1);
	uint8_t nonce[AEAD_NONCE_LEN], aad[12];

	memcpy(nonce, key[0] + 32, AEAD_SALT_LEN);
	put32(nonce + 4, (uint32_t)(seq >> 32));
	put32(nonce + 8, (uint32_t)seq);
	memcpy(aad, &w->e[1].spi, 4);
	memcpy(aad + 4, nonce + 4, 8);
	memcpy(out, aad, 4);
	put32(out + 4, (uint32_t)seq);
	memcpy(out + 8, nonce + 4, 8);
	assert_int_equal(aead_seal(a, nonce, aad, sizeof(aad), text, n, out + ESP_HEAD_LEN), 0);
	aead_free(a);
	return ESP_HEAD_LEN + n + AEAD_ICV_LEN;
}

static void ike_case_101_what_fails_the_icv_is_dropped_and_moves_no_window(void **state)
{
	struct world *w = *state;
	uint8_t text[64], pkt[200];
	size_t n = make_packet(&inner, text, 10), len, sent = 0;

	memcpy(text + n, "\0\4", 2);
	len = seal_raw(w, 1, text, n + 2, pkt);
	/* RFC 4303 s2: less than header, IV, one word and ICV is no ESP packet, whatever is in it. */
	for (size_t i = 4; i<ESP_HEAD_LEN + 4 + AEAD_ICV_LEN; i++, sent += i> ESP_HEAD_LEN)
		send_raw(w, pkt, i);
	assert_true(counts(w->e[1].dp, DP_DROP_RUNT, ESP_HEAD_LEN - 4));
	assert_true(counts(w->e[1].dp, DP_DROP_ESP_SHORT, sent));
	for (size_t i = len - 4; i >= ESP_HEAD_LEN + 4 + AEAD_ICV_LEN; i -= 4)
		send_raw(w, pkt, i);
	sent = (len - ESP_HEAD_LEN - 4 - AEAD_ICV_LEN) / 4;
	assert_true(counts(w->e[1].dp, DP_DROP_ICV, sent));
	/* A number far ahead, forged: had it moved the window, none below would arrive. */
	pkt[4] ^= 0x7f;
	send_raw(w, pkt, len);
	pkt[4] ^= 0x7f;
	pkt[len - 1] ^= 1;
	send_raw(w, pkt, len);
	pkt[len - 1] ^= 1;
	assert_true(counts(w->e[1].dp, DP_DROP_ICV, sent + 2));
	assert_true(arrives(w, 1));
}

/* RFC 4303 s3.4.3: the window moves once the ICV holds, so these have used up their numbers. */
static void ike_case_101_authentic_nonsense_is_dropped_by_what_is_wrong_with_it(void **state)
{
	struct world *w = *state;
	uint8_t text[64] = { 0 }, pkt[200], p[200];
	size_t n = make_packet(&inner, p, 10);

	text[30] = 200; /* pad length beyond what is there */
	text[31] = ESP_NH_IPV4;
	send_raw(w, pkt, seal_raw(w, 1, text, 32, pkt));
	text[30] = 4; /* padding that is not 1, 2, 3, 4 */
	send_raw(w, pkt, seal_raw(w, 2, text, 32, pkt));
	assert_true(counts(w->e[1].dp, DP_DROP_PAD, 2));
	inject(w, 3, 6, p, n, 0); /* transport mode: not ours */
	inject(w, 4, 255, p, n, 0);
	assert_true(counts(w->e[1].dp, DP_DROP_NEXT_HEADER, 2));
	inject(w, 5, ESP_NH_IPV4, p, n - 1, 0);
	inject(w, 6, ESP_NH_IPV4, p, 0, 0);
	assert_true(counts(w->e[1].dp, DP_DROP_INNER, 2));
	for (uint64_t seq = 1; seq < 7; seq++)
		lost(w, seq);
	assert_true(counts(w->e[1].dp, DP_DROP_REPLAY, 6));
	assert_true(arrives(w, 7));
}

/* ---- 105, 107: what is there to hide ---- */

static void ike_case_105_a_dummy_is_consumed_and_counts_as_life(void **state)
{
	struct world *w = *state;
	struct dp_activity a;

	assert_int_equal(dp_send_dummy(w->e[0].dp, 1, NULL), 0);
	assert_true(counts(w->e[1].dp, DP_IN_DUMMY, 1));
	assert_int_equal(dp_peer_activity(w->e[1].dp, 1, &a), 0);
	assert_true(a.rx_auth_ms && !a.rx_data_ms);
	assert_false(readable(w->e[1].tun[0][0], 50));
	assert_int_equal(dp_send_dummy(w->e[0].dp, 5, NULL), -ENOENT);
}

/* RFC 4303 s2.7 */
static void ike_case_107_tfc_padding_is_trimmed(void **state)
{
	struct world *w = *state;
	uint8_t p[2000] = { 0 }, got[65536];

	for (size_t tfc = 1; tfc < 1200; tfc += 57) {
		struct made m = inner;
		size_t n;

		m.seq = (uint32_t)tfc;
		n = make_packet(&m, p, 100);
		memset(p + n, 0xcc, tfc);
		inject(w, tfc, ESP_NH_IPV4, p, n + tfc, 0);
		assert_int_equal(tun_read(w, &w->e[1], got, PATIENCE_MS), n);
		assert_memory_equal(got, p, n);
	}
}

/* ---- 106: RFC 4301 s5.2 ---- */

static void ike_case_106_inner_addresses_outside_the_selectors_are_dropped_and_counted(void **state)
{
	static const struct {
		uint8_t ver, nh;
		uint32_t src, dst;
		enum dp_verdict v;
	} rows[] = {
		{ 4, ESP_NH_IPV4, 0x0a000003, 0x0a000002, DP_DROP_SELECTOR }, /* another's */
		{ 4, ESP_NH_IPV4, 0x0a000002, 0x0a000002,
		  DP_DROP_SELECTOR }, /* our own, to ourselves */
		{ 4, ESP_NH_IPV4, 0x7f000001, 0x0a000002, DP_DROP_SELECTOR },
		{ 4, ESP_NH_IPV4, 0x0a000001, 0x0a000009, DP_DROP_SELECTOR },
		{ 6, ESP_NH_IPV6, 1, 2, DP_DROP_SELECTOR }, /* a family that was not agreed */
		{ 6, ESP_NH_IPV4, 1, 2, DP_DROP_INNER },    /* and one that it does not say it is */
		{ 4, ESP_NH_IPV6, 0x0a000001, 0x0a000002, DP_DROP_INNER },
	};
	struct world *w = *state;
	struct dp_ts peer = any(), us = any();
	struct dp_sa in = sa_of(w, 0, &us);
	uint64_t selector = 0, other = 0;

	dp_sa_remove_in(w->e[1].dp, w->e[1].spi);
	assert_int_equal(dp_spi_reserve(w->e[1].dp, w->e[1].spi), 0);
	addr_parse("10.0.0.1", &peer.from);
	addr_parse("10.0.0.1", &peer.to);
	addr_parse("10.0.0.2", &us.from);
	addr_parse("10.0.0.2", &us.to);
	in.remote = &peer;
	assert_int_equal(dp_sa_install_in(w->e[1].dp, &in), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct made m = inner;
		uint8_t p[200];

		m.ver = rows[i].ver;
		m.src = rows[i].src;
		m.dst = rows[i].dst;
		inject(w, i + 1, rows[i].nh, p, make_packet(&m, p, 10), 0);
		*(rows[i].v == DP_DROP_INNER ? &other : &selector) += 1;
		assert_true(counts(w->e[1].dp, DP_DROP_SELECTOR, selector));
		assert_true(counts(w->e[1].dp, DP_DROP_INNER, other));
	}
	assert_true(arrives(w, 100));
	assert_int_equal(count(w->e[1].dp, DP_IN_PKT), 1);
}

/* ---- 109 ---- */

/* RFC 6040 s4.2, figure 4. */
static void ike_case_109_ecn_is_combined_as_the_table_says(void **state)
{
	static const int want[4][4] = {
		/* outer:    Not, ECT1, ECT0, CE */
		[0] = { 0, 0, 0, -1 },
		[1] = { 1, 1, 1, 3 },
		[2] = { 2, 1, 2, 3 },
		[3] = { 3, 3, 3, 3 },
	};
	struct world *w = *state;
	uint8_t p[200], got[65536];
	uint64_t seq = 1;

	for (uint8_t in = 0; in < 4; in++) {
		for (int outer = 0; outer < 4; outer++) {
			struct made m = inner;
			struct pkt k;
			size_t n;

			m.ecn = in;
			n = make_packet(&m, p, 10);
			inject(w, seq++, ESP_NH_IPV4, p, n, outer);
			n = tun_read(w, &w->e[1], got, want[in][outer] < 0 ? 60 : PATIENCE_MS);
			assert_int_equal(n != 0, want[in][outer] >= 0);
			if (!n)
				continue;
			assert_int_equal(pkt_ecn(got), want[in][outer]);
			assert_int_equal(pkt_parse(got, n, &k), 0);
			assert_int_equal(csum_fold(csum_add(got, 20, 0)), 0xffff);
		}
	}
	assert_true(counts(w->e[1].dp, DP_DROP_ECN, 1));
}

/* ---- 113: RFC 4106 s3 ---- */

#define MANY 400

/* Of whatever queue a packet comes, its IV is the number that it alone has under that key. */
static void ike_case_113_no_iv_comes_twice_whatever_queue_a_packet_took(void **state)
{
	struct world *w = *state;
	struct dp_path path = { .sock = 0 };
	struct dp_ts t = any();
	int fd = bound(&path.remote, 0);

	assert_int_equal(dp_peer_set(w->e[0].dp, 1, &path, false, 0), 0);
	for (int sa = 0; sa < 2; sa++) {
		bool seen[MANY + 1] = { 0 };

		if (sa) { /* a rekey: numbers begin again, under another key */
			struct dp_sa out = sa_of(w, 0, &t);

			dp_sa_remove_out(w->e[0].dp, 1, w->e[1].spi);
			out.spi = htonl(0x99990000);
			out.key = key[1];
			out.generation = 2;
			assert_int_equal(dp_sa_install_out(w->e[0].dp, &out), 0);
		}
		for (unsigned i = 0; i < MANY; i++) {
			struct made m = inner;
			uint8_t got[2000];
			uint64_t iv;

			m.sport = (uint16_t)i; /* put_in() goes by it through all queues */
			put_in(w, 0, &m, 10);
			if (i % 8 != 7)
				continue;
			for (int k = 0; k < 8; k++) {
				assert_true(readable(fd, PATIENCE_MS));
				assert_true(recv(fd, got, sizeof(got), 0) > ESP_HEAD_LEN);
				iv = (uint64_t)get32(got + 8) << 32 | get32(got + 12);
				assert_in_range(iv, 1, MANY);
				assert_int_equal(get32(got + 4), (uint32_t)iv);
				assert_int_equal(get32(got) == 0x99990000, sa);
				assert_false(seen[iv]);
				seen[iv] = true;
			}
		}
	}
	close(fd);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(ike_case_100_copies_and_what_is_left_of_the_window_are_dropped_and_counted),
		T(ike_case_100_with_esn_too),
		T(ike_case_101_what_fails_the_icv_is_dropped_and_moves_no_window),
		T(ike_case_101_authentic_nonsense_is_dropped_by_what_is_wrong_with_it),
		T(ike_case_102_the_first_number_is_one_and_zero_is_dropped),
		T(ike_case_103_with_esn_the_low_word_wraps_and_the_high_one_is_inferred),
		T(ike_case_105_a_dummy_is_consumed_and_counts_as_life),
		T(ike_case_106_inner_addresses_outside_the_selectors_are_dropped_and_counted),
		T(ike_case_107_tfc_padding_is_trimmed),
		T(ike_case_109_ecn_is_combined_as_the_table_says),
		T(ike_case_113_no_iv_comes_twice_whatever_queue_a_packet_took),
	};
	int failed;

	backend = DP_IO_EPOLL;
	failed = cmocka_run_group_tests_name("epoll, one worker", tests, NULL, NULL);
	workers_wanted = 2;
	failed += cmocka_run_group_tests_name("epoll, two workers", tests, NULL, NULL);
	backend = DP_IO_AUTO; /* where io_uring is forbidden this is epoll again */
	failed += cmocka_run_group_tests_name("auto, two workers", tests, NULL, NULL);
	return failed != 0;
}
