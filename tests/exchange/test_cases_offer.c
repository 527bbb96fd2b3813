/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Cases 15 and 17 to 20: KE values, and what an SA payload may offer. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/bn.h>

#include "odd.h"

static struct odd f;

static struct engine_counters counters(struct world *w, int host)
{
	struct engine_counters n;

	engine_counters_get(w->host[host].e, &n);
	return n;
}

static void over(struct world *w)
{
	world_run(w, 60000);
	world_no_leaks(w);
	world_free(w);
}

/* ---- KE ---- */

#define BAD_MAX 12

static struct bad {
	const char *what;
	size_t len;
	uint8_t b[600];
} bad[BAD_MAX];
static unsigned bads;

static uint8_t *add_bad(const char *what, size_t len, uint8_t fill)
{
	struct bad *x = &bad[bads++];

	assert_true(bads <= BAD_MAX && len <= sizeof(x->b));
	x->what = what;
	x->len = len;
	memset(x->b, fill, sizeof(x->b));
	return x->b;
}

static void bad_values_25519(void)
{
	/* RFC 7748 s6.1 and its reference [Curve25519]: u of low order, those of 2^255-19 too. */
	static const uint8_t order_8[32] = { 0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae,
					     0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a,
					     0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd,
					     0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00 };
	uint8_t *b;

	add_bad("0", 32, 0);
	add_bad("1", 32, 0)[0] = 1;
	memcpy(add_bad("order 8", 32, 0), order_8, 32);
	for (int i = 0; i < 3; i++) { /* p-1, p, p+1 */
		b = add_bad("about p", 32, 0xff);
		b[0] = (uint8_t)(0xec + i);
		b[31] = 0x7f;
	}
}

/* The prime of a RFC 3526 group, and its neighbours. */
static void near_prime(uint16_t group, int off, uint8_t *out)
{
	BIGNUM *p = group == KE_MODP_2048   ? BN_get_rfc3526_prime_2048(NULL)
		    : group == KE_MODP_3072 ? BN_get_rfc3526_prime_3072(NULL)
					    : BN_get_rfc3526_prime_4096(NULL);

	assert_non_null(p);
	assert_int_equal(1, off < 0 ? BN_sub_word(p, 1) : BN_add_word(p, (BN_ULONG)off));
	assert_true(BN_bn2binpad(p, out, (int)dh_public_len(group)) > 0);
	BN_free(p);
}

static void bad_values(uint16_t group)
{
	size_t len = dh_public_len(group);
	struct dh *dh;
	uint8_t *b;

	bads = 0;
	assert_int_equal(0, dh_new(group, &dh));
	memcpy(add_bad("one byte short", len - 1, 0), dh_public(dh).p, len - 1);
	memcpy(add_bad("one byte long", len + 1, 0), dh_public(dh).p, len);
	add_bad("one byte", 1, 2);
	switch (group) {
	case KE_CURVE25519:
		bad_values_25519();
		break;
	case KE_ECP_256:
	case KE_ECP_384:
	case KE_ECP_521: /* RFC 5903 s9: x | y */
		add_bad("0, 0", len, 0);
		add_bad("above p", len, 0xff);
		b = add_bad("not on the curve", len, 0);
		memcpy(b, dh_public(dh).p, len);
		b[len - 1] ^= 1;
		b = add_bad("x alone", len, 0);
		memcpy(b, dh_public(dh).p, len / 2);
		break;
	default: /* RFC 6989 s2.1 */
		add_bad("0", len, 0);
		add_bad("1", len, 0)[len - 1] = 1;
		near_prime(group, -1, add_bad("p-1", len, 0));
		near_prime(group, 0, add_bad("p", len, 0));
		near_prime(group, 1, add_bad("p+1", len, 0));
		add_bad("2^n-1", len, 0xff);
	}
	dh_free(dh);
}

static void offer_only(struct proposals *ps, uint16_t group)
{
	ps->count = 0;
	proposal_add(ps, PROTO_IKE);
	transform_add(&ps->p[0], TRANSFORM_ENCR, ENCR_AES_GCM_16, 128);
	transform_add(&ps->p[0], TRANSFORM_PRF, PRF_HMAC_SHA2_256, 0);
	transform_add(&ps->p[0], TRANSFORM_KE, group, 0);
}

