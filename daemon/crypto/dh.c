/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "dh.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/dh.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/param_build.h>

#include "ossl.h"

enum dh_kind { DH_X25519, DH_ECP, DH_MODP };

static const struct dh_group {
	uint16_t id;
	enum dh_kind kind;
	const char *name; /* the library's */
	uint16_t public_len;
	uint16_t shared_len;
} groups[] = {
	{ KE_CURVE25519, DH_X25519, "X25519", 32, 32 },
	{ KE_ECP_256, DH_ECP, "P-256", 64, 32 },
	{ KE_ECP_384, DH_ECP, "P-384", 96, 48 },
	{ KE_ECP_521, DH_ECP, "P-521", 132, 66 },
	{ KE_MODP_2048, DH_MODP, "modp_2048", 256, 256 },
	{ KE_MODP_3072, DH_MODP, "modp_3072", 384, 384 },
	{ KE_MODP_4096, DH_MODP, "modp_4096", 512, 512 },
};

struct dh {
	const struct dh_group *group;
	EVP_PKEY *pkey;
	uint8_t public[]; /* group->public_len */
};

static const struct dh_group *find(uint16_t id)
{
	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
		if (groups[i].id == id)
			return &groups[i];
	}
	return NULL;
}

size_t dh_public_len(uint16_t group)
{
	const struct dh_group *g = find(group);

	return g ? g->public_len : 0;
}

static EVP_PKEY *generate_modp(const char *name)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "DH", NULL);
	EVP_PKEY *pkey = NULL;
	OSSL_PARAM params[2];

	params[0] = OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, (char *)name, 0);
	params[1] = OSSL_PARAM_construct_end();
	if (ctx && EVP_PKEY_keygen_init(ctx) == 1 && EVP_PKEY_CTX_set_params(ctx, params) == 1 &&
	    EVP_PKEY_generate(ctx, &pkey) != 1)
		pkey = NULL;
	EVP_PKEY_CTX_free(ctx);
	return pkey;
}

static EVP_PKEY *generate(const struct dh_group *g)
{
	switch (g->kind) {
	case DH_X25519:
		return EVP_PKEY_Q_keygen(NULL, NULL, "X25519");
	case DH_ECP:
		return EVP_PKEY_Q_keygen(NULL, NULL, "EC", g->name);
	case DH_MODP:
		return generate_modp(g->name);
	}
	return NULL;
}

/* The public value in its wire form. */
static int export_public(struct dh *dh)
{
	uint8_t point[1 + 132];
	size_t len = dh->group->public_len;
	BIGNUM *y = NULL;
	int rc = -EIO;

	switch (dh->group->kind) {
	case DH_X25519:
		if (EVP_PKEY_get_raw_public_key(dh->pkey, dh->public, &len) == 1 && len == 32)
			rc = 0;
		break;
	case DH_ECP: /* 4 | x | y */
		if (EVP_PKEY_get_octet_string_param(dh->pkey, OSSL_PKEY_PARAM_PUB_KEY, point,
						    sizeof(point), &len) == 1 &&
		    len == 1u + dh->group->public_len &&
		    point[0] == POINT_CONVERSION_UNCOMPRESSED) {
			memcpy(dh->public, point + 1, len - 1);
			rc = 0;
		}
		break;
	case DH_MODP:
		if (EVP_PKEY_get_bn_param(dh->pkey, OSSL_PKEY_PARAM_PUB_KEY, &y) == 1 &&
		    BN_bn2binpad(y, dh->public, (int)len) == (int)len)
			rc = 0;
		BN_free(y);
		break;
	}
	return rc;
}

static EVP_PKEY *from_params(const char *type, OSSL_PARAM *params, int selection)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
	EVP_PKEY *pkey = NULL;

	if (ctx && params && EVP_PKEY_fromdata_init(ctx) == 1 &&
	    EVP_PKEY_fromdata(ctx, &pkey, selection, params) != 1)
		pkey = NULL;
	EVP_PKEY_CTX_free(ctx);
	return pkey;
}

