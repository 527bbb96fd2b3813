/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Rekeying a CHILD SA (RFC 7296 s1.3.3, s2.8.1, s2.25.1). The variants with several key exchanges
 * need RFC 9370, which is not built yet.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "cross.h"
#include "log.h"

static void rekeyed_once(struct world *w)
{
	EACH_HOST(h)
	{
		events(w, h, 1, 1, 0);
		assert_int_equal(w->host[h].failed, 0);
		assert_int_equal(usable(w, h), 1);
		assert_int_equal(paper_children(&w->host[h], true, true), 1);
	}
}

/* ---- without a collision ---- */

SCENARIO(child_rekey_regular)
{
	rekeys(w, a, b, &the_child);
	quiet(w);
	rekeyed_once(w);
}

static void b_knows_only_p256(struct world *w, int a, int b)
{
	groups(&w->host[a].esp_ps, KE_CURVE25519, KE_ECP_256);
	groups(&w->host[b].esp_ps, KE_ECP_256, 0);
}

SCENARIO_OF(child_rekey_regular_ke_invalid, b_knows_only_p256, 1)
{
	rekey_child(w, a);
	ask(w, a, REKEY_CHILD);
	answer(w, b, WRONG_GROUP);
	ask(w, a, REKEY_CHILD);
	answer(w, b, CHILD_MADE);
	ask(w, a, DELETE_CHILD);
	answer(w, b, DELETE_CHILD);
	quiet(w);
	rekeyed_once(w);
}

static void child_event(struct world *w, int h, uint32_t spi, enum engine_child_event ev)
{
	DO(w, h, engine_on_child_event(e, now, spi, ev, fx));
}

static bool sends_on(const struct world *w, int h, uint32_t spi_in)
{
	for (int i = 0; i < CHILDREN_MAX; i++)
		if (w->host[h].child[i].spi_in == spi_in && w->host[h].child[i].out)
			return true;
	return false;
}

/* The old one is as good as gone: b waits for its Delete and does not rekey it again. */
SCENARIO(child_rekey_regular_responder_ignore_soft_expire)
{
	uint32_t old = spi_of_child(w, b);

	rekey_child(w, a);
	ask(w, a, REKEY_CHILD);
	child_event(w, b, old, ENGINE_CHILD_SOFT);
	answer(w, b, CHILD_MADE);
	child_event(w, b, old, ENGINE_CHILD_SOFT);
	ask(w, a, DELETE_CHILD);
	answer(w, b, DELETE_CHILD);
	quiet(w);
	rekeyed_once(w);
}

/* The numbers of the old one are used up before its Delete came: b sends on the new one. */
SCENARIO(child_rekey_regular_responder_handle_hard_expire)
{
	uint32_t old = spi_of_child(w, b);

	rekey_child(w, a);
	ask(w, a, REKEY_CHILD);
	answer(w, b, CHILD_MADE);
	assert_true(sends_on(w, b, old));
	child_event(w, b, old, ENGINE_CHILD_HARD);
	works_both_ways(w);
	assert_false(sends_on(w, b, old));
	ask(w, a, DELETE_CHILD);
	answer(w, b, DELETE_CHILD);
	quiet(w);
	rekeyed_once(w);
}

/* b deletes the new one before it ever sent on it; its answer is late, or not. */
SCENARIO_OF(child_rekey_regular_responder_delete, NULL, 2)
{
	struct flight response = { 0 };

	rekey_child(w, a);
	ask(w, a, REKEY_CHILD);
	w->may_break = true;
	if (w->variant)
		response = answer_held(w, b, CHILD_MADE);
	else
		answer(w, b, CHILD_MADE);
	delete_child(w, b);
	ask(w, b, DELETE_CHILD);
	if (w->variant) {
		answer(w, a, EMPTY); /* it knows no such SA yet */
		late(w, response);
		ask(w, a, DELETE_CHILD); /* the old one, which b has replaced */
		answer(w, b, DELETE_CHILD);
	} else {
		answer(w, a, DELETE_CHILD);
		ask(w, a, DELETE_CHILD);
		answer(w, b, DELETE_CHILD);
	}
	quiet(w);
	EACH_HOST(h)
	{
		assert_int_equal(usable(w, h), 0);
		assert_int_equal(w->host[h].child_down, 1);
	}
}

