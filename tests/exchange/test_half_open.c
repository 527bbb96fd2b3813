/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Between IKE_SA_INIT and IKE_AUTH: what it costs us, and what does not end it. */
#include <malloc.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "world.h"
#include "engine_int.h"

/* The linker puts this before the real one. */
int __real_dh_shared(const struct dh *dh, const void *peer, size_t len, struct secret *out);
int __wrap_dh_shared(const struct dh *dh, const void *peer, size_t len, struct secret *out);

static unsigned dh_done;

int __wrap_dh_shared(const struct dh *dh, const void *peer, size_t len, struct secret *out)
{
	dh_done++;
	return __real_dh_shared(dh, peer, len, out);
}

static struct engine_counters counters(struct world *w)
{
	struct engine_counters n;

	engine_counters_get(w->host[VPS].e, &n);
	return n;
}

/* ---- callers ---- */

struct offer {
	uint8_t type;
	uint16_t id, bits;
};

/*
 * What strongSwan 5.9 offers when nothing is configured: one proposal of classic ciphers, one of
 * combined ones, each with all that its plugins bring (libstrongswan/crypto/proposal/proposal.c).
 */
static const struct offer strongswan_classic[] = {
	{ 1, 12, 128 }, { 1, 12, 192 }, { 1, 12, 256 }, { 1, 23, 128 }, { 1, 23, 192 },
	{ 1, 23, 256 }, { 1, 13, 128 }, { 1, 13, 192 }, { 1, 13, 256 }, { 1, 3, 0 },
	{ 3, 12, 0 },	{ 3, 13, 0 },	{ 3, 14, 0 },	{ 3, 2, 0 },	{ 3, 5, 0 },
	{ 3, 8, 0 },	{ 2, 5, 0 },	{ 2, 6, 0 },	{ 2, 7, 0 },	{ 2, 4, 0 },
	{ 2, 8, 0 },	{ 2, 2, 0 },	{ 4, 31, 0 },	{ 4, 19, 0 },	{ 4, 20, 0 },
	{ 4, 21, 0 },	{ 4, 28, 0 },	{ 4, 29, 0 },	{ 4, 30, 0 },	{ 4, 32, 0 },
	{ 4, 15, 0 },	{ 4, 16, 0 },	{ 4, 17, 0 },	{ 4, 18, 0 },	{ 4, 14, 0 },
};
static const struct offer strongswan_aead[] = {
	{ 1, 20, 128 }, { 1, 20, 192 }, { 1, 20, 256 }, { 1, 19, 128 }, { 1, 19, 192 },
	{ 1, 19, 256 }, { 1, 18, 128 }, { 1, 18, 192 }, { 1, 18, 256 }, { 1, 16, 128 },
	{ 1, 16, 192 }, { 1, 16, 256 }, { 1, 15, 128 }, { 1, 15, 192 }, { 1, 15, 256 },
	{ 1, 14, 128 }, { 1, 14, 192 }, { 1, 14, 256 }, { 1, 28, 0 },	{ 2, 5, 0 },
	{ 2, 6, 0 },	{ 2, 7, 0 },	{ 2, 4, 0 },	{ 2, 8, 0 },	{ 2, 2, 0 },
	{ 4, 31, 0 },	{ 4, 19, 0 },	{ 4, 20, 0 },	{ 4, 21, 0 },	{ 4, 28, 0 },
	{ 4, 29, 0 },	{ 4, 30, 0 },	{ 4, 32, 0 },	{ 4, 15, 0 },	{ 4, 16, 0 },
	{ 4, 17, 0 },	{ 4, 18, 0 },	{ 4, 14, 0 },
};

static void put_proposal(struct wr *w, uint8_t number, bool last, const struct offer *o, size_t n)
{
	size_t at;

	wr_u8(w, last ? 0 : 2);
	wr_u8(w, 0);
	at = wr_len16_begin(w);
	wr_u8(w, number);
	wr_u8(w, PROTO_IKE);
	wr_u8(w, 0);
	wr_u8(w, (uint8_t)n);
	for (size_t i = 0; i < n; i++) {
		wr_u8(w, i + 1 < n ? 3 : 0);
		wr_u8(w, 0);
		wr_be16(w, o[i].bits ? 12 : 8);
		wr_u8(w, o[i].type);
		wr_u8(w, 0);
		wr_be16(w, o[i].id);
		if (o[i].bits) {
			wr_be16(w, 0x800e);
			wr_be16(w, o[i].bits);
		}
	}
	wr_patch16(w, at, (uint16_t)(w->len - at + 2));
}

