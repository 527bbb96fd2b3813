/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ossl.h"

#include <pthread.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/params.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static EVP_MD *sha1, *sha256, *sha384, *sha512;
static EVP_CIPHER *gcm128, *gcm256, *chapoly, *cbc128, *cbc256;
static EVP_MAC *hmac;

static void fetch(void)
{
	sha1 = EVP_MD_fetch(NULL, "SHA1", NULL);
	sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	sha384 = EVP_MD_fetch(NULL, "SHA384", NULL);
	sha512 = EVP_MD_fetch(NULL, "SHA512", NULL);
	gcm128 = EVP_CIPHER_fetch(NULL, "AES-128-GCM", NULL);
	gcm256 = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	chapoly = EVP_CIPHER_fetch(NULL, "ChaCha20-Poly1305", NULL);
	cbc128 = EVP_CIPHER_fetch(NULL, "AES-128-CBC", NULL);
	cbc256 = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
	hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
}

const EVP_MD *ossl_md(unsigned bits)
{
	pthread_once(&once, fetch);
	switch (bits) {
	case 1:
		return sha1;
	case 256:
		return sha256;
	case 384:
		return sha384;
	case 512:
		return sha512;
	default:
		return NULL;
	}
}

const char *ossl_md_name(unsigned bits)
{
	switch (bits) {
	case 256:
		return "SHA256";
	case 384:
		return "SHA384";
	case 512:
		return "SHA512";
	default:
		return NULL;
	}
}

const EVP_CIPHER *ossl_cipher(uint16_t encr, uint16_t bits)
{
	pthread_once(&once, fetch);
	switch (encr) {
	case ENCR_AES_GCM_16:
		return bits == 128 ? gcm128 : bits == 256 ? gcm256 : NULL;
	case ENCR_AES_CBC:
		return bits == 128 ? cbc128 : bits == 256 ? cbc256 : NULL;
	case ENCR_CHACHA20_POLY1305:
		return bits ? NULL : chapoly;
	default:
		return NULL;
	}
}

EVP_MAC_CTX *ossl_hmac_new(unsigned bits, const void *key, size_t len)
{
	const char *name = ossl_md_name(bits);
	OSSL_PARAM params[2];
	EVP_MAC_CTX *ctx;

	pthread_once(&once, fetch);
	if (!name || !hmac)
		return NULL;
	ctx = EVP_MAC_CTX_new(hmac);
	if (!ctx)
		return NULL;
	params[0] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)name, 0);
	params[1] = OSSL_PARAM_construct_end();
	/* A NULL key would mean "keep the one before": an empty key needs an address. */
	if (EVP_MAC_init(ctx, len ? key : (const void *)"", len, params) == 1)
		return ctx;
	EVP_MAC_CTX_free(ctx);
	return NULL;
}
