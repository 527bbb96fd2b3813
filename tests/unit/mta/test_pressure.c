/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pressure.c alone: the schedule, the store and smtpd are played here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "queue.h"

#define LETTERS 4

static struct letter letters[LETTERS];
static bool behind[LETTERS], gone[LETTERS];
static uint32_t answered[2 * LETTERS];
static size_t answers;
static struct queue q;

bool schedule_behind(const struct letter *l, uint64_t now_ms)
{
	(void)now_ms;
	return behind[l - letters];
}

struct letter *store_find(const struct store *s, const uint8_t id[static LETTER_ID_LEN])
{
	(void)s;
	return gone[id[0]] ? NULL : &letters[id[0]];
}

void accept_stored(struct queue *to, uint32_t txn, const uint8_t id[static LETTER_ID_LEN])
{
	assert_ptr_equal(to, &q);
	assert_int_equal(txn, 100u + id[0]);
	answered[answers++] = txn;
}

static int begin(void **state)
{
	(void)state;
	memset(&q, 0, sizeof(q));
	for (uint8_t i = 0; i < LETTERS; i++) {
		letters[i].id[0] = i;
		behind[i] = true;
		gone[i] = false;
	}
	answers = 0;
	q.loop = loop_new();
	assert_non_null(q.loop);
	pressure_init(&q);
	return 0;
}

static int end(void **state)
{
	(void)state;
	pressure_end(&q, false);
	loop_free(q.loop);
	return 0;
}

static void hold(size_t n)
{
	for (uint32_t i = 0; i < n; i++)
		assert_true(pressure_hold(&q, 100 + i, &letters[i]));
}

static void where_the_line_is_short_nobody_waits(void **state)
{
	(void)state;
	behind[0] = false;
	assert_false(pressure_hold(&q, 100, &letters[0]));
	pressure_release(&q);
	assert_int_equal(answers, 0); /* the caller's to give */
}

static void who_leaves_the_line_is_answered_and_those_behind_wait(void **state)
{
	(void)state;
	hold(3);
	pressure_release(&q);
	assert_int_equal(answers, 0);
	behind[0] = false;
	pressure_release(&q);
	assert_int_equal(answers, 1);
	gone[1] = true; /* sent and forgotten */
	behind[2] = false;
	pressure_release(&q);
	assert_int_equal(answers, 3);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(answered[i], 100 + i);
}

static void a_line_that_does_not_move_keeps_nobody(void **state)
{
	(void)state;
	hold(LETTERS);
	for (int i = 0; i < 6000 && answers < LETTERS; i++)
		assert_int_equal(loop_once(q.loop, 10), 0);
	assert_int_equal(answers, LETTERS);
	assert_int_equal(loop_once(q.loop, 0), 0);
	assert_int_equal(answers, LETTERS); /* once each */
}

static void at_an_orderly_end_all_are_answered(void **state)
{
	(void)state;
	hold(LETTERS);
	pressure_end(&q, true);
	assert_int_equal(answers, LETTERS);
}

static void who_is_gone_is_told_nothing(void **state)
{
	(void)state;
	hold(LETTERS);
	pressure_end(&q, false);
	for (int i = 0; i < LETTERS; i++)
		behind[i] = false;
	pressure_release(&q);
	assert_int_equal(answers, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(where_the_line_is_short_nobody_waits, begin, end),
		cmocka_unit_test_setup_teardown(
		    who_leaves_the_line_is_answered_and_those_behind_wait, begin, end),
		cmocka_unit_test_setup_teardown(a_line_that_does_not_move_keeps_nobody, begin, end),
		cmocka_unit_test_setup_teardown(at_an_orderly_end_all_are_answered, begin, end),
		cmocka_unit_test_setup_teardown(who_is_gone_is_told_nothing, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
