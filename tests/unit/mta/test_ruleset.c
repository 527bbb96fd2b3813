/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "limit.h"
#include "log.h"
#include "ruleset.h"

static char *home_domains[] = { "home.example", "second.example" },
	    *other_domains[] = { "other.example" };
static char *own_domains[] = { "edge.example" }, *star[] = { "*" };
static struct mta_home homes[] = {
	{ .name = "home", .peer = "home", .domains = { home_domains, 2 } },
	{ .name = "other", .peer = "other", .domains = { other_domains, 1 } },
};
static struct mta_route routes[] = {
	{ .name = "internet", .kind = ROUTE_MX, .domains = { star, 1 } }
};
static struct mta_listener listeners[] = {
	{ .name = "public", .class = LISTEN_MX },
	{ .name = "submit", .class = LISTEN_SUBMISSION },
	{ .name = "inner", .class = LISTEN_TUNNEL },
	{ .name = "printers", .class = LISTEN_LAN },
};
enum { PUBLIC, SUBMIT, INNER, PRINTERS };

static struct mta_config edge(void)
{
	return (struct mta_config){
		.role = MTA_EDGE,
		.listeners = listeners,
		.listener_count = 4,
		.homes = homes,
		.home_count = 2,
		.routes = routes,
		.route_count = 1,
		.deliver.domains = { own_domains, 1 },
	};
}

struct ask {
	int listener;
	const char *client, *peer, *user, *sender, *rcpt;
};

static struct address address(const char *s)
{
	struct address a;

	assert_int_equal(address_parse(s, strlen(s), ADDRESS_ALLOW_NULL | ADDRESS_ALLOW_BARE, &a),
			 0);
	return a;
}

static struct rule_verdict judge(const struct mta_config *c, const struct ask *q)
{
	struct address sender = address(q->sender), rcpt;
	struct rule_facts f = { .listener = &listeners[q->listener],
				.peer = q->peer,
				.user = q->user,
				.sender = &sender };
	struct rule_verdict v;

	assert_int_equal(addr_parse(q->client ? q->client : "192.0.2.9", &f.client), 0);
	if (!q->rcpt) {
		ruleset_sender(c, &f, &v);
		return v;
	}
	rcpt = address(q->rcpt);
	ruleset_rcpt(c, &f, &rcpt, &v);
	return v;
}

