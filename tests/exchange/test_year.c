/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A year of faults: a thousand times one, two or three of them at once, from a second to more than a day, with
 * users' packets at the time or none, from either end. What must hold: 5 s after the network works again,
 * or after somebody wants to send if that is later, an inner packet from either end gets through. From the VPS
 * it may take one keepalive interval instead, where the home could not know that something had happened: its
 * NAT forgot it, and it was not asking. One fault is such that nothing but an unanswered question
 * shows it: a NAT that holds on to dead mappings; then the time to ask and to hop comes on top.
 *
 * Both supervisors and both engines are the real ones (year.h). The quiet between faults is at most ten
 * minutes, not hours: a supervisor that is up repeats itself twice a minute.
 *
 *	test_exchange_year			a few seeds, as part of the tests
 *	test_exchange_year SEED			one, with every fault and what it took
 *	test_exchange_year FIRST LAST		many, with a table in the end (tests/soak year)
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "year_fault.h"

#define FAULTS_A_YEAR  1000
#define BOUND_MS       5000
#define KEEPALIVE_MS   (15000 + SUP_SAMPLE_MS + 500) /* the interval, sampling, the way */
#define DAY_BOUND_MS   (30000 + BOUND_MS) /* after a day without an answer and nothing to send */
#define STUCK_BOUND_MS 75000 /* 30 s to ask, 2.5 to hop, 20 until it is another port's turn */

static unsigned long first_seed = 43, last_seed = 48;
static bool told, table;
/* How long each took, by the worst fault of an episode: a table for people. */
static struct {
	unsigned long n[2], over_1s[2];
	uint64_t max[2];
} took[FAULTS];

/* ---- users ---- */

static void traffic(struct node *n, uint64_t from_ms, uint64_t until_ms, uint64_t every_ms)
{
	n->from_ms = n->next_ms = from_ms;
	n->until_ms = until_ms;
	n->every_ms = every_ms;
}

static bool wants(const struct node *n)
{
	return n->every_ms && n->y->now_ms >= n->from_ms && n->y->now_ms <= n->until_ms;
}

static bool busy(const struct node *n)
{
	return wants(n) && n->every_ms <= SECOND && n->y->now_ms - n->from_ms >= BOUND_MS;
}

/* Does the home know that something is wrong, so that it is trying? */
static bool is_trying(const struct node *n)
{
	return !n->sup.ike || (n->sup.asked_ms && node_now(n) - n->sup.asked_ms >= 3000);
}

static void begins_to_want(struct story *s, int host)
{
	struct year *y = s->y;
	const struct node *home = &y->node[HOME];
	uint64_t silent = home->running ? node_now(home) - home->sup.silent_since_ms : 0;

	s->since_ms[host] = y->node[host].from_ms > s->ok_ms ? y->node[host].from_ms : s->ok_ms;
	s->bound_ms[host] = BOUND_MS;
	if (host == VPS && !busy(home)) {
		if (silent > SUP_DAY_MS)
			s->bound_ms[host] = DAY_BOUND_MS;
		else if (!is_trying(home) || s->y->absolute_ms)
			s->bound_ms[host] = KEEPALIVE_MS;
	}
	if (s->stuck)
		s->bound_ms[host] = STUCK_BOUND_MS;
}

/* Its packets tell the VPS at once where it is now; else the next keepalive does. */
static uint64_t bound(const struct story *s, int host)
{
	if (host == VPS && !busy(&s->y->node[HOME]) && s->bound_ms[host] < KEEPALIVE_MS &&
	    s->y->node[VPS].got_sent_ms >= s->since_ms[host])
		return KEEPALIVE_MS;
	return s->bound_ms[host];
}

