/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_TLS_H
#define MTA_TLS_H

/*
 * Theory: TLS for smtpd and relay over OpenSSL's public 3.x API. A struct tls_ctx is immutable and
 * counted: a listener or route holds one, each connection another, so a new certificate is a new
 * context put in the old one's place while running sessions finish on theirs. Certificates and
 * keys come as bytes (the parent reads the files). A struct tls drives one non-blocking socket,
 * which it borrows; every call returns at once.
 *
 *	h = tls_handshake(t)  0: done   -EAGAIN: poll for tls_events(t), call again   else: over
 *	n = tls_read(t, ...)  >0: bytes  0: the peer closed in order   -EAGAIN   else: over
 *
 * A record that came whole may leave bytes inside OpenSSL that epoll knows nothing of: read until
 * -EAGAIN, or ask tls_has_input() before going to sleep.
 *
 * TLS 1.2 is the least, unless a context is told to take 1.1. A peer is known by its key, not by a name: pins are SHA-256 over the
 * SubjectPublicKeyInfo. A pinned connection is checked after every handshake, resumed ones too.
 * A server may know a client by authorities of its own instead, or besides: one proof is enough.
 * Writers hand a whole flight to one tls_write(), and set TCP_NODELAY on the socket
 * (tls_socket_prepare()), so that each flight is one record and leaves at once.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define TLS_PIN_LEN	 32
#define TLS_PINS_MAX	 8
#define TLS_KEYPAIRS_MAX 8
#define TLS_ERROR_MAX	 160

struct tls_ctx;
struct tls;

struct tls_pin {
	uint8_t sha256[TLS_PIN_LEN]; /* of the peer's SubjectPublicKeyInfo, DER */
};

/* PEM bytes, borrowed for the call only. Both empty: none. */
struct tls_keypair {
	const void *chain;
	size_t chain_len;
	const void *key;
	size_t key_len;
};

struct tls_server_conf {
	const struct tls_keypair *keypairs; /* the first serves clients without a known SNI name */
	size_t keypair_count;		    /* 1..TLS_KEYPAIRS_MAX */
	bool ask_client_cert; /* a client without one still gets in and is not verified */
	bool require_cert;    /* the handshake fails without one, whosever it is */
	bool require_proof;   /* ... and without one that has one of @pins, or a chain to @ca_pem */
	const struct tls_pin *pins;
	size_t pin_count;
	const void *ca_pem; /* authorities for clients, PEM one after another; NULL: none */
	size_t ca_pem_len;
	bool keep_ca; /* clients are not told of @ca_pem: some that are known have none of them */
	uint16_t version_min, version_max; /* as in struct tls_client_conf */
	const char *const *ciphers;
	size_t cipher_count;
};

enum tls_verify {
	TLS_VERIFY_NONE, /* opportunistic: encrypt, trust nobody */
	TLS_VERIFY_PIN,	 /* the peer's key is one of the pins, its names and dates do not matter */
	TLS_VERIFY_NAME, /* chain to the given authorities, and the host's name */
};

struct tls_client_conf {
	struct tls_keypair keypair; /* ours, may be empty */
	enum tls_verify verify;
	const struct tls_pin *pins; /* for TLS_VERIFY_PIN, at least one */
	size_t pin_count;
	const void *ca_pem; /* for TLS_VERIFY_NAME: authorities, PEM one after another */
	size_t ca_pem_len;
	uint16_t version_min, version_max; /* 0x0302 is TLS 1.1, ... 0x0304 1.3; 0: as usual */
	/* As OpenSSL names them, best first; of TLS 1.3, or of those before it, none: as usual there. */
	const char *const *ciphers;
	size_t cipher_count;
};

/**
 * tls_server_ctx_new() - 0 and *@out with one reference, or -EINVAL, -ENOMEM with @err saying what.
 * A key that does not fit its certificate is an error.
 */
int tls_server_ctx_new(struct tls_ctx **out, const struct tls_server_conf *conf,
		       char err[static TLS_ERROR_MAX]);
int tls_client_ctx_new(struct tls_ctx **out, const struct tls_client_conf *conf,
		       char err[static TLS_ERROR_MAX]);
