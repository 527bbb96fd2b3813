/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Case 40: signatures under method 14 (RFC 7427 s3, s4; RFC 8420) that must not be taken, whatever they prove:
 * hashes that we did not announce in SIGNATURE_HASH_ALGORITHMS, an AlgorithmIdentifier or a signature
 * that is not exactly DER, a digest cut short. The liar has the right private key and signs with
 * OpenSSL itself, so what is wrong is the one thing that the row names.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "forge.h"
#include "engine_int.h"
#include "ossl.h"

#define OID_PKCS1(n) "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01" n
#define OID_ECDSA(n) "\x06\x08\x2a\x86\x48\xce\x3d\x04\x03" n
#define OID_SHA2(n)  "\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02" n
#define NUL	     "\x05\x00"
#define SHA256_ALG   "\x30\x0d" OID_SHA2("\x01") NUL
#define PSS(h, g, n)                                                                               \
	"\x30\x41" OID_PKCS1("\x0a") "\x30\x34\xa0\x0f" h "\xa1\x1c\x30\x1a" OID_PKCS1("\x08") g   \
	    "\xa2\x03\x02\x01" n
#define BYTES(s) s, sizeof(s) - 1

enum trick {
	PLAIN,
	SIG_TAIL,  /* one byte after the signature */
	SIG_SHORT, /* its last byte is missing */
	SIG_NONE_AT_ALL,
	ALG_TAIL,	  /* one byte after AlgorithmIdentifier, within its length */
	ALG_CUT,	  /* the length says one less */
	ALG_LONG,	  /* the length reaches past the payload */
	ALG_LONG_FORM,	  /* 30 81 xx: BER, not DER */
	BLOCK_SHORT_HASH, /* RSA: DigestInfo with a digest of 20 bytes of the 32 */
	BLOCK_TAIL,	  /* RSA: DigestInfo, digest, then a byte more, less padding */
	BLOCK_NO_NULL,	  /* RSA: DigestInfo without parameters */
	BLOCK_SHORT_PAD,  /* RSA: two bytes of padding, garbage behind (Bleichenbacher 2006) */
	ECDSA_CUT_HASH,	  /* the first 20 bytes of the digest are what is signed */
	ECDSA_ZEROS,	  /* r = s = 0 */
	ECDSA_RAW,	  /* r | s as methods 9 to 11 have it */
	ECDSA_BER	  /* SEQUENCE with a length in long form */
};

