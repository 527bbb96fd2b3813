/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DATAPLANE_AEAD_H
#define DATAPLANE_AEAD_H

/*
 * Theory: one keyed context per SA and direction, made by the one thread that uses it (esp.h says
 * when); per packet only the nonce is set. Backends stand behind struct aead_ops (aead_int.h). Which one
 * serves a cipher is chosen once for the process, by aead_choose(), before any context is
 * made: what can be had is timed with packets of full size, the faster wins. One that opens what was forged is not
 * had at all.
 */

#include <stddef.h>
#include <stdint.h>

#include "dp.h"

#define AEAD_COUNT     3 /* of enum dp_cipher the first; the others have cbc.h */
#define AEAD_ICV_LEN   16
#define AEAD_NONCE_LEN 12
#define AEAD_SALT_LEN  4

struct aead;

/** aead_key_len() - Bytes of the key alone: 16 or 32. */
size_t aead_key_len(enum dp_cipher c);
/**
 * aead_choose() - Which library serves from now on; takes about a millisecond.
 * Not while a context exists. Returns 0, or -ENOTSUP when @wish is not built in or cannot be had on this
 * CPU (what was chosen before stays). Without a call OpenSSL serves.
 */
int aead_choose(enum dp_crypto wish);
/** aead_prefers_aes() - AES-128-GCM was measured faster than ChaCha20-Poly1305 here. */
bool aead_prefers_aes(void);
/** aead_backend() - For status: "ipsec-mb 1.3.0" or "ipsec-mb 1.3.0 for AES-128-GCM, OpenSSL ...". */
const char *aead_backend(void);

/**
 * aead_new() - @key is borrowed, aead_key_len() bytes; @seal: 1 to seal, 0 to open. NULL when there is no memory, or
 * aead_choose() found no library that does @c as it should.
 */
struct aead *aead_new(enum dp_cipher c, const uint8_t *key, int seal);
/** aead_free() - Wipes the key schedule. NULL is allowed. */
void aead_free(struct aead *a);
/**
 * aead_seal() - Encrypt @len bytes from @in to @out and append the 16-byte ICV.
 * @in may equal @out; otherwise they do not overlap. 0 or -EIO.
 */
int aead_seal(struct aead *a, const uint8_t nonce[static AEAD_NONCE_LEN], const uint8_t *aad,
	      size_t aad_len, const uint8_t *in, size_t len, uint8_t *out);
/**
 * aead_open() - Verify and decrypt @len bytes at @text in place; the ICV follows them.
 * 0 or -EKEYREJECTED; on failure the bytes at @text are worthless.
 */
int aead_open(struct aead *a, const uint8_t nonce[static AEAD_NONCE_LEN], const uint8_t *aad,
	      size_t aad_len, uint8_t *text, size_t len);
#endif
