/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>

#include "schedule_bench.h"

#include <time.h>

static void mail_case_067_down_makes_no_attempts_and_up_releases_oldest_first(void **state)
{
	struct bench *b = bench_new(TUNNEL_DOWN);
	uint64_t last = 0;
	size_t n = 0;

	for (int i = 0; i < 1000; i++)
		letter(b, "a@home.example", NULL);
	for (int day = 0; day < 3 * 24; day++) {
		b->now += 3600000;
		assert_null(next(b));
		assert_true(schedule_due(b->s, b->now) == UINT64_MAX);
	}
	tunnel(b, TUNNEL_UP);
	assert_int_equal(schedule_due(b->s, b->now), b->now); /* at once */
	while (n < 1000) {
		struct leg *g = next(b);

		assert_non_null(g);
		assert_false(was_probe);
		assert_true(g->letter->seq > last);
		last = g->letter->seq;
		assert_int_equal(g->letter->rcpt[0].attempts, 0);
		assert_int_equal(land(b, g, RCPT_RES_DELIVERED, SCOPE_NONE, MSG_R_FAMILY4, 0).state,
				 RCPT_DELIVERED);
		n++;
	}
	assert_null(next(b));
	bench_free(b);
}

static void limit_grows_with_success_and_release_is_paced(void **state)
{
	struct bench *b = bench_new(TUNNEL_UP);
	struct leg *g[SCHEDULE_LIMIT_FIRST + 1];
	size_t n;

	for (int i = 0; i < 200; i++)
		letter(b, "a@home.example", NULL);
	for (n = 0; n < SCHEDULE_LIMIT_FIRST; n++)
		assert_non_null(g[n] = next(b));
	assert_null(next(b));
	land(b, g[0], RCPT_RES_DELIVERED, SCOPE_NONE, 1, 0);
	for (n = 0; next(b); n++)
		;
	assert_int_equal(n, SCHEDULE_LIMIT_FIRST * 2 - (SCHEDULE_LIMIT_FIRST - 1));
	bench_free(b);
	/* The pace: with everything landing at once no more than so many in a second. */
	b = bench_new(TUNNEL_UP);
	for (n = 0; n < 2000; n++)
		letter(b, "a@home.example", NULL);
	for (int round = 0; round < SCHEDULE_RELEASE_PER_S / 2000 + 1; round++)
		for (size_t i = 0; i < 2000; i++) {
			struct leg *x = next(b);

			if (!x)
				break;
			land(b, x, RCPT_RES_NOT_TRIED, SCOPE_NONE, 0, 0);
			x->letter->rcpt[0].next_s = 0;
			schedule_flush_letter(b->s, "to-home", x->letter, b->now);
			n++;
		}
	assert_int_equal(n - 2000, SCHEDULE_RELEASE_PER_S);
	b->now += 1000;
	assert_non_null(next(b));
	bench_free(b);
}

/* @n letters come and go at once. */
static void deliver(struct bench *b, size_t n)
{
	while (n--) {
		letter(b, "a@home.example", NULL);
		land(b, next(b), RCPT_RES_DELIVERED, SCOPE_NONE, MSG_R_FAMILY4, 0);
	}
}

static void who_stands_in_a_long_line_that_moves_fast_is_behind(void **state)
{
	struct bench *b = bench_new(TUNNEL_UP);
	struct letter *l = NULL;

	/* Long, but nothing is known of how fast it moves. */
	for (int i = 0; i <= SCHEDULE_AHEAD; i++)
		l = letter(b, "a@home.example", NULL);
	assert_false(schedule_behind(l, b->now));
	for (int i = 0; i <= SCHEDULE_AHEAD; i++)
		land(b, next(b), RCPT_RES_DELIVERED, SCOPE_NONE, MSG_R_FAMILY4, 0);

	deliver(b, SCHEDULE_FAST_PER_S);
	for (int i = 0; i < SCHEDULE_AHEAD; i++)
		l = letter(b, "a@home.example", NULL);
	assert_false(schedule_behind(l, b->now));
	l = letter(b, "a@home.example", NULL);
	assert_true(schedule_behind(l, b->now));
	/* Not for one who goes elsewhere, nor once it is closed, nor after a while without traffic. */
	assert_false(schedule_behind(letter(b, "a@stranger.example", NULL), b->now));
	schedule_hold(b->s, "to-home", NULL, true, b->now);
	assert_false(schedule_behind(l, b->now));
	schedule_hold(b->s, "to-home", NULL, false, b->now);
	tunnel(b, TUNNEL_DOWN);
	assert_false(schedule_behind(l, b->now));
	tunnel(b, TUNNEL_UP);
	assert_false(schedule_behind(l, b->now));
	for (struct leg *g; (g = next(b));)
		land(b, g, RCPT_RES_DELIVERED, SCOPE_NONE, MSG_R_FAMILY4, 0);
	for (int i = 0; i < 2 * SCHEDULE_AHEAD; i++)
		l = letter(b, "a@home.example", NULL);
	assert_true(schedule_behind(l, b->now));
	assert_false(schedule_behind(l, b->now + 2000));
	/* The second before counts when a new one has just begun. */
	b->now += 1000;
	land(b, next(b), RCPT_RES_DELIVERED, SCOPE_NONE, MSG_R_FAMILY4, 0);
	l = letter(b, "a@home.example", NULL);
	assert_true(schedule_behind(l, b->now));
	bench_free(b);
}

