/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sign.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "digest.h"
#include "ossl.h"

#define RSA_BITS_MIN 2048
#define RSA_BITS_MAX 8192
#define RSA_BITS_NEW 3072

static const struct {
	enum key_type type;
	const char *name;
	const char *group; /* the library's curve */
	int nid;
} types[] = {
	{ KEY_ED25519, "ed25519", NULL, 0 },
	{ KEY_P256, "ecdsa-p256", "prime256v1", NID_X9_62_prime256v1 },
	{ KEY_P384, "ecdsa-p384", "secp384r1", NID_secp384r1 },
	{ KEY_P521, "ecdsa-p521", "secp521r1", NID_secp521r1 },
	{ KEY_RSA, "rsa", NULL, 0 },
};

const char *key_type_name(enum key_type t)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (types[i].type == t)
			return types[i].name;
	}
	return "none";
}

enum key_type key_type_parse(const char *name)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (!strcmp(types[i].name, name))
			return types[i].type;
	}
	return KEY_NONE;
}

/* The size bounds what a stranger's key can cost; e below 65537 or even is no honest key. */
static bool rsa_usable(const EVP_PKEY *pkey)
{
	BIGNUM *n = NULL, *e = NULL;
	bool ok = false;

	if (EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_N, &n) == 1 &&
	    EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_E, &e) == 1)
		ok = BN_num_bits(n) >= RSA_BITS_MIN && BN_num_bits(n) <= RSA_BITS_MAX &&
		     BN_is_odd(n) && BN_is_odd(e) && BN_num_bits(e) >= 17 && BN_num_bits(e) <= 64;
	BN_free(n);
	BN_free(e);
	return ok;
}

/* Named curves only: explicit parameters let the sender choose the generator (CVE-2020-0601). */
static enum key_type ec_type(const EVP_PKEY *pkey)
{
	char group[32], encoding[32] = "";

	if (EVP_PKEY_get_group_name(pkey, group, sizeof(group), NULL) != 1)
		return KEY_NONE;
	if (EVP_PKEY_get_utf8_string_param(pkey, OSSL_PKEY_PARAM_EC_ENCODING, encoding,
					   sizeof(encoding), NULL) == 1 &&
	    strcmp(encoding, OSSL_PKEY_EC_ENCODING_GROUP) != 0)
		return KEY_NONE;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (types[i].group && !strcmp(types[i].group, group))
			return types[i].type;
	}
	return KEY_NONE;
}

enum key_type ossl_key_type(const EVP_PKEY *pkey)
{
	if (EVP_PKEY_is_a(pkey, "ED25519"))
		return KEY_ED25519;
	if (EVP_PKEY_is_a(pkey, "EC"))
		return ec_type(pkey);
	if (EVP_PKEY_is_a(pkey, "RSA"))
		return rsa_usable(pkey) ? KEY_RSA : KEY_NONE;
	return KEY_NONE;
}

static int no_passphrase(char *buf, int size, int rwflag, void *arg)
{
	(void)buf;
	(void)size;
	(void)rwflag;
	(void)arg;
	return -1; /* or the library would ask the terminal */
}

int privkey_load(const struct secret *text, struct privkey **out)
{
	enum key_type type;
	EVP_PKEY *pkey = NULL;
	BIO *bio;

	*out = NULL;
	bio = BIO_new_mem_buf(text->len ? (const void *)text->data : "", (int)text->len);
	if (!bio)
		return -ENOMEM;
	pkey = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
	BIO_free(bio);
	if (!pkey) {
		ERR_clear_error();
		return -EBADMSG;
	}
	type = ossl_key_type(pkey);
	if (type)
		*out = OPENSSL_zalloc(sizeof(**out));
	if (!*out) {
		EVP_PKEY_free(pkey);
		ERR_clear_error();
		return type ? -ENOMEM : -ENOTSUP;
	}
	(*out)->pkey = pkey;
	(*out)->type = type;
	return 0;
}

void privkey_free(struct privkey *k)
{
	if (!k)
		return;
	EVP_PKEY_free(k->pkey);
	OPENSSL_free(k);
}

enum key_type privkey_type(const struct privkey *k)
{
	return k->type;
}

int privkey_public(const struct privkey *k, struct pubkey **out)
{
	uint8_t *der = NULL;
	int len = i2d_PUBKEY(k->pkey, &der), rc;

	*out = NULL;
	if (len <= 0)
		return -EIO;
	rc = pubkey_from_spki(der, (size_t)len, out);
	OPENSSL_free(der);
	return rc;
}

static int bio_secret(BIO *bio, struct secret *out)
{
	char *p = NULL;
	long len = BIO_get_mem_data(bio, &p);

	return len > 0 ? secret_set(out, p, (size_t)len) : -EIO;
}

