/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The search for a path's size over a path that a test makes, in faked time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "mtu.h"

#define PEER   3
#define FLIGHT 4096

/* An answer under way. */
struct answer {
	uint64_t at_ms;
	uint16_t round, bytes;
};

static struct {
	uint64_t now;
	uint16_t mtu;	   /* of the path, unknown to the rules */
	unsigned rtt, loss; /* ms; per cent, of probes and answers alike */
	bool dead, unready;
	uint64_t random, sent_ms;
	struct answer flight[FLIGHT];
	size_t flying;
	/* what happened */
	unsigned probes, large, changes, found;
	uint16_t found_path, smallest;
	size_t bytes;
} w;
static struct mtu m;

static unsigned dice(unsigned below)
{
	w.random = w.random * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned)(w.random >> 33) % below;
}

static bool f_probe(void *arg, uint32_t peer, uint16_t bytes, uint16_t round)
{
	(void)arg;
	assert_int_equal(peer, PEER);
	if (w.unready)
		return false;
	w.probes++;
	w.large += bytes > 0;
	w.bytes += bytes ? bytes : 80;
	if (w.dead || bytes > w.mtu || dice(100) < w.loss || dice(100) < w.loss)
		return true;
	assert_true(w.flying < FLIGHT);
	w.flight[w.flying++] = (struct answer){ w.now + w.rtt, round, bytes };
	return true;
}

static void f_changed(void *arg, uint32_t peer)
{
	(void)arg, (void)peer;
	w.changes++;
	if (!w.smallest || m.path < w.smallest)
		w.smallest = m.path;
}

static void f_found(void *arg, uint32_t peer, uint16_t path)
{
	(void)arg, (void)peer;
	w.found++;
	w.found_path = path;
}

static uint64_t f_sent_ms(void *arg, uint32_t peer)
{
	(void)arg, (void)peer;
	return w.sent_ms;
}

static const struct mtu_ops ops = { f_probe, f_changed, f_found, f_sent_ms };

static void deliver(void)
{
	for (size_t i = 0; i < w.flying;) {
		struct answer a = w.flight[i];

		if (a.at_ms > w.now) {
			i++;
			continue;
		}
		memmove(&w.flight[i], &w.flight[i + 1], (--w.flying - i) * sizeof(a));
		mtu_answer(&m, a.round, a.bytes, w.now);
	}
}

/* Milliseconds pass, one by one or by what is due. */
static void pass(uint64_t ms)
{
	for (uint64_t end = w.now + ms; w.now < end;) {
		w.now++;
		if (!w.flying && mtu_due_ms(&m) > w.now)
			w.now = mtu_due_ms(&m) < end ? mtu_due_ms(&m) : end;
		deliver();
		if (mtu_due_ms(&m) <= w.now)
			mtu_tick(&m, w.now);
		assert_true(mtu_due_ms(&m) > w.now);
	}
}

static void world(uint16_t mtu, unsigned rtt)
{
	memset(&w, 0, sizeof(w));
	w.now = 1000;
	w.mtu = mtu;
	w.rtt = rtt;
	w.random = 7;
	mtu_init(&m, &ops, NULL, PEER);
	mtu_route(&m, 1500, false, w.now);
}

static void up(uint16_t mtu, unsigned rtt)
{
	world(mtu, rtt);
	mtu_up(&m, true, false, w.now);
	pass(20000);
	w.probes = w.large = w.changes = w.found = 0;
	w.smallest = 0;
}

static void a_path_that_takes_all_is_asked_once(void **state)
{
	(void)state;
	world(1500, 30);
	mtu_up(&m, true, false, w.now);
	pass(5000);
	assert_int_equal(m.path, 1500);
	assert_int_equal(w.large, 1);
	assert_int_equal(w.found, 0);
	assert_int_equal(m.state, MTU_IDLE);
	/* And nobody who sends nothing pays for more. */
	pass(3600000);
	assert_int_equal(w.large, 1);
}

