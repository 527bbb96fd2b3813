/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the tunnel does to the queue over minutes and days, and several homes at one relay. */
#include "schedule_bench.h"

#define RTT_MS 100

struct flight {
	struct leg *leg;
	uint64_t at;
};

/* Start what may go, land what went off RTT_MS ago. Returns how many have arrived. */
static size_t turn(struct bench *b, struct flight *f, size_t cap, size_t *open, uint64_t *last)
{
	size_t done = 0;
	struct leg *g;

	for (size_t i = 0; i < cap; i++) {
		if (!f[i].leg || f[i].at > b->now)
			continue;
		land(b, f[i].leg, RCPT_RES_DELIVERED, SCOPE_NONE, MSG_R_FAMILY4, 0);
		f[i].leg = NULL;
		--*open;
		done++;
	}
	while ((g = next(b))) {
		size_t i = 0;

		assert_true(g->letter->seq > *last); /* oldest first */
		*last = g->letter->seq;
		while (i < cap && f[i].leg)
			i++;
		assert_true(i < cap);
		f[i] = (struct flight){ g, b->now + RTT_MS };
		++*open;
	}
	return done;
}

static void mail_case_067_five_thousand_wait_for_three_days_and_go_in_order(void **state)
{
	static struct flight f[SCHEDULE_FLYING];
	struct bench *b = bench_new(TUNNEL_DOWN);
	uint64_t last = 0, up;
	size_t done = 0, open = 0, most = 0;

	(void)state;
	memset(f, 0, sizeof(f));
	routes[0].ttl_ms = 20ull * 86400000;
	for (int i = 0; i < 5000; i++)
		letter(b, "a@home.example", NULL);
	for (int minute = 0; minute < 3 * 24 * 60; minute++) {
		b->now += 60000;
		assert_null(next(b));
		assert_true(schedule_due(b->s, b->now) == UINT64_MAX);
	}
	for (size_t i = 0; i < b->count; i++) {
		assert_int_equal(b->letters[i]->rcpt[0].attempts, 0);
		assert_false(schedule_expired(b->letters[i]->legs, &b->letters[i]->rcpt[0],
					      3 * 86400, 3 * 86400));
	}
	tunnel(b, TUNNEL_UP);
	up = b->now;
	for (; done < 5000 && b->now < up + 60000; b->now += 10) {
		done += turn(b, f, SCHEDULE_FLYING, &open, &last);
		most = open > most ? open : most;
	}
	assert_int_equal(done, 5000);
	assert_true(most <= SCHEDULE_FLYING / 2);
	/* Half of the relay's places by RTT give 640 a second. */
	assert_true(b->now - up < 12000);
	routes[0].ttl_ms = 86400000;
	bench_free(b);
}

/* Up for half of each five seconds; every connect is made, and each is cut before its letter is there. */
static void mail_case_068_flaps_each_5_s_are_held_down_and_cost_nobody(void **state)
{
	struct bench *b = bench_new(TUNNEL_DOWN);
	size_t tries = 0, in_last_minute = 0, left;
	struct leg *g;

	(void)state;
	for (int i = 0; i < 200; i++)
		letter(b, "a@home.example", NULL);
	for (int flap = 0; flap < 120; flap++) {
		struct leg *cut[SCHEDULE_FLYING];
		size_t n = 0;

		b->now += 2500;
		tunnel(b, TUNNEL_UP);
		for (uint64_t end = b->now + 2500; b->now < end; b->now += 50)
			while ((g = next(b)))
				cut[n++] = g;
		tunnel(b, TUNNEL_DOWN);
		for (size_t i = 0; i < n; i++)
			land(b, cut[i], RCPT_RES_NOT_TRIED, SCOPE_NONE, 0, 0);
		tries += n;
		in_last_minute += flap >= 108 ? n : 0;
	}
	/* The first up and three flaps are acted on at once, the fourth after 2 s; all later ones are too short. */
	assert_int_equal(tries, 5 * SCHEDULE_LIMIT_FIRST);
	assert_int_equal(in_last_minute, 0);
	for (size_t i = 0; i < b->count; i++)
		assert_int_equal(b->letters[i]->rcpt[0].attempts, 0);
	/* It stays up: at once after the hold-down, which is half a minute at most. */
	tunnel(b, TUNNEL_UP);
	assert_null(next(b));
	assert_int_equal(schedule_due(b->s, b->now), b->now + 30000);
	b->now += 30000;
	for (left = 200; (g = next(b)); left--)
		land(b, g, RCPT_RES_DELIVERED, SCOPE_NONE, MSG_R_FAMILY4, 0);
	assert_int_equal(left, 0);
	bench_free(b);
}

