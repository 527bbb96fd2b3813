/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DATAPLANE_AEAD_H
#define DATAPLANE_AEAD_H

/*
 * Theory: one keyed context per SA and direction, made by the one thread that uses it (esp.h says
 * when); per packet only the nonce is set. Backends stand behind struct aead_ops, so that one
 * that calls a cipher library directly can be added beside OpenSSL without touching esp.c.
 */

#include <stddef.h>
#include <stdint.h>

#include "dp.h"

#define AEAD_COUNT     3 /* of enum dp_cipher the first; the others have cbc.h */
#define AEAD_ICV_LEN   16
#define AEAD_NONCE_LEN 12
#define AEAD_SALT_LEN  4

struct aead;

struct aead_ops {
	const char *name;
	/* NULL when the cipher cannot be had. @key without the salt. */
	struct aead *(*new_ctx)(enum dp_cipher c, const uint8_t *key, int seal);
	void (*free_ctx)(struct aead *a);
	int (*seal)(struct aead *a, const uint8_t *nonce, const uint8_t *aad, size_t aad_len,
		    const uint8_t *in, size_t len, uint8_t *out);
	int (*open)(struct aead *a, const uint8_t *nonce, const uint8_t *aad, size_t aad_len,
		    uint8_t *text, size_t len);
};

/** aead_key_len() - Bytes of the key alone: 16 or 32. */
size_t aead_key_len(enum dp_cipher c);
/** aead_new() - @key is borrowed, aead_key_len() bytes; @seal: 1 to seal, 0 to open. */
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
/** aead_backend() - For status: "OpenSSL 3.0.x". */
const char *aead_backend(void);

#endif
