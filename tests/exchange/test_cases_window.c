/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Cases 48 to 53: message IDs, retransmission, window (RFC 7296 s2.1 to s2.4). Each runs with both sides as
 * the one that asks.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "forge.h"
#include "engine_int.h"

/* Takes the one packet in flight off the wire; caller frees bytes. */
static struct flight taken(struct world *w)
{
	assert_int_equal(w->flights, 1);
	return world_take(w, 0);
}

/* A request that @a's engine knows nothing of: SK {N(43690, @mark)} with message ID @id. */
static size_t made_up(struct world *w, int a, uint32_t id, uint8_t mark, uint8_t *out, size_t cap)
{
	const uint8_t notify[] = { 0, 0, 0xaa, 0xaa, mark };
	static struct chain c;
	struct ike_hdr h = forge_hdr(forge_up(w, a), INFORMATIONAL, false, id);

	c.n = 0;
	chain_add(&c, PLD_NOTIFY, notify, sizeof(notify));
	return forge_seal(forge_up(w, a), &h, &c, out, cap);
}

/* The answer in flight is to message ID @id. */
static void answered(struct world *w, uint32_t id)
{
	struct flight f = taken(w);
	struct ike_hdr h;

	assert_int_equal(0, ike_hdr_parse(f.bytes, f.len, &h));
	assert_true(ike_hdr_is_response(&h));
	assert_int_equal(h.id, id);
	free(f.bytes);
}

/* ---- 48 ---- */

static void ike_case_048_same_request_gets_the_same_bytes_and_another_one_nothing(void **s)
{
	(void)s;
	EACH_HOST(a)
	{
		struct world *w = forge_pair(48);
		uint32_t id = forge_up(w, a)->win.next_out;
		uint8_t ask[500], other[500];
		struct flight first, again;
		size_t n, m;

		n = made_up(w, a, id, 1, ask, sizeof(ask));
		world_inject(w, !a, &w->host[!a].path, ask, n);
		first = taken(w);
		assert_int_equal(w->host[!a].private_count, 1);
		for (int i = 0; i < 3; i++) {
			world_inject(w, !a, &w->host[!a].path, ask, n);
			again = taken(w);
			assert_int_equal(again.len, first.len);
			assert_memory_equal(again.bytes, first.bytes, first.len);
			free(again.bytes);
		}
		/* The same number, sealed by the same keys, but it says something else. */
		m = made_up(w, a, id, 2, other, sizeof(other));
		assert_int_equal(m, n);
		world_inject(w, !a, &w->host[!a].path, other, m);
		/* The same bytes but for one. */
		memcpy(other, ask, n);
		other[n - 1] ^= 1;
		world_inject(w, !a, &w->host[!a].path, other, n);
		/* The same and a byte more, as its length says too. */
		memcpy(other, ask, n);
		other[n] = 0;
		other[27]++;
		world_inject(w, !a, &w->host[!a].path, other, n + 1);
		assert_int_equal(w->flights, 0);
		assert_int_equal(w->host[!a].private_count, 1);
		free(first.bytes);
		forge_up(w, a)->win.next_out++;
		forge_ends(w);
	}
}

/* A captured request, sent again and again in a stranger's name, is no way to fill his line. */
static void ike_case_048_copies_are_answered_a_few_times_in_a_second(void **s)
{
	(void)s;
	EACH_HOST(a)
	{
		struct world *w = forge_pair(48);
		uint8_t ask[500];
		size_t n = made_up(w, a, forge_up(w, a)->win.next_out, 1, ask, sizeof(ask));
		unsigned sent;

		world_inject(w, !a, &w->host[!a].path, ask, n);
		for (int second = 0; second < 3; second++) {
			sent = w->host[!a].sent;
			for (int i = 0; i < 100; i++)
				world_inject(w, !a, &w->host[!a].path, ask, n);
			assert_in_range(w->host[!a].sent - sent, 4, 10);
			world_run(w, 1000);
		}
		forge_up(w, a)->win.next_out++;
		forge_ends(w);
	}
}