/* --> SAi1, KEi(bad), Ni: whether it is told at once or with IKE_AUTH, no SA comes of it. */
static void bad_request(struct world *w, uint16_t group, const struct bad *x)
{
	struct engine_path p = odd_stranger(1);
	const struct ike_msg *m;
	struct ike_hdr h;
	uint64_t malformed = counters(w, VPS).in_malformed;

	odd_init(&f, 1);
	sa_add(&f.b, &w->host[HOME].ike_ps);
	pld_ke_add(&f.b, group, (struct span){ x->b, x->len });
	odd_nonce(&f, 32);
	odd_end(&f);
	odd_inject(w, VPS, &p, &f);
	m = odd_answer(w, HOME, NULL);
	if (x->len != dh_public_len(group))
		assert_null(m);
	if (m && m->sa.p) {
		h = (struct ike_hdr){ .spi_i = 1,
				      .spi_r = m->hdr.spi_r,
				      .exchange = IKE_AUTH,
				      .flags = IKE_FLAG_INITIATOR,
				      .id = 1 };
		odd_begin(&f, &h);
		odd_payload(&f, PLD_SK, 0, bad, 200);
		odd_end(&f);
		odd_inject(w, VPS, &p, &f);
	}
	assert_int_equal(world_in_flight(w, HOME), 0);
	if (counters(w, VPS).half_open || counters(w, VPS).ike_sas)
		fail_msg("group %u: %s stays", group, x->what);
	assert_int_equal(counters(w, VPS).in_malformed, malformed + 1);
}

/* <-- SAr1, KEr(bad), Nr, before the true one */
static void bad_answer(struct world *w, uint16_t group, const struct bad *x)
{
	struct sa_choice c;

	assert_int_equal(0,
			 sa_choose(&w->host[HOME].ike_ps, &w->host[HOME].ike_ps, group, false, &c));
	odd_begin(&f, &(struct ike_hdr){ .spi_i = odd_calling(w),
					 .spi_r = 99,
					 .exchange = IKE_SA_INIT,
					 .flags = IKE_FLAG_RESPONSE });
	sa_add_choice(&f.b, &c, NULL, 0);
	pld_ke_add(&f.b, group, (struct span){ x->b, x->len });
	odd_nonce(&f, 32);
	odd_end(&f);
	odd_inject(w, HOME, &w->host[HOME].path, &f);
	if (world_in_flight(w, VPS) != 1) /* IKE_SA_INIT, and no IKE_AUTH */
		fail_msg("group %u: %s is taken", group, x->what);
}

static void each_bad_value(uint16_t group)
{
	bad_values(group);
	for (unsigned i = 0; i < bads; i++) {
		struct world *w = world_new(15, STYLE_PSK);
		struct secret z = { 0 };
		struct dh *dh;

		assert_int_equal(0, dh_new(group, &dh));
		if (!dh_shared(dh, bad[i].b, bad[i].len, &z))
			fail_msg("group %u: %s gives a secret", group, bad[i].what);
		assert_int_equal(z.len, 0);
		dh_free(dh);
		EACH_HOST(a)
		offer_only(&w->host[a].ike_ps, group);
		world_start(w);
		bad_request(w, group, &bad[i]);
		world_call(w, HOME);
		bad_answer(w, group, &bad[i]);
		world_run(w, 30000);
		world_agree(w);
		over(w);
	}
}

static void ask_with_ke(struct world *w, const struct bad *x)
{
	struct proposals ps = w->host[HOME].esp_ps;

	proposals_set_spi(&ps, "\x77\0\0\1", 4);
	odd_inner(&f);
	sa_add(&f.b, &ps);
	odd_nonce(&f, 32);
	pld_ke_add(&f.b, KE_ECP_256, (struct span){ x->b, x->len });
	odd_ts(&f);
}

static struct world *world_p256(uint64_t seed)
{
	struct world *w = world_new(seed, STYLE_PSK);

	EACH_HOST(a)
	{
		struct proposals *ps = &w->host[a].esp_ps;

		ps->count = 0;
		proposal_add(ps, PROTO_ESP);
		transform_add(&ps->p[0], TRANSFORM_ENCR, ENCR_AES_GCM_16, 128);
		transform_add(&ps->p[0], TRANSFORM_KE, KE_ECP_256, 0);
		transform_add(&ps->p[0], TRANSFORM_ESN, ESN_NO, 0);
	}
	return w;
}

