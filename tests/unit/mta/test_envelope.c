/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "envelope.h"
#include "msg.h"

static struct env_rcpt rcpts[] = {
	{ .addr = "ann@home.example",
	  .orcpt = "rfc822;ann@home.example",
	  .notify = ENV_NOTIFY_FAILURE },
	{ .addr = "\"b c\"@home.example",
	  .last = "451 4.7.1 later",
	  .state = RCPT_FAILED,
	  .attempts = 3 },
	{ .addr = "postmaster" },
};

static const struct envelope full = {
	.id = { 0xde, 0xad, 1, 2 },
	.flags = ENV_8BITMIME | ENV_TUNNEL | ENV_PEER_ID,
	.received_s = 1790000000,
	.age_s = 77,
	.client = { .addr = { AF_INET, { 10, 99, 0, 2 } }, .port = 4711 },
	.origin = { .addr = { AF_INET6, { 0x20, 1, 0xd, 0xb8, [15] = 1 } }, .port = 25 },
	.helo = "mail.example.org",
	.tls = "TLSv1.3",
	.auth_user = "ann",
	.listener = "tunnel",
	.peer = "home",
	.sender = "bob@example.org",
	.envid = "x1",
	.size = 1234567890123,
	.hops = 4,
	.peer_id = { 9, 8, 7 },
	.peer_seq = 55,
	.peer_low = 44,
	.rcpt = rcpts,
	.rcpt_count = 3,
};

static size_t build(const struct envelope *e, uint8_t *buf, size_t cap)
{
	struct wr w = wr_init(buf, cap);
	size_t len;

	envelope_build(e, &w);
	assert_int_equal(wr_finish(&w, &len), 0);
	return len;
}

static void envelope_survives_a_round_trip(void **state)
{
	uint8_t buf[4096], again[4096];
	size_t len = build(&full, buf, sizeof(buf));
	struct envelope e;

	assert_int_equal(envelope_parse(&e, buf, len), 0);
	assert_string_equal(e.sender, "bob@example.org");
	assert_string_equal(e.rcpt[1].addr, "\"b c\"@home.example");
	assert_int_equal(e.rcpt[1].state, RCPT_FAILED);
	assert_int_equal(e.rcpt[1].attempts, 3);
	assert_null(e.rcpt[2].orcpt);
	assert_true(endpoint_eq(&e.client, &full.client));
	assert_true(endpoint_eq(&e.origin, &full.origin));
	assert_int_equal(e.peer_seq, 55);
	assert_int_equal(build(&e, again, sizeof(again)), len);
	assert_memory_equal(buf, again, len);
	envelope_clear(&e);
}

static void envelope_size_is_predicted(void **state)
{
	uint8_t buf[4096];
	size_t sum = envelope_base_bytes(&full), with, without;
	struct envelope e = full;

	with = build(&full, buf, sizeof(buf));
	e.rcpt_count = 0;
	without = build(&e, buf, sizeof(buf));
	assert_true(without <= sum);
	sum = without;
	for (size_t i = 0; i < 3; i++)
		sum += envelope_rcpt_bytes(&rcpts[i]);
	assert_int_equal(sum, with);
}

static void envelope_keeps_what_it_does_not_know(void **state)
{
	static const uint8_t extra[] = { 0x7f, 1, 0, 0, 0, 3, 'n', 'e', 'w' };
	uint8_t buf[4096], again[4096];
	size_t len = build(&full, buf, sizeof(buf));
	struct envelope e;

	memcpy(buf + len, extra, sizeof(extra));
	len += sizeof(extra);
	assert_int_equal(envelope_parse(&e, buf, len), 0);
	assert_int_equal(e.unknown_count, 1);
	assert_int_equal(build(&e, again, sizeof(again)), len);
	assert_memory_equal(buf, again, len);
	envelope_clear(&e);
}

static void envelope_rejects_every_truncation(void **state)
{
	uint8_t buf[4096];
	size_t len = build(&full, buf, sizeof(buf)), good = 0;
	struct envelope e;

	for (size_t n = 0; n < len; n++) {
		uint8_t *copy = malloc(n ? n : 1);

		memcpy(copy, buf, n);
		if (!envelope_parse(&e, copy, n)) {
			good++; /* cut exactly before a recipient */
			envelope_clear(&e);
		}
		free(copy);
	}
	assert_int_equal(good, 3);
}

