/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A batch that waits for the next turn: what may go with it there, and what may not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <netinet/in.h>
#include <string.h>

#include "worker.h"

#define LEN 1440

static struct worker w;
static struct sock sock;
static struct ep ep;
static struct txbatch *pool;
static size_t sent[8];
static unsigned sends;

static void sends_it(struct worker *on, struct txbatch *b)
{
	assert_ptr_equal(on, &w);
	sent[sends++] = b->bytes;
	b->next = w.tx_free;
	w.tx_free = b;
}

static const struct io_ops io = { .name = "test", .send = sends_it };
static struct dp dp;

static int setup(void **state)
{
	(void)state;
	memset(&w, 0, sizeof(w));
	memset(&sock, 0, sizeof(sock));
	memset(&ep, 0, sizeof(ep));
	sends = 0;
	pool = txbatch_pool(4);
	w.dp = &dp;
	w.io = &io;
	w.tx_free = pool;
	w.tx_sock[0] = &sock;
	sock.gso = true;
	sock.family = AF_INET;
	ep.to_len = sizeof(struct sockaddr_in);
	ep.path.remote.port = 4500;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	txbatch_pool_free(pool, 4);
	return 0;
}

static void queue(unsigned n, size_t len)
{
	while (n--) {
		assert_non_null(udp_room(&w, &ep, 0, len));
		udp_queue(&w, len);
	}
}

static void what_the_next_turn_adds_goes_with_it(void **state)
{
	(void)state;
	queue(3, LEN);
	assert_true(udp_keep(&w));
	queue(2, LEN);
	udp_flush(&w);
	assert_int_equal(sends, 1);
	assert_int_equal(sent[0], 5 * LEN);
}

static void it_waits_once(void **state)
{
	(void)state;
	queue(3, LEN);
	assert_true(udp_keep(&w));
	queue(2, LEN);
	assert_false(udp_keep(&w));
	udp_flush(&w);
	queue(2, LEN);
	assert_true(udp_keep(&w)); /* that is another one */
	udp_flush(&w);
	assert_int_equal(sends, 2);
}

static void one_that_cannot_grow_does_not_wait(void **state)
{
	(void)state;
	assert_false(udp_keep(&w));
	queue(1, LEN);
	assert_false(udp_keep(&w)); /* it may be one that somebody waits for */
	queue(1, LEN - 100);	    /* a shorter one is the last */
	assert_false(udp_keep(&w));
	udp_flush(&w);
	queue(TX_BYTES_MAX / LEN, LEN);
	assert_false(udp_keep(&w));
	udp_flush(&w);
	queue(2, LEN);
	sock.line_bytes = 3000; /* a slow line's queue is to be in our hands */
	assert_false(udp_keep(&w));
}

/* An endpoint is replaced whole; the new one may lie where the old one lay. */
static void what_goes_another_way_does_not_go_with_it(void **state)
{
	(void)state;
	queue(3, LEN);
	assert_true(udp_keep(&w));
	ep.path.remote.port = 4501;
	queue(2, LEN);
	assert_int_equal(sends, 1);
	assert_int_equal(sent[0], 3 * LEN);
	udp_flush(&w);
	assert_int_equal(sent[1], 2 * LEN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_the_next_turn_adds_goes_with_it, setup, teardown),
		cmocka_unit_test_setup_teardown(it_waits_once, setup, teardown),
		cmocka_unit_test_setup_teardown(one_that_cannot_grow_does_not_wait, setup, teardown),
		cmocka_unit_test_setup_teardown(what_goes_another_way_does_not_go_with_it, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