/* RFC 6989 s2.5: in CREATE_CHILD_SA it ends the IKE SA; a request is told INVALID_SYNTAX. */
static void in_create_child(const struct bad *x)
{
	struct world *w = world_p256(15);
	struct ike_sa *home;

	world_up(w);
	home = odd_sa_of(w, HOME);
	ask_with_ke(w, x);
	odd_request(w, HOME, CREATE_CHILD_SA, &f);
	assert_true(odd_notify_only(odd_answer(w, HOME, home), INVALID_SYNTAX));
	assert_int_equal(w->host[VPS].down, 1);
	assert_int_equal(w->host[VPS].last_down.down.why, ENGINE_WHY_PROTOCOL);
	over(w);

	w = world_p256(16);
	world_up(w);
	DO(w, HOME, assert_int_equal(0, engine_create_child(e, now, w->host[HOME].ike, fx)));
	world_deliver(w, VPS);
	world_lose(w, HOME);
	ask_with_ke(w, x);
	odd_response(w, VPS, &f);
	assert_int_equal(w->host[HOME].down, 1);
	assert_int_equal(w->host[HOME].last_down.down.why, ENGINE_WHY_PROTOCOL);
	world_run(w, 5000); /* the Delete */
	assert_int_equal(w->host[VPS].down, 1);
	assert_int_equal(w->host[VPS].last_down.down.why, ENGINE_WHY_DELETED);
	over(w);
}

/* RFC 7748 s6.1, RFC 6989 s2, RFC 5903 s9 */
static void ike_case_015_public_values_outside_the_group_are_refused(void **s)
{
	static const uint16_t groups[] = { KE_CURVE25519, KE_ECP_256,	KE_ECP_384,  KE_ECP_521,
					   KE_MODP_2048,  KE_MODP_3072, KE_MODP_4096 };

	(void)s;
	for (size_t i = 0; i < sizeof(groups) / sizeof(*groups); i++)
		each_bad_value(groups[i]);
	bad_values(KE_ECP_256);
	for (unsigned i = 0; i < bads; i++)
		in_create_child(&bad[i]);
}

/* ---- offers, transform by transform ---- */

struct offer {
	uint8_t b[2048];
	size_t n;
	size_t last_p,
	    last_t; /* where the last proposal and transform begin; 0: none (but for the first) */
};

static struct offer o;

static void len_put(size_t at, size_t len)
{
	o.b[at + 2] = (uint8_t)(len >> 8);
	o.b[at + 3] = (uint8_t)len;
}

static void prop(uint8_t number, uint8_t proto)
{
	bool esp = proto == PROTO_ESP;

	if (o.n)
		o.b[o.last_p] = 2;
	o.last_p = o.n;
	o.last_t = 0;
	memcpy(o.b + o.n, (uint8_t[]){ 0, 0, 0, 0, number, proto, esp ? 4 : 0, 0 }, 8);
	o.n += 8;
	if (esp) {
		memcpy(o.b + o.n, "\x77\0\0\1", 4);
		o.n += 4;
	}
	len_put(o.last_p, o.n - o.last_p);
}

static void trans(uint8_t type, uint16_t id, const char *attrs, size_t len)
{
	if (o.last_t)
		o.b[o.last_t] = 3;
	o.last_t = o.n;
	memcpy(o.b + o.n, (uint8_t[]){ 0, 0, 0, 0, type, 0, (uint8_t)(id >> 8), (uint8_t)id }, 8);
	memcpy(o.b + o.n + 8, attrs, len);
	o.n += 8 + len;
	len_put(o.last_t, 8 + len);
	o.b[o.last_p + 7]++;
	len_put(o.last_p, o.n - o.last_p);
}

#define BITS(n) "\x80\x0e" n, 4

static void rest_of(uint8_t proto)
{
	if (proto == PROTO_IKE) {
		trans(TRANSFORM_PRF, PRF_HMAC_SHA2_256, "", 0);
		trans(TRANSFORM_KE, KE_CURVE25519, "", 0);
	} else {
		trans(TRANSFORM_ESN, ESN_NO, "", 0);
	}
}

static void good(uint8_t number, uint8_t proto)
{
	prop(number, proto);
	trans(TRANSFORM_ENCR, ENCR_AES_GCM_16, BITS("\x01\x00")); /* 256 */
	rest_of(proto);
}

enum outcome { DROPPED = -2, REFUSED = -1, ELSE = 0 };

static int number_in(const struct ike_msg *m, uint16_t *bits)
{
	struct proposals *ps = calloc(1, sizeof(*ps));
	int number;

	assert_non_null(ps);
	assert_int_equal(0, sa_parse(m->sa, ps));
	assert_int_equal(ps->count, 1);
	assert_int_equal(ps->p[0].t[0].type, TRANSFORM_ENCR);
	*bits = ps->p[0].t[0].bits;
	number = ps->p[0].number;
	free(ps);
	return number;
}