/* HDR, [N(COOKIE),] SA, KE, No, N(NATD_S), N(NATD_D), N(FRAG_SUP), N(HASH_ALG), N(REDIR_SUP) --> */
static size_t strongswan_init(uint8_t *out, size_t cap, uint64_t spi, uint16_t group,
			      const uint8_t *cookie, size_t cookie_len)
{
	struct ike_hdr h = { .spi_i = spi,
			     .version = IKE_VERSION,
			     .exchange = IKE_SA_INIT,
			     .flags = IKE_FLAG_INITIATOR };
	static uint8_t random[32 + 20 + 20]; /* with a cookie the nonce is the one before */
	struct ike_build b;
	struct dh *dh;
	struct wr *w;
	size_t len;

	assert_int_equal(0, dh_new(group, &dh));
	if (!cookie_len)
		assert_int_equal(0, secret_random(random, sizeof(random)));
	ike_build_begin(&b, out, cap, &h);
	if (cookie_len)
		pld_notify_add(&b, COOKIE, (struct span){ cookie, cookie_len });
	w = ike_pld_begin(&b, PLD_SA);
	put_proposal(w, 1, false, strongswan_classic,
		     sizeof(strongswan_classic) / sizeof(*strongswan_classic));
	put_proposal(w, 2, true, strongswan_aead,
		     sizeof(strongswan_aead) / sizeof(*strongswan_aead));
	ike_pld_end(&b);
	pld_ke_add(&b, group, dh_public(dh));
	pld_nonce_add(&b, (struct span){ random, 32 });
	pld_notify_add(&b, NAT_DETECTION_SOURCE_IP, (struct span){ random + 32, 20 });
	pld_notify_add(&b, NAT_DETECTION_DESTINATION_IP, (struct span){ random + 52, 20 });
	pld_notify_add(&b, IKEV2_FRAGMENTATION_SUPPORTED, (struct span){ NULL, 0 });
	pld_notify_add(&b, SIGNATURE_HASH_ALGORITHMS,
		       (struct span){ (uint8_t[]){ 0, 2, 0, 3, 0, 4, 0, 5 }, 8 });
	pld_notify_add(&b, 16406, (struct span){ NULL, 0 }); /* REDIRECT_SUPPORTED */
	dh_free(dh);
	assert_int_equal(0, ike_build_end(&b, &len));
	return len;
}

static struct engine_path from(unsigned i)
{
	struct engine_path p = { .sock = 3 };

	endpoint_parse("192.0.2.1:4500", 0, &p.local);
	endpoint_parse("10.0.0.1:1024", 0, &p.remote);
	p.remote.addr.b[1] = (uint8_t)(i >> 8);
	p.remote.addr.b[2] = (uint8_t)i;
	return p;
}

/* One IKE_SA_INIT like strongSwan's, twice if a cookie is asked for. */
static void strongswan_calls(struct world *w, unsigned i, uint16_t group)
{
	struct engine_path p = from(i);
	static struct ike_msg m;
	uint8_t buf[4096], cookie[IKE_COOKIE_MAX];
	size_t len;

	world_inject(w, VPS, &p, buf, strongswan_init(buf, sizeof(buf), 1000 + i, group, NULL, 0));
	if (!w->flights)
		return;
	assert_int_equal(0, ike_msg_parse(w->flight[0].bytes, w->flight[0].len, &m));
	if (ike_msg_notify(&m, COOKIE)) {
		len = ike_msg_notify(&m, COOKIE)->len;
		memcpy(cookie, ike_msg_notify(&m, COOKIE)->data, len);
		world_lose(w, HOME);
		world_inject(w, VPS, &p, buf,
			     strongswan_init(buf, sizeof(buf), 1000 + i, group, cookie, len));
	}
	world_lose(w, HOME);
}

static size_t heap_of(const struct world *w)
{
	size_t n = 0;

	for (struct half_open *ho = w->host[VPS].e->half_first; ho; ho = ho->next)
		n += malloc_usable_size(ho);
	return n;
}

/* ---- what an entry costs ---- */

static const uint16_t small_groups[] = { KE_CURVE25519, KE_ECP_256, KE_ECP_384, KE_ECP_521 };

static void an_entry_is_at_most_1_kib_for_our_own_caller(void **s)
{
	(void)s;
	for (size_t i = 0; i < sizeof(small_groups) / sizeof(*small_groups); i++) {
		struct world *w = world_new(1 + i, STYLE_PSK);
		struct proposal *p = &w->host[HOME].ike_ps.p[0];
		unsigned n = 0;

		/* The group to begin with comes first; the others are offered too. */
		for (unsigned k = 0; k < p->count; k++)
			if (p->t[k].type == TRANSFORM_KE && !n++)
				p->t[k].id = small_groups[i];
			else if (p->t[k].type == TRANSFORM_KE && p->t[k].id == small_groups[i])
				p->t[k].id = KE_CURVE25519;
		world_start(w);
		world_call(w, HOME);
		assert_true(world_deliver(w, VPS));
		assert_int_equal(counters(w).half_open, 1);
		assert_int_equal(w->host[VPS].e->half_first->suite.ke, small_groups[i]);
		assert_in_range(heap_of(w), 300, HALF_OPEN_BYTES);
		world_run(w, 0);
		world_agree(w);
		world_no_leaks(w);
		world_free(w);
	}
}