static void judge(struct story *s, int host)
{
	struct node *n = &s->y->node[host];
	uint64_t last;

	if (!s->ok_ms || !wants(n)) {
		s->since_ms[host] = 0;
		return;
	}
	if (!s->since_ms[host])
		begins_to_want(s, host);
	last = n->got_sent_ms > s->since_ms[host] ? n->got_sent_ms : s->since_ms[host];
	if (n->got_sent_ms >= s->since_ms[host] && !s->served[host]) {
		uint64_t ms = n->got_sent_ms - s->since_ms[host];

		s->served[host] = true;
		if (told)
			fprintf(stderr, "    %s: %llu ms\n", host == HOME ? "home" : "vps",
				(unsigned long long)ms);
		for (int i = 0; i < s->events; i++) {
			took[s->ev[i].fault].n[host]++;
			took[s->ev[i].fault].over_1s[host] += ms > 1000;
			if (ms > took[s->ev[i].fault].max[host])
				took[s->ev[i].fault].max[host] = ms;
		}
	}
	if (s->y->now_ms - last > bound(s, host) + 2 * n->every_ms)
		s->why = host == HOME ? "packets from home do not arrive"
				      : "packets from the VPS do not arrive";
}

/* ---- time ---- */

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void step_faults(struct story *s)
{
	bool any = false;

	for (int i = 0; i < s->events; i++) {
		struct event *ev = &s->ev[i];

		if (!ev->begun && ev->begin_ms <= s->y->now_ms) {
			fault_begin(s, ev);
			any = true;
		}
		if (ev->begun && !ev->ended && ev->end_ms <= s->y->now_ms) {
			fault_end(s, ev);
			any = true;
		}
	}
	if (any)
		faults_follow(s);
}

static uint64_t next_of(const struct story *s)
{
	const struct year *y = s->y;
	uint64_t at = year_arrivals(y);

	for (int h = 0; h < 2; h++) {
		const struct node *n = &y->node[h];

		at = least(at, node_due(n));
		if (n->every_ms && n->next_ms <= n->until_ms)
			at = least(at, n->next_ms);
	}
	for (int i = 0; i < s->events; i++) {
		if (!s->ev[i].begun)
			at = least(at, s->ev[i].begin_ms);
		else if (!s->ev[i].ended)
			at = least(at, s->ev[i].end_ms);
	}
	return at;
}

static void step(struct story *s)
{
	struct year *y = s->y;

	step_faults(s);
	while (year_arrivals(y) <= y->now_ms)
		year_arrive(y);
	for (int h = 0; h < 2; h++) {
		struct node *n = &y->node[h];

		if (node_due(n) <= y->now_ms)
			node_run(n);
		if (!n->every_ms || n->next_ms > y->now_ms || n->next_ms > n->until_ms)
			continue;
		n->next_ms = y->now_ms + n->every_ms;
		if (n->running && !n->asleep)
			node_data(n);
		if (fault_active(s, ICMP))
			node_icmp(n);
		if (fault_active(s, LIES))
			node_lie(n);
		judge(s, h);
	}
}

static void run_until(struct story *s, uint64_t until)
{
	unsigned turns = 0;

	while (!s->why) {
		uint64_t at = next_of(s);

		if (at > until)
			break;
		turns = at > s->y->now_ms ? 0 : turns + 1;
		if (turns > 20000) {
			s->why = "time stands still: something is due again and again";
			return;
		}
		s->y->now_ms = at > s->y->now_ms ? at : s->y->now_ms;
		step(s);
	}
	if (!s->why && s->y->now_ms < until)
		s->y->now_ms = until;
}

static void say_faults(const struct story *s)
{
	const struct year *y = s->y;

	fprintf(stderr, "seed %llu episode %d at %llu s, NAT %llu/%llu s, rtt %u ms:",
		(unsigned long long)s->seed, s->episode, (unsigned long long)(y->now_ms / 1000),
		(unsigned long long)(y->idle_ms / 1000),
		(unsigned long long)(y->absolute_ms / 1000), 2 * y->delay_ms);
	for (int i = 0; i < s->events; i++)
		fprintf(stderr, " %s %.1f s", fault_name[s->ev[i].fault],
			(double)(s->ev[i].end_ms - s->ev[i].begin_ms) / 1000);
	fprintf(stderr, "\n");
}

