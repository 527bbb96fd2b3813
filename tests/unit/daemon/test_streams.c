/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Who may have a TCP connection, and how many: real connections to a data plane that only counts them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "child_int.h"
#include "cloak.h"

#define STREAMS 512

static struct child *child;
static struct peer peers[3];
static int fd_of[STREAMS]; /* by number from DP_STREAM_FIRST on; 0: closed */
static uint32_t made;
static unsigned open_now;

/* ---- what streams.c stands on ---- */

struct peer *child_peer(const struct child *c, uint32_t id)
{
	(void)c;
	return id && id <= 2 ? &peers[id] : NULL;
}

uint64_t child_now(const struct child *c)
{
	return loop_now_ms(c->loop);
}

void effects_apply(struct child *c)
{
	(void)c;
}

void effects_on_dp(struct child *c)
{
	(void)c;
}

void peer_arm(struct peer *p)
{
	(void)p;
}

struct engine_path engine_path_of(const struct child *c, const struct dp_path *p)
{
	(void)c, (void)p;
	return (struct engine_path){ 0 };
}

int priv_stream(struct priv *p, const char *peer, const struct endpoint *to, bool with_tls,
		void (*done)(int status, int fd, void *arg), void *arg)
{
	(void)p, (void)peer, (void)to, (void)with_tls, (void)done, (void)arg;
	return -ENOSYS;
}

int dp_stream_add(struct dp *dp, const struct dp_stream *s, uint32_t *sock)
{
	(void)dp;
	assert_true(made < STREAMS);
	fd_of[made] = s->fd;
	*sock = DP_STREAM_FIRST + made++;
	open_now++;
	return 0;
}

void dp_stream_close(struct dp *dp, uint32_t sock)
{
	(void)dp;
	assert_true(fd_of[sock - DP_STREAM_FIRST]);
	close(fd_of[sock - DP_STREAM_FIRST]);
	fd_of[sock - DP_STREAM_FIRST] = 0;
	open_now--;
}

int dp_stream_trust(struct dp *dp, uint32_t sock, uint32_t peer)
{
	(void)dp, (void)sock, (void)peer;
	return 0;
}

static int quiet[2];

int dp_stream_fd(const struct dp *dp)
{
	(void)dp;
	return quiet[0];
}

void dp_stream_poll(struct dp *dp)
{
	(void)dp;
}

void dp_stream_sweep(struct dp *dp, uint64_t now_ms)
{
	(void)dp, (void)now_ms;
}

bool dp_stream_info(const struct dp *dp, uint32_t sock, struct dp_stream_info *info)
{
	(void)dp, (void)sock, (void)info;
	return false;
}

/* ---- the cases ---- */

static struct endpoint at;
static int calls[STREAMS];
static unsigned call_count;

static int setup(void **state)
{
	struct sockaddr_in sin = { .sin_family = AF_INET };
	socklen_t len = sizeof(sin);

	(void)state;
	child = calloc(1, sizeof(*child));
	child->loop = loop_new();
	made = open_now = call_count = 0;
	memset(peers, 0, sizeof(peers));
	for (uint32_t i = 1; i < 3; i++)
		peers[i] = (struct peer){ .id = i, .child = child };
	assert_int_equal(pipe(quiet), 0);
	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	child->inv.tcp_count = 1;
	child->inv.tcp[0].fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(child->inv.tcp[0].fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	assert_int_equal(listen(child->inv.tcp[0].fd, 128), 0);
	getsockname(child->inv.tcp[0].fd, (struct sockaddr *)&sin, &len);
	endpoint_from_sockaddr(&at, (struct sockaddr *)&sin);
	return streams_start(child);
}

static int teardown(void **state)
{
	(void)state;
	while (call_count)
		close(calls[--call_count]);
	for (uint32_t i = 0; i < made; i++)
		if (fd_of[i])
			close(fd_of[i]);
	streams_free(child);
	close(child->inv.tcp[0].fd);
	close(quiet[0]);
	close(quiet[1]);
	loop_free(child->loop);
	free(child);
	return 0;
}

/* Somebody connects. */
static void comes(void)
{
	struct sockaddr_storage ss;
	socklen_t len = endpoint_to_sockaddr(&at, AF_INET, &ss);

	calls[call_count] = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(calls[call_count++], (struct sockaddr *)&ss, len), 0);
	loop_once(child->loop, 1000);
}

static void strangers_of_one_network_get_so_many(void **state)
{
	(void)state;
	for (int i = 0; i < 60; i++)
		comes();
	assert_int_equal(open_now, 32);
}

/* Each of them is proved by a request: they are a peer's, and its affair, but not without end. */
static void a_peer_gets_so_many_and_keeps_its_path(void **state)
{
	uint32_t first;

	(void)state;
	comes();
	first = DP_STREAM_FIRST;
	streams_proved(child, 1, first);
	peers[1].sup.ike = 1;
	peers[1].sup.where.path.sock = first;
	comes();
	streams_proved(child, 2, DP_STREAM_FIRST + 1);
	for (int i = 0; i < 100; i++) {
		comes();
		streams_proved(child, 1, DP_STREAM_FIRST + made - 1);
	}
	assert_in_range(open_now, 2, 10);
	assert_true(fd_of[0] && fd_of[1]); /* what is in use, and what is another's */
	assert_true(fd_of[made - 1]);	   /* the newest is the one that it is about to use */
	peers[1].sup.ike = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(strangers_of_one_network_get_so_many, setup, teardown),
		cmocka_unit_test_setup_teardown(a_peer_gets_so_many_and_keeps_its_path, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