/* IKE_SA_INIT has no keys yet; the same holds (s2.1). */
static void ike_case_048_holds_for_ike_sa_init(void **s)
{
	struct world *w = world_new(48, STYLE_PSK);
	struct flight ask, first, again;

	(void)s;
	world_start(w);
	world_call(w, HOME);
	ask = taken(w);
	world_inject(w, VPS, &ask.path, ask.bytes, ask.len);
	first = taken(w);
	world_inject(w, VPS, &ask.path, ask.bytes, ask.len);
	again = taken(w);
	assert_int_equal(again.len, first.len);
	assert_memory_equal(again.bytes, first.bytes, first.len);
	free(again.bytes);
	ask.bytes[ask.len - 1] ^= 1; /* within the last payload, a Vendor ID */
	world_inject(w, VPS, &ask.path, ask.bytes, ask.len);
	assert_int_equal(w->flights, 0);
	world_put(w, first);
	free(ask.bytes);
	world_run(w, 0);
	forge_ends(w);
}

/* ---- 49 ---- */

static void ike_case_049_ids_out_of_the_window_are_dropped_in_silence(void **s)
{
	(void)s;
	EACH_HOST(a)
	{
		struct world *w = forge_pair(49);
		uint32_t next;
		uint8_t ask[500];

		/* So that there are numbers below: three exchanges of each side. */
		for (int i = 0; i < 3; i++)
			EACH_HOST(h)
			{
				DO(w, h, engine_liveness(e, now, w->host[h].ike, fx));
				world_run(w, 0);
			}
		next = forge_up(w, a)->win.next_out;
		const uint32_t ids[] = { 0,	    1,		 next - 2,  next + 1,
					 next + 2,  next + 1000, INT32_MAX, UINT32_MAX - 1,
					 UINT32_MAX };

		for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
			world_inject(w, !a, &w->host[!a].path, ask,
				     made_up(w, a, ids[i], 1, ask, sizeof(ask)));
		/* Not a word: INVALID_MESSAGE_ID never stands in a response (s2.3). */
		assert_int_equal(w->flights, 0);
		assert_int_equal(w->host[!a].private_count, 0);
		/* And nothing has moved. */
		world_inject(w, !a, &w->host[!a].path, ask,
			     made_up(w, a, next, 2, ask, sizeof(ask)));
		answered(w, next);
		assert_int_equal(w->host[!a].private_count, 1);
		forge_up(w, a)->win.next_out++;
		forge_ends(w);
	}
}

/* ---- 50 ---- */

static void ike_case_050_second_answer_to_a_repeated_request_is_ignored(void **s)
{
	(void)s;
	EACH_HOST(a)
	{
		struct world *w = forge_pair(50);
		struct flight answer, copy;
		uint32_t id = forge_up(w, a)->win.next_out;

		DO(w, a, engine_liveness(e, now, w->host[a].ike, fx));
		world_deliver(w, !a);
		answer = taken(w);
		copy = answer;
		copy.bytes = malloc(answer.len);
		memcpy(copy.bytes, answer.bytes, answer.len);
		world_run(w, 600); /* the answer is slow: the request goes out again */
		assert_int_equal(w->host[a].unanswered, 1);
		assert_int_equal(w->host[a].replies, 1); /* by the second copy of the answer */
		world_put(w, answer);
		assert_int_equal(w->host[a].replies, 1);
		assert_int_equal(forge_up(w, a)->win.next_out, id + 1);
		/* While the next request is outstanding it is no answer to that either. */
		DO(w, a, engine_liveness(e, now, w->host[a].ike, fx));
		world_put(w, copy);
		assert_int_equal(w->host[a].replies, 1);
		assert_true(forge_up(w, a)->win.outstanding);
		world_run(w, 0);
		assert_int_equal(w->host[a].replies, 2);
		forge_ends(w);
	}
}

/* ---- 51 ---- */

