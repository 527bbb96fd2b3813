/* SPDX-License-Identifier: GPL-3.0-or-later */
/* postern drain, with peers that are nothing but numbers: who is told, how fast, and that it ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>

#include "child_int.h"

#define PEERS 120

static struct peer peers[PEERS];
static struct config_peer peer_cfg = { .start = CONFIG_START_NO };
static unsigned told, fired;
static uint64_t now;

/* ---- what drain.c stands on ---- */

struct peer *child_peer(const struct child *c, uint32_t id)
{
	(void)c;
	return id && id <= PEERS ? &peers[id - 1] : NULL;
}

struct peer *child_peer_next(const struct child *c, const struct peer *p)
{
	return child_peer(c, p ? p->id + 1 : 1);
}

uint64_t child_now(const struct child *c)
{
	(void)c;
	return now;
}

void effects_apply(struct child *c)
{
	(void)c;
	fired++;
}

void engine_drain(struct engine *e, bool on, const struct engine_gateway *to)
{
	(void)e;
	(void)on;
	(void)to;
}

unsigned engine_redirect(struct engine *e, uint64_t now_ms, uint32_t peer,
			 const struct engine_gateway *to, struct fx_list *fx)
{
	(void)e;
	(void)now_ms;
	(void)peer;
	(void)to;
	(void)fx;
	told++;
	return 1;
}

/* What the parent keeps: -1: it was told nothing. */
static int kept;

int priv_drain(struct priv *p, bool on, void (*done)(int status, void *arg), void *arg)
{
	(void)p;
	(void)done;
	(void)arg;
	kept = on;
	return 0;
}

/* ---- the cases ---- */

static int setup(void **state)
{
	struct child *c = calloc(1, sizeof(*c));

	c->loop = loop_new();
	c->cfg = calloc(1, sizeof(*c->cfg));
	c->cfg->redirect_to.name = "other.example.net";
	for (uint32_t i = 0; i < PEERS; i++)
		peers[i] = (struct peer){ .id = i + 1, .cfg = &peer_cfg, .child = c };
	told = fired = 0;
	kept = -1;
	now = 1000;
	*state = c;
	return 0;
}

static int teardown(void **state)
{
	struct child *c = *state;

	timer_clear(loop_timers(c->loop), &c->drain_timer);
	loop_free(c->loop);
	free(c->cfg);
	free(c);
	return 0;
}

/* Time goes on by @ms, tenth by tenth of a second. */
static void run(struct child *c, unsigned ms)
{
	for (unsigned i = 0; i < ms; i += 100, now += 100)
		timers_run(loop_timers(c->loop), now);
}

static void all_are_told_a_few_at_a_time(void **state)
{
	struct child *c = *state;

	drain_set(c, true);
	run(c, 100);
	assert_in_range(told, 1, 60);
	run(c, 2000);
	assert_int_equal(told, PEERS);
	assert_int_equal(c->drain_told, PEERS);
	assert_int_equal(timers_next_ms(loop_timers(c->loop)), UINT64_MAX);
}

static void it_may_be_said_again_and_taken_back(void **state)
{
	struct child *c = *state;
	unsigned before;

	drain_set(c, true);
	run(c, 100);
	drain_set(c, true); /* with peers still to be told: from the first on again */
	run(c, 100);
	drain_set(c, false);
	before = told;
	run(c, 5000);
	assert_int_equal(told, before);
	/* Nothing of it is left that would wake the loop. */
	assert_int_equal(timers_next_ms(loop_timers(c->loop)), UINT64_MAX);
	drain_set(c, true);
	run(c, 3000);
	assert_int_equal(told, before + PEERS);
	assert_int_equal(timers_next_ms(loop_timers(c->loop)), UINT64_MAX);
}

static void the_parent_keeps_what_the_admin_says(void **state)
{
	struct child *c = *state;

	drain_set(c, true);
	assert_int_equal(kept, 1);
	drain_set(c, false);
	assert_int_equal(kept, 0);
	kept = -1;
	drain_start(c); /* this was said by the parent */
	run(c, 3000);
	assert_int_equal(kept, -1);
	assert_true(c->drain);
	assert_int_equal(told, PEERS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(all_are_told_a_few_at_a_time, setup, teardown),
		cmocka_unit_test_setup_teardown(the_parent_keeps_what_the_admin_says, setup, teardown),
		cmocka_unit_test_setup_teardown(it_may_be_said_again_and_taken_back, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
