/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Where the peer is, as MOBIKE (RFC 4555) and RFC 6290 tell a supervisor. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

#include "sup_fake.h"

static void up_as_start_side(void)
{
	start(SUP_ALWAYS, "198.51.100.1");
	pass(10);
	comes_up(1, "198.51.100.1");
	pass(10); /* the way there is known */
	f.asked = f.dummies = f.moves = f.roamed = f.told = f.initiated = 0;
}

static void seen_from(const char *from, bool newest)
{
	struct engine_path p = { .sock = 0 };

	assert_int_equal(endpoint_parse(from, 4500, &p.remote), 0);
	sup_on_endpoint(&s, &p, 100, newest, now);
}

static void request_from(const char *from)
{
	struct fx fx = { .kind = FX_REQUEST_FROM };

	fx.reply.ike = s.ike;
	assert_int_equal(endpoint_parse(from, 4500, &fx.reply.path.remote), 0);
	sup_on_fx(&s, &fx, now);
}

static void update_from(const char *from, bool unproved)
{
	struct fx fx = { .kind = FX_UPDATE };

	fx.update.ike = s.ike;
	fx.update.bytes = 150;
	fx.update.unproved = unproved;
	assert_int_equal(endpoint_parse(from, 4500, &fx.update.path.remote), 0);
	sup_on_fx(&s, &fx, now);
}

/* RFC 7296 s2.23: who is behind the only NAT does not follow, whatever is authentic; RFC 4555 moves all. */
static void ike_case_084_who_is_behind_the_nat_moves_by_mobike_alone(void **state)
{
	(void)state;
	for (int mobike = 0; mobike < 2; mobike++) {
		begin(state);
		f.mobike = mobike;
		up_as_start_side();
		f.moves = 0;
		request_from("203.0.113.66:4500");
		seen_from("203.0.113.66:4500", true);
		pass(2000);
		request_from("203.0.113.66:4500");
		assert_int_equal(f.moves, 0);
		if (mobike) {
			update_from("203.0.113.66:4500", true);
			assert_int_equal(f.moves, 1);
			reply_from(0, "203.0.113.66");
		}
		assert_int_equal(s.where.path.remote.addr.b[0], mobike ? 203 : 198);
		sup_clear(&s);
	}
	up_as_start_side();
}

/* RFC 4555 s3.8: with MOBIKE no other request moves the endpoint of a peer that may move. */
static void with_mobike_only_its_update_moves(void **state)
{
	(void)state;
	f.mobike = true;
	start(SUP_WAIT, NULL);
	comes_up(1, "100.64.0.9:1234");
	f.moves = 0;
	pass(2000);
	request_from("100.64.0.9:1235");
	assert_int_equal(f.moves, 0);
	update_from("100.64.0.9:1235", false);
	update_from("100.64.0.9:1236", false); /* the message IDs gave the order: no pace */
	assert_int_equal(f.moves, 2);
	assert_int_equal(f.limited, 0);
	assert_int_equal(s.where.path.remote.port, 1236);
	update_from("203.0.113.9:7", true);
	assert_int_equal(f.limited, 1);
	pass(4000); /* COOKIE2 never came back from there */
	assert_int_equal(s.where.path.remote.port, 1236);
	update_from("203.0.113.9:7", true); /* it says so again: not ignored */
	reply_from(0, "203.0.113.9:7");
	pass(10000);
	assert_int_equal(s.where.path.remote.port, 7);
}

/* RFC 6290: with its token the word is proof. No question, no 5 s: the call goes out now. */
static void a_proof_that_it_lost_us_calls_at_once(void **state)
{
	struct fx fx = { .kind = FX_HINT };

	(void)state;
	up_as_start_side();
	fx.reply.ike = s.ike;
	fx.reply.proved = true;
	sup_on_fx(&s, &fx, now);
	pass(500);
	assert_int_equal(f.initiated, 1);
	assert_int_equal(s.ike, 1); /* in use until the new one is there */
}

/* RFC 4555 s3.6: what the peer said of itself is called too when it is silent, by who calls at all. */
static void where_else_it_is_is_called_too(void **state)
{
	struct fx fx = { .kind = FX_PEER_ADDRESSES };

	(void)state;
	up_as_start_side();
	fx.peer_addresses.ike = s.ike;
	fx.peer_addresses.count = 2;
	fx.peer_addresses.addr[0] = addr("203.0.113.5");
	fx.peer_addresses.addr[1] = addr("2001:db8::5");
	sup_on_fx(&s, &fx, now);
	pass(5000);
	assert_int_equal(f.initiated, 0); /* it answers where it is */
	f.endpoints[0] = 0;
	goes_down(s.ike, true, ENGINE_WHY_DELETED);
	pass(3000);
	assert_non_null(strstr(f.endpoints, "198.51.100.1:4500 "));
	assert_non_null(strstr(f.endpoints, "203.0.113.5:4500 "));
	assert_non_null(strstr(f.endpoints, "[2001:db8::5]:4500 "));
	comes_up(99, "203.0.113.5");
	fx.peer_addresses.ike = s.ike;
	fx.peer_addresses.count = 0;
	sup_on_fx(&s, &fx, now);
	assert_null(s.elsewhere);
}

