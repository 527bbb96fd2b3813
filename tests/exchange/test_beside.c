/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A foreign peer with an IKE SA for each of its policies: which of them live side by side. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kids.h"

struct callers {
	struct engine *e[4];
	struct engine_peer peer[4];
};

static void callers_new(struct world *w, struct callers *c, unsigned count)
{
	struct host *h = &w->host[HOME];

	world_start(w);
	engine_free(h->e);
	for (unsigned k = 0; k < count; k++) {
		h->e = NULL;
		world_restart(w, HOME);
		c->e[k] = h->e;
		c->peer[k] = h->peer;
		c->peer[k].child = &h->conf[k % 3];
		c->peer[k].child_count = 1;
		DO(w, HOME, assert_int_equal(0, engine_peer_update(e, now, &c->peer[k], fx)));
	}
	h->spis = 0;
}

static void callers_free(struct world *w, struct callers *c, unsigned count)
{
	for (unsigned k = 0; k < count; k++)
		engine_free(c->e[k]);
	w->host[HOME].e = NULL;
	foreign = false;
	world_free(w);
}

/* All at the same time, so that each says INITIAL_CONTACT; or one by one. */
static void callers_call(struct world *w, struct callers *c, unsigned first, unsigned end)
{
	struct host *h = &w->host[HOME];

	for (unsigned k = first; k < end; k++) {
		h->e = c->e[k];
		world_call(w, HOME);
	}
	while (world_deliver(w, VPS))
		;
	for (int round = 0; round < 2; round++) {
		w->now_ms += 10;
		for (unsigned k = first; k < end; k++) {
			h->e = c->e[k];
			world_deliver(w, HOME);
			world_deliver(w, VPS);
		}
	}
}

static void three_ike_sas_of_one_identity(void **s)
{
	struct world *w = three_and(one_policy);
	struct callers c;

	(void)s;
	foreign = true;
	callers_new(w, &c, 4);
	callers_call(w, &c, 0, 3);
	assert_int_equal(established(w, VPS), 3);
	expect(w, 3);
	mail_passes(w, true);
	assert_int_equal(w->host[VPS].down, 0);
	callers_free(w, &c, 4);
}

/* The newer one carries the same: it replaces, and the others stay. */
static void the_same_policy_again_replaces(void **s)
{
	struct world *w = three_and(one_policy);
	struct callers c;

	(void)s;
	foreign = true;
	callers_new(w, &c, 4);
	w->host[HOME].e = c.e[0];
	/* They have been here before: none of them says INITIAL_CONTACT. */
	for (unsigned k = 0; k < 4; k++) {
		callers_call(w, &c, k, k + 1);
		if (k)
			continue;
		assert_int_equal(established(w, VPS), 1);
		w->host[VPS].down = 0;
	}
	/* One by one each says INITIAL_CONTACT and means it. */
	assert_int_equal(established(w, VPS), 1);
	callers_free(w, &c, 4);
}

static void without_initial_contact_only_what_is_covered_goes(void **s)
{
	struct world *w = three_and(one_policy);
	struct callers c;

	(void)s;
	foreign = true;
	callers_new(w, &c, 4);
	callers_call(w, &c, 0, 3);
	/* The third calls again, for what the first carries; it has been here. */
	c.peer[2].child = &w->host[HOME].conf[0];
	w->host[HOME].e = c.e[2];
	world_run(w, 1);
	DO(w, HOME, engine_drop(e, now, w->host[HOME].ike, fx));
	c.peer[3] = c.peer[2];
	DO(w, HOME, assert_int_equal(0, engine_peer_update(e, now, &c.peer[3], fx)));
	callers_call(w, &c, 2, 3);
	assert_int_equal(established(w, VPS), 3); /* "in" anew, "out", "ping" */
	assert_int_equal(w->host[VPS].down, 1);
	assert_true(w->host[VPS].last_down.down.replaced);
	callers_free(w, &c, 4);
}

/* One that stayed beside a newer one and is dead goes when the newer one answers and it does not. */
static void one_that_is_dead_does_not_stay_beside_for_ever(void **s)
{
	struct world *w = three_and(one_policy);
	uint32_t list[8];
	struct callers c;
	size_t n;

	(void)s;
	foreign = true;
	callers_new(w, &c, 3);
	callers_call(w, &c, 0, 3);
	assert_int_equal(established(w, VPS), 3);
	/* Only the last engine is still there. */
	w->host[HOME].e = c.e[2];
	for (int round = 0; round < 3; round++) {
		n = engine_peer_ikes(w->host[VPS].e, w->host[VPS].peer.id, list, 8);
		for (size_t k = 0; k < n; k++)
			DO(w, VPS, engine_liveness(e, now, list[k], fx));
		world_run(w, 20000);
	}
	assert_int_equal(established(w, VPS), 1);
	assert_true(w->host[VPS].last_down.down.replaced);
	callers_free(w, &c, 3);
}

/* The one that the supervisor knows goes; it learns which of the others lives on. */
static void the_heir_is_named_when_one_of_several_goes(void **s)
{
	struct world *w = three_and(one_policy);
	struct callers c;

	(void)s;
	foreign = true;
	callers_new(w, &c, 3);
	callers_call(w, &c, 0, 3);
	w->host[HOME].e = c.e[2];
	DO(w, HOME, engine_delete(e, now, w->host[HOME].ike, fx));
	world_run(w, 100);
	assert_int_equal(established(w, VPS), 2);
	assert_int_equal(w->host[VPS].down, 1);
	assert_false(w->host[VPS].last_down.down.replaced);
	assert_true(w->host[VPS].last_down.down.heir && w->host[VPS].last_down.down.heir_child);
	callers_free(w, &c, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(three_ike_sas_of_one_identity),
		cmocka_unit_test(the_same_policy_again_replaces),
		cmocka_unit_test(without_initial_contact_only_what_is_covered_goes),
		cmocka_unit_test(one_that_is_dead_does_not_stay_beside_for_ever),
		cmocka_unit_test(the_heir_is_named_when_one_of_several_goes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
