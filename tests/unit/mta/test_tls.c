/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Both sides of TLS in one process, over a socket pair, with certificates made on the spot. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tls.h"

struct pem {
	char chain[4096];
	char key[4096];
	struct tls_keypair pair;
	struct tls_pin pin;
};

static void drain(BIO *bio, char *out, size_t cap)
{
	int n = BIO_read(bio, out, (int)cap - 1);

	assert_true(n > 0);
	out[n] = 0;
	BIO_free(bio);
}

/* A self-signed certificate for @name; @days below zero: expired long ago. */
static void make_of(struct pem *p, EVP_PKEY *key, const char *name, long days)
{
	X509 *cert = X509_new();
	X509_NAME *subject = X509_get_subject_name(cert);
	X509_EXTENSION *ext;
	char san[300];
	BIO *bio;

	snprintf(san, sizeof(san), "DNS:%s", name);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), 7);
	X509_set_version(cert, 2);
	X509_gmtime_adj(X509_getm_notBefore(cert), -90000);
	X509_gmtime_adj(X509_getm_notAfter(cert), days * 86400 + 3600);
	X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1,
				   0);
	X509_set_issuer_name(cert, subject);
	X509_set_pubkey(cert, key);
	ext = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, san);
	X509_add_ext(cert, ext, -1);
	X509_EXTENSION_free(ext);
	assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
	bio = BIO_new(BIO_s_mem());
	PEM_write_bio_X509(bio, cert);
	drain(bio, p->chain, sizeof(p->chain));
	bio = BIO_new(BIO_s_mem());
	PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
	drain(bio, p->key, sizeof(p->key));
	X509_free(cert);
	EVP_PKEY_free(key);
	p->pair = (struct tls_keypair){ p->chain, strlen(p->chain), p->key, strlen(p->key) };
	assert_int_equal(tls_pin_of(p->chain, strlen(p->chain), &p->pin), 0);
}

static void make(struct pem *p, const char *name, long days)
{
	make_of(p, EVP_EC_gen("P-256"), name, days);
}

static struct pem mx, other, client_pem;

struct ends {
	int fd[2];
	struct tls *server, *client;
	int server_err, client_err;
};

static struct tls_ctx *server_ctx(const struct tls_server_conf *conf)
{
	char err[TLS_ERROR_MAX];
	struct tls_ctx *c;

	if (tls_server_ctx_new(&c, conf, err))
		fail_msg("%s", err);
	return c;
}

static struct tls_ctx *client_ctx(const struct tls_client_conf *conf)
{
	char err[TLS_ERROR_MAX];
	struct tls_ctx *c;

	if (tls_client_ctx_new(&c, conf, err))
		fail_msg("%s", err);
	return c;
}

static void start(struct ends *e, struct tls_ctx *s, struct tls_ctx *c, const char *host)
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, e->fd), 0);
	e->server = tls_accept(s, e->fd[0]);
	e->client = tls_connect(c, e->fd[1], host);
	assert_non_null(e->server);
	assert_non_null(e->client);
	e->server_err = e->client_err = -EAGAIN;
}

/* Both sides as far as they come. */
static void shake(struct ends *e)
{
	for (int i = 0; i < 20; i++) {
		if (e->client_err == -EAGAIN)
			e->client_err = tls_handshake(e->client);
		if (e->server_err == -EAGAIN)
			e->server_err = tls_handshake(e->server);
		if (e->client_err && e->client_err != -EAGAIN)
			shutdown(e->fd[1], SHUT_RDWR);
		if (e->server_err && e->server_err != -EAGAIN)
			shutdown(e->fd[0], SHUT_RDWR);
	}
}

static void end(struct ends *e)
{
	tls_free(e->server);
	tls_free(e->client);
	close(e->fd[0]);
	close(e->fd[1]);
}

static void check(const struct tls_server_conf *sc, const struct tls_client_conf *cc,
		  const char *host, int server_err, int client_err)
{
	struct tls_ctx *s = server_ctx(sc), *c = client_ctx(cc);
	struct ends e;

	start(&e, s, c, host);
	shake(&e);
	if (e.server_err != server_err || e.client_err != client_err)
		fail_msg("server %d (%s), client %d (%s)", e.server_err, tls_error(e.server),
			 e.client_err, tls_error(e.client));
	end(&e);
	tls_ctx_put(s);
	tls_ctx_put(c);
}

