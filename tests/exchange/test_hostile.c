/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What strangers, and peers that are authentic but hostile, may not do. The hostile end is the engine
 * itself, driven from inside: it forgets answers, repeats itself and asks for too much.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "world.h"
#include "engine_int.h"

static struct engine_counters counters(struct world *w, int host)
{
	struct engine_counters n;

	engine_counters_get(w->host[host].e, &n);
	return n;
}

static void a_stranger_with_a_known_name_does_not_fill_the_log(void **s)
{
	struct world *w = world_new(1, STYLE_PSK);

	(void)s;
	secret_set(&w->host[HOME].psk, "not the same", 12);
	world_start(w);
	for (int i = 0; i < 40; i++) {
		world_call(w, HOME);
		world_run(w, 100);
	}
	assert_int_equal(w->host[VPS].failed, 40);
	assert_true(counters(w, VPS).log_suppressed >= 30);
	world_no_leaks(w);
	world_free(w);
}

/* SK {N(REKEY_SA)..} without waiting for, or looking at, any answer */
static void rekey_and_forget(struct world *w, int host)
{
	struct engine *e = w->host[host].e;
	struct ike_sa *sa = sa_by_handle(e, w->host[host].ike);
	struct task t = { .kind = TASK_REKEY_IKE };
	struct fx_list fx = { 0 };

	engine_enter(e, w->now_ms, &fx);
	assert_int_equal(0, rekey_ike_send(e, sa, &t));
	timer_clear(&e->timers, &sa->resend);
	outreq_clear(&sa->out);
	window_commit_response(&sa->win);
	engine_leave(e);
	world_apply(w, host, &fx);
}

static void rekeys_that_cross_ours_again_and_again_take_no_memory(void **s)
{
	struct world *w = world_new(2, STYLE_PSK);

	(void)s;
	world_up(w);
	w->cut[HOME] = true;
	DO(w, VPS, assert_int_equal(0, engine_rekey_ike(e, now, w->host[VPS].ike, fx)));
	for (int i = 0; i < 50; i++) {
		rekey_and_forget(w, HOME);
		world_run(w, 20);
	}
	assert_int_equal(counters(w, VPS).ike_sas, 2); /* the old one and one rival */
	w->cut[HOME] = false;
	world_no_leaks(w);
	world_free(w);
}

static void ike_sas_without_a_child_do_not_pile_up(void **s)
{
	struct world *w = world_new(3, STYLE_PSK);

	(void)s;
	w->host[VPS].esp_ps.count = 0;
	world_start(w);
	for (int i = 0; i < 100; i++) {
		world_call(w, HOME);
		world_run(w, 50);
	}
	assert_true(counters(w, VPS).ike_sas <= PEER_IKE_SAS_MAX);
	world_no_leaks(w);
	world_free(w);
}

static void expect_local(struct world *w, int host, const char *want)
{
	char text[200];

	for (int i = 0; i < CHILDREN_MAX; i++)
		if (w->host[host].child[i].used)
			assert_string_equal(
			    want, ts_list_str(&w->host[host].child[i].local, text, sizeof(text)));
}

static void who_gives_an_address_gets_that_address_and_not_our_network(void **s)
{
	struct world *w = world_new(4, STYLE_PSK);
	struct prefix lan;

	(void)s;
	prefix_parse("192.168.1.0/24", &lan);
	w->host[VPS].remote_ts[2].ts = ts_from_prefix(&lan);
	w->host[VPS].conf[0].remote_ts_count = 3;
	world_start(w);
	world_call(w, HOME);
	world_run(w, 0);
	assert_int_equal(w->host[HOME].child_up, 1);
	expect_local(w, HOME, "10.99.0.2/32, fd99::2/128");
	/* SK {SA, Ni, KEi, TSi, TSr(192.168.1.0/24..)} from the other side */
	DO(w, VPS, assert_int_equal(0, engine_create_child(e, now, w->host[VPS].ike, fx)));
	world_run(w, 100);
	assert_int_equal(w->host[HOME].child_up, 2);
	expect_local(w, HOME, "10.99.0.2/32, fd99::2/128");
	DO(w, HOME, assert_int_equal(0, engine_rekey_ike(e, now, w->host[HOME].ike, fx)));
	world_run(w, 1000);
	assert_int_equal(w->host[HOME].ike_rekeyed, 1);
	DO(w, HOME, assert_int_equal(0, engine_create_child(e, now, w->host[HOME].ike, fx)));
	world_run(w, 100);
	assert_int_equal(w->host[HOME].child_up, 3);
	expect_local(w, HOME, "10.99.0.2/32, fd99::2/128");
	world_no_leaks(w);
	world_free(w);
}

static void a_child_that_cannot_be_used_is_deleted_on_both_sides(void **s)
{
	struct world *w = world_new(5, STYLE_PSK);

	(void)s;
	world_up(w);
	w->host[HOME].install_error = -ENOMEM;
	w->host[HOME].install_error_dir = ENGINE_IN;
	DO(w, HOME, assert_int_equal(0, engine_create_child(e, now, w->host[HOME].ike, fx)));
	world_run(w, 30000);
	EACH_HOST(a)
	assert_int_equal(counters(w, a).child_sas, 1);
	world_agree(w);
	world_no_leaks(w);
	world_free(w);
}

