/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>

#include "replay.h"

#define W 4096u

/* What a receiver does with a number that authenticates. */
static enum replay_result take(struct replay *r, uint64_t seq)
{
	enum replay_result res = replay_check(r, seq);

	if (res == REPLAY_NEW)
		replay_commit(r, seq);
	return res;
}

struct step {
	uint64_t seq;
	enum replay_result want;
};

static void run(uint32_t window, const struct step *s, size_t n)
{
	struct replay *r = replay_new(window, true);

	assert_non_null(r);
	for (size_t i = 0; i < n; i++) {
		enum replay_result got = take(r, s[i].seq);

		if (got != s[i].want)
			fail_msg("step %zu, number %llu: got %d, want %d", i + 1,
				 (unsigned long long)s[i].seq, got, s[i].want);
	}
	replay_free(r);
}
#define RUN(w, steps) run((w), (steps), sizeof(steps) / sizeof((steps)[0]))

static void ike_case_100_the_window_at_its_boundaries(void **state)
{
	static const struct step steps[] = {
		/*  1 */ { 0, REPLAY_STALE }, /* never a number */
		/*  2 */ { 1, REPLAY_NEW },
		/*  3 */ { 1, REPLAY_SEEN },
		/*  4 */ { 9, REPLAY_NEW },
		/*  5 */ { 8, REPLAY_NEW },
		/*  6 */ { 7, REPLAY_NEW },
		/*  7 */ { 7, REPLAY_SEEN },
		/*  8 */ { W, REPLAY_NEW },
		/*  9 */ { W - 1, REPLAY_NEW },
		/* 10 */ { W - 1, REPLAY_SEEN },
		/* 11 */ { 2, REPLAY_NEW },
		/* 12 */ { W + 1, REPLAY_NEW },
		/* 13 */ { 1, REPLAY_STALE }, /* has just fallen out */
		/* 14 */ { 2, REPLAY_SEEN },  /* the last that is in */
		/* 15 */ { W + 63, REPLAY_NEW },
		/* 16 */ { 64, REPLAY_NEW },
		/* 17 */ { 63, REPLAY_STALE },
		/* 18 */ { 3 * W, REPLAY_NEW }, /* a jump beyond the whole window */
		/* 19 */ { W + 63, REPLAY_STALE },
		/* 20 */ { 2 * W + 1, REPLAY_NEW },
		/* 21 */ { 2 * W, REPLAY_STALE },
		/* 22 */ { 2 * W + 2, REPLAY_NEW },
		/* 23 */ { 3 * W - 1, REPLAY_NEW }, /* nothing of the old ring shines through */
		/* 24 */ { 3 * W, REPLAY_SEEN },
		/* 25 */ { 0xfffffffeull, REPLAY_NEW },
		/* 26 */ { 0xffffffffull, REPLAY_NEW },
		/* 27 */ { 0x100000000ull, REPLAY_NEW },
		/* 28 */ { 0x100000001ull, REPLAY_NEW },
		/* 29 */ { 0xffffffffull, REPLAY_SEEN },
		/* 30 */ { 0xfffffff0ull, REPLAY_NEW },
		/* 31 */ { 0x100000001ull - W, REPLAY_STALE },
		/* 32 */ { 0x100000002ull - W, REPLAY_NEW },
		/* 33 */ { UINT64_MAX - 1, REPLAY_NEW },
		/* 34 */ { UINT64_MAX - 1, REPLAY_SEEN },
		/* 35 */ { UINT64_MAX, REPLAY_NEW },
		/* 36 */ { UINT64_MAX, REPLAY_SEEN },
	};

	(void)state;
	RUN(W, steps);
}

static void replay_rejects_duplicate_over_a_whole_window(void **state)
{
	struct replay *r = replay_new(W, false);

	(void)state;
	for (uint64_t s = 1; s <= 3 * W; s++)
		assert_int_equal(take(r, s), REPLAY_NEW);
	for (uint64_t s = 1; s <= 3 * W; s++)
		assert_int_equal(take(r, s), s <= 2 * W ? REPLAY_STALE : REPLAY_SEEN);
	replay_free(r);
}

static void replay_accepts_a_window_backwards(void **state)
{
	struct replay *r = replay_new(W, false);

	(void)state;
	for (uint64_t s = W; s; s--)
		assert_int_equal(take(r, s), REPLAY_NEW);
	assert_int_equal(take(r, 0), REPLAY_STALE);
	replay_free(r);
}

static void replay_agrees_with_a_plain_list(void **state)
{
	enum { N = 20000, WIN = 128 };
	struct replay *r = replay_new(WIN, false);
	uint8_t *seen = calloc(1, N + 2000);
	uint64_t top = 0;

	(void)state;
	srand(7);
	for (int i = 0; i < 4 * N; i++) {
		uint64_t s = (uint64_t)(i / 4 + 1 + rand() % 400);
		enum replay_result want = s <= top && top - s >= WIN ? REPLAY_STALE
					  : seen[s]		     ? REPLAY_SEEN
								     : REPLAY_NEW;

		assert_int_equal(take(r, s), want);
		if (want == REPLAY_NEW) {
			seen[s] = 1;
			top = s > top ? s : top;
		}
	}
	free(seen);
	replay_free(r);
}

