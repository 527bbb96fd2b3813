/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "fq.h"

#define POOL 4096

static struct fq s;
static struct fq_unit pool[POOL];
static unsigned used;

static int fresh(void **state)
{
	(void)state;
	fq_init(&s);
	memset(pool, 0, sizeof(pool));
	used = 0;
	return 0;
}

static struct fq_unit *add(uint32_t flow, uint32_t bytes, uint64_t now)
{
	struct fq_unit *u = &pool[used++ % POOL];

	u->bytes = bytes;
	fq_add(&s, u, flow, now);
	return u;
}

/* Gives out one whole unit; its flow, or -1. */
static int serve(uint64_t now, bool *mark)
{
	bool m;
	struct fq_unit *u = fq_next(&s, now, &m);

	if (mark)
		*mark = m;
	if (!u)
		return -1;
	fq_took(&s, u, u->bytes, true);
	return u->flow;
}

/* Where all wait for the same rate, who has little would else wait for everybody's turn. */
static void one_that_had_just_come_when_it_was_parked_goes_first_after_it(void **state)
{
	bool m;

	(void)state;
	for (int i = 0; i < 20; i++)
		add(1, 65000, 0), add(2, 65000, 0);
	for (int i = 0; i < 4; i++)
		serve(0, NULL);
	for (int i = 0; i < 2; i++)
		fq_park(&s, fq_next(&s, 5, &m), 500);
	add(9, 100, 5);
	fq_park(&s, fq_next(&s, 10, &m), 500);
	assert_null(fq_next(&s, 499, &m));
	assert_int_equal(9, serve(500, NULL));
}

static void one_that_has_just_come_goes_first(void **state)
{
	(void)state;
	for (int i = 0; i < 20; i++)
		add(1, 65000, 0), add(2, 65000, 0);
	for (int i = 0; i < 4; i++)
		serve(0, NULL);
	add(9, 100, 5);
	assert_int_equal(9, serve(10, NULL));
	/* And not again and again: what it sends on is in turn once it has had its quantum. */
	for (int i = 0; i < 1000; i++)
		add(9, 1500, 10);
	int mine = 0;
	for (int i = 0; i < 100; i++)
		mine += serve(10, NULL) == 9;
	assert_in_range(mine, 1, 99);
}

static void flows_get_as_many_bytes_whatever_their_units(void **state)
{
	uint64_t got[3] = { 0 };
	bool m;

	(void)state;
	for (int i = 0; i < 40; i++)
		add(0, 65000, 0);
	for (int i = 0; i < 1700; i++)
		add(1, 1500, 0), add(2, 1200, 0);
	for (int i = 0; i < 1000; i++) {
		struct fq_unit *u = fq_next(&s, 0, &m);

		got[u->flow] += u->bytes;
		fq_took(&s, u, u->bytes, true);
	}
	for (int i = 1; i < 3; i++)
		assert_in_range(got[i], got[0] - 65000 - FQ_QUANTUM, got[0] + 65000 + FQ_QUANTUM);
}

static void a_short_queue_is_never_marked_and_a_standing_one_is(void **state)
{
	unsigned marks = 0;
	bool m;

	(void)state;
	/* Two units that always wait a little less than the target. */
	add(1, 1000, 0);
	for (uint64_t t = 0; t < 1000000; t += 500) {
		add(1, 1000, t);
		serve(t + FQ_TARGET_US - 1500, &m);
		marks += m;
	}
	assert_int_equal(0, marks);
	fresh(NULL);
	/* Eight units at one a millisecond: each waits 8 ms. */
	for (int i = 0; i < 8; i++)
		add(1, 1000, 0);
	unsigned at[4] = { 0 };
	for (uint64_t t = 1000; t < 1000000; t += 1000) {
		add(1, 1000, t);
		serve(t, &m);
		at[t / 250000] += m;
	}
	/* None before the interval is over; and the longer it stands, the more. */
	assert_in_range(at[0], 1, 10);
	assert_true(at[3] > at[0]);
}

