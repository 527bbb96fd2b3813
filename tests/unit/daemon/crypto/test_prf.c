/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>

#include "digest.h"
#include "hex.h"
#include "prf.h"
#include "vectors/ike_kdf.h"

static const struct ike_suite suites[] = {
	{ ENCR_AES_GCM_16, 256, INTEG_NONE, PRF_HMAC_SHA2_256, KE_CURVE25519 },
	{ ENCR_AES_CBC, 128, AUTH_HMAC_SHA2_384_192, PRF_HMAC_SHA2_384, KE_CURVE25519 },
	{ ENCR_CHACHA20_POLY1305, 0, INTEG_NONE, PRF_HMAC_SHA2_512, KE_CURVE25519 },
};

/* By suite: SK_d, ai, ar, ei, er, pi, pr. */
#define KEYS(n)                                                                                    \
	{                                                                                          \
		KDF##n##_SK_D, KDF##n##_SK_AI, KDF##n##_SK_AR, KDF##n##_SK_EI, KDF##n##_SK_ER,     \
		    KDF##n##_SK_PI, KDF##n##_SK_PR                                                 \
	}
static const char *const ike_keys[][7] = { KEYS(5), KEYS(6), KEYS(7) };

#define CHILD(n, tag)                                                                              \
	{                                                                                          \
		KDF##n##_##tag##_ENCR_I, KDF##n##_##tag##_INTEG_I, KDF##n##_##tag##_ENCR_R,        \
		    KDF##n##_##tag##_INTEG_R                                                       \
	}
static const char *const child[][4] = { CHILD(5, CHILD), CHILD(6, CHILD), CHILD(7, CHILD) };
static const char *const child_ke[][4] = { CHILD(5, CHILD_KE), CHILD(6, CHILD_KE),
					   CHILD(7, CHILD_KE) };
static const char *const rekey_d[] = { KDF5_REKEY_SK_D, KDF6_REKEY_SK_D, KDF7_REKEY_SK_D };
static const char *const rekey_pr[] = { KDF5_REKEY_SK_PR, KDF6_REKEY_SK_PR, KDF7_REKEY_SK_PR };

static struct span span_of(const struct hex *h)
{
	return (struct span){ h->b, h->len };
}

static void prf_matches_rfc_4231(void **state)
{
	/* Cases 1 and 2 (s4.2, s4.3). */
	static const struct {
		uint16_t prf;
		const char *key, *data, *mac;
	} t[] = {
		{ PRF_HMAC_SHA2_256, "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "4869205468657265",
		  "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7" },
		{ PRF_HMAC_SHA2_384, "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "4869205468657265",
		  "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59c"
		  "faea9ea9076ede7f4af152e8b2fa9cb6" },
		{ PRF_HMAC_SHA2_512, "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "4869205468657265",
		  "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde"
		  "daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854" },
		{ PRF_HMAC_SHA2_256, "4a656665",
		  "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
		  "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct hex key = hex(t[i].key), data = hex(t[i].data);
		/* In two parts, to see that they are joined. */
		struct span parts[] = { { data.b, 3 }, { data.b + 3, data.len - 3 } };
		uint8_t out[PRF_LEN_MAX];

		assert_int_equal(prf_mac(t[i].prf, span_of(&key), parts, 2, out), 0);
		assert_hex(out, prf_len(t[i].prf), t[i].mac);
	}
}

static void prf_takes_an_empty_key_and_refuses_an_unknown_number(void **state)
{
	uint8_t out[PRF_LEN_MAX];
	struct span none = { NULL, 0 };

	(void)state;
	assert_int_equal(prf_mac(PRF_HMAC_SHA2_256, none, &none, 1, out), 0);
	assert_hex(out, 32, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
	assert_int_equal(prf_mac(2 /* SHA-1 */, none, &none, 1, out), -ENOTSUP);
}

static void prf_plus_stops_at_255_blocks(void **state)
{
	static uint8_t out[255 * 32 + 1];
	struct span key = { "k", 1 };

	(void)state;
	assert_int_equal(prf_plus(PRF_HMAC_SHA2_256, key, NULL, 0, out, 255 * 32), 0);
	assert_int_equal(prf_plus(PRF_HMAC_SHA2_256, key, NULL, 0, out, 255 * 32 + 1), -EINVAL);
}

static void ike_keys_match_an_independent_derivation(void **state)
{
	struct hex ni = hex(KDF_NI), nr = hex(KDF_NR), z = hex(KDF_SHARED), z2 = hex(KDF_SHARED2);
	struct secret shared = { z.b, z.len }, shared2 = { z2.b, z2.len };

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct ike_keys k = { 0 };
		struct secret *got[] = { &k.sk_d,  &k.sk_ai, &k.sk_ar, &k.sk_ei,
					 &k.sk_er, &k.sk_pi, &k.sk_pr };

		assert_int_equal(ike_keys_derive(&suites[i], span_of(&ni), span_of(&nr), KDF_SPI_I,
						 KDF_SPI_R, &shared, &k),
				 0);
		for (unsigned j = 0; j < 7; j++)
			assert_hex(got[j]->data, got[j]->len, ike_keys[i][j]);
		/* In place: the new keys replace those that they come from. */
		assert_int_equal(ike_keys_rekey(&suites[i], suites[i].prf, &k.sk_d, span_of(&ni),
						span_of(&nr), KDF_SPI_I, KDF_SPI_R, &shared2, &k),
				 0);
		assert_hex(k.sk_d.data, k.sk_d.len, rekey_d[i]);
		assert_hex(k.sk_pr.data, k.sk_pr.len, rekey_pr[i]);
		ike_keys_clear(&k);
		assert_null(k.sk_d.data);
	}
}

static void child_keys_match_with_and_without_ke(void **state)
{
	struct hex ni = hex(KDF_NI), nr = hex(KDF_NR), z2 = hex(KDF_SHARED2);
	struct secret shared2 = { z2.b, z2.len };

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct hex d = hex(ike_keys[i][0]);
		struct secret sk_d = { d.b, d.len };
		struct esp_suite esp = { suites[i].encr, suites[i].encr_bits, suites[i].integ, 1,
					 0 };
		struct child_keys k = { 0 };
		struct secret *got[] = { &k.encr_i, &k.integ_i, &k.encr_r, &k.integ_r };

		for (unsigned ke = 0; ke < 2; ke++) {
			assert_int_equal(child_keys_derive(suites[i].prf, &sk_d, &esp,
							   ke ? &shared2 : NULL, span_of(&ni),
							   span_of(&nr), &k),
					 0);
			for (unsigned j = 0; j < 4; j++)
				assert_hex(got[j]->data, got[j]->len,
					   ke ? child_ke[i][j] : child[i][j]);
		}
		child_keys_clear(&k);
	}
}

