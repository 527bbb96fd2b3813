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
			   : EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)kind);
}

static void extend(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *ext;

	if (!value)
		return;
	X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	assert_non_null(ext);
	X509_add_ext(x, ext, -1);
	X509_EXTENSION_free(ext);
}

/* One certificate; what is NULL is not in it. */
struct plan {
	const char *name, *san, *constraints, *usage, *names, *eku;
	int64_t shift_s; /* of both dates */
	const EVP_MD *md;
};

static X509 *certify(EVP_PKEY *key, const struct plan *plan, X509 *issuer, EVP_PKEY *signer)
{
	const EVP_MD *md = plan->md ? plan->md : EVP_sha256();
	X509 *x = X509_new();
	X509_NAME *subject;
	static long serial = 1;

	assert_non_null(x);
	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), ++serial);
	ASN1_TIME_set(X509_getm_notBefore(x), TEST_CERT_NOW - 86400 * 180 + plan->shift_s);
	ASN1_TIME_set(X509_getm_notAfter(x), TEST_CERT_NOW + 86400 * 180 + plan->shift_s);
	subject = X509_get_subject_name(x);
	X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const uint8_t *)plan->name, -1, -1,
				   0);
	X509_set_issuer_name(x, issuer ? X509_get_subject_name(issuer) : subject);
	X509_set_pubkey(x, key);
	extend(x, issuer ? issuer : x, NID_subject_alt_name, plan->san);
	extend(x, issuer ? issuer : x, NID_basic_constraints, plan->constraints);
	extend(x, issuer ? issuer : x, NID_key_usage, plan->usage);
	extend(x, issuer ? issuer : x, NID_name_constraints, plan->names);
	extend(x, issuer ? issuer : x, NID_ext_key_usage, plan->eku);
	if (!issuer)
		extend(x, x, NID_subject_key_identifier, "hash");
	assert_true(X509_sign(x, signer, EVP_PKEY_id(signer) == EVP_PKEY_ED25519 ? NULL : md));
	return x;
}

static const struct plan root_plan = { .name = "Test CA",
				       .constraints = "critical,CA:TRUE",
				       .usage = "critical,keyCertSign,cRLSign" };
static const struct plan inter_plan = { .name = "Middle",
					.constraints = "critical,CA:TRUE",
					.usage = "critical,keyCertSign,cRLSign" };
static const struct plan leaf_plan[2] = {
	{ .name = "home.example.net", .san = "DNS:home.example.net" },
	{ .name = "vps.example.net", .san = "DNS:vps.example.net" },
};

/* ---- into our types ---- */

static size_t pem_of(BIO *b, char *out, size_t cap)
{
	int n = BIO_read(b, out, (int)cap - 1);

	assert_true(n > 0);
	out[n] = 0;
	BIO_free(b);
	return (size_t)n;
}

static size_t pem_certs(X509 *a, X509 *b, char *out, size_t cap)
{
	BIO *bio = BIO_new(BIO_s_mem());

	PEM_write_bio_X509(bio, a);
	if (b)
		PEM_write_bio_X509(bio, b);
	return pem_of(bio, out, cap);
}

static void hand_over(EVP_PKEY *k, X509 *leaf, X509 *inter, X509 *root, struct privkey **key,
		      struct cert **chain, size_t *count, const struct ca_store **ca)
{
	struct secret text = { 0 };
	struct ca_store *store;
	char pem[8192];
	size_t len = pem_certs(leaf, inter, pem, sizeof(pem));
	BIO *b = BIO_new(BIO_s_mem());

	assert_int_equal(0, cert_chain_load(pem, len, chain, count));
	PEM_write_bio_PKCS8PrivateKey(b, k, NULL, NULL, 0, NULL, NULL);
	len = pem_of(b, pem, sizeof(pem));
	secret_set(&text, pem, len);
	assert_int_equal(0, privkey_load(&text, key));
	secret_clear(&text);
	len = pem_certs(root, NULL, pem, sizeof(pem));
	assert_int_equal(0, ca_store_new(pem, len, &store));
	*ca = store;
}

