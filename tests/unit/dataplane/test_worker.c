/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Two data planes in one process: their TUNs are socket pairs, their sockets loopback. What a TUN
 * device and a network add is tested by tests/netns/dataplane.py.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "dp.h"
#include "esp.h"
#include "loopback.h"
#include "packets.h"
#include "pair.h"
#include "probe.h"
#include "worker.h"

static void packets_arrive_as_they_were_sent(void **state)
{
	struct world *w = *state;
	uint8_t got[65536], want[2000];
	struct dp_activity a;
	struct dp_event ev;
	struct made m = inner;

	for (int i = 0; i < 200; i++) {
		size_t payload = (size_t)(i * 7 % 1300), n;

		m.seq = (uint32_t)i;
		m.sport = (uint16_t)i;
		n = through(w, i & 1, &m, payload, got);
		assert_int_equal(n, make_packet(&m, want, payload));
		assert_memory_equal(got, want, n);
	}
	assert_true(wait_event(w->e[1].dp, DP_EV_FIRST_IN, &ev));
	assert_int_equal(ev.spi, w->e[1].spi);
	assert_int_equal(ev.peer, 1);
	assert_int_equal(dp_peer_activity(w->e[0].dp, 1, &a), 0);
	assert_int_equal(a.tx_pkts, 100);
	assert_int_equal(a.rx_pkts, 100);
	assert_true(a.tx_data_ms && a.rx_auth_ms && a.rx_path_bytes);
}

/* A socket was refused it; the others are armed as they were, and what comes by them is read so. */
static void a_receive_is_read_as_it_was_armed(void **state)
{
	struct world *w = *state;
	uint8_t got[65536], want[2000];
	size_t n = make_packet(&inner, want, 500);

	assert_int_equal(through(w, 0, &inner, 500, got), n); /* all is armed */
	for (unsigned i = 0; i < w->workers; i++)
		w->e[1].dp->worker[i]->features &= ~(unsigned)DP_F_RECV_MULTI;
	for (int i = 0; i < 20; i++) {
		assert_int_equal(through(w, 0, &inner, 500, got), n);
		assert_memory_equal(got, want, n);
	}
}

static void a_burst_arrives_in_order(void **state)
{
	struct world *w = *state;
	uint8_t p[2000], got[65536];
	struct made m = inner;
	int sent = 0;

	for (int i = 0; i < 400; i++) {
		m.id = (uint16_t)i;
		if (send(w->e[0].tun[0][0], p, make_packet(&m, p, 1200), 0) > 0)
			sent++;
		if (i % 8 != 7)
			continue;
		for (int k = 0; k < 8; k++) {
			assert_true(tun_read(w, &w->e[1], got, PATIENCE_MS));
			assert_int_equal(get16(got + 4), i - 7 + k);
		}
	}
	assert_int_equal(sent, 400);
}

static void what_no_selector_allows_goes_nowhere(void **state)
{
	struct world *w = *state;
	struct made m = inner;

	m.dst = 0x0b000002;
	assert_true(nothing_through(w, 0, &m, 10));
	assert_true(counts(w->e[0].dp, DP_DROP_NO_POLICY, 1));
}

static void a_replayed_packet_is_dropped(void **state)
{
	struct world *w = *state;
	uint8_t pkt[200], text[64] = { 0 }, got[65536];
	struct sockaddr_storage to;
	struct esp_key k;
	socklen_t len = endpoint_to_sockaddr(&w->e[1].at, AF_INET, &to);
	struct dp_event ev;
	size_t n = make_packet(&inner, text, 10);
	int fd;

	assert_int_equal(esp_key_init(&k, DP_AES_256_GCM_16, key[0], w->e[1].spi, true, true), 0);
	assert_int_equal(esp_seal(&k, 5, ESP_NH_IPV4, text, n, pkt), 0);
	n = esp_len(&k.shape, n);
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	sendto(fd, pkt, n, 0, (struct sockaddr *)&to, len);
	assert_int_equal(tun_read(w, &w->e[1], got, PATIENCE_MS), 38);
	/* It came from another tuple than the peer's: told, once, and the peer has not moved. */
	assert_true(wait_event(w->e[1].dp, DP_EV_ENDPOINT, &ev));
	assert_true(ev.newest && !ev.dummy && !endpoint_eq(&ev.path.remote, &w->e[0].at));
	sendto(fd, pkt, n, 0, (struct sockaddr *)&to, len);
	assert_true(counts(w->e[1].dp, DP_DROP_REPLAY, 1));
	pkt[n - 1] ^= 1;
	pkt[7] = 6;
	sendto(fd, pkt, n, 0, (struct sockaddr *)&to, len);
	assert_true(counts(w->e[1].dp, DP_DROP_ICV, 1));
	/* An older one that was not seen is data, but says nothing about where the peer is. */
	n = make_packet(&inner, text, 10);
	assert_int_equal(esp_seal(&k, 4, ESP_NH_IPV4, text, n, pkt), 0);
	usleep(100000);
	sendto(fd, pkt, esp_len(&k.shape, n), 0, (struct sockaddr *)&to, len);
	assert_int_equal(tun_read(w, &w->e[1], got, PATIENCE_MS), 38);
	assert_false(dp_event_next(w->e[1].dp, &ev) && ev.kind == DP_EV_ENDPOINT);
	close(fd);
	esp_key_clear(&k);
}

