/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#include "line.h"

#define MBIT 125000 /* bytes a second */

/* Full, then @bytes taken, then full again @us later. */
static bool window(struct line *l, uint64_t *now, uint64_t us, size_t bytes)
{
	*now += us;
	line_took(l, bytes, bytes, *now);
	return line_full(l, *now);
}

static void it_is_as_fast_as_what_it_took_between_two_times_it_was_full(void **state)
{
	struct line l = { 0 };
	uint64_t now = 5000000;

	(void)state;
	line_took(&l, 1000000, 1000000, now); /* into an empty buffer: says nothing */
	assert_false(line_full(&l, now));
	assert_int_equal(0, line_portion(&l));
	assert_true(window(&l, &now, 20000, 50000));
	assert_int_equal(20 * MBIT, l.rate);
	assert_int_equal(6250, line_portion(&l));
	assert_int_equal(12500, line_buffer(&l));
}

static void a_short_window_goes_on(void **state)
{
	struct line l = { 0 };
	uint64_t now = 5000000;

	(void)state;
	line_full(&l, now);
	for (int i = 0; i < 7; i++)
		assert_false(window(&l, &now, 2500, 6250));
	assert_true(window(&l, &now, 2500, 6250));
	assert_int_equal(20 * MBIT, l.rate);
	/* Nor is one of few packets much to go by. */
	for (int i = 0; i < 5; i++)
		assert_false(window(&l, &now, 12000, 1500));
	assert_true(window(&l, &now, 12000, 1500));
	assert_int_equal(MBIT, l.rate);
}

static void time_without_anything_to_send_is_not_counted(void **state)
{
	struct line l = { 0 };
	uint64_t now = 5000000;

	(void)state;
	line_full(&l, now);
	line_idle(&l, now + 5000);
	assert_false(window(&l, &now, 500000, 50000));
	assert_int_equal(0, l.rate);
	/* The buffer outlasts a short one. */
	line_idle(&l, now + 5000);
	line_took(&l, 10000, 10000, now + 6000);
	line_idle(&l, now + 10000);
	line_took(&l, 10000, 10000, now + 11000);
	assert_true(window(&l, &now, 20000, 30000));
	assert_int_equal(20 * MBIT, l.rate);
}

static void nor_is_what_filled_another_buffer(void **state)
{
	struct line l = { 0 };
	uint64_t now = 5000000;

	(void)state;
	line_full(&l, now);
	line_resized(&l);
	assert_false(window(&l, &now, 50000, 9000));
	assert_true(window(&l, &now, 20000, 50000));
	assert_int_equal(20 * MBIT, l.rate);
}

static void chance_is_smoothed_and_another_line_is_not(void **state)
{
	struct line l = { 0 };
	uint64_t now = 5000000;

	(void)state;
	line_full(&l, now);
	window(&l, &now, 20000, 50000);
	window(&l, &now, 20000, 58000);
	assert_int_equal(2600000, l.rate);
	window(&l, &now, 20000, 500000);
	assert_int_equal(200 * MBIT, l.rate);
	window(&l, &now, 80000, 10000);
	assert_int_equal(MBIT, l.rate);
}

static void one_that_is_not_full_for_long_is_tried_faster_step_by_step(void **state)
{
	struct line l = { 0 };
	uint64_t now = 5000000;
	int steps = 0;

	(void)state;
	assert_false(line_doubt(&l, now));
	line_full(&l, now);
	window(&l, &now, 80000, 10000);
	assert_false(line_doubt(&l, now + 999999));
	assert_true(line_doubt(&l, now += 1000000));
	assert_int_equal(2 * MBIT, l.rate);
	assert_false(line_doubt(&l, now + 1));
	while (line_doubt(&l, now += 60000000))
		steps++;
	assert_int_equal(7, steps); /* 4, 8 ... 128, and then it is not slow */
	assert_int_equal(0, line_portion(&l));
	assert_int_equal(0, line_buffer(&l));
}

