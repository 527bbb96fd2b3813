/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Cases 54 to 62: fragmentation (RFC 7383). The fragments are the forging peer's: any size, any order, any
 * header. Each case runs with both sides as the one that sends them.
 */
#include <stddef.h>
#include <stdint.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "forge.h"
#include "engine_int.h"

/* ---- a message of the test's own, in fragments ---- */

struct pieces {
	struct ike_sa *sa;
	struct ike_hdr h;
	struct ike_aead *a;
	uint8_t first;
	uint8_t plain[FORGE_PLAIN_MAX];
	size_t len;
	struct frag_plan plan;
	unsigned notifies;
};

/* SK {N(43690) x @count}, each @bytes long: they only parse when every fragment is at its place. */
static void pieces_new(struct pieces *p, struct world *w, int a, unsigned count, size_t bytes)
{
	static const uint8_t body[1200] = { 0, 0, 0xaa, 0xaa };
	static struct chain c;

	p->sa = forge_up(w, a);
	p->h = forge_hdr(p->sa, INFORMATIONAL, false, p->sa->win.next_out);
	p->a = forge_aead(p->sa, p->sa->initiator);
	p->notifies = count;
	c.n = 0;
	for (unsigned i = 0; i < count; i++)
		chain_add(&c, PLD_NOTIFY, body, bytes);
	p->len = chain_write(&c, p->plain, sizeof(p->plain), &p->first);
}

/* Cut anew, into @total equal fragments. */
static void pieces_cut(struct pieces *p, uint16_t total)
{
	p->plan.total = total;
	p->plan.chunk = (p->len + total - 1) / total;
}

static size_t piece(const struct pieces *p, uint16_t number, uint8_t *out, size_t cap)
{
	size_t len;

	assert_int_equal(
	    0, skf_seal(p->a, &p->h, &p->plan, number, p->first, p->plain, p->len, out, cap, &len));
	return len;
}

static void piece_arrives(const struct pieces *p, struct world *w, int to, uint16_t number)
{
	uint8_t out[4000];
	size_t len = piece(p, number, out, sizeof(out));

	world_inject(w, to, &w->host[to].path, out, len);
}

/* A fragment with whatever in its header: @next instead of the first payload's type, any numbers. */
static void odd_piece_arrives(const struct pieces *p, struct world *w, int to, uint8_t next,
			      uint16_t number, uint16_t total, size_t bytes)
{
	static const uint8_t zeros[2000];
	struct frag_plan plan = { .total = 1, .chunk = sizeof(zeros) };
	uint8_t out[4000];
	size_t len, iv = ike_aead_iv_len(p->a), icv = ike_aead_icv_len(p->a);

	/* Sealed again behind the changed header, so that it is authentic. */
	assert_int_equal(
	    0, skf_seal(p->a, &p->h, &plan, 1, next, zeros, bytes, out, sizeof(out), &len));
	out[28] = next;
	out[32] = (uint8_t)(number >> 8);
	out[33] = (uint8_t)number;
	out[34] = (uint8_t)(total >> 8);
	out[35] = (uint8_t)total;
	memset(out + 36 + iv, 0, len - 36 - iv);
	assert_int_equal(0, ike_aead_seal(p->a, out, 36, len - 36 - iv - icv));
	world_inject(w, to, &w->host[to].path, out, len);
}

static size_t held(struct world *w, int host)
{
	const struct ike_sa *sa = forge_up(w, host);
	size_t n = 0;

	for (int i = 0; i < 2; i++) {
		const struct frag_set *s = sa->frags_in[i];

		if (!s)
			continue;
		n += malloc_usable_size((void *)(uintptr_t)s);
		for (int k = 0; k < FRAGS_MAX; k++)
			n += s->frag[k].p ? malloc_usable_size(s->frag[k].p) : 0;
	}
	return n;
}

/* The message came through, once; its sender's engine learns that the number is used. */
static void came(struct pieces *p, struct world *w, int to)
{
	assert_int_equal(w->host[to].private_count, p->notifies);
	assert_int_equal(w->flights, 1);
	world_lose(w, !to);
	p->sa->win.next_out++;
}

/* ---- 54 ---- */

static void ike_case_054_reversed_and_doubled_fragments_are_joined_once(void **s)
{
	static struct pieces p;

	(void)s;
	EACH_HOST(a)
	{
		struct world *w = forge_pair(54);

		pieces_new(&p, w, a, 30, 300);
		pieces_cut(&p, 9);
		for (uint16_t i = 9; i > 0; i--) {
			assert_int_equal(w->host[!a].private_count, 0);
			piece_arrives(&p, w, !a, i);
			if (i == 1)
				break;
			piece_arrives(&p, w, !a, i); /* at once again, */
			piece_arrives(&p, w, !a, 9); /* and an old one between */
		}
		came(&p, w, !a);
		forge_ends(w);
	}
}

