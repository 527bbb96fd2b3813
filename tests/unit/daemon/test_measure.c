/* SPDX-License-Identifier: GPL-3.0-or-later */
/* postern bench between two sides in faked time: who may, who may not, and that it always ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "measure.h"

#define PEER  7 /* each is that for the other */
#define OTHER 8
#define ID    0xabcdef
#define WORDS 64

static struct side {
	struct measure m;
	bool consents, cannot, deaf, dumb, gone; /* deaf: knows no such notify; dumb: killed; gone: its CLI */
	bool on, no_ike;
	struct measure_load load;
	uint64_t heard_ms, loaded_until;
	unsigned begins, pings, progress, over;
	const char *why;
	struct measure_result r;
} a, b;
static uint64_t now;

static struct {
	struct side *to;
	uint8_t bytes[128];
	size_t len;
	uint64_t at_ms;
} word[WORDS];
static unsigned head, tail;

static struct side *far(const struct side *s)
{
	return s == &a ? &b : &a;
}

static bool f_consents(void *arg, uint32_t peer)
{
	return ((struct side *)arg)->consents && peer == PEER;
}

static bool f_tell(void *arg, uint32_t peer, const uint8_t *bytes, size_t len)
{
	struct side *s = arg;

	if (s->no_ike)
		return false;
	if (peer != PEER)
		return true; /* to somebody else; nobody looks */
	assert_true(len <= sizeof(word[0].bytes));
	memcpy(word[tail % WORDS].bytes, bytes, len);
	word[tail % WORDS].len = len;
	word[tail % WORDS].at_ms = now + 5;
	word[tail++ % WORDS].to = far(s);
	return true;
}

static int f_begin(void *arg, const struct measure_load *l)
{
	struct side *s = arg;

	if (s->cannot)
		return -ENOENT;
	assert_false(s->on);
	s->on = true;
	s->load = *l;
	s->heard_ms = now;
	s->loaded_until = l->load_ms ? now + l->load_ms : 0;
	s->begins++;
	return 0;
}

static void f_end(void *arg)
{
	struct side *s = arg;

	s->on = false;
	s->loaded_until = 0;
}

static void f_ping(void *arg)
{
	struct side *s = arg, *o = far(s);

	s->pings++;
	if (!s->on || !o->on || o->dumb || s->load.id != o->load.id)
		return;
	o->heard_ms = s->heard_ms = now;
}

/* As the data plane does. */
static bool loads(const struct side *s)
{
	return s->on && now < s->loaded_until && now < s->heard_ms + 1000;
}

static void f_read(void *arg, struct measure_figures *f)
{
	struct side *s = arg;

	*f = (struct measure_figures){ .heard_ms = s->heard_ms, .rx_pkts = s == &a ? 100 : 200, .tx_pkts = 300 + s->load.load_ms };
}

static unsigned f_rtts(void *arg, uint32_t *us, unsigned n)
{
	(void)arg;
	assert_true(n >= 100);
	for (unsigned i = 0; i < 100; i++)
		us[i] = 100 * ((i * 37) % 100 + 1);
	return 100;
}

static bool f_wanted(void *arg)
{
	return !((struct side *)arg)->gone;
}

static void f_progress(void *arg, enum measure_phase phase, uint32_t ms, uint64_t bytes)
{
	(void)phase;
	(void)ms;
	(void)bytes;
	((struct side *)arg)->progress++;
}

static void f_over(void *arg, const struct measure_result *r, const char *why)
{
	struct side *s = arg;

	s->over++;
	s->why = why;
	s->r = *r;
}

static const struct measure_ops ops = { f_consents, f_tell, f_begin,  f_end,	  f_ping,
					f_read,	    f_rtts, f_wanted, f_progress, f_over };

static int fresh(void **state)
{
	(void)state;
	memset(&a, 0, sizeof(a));
	memset(&b, 0, sizeof(b));
	measure_init(&a.m, &ops, &a);
	measure_init(&b.m, &ops, &b);
	b.consents = true;
	now = 1000000;
	head = tail = 0;
	return 0;
}

static void step(struct side *s)
{
	if (!s->dumb && measure_due_ms(&s->m) <= now)
		measure_tick(&s->m, now);
}

