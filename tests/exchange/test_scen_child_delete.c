/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Deleting a CHILD SA, and what may cross it (RFC 7296 s1.4.1, s2.25.1). */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "scen.h"
#include "log.h"

SCENARIO(child_delete_regular)
{
	w->may_break = true;
	delete_child(w, a);
	ask(w, a, DELETE_CHILD);
	answer(w, b, DELETE_CHILD);
	quiet(w);
	EACH_HOST(h)
	events(w, h, 1, 0, 1);
}

SCENARIO(child_delete_collision)
{
	w->may_break = true;
	delete_child(w, a);
	delete_child(w, b);
	ask(w, a, DELETE_CHILD);
	ask(w, b, DELETE_CHILD);
	/* s2.25.1: what it is itself trying to close it answers without a Delete payload */
	answer(w, b, EMPTY);
	answer(w, a, EMPTY);
	quiet(w);
	EACH_HOST(h)
	events(w, h, 1, 0, 1);
}

SCENARIO(child_delete_collision_drop)
{
	struct flight delayed;

	w->may_break = true;
	delete_child(w, a);
	delayed = ask_held(w, a, DELETE_CHILD);
	delete_child(w, b);
	ask(w, b, DELETE_CHILD);
	answer(w, a, EMPTY);
	late(w, delayed);
	answer(w, b, EMPTY);
	quiet(w);
	EACH_HOST(h)
	events(w, h, 1, 0, 1);
}

SCENARIO_OF(child_delete_collision_ike_rekey, NULL, 2)
{
	w->may_break = true;
	delete_child(w, a);
	rekey_ike(w, b);
	if (w->variant) {
		ask(w, b, REKEY_IKE);
		ask(w, a, DELETE_CHILD);
	} else {
		ask(w, a, DELETE_CHILD);
		ask(w, b, REKEY_IKE);
	}
	/* s2.25.1: a is closing a CHILD SA; s2.25.2: b rekeys the IKE SA, but deletes as usual */
	answer(w, a, NOT_NOW);
	answer(w, b, DELETE_CHILD);
	EACH_HOST(h)
	{
		assert_int_equal(usable(w, h), 0);
		assert_int_equal(w->host[h].ike_rekeyed, 0);
	}
	world_run(w, 20000);
}

SCENARIO_OF(child_delete_collision_ike_delete, NULL, 2)
{
	w->may_break = w->gone = true;
	delete_child(w, a);
	delete_ike(w, b);
	if (w->variant) {
		ask(w, b, DELETE_IKE);
		ask(w, a, DELETE_CHILD);
		answer(w, b, DELETE_CHILD); /* to an IKE SA that is no more */
	} else {
		ask(w, a, DELETE_CHILD);
		answer(w, b, DELETE_CHILD);
		ask(w, b, DELETE_IKE);
	}
	answer(w, a, EMPTY);
	quiet(w);
	EACH_HOST(h)
	{
		assert_int_equal(w->host[h].down, 1);
		assert_int_equal(w->host[h].child_down, 1);
		assert_int_equal(w->host[h].failed, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(child_delete_regular),
		cmocka_unit_test(child_delete_collision),
		cmocka_unit_test(child_delete_collision_drop),
		cmocka_unit_test(child_delete_collision_ike_rekey),
		cmocka_unit_test(child_delete_collision_ike_delete),
	};

	log_setup("scen", LOG_LVL_ERR, 2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