static void half_open_sas_of_a_known_network_are_bounded_too(void **s)
{
	struct world *w = world_new(6, STYLE_PSK);
	uint32_t slot = prefix_slot(&w->host[HOME].path.local.addr), refused;
	struct engine *e;

	(void)s;
	world_up(w);
	e = w->host[VPS].e;
	e->n.half_open += e->cookie_from;
	/* 10 000 homes behind one carrier come back: far more than a stranger's network may have */
	e->prefix_half_open[slot] = (uint16_t)(4 * e->per_prefix);
	world_call(w, HOME);
	world_run(w, 1000);
	assert_int_equal(w->host[HOME].up, 2);
	e->prefix_half_open[slot] = (uint16_t)(PREFIX_KNOWN_FACTOR * e->per_prefix);
	refused = (uint32_t)e->n.half_open_refused;
	world_call(w, HOME);
	world_run(w, 1000);
	assert_int_equal(w->host[HOME].up, 2);
	assert_true(e->n.half_open_refused > refused);
	e->prefix_half_open[slot] = 0;
	e->n.half_open -= e->cookie_from;
	world_run(w, 60000);
	world_no_leaks(w);
	world_free(w);
}

static void a_flood_that_leaves_no_half_open_sa_meets_cookies_too(void **s)
{
	struct world *w = world_new(7, STYLE_PSK);
	struct flight f;

	(void)s;
	w->host[HOME].ike_ps.count = 1;
	w->host[HOME].ike_ps.p[0].count = 0;
	transform_add(&w->host[HOME].ike_ps.p[0], TRANSFORM_ENCR, ENCR_AES_GCM_16, 128);
	transform_add(&w->host[HOME].ike_ps.p[0], TRANSFORM_PRF, PRF_HMAC_SHA2_512, 0);
	transform_add(&w->host[HOME].ike_ps.p[0], TRANSFORM_KE, KE_CURVE25519, 0);
	w->host[VPS].ike_ps.count = 1;
	w->host[VPS].ike_ps.p[0] = w->host[HOME].ike_ps.p[0];
	w->host[VPS].ike_ps.p[0].t[2].id = KE_ECP_384;
	world_start(w);
	world_call(w, HOME);
	f = w->flight[0];
	for (int i = 0; i < 2000; i++) {
		f.bytes[7] = (uint8_t)i;
		f.bytes[6] = (uint8_t)(i >> 8);
		world_inject(w, VPS, &f.path, f.bytes, f.len);
	}
	assert_int_equal(counters(w, VPS).half_open, 0);
	assert_true(counters(w, VPS).cookies_sent >= 1000);
	/* It does not outlive the flood. */
	w->now_ms += 5000;
	DO(w, VPS, engine_on_timer(e, now, fx));
	assert_false(cookie_wanted(w->host[VPS].e));
	world_free(w);
}

static void message_ids_never_wrap(void **s)
{
	struct world *w = world_new(8, STYLE_PSK);
	struct ike_sa *home, *vps;

	(void)s;
	world_up(w);
	home = sa_by_handle(w->host[HOME].e, w->host[HOME].ike);
	vps = sa_by_handle(w->host[VPS].e, w->host[VPS].ike);
	home->win.next_out = vps->win.next_in = UINT32_MAX - 100;
	for (int i = 0; i < 60; i++) {
		DO(w, HOME, (void)engine_liveness(e, now, w->host[HOME].ike, fx));
		world_run(w, 50);
	}
	/* RFC 7296 s2.2: the IKE SA is rekeyed before its numbers end. */
	assert_true(w->host[HOME].ike_rekeyed >= 1);
	world_agree(w);
	/* And a peer that never does so gets no answer to the last number. */
	vps = sa_by_handle(w->host[VPS].e, w->host[VPS].ike);
	vps->win.next_in = UINT32_MAX;
	assert_int_equal(WINDOW_STALE, window_check_request(&vps->win, UINT32_MAX));
	world_no_leaks(w);
	world_free(w);
}

static void before_the_proof_a_claimed_name_is_not_the_peer(void **s)
{
	struct world *w = world_new(9, STYLE_PSK);
	uint32_t list[16];

	(void)s;
	w->host[VPS].keys_dead = true; /* the claim stands undecided */
	world_start(w);
	world_call(w, HOME);
	world_run(w, 100);
	assert_int_equal(counters(w, VPS).half_open, 1);
	assert_int_equal(0, engine_peer_ikes(w->host[VPS].e, w->host[VPS].peer.id, list, 16));
	world_no_leaks(w);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stranger_with_a_known_name_does_not_fill_the_log),
		cmocka_unit_test(rekeys_that_cross_ours_again_and_again_take_no_memory),
		cmocka_unit_test(ike_sas_without_a_child_do_not_pile_up),
		cmocka_unit_test(who_gives_an_address_gets_that_address_and_not_our_network),
		cmocka_unit_test(a_child_that_cannot_be_used_is_deleted_on_both_sides),
		cmocka_unit_test(half_open_sas_of_a_known_network_are_bounded_too),
		cmocka_unit_test(a_flood_that_leaves_no_half_open_sa_meets_cookies_too),
		cmocka_unit_test(message_ids_never_wrap),
		cmocka_unit_test(before_the_proof_a_claimed_name_is_not_the_peer),
	};

	log_setup("exchange", LOG_LVL_ERR, 2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
