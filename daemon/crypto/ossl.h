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

struct pubkey {
	EVP_PKEY *pkey;
	enum key_type type;
};

/** ossl_md() - @bits: 1 (SHA-1), 256, 384, 512; NULL when the library lacks it. */
const EVP_MD *ossl_md(unsigned bits);
/** ossl_md_name() - For parameters that take a name. */
const char *ossl_md_name(unsigned bits);
const EVP_CIPHER *ossl_cipher(uint16_t encr, uint16_t bits);
/** ossl_hmac_new() - A keyed HMAC-SHA2 context; NULL on failure. */
EVP_MAC_CTX *ossl_hmac_new(unsigned bits, const void *key, size_t len);
/** ossl_key_type() - KEY_NONE: not a type, curve or size that we take. */
enum key_type ossl_key_type(const EVP_PKEY *pkey);

#endif
