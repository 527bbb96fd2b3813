/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "log.h"
#include "schedule.h"

/* A small configuration by hand: a tunnel to "home", and the internet. */
static char *home_domains[] = { (char *)"home.example" };
static char *any_domain[] = { (char *)"*" };
static struct mta_route routes[] = {
	{ .name = "to-home",
	  .kind = ROUTE_TUNNEL,
	  .peer = (char *)"home",
	  .ttl_ms = 86400000,
	  .domains = { home_domains, 1 },
	  .sessions_max = 2,
	  .schedule = { SCHEDULE_EXPONENTIAL, 60000, 3600000, 0 } },
	{ .name = "internet",
	  .kind = ROUTE_MX,
	  .domains = { any_domain, 1 },
	  .ttl_ms = 432000000,
	  .sessions_max = 1,
	  .schedule = { SCHEDULE_EXPONENTIAL, 300000, 3600000, 0 } },
};
static struct mta_home home = { .name = "home",
				.peer = (char *)"home",
				.domains = { home_domains, 1 } };
static struct mta_config config = {
	.routes = routes, .route_count = 2, .homes = &home, .home_count = 1
};

struct bench {
	struct schedule *s;
	struct tunnel_table tunnel;
	struct tunnel_peer peer;
	uint64_t now;
	uint64_t seq;
	struct letter *letters[2000];
	size_t count;
};

static struct bench *bench_new(enum tunnel_state st)
{
	struct bench *b = calloc(1, sizeof(*b));

	b->now = 1000000;
	snprintf(b->peer.name, sizeof(b->peer.name), "home");
	b->peer.state = st;
	b->peer.changed_ms = b->now;
	b->tunnel.connected = st != TUNNEL_UNKNOWN;
	b->tunnel.peers = &b->peer;
	b->tunnel.peer_count = 1;
	b->s = schedule_new(&config, &b->tunnel);
	return b;
}

static void bench_free(struct bench *b)
{
	for (size_t i = 0; i < b->count; i++) {
		schedule_remove(b->s, b->letters[i]);
		free(b->letters[i]);
	}
	schedule_free(b->s);
	free(b);
}

static struct letter *letter(struct bench *b, const char *a1, const char *a2)
{
	struct env_rcpt r[2] = { { .addr = a1 }, { .addr = a2 } };
	struct envelope e = { .sender = "x@y", .rcpt = r, .rcpt_count = a2 ? 2 : 1 };
	struct letter *l = calloc(1, sizeof(*l) + 2 * sizeof(l->rcpt[0]));

	l->seq = ++b->seq;
	l->body_len = 100;
	l->rcpt_count = l->open = (uint16_t)e.rcpt_count;
	b->letters[b->count++] = l;
	assert_int_equal(schedule_add(b->s, l, &e, b->now), 0);
	return l;
}

static void tunnel(struct bench *b, enum tunnel_state st)
{
	b->peer.state = st;
	b->peer.changed_ms = b->now;
	b->tunnel.connected = st != TUNNEL_UNKNOWN;
	schedule_tunnel(b->s, &b->tunnel, b->now);
}

static bool was_probe;
static uint8_t was_families;

static struct leg *next(struct bench *b)
{
	return schedule_next(b->s, b->now, &was_families, &was_probe);
}

/* One result for all flying recipients of @g. */
static struct schedule_verdict land(struct bench *b, struct leg *g, enum rcpt_result res,
				    enum fault_scope scope, uint8_t ok, uint8_t failed)
{
	struct msg_r_rcpt_result rr = {
		.result = (uint8_t)res, .scope = (uint8_t)scope, .enhanced = "", .text = ""
	};
	struct msg_r_result r = { .host = "h", .families_ok = ok, .families_failed = failed };
	struct schedule_verdict v = { 0 };
	struct letter *l = g->letter;
	bool fault = scope == SCOPE_HOST;

	schedule_host(b->s, g, &r, fault, !fault && res != RCPT_RES_NOT_TRIED, "451 why", b->now);
	for (uint16_t i = 0; i < l->rcpt_count; i++) {
		if (l->rcpt[i].leg != g || !l->rcpt[i].flying)
			continue;
		v = schedule_rcpt(b->s, g, i, &rr, 0, b->now);
		l->rcpt[i].state = (uint8_t)v.state;
		l->rcpt[i].attempts = (uint16_t)(l->rcpt[i].attempts + v.charged);
	}
	schedule_landed(b->s, g, b->now);
	return v;
}

static void down_makes_no_attempts_and_up_releases_oldest_first(void **state)
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
	for (int round = 0; round < 3; round++)
		for (size_t i = 0; i < 2000; i++) {
			struct leg *x = next(b);

			if (!x)
				break;
			land(b, x, RCPT_RES_NOT_TRIED, SCOPE_NONE, 0, 0);
			x->letter->rcpt[0].next_s = 0;
			schedule_flush(b->s, "to-home", NULL, b->now);
			n++;
		}
	assert_int_equal(n - 2000, SCHEDULE_RELEASE_PER_S);
	b->now += 1000;
	assert_non_null(next(b));
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

static void fourth_flap_within_a_minute_is_held_down(void **state)
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

static void flush_clears_waits_but_neither_hold_nor_down(void **state)
{
	struct bench *b = bench_new(TUNNEL_UP);
	struct leg *g;

	letter(b, "a@home.example", NULL);
	g = next(b);
	land(b, g, RCPT_RES_TEMPFAIL, SCOPE_RECIPIENT, 1, 0);
	assert_null(next(b));
	assert_int_equal(schedule_flush(b->s, "to-home", NULL, b->now), 1);
	assert_non_null(g = next(b));
	land(b, g, RCPT_RES_TEMPFAIL, SCOPE_RECIPIENT, 1, 0);
	schedule_hold(b->s, "to-home", true, b->now);
	schedule_flush(b->s, NULL, NULL, b->now);
	assert_null(next(b));
	schedule_hold(b->s, "to-home", false, b->now);
	tunnel(b, TUNNEL_DOWN);
	schedule_flush(b->s, NULL, NULL, b->now);
	assert_null(next(b));
	assert_int_equal(schedule_force(b->s, "to-home", b->now), 1);
	assert_non_null(next(b)); /* one attempt, asked for by name */
	assert_null(next(b));
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(down_makes_no_attempts_and_up_releases_oldest_first),
		cmocka_unit_test(limit_grows_with_success_and_release_is_paced),
		cmocka_unit_test(probing_tunnel_charges_nobody),
		cmocka_unit_test(tunnel_up_ends_the_waits_of_its_host_only),
		cmocka_unit_test(fourth_flap_within_a_minute_is_held_down),
		cmocka_unit_test(unknown_tunnel_is_tried_by_one),
		cmocka_unit_test(faults_have_their_scope),
		cmocka_unit_test(failing_family_is_left_out_while_the_other_works),
		cmocka_unit_test(letters_expire_by_ttl_and_a_try_or_a_day),
		cmocka_unit_test(flush_clears_waits_but_neither_hold_nor_down),
		cmocka_unit_test(lost_relay_puts_everything_back),
		cmocka_unit_test(waits_follow_the_schedule),
		cmocka_unit_test(what_the_relay_gives_back_untried_does_not_go_round_and_round),
		cmocka_unit_test(tarpits_of_strangers_leave_room_for_the_tunnel),
	};

	log_setup("test_schedule", LOG_LVL_ERR, -1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
