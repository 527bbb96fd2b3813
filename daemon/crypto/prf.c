/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "prf.h"

#include <errno.h>
#include <string.h>

#include "ossl.h"
#include "wire.h"

/* SK_d, SK_ai, SK_ar, SK_ei, SK_er, SK_pi, SK_pr at their largest. */
#define IKE_KEYMAT_MAX	 (3 * PRF_LEN_MAX + 2 * 64 + 2 * 36)
#define CHILD_KEYMAT_MAX (2 * 64 + 2 * 36)

static EVP_MAC_CTX *keyed(uint16_t prf, struct span key)
{
	return ossl_hmac_new((unsigned)prf_len(prf) * 8, key.p, key.len);
}

static int update(EVP_MAC_CTX *ctx, const struct span *parts, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (parts[i].len && EVP_MAC_update(ctx, parts[i].p, parts[i].len) != 1)
			return -EIO;
	}
	return 0;
}

int prf_mac(uint16_t prf, struct span key, const struct span *parts, size_t count,
	    uint8_t out[static PRF_LEN_MAX])
{
	EVP_MAC_CTX *ctx;
	size_t len;
	int rc = -EIO;

	if (!prf_len(prf))
		return -ENOTSUP;
	ctx = keyed(prf, key);
	if (ctx && !update(ctx, parts, count) && EVP_MAC_final(ctx, out, &len, PRF_LEN_MAX) == 1 &&
	    len == prf_len(prf))
		rc = 0;
	EVP_MAC_CTX_free(ctx);
	return rc;
}

int prf_plus(uint16_t prf, struct span key, const struct span *parts, size_t count, void *out,
	     size_t len)
{
	EVP_MAC_CTX *start, *ctx = NULL;
	uint8_t block[PRF_LEN_MAX];
	size_t n = prf_len(prf), done = 0, got;
	int rc = -EIO;

	if (!n)
		return -ENOTSUP;
	if (len > 255 * n)
		return -EINVAL;
	start = keyed(prf, key);
	if (!start)
		return -EIO;
	for (uint8_t round = 1; done < len; round++) {
		size_t take = len - done < n ? len - done : n;

		ctx = EVP_MAC_CTX_dup(start);
		if (!ctx || (done && EVP_MAC_update(ctx, block, n) != 1) ||
		    update(ctx, parts, count) || EVP_MAC_update(ctx, &round, 1) != 1 ||
		    EVP_MAC_final(ctx, block, &got, sizeof(block)) != 1 || got != n)
			goto out;
		EVP_MAC_CTX_free(ctx);
		ctx = NULL;
		memcpy((uint8_t *)out + done, block, take);
		done += take;
	}
	rc = 0;
out:
	EVP_MAC_CTX_free(ctx);
	EVP_MAC_CTX_free(start);
	secret_wipe(block, sizeof(block));
	if (rc)
		secret_wipe(out, len);
	return rc;
}

static bool nonces_valid(struct span ni, struct span nr)
{
	return ni.len >= NONCE_LEN_MIN && ni.len <= NONCE_LEN_MAX && nr.len >= NONCE_LEN_MIN &&
	       nr.len <= NONCE_LEN_MAX;
}

static int slice(const uint8_t **at, struct secret *to, size_t len)
{
	int rc = secret_set(to, *at, len);

	*at += len;
	return rc;
}

/* SKEYSEED to the seven keys. */
static int expand_ike(const struct ike_suite *suite, const uint8_t *skeyseed, size_t seed_len,
		      struct span ni, struct span nr, uint64_t spi_i, uint64_t spi_r,
		      struct ike_keys *out)
{
	uint8_t keymat[IKE_KEYMAT_MAX], spis[16];
	struct wr w = wr_init(spis, sizeof(spis));
	const struct span seed[] = { ni, nr, { spis, sizeof(spis) } };
	const uint8_t *at = keymat;
	struct integ_info integ;
	struct encr_info encr;
	size_t d = prf_len(suite->prf), a, e;
	int rc;

	if (!d || encr_info(suite->encr, suite->encr_bits, &encr) ||
	    integ_info(suite->integ, &integ) || encr.aead != (suite->integ == INTEG_NONE))
		return -ENOTSUP;
	a = integ.key_len;
	e = (size_t)encr.key_len + encr.salt_len;
	wr_be64(&w, spi_i);
	wr_be64(&w, spi_r);
	rc = prf_plus(suite->prf, (struct span){ skeyseed, seed_len }, seed, 3, keymat,
		      3 * d + 2 * a + 2 * e);
	if (rc)
		goto out;
	rc = slice(&at, &out->sk_d, d);
	rc = rc ? rc : slice(&at, &out->sk_ai, a);
	rc = rc ? rc : slice(&at, &out->sk_ar, a);
	rc = rc ? rc : slice(&at, &out->sk_ei, e);
	rc = rc ? rc : slice(&at, &out->sk_er, e);
	rc = rc ? rc : slice(&at, &out->sk_pi, d);
	rc = rc ? rc : slice(&at, &out->sk_pr, d);
out:
	secret_wipe(keymat, sizeof(keymat));
	if (rc)
		ike_keys_clear(out);
	return rc;
}

int ike_skeyseed(uint16_t prf, struct span ni, struct span nr, const struct secret *shared,
		 uint8_t out[static PRF_LEN_MAX])
{
	const struct span secret = { shared->data, shared->len };
	uint8_t key[2 * NONCE_LEN_MAX];

	if (!nonces_valid(ni, nr))
		return -EINVAL;
	/* A PRF with variable key length takes both nonces whole (s2.14). */
	memcpy(key, ni.p, ni.len);
	memcpy(key + ni.len, nr.p, nr.len);
	return prf_mac(prf, (struct span){ key, ni.len + nr.len }, &secret, 1, out);
}

