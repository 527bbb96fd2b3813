/* SPDX-License-Identifier: GPL-3.0-or-later */
/* TCP encapsulation between two data planes over loopback, and what strangers make of a connection. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdlib.h>

#include "clock.h"
#include "cloak.h"
#include "dp.h"
#include "frame.h"
#include "loopback.h"
#include "packets.h"
#include "stream.h"

static enum dp_io backend;
static unsigned workers = 1;
static bool tls;
static const uint8_t key[2][36] = { { 1, 2, 3 }, { 4, 5, 6 } };

struct end {
	struct dp *dp;
	int tun[2][2], sock;
	struct endpoint at;
	uint32_t spi, stream;
};

struct world {
	struct end e[2];
	struct cloak_ctx *server, *client;
};

static void make_end(struct end *e)
{
	struct dp_sock sock;
	int tuns[2];
	struct dp_config cfg = { .workers = workers,
				 .tun_fds = tuns,
				 .socks = &sock,
				 .sock_count = 1,
				 .io = backend,
				 .tun_mtu = 1400,
				 .peers_max = 8 };

	for (unsigned i = 0; i < workers; i++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, e->tun[i]), 0);
		tuns[i] = e->tun[i][1];
	}
	e->sock = bound(&e->at, 0);
	sock = (struct dp_sock){ e->sock, 0, 0, DP_SOCK_MAIN };
	assert_int_equal(dp_new(&cfg, &e->dp), 0);
	assert_int_equal(dp_start(e->dp), 0);
	for (unsigned i = 0; i < workers; i++) /* the last worker's: handed over where there are two */
		assert_int_equal(dp_spi_alloc(e->dp, &e->spi), 0);
}

static void pair(int fd[2])
{
	struct sockaddr_in sin = { .sin_family = AF_INET };
	socklen_t len = sizeof(sin);
	int l = socket(AF_INET, SOCK_STREAM, 0);

	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(l, (struct sockaddr *)&sin, sizeof(sin)), 0);
	assert_int_equal(listen(l, 4), 0);
	getsockname(l, (struct sockaddr *)&sin, &len);
	fd[0] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	(void)connect(fd[0], (struct sockaddr *)&sin, sizeof(sin));
	fd[1] = accept4(l, NULL, NULL, SOCK_NONBLOCK);
	assert_true(fd[1] >= 0);
	close(l);
}

static uint32_t add(struct end *e, int fd, bool accepted, struct cloak_ctx *cloak)
{
	struct dp_stream s = { .fd = fd, .accepted = accepted, .cloak = cloak, .name = "x.test" };
	struct sockaddr_in sin;
	socklen_t len = sizeof(sin);
	uint32_t n;

	getsockname(fd, (struct sockaddr *)&sin, &len);
	endpoint_from_sockaddr(&s.local, (struct sockaddr *)&sin);
	len = sizeof(sin);
	getpeername(fd, (struct sockaddr *)&sin, &len);
	endpoint_from_sockaddr(&s.remote, (struct sockaddr *)&sin);
	assert_int_equal(dp_stream_add(e->dp, &s, &n), 0);
	return n;
}

/* The control threads' turns, until @kind comes at @e. */
static bool until(struct world *w, struct end *e, enum dp_event_kind kind, struct dp_event *ev)
{
	for (int i = 0; i < PATIENCE_MS / 5; i++) {
		dp_stream_poll(w->e[0].dp);
		dp_stream_poll(w->e[1].dp);
		while (dp_event_next(e->dp, ev)) {
			if (ev->kind == kind)
				return true;
		}
		usleep(5000);
	}
	return false;
}

static struct dp_ts any(void)
{
	struct dp_ts t = { .port_to = 65535 };

	addr_parse("10.0.0.0", &t.from);
	addr_parse("10.0.255.255", &t.to);
	return t;
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	char why[128];

	*state = w;
	make_end(&w->e[0]);
	make_end(&w->e[1]);
	if (tls) {
		assert_int_equal(cloak_server(NULL, 0, NULL, 0, &w->server, why, sizeof(why)), 0);
		w->client = cloak_client();
		assert_non_null(w->client);
	}
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	for (int i = 0; i < 2; i++) {
		dp_free(w->e[i].dp);
		close(w->e[i].sock);
		for (unsigned k = 0; k < workers; k++) {
			close(w->e[i].tun[k][0]);
			close(w->e[i].tun[k][1]);
		}
	}
	cloak_ctx_free(w->server);
	cloak_ctx_free(w->client);
	free(w);
	return 0;
}

