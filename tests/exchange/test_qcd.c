/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Quick crash detection (RFC 6290): who was started anew can prove it, and nobody else can. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "forge.h"
#include "odd.h"

static struct world *pair(uint64_t seed)
{
	struct world *w = world_new(seed, STYLE_PSK);

	world_up(w);
	return w;
}

/* HDR, N(INVALID_IKE_SPI), N(QCD_TOKEN, @token) to @to, as an answer to its request @id. */
static void says_lost(struct world *w, int to, uint32_t id, const uint8_t *token, size_t len)
{
	struct ike_sa *sa = odd_sa_of(w, to);
	struct ike_hdr h = forge_hdr(sa, INFORMATIONAL, true, id);
	struct odd o;

	h.flags ^= IKE_FLAG_INITIATOR;
	odd_begin(&o, &h);
	pld_notify_add(&o.b, INVALID_IKE_SPI, (struct span){ NULL, 0 });
	if (token)
		pld_notify_add_ike(&o.b, QCD_TOKEN, (struct span){ token, len });
	odd_end(&o);
	odd_inject(w, to, &w->host[to].path, &o);
}

/* s2.21.4, RFC 6290. The other is killed and started anew; the first question is answered by the proof. */
static void ike_case_092_who_was_started_anew_proves_it_at_once(void **s)
{
	(void)s;
	for (int dead = 0; dead < 2; dead++)
		for (int rekeyed = 0; rekeyed < 3; rekeyed++) {
			struct world *w = pair(92);
			uint32_t ike;

			if (rekeyed) {
				int by = rekeyed - 1;

				DO(w, by,
				   engine_rekey_ike(e, now, w->host[by].ike, fx));
				world_run(w, 60000);
			}
			ike = w->host[!dead].ike;
			world_restart(w, dead);
			DO(w, !dead, assert_int_equal(0, engine_liveness(e, now, ike, fx)));
			world_run(w, 0);
			assert_int_equal(w->host[!dead].hints, 1);
			assert_int_equal(w->host[!dead].last_hint.reply.ike, ike);
			assert_true(w->host[!dead].last_hint.reply.proved);
			/* Nothing is torn down: the supervisor calls beside it, and that replaces it. */
			assert_int_equal(w->host[!dead].down, 0);
			world_call(w, HOME);
			world_run(w, 60000);
			world_agree(w);
			assert_int_equal(w->host[!dead].last_down.down.replaced, true);
			world_no_leaks(w);
			world_free(w);
		}
}

