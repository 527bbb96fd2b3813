/* SPDX-License-Identifier: GPL-3.0-or-later */
/* CREATE_CHILD_SA and INFORMATIONAL between two engines, titled in wire notation. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "world.h"
#include "engine_int.h"
#include "log.h"

static uint32_t child_of(struct world *w, int h)
{
	struct engine_ike_info i;

	assert_true(engine_ike_info(w->host[h].e, w->host[h].ike, &i));
	assert_int_equal(i.child_count, 1);
	return i.child[0].spi_in;
}

static void rekey_child(struct world *w, int h)
{
	uint32_t spi = child_of(w, h);

	DO(w, h, assert_int_equal(0, engine_rekey_child(e, now, spi, fx)));
}

static void rekey_ike(struct world *w, int h)
{
	uint32_t ike = w->host[h].ike;

	DO(w, h, assert_int_equal(0, engine_rekey_ike(e, now, ike, fx)));
}

static void delete_child(struct world *w, int h)
{
	uint32_t spi = child_of(w, h);

	DO(w, h, assert_int_equal(0, engine_delete_child(e, now, spi, fx)));
}

static void works_both_ways(struct world *w)
{
	assert_true(paper_works(w, HOME));
	assert_true(paper_works(w, VPS));
}

static void settled(struct world *w)
{
	world_run(w, 60000);
	world_agree(w);
	EACH_HOST(a)
	assert_int_equal(paper_children(&w->host[a], false, false), 1);
	world_no_leaks(w);
	world_free(w);
}

static void child_rekey_makes_before_it_breaks(void **s)
{
	(void)s;
	for (int pfs = 0; pfs < 2; pfs++)
		EACH_HOST(a)
		{
			struct world *w = world_new(1, STYLE_PSK);

			if (!pfs)
				EACH_HOST(b)
			proposals_default_esp(&w->host[b].esp_ps, true, false);
			world_up(w);
			rekey_child(w, a);
			/* CREATE_CHILD_SA { N(REKEY_SA), SA, Ni, [KEi,] TSi, TSr } --> */
			world_deliver(w, !a);
			assert_int_equal(paper_children(&w->host[!a], true, false), 2);
			works_both_ways(w); /* on the old one */
			/* <-- CREATE_CHILD_SA { SA, Nr, [KEr,] TSi, TSr } */
			world_deliver(w, a);
			assert_int_equal(w->host[a].child_rekeyed, 1);
			works_both_ways(w);
			/* INFORMATIONAL { D } --> */
			world_deliver(w, !a);
			works_both_ways(w);
			/* <-- INFORMATIONAL { D } */
			world_deliver(w, a);
			works_both_ways(w);
			EACH_HOST(b)
			{
				assert_int_equal(w->host[b].child_rekeyed, 1);
				assert_int_equal(w->host[b].child_down, 0);
				/* the old inbound half lingers for what was under way */
				assert_int_equal(paper_children(&w->host[b], true, false), 2);
				assert_int_equal(paper_children(&w->host[b], true, true), 1);
			}
			settled(w);
		}
}

static void the_first_packet_on_the_new_child_turns_the_responder(void **s)
{
	struct world *w = world_new(2, STYLE_PSK);

	(void)s;
	world_up(w);
	rekey_child(w, HOME);
	world_deliver(w, VPS);
	world_deliver(w, HOME);
	/* ESP on the new CHILD SA --> */
	assert_int_equal(paper_children(&w->host[VPS], true, true), 1);
	DO(w, VPS, engine_on_child_event(e, now, 0x2001, ENGINE_CHILD_FIRST_PACKET, fx));
	assert_int_equal(paper_children(&w->host[VPS], true, true), 2);
	works_both_ways(w);
	settled(w);
}

static void ike_rekey_moves_the_children(void **s)
{
	(void)s;
	EACH_HOST(a)
	{
		struct world *w = world_new(3, STYLE_PSK);
		uint32_t was = 0;

		world_up(w);
		was = w->host[a].ike;
		rekey_ike(w, a);
		/* CREATE_CHILD_SA { SA, Ni, KEi } -->  <-- { SA, Nr, KEr }  D -->  <-- {} */
		world_run(w, 0);
		EACH_HOST(b)
		{
			assert_int_equal(w->host[b].ike_rekeyed, 1);
			assert_int_equal(w->host[b].down, 0);
			assert_int_equal(w->host[b].child_up, 1);
		}
		assert_true(w->host[a].ike != was);
		works_both_ways(w);
		/* and the new one can do everything again, from the other side */
		rekey_child(w, !a);
		world_run(w, 0);
		rekey_ike(w, !a);
		world_run(w, 0);
		rekey_child(w, a);
		settled(w);
	}
}

