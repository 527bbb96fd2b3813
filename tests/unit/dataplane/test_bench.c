/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A tunnel is measured: its packets, its pace on lines of every kind, and two data planes that do it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "bench.h"
#include "clock.h"
#include "pair.h"

static const struct bench_head sample = { 0x1122334455667788, BENCH_PONG, 3, 77777, 7, 8, 9, 10 };

static void a_head_is_read_as_it_was_written(void **state)
{
	uint8_t raw[BENCH_HEAD], *cut;
	struct bench_head h;

	(void)state;
	bench_head_build(&sample, raw);
	assert_true(bench_head_parse(raw, sizeof(raw), &h));
	assert_true(h.flags == 3 && h.waited_us == 77777);
	assert_true(h.id == sample.id && h.kind == sample.kind && h.number == 7 && h.stamp_us == 8 && h.rx_pkts == 9 &&
		    h.rx_top == 10);
	for (size_t n = 0; n < sizeof(raw); n++) {
		cut = malloc(n + !n);
		memcpy(cut, raw, n);
		assert_false(bench_head_parse(cut, n, &h));
		free(cut);
	}
	raw[0] ^= 1;
	assert_false(bench_head_parse(raw, sizeof(raw), &h));
	raw[0] ^= 1;
	raw[16] = 9;
	assert_false(bench_head_parse(raw, sizeof(raw), &h));
}

/* ---- pace: a line of a rate, a delay and a queue ---- */

#define BYTES 1400

struct line {
	uint64_t bits_s, delay_us, queue_pkts;
	unsigned lose_of; /* besides, one of so many by chance; 0: none */
};

struct seen {
	uint64_t sent, arrived, settled_us, settled_sent, settled_arrived;
	uint64_t waits; /* of the time after that, so many percent with more than 40 ms and eight packets of queue */
};

#define FLIGHT 65536 /* a power of two */

static struct {
	struct {
		uint64_t at_ns, number, sent_us;
	} load[FLIGHT]; /* under way to us */
	struct {
		uint64_t at_us;
		struct bench_word word;
	} word[FLIGHT]; /* and back */
	unsigned load_head, load_tail, word_head, word_tail;
	uint64_t free_ns, arrived, top, told_us, least_us, last_us, most_us, bad;
} way;

static void put(const struct line *l, uint64_t number, uint64_t now_us)
{
	uint64_t each = BYTES * 8000000000ull / l->bits_s, now_ns = now_us * 1000;

	if (way.free_ns < now_ns)
		way.free_ns = now_ns;
	if (way.free_ns > now_ns + l->queue_pkts * each || (l->lose_of && number % l->lose_of == 3))
		return;
	way.free_ns += each;
	way.load[way.load_tail % FLIGHT].at_ns = way.free_ns + l->delay_us * 1000;
	way.load[way.load_tail % FLIGHT].sent_us = now_us;
	way.load[way.load_tail++ % FLIGHT].number = number;
}

static void arrive(unsigned i, uint64_t now_us)
{
	uint64_t took = now_us - way.load[i].sent_us;

	way.arrived++;
	way.top = way.load[i].number;
	if (!way.least_us || took < way.least_us)
		way.least_us = took;
	if (!way.last_us || took < way.last_us)
		way.last_us = took;
	way.most_us = took - way.least_us;
}

/* What has arrived is told each 20 ms, and heard a delay later. An old receiver (@mute) does not say how long it took. */
static void pass(const struct line *l, struct bench_pace *p, uint64_t next, uint64_t now_us, bool mute)
{
	for (; way.load_head != way.load_tail && way.load[way.load_head % FLIGHT].at_ns <= now_us * 1000; way.load_head++)
		arrive(way.load_head % FLIGHT, now_us);
	if (now_us - way.told_us >= 20000) {
		way.told_us = now_us;
		way.word[way.word_tail % FLIGHT].at_us = now_us + l->delay_us;
		way.word[way.word_tail++ % FLIGHT].word = (struct bench_word){
			way.arrived, way.top, mute ? 0 : now_us + 12345, mute || !way.last_us ? 0 : (uint32_t)(way.last_us - way.least_us)
		};
		way.last_us = 0;
	}
	for (; way.word_head != way.word_tail && way.word[way.word_head % FLIGHT].at_us <= now_us; way.word_head++)
		bench_pace_heard(p, &way.word[way.word_head % FLIGHT].word, next, BYTES, now_us);
}

