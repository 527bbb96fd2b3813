/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pool.h"

static struct prefix prefix(const char *s)
{
	struct prefix p;

	assert_int_equal(0, prefix_parse(s, &p));
	return p;
}

static struct addr address(const char *s)
{
	struct addr a;

	assert_int_equal(0, addr_parse(s, &a));
	return a;
}

static struct pool *pool(const char *const *nets, const char *const *excluded)
{
	struct pool *p = pool_new();

	assert_non_null(p);
	for (; nets && *nets; nets++) {
		struct prefix x = prefix(*nets);

		assert_int_equal(0, pool_add(p, &x));
	}
	for (; excluded && *excluded; excluded++) {
		struct prefix x = prefix(*excluded);

		assert_int_equal(0, pool_exclude(p, &x));
	}
	return p;
}

#define LIST(...)                                                                                  \
	(const char *const[])                                                                      \
	{                                                                                          \
		__VA_ARGS__, NULL                                                                  \
	}

/* All that it gives, in order, is what @want says; then it is empty. */
static void gives(struct pool *p, int family, const char *const *want)
{
	struct addr a;
	char text[ADDR_STR_MAX];
	size_t n = 0;

	for (; *want; want++, n++) {
		assert_int_equal(0, pool_take(p, family, &a));
		assert_string_equal(*want, addr_str(&a, text));
	}
	assert_int_equal(n ? -ENOSPC : -ENOENT, pool_take(p, family, &a));
}

static void network_and_broadcast_are_never_given(void **state)
{
	struct pool *p = pool(LIST("10.0.0.0/30", "10.0.1.0/31", "10.0.2.9"), NULL);

	(void)state;
	gives(p, AF_INET, LIST("10.0.0.1", "10.0.0.2", "10.0.1.0", "10.0.1.1", "10.0.2.9"));
	gives(p, AF_INET6, (const char *const[]){ NULL });
	pool_free(p);
	p = pool(LIST("fd00::/126", "fd00::100/127", "fd00::200"), NULL);
	gives(p, AF_INET6,
	      LIST("fd00::1", "fd00::2", "fd00::3", "fd00::100", "fd00::101", "fd00::200"));
	pool_free(p);
}

static void excluded_ones_are_never_given(void **state)
{
	struct addr a;
	struct pool *p =
	    pool(LIST("10.0.0.0/28", "fd00::/125"),
		 LIST("10.0.0.0/30", "10.0.0.5", "10.0.0.5", "10.0.0.4/31", "10.0.0.8/30",
		      "10.0.0.9", "192.168.0.0/16", "fd00::4/126", "fd00::1"));

	(void)state;
	a = address("10.0.0.9");
	assert_int_equal(-ENOENT, pool_claim(p, &a));
	a = address("10.0.0.16");
	assert_int_equal(-ENOENT, pool_claim(p, &a));
	a = address("9.255.255.255");
	assert_int_equal(-ENOENT, pool_claim(p, &a));
	gives(p, AF_INET, LIST("10.0.0.6", "10.0.0.7", "10.0.0.12", "10.0.0.13", "10.0.0.14"));
	gives(p, AF_INET6, LIST("fd00::2", "fd00::3"));
	pool_free(p);
}

static void an_exclusion_can_cover_all(void **state)
{
	struct pool_counts n;
	struct pool *p =
	    pool(LIST("10.0.0.0/24", "fd00:0:0:1::/64"), LIST("10.0.0.0/8", "fd00::/8"));

	(void)state;
	gives(p, AF_INET, (const char *const[]){ NULL });
	gives(p, AF_INET6, (const char *const[]){ NULL });
	pool_count(p, AF_INET, &n);
	assert_int_equal(n.size, 0);
	pool_free(p);
}

static void overlapping_prefixes_count_once(void **state)
{
	struct pool_counts n;
	struct pool *p = pool(LIST("10.0.0.0/29", "10.0.0.0/30", "10.0.0.4/30"), NULL);

	(void)state;
	pool_count(p, AF_INET, &n);
	assert_int_equal(n.size, 6);
	gives(p, AF_INET,
	      LIST("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"));
	pool_count(p, AF_INET, &n);
	assert_int_equal(n.taken, 6);
	pool_free(p);
}