static void replay_check_moves_nothing(void **state)
{
	struct replay *r = replay_new(W, true);

	(void)state;
	replay_commit(r, 10);
	assert_int_equal(replay_check(r, 1ull << 40), REPLAY_NEW);
	assert_int_equal(replay_infer(r, 11), 11);
	assert_true(r->top == 10);
	replay_free(r);
}

static void replay_commit_tells_the_newest(void **state)
{
	struct replay *r = replay_new(W, true);

	(void)state;
	assert_true(replay_commit(r, 5));
	assert_false(replay_commit(r, 4));
	assert_true(replay_commit(r, 6));
	replay_free(r);
}

/* RFC 4303 App. A2.1: both cases, at their edges; but what is nearer below the window than above it lies below. */
static void ike_case_103_the_high_half_is_inferred(void **state)
{
	static const struct {
		uint64_t top;
		uint32_t lo;
		uint64_t want;
	} c[] = {
		/* case A, Tl >= W - 1: bottom is Tl - W + 1 in the same subspace */
		{ W - 1, 0, 0 }, /* bottom 0: nothing lies below it */
		{ W, 1, 1 },
		{ W, 0, 0 },
		{ 0x00010000, 0x00010000 - W + 1, 0x00010000 - W + 1 },
		{ 0x00010000, 0x00010000 - W, 0x00010000 - W },
		{ 0x80000010, 0x11, 0x11 },
		{ 0x80000010, 0x10, 0x100000010ull },
		{ 0x300010000ull, 1, 0x300000001ull },
		{ 0xffffffff, 0, 0x100000000ull },
		{ 0xffffffff, 5, 0x100000005ull },
		{ 0xffffffff, 0xfffffff0, 0xfffffff0 },
		{ 0x5ffffffffull, 0, 0x600000000ull },
		{ 0x500010000ull, 0x20000, 0x500020000ull },
		/* case B, Tl < W - 1: the window began in the subspace before */
		{ 0, 1, 1 },
		{ 0, 0x80000000, 0x80000000 },
		{ 0, 0u - W + 1, 0 }, /* would be before the first subspace */
		{ 0, 0u - W, 0u - W },
		{ 10, 0xffffffff, 0 },
		{ 0x100000000ull, 0xffffffff, 0xffffffff },
		{ 0x100000000ull, 0u - W + 1, 0u - W + 1 },
		{ 0x100000000ull, 0u - W, 0u - W },
		{ 0x100000000ull, 0x80000001, 0x80000001 },
		{ 0x100000000ull, 0x80000000, 0x180000000ull },
		{ 0x700000010ull, 0xfffffff0, 0x6fffffff0ull },
		{ 0x700000010ull, 0x11, 0x700000011ull },
		{ 0x700000000ull + W - 2, 0xffffffff, 0x6ffffffffull },
		{ 0x700000000ull + W - 1, 0xffffffff, 0x6ffffffffull },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		struct replay *r = replay_new(W, true);
		uint64_t got;

		r->top = c[i].top;
		got = replay_infer(r, c[i].lo);
		if (got != c[i].want)
			fail_msg("case %zu: got %llx, want %llx", i, (unsigned long long)got,
				 (unsigned long long)c[i].want);
		replay_free(r);
	}
}

/* Else a packet that was held up would be opened as one of the next 2^32, and counted as forged. */
static void with_esn_too_what_is_older_than_the_window_is_stale(void **state)
{
	static const uint64_t tops[] = { 5000, 70000, 0xfffffff0, 0x100000001ull, 0x100000fffull, 0x700012345ull };

	(void)state;
	for (size_t i = 0; i < sizeof(tops) / sizeof(tops[0]); i++) {
		struct replay *r = replay_new(0, true);

		assert_true(replay_commit(r, tops[i]));
		for (uint64_t back = 4096; back < tops[i] && back < 60000; back += 7)
			assert_int_equal(replay_check(r, replay_infer(r, (uint32_t)(tops[i] - back))), REPLAY_STALE);
		assert_int_equal(replay_check(r, replay_infer(r, (uint32_t)(tops[i] - 4095))), REPLAY_NEW);
		assert_true(replay_infer(r, (uint32_t)(tops[i] + 60000)) == tops[i] + 60000);
		replay_free(r);
	}
}

static void replay_without_esn_infers_nothing(void **state)
{
	struct replay *r = replay_new(W, false);

	(void)state;
	replay_commit(r, 0xffffffff);
	assert_true(replay_infer(r, 1) == 1);
	assert_int_equal(replay_check(r, replay_infer(r, 1)), REPLAY_STALE);
	replay_free(r);
}

static void ike_case_103_the_window_walks_through_the_wrap(void **state)
{
	struct replay *r = replay_new(64, true);

	(void)state;
	replay_commit(r, 0xfffffff0);
	for (uint64_t s = 0xfffffff1; s < 0x100000100ull; s++) {
		assert_true(replay_infer(r, (uint32_t)s) == s);
		assert_int_equal(take(r, s), REPLAY_NEW);
		assert_int_equal(take(r, s), REPLAY_SEEN);
	}
	replay_free(r);
}

