/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Cases 4 to 8 and 16: what the IKE header and the frame of a payload chain may say. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "odd.h"

static struct odd f;

static struct engine_counters counters(struct world *w, int host)
{
	struct engine_counters n;

	engine_counters_get(w->host[host].e, &n);
	return n;
}

/* Nothing came back and nothing was made of it. */
static void dropped(struct world *w, int host, unsigned ikes)
{
	assert_int_equal(world_in_flight(w, !host), 0);
	assert_int_equal(counters(w, host).ike_sas, ikes);
	assert_int_equal(counters(w, host).half_open, 0);
}

/* <-- SAr1, KEr, Nr */
static void answered_with_keys(struct world *w)
{
	const struct ike_msg *m = odd_answer(w, HOME, NULL);

	assert_non_null(m);
	assert_int_equal(m->hdr.exchange, IKE_SA_INIT);
	assert_int_equal(m->hdr.flags, IKE_FLAG_RESPONSE);
	assert_int_equal(m->hdr.version, IKE_VERSION);
	assert_true(m->sa.p && m->ke.data && m->nonce.p);
}

static void over(struct world *w)
{
	world_run(w, 60000);
	world_no_leaks(w);
	world_free(w);
}

static void be32_put(uint8_t *at, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		at[i] = (uint8_t)(v >> (24 - 8 * i));
}

/* RFC 7296 s3.1: Length is of the whole message. */
static void ike_case_004_a_length_that_is_not_the_datagrams_is_dropped(void **s)
{
	static const int64_t off[] = { -1, 1, -28, 1000, -100000 };
	struct world *w = world_new(4, STYLE_PSK);
	struct engine_path p = odd_stranger(1);
	struct taped {
		uint8_t b[2048];
		size_t len;
	} live;

	(void)s;
	world_start(w);
	odd_init(&f, 1);
	odd_rest(&f);
	odd_end(&f);
	for (size_t i = 0; i < sizeof(off) / sizeof(*off); i++) {
		int64_t v = off[i] == -100000 ? UINT32_MAX : (int64_t)f.len + off[i];

		be32_put(f.buf + 24, (uint32_t)v);
		odd_inject(w, VPS, &p, &f);
		dropped(w, VPS, 0);
	}
	assert_int_equal(counters(w, VPS).in_malformed, sizeof(off) / sizeof(*off));
	/* Cut and with trailing bytes: the header is true, the datagram is not. */
	be32_put(f.buf + 24, (uint32_t)f.len);
	world_inject(w, VPS, &p, f.buf, f.len - 1);
	world_inject(w, VPS, &p, f.buf, f.len + 1);
	world_inject(w, VPS, &p, f.buf, 28);
	dropped(w, VPS, 0);
	odd_inject(w, VPS, &p, &f);
	answered_with_keys(w);
	/* The same under the keys of an SA: it neither answers nor moves. */
	world_run(w, 60000);
	world_call(w, HOME);
	world_run(w, 0);
	world_agree(w);
	DO(w, HOME, assert_int_equal(0, engine_liveness(e, now, w->host[HOME].ike, fx)));
	live.len = w->flight[0].len;
	memcpy(live.b, w->flight[0].bytes, live.len);
	world_lose(w, VPS);
	for (size_t i = 0; i < sizeof(off) / sizeof(*off); i++) {
		be32_put(live.b + 24, (uint32_t)((int64_t)live.len + off[i]));
		world_inject(w, VPS, &w->host[VPS].path, live.b, live.len);
		dropped(w, VPS, 1);
	}
	world_run(w, 5000);
	world_agree(w);
	over(w);
}

/* Where a payload's own length stands is the last thing that f holds: its body has @len bytes. */
static void spoil_last(size_t len, uint16_t length)
{
	uint8_t *at = f.buf + f.len - len - 2;

	at[0] = (uint8_t)(length >> 8);
	at[1] = (uint8_t)length;
}

static const uint16_t wrong_lengths[] = { 0, 1, 2, 3, 5, 13, 0x7fff, 0xffff };

