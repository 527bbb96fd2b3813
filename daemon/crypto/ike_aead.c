/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ike_aead.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/err.h>

#include "ossl.h"
#include "wire.h"

/*
 * Theory: an IKE SA lives for hours and speaks a few times a minute; a keyed library context for each
 * direction would cost ten thousand idle peers more memory than all else. So this holds only the
 * key, and a library context exists for the length of one call.
 */
struct ike_aead {
	uint16_t encr, bits;
	struct encr_info info;
	uint8_t icv_len;
	uint8_t integ_len;
	uint8_t key[32];
	uint8_t salt[4];
	uint64_t next_iv; /* combined modes: of the next message; 0 after the last */
	uint8_t integ[];  /* integ_len: none with a combined mode */
};

int ike_aead_new(const struct ike_suite *suite, const struct secret *sk_e,
		 const struct secret *sk_a, struct ike_aead **out)
{
	struct integ_info integ;
	struct encr_info info;
	struct ike_aead *a;

	*out = NULL;
	if (encr_info(suite->encr, suite->encr_bits, &info) || integ_info(suite->integ, &integ) ||
	    info.aead != (suite->integ == INTEG_NONE))
		return -ENOTSUP;
	if (sk_e->len != (size_t)info.key_len + info.salt_len || sk_a->len != integ.key_len)
		return -EINVAL;
	a = OPENSSL_zalloc(sizeof(*a) + integ.key_len);
	if (!a)
		return -ENOMEM;
	a->encr = suite->encr;
	a->bits = suite->encr_bits;
	a->info = info;
	a->icv_len = info.aead ? info.icv_len : integ.icv_len;
	a->integ_len = integ.key_len;
	memcpy(a->key, sk_e->data, info.key_len);
	memcpy(a->salt, sk_e->data + info.key_len, info.salt_len);
	if (integ.key_len)
		memcpy(a->integ, sk_a->data, integ.key_len);
	a->next_iv = 1;
	*out = a;
	return 0;
}

void ike_aead_free(struct ike_aead *a)
{
	if (a)
		OPENSSL_clear_free(a, sizeof(*a) + a->integ_len);
}

size_t ike_aead_iv_len(const struct ike_aead *a)
{
	return a->info.iv_len;
}

size_t ike_aead_icv_len(const struct ike_aead *a)
{
	return a->icv_len;
}

size_t ike_aead_block(const struct ike_aead *a)
{
	return a->info.block;
}

/* Truncated HMAC over AAD, IV and ciphertext (RFC 7296 s3.14). */
static int mac(const struct ike_aead *a, const uint8_t *p, size_t len, uint8_t out[64])
{
	EVP_MAC_CTX *ctx = ossl_hmac_new(a->integ_len * 8u, a->integ, a->integ_len);
	size_t got;
	int rc = -EIO;

	if (ctx && EVP_MAC_update(ctx, p, len) == 1 && EVP_MAC_final(ctx, out, &got, 64) == 1)
		rc = 0;
	EVP_MAC_CTX_free(ctx);
	return rc;
}

static int cbc(const struct ike_aead *a, int encrypt, const uint8_t *iv, const uint8_t *in,
	       size_t len, uint8_t *out)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int n = 0, m = 0, rc = -EIO;

	if (ctx &&
	    EVP_CipherInit_ex2(ctx, ossl_cipher(a->encr, a->bits), a->key, iv, encrypt, NULL) ==
		1 &&
	    EVP_CIPHER_CTX_set_padding(ctx, 0) == 1 &&
	    EVP_CipherUpdate(ctx, out, &n, in, (int)len) == 1 &&
	    EVP_CipherFinal_ex(ctx, out + n, &m) == 1 && (size_t)(n + m) == len)
		rc = 0;
	EVP_CIPHER_CTX_free(ctx);
	return rc;
}

