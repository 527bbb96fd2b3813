/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The outbound way of one worker without a kernel: what comes out of the queue, when, and what it is charged to. The clock
 * is the test's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <netinet/in.h>
#include <string.h>

#include "packets.h"
#include "worker.h"

#define PAYLOAD 972 /* of an inner packet of 1000 bytes */
#define BITS_S	400000 /* of which that takes 20 ms */

static struct worker w;
static struct dp dp;
static struct peer peer;
static struct ep ep;
static struct sa_out *sa;
static struct sock sock;
static struct txbatch *pool;
static struct buf buf[TUN_BUFS];
static uint8_t mem[TUN_BUFS][2048];
static uint64_t clock_us;
static unsigned next_buf, back, sent, sent_ce;

uint64_t __wrap_worker_clock_us(void);
uint64_t __wrap_worker_clock_us(void)
{
	return clock_us;
}

static void sends_it(struct worker *on, struct txbatch *b)
{
	sent += b->pkts;
	sent_ce += b->ecn == 3 ? b->pkts : 0;
	b->next = on->tx_free;
	on->tx_free = b;
}

static void comes_back(struct worker *on, struct buf *b)
{
	(void)on, (void)b;
	back++;
}

static const struct io_ops io = { .name = "test", .send = sends_it };

static struct dp_sa any_sa(void)
{
	static const uint8_t key[36] = { 1, 2, 3 };
	static struct dp_ts t = { .port_to = UINT16_MAX };

	addr_parse("10.0.0.0", &t.from);
	addr_parse("10.0.255.255", &t.to);
	return (struct dp_sa){ .peer = 1,
			       .spi = htobe32(0x1000),
			       .cipher = DP_AES_256_GCM_16,
			       .key = key,
			       .key_len = sizeof(key),
			       .local = &t,
			       .local_count = 1,
			       .remote = &t,
			       .remote_count = 1 };
}

static int setup(void **state)
{
	struct dp_sa d = any_sa();

	(void)state;
	memset(&w, 0, sizeof(w));
	memset(&dp, 0, sizeof(dp));
	memset(&peer, 0, sizeof(peer));
	memset(&ep, 0, sizeof(ep));
	memset(&sock, 0, sizeof(sock));
	next_buf = back = sent = sent_ce = 0;
	clock_us = 1000000;
	dp.workers = 1;
	dp.worker[0] = &w;
	dp.event_fd = -1;
	atomic_store(&dp.tun_mtu, 1400);
	rcu_init(&dp.rcu);
	assert_int_equal(spd_init(&dp.spd), 0);
	pool = txbatch_pool(TX_POOL);
	w.dp = &dp;
	w.io = &io;
	w.tx_pool = w.tx_free = pool;
	w.tx_sock[0] = &sock;
	fq_init(&w.fq);
	assert_int_equal(evq_init(&w.evq, 65536), 0);
	sock.gso = true;
	sock.family = AF_INET;
	peer.id = 1;
	ep.to_len = sizeof(struct sockaddr_in);
	ep.path.remote.port = 4500;
	ep.path.remote.addr.family = AF_INET;
	atomic_store(&peer.ep, &ep);
	assert_int_equal(sa_out_new(&d, &peer, 1, &sa), 0);
	assert_int_equal(spd_add_sa(&dp.spd, &dp.rcu, sa), 0);
	for (uint16_t i = 0; i < TUN_BUFS; i++)
		buf[i] = (struct buf){ .mem = mem[i], .id = i, .done = comes_back, .w = &w };
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	sa_out_free(&sa->rcu);
	spd_free(&dp.spd);
	evq_free(&w.evq);
	txbatch_pool_free(pool, TX_POOL);
	return 0;
}

static void turn(void)
{
	w.now_us = clock_us;
	w.now_ms = clock_us / 1000;
	out_serve(&w);
	udp_flush(&w);
}

static void read_one(uint8_t ecn)
{
	struct made m = { 4, PKT_UDP, 0x0a000001, 0x0a000002, 7, 8, 0, 0, 1, ecn, 0 };
	struct buf *b = &buf[next_buf++ % TUN_BUFS];

	b->refs = 1;
	tun_on_read(&w, b, make_packet(&m, b->mem, PAYLOAD));
}

/* Each is looked at when the one before it has left, and again when the rate lets it. */
static void serve_slowly(uint8_t ecn)
{
	limit_set(&peer.out_limit, BITS_S);
	w.now_us = clock_us;
	for (int i = 0; i < 24; i++)
		read_one(ecn);
	for (int ms = 0; ms < 1000; ms++, clock_us += 1000)
		turn();
	assert_int_equal(w.fq.units, 0);
	assert_int_equal(back, 24);
	assert_in_range(w.fq.marks, 4, 16);
}

static void what_the_rate_holds_leaves_with_the_mark_that_it_got_meanwhile(void **state)
{
	(void)state;
	serve_slowly(2);
	assert_int_equal(sent, 24);
	assert_int_equal(sent_ce, w.fq.marks);
	assert_int_equal(worker_counted(&w, DP_OUT_MARKED), w.fq.marks);
}

static void what_cannot_be_marked_is_dropped_by_the_same_decision(void **state)
{
	(void)state;
	serve_slowly(0);
	assert_int_equal(sent, 24 - w.fq.marks);
	assert_int_equal(sent_ce, 0);
	assert_int_equal(worker_counted(&w, DP_DROP_QUEUE_LONG), w.fq.marks);
}

static void what_was_marked_on_its_way_here_is_not_dropped(void **state)
{
	(void)state;
	serve_slowly(3);
	assert_int_equal(sent, 24);
	assert_int_equal(sent_ce, 24);
	assert_int_equal(worker_counted(&w, DP_DROP_QUEUE_LONG), 0);
}

/* 1000 and the trailer of 2, to a multiple of 4; SPI, number and IV before, the ICV behind */
#define OUTER 1036

static void a_budget_is_charged_what_leaves_and_nothing_else(void **state)
{
	(void)state;
	ep.limited = true;
	ep.credit_bytes = OUTER; /* and so three of them may leave */
	w.tx_free = NULL;
	read_one(0);
	turn();
	assert_int_equal(worker_counted(&w, DP_DROP_NO_BUF), 1);
	assert_int_equal(count_get(&ep.tx_bytes), 0);
	assert_int_equal(count_get(&peer.tx_pkts), 0);
	w.tx_free = pool;
	for (int i = 0; i < 4; i++)
		read_one(0);
	turn();
	assert_int_equal(sent, 3);
	assert_int_equal(count_get(&ep.tx_bytes), 3 * OUTER);
	assert_int_equal(count_get(&peer.tx_pkts), 3);
	assert_int_equal(worker_counted(&w, DP_DROP_BUDGET), 1);
	/* An SA at its end gives back what was taken for it. */
	ep.credit_bytes *= 2;
	sa->hard_pkts = 1;
	read_one(0);
	turn();
	assert_int_equal(worker_counted(&w, DP_DROP_HARD_LIMIT), 1);
	assert_int_equal(count_get(&ep.tx_bytes), 3 * OUTER);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(what_the_rate_holds_leaves_with_the_mark_that_it_got_meanwhile),
		T(what_cannot_be_marked_is_dropped_by_the_same_decision),
		T(what_was_marked_on_its_way_here_is_not_dropped),
		T(a_budget_is_charged_what_leaves_and_nothing_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
