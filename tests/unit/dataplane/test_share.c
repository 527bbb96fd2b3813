/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One peer's traffic by several workers, and by one where its window allows no more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <netinet/udp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "pair.h"

#define SECONDS 2

static uint32_t window = DP_WINDOW_SHARED;
static _Atomic int late_fd = -1; /* what is sent on it leaves late now and then */

ssize_t __real_sendmsg(int fd, const struct msghdr *m, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *m, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *m, int flags)
{
	static _Atomic unsigned n;

	/* Its numbers are taken: here another process has the processor. */
	if (fd == atomic_load(&late_fd) && atomic_fetch_add(&n, 1) % 4 == 3)
		usleep(20000);
	return __real_sendmsg(fd, m, flags);
}

/* The first sends with workers_wanted, to one with one. */
static int one_way(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct dp_ts t = any();
	struct dp_path path = { .sock = 0 };
	struct dp_sa in, out;

	*state = w;
	w->workers = workers_wanted;
	make_end(&w->e[0], workers_wanted);
	make_end(&w->e[1], 1);
	in = out = sa_of(w, 0, &t);
	in.replay_window = out.replay_window = window;
	path.remote = w->e[1].at;
	assert_int_equal(dp_peer_set(w->e[0].dp, 1, &path, false, 0), 0);
	assert_int_equal(dp_sa_install_out(w->e[0].dp, &out), 0);
	path.remote = w->e[0].at;
	assert_int_equal(dp_peer_set(w->e[1].dp, 1, &path, false, 0), 0);
	assert_int_equal(dp_sa_install_in(w->e[1].dp, &in), 0);
	return 0;
}

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

struct feed {
	int fd;
	uint64_t every_us; /* 0: as many as it takes */
	unsigned put;
	pthread_t thread;
};

static void *feeds(void *arg)
{
	struct feed *f = arg;
	uint64_t end = now_us() + SECONDS * 1000000ull;
	uint8_t p[200];
	size_t len = make_packet(&inner, p, 100);

	while (now_us() < end) {
		struct pollfd wait = { .fd = f->fd, .events = POLLOUT };

		if (f->every_us)
			usleep((useconds_t)f->every_us);
		else if (poll(&wait, 1, 10) != 1)
			continue;
		f->put += send(f->fd, p, len, MSG_DONTWAIT) > 0;
	}
	return NULL;
}

static void no_number_of_a_worker_that_was_kept_from_sending_is_too_old(void **state)
{
	struct world *w = *state;
	/* One as fast as it can, one at 10 a second, one that loses the processor for 20 ms, and some others. */
	struct feed f[3] = { { .every_us = 0 }, { .every_us = 100000 }, { .every_us = 2000 } };
	unsigned n = w->workers < 3 ? w->workers : 3, got = 0;
	uint64_t end;
	uint8_t buf[2048];

	for (unsigned i = 0; i < n; i++) {
		f[i].fd = w->e[0].tun[i == 2 ? w->workers - 1 : i][0];
		if (i == 2 && backend == DP_IO_EPOLL)
			atomic_store(&late_fd, w->e[0].sock[w->workers - 1]);
		assert_int_equal(pthread_create(&f[i].thread, NULL, feeds, &f[i]), 0);
	}
	end = now_us() + SECONDS * 1000000ull + 200000;
	while (now_us() < end) {
		while (recv(w->e[1].tun[0][0], buf, sizeof(buf), MSG_DONTWAIT) > 0)
			got++;
		usleep(200);
	}
	for (unsigned i = 0; i < n; i++)
		pthread_join(f[i].thread, NULL);
	atomic_store(&late_fd, -1);
	/* What is still under way: this TUN is a socket, and a worker waits for ever to write to one that is full. */
	while (poll(&(struct pollfd){ .fd = w->e[1].tun[0][0], .events = POLLIN }, 1, 500) == 1)
		got += recv(w->e[1].tun[0][0], buf, sizeof(buf), MSG_DONTWAIT) > 0;
	assert_true(got > 1000);
	assert_true(f[n - 1].put > 0);
	print_message("%u workers: %u, %u, %u in, %llu sealed, %llu opened\n", w->workers, f[0].put, f[1].put, f[2].put,
		      (unsigned long long)count(w->e[0].dp, DP_OUT_PKT), (unsigned long long)count(w->e[1].dp, DP_IN_PKT));
	assert_int_equal(count(w->e[0].dp, DP_HANDED_OVER), 0);
	assert_int_equal(count(w->e[1].dp, DP_DROP_REPLAY), 0);
	assert_int_equal(count(w->e[1].dp, DP_DROP_STALE), 0);
	assert_int_equal(count(w->e[1].dp, DP_DROP_ICV), 0);
}

