/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "prefix_set.h"

static struct prefix parse(const char *s)
{
	struct prefix p;

	assert_int_equal(prefix_parse(s, &p), 0);
	return p;
}

static bool covers(struct prefix_set *s, const char *text)
{
	struct prefix p = parse(text);

	return prefix_set_covers(s, &p);
}

static void an_empty_set_covers_nothing(void **state)
{
	struct prefix_set s = { 0 };

	(void)state;
	assert_false(covers(&s, "10.0.0.1"));
	assert_false(covers(&s, "::/0"));
	prefix_set_clear(&s);
}

static void members_and_what_lies_in_them_is_covered(void **state)
{
	static const char *const in[] = { "10.1.0.0/16", "192.0.2.7", "fd99::/64", "10.1.2.0/24" };
	struct prefix_set s = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(in) / sizeof(*in); i++) {
		struct prefix p = parse(in[i]);

		assert_int_equal(prefix_set_add(&s, &p), 0);
		assert_int_equal(prefix_set_add(&s, &p), 0);
		prefix_set_sort(&s);
		assert_int_equal(s.count, i + 1);
		assert_true(covers(&s, in[i])); /* added to after it was sorted */
	}
	assert_true(covers(&s, "10.1.255.255"));
	assert_true(covers(&s, "10.1.2.128/25"));
	assert_true(covers(&s, "fd99::ffff:0:0:1"));
	assert_false(covers(&s, "10.0.0.0/8"));
	assert_false(covers(&s, "10.2.0.0/16"));
	assert_false(covers(&s, "192.0.2.6"));
	assert_false(covers(&s, "192.0.2.6/31"));
	assert_false(covers(&s, "fd99:0:0:1::1"));
	assert_false(covers(&s, "::/0"));
	prefix_set_clear(&s);
}

/* The same answers as prefix_covers() asked of each member. */
static void it_agrees_with_asking_each_member(void **state)
{
	struct prefix_set s = { 0 };
	struct prefix all[300];
	unsigned yes = 0;

	(void)state;
	srand(7);
	for (size_t i = 0; i < 300; i++) {
		struct addr a = { .family = 2,
				  .b = { 10, (uint8_t)(rand() % 4), (uint8_t)(rand() % 256),
					 (uint8_t)rand() } };

		all[i] = prefix_of(&a, (uint8_t)(20 + rand() % 13));
		assert_int_equal(prefix_set_add(&s, &all[i]), 0);
	}
	prefix_set_sort(&s);
	for (unsigned n = 0; n < 5000; n++) {
		struct addr a = { .family = 2,
				  .b = { 10, (uint8_t)(rand() % 4), (uint8_t)(rand() % 256),
					 (uint8_t)rand() } };
		struct prefix p = prefix_of(&a, (uint8_t)(14 + rand() % 19));
		bool want = false;

		for (size_t i = 0; i < 300 && !want; i++)
			want = prefix_covers(&all[i], &p);
		assert_int_equal(prefix_set_covers(&s, &p), want);
		yes += want;
	}
	assert_in_range(yes, 500, 4500);
	prefix_set_clear(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_set_covers_nothing),
		cmocka_unit_test(members_and_what_lies_in_them_is_covered),
		cmocka_unit_test(it_agrees_with_asking_each_member),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