/* It may move as often as it likes; each counts, and at most one a second is told. */
static void who_moves_all_the_time_does_not_fill_the_log(void **state)
{
	uint64_t before;

	(void)state;
	f.mobike = true;
	start(SUP_WAIT, NULL);
	comes_up(1, "100.64.0.9:1234");
	pass(5000);
	f.roamed = 0;
	before = s.moves;
	for (int i = 0; i < 500; i++) {
		update_from(i % 2 ? "100.64.0.9:1234" : "100.64.0.9:1235", false);
		pass(5);
	}
	assert_int_equal(s.moves - before, 500);
	assert_in_range(f.roamed, 1, 3);
	assert_int_equal(s.where.path.remote.port, 1234);
	pass(2000);
	f.roamed = 0;
	update_from("100.64.0.9:1236", false);
	assert_int_equal(f.roamed, 1);
}

/* What left at the same moment has several mappings of the NAT there: its word by one, its data by another. */
static void the_data_of_one_that_has_moved_may_come_by_another_port(void **state)
{
	(void)state;
	f.mobike = true;
	start(SUP_WAIT, NULL);
	comes_up(1, "100.64.0.9:1234");
	pass(5000);
	update_from("203.0.113.9:7", true);
	f.asked = f.remembered = 0;
	pass(10);
	seen_from("203.0.113.9:8", true);
	assert_int_equal(s.where.path.remote.port, 8); /* and not a second later */
	assert_int_equal(f.moved.remote.port, 8);
	assert_int_equal(f.asked, 1); /* what was asked goes there too */
	assert_true(s.where.trial_until_ms && !f.remembered);
	seen_from("203.0.113.9:7", true); /* whichever of them it keeps */
	assert_int_equal(s.where.path.remote.port, 7);
	seen_from("203.0.113.9:8", true);
	assert_int_equal(s.where.path.remote.port, 7); /* not for ever, though */
	reply_from(0, "203.0.113.9:8");
	assert_int_equal(f.moved.remote.port, 8);
	pass(10000);
	assert_int_equal(s.where.path.remote.port, 8);
	assert_true(s.trials == 1 && s.trials_won == 1 && !s.trials_lost && f.remembered);
	assert_int_equal(f.remembered, 1);
}

/* By ESP alone, and with an UPDATE that comes behind it. */
static void a_second_mapping_of_a_new_address_waits_for_nothing(void **state)
{
	(void)state;
	f.mobike = true;
	start(SUP_WAIT, NULL);
	comes_up(1, "100.64.0.9:1234");
	pass(5000);
	f.remembered = 0;
	seen_from("203.0.113.9:8", true);
	update_from("203.0.113.9:7", false);
	/* RFC 4555 s3.7: that it is there is still to be shown by an answer. */
	assert_true(s.where.trial_until_ms && !f.remembered && s.trials == 1);
	seen_from("203.0.113.9:8", true);
	assert_int_equal(s.where.path.remote.port, 8);
	pass(2000);
	seen_from("203.0.113.20:8", true);
	assert_int_equal(s.where.trial_until_ms, now + 3000);
	seen_from("203.0.113.20:9", true);
	assert_int_equal(s.where.path.remote.port, 9);
	assert_int_equal(s.where.trial_until_ms, now + 3000);
	seen_from("203.0.113.21:9", true); /* another address has to */
	assert_int_equal(s.where.path.remote.addr.b[3], 20);
	reply_from(0, "203.0.113.21:9"); /* ... and an answer from it proves nothing about this one */
	assert_int_equal(s.where.trial_until_ms, now + 3000);
	pass(3500);
	assert_int_equal(s.where.path.remote.addr.b[3], 9);
}

int main(void)
{
#define T(x) cmocka_unit_test_setup_teardown(x, begin, end)
	const struct CMUnitTest tests[] = {
		T(ike_case_084_who_is_behind_the_nat_moves_by_mobike_alone),
		T(with_mobike_only_its_update_moves),
		T(a_proof_that_it_lost_us_calls_at_once),
		T(where_else_it_is_is_called_too),
		T(who_moves_all_the_time_does_not_fill_the_log),
		T(the_data_of_one_that_has_moved_may_come_by_another_port),
		T(a_second_mapping_of_a_new_address_waits_for_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
