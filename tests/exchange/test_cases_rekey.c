/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Cases 64 to 72 and 74: what crosses, what comes late, and what a rekey may change (RFC 7296 s1.3, s2.8,
 * s2.9.2, s2.25). The single steps of most are in test_scen_*.c; here packets travel through the
 * tunnel at every step, or the steps come in every order.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cross.h"
#include "forge.h"
#include "engine_int.h"

/* ---- both rekey, with traffic ---- */

static void none_lost(struct world *w)
{
	assert_true(w->opened > 8);
	assert_int_equal(w->unopened, 0);
	assert_int_equal(w->unsent, 0);
}

SCENARIO_OF(ike_case_064_both_rekey_the_child_and_no_packet_is_lost, NULL, 4)
{
	uint32_t own;

	w->data = true;
	both_rekey(w, a, b, &the_child);
	own = sa_by_handle(w->host[a].e, w->host[a].ike)->out.new_child->spi_in;
	both_asked(w, a, b, &the_child);
	both_made(w, a, b, &the_child);
	both_delete(w, a, b, &the_child);
	none_lost(w);
	/* The SA of a stays if the lowest nonce is in the exchange of b. */
	assert_int_equal(spi_of_child(w, a) == own, w->variant % 2);
	EACH_HOST(h)
	{
		events(w, h, 1, 1, 0);
		assert_int_equal(paper_children(&w->host[h], true, true), 1);
	}
}

SCENARIO_OF(ike_case_065_both_rekey_the_ike_sa_and_the_children_follow_the_survivor, NULL, 4)
{
	w->data = true;
	both_rekey(w, a, b, &the_ike);
	both_asked(w, a, b, &the_ike);
	both_made(w, a, b, &the_ike);
	both_delete(w, a, b, &the_ike);
	/* The survivor can do everything with what it inherited, from both sides. */
	EACH_HOST(h)
	{
		assert_int_equal(w->host[h].ike_rekeyed, 1);
		rekeys(w, h, !h, &the_child);
	}
	none_lost(w);
	EACH_HOST(h)
	{
		events(w, h, 1, 2, 0);
		assert_int_equal(w->host[h].down, 0);
	}
}

/* ---- every order ---- */

/* The oldest IKE packet to @to, or to the other side if there is none; -1: none at all. */
static int next_for(const struct world *w, int to)
{
	int best = -1;

	for (unsigned i = 0; i < w->flights; i++) {
		const struct flight *f = &w->flight[i], *o = best < 0 ? NULL : &w->flight[best];

		if (f->key || (o && o->to == to && f->to != to))
			continue;
		if (!o || (f->to == to && o->to != to) || f->order < o->order)
			best = (int)i;
	}
	return best;
}

/* All that is in flight arrives, who is next says w->variant bit by bit; only @allowed is answered. */
static void any_order(struct world *w, const char *const *allowed)
{
	int i;

	for (int step = 0; (i = next_for(w, w->variant >> step % 6 & 1)) >= 0; step++) {
		const struct flight *f = &w->flight[i];
		unsigned k = 0;

		assert_true(step < 60);
		while (f->answer && allowed[k] && strcmp(allowed[k], f->text))
			k++;
		if (f->answer && !allowed[k])
			fail_msg("answered with %s", f->text);
		late(w, world_take(w, (unsigned)i));
	}
}

SCENARIO_OF(ike_case_066_a_rekey_crosses_the_delete_of_the_same_child, NULL, 64)
{
	static const char *const allowed[] = { NOT_NOW, NO_SUCH_CHILD, DELETE_CHILD, NULL };

	w->may_break = true;
	rekey_child(w, a);
	delete_child(w, b);
	any_order(w, allowed);
	EACH_HOST(h)
	{
		events(w, h, 1, 0, 1);
		assert_int_equal(usable(w, h), 0);
		assert_int_equal(w->host[h].failed, 0);
	}
}

SCENARIO_OF(ike_case_067_child_work_waits_while_the_ike_sa_is_rekeyed, NULL, 64)
{
	static const char *const allowed[] = { NOT_NOW,	     CHILD_MADE, IKE_MADE,
					       DELETE_CHILD, EMPTY,	 NULL };
	bool refused = false;

	w->data = true;
	rekey_child(w, a);
	rekey_ike(w, b);
	for (unsigned i = 0; i < 2; i++)
		world_put(w, world_take(w, 0)); /* both requests; each side is busy with its own */
	for (unsigned i = 0; i < w->flights; i++)
		refused |= !w->flight[i].key && !strcmp(w->flight[i].text, NOT_NOW);
	assert_true(refused);
	any_order(w, allowed);
	w->delay_min = w->delay_max = 10;
	world_run(w, 30000);
	EACH_HOST(h)
	{
		assert_int_equal(w->host[h].ike_rekeyed, 1);
		events(w, h, 1, 1, 0);
	}
	assert_int_equal(w->unopened + w->unsent, 0);
}

