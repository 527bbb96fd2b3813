/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A supervisor against a fake engine, data plane, resolver and clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sup_fake.h"

/* The engine's schedule of retransmissions, from the moment of asking. */
static void unanswered_for(uint64_t ms)
{
	uint64_t began = now, at = now;
	static const unsigned gap[] = { 500, 1000, 2000, 4000, 4000 };

	for (int i = 0; now - began < ms; i++) {
		struct fx fx = { .kind = FX_UNANSWERED };

		at += i < 5 ? gap[i] : 3000;
		if (at - began > ms) {
			pass(began + ms - now);
			break;
		}
		pass(at - now);
		fx.unanswered.ike = s.ike;
		fx.unanswered.since_ms = began;
		fx.unanswered.established = true;
		fx.unanswered.tries = (uint32_t)i + 2;
		sup_on_fx(&s, &fx, now);
	}
}

/* ---- calling ---- */

static void calls_at_once_by_name(void **state)
{
	(void)state;
	start(SUP_ALWAYS, "vps.example.net");
	assert_string_equal(sup_state(&s, now), "calling");
	pass(0);
	assert_int_equal(f.resolves, 1);
	pass(10);
	assert_int_equal(f.initiated, 1);
	assert_string_equal(f.endpoints, "198.51.100.1:4500 ");
	assert_int_equal(f.last.local.port, 40000);
	comes_up(1, "198.51.100.1");
	assert_true(f.up && sup_is_up(&s, now));
	assert_int_equal(f.dummies, 1); /* the responder learns that it may send */
}

static void child_goes(uint32_t ike, uint32_t left)
{
	struct fx fx = { .kind = FX_CHILD_DOWN, .child = { .ike = ike, .left = left } };

	sup_on_fx(&s, &fx, now);
}

static void one_child_of_several_gone_is_not_down(void **state)
{
	(void)state;
	start(SUP_WAIT, NULL);
	comes_up(1, "198.51.100.1");
	child_goes(1, 2);
	assert_true(f.up && sup_is_up(&s, now));
	child_goes(1, 0);
	assert_false(f.up || sup_is_up(&s, now));
}

/* A foreign peer with several IKE SAs closes the one that we know: another one is its place now. */
static void the_heir_of_an_ike_sa_takes_over(void **state)
{
	struct fx fx = { .kind = FX_PEER_DOWN };

	(void)state;
	start(SUP_WAIT, NULL);
	comes_up(1, "198.51.100.1");
	comes_up(2, "198.51.100.1");
	fx.down.ike = 2;
	fx.down.was_up = true;
	fx.down.why = ENGINE_WHY_DELETED;
	fx.down.heir = 1;
	fx.down.heir_child = true;
	sup_on_fx(&s, &fx, now);
	assert_int_equal(s.ike, 1);
	assert_true(f.up && sup_is_up(&s, now));
	goes_down(1, true, ENGINE_WHY_DELETED);
	assert_false(f.up || sup_is_up(&s, now));
}

/* Both called at the same time: of two that came up, the one that was told last need not be what stays. */
static void of_two_calls_that_crossed_the_one_that_stays_is_followed(void **state)
{
	struct fx fx = { .kind = FX_PEER_DOWN };

	(void)state;
	start(SUP_WAIT, NULL);
	comes_up(3, "198.51.100.1:1");
	comes_up(1, "198.51.100.1:2");
	fx.down.ike = 1;
	fx.down.was_up = fx.down.replaced = true;
	fx.down.why = ENGINE_WHY_REPLACED;
	fx.down.heir = 3;
	fx.down.heir_child = true;
	assert_int_equal(endpoint_parse("198.51.100.1:1", 0, &fx.down.heir_path.remote), 0);
	sup_on_fx(&s, &fx, now);
	assert_int_equal(s.ike, 3);
	assert_int_equal(f.moved.remote.port, 1);
	assert_true(sup_is_up(&s, now));
}

static void never_gives_up_in_a_year(void **state)
{
	(void)state;
	start(SUP_ALWAYS, "198.51.100.1");
	pass(23ull * 3600 * 1000);
	/* a fresh attempt every five minutes, each retransmitted by the engine meanwhile */
	assert_in_range(f.initiated, 23 * 11, 23 * 12 + 1);
	assert_int_equal(f.initiated, f.dropped + 1);
	pass(364 * SUP_DAY_MS);
	assert_string_equal(sup_state(&s, now), "calling");
	f.initiated = 0;
	pass(3600 * 1000);
	assert_in_range(f.initiated, 10, 12);
	comes_up(s.attempt[0].ike, "198.51.100.1");
	assert_true(f.up);
}

