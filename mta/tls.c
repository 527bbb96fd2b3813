/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tls.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "addr.h"
#include "secret.h"

#define CIPHERS_TEXT_MAX 1200
#define CIPHERS_NEVER    ":!aNULL:!eNULL" /* whatever the list says */

struct tls_ctx {
	unsigned refs;
	bool server;
	bool proof_required;
	bool has_ca; /* server: clients are verified with authorities */
	enum tls_verify verify;
	struct tls_pin pins[TLS_PINS_MAX];
	size_t pin_count;
	size_t count;
	SSL_CTX *ssl[TLS_KEYPAIRS_MAX]; /* one per key pair; a client context has one */
	X509 *leaf[TLS_KEYPAIRS_MAX];	/* what the SNI name is matched with */
};

struct tls {
	struct tls_ctx *ctx;
	SSL *ssl;
	uint32_t events;
	bool done;
	bool verified;
	bool chained; /* server: by a chain to the authorities */
	int dead; /* -errno after a fault: nothing more is asked of OpenSSL */
	char error[TLS_ERROR_MAX];
};

/* The newest reason in OpenSSL's queue, or errno, as one line. */
static void explain(char out[static TLS_ERROR_MAX], const char *what)
{
	unsigned long e = ERR_peek_last_error();
	const char *why = e ? ERR_reason_error_string(e) : NULL;

	snprintf(out, TLS_ERROR_MAX, "%s%s%s", what, why ? ": " : "", why ? why : "");
	ERR_clear_error();
}

static int spki_pin(X509 *cert, struct tls_pin *pin)
{
	unsigned char *der = NULL;
	int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der);

	if (len <= 0)
		return -EBADMSG;
	SHA256(der, (size_t)len, pin->sha256);
	OPENSSL_free(der);
	return 0;
}

void tls_load(void)
{
	OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CONFIG, NULL);
	ERR_clear_error();
}

static BIO *reader(const void *pem, size_t len)
{
	return len && len <= INT32_MAX ? BIO_new_mem_buf(pem, (int)len) : NULL;
}

/* A key behind a passphrase is refused: there is nobody to ask. */
static int no_passphrase(char *buf, int size, int rwflag, void *arg)
{
	return -1;
}

int tls_pin_of(const void *pem, size_t len, struct tls_pin *pin)
{
	BIO *bio = reader(pem, len);
	X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, no_passphrase, NULL) : NULL;
	int err = cert ? spki_pin(cert, pin) : -EBADMSG;

	X509_free(cert);
	BIO_free(bio);
	ERR_clear_error();
	return err;
}

static bool has_pin(const struct tls_ctx *c, const struct tls_pin *pin)
{
	bool found = false;

	for (size_t i = 0; i < c->pin_count; i++)
		found |= secret_equal(pin->sha256, TLS_PIN_LEN, c->pins[i].sha256, TLS_PIN_LEN);
	return found;
}

/* Load chain and key into @ssl; the leaf with a reference goes to @leaf. */
static int use_keypair(SSL_CTX *ssl, const struct tls_keypair *kp, X509 **leaf,
		       char err[static TLS_ERROR_MAX])
{
	BIO *chain = reader(kp->chain, kp->chain_len), *key = reader(kp->key, kp->key_len);
	EVP_PKEY *pkey = NULL;
	X509 *more;
	int ret = -EINVAL;

	*leaf = chain ? PEM_read_bio_X509_AUX(chain, NULL, no_passphrase, NULL) : NULL;
	if (!*leaf || SSL_CTX_use_certificate(ssl, *leaf) != 1) {
		explain(err, "certificate cannot be read");
		goto out;
	}
	while ((more = PEM_read_bio_X509(chain, NULL, no_passphrase, NULL))) {
		if (SSL_CTX_add0_chain_cert(ssl, more) != 1) {
			X509_free(more);
			explain(err, "certificate chain cannot be used");
			goto out;
		}
	}
	ERR_clear_error(); /* "no start line" is how a PEM file ends */
	pkey = key ? PEM_read_bio_PrivateKey(key, NULL, no_passphrase, NULL) : NULL;
	if (!pkey) {
		explain(err, "private key cannot be read (is it behind a passphrase?)");
		goto out;
	}
	if (SSL_CTX_use_PrivateKey(ssl, pkey) != 1 || SSL_CTX_check_private_key(ssl) != 1) {
		explain(err, "private key does not belong to the certificate");
		goto out;
	}
	ret = 0;
out:
	EVP_PKEY_free(pkey);
	BIO_free(chain);
	BIO_free(key);
	return ret;
}

