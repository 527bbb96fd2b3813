/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Several CHILD SAs with one peer: how they come up, are kept, narrowed and changed by a reload. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kids.h"

/* ---- coming up, and staying ---- */

static void three_children_on_one_ike_sa(void **s)
{
	struct world *w = three_and(mail_policies);

	(void)s;
	start(w);
	expect(w, 3);
	mail_passes(w, true);
	assert_int_equal(established(w, HOME), 1);
	EACH_HOST(a)
	assert_int_equal(w->host[a].child_up, 3);
	assert_int_equal(w->host[HOME].failed + w->host[VPS].failed, 0);
	finish(w);
}

/* The tutorial: three policies, and one section on the other side that allows all. */
static void three_policies_meet_one_section(void **s)
{
	struct world *w = three_and(one_policy);

	(void)s;
	start(w);
	expect(w, 3);
	mail_passes(w, true);
	assert_int_equal(established(w, VPS), 1);
	finish(w);
}

static void rekeys_keep_each_in_its_row(void **s)
{
	struct world *w = three_and(mail_policies);
	const struct paper_child *p;
	uint32_t line, ike;

	(void)s;
	start(w);
	p = way(w, HOME, TCP, 40000, SMTP);
	line = p->line;
	assert_int_equal(line, p->spi_in);
	EACH_HOST(a)
	{
		uint32_t spi =
		    spi_of(w, a, TCP, a == HOME ? 40000 : SMTP, a == HOME ? SMTP : 40000);

		DO(w, a, engine_rekey_child(e, now, spi, fx));
		world_run(w, 20000);
		expect(w, 3);
		mail_passes(w, true);
	}
	p = way(w, HOME, TCP, 40000, SMTP);
	assert_int_equal(p->line, line);
	assert_int_not_equal(p->spi_in, line);
	ike = w->host[HOME].ike;
	DO(w, HOME, engine_rekey_ike(e, now, ike, fx));
	world_run(w, 20000);
	expect(w, 3);
	mail_passes(w, true);
	world_run(w, 10 * 3600 * 1000);
	expect(w, 3);
	mail_passes(w, true);
	EACH_HOST(a)
	assert_int_equal(w->host[a].child_up, 3);
	finish(w);
}

static void each_child_that_is_lost_comes_back(void **s)
{
	struct world *w = three_and(one_policy);
	uint32_t ping, smtp;

	(void)s;
	start(w);
	ping = spi_of(w, VPS, ICMPV6, 0, 0);
	smtp = spi_of(w, VPS, TCP, 40000, SMTP);
	DO(w, VPS, engine_delete_child(e, now, ping, fx));
	world_run(w, 100);
	expect(w, 2);
	assert_int_equal(w->host[HOME].child_down, 1);
	world_run(w, 20000);
	expect(w, 3);
	mail_passes(w, true);
	assert_int_equal(spi_of(w, VPS, TCP, 40000, SMTP), smtp);
	finish(w);
}

/* Each has a back-off of its own: what is refused holds nothing else up, and is not given up. */
static void a_child_that_is_refused_holds_no_other_back(void **s)
{
	struct world *w = three_and(mail_policies);
	uint32_t smtp;
	unsigned failed;

	(void)s;
	w->host[VPS].peer.child_count = 2; /* no "ping" */
	start(w);
	expect(w, 2);
	assert_null(way(w, HOME, ICMPV6, 0, 0));
	assert_true(w->host[HOME].failed >= 1);
	smtp = spi_of(w, HOME, TCP, 40000, SMTP);
	world_run(w, 600000);
	failed = w->host[HOME].failed;
	assert_in_range(failed, 600 / 30, 600 / 30 + 8); /* 1 2 4 8 15, then every 30 s */
	changed_from(w);
	go_over(w, VPS, 3);
	world_run(w, 31000);
	expect(w, 3);
	mail_passes(w, true);
	assert_int_equal(spi_of(w, HOME, TCP, 40000, SMTP), smtp);
	finish(w);
}