static void ike_case_051_a_peer_that_pipelines_is_served_in_order(void **s)
{
	enum { PIPE = 5 };

	(void)s;
	EACH_HOST(a)
	{
		struct world *w = forge_pair(51);
		uint32_t next = forge_up(w, a)->win.next_out;
		uint8_t ask[PIPE][500];
		size_t len[PIPE];

		for (unsigned i = 0; i < PIPE; i++)
			len[i] = made_up(w, a, next + i, (uint8_t)i, ask[i], sizeof(ask[i]));
		/* All at once, the last first: the one that is next is answered, no other. */
		for (int i = PIPE - 1; i >= 0; i--)
			world_inject(w, !a, &w->host[!a].path, ask[i], len[i]);
		answered(w, next);
		assert_int_equal(w->host[!a].private_count, 1);
		/* It repeats them all, in order: now each has its turn. */
		for (unsigned i = 1; i < PIPE; i++) {
			world_inject(w, !a, &w->host[!a].path, ask[i], len[i]);
			answered(w, next + i);
			assert_int_equal(w->host[!a].private_count, i + 1);
		}
		forge_up(w, a)->win.next_out += PIPE;
		forge_ends(w);
	}
}

/* ---- 52 ---- */

/* What flies to @arg's host is lost: its requests are answered, and it never hears of it. */
static bool deaf(struct world *w, int to, const struct engine_path *path, uint8_t *bytes,
		 size_t *len)
{
	(void)path;
	(void)bytes;
	(void)len;
	return to != *(int *)w->filter_arg;
}

enum asking { ASK_LIFE, ASK_REKEY_CHILD, ASK_REKEY_IKE, ASK_CHILD, ASKINGS };

static void ike_case_052_an_answer_after_a_minute_of_loss_is_taken(void **s)
{
	(void)s;
	for (int how = 0; how < ASKINGS; how++)
		EACH_HOST(a)
		{
			struct world *w = forge_pair(52);
			uint32_t spi = w->host[a].child[0].spi_in;
			unsigned sent;

			w->filter = deaf;
			w->filter_arg = &a;
			switch (how) {
			case ASK_LIFE:
				DO(w, a, engine_liveness(e, now, w->host[a].ike, fx));
				break;
			case ASK_REKEY_CHILD:
				DO(w, a, engine_rekey_child(e, now, spi, fx));
				break;
			case ASK_REKEY_IKE:
				DO(w, a, engine_rekey_ike(e, now, w->host[a].ike, fx));
				break;
			default:
				DO(w, a,
				   engine_private(e, now, w->host[a].ike, 43690,
						  (const uint8_t *)"x", 1, fx));
				break;
			}
			sent = w->host[a].sent;
			world_run(w, 60000);
			assert_in_range(w->host[a].sent - sent, 10, 40);
			assert_int_equal(w->host[a].replies, 0);
			EACH_HOST(h)
			{
				assert_int_equal(w->host[h].up, 1);
				assert_int_equal(w->host[h].down + w->host[h].child_down, 0);
			}
			w->filter = NULL;
			world_run(w, 5000);
			assert_true(w->host[a].replies >= 1);
			world_run(w, 30000);
			EACH_HOST(h)
			assert_int_equal(w->host[h].down + w->host[h].child_down, 0);
			assert_int_equal(w->host[a].child_rekeyed, how == ASK_REKEY_CHILD);
			assert_int_equal(w->host[a].ike_rekeyed, how == ASK_REKEY_IKE);
			assert_int_equal(w->host[!a].private_count, how == ASK_CHILD);
			forge_ends(w);
		}
}

/* ---- 53 ---- */

/* Both agree that @a's requests have come to number @id. */
static void wind_on(struct world *w, int a, uint32_t id)
{
	forge_up(w, a)->win.next_out = id;
	forge_up(w, !a)->win.next_in = id;
}

