/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a peer or a path may have of a running data plane, and no more: sizes, rates, limits of SAs, errors told. As
 * in test_worker.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "dp.h"
#include "loopback.h"
#include "packets.h"
#include "pair.h"

static void a_flood_of_icmp_errors_becomes_few_hints(void **state)
{
	struct world *w = *state;
	struct endpoint closed = { .port = 0 };
	struct dp_path path = { .sock = 0 };
	uint64_t began = clock_boot_ms();
	struct dp_event ev;
	unsigned hints = 0;

	close(bound(&closed, 0));
	path.remote = closed;
	for (int i = 0; i < 400; i++) {
		(void)dp_send_ike(w->e[0].dp, &path, "no one is there", 15);
		usleep(500);
	}
	usleep(100000);
	while (dp_event_next(w->e[0].dp, &ev))
		hints += ev.kind == DP_EV_ICMP;
	/* 64 in a second, and the flood may last into another one. */
	assert_in_range(hints, 1, (2 + (clock_boot_ms() - began) / 1000) * 64 * w->workers);
	assert_true(count(w->e[0].dp, DP_RECV_ERROR) > 0);
}

static void an_unvalidated_address_gets_three_times_what_it_sent(void **state)
{
	struct world *w = *state;
	struct dp_path path = { .sock = 0, .remote = w->e[1].at };
	uint8_t got[65536];

	assert_int_equal(dp_peer_set(w->e[0].dp, 1, &path, true, 100), 0);
	assert_true(through(w, 0, &inner, 100, got) > 0);
	assert_true(nothing_through(w, 0, &inner, 100));
	assert_true(counts(w->e[0].dp, DP_DROP_BUDGET, 1));
	/* The same tuple once more, by another message from it: that counts beside what came before. */
	assert_int_equal(dp_peer_set(w->e[0].dp, 1, &path, true, 50), 0);
	assert_true(through(w, 0, &inner, 100, got) > 0);
	assert_true(nothing_through(w, 0, &inner, 100));
	assert_true(counts(w->e[0].dp, DP_DROP_BUDGET, 2));
	assert_true(through(w, 1, &inner, 1000, got) > 0); /* it speaks: more may go */
	assert_true(through(w, 0, &inner, 100, got) > 0);
	assert_int_equal(dp_peer_set(w->e[0].dp, 1, &path, false, 0), 0);
	for (int i = 0; i < 10; i++)
		assert_true(through(w, 0, &inner, 1000, got) > 0);
}

static void limits_are_told_once_and_the_hard_one_holds(void **state)
{
	struct world *w = *state;
	struct dp_ts t = any();
	struct dp_sa out = sa_of(w, 0, &t);
	struct dp_event ev;
	uint8_t got[65536];

	dp_sa_remove_out(w->e[0].dp, 1, w->e[1].spi);
	out.soft_pkts = 2;
	out.hard_bytes = 400;
	assert_int_equal(dp_sa_install_out(w->e[0].dp, &out), 0);
	assert_int_equal(dp_sa_install_out(w->e[0].dp, &out), -EEXIST);
	assert_true(through(w, 0, &inner, 100, got) > 0);
	assert_true(through(w, 0, &inner, 100, got) > 0);
	assert_true(wait_event(w->e[0].dp, DP_EV_REKEY, &ev));
	assert_true(ev.outbound);
	assert_int_equal(ev.spi, w->e[1].spi);
	assert_true(through(w, 0, &inner, 100, got) > 0);
	assert_true(through(w, 0, &inner, 100, got) > 0);
	assert_true(nothing_through(w, 0, &inner, 100));
	assert_true(wait_event(w->e[0].dp, DP_EV_EXPIRED, &ev));
	assert_true(counts(w->e[0].dp, DP_DROP_HARD_LIMIT, 1));
}

/* With a path of 1280 an inner packet may have 1218 bytes: 1280 - 28, 16 before and 16 behind, 2 of trailer. */
static void what_does_not_fit_the_peer_is_answered(void **state)
{
	struct world *w = *state;
	uint8_t got[65536], p[2000];
	struct made m = inner;
	size_t len = make_packet(&m, p, 1191), n;

	assert_int_equal(dp_peer_set_mtu(w->e[0].dp, 1, 1280), 0);
	assert_int_equal(dp_peer_inner_mtu(w->e[0].dp, 1), 1218);
	assert_int_equal(through(w, 0, &m, 1190, got), 1218);
	assert_true(nothing_through(w, 0, &m, 1191));
	n = tun_read(w, &w->e[0], got, PATIENCE_MS);
	assert_int_equal(n, 28 + 548);
	assert_int_equal(got[9], PKT_ICMP);
	assert_int_equal(get16(got + 26), 1218);
	assert_memory_equal(got + 28 + 20, p + 20, 548 - 20);
	assert_int_equal(len, 1219);
	assert_int_equal(count(w->e[0].dp, DP_DROP_INNER_BIG), 1);
	/* The other way nothing is known, so nothing is refused; and 0 means not known again. */
	assert_int_equal(through(w, 1, &m, 1300, got), 1328);
	assert_int_equal(dp_peer_set_mtu(w->e[0].dp, 1, 0), 0);
	assert_int_equal(through(w, 0, &m, 1300, got), 1328);
	assert_int_equal(dp_peer_set_mtu(w->e[0].dp, 7, 1280), -ENOENT);
}