static void names_are_asked_again_at_every_attempt_and_changes_followed(void **state)
{
	(void)state;
	start(SUP_ALWAYS, "vps.example.net");
	pass(60000);
	assert_in_range(f.resolves, 15, 31);
	assert_int_equal(f.initiated, 1);
	f.resolver[0] = addr("203.0.113.9");
	pass(4100);
	assert_string_equal(f.endpoints, "198.51.100.1:4500 203.0.113.9:4500 ");
	assert_int_equal(f.dropped, 1);
	assert_int_equal(f.remembered, 2);
}

static void without_an_answer_of_dns_the_last_address_is_called(void **state)
{
	struct sup_config c = config(SUP_ALWAYS, "vps.example.net");
	struct sup_names names = { .count = { 1 } };
	struct sup_memory m = { .names = &names };

	(void)state;
	names.addr[0][0] = addr("198.51.100.77");
	f.resolver_ok = false;
	sup_init(&s, &env, &c, &m, now);
	pass(100);
	assert_string_equal(f.endpoints, "198.51.100.77:4500 ");
}

static void without_a_network_nothing_is_sent_until_there_is_one(void **state)
{
	(void)state;
	f.route_ok = false;
	start(SUP_ALWAYS, "vps.example.net");
	pass(30000);
	assert_int_equal(f.initiated, 0);
	f.route_ok = true;
	sup_on_path_change(&s, now);
	pass(10);
	assert_int_equal(f.initiated, 1);
}

static void all_addresses_are_tried_staggered_by_family(void **state)
{
	(void)state;
	f.resolver[0] = addr("198.51.100.1");
	f.resolver[1] = addr("198.51.100.2");
	f.resolver[2] = addr("2001:db8::1");
	f.resolver_count = 3;
	start(SUP_ALWAYS, "vps.example.net");
	pass(200);
	assert_string_equal(f.endpoints, "[2001:db8::1]:4500 ");
	pass(100);
	assert_string_equal(f.endpoints, "[2001:db8::1]:4500 198.51.100.1:4500 ");
	pass(300);
	assert_string_equal(f.endpoints, "[2001:db8::1]:4500 198.51.100.1:4500 198.51.100.2:4500 ");
	comes_up(2, "198.51.100.1");
	assert_int_equal(f.dropped, 2);
}

static void a_refusal_backs_off_and_inner_packets_do_not_change_that(void **state)
{
	uint64_t gap[8], last;

	(void)state;
	start(SUP_ALWAYS, "198.51.100.1");
	pass(10);
	for (int i = 0; i < 8; i++) {
		int was = f.initiated;

		goes_down(f.next_ike, false, ENGINE_WHY_AUTH_FAILED);
		assert_string_equal(sup_state(&s, now), "refused");
		last = now;
		while (f.initiated == was) {
			sup_on_inner_packet(&s, now);
			pass(100);
		}
		gap[i] = now - last;
	}
	assert_in_range(gap[0], 1000, 1200);
	assert_in_range(gap[1], 2000, 2200);
	assert_in_range(gap[7], 30000, 30200);
	comes_up(f.next_ike, "198.51.100.1");
	pass(SUP_BRIEF_MS);
	goes_down(s.ike, true, ENGINE_WHY_DELETED);
	f.initiated = 0;
	pass(10);
	assert_int_equal(f.initiated, 1);
}

/* The engine waits for a better answer before it says so; then it is our turn (RFC 7296 s2.21.1). */
static void ike_case_030_after_a_refused_call_comes_the_next_one(void **state)
{
	static const enum engine_why whys[] = { ENGINE_WHY_NO_PROPOSAL, ENGINE_WHY_REFUSED };

	(void)state;
	start(SUP_ALWAYS, "198.51.100.1");
	pass(10);
	for (int i = 0; i < 20; i++) {
		int was = f.initiated;

		goes_down(f.next_ike, false, whys[i % 2]);
		pass(900);
		assert_int_equal(f.initiated, was); /* not in haste */
		pass(31000);
		assert_int_equal(f.initiated, was + 1);
	}
}

