/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The rules of "One supervisor per peer", each with its test. Where the rule is the engine's, the test is
 * in exchange/ (E); the rest is here or in test_supervisor.c (S).
 *
 *	proof of life is an answer, never inbound ESP	S data_that_leaves_without_proof_is_questioned_on_both_sides
 *	(1) data has left, proof over 10 s old, both	S the same
 *	(2) start side: 30 s or two keepalives		S an_idle_start_side_keeps_alive_and_asks_each_half_minute
 *							  the_start_side_asks_after_two_keepalives_where_those_are_longer
 *	(3) waiting side: three gaps, at least 60 s	S the_waiting_side_misses_an_idle_peer_after_three_gaps
 *	(4) another interface, source, gateway		  another_interface_source_or_gateway_asks_at_once
 *	(5) the clock jumped				  ike_case_095_after_8_hours_asleep_it_asks_at_once
 *							  after_a_sleep_it_is_called_beside_soon
 *	(6) an ICMP error, one in 5 s			S icmp_is_a_hint_at_most_every_5_s
 *	0.5, 1, 2, 4, 4 s, then 2-4 s, after 24 h 30 s	  retransmissions_come_at_these_times
 *	... all of it then, not at the next look	  what_a_rule_says_happens_then_and_not_when_next_looked_at
 *	hop at 2.5 s, the same bytes, by turns		  soon_it_goes_by_another_port_and_then_by_turns
 *	... of calls as well				  a_call_hops_too
 *	... the waiting side never			S the_waiting_side_never_hops_nor_calls
 *	... live is the one that answered		S silence_is_told_hopped_and_called_beside
 *	... the next request is UPDATE_SA_ADDRESSES	  with_mobike_the_other_port_is_told_by_the_next_request
 *	... another one each 20 s, so one can rest	  the_ports_take_turns_of_20_s
 *	at 15 s a parallel IKE_SA_INIT			S silence_is_told_hopped_and_called_beside
 *	same DH value and SPI for 5 min			S never_gives_up_in_a_year
 *	a packet fires at once, once a second		S an_inner_packet_fires_at_once_but_once_a_second
 *							  a_day_later_a_packet_fires_as_soon_as_it_is_seen
 *	a route change fires at once			  a_route_change_fires_at_once
 *	only who lives and refuses backs off		S a_refusal_backs_off_and_inner_packets_do_not_change_that
 *							  silence_never_backs_off
 *							  one_that_lets_us_in_and_out_again_is_not_called_in_haste
 *	`retry-max` bounds all of it			  retry_max_paces_calls_names_and_packets
 *	the cost is told				  the_cost_of_a_day_follows_the_pace
 *	waiting side calls the last endpoint		S after_our_own_start_the_last_endpoint_is_called_for_a_minute
 *							  without_a_way_the_last_endpoint_is_called_as_soon_as_there_is_one
 *	an endpoint moves once a second, the first at once	  the_first_move_may_follow_at_once
 *	no network at boot				  ike_case_098_half_an_hour_without_a_network_costs_nothing_after
 *	the wall clock decides nothing			  there is none here: time is an argument
 *	on demand, inactivity				  an_idle_on_demand_peer_is_closed_and_comes_back_with_a_packet
 *							  keepalives_are_no_reason_to_stay
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#include "retransmit.h"
#include "sup_fake.h"

#define DAY_MS (24ull * 3600 * 1000)

static void up_as_start_side(void)
{
	start(SUP_ALWAYS, "198.51.100.1");
	pass(10);
	comes_up(1, "198.51.100.1");
	pass(10); /* the way there is known */
	f.asked = f.dummies = f.moves = f.roamed = f.told = f.initiated = f.hopped = 0;
}

static void the_start_side_asks_after_two_keepalives_where_those_are_longer(void **state)
{
	struct sup_config c = config(SUP_ALWAYS, "198.51.100.1");

	(void)state;
	c.keepalive_ms = 60000;
	sup_init(&s, &env, &c, NULL, now);
	pass(10);
	comes_up(1, "198.51.100.1");
	pass(118000);
	assert_int_equal(f.asked, 0);
	pass(4000);
	assert_int_equal(f.asked, 1);
}

