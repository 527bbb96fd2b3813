/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cloak.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#define READ_AHEAD_BYTES 33000 /* two records: fewer reads under load */
#define TURN_BYTES	 READ_AHEAD_BYTES /* that one call takes from its owner: at least a record */
#define VALID_S		 (10L * 365 * 86400)
#define SERIAL_BITS	 64

struct cloak_ctx {
	SSL_CTX *ssl;
	BIO_METHOD *method;
	bool server;
};

struct cloak {
	SSL *ssl;
	struct cloak_io io;
	size_t room; /* of TURN_BYTES */
};

/* ---- the owner's functions as OpenSSL wants them ---- */

static int bio_write(BIO *b, const char *p, int len)
{
	struct cloak *c = BIO_get_data(b);

	BIO_clear_retry_flags(b);
	return c->io.send(c->io.arg, p, (size_t)len) ? -1 : len;
}

static int bio_read(BIO *b, char *p, int len)
{
	struct cloak *c = BIO_get_data(b);
	size_t cap = (size_t)len < c->room ? (size_t)len : c->room;
	/* OpenSSL takes key updates without end, and asks for more before it returns. */
	ssize_t n = cap ? c->io.recv(c->io.arg, p, cap) : -EAGAIN;

	BIO_clear_retry_flags(b);
	if (n == -EAGAIN)
		BIO_set_retry_read(b);
	if (n > 0)
		c->room -= (size_t)n;
	return n < 0 ? -1 : (int)n;
}

static long bio_ctrl(BIO *b, int cmd, long num, void *ptr)
{
	(void)b;
	(void)num;
	(void)ptr;
	return cmd == BIO_CTRL_FLUSH;
}

/* One for the whole life of the process: a BIO points at it. */
static BIO_METHOD *cloak_method(void)
{
	static BIO_METHOD *m;

	if (m)
		return m;
	m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "cloak");
	if (m && (!BIO_meth_set_write(m, bio_write) || !BIO_meth_set_read(m, bio_read) ||
		  !BIO_meth_set_ctrl(m, bio_ctrl))) {
		BIO_meth_free(m);
		m = NULL;
	}
	return m;
}

/* ---- contexts ---- */

static struct cloak_ctx *ctx_new(bool server)
{
	struct cloak_ctx *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->server = server;
	c->method = cloak_method();
	c->ssl = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
	if (!c->ssl || !c->method || !SSL_CTX_set_min_proto_version(c->ssl, TLS1_3_VERSION)) {
		cloak_ctx_free(c);
		return NULL;
	}
	SSL_CTX_set_options(c->ssl, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION |
					SSL_OP_IGNORE_UNEXPECTED_EOF);
	(void)SSL_CTX_set_num_tickets(c->ssl, 0);
	SSL_CTX_set_session_cache_mode(c->ssl, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_verify(c->ssl, SSL_VERIFY_NONE, NULL);
	SSL_CTX_set_read_ahead(c->ssl, 1);
	SSL_CTX_set_default_read_buffer_len(c->ssl, READ_AHEAD_BYTES);
	return c;
}

void cloak_ctx_free(struct cloak_ctx *c)
{
	if (!c)
		return;
	SSL_CTX_free(c->ssl);
	free(c);
}

static int take_pem(SSL_CTX *ctx, const char *cert, size_t cert_len, const char *key,
		    size_t key_len)
{
	BIO *cb = BIO_new_mem_buf(cert, (int)cert_len), *kb = BIO_new_mem_buf(key, (int)key_len);
	X509 *leaf = cb ? PEM_read_bio_X509(cb, NULL, NULL, NULL) : NULL, *more;
	EVP_PKEY *pkey = kb ? PEM_read_bio_PrivateKey(kb, NULL, NULL, NULL) : NULL;
	bool ok = leaf && pkey && SSL_CTX_use_certificate(ctx, leaf) == 1 &&
		  SSL_CTX_use_PrivateKey(ctx, pkey) == 1 && SSL_CTX_check_private_key(ctx) == 1;

	while (ok && (more = PEM_read_bio_X509(cb, NULL, NULL, NULL)))
		ok = SSL_CTX_add0_chain_cert(ctx, more) == 1;
	X509_free(leaf);
	EVP_PKEY_free(pkey);
	BIO_free(cb);
	BIO_free(kb);
	ERR_clear_error();
	return ok ? 0 : -EINVAL;
}

static bool fill(X509 *x, EVP_PKEY *key)
{
	X509_NAME *name = X509_get_subject_name(x);
	BIGNUM *serial = BN_new();
	bool ok = serial && name && BN_rand(serial, SERIAL_BITS, BN_RAND_TOP_ONE, 0) &&
		  BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(x)) &&
		  X509_set_version(x, X509_VERSION_3) &&
		  X509_gmtime_adj(X509_getm_notBefore(x), -86400) &&
		  X509_gmtime_adj(X509_getm_notAfter(x), VALID_S) && X509_set_pubkey(x, key) &&
		  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
					     (const unsigned char *)"localhost", -1, -1, 0) &&
		  X509_set_issuer_name(x, name) && X509_sign(x, key, EVP_sha256());

	BN_free(serial);
	return ok;
}