static void other_work(struct world *w, int h, int which)
{
	uint32_t ike = w->host[h].ike;

	switch (which) {
	case 0:
		rekey_child(w, h);
		break;
	case 1:
		rekey_ike(w, h);
		break;
	case 2:
		delete_child(w, h);
		break;
	case 3:
		DO(w, h, engine_create_child(e, now, ike, fx));
		break;
	case 4:
		DO(w, h, engine_liveness(e, now, ike, fx));
		break;
	default:
		delete_ike(w, h);
		break;
	}
}

SCENARIO_OF(ike_case_068_an_ike_delete_crosses_anything_and_both_sides_are_empty, NULL, 6 * 16)
{
	static const char *const allowed[] = { NOT_NOW,	 DELETE_CHILD, EMPTY, CHILD_MADE,
					       IKE_MADE, ALIVE,	       NULL };
	unsigned sent[2];

	w->may_break = w->gone = true;
	delete_ike(w, b);
	other_work(w, a, w->variant % 6);
	w->variant /= 6;
	any_order(w, allowed);
	EACH_HOST(h)
	{
		assert_int_equal(paper_children(&w->host[h], false, false), 0);
		assert_int_equal(w->host[h].down, 1);
		sent[h] = w->host[h].sent;
	}
	passes(w, 60000);
	EACH_HOST(h)
	assert_true(w->host[h].sent - sent[h] <= DELETE_TRIES);
}

/* ---- what is not there, and what comes late ---- */

static int series_initiator(struct world *w)
{
	return sa_by_handle(w->host[HOME].e, w->host[HOME].ike)->series_initiator ? HOME : VPS;
}

/* As after a crash of the other's data plane: whoever notices makes it anew. */
SCENARIO(ike_case_069_a_rekey_of_what_the_peer_does_not_know_makes_it_anew)
{
	uint32_t lost = spi_of_child(w, b);

	forget_child(w, b, lost);
	w->may_break = true;
	rekey_child(w, a);
	ask(w, a, REKEY_CHILD);
	answer(w, b, NO_SUCH_CHILD);
	assert_int_equal(usable(w, a), 0);
	w->delay_min = w->delay_max = 10;
	world_run(w, 10000);
	works_both_ways(w);
	EACH_HOST(h)
	{
		assert_int_equal(usable(w, h), 1);
		assert_int_equal(w->host[h].down, 0);
	}
}

/* CREATE_CHILD_SA { .. } -->  <-- { .. } late,  <-- D of the new one: nothing is installed by it. */
SCENARIO_OF(ike_case_070_an_answer_about_a_deleted_child_is_ignored, NULL, 2)
{
	int who = w->variant ? series_initiator(w) : a, other = !who;
	struct flight response;
	unsigned children;

	w->may_break = true;
	if (w->variant) {
		delete_child(w, a);
		ask(w, a, DELETE_CHILD);
		answer(w, b, DELETE_CHILD);
		passes(w, 1100);
		ask(w, who, NEW_CHILD);
	} else {
		rekey_child(w, who);
		ask(w, who, REKEY_CHILD);
	}
	response = answer_held(w, other, CHILD_MADE);
	delete_child(w, other);
	ask(w, other, DELETE_CHILD);
	answer(w, who, EMPTY);
	children = paper_children(&w->host[who], false, false);
	late(w, response);
	assert_int_equal(paper_children(&w->host[who], false, false), children);
	assert_int_equal(usable(w, who), 0);
	assert_int_equal(w->host[who].failed, 0);
}

/* ---- selectors ---- */

/* Every TSi of the request becomes one IPv4 range. */
static bool other_ts(struct world *w, struct chain *c, struct ike_hdr *h, void *arg)
{
	static uint8_t body[20];
	const uint8_t *range = arg;
	struct link *ts = chain_find(c, PLD_TSI);

	(void)w;
	(void)h;
	if (!ts)
		return false;
	memset(body, 0, sizeof(body));
	body[0] = 1; /* of them */
	body[4] = 7; /* TS_IPV4_ADDR_RANGE, any protocol */
	body[7] = 16;
	body[10] = body[11] = 0xff; /* ports 0 to 65535 */
	memcpy(body + 12, range, 8);
	ts->body = body;
	ts->len = sizeof(body);
	return true;
}

