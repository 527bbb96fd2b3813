/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One identity, one place: who replaces whom when the same identity calls again (RFC 7296 s2.4,
 * unique.c). A second machine with home's key is a world of its own, of which only the home is used,
 * joined to the first by the network:
 *
 *	home 10.0.0.2:40000 ---- vps ---- twin 10.0.0.3:40000
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "message.h"
#include "world.h"

struct twins {
	struct world *w, *twin;
	unsigned auth_seen, auth_answered; /* IKE_AUTH of the twin, its answers */
	bool twin_cut;
};

static uint8_t exchange_of(const uint8_t *bytes)
{
	return bytes[18];
}

static bool to_twin(struct world *w, int to, const struct engine_path *path, uint8_t *bytes,
		    size_t *len)
{
	struct twins *t = w->filter_arg;

	if (to != HOME || !addr_eq(&path->local.addr, &t->twin->host[HOME].path.local.addr))
		return true;
	t->auth_answered += exchange_of(bytes) == IKE_AUTH;
	t->twin->now_ms = w->now_ms;
	if (!t->twin_cut)
		world_inject(t->twin, HOME, path, bytes, *len);
	return false;
}

static bool from_twin(struct world *twin, int to, const struct engine_path *path, uint8_t *bytes,
		      size_t *len)
{
	struct twins *t = twin->filter_arg;

	assert_int_equal(to, VPS);
	t->auth_seen += exchange_of(bytes) == IKE_AUTH;
	if (!t->twin_cut)
		world_inject(t->w, VPS, path, bytes, *len);
	return false;
}

/* Home and the VPS are up; the twin has the same key and another address. */
static void twins_new(struct twins *t)
{
	memset(t, 0, sizeof(*t));
	t->w = world_new(1, STYLE_PSK);
	t->twin = world_new(2, STYLE_PSK);
	endpoint_parse("10.0.0.3:40000", 0, &t->twin->host[HOME].path.local);
	world_up(t->w);
	world_start(t->twin);
	t->w->filter = to_twin;
	t->w->filter_arg = t;
	t->twin->filter = from_twin;
	t->twin->filter_arg = t;
}

static void twins_free(struct twins *t)
{
	world_free(t->w);
	world_free(t->twin);
}

/* Both worlds, in steps that are small beside every timer. */
static void twins_run(struct twins *t, uint64_t ms)
{
	for (uint64_t end = t->w->now_ms + ms; t->w->now_ms < end;) {
		world_run(t->w, 50);
		t->twin->now_ms = t->w->now_ms;
		if (engine_next_timer_ms(t->twin->host[HOME].e) <= t->w->now_ms)
			DO(t->twin, HOME, engine_on_timer(e, now, fx));
	}
}

static size_t established(const struct host *h)
{
	struct engine_ike_info i;
	uint32_t list[16];
	size_t n = engine_peer_ikes(h->e, h->peer.id, list, 16), up = 0;

	for (size_t k = 0; k < n && k < 16; k++)
		up += engine_ike_info(h->e, list[k], &i) && i.established;
	return up;
}

static void a_second_machine_with_the_same_identity_is_refused(void **state)
{
	struct twins t;
	struct fx *told;

	(void)state;
	twins_new(&t);
	world_call(t.twin, HOME);
	twins_run(&t, 1000);
	assert_int_equal(t.twin->host[HOME].up, 0);
	assert_int_equal(t.twin->host[HOME].down, 1);
	assert_int_equal(t.twin->host[HOME].last_down.down.why, ENGINE_WHY_IDENTITY_BUSY);
	world_agree(t.w);
	assert_int_equal(t.w->host[VPS].up, 1);
	assert_int_equal(t.w->host[VPS].down + t.w->host[HOME].down, 0);
	/* Both say it, with both addresses. */
	told = &t.w->host[VPS].last_failed;
	assert_int_equal(told->failed.why, ENGINE_WHY_IDENTITY_BUSY);
	assert_false(told->failed.claim);
	assert_non_null(strstr(told->failed.text, "identity in use twice"));
	assert_non_null(strstr(told->failed.text, "10.0.0.2:40000"));
	assert_non_null(strstr(told->failed.text, "10.0.0.3:40000"));
	told = &t.twin->host[HOME].last_failed;
	assert_non_null(strstr(told->failed.text, "10.0.0.2:40000"));
	/* For as long as it goes on trying, the first one stays. */
	for (int i = 0; i < 10; i++) {
		world_call(t.twin, HOME);
		twins_run(&t, 20000);
	}
	world_agree(t.w);
	assert_int_equal(t.w->host[HOME].down, 0);
	assert_int_equal(t.twin->host[HOME].up, 0);
	twins_free(&t);
}