static void each_class_lets_through_what_it_is_for_and_nothing_else(void **state)
{
	static const struct {
		struct ask q;
		enum rule_way way;
	} cases[] = {
		/* the internet to ours, and to nobody else: never an open relay */
		{ { PUBLIC, 0, 0, 0, "a@far.example", "b@home.example" }, RULE_OURS },
		{ { PUBLIC, 0, 0, 0, "a@far.example", "b@HOME.Example" }, RULE_OURS },
		{ { PUBLIC, 0, 0, 0, "a@far.example", "b@edge.example" }, RULE_OURS },
		{ { PUBLIC, 0, 0, 0, "", "postmaster" }, RULE_OURS },
		{ { PUBLIC, 0, 0, 0, "a@far.example", "b@far.example" }, RULE_REFUSED },
		{ { PUBLIC, 0, 0, 0, "b@home.example", "b@far.example" }, RULE_REFUSED },
		{ { PUBLIC, "127.0.0.1", 0, 0, "b@home.example", "b@far.example" }, RULE_REFUSED },
		{ { PUBLIC, 0, 0, 0, "a@far.example", "b@sub.home.example" }, RULE_REFUSED },
		{ { PUBLIC, 0, 0, 0, "a@far.example", "b@[192.0.2.1]" }, RULE_REFUSED },
		/* case 30 */
		{ { PUBLIC, 0, 0, 0, "a@far.example", "u%far.example@home.example" },
		  RULE_REFUSED },
		{ { PUBLIC, 0, 0, 0, "a@far.example", "far.example!u@home.example" },
		  RULE_REFUSED },
		{ { PUBLIC, 0, 0, 0, "a@far.example", "\"u@far.example\"@home.example" },
		  RULE_REFUSED },
		/* users after login */
		{ { SUBMIT, 0, 0, "joe", "joe@home.example", "b@far.example" }, RULE_RELAY },
		{ { SUBMIT, 0, 0, 0, "joe@home.example", "b@far.example" }, RULE_REFUSED },
		/* homes relay, peers that are no home do not */
		{ { INNER, "10.99.0.2", "home", 0, "b@home.example", "a@far.example" },
		  RULE_RELAY },
		{ { INNER, "10.99.0.2", "home", 0, "b@home.example", "c@other.example" },
		  RULE_OURS },
		{ { INNER, "10.99.0.9", "stranger", 0, "b@home.example", "a@far.example" },
		  RULE_REFUSED },
		{ { INNER, "10.99.0.2", 0, 0, "b@home.example", "a@far.example" }, RULE_REFUSED },
		/* an own network, loopback when none is written */
		{ { PRINTERS, "127.0.0.1", 0, 0, "p@home.example", "a@far.example" }, RULE_RELAY },
		{ { PRINTERS, "192.168.1.7", 0, 0, "p@home.example", "a@far.example" },
		  RULE_REFUSED },
		/* at MAIL: a home speaks for its own domains, and as the null sender */
		{ { INNER, "10.99.0.2", "home", 0, "b@home.example", 0 }, RULE_RELAY },
		{ { INNER, "10.99.0.2", "home", 0, "b@SECOND.example", 0 }, RULE_RELAY },
		{ { INNER, "10.99.0.2", "home", 0, "", 0 }, RULE_RELAY },
		{ { INNER, "10.99.0.2", "home", 0, "b@other.example", 0 }, RULE_REFUSED },
		{ { INNER, "10.99.0.2", "home", 0, "b@far.example", 0 }, RULE_REFUSED },
		{ { INNER, "10.99.0.9", "vps", 0, "b@far.example", 0 }, RULE_RELAY },
		{ { PUBLIC, 0, 0, 0, "b@home.example", 0 }, RULE_RELAY },
	};
	struct mta_config c = edge();

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct rule_verdict v = judge(&c, &cases[i].q);

		if (v.way != cases[i].way)
			fail_msg("row %zu: way %d, wanted %d (%s)", i, v.way, cases[i].way, v.text);
		if (v.way == RULE_REFUSED)
			assert_int_equal(v.code, 550);
	}
}

static void without_a_route_a_domain_is_refused(void **state)
{
	struct mta_config c = edge();
	struct rule_verdict v;

	(void)state;
	c.route_count = 0;
	v = judge(&c, &(struct ask){ SUBMIT, 0, 0, "joe", "joe@home.example", "b@far.example" });
	assert_int_equal(v.way, RULE_REFUSED);
	assert_string_equal(v.text, "5.4.4 No route to that domain");
}

#define WORDS(...)                                                                                 \
	{                                                                                          \
		(char *[]){ __VA_ARGS__ }, sizeof((char *[]){ __VA_ARGS__ }) / sizeof(char *)      \
	}
#define ANY .authenticated = -1, .tls = -1