static void an_entry_is_at_most_1_kib_for_strongswan_with_its_defaults(void **s)
{
	struct world *w = world_new(5, STYLE_PSK);
	uint8_t buf[4096];

	(void)s;
	assert_true(strongswan_init(buf, sizeof(buf), 1, KE_CURVE25519, NULL, 0) > 900);
	world_start(w);
	for (unsigned i = 0; i < 200; i++) {
		strongswan_calls(w, i, small_groups[i % 3]);
		assert_int_equal(counters(w).half_open, i + 1);
	}
	/* P-521 is twice 132 bytes that nothing packs: with all those proposals that is too much by a little. */
	/* Random public values pack by a few bytes more or less: an entry in many passes the line by one step. */
	assert_in_range(w->host[VPS].e->half_excess, 0, 200 * 2);
	strongswan_calls(w, 200, KE_ECP_521);
	assert_in_range(w->host[VPS].e->half_excess, 0, 200 * 2 + 128);
	world_run(w, HALF_OPEN_MS + 1000);
	assert_int_equal(counters(w).half_open, 0);
	assert_int_equal(w->host[VPS].e->half_excess, 0);
	world_no_leaks(w);
	world_free(w);
}

static void what_is_larger_comes_out_of_one_budget(void **s)
{
	struct world *w = world_new(6, STYLE_PSK);
	unsigned i;

	(void)s;
	world_start(w);
	for (i = 0; i < 4000 && !counters(w).half_open_refused; i++)
		strongswan_calls(w, i, KE_MODP_4096);
	assert_in_range(counters(w).half_open, 256, 3999);
	assert_true(heap_of(w) <=
		    counters(w).half_open * (size_t)HALF_OPEN_BYTES + HALF_OPEN_EXCESS_MAX);
	/* Those that need no more than their share still come in. */
	world_call(w, HOME);
	world_run(w, 1000);
	world_agree(w);
	world_run(w, HALF_OPEN_MS + 1000);
	assert_int_equal(counters(w).half_open, 0);
	strongswan_calls(w, 9, KE_MODP_4096);
	assert_int_equal(counters(w).half_open, 1);
	world_run(w, HALF_OPEN_MS + 1000);
	world_no_leaks(w);
	world_free(w);
}

/* ---- what does not end it ---- */

static void an_init_alone_makes_no_shared_secret_and_its_copy_gets_the_same_answer(void **s)
{
	struct world *w = world_new(7, STYLE_PSK);
	uint8_t buf[4096], answer[2048];
	struct engine_path p = from(0);
	size_t len, answer_len;

	(void)s;
	world_start(w);
	dh_done = 0;
	len = strongswan_init(buf, sizeof(buf), 77, KE_CURVE25519, NULL, 0);
	world_inject(w, VPS, &p, buf, len);
	assert_int_equal(w->flights, 1);
	answer_len = w->flight[0].len;
	memcpy(answer, w->flight[0].bytes, answer_len);
	world_lose(w, HOME);
	for (int i = 0; i < 5; i++) {
		world_inject(w, VPS, &p, buf, len);
		assert_int_equal(w->flights, 1);
		assert_int_equal(w->flight[0].len, answer_len);
		assert_memory_equal(w->flight[0].bytes, answer, answer_len);
		world_lose(w, HOME);
	}
	/* Another one under the same SPI from the same place gets nothing. */
	world_inject(w, VPS, &p, buf,
		     strongswan_init(buf, sizeof(buf), 77, KE_CURVE25519, NULL, 0));
	assert_int_equal(w->flights, 0);
	assert_int_equal(counters(w).half_open, 1);
	assert_int_equal(dh_done, 0);
	world_run(w, HALF_OPEN_MS + 1000);
	world_no_leaks(w);
	world_free(w);
}

