/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a supervisor makes of a peer that sends it elsewhere (RFC 5685). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

#include "sup_fake.h"
#include "redirect.h"

static void redirect_to(uint32_t ike, const char *to)
{
	struct fx fx = { .kind = FX_REDIRECT };

	fx.redirect.peer = PEER;
	fx.redirect.ike = ike;
	fx.redirect.to.addr = addr(to);
	sup_on_fx(&s, &fx, now);
}

static void a_call_that_is_sent_elsewhere_goes_there_alone(void **state)
{
	(void)state;
	start(SUP_ALWAYS, "198.51.100.1");
	pass(100);
	redirect_to(1, "203.0.113.5");
	pass(100);
	assert_int_equal(f.dropped, 1);
	assert_string_equal(f.endpoints, "198.51.100.1:4500 203.0.113.5:4500 ");
	pass(REDIRECT_TRY_MS - 1000);
	assert_string_equal(f.endpoints, "198.51.100.1:4500 203.0.113.5:4500 ");
	pass(8000); /* nobody is there: what the admin wrote is called again */
	assert_non_null(strstr(f.endpoints, "203.0.113.5:4500 198.51.100.1:4500 "));
}

static void a_gateway_by_name_is_resolved_and_one_that_nobody_knows_is_given_up(void **state)
{
	struct fx fx = { .kind = FX_REDIRECT };

	(void)state;
	start(SUP_ALWAYS, "198.51.100.1");
	pass(100);
	fx.redirect.peer = PEER;
	strcpy(fx.redirect.to.name, "vps.example.net");
	f.resolver[0] = addr("2001:db8::5");
	sup_on_fx(&s, &fx, now);
	pass(100);
	assert_int_equal(f.resolves, 1);
	assert_string_equal(f.endpoints, "198.51.100.1:4500 [2001:db8::5]:4500 ");
	f.resolver_ok = false;
	sup_on_fx(&s, &fx, now);
	pass(REDIRECT_TRY_MS + 8000);
	assert_false(redirect_active(&s));
	assert_non_null(strstr(f.endpoints, "4500 198.51.100.1:4500 "));
}

/* The end of the call that brought it (IKE_AUTH) is no refusal: there is no waiting before the next. */
static void what_ike_auth_says_is_followed_at_once(void **state)
{
	struct fx down = { .kind = FX_PEER_DOWN };

	(void)state;
	start(SUP_ALWAYS, "198.51.100.1");
	pass(100);
	redirect_to(1, "203.0.113.5");
	down.down.peer = PEER;
	down.down.ike = 1;
	down.down.why = ENGINE_WHY_REFUSED;
	sup_on_fx(&s, &down, now);
	pass(100);
	assert_string_equal(f.endpoints, "198.51.100.1:4500 203.0.113.5:4500 ");
	assert_int_equal(s.refused_until_ms, 0);
}

static void a_live_peer_that_sends_us_elsewhere_is_left_for_who_is_there(void **state)
{
	(void)state;
	start(SUP_ALWAYS, "198.51.100.1");
	pass(100);
	ike_comes_up(1, "198.51.100.1:4500", true);
	redirect_to(1, "203.0.113.5");
	pass(100);
	assert_true(sup_is_up(&s, now)); /* the old one carries until then */
	assert_non_null(strstr(f.endpoints, "203.0.113.5:4500 "));
	ike_comes_up(2, "203.0.113.5:4500", true);
	assert_int_equal(s.ike, 2);
	assert_false(redirect_active(&s));
}

static void gateways_that_send_us_to_each_other_are_followed_five_times(void **state)
{
	(void)state;
	start(SUP_ALWAYS, "198.51.100.1");
	for (int i = 0; i < 50; i++) {
		pass(100);
		redirect_to(1, i & 1 ? "203.0.113.5" : "203.0.113.6");
	}
	assert_int_equal(s.redirect->followed, REDIRECT_MAX_COUNT);
	pass(REDIRECT_WINDOW_MS);
	redirect_to(1, "203.0.113.5");
	assert_int_equal(s.redirect->followed, REDIRECT_MAX_COUNT + 1);
}

int main(void)
{
#define T(x) cmocka_unit_test_setup_teardown(x, begin, end)
	const struct CMUnitTest tests[] = {
		T(a_call_that_is_sent_elsewhere_goes_there_alone),
		T(a_gateway_by_name_is_resolved_and_one_that_nobody_knows_is_given_up),
		T(what_ike_auth_says_is_followed_at_once),
		T(a_live_peer_that_sends_us_elsewhere_is_left_for_who_is_there),
		T(gateways_that_send_us_to_each_other_are_followed_five_times),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