static const struct row {
	enum auth_style style;
	bool good;
	const char *hash; /* of the signature; NULL: the key has its own */
	bool pss;
	const char *alg;
	size_t alg_len;
	enum trick trick;
	const char *what;
} rows[] = {
	{ STYLE_CERT_ED25519, true, NULL, false, BYTES("\x30\x05\x06\x03\x2b\x65\x70"), PLAIN,
	  "Ed25519" },
	{ STYLE_CERT_ED25519, false, NULL, false, BYTES("\x30\x05\x06\x03\x2b\x65\x70"), SIG_TAIL,
	  "Ed25519, 65 bytes" },
	{ STYLE_CERT_ED25519, false, NULL, false, BYTES("\x30\x05\x06\x03\x2b\x65\x70"), SIG_SHORT,
	  "Ed25519, 63 bytes" },
	{ STYLE_CERT_ED25519, false, NULL, false, BYTES("\x30\x05\x06\x03\x2b\x65\x70"),
	  SIG_NONE_AT_ALL, "Ed25519, empty" },
	{ STYLE_CERT_ED25519, false, NULL, false, BYTES("\x30\x07\x06\x03\x2b\x65\x70" NUL), PLAIN,
	  "Ed25519 with parameters" },
	{ STYLE_CERT_ED25519, false, NULL, false, BYTES("\x30\x05\x06\x03\x2b\x65\x71"), PLAIN,
	  "says Ed448" },
	{ STYLE_CERT_ED25519, false, NULL, false, BYTES("\x30\x05\x06\x03\x2b\x65\x70"), ALG_TAIL,
	  "Ed25519, byte after the algorithm" },
	{ STYLE_CERT_ED25519, false, NULL, false, BYTES("\x30\x05\x06\x03\x2b\x65\x70"), ALG_CUT,
	  "Ed25519, length one less" },
	{ STYLE_CERT_ED25519, false, NULL, false, BYTES("\x30\x05\x06\x03\x2b\x65\x70"), ALG_LONG,
	  "Ed25519, length past the end" },
	{ STYLE_CERT_ED25519, false, NULL, false, BYTES("\x30\x05\x06\x03\x2b\x65\x70"),
	  ALG_LONG_FORM, "Ed25519, length in long form" },
	{ STYLE_CERT_ED25519, false, NULL, false, BYTES(""), PLAIN, "no algorithm" },

	{ STYLE_CERT_RSA, true, "SHA256", false, BYTES("\x30\x0d" OID_PKCS1("\x0b") NUL), PLAIN,
	  "PKCS1 SHA-256" },
	{ STYLE_CERT_RSA, true, "SHA512", false, BYTES("\x30\x0d" OID_PKCS1("\x0d") NUL), PLAIN,
	  "PKCS1 SHA-512" },
	{ STYLE_CERT_RSA, true, "SHA256", true, BYTES(PSS(SHA256_ALG, SHA256_ALG, "\x20")), PLAIN,
	  "PSS SHA-256" },
	{ STYLE_CERT_RSA, false, "SHA1", false, BYTES("\x30\x0d" OID_PKCS1("\x05") NUL), PLAIN,
	  "PKCS1 SHA-1" },
	{ STYLE_CERT_RSA, false, "SHA224", false, BYTES("\x30\x0d" OID_PKCS1("\x0e") NUL), PLAIN,
	  "PKCS1 SHA-224" },
	{ STYLE_CERT_RSA, false, "SHA1", true, BYTES("\x30\x0d" OID_PKCS1("\x0a") "\x30\x00"),
	  PLAIN, "PSS with its defaults, SHA-1" },
	{ STYLE_CERT_RSA, false, "SHA256", true, BYTES(PSS(SHA256_ALG, SHA256_ALG, "\x14")), PLAIN,
	  "PSS, salt not as long as the hash" },
	{ STYLE_CERT_RSA, false, "SHA256", true, BYTES(PSS(SHA256_ALG, SHA256_ALG, "\x20")),
	  ALG_TAIL, "PSS, byte after the algorithm" },
	{ STYLE_CERT_RSA, false, "SHA256", true, BYTES("\x30\x0d" OID_PKCS1("\x0b") NUL), PLAIN,
	  "says PKCS1, is PSS" },
	{ STYLE_CERT_RSA, false, "SHA384", false, BYTES("\x30\x0d" OID_PKCS1("\x0b") NUL), PLAIN,
	  "says SHA-256, is SHA-384" },
	{ STYLE_CERT_RSA, false, "SHA256", false, BYTES("\x30\x0d" OID_PKCS1("\x0b") NUL), ALG_TAIL,
	  "PKCS1, byte after the algorithm" },
	{ STYLE_CERT_RSA, false, "SHA256", false, BYTES("\x30\x0d" OID_PKCS1("\x0b") NUL),
	  ALG_LONG_FORM, "PKCS1, length in long form" },
	{ STYLE_CERT_RSA, false, "SHA256", false, BYTES("\x30\x0e" OID_PKCS1("\x0b") NUL "\x00"),
	  PLAIN, "PKCS1, byte within the algorithm" },
	{ STYLE_CERT_RSA, false, "SHA256", false, BYTES("\x30\x0d" OID_PKCS1("\x0b") NUL), SIG_TAIL,
	  "PKCS1, byte after the signature" },
	{ STYLE_CERT_RSA, false, "SHA256", false, BYTES("\x30\x0d" OID_PKCS1("\x0b") NUL),
	  SIG_SHORT, "PKCS1, signature one byte short" },
	{ STYLE_CERT_RSA, false, "SHA256", false, BYTES("\x30\x0d" OID_PKCS1("\x0b") NUL),
	  BLOCK_SHORT_HASH, "PKCS1, digest cut short" },
	{ STYLE_CERT_RSA, false, "SHA256", false, BYTES("\x30\x0d" OID_PKCS1("\x0b") NUL),
	  BLOCK_TAIL, "PKCS1, byte after the digest" },
	{ STYLE_CERT_RSA, false, "SHA256", false, BYTES("\x30\x0d" OID_PKCS1("\x0b") NUL),
	  BLOCK_NO_NULL, "PKCS1, DigestInfo without NULL" },
	{ STYLE_CERT_RSA, false, "SHA256", false, BYTES("\x30\x0d" OID_PKCS1("\x0b") NUL),
	  BLOCK_SHORT_PAD, "PKCS1, garbage behind a short padding" },

	{ STYLE_CERT_ECDSA, true, "SHA256", false, BYTES("\x30\x0a" OID_ECDSA("\x02")), PLAIN,
	  "ECDSA SHA-256" },
	{ STYLE_CERT_ECDSA, true, "SHA512", false, BYTES("\x30\x0a" OID_ECDSA("\x04")), PLAIN,
	  "ECDSA SHA-512" },
	{ STYLE_CERT_ECDSA, false, "SHA1", false,
	  BYTES("\x30\x09\x06\x07\x2a\x86\x48\xce\x3d\x04\x01"), PLAIN, "ECDSA SHA-1" },
	{ STYLE_CERT_ECDSA, false, "SHA224", false, BYTES("\x30\x0a" OID_ECDSA("\x01")), PLAIN,
	  "ECDSA SHA-224" },
	{ STYLE_CERT_ECDSA, false, "SHA256", false, BYTES("\x30\x0c" OID_ECDSA("\x02") NUL), PLAIN,
	  "ECDSA with parameters" },
	{ STYLE_CERT_ECDSA, false, "SHA256", false, BYTES("\x30\x0a" OID_ECDSA("\x02")), SIG_TAIL,
	  "ECDSA, byte after the signature" },
	{ STYLE_CERT_ECDSA, false, "SHA256", false, BYTES("\x30\x0a" OID_ECDSA("\x02")), ALG_TAIL,
	  "ECDSA, byte after the algorithm" },
	{ STYLE_CERT_ECDSA, false, "SHA256", false, BYTES("\x30\x0a" OID_ECDSA("\x02")),
	  ECDSA_CUT_HASH, "ECDSA, digest cut short" },
	{ STYLE_CERT_ECDSA, false, "SHA256", false, BYTES("\x30\x0a" OID_ECDSA("\x02")),
	  ECDSA_ZEROS, "ECDSA, r = s = 0" },
	{ STYLE_CERT_ECDSA, false, "SHA256", false, BYTES("\x30\x0a" OID_ECDSA("\x02")), ECDSA_RAW,
	  "ECDSA, r | s" },
	{ STYLE_CERT_ECDSA, false, "SHA256", false, BYTES("\x30\x0a" OID_ECDSA("\x02")), ECDSA_BER,
	  "ECDSA, BER" },
};

