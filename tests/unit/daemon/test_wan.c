/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "wan.h"

static uint64_t now;
static struct wan_table t;

static struct wan_id id(const char *ifname, const char *gateway, uint8_t mac)
{
	struct wan_id i = { .mac = { mac, mac } };

	snprintf(i.ifname, sizeof(i.ifname), "%s", ifname);
	if (gateway) {
		assert_int_equal(addr_parse(gateway, &i.gateway), 0);
		i.prefix = (struct prefix){ .addr = i.gateway, .len = 24 };
	}
	return i;
}

static struct wan *fresh(void)
{
	struct wan_id i = id("wan0", "192.168.1.1", 2);

	memset(&t, 0, sizeof(t));
	now = 1000000;
	return wan_get(&t, &i, now);
}

static uint32_t half(void *arg, uint32_t below)
{
	(void)arg;
	return below / 2;
}

/* A NAT that forgets after @life_ms, measured to the end; how many measurements that took. */
static int measure(struct wan *w, uint64_t life_ms)
{
	uint64_t gap;
	int n = 0;

	while ((gap = wan_gap_ms(w, now))) {
		wan_measured(w, gap, gap < life_ms);
		assert_true(++n <= 4);
	}
	assert_true(wan_is_measured(w));
	return n;
}

static void the_same_network_is_known_again(void **state)
{
	struct wan_id home = id("wlan0", "192.168.1.1", 1), cafe = id("wlan0", "192.168.1.1", 2),
		      unknown = id("wlan0", "192.168.1.1", 0), wire = id("eth0", "192.168.1.1", 1),
		      ppp = id("ppp0", NULL, 0), ppp_later = id("ppp0", NULL, 0);

	(void)state;
	assert_true(wan_same(&home, &home));
	assert_false(wan_same(&home, &cafe));
	assert_true(wan_same(&home, &unknown)); /* the MAC is not known right after boot */
	assert_false(wan_same(&home, &wire));
	assert_int_equal(addr_parse("100.64.9.9", &ppp_later.prefix.addr), 0);
	ppp_later.prefix.len = 32;
	assert_true(wan_same(&ppp, &ppp_later)); /* each connection gives it another address */
}

static void the_table_forgets_what_was_not_used_for_longest(void **state)
{
	struct wan_id i = id("wan0", "10.0.0.1", 0);
	struct wan *first, *w;

	(void)state;
	memset(&t, 0, sizeof(t));
	for (int n = 0; n < WAN_COUNT_MAX; n++) {
		i.gateway.b[3] = (uint8_t)n;
		w = wan_get(&t, &i, now);
		assert_non_null(w);
		if (!n)
			first = w;
	}
	first->refs = 1; /* it is in use, however old */
	i.gateway.b[3] = 200;
	w = wan_get(&t, &i, now);
	assert_ptr_equal(w, first + 1);
	for (int n = 0; n < WAN_COUNT_MAX; n++)
		t.wan[n].refs = 1;
	i.gateway.b[3] = 201;
	assert_null(wan_get(&t, &i, now));
}

static void it_begins_with_15_s_and_stays_below_25_until_measured(void **state)
{
	struct wan *w = fresh();

	(void)state;
	assert_int_equal(wan_interval_ms(w), 15000);
	for (int i = 0; i < 300; i++)
		wan_kept(w, wan_interval_ms(w), now);
	assert_int_equal(wan_interval_ms(w), 25000);
}

static void three_silences_survived_raise_it_by_a_tenth(void **state)
{
	struct wan *w = fresh();

	(void)state;
	wan_kept(w, 15000, now);
	wan_kept(w, 14000, now);
	wan_kept(w, 3000, now); /* no such silence: neither counts nor breaks the row */
	assert_int_equal(wan_interval_ms(w), 15000);
	wan_kept(w, 13900, now);
	assert_int_equal(wan_interval_ms(w), 16500);
}

