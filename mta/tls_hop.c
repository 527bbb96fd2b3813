/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tls_hop.h"

#include <errno.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

/* It is pinned, and its dates mean nothing (RFC 5280 s4.1.2.5); a clock may be wrong at the first start. */
#define NOT_BEFORE "20000101000000Z"
#define NOT_AFTER  "99991231235959Z"

static X509 *certificate(EVP_PKEY *key)
{
	X509 *cert = X509_new();
	X509_NAME *name = cert ? X509_get_subject_name(cert) : NULL;

	if (cert && X509_set_version(cert, X509_VERSION_3) &&
	    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1) &&
	    ASN1_TIME_set_string_X509(X509_getm_notBefore(cert), NOT_BEFORE) &&
	    ASN1_TIME_set_string_X509(X509_getm_notAfter(cert), NOT_AFTER) &&
	    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
				       (const unsigned char *)TLS_HOP_NAME, -1, -1, 0) &&
	    X509_set_issuer_name(cert, name) && X509_set_pubkey(cert, key) &&
	    X509_sign(cert, key, EVP_sha256()))
		return cert;
	X509_free(cert);
	return NULL;
}

int tls_hop_make(char **pem, size_t *len)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = key ? certificate(key) : NULL;
	BIO *bio = cert ? BIO_new(BIO_s_secmem()) : NULL;
	const char *text;
	int ret = -EIO;
	long n;

	if (!bio || !PEM_write_bio_X509(bio, cert) ||
	    !PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL))
		goto out;
	n = BIO_get_mem_data(bio, &text);
	*pem = n > 0 ? malloc((size_t)n + 1) : NULL;
	if (!*pem)
		goto out;
	memcpy(*pem, text, (size_t)n);
	(*pem)[n] = 0;
	*len = (size_t)n;
	ret = 0;
out:
	BIO_free(bio);
	X509_free(cert);
	EVP_PKEY_free(key);
	ERR_clear_error();
	return ret;
}

int tls_hop_check(const char *pem, size_t len, struct tls_pin *pin)
{
	struct tls_keypair pair = { pem, len, pem, len };
	struct tls_server_conf conf = { .keypairs = &pair, .keypair_count = 1 };
	char err[TLS_ERROR_MAX];
	struct tls_ctx *ctx;

	if (tls_server_ctx_new(&ctx, &conf, err))
		return -EBADMSG;
	tls_ctx_put(ctx);
	return tls_pin_of(pem, len, pin);
}

int tls_peer_hop(const struct tls *t, struct tls_pin *pin)
{
	return tls_peer_is(t, TLS_HOP_NAME) ? tls_peer_pin(t, pin) : -ENOENT;
}