/* The same for answers, by the network: a chain of certificates both ways, while packets overtake. */
static void ike_case_054_holds_for_answers(void **s)
{
	(void)s;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct world *w = world_new(seed, STYLE_CERT_RSA);

		w->delay_min = 0;
		w->delay_max = 200;
		w->dup = 50;
		world_start(w);
		world_call(w, HOME);
		world_run(w, 30000);
		assert_true(w->host[HOME].sent > 2);
		forge_ends(w);
	}
}

/* ---- 55 ---- */

static void ike_case_055_a_larger_total_begins_anew_a_smaller_one_is_late(void **s)
{
	static struct pieces p;

	(void)s;
	EACH_HOST(a)
	{
		struct world *w = forge_pair(55);

		pieces_new(&p, w, a, 20, 300);
		pieces_cut(&p, 4);
		for (uint16_t i = 1; i <= 3; i++)
			piece_arrives(&p, w, !a, i);
		/* The sender cut it smaller: what came before does not fit. */
		pieces_cut(&p, 10);
		for (uint16_t i = 6; i <= 10; i++)
			piece_arrives(&p, w, !a, i);
		/* Late ones of the first cut, the missing fourth too. */
		pieces_cut(&p, 4);
		for (uint16_t i = 1; i <= 4; i++)
			piece_arrives(&p, w, !a, i);
		assert_int_equal(w->host[!a].private_count, 0);
		pieces_cut(&p, 10);
		for (uint16_t i = 1; i <= 5; i++) {
			assert_int_equal(w->host[!a].private_count, 0);
			piece_arrives(&p, w, !a, i);
		}
		came(&p, w, !a);
		forge_ends(w);
	}
}

/* ---- 56 ---- */

static void ike_case_056_impossible_numbers_are_dropped(void **s)
{
	static const struct {
		uint16_t number, total;
	} odd[] = { { 0, 3 },	  { 4, 3 },	{ 65535, 3 },	  { 0, 0 },  { 1, 0 },
		    { 65535, 0 }, { 1, 65535 }, { 65535, 65535 }, { 1, 65 }, { 65, 65 } };
	static struct pieces p;

	(void)s;
	EACH_HOST(a)
	{
		struct world *w = forge_pair(56);

		pieces_new(&p, w, a, 10, 300);
		pieces_cut(&p, 3);
		for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
			odd_piece_arrives(&p, w, !a, odd[i].number == 1 ? PLD_NOTIFY : PLD_NONE,
					  odd[i].number, odd[i].total, 100);
		assert_int_equal(held(w, !a), 0);
		piece_arrives(&p, w, !a, 1);
		piece_arrives(&p, w, !a, 3);
		/* They do not disturb a set that has begun, either. */
		for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
			odd_piece_arrives(&p, w, !a, odd[i].number == 1 ? PLD_NOTIFY : PLD_NONE,
					  odd[i].number, odd[i].total, 100);
		piece_arrives(&p, w, !a, 2);
		came(&p, w, !a);
		forge_ends(w);
	}
}

static void ike_case_056_memory_is_bounded_and_given_back(void **s)
{
	static struct pieces p;
	struct pieces answers;

	(void)s;
	EACH_HOST(a)
	{
		struct world *w = forge_pair(57);
		size_t most = 0;

		/* It waits for an answer, too: both directions at once, as large as can be. */
		DO(w, !a, engine_liveness(e, now, w->host[!a].ike, fx));
		world_lose(w, a);
		timer_clear(&w->host[!a].e->timers, &forge_up(w, !a)->resend);
		pieces_new(&p, w, a, 1, 100);
		answers = p;
		answers.h = forge_hdr(p.sa, INFORMATIONAL, true, forge_up(w, !a)->win.next_out);
		for (uint16_t i = 1; i < 64; i++)
			for (int both = 0; both < 2; both++) {
				odd_piece_arrives(both ? &answers : &p, w, !a,
						  i == 1 ? PLD_NOTIFY : PLD_NONE, i, 64, 1900);
				most = held(w, !a) > most ? held(w, !a) : most;
			}
		assert_in_range(most, 30000, 65536);
		/* Nothing completes them: after 10 s all is free. */
		world_run(w, 10100);
		assert_int_equal(held(w, !a), 0);
		/* One direction to the last byte, then the other. */
		for (uint16_t i = 1; i <= FRAG_BYTES_MAX / 1000; i++)
			odd_piece_arrives(&p, w, !a, i == 1 ? PLD_NOTIFY : PLD_NONE, i, 64, 1000);
		for (uint16_t i = 1; i < 64; i++) {
			odd_piece_arrives(&answers, w, !a, i == 1 ? PLD_NOTIFY : PLD_NONE, i, 64,
					  1000);
			assert_in_range(held(w, !a), 60000, 65536);
		}
		world_free(w);
	}
}

