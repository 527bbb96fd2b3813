/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CRYPTO_PRF_H
#define CRYPTO_PRF_H

/*
 * Theory (RFC 7296 s2.13 to s2.18):
 *
 *	prf+ (K,S) = T1 | T2 | ...    T1 = prf(K, S | 0x01)    Tn = prf(K, Tn-1 | S | n)
 *	SKEYSEED   = prf(Ni | Nr, g^ir)                            new IKE SA
 *	SKEYSEED   = prf(SK_d (old), g^ir (new) | Ni | Nr)         rekeyed IKE SA, prf of the old SA
 *	{SK_d | SK_ai | SK_ar | SK_ei | SK_er | SK_pi | SK_pr} = prf+ (SKEYSEED, Ni | Nr | SPIi | SPIr)
 *	KEYMAT     = prf+ (SK_d, [g^ir (new) |] Ni | Nr)
 *
 * Encryption keys hold the cipher key followed by its salt (RFC 5282 s5.1, RFC 7634 s2); with an
 * AEAD the integrity keys are empty. SPIs are the value of their eight octets read big-endian.
 */

#include "secret.h"
#include "suite.h"

#define NONCE_LEN_MIN 16 /* RFC 7296 s3.9 */
#define NONCE_LEN_MAX 256
#define NONCE_LEN     32 /* what we send: half of the largest PRF key, and then some */

struct ike_keys {
	struct secret sk_d;
	struct secret sk_ai, sk_ar;
	struct secret sk_ei, sk_er;
	struct secret sk_pi, sk_pr;
};

/* i: traffic from the initiator of the exchange that made the SA; r: the other way. */
struct child_keys {
	struct secret encr_i, integ_i;
	struct secret encr_r, integ_r;
};

/**
 * prf_mac() - prf(@key, @parts[0] | @parts[1] | ...).
 * @out: takes prf_len(@prf) bytes.
 * Returns 0, -ENOTSUP (unknown @prf) or -EIO (library).
 */
int prf_mac(uint16_t prf, struct span key, const struct span *parts, size_t count,
	    uint8_t out[static PRF_LEN_MAX]);
/**
 * prf_plus() - @len bytes of prf+(@key, @parts...) into @out, at most 255 blocks (else -EINVAL).
 */
int prf_plus(uint16_t prf, struct span key, const struct span *parts, size_t count, void *out,
	     size_t len);

/**
 * ike_keys_derive() - Keys of a new IKE SA (RFC 7296 s2.14).
 * @shared: g^ir from dh_shared(); borrowed, the caller clears it.
 * @out: replaced; on failure all empty. The caller clears it with ike_keys_clear().
 * Returns 0, -ENOTSUP (suite), -EINVAL (nonce length), -ENOMEM, -EIO.
 */
int ike_keys_derive(const struct ike_suite *suite, struct span ni, struct span nr, uint64_t spi_i,
		    uint64_t spi_r, const struct secret *shared, struct ike_keys *out);
/**
 * ike_skeyseed() - The first half of ike_keys_derive(): SKEYSEED, prf_len(@prf) bytes.
 * All that has to be kept of a DH exchange to make the keys again. The caller wipes @out.
 */
int ike_skeyseed(uint16_t prf, struct span ni, struct span nr, const struct secret *shared,
		 uint8_t out[static PRF_LEN_MAX]);
/** ike_keys_expand() - The second half; @skeyseed: prf_len(suite->prf) bytes. */
int ike_keys_expand(const struct ike_suite *suite, const uint8_t *skeyseed, struct span ni,
		    struct span nr, uint64_t spi_i, uint64_t spi_r, struct ike_keys *out);
/**
 * ike_keys_rekey() - Keys of an IKE SA that replaces another (RFC 7296 s2.18).
 * @suite: of the new SA. @old_prf, @old_sk_d: of the old one.
 */
int ike_keys_rekey(const struct ike_suite *suite, uint16_t old_prf, const struct secret *old_sk_d,
		   struct span ni, struct span nr, uint64_t spi_i, uint64_t spi_r,
		   const struct secret *shared, struct ike_keys *out);
void ike_keys_clear(struct ike_keys *k);

/**
 * child_keys_derive() - KEYMAT of a CHILD SA (RFC 7296 s2.17).
 * @prf, @sk_d: of the IKE SA that carries the exchange.
 * @shared: of the exchange's own KE, or NULL. For the first CHILD SA the nonces are those of
 * IKE_SA_INIT, else those of the CREATE_CHILD_SA exchange.
 */
int child_keys_derive(uint16_t prf, const struct secret *sk_d, const struct esp_suite *suite,
		      const struct secret *shared, struct span ni, struct span nr,
		      struct child_keys *out);
void child_keys_clear(struct child_keys *k);

/**
 * auth_octets_build() - The octets that AUTH signs (RFC 7296 s2.15):
 * the sender's first message | the *other* side's nonce | prf(@sk_p, ID payload body).
 * @msg: whole IKE_SA_INIT message of the side that signs, without the non-ESP marker.
 * @id_body: pld_id.body: ID payload without its generic header.
 * @out, @cap, @len: result; -EMSGSIZE when it does not fit (msg + nonce + PRF_LEN_MAX is enough).
 */
int auth_octets_build(uint16_t prf, const struct secret *sk_p, struct span msg, struct span nonce,
		      struct span id_body, uint8_t *out, size_t cap, size_t *len);
/**
 * auth_psk() - prf(prf(PSK, "Key Pad for IKEv2"), @octets): the shared key AUTH data.
 * Compare with secret_equal(), never memcmp. Runs in the keys process.
 */
int auth_psk(uint16_t prf, const struct secret *psk, struct span octets,
	     uint8_t out[static PRF_LEN_MAX], size_t *len);

#endif