static void install(struct world *w, int i)
{
	struct dp_ts t = any();
	struct dp_path path = { .sock = w->e[i].stream, .remote = w->e[!i].at };
	struct dp_sa sa = { .peer = 1,
			    .spi = w->e[i].spi,
			    .generation = 1,
			    .cipher = DP_AES_256_GCM_16,
			    .key = key[!i],
			    .key_len = 36,
			    .esn = true,
			    .local = &t,
			    .local_count = 1,
			    .remote = &t,
			    .remote_count = 1 };
	struct dp_stream_info info;

	assert_true(dp_stream_info(w->e[i].dp, w->e[i].stream, &info));
	path.remote = info.remote;
	assert_int_equal(dp_peer_set(w->e[i].dp, 1, &path, false, 0), 0);
	assert_int_equal(dp_sa_install_in(w->e[i].dp, &sa), 0);
	sa.spi = w->e[!i].spi;
	sa.key = key[i];
	assert_int_equal(dp_sa_install_out(w->e[i].dp, &sa), 0);
}

/* Connected, one IKE message each way, trusted. */
static void bring_up(struct world *w)
{
	static const uint8_t init[28] = { 1, [17] = 0x20, [18] = 34, [19] = 8, [27] = 28 };
	struct dp_path path = { 0 };
	struct dp_event ev;
	int fd[2];

	pair(fd);
	w->e[0].stream = add(&w->e[0], fd[0], false, w->client);
	w->e[1].stream = add(&w->e[1], fd[1], true, w->server);
	assert_true(until(w, &w->e[0], DP_EV_STREAM_OPEN, &ev));
	assert_int_equal(ev.path.sock, w->e[0].stream);
	for (int i = 0; i < 2; i++) {
		path.sock = w->e[i].stream;
		assert_int_equal(dp_send_ike(w->e[i].dp, &path, init, sizeof(init)), 0);
		assert_true(until(w, &w->e[!i], DP_EV_IKE, &ev));
		assert_int_equal(ev.path.sock, w->e[!i].stream);
		assert_int_equal(ev.len, sizeof(init));
		assert_memory_equal(ev.data, init, sizeof(init));
		assert_false(ev.opening);
	}
	for (int i = 0; i < 2; i++) {
		struct dp_path none = { .sock = 0, .remote = w->e[!i].at };

		assert_int_equal(dp_peer_set(w->e[i].dp, 1, &none, false, 0), 0);
		assert_int_equal(dp_stream_trust(w->e[i].dp, w->e[i].stream, 1), 0);
		install(w, i);
	}
}

static size_t tun_read(struct end *e, uint8_t *buf, int ms)
{
	struct pollfd p[2] = { { .fd = e->tun[0][0], .events = POLLIN },
			       { .fd = workers > 1 ? e->tun[1][0] : -1, .events = POLLIN } };

	if (poll(p, 2, ms) <= 0)
		return 0;
	return (size_t)read(p[p[0].revents ? 0 : 1].fd, buf, 65536);
}

static const struct made inner = { 4, PKT_UDP, 0x0a000001, 0x0a000002, 7, 8, 1, 0, 1, 0, 0 };

static bool passes(struct world *w, int from, size_t payload, unsigned seq)
{
	uint8_t want[2000], got[65536];
	struct made m = inner;
	size_t len;

	m.seq = seq;
	len = make_packet(&m, want, payload);
	assert_int_equal(write(w->e[from].tun[seq % workers][0], want, len), len);
	return tun_read(&w->e[!from], got, PATIENCE_MS) == len && !memcmp(got, want, len);
}

static void packets_pass_both_ways(void **state)
{
	struct world *w = *state;
	struct dp_event ev;

	bring_up(w);
	for (unsigned i = 0; i < 300; i++)
		assert_true(passes(w, i & 1, i * 13 % 1340, i));
	assert_true(wait_event(w->e[1].dp, DP_EV_FIRST_IN, &ev));
	assert_int_equal(ev.path.sock, w->e[1].stream);
	assert_int_equal(count(w->e[0].dp, DP_DROP_SEND), 0);
}

static void ike_passes_beside_data(void **state)
{
	struct world *w = *state;
	uint8_t *msg = calloc(1, 16384);
	struct dp_path path = { 0 };
	struct dp_event ev;

	bring_up(w);
	for (int i = 0; i < 20; i++) {
		path.sock = w->e[i & 1].stream;
		msg[0] = (uint8_t)(i + 1);
		assert_int_equal(dp_send_ike(w->e[i & 1].dp, &path, msg, 28u + (size_t)i * 800), 0);
		assert_true(passes(w, i & 1, 100, (unsigned)i));
		assert_true(until(w, &w->e[!(i & 1)], DP_EV_IKE, &ev));
		assert_int_equal(ev.len, 28 + i * 800);
		assert_int_equal(ev.data[0], i + 1);
	}
	free(msg);
}