static void route_answer(uint32_t ifindex, const char *src, const char *gateway)
{
	struct sup_route r = { .ifindex = ifindex, .src = addr(src), .gateway = addr(gateway) };
	struct addr to = addr("198.51.100.1");

	sup_on_route(&s, &to, 0, &r, now);
}

static void another_interface_source_or_gateway_asks_at_once(void **state)
{
	(void)state;
	up_as_start_side();
	route_answer(2, "192.168.1.2", "192.168.1.1");
	f.asked = 0;
	route_answer(2, "192.168.1.2", "192.168.1.1");
	assert_int_equal(f.asked, 0);
	route_answer(3, "192.168.1.2", "192.168.1.1");
	assert_int_equal(f.asked, 1);
	reply_from(0, "198.51.100.1");
	route_answer(3, "192.168.1.77", "192.168.1.1");
	assert_int_equal(f.asked, 2);
	assert_true(f.last.local.addr.b[3] == 77);
	reply_from(0, "198.51.100.1");
	route_answer(3, "192.168.1.77", "192.168.1.9");
	assert_int_equal(f.asked, 3);
}

static void ike_case_095_after_8_hours_asleep_it_asks_at_once(void **state)
{
	(void)state;
	up_as_start_side();
	pass(1000);
	now += 8 * 3600 * 1000; /* no timer ran */
	sup_tick(&s, now);
	assert_int_equal(f.asked, 1);
	/* and when it slept with a question open, that is asked again, not after its own pause */
	pass(3000);
	f.retransmitted = 0;
	now += 8 * 3600 * 1000;
	sup_tick(&s, now);
	assert_int_equal(f.retransmitted, 2); /* that, and the call that was made beside it */
	pass(10);
	assert_int_equal(f.initiated, 1); /* and it is called beside at once */
}

static void after_a_sleep_it_is_called_beside_soon(void **state)
{
	(void)state;
	up_as_start_side();
	pass(1000);
	now += 3600 * 1000;
	sup_tick(&s, now);
	assert_int_equal(f.initiated, 0);
	pass(1200);
	assert_int_equal(f.initiated, 1); /* what it knew may be gone: not 15 s later */
	reply_from(0, "198.51.100.1");
	assert_int_equal(f.dropped, 1);
	f.initiated = 0;
	pass(44000); /* the next silence is as any */
	assert_int_equal(f.initiated, 0);
	pass(6000);
	assert_int_equal(f.initiated, 1);
}

static void the_first_move_may_follow_at_once(void **state)
{
	struct engine_path p = { .sock = 0 };

	(void)state;
	start(SUP_WAIT, NULL);
	comes_up(1, "100.64.0.9:1234");
	pass(300); /* its NAT moved it between its IKE_AUTH and our answer */
	assert_int_equal(endpoint_parse("100.64.0.9:1235", 0, &p.remote), 0);
	sup_on_endpoint(&s, &p, 100, true, now);
	assert_int_equal(f.moved.remote.port, 1235);
	pass(300);
	p.remote.port = 1236;
	sup_on_endpoint(&s, &p, 100, true, now);
	assert_int_equal(f.moved.remote.port, 1235); /* one a second */
}

