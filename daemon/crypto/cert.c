/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cert.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include "digest.h"
#include "ossl.h"

/* RFC 7296 s3.5; repeated here because crypto/ stands below ike/. */
enum { CERT_ID_IPV4 = 1, CERT_ID_FQDN = 2, CERT_ID_RFC822 = 3, CERT_ID_IPV6 = 5, CERT_ID_DN = 9 };

struct cert {
	X509 *x509;
	size_t len;
	uint8_t der[];
};

struct ca_store {
	X509_STORE *store;
	STACK_OF(X509) * anchors;
};

static int wrap(X509 *x509, const uint8_t *der, size_t len, struct cert **out)
{
	*out = OPENSSL_zalloc(sizeof(**out) + len);
	if (!*out)
		return -ENOMEM;
	(*out)->x509 = x509;
	(*out)->len = len;
	memcpy((*out)->der, der, len);
	return 0;
}

int cert_parse(const void *der, size_t len, struct cert **out)
{
	const uint8_t *p = der;
	int rc = -EBADMSG;
	X509 *x509;

	*out = NULL;
	if (len > CERT_DER_MAX)
		return -EMSGSIZE;
	x509 = d2i_X509(NULL, &p, (long)len);
	if (x509 && p == (const uint8_t *)der + len)
		rc = wrap(x509, der, len, out);
	if (rc) {
		X509_free(x509);
		ERR_clear_error();
	}
	return rc;
}

void cert_free(struct cert *c)
{
	if (!c)
		return;
	X509_free(c->x509);
	OPENSSL_free(c);
}

struct span cert_der(const struct cert *c)
{
	return (struct span){ c->der, c->len };
}

int cert_pubkey(const struct cert *c, struct pubkey **out)
{
	uint8_t *der = NULL;
	int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(c->x509), &der), rc;

	*out = NULL;
	if (n <= 0) {
		ERR_clear_error();
		return -ENOTSUP;
	}
	rc = pubkey_from_spki(der, (size_t)n, out);
	OPENSSL_free(der);
	return rc == -EBADMSG ? -ENOTSUP : rc;
}

const char *cert_subject(const struct cert *c, char *out, size_t cap)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *p = NULL;
	long n = 0;

	/* RFC 2253 with control characters escaped: nothing of it can break a log line. */
	if (bio && X509_NAME_print_ex(bio, X509_get_subject_name(c->x509), 0,
				      XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB) >= 0)
		n = BIO_get_mem_data(bio, &p);
	snprintf(out, cap, "%.*s", (int)(n > 0 ? n : 0), n > 0 ? p : "");
	BIO_free(bio);
	return out;
}

static bool general_name_is(const GENERAL_NAME *gn, int type, const void *id, size_t len)
{
	const ASN1_STRING *s;
	size_t n;

	if (gn->type != type)
		return false;
	s = type == GEN_IPADD ? gn->d.iPAddress
	    : type == GEN_DNS ? gn->d.dNSName
			      : gn->d.rfc822Name;
	n = (size_t)ASN1_STRING_length(s);
	if (n != len || !len)
		return false;
	if (type == GEN_IPADD)
		return !memcmp(ASN1_STRING_get0_data(s), id, len);
	return !memchr(id, 0, len) && !strncasecmp((const char *)ASN1_STRING_get0_data(s), id, len);
}

static bool san_has(const struct cert *c, int type, const void *id, size_t len)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(c->x509, NID_subject_alt_name, NULL, NULL);
	bool found = false;

	for (int i = 0; names && i < sk_GENERAL_NAME_num(names) && !found; i++)
		found = general_name_is(sk_GENERAL_NAME_value(names, i), type, id, len);
	GENERAL_NAMES_free(names);
	return found;
}

bool cert_has_id(const struct cert *c, uint8_t id_type, const void *id, size_t len)
{
	const uint8_t *p = id;
	X509_NAME *name;
	bool same;

	switch (id_type) {
	case CERT_ID_FQDN:
		return san_has(c, GEN_DNS, id, len);
	case CERT_ID_RFC822:
		return san_has(c, GEN_EMAIL, id, len);
	case CERT_ID_IPV4:
		return len == 4 && san_has(c, GEN_IPADD, id, len);
	case CERT_ID_IPV6:
		return len == 16 && san_has(c, GEN_IPADD, id, len);
	case CERT_ID_DN:
		if (len > CERT_DER_MAX)
			return false;
		name = d2i_X509_NAME(NULL, &p, (long)len);
		same = name && p == (const uint8_t *)id + len && X509_NAME_entry_count(name) > 0 &&
		       !X509_NAME_cmp(name, X509_get_subject_name(c->x509));
		X509_NAME_free(name);
		ERR_clear_error();
		return same;
	default:
		return false;
	}
}

