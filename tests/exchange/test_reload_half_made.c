/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The configuration is read again, with another identity, key or address for the peer, or without it, while an
 * IKE SA is half made: neither side is left with what the other one has given up.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "engine_int.h"
#include "odd.h"
#include "world.h"

static struct engine_peer changed(const struct host *h)
{
	struct engine_peer p = h->peer;

	p.local_auth.key_mark ^= 1; /* its own key is another one */
	return p;
}

static void assert_nothing_of(struct world *w, int host)
{
	assert_null(w->host[host].e->peers->sas);
	assert_int_equal(w->host[host].spis, 0);
}

/* IKE_AUTH has left, and nobody knows whether the peer is up. */
static void a_caller_tells_the_peer_that_may_be_up(void **s)
{
	(void)s;
	for (int answer_lost = 0; answer_lost < 2; answer_lost++) {
		struct world *w = world_new(1, STYLE_PSK);
		struct engine_peer p = changed(&w->host[HOME]);

		w->wire = true;
		odd_until_auth(w);
		if (answer_lost) {
			world_deliver(w, VPS);
			world_lose(w, HOME);
			assert_int_equal(w->host[VPS].up, 1);
		}
		DO(w, HOME, assert_int_equal(0, engine_peer_update(e, now, &p, fx)));
		assert_nothing_of(w, HOME);
		world_run(w, 0);
		assert_int_equal(w->host[VPS].up, 1);
		assert_int_equal(w->host[VPS].down, 1);
		assert_int_equal(w->host[VPS].last_down.down.why, ENGINE_WHY_DELETED);
		world_run(w, AFTER_REPLY_MS + 1000);
		assert_nothing_of(w, VPS);
		/* What it is now is called for anew. */
		world_call(w, HOME);
		world_run(w, 0);
		world_agree(w);
		world_free(w);
	}
}

/* The peer has answered, and its proof is still looked at. */
static void a_caller_that_was_answered_tells_it_too(void **s)
{
	struct world *w = world_new(2, STYLE_PSK);
	struct engine_peer p = changed(&w->host[HOME]);

	(void)s;
	odd_until_auth(w);
	world_deliver(w, VPS);
	w->host[HOME].keys_dead = true;
	world_deliver(w, HOME);
	assert_int_equal(odd_candidate(w, HOME)->state, SA_I_VERIFY);
	DO(w, HOME, assert_int_equal(0, engine_peer_update(e, now, &p, fx)));
	w->host[HOME].keys_dead = false;
	world_run(w, 0);
	assert_int_equal(w->host[VPS].last_down.down.why, ENGINE_WHY_DELETED);
	world_free(w);
}

static void who_is_called_answers_who_waits(void **s)
{
	(void)s;
	for (int removed = 0; removed < 2; removed++) {
		struct world *w = world_new(3, STYLE_PSK);
		struct engine_peer p = changed(&w->host[VPS]);

		w->wire = true;
		odd_until_auth(w);
		w->host[VPS].keys_dead = true;
		world_deliver(w, VPS);
		assert_int_equal(w->flights, 0);
		if (removed)
			DO(w, VPS, engine_peer_remove(e, now, p.id, fx));
		else
			DO(w, VPS, assert_int_equal(0, engine_peer_update(e, now, &p, fx)));
		w->host[VPS].keys_dead = false;
		assert_int_equal(w->flights, 1);
		assert_string_equal(w->flight[0].text, "IKE_AUTH { N(TEMPORARY_FAILURE) }");
		world_deliver(w, HOME);
		assert_int_equal(w->host[HOME].last_failed.failed.why, ENGINE_WHY_REFUSED);
		assert_nothing_of(w, HOME);
		if (!removed) {
			assert_nothing_of(w, VPS);
			world_call(w, HOME);
			world_run(w, 0);
			world_agree(w);
		}
		world_free(w);
	}
}

/* Nothing that was proved or is promised is different: it goes on. */
static void what_does_not_concern_it_lets_it_finish(void **s)
{
	struct world *w = world_new(4, STYLE_PSK);
	struct engine_peer p[2];

	(void)s;
	odd_until_auth(w);
	EACH_HOST(h)
	{
		p[h] = w->host[h].peer;
		p[h].retry_max_ms = 5000;
		DO(w, h, assert_int_equal(0, engine_peer_update(e, now, &p[h], fx)));
	}
	world_run(w, 0);
	world_agree(w);
	assert_int_equal(w->host[HOME].up, 1);
	world_no_leaks(w);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_caller_tells_the_peer_that_may_be_up),
		cmocka_unit_test(a_caller_that_was_answered_tells_it_too),
		cmocka_unit_test(who_is_called_answers_who_waits),
		cmocka_unit_test(what_does_not_concern_it_lets_it_finish),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
