/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * RFC 6311: the cluster b has lost count of message IDs and asks a for them. Our engine never asks; what
 * the cluster sends is made up here.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "forge.h"
#include "scen.h"
#include "engine_int.h"

static struct ike_sa *sa_of(struct world *w, int h)
{
	return sa_by_handle(w->host[h].e, w->host[h].ike);
}

static void alive(struct world *w, int h, int times)
{
	while (times--) {
		uint32_t ike = w->host[h].ike;

		DO(w, h, assert_int_equal(0, engine_liveness(e, now, ike, fx)));
		ask(w, h, ALIVE);
		answer(w, !h, ALIVE);
	}
}

static void put32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (24 - 8 * i));
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

struct sync {
	uint8_t bytes[300];
	size_t len;
};

/* HDR(0), SK {N(IKEV2_MESSAGE_ID_SYNC)}: the next request of b is @m1, that of a @p1. */
static struct sync sync_of(struct world *w, int b, uint32_t m1, uint32_t p1)
{
	uint8_t body[16] = {
		0, 0, IKEV2_MESSAGE_ID_SYNC >> 8, IKEV2_MESSAGE_ID_SYNC & 255, 'n', 'o', 'n', 'c'
	};
	struct ike_sa *sa = sa_of(w, b);
	struct ike_hdr h = forge_hdr(sa, INFORMATIONAL, false, 0);
	static struct chain c;
	struct sync s;

	put32(body + 8, m1);
	put32(body + 12, p1);
	c.n = 0;
	chain_add(&c, PLD_NOTIFY, body, sizeof(body));
	s.len = forge_seal(sa, &h, &c, s.bytes, sizeof(s.bytes));
	return s;
}

static void sends(struct world *w, int a, const struct sync *s)
{
	world_inject(w, a, &w->host[a].path, s->bytes, s->len);
}

/* <-- HDR(0), SK {N(IKEV2_MESSAGE_ID_SYNC)}: a sends @p2 next, and waits for @m2. */
static void answered(struct world *w, int a, uint32_t p2, uint32_t m2)
{
	struct flight f = answer_held(w, a, "INFORMATIONAL { N(IKEV2_MESSAGE_ID_SYNC) }");
	static struct chain c;
	struct ike_hdr h;

	assert_true(forge_open(w, a, f.bytes, f.len, &h, &c));
	assert_int_equal(h.id, 0);
	assert_int_equal(c.v[0].len, 16);
	assert_memory_equal(c.v[0].body + 4, "nonc", 4);
	assert_int_equal(get32(c.v[0].body + 8), p2);
	assert_int_equal(get32(c.v[0].body + 12), m2);
	free(f.bytes);
}

static void counters(struct world *w, int h, uint32_t out, uint32_t in)
{
	assert_int_equal(sa_of(w, h)->win.next_out, out);
	assert_int_equal(sa_of(w, h)->win.next_in, in);
}

/* The cluster has learnt: its numbers are these from now on. */
static void cluster_takes(struct world *w, int b, uint32_t out, uint32_t in)
{
	sa_of(w, b)->win.next_out = out;
	sa_of(w, b)->win.next_in = in;
}

/* Both are where they were: everything works. */
static void goes_on(struct world *w)
{
	quiet(w);
	alive(w, HOME, 2);
	alive(w, VPS, 2);
}

SCENARIO_OF(mid_sync_responder, NULL, 9)
{
	uint32_t out, in;
	struct sync s;

	alive(w, a, w->variant % 3);
	alive(w, b, w->variant / 3);
	out = sa_of(w, a)->win.next_out;
	in = sa_of(w, a)->win.next_in;
	s = sync_of(w, b, in + 3, out);
	sends(w, a, &s);
	answered(w, a, out, in + 3);
	counters(w, a, out, in + 3);
	cluster_takes(w, b, in + 3, out);
	goes_on(w);
}

SCENARIO(mid_sync_retransmit)
{
	uint32_t out = sa_of(w, a)->win.next_out, in = sa_of(w, a)->win.next_in;
	struct sync s = sync_of(w, b, in + 1, out);

	for (int i = 0; i < 3; i++) {
		sends(w, a, &s);
		answered(w, a, out, in + 1);
		counters(w, a, out, in + 1);
	}
	cluster_takes(w, b, in + 1, out);
	goes_on(w);
}

/* What was under way comes to an end by it, and the Delete that follows has the new number already. */
SCENARIO(mid_sync_before_a_delete)
{
	uint32_t out, in;
	static struct chain c;
	struct ike_hdr h;
	struct flight f;
	struct sync s;

	if (sa_of(w, a)->series_initiator) /* it would call anew instead */
		return;
	passes(w, TEMPORARY_MS);
	rekey_child(w, a);
	ask_lost(w, a, REKEY_CHILD);
	out = sa_of(w, a)->win.next_out;
	in = sa_of(w, a)->win.next_in;
	sa_of(w, a)->put_off_ms = w->now_ms - TEMPORARY_MS; /* minutes of nothing else before */
	s = sync_of(w, b, in, out + 5);
	sends(w, a, &s);
	f = ask_held(w, a, DELETE_IKE);
	assert_true(forge_open(w, a, f.bytes, f.len, &h, &c));
	assert_int_equal(h.id, out + 5);
	answered(w, a, out + 5, in);
	cluster_takes(w, b, in, out + 5);
	w->gone = w->may_break = true;
	late(w, f);
	answer(w, b, EMPTY);
}