static void every_size_is_found(void **state)
{
	(void)state;
	for (uint16_t mtu = 576; mtu <= 1500; mtu += 4) {
		world(mtu, 20 + mtu % 100);
		mtu_up(&m, true, false, w.now);
		pass(30000);
		assert_int_equal(m.state, MTU_IDLE);
		assert_in_range(m.path, mtu - MTU_STEP, mtu);
		assert_true(w.bytes < 300000);
		if (m.path < 1500)
			assert_int_equal(w.found_path, m.path);
	}
}

static void ipv6_is_never_below_its_least(void **state)
{
	(void)state;
	world(1000, 30);
	mtu_route(&m, 1500, true, w.now);
	mtu_up(&m, true, true, w.now);
	pass(30000);
	assert_int_equal(m.path, 1280);
}

/* 1500 -> 1280 -> 1200 in mid-flow, and never an ICMP error. */
static void a_path_that_shrinks_in_silence_is_followed_in_two_seconds(void **state)
{
	static const uint16_t sizes[] = { 1280, 1200, 1100 };
	static const unsigned rtts[] = { 1, 30, 100, 280 };

	(void)state;
	for (size_t r = 0; r < 4; r++) {
		up(1500, rtts[r]);
		for (size_t i = 0; i < 3; i++) {
			uint64_t begin;

			pass(20000);
			w.mtu = sizes[i];
			begin = w.now;
			mtu_hint(&m, w.now);
			while (m.path > w.mtu && w.now < begin + 10000)
				pass(10);
			assert_true(w.now - begin < 2000);
			pass(20000);
			assert_in_range(m.path, sizes[i] - MTU_STEP, sizes[i]);
		}
	}
}

/* The tunnel comes up under traffic: its hints come before the search that was due. */
static void a_hint_does_not_take_the_place_of_a_search(void **state)
{
	(void)state;
	up(1200, 30);
	mtu_down(&m);
	w.mtu = 1500;
	mtu_up(&m, true, false, w.now);
	mtu_hint(&m, w.now + 1);
	pass(5000);
	assert_int_equal(m.path, 1500);
}

static void a_path_that_grows_is_found_again(void **state)
{
	(void)state;
	up(1280, 30);
	assert_int_equal(m.path, 1280);
	w.mtu = 1500;
	w.sent_ms = w.now;
	pass(MTU_AGAIN_MS + 5000);
	assert_int_equal(m.path, 1500);
	assert_int_equal(w.found_path, 1500);
}

static void the_peers_word_is_a_reason_to_look(void **state)
{
	(void)state;
	up(1500, 30);
	w.mtu = 1400;
	mtu_peer_says(&m, 1400, w.now);
	pass(10000);
	assert_int_equal(m.path, 1400);
	w.mtu = 1500;
	mtu_peer_says(&m, 1500, w.now);
	pass(10000);
	assert_int_equal(m.path, 1500);
	w.probes = 0;
	mtu_peer_says(&m, 1500, w.now); /* no news */
	pass(1000);
	assert_int_equal(w.probes, 0);
}

static void random_loss_is_not_a_small_path(void **state)
{
	unsigned wrong = 0, asked = 0;

	(void)state;
	up(1500, 40);
	w.loss = 5; /* of questions and of answers */
	for (int i = 0; i < 2000; i++) {
		mtu_hint(&m, w.now);
		pass(1500);
		asked++;
		wrong += w.smallest && w.smallest < 1500;
		w.smallest = 0;
	}
	assert_true(wrong < 4);
	pass(30000);
	assert_int_equal(m.path, 1500);
	assert_true(w.large < 3 * asked);
}

static void at_twenty_per_cent_it_comes_back(void **state)
{
	unsigned below = 0;

	(void)state;
	up(1500, 40);
	w.loss = 11;
	for (int i = 0; i < 1000; i++) {
		mtu_hint(&m, w.now);
		pass(3000);
		below += m.path < 1500;
		if (m.path < 1500) {
			w.sent_ms = w.now;
			pass(MTU_AGAIN_MS * 2);
		}
	}
	assert_true(below < 30);
}

