/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "leak.h"

#define MAX 8

static struct leak out[MAX];

static size_t find(const char *head)
{
	static const char *const words[] = { "router", "jay" };
	struct prefix lan;
	struct leak_known k = { .inner = &lan, .inner_count = 1, .words = words, .word_count = 2 };

	assert_int_equal(prefix_parse("2001:db8:6969::/64", &lan), 0);
	memset(out, 0, sizeof(out));
	return leak_find(head, strlen(head), &k, out, MAX);
}

static void one(const char *head, enum leak_kind kind, const char *what)
{
	assert_int_equal(find(head), 1);
	assert_int_equal(out[0].kind, kind);
	assert_string_equal(out[0].what, what);
}

static void addresses_of_inner_networks_are_found(void **state)
{
	(void)state;
	one("Received: from a ([10.99.0.2])\r\n\tby b; now\r\n", LEAK_ADDRESS, "10.99.0.2");
	assert_string_equal(out[0].name, "Received");
	one("Received: from a ([IPv6:fd99::2]) by b\r\n", LEAK_ADDRESS, "IPv6:fd99::2");
	one("X: 192.168.1.7:25\r\n", LEAK_ADDRESS, "192.168.1.7:25");
	one("X: at 172.16.0.9.\r\n", LEAK_ADDRESS, "172.16.0.9");
	one("X: [100.64.0.2]\r\n", LEAK_ADDRESS, "100.64.0.2");
	one("X: fe80::1%eth0\r\n", LEAK_ADDRESS, "fe80::1");
	one("X: ::ffff:10.0.0.1 \r\n", LEAK_ADDRESS, "::ffff:10.0.0.1");
	one("X: y (2001:db8:6969::2)\r\n", LEAK_ADDRESS, "2001:db8:6969::2");
}

static void public_addresses_times_and_loopback_are_none(void **state)
{
	(void)state;
	assert_int_equal(
	    find("Received: from x ([192.0.2.1]) by mx.example (Postern) with ESMTPS\r\n"
		 "\tid 00112233445566778899aabbccddeeff; Sun, 22 Nov 2026 18:05:11 +0000\r\n"
		 "X: [127.0.0.1] ::1 [IPv6:2001:db8::1] 11.0.0.1 172.32.0.1 110.99.0.2\r\n"),
	    0);
}

static void names_that_no_dns_has_are_found(void **state)
{
	(void)state;
	one("Received: by router.lan (Postern)\r\n", LEAK_NAME, "router.lan");
	one("Message-ID: <1@PC.Local>\r\n", LEAK_NAME, "1@PC.Local");
	one("X: nas.home.arpa\r\n", LEAK_NAME, "nas.home.arpa");
	assert_int_equal(find("X: atlan.example local .lan lan.example\r\n"), 0);
}

static void words_count_whole_and_in_any_case(void **state)
{
	(void)state;
	one("Received: from Router by x\r\n", LEAK_WORD, "Router");
	one("X: user=jay;\r\n", LEAK_WORD, "jay");
	assert_int_equal(find("X: jay@example.com jays router.example.com\r\n"), 0);
}

static void a_field_tells_the_same_once_and_counts_all(void **state)
{
	(void)state;
	assert_int_equal(find("A: 10.0.0.1 10.0.0.1\r\nB: x\r\n y\r\nC: z\r\n\t10.0.0.1\r\n"), 2);
	assert_int_equal(out[0].field, 0);
	assert_int_equal(out[1].field, 2);
	assert_string_equal(out[1].name, "C");
	assert_int_equal(find("A: 10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5 10.0.0.6\r\n"
			      "B: 10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4\r\n"),
			 10);
	assert_string_equal(out[MAX - 1].what, "10.0.0.2");
}

static void the_body_is_not_looked_at(void **state)
{
	(void)state;
	assert_int_equal(find("A: x\r\n\r\nB: 10.0.0.1\r\n"), 0);
	assert_int_equal(find("A: x\n\nB: 10.0.0.1\n"), 0);
	assert_int_equal(find(""), 0);
}

static void every_truncation_is_read(void **state)
{
	const char *head = "Received: from a ([IPv6:fd99::2])\r\n\tby r.lan; x\r\nX: jay\r\n\r\n";
	struct leak_known k = { .words = NULL };

	(void)state;
	for (size_t n = 0; n <= strlen(head); n++) {
		char part[128];

		memcpy(part, head, n); /* with nothing behind it that could be read */
		assert_true(leak_find(part, n, &k, out, MAX) <= 2);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_of_inner_networks_are_found),
		cmocka_unit_test(public_addresses_times_and_loopback_are_none),
		cmocka_unit_test(names_that_no_dns_has_are_found),
		cmocka_unit_test(words_count_whole_and_in_any_case),
		cmocka_unit_test(a_field_tells_the_same_once_and_counts_all),
		cmocka_unit_test(the_body_is_not_looked_at),
		cmocka_unit_test(every_truncation_is_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