static void what_is_measured_decides(void **state)
{
	static const struct {
		uint64_t life, interval, most;
		int n;
	} row[] = {
		/* life of a mapping, interval after that, after all has gone well for long, measurements */
		{ 20000, 15000, 18000, 1 },  { 31000, 18000, 18000, 3 },
		{ 61000, 36000, 36000, 3 },  { 121000, 72000, 72000, 3 },
		{ 600000, 110000, 110000, 3 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(row) / sizeof(*row); i++) {
		struct wan *w = fresh();

		assert_int_equal(wan_gap_ms(w, now), 30000); /* the first gains most */
		assert_int_equal(measure(w, row[i].life), row[i].n);
		assert_int_equal(wan_interval_ms(w), row[i].interval);
		for (int n = 0; n < 300; n++)
			wan_kept(w, wan_interval_ms(w), now);
		assert_int_equal(wan_interval_ms(w), row[i].most);
	}
}

static void another_port_after_a_silence_halves_it(void **state)
{
	struct wan *w = fresh();

	(void)state;
	measure(w, 61000);
	assert_int_equal(wan_interval_ms(w), 36000);
	wan_port_changed(w, 36000, now);
	assert_int_equal(wan_interval_ms(w), 18000);
	assert_false(w->rebinding);
	assert_int_equal(wan_gap_ms(w, now + WAN_REMEASURE_MS - 1), 0);
	assert_int_equal(wan_gap_ms(w, now + WAN_REMEASURE_MS), 30000);
	/* and what was measured before is not believed any more */
	for (int n = 0; n < 300; n++)
		wan_kept(w, wan_interval_ms(w), now);
	assert_int_equal(wan_interval_ms(w), 21600); /* 0.6 x 36 s */
	wan_port_changed(w, 21600, now);
	wan_port_changed(w, 10800, now);
	wan_port_changed(w, 5400, now);
	assert_int_equal(wan_interval_ms(w), 5000); /* never below */
}

static void a_silence_far_longer_than_asked_for_says_nothing(void **state)
{
	struct wan *w = fresh();

	(void)state;
	wan_port_changed(w, 8 * 3600 * 1000, now); /* the machine slept */
	assert_int_equal(wan_interval_ms(w), 15000);
}

static void an_absolute_lifetime_is_told_apart(void **state)
{
	struct wan *w = fresh();

	(void)state;
	/* under load */
	wan_port_changed(w, 0, now);
	assert_false(w->rebinding); /* somebody may have restarted the router */
	wan_port_changed(w, 0, now + 61000);
	assert_true(w->rebinding);
	assert_int_equal(wan_interval_ms(w), 15000);
	wan_port_changed(w, 15000, now + 120000);
	assert_int_equal(wan_interval_ms(w), 15000); /* not lowered any more */
	/* idle: what looked like silences that are too long, down to the shortest */
	w = fresh();
	for (int i = 0; i < 4; i++)
		wan_port_changed(w, wan_interval_ms(w), now + (uint64_t)i * 60000);
	assert_true(w->rebinding);
	assert_int_equal(wan_interval_ms(w), 15000);
	/* gone when it has not happened for a day */
	wan_kept(w, 15000, now + WAN_FORGET_MS / 2);
	assert_true(w->rebinding);
	wan_kept(w, 15000, now + 240000 + WAN_FORGET_MS);
	assert_false(w->rebinding);
	/* rare ones are no such NAT */
	w = fresh();
	for (int i = 0; i < 10; i++)
		wan_port_changed(w, 0, now + (uint64_t)i * (WAN_ODD_MS + 1));
	assert_false(w->rebinding);
}

static void what_cannot_be_measured_is_tried_again_later(void **state)
{
	struct wan *w = fresh();

	(void)state;
	wan_not_measured(w, now);
	assert_int_equal(wan_gap_ms(w, now + 1000), 0);
	assert_int_equal(wan_gap_ms(w, now + WAN_REMEASURE_MS), 30000);
	assert_int_equal(wan_interval_ms(w), 15000);
}

/* Three peers with traffic of their own at odd times: in a quiet hour they wake the radio together. */
static void peers_of_one_wan_wake_up_together(void **state)
{
	struct wan *w = fresh();
	uint64_t last[3] = { now, now + 4000, now + 9500 }, due[3], end = now + 3600000, wakes = 0,
		 sent = 0;

	(void)state;
	now += 10000;
	while (now < end) {
		uint64_t next = UINT64_MAX;

		for (int i = 0; i < 3; i++) {
			due[i] = wan_due_ms(w, last[i], now, half, NULL);
			assert_true(due[i] > last[i] && due[i] - last[i] <= 15000);
			if (due[i] < next)
				next = due[i];
		}
		if (next > now)
			now = next;
		wakes++;
		for (int i = 0; i < 3; i++)
			if (due[i] <= now) {
				last[i] = now + (uint64_t)i; /* a millisecond apart */
				sent++;
			}
	}
	assert_in_range(wakes, 240, 260); /* 14.25 s apart */
	assert_in_range(sent, 3 * wakes - 6, 3 * wakes);
}

static void wake_ups_have_a_jitter_of_a_tenth(void **state)
{
	struct wan *w = fresh();
	uint64_t last = now, due = wan_due_ms(w, last, now, half, NULL);

	(void)state;
	assert_int_equal(due - last, 14250);
	now = last = due;
	due = wan_due_ms(w, last, now, half, NULL);
	assert_in_range(due - last, 13500, 15000);
	/* after a sleep of a day it is due at once, not a thousand times */
	now += 86400000;
	assert_true(wan_due_ms(w, last, now, half, NULL) <= now);
	assert_true(wan_due_ms(w, now, now, half, NULL) > now);
}

static void a_budget_stretches_keepalives(void **state)
{
	struct wan *w = fresh();
	uint64_t free_cost;

	(void)state;
	w->users = 1;
	free_cost = wan_projected(w);
	assert_in_range(free_cost, 20u << 20, 60u << 20); /* 15 s: some 35 MB a month */
	w->metered = true;
	w->budget_bytes = 2 * free_cost;
	assert_false(wan_is_stretched(w));
	assert_int_equal(wan_interval_ms(w), 15000);
	w->budget_bytes = 5u << 20;
	assert_true(wan_is_stretched(w));
	assert_true(wan_projected(w) <= w->budget_bytes * 80 / 100);
	assert_in_range(wan_interval_ms(w), 60000, 300000);
	/* twice the peers: twice as long */
	w->users = 2;
	assert_in_range(wan_interval_ms(w), 120000, 600000);
	w->users = 1;
	/* spent: as seldom as possible, but never not at all */
	wan_spend(w, WAN_RETRY, 5u << 20, now);
	assert_int_equal(wan_interval_ms(w), WAN_STRETCH_MS);
	assert_int_equal(wan_used(w), 5u << 20);
	/* and a month later all is new */
	wan_spend(w, WAN_KEEPALIVE, 64, now + WAN_MONTH_MS);
	assert_int_equal(wan_used(w), 64);
	assert_true(wan_interval_ms(w) < WAN_STRETCH_MS);
	/* without `metered` it is only counted */
	w->metered = false;
	assert_int_equal(wan_interval_ms(w), 15000);
}

static void a_budget_slows_retries_the_less_of_it_is_left(void **state)
{
	struct wan *w = fresh();
	uint64_t before = 0;

	(void)state;
	w->users = 1;
	assert_int_equal(wan_retry_ms(w, 600), 0);
	w->metered = true;
	w->budget_bytes = 60u << 20;
	assert_true(wan_retry_ms(w, 600) < 2000); /* a short outage costs no time */
	for (int i = 0; i < 100; i++) {
		uint64_t ms = wan_retry_ms(w, 600);

		assert_true(ms >= before && ms <= WAN_RETRY_MS);
		before = ms;
		wan_spend(w, WAN_RETRY, 1u << 20, now);
	}
	assert_int_equal(before, WAN_RETRY_MS);
	/* A month of an outage: what is spent in all. */
	w = fresh();
	w->metered = true;
	w->budget_bytes = 10u << 20;
	for (uint64_t end = now + WAN_MONTH_MS / 2; now < end;) {
		uint64_t pause = wan_retry_ms(w, 600);

		wan_spend(w, WAN_RETRY, 600, now);
		now += pause > 4000 ? pause : 4000;
	}
	assert_true(wan_used(w) <= w->budget_bytes);
}

/* ---- on disk ---- */

static void fill(struct wan *w)
{
	measure(w, 61000);
	w->rebinding = true;
	wan_spend(w, WAN_LIVENESS, 12345, now + 5000);
	t.serial = 41;
}

static void what_is_learnt_comes_back(void **state)
{
	struct wan *w = fresh();
	uint8_t image[WAN_IMAGE_MAX];
	struct wan_table back;
	size_t len;

	(void)state;
	fill(w);
	assert_int_equal(wan_build(&t, image, &len), 0);
	assert_int_equal(wan_parse(image, len, &back), 0);
	assert_true(back.serial == 41 && back.count == 1 && back.order == t.order);
	assert_true(wan_same(&back.wan[0].id, &w->id));
	assert_int_equal(wan_interval_ms(&back.wan[0]), 36000);
	assert_true(back.wan[0].rebinding && back.wan[0].ok_ms == 60000 &&
		    wan_is_measured(&back.wan[0]));
	assert_int_equal(wan_used(&back.wan[0]), 12345);
	assert_int_equal(back.wan[0].month_ms, 5000);
	assert_int_equal(back.wan[0].ask_bytes, w->ask_bytes);
	/* the largest there can be fits */
	t.count = WAN_COUNT_MAX;
	for (int i = 0; i < WAN_COUNT_MAX; i++) {
		t.wan[i] = *w;
		strcpy(t.wan[i].id.ifname, "abcdefghijklmno");
		assert_int_equal(addr_parse("fe80::1", &t.wan[i].id.gateway), 0);
		t.wan[i].id.prefix = (struct prefix){ .addr = t.wan[i].id.gateway, .len = 128 };
	}
	assert_int_equal(wan_build(&t, image, &len), 0);
	assert_int_equal(wan_parse(image, len, &back), 0);
	assert_int_equal(back.count, WAN_COUNT_MAX);
}

static void a_torn_image_is_none(void **state)
{
	struct wan *w = fresh();
	uint8_t image[WAN_IMAGE_MAX], copy[WAN_IMAGE_MAX];
	struct wan_table back;
	size_t len;

	(void)state;
	fill(w);
	assert_int_equal(wan_build(&t, image, &len), 0);
	for (size_t cut = 0; cut < len; cut++)
		assert_int_equal(wan_parse(image, cut, &back), -EBADMSG);
	for (size_t at = 0; at < len; at++) {
		memcpy(copy, image, len);
		copy[at] ^= 1;
		assert_int_equal(wan_parse(copy, len, &back), -EBADMSG);
		assert_int_equal(back.count, 0);
	}
}

/* A right sum over what no rule could have made: an interval of a year would be with us for ever. */
static void numbers_that_cannot_be_are_refused(void **state)
{
	static const uint64_t wrong[] = { 0, 4999, 110001, UINT64_MAX };
	uint8_t image[WAN_IMAGE_MAX];
	struct wan *w = fresh();
	struct wan_table back;
	size_t len;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		w->interval_ms = wrong[i];
		assert_int_equal(wan_build(&t, image, &len), 0);
		assert_int_equal(wan_parse(image, len, &back), -EBADMSG);
	}
	w->interval_ms = 5000;
	w->rung_bad = 5;
	assert_int_equal(wan_build(&t, image, &len), 0);
	assert_int_equal(wan_parse(image, len, &back), -EBADMSG);
}