static void a_packet_asks_at_once_for_what_is_missing(void **s)
{
	struct world *w = three_and(mail_policies);
	struct addr from, to;
	unsigned failed;

	(void)s;
	addr_parse(own[HOME], &from);
	addr_parse(own[VPS], &to);
	w->host[VPS].peer.child_count = 2;
	start(w);
	world_run(w, 100000); /* by now every 30 s */
	failed = w->host[HOME].failed;
	for (int n = 0; n < 5; n++) {
		DO(w, HOME, engine_acquire(e, now, w->host[HOME].ike, &from, &to, fx));
		world_run(w, 100);
	}
	assert_int_equal(w->host[HOME].failed, failed + 1);
	to.b[15] = 77; /* nothing is configured for that */
	world_run(w, 1000);
	DO(w, HOME, engine_acquire(e, now, w->host[HOME].ike, &from, &to, fx));
	world_run(w, 100);
	assert_int_equal(w->host[HOME].failed, failed + 1);
	finish(w);
}

/* ---- narrowing ---- */

/*
 * One policy for all on the start side: one answer after the other, until nothing is left. Ping fits into
 * one with SMTP one way, since no packet is both; SMTP the other way does not.
 */
static void one_wish_for_all_comes_to_all_three(void **s)
{
	struct world *w = three_and(mail_policies);

	(void)s;
	one_policy(w, HOME);
	start(w);
	expect(w, 2);
	mail_passes(w, false);
	world_run(w, 5 * 3600 * 1000);
	expect(w, 2);
	mail_passes(w, false);
	finish(w);
}

/* Pairs that are one rectangle are one CHILD SA. */
static void what_fits_into_one_answer_is_one_child(void **s)
{
	struct world *w = three_and(one_policy);
	struct engine_ts nets[2] = { *sel("10.1.0.0/16", 0, 0), *sel("10.2.0.0/16", 0, 0) };
	char text[200];

	(void)s;
	w->host[HOME].conf[0] = conf(1, "nets", sel("10.9.0.0/16", 0, 0), nets);
	w->host[HOME].conf[0].remote_ts_count = 2;
	w->host[HOME].peer.child_count = 1;
	for (int n = 0; n < 2; n++)
		w->host[VPS].conf[n] =
		    conf((uint32_t)n + 1, "net", &nets[n], sel("10.9.0.0/16", 0, 0));
	w->host[VPS].peer.child_count = 2;
	start(w);
	expect(w, 1);
	assert_string_equal(ts_list_str(&w->host[HOME].child[0].remote, text, sizeof(text)),
			    "10.1.0.0/16, 10.2.0.0/16");
	finish(w);
}

/* RFC 7296 s2.9: the first selectors of a wish are the packet's. */
static void the_first_selector_decides(void **s)
{
	struct world *w = three_and(mail_policies);
	struct engine_ts local[2] = { *sel(own[HOME], TCP, 40000), *sel(own[HOME], 0, 0) };
	struct engine_ts remote[2] = { *sel(own[VPS], TCP, SMTP), *sel(own[VPS], 0, 0) };

	(void)s;
	foreign = true; /* it would ask for the rest */
	w->host[HOME].conf[0] = conf(1, "packet", local, remote);
	w->host[HOME].conf[0].local_ts_count = w->host[HOME].conf[0].remote_ts_count = 2;
	w->host[HOME].peer.child_count = 1;
	world_start(w);
	world_call(w, HOME);
	for (int n = 0; n < 4; n++) {
		world_deliver(w, VPS);
		world_deliver(w, HOME);
	}
	assert_non_null(way(w, HOME, TCP, 40000, SMTP));
	assert_int_equal(w->host[HOME].child[0].remote.ts[0].port_lo, SMTP);
	world_run(w, 1000);
	foreign = false;
	finish(w);
}

static void the_narrowest_of_those_that_hold_a_wish_takes_it(void **s)
{
	struct world *w = three_and(one_policy);
	struct engine_ike_info i;

	(void)s;
	w->host[HOME].peer.child_count = 1; /* "in" */
	w->host[VPS].conf[1] = conf(9, "smtp", sel(own[VPS], TCP, 0), sel(own[HOME], TCP, SMTP));
	w->host[VPS].peer.child_count = 2;
	start(w);
	expect(w, 1);
	assert_true(engine_ike_info(w->host[VPS].e, w->host[VPS].ike, &i));
	assert_string_equal(i.child[0].name, "smtp");
	finish(w);
}