/* Both halves as numbers or points, in the library's parameter form. */
static EVP_PKEY *pair(const struct dh_group *g, struct span private, struct span public)
{
	BIGNUM *x = BN_bin2bn(private.p, (int)private.len, NULL), *y = NULL;
	OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
	OSSL_PARAM *params = NULL;
	EVP_PKEY *pkey = NULL;
	uint8_t point[1 + 132];

	point[0] = POINT_CONVERSION_UNCOMPRESSED;
	if (!x || !bld || public.len != g->public_len)
		goto out;
	if (OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME, g->name, 0) != 1 ||
	    OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_PRIV_KEY, x) != 1)
		goto out;
	if (g->kind == DH_ECP) {
		memcpy(point + 1, public.p, public.len);
		if (OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY, point,
						     1 + public.len) != 1)
			goto out;
	} else {
		y = BN_bin2bn(public.p, (int)public.len, NULL);
		if (!y || OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_PUB_KEY, y) != 1)
			goto out;
	}
	params = OSSL_PARAM_BLD_to_param(bld);
	pkey = from_params(g->kind == DH_ECP ? "EC" : "DH", params, EVP_PKEY_KEYPAIR);
out:
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(bld);
	BN_clear_free(x);
	BN_free(y);
	return pkey;
}

static EVP_PKEY *pair_x25519(struct span private, struct span public)
{
	OSSL_PARAM params[3];

	if (!public.len)
		return EVP_PKEY_new_raw_private_key_ex(NULL, "X25519", NULL, private.p,
						       private.len);
	params[0] = OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PRIV_KEY, (void *)private.p,
						      private.len);
	params[1] = OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, (void *)public.p,
						      public.len);
	params[2] = OSSL_PARAM_construct_end();
	return from_params("X25519", params, EVP_PKEY_KEYPAIR);
}

/* Takes @pkey. */
static int wrap(const struct dh_group *g, EVP_PKEY *pkey, struct dh **out)
{
	struct dh *dh = calloc(1, sizeof(*dh) + g->public_len);
	int rc;

	if (!dh) {
		EVP_PKEY_free(pkey);
		return -ENOMEM;
	}
	dh->group = g;
	dh->pkey = pkey;
	rc = pkey ? export_public(dh) : -EIO;
	if (rc) {
		ERR_clear_error();
		dh_free(dh);
		return rc;
	}
	*out = dh;
	return 0;
}

int dh_new(uint16_t group, struct dh **out)
{
	const struct dh_group *g = find(group);

	*out = NULL;
	return g ? wrap(g, generate(g), out) : -ENOTSUP;
}

int dh_restore(uint16_t group, struct span private, struct span public, struct dh **out)
{
	const struct dh_group *g = find(group);
	EVP_PKEY *pkey;

	*out = NULL;
	if (!g)
		return -ENOTSUP;
	if (g->kind == DH_X25519)
		pkey = pair_x25519(private, public);
	else
		pkey = pair(g, private, public);
	return wrap(g, pkey, out);
}

int dh_private(const struct dh *dh, uint8_t out[static DH_PRIVATE_MAX], size_t *len)
{
	BIGNUM *x = NULL;
	int n, rc = -EIO;

	*len = DH_PRIVATE_MAX;
	if (dh->group->kind == DH_X25519) {
		if (EVP_PKEY_get_raw_private_key(dh->pkey, out, len) == 1)
			rc = 0;
	} else if (EVP_PKEY_get_bn_param(dh->pkey, OSSL_PKEY_PARAM_PRIV_KEY, &x) == 1) {
		n = BN_num_bytes(x) <= DH_PRIVATE_MAX ? BN_bn2bin(x, out) : 0;
		*len = (size_t)n;
		rc = n > 0 ? 0 : -EIO;
	}
	BN_clear_free(x);
	if (rc)
		ERR_clear_error();
	return rc;
}

void dh_free(struct dh *dh)
{
	if (!dh)
		return;
	EVP_PKEY_free(dh->pkey); /* wipes the private value */
	free(dh);
}

