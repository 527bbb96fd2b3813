/* SPDX-License-Identifier: GPL-3.0-or-later */
/* TLS as smtpd and relay have it: OpenSSL has read its configuration at the start, all else comes when no file can be had. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"
#include "sandbox.h"
#include "tls_hop.h"

/* smtpd's, which has the least. */
static const struct sandbox_role role = {
	.name = "test_tls_confined",
	.calls = SANDBOX_IPC | SANDBOX_ACCEPT,
	.ring_register = { -1 },
};

static char *pem;
static size_t pem_len;

static void a_key_is_made_and_known(void **state)
{
	struct tls_pin pin, again;

	(void)state;
	assert_int_equal(open("/etc/passwd", O_RDONLY), -1);
	assert_int_equal(tls_hop_make(&pem, &pem_len), 0);
	assert_int_equal(tls_hop_check(pem, pem_len, &pin), 0);
	assert_int_equal(tls_pin_of(pem, pem_len, &again), 0);
	assert_memory_equal(&pin, &again, sizeof(pin));
}

static void shake(struct tls *s, struct tls *c)
{
	int rs = -EAGAIN, rc = -EAGAIN;

	for (int i = 0; i < 20 && (rs == -EAGAIN || rc == -EAGAIN); i++) {
		rc = tls_handshake(c);
		rs = tls_handshake(s);
	}
	assert_string_equal(tls_error(c), "");
	assert_string_equal(tls_error(s), "");
	assert_int_equal(rc, 0);
	assert_int_equal(rs, 0);
}

static void a_session_stands_and_keeps_to_the_configuration(void **state)
{
	struct tls_keypair pair = { pem, pem_len, pem, pem_len };
	struct tls_server_conf in = { .keypairs = &pair, .keypair_count = 1, .ask_client_cert = true };
	struct tls_client_conf out = { .keypair = pair, .verify = TLS_VERIFY_NONE };
	struct tls_ctx *sc, *cc;
	char err[TLS_ERROR_MAX], got[8];
	struct tls *s, *c;
	struct tls_pin pin;
	int fd[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	assert_int_equal(tls_server_ctx_new(&sc, &in, err), 0);
	assert_int_equal(tls_client_ctx_new(&cc, &out, err), 0);
	s = tls_accept(sc, fd[0]);
	c = tls_connect(cc, fd[1], "mail.example.net");
	assert_true(s && c);
	shake(s, c);
	assert_string_equal(tls_version(c), "TLSv1.2"); /* that file says so, and is gone */
	assert_int_equal(tls_peer_hop(c, &pin), 0);
	assert_int_equal(tls_peer_hop(s, &pin), 0);
	assert_int_equal(tls_write(c, "there", 5), 5);
	assert_int_equal(tls_read(s, got, sizeof(got)), 5);
	assert_int_equal(tls_write(s, "back", 4), 4);
	assert_int_equal(tls_read(c, got, sizeof(got)), 4);
	tls_free(s);
	tls_free(c);
	tls_ctx_put(sc);
	tls_ctx_put(cc);
	close(fd[0]);
	close(fd[1]);
}

static void a_bad_key_is_told_in_words(void **state)
{
	struct tls_client_conf out = { .verify = TLS_VERIFY_NONE };
	char err[TLS_ERROR_MAX];
	struct tls_ctx *c;

	(void)state;
	out.keypair = (struct tls_keypair){ pem, pem_len, "no key", 6 };
	assert_int_equal(tls_client_ctx_new(&c, &out, err), -EINVAL);
	assert_non_null(strstr(err, "private key cannot be read"));
	assert_non_null(strchr(err, ':')); /* OpenSSL's words, too */
	free(pem);
}

/* What OpenSSL reads must be read by the time the process is confined. */
static void start(void)
{
	static const char text[] = "openssl_conf = all\n[all]\nssl_conf = ssl\n[ssl]\n"
				   "system_default = tls\n[tls]\nMaxProtocol = TLSv1.2\n";
	char path[] = "/tmp/openssl-cnf.XXXXXX";
	int fd = mkstemp(path);

	if (fd < 0 || write(fd, text, sizeof(text) - 1) != (ssize_t)sizeof(text) - 1 || close(fd) ||
	    setenv("OPENSSL_CONF", path, 1))
		die("no configuration for OpenSSL: %s", strerror(errno));
	tls_load();
	unlink(path);
	if (sandbox_opened(&role, NULL, 0) || sandbox_run(&role))
		die("cannot be confined");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_key_is_made_and_known),
		cmocka_unit_test(a_session_stands_and_keeps_to_the_configuration),
		cmocka_unit_test(a_bad_key_is_told_in_words),
	};

	start();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