static void garbage_for_ike_auth_costs_one_dh_and_ends_nothing(void **s)
{
	struct world *w = world_new(8, STYLE_PSK);
	struct flight f;
	uint8_t *bad;

	(void)s;
	world_start(w);
	world_call(w, HOME);
	assert_true(world_deliver(w, VPS));  /* HDR, SAi1, KEi, Ni --> */
	assert_true(world_deliver(w, HOME)); /* <-- HDR, SAr1, KEr, Nr */
	assert_int_equal(world_in_flight(w, VPS), 1);
	f = w->flight[0];
	bad = malloc(f.len);
	dh_done = 0;
	/* not the awaited message: no DH at all */
	for (int i = 0; i < 3; i++) {
		memcpy(bad, f.bytes, f.len);
		bad[i == 0 ? 18 : i == 1 ? 23 : 19] ^= i == 2 ? IKE_FLAG_RESPONSE : 3;
		world_inject(w, VPS, &f.path, bad, f.len);
	}
	assert_int_equal(dh_done, 0);
	/* HDR, SK {garbage} --> */
	for (size_t i = 0; i < 200; i++) {
		memcpy(bad, f.bytes, f.len);
		bad[f.len - 1 - i % (f.len - 32)] ^= 0x55;
		world_inject(w, VPS, &f.path, bad, f.len);
	}
	free(bad);
	assert_int_equal(dh_done, 1);
	assert_int_equal(counters(w).half_open, 1);
	assert_int_equal(counters(w).ike_sas, 0);
	assert_int_equal(counters(w).in_unauthenticated, 200);
	assert_int_equal(world_in_flight(w, HOME), 0);
	assert_int_equal(counters(w).log_suppressed, 0);
	/* HDR, SK {IDi, AUTH, SA, TSi, TSr} --> */
	world_run(w, 0);
	assert_int_equal(dh_done, 1);
	world_agree(w);
	world_no_leaks(w);
	world_free(w);
}

static void a_value_outside_the_group_ends_only_its_sender(void **s)
{
	struct world *w = world_new(9, STYLE_PSK);
	uint8_t buf[4096], auth[120] = { 0 };
	struct engine_path p = from(0);
	static struct ike_msg m;
	struct half_open *ho;
	struct wr out;
	size_t len;

	(void)s;
	world_start(w);
	len = strongswan_init(buf, sizeof(buf), 77, KE_CURVE25519, NULL, 0);
	memset(&m, 0, sizeof(m));
	assert_int_equal(0, ike_msg_parse(buf, len, &m));
	memset(buf + (m.ke.data - buf), 0, m.ke.len); /* low order: RFC 7748 s6.1 */
	world_inject(w, VPS, &p, buf, len);
	world_lose(w, HOME);
	ho = w->host[VPS].e->half_first;
	assert_non_null(ho);
	out = wr_init(auth, sizeof(auth));
	ike_hdr_build(&out, &(struct ike_hdr){ .spi_i = 77,
					       .spi_r = ho->spi_r,
					       .next = PLD_SK,
					       .version = IKE_VERSION,
					       .exchange = IKE_AUTH,
					       .flags = IKE_FLAG_INITIATOR,
					       .id = 1,
					       .length = sizeof(auth) });
	wr_u8(&out, PLD_IDI);
	wr_u8(&out, 0);
	wr_be16(&out, (uint16_t)(sizeof(auth) - IKE_HDR_LEN));
	world_inject(w, VPS, &p, auth, sizeof(auth));
	assert_int_equal(counters(w).half_open, 0);
	assert_int_equal(w->flights, 0);
	world_call(w, HOME);
	world_run(w, 0);
	world_agree(w);
	world_no_leaks(w);
	world_free(w);
}

static void a_late_copy_of_the_init_makes_no_second_sa(void **s)
{
	struct world *w = world_new(10, STYLE_PSK);
	struct flight f;
	uint8_t *copy;

	(void)s;
	world_start(w);
	world_call(w, HOME);
	f = w->flight[0];
	copy = malloc(f.len);
	memcpy(copy, f.bytes, f.len);
	world_run(w, 0);
	world_agree(w);
	world_inject(w, VPS, &f.path, copy, f.len);
	free(copy);
	assert_int_equal(counters(w).half_open, 0);
	assert_int_equal(w->flights, 0);
	world_agree(w);
	world_no_leaks(w);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_entry_is_at_most_1_kib_for_our_own_caller),
		cmocka_unit_test(an_entry_is_at_most_1_kib_for_strongswan_with_its_defaults),
		cmocka_unit_test(what_is_larger_comes_out_of_one_budget),
		cmocka_unit_test(
		    an_init_alone_makes_no_shared_secret_and_its_copy_gets_the_same_answer),
		cmocka_unit_test(garbage_for_ike_auth_costs_one_dh_and_ends_nothing),
		cmocka_unit_test(a_value_outside_the_group_ends_only_its_sender),
		cmocka_unit_test(a_late_copy_of_the_init_makes_no_second_sa),
	};

	log_setup("exchange", LOG_LVL_ERR, 2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
