/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sign.h"

#include <errno.h>
#include <string.h>

#include "wire.h"

#define ED25519_ALG  "\x30\x05\x06\x03\x2b\x65\x70" /* RFC 8410 s3: parameters absent */
#define ECDSA_ALG(n) "\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03" n
#define PKCS1_ALG(n) "\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01" n "\x05\x00"
#define SHA2_ALG(n)  "\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02" n "\x05\x00"
/* RFC 4055 s3.1; a DEFAULT trailerField is not encoded in DER. */
#define PSS_ALG(n, salt)                                                                           \
	"\x30\x41\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x34"                             \
	"\xa0\x0f" SHA2_ALG(n) "\xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01"          \
			       "\x08" SHA2_ALG(n) "\xa2\x03\x02\x01" salt

#define BLOB(s)                                                                                    \
	{                                                                                          \
		s, sizeof(s) - 1                                                                   \
	}

static const struct {
	const char *name;
	enum auth_method method;
	enum sig_hash hash;
	struct span algid;
} schemes[SIG_SCHEMES] = {
	[SIG_NONE] = { "none", 0, 0, { NULL, 0 } },
	[SIG_ED25519] = { "ed25519", AUTH_DIGITAL_SIGNATURE, SIG_HASH_IDENTITY, BLOB(ED25519_ALG) },
	[SIG_ECDSA_SHA256] = { "ecdsa-sha256", AUTH_DIGITAL_SIGNATURE, SIG_HASH_SHA2_256,
			       BLOB(ECDSA_ALG("\x02")) },
	[SIG_ECDSA_SHA384] = { "ecdsa-sha384", AUTH_DIGITAL_SIGNATURE, SIG_HASH_SHA2_384,
			       BLOB(ECDSA_ALG("\x03")) },
	[SIG_ECDSA_SHA512] = { "ecdsa-sha512", AUTH_DIGITAL_SIGNATURE, SIG_HASH_SHA2_512,
			       BLOB(ECDSA_ALG("\x04")) },
	[SIG_RSA_PSS_SHA256] = { "rsa-pss-sha256", AUTH_DIGITAL_SIGNATURE, SIG_HASH_SHA2_256,
				 BLOB(PSS_ALG("\x01", "\x20")) },
	[SIG_RSA_PSS_SHA384] = { "rsa-pss-sha384", AUTH_DIGITAL_SIGNATURE, SIG_HASH_SHA2_384,
				 BLOB(PSS_ALG("\x02", "\x30")) },
	[SIG_RSA_PSS_SHA512] = { "rsa-pss-sha512", AUTH_DIGITAL_SIGNATURE, SIG_HASH_SHA2_512,
				 BLOB(PSS_ALG("\x03", "\x40")) },
	[SIG_RSA_PKCS1_SHA256] = { "rsa-pkcs1-sha256", AUTH_DIGITAL_SIGNATURE, SIG_HASH_SHA2_256,
				   BLOB(PKCS1_ALG("\x0b")) },
	[SIG_RSA_PKCS1_SHA384] = { "rsa-pkcs1-sha384", AUTH_DIGITAL_SIGNATURE, SIG_HASH_SHA2_384,
				   BLOB(PKCS1_ALG("\x0c")) },
	[SIG_RSA_PKCS1_SHA512] = { "rsa-pkcs1-sha512", AUTH_DIGITAL_SIGNATURE, SIG_HASH_SHA2_512,
				   BLOB(PKCS1_ALG("\x0d")) },
	[SIG_ECDSA_P256_RAW] = { "ecdsa-256", AUTH_ECDSA_256, SIG_HASH_SHA2_256, { NULL, 0 } },
	[SIG_ECDSA_P384_RAW] = { "ecdsa-384", AUTH_ECDSA_384, SIG_HASH_SHA2_384, { NULL, 0 } },
	[SIG_ECDSA_P521_RAW] = { "ecdsa-521", AUTH_ECDSA_521, SIG_HASH_SHA2_512, { NULL, 0 } },
};

const char *sig_scheme_name(enum sig_scheme s)
{
	return s < SIG_SCHEMES ? schemes[s].name : "none";
}

enum auth_method sig_scheme_method(enum sig_scheme s)
{
	return s < SIG_SCHEMES ? schemes[s].method : 0;
}

enum sig_hash sig_scheme_hash(enum sig_scheme s)
{
	return s < SIG_SCHEMES ? schemes[s].hash : 0;
}

enum sig_scheme sig_scheme_of_method(uint8_t method)
{
	switch (method) {
	case AUTH_ECDSA_256:
		return SIG_ECDSA_P256_RAW;
	case AUTH_ECDSA_384:
		return SIG_ECDSA_P384_RAW;
	case AUTH_ECDSA_521:
		return SIG_ECDSA_P521_RAW;
	default:
		return SIG_NONE;
	}
}

