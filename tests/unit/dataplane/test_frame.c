/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Frames of a TCP stream: every truncation, every length. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "frame.h"

static void frame_next_waits_for_every_truncation(void **state)
{
	uint8_t p[300] = { 0 };
	size_t len = 77;

	(void)state;
	frame_head(p, 298);
	for (size_t have = 0; have < 300; have++) {
		uint8_t *exact = malloc(have + 1); /* so that a sanitizer sees what is read beyond */

		memcpy(exact, p, have);
		exact = realloc(exact, have ? have : 1);
		assert_int_equal(frame_next(exact, have, FRAME_MAX, &len), FRAME_PART);
		free(exact);
	}
	assert_int_equal(len, 77);
	assert_int_equal(frame_next(p, 300, FRAME_MAX, &len), FRAME_WHOLE);
	assert_int_equal(len, 298);
}

static void frame_next_refuses_lengths_below_its_own(void **state)
{
	static const uint8_t zero[2] = { 0, 0 }, one[2] = { 0, 1 }, two[2] = { 0, 2 };
	size_t len = 77;

	(void)state;
	assert_int_equal(frame_next(zero, 2, FRAME_MAX, &len), FRAME_BROKEN);
	assert_int_equal(frame_next(one, 2, FRAME_MAX, &len), FRAME_BROKEN);
	assert_int_equal(frame_next(two, 2, FRAME_MAX, &len), FRAME_WHOLE);
	assert_int_equal(len, 0);
}

static void frame_next_refuses_what_is_too_long_before_it_is_there(void **state)
{
	static const uint8_t p[2] = { 0x41, 0x01 };
	size_t len;

	(void)state;
	assert_int_equal(frame_next(p, 2, 0x4100, &len), FRAME_BROKEN);
	assert_int_equal(frame_next(p, 2, 0x4101, &len), FRAME_PART);
}

static void frame_head_writes_every_length(void **state)
{
	uint8_t *p = calloc(1, FRAME_MAX);
	size_t len;

	(void)state;
	for (size_t n = 0; n <= FRAME_MAX - FRAME_HEAD; n += n < 300 ? 1 : 251) {
		frame_head(p, n);
		assert_int_equal(frame_next(p, FRAME_MAX, FRAME_MAX, &len), FRAME_WHOLE);
		assert_int_equal(len, n);
	}
	free(p);
}

static void frame_prefix_knows_iketcp_from_its_first_byte(void **state)
{
	static const uint8_t good[] = "IKETCPx", http[] = "GET / HTTP", near[] = "IKETCQ";

	(void)state;
	for (size_t i = 0; i < 6; i++)
		assert_int_equal(frame_prefix(good, i), FRAME_PART);
	assert_int_equal(frame_prefix(good, 6), FRAME_WHOLE);
	assert_int_equal(frame_prefix(good, 7), FRAME_WHOLE);
	assert_int_equal(frame_prefix(http, 1), FRAME_BROKEN);
	assert_int_equal(frame_prefix(near, 5), FRAME_PART);
	assert_int_equal(frame_prefix(near, 6), FRAME_BROKEN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frame_next_waits_for_every_truncation),
		cmocka_unit_test(frame_next_refuses_lengths_below_its_own),
		cmocka_unit_test(frame_next_refuses_what_is_too_long_before_it_is_there),
		cmocka_unit_test(frame_head_writes_every_length),
		cmocka_unit_test(frame_prefix_knows_iketcp_from_its_first_byte),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
