/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cbc.h"

#include <endian.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

struct cbc {
	EVP_CIPHER_CTX *text;
	EVP_CIPHER_CTX *iv; /* to seal: AES with the key that makes IVs */
	EVP_MAC_CTX *mac;
	size_t icv_len;
};

static const struct {
	uint8_t key_len, integ_len, icv_len;
	const char *hash;
} kinds[] = {
	[DP_AES_128_CBC_SHA256 - DP_AES_128_CBC_SHA256] = { 16, 32, 16, "SHA2-256" },
	[DP_AES_128_CBC_SHA384 - DP_AES_128_CBC_SHA256] = { 16, 48, 24, "SHA2-384" },
	[DP_AES_128_CBC_SHA512 - DP_AES_128_CBC_SHA256] = { 16, 64, 32, "SHA2-512" },
	[DP_AES_256_CBC_SHA256 - DP_AES_128_CBC_SHA256] = { 32, 32, 16, "SHA2-256" },
	[DP_AES_256_CBC_SHA384 - DP_AES_128_CBC_SHA256] = { 32, 48, 24, "SHA2-384" },
	[DP_AES_256_CBC_SHA512 - DP_AES_128_CBC_SHA256] = { 32, 64, 32, "SHA2-512" },
};
#define KIND(c) (kinds[(c)-DP_AES_128_CBC_SHA256])

/* Fetched once, as in aead.c. */
static EVP_CIPHER *cbc128, *cbc256, *ecb128;
static EVP_MAC *hmac;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void fetch(void)
{
	cbc128 = EVP_CIPHER_fetch(NULL, "AES-128-CBC", NULL);
	cbc256 = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
	ecb128 = EVP_CIPHER_fetch(NULL, "AES-128-ECB", NULL);
	hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
}

size_t cbc_key_len(enum dp_cipher c)
{
	return KIND(c).key_len;
}

size_t cbc_integ_len(enum dp_cipher c)
{
	return KIND(c).integ_len;
}

size_t cbc_icv_len(enum dp_cipher c)
{
	return KIND(c).icv_len;
}

static int start_iv(struct cbc *c)
{
	uint8_t key[16];
	int ok;

	c->iv = EVP_CIPHER_CTX_new();
	ok = c->iv && RAND_priv_bytes(key, sizeof(key)) == 1 &&
	     EVP_CipherInit_ex2(c->iv, ecb128, key, NULL, 1, NULL) == 1 &&
	     EVP_CIPHER_CTX_set_padding(c->iv, 0) == 1;
	OPENSSL_cleanse(key, sizeof(key));
	return ok ? 0 : -EIO;
}

static int start(struct cbc *c, enum dp_cipher kind, const uint8_t *key, int seal)
{
	const EVP_CIPHER *aes = KIND(kind).key_len == 16 ? cbc128 : cbc256;
	OSSL_PARAM hash[] = { OSSL_PARAM_construct_utf8_string(
				  OSSL_MAC_PARAM_DIGEST, (char *)(uintptr_t)KIND(kind).hash, 0),
			      OSSL_PARAM_construct_end() };

	c->icv_len = KIND(kind).icv_len;
	c->text = EVP_CIPHER_CTX_new();
	c->mac = EVP_MAC_CTX_new(hmac);
	if (!c->text || !c->mac || EVP_CipherInit_ex2(c->text, aes, key, NULL, seal, NULL) != 1 ||
	    EVP_CIPHER_CTX_set_padding(c->text, 0) != 1 ||
	    EVP_MAC_init(c->mac, key + KIND(kind).key_len, KIND(kind).integ_len, hash) != 1)
		return -EIO;
	return seal ? start_iv(c) : 0;
}

struct cbc *cbc_new(enum dp_cipher kind, const uint8_t *key, int seal)
{
	struct cbc *c;

	pthread_once(&once, fetch);
	if (!cbc128 || !cbc256 || !ecb128 || !hmac)
		return NULL;
	c = calloc(1, sizeof(*c));
	if (c && start(c, kind, key, seal)) {
		cbc_free(c);
		return NULL;
	}
	return c;
}

void cbc_free(struct cbc *c)
{
	if (!c)
		return;
	EVP_CIPHER_CTX_free(c->text);
	EVP_CIPHER_CTX_free(c->iv);
	EVP_MAC_CTX_free(c->mac);
	free(c);
}

/* @len: all that stands before the ICV. */
static int mac(struct cbc *c, uint64_t seq, bool esn, const uint8_t *pkt, size_t len,
	       uint8_t out[static EVP_MAX_MD_SIZE])
{
	uint32_t high = htobe32((uint32_t)(seq >> 32));
	size_t n;

	/* Without a key: the one that it has, from the beginning. */
	if (EVP_MAC_init(c->mac, NULL, 0, NULL) != 1 || EVP_MAC_update(c->mac, pkt, len) != 1 ||
	    (esn && EVP_MAC_update(c->mac, (uint8_t *)&high, sizeof(high)) != 1) ||
	    EVP_MAC_final(c->mac, out, &n, EVP_MAX_MD_SIZE) != 1 || n < c->icv_len)
		return -EIO;
	return 0;
}

int cbc_seal(struct cbc *c, uint64_t seq, bool esn, const uint8_t *in, size_t len, uint8_t *pkt)
{
	uint8_t number[CBC_BLOCK] = { 0 }, icv[EVP_MAX_MD_SIZE];
	uint64_t be = htobe64(seq);
	int n;

	memcpy(number, &be, sizeof(be));
	if (EVP_EncryptUpdate(c->iv, pkt + 8, &n, number, sizeof(number)) != 1 ||
	    EVP_EncryptInit_ex2(c->text, NULL, NULL, pkt + 8, NULL) != 1 ||
	    EVP_EncryptUpdate(c->text, pkt + CBC_HEAD_LEN, &n, in, (int)len) != 1 ||
	    n != (int)len || mac(c, seq, esn, pkt, CBC_HEAD_LEN + len, icv))
		return -EIO;
	memcpy(pkt + CBC_HEAD_LEN + len, icv, c->icv_len);
	return 0;
}

int cbc_open(struct cbc *c, uint64_t seq, bool esn, uint8_t *pkt, size_t len)
{
	uint8_t icv[EVP_MAX_MD_SIZE], *text = pkt + CBC_HEAD_LEN;
	int n;

	if (mac(c, seq, esn, pkt, CBC_HEAD_LEN + len, icv) ||
	    CRYPTO_memcmp(icv, text + len, c->icv_len) ||
	    EVP_DecryptInit_ex2(c->text, NULL, NULL, pkt + 8, NULL) != 1 ||
	    EVP_DecryptUpdate(c->text, text, &n, text, (int)len) != 1 || n != (int)len)
		return -EKEYREJECTED;
	return 0;
}