/* ---- the liar's own signing ---- */

static size_t sign(EVP_PKEY *key, const struct row *r, struct span octets, uint8_t *out, size_t cap)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *p = NULL;
	size_t n = cap;

	assert_true(EVP_DigestSignInit_ex(ctx, &p, r->hash, NULL, NULL, key, NULL) == 1);
	if (r->pss)
		assert_true(EVP_PKEY_CTX_set_rsa_padding(p, RSA_PKCS1_PSS_PADDING) == 1 &&
			    EVP_PKEY_CTX_set_rsa_pss_saltlen(p, r->alg[r->alg_len - 1] == '\x14'
								    ? 20
								    : RSA_PSS_SALTLEN_DIGEST) == 1);
	assert_true(EVP_DigestSign(ctx, out, &n, octets.p, octets.len) == 1);
	EVP_MD_CTX_free(ctx);
	return n;
}

/* The private key on a block of the liar's own making (RFC 8017 s9.2). */
static size_t sign_block(EVP_PKEY *key, enum trick trick, struct span octets, uint8_t *out,
			 size_t cap)
{
	static const char null_info[] = "\x30\x31" SHA256_ALG "\x04\x20";
	static const char short_info[] = "\x30\x25" SHA256_ALG "\x04\x14";
	static const char bare_info[] = "\x30\x2f\x30\x0b" OID_SHA2("\x01") "\x04\x20";
	uint8_t block[512], info[128], digest[32];
	size_t size = (size_t)EVP_PKEY_get_size(key), n, pad, len = cap;
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
	unsigned dl;

	assert_true(size <= sizeof(block));
	EVP_Digest(octets.p, octets.len, digest, &dl, EVP_sha256(), NULL);
	switch (trick) {
	case BLOCK_SHORT_HASH:
		memcpy(info, short_info, n = sizeof(short_info) - 1);
		memcpy(info + n, digest, 20);
		n += 20;
		break;
	case BLOCK_NO_NULL:
		memcpy(info, bare_info, n = sizeof(bare_info) - 1);
		memcpy(info + n, digest, 32);
		n += 32;
		break;
	default:
		memcpy(info, null_info, n = sizeof(null_info) - 1);
		memcpy(info + n, digest, 32);
		n += 32;
		if (trick == BLOCK_TAIL)
			info[n++] = 0;
		break;
	}
	memset(block, 0x5a, size);
	pad = trick == BLOCK_SHORT_PAD ? 8 : size - n - 3;
	block[0] = 0;
	block[1] = 1;
	memset(block + 2, 0xff, pad);
	block[2 + pad] = 0;
	memcpy(block + 3 + pad, info, n);
	assert_true(EVP_PKEY_sign_init(ctx) == 1 &&
		    EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_NO_PADDING) == 1 &&
		    EVP_PKEY_sign(ctx, out, &len, block, size) == 1);
	EVP_PKEY_CTX_free(ctx);
	return len;
}

