/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A NAT that gives home another port: whoever asks next, home learns of it by NAT detection. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "world.h"

static void asks(struct world *w, int host)
{
	DO(w, host, assert_int_equal(0, engine_liveness(e, now, w->host[host].ike, fx)));
	world_run(w, 0);
}

/* The VPS has seen ESP from there, and follows. */
static void follows(struct world *w)
{
	struct engine_ike_info i;

	assert_true(engine_ike_info(w->host[VPS].e, w->host[VPS].ike, &i));
	i.path.remote.port = w->nat_port;
	DO(w, VPS, assert_int_equal(0, engine_set_path(e, now, w->host[VPS].ike, &i.path, fx)));
}

static struct world *behind_a_nat(uint64_t seed)
{
	struct world *w = world_new(seed, STYLE_RAW);

	w->nat_port = 20000;
	world_up(w);
	return w;
}

static void the_answer_to_our_question_tells(void **state)
{
	struct world *w = behind_a_nat(1);

	(void)state;
	for (int i = 0; i < 3; i++)
		asks(w, HOME);
	assert_int_equal(w->host[HOME].nat_changed, 0);
	w->nat_port++;
	asks(w, HOME);
	assert_int_equal(w->host[HOME].nat_changed, 1);
	asks(w, HOME);
	assert_int_equal(w->host[HOME].nat_changed, 1);
	assert_int_equal(w->host[VPS].nat_changed, 0);
	world_no_leaks(w);
	world_free(w);
}

static void a_question_of_the_other_side_tells(void **state)
{
	struct world *w = behind_a_nat(2);

	(void)state;
	asks(w, VPS);
	asks(w, VPS);
	assert_int_equal(w->host[HOME].nat_changed, 0);
	w->nat_port++;
	follows(w);
	asks(w, VPS);
	assert_int_equal(w->host[HOME].nat_changed, 1);
	asks(w, VPS);
	asks(w, HOME);
	assert_int_equal(w->host[HOME].nat_changed, 1);
	world_no_leaks(w);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_answer_to_our_question_tells),
		cmocka_unit_test(a_question_of_the_other_side_tells),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