uint16_t dh_group(const struct dh *dh)
{
	return dh->group->id;
}

struct span dh_public(const struct dh *dh)
{
	return (struct span){ dh->public, dh->group->public_len };
}

/* The library refuses a point that is not on the curve; the cofactor of each of these is 1. */
static EVP_PKEY *import_ecp(const struct dh_group *g, const uint8_t *peer)
{
	uint8_t point[1 + 132];
	OSSL_PARAM params[3];

	point[0] = POINT_CONVERSION_UNCOMPRESSED;
	memcpy(point + 1, peer, g->public_len);
	params[0] =
	    OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, (char *)g->name, 0);
	params[1] =
	    OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, 1u + g->public_len);
	params[2] = OSSL_PARAM_construct_end();
	return from_params("EC", params, EVP_PKEY_PUBLIC_KEY);
}

/* RFC 6989 s2.1: for a safe prime 1 < y < p-1 is all that is needed with a fresh exponent. */
static EVP_PKEY *import_modp(const struct dh *dh, const uint8_t *peer)
{
	const struct dh_group *g = dh->group;
	BIGNUM *y = BN_bin2bn(peer, g->public_len, NULL), *p = NULL;
	OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
	OSSL_PARAM *params = NULL;
	EVP_PKEY *pkey = NULL;

	if (!y || !bld || EVP_PKEY_get_bn_param(dh->pkey, OSSL_PKEY_PARAM_FFC_P, &p) != 1)
		goto out;
	if (BN_cmp(y, BN_value_one()) <= 0 || BN_sub_word(p, 1) != 1 || BN_cmp(y, p) >= 0)
		goto out;
	if (OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME, g->name, 0) != 1 ||
	    OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_PUB_KEY, y) != 1)
		goto out;
	params = OSSL_PARAM_BLD_to_param(bld);
	pkey = from_params("DH", params, EVP_PKEY_PUBLIC_KEY);
out:
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(bld);
	BN_free(p);
	BN_free(y);
	return pkey;
}

int dh_shared(const struct dh *dh, const void *peer, size_t len, struct secret *out)
{
	const struct dh_group *g = dh->group;
	EVP_PKEY_CTX *ctx = NULL;
	EVP_PKEY *theirs = NULL;
	struct secret z = { 0 };
	size_t got = g->shared_len;
	uint8_t any = 0;
	int rc;

	secret_clear(out);
	if (len != g->public_len)
		return -EBADMSG;
	rc = secret_alloc(&z, g->shared_len);
	if (rc)
		return rc;
	if (g->kind == DH_X25519)
		theirs = EVP_PKEY_new_raw_public_key_ex(NULL, "X25519", NULL, peer, len);
	else if (g->kind == DH_ECP)
		theirs = import_ecp(g, peer);
	else
		theirs = import_modp(dh, peer);
	rc = -EPROTO;
	if (!theirs)
		goto out;
	rc = -EIO;
	ctx = EVP_PKEY_CTX_new_from_pkey(NULL, dh->pkey, NULL);
	if (!ctx || EVP_PKEY_derive_init(ctx) != 1)
		goto out;
	if (g->kind == DH_MODP && EVP_PKEY_CTX_set_dh_pad(ctx, 1) != 1)
		goto out;
	/* Checked above as far as the group asks for it; the full check costs another exponentiation. */
	if (EVP_PKEY_derive_set_peer_ex(ctx, theirs, g->kind == DH_ECP) != 1 ||
	    EVP_PKEY_derive(ctx, z.data, &got) != 1 || got != z.len) {
		rc = -EPROTO;
		goto out;
	}
	for (size_t i = 0; i < z.len; i++)
		any |= z.data[i];
	rc = any ? 0 : -EPROTO; /* RFC 7748 s6.1: low order point */
	if (!rc)
		secret_move(out, &z);
out:
	if (rc)
		ERR_clear_error();
	EVP_PKEY_CTX_free(ctx);
	EVP_PKEY_free(theirs);
	secret_clear(&z);
	return rc;
}