static void quiet(struct story *s)
{
	struct year *y = s->y;
	uint64_t until = y->now_ms + year_length(y, 10 * SECOND, 10 * MINUTE);

	s->events = 0;
	s->stuck = false;
	s->since_ms[0] = s->since_ms[1] = 0;
	for (int h = 0; h < 2; h++) {
		s->served[h] = true;
		traffic(&y->node[h], y->now_ms + year_between(y, 1, 5000), until,
			year_between(y, 200, 20000));
	}
	run_until(s, until);
}

static void episode(struct story *s)
{
	struct year *y = s->y;
	uint64_t last = 0, limit;

	s->stuck = false;
	s->served[0] = s->served[1] = false;
	s->since_ms[0] = s->since_ms[1] = 0;
	faults_draw(s);
	for (int i = 0; i < s->events; i++)
		last = s->ev[i].end_ms > last ? s->ev[i].end_ms : last;
	if (told)
		say_faults(s);
	/* Before the end: nobody, one side or both have something to say. */
	for (int h = 0; h < 2; h++) {
		struct node *n = &y->node[h];

		traffic(n, 0, 0, 0);
		if (!year_below(y, 2))
			continue;
		traffic(n, y->now_ms, last + 2 * MINUTE, year_between(y, 100, 1000));
		if (last - y->now_ms > 3 * MINUTE)
			n->from_ms = n->next_ms = last - MINUTE;
	}
	run_until(s, last + 1);
	if (s->why)
		return;
	/* Who has been idle begins now, or somewhat later. */
	limit = y->now_ms + 3 * MINUTE;
	for (int h = 0; h < 2; h++)
		if (!y->node[h].every_ms) {
			uint64_t at = y->now_ms + year_between(y, 0, 20 * SECOND);

			traffic(&y->node[h], at, at + 2 * MINUTE, year_between(y, 100, 1000));
		}
	while (!s->why && y->now_ms < limit && !(s->served[0] && s->served[1]))
		run_until(s, y->now_ms + SECOND);
	if (!s->why && !(s->served[0] && s->served[1]))
		s->why = "nobody could send";
	if (!s->why)
		run_until(s, y->now_ms + 20 * SECOND);
}

static struct year y; /* too large for a stack frame */

static void year_new(struct story *s, uint64_t seed)
{
	static const unsigned idle_s[] = { 20, 30, 60, 120, 300 };

	*s = (struct story){ .y = &y, .seed = seed };
	memset(&y, 0, sizeof(y));
	y.verbose = told;
	y.seed = seed * 0x9e3779b97f4a7c15u + 1;
	y.now_ms = 1;
	y.next_port = (uint16_t)(20000 + year_below(&y, 20000));
	y.idle_ms = idle_s[year_below(&y, 5)] * SECOND;
	y.absolute_ms = year_below(&y, 4) ? 0 : year_between(&y, 48 * SECOND, 75 * SECOND);
	y.delay_ms = 2 + year_below(&y, 140);
	y.jitter_ms = year_below(&y, 20);
	y.vps = y.dns = year_addr("192.0.2.1");
	year_new_address(&y);
	for (int h = 0; h < 2; h++) {
		struct node *n = &y.node[h];

		n->y = &y;
		n->index = h;
		n->route = true;
		n->ifindex = 2;
		n->born_ms = 1;
		n->next_spi = 1;
		n->src = year_addr(h == HOME ? "192.168.1.2" : "192.0.2.1");
		n->conf.lifetime_s = 300 + year_below(&y, 3300);
		n->peer.lifetime.ike_s = 4 * n->conf.lifetime_s;
	}
	node_start(&y.node[VPS]);
	node_start(&y.node[HOME]);
	faults_follow(s);
}

static void year_end(void)
{
	node_free(&y.node[HOME]);
	node_free(&y.node[VPS]);
	year_flights_clear(&y);
}