static void tcp_that_does_not_fit_arrives_in_smaller_segments(void **state)
{
	struct world *w = *state;
	struct made m = inner;
	uint8_t got[65536];
	size_t total = 0, n;

	m.proto = PKT_TCP;
	m.flags = 0x10;
	m.seq = 1000;
	assert_int_equal(dp_peer_set_mtu(w->e[0].dp, 1, 1280), 0);
	put_in(w, 0, &m, 1300);
	while (total < 1300) {
		n = tun_read(w, &w->e[1], got, PATIENCE_MS);
		assert_true(n > 40 && n <= 1218);
		assert_int_equal(get32(got + 24), m.seq + total);
		assert_int_equal(naive_l4(got, 20, n, PKT_TCP), 0);
		total += n - 40;
	}
	assert_int_equal(total, 1300);
	n = tun_read(w, &w->e[0], got, PATIENCE_MS); /* and its sender is told */
	assert_int_equal(got[9], PKT_ICMP);
	assert_int_equal(get16(got + 26), 1218);
}

static void ipv4_that_may_be_fragmented_is_not_refused(void **state)
{
	struct world *w = *state;
	uint8_t got[65536], p[2000];
	struct made m = inner;
	size_t len = make_packet(&m, p, 1300), total = 0;

	p[6] = 0;
	csum_ipv4_header(p);
	assert_int_equal(dp_peer_set_mtu(w->e[0].dp, 1, 1280), 0);
	assert_int_equal(write(w->e[0].tun[m.sport % w->workers][0], p, len), len);
	while (total < len - 20) {
		size_t n = tun_read(w, &w->e[1], got, PATIENCE_MS);

		assert_true(n > 20 && n <= 1218);
		assert_memory_equal(got + 20, p + 20 + get16(got + 6) % 0x2000 * 8, n - 20);
		total += n - 20;
	}
	assert_int_equal(count(w->e[0].dp, DP_OUT_FRAGMENTED), 1);
	assert_int_equal(count(w->e[0].dp, DP_TOO_BIG_TOLD), 0);
}

static void tcp_that_repeats_itself_is_told(void **state)
{
	struct world *w = *state;
	struct made m = inner;
	struct dp_event ev;
	uint8_t got[65536];

	m.proto = PKT_TCP;
	m.flags = 0x10;
	for (int i = 0; i < 3; i++, m.seq += 1000)
		assert_int_equal(through(w, 0, &m, 1000, got), 1040);
	while (dp_event_next(w->e[0].dp, &ev))
		assert_int_not_equal(ev.kind, DP_EV_STALLED);
	m.seq -= 2000;
	assert_int_equal(through(w, 0, &m, 1000, got), 1040);
	assert_true(wait_event(w->e[0].dp, DP_EV_STALLED, &ev));
	assert_int_equal(ev.peer, 1);
	/* Small ones, such as a keepalive of TCP, say nothing about size. */
	usleep(600000);
	m.seq--;
	assert_int_equal(through(w, 0, &m, 1, got), 41);
	while (dp_event_next(w->e[0].dp, &ev))
		assert_int_not_equal(ev.kind, DP_EV_STALLED);
}

/* Of other packets nobody can tell: the more of them leave, the sooner the path is looked at. */
static void many_large_packets_are_told_within_two_seconds(void **state)
{
	struct world *w = *state;
	struct dp_event ev;
	uint8_t got[65536];
	uint64_t began;

	assert_int_equal(through(w, 0, &inner, 1000, got), 1028);
	assert_true(wait_event(w->e[0].dp, DP_EV_STALLED, &ev)); /* the first ever */
	began = clock_boot_ms();
	for (int i = 0; i < 100; i++)
		assert_int_equal(through(w, 0, &inner, 1000, got), 1028);
	began = clock_boot_ms() - began;
	usleep(1600000);
	for (int i = 0; i < 100; i++)
		assert_int_equal(through(w, 0, &inner, 100, got), 128);
	while (dp_event_next(w->e[0].dp, &ev))
		assert_true(ev.kind != DP_EV_STALLED ||
			    began > 1000); /* unless it stood still among them */
	assert_int_equal(through(w, 0, &inner, 1000, got), 1028);
	assert_true(wait_event(w->e[0].dp, DP_EV_STALLED, &ev));
	usleep(1600000); /* a few may wait */
	for (int i = 0; i < 30; i++)
		assert_int_equal(through(w, 0, &inner, 1000, got), 1028);
	while (dp_event_next(w->e[0].dp, &ev))
		assert_int_not_equal(ev.kind, DP_EV_STALLED);
}