static int accept_any(X509_STORE_CTX *store, void *arg)
{
	return 1; /* the key is judged after the handshake, in check_proof() */
}

/*
 * A client's certificate, while its handshake runs, so that who is refused is told by an alert. What
 * the chain is worth stays in the verify result, of a resumed session too.
 */
static int judge_client(X509_STORE_CTX *store, void *arg)
{
	X509 *cert = X509_STORE_CTX_get0_cert(store);
	struct tls_ctx *c = arg;
	struct tls_pin pin;

	if (!c->has_ca || X509_verify_cert(store) == 1)
		return 1; /* without authorities check_proof() looks at the pin */
	if (!c->proof_required)
		return 1;
	return cert && !spki_pin(cert, &pin) && has_pin(c, &pin);
}

static int choose_sni(SSL *ssl, int *alert, void *arg)
{
	const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
	struct tls_ctx *c = arg;

	for (size_t i = 0; name && i < c->count; i++) {
		if (X509_check_host(c->leaf[i], name, 0, 0, NULL) == 1) {
			SSL_set_SSL_CTX(ssl, c->ssl[i]);
			break;
		}
	}
	return SSL_TLSEXT_ERR_OK; /* an unknown name gets the first certificate, as MTAs do */
}

static SSL_CTX *ssl_new(const SSL_METHOD *method)
{
	SSL_CTX *ssl = SSL_CTX_new(method);

	if (!ssl || SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION) != 1) {
		SSL_CTX_free(ssl);
		return NULL;
	}
	SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
				     SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
	SSL_CTX_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
				  SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_read_ahead(ssl, 1);
	SSL_CTX_set_dh_auto(ssl, 1);
	return ssl;
}

static struct tls_ctx *ctx_new(bool server, const struct tls_pin *pins, size_t count)
{
	struct tls_ctx *c;

	if (count > TLS_PINS_MAX)
		return NULL;
	c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->refs = 1;
	c->server = server;
	c->pin_count = count;
	if (count)
		memcpy(c->pins, pins, count * sizeof(*pins));
	return c;
}

/* @tell: let clients know, so that they choose the certificate that is of these authorities. */
static int trust(SSL_CTX *ssl, const void *pem, size_t len, bool tell,
		 char err[static TLS_ERROR_MAX])
{
	X509_STORE *store = SSL_CTX_get_cert_store(ssl);
	BIO *bio = reader(pem, len);
	int count = 0;
	X509 *ca;

	while (bio && (ca = PEM_read_bio_X509_AUX(bio, NULL, no_passphrase, NULL))) {
		count += X509_STORE_add_cert(store, ca) == 1;
		if (tell)
			SSL_CTX_add_client_CA(ssl, ca);
		X509_free(ca);
	}
	BIO_free(bio);
	ERR_clear_error();
	if (!count)
		snprintf(err, TLS_ERROR_MAX, "no certificate authority to verify with");
	return count ? 0 : -EINVAL;
}

static int (*usual_security)(const SSL *s, const SSL_CTX *ctx, int op, int bits, int nid,
			     void *other, void *ex);

/*
 * TLS 1.1 signs with SHA-1, which OpenSSL allows at its level 0 alone. That is granted to a handshake of
 * that version; to keys, to ciphers, and to newer versions in the same context the usual level applies.
 */
static int allow_old_version(const SSL *s, const SSL_CTX *ctx, int op, int bits, int nid,
			     void *other, void *ex)
{
	bool old = s && SSL_version(s) < TLS1_2_VERSION;

	if (op == SSL_SECOP_VERSION)
		return nid >= TLS1_1_VERSION;
	if (old && (op == SSL_SECOP_SIGALG_SUPPORTED || op == SSL_SECOP_SIGALG_CHECK ||
		    op == SSL_SECOP_SIGALG_SHARED))
		return nid == NID_md5_sha1 || nid == NID_sha1;
	return usual_security(s, ctx, op, bits, nid, other, ex);
}