static void remote_ts(struct world *w, int h, char *out, size_t cap)
{
	struct engine_ike_info i;

	assert_true(engine_ike_info(w->host[h].e, w->host[h].ike, &i));
	snprintf(out, cap, "%s", i.child[0].remote_ts);
}

/* a rekeys, and its request asks for that range of a's addresses. */
static void rekey_asking_for(struct world *w, int a, const uint8_t range[static 8])
{
	struct forgery f = { .from = a,
			     .exchange = CREATE_CHILD_SA,
			     .edit = other_ts,
			     .arg = (void *)(uintptr_t)range };

	w->filter = forge_filter;
	w->filter_arg = &f;
	rekey_child(w, a);
	w->filter = NULL;
	assert_int_equal(f.done, 1);
	ask(w, a, REKEY_CHILD);
	answer(w, !a, CHILD_MADE);
	ask(w, a, DELETE_CHILD);
	answer(w, !a, DELETE_CHILD);
}

/* s2.9.2: a part of it is enough for the peer, and more than what is configured is never given. */
SCENARIO(ike_case_071_a_rekey_never_widens_the_selectors)
{
	static const uint8_t all[8] = { 0, 0, 0, 0, 255, 255, 255, 255 };
	const uint8_t net = a == HOME ? 1 : 2, part[8] = { 10, net, 7, 0, 10, net, 7, 255 };
	const char *narrow = a == HOME ? "10.1.7.0/24" : "10.2.7.0/24";
	char was[256], is[256];

	remote_ts(w, b, was, sizeof(was));
	rekey_asking_for(w, a, all);
	remote_ts(w, b, is, sizeof(is));
	assert_string_equal(is, was);
	rekey_asking_for(w, a, part);
	remote_ts(w, b, is, sizeof(is));
	assert_string_equal(is, narrow);
	rekey_asking_for(w, a, all);
	remote_ts(w, b, is, sizeof(is));
	assert_string_equal(is, was);
}

/* ---- groups ---- */

static void b_knows_only_p256(struct world *w, int a, int b)
{
	groups(&w->host[a].esp_ps, KE_CURVE25519, KE_ECP_256);
	groups(&w->host[b].esp_ps, KE_ECP_256, 0);
}

SCENARIO_OF(ike_case_072_a_rekey_with_the_wrong_group_is_tried_once_more, b_knows_only_p256, 1)
{
	w->data = true;
	rekey_child(w, a);
	ask(w, a, REKEY_CHILD);
	answer(w, b, WRONG_GROUP);
	ask(w, a, REKEY_CHILD);
	answer(w, b, CHILD_MADE);
	ask(w, a, DELETE_CHILD);
	answer(w, b, DELETE_CHILD);
	quiet(w);
	none_lost(w);
	EACH_HOST(h)
	events(w, h, 1, 1, 0);
}

/* Every answer is N(INVALID_KE_PAYLOAD), each time with the other group. */
static bool never_the_right_group(struct world *w, struct chain *c, struct ike_hdr *h, void *arg)
{
	static uint8_t body[6] = { 0, 0, 0, INVALID_KE_PAYLOAD };
	unsigned *n = arg;

	(void)w;
	(void)h;
	body[5] = (*n)++ % 2 ? KE_CURVE25519 : KE_ECP_256;
	c->n = 0;
	chain_add(c, PLD_NOTIFY, body, sizeof(body));
	return true;
}

SCENARIO(ike_case_072_a_peer_that_wants_another_group_each_time_is_not_followed_for_ever)
{
	unsigned n = 0;
	struct forgery f = { .from = b,
			     .exchange = CREATE_CHILD_SA,
			     .response = true,
			     .edit = never_the_right_group,
			     .arg = &n };

	w->may_break = true; /* b keeps what a never hears of */
	groups(&w->host[a].esp_ps, KE_CURVE25519, KE_ECP_256);
	groups(&w->host[b].esp_ps, KE_CURVE25519, KE_ECP_256);
	w->filter = forge_filter;
	w->filter_arg = &f;
	w->delay_min = w->delay_max = 10;
	rekey_child(w, a);
	world_run(w, 20000);
	assert_in_range(f.done, 2, 3);
	assert_int_equal(w->host[a].child_down, 0);
	assert_true(paper_works(w, a)); /* the old one is used on */
	/* When it comes to its senses, all that it made in vain goes. */
	w->filter = NULL;
	world_run(w, 2 * 3600 * 1000);
}

