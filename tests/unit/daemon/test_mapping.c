/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Both ends of a measurement, with a NAT between them, in faked time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "mapping.h"

static uint64_t now;
static struct mapping m;
static struct echoes e;

/* The world: a NAT, losses, and what was seen. */
static struct {
	uint64_t life_ms, used_ms; /* of a mapping; when this one was last used */
	uint16_t port;
	int lose, dummies, asks, echoes;
	bool filtered; /* the second port gets nothing back */
	uint16_t asked_s;
} f;

static void f_dummy(void *arg, const uint8_t token[static MAPPING_TOKEN_LEN])
{
	struct engine_path path = { 0 };

	(void)arg;
	f.dummies++;
	if (now - f.used_ms > f.life_ms)
		f.port++; /* another mapping */
	f.used_ms = now;
	if (f.lose && f.lose-- > 0)
		return;
	path.remote.port = f.port;
	assert_true(mapping_is_token(token, MAPPING_TOKEN_LEN));
	echo_token(&e, token, &path, now);
}

static void f_ask(void *arg, uint16_t seconds, const uint8_t token[static MAPPING_TOKEN_LEN])
{
	uint8_t bytes[MAPPING_NOTIFY_LEN] = { (uint8_t)(seconds >> 8), (uint8_t)seconds };

	(void)arg;
	f.asks++;
	f.asked_s = seconds;
	memcpy(bytes + 2, token, MAPPING_TOKEN_LEN);
	assert_true(echo_asked(&e, bytes, sizeof(bytes), now));
}

static void f_random(void *arg, uint8_t *p, size_t len)
{
	static uint8_t n;

	(void)arg;
	memset(p, ++n, len);
}

static const struct mapping_ops ops = { f_dummy, f_ask, f_random };

static int begin(void **state)
{
	(void)state;
	memset(&f, 0, sizeof(f));
	memset(&e, 0, sizeof(e));
	memset(&m, 0, sizeof(m));
	now = f.used_ms = 1000000;
	f.life_ms = 60000;
	f.port = 1024;
	return 0;
}

/* Until there is a verdict; time jumps from one event to the next. */
static enum mapping_verdict run(uint32_t gap_ms)
{
	enum mapping_verdict v;

	mapping_begin(&m, gap_ms, now, &ops, NULL);
	for (int i = 0; i < 100; i++) {
		uint8_t token[MAPPING_TOKEN_LEN];
		struct engine_path path;

		while (echo_next(&e, now, token, &path)) {
			f.echoes++;
			/* Comes through when that mapping still is; then it is in use. */
			if (f.filtered || path.remote.port != f.port || now - f.used_ms > f.life_ms)
				continue;
			f.used_ms = now;
			v = mapping_echoed(&m, token, now);
			if (v != MAPPING_GOES_ON)
				return v;
		}
		v = mapping_tick(&m, now, &ops, NULL);
		if (v != MAPPING_GOES_ON)
			return v;
		now = m.due_ms < echo_due_ms(&e) ? m.due_ms : echo_due_ms(&e);
	}
	fail_msg("no end");
	return MAPPING_UNKNOWN;
}

static void a_mapping_that_lives_long_enough(void **state)
{
	(void)state;
	assert_int_equal(run(30000), MAPPING_LIVED);
	assert_int_equal(m.step, MAPPING_IDLE);
	assert_int_equal(f.asked_s, 30);
	assert_int_equal(f.asks, 2);
	assert_int_equal(f.dummies, 6);
	assert_in_range(now, 1030000, 1036000);
	assert_int_equal(run(60000), MAPPING_DIED);
}

static void a_mapping_that_does_not_is_looked_at_twice(void **state)
{
	(void)state;
	f.life_ms = 20000;
	assert_int_equal(run(30000), MAPPING_DIED);
	assert_int_equal(f.asks, 4);
	assert_int_equal(echo_due_ms(&e), UINT64_MAX); /* and nothing is left over there */
}

static void a_few_losses_change_nothing(void **state)
{
	(void)state;
	f.lose = 2;
	assert_int_equal(run(30000), MAPPING_LIVED);
	assert_int_equal(f.asks, 2);
}

static void without_a_way_back_nothing_is_concluded(void **state)
{
	(void)state;
	f.filtered = true;
	assert_int_equal(run(30000), MAPPING_UNKNOWN);
	assert_int_equal(f.asks, 1);
	assert_in_range(now, 1000000, 1012000);
}