/* The hop socket is read by worker 0; the SPI may be another's. */
static void a_packet_on_a_socket_of_another_worker_arrives(void **state)
{
	struct world *w = *state;
	uint8_t p[200], got[65536];
	size_t n = make_packet(&inner, p, 10);
	struct dp_ts t = any();
	struct dp_event ev;

	for (unsigned i = 0; i < w->workers; i++) {
		struct dp_sa in = sa_of(w, 0, &t);

		assert_int_equal(dp_spi_alloc(w->e[1].dp, &in.spi), 0);
		in.generation = 2 + i;
		assert_int_equal(dp_sa_install_in(w->e[1].dp, &in), 0);
		for (uint64_t seq = 1; seq < 40; seq++) {
			inject_at(&w->e[1].hop, in.spi, seq, ESP_NH_IPV4, p, n, 0);
			assert_int_equal(tun_read(w, &w->e[1], got, PATIENCE_MS), n);
			assert_memory_equal(got, p, n);
		}
		do /* each came from another port: some of the SPI before are still told */
			assert_true(wait_event(w->e[1].dp, DP_EV_ENDPOINT, &ev));
		while (ev.spi != in.spi);
		assert_int_equal(ev.path.sock, 1);
	}
	assert_int_equal(count(w->e[1].dp, DP_HANDED_OVER), w->workers > 1 ? 39 : 0);
}

static void an_icmp_error_becomes_a_hint(void **state)
{
	struct world *w = *state;
	struct endpoint closed = { .port = 0 };
	struct dp_path path = { .sock = 0 };
	struct dp_event ev;

	close(bound(&closed, 0));
	path.remote = closed;
	assert_int_equal(dp_peer_set(w->e[0].dp, 1, &path, false, 0), 0);
	put_in(w, 0, &inner, 10);
	assert_true(wait_event(w->e[0].dp, DP_EV_ICMP, &ev));
	assert_int_equal(ev.peer, 1);
	assert_int_equal(ev.icmp_errno, ECONNREFUSED);
	assert_true(endpoint_eq(&ev.path.remote, &closed));
	/* And the socket goes on working. */
	path.remote = w->e[1].at;
	assert_int_equal(dp_peer_set(w->e[0].dp, 1, &path, false, 0), 0);
	for (int i = 0; i < 3; i++) {
		uint8_t got[65536];

		assert_true(through(w, 0, &inner, 10, got) > 0);
		assert_true(through(w, 1, &inner, 10, got) > 0);
	}
}

/* Of those that nothing came back for, the first one counts; what comes back ends it. */
static void data_waits_for_an_answer_since_the_first_of_it(void **state)
{
	struct world *w = *state;
	struct dp_activity a;
	uint64_t first;
	uint8_t got[65536];

	assert_true(through(w, 0, &inner, 10, got) > 0);
	assert_int_equal(dp_peer_activity(w->e[0].dp, 1, &a), 0);
	first = a.tx_first_ms;
	assert_true(first && first == a.tx_data_ms);
	usleep(20000);
	assert_true(through(w, 0, &inner, 10, got) > 0);
	assert_int_equal(dp_peer_activity(w->e[0].dp, 1, &a), 0);
	assert_int_equal(a.tx_first_ms, first);
	assert_true(a.tx_data_ms > first);
}

