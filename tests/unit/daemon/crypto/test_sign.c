/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>

#include "hex.h"
#include "sign.h"

#define SPKI_ED25519 "302a300506032b6570032100"

struct pair {
	struct privkey *priv;
	struct pubkey *pub;
	char pem[4096];
};

static struct pair pairs[KEY_RSA + 1];

static int make_keys(void **state)
{
	(void)state;
	for (enum key_type t = KEY_ED25519; t <= KEY_RSA; t++) {
		struct secret text = { 0 };

		if (key_generate(t, &text, pairs[t].pem, sizeof(pairs[t].pem)) ||
		    privkey_load(&text, &pairs[t].priv) ||
		    pubkey_load(pairs[t].pem, strlen(pairs[t].pem), &pairs[t].pub))
			return -1;
		secret_clear(&text);
	}
	return 0;
}

static int free_keys(void **state)
{
	(void)state;
	for (enum key_type t = KEY_ED25519; t <= KEY_RSA; t++) {
		privkey_free(pairs[t].priv);
		pubkey_free(pairs[t].pub);
	}
	return 0;
}

static void ed25519_verifies_rfc_8032(void **state)
{
	/* s7.1, tests 1 and 2 */
	static const char *const t[][3] = {
		{ "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
		  "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
		  "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b" },
		{ "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
		  "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
		  "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00" },
	};

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct hex msg = hex(t[i][1]), sig = hex(t[i][2]), spki;
		char text[128];
		struct pubkey *k;

		snprintf(text, sizeof(text), "%s%s", SPKI_ED25519, t[i][0]);
		spki = hex(text);
		assert_int_equal(pubkey_from_spki(spki.b, spki.len, &k), 0);
		assert_int_equal(sig_verify(k, SIG_ED25519, (struct span){ msg.b, msg.len },
					    (struct span){ sig.b, sig.len }),
				 0);
		sig.b[5] ^= 1;
		assert_int_equal(sig_verify(k, SIG_ED25519, (struct span){ msg.b, msg.len },
					    (struct span){ sig.b, sig.len }),
				 -EKEYREJECTED);
		pubkey_free(k);
	}
}

static void every_scheme_signs_and_rejects_changes(void **state)
{
	struct span octets = { "octets to sign", 14 }, other = { "Octets to sign", 14 };

	(void)state;
	for (enum sig_scheme s = SIG_ED25519; s < SIG_SCHEMES; s++) {
		for (enum key_type t = KEY_ED25519; t <= KEY_RSA; t++) {
			uint8_t sig[SIG_LEN_MAX];
			struct span view = { sig, 0 };

			if (!sig_scheme_fits(s, t)) {
				assert_int_equal(
				    sig_make(pairs[t].priv, s, octets, sig, sizeof(sig), &view.len),
				    -EINVAL);
				assert_int_equal(sig_verify(pairs[t].pub, s, octets, view),
						 -EINVAL);
				continue;
			}
			assert_int_equal(
			    sig_make(pairs[t].priv, s, octets, sig, sizeof(sig), &view.len), 0);
			assert_int_equal(sig_verify(pairs[t].pub, s, octets, view), 0);
			assert_int_equal(sig_verify(pairs[t].pub, s, other, view), -EKEYREJECTED);
			view.len--;
			assert_int_equal(sig_verify(pairs[t].pub, s, octets, view), -EKEYREJECTED);
			view.len = 0;
			assert_int_equal(sig_verify(pairs[t].pub, s, octets, view), -EKEYREJECTED);
		}
	}
}

static void a_signature_is_bound_to_its_scheme(void **state)
{
	struct span octets = { "x", 1 }, view;
	uint8_t sig[SIG_LEN_MAX];

	(void)state;
	view.p = sig;
	assert_int_equal(
	    sig_make(pairs[KEY_RSA].priv, SIG_RSA_PSS_SHA256, octets, sig, sizeof(sig), &view.len),
	    0);
	assert_int_equal(sig_verify(pairs[KEY_RSA].pub, SIG_RSA_PKCS1_SHA256, octets, view),
			 -EKEYREJECTED);
	assert_int_equal(sig_verify(pairs[KEY_RSA].pub, SIG_RSA_PSS_SHA384, octets, view),
			 -EKEYREJECTED);
	assert_int_equal(
	    sig_make(pairs[KEY_P256].priv, SIG_ECDSA_SHA256, octets, sig, sizeof(sig), &view.len),
	    0);
	assert_int_equal(sig_verify(pairs[KEY_P256].pub, SIG_ECDSA_P256_RAW, octets, view),
			 -EKEYREJECTED);
	assert_int_equal(sig_verify(pairs[KEY_P384].pub, SIG_ECDSA_SHA256, octets, view),
			 -EKEYREJECTED);
}

