/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CRYPTO_SIGN_H
#define CRYPTO_SIGN_H

/*
 * Theory: a scheme names a signature as it stands in an AUTH payload: algorithm, hash and encoding.
 * Under authentication method 14 (RFC 7427) the AUTH data is
 *
 *	+-----------+---------------------------+-----------+
 *	| length 8b | AlgorithmIdentifier (DER) | signature |
 *	+-----------+---------------------------+-----------+
 *
 * and ECDSA values are DER; under methods 9 to 11 (RFC 4754) the data is r | s, curve and hash
 * fixed by the method. Both are just schemes here. SHA-1 and RSA below 2048 bits do not exist.
 */

#include "secret.h"
#include "suite.h"

enum auth_method {		     /* RFC 7296 s3.8, IANA */
		   AUTH_RSA_SIG = 1, /* SHA-1: named in logs, never made or accepted */
		   AUTH_SHARED_KEY = 2,
		   AUTH_ECDSA_256 = 9, /* RFC 4754 */
		   AUTH_ECDSA_384 = 10,
		   AUTH_ECDSA_521 = 11,
		   AUTH_NULL = 13,	       /* RFC 7619, refused */
		   AUTH_DIGITAL_SIGNATURE = 14 /* RFC 7427 */
};

enum sig_hash {			   /* RFC 7427 s4, IANA "IKEv2 Hash Algorithms" */
		SIG_HASH_SHA1 = 1, /* never announced */
		SIG_HASH_SHA2_256 = 2,
		SIG_HASH_SHA2_384 = 3,
		SIG_HASH_SHA2_512 = 4,
		SIG_HASH_IDENTITY = 5 /* RFC 8420: Ed25519 */
};
#define SIG_HASHES_ALL                                                                             \
	(1u << SIG_HASH_SHA2_256 | 1u << SIG_HASH_SHA2_384 | 1u << SIG_HASH_SHA2_512 |             \
	 1u << SIG_HASH_IDENTITY)

enum sig_scheme {
	SIG_NONE,
	SIG_ED25519,
	SIG_ECDSA_SHA256, /* DER, any of our curves */
	SIG_ECDSA_SHA384,
	SIG_ECDSA_SHA512,
	SIG_RSA_PSS_SHA256, /* MGF1 with the same hash, salt as long as the hash */
	SIG_RSA_PSS_SHA384,
	SIG_RSA_PSS_SHA512,
	SIG_RSA_PKCS1_SHA256,
	SIG_RSA_PKCS1_SHA384,
	SIG_RSA_PKCS1_SHA512,
	SIG_ECDSA_P256_RAW, /* methods 9, 10, 11 */
	SIG_ECDSA_P384_RAW,
	SIG_ECDSA_P521_RAW,
	SIG_SCHEMES
};

enum key_type { KEY_NONE, KEY_ED25519, KEY_P256, KEY_P384, KEY_P521, KEY_RSA };

#define KEY_TYPES_TAKEN     "Ed25519, ECDSA on P-256, P-384 or P-521, RSA of 2048 to 8192 bits"
#define SIG_LEN_MAX	    1024 /* bytes: RSA-8192 */
#define SIG_AUTH_DATA_MAX   (1 + 255 + SIG_LEN_MAX)
#define KEY_SPKI_MAX	    1200
#define KEY_FINGERPRINT_MAX 52 /* "SHA256:" and 43 characters of base64, and NUL */

struct privkey; /* a private key: keys process and keygen only */
struct pubkey;

/**
 * privkey_load() - Private key from the text of its file: PEM PKCS#8 or traditional, unencrypted.
 * Borrows @text. 0, -EBADMSG (no such key in it), -ENOTSUP (type or size not ours), -ENOMEM.
 */
int privkey_load(const struct secret *text, struct privkey **out);
void privkey_free(struct privkey *k);
enum key_type privkey_type(const struct privkey *k);
/** privkey_public() - Its public half; caller frees. */
int privkey_public(const struct privkey *k, struct pubkey **out);

/**
 * key_generate() - For `postern keygen`.
 * @private_pem: PKCS#8 PEM; the caller writes it with mode 0600 and clears it.
 * @public_pem: SPKI PEM with NUL, at most @cap; -EMSGSIZE. KEY_RSA makes 3072 bits.
 */