/* Of one letter, at one host: the fate of each recipient is its own. */
static void a_greylisted_recipient_waits_while_others_are_delivered(void **state)
{
	static const uint8_t fate[3] = { RCPT_RES_DELIVERED, RCPT_RES_TEMPFAIL,
					 RCPT_RES_PERMFAIL };
	struct bench *b = bench_new(TUNNEL_UP);
	struct letter *l = letter_to(b, 3, "a@home.example", "grey@home.example",
				     "gone@home.example");
	struct leg *g = next(b);

	(void)state;
	assert_non_null(g);
	schedule_host(b->s, g, NULL, false, true, "", b->now);
	for (uint16_t i = 0; i < 3; i++) {
		struct msg_r_rcpt_result r = { .result = fate[i],
					       .scope = fate[i] == RCPT_RES_DELIVERED
							    ? SCOPE_NONE
							    : SCOPE_RECIPIENT,
					       .enhanced = "",
					       .text = "" };
		struct schedule_verdict v = schedule_rcpt(b->s, g, i, &r, 0, b->now);

		l->rcpt[i].state = (uint8_t)v.state;
		l->rcpt[i].attempts = v.charged;
	}
	schedule_landed(b->s, g, b->now);
	assert_int_equal(l->rcpt[0].state, RCPT_DELIVERED);
	assert_int_equal(l->rcpt[1].state, RCPT_PENDING);
	assert_int_equal(l->rcpt[2].state, RCPT_FAILED);
	/* Neither another's success nor a tunnel that comes up again shortens its wait. */
	letter(b, "b@home.example", NULL);
	g = next(b);
	assert_ptr_not_equal(g->letter, l);
	land(b, g, RCPT_RES_DELIVERED, SCOPE_NONE, MSG_R_FAMILY4, 0);
	b->now += 1000;
	tunnel(b, TUNNEL_DOWN);
	tunnel(b, TUNNEL_UP);
	assert_null(next(b));
	assert_int_equal(schedule_due(b->s, b->now), b->now + 59000);
	b->now += 59000;
	g = next(b);
	assert_ptr_equal(g->letter, l);
	assert_true(l->rcpt[1].flying);
	assert_false(l->rcpt[0].flying || l->rcpt[2].flying);
	bench_free(b);
}

/* up, unknown, probing, down, and back: what each lets go. */
static void each_state_of_the_tunnel_lets_go_what_it_may(void **state)
{
	struct bench *b = bench_new(TUNNEL_UP);
	struct leg *g;

	(void)state;
	for (int i = 0; i < 20; i++)
		letter(b, "a@home.example", NULL);
	g = next(b);
	assert_false(was_probe);
	/* posternd goes away in mid-flight: what flies may land, one more may try. */
	tunnel(b, TUNNEL_UNKNOWN);
	assert_null(next(b));
	land(b, g, RCPT_RES_TEMPFAIL, SCOPE_HOST, 0, MSG_R_FAMILY4);
	g = next(b);
	assert_non_null(g);
	assert_true(was_probe);
	assert_null(next(b));
	/* It works without posternd: as much goes as with it. */
	land(b, g, RCPT_RES_DELIVERED, SCOPE_NONE, MSG_R_FAMILY4, 0);
	g = next(b);
	assert_non_null(g);
	assert_non_null(next(b));
	/* Up, but the next hop does not answer: probing, and down ends that. */
	tunnel(b, TUNNEL_UP);
	land(b, g, RCPT_RES_TEMPFAIL, SCOPE_HOST, 0, MSG_R_FAMILY4);
	assert_null(next(b));
	tunnel(b, TUNNEL_DOWN);
	b->now += 3600000;
	assert_null(next(b));
	tunnel(b, TUNNEL_UP);
	assert_non_null(next(b));
	bench_free(b);
}