int ike_keys_expand(const struct ike_suite *suite, const uint8_t *skeyseed, struct span ni,
		    struct span nr, uint64_t spi_i, uint64_t spi_r, struct ike_keys *out)
{
	ike_keys_clear(out);
	return expand_ike(suite, skeyseed, prf_len(suite->prf), ni, nr, spi_i, spi_r, out);
}

int ike_keys_derive(const struct ike_suite *suite, struct span ni, struct span nr, uint64_t spi_i,
		    uint64_t spi_r, const struct secret *shared, struct ike_keys *out)
{
	uint8_t skeyseed[PRF_LEN_MAX];
	int rc = ike_skeyseed(suite->prf, ni, nr, shared, skeyseed);

	if (rc)
		ike_keys_clear(out);
	else
		rc = ike_keys_expand(suite, skeyseed, ni, nr, spi_i, spi_r, out);
	secret_wipe(skeyseed, sizeof(skeyseed));
	return rc;
}

int ike_keys_rekey(const struct ike_suite *suite, uint16_t old_prf, const struct secret *old_sk_d,
		   struct span ni, struct span nr, uint64_t spi_i, uint64_t spi_r,
		   const struct secret *shared, struct ike_keys *out)
{
	const struct span parts[] = { { shared->data, shared->len }, ni, nr };
	const struct span key = { old_sk_d->data, old_sk_d->len };
	uint8_t skeyseed[PRF_LEN_MAX];
	struct ike_keys fresh = { 0 }; /* @old_sk_d may lie in @out */
	int rc = -EINVAL;

	if (nonces_valid(ni, nr))
		rc = prf_mac(old_prf, key, parts, 3, skeyseed);
	if (!rc)
		rc = expand_ike(suite, skeyseed, prf_len(old_prf), ni, nr, spi_i, spi_r, &fresh);
	ike_keys_clear(out);
	if (!rc)
		*out = fresh;
	secret_wipe(skeyseed, sizeof(skeyseed));
	return rc;
}

void ike_keys_clear(struct ike_keys *k)
{
	secret_clear(&k->sk_d);
	secret_clear(&k->sk_ai);
	secret_clear(&k->sk_ar);
	secret_clear(&k->sk_ei);
	secret_clear(&k->sk_er);
	secret_clear(&k->sk_pi);
	secret_clear(&k->sk_pr);
}

int child_keys_derive(uint16_t prf, const struct secret *sk_d, const struct esp_suite *suite,
		      const struct secret *shared, struct span ni, struct span nr,
		      struct child_keys *out)
{
	const struct span key = { sk_d->data, sk_d->len };
	const struct span seed[] = { { shared ? shared->data : NULL, shared ? shared->len : 0 },
				     ni,
				     nr };
	uint8_t keymat[CHILD_KEYMAT_MAX];
	const uint8_t *at = keymat;
	struct integ_info integ;
	struct encr_info encr;
	size_t a, e;
	int rc;

	child_keys_clear(out);
	if (!nonces_valid(ni, nr))
		return -EINVAL;
	if (encr_info(suite->encr, suite->encr_bits, &encr) || integ_info(suite->integ, &integ) ||
	    encr.aead != (suite->integ == INTEG_NONE))
		return -ENOTSUP;
	a = integ.key_len;
	e = (size_t)encr.key_len + encr.salt_len;
	rc = prf_plus(prf, key, seed, 3, keymat, 2 * a + 2 * e);
	if (rc)
		goto out;
	/* First all of the initiator's direction, encryption before integrity. */
	rc = slice(&at, &out->encr_i, e);
	rc = rc ? rc : slice(&at, &out->integ_i, a);
	rc = rc ? rc : slice(&at, &out->encr_r, e);
	rc = rc ? rc : slice(&at, &out->integ_r, a);
out:
	secret_wipe(keymat, sizeof(keymat));
	if (rc)
		child_keys_clear(out);
	return rc;
}

void child_keys_clear(struct child_keys *k)
{
	secret_clear(&k->encr_i);
	secret_clear(&k->integ_i);
	secret_clear(&k->encr_r);
	secret_clear(&k->integ_r);
}

int auth_octets_build(uint16_t prf, const struct secret *sk_p, struct span msg, struct span nonce,
		      struct span id_body, uint8_t *out, size_t cap, size_t *len)
{
	struct wr w = wr_init(out, cap);
	uint8_t maced_id[PRF_LEN_MAX];
	int rc = prf_mac(prf, (struct span){ sk_p->data, sk_p->len }, &id_body, 1, maced_id);

	*len = 0;
	if (!rc) {
		wr_bytes(&w, msg.p, msg.len);
		wr_bytes(&w, nonce.p, nonce.len);
		wr_bytes(&w, maced_id, prf_len(prf));
		rc = wr_finish(&w, len);
	}
	secret_wipe(maced_id, sizeof(maced_id));
	return rc;
}

int auth_psk(uint16_t prf, const struct secret *psk, struct span octets,
	     uint8_t out[static PRF_LEN_MAX], size_t *len)
{
	/* 17 characters, no NUL: RFC 7296 s2.15 */
	const struct span pad = { "Key Pad for IKEv2", 17 };
	uint8_t inner[PRF_LEN_MAX];
	int rc;

	*len = 0;
	rc = prf_mac(prf, (struct span){ psk->data, psk->len }, &pad, 1, inner);
	if (!rc)
		rc = prf_mac(prf, (struct span){ inner, prf_len(prf) }, &octets, 1, out);
	if (!rc)
		*len = prf_len(prf);
	secret_wipe(inner, sizeof(inner));
	return rc;
}