static void retransmissions_come_at_these_times(void **state)
{
	static const uint64_t ladder[] = { 500, 1000, 2000, 4000, 4000 };
	struct retransmit r;
	uint64_t alive = 1000, gap;

	(void)state;
	for (uint32_t rnd = 0; rnd < 5000; rnd += 7) {
		retransmit_start(&r, 1000);
		for (int i = 0; i < 5; i++) {
			gap = retransmit_due_ms(&r, alive, 0, rnd) - r.last_ms;
			assert_in_range(gap, ladder[i] * 3 / 4, ladder[i]);
			retransmit_again(&r, r.last_ms + gap);
		}
		gap = retransmit_due_ms(&r, alive, 0, rnd) - r.last_ms;
		assert_in_range(gap, 2000, 4000);
		retransmit_again(&r, alive + DAY_MS - 1);
		gap = retransmit_due_ms(&r, alive, 0, rnd) - r.last_ms;
		assert_in_range(gap, 2000, 4000);
		gap = retransmit_due_ms(&r, alive, 60000, rnd) - r.last_ms; /* retry-max = 1m */
		assert_in_range(gap, 30000, 60000);
		retransmit_again(&r, alive + DAY_MS);
		assert_int_equal(retransmit_due_ms(&r, alive, 0, rnd) - r.last_ms, 30000);
		assert_int_equal(retransmit_due_ms(&r, alive, 60000, rnd) - r.last_ms, 60000);
		/* a call anew, in a long silence: no haste where tries are dear */
		retransmit_start(&r, alive + 3600 * 1000);
		gap = retransmit_due_ms(&r, alive, 60000, rnd) - r.last_ms;
		assert_in_range(gap, 30000, 60000);
	}
}

static void what_a_rule_says_happens_then_and_not_when_next_looked_at(void **state)
{
	struct sup_config c = config(SUP_ALWAYS, "198.51.100.1");
	uint64_t proved, asked;

	(void)state;
	c.keepalive_ms = 23000; /* is no reason to look */
	sup_init(&s, &env, &c, NULL, now);
	pass(10);
	comes_up(1, "198.51.100.1");
	proved = s.reply_ms;
	f.asked = f.initiated = 0;
	pass(700);
	f.act.tx_data_ms = f.act.tx_any_ms = now; /* the last word was ours */
	sup_tick(&s, now);			  /* looked at now, and then each 2 s */
	while (!f.asked)
		pass(1);
	assert_int_equal(now - proved, SUP_DATA_ASK_MS);
	asked = s.asked_ms;
	pass(SUP_PARALLEL_MS - 700);
	sup_tick(&s, now);
	while (!f.initiated)
		pass(1);
	assert_int_equal(now - asked, SUP_PARALLEL_MS);
}

static void soon_it_goes_by_another_port_and_then_by_turns(void **state)
{
	uint64_t asked;

	(void)state;
	up_as_start_side();
	while (!f.asked)
		pass(100);
	asked = s.asked_ms;
	pass(asked + SUP_HOP_MS - 10 - now);
	assert_int_equal(f.hopped, 0);
	pass(20);
	assert_int_equal(f.hopped, 1);
	assert_int_equal(f.hop_ms[0] - asked, SUP_HOP_MS);
	assert_true(f.via.sock == 2 || f.via.sock == 3);
	pass(3600 * 1000);
	/* each is a retransmission that moves the engine's next one: that comes 2 to 4 s later */
	for (int i = 1; i < 60; i++)
		if (f.hop_ms[i] != f.hop_ms[i - 1]) /* else it is the call beside it */
			assert_in_range(f.hop_ms[i] - f.hop_ms[i - 1], 4000, 8000);
}

static void what_only_leaves_of_what_went_both_ways_is_questioned_within_a_second(void **state)
{
	uint64_t cut;

	(void)state;
	up_as_start_side();
	for (int i = 0; i < 80; i++) { /* a conversation */
		f.act.tx_data_ms = f.act.tx_any_ms = f.act.rx_auth_ms = f.act.rx_data_ms = now;
		pass(100);
	}
	assert_int_equal(f.asked, 0);
	cut = now;
	while (!f.asked && now - cut < 20000) {
		f.act.tx_data_ms = f.act.tx_any_ms = now;
		pass(100);
	}
	assert_in_range(now - cut, SUP_DUMB_MS - 100, SUP_DUMB_MS + SUP_BUSY_SAMPLE_MS + 200);
	/* It was answered after all, and nothing more comes back: the slower rule is enough then. */
	reply_from(0, "198.51.100.1");
	f.asked = 0;
	cut = now;
	while (!f.asked && now - cut < 20000) {
		f.act.tx_data_ms = f.act.tx_any_ms = now;
		pass(100);
	}
	assert_in_range(now - cut, SUP_DATA_ASK_MS, SUP_DATA_ASK_MS + SUP_SAMPLE_MS);
	/* A trickle that is answered now and then costs a question each 5 s, no more. */
	reply_from(0, "198.51.100.1");
	f.asked = 0;
	for (int i = 0; i < 600; i++) {
		int was = f.asked;

		f.act.tx_data_ms = f.act.tx_any_ms = now;
		if (i % 20 == 0)
			f.act.rx_auth_ms = now;
		pass(100);
		if (f.asked != was)
			reply_from(0, "198.51.100.1");
	}
	assert_in_range(f.asked, 6, 12);
}