/* ---- 57 ---- */

static void ike_case_057_a_fragment_with_a_wrong_icv_costs_only_itself(void **s)
{
	static struct pieces p;
	uint8_t out[4000];

	(void)s;
	EACH_HOST(a)
	{
		struct world *w = forge_pair(58);
		struct engine_counters before, after;

		pieces_new(&p, w, a, 20, 300);
		pieces_cut(&p, 5);
		engine_counters_get(w->host[!a].e, &before);
		for (uint16_t i = 1; i <= 5; i++) {
			size_t len = piece(&p, i, out, sizeof(out));

			/* Before the true one, in each of its parts; and of another size. */
			for (size_t at = 28; at < len; at += 13) {
				if (at >= 29 && at < 36)
					continue;
				out[at] ^= 4;
				world_inject(w, !a, &w->host[!a].path, out, len);
				out[at] ^= 4;
			}
			out[35] = 6;
			world_inject(w, !a, &w->host[!a].path, out, len);
			assert_int_equal(w->host[!a].private_count, 0);
			piece_arrives(&p, w, !a, i);
		}
		engine_counters_get(w->host[!a].e, &after);
		assert_true(after.in_unauthenticated > before.in_unauthenticated + 100);
		came(&p, w, !a);
		forge_ends(w);
	}
}

/* ---- 58 ---- */

static void ike_case_058_next_payload_stands_in_the_first_fragment_alone(void **s)
{
	static struct pieces p;

	(void)s;
	EACH_HOST(a)
	{
		struct world *w = forge_pair(59);

		pieces_new(&p, w, a, 10, 300);
		pieces_cut(&p, 3);
		for (uint16_t i = 2; i <= 3; i++) {
			odd_piece_arrives(&p, w, !a, PLD_NOTIFY, i, 3, 100);
			odd_piece_arrives(&p, w, !a, PLD_SKF, i, 3, 100);
			odd_piece_arrives(&p, w, !a, 255, i, 3, 100);
		}
		assert_int_equal(held(w, !a), 0);
		for (uint16_t i = 3; i > 0; i--)
			piece_arrives(&p, w, !a, i);
		came(&p, w, !a);
		forge_ends(w);
	}
}

/* ---- 59 ---- */

static struct {
	unsigned seen[2][FRAGS_MAX + 1]; /* by receiver and number */
	uint16_t lose;			 /* this fragment of requests, while it is set */
	uint16_t total;
} loss;

static bool lose_one(struct world *w, int to, const struct engine_path *path, uint8_t *bytes,
		     size_t *len)
{
	static struct ike_msg m;

	(void)w;
	(void)path;
	if (ike_msg_parse(bytes, *len, &m) || m.sk.type != PLD_SKF)
		return true;
	loss.seen[to][m.sk.frag_number]++;
	if (to == VPS)
		loss.total = m.sk.frag_total;
	return to != VPS || m.sk.frag_number != loss.lose;
}

static void ike_case_059_after_partial_loss_all_fragments_go_again(void **s)
{
	(void)s;
	for (uint16_t lost = 1; lost <= 2; lost++) {
		struct world *w = world_new(59, STYLE_CERT_RSA);

		memset(&loss, 0, sizeof(loss));
		loss.lose = lost;
		w->filter = lose_one;
		world_start(w);
		world_call(w, HOME);
		world_run(w, 100);
		assert_in_range(loss.total, 2, 8);
		assert_int_equal(w->host[VPS].up, 0);
		loss.lose = 0;
		world_run(w, 700);
		for (uint16_t i = 1; i <= loss.total; i++)
			assert_int_equal(loss.seen[VPS][i], 2);
		assert_int_equal(w->host[HOME].unanswered, 1);
		assert_int_equal(loss.seen[HOME][1], 1); /* one answer */
		w->filter = NULL;
		forge_ends(w);
	}
}

