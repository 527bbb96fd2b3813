/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "addr.h"

static struct addr A(const char *s) {
	struct addr a;

	assert_int_equal(addr_parse(s, &a), 0);
	return a;
}

static void
addresses_round_trip(void **state)
{
	static const char *const good[] = { "0.0.0.0", "192.0.2.1",   "255.255.255.255", "::",
					    "::1",     "2001:db8::1", "fe80::1:2:3" };
	char out[ADDR_STR_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		struct addr a = A(good[i]);

		assert_string_equal(addr_str(&a, out), good[i]);
	}
}

static void only_numeric_addresses_are_read(void **state)
{
	static const char *const bad[] = { "",		" 192.0.2.1",	"192.0.2.1 ",
					   "192.0.2",	"192.0.2.256",	"192.0.2.01x",
					   "localhost", "fe80::1%eth0", "[::1]",
					   "::1::",	"1.2.3.4/32" };
	struct addr a;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (addr_parse(bad[i], &a) != -EINVAL)
			fail_msg("\"%s\" was taken", bad[i]);
}

static void a_mapped_address_is_ipv4(void **state)
{
	static const uint8_t mapped[16] = { [10] = 0xff, 0xff, 192, 0, 2, 1 };
	struct addr a = A("::ffff:192.0.2.1"), b = A("192.0.2.1"), c;
	struct sockaddr_in6 sin6 = { .sin6_family = AF_INET6, .sin6_port = htons(4500) };
	struct endpoint e;

	(void)state;
	assert_true(addr_eq(&a, &b));
	assert_int_equal(addr_from_bytes(&c, mapped, 16), 0);
	assert_true(addr_eq(&c, &b));
	memcpy(&sin6.sin6_addr, mapped, 16);
	assert_int_equal(endpoint_from_sockaddr(&e, (struct sockaddr *)&sin6), 0);
	assert_true(addr_eq(&e.addr, &b) && e.port == 4500);
	assert_int_equal(addr_from_bytes(&c, mapped, 5), -EINVAL);
}

static void prefixes_know_what_they_hold(void **state)
{
	static const struct {
		const char *p, *in, *out;
	} t[] = {
		{ "10.0.0.0/8", "10.255.255.255", "11.0.0.0" },
		{ "192.0.2.128/25", "192.0.2.128", "192.0.2.127" },
		{ "192.0.2.1", "192.0.2.1", "192.0.2.2" },
		{ "0.0.0.0/0", "255.255.255.255", "::1" },
		{ "2001:db8::/33", "2001:db8:7fff::", "2001:db8:8000::" },
		{ "::/0", "::", "0.0.0.0" },
	};
	struct prefix p;
	struct addr a;

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		assert_int_equal(prefix_parse(t[i].p, &p), 0);
		a = A(t[i].in);
		assert_true(prefix_contains(&p, &a));
		a = A(t[i].out);
		assert_false(prefix_contains(&p, &a));
	}
	assert_int_equal(prefix_parse("10.0.0.1/8", &p), -EDOM);
	assert_int_equal(prefix_parse("10.0.0.0/33", &p), -EINVAL);
	assert_int_equal(prefix_parse("10.0.0.0/", &p), -EINVAL);
	assert_int_equal(prefix_parse("10.0.0.0/-1", &p), -EINVAL);
	assert_int_equal(prefix_parse("::/129", &p), -EINVAL);
}

static void prefixes_cover_and_overlap(void **state)
{
	struct prefix wide, narrow, other, six;

	(void)state;
	prefix_parse("10.0.0.0/8", &wide);
	prefix_parse("10.99.0.0/24", &narrow);
	prefix_parse("11.0.0.0/8", &other);
	prefix_parse("::/0", &six);
	assert_true(prefix_covers(&wide, &narrow) && !prefix_covers(&narrow, &wide));
	assert_true(prefix_covers(&wide, &wide));
	assert_true(prefix_overlaps(&narrow, &wide) && prefix_overlaps(&wide, &narrow));
	assert_false(prefix_overlaps(&wide, &other));
	assert_false(prefix_overlaps(&wide, &six) || prefix_covers(&six, &wide));
}

static void endpoints_round_trip(void **state)
{
	char out[ENDPOINT_STR_MAX];
	struct sockaddr_storage ss;
	struct endpoint e, back;

	(void)state;
	assert_int_equal(endpoint_parse("192.0.2.1:4500", 1, &e), 0);
	assert_string_equal(endpoint_str(&e, out), "192.0.2.1:4500");
	assert_int_equal(endpoint_parse("[2001:db8::1]:500", 1, &e), 0);
	assert_string_equal(endpoint_str(&e, out), "[2001:db8::1]:500");
	assert_int_equal(endpoint_parse("2001:db8::1", 25, &e), 0);
	assert_string_equal(endpoint_str(&e, out), "[2001:db8::1]:25");
	assert_int_equal(endpoint_parse("192.0.2.1:65536", 1, &e), -EINVAL);
	assert_int_equal(endpoint_parse("192.0.2.1:", 1, &e), -EINVAL);
	assert_int_equal(endpoint_parse("[2001:db8::1]x", 1, &e), -EINVAL);
	assert_int_equal(endpoint_parse("192.0.2.7:99", 1, &e), 0);
	assert_true(endpoint_to_sockaddr(&e, AF_INET6, &ss) == sizeof(struct sockaddr_in6));
	assert_int_equal(endpoint_from_sockaddr(&back, (struct sockaddr *)&ss), 0);
	assert_true(endpoint_eq(&e, &back));
	assert_int_equal(endpoint_parse("[::1]:99", 1, &e), 0);
	assert_int_equal(endpoint_to_sockaddr(&e, AF_INET, &ss), 0);
}

static void special_addresses_are_told(void **state)
{
	struct addr none = { 0 }, a;

	(void)state;
	assert_true(addr_is_unspecified(&none));
	a = A("0.0.0.0");
	assert_true(addr_is_unspecified(&a));
	a = A("::");
	assert_true(addr_is_unspecified(&a));
	a = A("127.9.9.9");
	assert_true(addr_is_loopback(&a) && !addr_is_unspecified(&a));
	a = A("::1");
	assert_true(addr_is_loopback(&a));
	a = A("128.0.0.1");
	assert_false(addr_is_loopback(&a));
}

static void a_hash_of_a_prefix_joins_its_addresses(void **state)
{
	struct addr a = A("192.0.2.1"), b = A("192.0.2.200"), c = A("192.0.3.1");

	(void)state;
	assert_int_equal(addr_hash(&a, 24), addr_hash(&b, 24));
	assert_int_not_equal(addr_hash(&a, 24), addr_hash(&c, 24));
	assert_int_not_equal(addr_hash(&a, 32), addr_hash(&b, 32));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_round_trip),
		cmocka_unit_test(only_numeric_addresses_are_read),
		cmocka_unit_test(a_mapped_address_is_ipv4),
		cmocka_unit_test(prefixes_know_what_they_hold),
		cmocka_unit_test(prefixes_cover_and_overlap),
		cmocka_unit_test(endpoints_round_trip),
		cmocka_unit_test(special_addresses_are_told),
		cmocka_unit_test(a_hash_of_a_prefix_joins_its_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