static void ike_case_053_numbers_near_their_end_rekey_the_ike_sa(void **s)
{
	(void)s;
	EACH_HOST(a)
	{
		struct world *w = forge_pair(53);

		wind_on(w, a, UINT32_MAX - 70);
		for (int i = 0; i < 20; i++) {
			DO(w, a, engine_liveness(e, now, w->host[a].ike, fx));
			world_run(w, 50);
		}
		world_run(w, 60000);
		EACH_HOST(h)
		{
			assert_int_equal(w->host[h].ike_rekeyed, 1);
			assert_int_equal(w->host[h].down, 0);
			assert_in_range(forge_up(w, h)->win.next_out, 0, 100);
			assert_in_range(forge_up(w, h)->win.next_in, 0, 100);
		}
		forge_ends(w);
	}
}

/* From now on both want IKE proposals that the other does not. */
static void disagree(struct world *w)
{
	EACH_HOST(h)
	{
		struct proposals *ps = &w->host[h].ike_ps;

		memset(ps, 0, sizeof(*ps));
		proposal_add(ps, PROTO_IKE);
		transform_add(&ps->p[0], TRANSFORM_ENCR,
			      h ? ENCR_AES_GCM_16 : ENCR_CHACHA20_POLY1305, h ? 256 : 0);
		transform_add(&ps->p[0], TRANSFORM_PRF, PRF_HMAC_SHA2_256, 0);
		transform_add(&ps->p[0], TRANSFORM_KE, KE_CURVE25519, 0);
	}
}

static void ike_case_053_and_close_it_where_that_fails(void **s)
{
	(void)s;
	EACH_HOST(a)
	{
		struct world *w = forge_pair(54);

		wind_on(w, a, UINT32_MAX - 70);
		disagree(w);
		for (int i = 0; i < 400 && !w->host[a].down; i++) {
			DO(w, a, engine_liveness(e, now, w->host[a].ike, fx));
			world_run(w, 50);
		}
		/* Closed, by a Delete that still had a number; none was used twice. */
		EACH_HOST(h)
		{
			assert_int_equal(w->host[h].down, 1);
			assert_int_equal(w->host[h].ike_rekeyed, 0);
			assert_int_equal(paper_children(&w->host[h], false, false), 0);
		}
		assert_true(w->host[HOME].last_down.down.why == ENGINE_WHY_DELETED ||
			    w->host[VPS].last_down.down.why == ENGINE_WHY_DELETED);
		world_no_leaks(w);
		world_free(w);
	}
}

static void ike_case_053_no_number_after_the_last(void **s)
{
	struct window w = { .next_in = UINT32_MAX };

	(void)s;
	/* One more would begin again at 0, where old requests would be new. */
	assert_int_equal(window_check_request(&w, UINT32_MAX), WINDOW_STALE);
	assert_int_equal(window_check_request(&w, 0), WINDOW_STALE);
	EACH_HOST(a)
	{
		struct world *x = forge_pair(55);
		unsigned sent = x->host[a].sent;

		wind_on(x, a, UINT32_MAX);
		DO(x, a, engine_liveness(e, now, x->host[a].ike, fx));
		assert_int_equal(x->host[a].sent, sent);
		world_free(x);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    ike_case_048_same_request_gets_the_same_bytes_and_another_one_nothing),
		cmocka_unit_test(ike_case_048_copies_are_answered_a_few_times_in_a_second),
		cmocka_unit_test(ike_case_048_holds_for_ike_sa_init),
		cmocka_unit_test(ike_case_049_ids_out_of_the_window_are_dropped_in_silence),
		cmocka_unit_test(ike_case_050_second_answer_to_a_repeated_request_is_ignored),
		cmocka_unit_test(ike_case_051_a_peer_that_pipelines_is_served_in_order),
		cmocka_unit_test(ike_case_052_an_answer_after_a_minute_of_loss_is_taken),
		cmocka_unit_test(ike_case_053_numbers_near_their_end_rekey_the_ike_sa),
		cmocka_unit_test(ike_case_053_and_close_it_where_that_fails),
		cmocka_unit_test(ike_case_053_no_number_after_the_last),
	};

	log_setup("exchange", LOG_LVL_ERR, 2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