static void replay_sizes_are_rounded_and_bounded(void **state)
{
	struct replay *r = replay_new(1, false);

	(void)state;
	assert_int_equal(r->window, 64);
	replay_free(r);
	r = replay_new(0, false);
	assert_int_equal(r->window, 4096);
	replay_free(r);
	r = replay_new(REPLAY_WINDOW_MAX, false);
	assert_non_null(r);
	replay_free(r);
	assert_null(replay_new(REPLAY_WINDOW_MAX + 1, false));
}

/* An idle peer's SA never has the bits of a whole window; a busy one has them when it needs them. */
static void the_ring_grows_with_the_numbers(void **state)
{
	struct replay *r = replay_new(0, true);

	(void)state;
	assert_true(sizeof(*r) <= 80);
	for (uint64_t n = 1; n <= 200; n++)
		assert_true(replay_commit(r, n));
	assert_ptr_equal(r->bits, r->few);
	for (uint64_t n = 203; n <= 4000; n += 3) {
		assert_int_equal(replay_check(r, n), REPLAY_NEW);
		assert_true(replay_commit(r, n));
	}
	for (uint64_t n = 1; n <= 4000; n++)
		assert_int_equal(replay_check(r, n),
				 n <= 200 || (n >= 203 && n % 3 == 203 % 3) ? REPLAY_SEEN : REPLAY_NEW);
	assert_true(replay_commit(r, 9000));
	assert_int_equal(replay_check(r, 9000 - 4096), REPLAY_STALE);
	assert_int_equal(replay_check(r, 9000 - 4095), REPLAY_NEW);
	replay_free(r);
}

#define QUEUES 4
#define UNITS  4000
#define LAG    2000 /* packets by which a queue may be behind */

/*
 * One sender, four queues on the way: each keeps its order, none waits for another, and the one that is
 * furthest behind lags by up to 2000 packets. Each packet is new once, and a copy of it never is.
 */
static void ike_case_112_four_queues_out_of_step_lose_nothing(void **state)
{
	static struct {
		uint64_t first;
		unsigned count;
	} queue[QUEUES][UNITS];
	size_t head[QUEUES] = { 0 }, tail[QUEUES] = { 0 };
	uint64_t next = 1, random = 112, worst = 0, top = 0;
	struct replay *r = replay_new(4096, true);

	(void)state;
	for (int i = 0; i < UNITS; i++) {
		int q;

		random = random * 6364136223846793005ull + 1442695040888963407ull;
		q = (int)(random >> 60) % QUEUES;
		queue[q][tail[q]].first = next;
		queue[q][tail[q]].count = 1 + (unsigned)(random >> 40) % 45; /* a unit of GSO */
		next += queue[q][tail[q]++].count;
	}
	for (;;) {
		uint64_t least = UINT64_MAX;
		int q = -1, last = 0;

		for (int i = 0; i < QUEUES; i++) {
			if (head[i] < tail[i] && queue[i][head[i]].first < least) {
				least = queue[i][head[i]].first;
				last = i;
			}
		}
		if (least == UINT64_MAX)
			break;
		/* Any queue may go on that does not leave the last one too far behind. */
		random = random * 6364136223846793005ull + 1442695040888963407ull;
		q = (int)(random >> 60) % QUEUES;
		if (head[q] == tail[q] || queue[q][head[q]].first + queue[q][head[q]].count > least + LAG)
			q = last;
		for (unsigned i = 0; i < queue[q][head[q]].count; i++) {
			uint64_t n = queue[q][head[q]].first + i;

			assert_int_equal(replay_infer(r, (uint32_t)n), n);
			assert_int_equal(replay_check(r, n), REPLAY_NEW);
			(void)replay_commit(r, n);
			assert_int_equal(replay_check(r, n), REPLAY_SEEN);
			worst = top > n && top - n > worst ? top - n : worst;
			top = n > top ? n : top;
		}
		head[q]++;
	}
	assert_in_range(worst, LAG / 2, LAG); /* it was as bad as it was meant to be */
	replay_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ike_case_112_four_queues_out_of_step_lose_nothing),
		cmocka_unit_test(the_ring_grows_with_the_numbers),
		cmocka_unit_test(ike_case_100_the_window_at_its_boundaries),
		cmocka_unit_test(replay_rejects_duplicate_over_a_whole_window),
		cmocka_unit_test(replay_accepts_a_window_backwards),
		cmocka_unit_test(replay_agrees_with_a_plain_list),
		cmocka_unit_test(replay_check_moves_nothing),
		cmocka_unit_test(replay_commit_tells_the_newest),
		cmocka_unit_test(ike_case_103_the_high_half_is_inferred),
		cmocka_unit_test(with_esn_too_what_is_older_than_the_window_is_stale),
		cmocka_unit_test(replay_without_esn_infers_nothing),
		cmocka_unit_test(ike_case_103_the_window_walks_through_the_wrap),
		cmocka_unit_test(replay_sizes_are_rounded_and_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