/* The versions that a listener or route asks for; 0: as usual. */
static int limit_versions(SSL_CTX *ssl, uint16_t min, uint16_t max, char err[static TLS_ERROR_MAX])
{
	bool old = min && min < TLS1_2_VERSION;

	if (old) {
		usual_security = SSL_CTX_get_security_callback(ssl);
		SSL_CTX_set_security_callback(ssl, allow_old_version);
	}
	if ((!min || SSL_CTX_set_min_proto_version(ssl, min) == 1) &&
	    (!max || SSL_CTX_set_max_proto_version(ssl, max) == 1))
		return 0;
	explain(err, "these versions of TLS cannot be had");
	return -EINVAL;
}

/* OpenSSL passes over what it does not know, as long as it knows something. */
static bool is_suite(const char *name)
{
	SSL_CTX *ssl = SSL_CTX_new(TLS_method());
	bool taken = ssl && SSL_CTX_set_ciphersuites(ssl, name) == 1, known = false;
	STACK_OF(SSL_CIPHER) *all = taken ? SSL_CTX_get_ciphers(ssl) : NULL;

	for (int i = 0; i < sk_SSL_CIPHER_num(all); i++)
		known |= !strcmp(SSL_CIPHER_get_name(sk_SSL_CIPHER_value(all, i)), name);
	SSL_CTX_free(ssl);
	return known;
}

static bool set_ciphers(SSL_CTX *ssl, const char *list)
{
	char text[CIPHERS_TEXT_MAX + sizeof(CIPHERS_NEVER)];

	snprintf(text, sizeof(text), "%s" CIPHERS_NEVER, list);
	return SSL_CTX_set_cipher_list(ssl, text) == 1;
}

/* Suites of TLS 1.3 and ciphers of the versions before it are two lists, both of which begin as usual. */
static int limit_ciphers(SSL_CTX *ssl, const char *const *name, size_t count,
			 char err[static TLS_ERROR_MAX])
{
	char list[2][CIPHERS_TEXT_MAX] = { "", "" };
	size_t len[2] = { 0, 0 };
	bool good = true;
	size_t i;

	for (i = 0; good && i < count; i++) {
		bool old = strncmp(name[i], "TLS_", 4) != 0;

		good = old ? name[i][0] == '!' || set_ciphers(ssl, name[i]) : is_suite(name[i]);
		len[old] += (size_t)snprintf(list[old] + len[old], sizeof(list[old]) - len[old],
					     "%s%s", len[old] ? ":" : "", name[i]);
		good = good && len[old] < sizeof(list[old]);
	}
	if (!good) {
		ERR_clear_error();
		snprintf(err, TLS_ERROR_MAX, "tls-ciphers: \"%.80s\" is none that OpenSSL allows",
			 name[i - 1]);
		return -EINVAL;
	}
	if ((!len[0] || SSL_CTX_set_ciphersuites(ssl, list[0]) == 1) &&
	    (!len[1] || set_ciphers(ssl, list[1])))
		return 0;
	explain(err, "tls-ciphers leaves none");
	return -EINVAL;
}

/* One SSL_CTX for one key pair of a server. */
static int server_add(struct tls_ctx *c, const struct tls_server_conf *conf, size_t i,
		      char err[static TLS_ERROR_MAX])
{
	SSL_CTX *ssl = ssl_new(TLS_server_method());

	if (!ssl) {
		explain(err, "no TLS context");
		return -ENOMEM;
	}
	c->ssl[c->count++] = ssl;
	SSL_CTX_set_num_tickets(ssl, 1);
	/* Sessions of one process may be resumed wherever the same key pairs serve. */
	SSL_CTX_set_session_id_context(ssl, (const unsigned char *)"postern-mta", 11);
	SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF); /* tickets keep no memory here */
	if (conf->ask_client_cert || conf->require_cert || conf->require_proof) {
		bool must = conf->require_cert || (conf->require_proof && c->has_ca);

		SSL_CTX_set_verify(
		    ssl, SSL_VERIFY_PEER | (must ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), NULL);
		SSL_CTX_set_cert_verify_callback(ssl, judge_client, c);
	}
	if (c->has_ca &&
	    trust(ssl, conf->ca_pem, conf->ca_pem_len, !conf->pin_count && !conf->keep_ca, err))
		return -EINVAL;
	if (limit_versions(ssl, conf->version_min, conf->version_max, err) ||
	    limit_ciphers(ssl, conf->ciphers, conf->cipher_count, err))
		return -EINVAL;
	SSL_CTX_set_tlsext_servername_callback(ssl, choose_sni);
	SSL_CTX_set_tlsext_servername_arg(ssl, c);
	return use_keypair(ssl, &conf->keypairs[i], &c->leaf[i], err);
}