/* A combined mode, either way; @tag is written or compared. */
static int combined(const struct ike_aead *a, int encrypt, const uint8_t *aad, size_t aad_len,
		    const uint8_t *iv, const uint8_t *in, size_t len, uint8_t *out, uint8_t *tag)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	uint8_t nonce[12];
	int n = 0, m = 0, rc = -EIO;

	memcpy(nonce, a->salt, 4);
	memcpy(nonce + 4, iv, 8);
	if (!ctx || EVP_CipherInit_ex2(ctx, ossl_cipher(a->encr, a->bits), a->key, nonce, encrypt,
				       NULL) != 1)
		goto out;
	if (!encrypt && EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, 16, tag) != 1)
		goto out;
	if (EVP_CipherUpdate(ctx, NULL, &n, aad, (int)aad_len) != 1 ||
	    EVP_CipherUpdate(ctx, out, &n, in, (int)len) != 1)
		goto out;
	if (EVP_CipherFinal_ex(ctx, out + n, &m) != 1) {
		rc = encrypt ? -EIO : -EKEYREJECTED;
		goto out;
	}
	if (encrypt && EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, tag) != 1)
		goto out;
	rc = 0;
out:
	EVP_CIPHER_CTX_free(ctx);
	return rc;
}

static int seal_cbc(struct ike_aead *a, uint8_t *buf, size_t aad_len, size_t len)
{
	uint8_t *iv = buf + aad_len, *text = iv + a->info.iv_len, full[64];
	int rc = secret_random(iv, a->info.iv_len);

	if (!rc)
		rc = cbc(a, 1, iv, text, len, text);
	if (!rc)
		rc = mac(a, buf, (size_t)(text - buf) + len, full);
	if (!rc)
		memcpy(text + len, full, a->icv_len);
	secret_wipe(full, sizeof(full));
	return rc;
}

int ike_aead_seal(struct ike_aead *a, uint8_t *buf, size_t aad_len, size_t len)
{
	uint8_t *iv = buf + aad_len, *text = iv + a->info.iv_len;
	struct wr w = wr_init(iv, a->info.iv_len);
	int rc;

	if (len % a->info.block || len > INT_MAX / 2 || aad_len > INT_MAX / 2)
		return -EINVAL;
	if (!a->info.aead) {
		rc = seal_cbc(a, buf, aad_len, len);
	} else {
		if (!a->next_iv)
			return -EOVERFLOW;
		wr_be64(&w, a->next_iv++);
		rc = combined(a, 1, buf, aad_len, iv, text, len, text, text + len);
	}
	if (rc)
		ERR_clear_error();
	return rc;
}

int ike_aead_open(struct ike_aead *a, const uint8_t *msg, size_t aad_len, size_t msg_len,
		  uint8_t *out, size_t cap, size_t *out_len)
{
	size_t over = aad_len + a->info.iv_len + a->icv_len, len;
	const uint8_t *iv = msg + aad_len, *text = iv + a->info.iv_len;
	uint8_t icv[64], tag[16];
	int rc;

	*out_len = 0;
	if (msg_len < over || msg_len > INT_MAX / 2)
		return -EBADMSG;
	len = msg_len - over;
	if (len % a->info.block)
		return -EBADMSG;
	if (len > cap)
		return -EMSGSIZE;
	if (a->info.aead) {
		memcpy(tag, text + len, sizeof(tag));
		rc = combined(a, 0, msg, aad_len, iv, text, len, out, tag);
	} else {
		rc = mac(a, msg, msg_len - a->icv_len, icv);
		if (!rc && CRYPTO_memcmp(icv, text + len, a->icv_len) != 0)
			rc = -EKEYREJECTED;
		if (!rc && len)
			rc = cbc(a, 0, iv, text, len, out);
		secret_wipe(icv, sizeof(icv));
	}
	if (rc) {
		secret_wipe(out, len);
		ERR_clear_error();
		return rc;
	}
	*out_len = len;
	return 0;
}