static void what_an_outage_left_makes_no_newcomer_wait(void **state)
{
	struct bench *b = bench_new(TUNNEL_UP);

	deliver(b, SCHEDULE_FAST_PER_S);
	tunnel(b, TUNNEL_DOWN);
	for (int i = 0; i < 3 * SCHEDULE_AHEAD; i++)
		letter(b, "a@home.example", NULL);
	tunnel(b, TUNNEL_UP);
	for (int i = 0; i < 2 * SCHEDULE_AHEAD; i++) {
		assert_false(schedule_behind(letter(b, "a@home.example", NULL), b->now));
		land(b, next(b), RCPT_RES_DELIVERED, SCOPE_NONE, MSG_R_FAMILY4, 0);
	}
	/* That is behind it; what comes together now is a burst. */
	for (int i = 0; i < 3 * SCHEDULE_AHEAD; i++)
		land(b, next(b), RCPT_RES_DELIVERED, SCOPE_NONE, MSG_R_FAMILY4, 0);
	assert_null(next(b));
	deliver(b, 1);
	for (int i = 0; i < SCHEDULE_AHEAD; i++)
		assert_false(schedule_behind(letter(b, "a@home.example", NULL), b->now));
	assert_true(schedule_behind(letter(b, "a@home.example", NULL), b->now));
	bench_free(b);
}

static void probing_tunnel_charges_nobody(void **state)
{
	struct bench *b = bench_new(TUNNEL_UP);
	struct letter *l = letter(b, "a@home.example", NULL);
	uint64_t waits[] = { 200, 400, 800, 1600, 3200, 6400, 10000, 10000 };
	struct leg *g = next(b);

	letter(b, "b@home.example", NULL);
	for (size_t i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
		struct schedule_verdict v = land(b, g, RCPT_RES_TEMPFAIL, SCOPE_HOST, 0, 1);

		assert_false(v.charged);
		assert_int_equal(v.state, RCPT_PENDING);
		assert_null(next(b));
		assert_int_equal(schedule_due(b->s, b->now), b->now + waits[i]);
		b->now += waits[i];
		g = next(b);
		assert_non_null(g);
		assert_true(was_probe);
		assert_null(next(b)); /* one at a time */
	}
	assert_int_equal(l->rcpt[0].attempts, 0);
	/* Success: open again. */
	land(b, g, RCPT_RES_DELIVERED, SCOPE_NONE, 1, 0);
	assert_non_null(next(b));
	assert_false(was_probe);
	bench_free(b);
}

static void tunnel_up_ends_the_waits_of_its_host_only(void **state)
{
	struct bench *b = bench_new(TUNNEL_UP);
	struct letter *grey = letter(b, "grey@home.example", NULL);
	struct letter *mx = letter(b, "x@mx.example", NULL);
	struct leg *g;

	for (int i = 0; i < 2; i++) {
		g = next(b);
		/* The home greylists this recipient; the MX host cannot be reached. */
		land(b, g, RCPT_RES_TEMPFAIL, g->letter == grey ? SCOPE_RECIPIENT : SCOPE_HOST, 1,
		     0);
	}
	letter(b, "new@home.example", NULL);
	tunnel(b, TUNNEL_DOWN);
	assert_null(next(b));
	b->now += 5000;
	tunnel(b, TUNNEL_UP);
	g = next(b);
	assert_non_null(g);
	assert_ptr_not_equal(g->letter, grey);
	assert_ptr_not_equal(g->letter, mx);
	land(b, g, RCPT_RES_DELIVERED, SCOPE_NONE, 1, 0);
	assert_null(next(b));
	assert_int_equal(grey->rcpt[0].attempts, 1);
	assert_int_equal(mx->rcpt[0].attempts, 1); /* on the internet a connect counts */
	b->now += 60000;
	g = next(b);
	assert_ptr_equal(g->letter, grey);
	bench_free(b);
}