static void bytes_go_both_ways_and_close_is_seen(void **state)
{
	struct tls_ctx *s =
	    server_ctx(&(struct tls_server_conf){ .keypairs = &mx.pair, .keypair_count = 1 });
	struct tls_ctx *c = client_ctx(&(struct tls_client_conf){ 0 });
	struct ends e;
	char buf[64];

	(void)state;
	start(&e, s, c, "mx.example");
	assert_int_equal(tls_handshake(e.server), -EAGAIN);
	assert_int_equal(tls_events(e.server), EPOLLIN);
	shake(&e);
	assert_int_equal(e.server_err, 0);
	assert_int_equal(e.client_err, 0);
	assert_string_equal(tls_version(e.server), "TLSv1.3");
	assert_string_equal(tls_sni(e.server), "mx.example");
	assert_false(tls_verified(e.client));
	assert_int_equal(tls_read(e.server, buf, sizeof(buf)), -EAGAIN);
	assert_int_equal(tls_write(e.client, "EHLO", 4), 4);
	assert_int_equal(tls_read(e.server, buf, 1), 1);
	assert_true(tls_has_input(e.server)); /* epoll would say nothing of these three */
	assert_int_equal(tls_read(e.server, buf + 1, sizeof(buf) - 1), 3);
	assert_memory_equal(buf, "EHLO", 4);
	assert_int_equal(tls_write(e.server, "250", 3), 3);
	assert_int_equal(tls_read(e.client, buf, sizeof(buf)), 3);
	tls_close(e.client);
	assert_int_equal(tls_read(e.server, buf, sizeof(buf)), 0);
	end(&e);
	/* cut without close_notify is not an orderly end */
	start(&e, s, c, NULL);
	shake(&e);
	shutdown(e.fd[1], SHUT_RDWR);
	assert_int_equal(tls_read(e.server, buf, sizeof(buf)), -ECONNRESET);
	end(&e);
	tls_ctx_put(s);
	tls_ctx_put(c);
}

static void the_name_asked_for_chooses_the_certificate(void **state)
{
	struct tls_keypair pairs[] = { mx.pair, other.pair };
	struct tls_ctx *s =
	    server_ctx(&(struct tls_server_conf){ .keypairs = pairs, .keypair_count = 2 });
	struct tls_ctx *c = client_ctx(&(struct tls_client_conf){ 0 });
	static const struct {
		const char *host;
		const struct pem *want;
	} cases[] = { { "mx.example", &mx },
		      { "OTHER.example", &other },
		      { "unknown.example", &mx },
		      { NULL, &mx },
		      { "192.0.2.1", &mx } };

	(void)state;
	for (size_t i = 0; i < 5; i++) {
		struct tls_pin pin;
		struct ends e;

		start(&e, s, c, cases[i].host);
		shake(&e);
		assert_int_equal(tls_peer_pin(e.client, &pin), 0);
		assert_memory_equal(&pin, &cases[i].want->pin, sizeof(pin));
		end(&e);
	}
	tls_ctx_put(s);
	tls_ctx_put(c);
}

static void a_pinned_key_is_enough_and_no_other_key_is(void **state)
{
	struct tls_server_conf sc = { .keypairs = &mx.pair, .keypair_count = 1 };
	struct tls_pin two[] = { other.pin, mx.pin };

	(void)state;
	check(
	    &sc,
	    &(struct tls_client_conf){ .verify = TLS_VERIFY_PIN, .pins = &mx.pin, .pin_count = 1 },
	    "some.name", 0, 0);
	check(&sc,
	      &(struct tls_client_conf){ .verify = TLS_VERIFY_PIN, .pins = two, .pin_count = 2 },
	      NULL, 0, 0);
	check(&sc,
	      &(struct tls_client_conf){
		  .verify = TLS_VERIFY_PIN, .pins = &other.pin, .pin_count = 1 },
	      "mx.example", 0, -EKEYREJECTED);
}

