/* SPDX-License-Identifier: GPL-3.0-or-later */
/* After our own start: thousands that were here are called, a bounded number at a time. Time is faked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "recall.h"

#define MANY 10000

/* A machine that ends so many handshakes in a second, those first that were begun first. */
static struct {
	enum recall_state state[MANY];
	bool dead[MANY]; /* there is nobody any more */
	unsigned calls[MANY];
	uint32_t line[64 * MANY];
	size_t first, last;
	unsigned out, most, ups;
	uint64_t last_call_ms;
} f;

static void f_begin(void *arg, uint32_t peer, uint64_t now_ms)
{
	(void)arg;
	assert_int_equal(f.state[peer], RECALL_OVER);
	f.state[peer] = RECALL_SILENT;
	f.calls[peer]++;
	f.last_call_ms = now_ms;
	f.most = ++f.out > f.most ? f.out : f.most;
	assert_true(f.last < sizeof(f.line) / sizeof(*f.line));
	if (!f.dead[peer])
		f.line[f.last++] = peer;
}

static void f_end(void *arg, uint32_t peer)
{
	(void)arg;
	assert_int_equal(f.state[peer], RECALL_SILENT);
	f.state[peer] = RECALL_OVER;
	f.out--;
}

static enum recall_state f_state(void *arg, uint32_t peer)
{
	(void)arg;
	return f.state[peer];
}

static const struct recall_ops ops = { f_begin, f_end, f_state };

static void comes(uint32_t peer)
{
	f.out -= f.state[peer] == RECALL_SILENT || f.state[peer] == RECALL_ANSWERED;
	f.ups += f.state[peer] != RECALL_DONE;
	f.state[peer] = RECALL_DONE;
}

static struct recall begin(uint32_t count)
{
	struct recall r = { .ops = &ops };

	memset(&f, 0, sizeof(f));
	for (uint32_t i = 0; i < count; i++) {
		f.state[i] = RECALL_OVER;
		assert_int_equal(recall_add(&r, i, 200), 0);
	}
	return r;
}

/* Until @end_ms; returns when the last one had come, or @end_ms. */
static uint64_t run(struct recall *r, uint64_t from_ms, uint64_t end_ms, unsigned per_s, unsigned want)
{
	uint64_t due = from_ms, done = 0;

	for (uint64_t now = from_ms; now < end_ms; now += 20) {
		for (; done * 1000 < (now - from_ms) * per_s; done++) {
			/* Who gave way meanwhile is work that came to nothing. */
			if (f.first == f.last)
				continue;
			if (f.state[f.line[f.first]] == RECALL_SILENT)
				comes(f.line[f.first]);
			f.first++;
		}
		if (f.ups == want)
			return now;
		if (now >= due)
			due = recall_step(r, now);
	}
	return end_ms;
}

static void ten_thousand_are_back_in_20_s_on_a_quick_machine(void **state)
{
	struct recall r = begin(MANY);

	(void)state;
	assert_in_range(run(&r, 0, 60000, 1000, MANY), 18000, 22000);
	assert_true(f.most <= RECALL_OUT_MAX);
	assert_int_equal(recall_step(&r, 60000), UINT64_MAX);
}

/* A tenth of that: it takes ten times as long, nothing was done in vain, and none is lost. */
static void a_slow_machine_only_takes_longer(void **state)
{
	struct recall r = begin(MANY);

	(void)state;
	assert_in_range(run(&r, 0, 300000, 80, MANY), 120000, 130000);
	assert_int_equal(f.most, RECALL_OUT_MAX);
	for (uint32_t i = 0; i < MANY; i++)
		assert_int_equal(f.calls[i], 1);
	recall_clear(&r);
}

static void those_that_are_gone_give_way(void **state)
{
	struct recall r = begin(MANY);

	(void)state;
	for (uint32_t i = 0; i < MANY; i += 2)
		f.dead[i] = true;
	assert_true(run(&r, 0, 200000, 1000, MANY / 2) < 100000);
	assert_true(f.most <= RECALL_OUT_MAX);
	recall_clear(&r);
}

/* Half a day later it is there again, and is called within an hour; what is in vain gets rare. */
static void who_does_not_answer_is_called_again(void **state)
{
	struct recall r = begin(RECALL_OUT_MAX + 1);
	uint64_t due, now, at;

	(void)state;
	for (uint32_t i = 0; i <= RECALL_OUT_MAX; i++)
		f.dead[i] = true;
	for (now = 0, due = 0; now < 12 * 3600000ull; now = due > now ? due : now + 1) {
		/* The supervisor's own minute. */
		for (uint32_t i = 0; i <= RECALL_OUT_MAX && now - f.last_call_ms > 60000; i++)
			if (f.state[i] == RECALL_SILENT)
				f_end(NULL, i);
		due = recall_step(&r, now);
		assert_true(due != UINT64_MAX);
	}
	for (uint32_t i = 0; i <= RECALL_OUT_MAX; i++)
		assert_in_range(f.calls[i], 12, 24);
	f.dead[7] = false;
	for (at = now, f.first = f.last; f.first == f.last && now < at + 3700000;
	     now = due > now ? due : now + 1) {
		for (uint32_t i = 0; i <= RECALL_OUT_MAX && now - f.last_call_ms > 60000; i++)
			if (f.state[i] == RECALL_SILENT)
				f_end(NULL, i);
		due = recall_step(&r, now);
	}
	assert_true(f.first < f.last);
	/* Called by it, or taken out of the configuration: not called any more. */
	for (uint32_t i = 0; i <= RECALL_OUT_MAX; i++)
		comes(i);
	for (due = now; due != UINT64_MAX && now < at + 3 * 3600000ull; now = due)
		due = recall_step(&r, now);
	assert_int_equal(due, UINT64_MAX);
	assert_int_equal(r.count, 0);
}

/* Nobody waits: then it has its minute. And a handshake that goes on is not ended. */
static void who_keeps_nobody_waiting_does_not_give_way(void **state)
{
	struct recall r = begin(RECALL_OUT_MAX + 1);

	(void)state;
	for (uint32_t i = 0; i <= RECALL_OUT_MAX; i++)
		f.dead[i] = true;
	r.count = RECALL_OUT_MAX;
	(void)run(&r, 0, 59000, 1, MANY);
	assert_int_equal(f.out, RECALL_OUT_MAX);
	for (uint32_t i = 0; i < RECALL_OUT_MAX; i++)
		f.state[i] = i == 3 ? RECALL_SILENT : RECALL_ANSWERED;
	r.count++;
	(void)run(&r, 59000, 68000, 1, MANY);
	assert_int_equal(f.state[3], RECALL_OVER);
	assert_int_equal(f.calls[RECALL_OUT_MAX], 1);
	assert_int_equal(f.out, RECALL_OUT_MAX);
	recall_clear(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ten_thousand_are_back_in_20_s_on_a_quick_machine),
		cmocka_unit_test(a_slow_machine_only_takes_longer),
		cmocka_unit_test(those_that_are_gone_give_way),
		cmocka_unit_test(who_does_not_answer_is_called_again),
		cmocka_unit_test(who_keeps_nobody_waiting_does_not_give_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