static void two_files_take_turns(void **state)
{
	int fds[2] = { memfd_create("a", 0), memfd_create("b", 0) };
	struct wan *w = fresh();
	struct wan_table back;

	(void)state;
	wan_load(fds, &back);
	assert_true(!back.serial && !back.count);
	for (int i = 1; i <= 3; i++) {
		w->rebinds = 0;
		w->interval_ms = 5000 + 1000 * (uint64_t)i;
		assert_int_equal(wan_save(fds, &t), 0);
		wan_load(fds, &back);
		assert_int_equal(back.serial, i);
		assert_int_equal(back.wan[0].interval_ms, w->interval_ms);
	}
	/* the newer one is torn: the one before it counts */
	assert_int_equal(ftruncate(fds[1], 30), 0);
	wan_load(fds, &back);
	assert_int_equal(back.serial, 2);
	assert_int_equal(back.wan[0].interval_ms, 7000);
	close(fds[0]);
	close(fds[1]);
}

#define T(f) cmocka_unit_test(f)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_same_network_is_known_again),
		T(the_table_forgets_what_was_not_used_for_longest),
		T(it_begins_with_15_s_and_stays_below_25_until_measured),
		T(three_silences_survived_raise_it_by_a_tenth),
		T(what_is_measured_decides),
		T(another_port_after_a_silence_halves_it),
		T(a_silence_far_longer_than_asked_for_says_nothing),
		T(an_absolute_lifetime_is_told_apart),
		T(what_cannot_be_measured_is_tried_again_later),
		T(peers_of_one_wan_wake_up_together),
		T(wake_ups_have_a_jitter_of_a_tenth),
		T(a_budget_stretches_keepalives),
		T(a_budget_slows_retries_the_less_of_it_is_left),
		T(what_is_learnt_comes_back),
		T(a_torn_image_is_none),
		T(numbers_that_cannot_be_are_refused),
		T(two_files_take_turns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
