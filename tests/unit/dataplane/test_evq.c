/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "evq.h"

static void evq_keeps_order_and_bytes_across_the_wrap(void **state)
{
	uint8_t data[3000];
	struct dp_event ev;
	struct evq q;

	(void)state;
	assert_int_equal(evq_init(&q, 65536), 0);
	for (unsigned i = 0, out = 0; i < 5000; i++) {
		size_t len = (i * 37) % sizeof(data);

		memset(data, (int)i, len);
		ev = (struct dp_event){ .kind = DP_EV_IKE, .peer = i, .data = data, .len = len };
		assert_true(evq_push(&q, &ev));
		if (i % 3 == 0)
			continue;
		while (evq_pop(&q, &ev)) {
			assert_int_equal(ev.peer, out);
			assert_int_equal(ev.len, (out * 37) % sizeof(data));
			for (size_t k = 0; k < ev.len; k++)
				assert_int_equal(ev.data[k], (uint8_t)out);
			out++;
		}
	}
	evq_free(&q);
}

static void evq_overflow_refuses_ike_before_events(void **state)
{
	uint8_t data[1000] = { 0 };
	struct dp_event ike = { .kind = DP_EV_IKE, .data = data, .len = sizeof(data) };
	struct dp_event small = { .kind = DP_EV_ENDPOINT, .peer = 7 }, ev;
	unsigned ikes = 0, smalls = 0, i;
	struct evq q;

	(void)state;
	assert_int_equal(evq_init(&q, 65536), 0);
	while (evq_push(&q, &ike))
		ikes++;
	assert_true(ikes > 30);
	while (evq_push(&q, &small))
		smalls++;
	assert_true(smalls > 50);
	/* Full to the brim; nothing that was accepted is lost or changed. */
	for (i = 0; i < ikes + smalls; i++) {
		assert_true(evq_pop(&q, &ev));
		assert_int_equal(ev.kind, i < ikes ? DP_EV_IKE : DP_EV_ENDPOINT);
	}
	assert_false(evq_pop(&q, &ev));
	assert_true(evq_push(&q, &ike));
	assert_true(evq_pop(&q, &ev));
	evq_free(&q);
}

static void evq_has_room_for_others_when_forged_openings_fill_it(void **state)
{
	uint8_t data[500] = { 0 };
	struct dp_event ike = { .kind = DP_EV_IKE, .data = data, .len = sizeof(data) }, ev;
	struct dp_event opening = ike;
	unsigned openings = 0, others = 0;
	struct evq q;

	(void)state;
	opening.opening = true;
	assert_int_equal(evq_init(&q, 65536), 0);
	while (evq_push(&q, &opening))
		openings++;
	while (evq_push(&q, &ike))
		others++;
	assert_true(openings > 30);
	assert_true(others > 20);
	/* The reader takes half of them: there is room for others, not for more of the same. */
	for (unsigned i = 0; i < openings / 2; i++)
		assert_true(evq_pop(&q, &ev));
	assert_false(evq_push(&q, &opening));
	assert_true(evq_push(&q, &ike));
	evq_free(&q);
}

static void evq_record_stays_valid_until_the_next_pop(void **state)
{
	uint8_t data[30000];
	struct dp_event ev = { .kind = DP_EV_IKE, .data = data, .len = sizeof(data) }, got;
	struct evq q;

	(void)state;
	memset(data, 0xaa, sizeof(data));
	assert_int_equal(evq_init(&q, 65536), 0);
	assert_true(evq_push(&q, &ev));
	assert_true(evq_pop(&q, &got));
	memset(data, 0xbb, sizeof(data));
	while (evq_push(&q, &ev))
		;
	assert_int_equal(got.data[0], 0xaa);
	assert_int_equal(got.data[29999], 0xaa);
	evq_free(&q);
}

static void evq_refuses_odd_sizes(void **state)
{
	struct evq q;

	(void)state;
	assert_int_not_equal(evq_init(&q, 1024), 0);
	assert_int_not_equal(evq_init(&q, 65537), 0);
}

static void *writer(void *arg)
{
	struct evq *q = arg;

	for (uint32_t i = 0; i < 20000;) {
		struct dp_event ev = {
			.kind = DP_EV_ICMP, .peer = i, .data = (uint8_t *)&i, .len = i % 4 + 1
		};

		if (evq_push(q, &ev))
			i++;
	}
	return NULL;
}

static void evq_carries_between_threads(void **state)
{
	struct dp_event ev;
	struct evq q;
	pthread_t t;

	(void)state;
	assert_int_equal(evq_init(&q, 65536), 0);
	pthread_create(&t, NULL, writer, &q);
	for (uint32_t i = 0; i < 20000;) {
		if (!evq_pop(&q, &ev))
			continue;
		assert_int_equal(ev.peer, i);
		assert_memory_equal(ev.data, &i, ev.len);
		i++;
	}
	pthread_join(t, NULL);
	evq_free(&q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(evq_keeps_order_and_bytes_across_the_wrap),
		cmocka_unit_test(evq_overflow_refuses_ike_before_events),
		cmocka_unit_test(evq_has_room_for_others_when_forged_openings_fill_it),
		cmocka_unit_test(evq_record_stays_valid_until_the_next_pop),
		cmocka_unit_test(evq_refuses_odd_sizes),
		cmocka_unit_test(evq_carries_between_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