static void the_first_rule_that_holds_decides(void **state)
{
	struct mta_rule rules[] = {
		{ .name = "friend",
		  ANY,
		  .senders = WORDS("friend@spam.example"),
		  .recipients = WORDS("@home.example"),
		  .action = RULE_ACCEPT },
		{ .name = "spam",
		  ANY,
		  .senders = WORDS("@spam.example", "@.spam.example"),
		  .action = RULE_REJECT,
		  .message = "We know you" },
		{ .name = "later",
		  ANY,
		  .listeners = WORDS("mx"),
		  .recipients = WORDS("busy@home.example"),
		  .action = RULE_TEMPFAIL },
		{ .name = "bounces",
		  ANY,
		  .senders = WORDS("<>"),
		  .recipients = WORDS("list@home.example"),
		  .action = RULE_REJECT },
		{ .name = "partner", ANY, .peers = WORDS("partner"), .action = RULE_ACCEPT },
	};
	static const struct {
		struct ask q;
		enum rule_way way;
		const char *text;
	} cases[] = {
		{ { PUBLIC, 0, 0, 0, "friend@SPAM.example", "b@home.example" }, RULE_OURS, "" },
		{ { PUBLIC, 0, 0, 0, "foe@spam.example", "b@home.example" },
		  RULE_REFUSED,
		  "5.7.1 We know you" },
		{ { PUBLIC, 0, 0, 0, "foe@x.spam.example", "b@home.example" },
		  RULE_REFUSED,
		  "5.7.1 We know you" },
		{ { PUBLIC, 0, 0, 0, "foe@notspam.example", "b@home.example" }, RULE_OURS, "" },
		{ { PUBLIC, 0, 0, 0, "a@far.example", "busy@home.example" },
		  RULE_LATER,
		  "4.7.1 Refused by policy" },
		{ { SUBMIT, 0, 0, "joe", "a@far.example", "busy@home.example" }, RULE_OURS, "" },
		{ { PUBLIC, 0, 0, 0, "", "list@home.example" },
		  RULE_REFUSED,
		  "5.7.1 Refused by policy" },
		{ { PUBLIC, 0, 0, 0, "a@far.example", "list@home.example" }, RULE_OURS, "" },
		{ { INNER, "10.99.0.7", "partner", 0, "a@far.example", "b@far2.example" },
		  RULE_RELAY,
		  "" },
		/* an accepting rule for others opens nothing for these */
		{ { INNER, "10.99.0.8", "vps", 0, "a@far.example", "b@far2.example" },
		  RULE_REFUSED,
		  "5.7.1 Relaying denied" },
		/* a rule that needs the recipient leaves MAIL open */
		{ { PUBLIC, 0, 0, 0, "foe@spam.example", 0 }, RULE_RELAY, "" },
	};
	struct mta_config c = edge();

	(void)state;
	c.rules = rules;
	c.rule_count = 5;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct rule_verdict v = judge(&c, &cases[i].q);

		if (v.way != cases[i].way || strcmp(v.text, cases[i].text))
			fail_msg("row %zu: way %d, wanted %d (%s)", i, v.way, cases[i].way, v.text);
	}
	c.rules = rules + 1;
	c.rule_count = 1;
	assert_int_equal(judge(&c, &(struct ask){ PUBLIC, 0, 0, 0, "foe@spam.example", 0 }).way,
			 RULE_REFUSED);
}

static void a_configuration_that_relays_for_anybody_is_refused(void **state)
{
	struct prefix world4, world6, half, own;
	struct mta_config c = edge();
	struct mta_listener lan = { .name = "lan", .class = LISTEN_LAN };
	struct mta_rule rule = { .name = "r", ANY, .action = RULE_ACCEPT };
	char why[300] = "";

	(void)state;
	assert_int_equal(ruleset_check(&c, why, sizeof(why)), 0);
	prefix_parse("0.0.0.0/0", &world4);
	prefix_parse("::/0", &world6);
	prefix_parse("128.0.0.0/1", &half);
	prefix_parse("192.168.0.0/16", &own);

	c.listeners = &lan;
	c.listener_count = 1;
	lan.network_count = 1;
	lan.networks = &own;
	assert_int_equal(ruleset_check(&c, why, sizeof(why)), 0);
	lan.networks = &world4;
	assert_int_equal(ruleset_check(&c, why, sizeof(why)), -EPERM);
	lan.networks = &world6;
	assert_int_equal(ruleset_check(&c, why, sizeof(why)), -EPERM);
	lan.networks = &half;
	assert_int_equal(ruleset_check(&c, why, sizeof(why)), -EPERM);
	assert_non_null(strstr(why, "listener \"lan\""));

	c.listener_count = 0;
	c.rules = &rule;
	c.rule_count = 1;
	assert_int_equal(ruleset_check(&c, why, sizeof(why)), -EPERM);
	assert_non_null(strstr(why, "rule \"r\""));
	rule.clients = &world4;
	rule.client_count = 1;
	assert_int_equal(ruleset_check(&c, why, sizeof(why)), -EPERM);
	rule.clients = &own;
	assert_int_equal(ruleset_check(&c, why, sizeof(why)), 0);
	rule.clients = &world4;
	rule.authenticated = 1;
	assert_int_equal(ruleset_check(&c, why, sizeof(why)), 0);
	rule.authenticated = 0;
	assert_int_equal(ruleset_check(&c, why, sizeof(why)), -EPERM);
	rule.action = RULE_REJECT;
	assert_int_equal(ruleset_check(&c, why, sizeof(why)), 0);
}

/* ------------------------------------------------------------------ limits ------------------ */

static struct addr ip(const char *s)
{
	struct addr a;