/* ---- reload ---- */

static void networks_of_both(struct world *w)
{
	for (int i = 0; i < 2; i++) {
		struct host *h = &w->host[i];

		h->conf[0] = conf(1, "lan", sel(own[i], 0, 0), sel(own[!i], 0, 0));
		h->conf[1] = conf(2, "other", sel("10.1.0.0/16", 0, 0), sel("10.1.0.0/16", 0, 0));
		h->peer.child_count = 2;
	}
}

static const char *lan_of(const struct world *w, int i)
{
	static char text[200];
	const struct paper_child *p = way(w, i, 17, 1, 1);

	return p ? ts_list_str(i == HOME ? &p->local : &p->remote, text, sizeof(text)) : "none";
}

/* Home gets a network behind it, told to one side after the other, in both orders. */
static void a_network_more_comes_with_a_reload(void **s)
{
	struct engine_ts more[2] = { *sel(own[HOME], 0, 0), *sel("192.168.77.0/24", 0, 0) };

	(void)s;
	for (int order = 0; order < 2; order++) {
		struct world *w = three_and(one_policy);

		networks_of_both(w);
		start(w);
		expect(w, 2);
		assert_string_equal(lan_of(w, HOME), "fd99::2/128");
		changed_from(w);
		changed[HOME][0].local_ts = changed[VPS][0].remote_ts = more;
		changed[HOME][0].local_ts_count = changed[VPS][0].remote_ts_count = 2;
		for (int step = 0; step < 2; step++) {
			go_over(w, step ^ order, 2);
			world_run(w, 20000);
			expect(w, 2);
			assert_string_equal(lan_of(w, HOME),
					    step ? "fd99::2/128, 192.168.77.0/24" : "fd99::2/128");
		}
		assert_string_equal(lan_of(w, VPS), "fd99::2/128, 192.168.77.0/24");
		EACH_HOST(a)
		{
			assert_int_equal(w->host[a].child_down, 0);
			assert_int_equal(w->host[a].down, 0);
			assert_int_equal(w->host[a].child_rekeyed, 2); /* the other one: never */
		}
		finish(w);
	}
}

/* A reload that takes a network away while a rekey is under way: the answer may not bring it back. */
static void a_network_less_is_not_brought_back_by_a_rekey_under_way(void **s)
{
	struct engine_ts more[2] = { *sel(own[HOME], 0, 0), *sel("fd77::/64", 0, 0) };

	(void)s;
	EACH_HOST(a)
	{
		struct world *w = three_and(one_policy);
		struct flight answer;
		uint32_t spi;

		networks_of_both(w);
		w->host[HOME].conf[0].local_ts = w->host[VPS].conf[0].remote_ts = more;
		w->host[HOME].conf[0].local_ts_count = w->host[VPS].conf[0].remote_ts_count = 2;
		start(w);
		expect(w, 2);
		assert_string_equal(lan_of(w, HOME), "fd99::2/128, fd77::/64");
		spi = spi_of(w, a, 17, 1, 1);
		DO(w, a, assert_int_equal(0, engine_rekey_child(e, now, spi, fx)));
		assert_true(world_deliver(w, !a));
		assert_int_equal(w->flights, 1);
		answer = world_take(w, 0);
		changed_from(w);
		changed[a][0] = conf(1, "lan", sel(own[a], 0, 0), sel(own[!a], 0, 0));
		go_over(w, a, 2);
		world_put(w, answer);
		world_run(w, 20000);
		assert_string_equal(lan_of(w, a), "fd99::2/128");
		expect(w, 2);
		finish(w);
	}
}