static void an_inner_packet_fires_at_once_but_once_a_second(void **state)
{
	(void)state;
	start(SUP_ALWAYS, "198.51.100.1");
	pass(20000);
	f.retransmitted = 0;
	for (int i = 0; i < 100; i++) {
		sup_on_inner_packet(&s, now);
		pass(50);
	}
	assert_in_range(f.retransmitted, 4, 6);
}

static void on_demand_waits_for_a_packet(void **state)
{
	(void)state;
	start(SUP_ON_DEMAND, "198.51.100.1");
	pass(3600 * 1000);
	assert_int_equal(f.initiated, 0);
	sup_on_inner_packet(&s, now);
	pass(10);
	assert_int_equal(f.initiated, 1);
}

/* ---- up ---- */

static void up_as_start_side(void)
{
	start(SUP_ALWAYS, "198.51.100.1");
	pass(10);
	comes_up(1, "198.51.100.1");
	pass(10); /* the way there is known */
	f.asked = f.dummies = f.moves = f.roamed = f.told = f.initiated = 0;
}

static void an_idle_start_side_keeps_alive_and_asks_each_half_minute(void **state)
{
	(void)state;
	up_as_start_side();
	for (int i = 0; i < 600; i++) {
		int was = f.asked;

		pass(1000);
		if (f.asked != was)
			reply_from(0, "198.51.100.1");
	}
	assert_in_range(f.asked, 18, 21);   /* every 30 s */
	assert_in_range(f.dummies, 18, 41); /* between them, every 15 s */
	assert_int_equal(f.nat, 0);
}

static void a_foreign_peer_gets_0xff_and_is_asked_every_20_s(void **state)
{
	(void)state;
	up_as_start_side();
	s.postern = false;
	for (int i = 0; i < 600; i++) {
		int was = f.asked;

		pass(1000);
		if (f.asked != was)
			reply_from(0, "198.51.100.1");
	}
	assert_in_range(f.asked, 27, 31);
	assert_int_equal(f.dummies, 0);
	assert_true(f.nat > 10);
}

static void data_that_leaves_without_proof_is_questioned_on_both_sides(void **state)
{
	(void)state;
	start(SUP_WAIT, NULL);
	comes_up(1, "198.51.100.99:1234");
	for (int i = 0; i < 9; i++) {
		f.act.tx_data_ms = f.act.tx_any_ms = f.act.rx_auth_ms = now;
		pass(1000);
	}
	assert_int_equal(f.asked, 0);
	for (int i = 0; i < 5; i++) { /* inbound ESP proves nothing about the way back */
		f.act.tx_data_ms = f.act.tx_any_ms = f.act.rx_auth_ms = now;
		pass(1000);
	}
	assert_int_equal(f.asked, 1);
	reply_from(0, "198.51.100.99:1234");
	f.asked = 0;
	/* keepalives alone are not data */
	for (int i = 0; i < 40; i++) {
		f.act.tx_any_ms = f.act.rx_auth_ms = now;
		pass(1000);
	}
	assert_int_equal(f.asked, 0);
}

static void the_waiting_side_misses_an_idle_peer_after_three_gaps(void **state)
{
	(void)state;
	start(SUP_WAIT, NULL);
	comes_up(1, "198.51.100.99:1234");
	for (int i = 0; i < 20; i++) {
		f.act.rx_auth_ms = now;
		pass(30000); /* that peer is heard every 30 s */
	}
	assert_int_equal(f.asked, 0);
	pass(58000);
	assert_int_equal(f.asked, 0);
	pass(6000);
	assert_int_equal(f.asked, 1);
	assert_int_equal(f.nat + f.dummies, 0); /* its NAT is its own affair */
}

static void silence_is_told_hopped_and_called_beside(void **state)
{
	(void)state;
	up_as_start_side();
	while (!f.asked)
		pass(50); /* in place of a keepalive, so at most 30 s */
	assert_in_range(now - s.reply_ms, 20000, 30050);
	pass(SUP_HOP_MS - 100);
	assert_int_equal(f.hopped + f.told, 0);
	pass(14800 - (SUP_HOP_MS - 100));
	assert_int_equal(f.told, 1);
	assert_false(f.up);
	assert_string_equal(sup_state(&s, now), "silent");
	assert_true(f.hopped >= 1);
	assert_true(f.via.sock != 0 && f.via.local.port != 40000);
	assert_int_equal(f.initiated, 0);
	pass(4500);
	assert_int_equal(f.initiated, 1); /* beside the old SA */
	assert_true(s.ike);
	/* the old one answers on the other port: it goes on there, the attempt ends */
	reply_from(f.via.sock, "198.51.100.1");
	assert_true(f.up);
	assert_int_equal(f.dropped, 1);
	assert_int_equal(f.moved.sock, f.via.sock);
	assert_int_equal(f.roamed, 1);
	assert_true(f.dummies > 0);
}

