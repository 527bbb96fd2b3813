/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Our own functions on vectors that others published; tests/vectors/rfc_crypto.py names the sources. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "dh.h"
#include "hex.h"
#include "prf.h"
#include "sign.h"
#include "vectors/rfc_crypto.h"

#define EACH(i, list)                                                                              \
	size_t i = 0;                                                                              \
	i < sizeof(list) / sizeof(list[0]);                                                        \
	i++

static struct span span_of(const struct hex *h)
{
	return (struct span){ h->b, h->len };
}

static void prf_matches_rfc_4231(void **state)
{
	(void)state;
	for (EACH(i, rfc4231)) {
		struct hex key = hex(rfc4231[i].key), data = hex(rfc4231[i].data);
		struct span part = span_of(&data);
		uint8_t out[PRF_LEN_MAX];

		assert_int_equal(prf_mac(rfc4231[i].id, span_of(&key), &part, 1, out), 0);
		assert_hex(out, prf_len(rfc4231[i].id), rfc4231[i].mac);
	}
}

/* Key and ICV lengths are those of RFC 4868, and the ICV is the beginning of the HMAC. */
static void integrity_matches_rfc_4868(void **state)
{
	(void)state;
	for (EACH(i, rfc4868)) {
		struct hex key = hex(rfc4868[i].key), data = hex(rfc4868[i].data);
		uint16_t prf =
		    (uint16_t)(rfc4868[i].id - AUTH_HMAC_SHA2_256_128 + PRF_HMAC_SHA2_256);
		struct span part = span_of(&data);
		struct integ_info info;
		uint8_t out[PRF_LEN_MAX];

		assert_int_equal(integ_info(rfc4868[i].id, &info), 0);
		assert_int_equal(info.key_len, key.len);
		assert_int_equal(prf_mac(prf, span_of(&key), &part, 1, out), 0);
		assert_hex(out, info.icv_len, rfc4868[i].mac);
	}
}

static void one_dh(const struct dh_vector *v)
{
	struct hex priv = hex(v->priv), pub = hex(v->pub), peer = hex(v->peer);
	struct secret z = { 0 };
	struct dh *dh;

	assert_int_equal(dh_restore(v->group, span_of(&priv), span_of(&pub), &dh), 0);
	assert_int_equal(dh_public_len(v->group), pub.len);
	assert_int_equal(dh_shared(dh, peer.b, peer.len, &z), 0);
	assert_hex(z.data, z.len, v->shared);
	secret_clear(&z);
	dh_free(dh);
}

static void ecp_groups_match_rfc_5903(void **state)
{
	(void)state;
	for (EACH(i, rfc5903))
		one_dh(&rfc5903[i]);
}

/* With the primes of RFC 3526 and the generator 2: what Python's integers come to. */
static void modp_groups_match_an_independent_computation(void **state)
{
	(void)state;
	for (EACH(i, modp))
		one_dh(&modp[i]);
}

static void ed25519_matches_rfc_8032(void **state)
{
	(void)state;
	for (EACH(i, rfc8032)) {
		const struct ed_vector *v = &rfc8032[i];
		struct hex spki = hex(v->spki), message = hex(v->message), sig = hex(v->signature);
		struct secret pem = { 0 };
		struct privkey *key;
		struct pubkey *pub;
		uint8_t out[SIG_LEN_MAX];
		size_t len;

		secret_set(&pem, v->pem, strlen(v->pem));
		assert_int_equal(privkey_load(&pem, &key), 0);
		assert_int_equal(
		    sig_make(key, SIG_ED25519, span_of(&message), out, sizeof(out), &len), 0);
		assert_hex(out, len, v->signature);
		assert_int_equal(pubkey_from_spki(spki.b, spki.len, &pub), 0);
		assert_int_equal(sig_verify(pub, SIG_ED25519, span_of(&message), span_of(&sig)), 0);
		sig.b[0] ^= 1;
		assert_int_equal(sig_verify(pub, SIG_ED25519, span_of(&message), span_of(&sig)),
				 -EKEYREJECTED);
		pubkey_free(pub);
		privkey_free(key);
		secret_clear(&pem);
	}
}

static void plus(uint16_t prf, struct span key, const struct span *parts, size_t n,
		 const char *want)
{
	uint8_t out[132];

	assert_int_equal(prf_plus(prf, key, parts, n, out, sizeof(out)), 0);
	assert_hex(out, sizeof(out), want);
}

/* The steps of RFC 7296 s2.14, s2.17 and s2.18 on NIST's inputs. */
static void key_derivation_matches_nist(void **state)
{
	struct hex ni = hex(NIST_NI), nr = hex(NIST_NR), gir = hex(NIST_GIR), si = hex(NIST_SPII),
		   sr = hex(NIST_SPIR), fresh = hex(NIST_GIR_NEW);
	const struct span seed[] = { span_of(&ni), span_of(&nr), span_of(&si), span_of(&sr) };
	const struct span with_dh[] = { span_of(&fresh), span_of(&ni), span_of(&nr) };
	uint8_t nonces[16];

	(void)state;
	memcpy(nonces, ni.b, 8);
	memcpy(nonces + 8, nr.b, 8);
	for (EACH(i, nist_kdf)) {
		const struct kdf_vector *v = &nist_kdf[i];
		struct span shared = span_of(&gir);
		struct hex dkm = hex(v->dkm);
		size_t n = prf_len(v->prf);
		struct span sk_d = { dkm.b, n };
		uint8_t out[PRF_LEN_MAX];

		assert_int_equal(prf_mac(v->prf, (struct span){ nonces, 16 }, &shared, 1, out), 0);
		assert_hex(out, n, v->skeyseed);
		plus(v->prf, (struct span){ out, n }, seed, 4, v->dkm);
		plus(v->prf, sk_d, seed, 2, v->child);
		plus(v->prf, sk_d, with_dh, 3, v->child_dh);
		assert_int_equal(prf_mac(v->prf, sk_d, with_dh, 3, out), 0);
		assert_hex(out, n, v->rekey);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(prf_matches_rfc_4231),
		cmocka_unit_test(integrity_matches_rfc_4868),
		cmocka_unit_test(ecp_groups_match_rfc_5903),
		cmocka_unit_test(modp_groups_match_an_independent_computation),
		cmocka_unit_test(ed25519_matches_rfc_8032),
		cmocka_unit_test(key_derivation_matches_nist),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
