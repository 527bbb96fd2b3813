/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sign.h"

#include <errno.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/rsa.h>

#include "ossl.h"

#define RAW_PART_MAX 66 /* bytes of r or s on P-521 */

static unsigned hash_bits(enum sig_scheme s)
{
	switch (sig_scheme_hash(s)) {
	case SIG_HASH_SHA2_256:
		return 256;
	case SIG_HASH_SHA2_384:
		return 384;
	case SIG_HASH_SHA2_512:
		return 512;
	default:
		return 0; /* Ed25519 hashes by itself */
	}
}

/* Bytes of r and of s under methods 9 to 11 (RFC 4754 s7); 0: another encoding. */
static size_t raw_part(enum sig_scheme s)
{
	switch (s) {
	case SIG_ECDSA_P256_RAW:
		return 32;
	case SIG_ECDSA_P384_RAW:
		return 48;
	case SIG_ECDSA_P521_RAW:
		return 66;
	default:
		return 0;
	}
}

static bool is_pss(enum sig_scheme s)
{
	return s == SIG_RSA_PSS_SHA256 || s == SIG_RSA_PSS_SHA384 || s == SIG_RSA_PSS_SHA512;
}

/* Padding of RSA; nothing to do for the others. */
static int set_padding(EVP_PKEY_CTX *pctx, enum sig_scheme s, enum key_type t)
{
	if (t != KEY_RSA)
		return 0;
	if (!is_pss(s))
		return EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PADDING) == 1 ? 0 : -EIO;
	if (EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) != 1 ||
	    EVP_PKEY_CTX_set_rsa_mgf1_md(pctx, ossl_md(hash_bits(s))) != 1 ||
	    EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST) != 1)
		return -EIO;
	return 0;
}

static int der_to_raw(const uint8_t *der, size_t der_len, size_t part, uint8_t *out)
{
	const uint8_t *p = der;
	ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &p, (long)der_len);
	int rc = -EIO;

	if (sig && BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, (int)part) == (int)part &&
	    BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + part, (int)part) == (int)part)
		rc = 0;
	ECDSA_SIG_free(sig);
	return rc;
}

/* @out takes SIG_LEN_MAX bytes. */
static int raw_to_der(const uint8_t *raw, size_t part, uint8_t *out, size_t *len)
{
	BIGNUM *r = BN_bin2bn(raw, (int)part, NULL), *s = BN_bin2bn(raw + part, (int)part, NULL);
	ECDSA_SIG *sig = ECDSA_SIG_new();
	uint8_t *p = out;
	int rc = -ENOMEM, n;

	if (!r || !s || !sig || ECDSA_SIG_set0(sig, r, s) != 1)
		goto out;
	r = s = NULL; /* now the signature's */
	n = i2d_ECDSA_SIG(sig, NULL);
	if (n <= 0 || n > SIG_LEN_MAX)
		goto out;
	*len = (size_t)i2d_ECDSA_SIG(sig, &p);
	rc = 0;
out:
	BN_free(r);
	BN_free(s);
	ECDSA_SIG_free(sig);
	return rc;
}

int sig_make(const struct privkey *k, enum sig_scheme s, struct span octets, uint8_t *out,
	     size_t cap, size_t *len)
{
	unsigned bits = hash_bits(s);
	size_t part = raw_part(s), n = SIG_LEN_MAX;
	uint8_t sig[SIG_LEN_MAX];
	EVP_PKEY_CTX *pctx = NULL;
	EVP_MD_CTX *ctx = NULL;
	int rc = -EIO;

	*len = 0;
	if (!sig_scheme_fits(s, k->type))
		return -EINVAL;
	ctx = EVP_MD_CTX_new();
	if (!ctx ||
	    EVP_DigestSignInit_ex(ctx, &pctx, ossl_md_name(bits), NULL, NULL, k->pkey, NULL) != 1)
		goto out;
	if (set_padding(pctx, s, k->type))
		goto out;
	if (EVP_DigestSign(ctx, sig, &n, octets.p, octets.len) != 1)
		goto out;
	rc = -EMSGSIZE;
	if (cap < (part ? 2 * part : n))
		goto out;
	if (part) {
		rc = der_to_raw(sig, n, part, out);
		n = 2 * part;
	} else {
		memcpy(out, sig, n);
		rc = 0;
	}
	if (!rc)
		*len = n;
out:
	EVP_MD_CTX_free(ctx);
	if (rc)
		ERR_clear_error();
	return rc;
}

int sig_verify(const struct pubkey *k, enum sig_scheme s, struct span octets, struct span sig)
{
	unsigned bits = hash_bits(s);
	size_t part = raw_part(s);
	uint8_t der[SIG_LEN_MAX];
	EVP_PKEY_CTX *pctx = NULL;
	EVP_MD_CTX *ctx = NULL;
	EVP_PKEY *pkey = NULL;
	int rc;

	if (!sig_scheme_fits(s, k->type))
		return -EINVAL;
	if (part) {
		if (sig.len != 2 * part)
			return -EKEYREJECTED;
		rc = raw_to_der(sig.p, part, der, &sig.len);
		if (rc)
			return rc;
		sig.p = der;
	}
	rc = -EIO;
	ctx = EVP_MD_CTX_new();
	pkey = ossl_pubkey(k);
	if (!ctx || !pkey ||
	    EVP_DigestVerifyInit_ex(ctx, &pctx, ossl_md_name(bits), NULL, NULL, pkey, NULL) != 1)
		goto out;
	if (set_padding(pctx, s, k->type))
		goto out;
	/* Below zero is a signature that is no signature: as wrong as a wrong one. */
	rc = EVP_DigestVerify(ctx, sig.p, sig.len, octets.p, octets.len) == 1 ? 0 : -EKEYREJECTED;
out:
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(pkey);
	if (rc)
		ERR_clear_error();
	return rc;
}