static void a_silent_peer_whose_name_says_another_address_is_called_there_at_once(void **state)
{
	uint64_t asked;

	(void)state;
	start(SUP_ALWAYS, "vps.example.net");
	pass(100);
	comes_up(1, "198.51.100.1");
	pass(100);
	f.initiated = f.asked = f.resolves = 0;
	f.endpoints[0] = 0;
	for (int i = 0; !f.asked && i < 1000; i++)
		pass(100);
	assert_int_equal(f.asked, 1);
	asked = s.asked_ms;
	pass(asked + 5000 - now);
	assert_int_equal(f.resolves, 1); /* it says the same as before: no reason for anything */
	assert_int_equal(f.initiated, 0);
	reply_from(0, "198.51.100.1");
	f.asked = f.resolves = 0;
	f.resolver[0] = addr("198.51.100.7");
	f.resolver_count = 1;
	for (int i = 0; !f.asked && i < 1000; i++)
		pass(100);
	assert_int_equal(f.asked, 1);
	assert_int_equal(f.resolves, 0);
	asked = s.asked_ms;
	pass(asked + SUP_RENAME_MS + 600 - now);
	assert_int_equal(f.initiated, 1);
	assert_string_equal(f.endpoints, "198.51.100.7:4500 ");
	assert_true(s.ike); /* the old one stays usable beside it */
}

static void a_call_hops_too(void **state)
{
	(void)state;
	start(SUP_ALWAYS, "198.51.100.1");
	pass(SUP_HOP_MS - 100);
	assert_int_equal(f.initiated, 1);
	assert_int_equal(f.hopped, 0);
	pass(200);
	assert_int_equal(f.hopped, 1);
	assert_int_not_equal(f.via.local.port, 40000);
	comes_up(1, "198.51.100.1");
	f.hopped = 0;
	pass(20000);
	assert_int_equal(f.hopped, 0);
}

static void with_mobike_the_other_port_is_told_by_the_next_request(void **state)
{
	(void)state;
	up_as_start_side();
	s.mobike = true;
	pass(38000);
	assert_int_equal(f.updated, 0);
	assert_true(f.hopped > 0);
	reply_from(f.via.sock, "198.51.100.1");
	assert_int_equal(f.updated, 1);
	/* and so is another way out */
	f.ifindex = 9;
	sup_on_path_change(&s, now);
	pass(10);
	assert_int_equal(f.updated, 2);
	/* where it cannot be sent, a liveness is */
	f.update_error = -1;
	f.ifindex = 10;
	f.asked = 0;
	sup_on_path_change(&s, now);
	pass(10);
	assert_int_equal(f.updated, 2);
	assert_int_equal(f.asked, 1);
}

static void the_ports_take_turns_of_20_s(void **state)
{
	uint32_t used[3] = { 0 };
	uint64_t left[4] = { 0 };
	uint32_t last = 0;

	(void)state;
	up_as_start_side();
	pass(40000);
	for (int i = 0; i < 600; i++) {
		pass(500);
		if (f.via.sock != last && last && left[f.via.sock])
			assert_true(now - left[f.via.sock] >= 10000); /* it could rest */
		left[f.via.sock] = now;
		last = f.via.sock;
		used[last ? last - 1 : 0]++;
	}
	assert_true(used[1] && used[2]);
}

static void a_day_later_a_packet_fires_as_soon_as_it_is_seen(void **state)
{
	(void)state;
	up_as_start_side();
	pass(30 * 3600 * 1000);
	f.retransmitted = 0;
	pass(10000);
	assert_int_equal(f.retransmitted, 0);
	f.act.tx_data_ms = now;
	pass(2500);
	assert_in_range(f.retransmitted, 1, 3); /* the live IKE SA's, and the call's beside it */
}