static void a_probe_is_reported_and_moves_nothing(void **state)
{
	struct world *w = *state;
	struct dp_path via = { .sock = 1, .remote = w->e[1].at };
	struct dp_dummy d = { .via = &via, .udp_bytes = 1300, .token = "hello", .token_len = 5 };
	struct dp_event ev;

	assert_int_equal(dp_send_dummy(w->e[0].dp, 1, &d), 0);
	assert_true(wait_event(w->e[1].dp, DP_EV_PROBE, &ev));
	assert_int_equal(ev.len, 5);
	assert_memory_equal(ev.data, "hello", 5);
	assert_int_equal(ev.bytes, 1300);
	assert_true(endpoint_eq(&ev.path.remote, &w->e[0].hop));
	while (dp_event_next(w->e[1].dp, &ev))
		assert_int_not_equal(ev.kind, DP_EV_ENDPOINT);
	/* The same without a token is a dummy from elsewhere: that is an endpoint. */
	d.token_len = 0;
	assert_int_equal(dp_send_dummy(w->e[0].dp, 1, &d), 0);
	assert_true(wait_event(w->e[1].dp, DP_EV_ENDPOINT, &ev));
	assert_true(ev.dummy);
}

static void ike_passes_on_every_kind_of_socket(void **state)
{
	struct world *w = *state;
	struct endpoint to[3] = { w->e[1].at, w->e[1].hop, w->e[1].ike };
	struct endpoint from[3] = { w->e[0].at, w->e[0].hop, w->e[0].ike };
	uint8_t msg[3000];
	struct dp_event ev;

	memset(msg, 0x5a, sizeof(msg));
	for (uint8_t s = 0; s < 3; s++) {
		struct dp_path path = { .sock = s, .remote = to[s] };

		assert_int_equal(dp_send_ike(w->e[0].dp, &path, msg, sizeof(msg)), 0);
		assert_true(wait_event(w->e[1].dp, DP_EV_IKE, &ev));
		assert_int_equal(ev.len, sizeof(msg));
		assert_memory_equal(ev.data, msg, sizeof(msg));
		assert_int_equal(ev.path.sock, s);
		assert_true(endpoint_eq(&ev.path.remote, &from[s]));
		assert_int_equal(ev.path.local.family, AF_INET);
	}
	assert_int_equal(dp_send_nat_keepalive(w->e[0].dp, 1), 0);
	assert_true(counts(w->e[1].dp, DP_IN_KEEPALIVE, 1));
}

/* IKE and ESP both: with an interface a path leads there or nowhere, and what comes tells by which it came. */
static void a_path_with_an_interface_is_taken_by_no_other(void **state)
{
	struct world *w = *state;
	struct dp_path lo = { .sock = 0, .ifindex = if_nametoindex("lo"), .remote = w->e[1].at };
	struct dp_path none = lo;
	struct dp_event ev;

	none.ifindex = 0x7ffffff0;
	assert_int_not_equal(dp_send_ike(w->e[0].dp, &none, "by no interface that there is    ", 32), 0);
	assert_int_equal(dp_send_ike(w->e[0].dp, &lo, "by the one that leads there      ", 32), 0);
	assert_true(wait_event(w->e[1].dp, DP_EV_IKE, &ev));
	assert_memory_equal(ev.data, "by the one", 10);
	assert_int_equal(ev.path.ifindex, lo.ifindex);

	assert_int_equal(dp_peer_set(w->e[0].dp, 1, &none, false, 0), 0);
	put_in(w, 0, &inner, 10);
	assert_true(counts(w->e[0].dp, DP_DROP_SEND, 1));
	assert_int_equal(dp_peer_set(w->e[0].dp, 1, &lo, false, 0), 0);
	put_in(w, 0, &inner, 10);
	assert_true(counts(w->e[1].dp, DP_IN_PKT, 1));
}