void test_cert_load(int kind, int index, struct privkey **key, struct cert **chain, size_t *count,
		    const struct ca_store **ca)
{
	static EVP_PKEY *ca_key[3], *rsa[2];
	static X509 *ca_cert[3];
	EVP_PKEY *k;
	X509 *x;

	if (!ca_key[kind]) {
		ca_key[kind] = fresh(kind == 2 ? 2048 : kind);
		ca_cert[kind] = certify(ca_key[kind], &root_plan, NULL, ca_key[kind]);
	}
	/* RSA keys are slow to make: one for each host serves the whole run. */
	if (kind == 2 && !rsa[index])
		rsa[index] = fresh(2048);
	k = kind == 2 ? rsa[index] : fresh(kind);
	x = certify(k, &leaf_plan[index], ca_cert[kind], ca_key[kind]);
	hand_over(k, x, NULL, ca_cert[kind], key, chain, count, ca);
	X509_free(x);
	if (kind != 2)
		EVP_PKEY_free(k);
}

void test_pki(enum pki_fault fault, int index, struct privkey **key, struct cert **chain,
	      size_t *count, const struct ca_store **ca)
{
	struct plan r = root_plan, i = inter_plan, l = leaf_plan[index];
	EVP_PKEY *root_key = fresh(1), *leaf_key = fresh(1), *inter_key;
	bool middle = fault >= PKI_PATH_LENGTH && fault <= PKI_NO_CERT_SIGN;
	X509 *root, *inter = NULL, *leaf;

	switch (fault) {
	case PKI_OTHER_NAME:
		l.san = "DNS:other.example.net, email:vps@example.net";
		break;
	case PKI_EXPIRED:
		l.shift_s = -86400 * 200;
		break;
	case PKI_NOT_YET:
		l.shift_s = 86400 * 200;
		break;
	case PKI_SHA1:
		l.md = EVP_sha1();
		break;
	case PKI_PATH_LENGTH:
		r.constraints = "critical,CA:TRUE,pathlen:0";
		break;
	case PKI_CONSTRAINT:
		i.names = "critical,permitted;DNS:example.org";
		break;
	case PKI_EXCLUDED:
		i.names = "critical,excluded;DNS:example.net";
		break;
	case PKI_CONSTRAINT_OK:
		i.names = "critical,permitted;DNS:example.net";
		break;
	case PKI_NOT_CA:
		i.constraints = "critical,CA:FALSE";
		break;
	case PKI_NO_CERT_SIGN:
		i.usage = "critical,cRLSign";
		break;
	case PKI_KEY_USAGE:
		l.usage = "critical,keyEncipherment";
		break;
	case PKI_CODE_SIGNING:
		l.eku = "codeSigning";
		break;
	case PKI_EKU_IKE:
		l.eku = "1.3.6.1.5.5.7.3.17";
		break;
	case PKI_EKU_ANY:
		l.eku = "anyExtendedKeyUsage, codeSigning";
		break;
	case PKI_EKU_SERVER:
		l.eku = "serverAuth";
		break;
	default:
		break;
	}
	middle |= fault == PKI_WEAK_CA_KEY || fault == PKI_MISSING_INTER || fault == PKI_INTER ||
		  fault == PKI_CONSTRAINT_OK;
	inter_key = fresh(fault == PKI_WEAK_CA_KEY ? 1024 : 1);
	root = certify(root_key, &r, NULL, root_key);
	if (middle)
		inter = certify(inter_key, &i, root, root_key);
	leaf = certify(leaf_key, &l, middle ? inter : root, middle ? inter_key : root_key);
	if (fault == PKI_OTHER_CA) {
		X509_free(root);
		EVP_PKEY_free(root_key);
		root_key = fresh(1);
		root = certify(root_key, &r, NULL, root_key);
	}
	hand_over(leaf_key, leaf, fault == PKI_MISSING_INTER ? NULL : inter, root, key, chain,
		  count, ca);
	X509_free(root);
	X509_free(inter);
	X509_free(leaf);
	EVP_PKEY_free(root_key);
	EVP_PKEY_free(inter_key);
	EVP_PKEY_free(leaf_key);
}
