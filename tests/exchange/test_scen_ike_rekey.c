/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Rekeying the IKE SA (RFC 7296 s1.3.2, s2.8.2, s2.25.2). The variants with several key exchanges need
 * RFC 9370, which is not built yet.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cross.h"
#include "engine_int.h"
#include "log.h"

static void rekeyed_once(struct world *w)
{
	EACH_HOST(h)
	{
		assert_int_equal(w->host[h].ike_rekeyed, 1);
		assert_int_equal(w->host[h].down, 0);
		assert_int_equal(w->host[h].failed, 0);
		events(w, h, 1, 0, 0);
	}
}

SCENARIO(ike_rekey_regular)
{
	rekeys(w, a, b, &the_ike);
	quiet(w);
	rekeyed_once(w);
}

static void b_knows_only_p256(struct world *w, int a, int b)
{
	groups(&w->host[a].ike_ps, KE_CURVE25519, KE_ECP_256);
	groups(&w->host[b].ike_ps, KE_ECP_256, 0);
}

/*
 * We ask with the group of the present IKE SA, so a wrong one needs an IKE SA whose group the peer
 * no longer takes: its proposals change after the first exchange.
 */
SCENARIO(ike_rekey_regular_ke_invalid)
{
	b_knows_only_p256(w, a, b);
	rekey_ike(w, a);
	ask(w, a, REKEY_IKE);
	answer(w, b, WRONG_GROUP);
	ask(w, a, REKEY_IKE);
	answer(w, b, IKE_MADE);
	ask(w, a, DELETE_IKE);
	answer(w, b, EMPTY);
	quiet(w);
	rekeyed_once(w);
}

static void prfs(struct proposals *ps, uint16_t first, uint16_t second)
{
	for (unsigned i = 0; i < ps->count; i++) {
		struct proposal *p = &ps->p[i];
		uint8_t n = 0;

		for (unsigned k = 0; k < p->count; k++)
			if (p->t[k].type != TRANSFORM_PRF)
				p->t[n++] = p->t[k];
		p->t[n++] = (struct transform){ .type = TRANSFORM_PRF, .id = first };
		if (second)
			p->t[n++] = (struct transform){ .type = TRANSFORM_PRF, .id = second };
		p->count = n;
	}
}

static void prf_is(struct world *w, const char *word)
{
	EACH_HOST(h)
	{
		struct engine_ike_info i;

		assert_true(engine_ike_info(w->host[h].e, w->host[h].ike, &i));
		assert_non_null(strstr(i.suite, word));
	}
}

/* Who answers likes another PRF better now, and still the present one stays: see policy_with_prf(). */
static void keeps_the_prf(struct world *w, int a)
{
	int b = !a;

	prf_is(w, "prfsha256");
	prfs(&w->host[b].ike_ps, PRF_HMAC_SHA2_384, PRF_HMAC_SHA2_256);
	rekeys(w, a, b, &the_ike);
	quiet(w);
	rekeyed_once(w);
	prf_is(w, "prfsha256");
}

SCENARIO(ike_rekey_keeps_the_prf)
{
	(void)b;
	keeps_the_prf(w, a);
}

/* The same where who asks offers all that it has, as others do. */
SCENARIO(ike_rekey_keeps_the_prf_of_many)
{
	struct task all = { .kind = TASK_REKEY_IKE, .any_prf = true };

	(void)b;
	assert_int_equal(0, ike_sa_task_add(sa_by_handle(w->host[a].e, w->host[a].ike), &all));
	keeps_the_prf(w, a);
}

/* It takes the present PRF no more: the second request offers all that we have. */
SCENARIO(ike_rekey_changes_the_prf_that_is_refused)
{
	prfs(&w->host[b].ike_ps, PRF_HMAC_SHA2_384, 0);
	rekey_ike(w, a);
	ask(w, a, REKEY_IKE);
	answer(w, b, NO_PROPOSAL);
	ask(w, a, REKEY_IKE);
	answer(w, b, IKE_MADE);
	ask(w, a, DELETE_IKE);
	answer(w, b, EMPTY);
	quiet(w);
	rekeyed_once(w);
	prf_is(w, "prfsha384");
}

/*
 *	rekey ----\       /---- rekey
 *	           \-----/---->
 *	      <---------/ /---- Nr1
 *	Nr2   ----\      /
 *	           \----/----->
 */
SCENARIO_OF(ike_rekey_collision, NULL, 4)
{
	both_rekey(w, a, b, &the_ike);
	both_asked(w, a, b, &the_ike);
	both_made(w, a, b, &the_ike);
	both_delete(w, a, b, &the_ike);
	rekeyed_once(w);
}

static void each_knows_another_first(struct world *w, int a, int b)
{
	groups(&w->host[a].ike_ps, KE_CURVE25519, KE_ECP_256);
	groups(&w->host[b].ike_ps, KE_ECP_384, KE_ECP_256);
}

static void both_rekey_with_another_group(struct world *w, int a, int b)
{
	each_knows_another_first(w, a, b);
	rekey_ike(w, a);
	rekey_ike(w, b);
}

SCENARIO_OF(ike_rekey_collision_ke_invalid, NULL, 4)
{
	both_rekey_with_another_group(w, a, b);
	both_told_the_group(w, a, b, &the_ike);
	both_asked(w, a, b, &the_ike);
	both_made(w, a, b, &the_ike);
	both_delete(w, a, b, &the_ike);
	rekeyed_once(w);
}