/* Which proposal IKE_SA_INIT --> with this offer gets, with a key of *bits. */
static int ike_outcome(uint16_t *bits)
{
	struct world *w = world_new(17, STYLE_PSK);
	struct engine_path p = odd_stranger(1);
	const struct ike_msg *m;
	int r;

	world_start(w);
	odd_init(&f, 1);
	odd_payload(&f, PLD_SA, 0, o.b, o.n);
	odd_ke(&f);
	odd_nonce(&f, 32);
	odd_end(&f);
	odd_inject(w, VPS, &p, &f);
	m = odd_answer(w, HOME, NULL);
	r = !m ? DROPPED : odd_notify_only(m, NO_PROPOSAL_CHOSEN) ? REFUSED : number_in(m, bits);
	assert_int_equal(counters(w, VPS).half_open, r > 0);
	world_free(w);
	return r;
}

/* The same of CREATE_CHILD_SA -->; what would be dropped is told INVALID_SYNTAX there. */
static int esp_outcome(uint16_t *bits)
{
	struct world *w = world_new(17, STYLE_PSK);
	const struct ike_msg *m;
	int r;

	world_up(w);
	odd_inner(&f);
	odd_payload(&f, PLD_SA, 0, o.b, o.n);
	odd_nonce(&f, 32);
	odd_ts(&f);
	odd_request(w, HOME, CREATE_CHILD_SA, &f);
	m = odd_answer(w, HOME, odd_sa_of(w, HOME));
	assert_non_null(m);
	r = odd_notify_only(m, INVALID_SYNTAX)	     ? DROPPED
	    : odd_notify_only(m, NO_PROPOSAL_CHOSEN) ? REFUSED
						     : number_in(m, bits);
	assert_int_equal(w->host[VPS].child_up, r > 0 ? 2 : 1);
	assert_int_equal(w->host[VPS].down, r == DROPPED);
	world_free(w);
	return r;
}

static int outcome(uint8_t proto, uint16_t *bits)
{
	return proto == PROTO_IKE ? ike_outcome(bits) : esp_outcome(bits);
}

#define EACH_PROTO(p) for (uint8_t p = PROTO_IKE; p <= PROTO_ESP; p += PROTO_ESP - PROTO_IKE)

/* RFC 7296 s3.3.5, s3.3.6: what cannot be read makes its transform unusable, and nothing else. */
static void ike_case_017_a_wrong_key_length_spoils_only_its_transform(void **s)
{
	static const struct attrs {
		const char *b;
		size_t len;
	} wrong[] = {
		{ "", 0 },
		{ BITS("\0\0") },
		{ BITS("\0\xc0") },		       /* AES-192, which we do not offer */
		{ BITS("\0\x40") },		       /* 64 */
		{ "\x80\x0e\0\x80\x80\x0e\0\x80", 8 }, /* twice */
		{ "\x80\x0e\0\x80\x80\x0e\x01\0", 8 }, /* twice, each of them good */
		{ "\0\x0e\0\x02\0\x80", 6 },	       /* type, length, value */
		{ "\x80\x0e\0\x80\x80\x11\0\x01", 8 }, /* with an attribute that we do not know */
		{ "\x80\x0f\0\x80", 4 },
	};
	uint16_t bits;

	(void)s;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		EACH_PROTO(p)
		{
			for (int with = 0; with < 3; with++) { /* alone, a transform, a proposal */
				memset(&o, 0, sizeof(o));
				prop(1, p);
				trans(TRANSFORM_ENCR, ENCR_AES_GCM_16, wrong[i].b, wrong[i].len);
				if (with == 1)
					trans(TRANSFORM_ENCR, ENCR_AES_GCM_16, BITS("\x01\0"));
				rest_of(p);
				if (with == 2)
					good(2, p);
				assert_int_equal(with ? with : REFUSED, outcome(p, &bits));
				if (with)
					assert_int_equal(bits, 256);
			}
		}
	/* A key length where none belongs. */
	EACH_PROTO(p)
	{
		memset(&o, 0, sizeof(o));
		prop(1, p);
		trans(TRANSFORM_ENCR, ENCR_AES_GCM_16, BITS("\0\x80"));
		if (p == PROTO_IKE)
			trans(TRANSFORM_PRF, PRF_HMAC_SHA2_256, BITS("\x01\0"));
		else
			trans(TRANSFORM_ESN, ESN_NO, BITS("\0\x01"));
		if (p == PROTO_IKE)
			trans(TRANSFORM_KE, KE_CURVE25519, "", 0);
		good(2, p);
		assert_int_equal(2, outcome(p, &bits));
	}
}