static void an_attempt_that_was_answered_is_not_dropped_when_the_old_sa_speaks(void **state)
{
	(void)state;
	up_as_start_side();
	pass(30000);
	unanswered_for(20000);
	assert_int_equal(f.initiated, 1);
	f.answered = true;
	reply_from(0, "198.51.100.1");
	assert_int_equal(f.dropped, 0);
	comes_up(f.next_ike, "198.51.100.1");
	assert_int_equal(s.ike, f.next_ike);
}

static void the_waiting_side_never_hops_nor_calls(void **state)
{
	(void)state;
	start(SUP_WAIT, NULL);
	comes_up(1, "198.51.100.99:1234");
	pass(61000);
	assert_int_equal(f.asked, 1);
	unanswered_for(600000);
	assert_int_equal(f.hopped + f.initiated, 0);
	assert_false(f.up);
	reply_from(0, "198.51.100.99:1234");
	assert_true(f.up);
}

static void a_clock_that_jumped_asks_at_once(void **state)
{
	(void)state;
	up_as_start_side();
	pass(1000);
	now += 9000; /* suspended, for less than any other trigger would wait */
	f.act.tx_any_ms = now;
	sup_tick(&s, now);
	assert_int_equal(f.asked, 1);
}

static void another_way_to_the_peer_asks_and_moves_at_once(void **state)
{
	(void)state;
	up_as_start_side();
	sup_on_path_change(&s, now);
	pass(10);
	assert_int_equal(f.asked, 0); /* nothing that concerns it has changed */
	f.ifindex = 3;
	sup_on_path_change(&s, now);
	pass(10);
	assert_int_equal(f.asked, 1);
	assert_int_equal(f.moves, 1);
	assert_int_equal(f.dummies, 1);
}

static void icmp_is_a_hint_at_most_every_5_s(void **state)
{
	(void)state;
	up_as_start_side();
	for (int i = 0; i < 100; i++) {
		sup_on_icmp(&s, now);
		pass(100);
	}
	assert_in_range(f.asked, 2, 3);
	assert_true(s.ike);
}

static void a_hint_that_it_lost_us_calls_beside_the_old_sa(void **state)
{
	struct fx fx = { .kind = FX_HINT };

	(void)state;
	up_as_start_side();
	fx.reply.ike = s.ike;
	sup_on_fx(&s, &fx, now); /* out of the blue: asked, nothing more */
	pass(100);
	assert_int_equal(f.asked, 1);
	assert_int_equal(f.initiated, 0);
	sup_on_fx(&s, &fx, now); /* in answer to what we asked */
	for (int i = 0; i < 50; i++) {
		sup_on_fx(&s, &fx, now);
		pass(100);
	}
	assert_int_equal(f.initiated, 1);
	assert_int_equal(s.ike, 1); /* it is still the live one: a forger gains nothing */
	reply_from(0, "198.51.100.1");
	assert_int_equal(f.dropped, 1);
	assert_true(sup_is_up(&s, now));
}

/* A CHILD SA that it is said to have lost is a reason to ask at once, and none to call. */
static void a_hint_about_a_child_asks_again(void **state)
{
	struct fx fx = { .kind = FX_HINT };

	(void)state;
	up_as_start_side();
	fx.reply.ike = s.ike;
	fx.reply.about_child = true;
	sup_on_fx(&s, &fx, now);
	pass(100);
	assert_int_equal(f.asked, 1);
	assert_int_equal(f.retransmitted, 0);
	for (int i = 0; i < 50; i++) { /* no answer yet: the same question, once a second at most */
		sup_on_fx(&s, &fx, now);
		pass(100);
	}
	assert_in_range(f.retransmitted, 4, 6);
	assert_int_equal(f.initiated, 0);
	assert_true(s.ike);
}

static void fails(const char *text, bool claim)
{
	struct fx fx = { .kind = FX_FAILED };

	snprintf(fx.failed.text, sizeof(fx.failed.text), "%s", text);
	fx.failed.claim = claim;
	sup_on_fx(&s, &fx, now);
}