/* Its caller applies the mark at once, and the queue behind it is told once for each unit that leaves. */
static void one_that_is_parked_again_and_again_is_marked_once(void **state)
{
	struct fq_unit *u;
	unsigned marks = 0;
	bool m;

	(void)state;
	u = add(1, 1000, 0);
	add(1, 1000, 0);
	for (uint64_t t = 0; t < 1000000; t += 10000) {
		assert_ptr_equal(u, fq_next(&s, t, &m));
		marks += m;
		fq_park(&s, u, t + 10000);
	}
	assert_int_equal(1, marks);
	assert_int_equal(1, s.marks);
}

static void one_unit_alone_is_no_queue(void **state)
{
	bool m;

	(void)state;
	for (uint64_t t = 0; t < 1000000; t += 20000) {
		add(1, 65000, t);
		assert_int_equal(1, serve(t + 15000, &m));
		assert_false(m);
	}
}

static void the_fattest_flow_loses_its_oldest_unit(void **state)
{
	struct fq_unit *fat, *second;
	bool m;

	(void)state;
	assert_null(fq_evict(&s, 0));
	for (int i = 0; i < 100; i++)
		add(1, 100, 0);
	fat = add(2, 65000, 0);
	second = add(2, 65000, 0);
	add(2, 1000, 7);
	assert_ptr_equal(fat, fq_evict(&s, 0));
	/* One that has left in part stays, or its rest would be another's. */
	while (fq_next(&s, 0, &m) != second)
		serve(0, NULL);
	fq_took(&s, second, 30000, false);
	add(2, 10000, 0);
	fat = add(2, 20000, 0);
	assert_null(fq_evict(&s, 6));
	assert_int_equal(1000, fq_evict(&s, 7)->bytes);
	assert_int_equal(10000, fq_evict(&s, UINT64_MAX)->bytes);
	assert_ptr_equal(fat, fq_evict(&s, UINT64_MAX));
	while (s.units > 1)
		assert_non_null(fq_evict(&s, UINT64_MAX));
	assert_null(fq_evict(&s, UINT64_MAX));
	assert_ptr_equal(second, fq_next(&s, 0, &m));
	assert_int_equal(35000, second->bytes);
	fq_took(&s, second, 35000, true);
	assert_int_equal(0, s.units);
	assert_int_equal(0, s.bytes);
	assert_null(fq_next(&s, 0, &m));
}

static void a_parked_flow_waits_and_nobody_else(void **state)
{
	struct fq_unit *u;
	bool m;

	(void)state;
	add(1, 1000, 0);
	add(1, 1000, 0);
	u = fq_next(&s, 10, &m);
	assert_int_equal(1, u->flow);
	fq_park(&s, u, 500);
	assert_false(fq_ready(&s, 499));
	assert_null(fq_next(&s, 499, &m));
	assert_int_equal(500, s.wake_us);
	add(1, 1000, 100); /* goes behind those that wait */
	assert_null(fq_next(&s, 499, &m));
	add(2, 1000, 100);
	assert_int_equal(2, serve(200, NULL));
	assert_true(fq_ready(&s, 500));
	assert_ptr_equal(u, fq_next(&s, 500, &m));
	for (int i = 0; i < 3; i++)
		assert_int_equal(1, serve(500, NULL));
	assert_int_equal(-1, serve(500, NULL));
	assert_true(s.wake_us == UINT64_MAX);
}

/*
 * Sources that go as TCP does (a window that grows by one packet a round trip and is halved at a mark) share a
 * line that takes 100 MB a second: their queue stays short, the line full, and a ping waits for no queue.
 */
/* Else who asks would come back at once, again and again, until there is something to send. */
static void with_the_last_unit_gone_it_is_not_ready(void **state)
{
	(void)state;
	add(1, 65000, 0);
	assert_true(fq_ready(&s, 0));
	serve(0, NULL);
	assert_int_equal(s.units, 0);
	assert_false(fq_ready(&s, 0));
	add(2, 100, 1);
	assert_true(fq_ready(&s, 1));
	assert_int_equal(serve(1, NULL), 2);
	assert_int_equal(serve(1, NULL), -1);
	assert_false(fq_ready(&s, 1));
}