static void a_burst_is_not_cut(void **state)
{
	struct world *w = *state;
	uint8_t p[2000], got[65536];
	unsigned sent = 0, came = 0;

	bring_up(w);
	for (unsigned round = 0; round < 40; round++) {
		for (unsigned i = 0; i < 8; i++) {
			size_t len = make_packet(&inner, p, 1300);

			sent += write(w->e[0].tun[0][0], p, len) == (ssize_t)len;
		}
		while (came < sent && tun_read(&w->e[1], got, PATIENCE_MS))
			came++;
	}
	assert_int_equal(came, sent);
}

static void a_closed_stream_is_told_and_carries_nothing(void **state)
{
	struct world *w = *state;
	struct dp_path path = { .sock = 0 };
	struct dp_event ev;

	bring_up(w);
	path.sock = w->e[1].stream;
	dp_stream_close(w->e[0].dp, w->e[0].stream);
	assert_true(until(w, &w->e[1], DP_EV_STREAM_GONE, &ev));
	assert_int_equal(ev.path.sock, w->e[1].stream);
	assert_int_equal(dp_send_ike(w->e[1].dp, &path, key, 36), -ENOTCONN);
	assert_int_equal(dp_peer_set(w->e[0].dp, 1,
				     &(struct dp_path){ .sock = w->e[0].stream,
							.remote = w->e[1].at },
				     false, 0),
			 -ENOTCONN);
	/* The path back to datagrams is another entry, and the stream is forgotten behind it. */
	path = (struct dp_path){ .sock = 0, .remote = w->e[0].at };
	dp_stream_close(w->e[1].dp, w->e[1].stream);
	assert_int_equal(dp_peer_set(w->e[1].dp, 1, &path, false, 0), 0);
	path.remote = w->e[1].at;
	assert_int_equal(dp_peer_set(w->e[0].dp, 1, &path, false, 0), 0);
	assert_true(passes(w, 0, 100, 0));
	assert_true(passes(w, 1, 100, 2));
}

static void raw(int fd, const void *p, size_t len)
{
	assert_int_equal(send(fd, p, len, MSG_NOSIGNAL), len);
}

/* Every way to be no Postern ends the connection, quietly. */
static void strangers_are_hung_up_on(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		int error;
	} say[] = { { "GET / HTTP/1.1\r\n\r\n", 18, EBADMSG },
		    { "\x16\x03\x01\x02\x00\x01", 6, EBADMSG },
		    { "IKETCP\0\0", 8, EBADMSG },
		    { "IKETCP\0\1", 8, EBADMSG },
		    { "IKETCP\xff\xff", 8, EBADMSG }, /* longer than an IKE message */
		    { "IKETC", 0, ECONNRESET } };
	struct world *w = *state;
	struct dp_event ev;
	char c;

	for (size_t i = 0; i < sizeof(say) / sizeof(*say); i++) {
		int fd[2];
		uint32_t n;

		pair(fd);
		n = add(&w->e[1], fd[1], true, NULL);
		if (say[i].len)
			raw(fd[0], say[i].bytes, say[i].len);
		else
			shutdown(fd[0], SHUT_WR);
		assert_true(until(w, &w->e[1], DP_EV_STREAM_GONE, &ev));
		assert_int_equal(ev.path.sock, n);
		assert_int_equal(ev.icmp_errno, say[i].error);
		dp_stream_close(w->e[1].dp, n);
		assert_true(readable(fd[0], PATIENCE_MS));
		assert_true(recv(fd[0], &c, 1, 0) <= 0);
		close(fd[0]);
	}
}

static void a_message_may_come_byte_by_byte(void **state)
{
	struct world *w = *state;
	uint8_t m[8 + 4 + 28] = "IKETCP";
	struct dp_event ev;
	int fd[2];

	frame_head(m + 6, 32);
	m[12] = 1;
	pair(fd);
	(void)add(&w->e[1], fd[1], true, NULL);
	for (size_t i = 0; i < sizeof(m); i++) {
		raw(fd[0], m + i, 1);
		usleep(1000);
		dp_stream_poll(w->e[1].dp);
	}
	assert_true(until(w, &w->e[1], DP_EV_IKE, &ev));
	assert_int_equal(ev.len, 28);
	close(fd[0]);
}

static void esp_of_a_stranger_goes_nowhere(void **state)
{
	struct world *w = *state;
	uint8_t m[8 + 60] = "IKETCP";
	int fd[2];

	frame_head(m + 6, 60);
	m[8] = 7;
	pair(fd);
	(void)add(&w->e[1], fd[1], true, NULL);
	raw(fd[0], m, sizeof(m));
	for (int i = 0; i < 30000 && !count(w->e[1].dp, DP_DROP_STREAM_YOUNG); i++) {
		dp_stream_poll(w->e[1].dp);
		usleep(1000);
	}
	assert_int_equal(count(w->e[1].dp, DP_DROP_STREAM_YOUNG), 1);
	close(fd[0]);
}