bool sig_scheme_fits(enum sig_scheme s, enum key_type t)
{
	switch (s) {
	case SIG_ED25519:
		return t == KEY_ED25519;
	case SIG_ECDSA_SHA256:
	case SIG_ECDSA_SHA384:
	case SIG_ECDSA_SHA512:
		return t == KEY_P256 || t == KEY_P384 || t == KEY_P521;
	case SIG_RSA_PSS_SHA256:
	case SIG_RSA_PSS_SHA384:
	case SIG_RSA_PSS_SHA512:
	case SIG_RSA_PKCS1_SHA256:
	case SIG_RSA_PKCS1_SHA384:
	case SIG_RSA_PKCS1_SHA512:
		return t == KEY_RSA;
	case SIG_ECDSA_P256_RAW:
		return t == KEY_P256;
	case SIG_ECDSA_P384_RAW:
		return t == KEY_P384;
	case SIG_ECDSA_P521_RAW:
		return t == KEY_P521;
	case SIG_NONE:
	case SIG_SCHEMES:
		break;
	}
	return false;
}

enum sig_scheme sig_scheme_pick(enum key_type t, unsigned peer_hashes)
{
	/* By key, best first: the hash that matches the curve, then whatever the peer takes. */
	static const struct {
		enum key_type type;
		enum sig_scheme scheme;
	} order[] = {
		{ KEY_ED25519, SIG_ED25519 },	 { KEY_P256, SIG_ECDSA_SHA256 },
		{ KEY_P256, SIG_ECDSA_SHA384 },	 { KEY_P256, SIG_ECDSA_SHA512 },
		{ KEY_P384, SIG_ECDSA_SHA384 },	 { KEY_P384, SIG_ECDSA_SHA512 },
		{ KEY_P384, SIG_ECDSA_SHA256 },	 { KEY_P521, SIG_ECDSA_SHA512 },
		{ KEY_P521, SIG_ECDSA_SHA384 },	 { KEY_P521, SIG_ECDSA_SHA256 },
		{ KEY_RSA, SIG_RSA_PSS_SHA256 }, { KEY_RSA, SIG_RSA_PSS_SHA384 },
		{ KEY_RSA, SIG_RSA_PSS_SHA512 },
	};

	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		if (order[i].type == t && peer_hashes & 1u << sig_scheme_hash(order[i].scheme))
			return order[i].scheme;
	}
	/* A peer of before RFC 7427. */
	switch (t) {
	case KEY_P256:
		return SIG_ECDSA_P256_RAW;
	case KEY_P384:
		return SIG_ECDSA_P384_RAW;
	case KEY_P521:
		return SIG_ECDSA_P521_RAW;
	default:
		return SIG_NONE;
	}
}

struct span sig_algid(enum sig_scheme s)
{
	return s < SIG_SCHEMES ? schemes[s].algid : (struct span){ NULL, 0 };
}

/*
 * One TLV of @tag: lengths below 128 only, which all that we know have; what is longer cannot be
 * one of ours and counts as malformed.
 */
static struct rd tlv(struct rd *r, uint8_t tag)
{
	uint8_t got = rd_u8(r), len = rd_u8(r);

	if (got != tag || len > 127)
		r->bad = true;
	return rd_sub(r, len);
}

static bool end(const struct rd *r)
{
	return !r->bad && r->p == r->end;
}

/* AlgorithmIdentifier of a SHA-2 hash, parameters NULL or absent (RFC 4055 s2.1); 0: another. */
static unsigned pss_hash(struct rd *r)
{
	static const uint8_t oid[] = { 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02 };
	struct rd seq = tlv(r, 0x30), id = tlv(&seq, 0x06), null;
	const uint8_t *p = rd_take(&id, sizeof(oid));
	uint8_t n = rd_u8(&id);

	if (!seq.bad && rd_left(&seq)) {
		null = tlv(&seq, 0x05);
		if (!end(&null))
			seq.bad = true;
	}
	if (!end(&seq))
		r->bad = true;
	if (r->bad || !p || !end(&id) || memcmp(p, oid, sizeof(oid)) != 0 || n < 1 || n > 3)
		return 0;
	return n;
}