/* ---- several homes ---- */

#define HOMES 8

static struct mta_route many_routes[HOMES];
static struct tunnel_peer peers[HOMES];
static char names[HOMES][2][32];
static char *domain_of[HOMES];

static struct bench *homes_new(void)
{
	struct bench *b = bench_new(TUNNEL_UP);
	static struct mta_config many;

	for (int i = 0; i < HOMES; i++) {
		snprintf(names[i][0], sizeof(names[i][0]), "h%d", i);
		snprintf(names[i][1], sizeof(names[i][1]), "h%d.example", i);
		domain_of[i] = names[i][1];
		many_routes[i] = routes[0];
		memcpy(many_routes[i].name, names[i][0], 3);
		many_routes[i].peer = names[i][0];
		many_routes[i].domains = (struct strv){ &domain_of[i], 1 };
		many_routes[i].sessions_max = 4;
		peers[i] = b->peer;
		memcpy(peers[i].name, names[i][0], 3);
	}
	many = (struct mta_config){ .routes = many_routes, .route_count = HOMES };
	b->tunnel.peers = peers;
	b->tunnel.peer_count = HOMES;
	schedule_reload(b->s, &many, &b->tunnel, b->now);
	return b;
}

static size_t fly(struct bench *b, int which, size_t letters, struct leg **first)
{
	char addr[64];
	struct leg *g;
	size_t n = 0;

	snprintf(addr, sizeof(addr), "a@h%d.example", which);
	for (size_t i = 0; i < letters; i++)
		letter(b, addr, NULL);
	while ((g = next(b))) {
		assert_string_equal(g->dest->route, many_routes[which].name);
		if (!n++ && first)
			*first = g;
	}
	return n;
}

/* Each of them has worked before, so the limit of its own is as high as it gets; then none answers. */
static void homes_that_hang_leave_places_to_the_others(void **state)
{
	struct leg *hangs = NULL, *g;
	struct bench *b = homes_new();
	size_t want = SCHEDULE_FLYING / 2, n;

	(void)state;
	for (int i = 0; i < HOMES; i++) {
		for (int k = 0; k < 6; k++) {
			char addr[64];

			snprintf(addr, sizeof(addr), "a@h%d.example", i);
			letter(b, addr, NULL);
			land(b, next(b), RCPT_RES_DELIVERED, SCOPE_NONE, MSG_R_FAMILY4, 0);
		}
	}
	for (int i = 0; i < HOMES - 1; i++, want /= 2) {
		n = fly(b, i, 300, i ? NULL : &hangs);
		assert_int_equal(n, want ? want : 1);
		assert_true(schedule_due(b->s, b->now) == UINT64_MAX); /* no timer spins */
	}
	/* The last one has all that it wants, a letter at a time. */
	for (int i = 0; i < 100; i++) {
		letter(b, "a@h7.example", NULL);
		g = next(b);
		assert_non_null(g);
		assert_string_equal(g->dest->route, "h7");
		assert_null(next(b));
		land(b, g, RCPT_RES_DELIVERED, SCOPE_NONE, MSG_R_FAMILY4, 0);
	}
	/* A place that becomes free is somebody's. */
	assert_null(next(b));
	land(b, hangs, RCPT_RES_DELIVERED, SCOPE_NONE, MSG_R_FAMILY4, 0);
	assert_non_null(next(b));
	bench_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mail_case_067_five_thousand_wait_for_three_days_and_go_in_order),
		cmocka_unit_test(mail_case_068_flaps_each_5_s_are_held_down_and_cost_nobody),
		cmocka_unit_test(a_greylisted_recipient_waits_while_others_are_delivered),
		cmocka_unit_test(each_state_of_the_tunnel_lets_go_what_it_may),
		cmocka_unit_test(homes_that_hang_leave_places_to_the_others),
	};

	log_setup("test_schedule_tunnel", LOG_LVL_ERR, -1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
