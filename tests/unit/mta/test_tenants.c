/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Homes at one edge: what befalls one of them, over days, is not the other's affair. */
#include "queue_hand.h"

#define DAY_MS 86400000ull
#define SMALL  700

/* As the loop would: once a second there, once in a while here. */
static void later(struct hand *h, uint64_t ms)
{
	h->now_ms += ms;
	store_tick(h->q.store, h->now_ms);
	finish_expired(&h->q, h->now_ms);
	hand_settle(h);
	accept_state(&h->q);
	hand_settle(h);
}

/* Letters of @len for home @i until smtpd is told to say 452; how many. */
static uint32_t flood(struct hand *h, uint32_t i, uint32_t from, size_t len, uint32_t most)
{
	char rcpt[32];
	uint32_t n = 0;

	snprintf(rcpt, sizeof(rcpt), "a@h%u.example", i);
	for (; n < most && !h->full[i]; n++) {
		hand_store(h, from + n, rcpt, len, false);
		hand_settle(h);
		assert_int_equal(h->code[from + n], 250);
		if (n % 8 == 0)
			later(h, 1000);
	}
	return n;
}

/* It reached its home: what the relay's answer makes of it. */
static void delivered(struct hand *h, uint32_t txn)
{
	struct store_change *c = store_begin(h->q.store);
	uint8_t id[LETTER_ID_LEN];
	struct letter *l;

	hand_id(txn, id);
	l = store_find(h->q.store, id);
	assert_non_null(l);
	store_put_rcpt(c, l, 0, RCPT_DELIVERED, 1, "250");
	finish_letter(&h->q, c, l, false);
	assert_int_equal(store_commit(c, true, NULL), 0);
	hand_settle(h);
}

static void twenty_days_down_under_a_flood_leave_the_other_home_alone(void **state)
{
	struct hand *h = hand_new(1, 2);
	uint32_t n, next = 1, days, refused = 0;

	(void)state;
	h->config.homes[0].queue_max_bytes = h->config.homes[1].queue_max_bytes = 1 << 20;
	assert_int_equal(hand_start(h), 0);
	n = flood(h, 0, next, SMALL, 1500);
	next += n;
	/* Small letters count for what they cost. */
	assert_in_range(n, (1 << 20) / (SMALL + SCHEDULE_LETTER_BYTES),
			(1 << 20) / (SMALL + SCHEDULE_LETTER_BYTES) + 16);
	for (days = 0; days < 20; days++) {
		assert_true(h->full[0]);
		assert_false(h->full[1]);
		assert_true(h->accepting);
		assert_int_equal(store_count(h->q.store, LETTER_QUEUED), n);
		assert_int_equal(store_count(h->q.store, LETTER_DEAD), 0);
		hand_store(h, next, "b@h1.example", SMALL, false);
		hand_settle(h);
		assert_int_equal(h->code[next], 250);
		delivered(h, next++);
		refused += h->full[0];
		for (int hour = 0; hour < 24; hour++)
			later(h, DAY_MS / 24);
	}
	assert_int_equal(refused, 20);
	/* Their time is over: kept for the admin, no outsider hears of it, and the home is taken for again. */
	later(h, DAY_MS);
	assert_int_equal(store_count(h->q.store, LETTER_QUEUED), 0);
	assert_int_equal(store_count(h->q.store, LETTER_DEAD), n);
	assert_false(h->full[0]);
	hand_store(h, next, "a@h0.example", SMALL, false);
	hand_settle(h);
	assert_int_equal(h->code[next], 250);
	hand_free(h);
}

static void a_full_home_is_told_again_after_a_restart(void **state)
{
	struct hand *h = hand_new(2, 2);

	(void)state;
	h->config.homes[0].queue_max_bytes = 1 << 20;
	assert_int_equal(hand_start(h), 0);
	flood(h, 0, 1, SMALL, 1500);
	assert_true(h->full[0]);
	hand_die(h, false);
	h->full[0] = false;
	assert_int_equal(hand_start(h), 0);
	later(h, 1000);
	assert_true(h->full[0]);
	assert_false(h->full[1]);
	hand_free(h);
}