static void unchanged_children_keep_their_spis(void **s)
{
	struct world *w = three_and(mail_policies);
	uint32_t spi[3];

	(void)s;
	start(w);
	spi[0] = spi_of(w, HOME, TCP, SMTP, 40000);
	spi[1] = spi_of(w, HOME, TCP, 40000, SMTP);
	spi[2] = spi_of(w, HOME, ICMPV6, 0, 0);
	changed_from(w);
	/* The same again; then in another order; then one more. */
	EACH_HOST(a)
	go_over(w, a, 3);
	world_run(w, 1000);
	EACH_HOST(a)
	{
		changed[a][0] = w->host[a].conf[2];
		changed[a][2] = w->host[a].conf[0];
		changed[a][3] = conf(4, "dns", sel(own[a], 17, a == HOME ? 0 : 53),
				     sel(own[!a], 17, a == HOME ? 53 : 0));
		go_over(w, a, 4);
		world_run(w, 31000);
	}
	expect(w, 4);
	assert_non_null(way(w, HOME, 17, 40000, 53));
	assert_int_equal(spi[0], spi_of(w, HOME, TCP, SMTP, 40000));
	assert_int_equal(spi[1], spi_of(w, HOME, TCP, 40000, SMTP));
	assert_int_equal(spi[2], spi_of(w, HOME, ICMPV6, 0, 0));
	finish(w);
}

/* The VPS gave less than home asks for: home's reload is no reason to ask again. */
static void what_was_narrowed_is_no_change(void **s)
{
	struct world *w = three_and(one_policy);
	uint32_t spi;

	(void)s;
	one_policy(w, HOME);
	w->host[VPS].conf[0] = conf(1, "all", sel(own[VPS], TCP, 0), sel(own[HOME], 0, 0));
	start(w);
	spi = spi_of(w, HOME, TCP, 1, 1);
	changed_from(w);
	changed[HOME][0].lifetime_s = 1800;
	go_over(w, HOME, 1);
	world_run(w, 20000);
	assert_int_equal(spi, spi_of(w, HOME, TCP, 1, 1));
	assert_int_equal(w->host[HOME].child_rekeyed, 0);
	finish(w);
}

static void what_is_no_longer_configured_goes_at_once(void **s)
{
	(void)s;
	for (int i = 0; i < 2; i++) {
		struct world *w = three_and(mail_policies);

		start(w);
		changed_from(w);
		go_over(w, i, 2);
		world_run(w, 100);
		expect(w, 2);
		EACH_HOST(a)
		assert_null(way(w, a, ICMPV6, 0, 0));
		assert_int_equal(w->host[HOME].down + w->host[VPS].down, 0);
		finish(w);
	}
}

static void a_new_name_for_the_same_is_no_change(void **s)
{
	struct world *w = three_and(mail_policies);
	uint32_t spi;

	(void)s;
	start(w);
	spi = spi_of(w, HOME, ICMPV6, 0, 0);
	changed_from(w);
	changed[HOME][2].id = 7;
	changed[HOME][2].name = "icmp";
	go_over(w, HOME, 3);
	world_run(w, 40000);
	expect(w, 3);
	assert_int_equal(spi, spi_of(w, HOME, ICMPV6, 0, 0));
	finish(w);
}

/* Less is allowed: a new one first, then the old one goes; by one side alone or both at once. */
static void what_is_narrowed_is_replaced_before_it_goes(void **s)
{
	(void)s;
	for (int who = 1; who < 4; who++) {
		struct world *w = three_and(one_policy);
		uint32_t was;

		one_policy(w, HOME);
		start(w);
		expect(w, 1);
		was = spi_of(w, HOME, TCP, 1, SMTP);
		changed_from(w);
		changed[HOME][0] = conf(1, "all", sel(own[HOME], 0, 0), sel(own[VPS], TCP, SMTP));
		changed[VPS][0] = conf(1, "all", sel(own[VPS], TCP, SMTP), sel(own[HOME], 0, 0));
		EACH_HOST(a)
		if (who & 1 << a)
			go_over(w, a, 1);
		for (int n = 0; n < 100; n++) {
			assert_non_null(way(w, HOME, TCP, 1, SMTP)); /* never a gap */
			world_run(w, 20);
		}
		world_run(w, 20000); /* if both have made one, the second goes */
		expect(w, 1);
		assert_int_not_equal(was, spi_of(w, HOME, TCP, 1, SMTP));
		EACH_HOST(a)
		{
			assert_null(way(w, a, 17, 1, 1));
			assert_int_equal(w->host[a].down, 0);
		}
		finish(w);
	}
}

