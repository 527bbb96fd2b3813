/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Creating a further CHILD SA (RFC 7296 s1.3.1, s2.25). */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "scen.h"
#include "log.h"

/* Without its CHILD SA the side that started the series makes a new one, after a second. */
static void without_child(struct world *w, int deleter)
{
	w->may_break = true;
	delete_child(w, deleter);
	ask(w, deleter, DELETE_CHILD);
	answer(w, !deleter, DELETE_CHILD);
	quiet(w);
}

static int series_initiator(struct world *w)
{
	struct engine_ike_info i;

	assert_true(engine_ike_info(w->host[HOME].e, w->host[HOME].ike, &i));
	return i.initiator ? HOME : VPS;
}

SCENARIO(child_create_again_after_a_delete)
{
	int who = series_initiator(w);

	without_child(w, a);
	passes(w, 1100);
	ask(w, who, NEW_CHILD);
	answer(w, !who, CHILD_MADE);
	quiet(w);
	works_both_ways(w);
	events(w, b, 2, 0, 1);
}

SCENARIO(child_create_collision_ike_rekey)
{
	int who = series_initiator(w);

	without_child(w, a);
	passes(w, 1100);
	rekey_ike(w, !who);
	/* s2.25.1, s2.25.2: neither is done; both try again, later and one after the other */
	ask(w, who, NEW_CHILD);
	ask(w, !who, REKEY_IKE);
	answer(w, !who, NOT_NOW);
	answer(w, who, NOT_NOW);
	quiet(w);
	assert_int_equal(w->host[a].ike_rekeyed + w->host[b].ike_rekeyed, 0);
	w->delay_min = w->delay_max = 10;
	world_run(w, 10000);
	assert_int_equal(w->host[a].ike_rekeyed, 1);
	assert_int_equal(w->host[b].ike_rekeyed, 1);
	works_both_ways(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(child_create_again_after_a_delete),
		cmocka_unit_test(child_create_collision_ike_rekey),
	};

	log_setup("scen", LOG_LVL_ERR, 2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