	assert_int_equal(addr_parse(s, &a), 0);
	return a;
}

static void mta_case_055_one_64_is_capped_and_other_prefixes_are_served(void **state)
{
	struct limit_conf c = { .sessions_per_prefix = 20 };
	struct limit *l = limit_new(0);
	char text[64];
	struct addr a;
	int ok = 0;

	(void)state;
	for (int i = 0; i < 10000; i++) {
		snprintf(text, sizeof(text), "2001:db8:0:7::%x", i + 1);
		a = ip(text);
		ok += limit_open(l, &c, &a, 1) == LIMIT_OK;
	}
	assert_int_equal(ok, 20);
	a = ip("2001:db8:0:8::1");
	assert_int_equal(limit_open(l, &c, &a, 1), LIMIT_OK);
	a = ip("192.0.2.1");
	assert_int_equal(limit_open(l, &c, &a, 1), LIMIT_OK);
	a = ip("2001:db8:0:7::ffff");
	assert_int_equal(limit_open(l, &c, &a, 1), LIMIT_PREFIX);
	limit_close(l, &a, 1);
	assert_int_equal(limit_open(l, &c, &a, 1), LIMIT_OK);
	assert_int_equal(limit_sessions(l), 22);
	limit_free(l);
}

static void new_sessions_refill_with_time(void **state)
{
	struct limit_conf c = { .per_minute = 60, .burst = 3 };
	struct limit *l = limit_new(0);
	struct addr a = ip("192.0.2.1");

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_int_equal(limit_open(l, &c, &a, 1000), LIMIT_OK);
	assert_int_equal(limit_open(l, &c, &a, 1999), LIMIT_RATE);
	assert_int_equal(limit_open(l, &c, &a, 2000), LIMIT_OK);
	assert_int_equal(limit_open(l, &c, &a, 2000), LIMIT_RATE);
	assert_int_equal(limit_open(l, &c, &a, UINT64_MAX / 2), LIMIT_OK);
	limit_free(l);
}

static void a_full_table_forgets_the_quietest_but_never_one_with_sessions(void **state)
{
	struct limit_conf c = { .sessions_per_prefix = 1 };
	struct limit *l = limit_new(4);
	struct addr a;
	char text[32];

	(void)state;
	for (int i = 0; i < 4; i++) {
		snprintf(text, sizeof(text), "192.0.2.%d", i + 1);
		a = ip(text);
		assert_int_equal(limit_open(l, &c, &a, 1), LIMIT_OK);
	}
	a = ip("198.51.100.1");
	assert_int_equal(limit_open(l, &c, &a, 1), LIMIT_TOTAL);
	a = ip("192.0.2.3");
	limit_close(l, &a, 1);
	a = ip("198.51.100.1");
	assert_int_equal(limit_open(l, &c, &a, 1), LIMIT_OK);
	a = ip("192.0.2.1");
	assert_int_equal(limit_open(l, &c, &a, 1), LIMIT_PREFIX);
	limit_free(l);
}

static void a_tenant_has_its_letters_an_hour(void **state)
{
	struct limit *l = limit_new(0);
	int ok = 0;

	(void)state;
	for (int i = 0; i < 200; i++)
		ok += limit_letters(l, "home", 100, 5);
	assert_int_equal(ok, 100);
	assert_true(limit_letters(l, "other", 100, 5));
	assert_false(limit_letters(l, "home", 100, 5 + 35999));
	assert_true(limit_letters(l, "home", 100, 5 + 36000));
	assert_true(limit_letters(l, "home", 0, 5));
	limit_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_class_lets_through_what_it_is_for_and_nothing_else),
		cmocka_unit_test(without_a_route_a_domain_is_refused),
		cmocka_unit_test(the_first_rule_that_holds_decides),
		cmocka_unit_test(a_configuration_that_relays_for_anybody_is_refused),
		cmocka_unit_test(mta_case_055_one_64_is_capped_and_other_prefixes_are_served),
		cmocka_unit_test(new_sessions_refill_with_time),
		cmocka_unit_test(a_full_table_forgets_the_quietest_but_never_one_with_sessions),
		cmocka_unit_test(a_tenant_has_its_letters_an_hour),
	};

	log_setup("test", LOG_LVL_ERR, 2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
