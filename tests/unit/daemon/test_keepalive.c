/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A supervisor behind a NAT, idle for days of faked time: what keeps the mapping, and what that costs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "supervisor.h"
#include "wan.h"

#define HOUR_MS 3600000

static uint64_t now;
static struct supervisor s;
static struct wan_table table;
static struct wan *wan;

static struct {
	uint64_t life_ms, absolute_ms;	   /* how long a mapping lives: silent, at all (0: for ever) */
	uint64_t used_ms, born_ms;	   /* the mapping that there is */
	uint16_t port, seen;		   /* its port, and the one that the far side saw last */
	unsigned dummies, asks, nat, changes;
	uint64_t dead_ms;		   /* how long nothing could have come in */
	bool reply, changed;		   /* on their way to us */
	struct sup_activity act;
	uint64_t asked_at_ms[4];
} f;

/* A packet of ours leaves. */
static void leaves(void)
{
	if (now - f.used_ms > f.life_ms || (f.absolute_ms && now - f.born_ms > f.absolute_ms)) {
		f.port++;
		f.born_ms = now;
	}
	f.used_ms = now;
	f.act.tx_any_ms = now;
	if (f.port != f.seen) { /* the far side follows at once, and asks from there */
		f.seen = f.port;
		f.changes++;
		f.changed = true;
	}
}

static void f_dummy(void *arg, uint32_t peer)
{
	(void)arg, (void)peer;
	f.dummies++;
	leaves();
}

static void f_nat(void *arg, uint32_t peer)
{
	(void)arg, (void)peer;
	f.nat++;
	leaves();
}

static void f_liveness(void *arg, uint32_t ike)
{
	(void)arg, (void)ike;
	f.asks++;
	f.reply = true;
	leaves();
}

static void f_activity(void *arg, uint32_t peer, struct sup_activity *a)
{
	(void)arg, (void)peer;
	*a = f.act;
}

static void f_ike(void *arg, uint32_t ike)
{
	(void)arg, (void)ike;
}

static void f_move(void *arg, uint32_t peer, const struct engine_path *path, bool limited,
		   uint64_t credit)
{
	(void)arg, (void)peer, (void)path, (void)limited, (void)credit;
}

static void f_set_path(void *arg, uint32_t ike, const struct engine_path *path)
{
	(void)arg, (void)ike, (void)path;
}

static void f_changed(void *arg, uint32_t peer, bool up)
{
	(void)arg, (void)peer, (void)up;
}

static void f_remember(void *arg, uint32_t peer)
{
	(void)arg, (void)peer;
}

static int f_route(void *arg, uint32_t peer, const struct addr *to)
{
	(void)arg, (void)peer, (void)to;
	return -1;
}

static uint32_t f_random(void *arg, uint32_t below)
{
	static uint32_t n;

	(void)arg;
	n = n * 1103515245u + 12345u;
	return (n >> 8) % below;
}

static void f_roamed(void *arg, uint32_t peer, const struct endpoint *from,
		     const struct endpoint *to, const char *why)
{
	(void)arg, (void)peer, (void)from, (void)to, (void)why;
}

static const struct sup_ops fake = {
	.drop = f_ike,
	.close = f_ike,
	.liveness = f_liveness,
	.set_path = f_set_path,
	.route = f_route,
	.move = f_move,
	.dummy = f_dummy,
	.nat_keepalive = f_nat,
	.activity = f_activity,
	.changed = f_changed,
	.roamed = f_roamed,
	.remember = f_remember,
	.random = f_random,
};
static const struct sup_env env = { .ops = &fake, .sock_count = 1, .sock_port = { 4501 } };

static void fx(enum fx_kind kind)
{
	struct fx x = { .kind = kind };

	x.reply.ike = s.ike;
	x.reply.path = s.where.path;
	x.reply.routable = true;
	sup_on_fx(&s, &x, now);
}

static void up(enum sup_start start, bool postern, uint64_t keepalive_ms)
{
	static const struct wan_id id = { .ifname = "wan0" };
	struct sup_config c = { .peer = 1,
				.start = start,
				.port = 4500,
				.retry_max_ms = 4000,
				.keepalive_ms = keepalive_ms };
	struct fx x = { .kind = FX_PEER_UP };

	sup_init(&s, &env, &c, NULL, now);
	x.up.ike = 1;
	x.up.child = true;
	x.up.postern = postern;
	x.up.nat_local = start != SUP_WAIT;
	x.up.nat_remote = start == SUP_WAIT;
	assert_int_equal(endpoint_parse("198.51.100.1:4500", 0, &x.up.path.remote), 0);
	f.used_ms = f.born_ms = f.act.tx_any_ms = now;
	sup_on_fx(&s, &x, now);
	wan = wan_get(&table, &id, now);
	keepalive_use(&s, wan, now);
	f.dummies = 0;
}

