/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Routes with a backup: when letters go by it, and that they come back. */
#include "schedule_bench.h"

#define AFTER_MS 600000

static char *out_domains[] = { (char *)"out.example" };
static char *hosts[] = { (char *)"192.0.2.1" };
static struct mta_route with_backups[] = {
	{ .name = "to-home",
	  .kind = ROUTE_TUNNEL,
	  .peer = (char *)"home",
	  .domains = { home_domains, 1 },
	  .ttl_ms = 86400000,
	  .sessions_max = 2,
	  .schedule = { SCHEDULE_EXPONENTIAL, 60000, 3600000, 0 },
	  .backup = (char *)"out",
	  .backup_after_ms = AFTER_MS },
	{ .name = "out",
	  .kind = ROUTE_SMARTHOST,
	  .domains = { out_domains, 1 },
	  .addresses = { hosts, 1 },
	  .ttl_ms = 432000000,
	  .sessions_max = 1,
	  .schedule = { SCHEDULE_EXPONENTIAL, 300000, 14400000, 0 },
	  .backup = (char *)"internet",
	  .backup_after_ms = AFTER_MS },
	{ .name = "internet",
	  .kind = ROUTE_MX,
	  .domains = { any_domain, 1 },
	  .ttl_ms = 432000000,
	  .sessions_max = 1,
	  .schedule = { SCHEDULE_EXPONENTIAL, 300000, 3600000, 0 },
	  .backup_after_ms = AFTER_MS },
};
static const char *addresses[6000];
static uint32_t flags;

static struct bench *begin(enum tunnel_state st)
{
	config.routes = with_backups;
	config.route_count = 3;
	with_backups[2].backup = NULL;
	flags = 0;
	return bench_new(st);
}

static void add(struct bench *b, struct letter *l, const char *to)
{
	struct env_rcpt r = { .addr = to };
	struct envelope e = { .sender = "x@y", .rcpt = &r, .rcpt_count = 1, .flags = flags };

	assert_int_equal(schedule_add(b->s, l, &e, b->now), 0);
}

static struct letter *post(struct bench *b, const char *to)
{
	struct letter *l = calloc(1, sizeof(*l) + sizeof(l->rcpt[0]));

	l->seq = ++b->seq;
	l->rcpt_count = l->open = 1;
	addresses[b->count] = to;
	b->letters[b->count++] = l;
	add(b, l, to);
	return l;
}

/* What the queue does each second. */
static void tick(struct bench *b)
{
	struct letter *some[64];
	size_t n = schedule_stranded(b->s, b->now, some, 64);

	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < b->count; k++)
			if (b->letters[k] == some[i]) {
				schedule_remove_idle(b->s, some[i]);
				add(b, some[i], addresses[k]);
			}
}

static void later(struct bench *b, uint64_t ms)
{
	b->now += ms;
	tick(b);
}

static const char *route_of(const struct letter *l)
{
	return l->legs ? l->legs->dest->route : "none";
}

static void fault(struct bench *b)
{
	struct leg *g = next(b);

	assert_non_null(g);
	land(b, g, RCPT_RES_TEMPFAIL, SCOPE_HOST, 0, 0);
}

static void deliver(struct bench *b, const char *route)
{
	struct leg *g = next(b);

	assert_non_null(g);
	assert_string_equal(g->dest->route, route);
	land(b, g, RCPT_RES_DELIVERED, SCOPE_NONE, 0, 0);
}

static void what_fails_for_long_goes_by_the_backup_and_comes_back(void **state)
{
	struct bench *b = begin(TUNNEL_UP);
	struct letter *l[4];

	(void)state;
	l[0] = post(b, "a@out.example");
	fault(b);
	later(b, AFTER_MS - 1000);
	assert_string_equal(route_of(l[0]), "out");
	/* Its time is over: who stands first tries once more, and all others go. */
	l[1] = post(b, "b@out.example");
	later(b, 1000);
	assert_string_equal(route_of(l[0]), "out");
	assert_string_equal(route_of(l[1]), "internet");
	deliver(b, "internet");
	fault(b);
	tick(b);
	assert_string_equal(route_of(l[0]), "internet");
	l[2] = post(b, "c@out.example");
	assert_string_equal(route_of(l[2]), "internet");
	assert_string_equal(l[2]->legs->dest->hop, "out.example");
	deliver(b, "internet");
	/* Tried at least each backup-after, though its waits have grown past that: nobody new has come. */
	later(b, AFTER_MS);
	assert_string_equal(route_of(l[2]), "out");
	l[3] = post(b, "d@out.example");
	assert_string_equal(route_of(l[3]), "internet");
	deliver(b, "out");
	later(b, 1000);
	assert_string_equal(route_of(l[3]), "out");
	deliver(b, "out");
	post(b, "f@out.example");
	deliver(b, "out");
	bench_free(b);
}

