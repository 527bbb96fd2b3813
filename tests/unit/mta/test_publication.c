/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "publication.h"

#define TWO "#recipients 1 18 2 +\nann@example.net\njoe@example.net\n"

static int parse(struct publication *p, const char *text)
{
	const char *why;

	return publication_parse(p, text, strlen(text), &why);
}

static void a_set_reads_back_what_was_written(void **state)
{
	char all[600], head[PUBLICATION_HEAD_MAX];
	struct publication_list l = { 0 };
	struct publication p;
	size_t len;
	char *text;

	(void)state;
	publication_add(&l, "joe", "Example.NET");
	publication_add(&l, "Ann", "example.net");
	publication_add(&l, "", "example.org");
	publication_add(&l, "JOE", "example.net");
	publication_add(&l, "two words", "example.net");
	publication_add(&l, "joe@elsewhere", "example.net");
	assert_int_equal(l.left_out, 2);
	text = publication_text(&l, &len);
	assert_string_equal(text, "@example.org\nann@example.net\njoe@example.net\n");
	assert_int_equal(len, strlen(text));
	publication_head(head, UINT64_MAX, 3, '-', 0);
	snprintf(all, sizeof(all), "%s%s", head, text);
	assert_int_equal(parse(&p, all), 0);
	assert_true(p.serial == UINT64_MAX);
	assert_int_equal(p.count, 3);
	assert_int_equal(p.subaddress, '-');
	assert_string_equal(p.lines, text);
	free(text);
	publication_list_clear(&l);
}

static void every_truncation_is_refused(void **state)
{
	struct publication p;
	const char *why;

	(void)state;
	for (size_t n = 0; n < sizeof(TWO) - 1; n++)
		assert_int_not_equal(publication_parse(&p, TWO, n, &why), 0);
	assert_int_equal(publication_parse(&p, TWO, sizeof(TWO) - 1, &why), 0);
}

static void what_is_no_set_is_refused(void **state)
{
	static const char *const bad[] = {
		"#recipients 1 0 1 +\nann@example.net\n",		    /* serials begin at 1 */
		"#recipients 1 18446744073709551616 1 +\nann@example.net\n", /* past 64 bits */
		"#recipients 1 18 1 =\nann@example.net\n",
		"#recipients 1 18 0 +\n", /* nobody: a home has a postmaster at least */
		"#recipients 1 18 1 +\nann\n", /* in which domain? */
		"#recipients 1 18 1 +\nann@\n",
		"#recipients 1 18 1 +\nAnn@example.net\n",
		"#recipients 1 18 1 +\nann@b@example.net\n",
		"#recipients 1 18 1 +\nann@example.net\r\n",
		"#recipients 1 18 1 +\nann @example.net\n",
		"#recipients 1 18 1 +\na#nn@example.net\n", /* a table would cut it */
		"#recipients 1 18 2 +\nj@\xd2\xa0.net\nj@\xd2\xa1.net\n", /* which are one domain */
		"#recipients 1 18 2 +\njoe@example.net\nann@example.net\n",
		"#recipients 1 18 2 +\nann@example.net\nann@example.net\n",
		"recipients 1 18 1 +\nann@example.net\n",
	};
	struct publication p;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(parse(&p, bad[i]), -EBADMSG);
	assert_int_equal(parse(&p, "#recipients 2 18 1 +\nann@example.net\n"), -EPROTONOSUPPORT);
	assert_int_equal(parse(&p, "#recipients 1 18 1 + later\nann@example.net\n"), 0);
}

static void a_nul_behind_what_is_known_is_refused(void **state)
{
	static const char text[] = "#recipients 1 18 1 + later\0\nann@example.net\n"; /* no table takes it */
	struct publication p;
	const char *why;

	(void)state;
	assert_int_equal(publication_parse(&p, text, sizeof(text) - 1, &why), -EBADMSG);
}