static int begin(void **state)
{
	(void)state;
	memset(&f, 0, sizeof(f));
	memset(&table, 0, sizeof(table));
	now = 1000000;
	f.life_ms = UINT64_MAX;
	return 0;
}

static int end(void **state)
{
	(void)state;
	sup_clear(&s);
	return 0;
}

/* Idle; what is on its way arrives 50 ms later. */
static void idle(uint64_t ms)
{
	for (uint64_t until = now + ms; now < until; now += 50) {
		bool reply = f.reply, changed = f.changed;

		f.reply = f.changed = false;
		if (reply)
			fx(FX_REPLY);
		if (changed)
			fx(FX_NAT_CHANGED);
		if (sup_due_ms(&s) <= now)
			sup_tick(&s, now);
		if (now - f.used_ms > f.life_ms ||
		    (f.absolute_ms && now - f.born_ms > f.absolute_ms))
			f.dead_ms += 50;
	}
}

/* What the second port would find out. */
static void measure(void)
{
	uint64_t gap;

	while ((gap = wan_gap_ms(wan, now)))
		wan_measured(wan, gap, gap <= f.life_ms && (!f.absolute_ms || gap < f.absolute_ms));
}

static void ike_case_089_an_idle_mapping_lives_whatever_its_nat_remembers(void **state)
{
	static const uint64_t life[] = { 20000, 30000, 60000, 120000, 300000 };

	(void)state;
	for (size_t i = 0; i < sizeof(life) / sizeof(*life); i++) {
		begin(NULL);
		f.life_ms = life[i];
		up(SUP_ALWAYS, true, 0);
		idle(HOUR_MS); /* not measured yet: 15 s, and more carefully than 25 */
		if (life[i] >= 30000)
			assert_int_equal(f.dead_ms, 0);
		f.dead_ms = 0;
		measure();
		f.dummies = f.asks = 0;
		idle(10 * HOUR_MS);
		assert_int_equal(f.dead_ms, 0);
		/* and no oftener than it has to be */
		if (life[i] >= 120000)
			assert_true(f.dummies + f.asks < 10 * 3600 / 60);
		sup_clear(&s);
	}
}

static void a_nat_that_forgets_sooner_than_any_other_is_found_out(void **state)
{
	(void)state;
	f.life_ms = 12000;
	up(SUP_ALWAYS, true, 0);
	idle(60000);
	assert_in_range(keepalive_interval_ms(&s), 5000, 8000);
	f.dead_ms = 0;
	idle(HOUR_MS);
	assert_int_equal(f.dead_ms, 0);
	assert_false(wan->rebinding);
}

static void ike_case_090_an_absolute_lifetime_is_not_fought_with_keepalives(void **state)
{
	unsigned changes;

	(void)state;
	f.life_ms = 300000;
	f.absolute_ms = 60000;
	up(SUP_ALWAYS, true, 0);
	idle(20 * 60000);
	assert_true(wan->rebinding);
	assert_int_equal(keepalive_interval_ms(&s), 15000);
	f.dead_ms = f.dummies = f.asks = 0;
	changes = f.changes;
	idle(HOUR_MS);
	assert_in_range(f.changes - changes, 45, 60);
	assert_true(f.dead_ms <= (uint64_t)(f.changes - changes) * 15000);
	assert_true(f.dummies + f.asks < 3600 / 13 + 2 * 60); /* not driven up by it */
}

static void under_load_two_changes_of_port_tell_it_too(void **state)
{
	(void)state;
	f.absolute_ms = 60000;
	up(SUP_ALWAYS, true, 0);
	for (int i = 0; i < 130 * 20; i++) {
		leaves(); /* data each 50 ms */
		idle(50);
	}
	assert_int_equal(f.changes, 2);
	assert_true(wan->rebinding);
	assert_int_equal(keepalive_interval_ms(&s), 15000);
	assert_int_equal(wan->bad_ms, 0);
}

static void a_new_port_is_used_again_3_s_later(void **state)
{
	(void)state;
	f.life_ms = 30000;
	up(SUP_ALWAYS, true, 0);
	idle(60000);
	f.used_ms = 0; /* the router was restarted */
	f.dummies = f.asks = 0;
	while (!f.changes)
		idle(50);
	idle(5000);
	assert_int_equal(f.changes, 1);
	assert_in_range(f.dummies + f.asks, 3, 4); /* which told it, at once again, 3 s later */
	assert_true(now - f.used_ms < 2500);
	assert_in_range(keepalive_interval_ms(&s), 6500, 8000);
}