/* The second try of a is late: for b there was no collision. */
SCENARIO_OF(ike_rekey_collision_ke_invalid_delayed_retry, NULL, 3)
{
	struct flight retry;

	both_rekey_with_another_group(w, a, b);
	ask(w, a, REKEY_IKE);
	ask(w, b, REKEY_IKE);
	lead(w, a, 0);
	answer(w, b, WRONG_GROUP);
	retry = ask_held(w, a, REKEY_IKE);
	lead(w, b, 1);
	answer(w, a, WRONG_GROUP);
	b_alone(w, a, b, &the_ike);
	late(w, retry);
	answer(w, b, NOT_NOW);
	answer(w, a, EMPTY);
	rekeyed_once(w);
}

/*
 * What b answered comes late. If b made the redundant SA it goes at once; if not, b deletes the old
 * SA, which tells a that b has settled: a takes the new SA of b and forgets its own rekey.
 */
SCENARIO_OF(ike_rekey_collision_delayed_response, NULL, 4)
{
	struct flight response;

	both_rekey(w, a, b, &the_ike);
	response = b_settles(w, a, b, &the_ike);
	late(w, response);
	if (!a_made_the_redundant_one(w)) {
		ask(w, a, DELETE_IKE);
		answer(w, b, EMPTY);
	}
	EACH_HOST(h)
	assert_int_equal(w->host[h].ike_rekeyed, 1);
}

/* The request of a is lost: for b there was no collision. */
SCENARIO_OF(ike_rekey_collision_dropped_request, NULL, 4)
{
	both_rekey(w, a, b, &the_ike);
	ask_lost(w, a, REKEY_IKE);
	lead(w, a, 2);
	ask(w, b, REKEY_IKE);
	answer(w, a, IKE_MADE);
	/* s2.8.2: the Delete tells a that b noticed nothing; a forgets its own */
	ask(w, b, DELETE_IKE);
	answer(w, a, EMPTY);
	quiet(w);
	rekeyed_once(w);
}

SCENARIO_OF(ike_rekey_collision_delayed_request, NULL, 4)
{
	struct flight request;

	both_rekey(w, a, b, &the_ike);
	request = ask_held(w, a, REKEY_IKE);
	b_alone(w, a, b, &the_ike);
	/* s2.8.2: b is trying to close it */
	late(w, request);
	answer(w, a, EMPTY);
	answer(w, b, NOT_NOW); /* to nobody */
	quiet(w);
	rekeyed_once(w);
}

SCENARIO_OF(ike_rekey_collision_delayed_request_and_delete, NULL, 4)
{
	struct flight request, delete;

	both_rekey(w, a, b, &the_ike);
	request = ask_held(w, a, REKEY_IKE);
	lead(w, a, 2);
	ask(w, b, REKEY_IKE);
	answer(w, a, IKE_MADE);
	delete = ask_held(w, b, DELETE_IKE);
	late(w, request);
	answer(w, b, NOT_NOW); /* a does not try again: there is the SA of b */
	quiet(w);
	late(w, delete);
	answer(w, a, EMPTY);
	quiet(w);
	rekeyed_once(w);
}

SCENARIO_OF(ike_rekey_collision_delete, NULL, 2)
{
	w->may_break = w->gone = true;
	rekey_ike(w, a);
	delete_ike(w, b);
	/* s2.25.2: TEMPORARY_FAILURE to the rekey; the close as usual, and the rekey is forgotten */
	ask(w, a, REKEY_IKE);
	if (w->variant) { /* the Delete is late */
		answer(w, b, NOT_NOW);
		ask(w, b, DELETE_IKE);
	} else {
		ask(w, b, DELETE_IKE);
		answer(w, b, NOT_NOW);
	}
	answer(w, a, EMPTY);
	quiet(w);
	EACH_HOST(h)
	{
		assert_int_equal(w->host[h].ike_rekeyed, 0);
		assert_int_equal(w->host[h].down, 1);
	}
}

/* Copies of everything, late: answered from what is stored, or ignored; never fatal. */
SCENARIO(ike_rekey_retransmits_to_the_old_spi)
{
	struct flight copy[2];

	w->dup = 100;
	rekey_ike(w, a);
	ask(w, a, REKEY_IKE);
	copy[0] = ask_held(w, a, REKEY_IKE);
	answer(w, b, IKE_MADE);
	copy[1] = answer_held(w, b, IKE_MADE);
	w->dup = 0;
	late(w, copy[0]); /* after b moved everything to the new SA */
	late(w, copy[1]);
	w->dup = 100;
	ask(w, a, DELETE_IKE);
	w->dup = 0;
	EACH_HOST(h)
	assert_int_equal(w->host[h].down, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ike_rekey_regular),
		cmocka_unit_test(ike_rekey_regular_ke_invalid),
		cmocka_unit_test(ike_rekey_keeps_the_prf),
		cmocka_unit_test(ike_rekey_keeps_the_prf_of_many),
		cmocka_unit_test(ike_rekey_changes_the_prf_that_is_refused),
		cmocka_unit_test(ike_rekey_collision),
		cmocka_unit_test(ike_rekey_collision_ke_invalid),
		cmocka_unit_test(ike_rekey_collision_ke_invalid_delayed_retry),
		cmocka_unit_test(ike_rekey_collision_delayed_response),
		cmocka_unit_test(ike_rekey_collision_dropped_request),
		cmocka_unit_test(ike_rekey_collision_delayed_request),
		cmocka_unit_test(ike_rekey_collision_delayed_request_and_delete),
		cmocka_unit_test(ike_rekey_collision_delete),
		cmocka_unit_test(ike_rekey_retransmits_to_the_old_spi),
	};

	log_setup("scen", LOG_LVL_ERR, 2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