static void a_claim_does_not_overwrite_why_our_own_call_failed(void **state)
{
	(void)state;
	start(SUP_ALWAYS, "198.51.100.1");
	pass(10);
	fails("ours", false);
	for (int i = 0; i < 5; i++)
		fails("somebody's", true);
	assert_string_equal(s.failure, "ours");
	assert_string_equal(s.claim, "somebody's");
	assert_int_equal(s.claims, 5);
	comes_up(1, "198.51.100.1");
	assert_null(s.failure);
	assert_null(s.claim);
}

static void why_there_is_no_child_sa_stands_until_there_is_one(void **state)
{
	struct fx fx = { .kind = FX_CHILD_UP };

	(void)state;
	start(SUP_WAIT, NULL);
	fails("no common ESP proposal", false);
	ike_comes_up(1, "198.51.100.1", false);
	assert_string_equal(s.failure, "no common ESP proposal");
	fx.child.ike = 1;
	sup_on_fx(&s, &fx, now);
	assert_null(s.failure);
	assert_string_equal(sup_state(&s, now), "up");
}

static void is_not_up_before_its_addresses_are_ours(void **state)
{
	(void)state;
	start(SUP_ALWAYS, "198.51.100.1");
	pass(10);
	sup_hold(&s, true, now);
	sup_hold(&s, true, now);
	comes_up(1, "198.51.100.1");
	assert_false(sup_is_up(&s, now) || f.up);
	sup_hold(&s, false, now);
	assert_false(f.up);
	sup_hold(&s, false, now);
	assert_true(sup_is_up(&s, now) && f.up);
	assert_int_equal(f.told, 1);
}

static void a_refused_address_backs_off_further_each_time(void **state)
{
	uint64_t last = 0;

	(void)state;
	start(SUP_ALWAYS, "198.51.100.1");
	pass(10);
	for (uint32_t i = 0; i < 5; i++) {
		sup_hold(&s, true, now);
		comes_up(100 + i, "198.51.100.1");
		fails("address", false);
		goes_down(100 + i, true, ENGINE_WHY_ADDRESS);
		sup_hold(&s, false, now);
		assert_string_equal(sup_state(&s, now), "refused");
		assert_string_equal(s.failure, "address");
		assert_true(s.refused_until_ms - now > last);
		last = s.refused_until_ms - now;
		pass(last + 10);
	}
	assert_int_equal(f.told, 0);
	sup_hold(&s, true, now);
	comes_up(200, "198.51.100.1");
	assert_string_equal(s.failure, "address"); /* until it is known */
	sup_hold(&s, false, now);
	assert_null(s.failure);
	goes_down(200, true, ENGINE_WHY_AUTH_FAILED);
	assert_true(s.refused_until_ms - now <= SUP_REFUSED_MIN_MS);
}

static void admin_down_closes_and_up_calls(void **state)
{
	(void)state;
	up_as_start_side();
	sup_admin(&s, false, now);
	assert_int_equal(f.closed, 1);
	goes_down(s.ike, true, ENGINE_WHY_ADMIN);
	pass(100000);
	assert_int_equal(f.initiated, 0);
	assert_string_equal(sup_state(&s, now), "off");
	sup_admin(&s, true, now);
	pass(10);
	assert_int_equal(f.initiated, 1);
}

static void a_rekeyed_ike_sa_stays_the_same_peer(void **state)
{
	struct fx fx = { .kind = FX_IKE_REKEYED };

	(void)state;
	up_as_start_side();
	fx.rekeyed.old_ike = s.ike;
	fx.rekeyed.new_ike = 99;
	sup_on_fx(&s, &fx, now);
	goes_down(1, true, ENGINE_WHY_REPLACED);
	assert_int_equal(s.ike, 99);
	assert_true(sup_is_up(&s, now));
}

/* ---- endpoints ---- */

static void up_as_waiting_side(void)
{
	start(SUP_WAIT, NULL);
	comes_up(1, "100.64.0.9:1234");
	pass(2000);
	f.asked = f.moves = f.limited = f.roamed = f.remembered = 0;
}

static void seen_from(const char *from, bool newest)
{
	struct engine_path p = { .sock = 0 };

	assert_int_equal(endpoint_parse(from, 4500, &p.remote), 0);
	sup_on_endpoint(&s, &p, 100, newest, now);
}

