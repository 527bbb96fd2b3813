/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Certificates while the wall clock is plainly wrong: before the day on which the program was built. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certs.h"
#include "world.h"

#define DAY	86400
#define IN_1970 (3 * DAY)

static bool unjudged(struct world *w, int h)
{
	struct engine_ike_info i;

	assert_true(engine_ike_info(w->host[h].e, w->host[h].ike, &i));
	return i.dates_unjudged;
}

/* The home's chain, and the authority that the VPS trusts. */
static struct world *world_pki(enum pki_fault fault)
{
	struct world *w = world_new(1, STYLE_CERT_ECDSA);
	struct host *h = &w->host[HOME];
	struct engine_auth_remote *r = &w->host[VPS].peer.remote_auth;

	for (size_t i = 0; i < h->peer.local_auth.chain_count; i++)
		cert_free(h->chain[i]);
	privkey_free(h->key);
	ca_store_free((struct ca_store *)(uintptr_t)r->ca);
	test_pki(fault, HOME, &h->key, h->chain, &h->peer.local_auth.chain_count, &r->ca);
	h->peer.local_auth.key_type = privkey_type(h->key);
	return w;
}

static void a_right_clock_owes_nothing(void **s)
{
	struct world *w = world_pki(PKI_INTER);

	(void)s;
	world_up(w);
	EACH_HOST(a) assert_false(unjudged(w, a));
	world_no_leaks(w);
	world_free(w);
}

static void dates_that_hold_are_judged_when_the_clock_is_right(void **s)
{
	struct world *w = world_pki(PKI_INTER);

	(void)s;
	w->wall_s = IN_1970;
	world_up(w);
	EACH_HOST(a) assert_true(unjudged(w, a));
	world_run(w, 60000);
	EACH_HOST(a) assert_true(unjudged(w, a));
	w->wall_s = TEST_CERT_NOW;
	world_run(w, 20000);
	EACH_HOST(a)
	{
		assert_false(unjudged(w, a));
		assert_int_equal(w->host[a].down, 0);
		assert_int_equal(w->host[a].failed, 0);
	}
	world_agree(w);
	world_no_leaks(w);
	world_free(w);
}

static void what_has_expired_ends_when_the_clock_is_right(void **s)
{
	static const struct {
		enum pki_fault fault;
		const char *word;
	} t[] = { { PKI_EXPIRED, "has expired" }, { PKI_NOT_YET, "not yet valid" } };

	(void)s;
	for (int i = 0; i < 2; i++) {
		struct world *w = world_pki(t[i].fault);

		w->wall_s = IN_1970;
		world_up(w);
		w->wall_s = TEST_CERT_NOW;
		world_run(w, 20000);
		assert_int_equal(w->host[VPS].down, 1);
		assert_int_equal(w->host[VPS].last_down.down.why, ENGINE_WHY_AUTH_FAILED);
		assert_string_equal(w->host[VPS].last_failed.failed.key, "ca");
		assert_non_null(strstr(w->host[VPS].last_failed.failed.text, t[i].word));
		assert_non_null(
		    strstr(w->host[VPS].last_failed.failed.text, "the clock is right now"));
		/* SK {D} --> */
		assert_int_equal(w->host[HOME].down, 1);
		world_no_leaks(w);
		world_free(w);
	}
}

static void the_debt_goes_over_to_the_successor(void **s)
{
	struct world *w = world_pki(PKI_EXPIRED);

	(void)s;
	w->wall_s = IN_1970;
	world_up(w);
	DO(w, HOME, assert_int_equal(0, engine_rekey_ike(e, now, w->host[HOME].ike, fx)));
	world_run(w, 1000);
	EACH_HOST(a)
	{
		assert_int_equal(w->host[a].ike_rekeyed, 1);
		assert_true(unjudged(w, a));
	}
	w->wall_s = TEST_CERT_NOW;
	world_run(w, 20000);
	assert_int_equal(w->host[VPS].down, 1);
	world_no_leaks(w);
	world_free(w);
}

/* Only the dates wait: a wrong clock makes no wrong certificate right. */
static void all_else_is_judged_at_once(void **s)
{
	(void)s;
	for (int f = 0; f < PKI_FAULTS; f++) {
		struct world *w;

		if (f == PKI_EXPIRED || f == PKI_NOT_YET)
			continue;
		w = world_pki((enum pki_fault)f);
		w->wall_s = IN_1970;
		world_start(w);
		world_call(w, HOME);
		world_run(w, 2000);
		assert_int_equal(w->host[VPS].up, 0);
		world_free(w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_right_clock_owes_nothing),
		cmocka_unit_test(dates_that_hold_are_judged_when_the_clock_is_right),
		cmocka_unit_test(what_has_expired_ends_when_the_clock_is_right),
		cmocka_unit_test(the_debt_goes_over_to_the_successor),
		cmocka_unit_test(all_else_is_judged_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