/* No queue-max keeps a flood from a disk that is smaller. */
static void homes_that_nobody_empties_leave_disk_for_the_others(void **state)
{
	struct hand *h = hand_new(3, 3);
	const size_t len = 60000;
	uint32_t n[3], next = 1;
	struct vfs_space sp;
	uint64_t used;

	(void)state;
	for (int i = 0; i < 3; i++)
		h->config.homes[i].queue_max_bytes = 1ull << 40;
	assert_int_equal(hand_start(h), 0);
	h->disk->space = UINT64_MAX / 4;
	HAND_VFS->space(HAND_VFS, &sp);
	used = UINT64_MAX / 4 - sp.bytes;
	h->disk->space = used + (32 << 20);
	later(h, 1000);
	for (uint32_t i = 0; i < 3; i++) {
		n[i] = flood(h, i, next, len, 600);
		next += n[i];
		later(h, 1000);
		assert_true(h->full[i]);
		assert_true(h->accepting);
	}
	/* The first has half of it, each further one half of what is left, some segments aside. */
	assert_in_range(n[0] * len, 14 << 20, 17 << 20);
	assert_in_range(n[1] * len, 6 << 20, 9 << 20);
	assert_in_range(n[2] * len, 3 << 20, 5 << 20);
	hand_free(h);
}

static void a_flood_of_dead_letters_takes_no_other_home_s(void **state)
{
	struct hand *h = hand_new(4, 2);
	const uint32_t few = 5, many = HAND_LETTERS - 1 - few;
	uint8_t id[LETTER_ID_LEN];

	(void)state;
	assert_int_equal(hand_start(h), 0);
	assert_int_equal(flood(h, 1, 1, SMALL, few), few); /* the oldest of all */
	assert_int_equal(flood(h, 0, 1 + few, SMALL, many), many);
	assert_true(few + many > QUEUE_DEAD_MAX);
	for (int day = 0; day < 22; day++)
		later(h, DAY_MS);
	assert_int_equal(store_count(h->q.store, LETTER_DEAD), QUEUE_DEAD_MAX);
	for (uint32_t i = 1; i <= few; i++) {
		hand_id(i, id);
		assert_non_null(store_find(h->q.store, id));
	}
	hand_id(1 + few, id); /* the flood's own oldest */
	assert_null(store_find(h->q.store, id));
	hand_free(h);
}

/* What came in one flood ends in one moment; who comes then does not wait until all of it is done with. */
static void many_that_expire_together_leave_turns_to_others(void **state)
{
	struct hand *h = hand_new(5, 2);
	const uint32_t many = 1000;
	size_t before, now = 0;
	struct store_change *c;
	struct letter *next;

	(void)state;
	assert_int_equal(hand_start(h), 0);
	assert_int_equal(flood(h, 0, 1, SMALL, many), many);
	h->now_ms += 21 * DAY_MS;
	store_tick(h->q.store, h->now_ms);
	finish_expired(&h->q, h->now_ms);
	hand_store(h, many + 1, "b@h1.example", SMALL, false);
	while (!h->code[many + 1]) {
		before = now;
		loop_once(h->ch.loop, 0);
		worker_step(h->q.worker);
		now = store_count(h->q.store, LETTER_DEAD);
		assert_true(now - before <= QUEUE_SWEEP_ENDS);
	}
	assert_int_equal(h->code[many + 1], 250);
	assert_true(now < many / 2);
	/* The very next one leaves. */
	next = h->q.sweep.walk.at;
	c = store_begin(h->q.store);
	finish_letter(&h->q, c, next, false);
	assert_int_equal(store_commit(c, true, NULL), 0);
	worker_drain(h->q.worker);
	assert_ptr_not_equal(h->q.sweep.walk.at, next);
	hand_settle(h);
	assert_int_equal(store_count(h->q.store, LETTER_DEAD), many - 1);
	assert_int_equal(store_count(h->q.store, LETTER_QUEUED), 1);
	hand_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(twenty_days_down_under_a_flood_leave_the_other_home_alone),
		cmocka_unit_test(a_full_home_is_told_again_after_a_restart),
		cmocka_unit_test(homes_that_nobody_empties_leave_disk_for_the_others),
		cmocka_unit_test(a_flood_of_dead_letters_takes_no_other_home_s),
		cmocka_unit_test(many_that_expire_together_leave_turns_to_others),
	};

	log_setup("test_tenants", LOG_LVL_ERR, -1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