static const char *moved_to(void)
{
	static char text[ENDPOINT_STR_MAX];

	return endpoint_str(&f.moved.remote, text);
}

static void a_new_port_is_used_at_once(void **state)
{
	(void)state;
	up_as_waiting_side();
	seen_from("100.64.0.9:999", false);
	assert_int_equal(f.moves, 0);
	seen_from("100.64.0.9:999", true);
	assert_int_equal(f.moves, 1);
	assert_int_equal(f.limited, 0);
	assert_string_equal(moved_to(), "100.64.0.9:999");
	assert_int_equal(f.remembered, 1);
	seen_from("100.64.0.9:1000", true); /* at most one move a second */
	assert_int_equal(f.moves, 1);
	pass(1000);
	seen_from("100.64.0.9:1000", true);
	assert_int_equal(f.moves, 2);
}

static void a_new_address_is_on_trial_until_it_answers(void **state)
{
	(void)state;
	up_as_waiting_side();
	seen_from("100.64.0.77:1", true);
	assert_int_equal(f.limited, 1);
	assert_int_equal(f.asked, 1);
	assert_int_equal(f.remembered, 0);
	reply_from(0, "100.64.0.77:1");
	assert_int_equal(f.moves, 2);
	assert_int_equal(f.limited, 1);
	assert_int_equal(f.remembered, 1);
	pass(10000);
	assert_string_equal(moved_to(), "100.64.0.77:1");
	assert_true(s.trials == 1 && s.trials_won == 1 && !s.trials_lost);
}

static void a_new_address_that_does_not_answer_is_left_and_ignored(void **state)
{
	(void)state;
	up_as_waiting_side();
	seen_from("203.0.113.66:1", true);
	pass(2900);
	assert_string_equal(moved_to(), "203.0.113.66:1");
	pass(200);
	assert_string_equal(moved_to(), "100.64.0.9:1234");
	reply_from(0, "100.64.0.9:1234"); /* where it is all the time */
	assert_true(s.trials == 1 && !s.trials_won && s.trials_lost == 1);
	f.moves = 0;
	for (int i = 0; i < 50; i++) {
		f.act.rx_auth_ms = now;
		seen_from("203.0.113.66:2", true);
		pass(1000);
	}
	assert_int_equal(f.moves, 0);
	pass(11000);
	seen_from("203.0.113.66:2", true);
	assert_int_equal(f.moves, 1);
}

/* Loss: the trial is over when the answer to a copy of the request comes, from where it went. */
static void an_answer_that_is_late_for_the_trial_lets_the_address_be_tried_again(void **state)
{
	(void)state;
	up_as_waiting_side();
	seen_from("203.0.113.66:1", true);
	pass(3100);
	assert_string_equal(moved_to(), "100.64.0.9:1234");
	reply_from(0, "203.0.113.66:1");
	assert_string_equal(moved_to(), "100.64.0.9:1234"); /* it may have been late indeed */
	pass(1000);
	seen_from("203.0.113.66:1", true);
	assert_string_equal(moved_to(), "203.0.113.66:1");
	reply_from(0, "203.0.113.66:1");
	pass(10000);
	assert_string_equal(moved_to(), "203.0.113.66:1");
	assert_true(s.trials == 2 && s.trials_won == 1 && s.trials_lost == 1);
}

/* The trial was lost for want of a way back, which may come any time: the old path is no better. */
static void an_address_that_was_left_is_tried_again_while_the_old_one_is_silent(void **state)
{
	int trials = 0;

	(void)state;
	up_as_waiting_side();
	for (int i = 0; i < 200; i++) {
		int was = f.limited;

		seen_from("203.0.113.66:1", true);
		trials += f.limited != was;
		pass(100);
	}
	assert_in_range(trials, 4, 7);
	seen_from("203.0.113.66:1", true);
	pass(1100);
	seen_from("203.0.113.66:1", true);
	reply_from(0, "203.0.113.66:1");
	assert_string_equal(moved_to(), "203.0.113.66:1");
	pass(10000);
	assert_string_equal(moved_to(), "203.0.113.66:1");
}

static void a_newer_packet_from_the_old_address_ends_the_detour(void **state)
{
	(void)state;
	up_as_waiting_side();
	seen_from("203.0.113.66:1", true);
	seen_from("100.64.0.9:1234", true);
	assert_string_equal(moved_to(), "100.64.0.9:1234");
	assert_int_equal(f.limited, 1);
	assert_true(s.trials == 1 && !s.trials_won && s.trials_lost == 1);
}