SCENARIO(child_rekey_regular_responder_lost_sa)
{
	forget_child(w, b, spi_of_child(w, b));
	w->may_break = true;
	rekey_child(w, a);
	ask(w, a, REKEY_CHILD);
	answer(w, b, NO_SUCH_CHILD);
	/* s2.25: silently deleted here too, and made anew */
	assert_int_equal(w->host[a].child_down, 1);
	assert_int_equal(usable(w, a), 0);
	passes(w, 6000);
	ask(w, a, NEW_CHILD);
	answer(w, b, CHILD_MADE);
	works_both_ways(w);
	assert_int_equal(w->host[a].child_up, 2);
}

/* Some peers delete the old one though it was not they who rekeyed it, even before their answer. */
SCENARIO_OF(child_rekey_regular_responder_incorrect_delete, NULL, 2)
{
	uint32_t old = spi_of_child(w, b);
	struct flight response;

	rekey_child(w, a);
	ask(w, a, REKEY_CHILD);
	if (w->variant) {
		answer(w, b, CHILD_MADE);
		stray_delete(w, b, old);
		ask(w, b, DELETE_CHILD);
		answer(w, a, EMPTY); /* a is closing it */
		ask(w, a, DELETE_CHILD);
		answer(w, b, DELETE_CHILD);
	} else {
		response = answer_held(w, b, CHILD_MADE);
		stray_delete(w, b, old);
		w->may_break = true; /* b took away what a still sends on */
		ask(w, b, DELETE_CHILD);
		answer(w, a, DELETE_CHILD);
		late(w, response);
		assert_true(paper_works(w, a));
	}
	quiet(w);
	EACH_HOST(h)
	events(w, h, 1, 1, 0);
}

/* Nobody answers the Delete, and the supervisor gives up: one down event for the CHILD SA. */
SCENARIO(child_rekey_regular_delete_timeout)
{
	rekey_child(w, a);
	ask(w, a, REKEY_CHILD);
	answer(w, b, CHILD_MADE);
	ask_lost(w, a, DELETE_CHILD);
	passes(w, 60000);
	EACH_HOST(h)
	events(w, h, 1, 1, 0);
	w->gone = true;
	EACH_HOST(h)
	{
		uint32_t ike = w->host[h].ike;

		DO(w, h, engine_drop(e, now, ike, fx));
		assert_int_equal(w->host[h].child_down, 1);
	}
}

/* ---- both rekey ---- */

/*
 *	rekey ----\       /---- rekey
 *	           \-----/---->
 *	      <---------/ /---- Nr1
 *	Nr2   ----\      /
 *	           \----/----->
 *	      <--------/
 */
SCENARIO_OF(child_rekey_collision, NULL, 4)
{
	both_rekey(w, a, b, &the_child);
	both_asked(w, a, b, &the_child);
	both_made(w, a, b, &the_child);
	both_delete(w, a, b, &the_child);
	rekeyed_once(w);
}

static void each_knows_another_first(struct world *w, int a, int b)
{
	groups(&w->host[a].esp_ps, KE_CURVE25519, KE_ECP_256);
	groups(&w->host[b].esp_ps, KE_ECP_384, KE_ECP_256);
}

SCENARIO_OF(child_rekey_collision_ke_invalid, each_knows_another_first, 4)
{
	rekey_child(w, a);
	rekey_child(w, b);
	both_told_the_group(w, a, b, &the_child);
	both_asked(w, a, b, &the_child);
	both_made(w, a, b, &the_child);
	both_delete(w, a, b, &the_child);
	rekeyed_once(w);
}

/* The second try of a is late: for b there was no collision. */
SCENARIO_OF(child_rekey_collision_ke_invalid_delayed_retry, each_knows_another_first, 3)
{
	struct flight retry;

	rekey_child(w, a);
	rekey_child(w, b);
	ask(w, a, REKEY_CHILD);
	ask(w, b, REKEY_CHILD);
	lead(w, a, 0);
	answer(w, b, WRONG_GROUP);
	retry = ask_held(w, a, REKEY_CHILD);
	lead(w, b, 1);
	answer(w, a, WRONG_GROUP);
	b_alone(w, a, b, &the_child);
	late(w, retry);
	answer(w, b, NOT_NOW);
	answer(w, a, DELETE_CHILD);
	quiet(w);
	rekeyed_once(w);
}

/* b settles before a has its answer; later a finds that b was right. */
SCENARIO_OF(child_rekey_collision_delayed_response, NULL, 4)
{
	struct flight response;

	both_rekey(w, a, b, &the_child);
	response = b_settles(w, a, b, &the_child); /* the redundant one of its own, or the old one */
	late(w, response);
	ask(w, a, DELETE_CHILD);
	answer(w, b, DELETE_CHILD);
	quiet(w);
	rekeyed_once(w);
}