/* RFC 7296 s3.3.1, s3.3.2 */
static void ike_case_018_proposals_are_numbered_from_one_and_the_last_one_says_so(void **s)
{
	static const uint8_t numbers[][3] = { { 2, 3, 4 }, { 1, 3, 4 }, { 1, 1, 2 },
					      { 0, 1, 2 }, { 2, 1, 3 }, { 1, 2, 2 } };
	static const uint8_t flags[] = { 0, 1, 2, 3, 255 };
	uint16_t bits;

	(void)s;
	EACH_PROTO(p)
	{
		for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
			memset(&o, 0, sizeof(o));
			for (int k = 0; k < 3; k++)
				good(numbers[i][k], p);
			assert_int_equal(DROPPED, outcome(p, &bits));
		}
		memset(&o, 0, sizeof(o));
		good(2, p); /* and alone */
		assert_int_equal(DROPPED, outcome(p, &bits));
		for (int where = 0; where < 4; where++)
			for (size_t i = 0; i < sizeof(flags); i++) {
				static const uint8_t right[] = { 2, 0, 3, 0 };
				size_t first_t = p == PROTO_IKE ? 8 : 12;

				memset(&o, 0, sizeof(o));
				good(1, p);
				good(2, p);
				o.b[where == 0	 ? 0
				    : where == 1 ? o.last_p
				    : where == 2 ? first_t
						 : o.last_t] = flags[i];
				assert_int_equal(flags[i] == right[where] ? 1 : DROPPED,
						 outcome(p, &bits));
			}
	}
}

/* RFC 7296 s3.3.6, RFC 9370 s2.2.2: who asks for more than we know asks for something else. */
static void ike_case_019_an_unknown_transform_type_spoils_only_its_proposal(void **s)
{
	static const uint8_t types[] = { 0, 6, 12, 13, 241, 255 };
	uint16_t bits;

	(void)s;
	EACH_PROTO(p)
	for (size_t i = 0; i <= sizeof(types); i++)
		for (int with = 0; with < 2; with++) {
			/* at the end: a type that is of the other protocol */
			uint8_t type = i < sizeof(types) ? types[i]
				       : p == PROTO_IKE	 ? TRANSFORM_ESN
							 : TRANSFORM_PRF;

			memset(&o, 0, sizeof(o));
			good(1, p);
			trans(type, 0, "", 0);
			if (with)
				good(2, p);
			assert_int_equal(with ? 2 : REFUSED, outcome(p, &bits));
		}
}

/* RFC 7296 s3.3, RFC 5282 s8 */
static void ike_case_020_an_aead_goes_without_integrity_and_other_ciphers_do_not(void **s)
{
	static const struct pairing {
		uint16_t encr;
		int integ[2]; /* -1: none offered */
		int want;
	} rows[] = {
		{ ENCR_AES_GCM_16, { -1, -1 }, 1 },
		{ ENCR_AES_GCM_16, { INTEG_NONE, -1 }, 1 },
		{ ENCR_AES_GCM_16, { AUTH_HMAC_SHA2_256_128, -1 }, REFUSED },
		{ ENCR_AES_GCM_16, { AUTH_HMAC_SHA2_256_128, INTEG_NONE }, 1 },
		{ ENCR_AES_CBC, { -1, -1 }, REFUSED },
		{ ENCR_AES_CBC, { INTEG_NONE, -1 }, REFUSED },
		{ ENCR_AES_CBC, { AUTH_HMAC_SHA2_256_128, -1 }, 1 },
		{ ENCR_AES_CBC, { INTEG_NONE, AUTH_HMAC_SHA2_256_128 }, 1 },
	};
	uint16_t bits;

	(void)s;
	EACH_PROTO(p)
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		memset(&o, 0, sizeof(o));
		prop(1, p);
		trans(TRANSFORM_ENCR, rows[i].encr, BITS("\0\x80"));
		for (int k = 0; k < 2; k++)
			if (rows[i].integ[k] >= 0)
				trans(TRANSFORM_INTEG, (uint16_t)rows[i].integ[k], "", 0);
		rest_of(p);
		assert_int_equal(rows[i].want, outcome(p, &bits));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ike_case_015_public_values_outside_the_group_are_refused),
		cmocka_unit_test(ike_case_017_a_wrong_key_length_spoils_only_its_transform),
		cmocka_unit_test(
		    ike_case_018_proposals_are_numbered_from_one_and_the_last_one_says_so),
		cmocka_unit_test(ike_case_019_an_unknown_transform_type_spoils_only_its_proposal),
		cmocka_unit_test(
		    ike_case_020_an_aead_goes_without_integrity_and_other_ciphers_do_not),
	};

	log_setup("exchange", LOG_LVL_ERR, 2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
