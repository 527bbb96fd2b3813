/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "memory.h"

static char *hosts[] = { "a", "b", "c" };
static struct mta_route routes[] = { { .addresses = { hosts, 3 } }, { .addresses = { hosts, 3 } } };
static const struct mta_config config = { .routes = routes, .route_count = 2 };

static void turns_are_of_each_route(void **state)
{
	struct memory m = { 0 };

	(void)state;
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(memory_turn(&m, &config, &routes[0]), i);
	assert_int_equal(memory_turn(&m, &config, &routes[1]), 0);
	memory_clear(&m);
}

static void the_host_that_worked_comes_first_for_a_while(void **state)
{
	struct memory m = { 0 };

	(void)state;
	assert_int_equal(memory_first(&m, &config, &routes[0], 1000), 0);
	memory_worked(&m, &config, &routes[0], 2, 1000);
	assert_int_equal(memory_first(&m, &config, &routes[0], 1000 + MEMORY_GOOD_MS - 1), 2);
	assert_int_equal(memory_first(&m, &config, &routes[1], 1000), 0);
	/* That it is used does not keep it first for ever. */
	memory_worked(&m, &config, &routes[0], 2, 100000);
	assert_int_equal(memory_first(&m, &config, &routes[0], 1000 + MEMORY_GOOD_MS), 0);
	/* It fails, the next one works. */
	memory_worked(&m, &config, &routes[0], 2, 500000);
	memory_worked(&m, &config, &routes[0], 1, 500001);
	assert_int_equal(memory_first(&m, &config, &routes[0], 500002), 1);
	memory_worked(&m, &config, &routes[0], 0, 500003);
	assert_int_equal(memory_first(&m, &config, &routes[0], 500004), 0);
	memory_clear(&m);
	assert_int_equal(memory_first(&m, &config, &routes[0], 500004), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(turns_are_of_each_route),
		cmocka_unit_test(the_host_that_worked_comes_first_for_a_while),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