static void pass(uint64_t ms)
{
	for (uint64_t end = now + ms; now < end; now++) {
		for (; head != tail && word[head % WORDS].at_ms <= now; head++) {
			struct side *s = word[head % WORDS].to;

			if (!s->deaf && !s->dumb)
				measure_heard(&s->m, PEER, word[head % WORDS].bytes, word[head % WORDS].len, now);
		}
		step(&a);
		step(&b);
	}
}

static void ask(uint32_t ms)
{
	assert_int_equal(measure_start(&a.m, PEER, ID, ms, 0, now), 0);
}

static void idle(void)
{
	assert_true(!a.on && !b.on && a.m.role == MEASURE_NOBODY && b.m.role == MEASURE_NOBODY);
	assert_true(measure_due_ms(&a.m) == UINT64_MAX && measure_due_ms(&b.m) == UINT64_MAX);
}

static void three_phases_and_what_both_saw(void **state)
{
	(void)state;
	ask(5000);
	pass(1100);
	assert_false(loads(&a) || loads(&b));
	pass(2400);
	assert_true(loads(&a) && !loads(&b));
	pass(5500);
	assert_true(!loads(&a) && loads(&b));
	assert_int_equal(b.load.load_ms, 5000);
	pass(6000);
	assert_int_equal(a.over, 1);
	assert_null(a.why);
	assert_int_equal(b.over, 0);
	assert_int_equal(a.r.own[MEASURE_OUT].tx_pkts, 5300);
	assert_int_equal(a.r.far[MEASURE_OUT].rx_pkts, 200);
	assert_int_equal(a.r.far[MEASURE_IN].tx_pkts, 5300);
	assert_int_equal(a.r.own[MEASURE_IN].rx_pkts, 100);
	assert_int_equal(a.r.rtt[MEASURE_IN].median_us, 5100);
	assert_int_equal(a.r.rtt[MEASURE_IN].p99_us, 9900);
	assert_int_equal(a.r.rtt[MEASURE_IN].most_us, 10000);
	assert_in_range(a.r.rtt[MEASURE_OUT].sent, 240, 256);
	assert_in_range(a.progress, 20, 30);
	idle();
	ask(1000); /* and again */
	pass(6000);
	assert_int_equal(a.over, 2);
	assert_null(a.why);
}

static void without_consent_nothing_is_begun_there(void **state)
{
	(void)state;
	b.consents = false;
	ask(5000);
	pass(100);
	assert_int_equal(a.over, 1);
	assert_non_null(strstr(a.why, "bench = allow"));
	assert_int_equal(b.begins, 0);
	assert_int_equal(a.progress, 0);
	idle();
}

static void one_that_does_not_know_it_gives_no_answer(void **state)
{
	(void)state;
	b.deaf = true;
	ask(5000);
	pass(MEASURE_ANSWER_MS + 100);
	assert_int_equal(a.over, 1);
	assert_non_null(strstr(a.why, "older"));
	idle();
}

static void one_at_a_time(void **state)
{
	static const uint8_t other[] = { 1, 1, 0, 0, 0, 0, 0, 0, 0, 9, 2, 0, 0, 9, 9, 0, 0, 0, 0, 0, 0, 0, 0 };

	(void)state;
	ask(2000);
	pass(1500);
	assert_int_equal(measure_start(&a.m, OTHER, ID + 1, 2000, 0, now), -EBUSY);
	assert_int_equal(measure_start(&b.m, OTHER, ID + 1, 2000, 0, now), -EBUSY);
	/* Somebody else asks b, or means to end it. */
	measure_heard(&b.m, OTHER, other, sizeof(other), now);
	assert_int_equal(b.load.id, ID);
	for (uint8_t w = 0; w < 8; w++) {
		uint8_t raw[12] = { 1, w, 0, 0, 0, 0, 0, 0xab, 0xcd, 0xef };

		measure_heard(&b.m, OTHER, raw, sizeof(raw), now);
		measure_heard(&a.m, OTHER, raw, sizeof(raw), now);
	}
	/* And a, which asks itself, is not asked meanwhile. */
	a.consents = true;
	measure_heard(&a.m, PEER, other, sizeof(other), now);
	pass(6000);
	assert_int_equal(a.over, 1);
	assert_null(a.why);
}

