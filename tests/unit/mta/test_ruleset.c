/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "match.h"
#include "route.h"
#include "ruleset.h"

/* Rules are asked as they stand in a file; the listeners of each class have names of their own. */
#define EDGE                                                                                       \
	"[mta]\nrole = edge\nhostname = edge.example\ncertificate = c.pem\nprivate-key = c.key\n"  \
	"[listener public]\nclass = mx\n[listener submit]\nclass = submission\n"                   \
	"[listener inner]\nclass = tunnel\n[listener printers]\nclass = lan\n"                     \
	"[home home]\ndomains = home.example, second.example\n"                                    \
	"[home other]\ndomains = other.example\n[deliver]\ndomains = edge.example\n"

enum { PUBLIC, SUBMIT, INNER, PRINTERS };

static struct conf *conf;

static struct mta_config *edge(const char *rules)
{
	char text[8192];
	struct mta_config *c;

	snprintf(text, sizeof(text), "%s%s", EDGE, rules);
	conf_free(conf);
	conf = conf_parse(&config_schema, "/etc/postern/mta.conf", text, strlen(text));
	c = conf && conf_ok(conf) ? config_new(conf) : NULL;
	return c;
}

static int end(void **state)
{
	(void)state;
	conf_free(conf);
	conf = NULL;
	return 0;
}

