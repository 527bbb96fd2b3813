/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Cases 73 and 75 to 78: a peer that refuses, is gone, or calls at the same time; a day of rekeys; numbers
 * that are in use already (RFC 7296 s1.3, s2.6, s2.8, s2.25).
 */
#include <malloc.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "forge.h"
#include "scen.h"
#include "engine_int.h"

static bool starts_the_series(struct world *w, int h)
{
	return sa_by_handle(w->host[h].e, w->host[h].ike)->series_initiator;
}

static void runs(struct world *w, uint64_t ms)
{
	w->delay_min = w->delay_max = 10;
	world_run(w, ms);
}

/* ---- a peer that refuses ---- */

/* The request becomes one for a CHILD SA that nobody knows, so that the peer does nothing. */
static bool ask_in_vain(struct world *w, struct chain *c, struct ike_hdr *h, void *arg)
{
	static const uint8_t rekey[8] = { PROTO_ESP, 4, REKEY_SA >> 8, REKEY_SA & 255, 0xde, 0xad };

	(void)w;
	(void)h;
	(void)arg;
	chain_drop(c, PLD_NOTIFY);
	chain_add(c, PLD_NOTIFY, rekey, sizeof(rekey));
	return true;
}

static bool refuse(struct world *w, struct chain *c, struct ike_hdr *h, void *arg)
{
	static uint8_t body[4];
	const uint16_t *type = arg;

	(void)w;
	(void)h;
	body[2] = (uint8_t)(*type >> 8);
	body[3] = (uint8_t)*type;
	c->n = 0;
	chain_add(c, PLD_NOTIFY, body, sizeof(body));
	return true;
}

static bool both_forgeries(struct world *w, int to, const struct engine_path *path, uint8_t *bytes,
			   size_t *len)
{
	struct forgery *f = w->filter_arg;
	bool on = true;

	for (int i = 0; i < 2 && on; i++) {
		w->filter_arg = &f[i];
		on = forge_filter(w, to, path, bytes, len);
	}
	w->filter_arg = f;
	return on;
}

/* From now on every CREATE_CHILD_SA of @a is answered with that notify, and nothing else happens. */
static void always_refused(struct world *w, int a, struct forgery f[static 2], uint16_t *type)
{
	f[0] = (struct forgery){ .from = a, .exchange = CREATE_CHILD_SA, .edit = ask_in_vain };
	f[1] = (struct forgery){ .from = !a,
				 .exchange = CREATE_CHILD_SA,
				 .response = true,
				 .edit = refuse,
				 .arg = type };
	w->filter = both_forgeries;
	w->filter_arg = f;
}

SCENARIO_OF(ike_case_073_what_cannot_be_rekeyed_goes_on_in_a_new_ike_sa, NULL, 2)
{
	uint16_t type = NO_ADDITIONAL_SAS;
	bool ours = starts_the_series(w, a);
	struct forgery f[2];

	always_refused(w, a, f, &type);
	w->data = true;
	if (w->variant)
		rekey_ike(w, a);
	else
		rekey_child(w, a);
	runs(w, 20000);
	assert_true(f[1].done >= 1);
	/* Who started the series calls anew; the other has only what there is, and uses it. */
	EACH_HOST(h)
	{
		assert_int_equal(w->host[h].up, ours ? 2 : 1);
		assert_int_equal(w->host[h].child_down, 0);
		assert_int_equal(usable(w, h), 1);
	}
	works_both_ways(w);
	assert_int_equal(w->unsent, 0);
	assert_int_equal(w->host[a].last_failed.failed.why, ENGINE_WHY_REFUSED);
	assert_non_null(strstr(w->host[a].last_failed.failed.text, "NO_ADDITIONAL_SAS"));
	w->filter = NULL;
}

