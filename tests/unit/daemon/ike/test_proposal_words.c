/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>

#include "proposal_words.h"

static const char *back(const char *text, uint8_t proto)
{
	static char out[400];
	struct proposals ps = { .count = 1 };
	char why[256];

	if (proposal_from_words(text, proto, &ps.p[0], why, sizeof(why)))
		fail_msg("%s: %s", text, why);
	assert_null(ps.p[0].bad);
	return proposals_str(&ps, out, sizeof(out));
}

static void refused(const char *text, uint8_t proto, const char *want)
{
	struct proposal p;
	char why[256] = "";

	assert_int_equal(proposal_from_words(text, proto, &p, why, sizeof(why)), -EINVAL);
	assert_string_equal(why, want);
}

static void words_come_back_as_they_were_written(void **state)
{
	static const char *const ike[] = {
		"aes128gcm16-chacha20poly1305-prfsha256-prfsha384-x25519-ecp256-ecp521-modp2048",
		"modp4096-prfsha512-aes256gcm16",
		"aes256-aes128-sha512-prfsha256-ecp384",
	};
	static const char *const esp[] = {
		"aes256gcm16-x25519-none-esn-noesn",
		"aes128-sha256-noesn",
		"chacha20poly1305-modp2048-esn",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(ike) / sizeof(ike[0]); i++)
		assert_string_equal(back(ike[i], PROTO_IKE), ike[i]);
	for (size_t i = 0; i < sizeof(esp) / sizeof(esp[0]); i++)
		assert_string_equal(back(esp[i], PROTO_ESP), esp[i]);
}

static void what_is_left_out_follows_from_the_rest(void **state)
{
	(void)state;
	assert_string_equal(back("aes128-sha256-ecp256", PROTO_IKE),
			    "aes128-sha256-ecp256-prfsha256");
	assert_string_equal(back("aes256-sha384-sha512-modp3072", PROTO_IKE),
			    "aes256-sha384-sha512-modp3072-prfsha384-prfsha512");
	assert_string_equal(back("aes128gcm16", PROTO_ESP), "aes128gcm16-esn-noesn");
}

static void the_defaults_can_be_written_down(void **state)
{
	struct proposals ps, again = { 0 };
	char text[600], why[256];

	(void)state;
	for (int i = 0; i < 4; i++) {
		uint8_t proto = i < 2 ? PROTO_IKE : PROTO_ESP;

		if (i < 2)
			proposals_default_ike(&ps, i & 1);
		else
			proposals_default_esp(&ps, i & 1, true);
		proposals_str(&ps, text, sizeof(text));
		again.count = 0;
		for (char *at, *s = strtok_r(text, ", ", &at); s; s = strtok_r(NULL, ", ", &at))
			assert_int_equal(proposal_from_words(s, proto, &again.p[again.count++], why,
							     sizeof(why)),
					 0);
		assert_true(proposals_equal(&ps, &again));
		again.p[0].t[0].bits ^= 1;
		assert_false(proposals_equal(&ps, &again));
	}
}

static void faults_are_named(void **state)
{
	(void)state;
	refused("aes128gcm-prfsha256-x25519", PROTO_IKE,
		"unknown word \"aes128gcm\", did you mean \"aes128gcm16\"?");
	refused("aes128gcm16-prfsha256-frodo", PROTO_IKE, "unknown word \"frodo\"");
	refused("a-word-that-has-no-end-nowhere-and-never", PROTO_IKE, "unknown word \"a\"");
	refused("aes128gcm16aes128gcm16aes128gcm16", PROTO_ESP,
		"unknown word \"aes128gcm16aes128gcm16ae...\"");
	refused("", PROTO_ESP, "a word is missing beside a \"-\"");
	refused("aes128gcm16-", PROTO_ESP, "a word is missing beside a \"-\"");
	refused("aes128gcm16-aes128gcm16", PROTO_ESP, "\"aes128gcm16\" stands twice");
	refused("aes128gcm16-prfsha256", PROTO_ESP, "\"prfsha256\" belongs in ike-proposals");
	refused("aes128gcm16-prfsha256-x25519-none", PROTO_IKE,
		"\"none\" belongs in esp-proposals");
	refused("sha256-x25519", PROTO_ESP, "no cipher; add one, such as aes128gcm16");
	refused("aes128gcm16-prfsha256", PROTO_IKE, "no group; add one, such as x25519");
	refused("aes128gcm16-x25519", PROTO_IKE,
		"no PRF, and this cipher has no hash to take it from; add one, such as prfsha256");
	refused("aes128gcm16-sha256", PROTO_ESP,
		"this cipher brings its own integrity; remove sha256, sha384, sha512");
	refused("aes256-x25519", PROTO_ESP,
		"aes128 and aes256 are CBC and need an integrity word, such as sha256");
	refused("aes256-aes256gcm16-sha256", PROTO_ESP,
		"aes128 and aes256 (CBC) cannot stand beside ciphers that bring their own "
		"integrity; make two proposals of it");
}

/* Nothing weaker than design.md section 4 has a word. */
static void weak_words_are_called_weak(void **state)
{
	static const char *const weak[] = { "des",     "3des",	  "md5",      "sha1",
					    "prfsha1", "modp768", "modp1024", "modp1536" };
	char text[64], want[80];

	(void)state;
	for (size_t i = 0; i < sizeof(weak) / sizeof(weak[0]); i++) {
		snprintf(text, sizeof(text), "aes128-sha256-%s", weak[i]);
		snprintf(want, sizeof(want), "\"%s\" is too weak, Postern does not have it",
			 weak[i]);
		refused(text, PROTO_IKE, want);
		refused(text, PROTO_ESP, want);
	}
}

static void what_we_do_not_have_is_shown_by_its_iana_name(void **state)
{
	struct proposals ps = { 0 };
	struct proposal *p = proposal_add(&ps, PROTO_IKE);
	char text[200];

	(void)state;
	transform_add(p, TRANSFORM_ENCR, 3, 0);
	transform_add(p, TRANSFORM_ENCR, 12, 192);
	transform_add(p, TRANSFORM_INTEG, 2, 0);
	transform_add(p, TRANSFORM_PRF, 2, 0);
	transform_add(p, TRANSFORM_KE, 2, 0);
	proposal_add(&ps, PROTO_AH);
	assert_string_equal(proposals_str(&ps, text, sizeof(text)),
			    "3DES-AES_CBC_192-HMAC_SHA1_96-PRF_HMAC_SHA1-MODP_1024, AH:");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_come_back_as_they_were_written),
		cmocka_unit_test(what_is_left_out_follows_from_the_rest),
		cmocka_unit_test(the_defaults_can_be_written_down),
		cmocka_unit_test(faults_are_named),
		cmocka_unit_test(weak_words_are_called_weak),
		cmocka_unit_test(what_we_do_not_have_is_shown_by_its_iana_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
