/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Pools of packet memory: what rests is given back, and only when nobody holds any of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "buf.h"

#define COUNT 4

static size_t resident(const void *mem)
{
	unsigned char in[COUNT * BUF_BYTES / 4096 + 1];
	size_t page = (size_t)sysconf(_SC_PAGESIZE), bytes = (size_t)COUNT * BUF_BYTES, n = 0;

	assert_int_equal(mincore((void *)(uintptr_t)mem, bytes, in), 0);
	for (size_t i = 0; i * page < bytes; i++)
		n += in[i] & 1;
	return n;
}

static void bufs_rest_when_all_are_free(void **state)
{
	struct buf *pool = buf_pool(NULL, COUNT, NULL), *taken = pool;

	(void)state;
	assert_non_null(pool);
	for (int i = 0; i < COUNT; i++)
		memset(pool[i].mem, 7, BUF_BYTES);
	buf_pool_rest(pool, taken->next, COUNT);
	assert_true(resident(pool[0].mem) > 0);
	assert_int_equal(taken->mem[BUF_BYTES - 1], 7);
	buf_pool_rest(pool, pool, COUNT);
	assert_int_equal(resident(pool[0].mem), 0);
	memset(pool[COUNT - 1].mem, 8, BUF_BYTES);
	assert_int_equal(pool[COUNT - 1].mem[BUF_BYTES - 1], 8);
	buf_pool_free(pool, COUNT);
}

static void batches_rest_when_all_are_free(void **state)
{
	struct txbatch *pool = txbatch_pool(COUNT), *taken = pool;

	(void)state;
	assert_non_null(pool);
	for (int i = 0; i < COUNT; i++)
		memset(pool[i].mem, 7, BUF_BYTES);
	txbatch_pool_rest(pool, taken->next, COUNT);
	assert_int_equal(taken->mem[BUF_BYTES - 1], 7);
	txbatch_pool_rest(pool, pool, COUNT);
	assert_int_equal(resident(pool[0].mem), 0);
	txbatch_pool_free(pool, COUNT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bufs_rest_when_all_are_free),
		cmocka_unit_test(batches_rest_when_all_are_free),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