/* s2.25: after several minutes of nothing else the two are out of step. */
SCENARIO_OF(temporary_failure_for_minutes_ends_the_ike_sa, NULL, 2)
{
	uint16_t type = TEMPORARY_FAILURE;
	bool ours = starts_the_series(w, a);
	struct forgery f[2];

	always_refused(w, a, f, &type);
	if (w->variant)
		rekey_ike(w, a);
	else
		rekey_child(w, a);
	runs(w, 240000);
	assert_int_equal(w->host[a].up, 1);
	assert_int_equal(w->host[a].down, 0);
	assert_in_range(f[1].done, 8, 60); /* each try later than the one before */
	world_run(w, 120000);
	assert_int_equal(w->host[a].up, ours ? 2 : 1);
	assert_int_equal(w->host[a].down, 1);
	assert_int_equal(w->host[a].last_down.down.replaced, ours);
	w->may_break = true;
	w->gone = !ours; /* the supervisor calls again */
	w->filter = NULL;
}

/* ---- a peer that is gone ---- */

SCENARIO_OF(ike_case_075_a_peer_that_dies_before_its_delete_leaves_nothing, NULL, 2)
{
	uint32_t old = spi_of_child(w, b);

	rekey_child(w, a);
	ask(w, a, REKEY_CHILD);
	if (w->variant)
		answer_lost(w, b, CHILD_MADE);
	else
		answer(w, b, CHILD_MADE);
	w->cut[a] = w->cut[b] = true;
	world_run(w, 600000);
	assert_int_equal(paper_children(&w->host[b], false, false), 1);
	assert_int_not_equal(spi_of_child(w, b), old);
	assert_int_equal(paper_children(&w->host[b], true, true), 1);
	w->cut[a] = w->cut[b] = false;
	w->may_break = true;
}

/* The Delete waits behind a request; who does not answer that would not answer the Delete. */
SCENARIO_OF(an_ike_sa_that_is_closed_ends_behind_a_request_that_is_not_answered, NULL, 2)
{
	w->cut[a] = w->cut[b] = true;
	if (w->variant)
		rekey_ike(w, a);
	else
		rekey_child(w, a);
	world_run(w, 60000);
	assert_int_equal(w->host[a].down, 0); /* as such nobody gives up */
	EACH_HOST(h)
	delete_ike(w, h);
	world_run(w, 4000);
	EACH_HOST(h)
	assert_int_equal(w->host[h].down, 0); /* it has its time: the peer may come back */
	world_run(w, 16000);
	EACH_HOST(h)
	{
		assert_int_equal(w->host[h].down, 1);
		assert_int_equal(w->host[h].last_down.down.why, ENGINE_WHY_ADMIN);
	}
	w->may_break = w->gone = true;
}

/* ---- a day ---- */

static size_t in_use(void)
{
	struct mallinfo2 m = mallinfo2();

	return m.uordblks + m.hblkhd;
}

static void ike_case_076_a_day_of_rekeys_under_loss_opens_every_packet(void **s)
{
	struct world *w = world_new(76, STYLE_PSK);
	size_t early = 0;

	(void)s;
	EACH_HOST(h)
	{
		w->host[h].conf[0].lifetime_s = 10;
		w->host[h].peer.lifetime.ike_s = 600;
	}
	world_up(w);
	w->delay_min = 10;
	w->delay_max = 80;
	w->drop = 5;
	w->data = true;
	for (int second = 0; second < 24 * 3600; second++) {
		struct engine_counters n;

		world_run(w, 1000);
		EACH_HOST(h)
		{
			world_data(w, h);
			engine_counters_get(w->host[h].e, &n);
			assert_true(n.child_sas <= 6 && n.ike_sas <= 3);
		}
		if (second == 2 * 3600)
			early = in_use();
	}
	assert_int_equal(w->unopened, 0);
	assert_int_equal(w->unsent, 0);
	assert_true(w->opened > 100000);
	EACH_HOST(h)
	{
		assert_true(w->host[h].child_rekeyed >= 24 * 360 - 500);
		assert_true(w->host[h].ike_rekeyed >= 24 * 6);
		assert_int_equal(w->host[h].down, 0);
		assert_int_equal(w->host[h].child_down, 0);
	}
	assert_true(in_use() < early + 65536);
	w->drop = 0;
	world_no_leaks(w);
	world_free(w);
}