static void a_packet_without_an_sa_asks_for_one_once_a_second(void **state)
{
	struct world *w = *state;
	uint64_t began = clock_boot_ms();
	struct prefix net;
	struct dp_event ev;

	dp_sa_remove_out(w->e[0].dp, 1, w->e[1].spi);
	prefix_parse("10.0.0.0/24", &net);
	assert_int_equal(dp_peer_networks(w->e[0].dp, 1, &net, 1), 0);
	for (int i = 0; i < 3; i++) {
		uint8_t p[100];

		assert_true(write(w->e[0].tun[0][0], p, make_packet(&inner, p, 10)) > 0);
	}
	assert_true(wait_event(w->e[0].dp, DP_EV_ACQUIRE, &ev));
	assert_int_equal(ev.peer, 1);
	assert_int_equal(ev.len, 38);
	assert_true(counts(w->e[0].dp, DP_DROP_NO_SA, 3));
	assert_false(dp_event_next(w->e[0].dp, &ev) && clock_boot_ms() - began < 1000);
}

/* Of several CHILD SAs beside each other each tells where the peer is; of a row of rekeys the newest. */
static void each_line_of_sas_tells_where_the_peer_is(void **state)
{
	struct world *w = *state;
	struct dp_ts t = any();

	for (int round = 0; round < 2; round++) {
		struct dp_sa beside = sa_of(w, 0, &t);
		uint8_t pkt[200], text[64] = { 0 }, got[65536];
		size_t n = make_packet(&inner, text, 10);
		struct sockaddr_storage to;
		socklen_t len = endpoint_to_sockaddr(&w->e[1].at, AF_INET, &to);
		int fd = socket(AF_INET, SOCK_DGRAM, 0);
		struct dp_event ev;
		struct esp_key k;

		beside.generation = 2 + (uint32_t)round;
		beside.line = round ? 0 : 7; /* the first one has none: 0 */
		assert_int_equal(dp_spi_alloc(w->e[1].dp, &beside.spi), 0);
		assert_int_equal(dp_sa_install_in(w->e[1].dp, &beside), 0);
		assert_int_equal(
		    esp_key_init(&k, DP_AES_256_GCM_16, key[0], w->e[1].spi, true, true), 0);
		assert_int_equal(esp_seal(&k, 5 + (uint64_t)round, ESP_NH_IPV4, text, n, pkt), 0);
		sendto(fd, pkt, esp_len(&k.shape, n), 0, (struct sockaddr *)&to, len);
		assert_int_equal(tun_read(w, &w->e[1], got, PATIENCE_MS), 38);
		assert_true(wait_event(w->e[1].dp, DP_EV_ENDPOINT, &ev));
		assert_int_equal(ev.newest, !round);
		close(fd);
		esp_key_clear(&k);
	}
}

static void garbage_is_counted_and_harmless(void **state)
{
	struct world *w = *state;
	struct sockaddr_storage to;
	socklen_t len = endpoint_to_sockaddr(&w->e[1].at, AF_INET, &to);
	uint8_t b[2000], got[65536];
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	srand(9);
	for (int i = 0; i < 300; i++) {
		size_t n = (size_t)(rand() % 200);

		for (size_t k = 0; k < n; k++)
			b[k] = (uint8_t)rand();
		if (i % 3 == 0)
			memcpy(b, &w->e[1].spi, 4);
		if (i % 7 == 0)
			memset(b, 0, 4);
		sendto(fd, b, n, 0, (struct sockaddr *)&to, len);
	}
	assert_true(through(w, 0, &inner, 100, got) > 0);
	assert_true(count(w->e[1].dp, DP_DROP_ICV) > 0);
	assert_true(count(w->e[1].dp, DP_DROP_SPI) > 0);
	assert_true(count(w->e[1].dp, DP_DROP_RUNT) > 0);
	close(fd);
}

/* A few times a second it is told, as of a peer if it came from where one is. */
static void unknown_spis_are_told_with_whose_they_may_be(void **state)
{
	struct world *w = *state;
	struct sockaddr_storage to;
	socklen_t len = endpoint_to_sockaddr(&w->e[1].at, AF_INET, &to);
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	uint8_t b[100], got[65536];
	struct dp_event ev;
	unsigned told = 0;

	assert_true(through(w, 0, &inner, 100, got) > 0);
	memset(b, 0x77, sizeof(b));
	for (int i = 0; i < 4; i++)
		sendto(fd, b, sizeof(b), 0, (struct sockaddr *)&to, len);
	close(fd);
	assert_true(counts(w->e[1].dp, DP_DROP_SPI, 4));
	while (dp_event_next(w->e[1].dp, &ev))
		assert_true(ev.kind != DP_EV_UNKNOWN_SPI || !ev.peer);
	usleep(1100000); /* the next second has its own */
	dp_sa_remove_in(w->e[1].dp, w->e[1].spi);
	for (int i = 0; i < 50; i++)
		put_in(w, 0, &inner, 100);
	assert_true(counts(w->e[1].dp, DP_DROP_SPI, 54));
	while (dp_event_next(w->e[1].dp, &ev)) {
		if (ev.kind != DP_EV_UNKNOWN_SPI)
			continue;
		assert_int_equal(ev.spi, w->e[1].spi);
		assert_true(ev.peer);
		assert_true(endpoint_eq(&ev.path.remote, &w->e[0].at));
		told++;
	}
	assert_in_range(told, 1, 40); /* 8 for each second that it took, of 50 */
}

