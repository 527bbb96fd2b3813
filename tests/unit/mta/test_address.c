/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "address.h"
#include "log.h"

static const unsigned all = ADDRESS_ALLOW_NULL | ADDRESS_ALLOW_BARE | ADDRESS_ALLOW_UTF8;

static void paths_are_read_as_the_table_says(void **state)
{
	static const struct {
		const char *path;
		int err;
		const char *text; /* as it goes on */
		const char *local;
		const char *domain;
		int kind;
	} cases[] = {
		{ "<a@b>", 0, "a@b", "a", "b", ADDRESS_DOMAIN },
		{ "<A.b+c@Example.ORG>", 0, "A.b+c@Example.ORG", "A.b+c", "Example.ORG",
		  ADDRESS_DOMAIN },
		{ "<>", 0, "", "", "", ADDRESS_NULL },
		{ "<PostMaster>", 0, "PostMaster", "PostMaster", "", ADDRESS_BARE },
		{ "<root>", -EBADMSG, 0, 0, 0, 0 },
		{ "<\"a b\"@c.d>", 0, "\"a b\"@c.d", "a b", "c.d", ADDRESS_DOMAIN },
		{ "<\"a\\\"b\\\\\"@c.d>", 0, "\"a\\\"b\\\\\"@c.d", "a\"b\\", "c.d",
		  ADDRESS_DOMAIN },
		{ "<\"a@b\"@c.d>", 0, "\"a@b\"@c.d", "a@b", "c.d", ADDRESS_DOMAIN },
		{ "<\"\"@c.d>", 0, "\"\"@c.d", "", "c.d", ADDRESS_DOMAIN },
		{ "<a@[192.0.2.1]>", 0, "a@[192.0.2.1]", "a", "[192.0.2.1]", ADDRESS_LITERAL },
		{ "<a@[IPv6:2001:db8::1]>", 0, "a@[IPv6:2001:db8::1]", "a", "[IPv6:2001:db8::1]",
		  ADDRESS_LITERAL },
		{ "<@x.y:a@b.c>", 0, "a@b.c", "a", "b.c", ADDRESS_DOMAIN },
		{ "<@x.y,@z.w:a@b.c>", 0, "a@b.c", "a", "b.c", ADDRESS_DOMAIN },
		{ "<@x.y,z.w:a@b.c>", -EBADMSG, 0, 0, 0, 0 },
		{ "<@x.y>", -EBADMSG, 0, 0, 0, 0 },
		{ "<@:a@b>", -EBADMSG, 0, 0, 0, 0 },
		{ "a@b", -EBADMSG, 0, 0, 0, 0 },
		{ "<a@b", -EBADMSG, 0, 0, 0, 0 },
		{ "<a@>", -EBADMSG, 0, 0, 0, 0 },
		{ "<@b>", -EBADMSG, 0, 0, 0, 0 },
		{ "<a@b@c>", -EBADMSG, 0, 0, 0, 0 },
		{ "<.a@b>", -EBADMSG, 0, 0, 0, 0 },
		{ "<a.@b>", -EBADMSG, 0, 0, 0, 0 },
		{ "<a..b@c>", -EBADMSG, 0, 0, 0, 0 },
		{ "<a b@c>", -EBADMSG, 0, 0, 0, 0 },
		{ "<a@b..c>", -EBADMSG, 0, 0, 0, 0 },
		{ "<a@.b>", -EBADMSG, 0, 0, 0, 0 },
		{ "<a@b.>", -EBADMSG, 0, 0, 0, 0 },
		{ "<a@-b>", -EBADMSG, 0, 0, 0, 0 },
		{ "<a@b-.c>", -EBADMSG, 0, 0, 0, 0 },
		{ "<a@b_c.d>", 0, "a@b_c.d", "a", "b_c.d", ADDRESS_DOMAIN },
		{ "<a@b/c>", -EBADMSG, 0, 0, 0, 0 },
		{ "<a@[192.0.2.256]>", -EBADMSG, 0, 0, 0, 0 },
		{ "<a@[2001:db8::1]>", -EBADMSG, 0, 0, 0, 0 },
		{ "<a@[IPv6:192.0.2.1]>", -EBADMSG, 0, 0, 0, 0 },
		{ "<a@[]>", -EBADMSG, 0, 0, 0, 0 },
		{ "<\"a\"b@c>", -EBADMSG, 0, 0, 0, 0 },
		{ "<\"a@c>", -EPROTO, 0, 0, 0, 0 },
		{ "<\"a\\\"@c>", -EPROTO, 0, 0, 0, 0 },
		{ "<a|b@c>", -EPROTO, 0, 0, 0, 0 },
		{ "<a`b@c>", -EPROTO, 0, 0, 0, 0 },
		{ "<a$b@c>", -EPROTO, 0, 0, 0, 0 },
		{ "<a;b@c>", -EBADMSG, 0, 0, 0, 0 },
		{ "<\"a;b\"@c>", -EPROTO, 0, 0, 0, 0 },
		{ "<\"a\\;b\"@c>", -EPROTO, 0, 0, 0, 0 },
		{ "<\"a<b\"@c>", -EPROTO, 0, 0, 0, 0 },
		{ "<\"a\nb\"@c>", -EPROTO, 0, 0, 0, 0 },
		{ "<\"a\\\nb\"@c>", -EBADMSG, 0, 0, 0, 0 },
		{ "<a\x01@c>", -EBADMSG, 0, 0, 0, 0 },
		{ "<o'brien&co=x/y%z!q@c>", 0, "o'brien&co=x/y%z!q@c", "o'brien&co=x/y%z!q", "c",
		  ADDRESS_DOMAIN },
		{ "<j\xc3\xb6@b\xc3\xbc.de>", 0, "j\xc3\xb6@b\xc3\xbc.de", "j\xc3\xb6",
		  "b\xc3\xbc.de", ADDRESS_DOMAIN },
		{ "<j\xc3@b.de>", -EILSEQ, 0, 0, 0, 0 },
		{ "<j\xed\xa0\x80@b.de>", -EILSEQ, 0, 0, 0, 0 },
		{ "<j\xc2\x85@b.de>", -EILSEQ, 0, 0, 0, 0 },
		{ "<j\xf4\x90\x80\x80@b.de>", -EILSEQ, 0, 0, 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char local[ADDRESS_MAX + 1];
		struct address a;
		size_t used;
		int err = address_parse_path(cases[i].path, strlen(cases[i].path), all, &a, &used);

		if (err != cases[i].err)
			fail_msg("%s: %d, wanted %d", cases[i].path, err, cases[i].err);
		if (err)
			continue;
		assert_int_equal(used, strlen(cases[i].path));
		assert_string_equal(a.text, cases[i].text);
		assert_int_equal(a.kind, cases[i].kind);
		assert_string_equal(address_domain(&a), cases[i].domain);
		address_local(&a, local);
		assert_string_equal(local, cases[i].local);
	}
}

static void every_truncation_of_a_path_is_refused_and_reads_no_further(void **state)
{
	static const char path[] = "<@x.y,@z.w:\"a \\\"b\"@[IPv6:2001:db8::1]>";

	(void)state;
	for (size_t n = 0; n < sizeof(path) - 1; n++) {
		struct address a;
		size_t used;
		char *copy = n ? memcpy(__builtin_alloca(n), path, n) : NULL;

		assert_int_not_equal(address_parse_path(copy, n, all, &a, &used), 0);
		assert_int_equal(used, 0);
		assert_int_equal(a.len, 0);
	}
}

static void what_stands_behind_the_bracket_is_left(void **state)
{
	struct address a;
	size_t used;

	(void)state;
	assert_int_equal(address_parse_path("<a@b> SIZE=1", 12, 0, &a, &used), 0);
	assert_int_equal(used, 5);
	assert_int_equal(address_parse("a@b ", 4, 0, &a), -EBADMSG);
	assert_int_equal(address_parse("a@b>", 4, 0, &a), -EBADMSG);
	assert_int_equal(address_parse("", 0, 0, &a), -EBADMSG);
	assert_int_equal(address_parse_path("<>", 2, 0, &a, &used), -EBADMSG);
	assert_int_equal(address_parse("a\0b@c", 5, 0, &a), -EBADMSG);
}

static void the_limit_of_254_octets_holds_exactly(void **state)
{
	char text[400];
	struct address a;

	(void)state;
	memset(text, 'a', sizeof(text));
	memcpy(text + 250, "@b.c", 5);
	assert_int_equal(address_parse(text, 254, 0, &a), 0);
	assert_int_equal(a.len, 254);
	memset(text, 'a', sizeof(text));
	memcpy(text + 251, "@b.c", 5);
	assert_int_equal(address_parse(text, 255, 0, &a), -ENAMETOOLONG);
	memset(text, 'a', sizeof(text));
	text[1] = '@';
	assert_int_equal(address_parse(text, 2 + 63, 0, &a), 0);
	assert_int_equal(address_parse(text, 2 + 64, 0, &a), -EBADMSG);
}

static void utf8_needs_its_flag(void **state)
{
	struct address a;

	(void)state;
	assert_int_equal(address_parse("j\xc3\xb6@b", 5, 0, &a), -EILSEQ);
	assert_int_equal(address_parse("j@b\xc3\xb6", 5, 0, &a), -EBADMSG);
	assert_int_equal(address_parse("j\xc3\xb6@b", 5, ADDRESS_ALLOW_UTF8, &a), 0);
	assert_true(a.utf8);
}

static void equal_addresses_are_those_that_mean_the_same(void **state)
{
	static const struct {
		const char *a, *b;
		bool equal;
	} cases[] = {
		{ "joe@A.example", "joe@a.EXAMPLE", true },
		{ "\"joe\"@a.example", "joe@a.example", true },
		{ "Joe@a.example", "joe@a.example", false },
		{ "joe@a.example", "joe@b.example", false },
		{ "a@[192.0.2.1]", "a@[192.0.2.1]", true },
		{ "a@[192.0.2.1]", "a@[192.0.2.2]", false },
		{ "a@[IPv6:2001:db8::1]", "a@[IPv6:2001:DB8:0::1]", true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct address a, b;

		assert_int_equal(address_parse(cases[i].a, strlen(cases[i].a), 0, &a), 0);
		assert_int_equal(address_parse(cases[i].b, strlen(cases[i].b), 0, &b), 0);
		assert_int_equal(address_equal(&a, &b), cases[i].equal);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths_are_read_as_the_table_says),
		cmocka_unit_test(every_truncation_of_a_path_is_refused_and_reads_no_further),
		cmocka_unit_test(what_stands_behind_the_bracket_is_left),
		cmocka_unit_test(the_limit_of_254_octets_holds_exactly),
		cmocka_unit_test(utf8_needs_its_flag),
		cmocka_unit_test(equal_addresses_are_those_that_mean_the_same),
	};

	log_setup("test", LOG_LVL_ERR, 2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