/* @seconds of it; what counts begins where the pace says so. */
static struct seen drive(const struct line *l, uint64_t max, unsigned seconds, bool mute)
{
	uint64_t now = 5000000, end = now + seconds * 1000000ull, number = 0, ticks = 0;
	struct bench_pace p;
	struct seen s = { 0 };

	memset(&way, 0, sizeof(way));
	bench_pace_init(&p, max, seconds * 1000000ull, now);
	for (; now < end; now += 250) {
		uint64_t until = 0;
		unsigned n = bench_pace_take(&p, 64, BYTES, now, &until);

		assert_true(n || until > now);
		while (n--)
			put(l, ++number, now);
		pass(l, &p, number + 1, now, mute);
		if (!s.settled_us && bench_pace_settled(&p, now)) {
			s.settled_us = now - 5000000;
			s.settled_sent = way.top;
			s.settled_arrived = way.arrived;
		}
		if (s.settled_us && now > 5000000 + s.settled_us + 2 * l->delay_us && ++ticks)
			way.bad += way.most_us > 40000 + 8 * BYTES * 8000000ull / l->bits_s;
	}
	s.sent = way.top;
	s.arrived = way.arrived;
	s.waits = ticks ? 100 * way.bad / ticks : 0;
	return s;
}

static void judge_line(const struct line *l, bool mute, unsigned least)
{
	struct seen s = drive(l, 0, 5, mute);
	uint64_t can = l->bits_s * (5000000 - s.settled_us) / 1000000 / 8 / BYTES, got = s.arrived - s.settled_arrived,
		 sent = s.sent - s.settled_sent;

	print_message("%10llu bit/s, %6llu us%s: after %4llu ms %3llu %% of it, %5.2f %% lost, long queue %llu %%\n",
		      (unsigned long long)l->bits_s, (unsigned long long)l->delay_us, mute ? ", mute" : "",
		      (unsigned long long)s.settled_us / 1000, (unsigned long long)(100 * got / can),
		      100.0 * (double)(sent - got) / (double)sent, (unsigned long long)s.waits);
	assert_true(got * 100 >= can * least);
	assert_true((sent - got) * 100 < sent * (mute ? 25 : 6));
	assert_true(mute || s.waits < 30);
}