static void sas_come_and_go_under_traffic(void **state)
{
	struct world *w = *state;
	struct dp_ts t = any();
	uint32_t spi[2] = { w->e[0].spi, w->e[1].spi }, old[2];
	uint8_t got[65536], p[1500];

	for (int round = 0; round < 60; round++) {
		memcpy(old, spi, sizeof(old));
		for (int i = 0; i < 2; i++)
			assert_int_equal(dp_spi_alloc(w->e[i].dp, &spi[i]), 0);
		for (int i = 0; i < 2; i++) { /* inbound first, on both sides */
			struct dp_sa in = sa_of(w, !i, &t);

			in.spi = spi[i];
			in.generation = (uint32_t)round + 2;
			assert_int_equal(dp_sa_install_in(w->e[i].dp, &in), 0);
		}
		for (int i = 0; i < 2; i++) {
			struct dp_sa out = sa_of(w, i, &t);

			out.spi = spi[!i];
			out.generation = (uint32_t)round + 2;
			assert_int_equal(dp_sa_install_out(w->e[i].dp, &out), 0);
			for (unsigned q = 0; q < w->workers; q++)
				assert_true(
				    write(w->e[i].tun[q][0], p, make_packet(&inner, p, 1000)) > 0);
		}
		for (int i = 0; i < 2; i++) {
			for (unsigned q = 0; q < w->workers; q++)
				assert_true(tun_read(w, &w->e[i], got, PATIENCE_MS) > 0);
			dp_sa_remove_out(w->e[i].dp, 1, old[!i]);
			dp_sa_remove_in(w->e[i].dp, old[i]);
		}
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(packets_arrive_as_they_were_sent),
		T(a_receive_is_read_as_it_was_armed),
		T(what_no_selector_allows_goes_nowhere),
		T(a_replayed_packet_is_dropped),
		T(a_packet_on_a_socket_of_another_worker_arrives),
		T(an_icmp_error_becomes_a_hint),
		T(data_waits_for_an_answer_since_the_first_of_it),
		T(a_probe_is_reported_and_moves_nothing),
		T(ike_passes_on_every_kind_of_socket),
		T(a_path_with_an_interface_is_taken_by_no_other),
		T(a_packet_without_an_sa_asks_for_one_once_a_second),
		T(each_line_of_sas_tells_where_the_peer_is),
		T(garbage_is_counted_and_harmless),
		T(unknown_spis_are_told_with_whose_they_may_be),
		T(sas_come_and_go_under_traffic),
	};
	/* With several workers a flow keeps its order by keeping its queue, which a TUN does. */
	const struct CMUnitTest ordered[] = { T(a_burst_arrives_in_order) };
	int failed;

	backend = DP_IO_EPOLL;
	failed = cmocka_run_group_tests_name("epoll, one worker", tests, NULL, NULL);
	failed += cmocka_run_group_tests_name("epoll, order", ordered, NULL, NULL);
	workers_wanted = 2;
	failed += cmocka_run_group_tests_name("epoll, two workers", tests, NULL, NULL);
	/* AUTO: where io_uring is forbidden this is epoll again. */
	backend = DP_IO_AUTO;
	workers_wanted = 1;
	failed += cmocka_run_group_tests_name("auto, one worker", tests, NULL, NULL);
	failed += cmocka_run_group_tests_name("auto, order", ordered, NULL, NULL);
	workers_wanted = 2;
	failed += cmocka_run_group_tests_name("auto, two workers", tests, NULL, NULL);
	return failed != 0;
}
