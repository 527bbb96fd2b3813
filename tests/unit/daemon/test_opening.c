/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "opening.h"

#define DAEMON "[posternd]\nidentity = a.example\ntunnel-address = 10.99.0.1\n"
#define CALLS_US "[peer b]\nidentity = b.example\npsk = k\nassign = 10.99.0.2\n"
#define WE_CALL                                                                                    \
	"[peer b]\nidentity = b.example\npsk = k\nnetworks = 10.99.0.2\n"                          \
	"address = b.example\nstart = always\n"

static bool opening(const char *text, struct net_opening *o)
{
	static const struct outer sockets = { .group = { { .port = 4500 }, { .port = 4500 } },
					      .count = 2,
					      .port500 = { .fd = 3, .port = 500 } };
	struct config *cfg =
	    config_make(conf_parse(&config_schema, "/e/postern.conf", text, strlen(text)));
	bool open;

	assert_non_null(cfg);
	if (!conf_ok(cfg->conf))
		fail_msg("%s", cfg->conf->errors);
	open = opening_of(cfg, &sockets, o);
	config_free(cfg);
	return open;
}

static void outer_ports_are_opened_where_a_peer_calls_us(void **state)
{
	struct net_opening o;

	(void)state;
	assert_true(opening(DAEMON CALLS_US, &o));
	assert_int_equal(o.udp_count, 2);
	assert_int_equal(o.udp[0], 4500);
	assert_int_equal(o.udp[1], 500);
	assert_true(opening(DAEMON WE_CALL, &o));
	assert_int_equal(o.udp_count, 0);
}

static void the_tunnel_reaches_the_mail_port_unless_told_otherwise(void **state)
{
	struct net_opening o;

	(void)state;
	assert_true(opening(DAEMON CALLS_US, &o));
	assert_int_equal(o.tunnel_tcp_count, 1);
	assert_int_equal(o.tunnel_tcp[0], 25);
	assert_true(opening(DAEMON "tunnel-ports = 22, 22, 25\n" CALLS_US, &o));
	assert_int_equal(o.tunnel_tcp_count, 2);
	assert_true(opening(DAEMON "tunnel-ports = 0\n" CALLS_US, &o));
	assert_int_equal(o.tunnel_tcp_count, 0);
}

static void forwarding_is_opened_for_a_network_behind_us(void **state)
{
	struct net_opening o;

	(void)state;
	assert_true(opening(DAEMON CALLS_US "local-ts = 10.99.0.1[tcp/25]\n", &o));
	assert_false(o.forward);
	assert_true(opening(DAEMON WE_CALL "request-address = yes\nlocal-ts = assigned\n", &o));
	assert_false(o.forward);
	assert_true(opening(DAEMON CALLS_US "local-ts = 10.99.0.1, 192.168.7.0/24\n", &o));
	assert_true(o.forward);
}

static void none_opens_nothing(void **state)
{
	struct net_opening o;

	(void)state;
	assert_false(opening(DAEMON "firewall = none\n" CALLS_US, &o));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(outer_ports_are_opened_where_a_peer_calls_us),
		cmocka_unit_test(the_tunnel_reaches_the_mail_port_unless_told_otherwise),
		cmocka_unit_test(forwarding_is_opened_for_a_network_behind_us),
		cmocka_unit_test(none_opens_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
