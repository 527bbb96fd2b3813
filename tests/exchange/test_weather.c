/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Weather: thousands of runs on networks that delay, drop, duplicate and reorder, with rekeys, Deletes,
 * restarts, changes of address and proofs of life at bad moments, and packets through the tunnel all
 * the while. When the storm is over both sides must agree on one IKE SA and one CHILD SA for each pair
 * of selectors, and nothing may be left over. In calm weather nobody deletes or restarts
 * anything: then every packet that is sent through the tunnel must be opened, from the first
 * agreement on, since rekeys make before they break.
 *
 * A seed that fails is run again alone: test_exchange_weather SEED; a range of them: FIRST LAST.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "world.h"
#include "log.h"

#define SETTLE_MS 300000

static unsigned long first_seed = 1, last_seed = 2000;
static bool told; /* one seed: say what happens */

static uint32_t some(struct world *w, uint32_t n)
{
	return n ? (uint32_t)(world_random(w) % n) : 0;
}

/* ---- the supervisor of paper: home calls, and calls again when the VPS seems to have lost it ---- */

struct keeper {
	unsigned hints, unanswered, replies, nat_port, vps_unanswered;
};

static void keep(struct world *w, struct keeper *k)
{
	struct host *h = &w->host[HOME];
	struct engine_ike_info i = { 0 };
	uint32_t list[16];
	size_t n = engine_peer_ikes(h->e, h->peer.id, list, 16);
	bool up = false, calling = false;

	for (size_t x = 0; x < n && x < 16; x++) {
		engine_ike_info(h->e, list[x], &i);
		up |= i.established;
		calling |= !strcmp(i.state, "calling");
	}
	if (h->replies != k->replies)
		k->unanswered = h->unanswered;
	k->replies = h->replies;
	if (!calling && (!up || h->hints != k->hints || h->unanswered - k->unanswered > 8))
		world_call(w, HOME);
	k->hints = h->hints;
	/* RFC 4555 s3.8: a responder does not move for a request alone; who notices another mapping says so. */
	if (up && (w->nat_port != k->nat_port || w->host[VPS].unanswered - k->vps_unanswered > 8)) {
		k->nat_port = w->nat_port;
		k->vps_unanswered = w->host[VPS].unanswered;
		DO(w, HOME, engine_update_addresses(e, now, h->ike, &h->path, fx));
	}
}

/* ---- what goes wrong ---- */

static uint32_t any_child(struct world *w, struct host *h)
{
	struct engine_ike_info i;
	size_t n;

	if (!engine_ike_info(h->e, h->ike, &i) || !i.child_count)
		return 0;
	n = i.child_count < 4 ? i.child_count : 4;
	return i.child[some(w, (uint32_t)n)].spi_in;
}

/* The NAT forgets its mapping: home has another port, and the VPS knows when it hears from there. */
static void rebind(struct world *w)
{
	uint32_t ike = w->host[HOME].ike;

	w->nat_port++;
	DO(w, HOME, engine_liveness(e, now, ike, fx));
}

/* What may happen at any time and must lose no packet. */
static void disturb(struct world *w, int h)
{
	struct host *host = &w->host[h];
	uint32_t spi = any_child(w, host), ike = host->ike;

	switch (some(w, 12)) {
	case 11: /* it moves, or says that it did: UPDATE_SA_ADDRESSES */
		if (h == HOME && some(w, 2))
			w->nat_port++;
		DO(w, h, engine_update_addresses(e, now, ike, &host->path, fx));
		break;
	case 10:
		DO(w, h, engine_create_child(e, now, ike, fx));
		break;
	case 0:
	case 1:
	case 2:
		DO(w, h, engine_rekey_child(e, now, spi, fx));
		if (some(w, 4) == 0)
			DO(w, h, engine_rekey_child(e, now, spi, fx));
		break;
	case 3:
	case 4:
		DO(w, h, engine_rekey_ike(e, now, ike, fx));
		if (some(w, 4) == 0)
			DO(w, h, engine_rekey_ike(e, now, ike, fx));
		break;
	case 5:
		DO(w, h, engine_liveness(e, now, ike, fx));
		break;
	case 6:
		DO(w, h, engine_on_child_event(e, now, spi, ENGINE_CHILD_SOFT, fx));
		break;
	case 7:
		DO(w, h,
		   engine_private(e, now, ike, POSTERN_PROBE_MTU, (const uint8_t *)"xy", 2, fx));
		break;
	case 8:
		rebind(w);
		break;
	default:
		world_data(w, h);
		break;
	}
}

