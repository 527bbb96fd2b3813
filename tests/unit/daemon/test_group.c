/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "group.h"

static struct group g;
static enum group_state state[GROUP_MAX];
static uint64_t now;

static void pass(uint64_t ms)
{
	uint64_t end = now + ms, due;

	for (;; now = due) {
		due = group_step(&g, state, now);
		assert_true(due > now);
		if (due > end)
			break;
	}
	now = end;
	(void)group_step(&g, state, now);
}

static void begin(size_t count, bool all)
{
	now = 1000000;
	for (size_t i = 0; i < GROUP_MAX; i++)
		state[i] = GROUP_DOWN;
	group_init(&g, count, all, now);
}

static void the_preferred_one_is_called_first_and_alone(void **s)
{
	(void)s;
	begin(3, false);
	pass(1000);
	assert_true(g.want[0] && !g.want[1] && !g.want[2]);
	state[0] = GROUP_UP;
	pass(3600000);
	assert_true(g.active == 0 && !g.want[1] && !g.want[2]);
}

static void at_a_start_without_the_preferred_one_the_others_follow(void **s)
{
	(void)s;
	begin(3, false);
	pass(GROUP_PATIENCE_MS);
	assert_true(g.want[0] && g.want[1] && !g.want[2]);
	pass(GROUP_PATIENCE_MS);
	assert_true(g.want[2]);
	state[2] = GROUP_UP;
	pass(1000);
	assert_int_equal(g.active, 2);
	assert_true(g.want[0] && g.want[1]); /* who is better is called on */
}

static void a_silent_one_is_followed_at_once(void **s)
{
	(void)s;
	begin(2, false);
	state[0] = GROUP_UP;
	pass(60000);
	state[0] = GROUP_SHAKY;
	pass(1000);
	assert_true(g.active == 0 && g.want[1]); /* called, but it does not answer yet */
	state[1] = GROUP_UP;
	pass(500);
	assert_int_equal(g.active, 1);
	assert_true(g.want[0]);
}

static void with_all_up_nothing_is_waited_for(void **s)
{
	(void)s;
	begin(2, true);
	assert_true(g.want[0] && g.want[1]);
	state[0] = state[1] = GROUP_UP;
	pass(60000);
	assert_int_equal(g.active, 0);
	state[0] = GROUP_SHAKY;
	(void)group_step(&g, state, now);
	assert_int_equal(g.active, 1);
	pass(60000);
	assert_true(g.want[0] && g.want[1]);
}

static void back_to_the_preferred_one_only_when_it_stays(void **s)
{
	(void)s;
	begin(2, false);
	state[1] = GROUP_UP;
	pass(60000);
	assert_int_equal(g.active, 1);
	for (int i = 0; i < 10; i++) { /* it comes and goes: the traffic does not */
		state[0] = GROUP_UP;
		pass(GROUP_RETURN_MS - 2000);
		state[0] = GROUP_DOWN;
		pass(2000);
		assert_int_equal(g.active, 1);
	}
	state[0] = GROUP_UP;
	pass(GROUP_RETURN_MS + 1000);
	assert_int_equal(g.active, 0);
}

static void who_carried_stays_until_the_better_one_is_settled(void **s)
{
	(void)s;
	begin(2, false);
	state[1] = GROUP_UP;
	pass(GROUP_PATIENCE_MS);
	state[0] = GROUP_UP;
	pass(GROUP_RETURN_MS);
	assert_int_equal(g.active, 0);
	pass(2000);
	assert_false(g.want[1]);
	state[1] = GROUP_DOWN;
	state[0] = GROUP_SHAKY; /* and is called again when that one fails */
	pass(1000);
	assert_true(g.want[1]);
}

static void nobody_answers_and_nothing_changes(void **s)
{
	(void)s;
	begin(2, false);
	state[0] = GROUP_UP;
	pass(1000);
	state[0] = GROUP_DOWN;
	pass(24ull * 3600 * 1000);
	assert_int_equal(g.active, 0);
	assert_true(g.want[0] && g.want[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_preferred_one_is_called_first_and_alone),
		cmocka_unit_test(at_a_start_without_the_preferred_one_the_others_follow),
		cmocka_unit_test(a_silent_one_is_followed_at_once),
		cmocka_unit_test(with_all_up_nothing_is_waited_for),
		cmocka_unit_test(back_to_the_preferred_one_only_when_it_stays),
		cmocka_unit_test(who_carried_stays_until_the_better_one_is_settled),
		cmocka_unit_test(nobody_answers_and_nothing_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