static void mail_case_068_fourth_flap_within_a_minute_is_held_down(void **state)
{
	struct bench *b = bench_new(TUNNEL_UP);
	uint64_t hold[] = { 0, 0, 0, 2000, 4000, 8000, 16000, 30000, 30000 };

	letter(b, "a@home.example", NULL);
	for (size_t i = 0; i < sizeof(hold) / sizeof(hold[0]); i++) {
		b->now += 1000;
		tunnel(b, TUNNEL_DOWN);
		b->now += 1000;
		tunnel(b, TUNNEL_UP);
		assert_int_equal(schedule_due(b->s, b->now), b->now + hold[i]);
	}
	assert_null(next(b));
	b->now += 120000;
	tunnel(b, TUNNEL_DOWN);
	tunnel(b, TUNNEL_UP);
	assert_non_null(next(b)); /* calm for long: at once again */
	bench_free(b);
}

static void unknown_tunnel_is_tried_by_one(void **state)
{
	struct bench *b = bench_new(TUNNEL_UNKNOWN);
	uint64_t waits[] = { 1000, 2000, 4000, 8000, 16000, 30000, 30000 };
	struct leg *g;

	for (int i = 0; i < 10; i++)
		letter(b, "a@home.example", NULL);
	for (size_t i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
		g = next(b);
		assert_non_null(g);
		assert_null(next(b));
		assert_false(land(b, g, RCPT_RES_TEMPFAIL, SCOPE_HOST, 0, 1).charged);
		assert_int_equal(schedule_due(b->s, b->now), b->now + waits[i]);
		b->now += waits[i];
	}
	tunnel(b, TUNNEL_UP);
	assert_non_null(next(b));
	bench_free(b);
}

static void faults_have_their_scope(void **state)
{
	struct bench *b = bench_new(TUNNEL_UP);
	struct letter *a = letter(b, "a@one.example", NULL), *c = letter(b, "c@two.example", NULL);
	struct leg *g = next(b), *h = next(b);

	assert_ptr_not_equal(g->letter, h->letter);
	if (g->letter != a) {
		struct leg *t = g;

		g = h;
		h = t;
	}
	/* one.example is unreachable; two.example refuses the letter for now. */
	assert_true(land(b, g, RCPT_RES_TEMPFAIL, SCOPE_HOST, 0, 1).charged);
	assert_true(land(b, h, RCPT_RES_TEMPFAIL, SCOPE_MESSAGE, 1, 0).charged);
	assert_null(next(b));
	letter(b, "other@two.example", NULL); /* another letter to the same host goes */
	g = next(b);
	assert_non_null(g);
	assert_ptr_not_equal(g->letter, c);
	letter(b, "other@one.example", NULL); /* to the closed one not */
	assert_null(next(b));
	assert_int_equal(land(b, g, RCPT_RES_PERMFAIL, SCOPE_RECIPIENT, 1, 0).state, RCPT_FAILED);
	/* A 5xx to all comers is the host's affair: no letter dies of it. */
	b->now += 300000;
	g = next(b);
	assert_int_equal(land(b, g, RCPT_RES_PERMFAIL, SCOPE_HOST, 1, 0).state, RCPT_PENDING);
	bench_free(b);
}

static void failing_family_is_left_out_while_the_other_works(void **state)
{
	struct bench *b = bench_new(TUNNEL_UP);
	struct leg *g;

	for (int i = 0; i < 3; i++)
		letter(b, "a@home.example", NULL);
	g = next(b);
	assert_int_equal(was_families, MSG_R_FAMILY4 | MSG_R_FAMILY6);
	land(b, g, RCPT_RES_DELIVERED, SCOPE_NONE, MSG_R_FAMILY4, MSG_R_FAMILY6);
	g = next(b);
	assert_int_equal(was_families, MSG_R_FAMILY4);
	land(b, g, RCPT_RES_DELIVERED, SCOPE_NONE, MSG_R_FAMILY4, 0);
	b->now += 60000;
	assert_non_null(next(b));
	assert_int_equal(was_families, MSG_R_FAMILY4 | MSG_R_FAMILY6);
	bench_free(b);
}