static void another_instance_replaces_one_that_does_not_answer(void **state)
{
	struct twins t;

	(void)state;
	twins_new(&t);
	t.w->cut[HOME] = true;
	world_call(t.twin, HOME);
	twins_run(&t, 1900);
	assert_int_equal(t.w->host[VPS].up, 1); /* the first one still has its time */
	assert_true(t.auth_seen >= 2);		/* the request is repeated meanwhile, */
	assert_int_equal(t.auth_answered, 0);	/* without effect */
	assert_int_equal(established(&t.w->host[VPS]), 1);
	twins_run(&t, 300);
	assert_int_equal(t.w->host[VPS].up, 2);
	assert_int_equal(t.twin->host[HOME].up, 1);
	assert_int_equal(established(&t.w->host[VPS]), 1);
	assert_int_equal(t.w->host[VPS].last_down.down.why, ENGINE_WHY_REPLACED);
	assert_int_equal(t.w->host[VPS].failed, 0);
	twins_free(&t);
}

/* The question is already being asked, and not for the first time. */
static void a_silent_one_is_replaced_at_once(void **state)
{
	struct twins t;

	(void)state;
	twins_new(&t);
	t.w->cut[HOME] = true;
	DO(t.w, VPS, engine_liveness(e, now, t.w->host[VPS].ike, fx));
	twins_run(&t, 3000);
	world_call(t.twin, HOME);
	twins_run(&t, 100);
	assert_int_equal(t.w->host[VPS].up, 2);
	assert_int_equal(established(&t.w->host[VPS]), 1);
	twins_free(&t);
}

static void a_process_that_is_gone_is_replaced_at_once(void **state)
{
	struct twins t;
	struct endpoint there;

	(void)state;
	twins_new(&t);
	t.w->cut[HOME] = true;
	there = t.w->host[VPS].path.remote;
	world_call(t.twin, HOME);
	twins_run(&t, 100);
	assert_int_equal(t.w->host[VPS].up, 1);
	/* ICMP about anywhere else means nothing. */
	there.port++;
	DO(t.w, VPS, engine_unreachable(e, now, t.w->host[VPS].peer.id, &there, fx));
	assert_int_equal(t.w->host[VPS].up, 1);
	there.port--;
	DO(t.w, VPS, engine_unreachable(e, now, t.w->host[VPS].peer.id, &there, fx));
	twins_run(&t, 100);
	assert_int_equal(t.w->host[VPS].up, 2);
	assert_int_equal(established(&t.w->host[VPS]), 1);
	/* And to an IKE SA that nobody challenges it does nothing at all. */
	DO(t.w, VPS,
	   engine_unreachable(e, now, t.w->host[VPS].peer.id, &t.twin->host[HOME].path.local, fx));
	twins_run(&t, 100);
	assert_int_equal(established(&t.w->host[VPS]), 1);
	twins_free(&t);
}

/* What holds an IKE_AUTH back ends when its IKE SA does, from outside or by time. */
static void a_newcomer_that_goes_away_leaves_nothing(void **state)
{
	struct twins t;

	(void)state;
	twins_new(&t);
	t.w->cut[HOME] = true;
	world_call(t.twin, HOME);
	twins_run(&t, 200);
	t.twin_cut = true;
	DO(t.w, VPS, engine_delete_all(e, now, fx));
	twins_run(&t, 60000);
	t.w->filter = NULL;
	t.w->cut[HOME] = false;
	world_no_leaks(t.w);
	twins_free(&t);
}

static void restarted(struct world *w)
{
	uint64_t began = w->now_ms;

	world_restart(w, HOME);
	w->host[HOME].up = 0;
	w->host[VPS].sent = 0;
	world_call(w, HOME);
	world_run(w, 200);
	assert_int_equal(w->host[HOME].up, 1);
	assert_true(w->now_ms - began <= 200);
	world_agree(w);
	assert_int_equal(w->host[VPS].failed, 0);
}