static void lifetimes_make_the_start_side_rekey_first(void **s)
{
	struct world *w = world_new(4, STYLE_PSK);

	(void)s;
	world_up(w);
	world_run(w, 3600 * 1000 + 30000);
	EACH_HOST(a)
	assert_int_equal(w->host[a].child_rekeyed, 1);
	works_both_ways(w);
	world_run(w, 4 * 3600 * 1000);
	EACH_HOST(a)
	assert_int_equal(w->host[a].ike_rekeyed, 1);
	works_both_ways(w);
	settled(w);
}

static void a_year_of_rekeys_leaks_nothing(void **s)
{
	struct world *w = world_new(5, STYLE_PSK);

	(void)s;
	w->drop = 5;
	world_up(w);
	for (int day = 0; day < 365; day++) {
		world_run(w, 86400 * 1000ull);
		works_both_ways(w);
	}
	assert_true(w->host[HOME].child_rekeyed > 365 * 20);
	w->drop = 0;
	settled(w);
}

/* Both rekey the same CHILD SA: the one with the lowest of four nonces is redundant (s2.8.1). */
static void simultaneous_child_rekeys_leave_one(void **s)
{
	(void)s;
	for (uint64_t seed = 0; seed < 40; seed++) {
		struct world *w = world_new(100 + seed, STYLE_PSK);

		world_up(w);
		rekey_child(w, HOME);
		rekey_child(w, VPS);
		for (int step = 0; step < 12; step++) {
			works_both_ways(w);
			world_deliver(w, (int)(seed >> step & 1));
		}
		works_both_ways(w);
		settled(w);
	}
}

static void simultaneous_ike_rekeys_leave_one(void **s)
{
	(void)s;
	for (uint64_t seed = 0; seed < 40; seed++) {
		struct world *w = world_new(200 + seed, STYLE_PSK);

		world_up(w);
		rekey_ike(w, HOME);
		rekey_ike(w, VPS);
		for (int step = 0; step < 12; step++)
			world_deliver(w, (int)(seed >> step & 1));
		works_both_ways(w);
		settled(w);
	}
}

static void ike_rekey_meets_child_rekey(void **s)
{
	(void)s;
	for (uint64_t seed = 0; seed < 32; seed++) {
		struct world *w = world_new(300 + seed, STYLE_PSK);

		world_up(w);
		rekey_ike(w, HOME);
		rekey_child(w, VPS);
		/* <-- N(TEMPORARY_FAILURE), both ways; both try again later */
		for (int step = 0; step < 6; step++)
			world_deliver(w, (int)(seed >> step & 1));
		world_run(w, 120000);
		EACH_HOST(a)
		{
			assert_int_equal(w->host[a].ike_rekeyed, 1);
			assert_int_equal(w->host[a].child_rekeyed, 1);
		}
		settled(w);
	}
}

static void crossing_deletes_of_a_child_remove_it_once(void **s)
{
	struct world *w = world_new(6, STYLE_PSK);

	(void)s;
	world_up(w);
	delete_child(w, HOME);
	delete_child(w, VPS);
	/* D -->  <-- D  <-- {}  {} --> */
	world_run(w, 200);
	EACH_HOST(a)
	assert_int_equal(w->host[a].child_down, 1);
	settled(w); /* the start side makes a new one */
}

static void a_rekey_crosses_a_delete(void **s)
{
	(void)s;
	for (uint64_t seed = 0; seed < 32; seed++)
		EACH_HOST(a)
		{
			struct world *w = world_new(400 + seed, STYLE_PSK);

			world_up(w);
			rekey_child(w, a);
			delete_child(w, !a);
			for (int step = 0; step < 6; step++)
				world_deliver(w, (int)(seed >> step & 1));
			settled(w);
		}
}