/* A stranger's state goes with the last letter to it; that his IPv6 leads nowhere is not learned anew. */
static void a_slow_family_is_remembered_beyond_the_last_letter(void **state)
{
	struct bench *b = bench_new(TUNNEL_UP);
	uint8_t both = MSG_R_FAMILY4 | MSG_R_FAMILY6;

	(void)state;
	for (uint32_t n = 0; n < 3; n++) {
		letter(b, "a@far.example", NULL);
		land(b, next(b), RCPT_RES_DELIVERED, SCOPE_NONE, MSG_R_FAMILY4, MSG_R_FAMILY6);
		letter(b, "a@far.example", NULL);
		letter(b, "a@near.example", NULL);
		land(b, next(b), RCPT_RES_DELIVERED, SCOPE_NONE, MSG_R_FAMILY4, 0);
		assert_int_equal(was_families, MSG_R_FAMILY4);
		land(b, next(b), RCPT_RES_DELIVERED, SCOPE_NONE, MSG_R_FAMILY4, 0);
		assert_int_equal(was_families, both);
		/* Each time it is left out for longer. */
		b->now += (60000ull << n) - 1;
		letter(b, "a@far.example", NULL);
		land(b, next(b), RCPT_RES_DELIVERED, SCOPE_NONE, MSG_R_FAMILY4, 0);
		assert_int_equal(was_families, MSG_R_FAMILY4);
		b->now += 1;
	}
	letter(b, "a@far.example", NULL);
	land(b, next(b), RCPT_RES_DELIVERED, SCOPE_NONE, MSG_R_FAMILY6, 0);
	assert_int_equal(was_families, both);
	letter(b, "a@far.example", NULL);
	assert_non_null(next(b));
	assert_int_equal(was_families, both);
	bench_free(b);
}

/* What was under way when the tunnel went is not made to wait behind those that were not. */
static void a_letter_that_a_cut_interrupted_goes_first_again(void **state)
{
	struct bench *b = bench_new(TUNNEL_UP);
	struct leg *g;
	struct letter *l;

	(void)state;
	l = letter(b, "a@home.example", NULL);
	letter(b, "b@home.example", NULL);
	g = next(b);
	assert_ptr_equal(g->letter, l);
	b->now += 1000;
	tunnel(b, TUNNEL_DOWN);
	b->now += 5000;
	tunnel(b, TUNNEL_UP);
	land(b, g, RCPT_RES_NOT_TRIED, SCOPE_NONE, 0, 0);
	g = next(b);
	assert_non_null(g);
	assert_ptr_equal(g->letter, l);
	/* Given back once more, without a cut between, it waits as ever. */
	land(b, g, RCPT_RES_NOT_TRIED, SCOPE_NONE, 0, 0);
	g = next(b);
	assert_non_null(g);
	assert_ptr_not_equal(g->letter, l);
	bench_free(b);
}

static void letters_expire_by_ttl_and_a_try_or_a_day(void **state)
{
	struct bench *b = bench_new(TUNNEL_DOWN);
	struct letter *l = letter(b, "a@home.example", NULL);
	struct leg *g = l->legs;

	assert_false(schedule_expired(g, &l->rcpt[0], 86399, 1000000));
	assert_false(schedule_expired(g, &l->rcpt[0], 86400 * 30, 86399)); /* just started */
	assert_true(schedule_expired(g, &l->rcpt[0], 86400, 86400));
	l->rcpt[0].attempts = 1;
	assert_true(schedule_expired(g, &l->rcpt[0], 86400, 0));
	l->rcpt[0].flying = true;
	assert_false(schedule_expired(g, &l->rcpt[0], 86400 * 30, 86400 * 30));
	bench_free(b);
}

static size_t flush(struct bench *b, const char *route)
{
	size_t n = schedule_flush(b->s, route, b->now);

	for (size_t i = 0; i < b->count; i++)
		schedule_flush_letter(b->s, route, b->letters[i], b->now);
	return n;
}