static int no_passphrase(char *buf, int size, int rwflag, void *arg)
{
	(void)buf;
	(void)size;
	(void)rwflag;
	(void)arg;
	return -1;
}

int cert_chain_load(const void *pem, size_t len, struct cert *certs[static CERT_CHAIN_MAX],
		    size_t *count)
{
	uint8_t *der;
	int rc = 0, n;
	X509 *x509;
	BIO *bio;

	*count = 0;
	bio = len <= INT_MAX ? BIO_new_mem_buf(len ? pem : "", (int)len) : NULL;
	if (!bio)
		return -ENOMEM;
	while (!rc && (x509 = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL))) {
		der = NULL;
		n = i2d_X509(x509, &der);
		if (n <= 0 || n > CERT_DER_MAX || *count == CERT_CHAIN_MAX)
			rc = -EMSGSIZE;
		else
			rc = wrap(x509, der, (size_t)n, &certs[*count]);
		OPENSSL_free(der);
		if (rc)
			X509_free(x509);
		else
			(*count)++;
	}
	if (!rc && !*count)
		rc = -EBADMSG;
	if (rc) {
		while (*count)
			cert_free(certs[--*count]);
	}
	BIO_free(bio);
	ERR_clear_error(); /* the end of the file is an error to the library */
	return rc;
}

int ca_store_new(const void *pem, size_t len, struct ca_store **out)
{
	struct ca_store *s = OPENSSL_zalloc(sizeof(*s));
	BIO *bio = len <= INT_MAX ? BIO_new_mem_buf(len ? pem : "", (int)len) : NULL;
	int rc = -ENOMEM;
	X509 *x509;

	*out = NULL;
	if (!s || !bio)
		goto out;
	s->store = X509_STORE_new();
	s->anchors = sk_X509_new_null();
	if (!s->store || !s->anchors)
		goto out;
	while ((x509 = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL))) {
		if (!ossl_key_type(X509_get0_pubkey(x509))) {
			X509_free(x509);
			rc = -ENOTSUP;
			goto out;
		}
		if (X509_STORE_add_cert(s->store, x509) != 1 || !sk_X509_push(s->anchors, x509)) {
			X509_free(x509);
			goto out;
		}
	}
	rc = sk_X509_num(s->anchors) ? 0 : -EBADMSG;
	if (!rc) {
		*out = s;
		s = NULL;
	}
out:
	BIO_free(bio);
	ca_store_free(s);
	ERR_clear_error();
	return rc;
}

void ca_store_free(struct ca_store *s)
{
	if (!s)
		return;
	X509_STORE_free(s->store);
	sk_X509_pop_free(s->anchors, X509_free);
	OPENSSL_free(s);
}

size_t ca_store_count(const struct ca_store *s)
{
	return (size_t)sk_X509_num(s->anchors);
}

int ca_store_keyid(const struct ca_store *s, size_t i, uint8_t out[static 20])
{
	uint8_t *der = NULL;
	struct span part;
	int n, rc;

	if (i >= ca_store_count(s))
		return -EINVAL;
	n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(sk_X509_value(s->anchors, (int)i)), &der);
	if (n <= 0)
		return -EIO;
	part = (struct span){ der, (size_t)n };
	rc = digest_sha1(&part, 1, out);
	OPENSSL_free(der);
	return rc;
}

/* One run of the library's check; X509_V_OK or its error. */
static int verify_once(const struct cert *leaf, STACK_OF(X509) * others,
		       const struct ca_store *anchors, int64_t now_s)
{
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	unsigned long flags = X509_V_FLAG_PARTIAL_CHAIN;
	int err = X509_V_ERR_OUT_OF_MEM;
	X509_VERIFY_PARAM *param;

	if (!ctx || X509_STORE_CTX_init(ctx, anchors->store, leaf->x509, others) != 1)
		goto out;
	param = X509_STORE_CTX_get0_param(ctx);
	X509_VERIFY_PARAM_set_depth(param, CERT_CHAIN_MAX);
	X509_VERIFY_PARAM_set_auth_level(param, 2); /* 112 bits: no SHA-1, no RSA-1024 */
	if (now_s < 0)
		flags |= X509_V_FLAG_NO_CHECK_TIME;
	else
		X509_VERIFY_PARAM_set_time(param, (time_t)now_s);
	X509_VERIFY_PARAM_set_flags(param, flags);
	err = X509_verify_cert(ctx) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(ctx);
	if (err == X509_V_OK && X509_STORE_CTX_get_error(ctx) != X509_V_OK)
		err = X509_STORE_CTX_get_error(ctx);
out:
	X509_STORE_CTX_free(ctx);
	return err;
}