static void a_line_is_filled_without_being_flooded(void **state)
{
	static const struct line lines[] = {
		{ 2000000, 20000, 50, 0 },     { 10000000, 500, 100, 0 },      { 10000000, 140000, 1000, 0 },
		{ 20000000, 5000, 100, 0 },    { 100000000, 500, 1000, 0 },    { 100000000, 50000, 1000, 0 },
		{ 100000000, 50000, 30, 0 },   { 100000000, 140000, 5000, 0 }, { 1000000000, 500, 500, 0 },
		{ 1000000000, 50000, 9000, 0 }, { 1000000000, 140000, 9000, 0 }, { 3000000000, 200, 2000, 0 },
		{ 50000000, 10000, 200, 200 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		judge_line(&lines[i], false, 90);
		judge_line(&lines[i], true, 90);
	}
}

static void no_more_than_the_rate_leaves(void **state)
{
	const struct line l = { 1000000000, 500, 500, 0 };
	struct seen s = drive(&l, 10000000, 4, false);

	(void)state;
	assert_in_range(s.sent * BYTES * 8, 4 * 9000000, 4 * 10200000);
	assert_int_equal(s.sent, s.arrived);
}

static void a_lie_about_what_arrived_changes_nothing(void **state)
{
	struct bench_pace p;

	(void)state;
	bench_pace_init(&p, 0, 5000000, 1000);
	bench_pace_heard(&p, &(struct bench_word){ 1000, 1000, 0, 0 }, 100, BYTES, 1000000);
	assert_int_equal(p.rate, BENCH_RATE_FIRST);
	bench_pace_heard(&p, &(struct bench_word){ 10, 10, 0, 0 }, 100, BYTES, 260000);
	assert_int_equal(p.rate, BENCH_RATE_FIRST);
	bench_pace_heard(&p, &(struct bench_word){ 90, 90, 0, 0 }, 100, BYTES, 300000);
	assert_true(p.rate > BENCH_RATE_FIRST);
	bench_pace_heard(&p, &(struct bench_word){ 80, 80, 0, 0 }, 100, BYTES, 330000);
	assert_int_equal(p.seen_top, 90);
}

/* ---- two data planes ---- */

#define ID 0xfeedface12345678

static void both(struct world *w, int loads, uint32_t ms, uint64_t rate)
{
	for (int i = 0; i < 2; i++) {
		struct dp_bench b = { .peer = 1, .id = ID, .load_ms = i == loads ? ms : 0, .rate_bits_s = rate };

		assert_int_equal(dp_bench_begin(w->e[i].dp, &b), 0);
	}
}

static void end_both(struct world *w)
{
	dp_bench_end(w->e[0].dp);
	dp_bench_end(w->e[1].dp);
}

/* End 0 leads: it pings. */
static void lead(struct world *w, unsigned ms)
{
	uint64_t until = clock_boot_ms() + ms;

	while (clock_boot_ms() < until) {
		dp_bench_ping(w->e[0].dp);
		usleep(10000);
	}
}

/* 20 Mbit/s for 1.2 s, seen by who sends and by who receives; gives how many round trips were measured. */
static unsigned load(struct world *w, int loads, struct dp_bench_counts *tx, struct dp_bench_counts *rx)
{
	uint32_t rtt[DP_BENCH_RTTS];
	uint64_t began = clock_boot_ms();
	unsigned n;

	both(w, loads, 1200, 20000000);
	lead(w, 1400);
	dp_bench_read(w->e[loads].dp, tx);
	for (int i = 0; i < 300 && tx->loading; i++) { /* where it did not run at its end */
		lead(w, 100);
		dp_bench_read(w->e[loads].dp, tx);
	}
	dp_bench_read(w->e[!loads].dp, rx);
	n = dp_bench_rtts(w->e[0].dp, rtt, DP_BENCH_RTTS);
	end_both(w);
	assert_false(tx->loading);
	for (unsigned i = 0; i < n; i++)
		assert_in_range(rtt[i], 1, (clock_boot_ms() - began + 1) * 1000);
	return n;
}

static void load_is_counted_and_small_packets_come_back(void **state)
{
	struct world *w = *state;

	for (int loads = 0; loads < 2; loads++) {
		struct dp_bench_counts tx, rx;
		unsigned n, tries = 0;

		/* Never more than it may; how much less depends on what else this machine does. */
		do {
			n = load(w, loads, &tx, &rx);
			assert_in_range(tx.tx_bytes * 8, 0, 26000000);
			assert_in_range(rx.rx_all_pkts, 0, tx.tx_pkts);
		} while (++tries < 3 && (tx.tx_bytes * 8 < 1000000 || rx.rx_all_pkts < tx.tx_pkts / 2 || n <= 2));
		assert_true(tx.tx_bytes * 8 >= 1000000 && rx.rx_all_pkts >= tx.tx_pkts / 2 && n > 2);
		assert_in_range(rx.rx_bytes * 8000000 / rx.rx_us, 500000, 22000000);
		assert_true(rx.crypto_us > 0 && rx.cpu_us > 0 && tx.cpu_us > 0 && tx.crypto_us > 0);
		assert_true(rx.wall_us > 1000000);
		assert_true(tx.send_us > 0 && rx.read_us > 0);
		assert_true(tx.send_us + tx.read_us <= tx.cpu_us + tx.cpu_us / 8);
	}
}

static void inner_packets_pass_meanwhile(void **state)
{
	struct world *w = *state;
	uint8_t got[65536];
	unsigned lost = 0;

	both(w, 0, 1500, 0);
	lead(w, 300);
	for (int i = 0; i < 40 && lost < 4; i++) {
		dp_bench_ping(w->e[0].dp);
		lost += !through(w, 0, &inner, 100, got);
		lost += !through(w, 1, &inner, 100, got);
	}
	/* Where the receiver does not run for a while, the load fills its socket, and one is lost. */
	assert_true(lost < 4);
	end_both(w);
}

static bool loads(struct world *w, int end)
{
	struct dp_bench_counts a, b;

	dp_bench_read(w->e[end].dp, &a);
	usleep(60000);
	dp_bench_read(w->e[end].dp, &b);
	return b.tx_pkts != a.tx_pkts;
}

/* Begun and led for so long it loads; five tries, as one that stands still in between leads no more. */
static bool led_loads(struct world *w, unsigned ms)
{
	for (int i = 0; i < 5; i++) {
		both(w, 1, 10000, 1000000);
		lead(w, ms);
		if (loads(w, 1))
			return true;
		end_both(w);
	}
	return false;
}

static void a_load_ends_when_nobody_leads_any_more(void **state)
{
	struct world *w = *state;

	assert_true(led_loads(w, 1500));
	usleep((BENCH_QUIET_MS + 100) * 1000);
	assert_false(loads(w, 1));
	end_both(w);
	/* And can be begun again under the same number. */
	assert_true(led_loads(w, 200));
	dp_bench_end(w->e[1].dp);
	assert_false(loads(w, 1));
	dp_bench_end(w->e[0].dp);
}

static void who_is_not_in_the_run_counts_for_nothing(void **state)
{
	struct world *w = *state;
	struct dp_bench other = { .peer = 1, .id = ID + 1 }, mine = { .peer = 1, .id = ID, .load_ms = 400 };
	struct dp_bench_counts rx;

	assert_int_equal(dp_bench_begin(w->e[0].dp, &mine), 0);
	assert_int_equal(dp_bench_begin(w->e[0].dp, &other), -EBUSY);
	assert_int_equal(dp_bench_begin(w->e[1].dp, &other), 0);
	lead(w, 500);
	dp_bench_read(w->e[1].dp, &rx);
	assert_int_equal(rx.rx_all_pkts, 0);
	end_both(w);
	other.id = 0;
	assert_int_equal(dp_bench_begin(w->e[1].dp, &other), -EINVAL);
	other = (struct dp_bench){ .peer = 5, .id = 3 };
	assert_int_equal(dp_bench_begin(w->e[1].dp, &other), -ENOENT);
}

static void the_rate_of_the_peer_holds_for_it(void **state)
{
	struct world *w = *state;
	struct dp_bench_counts tx;
	int tries = 0;

	assert_int_equal(dp_peer_set_rate(w->e[0].dp, 1, 8000000, 0), 0);
	do { /* never more; less where it stood still for most of a second */
		both(w, 0, 1000, 0);
		lead(w, 1100);
		dp_bench_read(w->e[0].dp, &tx);
		end_both(w);
		assert_in_range(tx.tx_bytes * 8, 0, 8800000);
	} while (++tries < 5 && tx.tx_bytes * 8 < 3000000);
	assert_true(tx.tx_bytes * 8 >= 3000000);
}

int main(void)
{
	const struct CMUnitTest alone[] = {
		cmocka_unit_test(a_head_is_read_as_it_was_written),
		cmocka_unit_test(a_line_is_filled_without_being_flooded),
		cmocka_unit_test(no_more_than_the_rate_leaves),
		cmocka_unit_test(a_lie_about_what_arrived_changes_nothing),
	};
	const struct CMUnitTest pair[] = {
		cmocka_unit_test_setup_teardown(load_is_counted_and_small_packets_come_back, setup, teardown),
		cmocka_unit_test_setup_teardown(inner_packets_pass_meanwhile, setup, teardown),
		cmocka_unit_test_setup_teardown(a_load_ends_when_nobody_leads_any_more, setup, teardown),
		cmocka_unit_test_setup_teardown(who_is_not_in_the_run_counts_for_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(the_rate_of_the_peer_holds_for_it, setup, teardown),
	};
	int failed = cmocka_run_group_tests_name("alone", alone, NULL, NULL);

	backend = DP_IO_EPOLL;
	failed += cmocka_run_group_tests_name("epoll", pair, NULL, NULL);
	workers_wanted = 2;
	failed += cmocka_run_group_tests_name("epoll, two workers", pair, NULL, NULL);
	workers_wanted = 1;
	backend = DP_IO_AUTO;
	failed += cmocka_run_group_tests_name("io_uring, if there is one", pair, NULL, NULL);
	return failed;
}