static void ike_case_059_only_the_first_fragment_of_a_copy_is_answered(void **s)
{
	static struct pieces p;

	(void)s;
	EACH_HOST(a)
	{
		struct world *w = forge_pair(60);

		for (int reversed = 0; reversed < 2; reversed++) {
			w->host[!a].private_count = 0;
			pieces_new(&p, w, a, 10, 300);
			pieces_cut(&p, 4);
			for (uint16_t i = 1; i <= 4; i++)
				piece_arrives(&p, w, !a, reversed ? (uint16_t)(5 - i) : i);
			assert_int_equal(w->flights, 1);
			world_lose(w, a);
			for (uint16_t i = 4; i > 1; i--)
				piece_arrives(&p, w, !a, i);
			assert_int_equal(w->flights, 0);
			piece_arrives(&p, w, !a, 1);
			assert_int_equal(w->flights, 1);
			world_lose(w, a);
			/* Cut smaller meanwhile: still the same request (s2.6.1). */
			pieces_cut(&p, 7);
			for (uint16_t i = 7; i > 1; i--)
				piece_arrives(&p, w, !a, i);
			assert_int_equal(w->flights, 0);
			piece_arrives(&p, w, !a, 1);
			came(&p, w, !a);
		}
		forge_ends(w);
	}
}

/* ---- 60 ---- */

static void ike_case_060_whole_or_in_fragments_the_first_complete_one_counts(void **s)
{
	static struct pieces p;
	static uint8_t whole[FORGE_MSG_MAX];
	size_t len;

	(void)s;
	EACH_HOST(a)
	for (int all = 0; all < 2; all++) {
		struct world *w = forge_pair(61);

		pieces_new(&p, w, a, 5, 200);
		pieces_cut(&p, 3);
		assert_int_equal(
		    0, sk_seal(p.a, &p.h, p.first, p.plain, p.len, whole, sizeof(whole), &len));
		piece_arrives(&p, w, !a, 1);
		piece_arrives(&p, w, !a, 2);
		if (all)
			piece_arrives(&p, w, !a, 3);
		assert_int_equal(w->host[!a].private_count, all ? 5 : 0);
		world_inject(w, !a, &w->host[!a].path, whole, len);
		assert_int_equal(w->host[!a].private_count, 5);
		if (!all) { /* what the set held is of no more use */
			assert_true(held(w, !a) <= sizeof(struct frag_set) + 64);
			piece_arrives(&p, w, !a, 3);
		}
		assert_int_equal(w->host[!a].private_count, 5);
		came(&p, w, !a);
		forge_ends(w);
	}
}

/* ---- 61 ---- */

enum { SIZE_61 = 626, PIECES_61 = 40 };

static void pieces_of_626(struct pieces *p)
{
	assert_int_equal(0, frag_plan(p->a, p->len, SIZE_61, &p->plan));
	assert_int_equal(p->plan.total, PIECES_61);
}

static void ike_case_061_forty_fragments_of_626_bytes_are_joined(void **s)
{
	static struct pieces p;

	(void)s;
	EACH_HOST(a)
	{
		struct world *w = forge_pair(61);

		pieces_new(&p, w, a, 40, 552);
		pieces_of_626(&p);
		for (uint16_t i = 1; i <= PIECES_61; i++)
			piece_arrives(&p, w, !a, i);
		came(&p, w, !a);
		forge_ends(w);
	}
}

/* IKE_AUTH with as much in it: certificates, and more that nobody knows. From either side. */
static struct pieces auth_pieces;

static bool cut_auth(struct world *w, struct chain *c, struct ike_hdr *h, void *arg)
{
	static const uint8_t unknown[1004] = { 0, 0, 0xa0, 0x00 };
	struct pieces *p = &auth_pieces;

	(void)arg;
	if (!chain_find(c, PLD_AUTH))
		return false;
	p->sa = forge_sa(w, ike_hdr_is_response(h) ? VPS : HOME, h);
	p->h = *h;
	p->a = forge_aead(p->sa, h->flags & IKE_FLAG_INITIATOR);
	do {
		chain_add(c, PLD_NOTIFY, unknown, sizeof(unknown));
		p->len = chain_write(c, p->plain, sizeof(p->plain), &p->first);
	} while (p->len < (PIECES_61 - 1) * 560);
	assert_int_equal(0, frag_plan(p->a, p->len, SIZE_61, &p->plan));
	return true;
}

static void in_one_piece(struct world *w, int host, struct fx *f)
{
	struct ike_sa *sa = sa_by_handle(w->host[host].e, (uint32_t)f->auth.token);

	if (sa)
		sa->frag_max = 16000; /* so that it can be read on its way */
}