static void
mail_case_050_a_client_certificate_missing_or_wrong_is_refused_where_pinned(void **state)
{
	struct tls_server_conf sc = { .keypairs = &mx.pair,
				      .keypair_count = 1,
				      .require_proof = true,
				      .pins = &client_pem.pin,
				      .pin_count = 1 };
	struct tls_ctx *s = server_ctx(&sc);
	const struct pem *shown[] = { NULL, &other, &client_pem };
	struct pem expired;

	(void)state;
	for (int i = 0; i < 3; i++) {
		struct tls_client_conf cc = { 0 };
		struct tls_ctx *c;
		struct ends e;

		if (shown[i])
			cc.keypair = shown[i]->pair;
		c = client_ctx(&cc);
		start(&e, s, c, NULL);
		shake(&e);
		assert_int_equal(e.server_err, i == 2 ? 0 : -EKEYREJECTED);
		assert_int_equal(tls_verified(e.server), i == 2);
		assert_int_equal(tls_read(e.server, (char[8]){ 0 }, 8),
				 i == 2 ? -EAGAIN : -EKEYREJECTED);
		end(&e);
		tls_ctx_put(c);
	}
	tls_ctx_put(s);
	/* a pin is about the key: dates do not matter */
	make(&expired, "old.example", -1);
	sc = (struct tls_server_conf){ .keypairs = &expired.pair, .keypair_count = 1 };
	check(&sc,
	      &(struct tls_client_conf){
		  .verify = TLS_VERIFY_PIN, .pins = &expired.pin, .pin_count = 1 },
	      NULL, 0, 0);
}

/* What the server says of a client that shows @shown, NULL: nothing. @verified NULL: it is refused. */
static void show(const struct tls_server_conf *sc, const struct pem *shown, bool refused,
		 bool verified)
{
	struct tls_client_conf cc = { 0 };
	struct tls_ctx *s = server_ctx(sc), *c;
	struct ends e;

	if (shown)
		cc.keypair = shown->pair;
	c = client_ctx(&cc);
	start(&e, s, c, "other.example");
	shake(&e);
	assert_int_equal(e.server_err, refused ? -EKEYREJECTED : 0);
	assert_int_equal(tls_verified(e.server), verified);
	if (refused)
		assert_int_not_equal(tls_error(e.server)[0], 0);
	end(&e);
	tls_ctx_put(c);
	tls_ctx_put(s);
}

static void mail_case_050_a_client_certificate_is_asked_for_demanded_or_verified(void **state)
{
	/* Two names, so that what is demanded holds for the one that SNI chooses, too. */
	struct tls_keypair pairs[] = { mx.pair, other.pair };
	struct tls_server_conf sc = { .keypairs = pairs,
				      .keypair_count = 2,
				      .ask_client_cert = true };
	struct tls_ctx *none;
	char err[TLS_ERROR_MAX];
	struct pem expired;

	(void)state;
	make(&expired, "client.example", -1);
	show(&sc, NULL, false, false);
	show(&sc, &client_pem, false, false);
	sc.require_cert = true;
	show(&sc, NULL, true, false);
	show(&sc, &other, false, false);
	sc = (struct tls_server_conf){ .keypairs = pairs,
				       .keypair_count = 2,
				       .ask_client_cert = true,
				       .ca_pem = client_pem.chain,
				       .ca_pem_len = strlen(client_pem.chain) };
	show(&sc, NULL, false, false);
	show(&sc, &client_pem, false, true);
	show(&sc, &other, false, false);
	sc.require_proof = true;
	show(&sc, NULL, true, false);
	show(&sc, &client_pem, false, true);
	show(&sc, &other, true, false);
	/* a pin beside the authorities is a proof by itself */
	sc.pins = &other.pin;
	sc.pin_count = 1;
	show(&sc, &other, false, true);
	show(&sc, &client_pem, false, true);
	show(&sc, &mx, true, false);
	/* an authority's certificates have their time */
	sc.pin_count = 0;
	sc.ca_pem = expired.chain;
	sc.ca_pem_len = strlen(expired.chain);
	show(&sc, &expired, true, false);
	sc.ca_pem = "junk";
	sc.ca_pem_len = 4;
	assert_int_equal(tls_server_ctx_new(&none, &sc, err), -EINVAL);
	sc.ca_pem = NULL;
	assert_int_equal(tls_server_ctx_new(&none, &sc, err), -EINVAL);
}