static void who_goes_ends_it_on_both_sides(void **state)
{
	(void)state;
	for (unsigned at = 1700; at < 8000; at += 4500) {
		fresh(NULL);
		ask(5000);
		pass(at);
		assert_true(loads(&a) || loads(&b));
		a.gone = true;
		pass(100);
		assert_false(loads(&a) || loads(&b));
		idle();
		assert_int_equal(a.over, 1);
	}
}

static void a_killed_side_is_not_waited_for(void **state)
{
	(void)state;
	ask(5000);
	pass(7500);
	assert_true(loads(&b));
	a.dumb = true; /* the asker */
	pass(1100);
	assert_false(loads(&b));
	memset(&a, 0, sizeof(a)); /* starts anew, asks anew */
	measure_init(&a.m, &ops, &a);
	assert_int_equal(measure_start(&a.m, PEER, ID + 5, 1000, 0, now), 0);
	pass(6000);
	assert_int_equal(a.over, 1);
	assert_null(a.why);
	fresh(NULL);
	ask(60000);
	pass(7500);
	b.dumb = true; /* the asked */
	pass(MEASURE_QUIET_MS + 100);
	assert_false(loads(&a));
	assert_int_equal(a.over, 1);
	assert_non_null(strstr(a.why, "no answer"));
	b.dumb = false;
	pass(1100 + MEASURE_MS_MAX + MEASURE_SPARE_MS);
	idle();
}

static void consent_can_be_taken_away(void **state)
{
	(void)state;
	ask(5000);
	pass(7500);
	assert_true(loads(&b));
	measure_reload(&b.m);
	assert_true(loads(&b));
	b.consents = false;
	measure_reload(&b.m);
	assert_false(loads(&b));
	pass(100);
	assert_int_equal(a.over, 1);
	assert_non_null(strstr(a.why, "any more"));
	idle();
}

static void no_load_is_longer_than_allowed(void **state)
{
	uint8_t raw[] = { 1, 1, 0, 0, 0, 0, 0, 0, 0, 9, MEASURE_IN, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0 };

	(void)state;
	measure_heard(&b.m, PEER, raw, sizeof(raw), now);
	assert_int_equal(b.load.load_ms, MEASURE_MS_MAX);
	pass(MEASURE_MS_MAX + MEASURE_SPARE_MS + 1);
	assert_int_equal(b.m.role, MEASURE_NOBODY);
	/* Cut off anywhere, or of another version, it is nothing. */
	for (size_t n = 0; n < sizeof(raw); n++) {
		uint8_t *cut = malloc(n + !n);

		memcpy(cut, raw, n);
		measure_heard(&b.m, PEER, cut, n, now);
		free(cut);
	}
	raw[0] = 2;
	measure_heard(&b.m, PEER, raw, sizeof(raw), now);
	assert_int_equal(b.begins, 1);
}

static void without_a_tunnel_it_is_said_at_once(void **state)
{
	(void)state;
	a.no_ike = true;
	assert_int_equal(measure_start(&a.m, PEER, ID, 1000, 0, now), -ENOTCONN);
	a.no_ike = false;
	a.cannot = true;
	assert_int_equal(measure_start(&a.m, PEER, ID, 1000, 0, now), -ENOENT);
	a.cannot = false;
	b.cannot = true;
	ask(1000);
	pass(100);
	assert_int_equal(a.over, 1);
	assert_non_null(strstr(a.why, "no tunnel"));
	b.cannot = false;
	ask(5000);
	pass(3000);
	measure_forget(&a.m, OTHER);
	assert_int_equal(a.over, 1);
	measure_forget(&a.m, PEER);
	assert_int_equal(a.over, 2);
	measure_forget(&b.m, PEER);
	pass(100);
	idle();
}

int main(void)
{
#define T(f) cmocka_unit_test_setup(f, fresh)
	const struct CMUnitTest tests[] = {
		T(three_phases_and_what_both_saw),
		T(without_consent_nothing_is_begun_there),
		T(one_that_does_not_know_it_gives_no_answer),
		T(one_at_a_time),
		T(who_goes_ends_it_on_both_sides),
		T(a_killed_side_is_not_waited_for),
		T(consent_can_be_taken_away),
		T(no_load_is_longer_than_allowed),
		T(without_a_tunnel_it_is_said_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
