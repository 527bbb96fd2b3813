/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include "certs.h"

static EVP_PKEY *fresh(int kind)
{
	return kind == 0   ? EVP_PKEY_Q_keygen(NULL, NULL, "ED25519")
	       : kind == 1 ? EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256")
			   : EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
}

static void extend(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *ext;

	X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	assert_non_null(ext);
	X509_add_ext(x, ext, -1);
	X509_EXTENSION_free(ext);
}

static X509 *certify(EVP_PKEY *key, const char *name, X509 *issuer, EVP_PKEY *signer)
{
	X509 *x = X509_new();
	X509_NAME *subject;
	char san[100];
	static long serial = 1;

	assert_non_null(x);
	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), ++serial);
	ASN1_TIME_set(X509_getm_notBefore(x), TEST_CERT_NOW - 86400 * 180);
	ASN1_TIME_set(X509_getm_notAfter(x), TEST_CERT_NOW + 86400 * 180);
	subject = X509_get_subject_name(x);
	X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const uint8_t *)name, -1, -1, 0);
	X509_set_issuer_name(x, issuer ? X509_get_subject_name(issuer) : subject);
	X509_set_pubkey(x, key);
	if (issuer) {
		snprintf(san, sizeof(san), "DNS:%s", name);
		extend(x, issuer, NID_subject_alt_name, san);
	} else {
		extend(x, x, NID_basic_constraints, "critical,CA:TRUE");
		extend(x, x, NID_key_usage, "critical,keyCertSign,cRLSign");
		extend(x, x, NID_subject_key_identifier, "hash");
	}
	assert_true(
	    X509_sign(x, signer, EVP_PKEY_id(signer) == EVP_PKEY_ED25519 ? NULL : EVP_sha256()));
	return x;
}

static size_t pem_of(BIO *b, char *out, size_t cap)
{
	int n = BIO_read(b, out, (int)cap - 1);

	assert_true(n > 0);
	out[n] = 0;
	BIO_free(b);
	return (size_t)n;
}

void test_cert_load(int kind, int index, struct privkey **key, struct cert **chain, size_t *count,
		    const struct ca_store **ca)
{
	static const char *const names[2] = { "home.example.net", "vps.example.net" };
	static EVP_PKEY *ca_key[3], *rsa[2];
	static X509 *ca_cert[3];
	EVP_PKEY *k;
	struct ca_store *store;
	struct secret text = { 0 };
	char pem[8192];
	size_t len;
	X509 *x;
	BIO *b;

	if (!ca_key[kind]) {
		ca_key[kind] = fresh(kind);
		ca_cert[kind] = certify(ca_key[kind], "Test CA", NULL, ca_key[kind]);
	}
	/* RSA keys are slow to make: one for each host serves the whole run. */
	if (kind == 2 && !rsa[index])
		rsa[index] = fresh(kind);
	k = kind == 2 ? rsa[index] : fresh(kind);
	x = certify(k, names[index], ca_cert[kind], ca_key[kind]);
	b = BIO_new(BIO_s_mem());
	PEM_write_bio_X509(b, x);
	len = pem_of(b, pem, sizeof(pem));
	assert_int_equal(0, cert_chain_load(pem, len, chain, count));
	b = BIO_new(BIO_s_mem());
	PEM_write_bio_PKCS8PrivateKey(b, k, NULL, NULL, 0, NULL, NULL);
	len = pem_of(b, pem, sizeof(pem));
	secret_set(&text, pem, len);
	assert_int_equal(0, privkey_load(&text, key));
	secret_clear(&text);
	b = BIO_new(BIO_s_mem());
	PEM_write_bio_X509(b, ca_cert[kind]);
	len = pem_of(b, pem, sizeof(pem));
	assert_int_equal(0, ca_store_new(pem, len, &store));
	*ca = store;
	X509_free(x);
	if (kind != 2)
		EVP_PKEY_free(k);
}
