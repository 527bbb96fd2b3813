/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#include "nat64.h"

static struct addr addr(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(text, &a), 0);
	return a;
}

/* RFC 6052 s2.4, its table of 192.0.2.33 under each length. */
static const struct {
	const char *prefix, *made;
} table[] = {
	{ "2001:db8::/32", "2001:db8:c000:221::" },
	{ "2001:db8:100::/40", "2001:db8:1c0:2:21::" },
	{ "2001:db8:122::/48", "2001:db8:122:c000:2:2100::" },
	{ "2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::" },
	{ "2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::" },
	{ "2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33" },
	{ "64:ff9b::/96", "64:ff9b::192.0.2.33" },
};

static void addresses_are_made_as_in_rfc_6052(void **state)
{
	struct addr v4 = addr("192.0.2.33");

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
		struct addr want = addr(table[i].made), got, back;
		struct nat64 n = { .count = 1 };

		assert_int_equal(prefix_parse(table[i].prefix, &n.prefix[0]), 0);
		got = nat64_make(&n.prefix[0], &v4);
		assert_true(addr_eq(&got, &want));
		assert_true(nat64_from(&n, &got, &back));
		assert_true(addr_eq(&back, &v4));
	}
}

static void prefixes_are_learnt_as_in_rfc_7050(void **state)
{
	struct addr known[2] = { addr("192.0.0.170"), addr("192.0.0.171") };

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
		struct addr list[4] = { known[0], known[1] };
		struct nat64 n;
		struct prefix p;

		assert_int_equal(prefix_parse(table[i].prefix, &p), 0);
		list[2] = nat64_make(&p, &known[0]);
		list[3] = nat64_make(&p, &known[1]);
		nat64_learn(&n, list, 4);
		assert_int_equal(n.count, 1);
		assert_int_equal(n.prefix[0].len, p.len);
		assert_true(addr_eq(&n.prefix[0].addr, &p.addr));
	}
}

static void several_prefixes_are_kept_and_others_say_nothing(void **state)
{
	struct addr list[8] = { addr("64:ff9b::192.0.0.170"), addr("64:ff9b::192.0.0.171"),
				addr("2001:db8:1::192.0.0.170"), addr("2001:db8::1"),
				addr("2001:db8:122:344:ff:c000:0:aa00") }, v4;
	struct nat64 n;

	(void)state;
	nat64_learn(&n, list, 5);
	assert_int_equal(n.count, 2);
	nat64_learn(&n, list + 3, 2);
	assert_int_equal(n.count, 0);
	assert_false(nat64_from(&n, &list[0], &v4));
	for (size_t i = 0; i < 8; i++) {
		list[i] = addr("2001:db8::192.0.0.170");
		list[i].b[5] = (uint8_t)i;
	}
	nat64_learn(&n, list, 8);
	assert_int_equal(n.count, NAT64_PREFIXES_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_are_made_as_in_rfc_6052),
		cmocka_unit_test(prefixes_are_learnt_as_in_rfc_7050),
		cmocka_unit_test(several_prefixes_are_kept_and_others_say_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
