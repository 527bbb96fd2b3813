/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "aead.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

struct aead {
	const struct aead_ops *ops;
	EVP_CIPHER_CTX *ctx;
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

static struct aead *ossl_new(enum dp_cipher c, const uint8_t *key, int seal)
{
	struct aead *a;

	pthread_once(&once, fetch);
	if (c >= AEAD_COUNT || !cipher[c])
		return NULL;
	a = calloc(1, sizeof(*a));
	if (!a)
		return NULL;
	a->ctx = EVP_CIPHER_CTX_new();
	/* All three take a 12-byte nonce by default. */
	if (!a->ctx || EVP_CipherInit_ex2(a->ctx, cipher[c], key, NULL, seal, NULL) != 1) {
		EVP_CIPHER_CTX_free(a->ctx);
		free(a);
		return NULL;
	}
	return a;
}

static void ossl_free(struct aead *a)
{
	EVP_CIPHER_CTX_free(a->ctx);
	free(a);
}

static int ossl_seal(struct aead *a, const uint8_t *nonce, const uint8_t *aad, size_t aad_len,
		     const uint8_t *in, size_t len, uint8_t *out)
{
	int n;

	if (EVP_EncryptInit_ex2(a->ctx, NULL, NULL, nonce, NULL) != 1 ||
	    EVP_EncryptUpdate(a->ctx, NULL, &n, aad, (int)aad_len) != 1 ||
	    EVP_EncryptUpdate(a->ctx, out, &n, in, (int)len) != 1 ||
	    EVP_EncryptFinal_ex(a->ctx, out + len, &n) != 1 ||
	    EVP_CIPHER_CTX_ctrl(a->ctx, EVP_CTRL_AEAD_GET_TAG, AEAD_ICV_LEN, out + len) != 1)
		return -EIO;
	return 0;
}

static int ossl_open(struct aead *a, const uint8_t *nonce, const uint8_t *aad, size_t aad_len,
		     uint8_t *text, size_t len)
{
	uint8_t end[16];
	int n;

	if (EVP_DecryptInit_ex2(a->ctx, NULL, NULL, nonce, NULL) != 1 ||
	    EVP_CIPHER_CTX_ctrl(a->ctx, EVP_CTRL_AEAD_SET_TAG, AEAD_ICV_LEN, text + len) != 1 ||
	    EVP_DecryptUpdate(a->ctx, NULL, &n, aad, (int)aad_len) != 1 ||
	    EVP_DecryptUpdate(a->ctx, text, &n, text, (int)len) != 1 ||
	    EVP_DecryptFinal_ex(a->ctx, end, &n) != 1)
		return -EKEYREJECTED;
	return 0;
}

static const struct aead_ops ossl = {
	.name = "openssl",
	.new_ctx = ossl_new,
	.free_ctx = ossl_free,
	.seal = ossl_seal,
	.open = ossl_open,
};

size_t aead_key_len(enum dp_cipher c)
{
	return c == DP_AES_128_GCM_16 ? 16 : 32;
}

struct aead *aead_new(enum dp_cipher c, const uint8_t *key, int seal)
{
	const struct aead_ops *ops = &ossl; /* a faster one is chosen here where it is present */
	struct aead *a = ops->new_ctx(c, key, seal);

	if (a)
		a->ops = ops;
	return a;
}

void aead_free(struct aead *a)
{
	if (a)
		a->ops->free_ctx(a);
}

int aead_seal(struct aead *a, const uint8_t nonce[static AEAD_NONCE_LEN], const uint8_t *aad,
	      size_t aad_len, const uint8_t *in, size_t len, uint8_t *out)
{
	return a->ops->seal(a, nonce, aad, aad_len, in, len, out);
}

int aead_open(struct aead *a, const uint8_t nonce[static AEAD_NONCE_LEN], const uint8_t *aad,
	      size_t aad_len, uint8_t *text, size_t len)
{
	return a->ops->open(a, nonce, aad, aad_len, text, len);
}

const char *aead_backend(void)
{
	static char name[48];

	if (!name[0])
		snprintf(name, sizeof(name), "OpenSSL %s",
			 OpenSSL_version(OPENSSL_FULL_VERSION_STRING));
	return name;
}
