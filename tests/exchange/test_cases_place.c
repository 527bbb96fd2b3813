/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Cases 46 and 47: exchanges that have no place yet, or none any more (RFC 7296 s1.2; RFC 9242 s3.1; RFC 9370
 * s2.2.4).
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "forge.h"
#include "engine_int.h"

/* The SA of @host that is between IKE_SA_INIT and the end of IKE_AUTH. */
static struct ike_sa *candidate(struct world *w, int host)
{
	struct engine *e = w->host[host].e;

	for (struct ike_sa *sa = e->peers->sas; sa; sa = sa->peer_next)
		if (sa->state == SA_I_AUTH)
			return sa;
	return NULL;
}

/* What somebody with the keys of a half-open SA could ask for, before he has proved anything. */
static unsigned early(uint8_t exchange, struct chain *out)
{
	static const uint8_t delete_ike[] = { 1, 0, 0, 0 };
	static const uint8_t refused[] = { 0, 0, 0, AUTHENTICATION_FAILED };
	static const uint8_t nonce[32] = { 7 };
	static const uint8_t any[16] = { 1, 0, 0, 0, 7, 0, 0, 16, 0, 0, 255, 255 };

	memset(out, 0, 4 * sizeof(*out));
	if (exchange == CREATE_CHILD_SA) {
		chain_add(&out[0], PLD_NONCE, nonce, sizeof(nonce));
		chain_add(&out[0], PLD_TSI, any, sizeof(any));
		return 1;
	}
	chain_add(&out[1], PLD_DELETE, delete_ike, sizeof(delete_ike));
	chain_add(&out[2], PLD_NOTIFY, refused, sizeof(refused));
	return 3; /* the first: empty, proof of life */
}

static void before_auth(int who, const uint8_t *exchanges, size_t count)
{
	struct world *w = world_new(46, STYLE_PSK);
	static struct chain c[4];
	struct ike_sa *sa;
	unsigned flying;

	world_start(w);
	world_call(w, HOME);
	assert_true(world_deliver(w, VPS) && world_deliver(w, HOME));
	sa = candidate(w, HOME);
	assert_non_null(sa);
	/* HDR, SK {IDi, ... AUTH} is on its way to the VPS. */
	flying = w->flights;
	for (size_t x = 0; x < count; x++)
		for (int response = 0; response < 2; response++)
			for (uint32_t id = 0; id < 3; id++) {
				unsigned n = early(exchanges[x], c);

				for (unsigned i = 0; i < n; i++) {
					struct ike_hdr h =
					    forge_hdr(sa, exchanges[x], response, id);

					if (who == VPS)
						h.flags ^= IKE_FLAG_INITIATOR;
					forge_inject(w, !who, sa, &h, &c[i]);
				}
			}
	EACH_HOST(a)
	{
		assert_int_equal(w->host[a].up + w->host[a].down + w->host[a].failed, 0);
		assert_int_equal(w->host[a].replies, 0);
	}
	assert_int_equal(w->flights, flying); /* no answer either */
	world_run(w, 0);
	world_agree(w);
	assert_int_equal(w->host[HOME].unanswered, 0);
	world_no_leaks(w);
	world_free(w);
}

static void ike_case_046_nothing_but_ike_auth_before_auth_is_complete(void **s)
{
	static const uint8_t exchanges[] = { CREATE_CHILD_SA, INFORMATIONAL };

	(void)s;
	EACH_HOST(who)
	before_auth(who, exchanges, 2);
}

static unsigned rejected;

static bool note_rejection(struct world *w, struct chain *c, struct ike_hdr *h, void *arg)
{
	(void)w;
	rejected = c->n == 1 && chain_notify(c, *(uint16_t *)arg) ? h->exchange : 0;
	return false;
}

static void ike_case_047_intermediate_and_followup_out_of_place_are_rejected(void **s)
{
	static const uint8_t exchanges[] = { IKE_INTERMEDIATE, IKE_FOLLOWUP_KE };
	static const uint8_t link[] = {
		0, 0, 0x40, 0x39, 1, 2, 3, 4
	}; /* ADDITIONAL_KEY_EXCHANGE */
	uint16_t notifies[] = { INVALID_SYNTAX, STATE_NOT_FOUND };

	(void)s;
	EACH_HOST(who)
	before_auth(who, exchanges, 2);
	EACH_HOST(who)
	for (int i = 0; i < 2; i++) {
		struct forgery f = { .from = !who,
				     .exchange = exchanges[i],
				     .response = true,
				     .edit = note_rejection,
				     .arg = &notifies[i] };
		struct world *w = world_new(47, STYLE_PSK);
		static struct chain c;
		struct ike_sa *sa;
		struct ike_hdr h;

		world_up(w);
		w->filter = forge_filter;
		w->filter_arg = &f;
		sa = sa_by_handle(w->host[who].e, w->host[who].ike);
		memset(&c, 0, sizeof(c));
		chain_add(&c, PLD_NOTIFY, link, sizeof(link));
		/* A response of that kind answers nothing. */
		h = forge_hdr(sa, exchanges[i], true, sa->win.next_in);
		forge_inject(w, !who, sa, &h, &c);
		assert_int_equal(w->flights, 0);
		rejected = 0;
		h = forge_hdr(sa, exchanges[i], false, sa->win.next_out);
		forge_inject(w, !who, sa, &h, &c);
		assert_int_equal(rejected, exchanges[i]);
		world_run(w, 0);
		w->filter = NULL;
		if (i == 0) { /* that is fatal (RFC 7296 s2.21.3) */
			assert_int_equal(w->host[!who].down, 1);
			assert_int_equal(w->host[!who].last_down.down.why, ENGINE_WHY_PROTOCOL);
		} else { /* this was a message like any other: the next number is the next */
			sa->win.next_out++;
			DO(w, who,
			   assert_int_equal(0, engine_liveness(e, now, w->host[who].ike, fx)));
			world_run(w, 0);
			assert_int_equal(w->host[who].replies, 1);
			world_agree(w);
		}
		world_no_leaks(w);
		world_free(w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ike_case_046_nothing_but_ike_auth_before_auth_is_complete),
		cmocka_unit_test(ike_case_047_intermediate_and_followup_out_of_place_are_rejected),
	};

	log_setup("exchange", LOG_LVL_ERR, 2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