int tls_server_ctx_new(struct tls_ctx **out, const struct tls_server_conf *conf,
		       char err[static TLS_ERROR_MAX])
{
	struct tls_ctx *c;
	int ret = 0;

	*out = NULL;
	err[0] = 0;
	if (!conf->keypair_count || conf->keypair_count > TLS_KEYPAIRS_MAX ||
	    conf->pin_count > TLS_PINS_MAX ||
	    (conf->require_proof && !conf->pin_count && !conf->ca_pem)) {
		snprintf(err, TLS_ERROR_MAX, "1 to %d key pairs and up to %d pins are possible",
			 TLS_KEYPAIRS_MAX, TLS_PINS_MAX);
		return -EINVAL;
	}
	c = ctx_new(true, conf->pins, conf->pin_count);
	if (!c)
		return -ENOMEM;
	c->proof_required = conf->require_proof;
	c->has_ca = conf->ca_pem != NULL;
	for (size_t i = 0; !ret && i < conf->keypair_count; i++)
		ret = server_add(c, conf, i, err);
	if (ret) {
		tls_ctx_put(c);
		return ret;
	}
	*out = c;
	return 0;
}

int tls_client_ctx_new(struct tls_ctx **out, const struct tls_client_conf *conf,
		       char err[static TLS_ERROR_MAX])
{
	struct tls_ctx *c;
	SSL_CTX *ssl;
	int ret = 0;

	*out = NULL;
	err[0] = 0;
	if (conf->pin_count > TLS_PINS_MAX ||
	    (conf->verify == TLS_VERIFY_PIN && !conf->pin_count)) {
		snprintf(err, TLS_ERROR_MAX, "1 to %d pins are possible", TLS_PINS_MAX);
		return -EINVAL;
	}
	c = ctx_new(false, conf->pins, conf->pin_count);
	ssl = c ? ssl_new(TLS_client_method()) : NULL;
	if (!ssl) {
		explain(err, "no TLS context");
		free(c);
		return -ENOMEM;
	}
	c->ssl[c->count++] = ssl;
	c->verify = conf->verify;
	c->proof_required = conf->verify == TLS_VERIFY_PIN;
	if (conf->verify == TLS_VERIFY_NAME) {
		SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER, NULL);
		ret = trust(ssl, conf->ca_pem, conf->ca_pem_len, false, err);
	} else if (conf->verify == TLS_VERIFY_PIN) {
		SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER, NULL);
		SSL_CTX_set_cert_verify_callback(ssl, accept_any, NULL);
	} else {
		SSL_CTX_set_verify(ssl, SSL_VERIFY_NONE, NULL);
	}
	if (!ret)
		ret = limit_versions(ssl, conf->version_min, conf->version_max, err);
	if (!ret)
		ret = limit_ciphers(ssl, conf->ciphers, conf->cipher_count, err);
	if (!ret && conf->keypair.chain_len)
		ret = use_keypair(ssl, &conf->keypair, &c->leaf[0], err);
	if (ret) {
		tls_ctx_put(c);
		return ret;
	}
	*out = c;
	return 0;
}

int tls_limits_check(uint16_t version_min, uint16_t version_max, const char *const *ciphers,
		     size_t cipher_count, char err[static TLS_ERROR_MAX])
{
	SSL_CTX *ssl = ssl_new(TLS_method());
	int ret = -ENOMEM;

	if (!ssl) {
		explain(err, "no TLS context");
		return ret;
	}
	ret = limit_versions(ssl, version_min, version_max, err);
	if (!ret)
		ret = limit_ciphers(ssl, ciphers, cipher_count, err);
	SSL_CTX_free(ssl);
	return ret;
}