static void what_is_against_the_policy_goes_even_if_nobody_answers(void **s)
{
	struct world *w = three_and(one_policy);

	(void)s;
	one_policy(w, HOME);
	start(w);
	changed_from(w);
	changed[VPS][0] = conf(1, "all", sel(own[VPS], TCP, SMTP), sel(own[HOME], 0, 0));
	w->cut[HOME] = true;
	go_over(w, VPS, 1);
	world_run(w, 4000);
	assert_non_null(way(w, VPS, 17, 1, 1));
	world_run(w, 2000);
	assert_null(way(w, VPS, 17, 1, 1));
	w->cut[HOME] = false;
	world_run(w, 60000);
	expect(w, 1);
	assert_null(way(w, HOME, 17, 1, 1));
	finish(w);
}

/* ---- lifetimes in bytes and packets ---- */

static void limits_go_by_role_and_rekey(void **s)
{
	struct world *w = three_and(one_policy);
	const struct paper_child *p;
	uint32_t spi;

	(void)s;
	one_policy(w, HOME);
	EACH_HOST(a)
	{
		w->host[a].conf[0].lifetime_bytes = 1000000;
		w->host[a].conf[0].lifetime_pkts = 2000;
	}
	start(w);
	p = way(w, HOME, TCP, 1, 1);
	assert_in_range(p->soft_bytes, 900000, 1000000);
	assert_in_range(p->soft_pkts, 1800, 2000);
	assert_true(p->hard_bytes == 1250000 && p->hard_pkts == 2500);
	p = way(w, VPS, TCP, 1, 1);
	assert_true(p->soft_bytes == 1100000 && p->soft_pkts == 2200);
	assert_true(p->hard_bytes == 1250000 && p->hard_pkts == 2500);
	spi = spi_of(w, HOME, TCP, 1, 1);
	DO(w, HOME, engine_on_child_event(e, now, spi, ENGINE_CHILD_SOFT, fx));
	world_run(w, 20000);
	expect(w, 1);
	assert_int_not_equal(spi, spi_of(w, HOME, TCP, 1, 1));
	assert_int_equal(w->host[HOME].child_rekeyed, 1);
	/* Nothing can be sent any more: what is left is to make a new one. */
	spi = spi_of(w, VPS, TCP, 1, 1);
	DO(w, VPS, engine_on_child_event(e, now, spi, ENGINE_CHILD_HARD, fx));
	world_run(w, 20000);
	expect(w, 1);
	assert_int_not_equal(spi, spi_of(w, VPS, TCP, 1, 1));
	finish(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(three_children_on_one_ike_sa),
		cmocka_unit_test(three_policies_meet_one_section),
		cmocka_unit_test(rekeys_keep_each_in_its_row),
		cmocka_unit_test(each_child_that_is_lost_comes_back),
		cmocka_unit_test(a_child_that_is_refused_holds_no_other_back),
		cmocka_unit_test(a_packet_asks_at_once_for_what_is_missing),
		cmocka_unit_test(one_wish_for_all_comes_to_all_three),
		cmocka_unit_test(what_fits_into_one_answer_is_one_child),
		cmocka_unit_test(the_first_selector_decides),
		cmocka_unit_test(the_narrowest_of_those_that_hold_a_wish_takes_it),
		cmocka_unit_test(a_network_more_comes_with_a_reload),
		cmocka_unit_test(a_network_less_is_not_brought_back_by_a_rekey_under_way),
		cmocka_unit_test(unchanged_children_keep_their_spis),
		cmocka_unit_test(what_was_narrowed_is_no_change),
		cmocka_unit_test(what_is_no_longer_configured_goes_at_once),
		cmocka_unit_test(a_new_name_for_the_same_is_no_change),
		cmocka_unit_test(what_is_narrowed_is_replaced_before_it_goes),
		cmocka_unit_test(what_is_against_the_policy_goes_even_if_nobody_answers),
		cmocka_unit_test(limits_go_by_role_and_rekey),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