static void a_portion_is_a_packet_at_least_and_of_a_fast_one_everything(void **state)
{
	struct line l = { 0 };
	uint64_t now = 5000000;

	(void)state;
	line_full(&l, now);
	window(&l, &now, 1000000, 9000);
	assert_int_equal(LINE_PACKET, line_portion(&l));
	assert_int_equal(LINE_BUFFER_LEAST, line_buffer(&l));
	window(&l, &now, 20000, 25000000);
	assert_int_equal(0, line_portion(&l));
	assert_int_equal(6250000, line_buffer(&l));
}

/* A kernel's send buffer before a line; packets of 1400 bytes take 2304 of it. */
struct wire {
	struct line l;
	size_t buffer, bytes, taken; /* in it */
	uint64_t sent, moved;
};

static void moves(struct wire *w, uint64_t rate, uint64_t us)
{
	size_t n = rate * us / 1000000;

	if (n > w->bytes)
		n = w->bytes;
	w->taken -= w->bytes ? w->taken * n / w->bytes : 0;
	w->bytes -= n;
	w->moved += n;
}

static uint64_t worst; /* microseconds that a packet waits in it */

static void runs(struct wire *w, uint64_t *now, uint64_t rate, unsigned ms)
{
	bool blocked = w->taken >= w->buffer;

	worst = 0;
	for (unsigned i = 0; i < ms * 25 / 2; i++, *now += 80) {
		size_t portion = line_portion(&w->l), want;

		moves(w, rate, 80);
		if (blocked && w->taken >= w->buffer / 2)
			continue;
		blocked = false;
		portion = portion ? portion : 64400;
		while (w->taken < w->buffer) {
			size_t cost = portion < 2800 ? 2304 : portion + portion / 8;

			w->bytes += portion;
			w->taken += cost;
			line_took(&w->l, portion, portion + LINE_SEND_COST, *now);
		}
		blocked = true;
		if (w->bytes * 1000000 / rate > worst)
			worst = w->bytes * 1000000 / rate;
		if (!line_full(&w->l, *now))
			continue;
		want = line_buffer(&w->l);
		want = want ? want : 212992;
		if (want > w->buffer * 5 / 4 || want < w->buffer * 3 / 4) {
			w->buffer = want;
			line_resized(&w->l);
		}
	}
}

static void a_line_stays_full_with_little_before_it(void **state)
{
	static const unsigned mbit[] = { 1, 20, 3, 100, 5, 1000, 20 };
	struct wire w = { .buffer = 212992 };
	uint64_t now = 5000000;

	(void)state;
	for (size_t i = 0; i < sizeof(mbit) / sizeof(mbit[0]); i++) {
		uint64_t rate = (uint64_t)mbit[i] * MBIT, before;

		runs(&w, &now, rate, 20000); /* the new speed is found */
		before = w.moved;
		runs(&w, &now, rate, 2000);
		assert_in_range(w.moved - before, rate * 2 * 98 / 100, rate * 2);
		/* Three packets are the least; with more, the buffer and a portion. */
		assert_in_range(worst, 0, mbit[i] < 10 ? 3 * 1500 * 1000000ull / rate + 8000 : 8000);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_as_fast_as_what_it_took_between_two_times_it_was_full),
		cmocka_unit_test(a_short_window_goes_on),
		cmocka_unit_test(time_without_anything_to_send_is_not_counted),
		cmocka_unit_test(nor_is_what_filled_another_buffer),
		cmocka_unit_test(chance_is_smoothed_and_another_line_is_not),
		cmocka_unit_test(one_that_is_not_full_for_long_is_tried_faster_step_by_step),
		cmocka_unit_test(a_portion_is_a_packet_at_least_and_of_a_fast_one_everything),
		cmocka_unit_test(a_line_stays_full_with_little_before_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