struct tls_ctx *tls_ctx_get(struct tls_ctx *c)
{
	c->refs++;
	return c;
}

void tls_ctx_put(struct tls_ctx *c)
{
	if (!c || --c->refs)
		return;
	for (size_t i = 0; i < TLS_KEYPAIRS_MAX; i++) {
		SSL_CTX_free(c->ssl[i]);
		X509_free(c->leaf[i]);
	}
	free(c);
}

static struct tls *attach(struct tls_ctx *c, int fd)
{
	struct tls *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->ssl = SSL_new(c->ssl[0]);
	if (!t->ssl || SSL_set_fd(t->ssl, fd) != 1) {
		SSL_free(t->ssl);
		free(t);
		ERR_clear_error();
		return NULL;
	}
	t->ctx = tls_ctx_get(c);
	t->events = EPOLLIN;
	return t;
}

struct tls *tls_accept(struct tls_ctx *c, int fd)
{
	struct tls *t = attach(c, fd);

	if (t)
		SSL_set_accept_state(t->ssl);
	return t;
}

struct tls *tls_connect(struct tls_ctx *c, int fd, const char *host)
{
	struct tls *t = attach(c, fd);
	struct addr numeric;
	bool name = host && addr_parse(host, &numeric);

	if (!t)
		return NULL;
	SSL_set_connect_state(t->ssl);
	if (name)
		SSL_set_tlsext_host_name(t->ssl, host);
	if (c->verify == TLS_VERIFY_NAME) {
		X509_VERIFY_PARAM *param = SSL_get0_param(t->ssl);
		int ok = !host	? 0
			 : name ? X509_VERIFY_PARAM_set1_host(param, host, 0)
				: X509_VERIFY_PARAM_set1_ip_asc(param, host);

		if (ok != 1) {
			tls_free(t);
			return NULL;
		}
	}
	ERR_clear_error();
	return t;
}

void tls_free(struct tls *t)
{
	if (!t)
		return;
	SSL_free(t->ssl);
	tls_ctx_put(t->ctx);
	free(t);
}

static int die_with(struct tls *t, int err, const char *what)
{
	if (!t->error[0])
		explain(t->error, what);
	ERR_clear_error();
	t->dead = err;
	return err;
}

/* What the failure @ret of the last call means; sets what to poll for. */
static int verdict(struct tls *t, int ret, const char *what)
{
	int kept = errno;

	switch (SSL_get_error(t->ssl, ret)) {
	case SSL_ERROR_WANT_READ:
		t->events = EPOLLIN;
		return -EAGAIN;
	case SSL_ERROR_WANT_WRITE:
		t->events = EPOLLOUT;
		return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	case SSL_ERROR_SYSCALL:
		snprintf(t->error, sizeof(t->error), "%s: %s", what,
			 kept ? strerror(kept) : "connection lost");
		return die_with(t, -ECONNRESET, what);
	default:
		if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
			return die_with(t, -ECONNRESET, what);
		if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE)
			return die_with(t, -EKEYREJECTED, what);
		if (SSL_get_verify_result(t->ssl) != X509_V_OK &&
		    (t->ctx->verify == TLS_VERIFY_NAME || (t->ctx->has_ca && !t->done))) {
			snprintf(t->error, sizeof(t->error), "certificate: %s",
				 X509_verify_cert_error_string(SSL_get_verify_result(t->ssl)));
			return die_with(t, -EKEYREJECTED, what);
		}
		return die_with(t, -EPROTO, what);
	}
}

/* After each handshake, resumed ones too: is the peer one that we were told to expect? */
static int check_proof(struct tls *t)
{
	struct tls_pin pin;
	int err = tls_peer_pin(t, &pin);

	t->verified = !err && has_pin(t->ctx, &pin);
	t->chained = !err && t->ctx->has_ca && SSL_get_verify_result(t->ssl) == X509_V_OK;
	if (t->chained)
		t->verified = true;
	if (t->ctx->verify == TLS_VERIFY_NAME)
		t->verified = true; /* OpenSSL has refused all others */
	if (!t->ctx->proof_required || t->verified)
		return 0;
	snprintf(t->error, sizeof(t->error), "%s",
		 err		  ? "peer shows no certificate, a pinned key is required"
		 : t->ctx->has_ca ? "peer's certificate is of none of our authorities"
				  : "peer's key is not the pinned one");
	return die_with(t, -EKEYREJECTED, "pin");
}

