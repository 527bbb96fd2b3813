/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Always there. Of a packet's five calls EVP's own share is 100 to 200 ns, so the leanest are used that are
 * documented: EVP_Cipher() without EVP's buffering, and the tag by an OSSL_PARAM that is made once. The last call is the
 * one for the end: EVP_Cipher() without input ends GCM, but not ChaCha20-Poly1305 in 3.0.20 (in 3.0.22 it does), where
 * it says yes and neither makes nor checks the tag.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include "aead_int.h"

struct ossl {
	struct aead a;
	EVP_CIPHER_CTX *ctx;
	OSSL_PARAM tag[2];
};

/* Fetched once: an implicit fetch for each context costs a walk through the provider tables. */
static EVP_CIPHER *cipher[AEAD_COUNT];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void fetch(void)
{
	cipher[DP_AES_128_GCM_16] = EVP_CIPHER_fetch(NULL, "AES-128-GCM", NULL);
	cipher[DP_AES_256_GCM_16] = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	cipher[DP_CHACHA20_POLY1305] = EVP_CIPHER_fetch(NULL, "ChaCha20-Poly1305", NULL);
}

static const char *ossl_name(void)
{
	static char name[48];

	if (!name[0])
		snprintf(name, sizeof(name), "OpenSSL %s",
			 OpenSSL_version(OPENSSL_FULL_VERSION_STRING));
	return name;
}

static void ossl_free(struct aead *a)
{
	struct ossl *o = (struct ossl *)a;

	EVP_CIPHER_CTX_free(o->ctx);
	free(o);
}

static struct aead *ossl_new(enum dp_cipher c, const uint8_t *key, int seal)
{
	struct ossl *o;

	pthread_once(&once, fetch);
	if (c >= AEAD_COUNT || !cipher[c])
		return NULL;
	o = calloc(1, sizeof(*o));
	if (!o)
		return NULL;
	o->ctx = EVP_CIPHER_CTX_new();
	/* All three take a 12-byte nonce by default. */
	if (!o->ctx || EVP_CipherInit_ex2(o->ctx, cipher[c], key, NULL, seal, NULL) != 1) {
		ossl_free(&o->a);
		return NULL;
	}
	o->tag[0] = OSSL_PARAM_construct_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, NULL, AEAD_ICV_LEN);
	o->tag[1] = OSSL_PARAM_construct_end();
	return &o->a;
}

static int ossl_seal(struct aead *a, const uint8_t *nonce, const uint8_t *aad, size_t aad_len,
		     const uint8_t *in, size_t len, uint8_t *out)
{
	struct ossl *o = (struct ossl *)a;
	int n;

	o->tag[0].data = out + len;
	if (EVP_EncryptInit_ex2(o->ctx, NULL, NULL, nonce, NULL) != 1 ||
	    EVP_Cipher(o->ctx, NULL, aad, (unsigned)aad_len) < 0 ||
	    EVP_Cipher(o->ctx, out, in, (unsigned)len) < 0 ||
	    EVP_EncryptFinal_ex(o->ctx, out + len, &n) != 1 ||
	    EVP_CIPHER_CTX_get_params(o->ctx, o->tag) != 1)
		return -EIO;
	return 0;
}

static int ossl_open(struct aead *a, const uint8_t *nonce, const uint8_t *aad, size_t aad_len,
		     uint8_t *text, size_t len)
{
	struct ossl *o = (struct ossl *)a;
	uint8_t end[16];
	int n;

	o->tag[0].data = text + len;
	if (EVP_DecryptInit_ex2(o->ctx, NULL, NULL, nonce, NULL) != 1 ||
	    EVP_CIPHER_CTX_set_params(o->ctx, o->tag) != 1 ||
	    EVP_Cipher(o->ctx, NULL, aad, (unsigned)aad_len) < 0 ||
	    EVP_Cipher(o->ctx, text, text, (unsigned)len) < 0 ||
	    EVP_DecryptFinal_ex(o->ctx, end, &n) != 1)
		return -EKEYREJECTED;
	return 0;
}

const struct aead_ops aead_openssl = {
	.name = ossl_name,
	.new_ctx = ossl_new,
	.free_ctx = ossl_free,
	.seal = ossl_seal,
	.open = ossl_open,
};