/* What arrives at @e of @n packets, of which @dp drops the rest for @v: when each is one or the other. */
static unsigned arrive(struct world *w, struct end *e, struct dp *dp, enum dp_verdict v, unsigned n)
{
	uint8_t got[65536];
	unsigned sent = 0;

	for (int i = 0; i < 600 && sent + count(dp, v) < n; i++)
		while (tun_read(w, e, got, 50))
			sent++;
	assert_int_equal(sent + count(dp, v), n);
	return sent;
}

static void a_peer_above_its_rate_waits_or_loses_the_rest(void **state)
{
	struct world *w = *state;
	uint64_t began = clock_boot_ms();
	struct dp_activity a;
	struct made m = inner;
	uint8_t got[65536];
	unsigned sent;

	/* 400 kbit/s: 20 packets of a kilobyte take 0.4 s; they wait, or two or three of them would arrive. CoDel sees a
	 * queue that stands: some of them are marked. */
	m.ecn = 2;
	assert_int_equal(dp_peer_set_rate(w->e[0].dp, 1, 400000, 0), 0);
	for (int i = 0; i < 20; i++)
		put_in(w, 0, &m, 1000);
	assert_int_equal(arrive(w, &w->e[1], w->e[0].dp, DP_DROP_QUEUE_LONG, 20), 20);
	assert_true(clock_boot_ms() - began >= 300);
	assert_int_equal(dp_peer_activity(w->e[0].dp, 1, &a), 0);
	assert_true(a.tx_limited_pkts > 0);
	/* The other way is another bucket, at the end that receives. */
	began = clock_boot_ms();
	assert_int_equal(dp_peer_set_rate(w->e[0].dp, 1, 0, 8000), 0);
	assert_int_equal(through(w, 0, &m, 1000, got), 1028);
	for (int i = 0; i < 20; i++)
		put_in(w, 1, &m, 1000);
	sent = arrive(w, &w->e[0], w->e[0].dp, DP_DROP_RATE_IN, 20);
	assert_in_range(sent, 4, 7 + (clock_boot_ms() - began) / 1000);
}

static void what_stands_makes_room_when_all_buffers_hold_it(void **state)
{
	struct world *w = *state;
	struct made m = inner;

	/* 1 kbit/s: two of a kilobyte leave at once, the next in four seconds; 32 stand, as many as there are buffers. */
	assert_int_equal(dp_peer_set_rate(w->e[0].dp, 1, 1000, 0), 0);
	for (int i = 0; i < 34; i++)
		put_in(w, 0, &m, 1000);
	usleep(50000);
	/* Whatever turns the worker: it reads again, for what has stood too long. */
	assert_int_equal(dp_send_dummy(w->e[0].dp, 1, NULL), 0);
	for (int i = 0; i < 3000 && !count(w->e[0].dp, DP_DROP_QUEUE_FULL); i++)
		usleep(10000);
	assert_true(count(w->e[0].dp, DP_DROP_QUEUE_FULL) > 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_flood_of_icmp_errors_becomes_few_hints),
		T(an_unvalidated_address_gets_three_times_what_it_sent),
		T(limits_are_told_once_and_the_hard_one_holds),
		T(what_does_not_fit_the_peer_is_answered),
		T(tcp_that_does_not_fit_arrives_in_smaller_segments),
		T(ipv4_that_may_be_fragmented_is_not_refused),
		T(tcp_that_repeats_itself_is_told),
		T(many_large_packets_are_told_within_two_seconds),
		T(a_peer_above_its_rate_waits_or_loses_the_rest),
		T(what_stands_makes_room_when_all_buffers_hold_it),
	};
	static const struct {
		const char *name;
		enum dp_io io; /* AUTO: where io_uring is forbidden this is epoll again */
		unsigned workers;
	} with[] = { { "epoll, one worker", DP_IO_EPOLL, 1 },
		     { "epoll, two workers", DP_IO_EPOLL, 2 },
		     { "auto, one worker", DP_IO_AUTO, 1 },
		     { "auto, two workers", DP_IO_AUTO, 2 } };
	int failed = 0;

	for (size_t i = 0; i < sizeof(with) / sizeof(*with); i++) {
		backend = with[i].io;
		workers_wanted = with[i].workers;
		failed += cmocka_run_group_tests_name(with[i].name, tests, NULL, NULL);
	}
	return failed != 0;
}