static void syntax_errors_of_strangers_are_dropped(void)
{
	struct world *w = world_new(5, STYLE_PSK);
	struct engine_path p = odd_stranger(1);

	world_start(w);
	odd_init(&f, 1);
	odd_rest(&f);
	pld_vendor_add(&f.b, (struct span){ "12345678", 8 });
	odd_end(&f);
	for (size_t i = 0; i < sizeof(wrong_lengths) / sizeof(*wrong_lengths); i++) {
		spoil_last(8, wrong_lengths[i]);
		odd_inject(w, VPS, &p, &f);
		dropped(w, VPS, 0);
	}
	spoil_last(8, 12);
	f.buf[f.len - 12] = PLD_NOTIFY; /* the chain goes on where the message ends */
	odd_inject(w, VPS, &p, &f);
	dropped(w, VPS, 0);
	f.buf[f.len - 12] = PLD_NONE;
	odd_inject(w, VPS, &p, &f);
	answered_with_keys(w);
	over(w);
}

/* Of a chain under the keys of an SA: INVALID_SYNTAX, which is fatal on both sides (s2.21.3). */
static void syntax_error_of_the_peer(uint16_t length, uint8_t next)
{
	struct world *w = world_new(5, STYLE_PSK);
	struct ike_sa *home;

	world_up(w);
	home = odd_sa_of(w, HOME);
	odd_inner(&f);
	pld_vendor_add(&f.b, (struct span){ "12345678", 8 });
	odd_end(&f);
	spoil_last(8, length);
	f.buf[0] = next;
	odd_request(w, HOME, INFORMATIONAL, &f);
	assert_true(odd_notify_only(odd_answer(w, HOME, home), INVALID_SYNTAX));
	assert_int_equal(w->host[VPS].down, 1);
	assert_int_equal(w->host[VPS].last_down.down.why, ENGINE_WHY_PROTOCOL);
	assert_int_equal(counters(w, VPS).child_sas, 0);
	/* Nothing more is answered on it, but its last answer to the same bytes again. */
	odd_inner(&f);
	odd_request(w, HOME, INFORMATIONAL, &f);
	assert_int_equal(world_in_flight(w, HOME), 0);
	over(w);
}

/* The peer tells us INVALID_SYNTAX: our request was the last thing on this IKE SA. */
static void a_syntax_error_of_ours_ends_the_sa_too(void)
{
	struct world *w = world_new(5, STYLE_PSK);

	world_up(w);
	DO(w, HOME, assert_int_equal(0, engine_liveness(e, now, w->host[HOME].ike, fx)));
	world_lose(w, VPS);
	odd_inner(&f);
	pld_notify_add(&f.b, INVALID_SYNTAX, (struct span){ NULL, 0 });
	odd_response(w, VPS, &f);
	assert_int_equal(w->host[HOME].down, 1);
	assert_int_equal(w->host[HOME].last_down.down.why, ENGINE_WHY_PROTOCOL);
	assert_int_equal(w->host[HOME].failed, 1);
	assert_int_equal(world_in_flight(w, VPS), 0);
	over(w);
}

/* RFC 7296 s2.21.1, s2.21.3: told only to who holds the keys. */
static void ike_case_005_a_broken_chain_is_told_only_to_who_is_authenticated(void **s)
{
	(void)s;
	syntax_errors_of_strangers_are_dropped();
	for (size_t i = 0; i < sizeof(wrong_lengths) / sizeof(*wrong_lengths); i++)
		syntax_error_of_the_peer(wrong_lengths[i], PLD_NONE);
	syntax_error_of_the_peer(12, PLD_NOTIFY);
	a_syntax_error_of_ours_ends_the_sa_too();
}