/* As before, and then b deletes the SA that stays, before a has its answer. */
SCENARIO_OF(child_rekey_collision_delayed_response_delete, NULL, 4)
{
	struct flight response;

	both_rekey(w, a, b, &the_child);
	response = b_settles(w, a, b, &the_child);
	w->may_break = true;
	delete_child(w, b);
	ask(w, b, DELETE_CHILD);
	answer(w, a, a_made_the_redundant_one(w) ? DELETE_CHILD : EMPTY);
	late(w, response);
	ask(w, a, DELETE_CHILD);
	answer(w, b, DELETE_CHILD);
	quiet(w);
	EACH_HOST(h)
	{
		assert_int_equal(usable(w, h), 0);
		assert_int_equal(w->host[h].child_down, 1);
	}
}

/* The request of a comes when b has rekeyed and is deleting the old one. */
SCENARIO_OF(child_rekey_collision_delayed_request, NULL, 3)
{
	struct flight request;

	both_rekey(w, a, b, &the_child);
	request = ask_held(w, a, REKEY_CHILD);
	b_alone(w, a, b, &the_child);
	late(w, request);
	answer(w, b, NOT_NOW);
	answer(w, a, DELETE_CHILD);
	quiet(w);
	rekeyed_once(w);
}

/* ... when b has deleted it. */
SCENARIO_OF(child_rekey_collision_delayed_request_more, NULL, 3)
{
	struct flight request;

	both_rekey(w, a, b, &the_child);
	request = ask_held(w, a, REKEY_CHILD);
	b_alone(w, a, b, &the_child);
	answer(w, a, DELETE_CHILD);
	late(w, request);
	answer(w, b, NO_SUCH_CHILD);
	quiet(w);
	rekeyed_once(w);
}

/* ... when b has deleted its new one too. */
SCENARIO_OF(child_rekey_collision_delayed_request_more_delete, NULL, 3)
{
	struct flight request;

	both_rekey(w, a, b, &the_child);
	request = ask_held(w, a, REKEY_CHILD);
	b_alone(w, a, b, &the_child);
	answer(w, a, DELETE_CHILD);
	w->may_break = true;
	delete_child(w, b);
	ask(w, b, DELETE_CHILD);
	answer(w, a, DELETE_CHILD);
	late(w, request);
	answer(w, b, NO_SUCH_CHILD);
	quiet(w);
	EACH_HOST(h)
	{
		assert_int_equal(usable(w, h), 0);
		events(w, h, 1, 1, 1);
	}
}

/* In a collision that a wins b deletes the old one too, which was for a to do. */
SCENARIO_OF(child_rekey_collision_responder_incorrect_delete, NULL, 4)
{
	uint32_t old = spi_of_child(w, b);
	struct flight response;

	both_rekey(w, a, b, &the_child);
	response = b_settles(w, a, b, &the_child);
	if (!a_made_the_redundant_one(w))
		w->may_break = true; /* b takes away what a still sends on */
	stray_delete(w, b, old);
	ask(w, b, DELETE_CHILD);
	answer(w, a, a_made_the_redundant_one(w) ? EMPTY : DELETE_CHILD);
	late(w, response);
	assert_true(paper_works(w, a));
	EACH_HOST(h)
	assert_int_equal(w->host[h].child_down, 0);
	w->delay_min = w->delay_max = 10;
	world_run(w, 1000);
	EACH_HOST(h)
	assert_int_equal(usable(w, h), 1);
}

/* ---- one rekeys, the other deletes ---- */

static void both_without(struct world *w)
{
	quiet(w);
	EACH_HOST(h)
	{
		assert_int_equal(usable(w, h), 0);
		events(w, h, 1, 0, 1);
	}
}

SCENARIO(child_rekey_collision_delete)
{
	w->may_break = true;
	rekey_child(w, a);
	delete_child(w, b);
	ask(w, a, REKEY_CHILD);
	ask(w, b, DELETE_CHILD);
	answer(w, b, NOT_NOW);
	answer(w, a, DELETE_CHILD);
	both_without(w);
}

/* The Delete is late: a has planned another try. */
SCENARIO(child_rekey_collision_delete_drop_delete)
{
	struct flight delete;

	w->may_break = true;
	rekey_child(w, a);
	delete_child(w, b);
	delete = ask_held(w, b, DELETE_CHILD);
	ask(w, a, REKEY_CHILD);
	answer(w, b, NOT_NOW);
	late(w, delete);
	answer(w, a, DELETE_CHILD);
	both_without(w);
}