static void sources_that_listen_leave_a_short_queue(void **state)
{
	enum { SOURCES = 4, RTT_US = 20000, UNIT = 15000, LINE = 150 }; /* us for a unit */
	struct { double window; unsigned out; uint64_t back[8192]; unsigned head, tail; } *src = calloc(SOURCES, sizeof(*src));
	uint64_t worst_ping = 0, dwell_sum = 0, dwell_n = 0, left = 0, ping_at = 0;
	bool m, ping = false;

	(void)state;
	assert_non_null(src);
	for (int i = 0; i < SOURCES; i++)
		src[i].window = 10;
	for (uint64_t t = 0; t < 20000000; t += LINE) {
		struct fq_unit *u;

		for (int i = 0; i < SOURCES; i++) {
			while (src[i].head != src[i].tail && src[i].back[src[i].head % 8192] <= t) {
				src[i].head++;
				src[i].out--;
				src[i].window += 1 / src[i].window;
			}
			while (src[i].out < (unsigned)src[i].window && s.units < 2000)
				add((uint32_t)i, UNIT, t), src[i].out++;
		}
		if (!ping && t % 10050 == 0)
			add(99, 100, t), ping = true, ping_at = t;
		u = fq_next(&s, t, &m);
		if (!u)
			continue;
		if (u->flow == 99) {
			if (t > 5000000 && t - ping_at > worst_ping)
				worst_ping = t - ping_at;
			ping = false;
		} else {
			unsigned i = u->flow;

			if (t > 5000000) {
				dwell_sum += t - u->at_us;
				dwell_n++;
				left += UNIT;
			}
			if (m)
				src[i].window = src[i].window > 4 ? src[i].window / 2 : 2;
			src[i].back[src[i].tail++ % 8192] = t + RTT_US;
		}
		fq_took(&s, u, u->bytes, true);
	}
	free(src);
	assert_true(worst_ping <= 2 * LINE);
	assert_true(dwell_sum / dwell_n < 4 * FQ_TARGET_US);
	assert_true(left > 15ull * 100000000 * 8 / 10); /* of 15 seconds at 100 MB a second */
}

static void nothing_is_lost_and_each_flow_keeps_its_order(void **state)
{
	uint64_t last[FQ_FLOWS] = { 0 }, now = 1;
	unsigned in = 0, out = 0;
	bool m;

	(void)state;
	srand(7);
	for (int i = 0; i < 300000; i++, now += 1 + (uint64_t)rand() % 50) {
		int what = rand() % 10;

		if (what < 5 && s.units < POOL - 1) {
			struct fq_unit *u;

			do
				u = &pool[used++ % POOL];
			while (u->at_us);
			u->bytes = 1 + (uint32_t)rand() % 65000;
			fq_add(&s, u, (uint32_t)rand() % 5000, now);
			in++;
		} else if (what == 9 && rand() % 20 == 0) {
			struct fq_unit *u = fq_evict(&s, UINT64_MAX);

			if (u)
				u->at_us = 0, out++;
		} else {
			struct fq_unit *u = fq_next(&s, now, &m);
			bool all = rand() % 3;

			if (!u)
				continue;
			assert_true(u->at_us >= last[u->flow]);
			last[u->flow] = u->at_us;
			all |= u->bytes < 2;
			fq_took(&s, u, all ? u->bytes : u->bytes / 2, all);
			if (all)
				u->at_us = 0, out++;
		}
	}
	while (fq_next(&s, now, &m))
		serve(now, NULL), out++;
	assert_int_equal(in, out);
	assert_int_equal(0, s.bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(one_that_has_just_come_goes_first, fresh),
		cmocka_unit_test_setup(one_that_had_just_come_when_it_was_parked_goes_first_after_it, fresh),
		cmocka_unit_test_setup(flows_get_as_many_bytes_whatever_their_units, fresh),
		cmocka_unit_test_setup(a_short_queue_is_never_marked_and_a_standing_one_is, fresh),
		cmocka_unit_test_setup(one_that_is_parked_again_and_again_is_marked_once, fresh),
		cmocka_unit_test_setup(one_unit_alone_is_no_queue, fresh),
		cmocka_unit_test_setup(a_parked_flow_waits_and_nobody_else, fresh),
		cmocka_unit_test_setup(the_fattest_flow_loses_its_oldest_unit, fresh),
		cmocka_unit_test_setup(with_the_last_unit_gone_it_is_not_ready, fresh),
		cmocka_unit_test_setup(sources_that_listen_leave_a_short_queue, fresh),
		cmocka_unit_test_setup(nothing_is_lost_and_each_flow_keeps_its_order, fresh),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