/* What takes the tunnel down. */
static void break_something(struct world *w, int h)
{
	struct host *host = &w->host[h];
	uint32_t spi = any_child(w, host), ike = host->ike;

	switch (some(w, 8)) {
	case 0:
	case 1:
	case 2:
		DO(w, h, engine_delete_child(e, now, spi, fx));
		if (some(w, 4) == 0)
			DO(w, h, engine_delete_child(e, now, spi, fx));
		break;
	case 3:
	case 4:
		DO(w, h, engine_delete(e, now, ike, fx));
		if (some(w, 4) == 0)
			DO(w, h, engine_delete(e, now, ike, fx));
		break;
	case 5:
		DO(w, h, engine_on_child_event(e, now, spi, ENGINE_CHILD_HARD, fx));
		break;
	case 6:
		DO(w, h, engine_drop(e, now, ike, fx));
		break;
	default:
		world_restart(w, h);
		break;
	}
}

static const char *tunnel_broke(const struct world *w)
{
	return w->unopened ? "a packet was sealed for an SA that the other did not have"
	       : w->unsent ? "there was no SA to send on"
			   : NULL;
}

static const char *leftovers(const struct world *w)
{
	for (int h = 0; h < 2; h++) {
		struct engine_counters n;

		engine_counters_get(w->host[h].e, &n);
		if (paper_children(&w->host[h], false, false) != 1 || n.child_sas != 1)
			return "CHILD SAs are left";
		if (n.ike_sas != 1)
			return "IKE SAs are left";
	}
	return NULL;
}

/* They agree, and no call is under way that may yet come up. */
static bool settled(struct world *w, const char **why)
{
	bool agree = world_agrees(w, why);

	*why = agree ? leftovers(w) : *why;
	return !*why;
}

static const char *rage(struct world *w)
{
	bool calm = some(w, 2);
	struct keeper k = { 0 };
	unsigned rounds = some(w, 12);
	const char *why = NULL;

	world_call(w, HOME);
	/* Sometimes both call at once. */
	if (some(w, 4) == 0) {
		w->host[HOME].peer.accept = true;
		world_call(w, VPS);
	}
	world_run(w, 1000 + some(w, 30000));
	if (calm) {
		for (int i = 0; i < 120 && !settled(w, &why); i++)
			world_run(w, 1000);
		if (!settled(w, &why))
			return why;
		w->opened = w->unopened = w->unsent = 0;
	}
	w->data = true;
	while (rounds--) {
		disturb(w, some(w, 2) ? HOME : VPS);
		if (some(w, 2))
			world_run(w, some(w, 300));
		if (!calm && some(w, 2))
			break_something(w, some(w, 2) ? HOME : VPS);
		else
			disturb(w, some(w, 2) ? HOME : VPS);
		world_run(w, some(w, 8000));
		if (!calm)
			keep(w, &k);
	}
	w->drop = w->dup = 0;
	w->delay_max = w->delay_min;
	for (int i = 0; i < SETTLE_MS / 1000; i++) {
		world_run(w, 1000);
		if (!calm && i < SETTLE_MS / 2000)
			keep(w, &k);
		if (i < SETTLE_MS / 2000 && i % 20 == 0) {
			uint32_t ike = w->host[HOME].ike;

			DO(w, HOME, engine_liveness(e, now, ike, fx));
		}
	}
	w->data = false;
	/* A rekey by the clock may be under way just now. */
	for (int i = 0; i < 60 && !settled(w, &why); i++)
		world_run(w, 1000);
	if (!settled(w, &why))
		return why;
	return calm ? tunnel_broke(w) : NULL;
}

static bool storm(unsigned long seed)
{
	struct world *w = world_new(seed, STYLE_PSK);
	const char *why;

	if (some(w, 2))
		world_even(w);
	for (int h = 0; h < 2; h++) { /* also the clock rekeys, and so heals what stands idle */
		w->host[h].conf[0].lifetime_s = 120;
		w->host[h].peer.lifetime.ike_s = 400;
	}
	w->nat_port = w->host[HOME].path.local.port;
	w->delay_min = some(w, 50);
	w->delay_max = w->delay_min + some(w, 1500);
	w->drop = some(w, 30);
	w->dup = some(w, 30);
	world_start(w);
	why = rage(w);
	if (why)
		fprintf(stderr, "seed %lu: %s\n", seed, why);
	else if (told)
		fprintf(stderr, "seed %lu: %lu packets opened\n", seed, w->opened);
	world_no_leaks(w);
	world_free(w);
	return !why;
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

	told = argc == 2;
	if (argc > 1)
		first_seed = last_seed = strtoul(argv[1], NULL, 10);
	if (argc > 2)
		last_seed = strtoul(argv[2], NULL, 10);
	log_setup("weather", told ? LOG_LVL_DEBUG : LOG_LVL_ERR, 2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