/* A restart costs no wait: on the same port it is plain, on another one the old port says so. */
static void a_restart_is_not_held_back(void **state)
{
	struct world *w = world_new(3, STYLE_PSK);

	(void)state;
	world_up(w);
	restarted(w);
	assert_int_equal(w->host[VPS].sent, 2); /* its two answers: nobody was asked */
	assert_int_equal(w->host[VPS].last_down.down.why, ENGINE_WHY_REPLACED);
	/* What still comes to the old port is answered by INVALID_IKE_SPI. */
	w->host[HOME].path.local.port++;
	restarted(w);
	world_no_leaks(w);
	world_free(w);
}

/* The waiting side is started anew and calls where it knows the home to be. */
static void a_restart_of_the_vps_is_not_held_back(void **state)
{
	struct world *w = world_new(4, STYLE_PSK);

	(void)state;
	w->host[HOME].peer.accept = true;
	w->host[HOME].peer.request_v4 = w->host[HOME].peer.request_v6 = false;
	for (int i = 0; i < 2; i++) {
		struct prefix p = prefix_host(&w->host[VPS].assign[i]);

		w->host[HOME].local_ts[i].ts = ts_from_prefix(&p);
		w->host[HOME].local_ts[i].assigned = false;
	}
	world_up(w);
	world_restart(w, VPS);
	world_call(w, VPS);
	world_run(w, 100);
	assert_int_equal(established(&w->host[HOME]), 1);
	world_agree(w);
	world_free(w);
}

/* It calls again while it lives: it has its reasons, and nobody is asked. */
static void the_same_instance_replaces_at_once(void **state)
{
	struct world *w = world_new(5, STYLE_PSK);

	(void)state;
	world_up(w);
	w->host[HOME].path.local.port++;
	w->cut[HOME] = true; /* the old path is dead: an answer could not come */
	world_call(w, HOME);
	world_deliver(w, VPS);
	w->cut[HOME] = false;
	world_run(w, 100);
	world_agree(w);
	assert_int_equal(w->host[HOME].up, 2);
	world_no_leaks(w);
	world_free(w);
}

/* ---- foreign peers: no Vendor ID of ours, so no instance id ---- */

static bool foreign;

void __wrap_pld_vendor_add(struct ike_build *b, struct span id);
void __real_pld_vendor_add(struct ike_build *b, struct span id);

void __wrap_pld_vendor_add(struct ike_build *b, struct span id)
{
	static const uint8_t other[16] = { 1 };

	__real_pld_vendor_add(b, foreign ? (struct span){ other, sizeof(other) } : id);
}

/* RFC 7296 s2.4: it says that it has nothing else with us. Its older IKE SA goes silently and at once. */
static void initial_contact_of_a_foreign_peer_replaces(void **state)
{
	struct world *w = world_new(6, STYLE_RAW);
	unsigned sent;

	(void)state;
	foreign = true;
	/* With no CHILD SA in IKE_AUTH that could take over, it is INITIAL_CONTACT alone that counts. */
	w->host[HOME].peer.childless = ENGINE_CHILDLESS_PREFER;
	world_start(w);
	world_call(w, HOME);
	world_run(w, 100);
	world_agree(w);
	assert_false(w->host[VPS].last_up.up.postern);
	w->host[HOME].path.local.port++;
	world_restart(w, HOME);
	world_call(w, HOME);
	world_deliver(w, VPS);
	world_deliver(w, HOME);
	sent = w->host[VPS].sent;
	world_deliver(w, VPS);
	assert_int_equal(w->host[VPS].up, 2);
	assert_int_equal(w->host[VPS].sent, sent + 1); /* the answer, and no Delete */
	assert_int_equal(established(&w->host[VPS]), 1);
	world_run(w, 100);
	world_agree(w);
	world_no_leaks(w);
	world_free(w);
	foreign = false;
}

/* Nobody's INITIAL_CONTACT counts before his AUTH does. */
static void initial_contact_without_auth_is_nothing(void **state)
{
	struct twins t;

	(void)state;
	twins_new(&t);
	secret_clear(&t.twin->host[HOME].psk);
	secret_set(&t.twin->host[HOME].psk, "another secret that is wrong", 28);
	t.w->cut[HOME] = true;
	for (int i = 0; i < 3; i++) {
		world_call(t.twin, HOME);
		twins_run(&t, 3000);
	}
	assert_int_equal(t.w->host[VPS].up, 1);
	assert_int_equal(established(&t.w->host[VPS]), 1);
	assert_int_equal(t.w->host[VPS].last_failed.failed.why, ENGINE_WHY_AUTH_FAILED);
	twins_free(&t);
}