static void flush_clears_waits_but_neither_hold_nor_down(void **state)
{
	struct bench *b = bench_new(TUNNEL_UP);
	struct leg *g;

	letter(b, "a@home.example", NULL);
	g = next(b);
	land(b, g, RCPT_RES_TEMPFAIL, SCOPE_RECIPIENT, 1, 0);
	assert_null(next(b));
	assert_int_equal(flush(b, "internet"), 0);
	assert_null(next(b));
	assert_int_equal(flush(b, "to-home"), 1);
	assert_non_null(g = next(b));
	land(b, g, RCPT_RES_TEMPFAIL, SCOPE_RECIPIENT, 1, 0);
	schedule_hold(b->s, "to-home", NULL, true, b->now);
	flush(b, NULL);
	assert_null(next(b));
	schedule_hold(b->s, "to-home", NULL, false, b->now);
	tunnel(b, TUNNEL_DOWN);
	flush(b, NULL);
	assert_null(next(b));
	assert_int_equal(schedule_force(b->s, "to-home", b->now), 1);
	assert_non_null(next(b)); /* one attempt, asked for by name */
	assert_null(next(b));
	bench_free(b);
}

static void a_held_route_holds_hosts_that_nobody_knew(void **state)
{
	struct bench *b = bench_new(TUNNEL_UP);

	assert_int_equal(schedule_hold(b->s, "internet", NULL, true, b->now), 0);
	schedule_hold(b->s, "internet", NULL, true, b->now);
	letter(b, "a@new.example", NULL);
	assert_null(next(b));
	letter(b, "a@home.example", NULL);
	assert_non_null(next(b));
	assert_null(next(b));
	schedule_hold(b->s, "to-home", NULL, true, b->now);
	assert_int_equal(schedule_hold(b->s, "internet", NULL, false, b->now), 1);
	assert_non_null(next(b));
	letter(b, "a@newer.example", NULL);
	assert_non_null(next(b));
	letter(b, "b@home.example", NULL);
	assert_null(next(b));
	bench_free(b);
}

static void one_next_hop_is_held_beside_others(void **state)
{
	struct bench *b = bench_new(TUNNEL_UP);

	(void)state;
	assert_int_equal(schedule_hold(b->s, "internet", "Held.example", true, b->now), 0);
	letter(b, "a@held.example", NULL);
	letter(b, "a@free.example", NULL);
	assert_string_equal(next(b)->dest->hop, "free.example");
	assert_null(next(b));
	/* The whole route and back again: what was held alone is free too. */
	assert_int_equal(schedule_hold(b->s, "internet", NULL, true, b->now), 2);
	letter(b, "b@free.example", NULL);
	assert_null(next(b));
	assert_int_equal(schedule_hold(b->s, "internet", "held.example", false, b->now), 1);
	assert_null(next(b));
	assert_int_equal(schedule_hold(b->s, "internet", NULL, false, b->now), 2);
	assert_non_null(next(b));
	assert_non_null(next(b));
	bench_free(b);
}

static void holds_have_a_bound(void **state)
{
	struct bench *b = bench_new(TUNNEL_UP);
	char hop[32];

	(void)state;
	for (unsigned i = 0; i < SCHEDULE_HOLDS_MAX; i++) {
		snprintf(hop, sizeof(hop), "d%u.example", i);
		assert_int_equal(schedule_hold(b->s, "internet", hop, true, b->now), 0);
		assert_int_equal(schedule_hold(b->s, "internet", hop, true, b->now), 0);
	}
	assert_int_equal(schedule_hold(b->s, "internet", "more.example", true, b->now), -ENOSPC);
	assert_int_equal(schedule_hold(b->s, "internet", NULL, false, b->now), 0);
	assert_int_equal(schedule_hold(b->s, "internet", "more.example", true, b->now), 0);
	bench_free(b);
}

static void lost_relay_puts_everything_back(void **state)
{
	struct bench *b = bench_new(TUNNEL_UP);
	struct letter *l = letter(b, "a@home.example", "b@else.example");
	struct leg *g = next(b), *h = next(b);

	assert_ptr_not_equal(g, h);
	schedule_lost(b->s, l, b->now);
	assert_int_equal(l->rcpt[0].attempts + l->rcpt[1].attempts, 0);
	assert_non_null(next(b));
	assert_non_null(next(b));
	bench_free(b);
}

