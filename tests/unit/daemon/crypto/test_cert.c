/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "cert.h"
#include "exchange/certs.h"
#include "vectors/certs.h"

enum { IPV4 = 1, FQDN = 2, RFC822 = 3, IPV6 = 5, DN = 9, KEY_ID = 11 };

static struct cert *load(const char *pem)
{
	struct cert *certs[CERT_CHAIN_MAX];
	size_t n;

	assert_int_equal(cert_chain_load(pem, strlen(pem), certs, &n), 0);
	assert_int_equal(n, 1);
	return certs[0];
}

static int verify(const char *leaf_pem, const char *inter_pem, const char *root_pem, int64_t now)
{
	struct cert *leaf = load(leaf_pem), *inter = inter_pem ? load(inter_pem) : NULL;
	struct span others[1] = { { NULL, 0 } };
	struct ca_store *store;
	const char *why;
	int rc;

	if (inter)
		others[0] = cert_der(inter);
	assert_int_equal(ca_store_new(root_pem, strlen(root_pem), &store), 0);
	rc = cert_verify(leaf, others, inter ? 1 : 0, store, now, &why);
	assert_non_null(why);
	ca_store_free(store);
	cert_free(leaf);
	cert_free(inter);
	return rc;
}

static void a_chain_holds_only_with_all_its_links(void **state)
{
	(void)state;
	assert_int_equal(verify(CERT_LEAF, CERT_INTER, CERT_ROOT, CERTS_INSIDE), 0);
	assert_int_equal(verify(CERT_LEAF, NULL, CERT_ROOT, CERTS_INSIDE), -EKEYREJECTED);
	assert_int_equal(verify(CERT_LEAF, CERT_INTER, CERT_OTHER_ROOT, CERTS_INSIDE),
			 -EKEYREJECTED);
	assert_int_equal(verify(CERT_PLAIN, NULL, CERT_ROOT, CERTS_INSIDE), 0);
	/* The intermediate alone as anchor. */
	assert_int_equal(verify(CERT_LEAF, NULL, CERT_INTER, CERTS_INSIDE), 0);
}

static void a_leaf_is_no_authority(void **state)
{
	(void)state;
	assert_int_equal(verify(CERT_BY_USER, CERT_USER, CERT_ROOT, CERTS_INSIDE), -EKEYREJECTED);
}

static void key_usage_and_size_are_judged(void **state)
{
	(void)state;
	assert_int_equal(verify(CERT_NO_SIGN, NULL, CERT_ROOT, CERTS_INSIDE), -EKEYREJECTED);
	assert_int_equal(verify(CERT_RSA1024, NULL, CERT_ROOT, CERTS_INSIDE), -EKEYREJECTED);
}

static void dates_are_told_apart_from_distrust(void **state)
{
	(void)state;
	assert_int_equal(verify(CERT_LEAF, CERT_INTER, CERT_ROOT, CERTS_BEFORE), -EKEYEXPIRED);
	assert_int_equal(verify(CERT_LEAF, CERT_INTER, CERT_ROOT, CERTS_AFTER), -EKEYEXPIRED);
	assert_int_equal(verify(CERT_LEAF, CERT_INTER, CERT_ROOT, -1), 0);
	assert_int_equal(verify(CERT_LEAF, CERT_INTER, CERT_OTHER_ROOT, CERTS_AFTER),
			 -EKEYREJECTED);
}

static int verify_pki(enum pki_fault fault, int64_t now, const char **why)
{
	struct cert *chain[CERT_CHAIN_MAX];
	const struct ca_store *ca;
	struct span others[1] = { { NULL, 0 } };
	struct privkey *key;
	size_t n;
	int rc;

	test_pki(fault, 1, &key, chain, &n, &ca);
	if (n > 1)
		others[0] = cert_der(chain[1]);
	rc = cert_verify(chain[0], others, n - 1, ca, now, why);
	for (size_t i = 0; i < n; i++)
		cert_free(chain[i]);
	ca_store_free((struct ca_store *)(uintptr_t)ca);
	privkey_free(key);
	return rc;
}

static void each_fault_of_a_chain_is_found_and_named(void **state)
{
	static const struct {
		int rc;
		const char *word;
	} want[PKI_FAULTS] = {
		[PKI_OTHER_CA] = { -EKEYREJECTED, "another key" },
		[PKI_OTHER_NAME] = { 0, "" }, /* cert_has_id() */
		[PKI_EXPIRED] = { -EKEYEXPIRED, "expired" },
		[PKI_NOT_YET] = { -EKEYEXPIRED, "not yet valid" },
		[PKI_WEAK_CA_KEY] = { -EKEYREJECTED, "too small a key" },
		[PKI_SHA1] = { -EKEYREJECTED, "SHA-1" },
		[PKI_PATH_LENGTH] = { -EKEYREJECTED, "path length" },
		[PKI_CONSTRAINT] = { -EKEYREJECTED, "name constraints" },
		[PKI_EXCLUDED] = { -EKEYREJECTED, "name constraints" },
		[PKI_NOT_CA] = { -EKEYREJECTED, "basicConstraints" },
		[PKI_NO_CERT_SIGN] = { -EKEYREJECTED, "keyUsage" },
		[PKI_KEY_USAGE] = { -EKEYREJECTED, "keyUsage" },
		[PKI_CODE_SIGNING] = { -EKEYREJECTED, "extendedKeyUsage" },
		[PKI_MISSING_INTER] = { -EKEYREJECTED, "not sent" },
	};
	const char *why;

	(void)state;
	for (enum pki_fault f = 0; f < PKI_KINDS; f++) {
		int rc = verify_pki(f, TEST_CERT_NOW, &why);

		if (f >= PKI_FAULTS && rc)
			fail_msg("good chain %d: %s", f, why);
		if (f < PKI_FAULTS && (rc != want[f].rc || (rc && !strstr(why, want[f].word))))
			fail_msg("fault %d: %d, %s", f, rc, why);
	}
	/* Without a clock the dates alone are left out. */
	assert_int_equal(verify_pki(PKI_EXPIRED, -1, &why), 0);
	assert_int_equal(verify_pki(PKI_SHA1, -1, &why), -EKEYREJECTED);
}