/* RSASSA-PSS-params: hash, MGF1 with the same hash, salt as long as the hash. */
static int parse_pss(struct rd *alg, enum sig_scheme *out)
{
	static const uint8_t mgf1[] = { 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08 };
	static const uint8_t salts[] = { 0, 32, 48, 64 };
	struct rd params = tlv(alg, 0x30), hash, mgf, seq, id, salt, num;
	unsigned h, m, salt_len;
	const uint8_t *p;

	if (!end(alg) || params.bad)
		return -EBADMSG;
	if (!rd_left(&params) || params.p[0] != 0xa0)
		return -ENOTSUP; /* the default is SHA-1 */
	hash = tlv(&params, 0xa0);
	h = pss_hash(&hash);
	mgf = tlv(&params, 0xa1);
	seq = tlv(&mgf, 0x30);
	id = tlv(&seq, 0x06);
	p = rd_take(&id, sizeof(mgf1));
	m = pss_hash(&seq);
	salt = tlv(&params, 0xa2);
	num = tlv(&salt, 0x02);
	salt_len = rd_u8(&num);
	if (!end(&hash) || !end(&mgf) || !end(&seq) || !end(&salt) || !end(&num) || id.bad)
		return -EBADMSG;
	/*
	 * trailerField is DEFAULT 1 and thus not to be encoded, yet the examples of RFC 7427 A.4 do it:
	 * the one departure from DER that is taken.
	 */
	if (rd_left(&params)) {
		struct rd trailer = tlv(&params, 0xa3), one = tlv(&trailer, 0x02);

		if (rd_u8(&one) != 1 || !end(&one) || !end(&trailer))
			return -EBADMSG;
	}
	if (!end(&params))
		return -EBADMSG;
	if (!h || h != m || !end(&id) || !p || memcmp(p, mgf1, sizeof(mgf1)) != 0 ||
	    salt_len != salts[h])
		return -ENOTSUP;
	*out = h == 1 ? SIG_RSA_PSS_SHA256 : h == 2 ? SIG_RSA_PSS_SHA384 : SIG_RSA_PSS_SHA512;
	return 0;
}

int sig_algid_parse(const void *der, size_t len, enum sig_scheme *out)
{
	static const uint8_t pss[] = { 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a };
	struct rd all = rd_init(der, len), alg = tlv(&all, 0x30), id = tlv(&alg, 0x06);

	*out = SIG_NONE;
	if (!end(&all) || alg.bad || id.bad || !rd_left(&id))
		return -EBADMSG;
	for (enum sig_scheme s = SIG_NONE + 1; s < SIG_SCHEMES; s++) {
		if (schemes[s].algid.p && schemes[s].algid.len == len &&
		    !memcmp(schemes[s].algid.p, der, len)) {
			*out = s;
			return 0;
		}
	}
	if (rd_left(&id) == sizeof(pss) && !memcmp(id.p, pss, sizeof(pss)))
		return parse_pss(&alg, out);
	return -ENOTSUP;
}

int sig_auth_build(enum sig_scheme s, const void *sig, size_t sig_len, uint8_t *out, size_t cap,
		   size_t *len)
{
	struct span alg = sig_algid(s);
	struct wr w = wr_init(out, cap);

	if (sig_scheme_method(s) == AUTH_DIGITAL_SIGNATURE) {
		wr_u8(&w, (uint8_t)alg.len);
		wr_bytes(&w, alg.p, alg.len);
	}
	wr_bytes(&w, sig, sig_len);
	return wr_finish(&w, len);
}

int sig_auth_parse(uint8_t method, const void *data, size_t len, enum sig_scheme *s,
		   struct span *sig)
{
	struct rd r = rd_init(data, len), alg;
	int rc;

	*sig = (struct span){ NULL, 0 };
	*s = sig_scheme_of_method(method);
	if (!*s) {
		if (method != AUTH_DIGITAL_SIGNATURE)
			return -ENOTSUP;
		alg = rd_sub(&r, rd_u8(&r));
		if (alg.bad)
			return -EBADMSG;
		rc = sig_algid_parse(alg.p, rd_left(&alg), s);
		if (rc)
			return rc;
	}
	sig->len = rd_left(&r);
	sig->p = rd_take(&r, sig->len);
	return sig->len && sig->len <= SIG_LEN_MAX ? 0 : -EBADMSG;
}

static bool has(struct span in, const char *bytes, size_t len)
{
	return in.p && in.len && memmem(in.p, in.len, bytes, len);
}

bool sig_auth_is_sha1(uint8_t method, const void *data, size_t len)
{
	struct rd r = rd_init(data, len), alg;
	struct span id;

	if (method != AUTH_DIGITAL_SIGNATURE)
		return method == AUTH_RSA_SIG;
	alg = rd_sub(&r, rd_u8(&r));
	if (alg.bad)
		return false;
	id.len = rd_left(&alg);
	id.p = rd_take(&alg, id.len);
	/* sha1WithRSAEncryption, ecdsa-with-SHA1, RSASSA-PSS with id-sha1 or with its default. */
	return has(id, "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05", 9) ||
	       has(id, "\x2a\x86\x48\xce\x3d\x04\x01", 7) || has(id, "\x2b\x0e\x03\x02\x1a", 5) ||
	       (has(id, "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a", 9) &&
		!has(id, "\x60\x86\x48\x01\x65\x03\x04\x02", 8));
}