/* ---- keys ---- */

#define KEYS_MAX 4096

struct keyring {
	struct {
		uint32_t spi; /* inbound of @host */
		int host;
		size_t len;
		uint8_t key[128];
	} k[KEYS_MAX];
	unsigned n;
};

/* The key of each SA that there is now; no other SA, before or beside, has it. */
static void note_keys(struct world *w, struct keyring *r)
{
	EACH_HOST(h)
	for (int i = 0; i < CHILDREN_MAX; i++) {
		const struct paper_child *c = &w->host[h].child[i];
		unsigned n = 0;

		if (!c->used || !c->in)
			continue;
		while (n < r->n && (r->k[n].spi != c->spi_in || r->k[n].host != h ||
				    memcmp(r->k[n].key, c->in_key, c->in_key_len) != 0)) {
			assert_false(r->k[n].len == c->in_key_len &&
				     !memcmp(r->k[n].key, c->in_key, c->in_key_len));
			n++;
		}
		if (n < r->n)
			continue;
		assert_in_range(n, 0, KEYS_MAX - 1);
		r->k[n].spi = c->spi_in;
		r->k[n].host = h;
		r->k[n].len = c->in_key_len;
		memcpy(r->k[n].key, c->in_key, c->in_key_len);
		r->n++;
	}
}

/*
 * The IV of a packet is its number, and numbers begin at 1 with each SA (test_spd.c, test_worker_cases.c). So none comes
 * twice under a key as long as no two SAs share one: not after rekeys of the CHILD SA and of the IKE SA, nor after a
 * restart of either side.
 */
static void ike_case_113_no_key_serves_two_sas(void **s)
{
	struct world *w = world_new(113, STYLE_PSK);
	struct keyring *r = calloc(1, sizeof(*r));

	(void)s;
	EACH_HOST(h)
	{
		w->host[h].conf[0].lifetime_s = 10;
		w->host[h].peer.lifetime.ike_s = 60;
	}
	world_up(w);
	for (int restart = 0; restart < 3; restart++) {
		for (int second = 0; second < 600; second++) {
			world_run(w, 1000);
			note_keys(w, r);
		}
		if (restart == 2)
			break;
		world_restart(w, restart ? VPS : HOME);
		world_call(w, HOME);
		world_run(w, 0);
	}
	assert_in_range(r->n, 300, KEYS_MAX);
	EACH_HOST(h)
	assert_true(w->host[h].ike_rekeyed > 10);
	free(r);
	world_free(w);
}

/* ---- both call ---- */

/* The oldest packet that belongs to the call of @caller arrives: its SPI opens the header. */
static bool step_of(struct world *w, const uint8_t spi[static 8])
{
	int best = -1;

	for (unsigned i = 0; i < w->flights; i++)
		if (!memcmp(w->flight[i].bytes, spi, 8) &&
		    (best < 0 || w->flight[i].order < w->flight[best].order))
			best = (int)i;
	if (best >= 0)
		world_put(w, world_take(w, (unsigned)best));
	return best >= 0;
}

/*
 *	home: INIT -->   <-- INIT   AUTH -->   <-- AUTH		and the same from the VPS: 4 of 8 places
 */
static void ike_case_077_crossing_calls_leave_one_ike_sa_in_every_order(void **s)
{
	unsigned orders = 0;

	(void)s;
	for (unsigned order = 0; order < 256; order++) {
		struct world *w = world_new(77 + order, STYLE_PSK);
		uint8_t spi[2][8];

		if (__builtin_popcount(order) != 4) {
			world_free(w);
			continue;
		}
		orders++;
		world_even(w);
		world_start(w);
		EACH_HOST(h)
		{
			world_call(w, h);
			assert_int_equal(w->flights, h + 1);
			memcpy(spi[h], w->flight[h].bytes, 8);
		}
		for (int i = 0; i < 8; i++)
			step_of(w, spi[order >> i & 1]);
		w->data = true;
		world_run(w, 60000);
		world_agree(w);
		EACH_HOST(h)
		{
			struct engine_counters n;

			engine_counters_get(w->host[h].e, &n);
			assert_int_equal(n.ike_sas, 1);
			assert_int_equal(n.half_open, 0);
			assert_int_equal(paper_children(&w->host[h], false, false), 1);
			/* the tunnel never went down once it was up */
			assert_int_equal(w->host[h].child_down, 0);
		}
		w->data = false;
		world_no_leaks(w);
		world_free(w);
	}
	assert_int_equal(orders, 70);
}