static void a_dead_path_says_nothing_about_size(void **state)
{
	(void)state;
	up(1500, 30);
	w.dead = true;
	mtu_hint(&m, w.now);
	pass(120000);
	assert_int_equal(m.path, 1500);
	assert_true(w.probes < 60);
	w.dead = false;
	w.mtu = 1400;
	pass(MTU_RETRY_MAX_MS + 10000);
	assert_int_equal(m.path, 1400);
}

static void it_begins_when_something_can_be_sent(void **state)
{
	(void)state;
	world(1400, 30);
	w.unready = true;
	mtu_up(&m, true, false, w.now);
	pass(3000);
	w.unready = false;
	pass(20000);
	assert_int_equal(m.path, 1400);
}

static void an_icmp_error_about_a_live_sa_holds_at_once_and_is_tested(void **state)
{
	(void)state;
	up(1500, 30);
	w.mtu = 1400;
	mtu_icmp(&m, 1400, true, w.now);
	assert_int_equal(m.path, 1400);
	assert_int_equal(m.source, MTU_ICMP);
	pass(10000);
	assert_int_equal(m.path, 1400);
	assert_int_equal(m.source, MTU_PROBE);
}

static void unconfirmed_it_lowers_no_further_than_the_bound(void **state)
{
	(void)state;
	up(1500, 30);
	w.mtu = 576;
	mtu_icmp(&m, 68, true, w.now);
	assert_int_equal(m.path, 1200);
	pass(10000);
	assert_int_equal(m.path, 576); /* but what probes say holds */
	world(1500, 30);
	mtu_route(&m, 1500, true, w.now);
	mtu_up(&m, true, true, w.now);
	pass(5000);
	mtu_icmp(&m, 100, true, w.now);
	assert_int_equal(m.path, 1280);
}

static void a_forged_one_is_refuted_and_the_next_not_believed(void **state)
{
	(void)state;
	up(1500, 30);
	mtu_icmp(&m, 1280, true, w.now);
	assert_int_equal(m.path, 1280);
	pass(1000);
	assert_int_equal(m.path, 1500);
	w.smallest = 0;
	w.probes = 0;
	for (int i = 0; i < 5000; i++) {
		mtu_icmp(&m, 1280, true, w.now);
		mtu_icmp(&m, 1200, false, w.now);
		mtu_icmp(&m, 0, false, w.now);
		pass(10);
	}
	assert_int_equal(w.smallest, 0);
	assert_true(w.probes < 40);
}

static void without_our_spi_it_only_asks_for_a_probe(void **state)
{
	(void)state;
	up(1500, 30);
	mtu_icmp(&m, 1280, false, w.now);
	assert_int_equal(m.path, 1500);
	pass(1000);
	assert_int_equal(m.path, 1500);
	assert_int_equal(w.large, 1);
	pass(20000);
	w.mtu = 1300;
	mtu_icmp(&m, 1300, false, w.now);
	pass(5000);
	assert_int_equal(m.path, 1300);
}

static void towards_a_foreign_peer_an_error_holds_ten_minutes(void **state)
{
	(void)state;
	world(1500, 30);
	mtu_up(&m, false, false, w.now);
	pass(10000);
	assert_int_equal(w.probes, 0);
	assert_int_equal(m.path, 1500);
	mtu_icmp(&m, 1280, false, w.now);
	assert_int_equal(m.path, 1500);
	mtu_icmp(&m, 600, true, w.now);
	assert_int_equal(m.path, 1200);
	pass(MTU_AGAIN_MS - 1000);
	assert_int_equal(m.path, 1200);
	pass(2000);
	assert_int_equal(m.path, 1500);
	assert_int_equal(w.probes, 0);
}

static void the_first_link_is_the_upper_bound(void **state)
{
	(void)state;
	up(1500, 30);
	mtu_route(&m, 1400, false, w.now);
	assert_int_equal(m.path, 1400);
	assert_int_equal(m.source, MTU_INTERFACE);
	pass(5000);
	assert_int_equal(m.path, 1400);
	mtu_route(&m, 9000, false, w.now);
	pass(5000);
	assert_int_equal(m.path, 1500);
}