int tls_handshake(struct tls *t)
{
	int ret;

	if (t->dead)
		return t->dead;
	if (t->done)
		return 0;
	ERR_clear_error();
	errno = 0;
	ret = SSL_do_handshake(t->ssl);
	if (ret != 1) {
		ret = verdict(t, ret, "handshake");
		return ret ? ret : die_with(t, -ECONNRESET, "handshake");
	}
	t->done = true;
	return check_proof(t);
}

ssize_t tls_read(struct tls *t, void *buf, size_t cap)
{
	int ret;

	if (t->dead)
		return t->dead;
	ERR_clear_error();
	errno = 0;
	ret = SSL_read(t->ssl, buf, cap > INT32_MAX ? INT32_MAX : (int)cap);
	return ret > 0 ? ret : verdict(t, ret, "read");
}

ssize_t tls_write(struct tls *t, const void *buf, size_t len)
{
	int ret;

	if (t->dead)
		return t->dead;
	ERR_clear_error();
	errno = 0;
	ret = SSL_write(t->ssl, buf, len > INT32_MAX ? INT32_MAX : (int)len);
	if (ret > 0)
		return ret;
	ret = verdict(t, ret, "write");
	return ret ? ret : die_with(t, -ECONNRESET, "write");
}

void tls_close(struct tls *t)
{
	if (t->dead || !t->done)
		return;
	ERR_clear_error();
	SSL_shutdown(t->ssl);
	ERR_clear_error();
	t->dead = -ECONNRESET;
}

uint32_t tls_events(const struct tls *t)
{
	return t->events;
}

bool tls_has_input(const struct tls *t)
{
	return !t->dead && SSL_has_pending(t->ssl);
}

const char *tls_version(const struct tls *t)
{
	return SSL_get_version(t->ssl);
}

const char *tls_cipher(const struct tls *t)
{
	return SSL_get_cipher_name(t->ssl);
}

bool tls_is_of(const struct tls *t, const struct tls_ctx *c)
{
	return t->ctx == c;
}

const char *tls_sni(const struct tls *t)
{
	return SSL_get_servername(t->ssl, TLSEXT_NAMETYPE_host_name);
}

int tls_peer_pin(const struct tls *t, struct tls_pin *pin)
{
	X509 *cert = SSL_get1_peer_certificate(t->ssl);
	int err = cert ? spki_pin(cert, pin) : -ENOENT;

	X509_free(cert);
	return err;
}

bool tls_peer_is(const struct tls *t, const char *name)
{
	X509 *cert = SSL_get1_peer_certificate(t->ssl);
	X509_NAME *subject = cert ? X509_get_subject_name(cert) : NULL;
	char text[256];
	bool is = subject && X509_NAME_entry_count(subject) == 1 &&
		  X509_NAME_get_text_by_NID(subject, NID_commonName, text, sizeof(text)) ==
		      (int)strlen(name) &&
		  !strcmp(text, name) && !X509_NAME_cmp(subject, X509_get_issuer_name(cert));

	X509_free(cert);
	return is;
}

bool tls_verified(const struct tls *t)
{
	return t->verified;
}

bool tls_peer_named(const struct tls *t, const char *name)
{
	const unsigned flags = X509_CHECK_FLAG_NO_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT;
	X509 *cert = t->chained ? SSL_get1_peer_certificate(t->ssl) : NULL;
	bool named = cert && X509_check_host(cert, name, 0, flags, NULL) == 1;

	X509_free(cert);
	return named;
}

const char *tls_error(const struct tls *t)
{
	return t->error;
}

void tls_socket_prepare(int fd)
{
	int one = 1;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

int tls_hmac_sha256(const void *key, size_t key_len, const void *data, size_t len,
		    uint8_t out[static 32])
{
	return HMAC(EVP_sha256(), key, (int)key_len, data, len, out, NULL) ? 0 : -EIO;
}