static void each_sends_what_its_own_queue_gives(void **state)
{
	struct world *w = *state;
	struct made m = inner;
	uint8_t got[65536];

	for (unsigned i = 0; i < 5 * w->workers; i++) {
		m.sport = (uint16_t)i;
		assert_int_equal(through(w, 0, &m, 10, got), 38);
	}
	assert_int_equal(count(w->e[0].dp, DP_HANDED_OVER), 0);
	assert_int_equal(count(w->e[1].dp, DP_IN_PKT), 5 * w->workers);
}

static void without_that_window_one_sends_for_all(void **state)
{
	struct world *w = *state;
	struct made m = inner;
	uint8_t got[65536];

	for (unsigned i = 0; i < 5 * w->workers; i++) {
		m.sport = (uint16_t)i;
		assert_int_equal(through(w, 0, &m, 10, got), 38);
	}
	assert_int_equal(count(w->e[0].dp, DP_HANDED_OVER), 5 * (w->workers - 1));
	assert_int_equal(count(w->e[1].dp, DP_IN_PKT), 5 * w->workers);
}

/* Its peer was started anew with one worker: queues are full of what the others would have sent. */
static void a_newer_sa_without_it_takes_over_under_traffic(void **state)
{
	struct world *w = *state;
	struct dp_ts t = any();
	struct made m = inner;
	uint32_t was = w->e[1].spi;
	uint8_t got[65536];
	size_t n;

	for (unsigned round = 0; round < 20; round++) {
		struct dp_sa sa;

		for (unsigned i = 0; i < 40; i++) {
			m.sport = (uint16_t)i;
			put_in(w, 0, &m, 1000);
		}
		assert_int_equal(dp_spi_alloc(w->e[1].dp, &w->e[1].spi), 0);
		sa = sa_of(w, 0, &t);
		sa.generation = round + 2;
		sa.replay_window = round % 2 ? DP_WINDOW_SHARED : 0;
		assert_int_equal(dp_sa_install_in(w->e[1].dp, &sa), 0);
		assert_int_equal(dp_sa_install_out(w->e[0].dp, &sa), 0);
		dp_sa_remove_out(w->e[0].dp, 1, was);
		was = w->e[1].spi;
		m.sport = 3;
		put_in(w, 0, &m, 10);
		do /* those before it, too: some may come from another worker, and later */
			n = tun_read(w, &w->e[1], got, PATIENCE_MS);
		while (n == 1028);
		assert_int_equal(n, 38);
	}
	assert_int_equal(count(w->e[1].dp, DP_DROP_REPLAY), 0);
	assert_int_equal(count(w->e[1].dp, DP_DROP_STALE), 0);
	assert_int_equal(count(w->e[1].dp, DP_DROP_ICV), 0);
}

/* Both have as many workers, and each tells the same of its window. */
static int both_ways(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct dp_ts t = any();

	*state = w;
	w->workers = workers_wanted;
	make_end(&w->e[0], workers_wanted);
	make_end(&w->e[1], workers_wanted);
	for (int i = 0; i < 2; i++) {
		struct dp_path path = { .sock = 0, .remote = w->e[!i].at };
		struct dp_sa in = sa_of(w, !i, &t), out = sa_of(w, i, &t);

		in.replay_window = out.replay_window = window;
		assert_int_equal(dp_peer_set(w->e[i].dp, 1, &path, false, 0), 0);
		assert_int_equal(dp_sa_install_in(w->e[i].dp, &in), 0);
		assert_int_equal(dp_sa_install_out(w->e[i].dp, &out), 0);
	}
	return 0;
}

/* @m goes in at one end's @queue; by which it comes out at the other. */
static unsigned way(struct world *w, int from, unsigned queue, const struct made *m)
{
	struct pollfd p[PAIR_WORKERS];
	uint8_t buf[2048];
	size_t len = make_packet(m, buf, 10);
	unsigned i = 0;

	assert_int_equal(write(w->e[from].tun[queue][0], buf, len), len);
	for (unsigned k = 0; k < w->workers; k++)
		p[k] = (struct pollfd){ .fd = w->e[!from].tun[k][0], .events = POLLIN };
	assert_int_equal(poll(p, w->workers, PATIENCE_MS), 1);
	while (!p[i].revents)
		i++;
	assert_int_equal(read(p[i].fd, buf, sizeof(buf)), len);
	return i;
}

static struct made answer_to(const struct made *m)
{
	struct made a = *m;

	a.src = m->dst;
	a.dst = m->src;
	a.sport = m->dport;
	a.dport = m->sport;
	return a;
}

static void new_flows_are_spread_over_who_may_send(void **state)
{
	struct world *w = *state;
	struct made m = inner;
	unsigned seen[PAIR_WORKERS] = { 0 }, used = 0;

	for (uint16_t port = 0; port < 64; port++) {
		unsigned q;

		m.sport = port;
		q = way(w, 0, 0, &m);
		assert_int_equal(q, way(w, 0, 0, &m));
		seen[q]++;
	}
	for (unsigned i = 0; i < w->workers; i++)
		used += seen[i] > 0;
	assert_int_equal(used, w->workers);
}

