/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "wire.h"

static void rd_gives_zero_after_a_fault(void **state)
{
	uint8_t b[3] = { 1, 2, 3 };
	struct rd r = rd_init(b, sizeof(b));

	(void)state;
	assert_int_equal(rd_be16(&r), 0x0102);
	assert_int_equal(rd_be16(&r), 0);
	assert_true(r.bad);
	assert_int_equal(rd_u8(&r), 0);
	assert_int_equal(rd_left(&r), 0);
	assert_null(rd_take(&r, 0));
}

static void rd_sub_stays_inside_its_parent(void **state)
{
	uint8_t b[4] = { 1, 2, 3, 4 };
	struct rd r = rd_init(b, sizeof(b)), sub = rd_sub(&r, 2), over;

	(void)state;
	assert_int_equal(rd_be32(&sub), 0);
	assert_true(sub.bad);
	assert_false(r.bad);
	over = rd_sub(&r, 3);
	assert_true(over.bad && r.bad);
}

static void wr_round_trips_every_width(void **state)
{
	uint8_t b[64], copy[3];
	struct wr w = wr_init(b, sizeof(b));
	struct rd r;
	size_t len;

	(void)state;
	wr_u8(&w, 0xab);
	wr_be16(&w, 0x1234);
	wr_be32(&w, 0xdeadbeef);
	wr_be64(&w, 0x0123456789abcdefull);
	wr_bytes(&w, "xyz", 3);
	assert_int_equal(wr_finish(&w, &len), 0);
	assert_int_equal(len, 18);
	r = rd_init(b, len);
	assert_int_equal(rd_u8(&r), 0xab);
	assert_int_equal(rd_be16(&r), 0x1234);
	assert_int_equal(rd_be32(&r), 0xdeadbeef);
	assert_true(rd_be64(&r) == 0x0123456789abcdefull);
	rd_copy(&r, copy, 3);
	assert_memory_equal(copy, "xyz", 3);
	assert_false(r.bad);
	assert_int_equal(rd_left(&r), 0);
}

static void wr_len16_counts_the_generic_header(void **state)
{
	uint8_t b[16];
	struct wr w = wr_init(b, sizeof(b));
	size_t at, len;

	(void)state;
	wr_be16(&w, 0x2900);
	at = wr_len16_begin(&w);
	wr_bytes(&w, "abcd", 4);
	wr_len16_end(&w, at);
	assert_int_equal(wr_finish(&w, &len), 0);
	assert_int_equal(len, 8);
	assert_int_equal(b[2] << 8 | b[3], 8);
}

static void wr_says_when_full(void **state)
{
	uint8_t b[3];
	struct wr w = wr_init(b, sizeof(b));
	size_t len = 99;

	(void)state;
	wr_be16(&w, 1);
	wr_be16(&w, 2);
	wr_u8(&w, 3);
	assert_int_equal(wr_finish(&w, &len), -EMSGSIZE);
	assert_int_equal(len, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rd_gives_zero_after_a_fault),
		cmocka_unit_test(rd_sub_stays_inside_its_parent),
		cmocka_unit_test(wr_round_trips_every_width),
		cmocka_unit_test(wr_len16_counts_the_generic_header),
		cmocka_unit_test(wr_says_when_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