static void a_token_is_worth_nothing_when_it_is_not_the_peers(void **s)
{
	struct world *w = pair(2);
	struct ike_sa *sa = odd_sa_of(w, HOME);
	uint8_t token[IKE_QCD_TOKEN_MAX + 1] = { 0 };
	size_t len = sa->qcd->len;

	(void)s;
	memcpy(token, sa->qcd->b, len);
	for (size_t bit = 0; bit < 8 * len; bit += 5) {
		token[bit / 8] ^= (uint8_t)(1 << bit % 8);
		says_lost(w, HOME, 7, token, len);
		token[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	for (size_t l = 0; l <= sizeof(token); l++)
		if (l != len)
			says_lost(w, HOME, 7, token, l);
	/* Nor is our own, which the peer has. */
	says_lost(w, HOME, 7, odd_sa_of(w, VPS)->qcd->b, odd_sa_of(w, VPS)->qcd->len);
	assert_int_equal(w->host[HOME].hints, 0);
	says_lost(w, HOME, 7, token, len); /* whatever the message ID: it is the proof that counts */
	assert_int_equal(w->host[HOME].hints, 1);
	says_lost(w, HOME, 7, token, len); /* and that once */
	assert_int_equal(w->host[HOME].hints, 1);
	world_agree(w);
	world_no_leaks(w);
	world_free(w);
}

/* Somebody who saw the SPIs asks with one of them changed: the token of an IKE SA that lives stays secret. */
static void nobody_is_told_the_token_of_an_ike_sa_that_lives(void **s)
{
	struct world *w = pair(3);

	(void)s;
	for (int who = 0; who < 2; who++)
		for (int change = 0; change < 4; change++) {
			struct ike_hdr h = forge_hdr(odd_sa_of(w, !who), INFORMATIONAL, false, 5);
			const struct ike_msg *m;
			uint8_t junk[60] = { 0 };
			struct odd o;

			if (change & 1)
				h.spi_i ^= who == HOME ? 0 : 1;
			if (change & 1)
				h.spi_r ^= who == HOME ? 1 : 0;
			if (change & 2)
				h.flags ^= IKE_FLAG_INITIATOR;
			odd_begin(&o, &h);
			odd_payload(&o, PLD_SK, 0, junk, sizeof(junk));
			odd_end(&o);
			odd_inject(w, who, &w->host[who].path, &o);
			m = w->flights ? odd_answer(w, !who, NULL) : NULL;
			if (!m)
				continue;
			assert_non_null(ike_msg_notify(m, INVALID_IKE_SPI));
			if (!(change & 2))
				assert_null(ike_msg_notify(m, QCD_TOKEN));
		}
	world_agree(w);
	world_no_leaks(w);
	world_free(w);
}

/* s2.4, s2.21.4: whoever says it without a token is not believed, and is answered by nothing at all. */
static void ike_case_093_forged_words_of_loss_end_nothing(void **s)
{
	struct world *w = pair(93);
	unsigned sent = w->host[HOME].sent;
	uint32_t ike = w->host[HOME].ike;

	(void)s;
	for (int i = 0; i < 1000; i++) {
		uint8_t token[16] = { (uint8_t)i };
		struct ike_hdr h = { .spi_i = 1 + (uint64_t)i,
				     .spi_r = 2,
				     .version = IKE_VERSION,
				     .exchange = INFORMATIONAL,
				     .flags = IKE_FLAG_INITIATOR };
		uint8_t spi[4] = { 0, 0, 0x20, 0 };
		struct odd o;

		says_lost(w, HOME, (uint32_t)i % 4, i % 2 ? token : NULL, sizeof(token));
		odd_begin(&o, &h);
		pld_notify_add(&o.b, INVALID_SPI, (struct span){ spi, 4 });
		odd_end(&o);
		odd_inject(w, HOME, &w->host[HOME].path, &o);
		DO(w, HOME,
		   engine_unreachable(e, now, 1, &w->host[HOME].path.remote, fx));
		w->now_ms += 20;
	}
	/* What the supervisor hears are hints at most, and it makes a question of them every 5 s. */
	assert_int_equal(w->host[HOME].sent, sent);
	assert_int_equal(w->host[HOME].ike, ike);
	assert_int_equal(w->host[HOME].down, 0);
	assert_int_equal(w->host[HOME].child_down, 0);
	world_agree(w);
	world_no_leaks(w);
	world_free(w);
}

/* As many answers as a stranger gets, tokens or not. */
static void the_answers_are_bounded(void **s)
{
	struct world *w = pair(4);
	struct ike_hdr h = forge_hdr(odd_sa_of(w, HOME), INFORMATIONAL, false, 5);
	unsigned sent;
	uint8_t junk[60] = { 0 };
	struct odd o;

	(void)s;
	world_restart(w, VPS);
	sent = w->host[VPS].sent;
	odd_begin(&o, &h);
	odd_payload(&o, PLD_SK, 0, junk, sizeof(junk));
	odd_end(&o);
	for (int i = 0; i < 1000; i++)
		odd_inject(w, VPS, &w->host[VPS].path, &o);
	assert_in_range(w->host[VPS].sent - sent, 1, 10);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ike_case_092_who_was_started_anew_proves_it_at_once),
		cmocka_unit_test(a_token_is_worth_nothing_when_it_is_not_the_peers),
		cmocka_unit_test(nobody_is_told_the_token_of_an_ike_sa_that_lives),
		cmocka_unit_test(ike_case_093_forged_words_of_loss_end_nothing),
		cmocka_unit_test(the_answers_are_bounded),
	};

	log_setup("qcd", LOG_LVL_ERR, 2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
