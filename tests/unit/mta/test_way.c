/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "way.h"

static struct mta_route routes[] = { { .name = "a" }, { .name = "b" }, { .name = "c" } };
static struct mta_config config = { .routes = routes, .route_count = 3 };

/* The pairs as text, "a>b c>b"; the way is freed. */
static const char *move(char **way, const char *from, const char *to)
{
	static char out[256];
	char *next = way_move(&config, *way, from, to);
	const char *f, *t;

	assert_non_null(next);
	free(*way);
	*way = next;
	*out = 0;
	for (const char *p = next; (p = way_next(p, &f, &t));) {
		strcat(out, *out ? " " : "");
		strcat(out, f);
		strcat(out, ">");
		strcat(out, t);
	}
	return out;
}

static void moves_add_up(void **state)
{
	char *way = NULL;

	(void)state;
	assert_string_equal(move(&way, "a", "b"), "a>b");
	assert_string_equal(move(&way, "b", "c"), "a>c b>c");
	assert_string_equal(move(&way, "c", "a"), "b>a c>a");
	assert_string_equal(move(&way, "a", "a"), "b>a c>a");
	free(way);
}

static void back_where_it_came_from_is_no_exception(void **state)
{
	char *way = NULL;

	(void)state;
	assert_string_equal(move(&way, "a", "b"), "a>b");
	assert_string_equal(move(&way, "b", "a"), "b>a");
	free(way);
}

/* What goes by a does so because its exception counts for nothing any more. */
static void a_route_that_is_gone_is_in_nobodys_way(void **state)
{
	char *way = way_add(NULL, "a", "gone");

	(void)state;
	assert_string_equal(move(&way, "a", "c"), "a>c");
	free(way);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(moves_add_up),
		cmocka_unit_test(back_where_it_came_from_is_no_exception),
		cmocka_unit_test(a_route_that_is_gone_is_in_nobodys_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