static size_t sign_ecdsa(EVP_PKEY *key, const struct row *r, struct span octets, uint8_t *out,
			 size_t cap)
{
	uint8_t digest[32], der[200];
	EVP_PKEY_CTX *ctx;
	size_t n = cap;
	unsigned dl;

	if (r->trick == ECDSA_ZEROS) {
		memcpy(out, "\x30\x06\x02\x01\x00\x02\x01\x00", 8);
		return 8;
	}
	if (r->trick == ECDSA_CUT_HASH) {
		ctx = EVP_PKEY_CTX_new(key, NULL);
		EVP_Digest(octets.p, octets.len, digest, &dl, EVP_sha256(), NULL);
		assert_true(EVP_PKEY_sign_init(ctx) == 1 &&
			    EVP_PKEY_sign(ctx, out, &n, digest, 20) == 1);
		EVP_PKEY_CTX_free(ctx);
		return n;
	}
	n = sign(key, r, octets, der, sizeof(der));
	if (r->trick == ECDSA_BER) {
		out[0] = 0x30;
		out[1] = 0x81;
		memcpy(out + 2, der + 1, n - 1);
		return n + 1;
	}
	for (size_t i = 0, at = 2; i < 2; i++) {
		size_t len = der[at + 1], skip = len > 32 ? len - 32 : 0;

		memset(out + 32 * i, 0, 32);
		memcpy(out + 32 * i + 32 - (len - skip), der + at + 2 + skip, len - skip);
		at += 2 + len;
	}
	return 64;
}

/* ---- the AUTH payload ---- */

static struct {
	const struct row *row;
	int who;
	uint8_t data[1200];
	size_t len;
} lie;

