/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli.h"
#include "metrics.h"

static void fill(struct metrics *m, void *arg)
{
	struct metrics_label l[] = { { "peer", "ho\"me\n\\" }, { "family", "ipv4" } };

	(void)arg;
	metrics_family(m, "postern_peer_up", METRICS_GAUGE, "1 while the peer is up");
	metrics_value(m, l, 2, 0.5);
	metrics_family(m, "postern_drops_total", METRICS_COUNTER, "dropped packets");
	metrics_count(m, NULL, 0, UINT64_MAX);
}

#define TEXT                                                                                       \
	"# HELP postern_peer_up 1 while the peer is up\n"                                          \
	"# TYPE postern_peer_up gauge\n"                                                           \
	"postern_peer_up{peer=\"ho\\\"me\\n\\\\\",family=\"ipv4\"} 0.5\n"                          \
	"# HELP postern_drops_total dropped packets\n"                                             \
	"# TYPE postern_drops_total counter\n"                                                     \
	"postern_drops_total 18446744073709551615\n"

static void text_is_escaped_and_counters_are_exact(void **state)
{
	struct metrics *m = metrics_new();
	size_t len;

	(void)state;
	fill(m, NULL);
	assert_string_equal(metrics_text(m, &len), TEXT);
	metrics_free(m);
}

static const char *ask(struct loop *l, const char *path, const char *request)
{
	static char buf[4096];
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	size_t at = 0;
	ssize_t n;

	strcpy(sun.sun_path, path);
	assert_int_equal(connect(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	assert_int_equal(write(fd, request, strlen(request)), (ssize_t)strlen(request));
	for (int i = 0; i < 20; i++) {
		loop_once(l, 5);
		n = recv(fd, buf + at, sizeof(buf) - 1 - at, MSG_DONTWAIT);
		if (n == 0)
			break;
		at += n > 0 ? (size_t)n : 0;
	}
	buf[at] = '\0';
	close(fd);
	return buf;
}

static void only_get_metrics_is_answered(void **state)
{
	char path[64];
	struct loop *l = loop_new();
	struct metrics_server *s;
	const char *got;

	(void)state;
	snprintf(path, sizeof(path), "/tmp/postern-metrics-%d", (int)getpid());
	s = metrics_server_new(l, metrics_listen(path), fill, NULL);
	assert_non_null(s);
	got = ask(l, path, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
	assert_non_null(strstr(got, "HTTP/1.1 200 OK\r\n"));
	assert_non_null(strstr(got, "\r\n\r\n" TEXT));
	assert_non_null(strstr(ask(l, path, "GET /etc/passwd HTTP/1.1\r\n\r\n"), " 404 "));
	assert_non_null(strstr(ask(l, path, "GET /metricsx HTTP/1.1\r\n\r\n"), " 404 "));
	assert_non_null(strstr(ask(l, path, "POST /metrics HTTP/1.1\r\n\r\n"), " 405 "));
	metrics_server_free(s);
	loop_free(l);
	unlink(path);
}

static void it_listens_on_loopback_only(void **state)
{
	(void)state;
	assert_int_equal(metrics_listen("0.0.0.0:9400"), -EPERM);
	assert_int_equal(metrics_listen("192.0.2.1:9400"), -EPERM);
	assert_int_equal(metrics_listen("nonsense"), -EINVAL);
}

/* ---- cli ---- */

static char seen[128];

static int note(struct cli *cli, int argc, char **argv)
{
	snprintf(seen, sizeof(seen), "%s|%s|%d|%d|%s", cli->verb, cli->run_dir, cli->json, argc,
		 argc > 1 ? argv[1] : "");
	return 5;
}

static int run(const char *a, const char *b, const char *c, const char *d, const char *e)
{
	static const struct cli_verb one[] = { { "queue", NULL, "q", note, NULL }, { 0 } };
	static const struct cli_verb two[] = { { "flush", NULL, "f", note, NULL }, { 0 } };
	static const struct cli_verb daemon[] = { { "status", "[--counters]", "s", note, NULL },
						  { "mail", NULL, NULL, NULL, one },
						  { 0 } };
	static const struct cli_verb mta[] = { { "mail", NULL, NULL, NULL, two }, { 0 } };
	static const struct cli_verb *const tables[] = { daemon, mta, NULL };
	char *argv[] = { (char *)"postern", (char *)a, (char *)b, (char *)c,
			 (char *)d,	    (char *)e, NULL };
	int argc = 1;

	while (argv[argc])
		argc++;
	seen[0] = '\0';
	return cli_main(argc, argv, tables, "help");
}

static void verbs_of_two_tables_are_one_command(void **state)
{
	(void)state;
	assert_int_equal(run("status", NULL, NULL, NULL, NULL), 5);
	assert_string_equal(seen, "status|/run/postern|0|1|");
	assert_int_equal(run("--run-dir", "/x", "--json", "mail", "queue"), 5);
	assert_string_equal(seen, "mail queue|/x|1|1|");
	assert_int_equal(run("mail", "flush", "--json", "r", NULL), 5);
	assert_string_equal(seen, "mail flush|/run/postern|1|2|r");
	assert_int_equal(run("mail", "flsh", NULL, NULL, NULL), CLI_USAGE);
	assert_int_equal(run("mail", NULL, NULL, NULL, NULL), CLI_USAGE);
	assert_int_equal(run("--bad", NULL, NULL, NULL, NULL), CLI_USAGE);
	assert_int_equal(run("help", NULL, NULL, NULL, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_is_escaped_and_counters_are_exact),
		cmocka_unit_test(only_get_metrics_is_answered),
		cmocka_unit_test(it_listens_on_loopback_only),
		cmocka_unit_test(verbs_of_two_tables_are_one_command),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