static void a_move_is_looked_into_at_once(void **state)
{
	(void)state;
	up(1280, 30);
	w.mtu = 1500;
	mtu_moved(&m, false, w.now);
	pass(2000);
	assert_int_equal(m.path, 1500);
	w.mtu = 1340;
	mtu_moved(&m, false, w.now);
	pass(2000);
	assert_true(m.path <= 1340);
}

static void hints_cost_one_probe_a_second(void **state)
{
	(void)state;
	up(1500, 30);
	for (int i = 0; i < 10000; i++) {
		mtu_hint(&m, w.now);
		pass(1);
	}
	assert_in_range(w.large, 5, 11);
}

/* The path does what it likes for a month; ten minutes after its last change, with traffic, all is right. */
static void in_the_end_it_is_always_right(void **state)
{
	(void)state;
	up(1500, 30);
	for (int i = 0; i < 3000; i++) {
		w.mtu = (uint16_t)(576 + 4 * dice(232));
		w.rtt = 1 + dice(300);
		w.loss = dice(3) ? 0 : dice(5);
		w.dead = !dice(10);
		for (unsigned k = dice(20); k; k--) {
			switch (dice(6)) {
			case 0:
				mtu_hint(&m, w.now);
				break;
			case 1:
				mtu_icmp(&m, (uint16_t)dice(1500), dice(2), w.now);
				break;
			case 2:
				mtu_peer_says(&m, (uint16_t)dice(1500), w.now);
				break;
			case 3:
				mtu_moved(&m, false, w.now);
				break;
			case 4:
				mtu_down(&m);
				mtu_up(&m, true, false, w.now);
				break;
			default:
				mtu_route(&m, (uint16_t)(dice(2) ? 1500 : 1400 + 4 * dice(26)),
					  false, w.now);
				break;
			}
			pass(dice(3000));
		}
		w.dead = false;
		w.loss = 0;
		mtu_route(&m, 1500, false, w.now);
		w.sent_ms = w.now + 1000000;
		mtu_hint(&m, w.now);
		pass(MTU_AGAIN_MS + 90000);
		assert_in_range(m.path, w.mtu - MTU_STEP, w.mtu);
		w.sent_ms = 0;
	}
}

/* A peer may say what it likes, of a round under way as well. */
static void more_than_was_sent_cannot_have_arrived(void **state)
{
	(void)state;
	for (unsigned ms = 0; ms < 5000; ms += 50) {
		world(1400, 30);
		mtu_up(&m, true, false, w.now);
		pass(ms);
		mtu_answer(&m, m.round, 65535, w.now);
		mtu_answer(&m, m.round, 1501, w.now);
		pass(20000);
		assert_in_range(m.path, 1380, 1400);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(more_than_was_sent_cannot_have_arrived),
		cmocka_unit_test(a_path_that_takes_all_is_asked_once),
		cmocka_unit_test(every_size_is_found),
		cmocka_unit_test(ipv6_is_never_below_its_least),
		cmocka_unit_test(a_path_that_shrinks_in_silence_is_followed_in_two_seconds),
		cmocka_unit_test(a_hint_does_not_take_the_place_of_a_search),
		cmocka_unit_test(a_path_that_grows_is_found_again),
		cmocka_unit_test(the_peers_word_is_a_reason_to_look),
		cmocka_unit_test(random_loss_is_not_a_small_path),
		cmocka_unit_test(at_twenty_per_cent_it_comes_back),
		cmocka_unit_test(a_dead_path_says_nothing_about_size),
		cmocka_unit_test(it_begins_when_something_can_be_sent),
		cmocka_unit_test(an_icmp_error_about_a_live_sa_holds_at_once_and_is_tested),
		cmocka_unit_test(unconfirmed_it_lowers_no_further_than_the_bound),
		cmocka_unit_test(a_forged_one_is_refuted_and_the_next_not_believed),
		cmocka_unit_test(without_our_spi_it_only_asks_for_a_probe),
		cmocka_unit_test(towards_a_foreign_peer_an_error_holds_ten_minutes),
		cmocka_unit_test(the_first_link_is_the_upper_bound),
		cmocka_unit_test(a_move_is_looked_into_at_once),
		cmocka_unit_test(hints_cost_one_probe_a_second),
		cmocka_unit_test(in_the_end_it_is_always_right),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