/* The library's words are for people who know it; these are for the log. */
static const char *fault_of(int err)
{
	switch (err) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
		return "has expired, or one that it was signed by";
	case X509_V_ERR_CERT_NOT_YET_VALID:
		return "is not yet valid, or one that it was signed by";
	case X509_V_ERR_CA_MD_TOO_WEAK:
		return "is signed with SHA-1 or weaker, or one that it was signed by; its "
		       "authority "
		       "has to use SHA-2";
	case X509_V_ERR_EE_KEY_TOO_SMALL:
		return "has too small a key";
	case X509_V_ERR_CA_KEY_TOO_SMALL:
		return "is signed by an authority with too small a key";
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
		return "is signed by none of our authorities, or what stands between was not sent";
	case X509_V_ERR_CERT_SIGNATURE_FAILURE:
		return "has a signature that is not its authority's: ours has the same name and "
		       "another key";
	case X509_V_ERR_PERMITTED_VIOLATION:
	case X509_V_ERR_EXCLUDED_VIOLATION:
	case X509_V_ERR_SUBTREE_MINMAX:
	case X509_V_ERR_UNSUPPORTED_CONSTRAINT_TYPE:
	case X509_V_ERR_UNSUPPORTED_CONSTRAINT_SYNTAX:
	case X509_V_ERR_UNSUPPORTED_NAME_SYNTAX:
		return "bears a name that the name constraints of its authority forbid";
	case X509_V_ERR_PATH_LENGTH_EXCEEDED:
		return "comes from an authority below one that may have none below it (path "
		       "length)";
	case X509_V_ERR_INVALID_CA:
	case X509_V_ERR_KEYUSAGE_NO_CERTSIGN:
		return "is signed by what is no authority (basicConstraints or keyUsage)";
	default:
		return X509_verify_cert_error_string(err);
	}
}

/* RFC 4945 s5.1.3.12; see cert.h for what else is taken. */
static bool eku_allows(const struct cert *leaf)
{
	static const char *const taken[] = {
		"1.3.6.1.5.5.7.3.17", /* id-kp-ipsecIKE */
		"2.5.29.37.0",	      /* anyExtendedKeyUsage */
		"1.3.6.1.5.5.7.3.1",  /* serverAuth */
		"1.3.6.1.5.5.7.3.2",  /* clientAuth */
		"1.3.6.1.5.5.8.2.2",  /* ikeIntermediate */
	};
	int crit = -1;
	EXTENDED_KEY_USAGE *eku = X509_get_ext_d2i(leaf->x509, NID_ext_key_usage, &crit, NULL);
	bool ok = !eku && crit == -1; /* -1: there is none; else it cannot be read */

	for (int i = 0; eku && !ok && i < sk_ASN1_OBJECT_num(eku); i++) {
		char text[64];

		OBJ_obj2txt(text, sizeof(text), sk_ASN1_OBJECT_value(eku, i), 1);
		for (size_t k = 0; k < sizeof(taken) / sizeof(taken[0]); k++)
			ok |= !strcmp(text, taken[k]);
	}
	sk_ASN1_OBJECT_pop_free(eku, ASN1_OBJECT_free);
	return ok;
}

int cert_verify(const struct cert *leaf, const struct span *others, size_t count,
		const struct ca_store *anchors, int64_t now_s, const char **why)
{
	STACK_OF(X509) *stack = sk_X509_new_null();
	int err, rc = -ENOMEM;

	*why = "out of memory";
	if (!stack)
		return rc;
	for (size_t i = 0; i < count && i < CERT_CHAIN_MAX; i++) {
		const uint8_t *p = others[i].p;
		X509 *x509 = NULL;

		if (others[i].len <= CERT_DER_MAX)
			x509 = d2i_X509(NULL, &p, (long)others[i].len);
		if (x509 && !sk_X509_push(stack, x509)) {
			X509_free(x509);
			goto out;
		}
	}
	rc = -EKEYREJECTED;
	*why = "has a keyUsage that does not allow signatures";
	if (!(X509_get_key_usage(leaf->x509) & (KU_DIGITAL_SIGNATURE | KU_NON_REPUDIATION)))
		goto out; /* RFC 4945 s5.1.3.2; without the extension all bits are set */
	*why =
	    "has an extendedKeyUsage for other things than IKE (ipsecIKE, serverAuth, clientAuth)";
	if (!eku_allows(leaf))
		goto out;
	err = verify_once(leaf, stack, anchors, now_s);
	*why = fault_of(err);
	if (err == X509_V_OK)
		rc = 0;
	else if ((err == X509_V_ERR_CERT_HAS_EXPIRED || err == X509_V_ERR_CERT_NOT_YET_VALID) &&
		 verify_once(leaf, stack, anchors, -1) == X509_V_OK)
		rc = -EKEYEXPIRED;
out:
	sk_X509_pop_free(stack, X509_free);
	ERR_clear_error();
	return rc;
}