/* Does the server see @name in what a client shows? */
static bool named(const struct tls_server_conf *sc, const struct pem *shown, const char *name)
{
	struct tls_client_conf cc = { .keypair = shown->pair };
	struct tls_ctx *s = server_ctx(sc), *c = client_ctx(&cc);
	struct ends e;
	bool is;

	start(&e, s, c, NULL);
	shake(&e);
	assert_int_equal(e.server_err, 0);
	is = tls_peer_named(e.server, name);
	end(&e);
	tls_ctx_put(c);
	tls_ctx_put(s);
	return is;
}

static void a_name_counts_where_an_authority_has_given_it(void **state)
{
	struct tls_server_conf sc = { .keypairs = &mx.pair,
				      .keypair_count = 1,
				      .ask_client_cert = true,
				      .pins = &other.pin,
				      .pin_count = 1,
				      .ca_pem = client_pem.chain,
				      .ca_pem_len = strlen(client_pem.chain) };
	struct pem wild;

	(void)state;
	assert_true(named(&sc, &client_pem, "client.example"));
	assert_true(named(&sc, &client_pem, "Client.EXAMPLE"));
	assert_false(named(&sc, &client_pem, "other.example"));
	assert_false(named(&sc, &client_pem, "example"));
	/* a pinned key may call itself what it likes */
	assert_false(named(&sc, &other, "other.example"));
	sc.ca_pem = NULL;
	assert_false(named(&sc, &client_pem, "client.example"));
	/* a name that many have is nobody's */
	make(&wild, "*.example", 1);
	sc.ca_pem = wild.chain;
	sc.ca_pem_len = strlen(wild.chain);
	assert_false(named(&sc, &wild, "client.example"));
}

