/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CRYPTO_IKE_AEAD_H
#define CRYPTO_IKE_AEAD_H

/*
 * Theory: one context protects the SK and SKF payloads of one direction of one IKE SA. Combined mode
 * ciphers and encrypt-then-MAC look the same from outside; the bytes lie in one piece:
 *
 *	+------------------+----+------------------------+-----+
 *	| header ... (AAD) | IV | ciphertext (len bytes) | ICV |
 *	+------------------+----+------------------------+-----+
 *
 * AES-GCM: RFC 5282; nonce = salt | IV. ChaCha20-Poly1305: RFC 7634. The IV of a combined mode is
 * a counter in the context, never reused under the key; of CBC it is random (RFC 3602 s3).
 */

#include "secret.h"
#include "suite.h"

struct ike_aead;

/**
 * ike_aead_new() - Context keyed by SK_e (key | salt) and SK_a (empty with an AEAD).
 * Keys are borrowed until return. 0, -ENOTSUP (suite), -EINVAL (key lengths), -ENOMEM, -EIO.
 */
int ike_aead_new(const struct ike_suite *suite, const struct secret *sk_e,
		 const struct secret *sk_a, struct ike_aead **out);
void ike_aead_free(struct ike_aead *a);
size_t ike_aead_iv_len(const struct ike_aead *a);
size_t ike_aead_icv_len(const struct ike_aead *a);
/** ike_aead_block() - Alignment of the plaintext: 16 for CBC, 1 otherwise. */
size_t ike_aead_block(const struct ike_aead *a);

/**
 * ike_aead_seal() - Encrypt in place and fill IV and ICV.
 * @buf: @aad_len bytes of AAD, room for the IV, @len bytes of plaintext, room for the ICV.
 * Returns 0, -EINVAL (@len not aligned), -EOVERFLOW (IVs used up: rekey), -EIO.
 */
int ike_aead_seal(struct ike_aead *a, uint8_t *buf, size_t aad_len, size_t len);
/**
 * ike_aead_open() - Verify and decrypt; the ciphertext is left as it is.
 * @msg, @msg_len: AAD, IV, ciphertext and ICV, as sealed.
 * @out: takes msg_len - aad_len - iv - icv bytes; zeroed on failure.
 * @out_len: that number.
 * Returns 0, -EBADMSG (too short, not aligned), -EKEYREJECTED (ICV wrong), -EMSGSIZE (@cap), -EIO.
 */
int ike_aead_open(struct ike_aead *a, const uint8_t *msg, size_t aad_len, size_t msg_len,
		  uint8_t *out, size_t cap, size_t *out_len);

#endif
