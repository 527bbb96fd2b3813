/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_int.h"
#include "scen.h"

void works_both_ways(struct world *w)
{
	assert_true(paper_works(w, HOME));
	assert_true(paper_works(w, VPS));
}

static int find(struct world *w, int from, bool is_answer)
{
	int best = -1;

	for (unsigned i = 0; i < w->flights; i++) {
		const struct flight *f = &w->flight[i];

		if (!f->key && f->to == !from && f->answer == is_answer &&
		    (best < 0 || f->order < w->flight[best].order))
			best = (int)i;
	}
	return best;
}

static struct flight held(struct world *w, int from, bool is_answer, const char *text)
{
	int i = find(w, from, is_answer);

	if (i < 0)
		fail_msg("%s sends no %s, expected %s", from == HOME ? "home" : "vps",
			 is_answer ? "answer" : "request", text);
	assert_string_equal(w->flight[i].text, text);
	return world_take(w, (unsigned)i);
}

/* Each side sends two packets: one arrives at once, the other when all is over. */
static void through_the_tunnel(struct world *w)
{
	unsigned was = w->flights;

	EACH_HOST(h)
	world_data(w, h);
	for (unsigned i = w->flights; i-- > was;)
		world_put(w, world_take(w, i));
	EACH_HOST(h)
	world_data(w, h);
}

void late(struct world *w, struct flight f)
{
	world_put(w, f);
	if (w->data)
		through_the_tunnel(w);
	if (!w->may_break)
		works_both_ways(w);
}

struct flight ask_held(struct world *w, int from, const char *text)
{
	return held(w, from, false, text);
}

struct flight answer_held(struct world *w, int from, const char *text)
{
	return held(w, from, true, text);
}

void ask(struct world *w, int from, const char *text)
{
	late(w, held(w, from, false, text));
}

void answer(struct world *w, int from, const char *text)
{
	late(w, held(w, from, true, text));
}

void ask_lost(struct world *w, int from, const char *text)
{
	free(held(w, from, false, text).bytes);
}

void answer_lost(struct world *w, int from, const char *text)
{
	free(held(w, from, true, text).bytes);
}

void quiet(struct world *w)
{
	for (unsigned i = 0; i < w->flights; i++)
		if (!w->flight[i].key)
			fail_msg("still in flight: %s", w->flight[i].text);
}

unsigned usable(struct world *w, int h)
{
	struct engine_ike_info i;

	return engine_ike_info(w->host[h].e, w->host[h].ike, &i) ? (unsigned)i.child_count : 0;
}

uint32_t spi_of_child(struct world *w, int h)
{
	struct engine_ike_info i;

	assert_true(engine_ike_info(w->host[h].e, w->host[h].ike, &i));
	assert_int_equal(i.child_count, 1);
	return i.child[0].spi_in;
}

void rekey_child(struct world *w, int h)
{
	uint32_t spi = spi_of_child(w, h);

	DO(w, h, assert_int_equal(0, engine_rekey_child(e, now, spi, fx)));
}

void delete_child(struct world *w, int h)
{
	uint32_t spi = spi_of_child(w, h);

	DO(w, h, assert_int_equal(0, engine_delete_child(e, now, spi, fx)));
}

void rekey_ike(struct world *w, int h)
{
	uint32_t ike = w->host[h].ike;

	DO(w, h, assert_int_equal(0, engine_rekey_ike(e, now, ike, fx)));
}

void delete_ike(struct world *w, int h)
{
	uint32_t ike = w->host[h].ike;

	DO(w, h, assert_int_equal(0, engine_delete(e, now, ike, fx)));
}

void nonces(struct world *w, int h, uint8_t lead)
{
	w->host[h].nonce_set = true;
	w->host[h].nonce_lead = lead;
}

void passes(struct world *w, uint64_t ms)
{
	world_run(w, ms);
}

void events(struct world *w, int h, unsigned up, unsigned rekeyed, unsigned down)
{
	assert_int_equal(w->host[h].child_up, up);
	assert_int_equal(w->host[h].child_rekeyed, rekeyed);
	assert_int_equal(w->host[h].child_down, down);
}

void groups(struct proposals *ps, uint16_t first, uint16_t second)
{
	for (unsigned i = 0; i < ps->count; i++) {
		struct proposal *p = &ps->p[i];
		uint8_t n = 0;

		for (unsigned k = 0; k < p->count; k++)
			if (p->t[k].type != TRANSFORM_KE)
				p->t[n++] = p->t[k];
		if (first)
			p->t[n++] = (struct transform){ .type = TRANSFORM_KE, .id = first };
		if (second)
			p->t[n++] = (struct transform){ .type = TRANSFORM_KE, .id = second };
		p->count = n;
	}
}

void stray_delete(struct world *w, int h, uint32_t spi_in)
{
	struct task none = { .kind = TASK_LIVENESS };
	struct ike_sa *sa = sa_by_handle(w->host[h].e, w->host[h].ike);

	DO(w, h, {
		engine_enter(e, now, fx);
		pld_delete_add_esp(inner_begin(e), &spi_in, 1);
		assert_int_equal(0, request_send(e, sa, INFORMATIONAL, &none));
		engine_leave(e);
	});
}

void forget_child(struct world *w, int h, uint32_t spi_in)
{
	DO(w, h, {
		engine_enter(e, now, fx);
		child_drop(e, child_by_spi(e, spi_in), false);
		engine_leave(e);
	});
}

#define STILL_MS (24 * 3600 * 1000u) /* so long nothing arrives by itself */

static void finish(struct world *w)
{
	const char *why = NULL;

	w->delay_min = w->delay_max = 10;
	for (unsigned i = 0; i < w->flights; i++)
		w->flight[i].at_ms = w->now_ms;
	w->data = true;
	world_run(w, 120000);
	w->data = false;
	if (!world_agrees(w, &why) && !w->gone)
		fail_msg("%s", why);
	if (w->gone)
		assert_string_equal(why ? why : "both agree", "no IKE SA");
	EACH_HOST(h)
	assert_int_equal(paper_children(&w->host[h], false, false), w->gone ? 0 : 1);
	world_no_leaks(w);
	world_free(w);
}

static void once(scenario *run, scenario *setup, int caller, int a, int variant)
{
	struct world *w = world_new(1 + (uint64_t)variant, STYLE_PSK);

	w->variant = variant;
	world_even(w);
	if (setup)
		setup(w, a, !a);
	world_start(w);
	world_call(w, caller);
	world_run(w, 0);
	world_agree(w);
	w->delay_min = w->delay_max = STILL_MS;
	w->wire = true;
	run(w, a, !a);
	finish(w);
}

void scen_each(scenario *run, scenario *setup, int variants)
{
	for (int v = 0; v < variants; v++)
		for (int roles = 0; roles < 4; roles++)
			once(run, setup, roles & 1, roles >> 1, v);
}