int key_generate(enum key_type type, struct secret *private_pem, char *public_pem, size_t cap);

/**
 * pubkey_load() - Public key from the text of its file: SPKI PEM, or one line that holds the
 * base64 of the SPKI DER, a comment may follow; lines that begin with # are skipped. More than one key: -EBADMSG.
 */
int pubkey_load(const void *text, size_t len, struct pubkey **out);
/** pubkey_from_spki() - DER SubjectPublicKeyInfo, exactly @len bytes (CERT encoding 15, RFC 7670). */
int pubkey_from_spki(const void *der, size_t len, struct pubkey **out);
void pubkey_free(struct pubkey *k);
enum key_type pubkey_type(const struct pubkey *k);
/** pubkey_spki() - DER; 0 or -EMSGSIZE. KEY_SPKI_MAX is always enough. */
int pubkey_spki(const struct pubkey *k, uint8_t *out, size_t cap, size_t *len);
/** pubkey_pem() - SPKI PEM with NUL. */
int pubkey_pem(const struct pubkey *k, char *out, size_t cap);
/** pubkey_fingerprint() - "SHA256:base64 of the hash of the SPKI", for logs and status. */
const char *pubkey_fingerprint(const struct pubkey *k, char out[static KEY_FINGERPRINT_MAX]);
bool pubkey_equal(const struct pubkey *a, const struct pubkey *b);
const char *key_type_name(enum key_type t); /* "ed25519", "ecdsa-p256", ... */
/** key_type_parse() - The reverse; KEY_NONE when unknown. */
enum key_type key_type_parse(const char *name);

const char *sig_scheme_name(enum sig_scheme s); /* for logs */
enum auth_method sig_scheme_method(enum sig_scheme s);
enum sig_hash sig_scheme_hash(enum sig_scheme s);
/** sig_scheme_fits() - Can a key of type @t make @s? */
bool sig_scheme_fits(enum sig_scheme s, enum key_type t);
/** sig_scheme_of_method() - Scheme of methods 9, 10, 11; SIG_NONE for others. */
enum sig_scheme sig_scheme_of_method(uint8_t method);
/**
 * sig_scheme_pick() - What to sign with.
 * @peer_hashes: bit (1u << n) for each hash n in the peer's SIGNATURE_HASH_ALGORITHMS; 0 when it
 * sent none (then methods 9 to 11 remain, which only ECDSA keys have).
 * SIG_NONE: nothing fits; the peer cannot check our key.
 */
enum sig_scheme sig_scheme_pick(enum key_type t, unsigned peer_hashes);

/** sig_algid() - DER AlgorithmIdentifier of a method 14 scheme (RFC 7427 appendix A, RFC 8420). */
struct span sig_algid(enum sig_scheme s);
/**
 * sig_algid_parse() - Strict DER, no trailing bytes; -EBADMSG malformed, -ENOTSUP not one of ours.
 */
int sig_algid_parse(const void *der, size_t len, enum sig_scheme *out);
/** sig_auth_build() - Data of an AUTH payload from scheme and signature; 0 or -EMSGSIZE. */
int sig_auth_build(enum sig_scheme s, const void *sig, size_t sig_len, uint8_t *out, size_t cap,
		   size_t *len);
/**
 * sig_auth_parse() - Scheme and signature from an AUTH payload with method 9, 10, 11 or 14.
 * @sig: view into @data. 0, -EBADMSG, -ENOTSUP (method or algorithm).
 */
int sig_auth_parse(uint8_t method, const void *data, size_t len, enum sig_scheme *s,
		   struct span *sig);

/** sig_auth_is_sha1() - Is it one of those with SHA-1? To say so; none of them is taken. */
bool sig_auth_is_sha1(uint8_t method, const void *data, size_t len);

/**
 * sig_make() - Sign @octets; keys process.
 * Returns 0, -EINVAL (scheme does not fit the key), -EMSGSIZE, -EIO.
 */
int sig_make(const struct privkey *k, enum sig_scheme s, struct span octets, uint8_t *out,
	     size_t cap, size_t *len);
/** sig_verify() - 0, -EKEYREJECTED, -EINVAL (scheme does not fit the key), -EIO. */
int sig_verify(const struct pubkey *k, enum sig_scheme s, struct span octets, struct span sig);

#endif