static void who_does_not_authenticate_has_ten_seconds(void **state)
{
	struct world *w = *state;
	struct dp_event ev;
	uint64_t began = clock_boot_ms();
	uint32_t n;
	int fd[2];

	pair(fd);
	n = add(&w->e[1], fd[1], true, w->server);
	dp_stream_sweep(w->e[1].dp, began + DP_STREAM_YOUNG_MS - 1);
	assert_false(dp_event_next(w->e[1].dp, &ev));
	dp_stream_sweep(w->e[1].dp, clock_boot_ms() + DP_STREAM_YOUNG_MS);
	assert_true(until(w, &w->e[1], DP_EV_STREAM_GONE, &ev));
	assert_int_equal(ev.path.sock, n);
	assert_int_equal(ev.icmp_errno, ETIMEDOUT);
	close(fd[0]);
}

/* Nobody reads: what does not fit is dropped, the TUN goes on, and in the end the stream is over. */
static void a_slow_reader_holds_nobody_up(void **state)
{
	struct world *w = *state;
	uint8_t p[2000];
	struct dp_event ev;
	struct stream *s;
	int fd[2], small = 4096;

	bring_up(w);
	pair(fd);
	setsockopt(fd[1], SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	dp_stream_close(w->e[0].dp, w->e[0].stream);
	w->e[0].stream = add(&w->e[0], fd[0], false, NULL);
	assert_true(until(w, &w->e[0], DP_EV_STREAM_OPEN, &ev));
	assert_int_equal(dp_stream_trust(w->e[0].dp, w->e[0].stream, 1), 0);
	assert_int_equal(dp_peer_set(w->e[0].dp, 1,
				     &(struct dp_path){ .sock = w->e[0].stream,
							.remote = w->e[1].at },
				     false, 0),
			 0);
	for (int i = 0; i < 100000 && !count(w->e[0].dp, DP_DROP_STREAM_FULL); i++) {
		size_t len = make_packet(&inner, p, 1300);

		assert_int_equal(write(w->e[0].tun[0][0], p, len), len);
	}
	assert_true(count(w->e[0].dp, DP_DROP_STREAM_FULL) > 0);
	s = stream_find(w->e[0].dp, w->e[0].stream);
	pthread_mutex_lock(&s->lock);
	assert_true(s->out_len <= s->out_cap);
	pthread_mutex_unlock(&s->lock);
	dp_stream_sweep(w->e[0].dp, clock_boot_ms() + DP_STREAM_STUCK_MS + 1000);
	assert_true(until(w, &w->e[0], DP_EV_STREAM_GONE, &ev));
	assert_int_equal(ev.path.sock, w->e[0].stream);
	close(fd[1]);
}

static void a_trusted_stream_that_breaks_its_frames_ends(void **state)
{
	struct world *w = *state;
	struct dp_event ev;
	struct dp_path path = { .sock = 0, .remote = w->e[0].at };
	uint32_t n;
	int fd[2];

	pair(fd);
	n = add(&w->e[1], fd[1], true, NULL);
	raw(fd[0], "IKETCP", 6);
	assert_int_equal(dp_peer_set(w->e[1].dp, 1, &path, false, 0), 0);
	for (int i = 0; i < 30000 && dp_stream_trust(w->e[1].dp, n, 1); i++) {
		dp_stream_poll(w->e[1].dp);
		usleep(1000);
	}
	raw(fd[0], "\0\1", 2);
	assert_true(until(w, &w->e[1], DP_EV_STREAM_GONE, &ev));
	assert_int_equal(ev.path.sock, n);
	assert_int_equal(ev.icmp_errno, EBADMSG);
	close(fd[0]);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static int run(const char *name)
{
	const struct CMUnitTest tests[] = {
		T(packets_pass_both_ways),
		T(ike_passes_beside_data),
		T(a_burst_is_not_cut),
		T(a_closed_stream_is_told_and_carries_nothing),
		T(who_does_not_authenticate_has_ten_seconds),
		T(a_slow_reader_holds_nobody_up),
	};

	return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int main(void)
{
	const struct CMUnitTest plain[] = {
		T(strangers_are_hung_up_on),
		T(a_message_may_come_byte_by_byte),
		T(esp_of_a_stranger_goes_nowhere),
		T(a_trusted_stream_that_breaks_its_frames_ends),
	};
	int failed = 0;

	backend = DP_IO_EPOLL;
	failed += run("epoll");
	failed += cmocka_run_group_tests(plain, NULL, NULL);
	tls = true;
	failed += run("epoll, TLS");
	backend = DP_IO_AUTO;
	failed += run("io_uring, TLS");
	workers = 2;
	failed += run("io_uring, TLS, two workers");
	tls = false;
	failed += run("io_uring, two workers");
	workers = 1;
	failed += run("io_uring");
	return failed;
}