/**
 * tls_limits_check() - Would a context of whatever certificates take these? 0 or -EINVAL, -ENOMEM with @err saying
 * what not; arguments as in struct tls_client_conf.
 */
int tls_limits_check(uint16_t version_min, uint16_t version_max, const char *const *ciphers,
		     size_t cipher_count, char err[static TLS_ERROR_MAX]);
struct tls_ctx *tls_ctx_get(struct tls_ctx *c);
/** tls_ctx_put() - NULL is allowed. */
void tls_ctx_put(struct tls_ctx *c);

/** tls_accept() - Server side on @fd (borrowed); takes its own reference of @c. NULL: no memory. */
struct tls *tls_accept(struct tls_ctx *c, int fd);
/**
 * tls_connect() - Client side.
 * @host: name for SNI and for TLS_VERIFY_NAME; NULL or a numeric address: no SNI.
 */
struct tls *tls_connect(struct tls_ctx *c, int fd, const char *host);
/** tls_free() - Does not close the socket. NULL is allowed. */
void tls_free(struct tls *t);

/**
 * tls_handshake() - 0 when done (again, too); -EAGAIN; -EKEYREJECTED (wrong or missing pin, chain or
 * name); -ECONNRESET (peer gone); -EPROTO (all else, see tls_error()).
 */
int tls_handshake(struct tls *t);
/** tls_read() - Bytes, 0 on close_notify, -EAGAIN, -ECONNRESET (cut without close_notify), -EPROTO. */
ssize_t tls_read(struct tls *t, void *buf, size_t cap);
/** tls_write() - Bytes taken (1..@len), -EAGAIN, -ECONNRESET, -EPROTO. @len > 0. */
ssize_t tls_write(struct tls *t, const void *buf, size_t len);
/** tls_close() - Send close_notify if that is possible at once; never waits for the peer's. */
void tls_close(struct tls *t);

/** tls_events() - EPOLLIN or EPOLLOUT, for the call that said -EAGAIN last. */
uint32_t tls_events(const struct tls *t);
/** tls_has_input() - Are there bytes inside that epoll will not announce? */
bool tls_has_input(const struct tls *t);

/** tls_version() and tls_cipher() - "TLSv1.3", "TLS_AES_128_GCM_SHA256": after the handshake. */
const char *tls_version(const struct tls *t);
const char *tls_cipher(const struct tls *t);
/** tls_is_of() - Was it made of @c? */
bool tls_is_of(const struct tls *t, const struct tls_ctx *c);
/** tls_sni() - The name that the client asked for, NULL when none. */
const char *tls_sni(const struct tls *t);
/** tls_peer_pin() - The pin of the certificate that the peer showed; -ENOENT when it showed none. */
int tls_peer_pin(const struct tls *t, struct tls_pin *pin);
/** tls_peer_is() - Is @name alone the subject of the certificate that the peer showed, and its issuer? */
bool tls_peer_is(const struct tls *t, const char *name);
/** tls_verified() - Did the peer prove one of our pins, or a chain and name? */
bool tls_verified(const struct tls *t);
/**
 * tls_peer_named() - Did the peer show a chain to our authorities that gives it the DNS name @name? Only
 * subjectAltName counts, and there no wildcard: a name that many share is nobody's.
 */
bool tls_peer_named(const struct tls *t, const char *name);
/** tls_error() - Why the last call failed, one line without quotes; "" when nothing is known. */
const char *tls_error(const struct tls *t);

/** tls_hmac_sha256() - 0 or -EIO. For those who need nothing else of OpenSSL. */
int tls_hmac_sha256(const void *key, size_t key_len, const void *data, size_t len,
		    uint8_t out[static 32]);
/**
 * tls_load() - Let OpenSSL read its configuration, and load the providers that it names, before a sandbox keeps
 * it from files. Nothing else of it needs any: algorithms, which take ten times the memory, come with the first
 * context.
 */
void tls_load(void);
/** tls_pin_of() - Pin of the first certificate in @pem; 0 or -EBADMSG. */
int tls_pin_of(const void *pem, size_t len, struct tls_pin *pin);
/** tls_socket_prepare() - TCP_NODELAY; errors do not matter (a test's socketpair has none). */
void tls_socket_prepare(int fd);

#endif