static void crossing_deletes_of_the_ike_sa_empty_both_sides(void **s)
{
	struct world *w = world_new(7, STYLE_PSK);

	(void)s;
	world_up(w);
	EACH_HOST(a)
	{
		uint32_t ike = w->host[a].ike;

		DO(w, a, engine_delete(e, now, ike, fx));
	}
	world_run(w, 60000);
	EACH_HOST(a)
	{
		assert_int_equal(w->host[a].down, 1);
		assert_int_equal(paper_children(&w->host[a], false, false), 0);
	}
	world_no_leaks(w);
	world_free(w);
}

static void a_delete_tells_why_on_both_sides(void **s)
{
	EACH_HOST(a)
	{
		struct world *w = world_new(8, STYLE_PSK);
		uint32_t ike;

		(void)s;
		world_up(w);
		ike = w->host[a].ike;
		DO(w, a, engine_delete(e, now, ike, fx));
		world_run(w, 100);
		assert_int_equal(w->host[a].last_down.down.why, ENGINE_WHY_ADMIN);
		assert_int_equal(w->host[!a].last_down.down.why, ENGINE_WHY_DELETED);
		assert_false(w->host[a].last_down.down.replaced);
		world_no_leaks(w);
		world_free(w);
	}
}

/* ---- every packet lost once ---- */

struct lose {
	unsigned at, seen;
};

static bool lose_one(struct world *w, int to, const struct engine_path *path, uint8_t *bytes,
		     size_t *len)
{
	struct lose *l = w->filter_arg;

	return l->seen++ != l->at;
}

static void whichever_packet_is_lost_all_goes_on(void **s)
{
	unsigned total = 1;

	(void)s;
	for (unsigned lost = 0; lost < total; lost++) {
		struct world *w = world_new(500 + lost, STYLE_PSK);
		struct lose l = { .at = lost };

		w->filter = lose_one;
		w->filter_arg = &l;
		world_start(w);
		world_call(w, HOME);
		world_run(w, 15000);
		world_agree(w);
		EACH_HOST(a)
		{
			rekey_child(w, a);
			world_run(w, 20000);
			works_both_ways(w);
			world_agree(w);
			rekey_ike(w, a);
			world_run(w, 20000);
			works_both_ways(w);
			world_agree(w);
			delete_child(w, a);
			world_run(w, 20000);
			world_agree(w);
		}
		total = l.seen;
		settled(w);
	}
	assert_true(total > 20);
}

static void a_minute_without_answers_is_survived(void **s)
{
	struct world *w = world_new(9, STYLE_PSK);

	(void)s;
	world_up(w);
	w->cut[HOME] = true;
	rekey_child(w, HOME);
	world_run(w, 60000);
	assert_true(w->host[HOME].unanswered > 10);
	assert_true(w->host[HOME].unanswered < 40);
	assert_int_equal(w->host[HOME].down, 0);
	w->cut[HOME] = false;
	world_run(w, 5000);
	assert_int_equal(w->host[HOME].child_rekeyed, 1);
	settled(w);
}

static void a_day_of_silence_slows_retransmission_down(void **s)
{
	struct world *w = world_new(10, STYLE_PSK);
	unsigned at_day;

	(void)s;
	world_up(w);
	w->cut[HOME] = w->cut[VPS] = true;
	rekey_child(w, HOME);
	world_run(w, 24 * 3600 * 1000ull + 60000);
	at_day = w->host[HOME].unanswered;
	world_run(w, 3600 * 1000);
	assert_in_range(w->host[HOME].unanswered - at_day, 115, 125); /* every 30 s */
	w->cut[HOME] = w->cut[VPS] = false;
	world_run(w, 31000);
	assert_int_equal(w->host[HOME].child_rekeyed, 1);
	settled(w);
}

static void liveness_proves_the_way_back(void **s)
{
	(void)s;
	EACH_HOST(a)
	{
		struct world *w = world_new(11, STYLE_PSK);
		unsigned replies;
		uint32_t ike;

		world_up(w);
		replies = w->host[a].replies;
		ike = w->host[a].ike;
		DO(w, a, engine_liveness(e, now, ike, fx));
		world_run(w, 0);
		assert_int_equal(w->host[a].replies, replies + 1);
		settled(w);
	}
}