static void ike_case_061_holds_for_ike_auth(void **s)
{
	(void)s;
	for (int who = 0; who < 2; who++) {
		struct forgery f = {
			.from = who, .exchange = IKE_AUTH, .response = who == VPS, .edit = cut_auth
		};
		struct world *w = world_new(61, STYLE_CERT_RSA);

		w->before_keys = in_one_piece;
		w->filter = forge_filter;
		w->filter_arg = &f;
		world_start(w);
		world_call(w, HOME);
		while (!f.done)
			world_run(w, 5);
		w->filter = NULL;
		world_lose(w, !who); /* the whole one */
		assert_true(auth_pieces.plan.total >= PIECES_61);
		for (uint16_t i = auth_pieces.plan.total; i > 0; i--)
			piece_arrives(&auth_pieces, w, !who, i);
		world_run(w, 100);
		forge_ends(w);
	}
}

/* ---- 62 ---- */

static struct {
	int to;
	size_t max, largest, lost;
} narrow;

static bool narrow_one_way(struct world *w, int to, const struct engine_path *path, uint8_t *bytes,
			   size_t *len)
{
	(void)w;
	(void)path;
	(void)bytes;
	if (to != narrow.to)
		return true;
	if (*len > narrow.max) {
		narrow.lost++;
		return false;
	}
	narrow.largest = *len > narrow.largest ? *len : narrow.largest;
	return true;
}

/* What does not come through at 1280 comes through at 576, in either direction, large request or small. */
static void ike_case_062_what_is_too_large_for_the_path_is_cut_to_576(void **s)
{
	static const enum auth_style styles[] = { STYLE_CERT_RSA, STYLE_CERT_ECDSA };

	(void)s;
	for (int style = 0; style < 2; style++)
		EACH_HOST(to)
		{
			struct world *w = world_new(62, styles[style]);

			memset(&narrow, 0, sizeof(narrow));
			narrow.to = to;
			narrow.max = 576 - 20 - 8 - 4;
			if (style == 1 && to == HOME) {
				/* A small IKE_AUTH request, which no step down makes smaller. */
				w->host[HOME].peer.local_auth.kind = ENGINE_AUTH_PSK;
				w->host[VPS].peer.remote_auth.kind = ENGINE_AUTH_PSK;
				w->host[VPS].peer.remote_auth.psk_ref = 1;
				EACH_HOST(h)
				secret_set(&w->host[h].psk, "only one way", 12);
			}
			world_start(w);
			world_call(w, HOME);
			world_deliver(w, VPS);
			world_deliver(w, HOME); /* IKE_SA_INIT cannot be cut */
			while (world_lose(w, VPS))
				;
			w->filter = narrow_one_way;
			world_run(w, 6000); /* the third and fourth try, with jitter */
			assert_true(narrow.lost >= 1);
			assert_in_range(narrow.largest, 400, narrow.max);
			world_agree(w);
			/* And from now on at once. */
			narrow.lost = 0;
			DO(w, to, engine_rekey_ike(e, now, w->host[to].ike, fx));
			world_run(w, 300);
			DO(w, !to, engine_rekey_ike(e, now, w->host[!to].ike, fx));
			world_run(w, 300);
			assert_int_equal(narrow.lost, 0);
			assert_int_equal(w->host[HOME].ike_rekeyed, 2);
			w->filter = NULL;
			forge_ends(w);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ike_case_054_reversed_and_doubled_fragments_are_joined_once),
		cmocka_unit_test(ike_case_054_holds_for_answers),
		cmocka_unit_test(ike_case_055_a_larger_total_begins_anew_a_smaller_one_is_late),
		cmocka_unit_test(ike_case_056_impossible_numbers_are_dropped),
		cmocka_unit_test(ike_case_056_memory_is_bounded_and_given_back),
		cmocka_unit_test(ike_case_057_a_fragment_with_a_wrong_icv_costs_only_itself),
		cmocka_unit_test(ike_case_058_next_payload_stands_in_the_first_fragment_alone),
		cmocka_unit_test(ike_case_059_after_partial_loss_all_fragments_go_again),
		cmocka_unit_test(ike_case_059_only_the_first_fragment_of_a_copy_is_answered),
		cmocka_unit_test(ike_case_060_whole_or_in_fragments_the_first_complete_one_counts),
		cmocka_unit_test(ike_case_061_forty_fragments_of_626_bytes_are_joined),
		cmocka_unit_test(ike_case_061_holds_for_ike_auth),
		cmocka_unit_test(ike_case_062_what_is_too_large_for_the_path_is_cut_to_576),
	};

	log_setup("exchange", LOG_LVL_ERR, 2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