static void one_keepalive_in_four_is_a_question(void **state)
{
	(void)state;
	up(SUP_ALWAYS, true, 5000);
	idle(HOUR_MS);
	assert_in_range(f.asks, 170, 190); /* a quarter of one in 5 s */
	assert_in_range(f.dummies, 520, 560);
}

static void what_the_admin_has_set_stands(void **state)
{
	(void)state;
	f.life_ms = 20000;
	up(SUP_ALWAYS, true, 60000);
	measure();
	idle(HOUR_MS);
	assert_int_equal(keepalive_interval_ms(&s), 60000);
	assert_in_range(f.dummies + f.asks, 160, 185); /* and two more after each new port */
}

static void other_implementations_get_0xff_within_20_s(void **state)
{
	(void)state;
	f.life_ms = 300000;
	up(SUP_ALWAYS, false, 0);
	measure(); /* by a Postern on the same line, say */
	assert_int_equal(wan_interval_ms(wan), 110000);
	assert_int_equal(keepalive_interval_ms(&s), 20000);
	idle(HOUR_MS);
	assert_int_equal(f.dummies, 0);
	assert_true(f.nat + f.asks >= 175);
	assert_true(f.asks >= 150); /* and are asked about as often */
}

static void who_waits_sends_none_and_remembers_rebinds(void **state)
{
	static const unsigned gap[] = { 9000, 31000, 62000, 33000, 4000, 35000, 30000, 61000, 34000 };
	struct engine_path path;

	(void)state;
	up(SUP_WAIT, true, 0);
	assert_int_equal(keepalive_rebind_median_ms(&s), 0);
	idle(40000);
	assert_int_equal(f.dummies + f.nat, 0);
	path = s.where.path;
	for (size_t i = 0; i < sizeof(gap) / sizeof(*gap); i++) {
		f.act.rx_auth_ms = now;
		idle(gap[i]);
		path.remote.port++;
		f.asks = 0;
		sup_on_endpoint(&s, &path, 64, true, now);
		assert_int_equal(s.where.path.remote.port, path.remote.port);
		assert_int_equal(f.asks, 1); /* so that the other side learns of its new port */
	}
	assert_in_range(keepalive_rebind_median_ms(&s), 33000, 36000); /* of the last seven */
	assert_int_equal(wan->users, 0);
}

static void a_wan_counts_who_is_up(void **state)
{
	struct wan_id id = { .ifname = "wan1" };
	struct fx x = { .kind = FX_PEER_DOWN };
	struct wan *other;

	(void)state;
	up(SUP_ALWAYS, true, 0);
	assert_true(wan->users == 1 && wan->refs == 1);
	other = wan_get(&table, &id, now);
	keepalive_use(&s, other, now);
	assert_true(!wan->users && !wan->refs && other->users == 1);
	x.down.ike = 1;
	x.down.was_up = true;
	sup_on_fx(&s, &x, now);
	assert_true(!other->users && other->refs == 1);
	keepalive_use(&s, NULL, now);
	assert_int_equal(other->refs, 0);
}

/* A week of everything: there is always a next keepalive, and never a burst of them. */
static void a_week_behind_a_nat_that_changes_its_mind(void **state)
{
	static const uint64_t life[] = { 30000, 300000, 18000, 60000, 11000, 120000, 300000 };

	(void)state;
	up(SUP_ALWAYS, true, 0);
	for (size_t day = 0; day < 7; day++) {
		f.life_ms = life[day];
		f.absolute_ms = day == 5 ? 70000 : 0;
		f.dummies = f.asks = 0;
		for (int hour = 0; hour < 24; hour++) {
			idle(HOUR_MS / 4); /* an hour is a quarter of one: the loop takes 50 ms steps */
			if (wan_gap_ms(wan, now))
				measure();
		}
		assert_in_range(f.dummies + f.asks, 6 * 3600 / 120, 6 * 3600 / 4);
		f.dead_ms = 0;
		idle(HOUR_MS / 4);
		assert_true(f.dead_ms <= HOUR_MS / 4 / (day == 5 ? 4 : 20));
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(ike_case_089_an_idle_mapping_lives_whatever_its_nat_remembers),
		T(a_nat_that_forgets_sooner_than_any_other_is_found_out),
		T(ike_case_090_an_absolute_lifetime_is_not_fought_with_keepalives),
		T(under_load_two_changes_of_port_tell_it_too),
		T(a_new_port_is_used_again_3_s_later),
		T(one_keepalive_in_four_is_a_question),
		T(what_the_admin_has_set_stands),
		T(other_implementations_get_0xff_within_20_s),
		T(who_waits_sends_none_and_remembers_rebinds),
		T(a_wan_counts_who_is_up),
		T(a_week_behind_a_nat_that_changes_its_mind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