static void a_route_change_fires_at_once(void **state)
{
	struct sup_config c = config(SUP_ALWAYS, "198.51.100.1");

	(void)state;
	c.retry_max_ms = 600000;
	sup_init(&s, &env, &c, NULL, now);
	pass(3600 * 1000);
	f.retransmitted = 0;
	sup_on_path_change(&s, now);
	pass(10);
	assert_true(f.retransmitted || (s.attempt_count && s.attempt[0].at_ms + 20 > now));
}

static void silence_never_backs_off(void **state)
{
	(void)state;
	start(SUP_ALWAYS, "198.51.100.1");
	pass(10);
	for (int i = 0; i < 20; i++) { /* the engine gave up on an answer: nobody has refused */
		int was = f.initiated;

		goes_down(f.next_ike, false, ENGINE_WHY_TIMEOUT);
		assert_string_equal(sup_state(&s, now), "calling");
		pass(4100);
		assert_int_equal(f.initiated, was + 1);
	}
}

static void one_that_lets_us_in_and_out_again_is_not_called_in_haste(void **state)
{
	(void)state;
	start(SUP_ALWAYS, "198.51.100.1");
	for (int i = 0; i < 3600; i++) {
		pass(100);
		if (!s.attempt_count || !s.attempt[0].ike)
			continue;
		comes_up(s.attempt[0].ike, "198.51.100.1");
		pass(100);
		goes_down(s.ike, true, ENGINE_WHY_DELETED);
	}
	assert_in_range(f.initiated, 10, 25); /* in more than 6 minutes */
	/* one that stayed a while is called again at once */
	pass(40000);
	comes_up(f.next_ike, "198.51.100.1");
	pass(20000);
	f.initiated = 0;
	goes_down(s.ike, true, ENGINE_WHY_DELETED);
	pass(10);
	assert_int_equal(f.initiated, 1);
}

static void retry_max_paces_calls_names_and_packets(void **state)
{
	struct sup_config c = config(SUP_ALWAYS, "vps.example.net");

	(void)state;
	c.retry_max_ms = 600000;
	sup_init(&s, &env, &c, NULL, now);
	pass(60000);
	f.initiated = f.resolves = f.hopped = f.retransmitted = 0;
	pass(10 * 3600 * 1000);
	assert_in_range(f.resolves, 60, 120); /* 5 to 10 min, and as many calls */
	assert_in_range(f.initiated, 60, 120);
	assert_true(f.hopped <= 120);
	f.retransmitted = f.resolves = 0;
	for (int i = 0; i < 3600; i++) { /* somebody wants to go there all the time */
		sup_on_inner_packet(&s, now);
		pass(1000);
	}
	assert_in_range(f.resolves, 15, 48);
	assert_true(f.retransmitted <= 30);
}

static void the_cost_of_a_day_follows_the_pace(void **state)
{
	uint64_t usual;

	(void)state;
	start(SUP_ALWAYS, "198.51.100.1");
	usual = sup_cost_bytes(&s, now);
	assert_in_range(usual, 10000000, 20000000);
	s.cfg.retry_max_ms = 300000;
	assert_in_range(sup_cost_bytes(&s, now), usual / 100, usual / 50);
	s.cfg.retry_max_ms = 4000;
	pass(DAY_MS + 60000);
	assert_int_equal(sup_cost_bytes(&s, now), usual / 10);
}