static void a_listener_has_its_versions(void **state)
{
	static const struct {
		uint16_t server_min, server_max, client_min, client_max;
		const char *want; /* NULL: they do not meet */
	} cases[] = {
		{ 0, 0, 0, 0, "TLSv1.3" },
		{ 0x0303, 0x0303, 0, 0, "TLSv1.2" },
		{ 0x0304, 0x0304, 0x0303, 0x0303, NULL },
		{ 0, 0, 0x0302, 0x0302, NULL },
		{ 0x0302, 0x0304, 0x0302, 0x0302, "TLSv1.1" },
		{ 0x0302, 0x0304, 0, 0, "TLSv1.3" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct tls_ctx *s =
		    server_ctx(&(struct tls_server_conf){ .keypairs = &mx.pair,
							  .keypair_count = 1,
							  .version_min = cases[i].server_min,
							  .version_max = cases[i].server_max });
		struct tls_ctx *c = client_ctx(&(struct tls_client_conf){
		    .version_min = cases[i].client_min, .version_max = cases[i].client_max });
		struct ends e;

		start(&e, s, c, NULL);
		shake(&e);
		assert_int_equal(e.server_err, cases[i].want ? 0 : -EPROTO);
		if (cases[i].want)
			assert_string_equal(tls_version(e.server), cases[i].want);
		end(&e);
		tls_ctx_put(c);
		tls_ctx_put(s);
	}
}

static void a_name_is_verified_against_authorities_and_host(void **state)
{
	struct tls_server_conf sc = { .keypairs = &mx.pair, .keypair_count = 1 };
	struct tls_client_conf cc = { .verify = TLS_VERIFY_NAME,
				      .ca_pem = mx.chain,
				      .ca_pem_len = strlen(mx.chain) };
	char err[TLS_ERROR_MAX];
	struct tls_ctx *c;

	(void)state;
	check(&sc, &cc, "mx.example", 0, 0);
	check(&sc, &cc, "evil.example", -EPROTO, -EKEYREJECTED);
	check(&sc, &cc, "192.0.2.1", -EPROTO, -EKEYREJECTED);
	cc.ca_pem = other.chain;
	cc.ca_pem_len = strlen(other.chain);
	check(&sc, &cc, "mx.example", -EPROTO, -EKEYREJECTED);
	cc.ca_pem_len = 0;
	assert_int_equal(tls_client_ctx_new(&c, &cc, err), -EINVAL);
}

static void old_versions_are_refused(void **state)
{
	struct tls_ctx *s =
	    server_ctx(&(struct tls_server_conf){ .keypairs = &mx.pair, .keypair_count = 1 });
	SSL_CTX *old = SSL_CTX_new(TLS_client_method());
	struct tls *server;
	SSL *client;
	int fd[2], err = -EAGAIN;

	(void)state;
	SSL_CTX_set_security_level(old, 0);
	SSL_CTX_set_min_proto_version(old, TLS1_VERSION);
	SSL_CTX_set_max_proto_version(old, TLS1_1_VERSION);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	server = tls_accept(s, fd[0]);
	client = SSL_new(old);
	SSL_set_fd(client, fd[1]);
	for (int i = 0; i < 10 && err == -EAGAIN; i++) {
		SSL_connect(client);
		err = tls_handshake(server);
	}
	assert_int_equal(err, -EPROTO);
	SSL_free(client);
	SSL_CTX_free(old);
	tls_free(server);
	tls_ctx_put(s);
	close(fd[0]);
	close(fd[1]);
}

/* A server of OpenSSL's own that shows @p and speaks @min to @max; the version agreed on, "": none. */
static const char *meet(const struct tls_client_conf *cc, const struct pem *p, int min, int max,
			int *client_err)
{
	static char version[32];
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	struct tls_ctx *c = client_ctx(cc);
	BIO *chain = BIO_new_mem_buf(p->chain, -1), *key = BIO_new_mem_buf(p->key, -1);
	X509 *cert = PEM_read_bio_X509(chain, NULL, NULL, NULL);
	EVP_PKEY *pkey = PEM_read_bio_PrivateKey(key, NULL, NULL, NULL);
	int fd[2], done = 0;
	struct tls *client;
	SSL *server;

	SSL_CTX_set_security_level(ctx, 0);
	SSL_CTX_set_min_proto_version(ctx, min);
	SSL_CTX_set_max_proto_version(ctx, max);
	SSL_CTX_use_certificate(ctx, cert);
	SSL_CTX_use_PrivateKey(ctx, pkey);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	server = SSL_new(ctx);
	SSL_set_fd(server, fd[0]);
	client = tls_connect(c, fd[1], "mx.example");
	*client_err = -EAGAIN;
	for (int i = 0; i < 10 && (*client_err == -EAGAIN || !done); i++) {
		if (*client_err == -EAGAIN)
			*client_err = tls_handshake(client);
		done = SSL_accept(server) == 1;
	}
	snprintf(version, sizeof(version), "%s", *client_err ? "" : tls_version(client));
	SSL_free(server);
	SSL_CTX_free(ctx);
	X509_free(cert);
	EVP_PKEY_free(pkey);
	BIO_free(chain);
	BIO_free(key);
	tls_free(client);
	tls_ctx_put(c);
	close(fd[0]);
	close(fd[1]);
	return version;
}

static void a_client_keeps_to_the_versions_it_was_given(void **state)
{
	static const struct {
		uint16_t min, max; /* ours */
		int from, to;	   /* the server's */
		const char *agreed;
	} rows[] = {
		{ 0, 0, TLS1_2_VERSION, TLS1_3_VERSION, "TLSv1.3" },
		{ 0, 0, TLS1_VERSION, TLS1_1_VERSION, "" },
		{ 0x0303, 0x0303, TLS1_2_VERSION, TLS1_3_VERSION, "TLSv1.2" },
		{ 0x0303, 0x0303, TLS1_3_VERSION, TLS1_3_VERSION, "" },
		{ 0x0304, 0x0304, TLS1_2_VERSION, TLS1_2_VERSION, "" },
		{ 0x0302, 0x0303, TLS1_VERSION, TLS1_1_VERSION, "TLSv1.1" },
		{ 0x0302, 0x0303, TLS1_VERSION, TLS1_3_VERSION, "TLSv1.2" },
		{ 0x0302, 0x0303, TLS1_VERSION, TLS1_VERSION, "" },
		{ 0x0302, 0x0303, TLS1_3_VERSION, TLS1_3_VERSION, "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct tls_client_conf cc = { .version_min = rows[i].min,
					      .version_max = rows[i].max };
		int err;
		const char *got = meet(&cc, &mx, rows[i].from, rows[i].to, &err);

		if (strcmp(got, rows[i].agreed))
			fail_msg("row %zu: \"%s\" (%d), wanted \"%s\"", i, got, err,
				 rows[i].agreed);
		assert_int_equal(!err, !!rows[i].agreed[0]);
	}
}

/* What TLS 1.1 needs is not given to what could do better. */
static void an_old_version_in_the_list_lowers_no_other_bound(void **state)
{
	static const int versions[] = { TLS1_1_VERSION, TLS1_2_VERSION, TLS1_3_VERSION };
	struct pem weak, rsa;

	(void)state;
	make_of(&weak, EVP_RSA_gen(768), "mx.example", 10);
	make_of(&rsa, EVP_RSA_gen(2048), "mx.example", 10);
	for (int i = 0; i < 3; i++) {
		const struct pem *shown[] = { &rsa, &mx, &weak };

		for (int k = 0; k < 3; k++) {
			struct tls_client_conf cc = { .version_min = 0x0302,
						      .version_max = 0x0304,
						      .verify = TLS_VERIFY_NAME,
						      .ca_pem = shown[k]->chain,
						      .ca_pem_len = strlen(shown[k]->chain) };
			const char *got;
			int err;

			got = meet(&cc, shown[k], versions[i], versions[i], &err);
			assert_int_equal(!got[0], k == 2);
			assert_int_equal(err, k == 2 ? -EKEYREJECTED : 0);
		}
	}
}

/* Of a server and a client of ours; "": the handshake failed. */
static const char *cipher_of(const struct tls_server_conf *sc, const struct tls_client_conf *cc)
{
	static char name[80];
	struct tls_ctx *s = server_ctx(sc), *c = client_ctx(cc);
	struct ends e;

	start(&e, s, c, "mx.example");
	shake(&e);
	snprintf(name, sizeof(name), "%s",
		 e.server_err || e.client_err ? "" : tls_cipher(e.server));
	end(&e);
	tls_ctx_put(s);
	tls_ctx_put(c);
	return name;
}

static void ciphers_are_those_that_were_written(void **state)
{
	static const char *const chacha13[] = { "TLS_CHACHA20_POLY1305_SHA256" };
	static const char *const aes12[] = { "ECDHE+AESGCM", "!AES256" };
	static const char *const chacha12[] = { "ECDHE-ECDSA-CHACHA20-POLY1305" };
	const struct tls_server_conf any = { .keypairs = &mx.pair, .keypair_count = 1 };
	struct tls_server_conf sc = any;
	struct tls_client_conf cc = { 0 };

	(void)state;
	sc.ciphers = chacha13;
	sc.cipher_count = 1;
	assert_string_equal(cipher_of(&sc, &cc), "TLS_CHACHA20_POLY1305_SHA256");
	cc.version_max = 0x0303; /* of these versions the list says nothing */
	assert_true(cipher_of(&sc, &cc)[0]);
	sc.ciphers = aes12;
	sc.cipher_count = 2;
	assert_string_equal(cipher_of(&sc, &cc), "ECDHE-ECDSA-AES128-GCM-SHA256");
	cc.ciphers = chacha12;
	cc.cipher_count = 1;
	assert_string_equal(cipher_of(&sc, &cc), "");
	assert_string_equal(cipher_of(&any, &cc), "ECDHE-ECDSA-CHACHA20-POLY1305");
	cc = (struct tls_client_conf){ .ciphers = chacha13, .cipher_count = 1 };
	assert_string_equal(cipher_of(&any, &cc), "TLS_CHACHA20_POLY1305_SHA256");
}

static void ciphers_that_are_none_are_named(void **state)
{
	static const char *const bad[][2] = { { "ECDHE+AESGCM", "ECDHE-NONSENSE" },
					      { "ECDHE+AESGCM", "TLS_NONSENSE" },
					      { "ECDHE+AESGCM", "NULL-SHA256" },
					      { "ECDHE+AESGCM", "!ALL" } };
	char err[TLS_ERROR_MAX];
	struct tls_ctx *c;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(
		    tls_client_ctx_new(
			&c, &(struct tls_client_conf){ .ciphers = bad[i], .cipher_count = 2 }, err),
		    -EINVAL);
		assert_non_null(strstr(err, "tls-ciphers"));
		if (i < 3)
			assert_non_null(strstr(err, bad[i][1]));
		assert_int_equal(tls_limits_check(0, 0, bad[i], 2, err), -EINVAL);
		assert_non_null(strstr(err, "tls-ciphers"));
		assert_int_equal(tls_limits_check(0x0302, 0x0304, bad[i], 1, err), 0);
	}
}

