/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The networks of a peer are replaced while workers look packets up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "worker.h"

static struct dp dp;
static struct worker w;
static _Atomic(struct peer *) peers[4];
static struct prefix stays;
static unsigned changes, fail_at;

int __real_spd_add_trap(struct spd *s, struct rcu *r, struct peer *p, const struct prefix *net);
void __real_spd_del_trap(struct spd *s, struct rcu *r, struct peer *p, const struct prefix *net);
int __wrap_spd_add_trap(struct spd *s, struct rcu *r, struct peer *p, const struct prefix *net);
void __wrap_spd_del_trap(struct spd *s, struct rcu *r, struct peer *p, const struct prefix *net);

/* Whose a packet to @text is; 0: nobody's. */
static uint32_t whose(const char *text)
{
	struct pkt k = { .ver = 4, .proto = PKT_UDP };
	struct spd_hit hit;
	struct addr a;

	assert_int_equal(addr_parse(text, &a), 0);
	k.dst[1] = get32(a.b);
	hit = spd_lookup(&dp.spd, &k);
	return hit.peer ? hit.peer->id : 0;
}

/* As a worker does, between any two changes. */
static void look(void)
{
	char text[PREFIX_STR_MAX];

	changes++;
	if (stays.addr.family)
		assert_int_equal(whose(addr_str(&stays.addr, text)), 1);
}

int __wrap_spd_add_trap(struct spd *s, struct rcu *r, struct peer *p, const struct prefix *net)
{
	int rc = fail_at && !--fail_at ? -ENOMEM : __real_spd_add_trap(s, r, p, net);

	look();
	return rc;
}

void __wrap_spd_del_trap(struct spd *s, struct rcu *r, struct peer *p, const struct prefix *net)
{
	__real_spd_del_trap(s, r, p, net);
	look();
}

static int set(uint32_t id, const char *const *text, size_t n)
{
	struct prefix net[8];

	for (size_t i = 0; i < n; i++)
		assert_int_equal(prefix_parse(text[i], &net[i]), 0);
	return dp_peer_networks(&dp, id, net, n);
}

#define SET(id, ...) set(id, (const char *const[]){ __VA_ARGS__ }, sizeof((const char *[]){ __VA_ARGS__ }) / sizeof(char *))

static int setup(void **state)
{
	(void)state;
	memset(&dp, 0, sizeof(dp));
	memset(&stays, 0, sizeof(stays));
	changes = fail_at = 0;
	dp.workers = 1;
	dp.worker[0] = &w;
	dp.peers = peers;
	dp.peers_max = 4;
	rcu_init(&dp.rcu);
	assert_int_equal(spd_init(&dp.spd), 0);
	for (uint32_t id = 1; id <= 2; id++)
		assert_int_equal(dp_peer_set(&dp, id, NULL, false, 0), 0);
	assert_int_equal(SET(1, "10.99.0.2/32", "10.98.0.0/16"), 0);
	assert_int_equal(SET(2, "10.0.0.0/8"), 0);
	assert_int_equal(prefix_parse("10.99.0.2/32", &stays), 0);
	changes = 0;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	memset(&stays, 0, sizeof(stays));
	dp_peer_remove(&dp, 1);
	dp_peer_remove(&dp, 2);
	install_reap(&dp);
	assert_null(dp.rcu.first);
	spd_free(&dp.spd);
	return 0;
}

static void what_stays_is_never_gone(void **state)
{
	(void)state;
	assert_int_equal(SET(1, "10.97.0.0/16", "10.99.0.2/32"), 0);
	assert_int_equal(changes, 2);
	assert_int_equal(whose("10.97.0.1"), 1);
	assert_int_equal(whose("10.98.0.1"), 2);
	assert_int_equal(SET(1, "10.97.0.0/16", "10.99.0.2/32"), 0);
	assert_int_equal(changes, 2); /* a reload that changes nothing here */
	memset(&stays, 0, sizeof(stays));
	assert_int_equal(dp_peer_networks(&dp, 1, NULL, 0), 0);
	assert_int_equal(whose("10.97.0.1"), 2);
	assert_int_equal(whose("10.99.0.2"), 2);
}

static void without_memory_the_former_ones_stay(void **state)
{
	(void)state;
	fail_at = 2;
	assert_int_equal(SET(1, "10.97.0.0/16", "10.96.0.0/16"), -ENOMEM);
	assert_int_equal(whose("10.99.0.2"), 1);
	assert_int_equal(whose("10.98.0.1"), 1);
	assert_int_equal(whose("10.97.0.1"), 2);
	assert_int_equal(whose("10.96.0.1"), 2);
}

static void the_one_that_stands_by_has_none_and_gets_the_new_ones(void **state)
{
	(void)state;
	memset(&stays, 0, sizeof(stays));
	assert_int_equal(dp_peer_passive(&dp, 1, true), 0);
	assert_int_equal(SET(1, "10.97.0.0/16"), 0);
	assert_int_equal(whose("10.97.0.1"), 2);
	assert_int_equal(dp_peer_passive(&dp, 1, false), 0);
	assert_int_equal(whose("10.97.0.1"), 1);
	assert_int_equal(whose("10.99.0.2"), 2);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(what_stays_is_never_gone),
		T(without_memory_the_former_ones_stay),
		T(the_one_that_stands_by_has_none_and_gets_the_new_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
