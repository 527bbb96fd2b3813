/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Weather: thousands of runs on networks that delay, drop, duplicate and reorder, with rekeys, deletes
 * and proofs of life from both sides at bad moments. When the storm is over both sides must agree
 * on one IKE SA and one CHILD SA, and nothing may be left over. A seed that fails is run again alone:
 * test_exchange_weather SEED
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "world.h"
#include "log.h"

static unsigned long first_seed = 1, last_seed = 2000;

static uint32_t any_child(struct host *h)
{
	struct engine_ike_info i;

	if (!engine_ike_info(h->e, h->ike, &i) || !i.child_count)
		return 0;
	return i.child[0].spi_in;
}

static void disturb(struct world *w, int h)
{
	struct host *host = &w->host[h];
	uint32_t spi = any_child(host), ike = host->ike;

	switch (world_random(w) % 8) {
	case 0:
	case 1:
	case 2:
		DO(w, h, engine_rekey_child(e, now, spi, fx));
		break;
	case 3:
	case 4:
		DO(w, h, engine_rekey_ike(e, now, ike, fx));
		break;
	case 5:
		DO(w, h, engine_liveness(e, now, ike, fx));
		break;
	case 6:
		DO(w, h, engine_on_child_event(e, now, spi, ENGINE_CHILD_FIRST_PACKET, fx));
		break;
	default:
		DO(w, h, engine_delete_child(e, now, spi, fx));
		break;
	}
}

static bool storm(unsigned long seed)
{
	struct world *w = world_new(seed, STYLE_PSK);
	const char *why = NULL;
	unsigned rounds;
	bool ok;

	w->delay_min = (unsigned)(world_random(w) % 50);
	w->delay_max = w->delay_min + (unsigned)(world_random(w) % 1500);
	w->drop = (unsigned)(world_random(w) % 30);
	w->dup = (unsigned)(world_random(w) % 30);
	rounds = (unsigned)(world_random(w) % 12);
	world_start(w);
	world_call(w, HOME);
	/* Sometimes both call at once. */
	if (world_random(w) % 4 == 0) {
		w->host[HOME].peer.accept = true;
		world_call(w, VPS);
	}
	world_run(w, 1000 + world_random(w) % 30000);
	while (rounds--) {
		disturb(w, HOME);
		if (world_random(w) % 2)
			world_run(w, world_random(w) % 300);
		disturb(w, VPS);
		world_run(w, world_random(w) % 8000);
	}
	w->drop = w->dup = 0;
	w->delay_max = w->delay_min;
	world_run(w, 300000);
	ok = world_agrees(w, &why);
	EACH_HOST(h)
	if (ok && paper_children(&w->host[h], false, false) != 1) {
		why = "CHILD SAs are left in the data plane";
		ok = false;
	}
	if (!ok)
		fprintf(stderr, "seed %lu: %s\n", seed, why);
	world_no_leaks(w);
	world_free(w);
	return ok;
}

static void both_sides_agree_after_every_storm(void **s)
{
	unsigned bad = 0;

	(void)s;
	for (unsigned long seed = first_seed; seed <= last_seed; seed++)
		bad += !storm(seed);
	assert_int_equal(bad, 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(both_sides_agree_after_every_storm) };

	log_setup("weather", argc > 1 ? LOG_LVL_DEBUG : LOG_LVL_ERR, 2);
	if (argc > 1)
		first_seed = last_seed = strtoul(argv[1], NULL, 10);
	if (argc > 2)
		last_seed = strtoul(argv[2], NULL, 10);
	if (argc > 2)
		log_setup("weather", LOG_LVL_ERR, 2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