struct ask {
	int listener;
	const char *client, *peer, *user, *sender, *rcpt, *helo;
	bool tls;
	uint64_t size;
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
	struct rule_facts f = { .listener = &c->listeners[q->listener],
				.peer = q->peer,
				.user = q->user,
				.helo = q->helo,
				.tls = q->tls,
				.sender = &sender,
				.size_bytes = q->size };
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

struct row {
	struct ask q;
	enum rule_way way;
	const char *by; /* the rule that decides; NULL: none */
	const char *text;
};

static void judge_rows(const struct mta_config *c, const struct row *rows, size_t count)
{
	if (!c)
		fail_msg("%s", conf->errors ? conf->errors : "no memory");
	for (size_t i = 0; i < count; i++) {
		struct rule_verdict v = judge(c, &rows[i].q);

		if (v.way != rows[i].way)
			fail_msg("row %zu: way %d, wanted %d (%s)", i, v.way, rows[i].way, v.text);
		if (!v.rule != !rows[i].by || (v.rule && strcmp(v.rule->name, rows[i].by)))
			fail_msg("row %zu: by %s", i, v.rule ? v.rule->name : "the class");
		if (rows[i].text && strcmp(v.text, rows[i].text))
			fail_msg("row %zu: %s", i, v.text);
	}
}

#define ROWS(c, rows) judge_rows(c, rows, sizeof(rows) / sizeof(*(rows)))

static void letters_above_a_size_are_rejected_once_that_is_known(void **state)
{
	static const char text[] =
	    "[rule big]\naction = reject\nlarger-than = 10K\nsenders = @far.example\n"
	    "[rule bulk]\naction = reject\nlarger-than = 5K\nrecipients = joe@home.example\n"
	    "message = Smaller ones\n"
	    "[rule known]\naction = accept\nrecipients = @home.example\n"
	    "[rule late]\naction = reject\nlarger-than = 1K\n";
	static const struct row rows[] = {
		{ { PUBLIC, 0, 0, 0, "a@far.example", 0, .size = 10241 }, RULE_REFUSED, "big",
		  "5.3.4 Letter is larger than policy allows" },
		{ { PUBLIC, 0, 0, 0, "a@far.example", 0, .size = 10240 }, RULE_RELAY },
		{ { PUBLIC, 0, 0, 0, "a@far.example", 0 }, RULE_RELAY },
		{ { PUBLIC, 0, 0, 0, "a@near.example", 0, .size = 99999 }, RULE_RELAY },
		{ { PUBLIC, 0, 0, 0, "a@near.example", "joe@home.example", .size = 5121 }, RULE_REFUSED,
		  "bulk", "5.3.4 Smaller ones" },
		{ { PUBLIC, 0, 0, 0, "a@near.example", "joe@home.example", .size = 5120 }, RULE_OURS,
		  "known" },
		{ { PUBLIC, 0, 0, 0, "a@near.example", "ann@home.example", .size = 99999 }, RULE_OURS,
		  "known" },
		{ { PUBLIC, 0, 0, 0, "a@near.example", "ann@other.example", .size = 1025 },
		  RULE_REFUSED, "late" },
		/* A rule about size gives nobody what the class does not. */
		{ { PUBLIC, 0, 0, 0, "a@near.example", "b@far.example", .size = 10 }, RULE_REFUSED },
	};
	static const struct {
		struct ask q;
		uint64_t max;
		const char *by;
	} limits[] = {
		{ { PUBLIC, 0, 0, 0, "a@far.example", "joe@home.example" }, 5120, "bulk" },
		{ { PUBLIC, 0, 0, 0, "a@far.example", "ann@home.example" }, 10240, "big" },
		{ { PUBLIC, 0, 0, 0, "a@near.example", "ann@home.example" }, 0, NULL },
		{ { PUBLIC, 0, 0, 0, "a@near.example", "ann@other.example" }, 1024, "late" },
	};
	struct mta_config *c = edge(text);

	(void)state;
	ROWS(c, rows);
	for (size_t i = 0; i < sizeof(limits) / sizeof(*limits); i++) {
		struct rule_verdict v = judge(c, &limits[i].q);

		assert_int_equal(v.size_max_bytes, limits[i].max);
		assert_true(!v.size_rule == !limits[i].by);
		if (v.size_rule)
			assert_string_equal(v.size_rule->name, limits[i].by);
	}
	config_free(c);
	/* It would be tried again for days, and an accepted one has no other way to go. */
	assert_null(edge("[rule r]\naction = tempfail\nlarger-than = 1K\n"));
	assert_null(edge("[rule r]\naction = accept\npeers = home\nlarger-than = 1K\n"));
}

static void each_class_lets_through_what_it_is_for_and_nothing_else(void **state)
{
	static const struct row rows[] = {
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
		/* users after login */
		{ { SUBMIT, 0, 0, "joe", "joe@home.example", "b@far.example" }, RULE_RELAY },
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
	struct mta_config *c = edge("");

	(void)state;
	ROWS(c, rows);
	config_free(c);
}

static void mail_case_030_routes_inside_of_local_parts_are_refused_from_the_internet(void **state)
{
#define NO "5.7.1 No routes inside of local parts"
	static const struct row rows[] = {
		{ { PUBLIC, 0, 0, 0, "a@far.example", "u%far.example@home.example" },
		  RULE_REFUSED,
		  0,
		  NO },
		{ { PUBLIC, 0, 0, 0, "a@far.example", "far.example!u@home.example" },
		  RULE_REFUSED,
		  0,
		  NO },
		{ { PUBLIC, 0, 0, 0, "a@far.example", "\"u@far.example\"@home.example" },
		  RULE_REFUSED,
		  0,
		  NO },
		/* nor from a LAN listener, for whom it does not relay */
		{ { PRINTERS, "192.168.1.7", 0, 0, "p@home.example", "u%far.example@home.example" },
		  RULE_REFUSED,
		  0,
		  NO },
		{ { PRINTERS, "127.0.0.1", 0, 0, "p@home.example", "u%far.example@home.example" },
		  RULE_OURS },
		{ { INNER, "10.99.0.9", "stranger", 0, "b@home.example",
		    "u%far.example@home.example" },
		  RULE_REFUSED,
		  0,
		  NO },
		/* a rule that accepts does not change that */
		{ { PUBLIC, 0, 0, 0, "a@far.example", "u%far.example@second.example" },
		  RULE_REFUSED,
		  "all",
		  NO },
	};
	struct mta_config *c = edge("[rule all]\naction = accept\nrecipients = @second.example\n");

	(void)state;
	ROWS(c, rows);
	config_free(c);
}

static void mail_case_049_a_relay_attempt_is_550(void **state)
{
#define DENIED "5.7.1 Relaying denied"
	static const struct row rows[] = {
		{ { SUBMIT, 0, 0, 0, "joe@home.example", "b@far.example" },
		  RULE_REFUSED,
		  0,
		  DENIED },
		{ { PUBLIC, 0, 0, 0, "joe@home.example", "b@far.example" },
		  RULE_REFUSED,
		  0,
		  DENIED },
	};
	struct mta_config *c = edge("");

	(void)state;
	ROWS(c, rows);
	assert_int_equal(judge(c, &rows[0].q).code, 550);
	config_free(c);
}

static void without_a_route_a_domain_is_refused(void **state)
{
	struct ask q = { SUBMIT, 0, 0, "joe", "joe@home.example", "b@far.example" };
	struct mta_config *c = edge("");
	size_t count = c->route_count;
	struct rule_verdict v;

	(void)state;
	c->route_count = 0;
	v = judge(c, &q);
	c->route_count = count;
	assert_int_equal(v.way, RULE_REFUSED);
	assert_int_equal(v.ground, GROUND_NO_ROUTE);
	assert_string_equal(v.text, "5.4.4 No route to that domain");
	config_free(c);
}

static void the_first_rule_that_holds_decides(void **state)
{
	static const char rules[] =
	    "[rule friend]\naction = accept\nsenders = friend@spam.example\n"
	    "recipients = @home.example\n"
	    "[rule spam]\naction = reject\nsenders = @spam.example, @.spam.example\n"
	    "message = We know you\n"
	    "[rule later]\naction = tempfail\nlisteners = mx\nrecipients = busy@home.example\n"
	    "[rule bounces]\naction = reject\nsenders = \"<>\"\nrecipients = list@home.example\n"
	    "[rule partner]\naction = accept\npeers = partner\n"
	    "[rule burnt]\naction = reject\nrecipients = shop@home.example\n"
	    "message = 5.1.1 No such user\n";
	static const struct row rows[] = {
		{ { PUBLIC, 0, 0, 0, "friend@SPAM.example", "b@home.example" },
		  RULE_OURS,
		  "friend" },
		{ { PUBLIC, 0, 0, 0, "foe@spam.example", "b@home.example" },
		  RULE_REFUSED,
		  "spam",
		  "5.7.1 We know you" },
		{ { PUBLIC, 0, 0, 0, "foe@x.spam.example", "b@home.example" },
		  RULE_REFUSED,
		  "spam",
		  "5.7.1 We know you" },
		{ { PUBLIC, 0, 0, 0, "foe@notspam.example", "b@home.example" }, RULE_OURS },
		{ { PUBLIC, 0, 0, 0, "a@far.example", "busy@home.example" },
		  RULE_LATER,
		  "later",
		  "4.7.1 Refused by policy" },
		{ { SUBMIT, 0, 0, "joe", "a@far.example", "busy@home.example" }, RULE_OURS },
		{ { PUBLIC, 0, 0, 0, "", "list@home.example" },
		  RULE_REFUSED,
		  "bounces",
		  "5.7.1 Refused by policy" },
		{ { PUBLIC, 0, 0, 0, "a@far.example", "list@home.example" }, RULE_OURS },
		{ { INNER, "10.99.0.7", "partner", 0, "a@far.example", "b@far2.example" },
		  RULE_RELAY,
		  "partner" },
		/* an accepting rule for others opens nothing for these */
		{ { INNER, "10.99.0.8", "vps", 0, "a@far.example", "b@far2.example" },
		  RULE_REFUSED,
		  0,
		  DENIED },
		/* a code of one's own stands for the usual one */
		{ { PUBLIC, 0, 0, 0, "a@far.example", "Shop@home.example" },
		  RULE_REFUSED,
		  "burnt",
		  "5.1.1 No such user" },
		/* a rule that needs the recipient leaves MAIL open */
		{ { PUBLIC, 0, 0, 0, "foe@spam.example", 0 }, RULE_RELAY },
	};
	struct mta_config *c = edge(rules);

	(void)state;
	ROWS(c, rows);
	config_free(c);
	c = edge("[rule spam]\naction = reject\nsenders = @spam.example\n");
	assert_int_equal(judge(c, &(struct ask){ PUBLIC, 0, 0, 0, "foe@spam.example", 0 }).way,
			 RULE_REFUSED);
	config_free(c);
}

static void every_condition_must_hold(void **state)
{
	static const char rules[] =
	    "[rule clear]\naction = reject\ntls = no\nrecipients = @second.example\n"
	    "message = 5.7.10 Encryption needed\n"
	    "[rule liar]\naction = reject\nhelo = edge.example, .dynamic.example, [192.0.2.66]\n"
	    "[rule pool]\naction = reject\nlisteners = public\nhelo-regex = "
	    "\"(dsl|cable)-[0-9]{1,3}([.-][0-9]{1,3}){3}[.].*\"\n"
	    "[rule ours]\naction = reject\nlisteners = public\nauthenticated = no\n"
	    "senders-regex = .*@home[.]example\n"
	    "[rule staff]\naction = reject\nlisteners = public\n"
	    "recipients-regex = \"(all|staff)@home[.]example\"\n"
	    "[rule net]\naction = accept\nclients = 198.51.100.0/24, 2001:db8:5::/48\n"
	    "recipients = @partner.example, @.partner.example\n";
	static const struct row rows[] = {
		{ { PUBLIC, .sender = "a@far.example", .rcpt = "b@second.example" },
		  RULE_REFUSED,
		  "clear",
		  "5.7.10 Encryption needed" },
		{ { PUBLIC, .sender = "a@far.example", .rcpt = "b@second.example", .tls = true },
		  RULE_OURS },
		{ { PUBLIC, .sender = "a@far.example", .rcpt = "b@home.example" }, RULE_OURS },
		{ { PUBLIC, .sender = "", .rcpt = "b@home.example", .helo = "EDGE.example" },
		  RULE_REFUSED,
		  "liar" },
		{ { PUBLIC, .sender = "", .rcpt = "b@home.example", .helo = "a.b.dynamic.example" },
		  RULE_REFUSED,
		  "liar" },
		{ { PUBLIC, .sender = "", .rcpt = "b@home.example", .helo = "dynamic.example" },
		  RULE_OURS },
		{ { PUBLIC, .sender = "", .rcpt = "b@home.example", .helo = "[192.0.2.66]" },
		  RULE_REFUSED,
		  "liar" },
		{ { PUBLIC, .sender = "", .rcpt = "b@home.example",
		    .helo = "DSL-1-2-3-4.isp.example" },
		  RULE_REFUSED,
		  "pool" },
		{ { SUBMIT, .user = "joe", .sender = "", .rcpt = "b@home.example",
		    .helo = "dsl-1-2-3-4.isp.example" },
		  RULE_OURS },
		{ { PUBLIC, .sender = "joe@home.example", .rcpt = "b@home.example" },
		  RULE_REFUSED,
		  "ours" },
		{ { PUBLIC, .user = "joe", .sender = "joe@home.example", .rcpt = "b@home.example" },
		  RULE_OURS },
		{ { PUBLIC, .sender = "joe@home.example.far.example", .rcpt = "b@home.example" },
		  RULE_OURS },
		/* an address is the same with quotes, and with backslashes inside of them */
		{ { PUBLIC, .sender = "a@far.example", .rcpt = "Staff@home.example" },
		  RULE_REFUSED,
		  "staff" },
		{ { PUBLIC, .sender = "a@far.example", .rcpt = "\"all\"@home.example" },
		  RULE_REFUSED,
		  "staff" },
		{ { PUBLIC, .sender = "a@far.example", .rcpt = "\"a\\ll\"@home.example" },
		  RULE_REFUSED,
		  "staff" },
		{ { PUBLIC, .sender = "a@far.example", .rcpt = "\"allen\"@home.example" },
		  RULE_OURS },
		{ { PUBLIC, "198.51.100.7", .sender = "a@far.example",
		    .rcpt = "b@x.partner.example" },
		  RULE_RELAY,
		  "net" },
		{ { PUBLIC, "2001:db8:5:9::1", .sender = "", .rcpt = "b@partner.example" },
		  RULE_RELAY,
		  "net" },
		{ { PUBLIC, "198.51.101.7", .sender = "a@far.example",
		    .rcpt = "b@partner.example" },
		  RULE_REFUSED,
		  0,
		  DENIED },
		{ { PUBLIC, "198.51.100.7", .sender = "a@far.example", .rcpt = "b@far.example" },
		  RULE_REFUSED,
		  0,
		  DENIED },
	};
	struct mta_config *c = edge(rules);

	(void)state;
	ROWS(c, rows);
	config_free(c);
}

/* ---- tables ---- */

static void be32(char **at, size_t n)
{
	for (int i = 3; i >= 0; i--)
		*(*at)++ = (char)(n >> 8 * i & 255);
}

static struct bundle *bundle(const char *const files[][2], size_t count)
{
	char *text = malloc(1 << 20), *at = text;
	struct bundle *b;

	for (size_t i = 0; i < count; i++) {
		for (int k = 0; k < 2; k++) {
			size_t n = strlen(files[i][k]);

			be32(&at, n);
			memcpy(at, files[i][k], n);
			at += n;
		}
	}
	b = bundle_parse(text, (size_t)(at - text));
	assert_non_null(b);
	free(text);
	return b;
}

static int load(struct mta_config *c, const char *path, const char *table, char why[static 400])
{
	const char *const files[][2] = { { "/etc/postern/mta.conf", "x" }, { path, table } };
	struct bundle *b = bundle(files, 2);
	int rc;

	why[0] = 0;
	rc = ruleset_load(c, b, why, 400);
	bundle_free(b);
	return rc;
}

static void tables_hold_what_keys_hold_and_are_read_anew(void **state)
{
	static const struct row before[] = {
		{ { PUBLIC, "198.51.100.7", .sender = "a@far.example", .rcpt = "b@home.example" },
		  RULE_REFUSED,
		  "bad" },
		{ { PUBLIC, "203.0.113.1", .sender = "a@far.example", .rcpt = "b@home.example" },
		  RULE_REFUSED,
		  "bad" },
		{ { PUBLIC, "203.0.113.2", .sender = "a@far.example", .rcpt = "b@home.example" },
		  RULE_OURS },
		{ { PUBLIC, "2001:db8:bad::7", .sender = "", .rcpt = "b@home.example" },
		  RULE_REFUSED,
		  "bad" },
		{ { PUBLIC, "192.0.2.5", .sender = "", .rcpt = "b@home.example" },
		  RULE_REFUSED,
		  "bad" },
	};
	static const struct row after[] = {
		{ { PUBLIC, "198.51.100.7", .sender = "a@far.example", .rcpt = "b@home.example" },
		  RULE_OURS },
		{ { PUBLIC, "203.0.113.2", .sender = "a@far.example", .rcpt = "b@home.example" },
		  RULE_REFUSED,
		  "bad" },
		{ { PUBLIC, "192.0.2.5", .sender = "", .rcpt = "b@home.example" },
		  RULE_REFUSED,
		  "bad" },
	};
	struct mta_config *c = edge("[rule bad]\naction = reject\nclients = 192.0.2.5\n"
				    "clients-table = bad\n");
	char why[400];

	(void)state;
	assert_int_equal(load(c, "/etc/postern/bad",
			      "# known\n198.51.100.0/24\t# a whole net\n\n 203.0.113.1 \r\n"
			      "2001:db8:bad::/48\n198.51.100.128/25\n10.0.0.0/9",
			      why),
			 0);
	ROWS(c, before);
	assert_int_equal(load(c, "/etc/postern/bad", "203.0.113.2\n", why), 0);
	ROWS(c, after);
	/* a mistake leaves the old one as it was */
	assert_int_equal(load(c, "/etc/postern/bad", "203.0.113.1\n10.0.0.1/8\n", why), -EINVAL);
	assert_string_equal(why,
			    "/etc/postern/bad:2: \"10.0.0.1/8\"; allowed: an address or a prefix "
			    "without host bits, as 192.0.2.0/24");
	ROWS(c, after);
	assert_int_equal(load(c, "/etc/postern/worse", "", why), -ENOENT);
	assert_string_equal(why, "/etc/postern/bad: is not there");
	config_free(c);
}

static void a_table_of_many_lines_is_searched_not_walked(void **state)
{
	struct mta_config *c = edge("[rule bad]\naction = reject\nsenders-table = bad\n");
	char *table = malloc(1 << 20), *at = table, why[400], sender[64];
	struct ask q = { PUBLIC, .sender = sender, .rcpt = "b@home.example" };

	(void)state;
	for (unsigned i = 0; i < 20000; i++)
		at += sprintf(at,
			      i % 3   ? "u%u@d%u.example\n"
			      : i % 2 ? "@d%u.example\n"
				      : "@.d%u.example\n",
			      i, i);
	assert_int_equal(load(c, "/etc/postern/bad", table, why), 0);
	for (unsigned i = 0; i < 20000; i++) {
		sprintf(sender,
			i % 3	? "U%u@D%u.example"
			: i % 2 ? "x@d%u.example"
				: "x@a.b.d%u.example",
			i, i);
		assert_int_equal(judge(c, &q).way, RULE_REFUSED);
		sprintf(sender, i % 3 || !(i % 2) ? "x@d%u.example" : "x@a.d%u.example", i);
		assert_int_equal(judge(c, &q).way, RULE_OURS);
	}
	free(table);
	config_free(c);
}

static void postmaster_is_no_domain_and_literals_have_one_spelling(void **state)
{
	static const struct row rows[] = {
		{ { PUBLIC, 0, 0, 0, "", "Postmaster" }, RULE_REFUSED, "bare" },
		{ { PUBLIC, 0, 0, 0, "", "postmaster@home.example" }, RULE_OURS },
		{ { PUBLIC, 0, 0, 0, "", "a@postmaster" }, RULE_REFUSED, "domain" },
		{ { PUBLIC, 0, 0, 0, "a@[IPv6:2001:0DB8:0:0::7]", "b@home.example" },
		  RULE_REFUSED,
		  "six" },
		{ { PUBLIC, 0, 0, 0, "a@[IPv6:2001:db8::8]", "b@home.example" }, RULE_OURS },
		{ { PUBLIC, 0, 0, 0, "", "b@home.example", "[IPv6:2001:db8:0::9]" },
		  RULE_REFUSED,
		  "name" },
	};
	struct mta_config *c = edge("[rule bare]\naction = reject\nrecipients = postmaster\n"
				    "[rule domain]\naction = reject\nrecipients = @postmaster\n"
				    "[rule six]\naction = reject\nsenders = @[IPv6:2001:db8::7]\n"
				    "[rule name]\naction = reject\nhelo = [ipv6:2001:DB8::0:9]\n");

	(void)state;
	ROWS(c, rows);
	config_free(c);
}

/* ---- anybody to anywhere ---- */

static void refused(const char *rules, const char *part)
{
	struct mta_config *c = edge(rules);

	if (c)
		fail_msg("taken: %s", rules);
	if (!strstr(conf->errors, "(an open relay)") || !strstr(conf->errors, part))
		fail_msg("%s", conf->errors);
}

static void taken(const char *rules)
{
	struct mta_config *c = edge(rules);

	if (!c)
		fail_msg("%s: %s", rules, conf->errors);
	config_free(c);
}

#define ACCEPT "[rule r]\naction = accept\n"

static void a_configuration_that_relays_for_anybody_is_refused(void **state)
{
	static const char *const anyone[] = {
		"",
		"tls = yes\n",
		"authenticated = no\n",
		"helo = mail.partner.example\n",
		"senders = @home.example\n",
		"senders-regex = .*@home[.]example\n",
		"listeners = mx\n",
		"listeners = lan, tunnel\n",
		"listeners = printers\n",
		"clients = 0.0.0.0/0\n",
		"clients = ::/0\n",
		"clients = 0.0.0.0/1, 128.0.0.0/1\n",
		"clients = 2000::/3\n",
		"clients = 8.0.0.0/8, 9.0.0.0/8\n",
		"clients = 2400::/13\n",
		"clients = 2001::/16\n",
		"clients = 2a00::/17, 2a00:8000::/17\n",
		"clients = 2002::/16\n", /* all of IPv4, as 6to4 */
		"clients = 2002::/24, 2002:100::/24\n",
		"clients = 64:ff9b::/96\n", /* and as NAT64 */
		"clients = 64:ff9b::/103\n",
		"clients = 64.0.0.0/8, 64:ff9b::4000:0/104\n",
		"clients = 2001::/32\n",
	};
	static const char *const someone[] = {
		"peers = partner\n",
		"authenticated = yes\n",
		"listeners = submission, inner\n",
		"clients = 192.0.2.0/24\n",
		"clients = 10.0.0.0/8, 127.0.0.0/8, 192.168.0.0/16, fd00::/8\n",
		"clients = 2001:db8::/32\n",
		"clients = 2003::/19, 2002:c000:200::/40, 64:ff9b::c000:200/120\n",
		"authenticated = yes\nclients = 0.0.0.0/0\n",
	};
	static const char *const anywhere[] = {
		"recipients = @.com\n",
		"recipients = a@partner.example, @.net\n",
		"recipients-regex = .*\n",
		"recipients-regex = .*@.*[.]partner[.]example\n",
		"recipients-regex = .*@partner.example\n",
		"recipients = @partner.example\nrecipients-regex = .*\n",
		"recipients-regex = a@partner[.]example|.*\n",
	};
	static const char *const somewhere[] = {
		"recipients = @partner.example\n",
		"recipients = @.partner.example\n",
		"recipients-regex = list-.*@partner[.]example\n",
		"recipients-table = friends\n",
	};
	char text[300];

	(void)state;
	for (size_t i = 0; i < sizeof(anyone) / sizeof(*anyone); i++) {
		snprintf(text, sizeof(text), ACCEPT "%s", anyone[i]);
		refused(text, "/etc/postern/mta.conf:20: rule \"r\"");
		snprintf(text, sizeof(text), ACCEPT "%s%s", anyone[i], somewhere[i % 4]);
		taken(text);
		snprintf(text, sizeof(text), "[rule r]\naction = reject\n%s", anyone[i]);
		taken(text);
	}
	for (size_t i = 0; i < sizeof(someone) / sizeof(*someone); i++) {
		snprintf(text, sizeof(text), ACCEPT "%s", someone[i]);
		taken(text);
		snprintf(text, sizeof(text), ACCEPT "%s%s", someone[i], anywhere[i % 7]);
		taken(text);
	}
	for (size_t i = 0; i < sizeof(anywhere) / sizeof(*anywhere); i++) {
		snprintf(text, sizeof(text), ACCEPT "%s", anywhere[i]);
		refused(text, i < 2 ? "whole top-level domain" : "end it with one");
	}
	refused("[listener wide]\nclass = lan\naddress = 192.0.2.1\nnetworks = 0.0.0.0/0\n",
		"mta.conf:20: listener \"wide\"");
	/* a name that is the word of another class means both */
	refused("[listener mx]\nclass = submission\naddress = 192.0.2.1\n" ACCEPT
		"listeners = mx\n",
		"rule \"r\"");
	refused("[listener lan]\nclass = tunnel\naddress = tunnel:26\n" ACCEPT "listeners = lan\n",
		"rule \"r\"");
}

static void a_table_that_opens_the_relay_is_refused_when_it_is_read(void **state)
{
	struct mta_config *c = edge(ACCEPT "clients-table = friends\n");
	char why[400];

	(void)state;
	assert_int_equal(load(c, "/etc/postern/friends", "192.0.2.0/24\n", why), 0);
	assert_int_equal(load(c, "/etc/postern/friends", "192.0.2.0/24\n0.0.0.0/1\n", why), -EPERM);
	assert_non_null(strstr(why, "/etc/postern/mta.conf:20: rule \"r\" accepts from anyone"));
	config_free(c);
	c = edge(ACCEPT "recipients-table = friends\n");
	assert_int_equal(load(c, "/etc/postern/friends", "@partner.example\n", why), 0);
	assert_int_equal(load(c, "/etc/postern/friends", "@.example\n", why), -EPERM);
	config_free(c);
}

/* ---- words ---- */

static void what_is_no_address_name_or_prefix_is_told_with_its_line(void **state)
{
	static const struct {
		const char *line, *error;
	} rows[] = {
		{ "senders = joe*@x.example", ":22: senders \"joe*@x.example\"" },
		{ "senders = joe @x.example", ":22: senders \"joe @x.example\"" },
		{ "recipients = *", ":22: recipients \"*\"; allowed: name@domain, @domain" },
		{ "recipients = @", ":22: recipients \"@\"" },
		{ "recipients = a@b@c", ":22: recipients \"a@b@c\"" },
		{ "helo = a b", ":22: helo \"a b\"; allowed: a name" },
		{ "helo = [192.0.2]", ":22: helo \"[192.0.2]\"" },
		{ "helo-regex = (a", ":22: helo-regex \"(a\": a parenthesis ( is not closed" },
		{ "senders-regex = \\d+@x[.]example", "write [0-9]" },
		{ "clients = 10.0.0.1/8", ":22: " },
		{ "message = 4.7.1 later",
		  ":22: message begins with 4.7.1; a rule that rejects begins with 5" },
		{ "message = caf\xc3\xa9",
		  ":22: message has a character that a reply cannot carry" },
	};
	char text[200];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		snprintf(text, sizeof(text), "[rule r]\naction = reject\n%s\n", rows[i].line);
		if (edge(text))
			fail_msg("taken: %s", rows[i].line);
		if (!strstr(conf->errors, rows[i].error))
			fail_msg("%s: %s", rows[i].line, conf->errors);
	}
	assert_true(ruleset_enhanced("5.7.10 x"));
	assert_false(ruleset_enhanced("5.7.1"));
	assert_false(ruleset_enhanced("5 7 1 x"));
	assert_false(ruleset_enhanced("2.0.0 x"));
	assert_false(ruleset_enhanced("5.7.1000 x"));
	assert_false(ruleset_enhanced(""));
}

#define A "[rule a]\naction = accept\nclients = 127.0.0.0/8\n"
#define B "[rule b]\naction = accept\nclients = 127.0.0.0/8\n"

static void rules_without_listeners_route_letters_of_one_that_is_gone(void **state)
{
	static const char routes[] = "[route house]\nkind = smarthost\n"
				     "address = a.example\n";
	static const struct {
		const char *rules, *listener, *route;
	} rows[] = {
		{ A "route = house\n", "printers", "house" },
		{ A "route = house\n", "of-before", "house" },
		/* Did it hold for that listener? Nobody knows. */
		{ A "listeners = lan\n" B "route = house\n",
		  "of-before", "internet" },
		{ A "listeners = lan\nsenders = @other.example\n"
		  B "route = house\n",
		  "of-before", "house" },
		/* A letter of our own came by none. */
		{ A "route = house\n", NULL, "internet" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct envelope e = { .listener = rows[i].listener, .sender = "a@edge.example" };
		struct mta_config *c;
		char text[800];

		snprintf(text, sizeof(text), "%s%s", routes, rows[i].rules);
		c = edge(text);
		assert_non_null(c);
		assert_int_equal(addr_parse("127.0.0.1", &e.client.addr), 0);
		assert_string_equal(route_choose(c, &e, "b@far.example")->name, rows[i].route);
		config_free(c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rules_without_listeners_route_letters_of_one_that_is_gone),
		cmocka_unit_test(letters_above_a_size_are_rejected_once_that_is_known),
		cmocka_unit_test(each_class_lets_through_what_it_is_for_and_nothing_else),
		cmocka_unit_test(
		    mail_case_030_routes_inside_of_local_parts_are_refused_from_the_internet),
		cmocka_unit_test(mail_case_049_a_relay_attempt_is_550),
		cmocka_unit_test(without_a_route_a_domain_is_refused),
		cmocka_unit_test(the_first_rule_that_holds_decides),
		cmocka_unit_test(every_condition_must_hold),
		cmocka_unit_test(tables_hold_what_keys_hold_and_are_read_anew),
		cmocka_unit_test(a_table_of_many_lines_is_searched_not_walked),
		cmocka_unit_test(postmaster_is_no_domain_and_literals_have_one_spelling),
		cmocka_unit_test(a_configuration_that_relays_for_anybody_is_refused),
		cmocka_unit_test(a_table_that_opens_the_relay_is_refused_when_it_is_read),
		cmocka_unit_test(what_is_no_address_name_or_prefix_is_told_with_its_line),
	};

	return cmocka_run_group_tests(tests, NULL, end);
}