static void a_context_that_was_replaced_serves_its_sessions_on(void **state)
{
	struct tls_ctx *s =
	    server_ctx(&(struct tls_server_conf){ .keypairs = &mx.pair, .keypair_count = 1 });
	struct tls_ctx *c = client_ctx(&(struct tls_client_conf){ 0 });
	struct ends e;
	char buf[8];

	(void)state;
	start(&e, s, c, "mx.example");
	tls_ctx_put(s); /* the listener has a new one */
	tls_ctx_put(c);
	shake(&e);
	assert_int_equal(tls_write(e.client, "x", 1), 1);
	assert_int_equal(tls_read(e.server, buf, sizeof(buf)), 1);
	end(&e);
}

static void keys_that_do_not_fit_are_named(void **state)
{
	struct tls_keypair wrong = { mx.chain, strlen(mx.chain), other.key, strlen(other.key) };
	struct tls_keypair none = { "junk", 4, mx.key, strlen(mx.key) };
	struct tls_keypair keyless = { mx.chain, strlen(mx.chain), "junk", 4 };
	char err[TLS_ERROR_MAX];
	struct tls_ctx *s;

	(void)state;
	assert_int_equal(tls_server_ctx_new(&s, &(struct tls_server_conf){ &wrong, 1 }, err),
			 -EINVAL);
	assert_non_null(strstr(err, "does not belong to the certificate"));
	assert_int_equal(tls_server_ctx_new(&s, &(struct tls_server_conf){ &none, 1 }, err),
			 -EINVAL);
	assert_non_null(strstr(err, "certificate cannot be read"));
	assert_int_equal(tls_server_ctx_new(&s, &(struct tls_server_conf){ &keyless, 1 }, err),
			 -EINVAL);
	assert_non_null(strstr(err, "private key cannot be read"));
	assert_null(s);
}