/* Recorded ones do nothing: the same again after other requests, and one from before. */
SCENARIO(mid_sync_replay)
{
	uint32_t out = sa_of(w, a)->win.next_out, in = sa_of(w, a)->win.next_in;
	struct sync early = sync_of(w, b, in + 1, out), s = sync_of(w, b, in + 5, out);

	sends(w, a, &s);
	answered(w, a, out, in + 5);
	cluster_takes(w, b, in + 5, out);
	sends(w, a, &early);
	quiet(w);
	early = sync_of(w, b, in + 5, out + 9); /* another one, but no later */
	sends(w, a, &early);
	quiet(w);
	counters(w, a, out, in + 5);
	alive(w, b, 1);
	sends(w, a, &s);
	quiet(w);
	counters(w, a, out, in + 6);
	goes_on(w);
}

static bool not_supported(struct world *w, struct chain *c, struct ike_hdr *h, void *arg)
{
	struct link *n = chain_notify(c, IKEV2_MESSAGE_ID_SYNC_SUPPORTED);
	static const uint8_t other[4] = { 0, 0, 0xaa, 0xaa };

	(void)w;
	(void)h;
	(void)arg;
	if (n)
		n->body = other;
	return n != NULL;
}

static void b_does_not_offer_it(struct world *w, int a, int b)
{
	static struct forgery f[2];

	(void)a;
	f[0] = (struct forgery){ .from = b, .exchange = IKE_AUTH, .edit = not_supported };
	w->filter = forge_filter;
	w->filter_arg = &f[0];
	f[0].response = w->variant;
}

/* w->variant 0: b is the initiator and does not offer it, 1: it does not answer the offer of a. */
SCENARIO_OF(mid_sync_disabled, b_does_not_offer_it, 2)
{
	struct forgery *f = w->filter_arg;
	uint32_t out, in;
	struct sync s;

	w->filter = NULL;
	if (!f->done) /* the other one called */
		return;
	alive(w, b, 1);
	out = sa_of(w, a)->win.next_out;
	in = sa_of(w, a)->win.next_in;
	s = sync_of(w, b, in + 1, out);
	sends(w, a, &s);
	quiet(w);
	counters(w, a, out, in);
	goes_on(w);
}

SCENARIO_OF(mid_sync_sender_too_low, NULL, 3)
{
	uint32_t out, in;
	struct sync s;

	alive(w, b, 1 + w->variant);
	out = sa_of(w, a)->win.next_out;
	in = sa_of(w, a)->win.next_in;
	s = sync_of(w, b, in - 1, out + 1);
	sends(w, a, &s);
	quiet(w);
	counters(w, a, out, in);
	s = sync_of(w, b, 0, out);
	sends(w, a, &s);
	quiet(w);
	counters(w, a, out, in);
	/* nor one from which there would be no going on */
	s = sync_of(w, b, UINT32_MAX, out);
	sends(w, a, &s);
	s = sync_of(w, b, in, UINT32_MAX);
	sends(w, a, &s);
	quiet(w);
	counters(w, a, out, in);
	goes_on(w);
}

/* The cluster knows too low a number of ours, or a higher one: ours never sinks. */
SCENARIO_OF(mid_sync_recv_update, NULL, 2)
{
	uint32_t out, in;
	struct sync s;

	alive(w, a, 2);
	out = sa_of(w, a)->win.next_out;
	in = sa_of(w, a)->win.next_in;
	s = sync_of(w, b, in, w->variant ? out + 7 : out - 2);
	sends(w, a, &s);
	out += w->variant ? 7 : 0;
	answered(w, a, out, in);
	counters(w, a, out, in);
	cluster_takes(w, b, in, out);
	goes_on(w);
}

/* A member takes over with numbers from long ago; what a has under way is not lost. */
SCENARIO_OF(mid_sync_active, NULL, 3)
{
	uint32_t ike = w->host[a].ike, out, in;
	struct sync s;

	alive(w, a, 3);
	alive(w, b, 3);
	cluster_takes(w, b, 1, 1);
	/* a asks; the new member drops what it does not expect */
	switch (w->variant) {
	case 0:
		DO(w, a, engine_liveness(e, now, ike, fx));
		ask_lost(w, a, ALIVE);
		break;
	case 1:
		rekey_child(w, a);
		ask_lost(w, a, REKEY_CHILD);
		break;
	default:
		rekey_ike(w, a);
		ask_lost(w, a, REKEY_IKE);
		break;
	}
	out = sa_of(w, a)->win.next_out;
	in = sa_of(w, a)->win.next_in;
	/* It jumps well ahead, for both directions. */
	s = sync_of(w, b, in + 50, out + 50);
	sends(w, a, &s);
	answered(w, a, out + 50, in + 50);
	cluster_takes(w, b, in + 50, out + 50);
	w->delay_min = w->delay_max = 10;
	world_run(w, 20000);
	EACH_HOST(h)
	{
		assert_int_equal(w->host[h].child_rekeyed, w->variant == 1);
		assert_int_equal(w->host[h].ike_rekeyed, w->variant == 2);
		assert_int_equal(w->host[h].down, 0);
	}
	assert_true(w->host[a].replies >= 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mid_sync_responder),
		cmocka_unit_test(mid_sync_retransmit),
		cmocka_unit_test(mid_sync_before_a_delete),
		cmocka_unit_test(mid_sync_replay),
		cmocka_unit_test(mid_sync_disabled),
		cmocka_unit_test(mid_sync_sender_too_low),
		cmocka_unit_test(mid_sync_recv_update),
		cmocka_unit_test(mid_sync_active),
	};

	log_setup("scen", LOG_LVL_ERR, 2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