/* ---- numbers in use ---- */

static unsigned drawn;
static uint64_t live_spi;

static void draw_the_live_spi_first(struct host *h, uint8_t *p, size_t len)
{
	(void)h;
	if (len == sizeof(live_spi) && !drawn++)
		memcpy(p, &live_spi, len);
}

SCENARIO(ike_case_078_an_ike_spi_in_use_is_drawn_again)
{
	struct engine_ike_info i;

	live_spi = ike_sa_own_spi(sa_by_handle(w->host[a].e, w->host[a].ike));
	drawn = 0;
	w->host[a].draw = draw_the_live_spi_first;
	rekey_ike(w, a);
	w->host[a].draw = NULL;
	assert_int_equal(drawn, 2);
	ask(w, a, REKEY_IKE);
	answer(w, b, IKE_MADE);
	ask(w, a, DELETE_IKE);
	answer(w, b, EMPTY);
	assert_true(engine_ike_info(w->host[a].e, w->host[a].ike, &i));
	assert_true(i.spi_i != live_spi);
}

static void draw_what_everybody_draws(struct host *h, uint8_t *p, size_t len)
{
	(void)h;
	if (len == 8)
		memset(p, (int)(0x51 + drawn++ / 2), len);
	if (len == NONCE_LEN)
		memset(p, 0x42, len);
}

/* Each IKE SPI is drawn by both sides, and every nonce is the same. */
static void the_same_numbers(struct world *w, int a, int b)
{
	drawn = 0;
	w->host[b].next_spi = w->host[a].next_spi;
	w->host[a].draw = w->host[b].draw = draw_what_everybody_draws;
}

SCENARIO_OF(ike_case_078_numbers_that_both_sides_draw_are_harmless, the_same_numbers, 2)
{
	struct engine_ike_info i;

	assert_true(engine_ike_info(w->host[a].e, w->host[a].ike, &i));
	assert_true(i.spi_i == i.spi_r);
	assert_int_equal(i.child[0].spi_in, i.child[0].spi_out);
	w->data = true;
	/* Not even a collision in which no nonce is the lowest takes both SAs. */
	w->delay_min = w->delay_max = 10; /* they cross */
	EACH_HOST(h)
	if (w->variant)
		rekey_ike(w, h);
	else
		rekey_child(w, h);
	runs(w, 100000);
	works_both_ways(w);
	assert_int_equal(w->unopened + w->unsent, 0);
	EACH_HOST(h)
	{
		events(w, h, 1, w->variant ? 0 : 1, 0);
		assert_int_equal(w->host[h].ike_rekeyed, w->variant ? 1 : 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ike_case_073_what_cannot_be_rekeyed_goes_on_in_a_new_ike_sa),
		cmocka_unit_test(temporary_failure_for_minutes_ends_the_ike_sa),
		cmocka_unit_test(an_ike_sa_that_is_closed_ends_behind_a_request_that_is_not_answered),
		cmocka_unit_test(ike_case_075_a_peer_that_dies_before_its_delete_leaves_nothing),
		cmocka_unit_test(ike_case_076_a_day_of_rekeys_under_loss_opens_every_packet),
		cmocka_unit_test(ike_case_113_no_key_serves_two_sas),
		cmocka_unit_test(ike_case_077_crossing_calls_leave_one_ike_sa_in_every_order),
		cmocka_unit_test(ike_case_078_an_ike_spi_in_use_is_drawn_again),
		cmocka_unit_test(ike_case_078_numbers_that_both_sides_draw_are_harmless),
	};

	log_setup("cases", LOG_LVL_ERR, 2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