static void a_foreign_client_with_addresses_of_ours_is_not_called_after_our_start(void **state)
{
	struct fx up = { .kind = FX_PEER_UP };
	struct sup_config c = config(SUP_WAIT, NULL);

	(void)state;
	c.gives = true;
	sup_init(&s, &env, &c, NULL, now);
	comes_up(1, "203.0.113.7:4500"); /* a Postern takes calls */
	assert_int_equal(s.memory.endpoint.port, 4500);
	up.up.peer = PEER;
	up.up.ike = 2;
	up.up.child = true;
	assert_int_equal(endpoint_parse("203.0.113.7:4500", 4500, &up.up.path.remote), 0);
	sup_on_fx(&s, &up, now);
	assert_int_equal(s.memory.endpoint.addr.family, 0);
	/* With addresses of its own it may be one that takes calls too. */
	s.cfg.gives = false;
	up.up.ike = 3;
	sup_on_fx(&s, &up, now);
	assert_int_equal(s.memory.endpoint.port, 4500);
}

static void without_a_way_the_last_endpoint_is_called_as_soon_as_there_is_one(void **state)
{
	struct sup_config c = config(SUP_WAIT, NULL);
	struct sup_memory m = { 0 };

	(void)state;
	m.endpoint = (struct endpoint){ addr("100.64.0.9"), 1234 };
	f.route_ok = false;
	sup_init(&s, &env, &c, &m, now);
	sup_recall(&s, now + 200);
	pass(20000);
	assert_int_equal(f.initiated, 0);
	f.route_ok = true;
	pass(1000);
	assert_string_equal(f.endpoints, "100.64.0.9:1234 ");
	comes_up(1, "100.64.0.9:1234");
	pass(60000);
	assert_int_equal(f.initiated, 1);
}

static void who_gives_way_to_others_is_called_again_when_it_is_its_turn(void **state)
{
	struct fx left = { .kind = FX_PEER_DOWN, .down.was_up = true, .down.why = ENGINE_WHY_DELETED };
	struct sup_config c = config(SUP_WAIT, NULL);
	struct sup_memory m = { 0 };

	(void)state;
	sup_init(&s, &env, &c, &m, now);
	assert_int_equal(sup_recall_state(&s), RECALL_DONE); /* never seen anywhere */
	m.endpoint = (struct endpoint){ addr("100.64.0.9"), 1234 };
	sup_init(&s, &env, &c, &m, now);
	assert_int_equal(sup_recall_state(&s), RECALL_OVER);
	sup_recall(&s, now);
	pass(5000);
	assert_int_equal(f.initiated, 1);
	assert_int_equal(sup_recall_state(&s), RECALL_SILENT);
	sup_recall_end(&s);
	assert_int_equal(f.dropped, 1);
	assert_int_equal(sup_recall_state(&s), RECALL_OVER);
	pass(20000);
	assert_int_equal(f.initiated, 1);
	sup_recall(&s, now);
	pass(100);
	assert_int_equal(f.initiated, 2);
	f.answered = true;
	assert_int_equal(sup_recall_state(&s), RECALL_ANSWERED);
	f.answered = false;
	pass(70000);
	assert_int_equal(sup_recall_state(&s), RECALL_OVER);
	sup_recall(&s, now);
	pass(100);
	comes_up(3, "100.64.0.9:1234");
	assert_int_equal(sup_recall_state(&s), RECALL_DONE);
	left.down.ike = 3;
	sup_on_fx(&s, &left, now);
	assert_int_equal(s.ike, 0);
	assert_int_equal(sup_recall_state(&s), RECALL_DONE);
}

static void ike_case_098_half_an_hour_without_a_network_costs_nothing_after(void **state)
{
	(void)state;
	f.route_ok = f.resolver_ok = false;
	start(SUP_ALWAYS, "vps.example.net");
	pass(1800 * 1000);
	assert_int_equal(f.initiated, 0);
	/* Links come one by one, and the resolver last: nothing tells us about that one. */
	f.route_ok = true;
	sup_on_path_change(&s, now);
	pass(500);
	f.resolver_ok = true;
	pass(4000);
	assert_int_equal(f.initiated, 1);
}

