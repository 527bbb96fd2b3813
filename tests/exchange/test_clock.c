/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The wall clock of a machine is set: no timer of the engine moves, and no tunnel ends. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "log.h"
#include "world.h"

#define DECADE_S (10 * 365 * 86400ll)

/* Ten hours, in which the clock is set by @step_s and back beyond where it was; what happened in them. */
static unsigned life(enum auth_style style, int64_t step_s)
{
	struct world *w = world_new(5, style);
	unsigned events = 0;

	world_up(w);
	for (int i = 0; i < 100; i++) {
		if (i == 30)
			w->wall_s += step_s;
		if (i == 60)
			w->wall_s -= 2 * step_s;
		world_run(w, 360000);
		assert_true(paper_works(w, HOME) && paper_works(w, VPS));
	}
	EACH_HOST(h) {
		assert_int_equal(w->host[h].up, 1);
		assert_int_equal(w->host[h].failed, 0);
		events += w->host[h].child_rekeyed + 1000 * w->host[h].ike_rekeyed;
	}
	world_agree(w);
	world_no_leaks(w);
	world_free(w);
	return events;
}

static void ike_case_096_a_wall_clock_that_is_set_moves_no_timer(void **state)
{
	static const enum auth_style styles[] = { STYLE_PSK, STYLE_RAW };

	(void)state;
	for (int i = 0; i < 2; i++) {
		unsigned usual = life(styles[i], 0);

		assert_true(usual > 4000); /* each renewed its keys of IKE twice and those of data often */
		assert_int_equal(life(styles[i], -DECADE_S), usual);
		assert_int_equal(life(styles[i], DECADE_S), usual);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(
	    ike_case_096_a_wall_clock_that_is_set_moves_no_timer) };

	log_setup("clock", LOG_LVL_ERR, 2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