static void an_echo_too_soon_or_of_another_token_proves_nothing(void **state)
{
	uint8_t token[MAPPING_TOKEN_LEN];

	(void)state;
	mapping_begin(&m, 30000, now, &ops, NULL);
	memcpy(token, m.token, sizeof(token));
	assert_int_equal(mapping_echoed(&m, token, now), MAPPING_GOES_ON); /* before it was asked for */
	for (int i = 0; i < 4; i++, now = m.due_ms)
		(void)mapping_tick(&m, now, &ops, NULL);
	token[5] ^= 1;
	(void)mapping_echoed(&m, token, now);
	assert_int_equal(m.step, MAPPING_OPEN);
	(void)mapping_echoed(&m, m.token, now);
	assert_int_equal(m.step, MAPPING_SETTLE);
	for (int i = 0; i < 4; i++) {
		now = m.due_ms;
		(void)mapping_tick(&m, now, &ops, NULL);
	}
	assert_int_equal(m.step, MAPPING_SILENT);
	now += 1000;
	assert_int_equal(mapping_echoed(&m, m.token, now), MAPPING_UNKNOWN);
}

/* ---- the answering side ---- */

static void fill(uint8_t bytes[static MAPPING_NOTIFY_LEN], uint16_t seconds, uint8_t n)
{
	memset(bytes, n, MAPPING_NOTIFY_LEN);
	bytes[0] = (uint8_t)(seconds >> 8);
	bytes[1] = (uint8_t)seconds;
	bytes[2] = MAPPING_MARK;
}

static void four_are_pending_and_no_more(void **state)
{
	struct engine_path path = { .remote.port = 7 };
	uint8_t bytes[MAPPING_NOTIFY_LEN], token[MAPPING_TOKEN_LEN];

	(void)state;
	for (uint8_t i = 1; i <= 4; i++) {
		fill(bytes, 300, i);
		assert_true(echo_asked(&e, bytes, sizeof(bytes), now));
		assert_true(echo_token(&e, bytes + 2, &path, now));
	}
	fill(bytes, 0, 5);
	assert_false(echo_asked(&e, bytes, sizeof(bytes), now));
	assert_false(echo_token(&e, bytes + 2, &path, now + 299000));
	assert_int_equal(echo_due_ms(&e), now + 300000);
	now += 300000;
	for (int i = 0; i < 4; i++)
		assert_true(echo_next(&e, now, token, &path));
	assert_false(echo_next(&e, now, token, &path)); /* copies a little later */
	for (int i = 0; i < 8; i++) {
		now = echo_due_ms(&e);
		assert_true(echo_next(&e, now, token, &path));
	}
	assert_int_equal(echo_due_ms(&e), UINT64_MAX);
}

static void a_token_that_nobody_asks_about_is_forgotten(void **state)
{
	struct engine_path path = { .remote.port = 7 };
	uint8_t bytes[MAPPING_NOTIFY_LEN];

	(void)state;
	for (uint8_t i = 1; i <= 100; i++) {
		fill(bytes, 0, i);
		assert_int_equal(echo_token(&e, bytes + 2, &path, now), i <= 4);
	}
	fill(bytes, 0, 101);
	assert_true(echo_token(&e, bytes + 2, &path, now + 10000));
}

static void the_question_may_come_before_the_token(void **state)
{
	struct engine_path path = { .remote.port = 7 }, other = { .remote.port = 8 };
	uint8_t bytes[MAPPING_NOTIFY_LEN], token[MAPPING_TOKEN_LEN];

	(void)state;
	fill(bytes, 5, 1);
	assert_true(echo_asked(&e, bytes, sizeof(bytes), now));
	assert_int_equal(echo_due_ms(&e), UINT64_MAX);
	now += 1000;
	assert_true(echo_token(&e, bytes + 2, &path, now));
	assert_true(echo_token(&e, bytes + 2, &other, now + 100)); /* a copy, forwarded by somebody */
	assert_int_equal(echo_due_ms(&e), now + 5000);
	assert_true(echo_next(&e, now + 5000, token, &other));
	assert_int_equal(other.remote.port, 7);
}

static void what_is_malformed_is_ignored(void **state)
{
	uint8_t bytes[MAPPING_NOTIFY_LEN + 1];

	(void)state;
	fill(bytes, 301, 1);
	assert_false(echo_asked(&e, bytes, MAPPING_NOTIFY_LEN, now));
	fill(bytes, 5, 1);
	for (size_t n = 0; n <= MAPPING_NOTIFY_LEN + 1; n++)
		if (n != MAPPING_NOTIFY_LEN)
			assert_false(echo_asked(&e, bytes, n, now));
	bytes[2] ^= 1; /* not one of these */
	assert_false(echo_asked(&e, bytes, MAPPING_NOTIFY_LEN, now));
	for (int i = 0; i < MAPPING_PENDING; i++)
		assert_false(e.v[i].used);
}

#define T(f) cmocka_unit_test_setup(f, begin)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_mapping_that_lives_long_enough),
		T(a_mapping_that_does_not_is_looked_at_twice),
		T(a_few_losses_change_nothing),
		T(without_a_way_back_nothing_is_concluded),
		T(an_echo_too_soon_or_of_another_token_proves_nothing),
		T(four_are_pending_and_no_more),
		T(a_token_that_nobody_asks_about_is_forgotten),
		T(the_question_may_come_before_the_token),
		T(what_is_malformed_is_ignored),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
