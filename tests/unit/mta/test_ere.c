/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ere.h"

static bool holds(const char *pattern, const char *text)
{
	char why[200];
	struct ere *e = ere_new(pattern, why, sizeof(why));
	bool yes;

	if (!e)
		fail_msg("%s: %s", pattern, why);
	yes = ere_match(e, text, strlen(text));
	ere_free(e);
	return yes;
}

static void an_expression_speaks_of_the_whole_text(void **state)
{
	static const struct {
		const char *pattern, *text;
		bool holds;
	} rows[] = {
		{ ".*@example\\.com", "joe@example.com", true },
		{ ".*@example\\.com$", "joe@example.com", true },
		{ "^.*@example\\.com$", "JOE@Example.COM", true },
		{ ".*@example\\.com", "joe@example.com.evil.example", false },
		{ ".*@example\\.com", "joe@exampleXcom", false },
		{ "example", "an example", false },
		{ "(sales|info)[0-9]{1,3}@x\\.example", "sales12@x.example", true },
		{ "(sales|info)[0-9]{1,3}@x\\.example", "sales1234@x.example", false },
		{ "(sales|info)[0-9]{1,3}@x\\.example", "sales@x.example", false },
		{ "a|b|cd", "cd", true },
		{ "a|b|cd", "ac", false },
		{ "ab?c+d*", "acc", true },
		{ "ab?c+d*", "abd", false },
		{ "[]x]+", "]x]", true },
		{ "[^]x]+", "a]", false },
		{ "[A-C]x", "bX", true },
		{ "[^a-c]", "B", false },
		{ "[[:digit:][:alpha:]_]+", "a_9", true },
		{ "[[:digit:]]+", "a9", false },
		{ "a{3}", "aaa", true },
		{ "a{3}", "aa", false },
		{ "a{2,}", "aaaaa", true },
		{ "(ab){0,2}", "", true },
		{ "(ab){0,2}", "ababab", false },
		{ "a^b", "a^b", false },
		{ "a\\^b\\$", "a^b$", true },
		{ "(^a|b)c", "ac", true },
		{ "[a\\]", "\\", true },
		{ "a-z]", "a-z]", true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		if (holds(rows[i].pattern, rows[i].text) != rows[i].holds)
			fail_msg("\"%s\" and \"%s\"", rows[i].pattern, rows[i].text);
	}
}

static void what_posix_leaves_open_is_refused_with_a_reason(void **state)
{
	static const struct {
		const char *pattern, *why;
	} rows[] = {
		{ "", "nothing on one side" },
		{ "a|", "nothing on one side" },
		{ "()", "nothing on one side" },
		{ "(a", "not closed" },
		{ "a)", "closes nothing" },
		{ "*a", "write \\*" },
		{ "(+a)", "write \\+" },
		{ "a**", "behind each other" },
		{ "a{2}{3}", "behind each other" },
		{ "a{", "in braces" },
		{ "a{3,2}", "in braces" },
		{ "a{0}", "in braces" },
		{ "a{101}", "in braces" },
		{ "{2}", "write \\{" },
		{ "^*", "cannot be repeated" },
		{ "[a", "has no end" },
		{ "[]", "has no end" },
		{ "[z-a]", "backwards" },
		{ "[[:word:]]", "unknown class" },
		{ "[[.a.]]", "not supported" },
		{ "(a)\\1", "\\1 means nothing" },
		{ "\\d+", "write [0-9]" },
		{ "\\w", "write [A-Za-z0-9_]" },
		{ "a\\", "means nothing" },
		{ "((a{100}){100}){100}", "too large" },
		{ "(a{1,100}){1,100}", "too large" },
		{ "((((((((a{50}){50}){50}){50}){50}){50}){50}){50})", "too large" },
		{ "((((((((((((((((((((((((((((((((((a))))))))))))))))))))))))))))))))))",
		  "parentheses in" },
	};
	char why[200], *big = malloc(ERE_PATTERN_MAX + 2);

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		if (ere_new(rows[i].pattern, why, sizeof(why)))
			fail_msg("\"%s\" is taken", rows[i].pattern);
		if (!strstr(why, rows[i].why))
			fail_msg("\"%s\": %s", rows[i].pattern, why);
	}
	memset(big, 'a', ERE_PATTERN_MAX + 1);
	big[ERE_PATTERN_MAX + 1] = 0;
	assert_null(ere_new(big, why, sizeof(why)));
	assert_non_null(strstr(why, "longer than"));
	free(big);
}

static void a_match_looks_at_each_state_once_for_each_byte(void **state)
{
	static const char *const patterns[] = {
		"(a|a)*b",
		"(a*)*b",
		"((a*)*)*b",
		"(a|aa)+b",
		"(.*)(.*)(.*)(.*)(.*)[^a]",
		"(a?){60}a{60}",
		"(a|b)*a(a|b){40}",
		"(.*a){20}b",
		"([a-z]+)+@",
		"(x+x+)+y",
	};
	char text[ERE_TEXT_MAX + 2], why[200];

	(void)state;
	memset(text, 'a', sizeof(text));
	for (size_t i = 0; i < sizeof(patterns) / sizeof(*patterns); i++) {
		struct ere *e = ere_new(patterns[i], why, sizeof(why));
		size_t steps;

		if (!e)
			fail_msg("%s: %s", patterns[i], why);
		ere_match_steps(e, text, ERE_TEXT_MAX, &steps);
		if (steps > (ERE_TEXT_MAX + 1) * ere_states(e))
			fail_msg("%s: %zu steps with %zu states", patterns[i], steps,
				 ere_states(e));
		assert_false(ere_match_steps(e, text, ERE_TEXT_MAX + 1, &steps));
		assert_int_equal(steps, 0);
		ere_free(e);
	}
}