static void keys_refuse_short_nonces_and_odd_suites(void **state)
{
	uint8_t n[257] = { 0 }, z[32] = { 1 };
	struct secret shared = { z, sizeof(z) };
	struct ike_suite odd = { ENCR_AES_GCM_16, 256, AUTH_HMAC_SHA2_256_128, 5, 31 };
	struct ike_keys k = { 0 };
	struct span ok = { n, 16 };

	(void)state;
	assert_int_equal(ike_keys_derive(&suites[0], (struct span){ n, 15 }, ok, 1, 2, &shared, &k),
			 -EINVAL);
	assert_int_equal(
	    ike_keys_derive(&suites[0], ok, (struct span){ n, 257 }, 1, 2, &shared, &k), -EINVAL);
	assert_int_equal(ike_keys_derive(&odd, ok, ok, 1, 2, &shared, &k), -ENOTSUP);
	odd.integ = INTEG_NONE;
	odd.encr_bits = 192;
	assert_int_equal(ike_keys_derive(&odd, ok, ok, 1, 2, &shared, &k), -ENOTSUP);
	assert_null(k.sk_d.data);
}

static void auth_octets_and_psk_match(void **state)
{
	static const char *const octets[] = { KDF5_OCTETS, KDF6_OCTETS, KDF7_OCTETS };
	static const char *const auth[] = { KDF5_PSK_AUTH, KDF6_PSK_AUTH, KDF7_PSK_AUTH };
	struct secret psk = { (uint8_t *)"correct horse", 13 };
	struct hex nr = hex(KDF_NR);

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct hex pi = hex(ike_keys[i][5]);
		struct secret sk_pi = { pi.b, pi.len };
		struct span msg = { "first message", 13 };
		struct span id = { "\x02\0\0\0home.example.net", 20 };
		uint8_t buf[256], mac[PRF_LEN_MAX];
		size_t len, mac_len;

		assert_int_equal(auth_octets_build(suites[i].prf, &sk_pi, msg, span_of(&nr), id,
						   buf, sizeof(buf), &len),
				 0);
		assert_hex(buf, len, octets[i]);
		assert_int_equal(
		    auth_psk(suites[i].prf, &psk, (struct span){ buf, len }, mac, &mac_len), 0);
		assert_hex(mac, mac_len, auth[i]);
		assert_int_equal(auth_octets_build(suites[i].prf, &sk_pi, msg, span_of(&nr), id,
						   buf, len - 1, &len),
				 -EMSGSIZE);
	}
}

static void nat_hash_is_sha1_over_spis_address_and_port(void **state)
{
	struct endpoint e = { .port = 4500 };
	uint8_t got[SHA1_LEN], want[SHA1_LEN];
	const uint8_t flat[] = { 0, 0, 0, 0, 0, 0,   0, 1, 0, 0,    0,
				 0, 0, 0, 0, 2, 192, 0, 2, 7, 0x11, 0x94 };
	struct span part = { flat, sizeof(flat) };

	(void)state;
	assert_int_equal(addr_parse("192.0.2.7", &e.addr), 0);
	assert_int_equal(nat_detection_hash(1, 2, &e, got), 0);
	assert_int_equal(digest_sha1(&part, 1, want), 0);
	assert_memory_equal(got, want, SHA1_LEN);
	part = (struct span){ "abc", 3 };
	assert_int_equal(digest_sha1(&part, 1, got), 0); /* FIPS 180-4 */
	assert_hex(got, 20, "a9993e364706816aba3e25717850c26c9cd0d89d");
	assert_true(ike_spi_random() != ike_spi_random());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(prf_matches_rfc_4231),
		cmocka_unit_test(prf_takes_an_empty_key_and_refuses_an_unknown_number),
		cmocka_unit_test(prf_plus_stops_at_255_blocks),
		cmocka_unit_test(ike_keys_match_an_independent_derivation),
		cmocka_unit_test(child_keys_match_with_and_without_ke),
		cmocka_unit_test(keys_refuse_short_nonces_and_odd_suites),
		cmocka_unit_test(auth_octets_and_psk_match),
		cmocka_unit_test(nat_hash_is_sha1_over_spis_address_and_port),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