static void claimed_ones_are_passed_over(void **state)
{
	struct pool *p = pool(LIST("10.0.0.0/29"), NULL);
	struct addr a = address("10.0.0.2");

	(void)state;
	assert_int_equal(0, pool_claim(p, &a));
	assert_int_equal(-EADDRINUSE, pool_claim(p, &a));
	gives(p, AF_INET, LIST("10.0.0.1", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"));
	assert_int_equal(-EADDRINUSE, pool_claim(p, &a));
	pool_give(p, &a);
	a = address("10.0.0.5");
	pool_give(p, &a);
	pool_give(p, &a); /* twice is once */
	a = address("10.0.0.77");
	pool_give(p, &a);
	a = address("10.0.0.2");
	assert_int_equal(0, pool_claim(p, &a));
	gives(p, AF_INET, LIST("10.0.0.5"));
	pool_free(p);
}

static void a_whole_64_is_counted_and_walked(void **state)
{
	struct pool *p = pool(LIST("fd00:1:2:3::/64"), LIST("fd00:1:2:3::1"));
	struct prefix wide = prefix("fd00::/63");
	struct pool_counts n;
	struct addr a;
	char text[ADDR_STR_MAX];

	(void)state;
	assert_int_equal(-EINVAL, pool_add(p, &wide));
	pool_count(p, AF_INET6, &n);
	assert_true(n.size == UINT64_MAX - 1);
	assert_int_equal(0, pool_take(p, AF_INET6, &a));
	assert_string_equal("fd00:1:2:3::2", addr_str(&a, text));
	a = address("fd00:1:2:3:ffff:ffff:ffff:ffff");
	assert_int_equal(0, pool_claim(p, &a));
	pool_free(p);
}

/*
 * As many as a large VPS has homes, out of a pool in which as many are excluded: each costs about the
 * same, whoever comes. What grew with the number of those before would be seen by the work: here the
 * whole of it is some millions of steps, and 10^10 where each looks through all.
 */
static void a_large_pool_is_no_slower_at_its_end(void **state)
{
	struct pool *p = pool(LIST("10.0.0.0/14"), NULL);
	struct addr a, first;
	struct pool_counts n;
	uint32_t seen = 0;

	(void)state;
	for (uint32_t i = 0; i < 100000; i++) {
		struct prefix x = { .addr = { .family = AF_INET,
					      .b = { 10, (uint8_t)(i >> 15), (uint8_t)(i >> 7),
						     (uint8_t)(i << 1) } },
				    .len = 32 };

		assert_int_equal(0, pool_exclude(p, &x));
	}
	assert_int_equal(0, pool_take(p, AF_INET, &first));
	while (!pool_take(p, AF_INET, &a)) {
		if (a.b[1] * 65536 + a.b[2] * 256 + a.b[3] < 200000)
			assert_true(a.b[3] & 1);
		seen++;
	}
	pool_count(p, AF_INET, &n);
	assert_int_equal(seen + 1, n.size);
	assert_int_equal(n.taken, n.size);
	assert_int_equal(n.size,
			 (1 << 18) - 2 - 100000 + 1); /* one of them is the network itself */
	for (int i = 0; i < 100000; i++) {
		pool_give(p, &first);
		assert_int_equal(0, pool_take(p, AF_INET, &a));
		assert_true(addr_eq(&a, &first));
	}
	pool_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(network_and_broadcast_are_never_given),
		cmocka_unit_test(excluded_ones_are_never_given),
		cmocka_unit_test(an_exclusion_can_cover_all),
		cmocka_unit_test(overlapping_prefixes_count_once),
		cmocka_unit_test(claimed_ones_are_passed_over),
		cmocka_unit_test(a_whole_64_is_counted_and_walked),
		cmocka_unit_test(a_large_pool_is_no_slower_at_its_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