static uint32_t seed = 1;

static uint32_t any(uint32_t below)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % below;
}

/* An expression of a, b, A and all operators, at most @room bytes. */
static size_t invent(char *out, size_t room, unsigned depth)
{
	static const char *const atoms[] = {
		"a", "b", ".", "[ab]", "[^a]", "A", "[[:upper:]]", "c"
	};
	static const char *const repeats[] = { "*", "+", "?", "{2}", "{1,2}", "{0,3}", "{1,}" };
	size_t n = 0;

	for (uint32_t i = 0, end = 1 + any(3); i < end && n + 40 < room; i++) {
		if (i && !any(3))
			out[n++] = '|';
		if (depth && !any(3)) {
			out[n++] = '(';
			n += invent(out + n, room - n - 20, depth - 1);
			out[n++] = ')';
		} else {
			n += (size_t)sprintf(out + n, "%s", atoms[any(8)]);
		}
		if (!any(2))
			n += (size_t)sprintf(out + n, "%s", repeats[any(7)]);
	}
	if (!n)
		out[n++] = 'a';
	out[n] = 0;
	return n;
}

/* The C library's answer is the oracle, where it has one: both were made from the same standard. */
static void twenty_thousand_expressions_mean_what_the_c_library_means(void **state)
{
	unsigned compared = 0, held = 0;
	char pattern[200], anchored[220], text[16], why[200];

	(void)state;
	for (int i = 0; i < 20000; i++) {
		struct ere *e;
		regex_t re;

		pattern[invent(pattern, 120, 3)] = 0;
		snprintf(anchored, sizeof(anchored), "^(%s)$", pattern);
		e = ere_new(pattern, why, sizeof(why));
		if (!e)
			fail_msg("%s: %s", pattern, why);
		if (regcomp(&re, anchored, REG_EXTENDED | REG_ICASE | REG_NOSUB)) {
			ere_free(e);
			continue;
		}
		for (int k = 0; k < 8; k++) {
			size_t len = any(9);
			bool want;

			for (size_t j = 0; j < len; j++)
				text[j] = "abcAB"[any(5)];
			text[len] = 0;
			want = !regexec(&re, text, 0, NULL, 0);
			if (ere_match(e, text, len) != want)
				fail_msg("\"%s\" and \"%s\": the C library says %s", pattern, text,
					 want ? "yes" : "no");
			compared++;
			held += want;
		}
		regfree(&re);
		ere_free(e);
	}
	assert_true(compared > 100000 && held > 10000 && compared - held > 10000);
}

static void the_domain_of_an_expression_is_known_only_where_it_is_plain(void **state)
{
	static const struct {
		const char *pattern, *domain;
	} rows[] = {
		{ "list-.*@example\\.net", "example.net" },
		{ "(a|b)@Lists\\.Example\\.net$", "lists.example.net" },
		{ ".*@localhost", "localhost" },
		{ ".*@lists[.]Example[.]net", "lists.example.net" },
		{ ".*@lists\\[.]", NULL },
		{ ".*@lists[.]?example", NULL },
		{ "[|(]@x\\.example", "x.example" },
		{ ".*", NULL },
		{ ".*@.*", NULL },
		{ ".*@example.net", NULL },
		{ ".*@(example)\\.net", NULL },
		{ ".*|x@example\\.net", NULL },
		{ "a@b|x@example\\.net", NULL },
		{ ".*@example\\.ne?t", NULL },
		{ ".*@example\\.[a-z]+", NULL },
		{ ".*@?example\\.net", NULL },
		{ ".*@example\\\\.net", NULL },
		{ ".*@", NULL },
		{ "example\\.net", NULL },
	};
	char why[200], domain[ERE_PATTERN_MAX + 1];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct ere *e = ere_new(rows[i].pattern, why, sizeof(why));

		if (!e)
			fail_msg("%s: %s", rows[i].pattern, why);
		if (ere_domain(e, domain) != (rows[i].domain != NULL) ||
		    (rows[i].domain && strcmp(domain, rows[i].domain)))
			fail_msg("%s: \"%s\"", rows[i].pattern, domain);
		ere_free(e);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_expression_speaks_of_the_whole_text),
		cmocka_unit_test(what_posix_leaves_open_is_refused_with_a_reason),
		cmocka_unit_test(a_match_looks_at_each_state_once_for_each_byte),
		cmocka_unit_test(twenty_thousand_expressions_mean_what_the_c_library_means),
		cmocka_unit_test(the_domain_of_an_expression_is_known_only_where_it_is_plain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