/* RFC 7296 s2.5: one unprotected notify in our version, and not too many of them. */
static void ike_case_006_a_higher_major_version_is_told_and_its_answers_are_dropped(void **s)
{
	struct world *w = world_new(6, STYLE_PSK);
	struct engine_path p = odd_stranger(1);
	const struct ike_msg *m;

	(void)s;
	world_start(w);
	odd_begin(&f, &(struct ike_hdr){ .spi_i = 0x1122334455667788,
					 .spi_r = 9,
					 .version = 0x30,
					 .exchange = INFORMATIONAL,
					 .flags = IKE_FLAG_INITIATOR,
					 .id = 5 });
	odd_payload(&f, 200, 0x80, "what version 3 has", 18);
	odd_end(&f);
	odd_inject(w, VPS, &p, &f);
	m = odd_answer(w, HOME, NULL);
	assert_true(odd_notify_only(m, INVALID_MAJOR_VERSION));
	assert_int_equal(m->hdr.version, IKE_VERSION);
	assert_int_equal(m->hdr.flags, IKE_FLAG_RESPONSE);
	assert_int_equal(m->hdr.exchange, INFORMATIONAL);
	assert_int_equal(m->hdr.id, 5);
	assert_true(m->hdr.spi_i == 0x1122334455667788 && m->hdr.spi_r == 9);
	for (int i = 0; i < 1000; i++)
		odd_inject(w, VPS, &p, &f);
	assert_in_range(world_in_flight(w, HOME), 1, 20);
	while (world_lose(w, HOME))
		;
	w->now_ms += 1000;
	odd_inject(w, VPS, &p, &f);
	assert_true(odd_notify_only(odd_answer(w, HOME, NULL), INVALID_MAJOR_VERSION));
	/* Version 15 too; a response, of whatever version, is never answered. */
	f.buf[17] = 0xf0;
	odd_inject(w, VPS, &p, &f);
	assert_true(odd_notify_only(odd_answer(w, HOME, NULL), INVALID_MAJOR_VERSION));
	f.buf[19] |= IKE_FLAG_RESPONSE;
	odd_inject(w, VPS, &p, &f);
	dropped(w, VPS, 0);
	over(w);
}

/* RFC 7296 s2.5: a higher minor version is for the other side to make do with. */
static void ike_case_007_a_higher_minor_version_is_read_as_ours(void **s)
{
	struct world *w = world_new(7, STYLE_PSK);
	struct engine_path p = odd_stranger(1);
	struct ike_sa *home;
	const struct ike_msg *m;

	(void)s;
	world_up(w);
	odd_begin(&f, &(struct ike_hdr){ .spi_i = 1,
					 .version = 0x2f,
					 .exchange = IKE_SA_INIT,
					 .flags = IKE_FLAG_INITIATOR });
	odd_rest(&f);
	odd_end(&f);
	odd_inject(w, VPS, &p, &f);
	answered_with_keys(w);
	home = odd_sa_of(w, HOME);
	odd_inner(&f);
	odd_seal(w, HOME,
		 (struct ike_hdr){ .version = 0x21,
				   .exchange = INFORMATIONAL,
				   .flags = IKE_FLAG_INITIATOR,
				   .id = odd_sa_of(w, VPS)->win.next_in },
		 &f);
	m = odd_answer(w, HOME, home);
	assert_non_null(m);
	assert_int_equal(m->n_payloads, 0);
	assert_int_equal(m->hdr.version, IKE_VERSION);
	over(w);
}

/* Of each payload, of SA down to its attributes: every bit that RFC 7296 calls reserved. */
static void set_reserved(uint8_t *at, size_t len, uint8_t type)
{
	while (type != PLD_NONE) {
		uint8_t next = at[0];
		size_t n = (size_t)(at[2] << 8 | at[3]);

		assert_true(n >= 4 && n <= len);
		at[1] |= 0x7f;
		if (type == PLD_KE)
			at[6] = at[7] = 0xff;
		if (type == PLD_TSI || type == PLD_TSR || type == PLD_CP || type == PLD_AUTH)
			memset(at + 5, 0xff, 3);
		for (size_t p = 4; type == PLD_SA && p < n;) { /* proposals */
			size_t end = p + (size_t)(at[p + 2] << 8 | at[p + 3]);

			at[p + 1] = 0xff;
			for (size_t t = p + 8 + at[p + 6]; t < end;) { /* transforms */
				at[t + 1] = at[t + 5] = 0xff;
				t += (size_t)(at[t + 2] << 8 | at[t + 3]);
			}
			p = end;
		}
		at += n;
		len -= n;
		type = next;
	}
}

static void spoil(struct odd *out, uint8_t type, uint8_t flags, struct span body, const void *arg)
{
	size_t at = out->b.w.len;

	odd_keep(out, type, flags, body, arg);
	if (type)
		set_reserved(out->buf + at, out->b.w.len - at, type);
}

static void ike_case_008_reserved_bits_are_ignored(void **s)
{
	struct world *w = world_new(8, STYLE_PSK);
	struct engine_path p = odd_stranger(1);

	(void)s;
	world_start(w);
	odd_init(&f, 1);
	odd_rest(&f);
	pld_vendor_add(&f.b, (struct span){ "x", 1 });
	odd_end(&f);
	f.buf[19] |= 0xc7 | IKE_FLAG_VERSION; /* V says that the sender could do more (s3.1) */
	set_reserved(f.buf + 28, f.len - 28, f.buf[16]);
	odd_inject(w, VPS, &p, &f);
	answered_with_keys(w);
	world_free(w);

	w = world_new(8, STYLE_PSK);
	odd_until_auth(w);
	odd_change(w, VPS, odd_candidate(w, HOME), spoil, NULL);
	world_run(w, 0);
	world_agree(w);
	over(w);
}