static bool year(uint64_t seed)
{
	struct story s;

	year_new(&s, seed);
	for (; s.episode < FAULTS_A_YEAR && !s.why; s.episode++) {
		quiet(&s);
		if (!s.why)
			episode(&s);
		else
			fprintf(stderr, "in the quiet: ");
		if (s.why)
			break;
	}
	if (s.why) {
		const struct node *h = &y.node[HOME], *v = &y.node[VPS];

		say_faults(&s);
		fprintf(stderr,
			"seed %llu: %s; works since %llu ms, wanted since %llu/%llu ms, home %s, "
			"vps %s\n",
			(unsigned long long)seed, s.why,
			(unsigned long long)(s.ok_ms ? y.now_ms - s.ok_ms : 0),
			(unsigned long long)(s.since_ms[0] ? y.now_ms - s.since_ms[0] : 0),
			(unsigned long long)(s.since_ms[1] ? y.now_ms - s.since_ms[1] : 0),
			h->running ? sup_state(&h->sup, node_now(h)) : "off",
			v->running ? sup_state(&v->sup, node_now(v)) : "off");
	} else if (told || table) {
		fprintf(stderr, "seed %llu: %.1f days, %lu packets, %lu IKE SAs\n",
			(unsigned long long)seed, (double)y.now_ms / (24 * HOUR), y.packets,
			y.handshakes);
	}
	year_end();
	return !s.why;
}

/*
 * --> IKE_AUTH arrives, what it is answered with is lost for @lost_ms: the VPS is up by it and has
 * retired the IKE SA before, on which home may well be answered first. They must not stay so.
 */
static const char *half_a_handshake(uint64_t seed, uint64_t lost_ms)
{
	struct story s;

	year_new(&s, seed);
	for (int h = 0; h < 2; h++)
		traffic(&y.node[h], y.now_ms, HOUR, 200);
	run_until(&s, 10 * SECOND);
	s.ok_ms = 0;
	y.cut[HOME] = y.cut[VPS] = true;
	run_until(&s, 29 * SECOND);
	y.cut[HOME] = y.cut[VPS] = false;
	while (y.node[VPS].sup.ups < 2 && y.now_ms < 40 * SECOND)
		run_until(&s, y.now_ms + 1);
	if (y.node[VPS].sup.ups == 2) {
		y.cut[HOME] = true;
		run_until(&s, y.now_ms + lost_ms);
		y.cut[HOME] = false;
	}
	s.ok_ms = y.now_ms;
	s.since_ms[0] = s.since_ms[1] = 0;
	s.served[0] = s.served[1] = false;
	run_until(&s, y.now_ms + MINUTE);
	year_end();
	return s.why;
}

static void who_is_up_by_an_answer_that_was_lost_is_not_left_alone(void **state)
{
	unsigned bad = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 20; seed++)
		for (uint64_t lost_ms = 4000; lost_ms <= 28000; lost_ms += 400) {
			const char *why = half_a_handshake(seed, lost_ms);

			if (!why)
				continue;
			fprintf(stderr, "seed %llu, lost for %llu ms: %s\n",
				(unsigned long long)seed, (unsigned long long)lost_ms, why);
			bad++;
		}
	assert_int_equal(bad, 0);
}

static void within_5_s_of_the_network_working_inner_traffic_works_all_year(void **state)
{
	unsigned bad = 0;

	(void)state;
	for (uint64_t seed = first_seed; seed <= last_seed; seed++)
		bad += !year(seed);
	if (table) {
		fprintf(stderr, "%-14s %8s %10s %10s %10s %10s\n", "fault", "times", "home > 1 s",
			"max ms", "vps > 1 s", "max ms");
		for (int f = 0; f < FAULTS; f++)
			fprintf(stderr, "%-14s %8lu %10lu %10llu %10lu %10llu\n", fault_name[f],
				took[f].n[0], took[f].over_1s[0],
				(unsigned long long)took[f].max[0], took[f].over_1s[1],
				(unsigned long long)took[f].max[1]);
	}
	assert_int_equal(bad, 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(within_5_s_of_the_network_working_inner_traffic_works_all_year),
		cmocka_unit_test(who_is_up_by_an_answer_that_was_lost_is_not_left_alone),
	};

	told = argc == 2;
	table = argc > 2;
	if (argc > 1)
		first_seed = last_seed = strtoul(argv[1], NULL, 10);
	if (argc > 2)
		last_seed = strtoul(argv[2], NULL, 10);
	log_setup("year", LOG_LVL_ERR, 2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