static void algorithm_identifiers_are_those_of_rfc_7427(void **state)
{
	static const struct {
		enum sig_scheme s;
		const char *der;
	} t[] = {
		{ SIG_RSA_PKCS1_SHA256, "300d06092a864886f70d01010b0500" }, /* A.1.2 */
		{ SIG_RSA_PKCS1_SHA384, "300d06092a864886f70d01010c0500" },
		{ SIG_RSA_PKCS1_SHA512, "300d06092a864886f70d01010d0500" },
		{ SIG_ECDSA_SHA256, "300a06082a8648ce3d040302" }, /* A.3.2 */
		{ SIG_ECDSA_SHA384, "300a06082a8648ce3d040303" },
		{ SIG_ECDSA_SHA512, "300a06082a8648ce3d040304" },
		{ SIG_ED25519, "300506032b6570" }, /* RFC 8420 A.1 */
		{ SIG_RSA_PSS_SHA256, "304106092a864886f70d01010a3034a00f300d06096086480165030402"
				      "010500a11c301a06092a864886f70d010108300d060960864801650304"
				      "02010500a203020120" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++)
		assert_hex(sig_algid(t[i].s).p, sig_algid(t[i].s).len, t[i].der);
	for (enum sig_scheme s = SIG_ED25519; s < SIG_ECDSA_P256_RAW; s++) {
		enum sig_scheme got;

		assert_int_equal(sig_algid_parse(sig_algid(s).p, sig_algid(s).len, &got), 0);
		assert_int_equal(got, s);
		for (size_t n = 0; n < sig_algid(s).len; n++)
			assert_int_equal(sig_algid_parse(sig_algid(s).p, n, &got), -EBADMSG);
	}
}

static void parsed_algorithm_identifiers(void **state)
{
	static const struct {
		int rc;
		enum sig_scheme s;
		const char *der;
	} t[] = {
		/* RFC 7427 A.4.3 encodes the default trailer field */
		{ 0, SIG_RSA_PSS_SHA256,
		  "304606092a864886f70d01010a3039a00f300d060960864801650304"
		  "02010500a11c301a06092a864886f70d010108300d06096086480165"
		  "030402010500a203020120a303020101" },
		/* the same with another trailer */
		{ -EBADMSG, 0,
		  "304606092a864886f70d01010a3039a00f300d060960864801650304"
		  "02010500a11c301a06092a864886f70d010108300d06096086480165"
		  "030402010500a203020120a303020102" },
		/* hash parameters absent (RFC 4055 s2.1) */
		{ 0, SIG_RSA_PSS_SHA256,
		  "303d06092a864886f70d01010a3030a00d300b0609608648016503040201"
		  "a11a301806092a864886f70d010108300b0609608648016503040201"
		  "a203020120" },
		/* salt 20 with SHA-256; MGF1 with another hash */
		{ -ENOTSUP, 0,
		  "304106092a864886f70d01010a3034a00f300d06096086480165030402010500"
		  "a11c301a06092a864886f70d010108300d06096086480165030402010500"
		  "a203020114" },
		{ -ENOTSUP, 0,
		  "304106092a864886f70d01010a3034a00f300d06096086480165030402010500"
		  "a11c301a06092a864886f70d010108300d06096086480165030402020500"
		  "a203020120" },
		/* RSASSA-PSS with the defaults, that is SHA-1 (A.4.1) */
		{ -ENOTSUP, 0, "300d06092a864886f70d01010a3000" },
		/* sha1WithRSAEncryption (A.1.1), ecdsa-with-SHA1 (A.3.1), Ed448 */
		{ -ENOTSUP, 0, "300d06092a864886f70d0101050500" },
		{ -ENOTSUP, 0, "300906072a8648ce3d0401" },
		{ -ENOTSUP, 0, "300506032b6571" },
		/* parameters where none belong, none where NULL belongs */
		{ -ENOTSUP, 0, "300c06082a8648ce3d0403020500" },
		{ -ENOTSUP, 0, "300b06092a864886f70d01010b" },
		/* trailing byte; length in long form; length not minimal */
		{ -EBADMSG, 0, "300506032b657000" },
		{ -EBADMSG, 0, "30810506032b6570" },
		{ -EBADMSG, 0, "30060681032b6570" },
		{ -EBADMSG, 0, "310506032b6570" },
		{ -EBADMSG, 0, "30020600" },
		{ -EBADMSG, 0, "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct hex der = hex(t[i].der);
		enum sig_scheme s;

		assert_int_equal(sig_algid_parse(der.b, der.len, &s), t[i].rc);
		assert_int_equal(s, t[i].s);
	}
}

static void auth_data_round_trips(void **state)
{
	(void)state;
	for (enum sig_scheme s = SIG_ED25519; s < SIG_SCHEMES; s++) {
		uint8_t data[SIG_AUTH_DATA_MAX];
		enum sig_scheme got;
		struct span sig;
		size_t len;

		assert_int_equal(sig_auth_build(s, "signature", 9, data, sizeof(data), &len), 0);
		assert_int_equal(
		    sig_auth_parse((uint8_t)sig_scheme_method(s), data, len, &got, &sig), 0);
		assert_int_equal(got, s);
		assert_int_equal(sig.len, 9);
		assert_memory_equal(sig.p, "signature", 9);
		/* Up to the end of the AlgorithmIdentifier nothing is a signature. */
		for (size_t n = 0; n <= len - 9; n++)
			assert_true(
			    sig_auth_parse((uint8_t)sig_scheme_method(s), data, n, &got, &sig) < 0);
	}
}

static void methods_that_we_do_not_have_are_refused(void **state)
{
	enum sig_scheme s;
	struct span sig;

	(void)state;
	assert_int_equal(sig_auth_parse(AUTH_RSA_SIG, "xx", 2, &s, &sig), -ENOTSUP);
	assert_int_equal(sig_auth_parse(AUTH_NULL, "xx", 2, &s, &sig), -ENOTSUP);
	assert_int_equal(sig_auth_parse(0, "xx", 2, &s, &sig), -ENOTSUP);
}

static void the_pick_follows_the_peers_hashes(void **state)
{
	(void)state;
	assert_int_equal(sig_scheme_pick(KEY_ED25519, SIG_HASHES_ALL), SIG_ED25519);
	assert_int_equal(sig_scheme_pick(KEY_ED25519, 1u << SIG_HASH_SHA2_256), SIG_NONE);
	assert_int_equal(sig_scheme_pick(KEY_P384, SIG_HASHES_ALL), SIG_ECDSA_SHA384);
	assert_int_equal(sig_scheme_pick(KEY_P384, 1u << SIG_HASH_SHA2_256), SIG_ECDSA_SHA256);
	assert_int_equal(sig_scheme_pick(KEY_P384, 0), SIG_ECDSA_P384_RAW);
	assert_int_equal(sig_scheme_pick(KEY_RSA, SIG_HASHES_ALL), SIG_RSA_PSS_SHA256);
	assert_int_equal(sig_scheme_pick(KEY_RSA, 0), SIG_NONE);
	assert_int_equal(sig_scheme_pick(KEY_RSA, 1u << SIG_HASH_SHA1), SIG_NONE);
}

static void public_keys_load_from_pem_and_from_one_line(void **state)
{
	(void)state;
	for (enum key_type t = KEY_ED25519; t <= KEY_RSA; t++) {
		char line[4096] = "# a comment\n\n  ", fp[KEY_FINGERPRINT_MAX], again[4096];
		const char *p = strchr(pairs[t].pem, '\n');
		size_t n = strlen(line);
		uint8_t spki[KEY_SPKI_MAX];
		struct pubkey *k, *half;
		size_t len;

		for (; strncmp(p, "-----END", 8) != 0; p++) {
			if (*p != '\n')
				line[n++] = *p;
		}
		strcpy(line + n, " home of somebody\n");
		assert_int_equal(pubkey_load(line, strlen(line), &k), 0);
		assert_true(pubkey_equal(k, pairs[t].pub));
		assert_int_equal(pubkey_type(k), t);
		assert_int_equal(pubkey_spki(k, spki, sizeof(spki), &len), 0);
		pubkey_free(k);
		for (size_t i = 0; i < len; i++)
			assert_int_not_equal(pubkey_from_spki(spki, i, &k), 0);
		assert_int_equal(pubkey_from_spki(spki, len + 1, &k), -EBADMSG);
		assert_int_equal(privkey_public(pairs[t].priv, &half), 0);
		assert_true(pubkey_equal(half, pairs[t].pub));
		assert_int_equal(pubkey_pem(half, again, sizeof(again)), 0);
		assert_string_equal(again, pairs[t].pem);
		pubkey_free(half);
		assert_int_equal(strlen(pubkey_fingerprint(pairs[t].pub, fp)), 50);
		assert_int_equal(key_type_parse(key_type_name(t)), t);
		/* Two keys in one file: which one was meant? */
		n = strlen(line);
		memcpy(line + n, line, n);
		line[2 * n] = '\0';
		assert_int_equal(pubkey_load(line, strlen(line), &k), -EBADMSG);
		assert_null(k);
		strcat(again, pairs[t].pem);
		assert_int_equal(pubkey_load(again, strlen(again), &k), -EBADMSG);
		assert_null(k);
	}
	assert_false(pubkey_equal(pairs[KEY_P256].pub, pairs[KEY_ED25519].pub));
}

static void bad_key_files_are_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"\n\n# nothing\n",
		"AAAA",
		"MCowBQYDK2VwAyEA",
		"====",
		"-----BEGIN PUBLIC KEY-----\n",
		"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
		"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
	};
	struct privkey *priv;
	struct secret text = { 0 };
	struct pubkey *k;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(pubkey_load(bad[i], strlen(bad[i]), &k), -EBADMSG);
		assert_null(k);
		assert_int_equal(secret_set(&text, bad[i], strlen(bad[i])), 0);
		assert_int_equal(privkey_load(&text, &priv), -EBADMSG);
		assert_null(priv);
	}
	/* A public key is no private key. */
	assert_int_equal(secret_set(&text, pairs[KEY_ED25519].pem, strlen(pairs[KEY_ED25519].pem)),
			 0);
	assert_int_equal(privkey_load(&text, &priv), -EBADMSG);
	secret_clear(&text);
}