static void waits_follow_the_schedule(void **state)
{
	const struct mta_schedule c = { SCHEDULE_CONSTANT, 1000, 5000, 0 };
	const struct mta_schedule l = { SCHEDULE_LINEAR, 1000, 5000, 0 };
	const struct mta_schedule x = { SCHEDULE_EXPONENTIAL, 1000, 5000, 0 };
	const struct mta_schedule j = { SCHEDULE_CONSTANT, 1000, 5000, 10 };

	assert_int_equal(route_wait_ms(&c, 7, 0), 1000);
	assert_int_equal(route_wait_ms(&l, 3, 0), 3000);
	assert_int_equal(route_wait_ms(&l, 4000000000u, 0), 5000);
	assert_int_equal(route_wait_ms(&x, 1, 0), 1000);
	assert_int_equal(route_wait_ms(&x, 3, 0), 4000);
	assert_int_equal(route_wait_ms(&x, 4000000000u, 0), 5000);
	assert_int_equal(route_wait_ms(&j, 1, 0), 900);
	assert_int_equal(route_wait_ms(&j, 1, 200), 1100);
}

static void what_the_relay_gives_back_untried_does_not_go_round_and_round(void **state)
{
	static const enum tunnel_state states[] = { TUNNEL_UNKNOWN, TUNNEL_UP };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct bench *b = bench_new(states[i]);
		struct leg *g;

		letter(b, "a@home.example", NULL);
		g = next(b);
		assert_non_null(g);
		if (states[i] == TUNNEL_UP) { /* into PROBING */
			land(b, g, RCPT_RES_TEMPFAIL, SCOPE_HOST, 0, MSG_R_FAMILY4);
			b->now += 200;
			g = next(b);
			assert_non_null(g);
		}
		land(b, g, RCPT_RES_NOT_TRIED, SCOPE_NONE, 0, 0);
		assert_null(next(b));
		assert_true(schedule_due(b->s, b->now) >= b->now + 1000);
		b->now += 1000;
		assert_non_null(next(b));
		bench_free(b);
	}
}

static void tarpits_of_strangers_leave_room_for_the_tunnel(void **state)
{
	struct bench *b = bench_new(TUNNEL_UP);
	char addr[64];
	struct leg *g, *last = NULL;
	int n = 0;

	(void)state;
	for (int i = 0; i < 200; i++) {
		snprintf(addr, sizeof(addr), "a@d%d.example", i);
		letter(b, addr, NULL);
	}
	while ((g = next(b))) {
		last = g;
		n++;
	}
	assert_int_equal(n, SCHEDULE_MX_FLYING);
	assert_true(schedule_due(b->s, b->now) == UINT64_MAX); /* nor is the timer set for them */
	letter(b, "a@home.example", NULL);
	g = next(b);
	assert_non_null(g);
	assert_string_equal(g->dest->route, "to-home");
	land(b, last, RCPT_RES_DELIVERED, SCOPE_NONE, MSG_R_FAMILY4, 0);
	assert_non_null(next(b));
	assert_null(next(b));
	bench_free(b);
}

/* Least CPU time of 200 letters to the home in and out, with letters to @hops strangers in the queue. */
static uint64_t cost_beside(size_t hops)
{
	struct bench *b = bench_new(TUNNEL_UP);
	uint64_t least = UINT64_MAX;

	for (size_t i = 0; i < hops; i++) {
		char addr[64];

		snprintf(addr, sizeof(addr), "a@stranger-%zu.example", i);
		letter(b, addr, NULL);
	}
	for (struct leg *g; (g = next(b));)
		land(b, g, RCPT_RES_TEMPFAIL, SCOPE_HOST, 0, 0);
	for (int round = 0; round < 7; round++) {
		struct timespec from, to;
		uint64_t ns;

		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
		for (int i = 0; i < 200; i++) {
			struct letter *l = letter(b, "a@home.example", NULL);
			struct leg *g = next(b);

			assert_non_null(g);
			land(b, g, RCPT_RES_DELIVERED, SCOPE_NONE, MSG_R_FAMILY4, 0);
			assert_null(next(b));
			assert_true(schedule_due(b->s, b->now) > b->now);
			free(l);
			b->count--;
		}
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
		ns = (uint64_t)(to.tv_sec - from.tv_sec) * 1000000000 + (uint64_t)to.tv_nsec -
		     (uint64_t)from.tv_nsec;
		least = ns < least ? ns : least;
	}
	bench_free(b);
	return least;
}

static void many_next_hops_cost_no_more_than_few(void **state)
{
	(void)state;
	assert_true(cost_beside(1900) < 10 * cost_beside(10));
}