/* The rekey is late: b has nothing left to rekey. */
SCENARIO(child_rekey_collision_delete_drop_rekey)
{
	struct flight request;

	w->may_break = true;
	rekey_child(w, a);
	request = ask_held(w, a, REKEY_CHILD);
	delete_child(w, b);
	ask(w, b, DELETE_CHILD);
	answer(w, a, DELETE_CHILD);
	late(w, request);
	answer(w, b, NO_SUCH_CHILD);
	both_without(w);
}

/* b deletes the old one; its answer to the rekey is late, and says what a can guess by then. */
SCENARIO(child_rekey_collision_delete_delayed_response)
{
	struct flight response;

	w->may_break = true;
	rekey_child(w, a);
	delete_child(w, b);
	ask(w, a, REKEY_CHILD);
	response = answer_held(w, b, NOT_NOW);
	ask(w, b, DELETE_CHILD);
	answer(w, a, DELETE_CHILD);
	late(w, response);
	both_without(w);
}

/* ---- with the IKE SA ---- */

SCENARIO_OF(child_rekey_collision_ike_rekey, NULL, 2)
{
	rekey_child(w, a);
	rekey_ike(w, b);
	if (w->variant) {
		ask(w, b, REKEY_IKE);
		ask(w, a, REKEY_CHILD);
	} else {
		ask(w, a, REKEY_CHILD);
		ask(w, b, REKEY_IKE);
	}
	answer(w, a, NOT_NOW);
	answer(w, b, NOT_NOW);
	quiet(w);
	EACH_HOST(h)
	{
		assert_int_equal(w->host[h].ike_rekeyed, 0);
		events(w, h, 1, 0, 0);
	}
	w->delay_min = w->delay_max = 10;
	world_run(w, 30000);
	EACH_HOST(h)
	{
		assert_int_equal(w->host[h].ike_rekeyed, 1);
		events(w, h, 1, 1, 0);
	}
}

SCENARIO_OF(child_rekey_collision_ike_delete, NULL, 2)
{
	w->may_break = w->gone = true;
	rekey_child(w, a);
	delete_ike(w, b);
	if (w->variant) {
		ask(w, b, DELETE_IKE);
		ask(w, a, REKEY_CHILD);
	} else {
		ask(w, a, REKEY_CHILD);
		ask(w, b, DELETE_IKE);
	}
	answer(w, b, NOT_NOW);
	answer(w, a, EMPTY);
	quiet(w);
	EACH_HOST(h)
	{
		events(w, h, 1, 0, 1);
		assert_int_equal(w->host[h].down, 1);
		assert_int_equal(paper_children(&w->host[h], false, false), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(child_rekey_regular),
		cmocka_unit_test(child_rekey_regular_ke_invalid),
		cmocka_unit_test(child_rekey_regular_responder_ignore_soft_expire),
		cmocka_unit_test(child_rekey_regular_responder_handle_hard_expire),
		cmocka_unit_test(child_rekey_regular_responder_delete),
		cmocka_unit_test(child_rekey_regular_responder_lost_sa),
		cmocka_unit_test(child_rekey_regular_responder_incorrect_delete),
		cmocka_unit_test(child_rekey_regular_delete_timeout),
		cmocka_unit_test(child_rekey_collision),
		cmocka_unit_test(child_rekey_collision_ke_invalid),
		cmocka_unit_test(child_rekey_collision_ke_invalid_delayed_retry),
		cmocka_unit_test(child_rekey_collision_delayed_response),
		cmocka_unit_test(child_rekey_collision_delayed_response_delete),
		cmocka_unit_test(child_rekey_collision_delayed_request),
		cmocka_unit_test(child_rekey_collision_delayed_request_more),
		cmocka_unit_test(child_rekey_collision_delayed_request_more_delete),
		cmocka_unit_test(child_rekey_collision_responder_incorrect_delete),
		cmocka_unit_test(child_rekey_collision_delete),
		cmocka_unit_test(child_rekey_collision_delete_drop_delete),
		cmocka_unit_test(child_rekey_collision_delete_drop_rekey),
		cmocka_unit_test(child_rekey_collision_delete_delayed_response),
		cmocka_unit_test(child_rekey_collision_ike_rekey),
		cmocka_unit_test(child_rekey_collision_ike_delete),
	};

	log_setup("scen", LOG_LVL_ERR, 2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