static void weak_keys_are_refused(void **state)
{
	/* RSA of 1024 bits; P-224; RSA with exponent 3: well-formed, but not ours. */
	static const char *const t[] = {
		"MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQC3qqJGGi7UHSju+OU27ve8f1VnxTQ6tNyuP2I4"
		"ouA+MI3ii/Tl67wUnHGWoy76oaMyvuCA1itcNTXeLr/IgOEjAX5d7a+zYO+2IeT+wVDFu0NVIpnP"
		"DbExwnY94FXg1XApzhZIHXBYaEotrxDyQKNki/S0VBuI6Buu22yHdZbmNwIDAQAB",
		"ME4wEAYHKoZIzj0CAQYFK4EEACEDOgAEaVqgjqlyMQ9YPumk8pr8FQ5P+JABgH/8x6KHmypxGt+P"
		"OH3ILgpRU8nNQJD49xAokT9SPOFYQlc=",
		"MIIBIDANBgkqhkiG9w0BAQEFAAOCAQ0AMIIBCAKCAQEAmAv9D8y6oHADj//SQacwBHkdnzvhofZT"
		"79/G82e0LuG849kJY1ffAj3HMxyzskWFrkghpwr3kEplOyh+p1mdUEhGfLXlYnciz+uDYbiY48rQ"
		"4ON7G99C5iPUF+h9ujmbuYwmpbu4R9IWAaxKBlA3Nq+G38SAI1/+gjFPlRjrpZXuQDg7UDu3Xooz"
		"WWXUsmLScwHYJh7h2cXTmMgXYOyy+B5BuKTSEIO74d1AaXSYq2ix9OqRszeCwPHgw1R5q8XDo77U"
		"BawGHE+nAj6G2qKh0AvGoKE29iA3V0siSoMnPndPZK+3faOJ6sYZwTxkY39v/5o08GhhkTQWxeLf"
		"wkoGXQIBAw==",
	};
	struct pubkey *k;

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		assert_int_equal(pubkey_load(t[i], strlen(t[i]), &k), -ENOTSUP);
		assert_null(k);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ed25519_verifies_rfc_8032),
		cmocka_unit_test(every_scheme_signs_and_rejects_changes),
		cmocka_unit_test(a_signature_is_bound_to_its_scheme),
		cmocka_unit_test(algorithm_identifiers_are_those_of_rfc_7427),
		cmocka_unit_test(parsed_algorithm_identifiers),
		cmocka_unit_test(auth_data_round_trips),
		cmocka_unit_test(methods_that_we_do_not_have_are_refused),
		cmocka_unit_test(the_pick_follows_the_peers_hashes),
		cmocka_unit_test(public_keys_load_from_pem_and_from_one_line),
		cmocka_unit_test(bad_key_files_are_refused),
		cmocka_unit_test(weak_keys_are_refused),
	};

	return cmocka_run_group_tests(tests, make_keys, free_keys);
}