static void make(const struct privkey *key, struct span octets)
{
	const struct row *r = lie.row;
	uint8_t sig[1024], alg[128];
	size_t n, alg_len = r->alg_len, said;

	memcpy(alg, r->alg, alg_len);
	if (r->trick >= ECDSA_CUT_HASH)
		n = sign_ecdsa(key->pkey, r, octets, sig, sizeof(sig));
	else if (r->trick >= BLOCK_SHORT_HASH)
		n = sign_block(key->pkey, r->trick, octets, sig, sizeof(sig));
	else
		n = sign(key->pkey, r, octets, sig, sizeof(sig));
	if (r->trick == SIG_TAIL)
		sig[n++] = 0;
	if (r->trick == SIG_SHORT)
		n--;
	if (r->trick == SIG_NONE_AT_ALL)
		n = 0;
	if (r->trick == ALG_TAIL)
		alg[alg_len++] = 0;
	if (r->trick == ALG_LONG_FORM) {
		memmove(alg + 2, alg + 1, alg_len++ - 1);
		alg[1] = 0x81;
	}
	said = r->trick == ALG_CUT ? alg_len - 1 : r->trick == ALG_LONG ? 255 : alg_len;
	memcpy(lie.data, "\x0e\0\0", 4);
	lie.data[4] = (uint8_t)said;
	memcpy(lie.data + 5, alg, alg_len);
	memcpy(lie.data + 5 + alg_len, sig, n);
	lie.len = 5 + alg_len + n;
}

static void see_octets(struct world *w, int host, struct fx *f)
{
	struct ike_sa *sa = sa_by_handle(w->host[host].e, (uint32_t)f->auth.token);

	if (sa)
		sa->frag_max = 8000; /* in one piece, so that it can be changed */
	if (host == lie.who)
		make(w->host[host].key, (struct span){ f->auth.octets, f->auth.len });
}

static bool put(struct world *w, struct chain *c, struct ike_hdr *h, void *arg)
{
	struct link *auth = chain_find(c, PLD_AUTH);

	(void)w;
	(void)h;
	(void)arg;
	if (!auth)
		return false;
	auth->body = lie.data;
	auth->len = lie.len;
	return true;
}

static void ike_case_040_signatures_not_announced_or_not_exact_are_refused(void **s)
{
	(void)s;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (int who = 0; who < 2; who++) {
			struct forgery f = { .from = who,
					     .exchange = IKE_AUTH,
					     .response = who == VPS,
					     .edit = put };
			struct world *w = world_new(40, rows[i].style);
			struct host *judge = &w->host[!who];

			lie.row = &rows[i];
			lie.who = who;
			w->before_keys = see_octets;
			w->filter = forge_filter;
			w->filter_arg = &f;
			world_start(w);
			world_call(w, HOME);
			world_run(w, 300);
			w->filter = NULL;
			w->before_keys = NULL;
			assert_int_equal(f.done, 1);
			if (judge->up != rows[i].good)
				fail_msg("%s, from %s: %s", rows[i].what, who ? "vps" : "home",
					 judge->up ? "taken" : judge->last_failed.failed.text);
			if (!rows[i].good) {
				assert_int_equal(judge->last_failed.failed.why,
						 ENGINE_WHY_AUTH_FAILED);
				assert_int_equal(paper_children(judge, false, false), 0);
			}
			world_no_leaks(w);
			world_free(w);
		}
}

/* And we ourselves sign only with what the peer announced (s4). */
static void ike_case_040_we_sign_with_an_announced_hash(void **s)
{
	static const struct {
		enum key_type key;
		unsigned hashes;
		enum sig_scheme scheme;
	} want[] = {
		{ KEY_RSA, 1u << SIG_HASH_SHA2_512, SIG_RSA_PSS_SHA512 },
		{ KEY_RSA, 1u << SIG_HASH_SHA1, SIG_NONE },
		{ KEY_RSA, 0, SIG_NONE },
		{ KEY_ED25519, 1u << SIG_HASH_SHA2_256, SIG_NONE },
		{ KEY_P256, 1u << SIG_HASH_SHA2_384, SIG_ECDSA_SHA384 },
		{ KEY_P256, 1u << SIG_HASH_SHA1, SIG_ECDSA_P256_RAW }, /* method 9 needs none */
	};

	(void)s;
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++)
		assert_int_equal(sig_scheme_pick(want[i].key, want[i].hashes), want[i].scheme);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ike_case_040_signatures_not_announced_or_not_exact_are_refused),
		cmocka_unit_test(ike_case_040_we_sign_with_an_announced_hash),
	};

	log_setup("exchange", LOG_LVL_ERR, 2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