int key_generate(enum key_type type, struct secret *private_pem, char *public_pem, size_t cap)
{
	struct pubkey public = { .type = type };
	EVP_PKEY *pkey = NULL;
	BIO *bio = NULL;
	int rc = -EIO;

	secret_clear(private_pem);
	switch (type) {
	case KEY_ED25519:
		pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
		break;
	case KEY_P256:
		pkey = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
		break;
	case KEY_P384:
		pkey = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-384");
		break;
	case KEY_P521:
		pkey = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-521");
		break;
	case KEY_RSA:
		pkey = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)RSA_BITS_NEW);
		break;
	case KEY_NONE:
		return -EINVAL;
	}
	bio = BIO_new(BIO_s_secmem()); /* its buffer is wiped when it is freed */
	if (!pkey || !bio)
		goto out;
	public.pkey = pkey;
	if (PEM_write_bio_PKCS8PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL) != 1)
		goto out;
	rc = bio_secret(bio, private_pem);
	if (!rc)
		rc = pubkey_pem(&public, public_pem, cap);
out:
	if (rc) {
		secret_clear(private_pem);
		ERR_clear_error();
	}
	BIO_free(bio);
	EVP_PKEY_free(pkey);
	return rc;
}

EVP_PKEY *ossl_pubkey(const struct pubkey *k)
{
	if (!k->pkey)
		return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, k->raw, sizeof(k->raw));
	return EVP_PKEY_up_ref(k->pkey) == 1 ? k->pkey : NULL;
}

/*
 * RFC 8410 s4: SEQUENCE { SEQUENCE { OID 1.3.101.112 } BIT STRING of 32 bytes }. OpenSSL 3.0 takes 150 us
 * to find out what a SubjectPublicKeyInfo is; ours by default are these.
 */
static bool is_ed25519(const uint8_t *der, size_t len)
{
	static const uint8_t head[] = { 0x30, 0x2a, 0x30, 0x05, 0x06, 0x03,
					0x2b, 0x65, 0x70, 0x03, 0x21, 0x00 };

	return len == sizeof(head) + 32 && !memcmp(der, head, sizeof(head));
}

static int ed25519_from_spki(const uint8_t *der, size_t len, struct pubkey **out)
{
	*out = OPENSSL_zalloc(sizeof(**out));
	if (!*out)
		return -ENOMEM;
	(*out)->type = KEY_ED25519;
	memcpy((*out)->raw, der + len - sizeof((*out)->raw), sizeof((*out)->raw));
	return 0;
}

int pubkey_from_spki(const void *der, size_t len, struct pubkey **out)
{
	const uint8_t *p = der;
	enum key_type type = KEY_NONE;
	uint8_t *again = NULL;
	EVP_PKEY *pkey;
	int n, rc = -EBADMSG;

	*out = NULL;
	if (len > KEY_SPKI_MAX)
		return -EBADMSG;
	if (is_ed25519(der, len))
		return ed25519_from_spki(der, len, out);
	pkey = d2i_PUBKEY(NULL, &p, (long)len);
	if (!pkey)
		goto out;
	type = ossl_key_type(pkey);
	if (!type) {
		rc = -ENOTSUP;
		goto out;
	}
	/* DER has one form for each key; anything else, trailing bytes too, is refused. */
	n = i2d_PUBKEY(pkey, &again);
	if (n <= 0 || (size_t)n != len || memcmp(again, der, len) != 0)
		goto out;
	*out = OPENSSL_zalloc(sizeof(**out));
	rc = *out ? 0 : -ENOMEM;
	if (!rc)
		**out = (struct pubkey){ .pkey = pkey, .type = type };
out:
	OPENSSL_free(again);
	if (rc) {
		EVP_PKEY_free(pkey);
		ERR_clear_error();
	}
	return rc;
}

static int load_pem(const char *text, size_t len, struct pubkey **out)
{
	char *name = NULL, *header = NULL;
	uint8_t *der = NULL;
	int rc = -EBADMSG;
	long n = 0;
	BIO *bio;

	bio = BIO_new_mem_buf(text, (int)len);
	if (!bio)
		return -ENOMEM;
	if (PEM_read_bio(bio, &name, &header, &der, &n) == 1 && !strcmp(name, "PUBLIC KEY"))
		rc = pubkey_from_spki(der, (size_t)n, out);
	OPENSSL_free(name);
	OPENSSL_free(header);
	OPENSSL_free(der);
	name = header = NULL;
	der = NULL;
	if (!rc && PEM_read_bio(bio, &name, &header, &der, &n) == 1) { /* a second one */
		pubkey_free(*out);
		*out = NULL;
		rc = -EBADMSG;
	}
	OPENSSL_free(name);
	OPENSSL_free(header);
	OPENSSL_free(der);
	ERR_clear_error();
	BIO_free(bio);
	return rc;
}