static void an_idle_on_demand_peer_is_closed_and_comes_back_with_a_packet(void **state)
{
	struct sup_config c = config(SUP_ON_DEMAND, "198.51.100.1");

	(void)state;
	c.inactivity_ms = 300000;
	sup_init(&s, &env, &c, NULL, now);
	pass(5000);
	assert_int_equal(f.initiated, 0);
	sup_on_inner_packet(&s, now);
	pass(10);
	comes_up(1, "198.51.100.1");
	for (int i = 0; i < 600; i++) { /* busy in one direction or the other */
		*(i < 300 ? &f.act.tx_data_ms : &f.act.rx_data_ms) = now;
		pass(1000);
		reply_from(0, "198.51.100.1");
	}
	assert_int_equal(f.closed, 0);
	for (int i = 0; i < 298; i++) {
		pass(1000);
		reply_from(0, "198.51.100.1");
	}
	assert_int_equal(f.closed, 0);
	pass(3000);
	assert_int_equal(f.closed, 1);
	goes_down(1, true, ENGINE_WHY_ADMIN);
	assert_string_equal(sup_state(&s, now), "idle");
	pass(3600 * 1000);
	assert_int_equal(f.initiated, 1);
	sup_on_inner_packet(&s, now);
	pass(10);
	assert_int_equal(f.initiated, 2);
	/* the other side may be the one that closes it */
	comes_up(2, "198.51.100.1");
	pass(20000);
	goes_down(2, true, ENGINE_WHY_DELETED);
	assert_string_equal(sup_state(&s, now), "idle");
}

static void keepalives_are_no_reason_to_stay(void **state)
{
	struct sup_config c = config(SUP_ON_DEMAND, "198.51.100.1");

	(void)state;
	c.inactivity_ms = 60000;
	sup_init(&s, &env, &c, NULL, now);
	sup_on_inner_packet(&s, now);
	pass(10);
	comes_up(1, "198.51.100.1");
	for (int i = 0; i < 70; i++) {
		f.act.tx_any_ms = f.act.rx_auth_ms = now;
		pass(1000);
		reply_from(0, "198.51.100.1");
	}
	assert_int_equal(f.closed, 1);
}

static void an_ike_sa_without_a_child_is_called_so(void **state)
{
	(void)state;
	start(SUP_ALWAYS, "198.51.100.1");
	pass(10);
	ike_comes_up(1, "198.51.100.1", false);
	assert_string_equal(sup_state(&s, now), "childless");
	pass(50000); /* unanswered */
	assert_string_equal(sup_state(&s, now), "silent");
}

int main(void)
{
#define T(x) cmocka_unit_test_setup_teardown(x, begin, end)
	const struct CMUnitTest tests[] = {
		T(the_start_side_asks_after_two_keepalives_where_those_are_longer),
		T(another_interface_source_or_gateway_asks_at_once),
		T(ike_case_095_after_8_hours_asleep_it_asks_at_once),
		T(after_a_sleep_it_is_called_beside_soon),
		T(the_first_move_may_follow_at_once),
		T(retransmissions_come_at_these_times),
		T(what_a_rule_says_happens_then_and_not_when_next_looked_at),
		T(soon_it_goes_by_another_port_and_then_by_turns),
		T(what_only_leaves_of_what_went_both_ways_is_questioned_within_a_second),
		T(a_silent_peer_whose_name_says_another_address_is_called_there_at_once),
		T(a_call_hops_too),
		T(with_mobike_the_other_port_is_told_by_the_next_request),
		T(the_ports_take_turns_of_20_s),
		T(a_day_later_a_packet_fires_as_soon_as_it_is_seen),
		T(a_route_change_fires_at_once),
		T(silence_never_backs_off),
		T(one_that_lets_us_in_and_out_again_is_not_called_in_haste),
		T(retry_max_paces_calls_names_and_packets),
		T(the_cost_of_a_day_follows_the_pace),
		T(a_foreign_client_with_addresses_of_ours_is_not_called_after_our_start),
		T(without_a_way_the_last_endpoint_is_called_as_soon_as_there_is_one),
		T(who_gives_way_to_others_is_called_again_when_it_is_its_turn),
		T(ike_case_098_half_an_hour_without_a_network_costs_nothing_after),
		T(an_idle_on_demand_peer_is_closed_and_comes_back_with_a_packet),
		T(keepalives_are_no_reason_to_stay),
		T(an_ike_sa_without_a_child_is_called_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