static void one_success_begins_the_time_anew(void **state)
{
	struct bench *b = begin(TUNNEL_UP);
	struct letter *l;

	(void)state;
	post(b, "a@out.example");
	fault(b);
	later(b, AFTER_MS - 1000);
	deliver(b, "out");
	l = post(b, "b@out.example");
	fault(b);
	later(b, AFTER_MS - 1000);
	assert_string_equal(route_of(l), "out");
	bench_free(b);
}

static void a_tunnel_that_is_down_for_long_too_and_its_coming_up_ends_it(void **state)
{
	struct bench *b = begin(TUNNEL_DOWN);
	struct letter *l = post(b, "a@home.example"), *late;

	(void)state;
	later(b, AFTER_MS - 1000);
	assert_string_equal(route_of(l), "to-home");
	later(b, 1000);
	assert_string_equal(route_of(l), "out");
	late = post(b, "b@home.example");
	assert_string_equal(route_of(late), "out");
	tunnel(b, TUNNEL_UP);
	later(b, 1000);
	assert_string_equal(route_of(l), "to-home");
	assert_string_equal(route_of(late), "to-home");
	bench_free(b);
}

/* The backup is held up too, and has one itself. */
static void a_backup_may_have_one_and_all_come_back_from_there(void **state)
{
	struct bench *b = begin(TUNNEL_DOWN);
	struct letter *l = post(b, "a@home.example");

	(void)state;
	later(b, AFTER_MS);
	assert_string_equal(route_of(l), "out");
	fault(b);
	later(b, AFTER_MS - 1000);
	fault(b);
	later(b, 1000);
	assert_string_equal(route_of(l), "internet");
	assert_string_equal(l->legs->dest->hop, "home.example");
	tunnel(b, TUNNEL_UP);
	later(b, 1000);
	assert_string_equal(route_of(l), "to-home");
	bench_free(b);
}

static void what_the_admin_holds_waits(void **state)
{
	struct bench *b = begin(TUNNEL_DOWN);
	struct letter *l = post(b, "a@home.example");

	(void)state;
	schedule_hold(b->s, "to-home", NULL, true, b->now);
	later(b, 2 * AFTER_MS);
	assert_string_equal(route_of(l), "to-home");
	schedule_hold(b->s, "to-home", NULL, false, b->now);
	tick(b);
	assert_string_equal(route_of(l), "out");
	bench_free(b);
}

/* It is there to see this way. */
static void a_probe_goes_by_no_backup(void **state)
{
	struct bench *b = begin(TUNNEL_DOWN);
	struct letter *l;

	(void)state;
	flags = ENV_PROBE;
	l = post(b, "a@home.example");
	later(b, 2 * AFTER_MS);
	assert_string_equal(route_of(l), "to-home");
	later(b, 1000);
	assert_string_equal(route_of(l), "to-home");
	bench_free(b);
}

static void count_one(const struct dest *d, void *arg)
{
	*(size_t *)arg += !strcmp(d->route, "internet");
}

/* Else who writes to domains that never answer would fill our memory with them. */
static void domains_on_a_backup_are_forgotten_with_their_last_letter(void **state)
{
	struct bench *b = begin(TUNNEL_UP);
	size_t left = 0;

	(void)state;
	with_backups[2].backup = (char *)"to-home";
	post(b, "a@dead.example");
	fault(b);
	later(b, AFTER_MS);
	fault(b);
	tick(b);
	assert_string_equal(route_of(b->letters[0]), "to-home");
	deliver(b, "to-home");
	schedule_each(b->s, count_one, &left);
	assert_int_equal(left, 0);
	bench_free(b);
}

