/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tunnel.h"

#define HELLO "{\"v\":1,\"event\":\"hello\",\"tun\":\"postern0\",\"addresses\":[\"10.99.0.1\",\"fd99::1\"]}"
#define PEER(name, state, inner)                                                                   \
	"{\"v\":1,\"event\":\"peer\",\"peer\":\"" name "\",\"identity\":\"home.example.net\","     \
	"\"state\":\"" state "\",\"inner\":[" inner "],\"tun\":\"postern0\"}"
#define READY "{\"v\":1,\"event\":\"ready\"}"

static int event(struct tunnel_table *t, const char *line, bool *changed)
{
	return tunnel_event(t, line, strlen(line), 1000, changed);
}

static void fill(struct tunnel_table *t)
{
	bool changed;

	assert_int_equal(event(t, HELLO, &changed), 0);
	assert_true(changed);
	assert_int_equal(event(t, PEER("home", "up", "\"10.99.0.2\",\"fd99::2\""), &changed), 0);
	assert_int_equal(event(t, PEER("lan", "down", "\"10.98.0.0/16\""), &changed), 0);
	assert_int_equal(event(t, READY, &changed), 0);
	assert_true(t->connected);
}

static void the_list_of_posternd_becomes_the_table(void **state)
{
	struct tunnel_table t = { 0 };
	struct addr a;
	bool changed;

	(void)state;
	fill(&t);
	assert_string_equal(t.dev, "postern0");
	assert_int_equal(tunnel_peer(&t, "home")->state, TUNNEL_UP);
	assert_int_equal(tunnel_peer(&t, "lan")->state, TUNNEL_DOWN);
	addr_parse("fd99::2", &a);
	assert_string_equal(tunnel_peer_by_addr(&t, &a)->name, "home");
	addr_parse("10.98.7.7", &a);
	assert_string_equal(tunnel_peer_by_addr(&t, &a)->name, "lan");
	addr_parse("10.97.7.7", &a);
	assert_null(tunnel_peer_by_addr(&t, &a));
	assert_int_equal(tunnel_source(&t, AF_INET6)->b[15], 1);
	assert_int_equal(event(&t, PEER("home", "up", "\"10.99.0.2\",\"fd99::2\""), &changed), 0);
	assert_false(changed);
	assert_int_equal(event(&t, "{\"v\":1,\"event\":\"rekey\",\"peer\":\"home\"}", &changed), 0);
	assert_false(changed);
	tunnel_clear(&t);
}

static void a_lost_posternd_makes_every_peer_unknown_once(void **state)
{
	struct tunnel_table t = { 0 };
	bool changed;

	(void)state;
	fill(&t);
	assert_true(tunnel_lost(&t, 5000));
	assert_false(tunnel_lost(&t, 6000));
	assert_int_equal(tunnel_peer(&t, "home")->state, TUNNEL_UNKNOWN);
	assert_int_equal(tunnel_peer(&t, "home")->changed_ms, 5000);
	assert_string_equal(t.dev, "postern0");
	/* A new list drops who is not in it. */
	assert_int_equal(event(&t, HELLO, &changed), 0);
	assert_int_equal(event(&t, PEER("lan", "up", "\"10.98.0.0/16\""), &changed), 0);
	assert_int_equal(event(&t, READY, &changed), 0);
	assert_null(tunnel_peer(&t, "home"));
	assert_int_equal(tunnel_peer(&t, "lan")->state, TUNNEL_UP);
	tunnel_clear(&t);
}

static void lines_that_are_not_the_format_change_nothing(void **state)
{
	static const char *const bad[] = {
		"",
		"{",
		"[]",
		"7",
		"{\"v\":1}",
		"{\"v\":2,\"event\":\"ready\"}",
		"{\"v\":1,\"event\":\"hello\",\"tun\":\"a/b\",\"addresses\":[]}",
		"{\"v\":1,\"event\":\"hello\",\"tun\":\"0123456789abcdef\",\"addresses\":[]}",
		"{\"v\":1,\"event\":\"hello\",\"tun\":\"postern0\",\"addresses\":[7]}",
		"{\"v\":1,\"event\":\"hello\",\"tun\":\"postern0\",\"addresses\":[\"10.0.0.256\"]}",
		PEER("", "up", ""),
		PEER("a\\u000ab", "up", ""),
		PEER("a\\u0000b", "up", ""),
		PEER("home", "UP", ""),
		PEER("home", "up", "\"10.99.0.2/33\""),
		PEER("home", "up", "{}"),
		"{\"v\":1,\"v\":1,\"event\":\"ready\"}",
	};
	struct tunnel_table t = { 0 };
	bool changed;
	uint32_t serial;

	(void)state;
	fill(&t);
	serial = t.serial;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_not_equal(event(&t, bad[i], &changed), 0);
		assert_int_equal(t.serial, serial);
		assert_int_equal(tunnel_peer(&t, "home")->state, TUNNEL_UP);
	}
	tunnel_clear(&t);
}

static void more_than_the_limits_is_refused(void **state)
{
	struct tunnel_table t = { 0 };
	bool changed;
	char line[2048] = "{\"v\":1,\"event\":\"peer\",\"peer\":\"x\",\"tun\":\"t\",\"state\":\"up\",\"inner\":[";

	(void)state;
	for (int i = 0; i < TUNNEL_INNER_MAX + 1; i++)
		snprintf(line + strlen(line), sizeof(line) - strlen(line), "%s\"10.0.0.%d\"",
			 i ? "," : "", i);
	strcat(line, "]}");
	assert_int_equal(event(&t, line, &changed), -E2BIG);
	assert_int_equal(t.peer_count, 0);
	tunnel_clear(&t);
}

static void the_table_survives_the_way_to_a_child(void **state)
{
	struct tunnel_table t = { 0 }, u = { 0 };
	uint8_t *b;
	size_t len;

	(void)state;
	fill(&t);
	b = tunnel_encode(&t, &len);
	assert_non_null(b);
	assert_int_equal(tunnel_decode(&u, b, len), 0);
	assert_int_equal(u.peer_count, 2);
	assert_true(u.connected);
	assert_string_equal(u.peers[0].identity, "home.example.net");
	assert_int_equal(u.peers[0].inner_count, 2);
	for (size_t i = 0; i < len; i++)
		assert_int_equal(tunnel_decode(&u, b, i), -EBADMSG);
	assert_int_equal(u.peer_count, 2);
	free(b);
	tunnel_clear(&t);
	tunnel_clear(&u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_list_of_posternd_becomes_the_table),
		cmocka_unit_test(a_lost_posternd_makes_every_peer_unknown_once),
		cmocka_unit_test(lines_that_are_not_the_format_change_nothing),
		cmocka_unit_test(more_than_the_limits_is_refused),
		cmocka_unit_test(the_table_survives_the_way_to_a_child),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