struct header {
	const char *what;
	struct ike_hdr h;
};

/* RFC 7296 s3.1, s2.2: none of these can be the start of anything, or an answer to it. */
static void ike_case_016_headers_that_cannot_be_are_dropped(void **s)
{
	static const struct header odd[] = {
		{ "I and R", { .exchange = IKE_SA_INIT, .flags = 0x28 } },
		{ "R without request", { .exchange = IKE_SA_INIT, .flags = 0x20, .spi_r = 7 } },
		{ "neither I nor R", { .exchange = IKE_SA_INIT } },
		{ "message ID", { .exchange = IKE_SA_INIT, .flags = 8, .id = 1 } },
		{ "SPIr in a request", { .exchange = IKE_SA_INIT, .flags = 8, .spi_r = 7 } },
		{ "exchange 0", { .exchange = 0, .flags = 8, .spi_r = 7 } },
		{ "exchange 33", { .exchange = 33, .flags = 8, .spi_r = 7 } },
		{ "GSA_AUTH", { .exchange = 39, .flags = 8, .spi_r = 7 } },
		{ "exchange 255", { .exchange = 255, .flags = 8, .spi_r = 7 } },
		{ "IKEv1 main mode", { .exchange = 2, .version = 0x10 } },
		{ "IKEv1 aggressive mode", { .exchange = 4, .version = 0x10 } },
		{ "IKEv1 with our exchange",
		  { .exchange = IKE_SA_INIT, .version = 0x10, .flags = 8 } },
		{ "IKEv1 with SPIs", { .exchange = 5, .version = 0x10, .spi_r = 7 } },
		{ "IKE_AUTH without SPIr", { .exchange = IKE_AUTH, .flags = 8, .id = 1 } },
	};
	struct world *w = world_new(16, STYLE_PSK);
	struct engine_path p = odd_stranger(1);

	(void)s;
	world_up(w);
	for (size_t i = 0; i < sizeof(odd) / sizeof(*odd); i++) {
		struct ike_hdr h = odd[i].h;

		h.spi_i = 1 + i;
		EACH_HOST(a)
		{
			odd_begin(&f, &h);
			odd_rest(&f);
			odd_end(&f);
			odd_inject(w, a, &p, &f);
			if (world_in_flight(w, !a))
				fail_msg("%s is answered", odd[i].what);
			dropped(w, a, 1);
		}
	}
	/* With the SPIs of an SA that is up, but nobody asked, or not in this exchange. */
	EACH_HOST(a)
	{
		struct ike_hdr h = { .exchange = INFORMATIONAL, .flags = IKE_FLAG_RESPONSE };

		h.flags |= a == HOME ? IKE_FLAG_INITIATOR : 0;
		h.id = odd_sa_of(w, !a)->win.next_out;
		odd_inner(&f);
		odd_seal(w, a, h, &f);
		dropped(w, !a, 1);
		DO(w, !a, assert_int_equal(0, engine_liveness(e, now, w->host[!a].ike, fx)));
		world_lose(w, a);
		h.exchange = CREATE_CHILD_SA;
		odd_inner(&f);
		odd_seal(w, a, h, &f);
		assert_true(odd_sa_of(w, !a)->win.outstanding);
		world_run(w, 5000);
		assert_false(odd_sa_of(w, !a)->win.outstanding);
	}
	world_agree(w);
	over(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ike_case_004_a_length_that_is_not_the_datagrams_is_dropped),
		cmocka_unit_test(ike_case_005_a_broken_chain_is_told_only_to_who_is_authenticated),
		cmocka_unit_test(
		    ike_case_006_a_higher_major_version_is_told_and_its_answers_are_dropped),
		cmocka_unit_test(ike_case_007_a_higher_minor_version_is_read_as_ours),
		cmocka_unit_test(ike_case_008_reserved_bits_are_ignored),
		cmocka_unit_test(ike_case_016_headers_that_cannot_be_are_dropped),
	};

	log_setup("exchange", LOG_LVL_ERR, 2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
