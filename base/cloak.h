/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BASE_CLOAK_H
#define BASE_CLOAK_H

/*
 * Theory: TLS 1.3 as a cloak round a byte stream, for networks that let nothing else through. It hides
 * and proves nothing: what travels in it authenticates and encrypts itself. So a client does not look at the
 * certificate, and a server without one makes its own. The bytes come and go by two functions of
 * the owner, so that he decides what waits and how much of it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct cloak_ctx;
struct cloak;

struct cloak_io {
	/* Takes all @len bytes and returns 0, or -errno: the stream is over. Never waits. */
	int (*send)(void *arg, const void *p, size_t len);
	/* Bytes, 0 at the end, -EAGAIN, or -errno. */
	ssize_t (*recv)(void *arg, void *p, size_t len);
	void *arg;
};

/**
 * cloak_server() - @cert, @key: PEM, borrowed; with both NULL a key and a certificate for it are made
 * here, in memory alone. 0, -EINVAL with @why (they cannot be used, or do not belong together), -ENOMEM.
 */
int cloak_server(const char *cert, size_t cert_len, const char *key, size_t key_len,
		 struct cloak_ctx **out, char *why, size_t cap);
/** cloak_client() - NULL without memory. */
struct cloak_ctx *cloak_client(void);
/** cloak_ctx_free() - Cloaks made by it live on. NULL is allowed. */
void cloak_ctx_free(struct cloak_ctx *c);

/** cloak_new() - @name: what a client asks for (SNI), or NULL. NULL without memory. */
struct cloak *cloak_new(struct cloak_ctx *c, const char *name, const struct cloak_io *io);
void cloak_free(struct cloak *c);
/** cloak_handshake() - 0: done, -EAGAIN: when more has come, else it is over. */
int cloak_handshake(struct cloak *c);
/**
 * cloak_read() - Bytes, 0 at the end, -EAGAIN, or -EPROTO. It may hold bytes back of which no poll knows:
 * read until -EAGAIN. A call takes some ten thousand bytes at most, whatever TLS makes of them: -EAGAIN
 * does not say that nothing more lies in the socket.
 */
ssize_t cloak_read(struct cloak *c, void *p, size_t len);
/** cloak_write() - All @len bytes; 0 or -EPROTO. */
int cloak_write(struct cloak *c, const void *p, size_t len);

#endif