static void plain_text_instead_of_a_handshake_is_a_fault_and_stays_one(void **state)
{
	struct tls_ctx *s =
	    server_ctx(&(struct tls_server_conf){ .keypairs = &mx.pair, .keypair_count = 1 });
	struct tls *t;
	int fd[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	t = tls_accept(s, fd[0]);
	assert_int_equal(write(fd[1], "MAIL FROM:<evil@x>\r\nRCPT TO:<b@c>\r\n", 36), 36);
	assert_int_equal(tls_handshake(t), -EPROTO);
	assert_int_equal(tls_handshake(t), -EPROTO);
	assert_int_equal(tls_write(t, "x", 1), -EPROTO);
	assert_int_not_equal(tls_error(t)[0], 0);
	tls_free(t);
	tls_ctx_put(s);
	close(fd[0]);
	close(fd[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    mail_case_050_a_client_certificate_is_asked_for_demanded_or_verified),
		cmocka_unit_test(a_name_counts_where_an_authority_has_given_it),
		cmocka_unit_test(a_listener_has_its_versions),
		cmocka_unit_test(bytes_go_both_ways_and_close_is_seen),
		cmocka_unit_test(the_name_asked_for_chooses_the_certificate),
		cmocka_unit_test(a_pinned_key_is_enough_and_no_other_key_is),
		cmocka_unit_test(
		    mail_case_050_a_client_certificate_missing_or_wrong_is_refused_where_pinned),
		cmocka_unit_test(a_name_is_verified_against_authorities_and_host),
		cmocka_unit_test(old_versions_are_refused),
		cmocka_unit_test(a_client_keeps_to_the_versions_it_was_given),
		cmocka_unit_test(an_old_version_in_the_list_lowers_no_other_bound),
		cmocka_unit_test(ciphers_are_those_that_were_written),
		cmocka_unit_test(ciphers_that_are_none_are_named),
		cmocka_unit_test(a_context_that_was_replaced_serves_its_sessions_on),
		cmocka_unit_test(keys_that_do_not_fit_are_named),
		cmocka_unit_test(plain_text_instead_of_a_handshake_is_a_fault_and_stays_one),
	};

	signal(SIGPIPE, SIG_IGN);
	make(&mx, "mx.example", 30);
	make(&other, "other.example", 30);
	make(&client_pem, "client.example", 30);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
