/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Deleting the IKE SA (RFC 7296 s1.4.1, s2.25.2). */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "scen.h"
#include "log.h"

static void one_down_each(struct world *w)
{
	EACH_HOST(h)
	{
		assert_int_equal(w->host[h].down, 1);
		assert_false(w->host[h].last_down.down.replaced);
		assert_int_equal(w->host[h].child_down, 1);
		assert_int_equal(paper_children(&w->host[h], false, false), 0);
	}
}

SCENARIO(ike_delete_regular)
{
	w->may_break = w->gone = true;
	delete_ike(w, a);
	ask(w, a, DELETE_IKE);
	answer(w, b, EMPTY);
	quiet(w);
	one_down_each(w);
	assert_int_equal(w->host[a].last_down.down.why, ENGINE_WHY_ADMIN);
	assert_int_equal(w->host[b].last_down.down.why, ENGINE_WHY_DELETED);
}

SCENARIO(ike_delete_collision)
{
	w->may_break = w->gone = true;
	delete_ike(w, a);
	delete_ike(w, b);
	/* s2.25.2: reply as usual, and forget the own close request */
	ask(w, a, DELETE_IKE);
	ask(w, b, DELETE_IKE);
	answer(w, b, EMPTY);
	answer(w, a, EMPTY);
	quiet(w);
	one_down_each(w);
	/* forgotten: nobody asks again */
	EACH_HOST(h)
	assert_int_equal(w->host[h].unanswered, 0);
	passes(w, 5000);
	quiet(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ike_delete_regular),
		cmocka_unit_test(ike_delete_collision),
	};

	log_setup("scen", LOG_LVL_ERR, 2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