static void the_same_request_goes_out_by_another_socket(void **s)
{
	struct world *w = world_new(12, STYLE_PSK);
	struct engine_path second = w->host[HOME].path;
	struct engine_ike_info i;
	uint32_t ike;

	(void)s;
	world_up(w);
	ike = w->host[HOME].ike;
	w->cut[VPS] = true; /* the old mapping is dead */
	DO(w, HOME, engine_liveness(e, now, ike, fx));
	world_run(w, 6000);
	w->cut[VPS] = false;
	while (world_lose(w, VPS))
		;
	second.sock = 4;
	second.local.port = 51111;
	DO(w, HOME, assert_int_equal(0, engine_retransmit(e, now, ike, &second, fx)));
	world_run(w, 0);
	/* Home's supervisor followed to the socket that answered; with MOBIKE the VPS has to be told so. */
	engine_ike_info(w->host[HOME].e, ike, &i);
	assert_int_equal(i.path.local.port, 51111);
	assert_int_equal(w->host[VPS].from_other_path, 1);
	engine_ike_info(w->host[VPS].e, w->host[VPS].ike, &i);
	assert_int_equal(i.path.remote.port, 40000);
	DO(w, HOME, assert_int_equal(0, engine_update_addresses(e, now, ike, &second, fx)));
	world_run(w, 0);
	assert_int_equal(w->host[VPS].updates, 1);
	engine_ike_info(w->host[VPS].e, w->host[VPS].ike, &i);
	assert_int_equal(i.path.remote.port, 51111);
	settled(w);
}

static void private_notifies_reach_the_other_supervisor(void **s)
{
	struct world *w = world_new(13, STYLE_PSK);
	uint32_t ike;

	(void)s;
	world_up(w);
	ike = w->host[HOME].ike;
	DO(w, HOME,
	   engine_private(e, now, ike, POSTERN_PROBE_MTU, (const uint8_t *)"\x05\xdc", 2, fx));
	world_run(w, 0);
	assert_int_equal(w->host[VPS].private_count, 1);
	assert_int_equal(w->host[VPS].last_private.private_notify.type, POSTERN_PROBE_MTU);
	assert_int_equal(w->host[VPS].last_private.private_notify.len, 2);
	settled(w);
}

static void counters_at_their_end_replace_the_child(void **s)
{
	(void)s;
	for (int ev = ENGINE_CHILD_SOFT; ev <= ENGINE_CHILD_HARD; ev++)
		EACH_HOST(a)
		{
			struct world *w = world_new(14, STYLE_PSK);
			uint32_t spi;

			world_up(w);
			spi = child_of(w, a);
			DO(w, a,
			   engine_on_child_event(e, now, spi, (enum engine_child_event)ev, fx));
			world_run(w, 30000);
			assert_int_not_equal(child_of(w, a), spi);
			settled(w);
		}
}

static void a_lost_child_is_noticed_at_its_rekey(void **s)
{
	struct world *w = world_new(15, STYLE_PSK);

	(void)s;
	/* <-- N(CHILD_SA_NOT_FOUND): as if the VPS had lost it; home makes a new one. */
	world_up(w);
	delete_child(w, VPS);
	while (world_lose(w, HOME))
		;
	w->cut[HOME] = true;
	world_run(w, 100);
	w->cut[HOME] = false;
	rekey_child(w, HOME);
	settled(w);
}

static void too_many_children_are_refused(void **s)
{
	struct world *w = world_new(16, STYLE_PSK);
	struct engine_ike_info i;

	(void)s;
	world_up(w);
	EACH_HOST(a) /* neither keeps order among CHILD SAs with the same selectors */
	sa_by_handle(w->host[a].e, w->host[a].ike)->series_initiator = false;
	for (int n = 0; n < 20; n++) {
		uint32_t ike = w->host[HOME].ike;

		DO(w, HOME, engine_create_child(e, now, ike, fx));
		world_run(w, 100);
	}
	/* <-- N(NO_ADDITIONAL_SAS) */
	assert_true(engine_ike_info(w->host[VPS].e, w->host[VPS].ike, &i));
	assert_int_equal(i.child_count, 16);
	assert_int_equal(w->host[HOME].last_failed.failed.why, ENGINE_WHY_REFUSED);
	assert_non_null(strstr(w->host[HOME].last_failed.failed.text, "NO_ADDITIONAL_SAS"));
	works_both_ways(w);
	world_no_leaks(w);
	world_free(w);
}