static void call_if_idle(struct world *w)
{
	if (!engine_peer_ikes(w->host[HOME].e, w->host[HOME].peer.id, NULL, 0))
		world_call(w, HOME);
}

/* Both machines want it all the time, and neither waits a minute when it is refused. */
static void both_insist(struct twins *t, unsigned seconds)
{
	while (seconds--) {
		call_if_idle(t->w);
		call_if_idle(t->twin);
		twins_run(t, 1000);
	}
}

static void ike_case_045_same_identity_from_two_hosts_has_one_winner(void **state)
{
	struct twins t;

	(void)state;
	twins_new(&t);
	both_insist(&t, 300); /* who was there first and answers */
	assert_int_equal(t.w->host[VPS].up, 1);
	assert_int_equal(t.w->host[VPS].down + t.w->host[HOME].down, 0);
	assert_int_equal(t.twin->host[HOME].up, 0);
	assert_true(t.auth_answered >= 100); /* and that is said each time */
	t.w->cut[HOME] = true;
	both_insist(&t, 60);
	assert_int_equal(t.w->host[VPS].up, 2);
	assert_int_equal(established(&t.twin->host[HOME]), 1);
	/* It comes back and wants its place again: one change was all. */
	t.w->cut[HOME] = false;
	world_restart(t.w, HOME);
	both_insist(&t, 300);
	assert_int_equal(t.w->host[VPS].up, 2);
	assert_int_equal(established(&t.twin->host[HOME]), 1);
	assert_true(t.w->host[HOME].down >= 100);
	twins_free(&t);
}

/* The packet in flight to @to that is the @n-th oldest arrives now. */
static void arrives(struct world *w, int to, unsigned n)
{
	unsigned last = 0, found = 0;

	for (unsigned i = 0; i < w->flights; i++)
		if (w->flight[i].to == to && ++found)
			last = found == n + 1 ? i : last;
	assert_true(found > n);
	world_put(w, world_take(w, last));
}

/*
 * One process calls twice, and both are answered in the same moment, as by UDP and by TCP: whatever order
 * each side has them in, both keep the same one, and it works.
 */
static void two_calls_that_are_answered_at_once_leave_one(void **state)
{
	(void)state;
	for (unsigned order = 0; order < 8; order++) {
		struct world *w = world_new(order + 1, STYLE_PSK);
		struct host *vps = &w->host[VPS];

		world_start(w);
		if (order & 4) { /* it has been there before, and says no INITIAL_CONTACT */
			world_call(w, HOME);
			world_run(w, 0);
			DO(w, HOME, engine_delete(e, now, w->host[HOME].ike, fx));
			world_run(w, 60000);
		}
		world_call(w, HOME);
		world_call(w, HOME);
		while (world_deliver(w, VPS))
			;
		while (world_deliver(w, HOME))
			;
		assert_int_equal(world_in_flight(w, VPS), 2);
		arrives(w, VPS, order & 1);
		arrives(w, VPS, 0);
		assert_int_equal(world_in_flight(w, HOME), 2);
		arrives(w, HOME, order >> 1 & 1);
		arrives(w, HOME, 0);
		world_run(w, 1000);
		world_agree(w);
		assert_int_equal(established(vps), 1);
		world_run(w, 60000);
		world_agree(w);
		world_no_leaks(w);
		world_free(w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_second_machine_with_the_same_identity_is_refused),
		cmocka_unit_test(another_instance_replaces_one_that_does_not_answer),
		cmocka_unit_test(a_silent_one_is_replaced_at_once),
		cmocka_unit_test(a_process_that_is_gone_is_replaced_at_once),
		cmocka_unit_test(a_newcomer_that_goes_away_leaves_nothing),
		cmocka_unit_test(a_restart_is_not_held_back),
		cmocka_unit_test(a_restart_of_the_vps_is_not_held_back),
		cmocka_unit_test(the_same_instance_replaces_at_once),
		cmocka_unit_test(initial_contact_of_a_foreign_peer_replaces),
		cmocka_unit_test(initial_contact_without_auth_is_nothing),
		cmocka_unit_test(two_calls_that_are_answered_at_once_leave_one),
		cmocka_unit_test(ike_case_045_same_identity_from_two_hosts_has_one_winner),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
