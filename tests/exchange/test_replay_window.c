/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * How wide the other's replay window is, among Posterns:
 *
 *	IKE_AUTH, CREATE_CHILD_SA {.. SA, TSi, TSr, N(POSTERN_REPLAY_WINDOW)} -->
 *			<-- {.. SA, TSi, TSr, N(POSTERN_REPLAY_WINDOW)}
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "log.h"
#include "odd.h"

static bool stranger; /* neither says that it is a Postern */

void __real_pld_vendor_add(struct ike_build *b, struct span id);
void __wrap_pld_vendor_add(struct ike_build *b, struct span id);
void __wrap_pld_vendor_add(struct ike_build *b, struct span id)
{
	if (!stranger || id.len != POSTERN_VENDOR_ID_LEN || memcmp(id.p, postern_vendor_id, id.len))
		__real_pld_vendor_add(b, id);
}

static struct world *up(uint32_t home, uint32_t vps)
{
	struct world *w = world_new(1, STYLE_PSK);

	world_start(w);
	w->host[HOME].e->replay_window = home;
	w->host[VPS].e->replay_window = vps;
	world_call(w, HOME);
	world_run(w, 0);
	world_agree(w);
	return w;
}

static struct paper_child *newest(struct world *w, int h)
{
	struct paper_child *best = NULL;

	for (int i = 0; i < CHILDREN_MAX; i++) {
		struct paper_child *c = &w->host[h].child[i];

		if (c->used && c->in && c->out && (!best || c->out_since > best->out_since))
			best = c;
	}
	assert_non_null(best);
	return best;
}

static void know(struct world *w, uint32_t home, uint32_t vps)
{
	assert_int_equal(home, newest(w, HOME)->in_window);
	assert_int_equal(home, newest(w, VPS)->out_window);
	assert_int_equal(vps, newest(w, VPS)->in_window);
	assert_int_equal(vps, newest(w, HOME)->out_window);
}

static void end(struct world *w)
{
	world_no_leaks(w);
	world_free(w);
}

static void each_knows_the_others(void **s)
{
	static const uint32_t n[] = { 0, 4096, 65536 };

	(void)s;
	for (int i = 0; i < 9; i++) {
		struct world *w = up(n[i % 3], n[i / 3]);

		know(w, n[i % 3], n[i / 3]);
		end(w);
	}
}

static void and_after_a_rekey_by_either(void **s)
{
	(void)s;
	EACH_HOST(a)
	{
		struct world *w = up(65536, 8192);
		uint32_t was = newest(w, a)->spi_in;

		DO(w, a, engine_rekey_child(e, now, was, fx));
		world_run(w, 20000);
		assert_int_not_equal(was, newest(w, a)->spi_in);
		know(w, 65536, 8192);
		/* What the IKE SA knows of the other it hands on. */
		DO(w, a, engine_rekey_ike(e, now, w->host[a].ike, fx));
		world_run(w, 20000);
		/* Its window is another one since a restart. */
		w->host[!a].e->replay_window = 0;
		DO(w, a, engine_rekey_child(e, now, newest(w, a)->spi_in, fx));
		world_run(w, 20000);
		know(w, a == HOME ? 65536 : 0, a == HOME ? 0 : 8192);
		end(w);
	}
}

static void nobody_else_is_told_or_believed(void **s)
{
	struct world *w;

	(void)s;
	stranger = true;
	w = up(65536, 65536);
	know(w, 0, 0);
	DO(w, HOME, engine_rekey_child(e, now, newest(w, HOME)->spi_in, fx));
	world_run(w, 20000);
	know(w, 0, 0);
	end(w);
	stranger = false;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_knows_the_others),
		cmocka_unit_test(and_after_a_rekey_by_either),
		cmocka_unit_test(nobody_else_is_told_or_believed),
	};

	log_setup("exchange", LOG_LVL_ERR, 2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