static void lose_all(struct world *w)
{
	EACH_HOST(a)
	while (world_lose(w, a))
		;
}

/*
 * Both rekey the IKE SA, the peer's new one stays and is used already; then the answer to ours and the Delete
 * of the old one never come.
 */
static void the_old_ike_sa_of_crossing_rekeys_goes_without_a_delete(void **s)
{
	struct world *w = world_new(20, STYLE_PSK);
	uint32_t old, spi;

	(void)s;
	world_up(w);
	old = w->host[VPS].ike;
	EACH_HOST(a)
	{
		w->host[a].nonce_set = true;
		w->host[a].nonce_lead =
		    a == HOME ? 1 : 2; /* the lowest one is in HOME's exchange */
	}
	rekey_ike(w, HOME);
	w->host[HOME].nonce_lead = 3;
	rekey_ike(w, VPS);
	assert_true(world_deliver(w, VPS));
	assert_true(world_deliver(w, HOME));
	assert_true(world_lose(w, HOME));
	assert_true(world_deliver(w, VPS));
	assert_int_equal(w->host[VPS].ike_rekeyed, 1);
	lose_all(w);
	DO(w, VPS, (void)engine_drop(e, now, old, fx));
	lose_all(w);
	spi = child_of(w, VPS);
	DO(w, VPS, assert_int_equal(0, engine_rekey_child(e, now, spi, fx)));
	world_run(w, 600000);
	EACH_HOST(a)
	assert_int_equal(w->host[a].e->n.ike_sas, 1);
	world_agree(w);
	world_no_leaks(w);
	world_free(w);
}

/* An IKE SA that was to follow one that is given up in the middle of crossing rekeys goes with it. */
static void what_a_crossing_rekey_made_goes_with_the_old_ike_sa(void **s)
{
	(void)s;
	EACH_HOST(a)
	{
		struct world *w = world_new(21, STYLE_PSK);

		world_up(w);
		rekey_ike(w, HOME);
		rekey_ike(w, VPS);
		assert_true(world_deliver(w, a));
		assert_int_equal(w->host[a].e->n.ike_sas, 2);
		DO(w, a, assert_int_equal(0, engine_drop(e, now, w->host[a].ike, fx)));
		assert_int_equal(w->host[a].e->n.ike_sas, 0);
		world_free(w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(child_rekey_makes_before_it_breaks),
		cmocka_unit_test(the_first_packet_on_the_new_child_turns_the_responder),
		cmocka_unit_test(ike_rekey_moves_the_children),
		cmocka_unit_test(the_old_ike_sa_of_crossing_rekeys_goes_without_a_delete),
		cmocka_unit_test(what_a_crossing_rekey_made_goes_with_the_old_ike_sa),
		cmocka_unit_test(lifetimes_make_the_start_side_rekey_first),
		cmocka_unit_test(a_year_of_rekeys_leaks_nothing),
		cmocka_unit_test(simultaneous_child_rekeys_leave_one),
		cmocka_unit_test(simultaneous_ike_rekeys_leave_one),
		cmocka_unit_test(ike_rekey_meets_child_rekey),
		cmocka_unit_test(crossing_deletes_of_a_child_remove_it_once),
		cmocka_unit_test(a_rekey_crosses_a_delete),
		cmocka_unit_test(crossing_deletes_of_the_ike_sa_empty_both_sides),
		cmocka_unit_test(a_delete_tells_why_on_both_sides),
		cmocka_unit_test(whichever_packet_is_lost_all_goes_on),
		cmocka_unit_test(a_minute_without_answers_is_survived),
		cmocka_unit_test(a_day_of_silence_slows_retransmission_down),
		cmocka_unit_test(liveness_proves_the_way_back),
		cmocka_unit_test(the_same_request_goes_out_by_another_socket),
		cmocka_unit_test(private_notifies_reach_the_other_supervisor),
		cmocka_unit_test(counters_at_their_end_replace_the_child),
		cmocka_unit_test(a_lost_child_is_noticed_at_its_rekey),
		cmocka_unit_test(too_many_children_are_refused),
	};

	log_setup("exchange", LOG_LVL_ERR, 2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
