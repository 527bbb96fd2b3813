/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CRYPTO_SUITE_H
#define CRYPTO_SUITE_H

/*
 * Theory: what is negotiated is named by the numbers that IANA gave ("Internet Key Exchange
 * Version 2 (IKEv2) Parameters"), everywhere, so that no table translates between the wire and the
 * code. Nothing that is not in these enums exists in Postern: no SHA-1, no 3DES, no small MODP.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A view of bytes owned by somebody else. */
struct span {
	const void *p;
	size_t len;
};

enum encr_id {				   /* Transform Type 1 */
	       ENCR_AES_CBC = 12,	   /* RFC 3602; 128 or 256 bits */
	       ENCR_AES_GCM_16 = 20,	   /* RFC 4106, 5282; 128 or 256 bits */
	       ENCR_CHACHA20_POLY1305 = 28 /* RFC 7634; no key length attribute */
};

enum prf_id { /* Transform Type 2, RFC 4868 */
	      PRF_HMAC_SHA2_256 = 5,
	      PRF_HMAC_SHA2_384 = 6,
	      PRF_HMAC_SHA2_512 = 7
};

enum integ_id { /* Transform Type 3, RFC 4868 */
		INTEG_NONE = 0,
		AUTH_HMAC_SHA2_256_128 = 12,
		AUTH_HMAC_SHA2_384_192 = 13,
		AUTH_HMAC_SHA2_512_256 = 14
};

enum ke_id { /* Transform Type 4 */
	     KE_NONE = 0,
	     KE_MODP_2048 = 14, /* RFC 3526 */
	     KE_MODP_3072 = 15,
	     KE_MODP_4096 = 16,
	     KE_ECP_256 = 19, /* RFC 5903 */
	     KE_ECP_384 = 20,
	     KE_ECP_521 = 21,
	     KE_CURVE25519 = 31 /* RFC 8031 */
};

enum esn_id { /* Transform Type 5 */
	      ESN_NO = 0,
	      ESN_YES = 1
};

/* What an IKE SA negotiated. encr_bits is 0 where the cipher has one length only. */
struct ike_suite {
	uint16_t encr;
	uint16_t encr_bits;
	uint16_t integ; /* INTEG_NONE with an AEAD */
	uint16_t prf;
	uint16_t ke;
};

/* What a CHILD SA negotiated. */
struct esp_suite {
	uint16_t encr;
	uint16_t encr_bits;
	uint16_t integ;
	uint16_t esn;
	uint16_t ke; /* KE_NONE without a key exchange of its own */
};

struct encr_info {
	uint8_t key_len;  /* bytes, without the salt */
	uint8_t salt_len; /* bytes of keying material that follow the key: 4 for AEAD, else 0 */
	uint8_t iv_len;	  /* bytes on the wire */
	uint8_t icv_len;  /* bytes; 0 when the integrity transform brings it */
	uint8_t block;	  /* plaintext alignment: 16 for CBC, else 1 */
	bool aead;
};

struct integ_info {
	uint8_t key_len; /* bytes */
	uint8_t icv_len; /* bytes on the wire, truncated */
};

/**
 * encr_info() - Sizes of a cipher. @bits is the Key Length attribute, 0 when there was none.
 * 0, or -ENOTSUP: unknown cipher, missing or wrong key length (RFC 7296 s3.3.5).
 */
int encr_info(uint16_t encr, uint16_t bits, struct encr_info *info);
/** integ_info() - 0 or -ENOTSUP; INTEG_NONE gives zeros. */
int integ_info(uint16_t integ, struct integ_info *info);
/** prf_len() - Output and preferred key length in bytes; 0: unknown. */
size_t prf_len(uint16_t prf);
#define PRF_LEN_MAX 64

#endif
