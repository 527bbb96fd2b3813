/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CRYPTO_OSSL_H
#define CRYPTO_OSSL_H

/*
 * What daemon/crypto shares inside: algorithms fetched once per process (an implicit fetch takes a lock
 * and a search by name each time), and the key types' insides. Not for other folders.
 */

#include <openssl/evp.h>

#include "sign.h"

struct privkey {
	EVP_PKEY *pkey;
	enum key_type type;
};

/*
 * The library's own form of an Ed25519 key takes half a kilobyte, more once it was used, and is made of the
 * 32 octets in a microsecond: of ten thousand peers none has it for longer than a use.
 */
struct pubkey {
	EVP_PKEY *pkey; /* NULL: see raw */
	enum key_type type;
	uint8_t raw[32]; /* KEY_ED25519 */
};

/** ossl_md() - @bits: 1 (SHA-1), 256, 384, 512; NULL when the library lacks it. */
const EVP_MD *ossl_md(unsigned bits);
/** ossl_md_name() - For parameters that take a name. */
const char *ossl_md_name(unsigned bits);
const EVP_CIPHER *ossl_cipher(uint16_t encr, uint16_t bits);
/** ossl_hmac_new() - A keyed HMAC-SHA2 context; NULL on failure. */
EVP_MAC_CTX *ossl_hmac_new(unsigned bits, const void *key, size_t len);
/** ossl_pubkey() - For one use; the caller frees (EVP_PKEY_free). NULL without memory. */
EVP_PKEY *ossl_pubkey(const struct pubkey *k);
/** ossl_key_type() - KEY_NONE: not a type, curve or size that we take. */
enum key_type ossl_key_type(const EVP_PKEY *pkey);

#endif