static int load_base64(const char *word, size_t len, struct pubkey **out)
{
	char text[KEY_SPKI_MAX / 3 * 4 + 8];
	uint8_t der[KEY_SPKI_MAX + 8];
	int n;

	if (!len || len % 4 || len > sizeof(text) - 1)
		return -EBADMSG;
	for (size_t i = 0; i < len; i++) {
		bool pad = word[i] == '=' && i + 2 >= len;

		if (!isalnum((unsigned char)word[i]) && word[i] != '+' && word[i] != '/' && !pad)
			return -EBADMSG;
	}
	memcpy(text, word, len);
	text[len] = '\0';
	n = EVP_DecodeBlock(der, (const uint8_t *)text, (int)len);
	if (n < 0)
		return -EBADMSG;
	/* EVP_DecodeBlock counts the padding as zero bytes. */
	n -= word[len - 1] == '=';
	n -= word[len - 2] == '=';
	return pubkey_from_spki(der, (size_t)n, out);
}

int pubkey_load(const void *data, size_t len, struct pubkey **out)
{
	const char *text = data, *end = text + len;
	int rc = -EBADMSG;

	*out = NULL;
	if (!data || len > INT_MAX / 2)
		return -EBADMSG;
	if (memmem(text, len, "-----BEGIN", 10))
		return load_pem(text, len, out);
	while (text < end) {
		const char *eol = memchr(text, '\n', (size_t)(end - text)), *word = text, *stop;

		eol = eol ? eol : end;
		text = eol < end ? eol + 1 : end;
		while (word < eol && isspace((unsigned char)*word))
			word++;
		if (word == eol || *word == '#')
			continue;
		for (stop = word; stop < eol && !isspace((unsigned char)*stop);)
			stop++;
		if (*out) { /* a second key */
			pubkey_free(*out);
			*out = NULL;
			return -EBADMSG;
		}
		rc = load_base64(word, (size_t)(stop - word), out);
		if (rc)
			return rc;
	}
	return rc;
}

void pubkey_free(struct pubkey *k)
{
	if (!k)
		return;
	EVP_PKEY_free(k->pkey);
	OPENSSL_free(k);
}

enum key_type pubkey_type(const struct pubkey *k)
{
	return k->type;
}

int pubkey_spki(const struct pubkey *k, uint8_t *out, size_t cap, size_t *len)
{
	EVP_PKEY *pkey = ossl_pubkey(k);
	uint8_t *der = NULL;
	int n = pkey ? i2d_PUBKEY(pkey, &der) : -1, rc = -EMSGSIZE;

	*len = 0;
	EVP_PKEY_free(pkey);
	if (n <= 0)
		return -EIO;
	if ((size_t)n <= cap) {
		memcpy(out, der, (size_t)n);
		*len = (size_t)n;
		rc = 0;
	}
	OPENSSL_free(der);
	return rc;
}

int pubkey_pem(const struct pubkey *k, char *out, size_t cap)
{
	EVP_PKEY *pkey = ossl_pubkey(k);
	BIO *bio = BIO_new(BIO_s_mem());
	int rc = -EIO;
	char *p = NULL;
	long len;

	if (bio && pkey && PEM_write_bio_PUBKEY(bio, pkey) == 1) {
		len = BIO_get_mem_data(bio, &p);
		rc = -EMSGSIZE;
		if (len > 0 && (size_t)len < cap) {
			memcpy(out, p, (size_t)len);
			out[len] = '\0';
			rc = 0;
		}
	}
	BIO_free(bio);
	EVP_PKEY_free(pkey);
	return rc;
}

const char *pubkey_fingerprint(const struct pubkey *k, char out[static KEY_FINGERPRINT_MAX])
{
	uint8_t spki[KEY_SPKI_MAX], hash[SHA256_LEN], text[48];
	struct span part = { spki, 0 };

	if (pubkey_spki(k, spki, sizeof(spki), &part.len) || digest_sha256(&part, 1, hash)) {
		snprintf(out, KEY_FINGERPRINT_MAX, "unknown");
		return out;
	}
	EVP_EncodeBlock(text, hash, sizeof(hash));
	snprintf(out, KEY_FINGERPRINT_MAX, "SHA256:%.43s", (char *)text);
	return out;
}

bool pubkey_equal(const struct pubkey *a, const struct pubkey *b)
{
	if (a->type != b->type || !a->pkey != !b->pkey)
		return false;
	return a->pkey ? EVP_PKEY_eq(a->pkey, b->pkey) == 1
		       : !memcmp(a->raw, b->raw, sizeof(a->raw));
}