/* A domain that has failed for its whole time, is forgotten, and gets a letter @ms after that. */
static struct letter *a_letter_later(struct bench *b, uint64_t ms)
{
	with_backups[2].backup = (char *)"to-home";
	post(b, "a@dead.example");
	fault(b);
	later(b, AFTER_MS);
	fault(b);
	tick(b);
	deliver(b, "to-home");
	later(b, ms);
	return post(b, "b@dead.example");
}

static void one_that_was_on_its_backup_is_tried_once_and_is_there_again(void **state)
{
	struct bench *b = begin(TUNNEL_UP);
	struct letter *l = a_letter_later(b, 4 * AFTER_MS), *other;
	struct leg *g = next(b);

	(void)state;
	assert_non_null(g);
	assert_string_equal(g->dest->route, "internet");
	other = post(b, "c@dead.example"); /* does not wait for how that ends */
	assert_string_equal(route_of(other), "to-home");
	deliver(b, "to-home");
	land(b, g, RCPT_RES_TEMPFAIL, SCOPE_HOST, 0, 0);
	tick(b);
	assert_string_equal(route_of(l), "to-home");
	deliver(b, "to-home");
	bench_free(b);
}

static void when_it_works_by_then_it_is_as_new(void **state)
{
	struct bench *b = begin(TUNNEL_UP);
	struct letter *l;

	(void)state;
	a_letter_later(b, 4 * AFTER_MS);
	deliver(b, "internet");
	l = post(b, "c@dead.example");
	fault(b);
	tick(b);
	assert_string_equal(route_of(l), "internet");
	bench_free(b);
}

static void after_a_day_it_has_its_whole_time_again(void **state)
{
	struct bench *b = begin(TUNNEL_UP);
	struct letter *l = a_letter_later(b, 86400000);

	(void)state;
	fault(b);
	tick(b);
	assert_string_equal(route_of(l), "internet");
	bench_free(b);
}

static void one_that_failed_for_a_moment_is_not_remembered(void **state)
{
	struct bench *b = begin(TUNNEL_UP);
	struct letter *l;

	(void)state;
	with_backups[2].backup = (char *)"to-home";
	l = post(b, "a@dead.example");
	fault(b);
	schedule_remove(b->s, l);
	later(b, AFTER_MS);
	l = post(b, "b@dead.example");
	fault(b);
	tick(b);
	assert_string_equal(route_of(l), "internet");
	bench_free(b);
}

static void a_reload_takes_the_backup_away(void **state)
{
	struct bench *b = begin(TUNNEL_UP);
	struct letter *l;

	(void)state;
	l = post(b, "a@out.example");
	fault(b);
	post(b, "b@out.example");
	later(b, AFTER_MS);
	deliver(b, "internet");
	fault(b);
	tick(b);
	assert_string_equal(route_of(l), "internet");
	with_backups[1].backup = NULL;
	schedule_reload(b->s, &config, &b->tunnel, b->now);
	schedule_remove_idle(b->s, l);
	add(b, l, "a@out.example");
	assert_string_equal(route_of(l), "out");
	with_backups[1].backup = (char *)"internet";
	bench_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_fails_for_long_goes_by_the_backup_and_comes_back),
		cmocka_unit_test(one_success_begins_the_time_anew),
		cmocka_unit_test(a_tunnel_that_is_down_for_long_too_and_its_coming_up_ends_it),
		cmocka_unit_test(a_backup_may_have_one_and_all_come_back_from_there),
		cmocka_unit_test(what_the_admin_holds_waits),
		cmocka_unit_test(a_probe_goes_by_no_backup),
		cmocka_unit_test(a_reload_takes_the_backup_away),
		cmocka_unit_test(domains_on_a_backup_are_forgotten_with_their_last_letter),
		cmocka_unit_test(one_that_was_on_its_backup_is_tried_once_and_is_there_again),
		cmocka_unit_test(when_it_works_by_then_it_is_as_new),
		cmocka_unit_test(after_a_day_it_has_its_whole_time_again),
		cmocka_unit_test(one_that_failed_for_a_moment_is_not_remembered),
	};

	log_setup("test_schedule_backup", LOG_LVL_ERR, 2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