static void an_authority_with_a_weak_key_is_no_anchor(void **state)
{
	struct ca_store *store;

	(void)state;
	assert_int_equal(ca_store_new(CERT_RSA1024, strlen(CERT_RSA1024), &store), -ENOTSUP);
	assert_null(store);
	assert_int_equal(
	    ca_store_new(CERT_ROOT CERT_RSA1024, strlen(CERT_ROOT CERT_RSA1024), &store), -ENOTSUP);
}

static void identities_match_exactly(void **state)
{
	static const uint8_t v4[] = { 192, 0, 2, 1 }, v6[16] = { 0x20, 1, 0xd, 0xb8, [15] = 1 };
	static const uint8_t dn[] = "\x30\x0e\x31\x0c\x30\x0a\x06\x03\x55\x04\x03\x0c\x03"
				    "vps";
	struct cert *c = load(CERT_LEAF), *plain = load(CERT_PLAIN), *nul = load(CERT_NUL);

	(void)state;
	assert_true(cert_has_id(c, FQDN, "vps.example.net", 15));
	assert_true(cert_has_id(c, FQDN, "VPS.example.NET", 15));
	assert_true(cert_has_id(c, RFC822, "admin@example.net", 17));
	assert_true(cert_has_id(c, IPV4, v4, 4));
	assert_true(cert_has_id(c, IPV6, v6, 16));
	assert_true(cert_has_id(c, DN, dn, sizeof(dn) - 1));
	assert_false(cert_has_id(c, DN, dn, sizeof(dn) - 2));
	assert_false(cert_has_id(c, FQDN, "vps.example.ne", 14));
	assert_false(cert_has_id(c, FQDN, "vps.example.net\0", 16));
	assert_false(cert_has_id(c, FQDN, "", 0));
	assert_false(cert_has_id(c, FQDN, "vps", 3)); /* the common name is no identity */
	assert_false(cert_has_id(c, RFC822, "vps.example.net", 15));
	assert_false(cert_has_id(c, IPV4, v6, 16));
	assert_false(cert_has_id(c, KEY_ID, "vps.example.net", 15));
	assert_false(cert_has_id(plain, FQDN, "plain", 5));
	assert_false(cert_has_id(nul, FQDN, "vps.example.net", 15));
	assert_false(cert_has_id(nul, FQDN, "vps.example.net\0.evil.example", 29));
	cert_free(c);
	cert_free(plain);
	cert_free(nul);
}

static void every_truncation_is_refused(void **state)
{
	struct cert *c = load(CERT_LEAF), *again;
	uint8_t longer[CERT_DER_MAX + 1] = { 0 };
	struct span der = cert_der(c);

	(void)state;
	for (size_t n = 0; n < der.len; n++) {
		assert_int_equal(cert_parse(der.p, n, &again), -EBADMSG);
		assert_null(again);
	}
	memcpy(longer, der.p, der.len);
	assert_int_equal(cert_parse(longer, der.len + 1, &again), -EBADMSG);
	assert_int_equal(cert_parse(longer, sizeof(longer), &again), -EMSGSIZE);
	assert_int_equal(cert_parse(longer, der.len, &again), 0);
	cert_free(again);
	cert_free(c);
}

static void keys_and_names_come_out(void **state)
{
	struct cert *c = load(CERT_LEAF), *weak = load(CERT_RSA1024);
	struct ca_store *store;
	struct pubkey *k;
	uint8_t id[20];
	char text[8];

	(void)state;
	assert_int_equal(cert_pubkey(c, &k), 0);
	assert_int_equal(pubkey_type(k), KEY_P256);
	pubkey_free(k);
	assert_int_equal(cert_pubkey(weak, &k), -ENOTSUP);
	assert_string_equal(cert_subject(c, text, sizeof(text)), "CN=vps");
	assert_string_equal(cert_subject(c, text, 4), "CN=");
	assert_int_equal(ca_store_new(CERT_ROOT CERT_INTER, strlen(CERT_ROOT CERT_INTER), &store),
			 0);
	assert_int_equal(ca_store_count(store), 2);
	assert_int_equal(ca_store_keyid(store, 1, id), 0);
	assert_int_equal(ca_store_keyid(store, 2, id), -EINVAL);
	ca_store_free(store);
	assert_int_equal(ca_store_new("", 0, &store), -EBADMSG);
	cert_free(c);
	cert_free(weak);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_chain_holds_only_with_all_its_links),
		cmocka_unit_test(a_leaf_is_no_authority),
		cmocka_unit_test(key_usage_and_size_are_judged),
		cmocka_unit_test(dates_are_told_apart_from_distrust),
		cmocka_unit_test(each_fault_of_a_chain_is_found_and_named),
		cmocka_unit_test(an_authority_with_a_weak_key_is_no_anchor),
		cmocka_unit_test(identities_match_exactly),
		cmocka_unit_test(every_truncation_is_refused),
		cmocka_unit_test(keys_and_names_come_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