static void a_set_that_is_too_large_is_neither_read_nor_made(void **state)
{
	char *text = malloc(PUBLICATION_MAX + 1), name[32];
	struct publication_list l = { 0 };
	struct publication p;
	const char *why;
	size_t len;

	(void)state;
	memset(text, 'a', PUBLICATION_MAX + 1);
	memcpy(text, TWO, sizeof(TWO) - 1);
	assert_int_equal(publication_parse(&p, text, PUBLICATION_MAX + 1, &why), -EBADMSG);
	free(text);
	for (int i = 0; i < 60000; i++) {
		snprintf(name, sizeof(name), "user%06d", i);
		publication_add(&l, name, "example.net");
	}
	assert_null(publication_text(&l, &len));
	publication_list_clear(&l);
}

static void lines_of_the_homes_domains_are_counted(void **state)
{
	char *v[] = { "example.net", "b.example" };
	struct strv domains = { .v = v, .count = 2 };
	struct publication p;

	(void)state;
	parse(&p, "#recipients 1 1 4 +\n@b.example\nann@example.net\nx@b.example.net\ny@example.ne\n");
	assert_int_equal(publication_covers(&p, &domains), 2);
}

static void a_set_may_say_how_large_a_letter_is_taken(void **state)
{
	static const char *const bad[] = {
		"size=", "size=0", "size=x", "size=1x", "size=-1", "size=18446744073709551616",
		"size=10 size=10", "later size=0", "size= 10",
	};
	static const char rest[] = "ann@example.net\n";
	char head[PUBLICATION_HEAD_MAX], all[200];
	struct publication p, q;

	(void)state;
	/* The longest that there can be fits. */
	assert_int_equal(publication_head(head, UINT64_MAX, PUBLICATION_MAX, 0, UINT64_MAX), 74);
	publication_head(head, 7, 1, '+', 20971520);
	snprintf(all, sizeof(all), "%s%s", head, rest);
	assert_int_equal(parse(&p, all), 0);
	assert_true(p.size_max_bytes == 20971520);
	assert_string_equal(p.lines, rest);
	/* Among words of later homes; and none, as older homes say it. */
	assert_int_equal(parse(&p, "#recipients 1 7 1 + a=1 size=5 resize=9\nann@example.net\n"), 0);
	assert_true(p.size_max_bytes == 5);
	assert_int_equal(parse(&q, "#recipients 1 8 1 + a=1 sizes\nann@example.net\n"), 0);
	assert_true(q.size_max_bytes == 0);
	assert_false(publication_same(&p, &q));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(all, sizeof(all), "#recipients 1 7 1 + %s\n%s", bad[i], rest);
		assert_int_equal(parse(&p, all), -EBADMSG);
	}
}

static void sameness_looks_past_the_serial(void **state)
{
	struct publication a, b, c, d;

	(void)state;
	assert_int_equal(parse(&a, TWO), 0);
	assert_int_equal(parse(&b, "#recipients 1 19 2 +\nann@example.net\njoe@example.net\n"), 0);
	assert_int_equal(parse(&c, "#recipients 1 18 2 none\nann@example.net\njoe@example.net\n"), 0);
	assert_int_equal(parse(&d, "#recipients 1 18 2 +\nann@example.net\njim@example.net\n"), 0);
	assert_true(publication_same(&a, &b));
	assert_false(publication_same(&a, &c));
	assert_false(publication_same(&a, &d));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_set_reads_back_what_was_written),
		cmocka_unit_test(every_truncation_is_refused),
		cmocka_unit_test(what_is_no_set_is_refused),
		cmocka_unit_test(a_nul_behind_what_is_known_is_refused),
		cmocka_unit_test(a_set_that_is_too_large_is_neither_read_nor_made),
		cmocka_unit_test(lines_of_the_homes_domains_are_counted),
		cmocka_unit_test(a_set_may_say_how_large_a_letter_is_taken),
		cmocka_unit_test(sameness_looks_past_the_serial),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
