/* SPDX-License-Identifier: GPL-3.0-or-later */
/* TLS round a stream, against an OpenSSL of our own at the other end, which may say what it likes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/ssl.h>

#include "cloak.h"

#define UPDATES_MAX 20000

/* The far end: what it says lies in @out until the cloak takes it, @in is what the cloak says. */
struct far {
	SSL_CTX *ctx;
	SSL *ssl;
	BIO *in, *out;
	unsigned updates; /* so many key updates it makes, one each time that it is asked for more */
	size_t given;	  /* bytes, since a test has set it to 0 */
};

struct world {
	struct cloak_ctx *ctx;
	struct cloak *cloak;
	struct far far;
};

static int to_far(void *arg, const void *p, size_t len)
{
	struct far *f = arg;

	return BIO_write(f->in, p, (int)len) == (int)len ? 0 : -EPIPE;
}

static ssize_t from_far(void *arg, void *p, size_t len)
{
	struct far *f = arg;
	int n;

	if (!BIO_pending(f->out) && f->updates) {
		f->updates--;
		assert_int_equal(SSL_key_update(f->ssl, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
		assert_int_equal(SSL_do_handshake(f->ssl), 1);
	}
	n = BIO_read(f->out, p, (int)len);
	f->given += n > 0 ? (size_t)n : 0;
	return n > 0 ? n : -EAGAIN;
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct cloak_io io = { to_far, from_far, &w->far };
	char why[128] = "";
	int rc = -EAGAIN;

	*state = w;
	w->far.ctx = SSL_CTX_new(TLS_client_method());
	w->far.ssl = SSL_new(w->far.ctx);
	w->far.in = BIO_new(BIO_s_mem());
	w->far.out = BIO_new(BIO_s_mem());
	SSL_set_bio(w->far.ssl, w->far.in, w->far.out);
	assert_int_equal(cloak_server(NULL, 0, NULL, 0, &w->ctx, why, sizeof(why)), 0);
	w->cloak = cloak_new(w->ctx, NULL, &io);
	assert_non_null(w->cloak);
	for (int i = 0; i < 10 && rc == -EAGAIN; i++) {
		(void)SSL_connect(w->far.ssl);
		rc = cloak_handshake(w->cloak);
	}
	assert_int_equal(rc, 0);
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	cloak_free(w->cloak);
	cloak_ctx_free(w->ctx);
	SSL_free(w->far.ssl);
	SSL_CTX_free(w->far.ctx);
	free(w);
	return 0;
}

static void what_is_said_arrives(void **state)
{
	struct world *w = *state;
	char got[16];

	assert_int_equal(SSL_write(w->far.ssl, "IKETCP", 6), 6);
	assert_int_equal(cloak_read(w->cloak, got, sizeof(got)), 6);
	assert_memory_equal(got, "IKETCP", 6);
	assert_int_equal(cloak_read(w->cloak, got, sizeof(got)), -EAGAIN);
	assert_int_equal(cloak_write(w->cloak, "yes", 3), 0);
	assert_int_equal(SSL_read(w->far.ssl, got, sizeof(got)), 3);
}

/* TLS takes messages of its own without end before it comes back; whoever reads has others to serve. */
static void one_read_takes_no_more_than_its_share(void **state)
{
	struct world *w = *state;
	unsigned turns = 0;
	ssize_t n = -EAGAIN;
	char got[16];

	w->far.updates = UPDATES_MAX;
	while (w->far.updates || BIO_pending(w->far.out)) {
		w->far.given = 0;
		n = cloak_read(w->cloak, got, sizeof(got));
		assert_int_equal(n, -EAGAIN);
		assert_in_range(w->far.given, 1, 64 << 10);
		turns++;
	}
	assert_true(turns > 1);
	/* And no byte is lost by it. */
	assert_int_equal(SSL_write(w->far.ssl, "still", 5), 5);
	assert_int_equal(cloak_read(w->cloak, got, sizeof(got)), 5);
	assert_memory_equal(got, "still", 5);
}

static void garbage_ends_it(void **state)
{
	struct world *w = *state;
	char got[16];

	assert_int_equal(BIO_write(w->far.out, "GET / HTTP/1.1\r\n\r\n", 18), 18);
	assert_int_equal(cloak_read(w->cloak, got, sizeof(got)), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_said_arrives, setup, teardown),
		cmocka_unit_test_setup_teardown(one_read_takes_no_more_than_its_share, setup, teardown),
		cmocka_unit_test_setup_teardown(garbage_ends_it, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