static void envelope_refuses_line_ends_and_nuls_in_texts(void **state)
{
	struct envelope e = full;
	uint8_t buf[4096];
	struct wr w = wr_init(buf, sizeof(buf));
	size_t len;
	uint8_t *p;

	e.helo = "a\r\nRCPT";
	envelope_build(&e, &w);
	assert_true(w.bad);
	len = build(&full, buf, sizeof(buf));
	p = memmem(buf, len, "mail.example", 12);
	p[4] = 0;
	assert_int_equal(envelope_parse(&e, buf, len), -EBADMSG);
	p[4] = '\n';
	assert_int_equal(envelope_parse(&e, buf, len), -EBADMSG);
}

static void envelope_refuses_a_field_twice(void **state)
{
	static const uint8_t hops[] = { 0, 15, 0, 0, 0, 2, 0, 1 };
	uint8_t buf[4096];
	size_t len = build(&full, buf, sizeof(buf));
	struct envelope e;

	memcpy(buf + len, hops, sizeof(hops));
	assert_int_equal(envelope_parse(&e, buf, len + sizeof(hops)), -EBADMSG);
}

static void envelope_bounds_recipients(void **state)
{
	static struct env_rcpt many[ENVELOPE_RCPTS_MAX + 1];
	static uint8_t buf[2 * ENVELOPE_MAX];
	struct envelope e = full;
	struct wr w = wr_init(buf, sizeof(buf));

	for (size_t i = 0; i <= ENVELOPE_RCPTS_MAX; i++)
		many[i] = (struct env_rcpt){ .addr = "a@b.example" };
	e.rcpt = many;
	e.rcpt_count = ENVELOPE_RCPTS_MAX;
	build(&e, buf, sizeof(buf));
	e.rcpt_count++;
	envelope_build(&e, &w);
	assert_true(w.bad);
}

static void letter_id_survives_text(void **state)
{
	uint8_t id[LETTER_ID_LEN], back[LETTER_ID_LEN];
	char s[LETTER_ID_STR_MAX];

	assert_int_equal(envelope_new_id(id), 0);
	assert_int_equal(letter_id_parse(letter_id_str(id, s), back), 0);
	assert_memory_equal(id, back, sizeof(id));
	s[31] = 0;
	assert_int_equal(letter_id_parse(s, back), -EINVAL);
	assert_int_equal(letter_id_parse("000102030405060708090a0b0c0d0e0g", back), -EINVAL);
	assert_int_equal(letter_id_parse("000102030405060708090a0b0c0d0e0f0", back), -EINVAL);
}

static void attempt_message_survives_a_round_trip(void **state)
{
	uint8_t buf[4096], list[256];
	struct wr lw = wr_init(list, sizeof(list)), w = wr_init(buf, sizeof(buf));
	struct msg_r_rcpt rc = { .index = 7, .addr = "a@b.example", .orcpt = "" }, rc2;
	struct msg_r_attempt a = { .route = "edge",
				   .next_hop = "vps",
				   .families = 3,
				   .flags = MSG_R_INLINE,
				   .seq = 9,
				   .low_seq = 4,
				   .body_len = 3,
				   .env = (const uint8_t *)"EE",
				   .env_len = 2,
				   .rcpt_count = 1,
				   .body = (const uint8_t *)"abc" };
	struct msg_r_attempt b;
	struct rd r;

	msg_r_rcpt_put(&lw, &rc);
	a.rcpts = rd_init(list, lw.len);
	msg_r_attempt_put(&w, &a);
	assert_false(w.bad);
	r = rd_init(buf, w.len);
	assert_int_equal(msg_r_attempt_get(&r, &b), 0);
	assert_string_equal(b.next_hop, "vps");
	assert_memory_equal(b.body, "abc", 3);
	assert_int_equal(msg_r_rcpt_get(&b.rcpts, &rc2), 0);
	assert_int_equal(rc2.index, 7);
	assert_string_equal(rc2.addr, "a@b.example");
	for (size_t n = 0; n < w.len; n++) {
		r = rd_init(buf, n);
		assert_int_equal(msg_r_attempt_get(&r, &b), -EBADMSG);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(envelope_survives_a_round_trip),
		cmocka_unit_test(envelope_size_is_predicted),
		cmocka_unit_test(envelope_keeps_what_it_does_not_know),
		cmocka_unit_test(envelope_rejects_every_truncation),
		cmocka_unit_test(envelope_refuses_line_ends_and_nuls_in_texts),
		cmocka_unit_test(envelope_refuses_a_field_twice),
		cmocka_unit_test(envelope_bounds_recipients),
		cmocka_unit_test(letter_id_survives_text),
		cmocka_unit_test(attempt_message_survives_a_round_trip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
