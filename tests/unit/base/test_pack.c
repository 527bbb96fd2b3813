/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "pack.h"

static size_t there_and_back(const uint8_t *in, size_t len)
{
	uint8_t *packed = malloc(PACK_ROOM(len)), *again = malloc(len ? len : 1);
	size_t n = pack_bytes(in, len, packed);

	assert_true(n <= PACK_ROOM(len));
	assert_int_equal(0, pack_open(packed, n, again, len));
	assert_memory_equal(in, again, len);
	free(packed);
	free(again);
	return n;
}

static void whatever_is_packed_comes_back(void **state)
{
	static uint8_t in[65536];
	uint32_t seed = 1;

	(void)state;
	for (unsigned letters = 1; letters <= 256; letters *= 2)
		for (size_t len = 0; len <= sizeof(in); len = len < 300 ? len + 1 : len * 3 / 2) {
			for (size_t i = 0; i < len; i++) {
				seed = seed * 1664525 + 1013904223;
				in[i] = (uint8_t)((seed >> 24) % letters);
			}
			there_and_back(in, len);
		}
	memset(in, 7, sizeof(in));
	assert_true(there_and_back(in, sizeof(in)) < sizeof(in) / 10);
}

static void a_list_of_transforms_shrinks_to_less_than_half(void **state)
{
	uint8_t in[60 * 8];

	(void)state;
	for (size_t i = 0; i < sizeof(in); i += 8) {
		memcpy(in + i, (uint8_t[]){ 3, 0, 0, 8, 0, 0, 0, 0 }, 8);
		in[i + 4] = (uint8_t)(1 + i / 120);
		in[i + 7] = (uint8_t)(i * 37);
	}
	assert_true(there_and_back(in, sizeof(in)) < sizeof(in) / 2);
}

static void what_was_not_packed_is_refused(void **state)
{
	static const struct {
		uint8_t in[8];
		size_t in_len, len;
	} bad[] = {
		{ { 0x02, 'a', 'b' }, 3, 3 },	  /* literals past the end */
		{ { 0x01, 'a', 'b' }, 3, 1 },	  /* longer than asked for */
		{ { 0x01, 'a', 'b' }, 3, 3 },	  /* shorter */
		{ { 0x80 }, 1, 3 },		  /* no distance */
		{ { 0x00, 'a', 0xc0, 0 }, 4, 5 }, /* half a distance */
		{ { 0x00, 'a', 0x80, 1 }, 4, 4 }, /* from before the start */
		{ { 0x00, 'a', 0x80, 0 }, 4, 3 }, /* too long by one */
		{ { 0x80, 0 }, 2, 3 },		  /* nothing to copy from */
	};
	uint8_t out[16];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(-EBADMSG, pack_open(bad[i].in, bad[i].in_len, out, bad[i].len));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whatever_is_packed_comes_back),
		cmocka_unit_test(a_list_of_transforms_shrinks_to_less_than_half),
		cmocka_unit_test(what_was_not_packed_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