static void what_comes_back_of_a_flow_is_written_where_it_left(void **state)
{
	struct world *w = *state;
	struct made m = inner, a;

	for (uint16_t port = 0; port < 32; port++) {
		unsigned q = port * 5u % w->workers;

		m.sport = port;
		a = answer_to(&m);
		(void)way(w, 0, q, &m);
		assert_int_equal(way(w, 1, 0, &a), q);
		/* The kernel gave it to another queue. */
		q = (q + 1) % w->workers;
		(void)way(w, 0, q, &m);
		assert_int_equal(way(w, 1, 0, &a), q);
	}
}

static void or_all_goes_to_the_one_that_sends(void **state)
{
	struct world *w = *state;
	struct made m = inner;

	for (uint16_t port = 0; port < 16; port++) {
		m.sport = port;
		assert_int_equal(way(w, 0, 0, &m), 1 % w->workers);
	}
}

#define BATCH 48

/* The kernel's GRO looks at addresses and sizes alone, and the first SPI says who gets it all. */
static void a_batch_of_all_workers_spis_arrives_whole(void **state)
{
	struct world *w = *state;
	struct esp_key k[PAIR_WORKERS];
	struct dp_ts t = any();
	struct made m = inner;
	uint8_t in[200], batch[BATCH * 256], got[65536], seen[BATCH] = { 0 };
	size_t len = 0, at = 0;
	int fd = socket(AF_INET, SOCK_DGRAM, 0), seg;
	struct sockaddr_storage to;
	socklen_t to_len = endpoint_to_sockaddr(&w->e[1].at, AF_INET, &to);

	for (unsigned i = 0; i < w->workers; i++) {
		struct dp_sa d = sa_of(w, 0, &t);

		assert_int_equal(dp_spi_alloc(w->e[1].dp, &d.spi), 0);
		d.generation = i + 2;
		assert_int_equal(dp_sa_install_in(w->e[1].dp, &d), 0);
		assert_int_equal(esp_key_init(&k[i], d.cipher, d.key, d.spi, d.esn, true), 0);
	}
	for (unsigned i = 0; i < BATCH; i++) {
		struct esp_key *by = &k[i % w->workers];

		m.sport = (uint16_t)i;
		len = make_packet(&m, in, 40);
		assert_int_equal(esp_seal(by, i / w->workers + 1, ESP_NH_IPV4, in, len, batch + at), 0);
		at += esp_len(&by->shape, len);
	}
	seg = (int)(at / BATCH);
	assert_int_equal(setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &seg, sizeof(seg)), 0);
	assert_int_equal(sendto(fd, batch, at, 0, (struct sockaddr *)&to, to_len), at);
	for (unsigned i = 0; i < BATCH; i++) {
		assert_int_equal(tun_read(w, &w->e[1], got, PATIENCE_MS), len);
		seen[got[21]]++; /* low byte of its source port */
	}
	for (unsigned i = 0; i < BATCH; i++)
		assert_int_equal(seen[i], 1);
	assert_int_equal(count(w->e[1].dp, DP_IN_PKT), BATCH);
	assert_int_equal(count(w->e[1].dp, DP_DROP_HANDOVER_FULL), 0);
	if (w->workers > 1)
		assert_true(count(w->e[1].dp, DP_HANDED_OVER) > 0);
	for (unsigned i = 0; i < w->workers; i++)
		esp_key_clear(&k[i]);
	close(fd);
}

#define T(f) cmocka_unit_test_setup_teardown(f, one_way, teardown)
#define BOTH(f) cmocka_unit_test_setup_teardown(f, both_ways, teardown)

int main(void)
{
	const struct CMUnitTest shared[] = {
		T(each_sends_what_its_own_queue_gives),
		T(no_number_of_a_worker_that_was_kept_from_sending_is_too_old),
		T(a_newer_sa_without_it_takes_over_under_traffic),
		BOTH(new_flows_are_spread_over_who_may_send),
		BOTH(what_comes_back_of_a_flow_is_written_where_it_left),
		BOTH(a_batch_of_all_workers_spis_arrives_whole),
	};
	const struct CMUnitTest alone[] = {
		T(without_that_window_one_sends_for_all),
		BOTH(or_all_goes_to_the_one_that_sends),
	};
	static const enum dp_io io[] = { DP_IO_EPOLL, DP_IO_AUTO };
	int failed = 0;

	for (int i = 0; i < 2; i++) {
		backend = io[i];
		for (workers_wanted = 1; workers_wanted <= PAIR_WORKERS; workers_wanted *= 2) {
			window = DP_WINDOW_SHARED;
			failed += cmocka_run_group_tests_name(i ? "auto, all send" : "epoll, all send", shared, NULL, NULL);
			window = 0;
			failed += cmocka_run_group_tests_name(i ? "auto, one sends" : "epoll, one sends", alone, NULL, NULL);
		}
	}
	return failed != 0;
}