static int self_signed(SSL_CTX *ctx)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x = X509_new();
	bool ok = key && x && fill(x, key) && SSL_CTX_use_certificate(ctx, x) == 1 &&
		  SSL_CTX_use_PrivateKey(ctx, key) == 1;

	X509_free(x);
	EVP_PKEY_free(key);
	ERR_clear_error();
	return ok ? 0 : -ENOMEM;
}

int cloak_server(const char *cert, size_t cert_len, const char *key, size_t key_len,
		 struct cloak_ctx **out, char *why, size_t cap)
{
	struct cloak_ctx *c;
	int rc;

	if (cert_len > INT_MAX || key_len > INT_MAX)
		return -EINVAL;
	c = ctx_new(true);
	if (!c)
		return -ENOMEM;
	rc = cert ? take_pem(c->ssl, cert, cert_len, key, key_len) : self_signed(c->ssl);
	if (rc) {
		snprintf(why, cap, "%s",
			 rc == -EINVAL ? "no certificate and private key in PEM that belong together"
				       : "out of memory");
		cloak_ctx_free(c);
		return rc;
	}
	*out = c;
	return 0;
}

struct cloak_ctx *cloak_client(void)
{
	return ctx_new(false);
}

/* ---- one stream ---- */

struct cloak *cloak_new(struct cloak_ctx *ctx, const char *name, const struct cloak_io *io)
{
	struct cloak *c = calloc(1, sizeof(*c));
	BIO *b = c ? BIO_new(ctx->method) : NULL;

	if (!b)
		goto fail;
	c->io = *io;
	BIO_set_data(b, c);
	BIO_set_init(b, 1);
	c->ssl = SSL_new(ctx->ssl);
	if (!c->ssl || (name && SSL_set_tlsext_host_name(c->ssl, name) != 1))
		goto fail;
	BIO_up_ref(b); /* one reference each for reading and writing */
	SSL_set0_rbio(c->ssl, b);
	SSL_set0_wbio(c->ssl, b);
	if (ctx->server)
		SSL_set_accept_state(c->ssl);
	else
		SSL_set_connect_state(c->ssl);
	return c;
fail:
	BIO_free(b);
	if (c)
		SSL_free(c->ssl);
	free(c);
	ERR_clear_error();
	return NULL;
}

void cloak_free(struct cloak *c)
{
	if (!c)
		return;
	SSL_free(c->ssl);
	free(c);
}

static int verdict(struct cloak *c, int rc)
{
	int e = SSL_get_error(c->ssl, rc);

	ERR_clear_error();
	return e == SSL_ERROR_WANT_READ ? -EAGAIN : e == SSL_ERROR_ZERO_RETURN ? 0 : -EPROTO;
}

int cloak_handshake(struct cloak *c)
{
	int rc;

	c->room = TURN_BYTES;
	rc = SSL_do_handshake(c->ssl);
	if (rc == 1)
		return 0;
	rc = verdict(c, rc);
	return rc ? rc : -EPROTO;
}

ssize_t cloak_read(struct cloak *c, void *p, size_t len)
{
	int n;

	c->room = TURN_BYTES;
	n = SSL_read(c->ssl, p, len > INT_MAX ? INT_MAX : (int)len);
	return n > 0 ? n : verdict(c, n);
}

int cloak_write(struct cloak *c, const void *p, size_t len)
{
	int n = SSL_write(c->ssl, p, (int)len);

	ERR_clear_error();
	return n == (int)len ? 0 : -EPROTO;
}