static void the_start_side_does_not_follow_a_server_without_nat(void **state)
{
	(void)state;
	up_as_start_side();
	seen_from("203.0.113.66:1", true);
	assert_int_equal(f.moves, 0);
}

static void after_our_own_start_the_last_endpoint_is_called_for_a_minute(void **state)
{
	struct sup_config c = config(SUP_WAIT, NULL);
	struct sup_memory m = { 0 };

	(void)state;
	m.endpoint = (struct endpoint){ addr("100.64.0.9"), 1234 };
	sup_init(&s, &env, &c, &m, now);
	sup_recall(&s, now + 500);
	pass(400);
	assert_int_equal(f.initiated, 0);
	pass(200);
	assert_string_equal(f.endpoints, "100.64.0.9:1234 ");
	pass(61000);
	assert_int_equal(f.dropped, 1);
	pass(3600 * 1000);
	assert_int_equal(f.initiated, 1);
}

/*
 * Ten thousand of them wait on a small server: what only a call needs, or a peer with names, is not in
 * it. A new member goes there too, or this number has a reason to grow.
 */
static void a_peer_that_waits_takes_little_memory(void **state)
{
	struct supervisor *one = &s;

	(void)state;
	assert_true(sizeof(*one) <= 1000);
	start(SUP_WAIT, NULL);
	ike_comes_up(7, "203.0.113.9:1000", true);
	pass(60000);
	assert_null(one->attempt);
	assert_null(one->memory.names);
}

int main(void)
{
#define T(x) cmocka_unit_test_setup_teardown(x, begin, end)
	const struct CMUnitTest tests[] = {
		T(calls_at_once_by_name),
		T(a_peer_that_waits_takes_little_memory),
		T(one_child_of_several_gone_is_not_down),
		T(the_heir_of_an_ike_sa_takes_over),
		T(of_two_calls_that_crossed_the_one_that_stays_is_followed),
		T(never_gives_up_in_a_year),
		T(names_are_asked_again_at_every_attempt_and_changes_followed),
		T(without_an_answer_of_dns_the_last_address_is_called),
		T(without_a_network_nothing_is_sent_until_there_is_one),
		T(all_addresses_are_tried_staggered_by_family),
		T(a_refusal_backs_off_and_inner_packets_do_not_change_that),
		T(ike_case_030_after_a_refused_call_comes_the_next_one),
		T(an_inner_packet_fires_at_once_but_once_a_second),
		T(on_demand_waits_for_a_packet),
		T(an_idle_start_side_keeps_alive_and_asks_each_half_minute),
		T(a_foreign_peer_gets_0xff_and_is_asked_every_20_s),
		T(data_that_leaves_without_proof_is_questioned_on_both_sides),
		T(the_waiting_side_misses_an_idle_peer_after_three_gaps),
		T(silence_is_told_hopped_and_called_beside),
		T(an_attempt_that_was_answered_is_not_dropped_when_the_old_sa_speaks),
		T(the_waiting_side_never_hops_nor_calls),
		T(a_clock_that_jumped_asks_at_once),
		T(another_way_to_the_peer_asks_and_moves_at_once),
		T(icmp_is_a_hint_at_most_every_5_s),
		T(a_hint_that_it_lost_us_calls_beside_the_old_sa),
		T(a_hint_about_a_child_asks_again),
		T(a_claim_does_not_overwrite_why_our_own_call_failed),
		T(why_there_is_no_child_sa_stands_until_there_is_one),
		T(is_not_up_before_its_addresses_are_ours),
		T(a_refused_address_backs_off_further_each_time),
		T(admin_down_closes_and_up_calls),
		T(a_rekeyed_ike_sa_stays_the_same_peer),
		T(a_new_port_is_used_at_once),
		T(a_new_address_is_on_trial_until_it_answers),
		T(a_new_address_that_does_not_answer_is_left_and_ignored),
		T(an_answer_that_is_late_for_the_trial_lets_the_address_be_tried_again),
		T(an_address_that_was_left_is_tried_again_while_the_old_one_is_silent),
		T(a_newer_packet_from_the_old_address_ends_the_detour),
		T(the_start_side_does_not_follow_a_server_without_nat),
		T(after_our_own_start_the_last_endpoint_is_called_for_a_minute),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
