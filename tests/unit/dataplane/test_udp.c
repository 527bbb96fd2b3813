/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What datagrams become of which the socket alone decides: one data plane, loopback, raw bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "loopback.h"
#include "udp_classify.h"

enum { NATT, IKE500, PORTS };

struct udp {
	struct dp *dp;
	int tun[2], in[PORTS], from;
	struct endpoint at[PORTS], here;
};

static enum dp_io backend;

static int setup(void **state)
{
	struct udp *u = calloc(1, sizeof(*u));
	struct dp_sock socks[PORTS];
	struct dp_config cfg = { .workers = 1,
				 .tun_fds = &u->tun[1],
				 .socks = socks,
				 .sock_count = PORTS,
				 .io = backend,
				 .tun_mtu = 1400,
				 .peers_max = 4 };

	*state = u;
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, u->tun), 0);
	for (int i = 0; i < PORTS; i++)
		u->in[i] = bound(&u->at[i], 0);
	u->from = bound(&u->here, 0);
	socks[NATT] = (struct dp_sock){ u->in[NATT], 0, 0, DP_SOCK_MAIN };
	socks[IKE500] = (struct dp_sock){ u->in[IKE500], 1, 0, DP_SOCK_IKE };
	assert_int_equal(dp_new(&cfg, &u->dp), 0);
	assert_int_equal(dp_start(u->dp), 0);
	return 0;
}

static int teardown(void **state)
{
	struct udp *u = *state;

	dp_free(u->dp);
	for (int i = 0; i < 2; i++)
		close(u->tun[i]);
	for (int i = 0; i < PORTS; i++)
		close(u->in[i]);
	close(u->from);
	free(u);
	return 0;
}

static void put(const struct udp *u, int port, const void *bytes, size_t len)
{
	struct sockaddr_storage to;
	socklen_t n = endpoint_to_sockaddr(&u->at[port], AF_INET, &to);

	assert_int_equal(sendto(u->from, bytes, len, 0, (struct sockaddr *)&to, n), len);
}

/* All that was sent before is dealt with once this comes out; nothing else may have come out. */
static void only_this_is_told(const struct udp *u, int port)
{
	static const uint8_t msg[4 + 28] = { 0, 0, 0, 0, 0x5a };
	size_t skip = port == NATT ? 0 : 4;
	struct dp_event ev;

	put(u, port, msg + skip, sizeof(msg) - skip);
	while (!dp_event_next(u->dp, &ev))
		assert_true(readable(dp_event_fd(u->dp), 5000));
	assert_int_equal(ev.kind, DP_EV_IKE);
	assert_int_equal(ev.len, 28);
	assert_int_equal(ev.data[0], 0x5a);
	assert_int_equal(ev.path.sock, port);
	assert_false(dp_event_next(u->dp, &ev));
}

/* RFC 7296 s3.1: nothing is shorter than a header of 28 bytes, behind the marker of 4 on 4500. */
static void ike_case_001_datagrams_shorter_than_a_header_are_counted_and_not_passed_on(void **state)
{
	static const uint8_t zero[31];
	struct udp *u = *state;
	unsigned runts = 0;

	for (size_t len = 0; len < 28; len++, runts++)
		put(u, IKE500, zero, len);
	only_this_is_told(u, IKE500);
	for (size_t len = 1; len < 32; len++, runts++)
		put(u, NATT, zero, len);
	only_this_is_told(u, NATT);
	assert_true(counts(u->dp, DP_DROP_RUNT, runts));
	assert_int_equal(count(u->dp, DP_IN_IKE), 2);
}

/* RFC 3948 s2.2 and s2.3: for the sake of a NAT on the way, and of no interest to anybody else. */
static void ike_case_002_keepalives_are_counted_and_told_to_nobody(void **state)
{
	struct udp *u = *state;

	for (int i = 0; i < 5; i++) {
		put(u, NATT, "\xff", 1);
		put(u, NATT, "", 0);
	}
	only_this_is_told(u, NATT);
	assert_true(counts(u->dp, DP_IN_KEEPALIVE, 10));
	/* Another byte, or two of them, are no keepalive; nor is it one on 500. */
	put(u, NATT, "\xfe", 1);
	put(u, NATT, "\xff\xff", 2);
	put(u, IKE500, "\xff", 1);
	only_this_is_told(u, IKE500);
	assert_true(counts(u->dp, DP_DROP_RUNT, 3));
	assert_int_equal(count(u->dp, DP_IN_KEEPALIVE), 10);
}

/* RFC 3948 s2.2, RFC 4303 s2.1: 0 is the marker, 1 to 255 are reserved, from 256 on it is ESP. */
static void ike_case_003_a_zero_spi_is_the_marker_and_reserved_ones_are_dropped(void **state)
{
	struct udp *u = *state;
	uint8_t b[200] = { 0 };

	for (unsigned i = 1; i < 256; i++) {
		b[3] = (uint8_t)i;
		put(u, NATT, b, sizeof(b));
		assert_int_equal(UDP_RESERVED, udp_classify(true, b, sizeof(b)));
		assert_int_equal(dp_spi_reserve(u->dp, htonl(i)), -EINVAL);
	}
	only_this_is_told(u, NATT);
	assert_true(counts(u->dp, DP_DROP_SPI, 255));
	b[3] = 0;
	assert_int_equal(UDP_IKE_MARKED, udp_classify(true, b, sizeof(b)));
	b[2] = 1; /* SPI 256 */
	assert_int_equal(UDP_ESP, udp_classify(true, b, sizeof(b)));
	/* 500 knows neither marker nor ESP: all is IKE, and the engine judges it. */
	assert_int_equal(UDP_IKE, udp_classify(false, b, sizeof(b)));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(ike_case_001_datagrams_shorter_than_a_header_are_counted_and_not_passed_on),
		T(ike_case_002_keepalives_are_counted_and_told_to_nobody),
		T(ike_case_003_a_zero_spi_is_the_marker_and_reserved_ones_are_dropped),
	};
	int failed;

	backend = DP_IO_EPOLL;
	failed = cmocka_run_group_tests_name("epoll", tests, NULL, NULL);
	backend = DP_IO_AUTO; /* where io_uring is forbidden this is epoll again */
	failed += cmocka_run_group_tests_name("auto", tests, NULL, NULL);
	return failed != 0;
}