/* ---- two CHILD SAs ---- */

static bool spi_of_delete(struct world *w, int from, const struct flight *f, uint32_t *spi)
{
	static struct chain c;
	struct ike_hdr h;
	struct link *d;

	if (!forge_open(w, from, f->bytes, f->len, &h, &c))
		return false;
	d = chain_find(&c, PLD_DELETE);
	if (!d || d->len != 8)
		return false;
	*spi = (uint32_t)d->body[4] << 24 | (uint32_t)d->body[5] << 16 | (uint32_t)d->body[6] << 8 |
	       d->body[7];
	return true;
}

/* a has two networks, and asks for a CHILD SA for each; b knows of both. */
static void second_network(struct world *w, int a, int b)
{
	struct host *ha = &w->host[a], *hb = &w->host[b];
	struct engine_ts other = ha->local_ts[0];

	other.ts.lo.b[1] += 2;
	other.ts.hi.b[1] += 2;
	ha->local_ts[1] = hb->remote_ts[1] = other;
	hb->conf[0].remote_ts_count = 2;
}

SCENARIO_OF(ike_case_074_of_two_children_one_goes_and_the_other_passes_on, second_network, 2)
{
	struct engine_ts first = w->host[a].local_ts[0];
	struct engine_ike_info i;
	uint32_t ike = w->host[a].ike, ours[2], theirs[2], spi;
	struct flight f;

	w->may_break = true; /* b may send first, as with any CHILD SA that is new */
	w->host[a].local_ts[0] = w->host[a].local_ts[1];
	DO(w, a, assert_int_equal(0, engine_create_child(e, now, ike, fx)));
	ask(w, a, NEW_CHILD);
	answer(w, b, CHILD_MADE);
	w->host[a].local_ts[0] = first;
	w->may_break = false;
	assert_true(engine_ike_info(w->host[a].e, ike, &i));
	assert_int_equal(i.child_count, 2);
	for (int k = 0; k < 2; k++) {
		ours[k] = i.child[k].spi_in;
		theirs[k] = i.child[k].spi_out;
	}
	w->data = true;
	DO(w, a, assert_int_equal(0, engine_delete_child(e, now, ours[w->variant], fx)));
	f = ask_held(w, a, DELETE_CHILD);
	assert_true(spi_of_delete(w, a, &f, &spi));
	assert_int_equal(spi, ours[w->variant]);
	late(w, f);
	/* s1.4.1: the answer names the other half of the pair */
	f = answer_held(w, b, DELETE_CHILD);
	assert_true(spi_of_delete(w, b, &f, &spi));
	assert_int_equal(spi, theirs[w->variant]);
	late(w, f);
	quiet(w);
	works_both_ways(w);
	EACH_HOST(h)
	{
		assert_int_equal(usable(w, h), 1);
		assert_int_equal(w->host[h].child_down, 1);
	}
	assert_int_equal(w->unopened + w->unsent, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ike_case_064_both_rekey_the_child_and_no_packet_is_lost),
		cmocka_unit_test(
		    ike_case_065_both_rekey_the_ike_sa_and_the_children_follow_the_survivor),
		cmocka_unit_test(ike_case_066_a_rekey_crosses_the_delete_of_the_same_child),
		cmocka_unit_test(ike_case_067_child_work_waits_while_the_ike_sa_is_rekeyed),
		cmocka_unit_test(
		    ike_case_068_an_ike_delete_crosses_anything_and_both_sides_are_empty),
		cmocka_unit_test(ike_case_069_a_rekey_of_what_the_peer_does_not_know_makes_it_anew),
		cmocka_unit_test(ike_case_070_an_answer_about_a_deleted_child_is_ignored),
		cmocka_unit_test(ike_case_071_a_rekey_never_widens_the_selectors),
		cmocka_unit_test(ike_case_072_a_rekey_with_the_wrong_group_is_tried_once_more),
		cmocka_unit_test(
		    ike_case_072_a_peer_that_wants_another_group_each_time_is_not_followed_for_ever),
		cmocka_unit_test(ike_case_074_of_two_children_one_goes_and_the_other_passes_on),
	};

	log_setup("cases", LOG_LVL_ERR, 2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