/* Of those whose time has come each has its turn. */
static void count_one(const struct dest *d, void *arg)
{
	(void)d;
	++*(size_t *)arg;
}

static size_t dests(struct bench *b)
{
	size_t n = 0;

	schedule_each(b->s, count_one, &n);
	return n;
}

/* Who writes to a thousand domains that never answer leaves nothing of them behind, but while they are waited for. */
static void next_hops_that_never_answered_are_forgotten_with_their_last_letter(void **state)
{
	struct env_rcpt r = { .addr = "x@d0.example" };
	struct envelope e = { .sender = "x@y", .rcpt = &r, .rcpt_count = 1 };
	struct bench *b = bench_new(TUNNEL_UP);
	char addr[32];

	(void)state;
	for (int i = 0; i < 50; i++) {
		struct leg *g;

		snprintf(addr, sizeof(addr), "x@d%d.example", i);
		letter(b, addr, NULL);
		g = next(b);
		assert_non_null(g);
		land(b, g, RCPT_RES_TEMPFAIL, SCOPE_HOST, 0, MSG_R_FAMILY4);
	}
	assert_int_equal(dests(b), 50);
	/* Routed anew, it waits on for its host, as the others do. */
	schedule_remove_idle(b->s, b->letters[0]);
	assert_int_equal(schedule_add(b->s, b->letters[0], &e, b->now), 0);
	assert_null(next(b));
	assert_int_equal(dests(b), 50);
	for (size_t i = 0; i < b->count; i++)
		schedule_remove(b->s, b->letters[i]);
	assert_int_equal(dests(b), 0);
	bench_free(b);
}

static void next_hops_take_turns(void **state)
{
	struct bench *b = bench_new(TUNNEL_UP);
	int turns[5] = { 0 };

	(void)state;
	for (int i = 0; i < 100; i++) {
		char addr[64];

		snprintf(addr, sizeof(addr), "a@stranger-%d.example", i / 20);
		letter(b, addr, NULL);
	}
	for (int i = 0; i < 20; i++) {
		struct leg *g = next(b);

		assert_non_null(g);
		turns[g->dest->hop[strlen("stranger-")] - '0']++;
		land(b, g, RCPT_RES_DELIVERED, SCOPE_NONE, MSG_R_FAMILY4, 0);
	}
	for (int i = 0; i < 5; i++)
		assert_int_equal(turns[i], 4);
	bench_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mail_case_067_down_makes_no_attempts_and_up_releases_oldest_first),
		cmocka_unit_test(limit_grows_with_success_and_release_is_paced),
		cmocka_unit_test(who_stands_in_a_long_line_that_moves_fast_is_behind),
		cmocka_unit_test(what_an_outage_left_makes_no_newcomer_wait),
		cmocka_unit_test(probing_tunnel_charges_nobody),
		cmocka_unit_test(tunnel_up_ends_the_waits_of_its_host_only),
		cmocka_unit_test(mail_case_068_fourth_flap_within_a_minute_is_held_down),
		cmocka_unit_test(unknown_tunnel_is_tried_by_one),
		cmocka_unit_test(faults_have_their_scope),
		cmocka_unit_test(failing_family_is_left_out_while_the_other_works),
		cmocka_unit_test(a_slow_family_is_remembered_beyond_the_last_letter),
		cmocka_unit_test(a_letter_that_a_cut_interrupted_goes_first_again),
		cmocka_unit_test(letters_expire_by_ttl_and_a_try_or_a_day),
		cmocka_unit_test(flush_clears_waits_but_neither_hold_nor_down),
		cmocka_unit_test(a_held_route_holds_hosts_that_nobody_knew),
		cmocka_unit_test(one_next_hop_is_held_beside_others),
		cmocka_unit_test(holds_have_a_bound),
		cmocka_unit_test(lost_relay_puts_everything_back),
		cmocka_unit_test(waits_follow_the_schedule),
		cmocka_unit_test(what_the_relay_gives_back_untried_does_not_go_round_and_round),
		cmocka_unit_test(tarpits_of_strangers_leave_room_for_the_tunnel),
		cmocka_unit_test(many_next_hops_cost_no_more_than_few),
		cmocka_unit_test(
		    next_hops_that_never_answered_are_forgotten_with_their_last_letter),
		cmocka_unit_test(next_hops_take_turns),
	};

	log_setup("test_schedule", LOG_LVL_ERR, -1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
