/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The examples of conf/ do what they say: each is loaded with its tables, and each of its lines
 *
 *	# would FROM IP RCPT [--option ...] = CODE rule NAME|class[, route NAME]
 *
 * is asked by the functions that smtpd answers with.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bundle.h"
#include "explain.h"
#include "tables.h"

struct example {
	char *text;
	struct conf *conf;
	struct mta_config *c;
	struct bundle *b;
	struct tables *t;
};

static bool jay(const char *name, uint32_t uid_min)
{
	(void)uid_min;
	return !strcmp(name, "jay") || !strcmp(name, "joe") || !strcmp(name, "root");
}

static struct example load(const char *name)
{
	static const struct bundle_secrets none; /* the keys of examples are nowhere */
	char path[512], why[4096];
	struct example e = { 0 };
	size_t len;
	int fd;

	snprintf(path, sizeof(path), CONF_DIR "/%s", name);
	e.conf = conf_load(&config_schema, path);
	e.c = conf_ok(e.conf) ? config_new(e.conf) : NULL;
	if (!e.c)
		fail_msg("%s", e.conf->errors);
	if (conf_file_read(path, 0, &e.text, &len, why, sizeof(why)))
		fail_msg("%s: %s", path, why);
	fd = bundle_make(e.conf, e.text, len, &none);
	if (fd < 0)
		fail_msg("%s", e.conf->errors);
	e.b = bundle_open(fd);
	close(fd);
	assert_non_null(e.b);
	if (ruleset_load(e.c, e.b, why, sizeof(why)))
		fail_msg("%s", why);
	e.t = tables_new(e.c, e.b, why, sizeof(why));
	if (!e.t)
		fail_msg("%s", why);
	e.t->system_user = jay;
	return e;
}

static void unload(struct example *e)
{
	tables_free(e->t);
	bundle_free(e->b);
	config_free(e->c);
	conf_free(e->conf);
	free(e->text);
}

/* "FROM IP RCPT --listener NAME --tls" as `postern mail explain` would send it. */
static json_t *question(char *line)
{
	static const char *const place[] = { "from", "client", "to" };
	json_t *args = json_object();
	char *save, *w = strtok_r(line, " ", &save);
	size_t n = 0;

	for (; w; w = strtok_r(NULL, " ", &save)) {
		if (strncmp(w, "--", 2)) {
			assert_true(n < 3);
			json_object_set_new(args, place[n++], json_string(w));
		} else if (!strcmp(w, "--tls")) {
			json_object_set_new(args, "tls", json_true());
		} else {
			json_object_set_new(args, w + 2, json_string(strtok_r(NULL, " ", &save)));
		}
	}
	assert_int_equal(n, 3);
	return args;
}

static void answer(const struct example *e, char *line, char *got, size_t cap)
{
	static char list[LOOKUP_EXPANSION_MAX][LOOKUP_ADDRESS_MAX];
	struct tunnel_table no_peers = { 0 };
	struct table published[4] = { 0 };
	json_t *args = question(line);
	struct lookup_rcpt a;
	struct explain x;
	const char *rule, *route;
	char why[300];

	if (explain_begin(&x, e->c, &no_peers, args, why, sizeof(why)))
		fail_msg("%s", why);
	if (x.ask) {
		tables_rcpt(e->t, e->c, published, x.rcpt.text, &a, list);
		explain_recipient(&x, &a);
	}
	rule = json_string_value(json_object_get(x.answer, "rule"));
	route = json_string_value(json_object_get(x.answer, "route"));
	snprintf(got, cap, "%d %s%s%s%s",
		 (int)json_integer_value(json_object_get(x.answer, "code")),
		 rule ? "rule " : "class", rule ? rule : "", route ? ", route " : "",
		 route ? route : "");
	assert_true(json_array_size(json_object_get(x.answer, "why")) > 0);
	json_decref(x.answer);
	json_decref(args);
}

static void does_what_it_says(const char *name, int lines)
{
	struct example e = load(name);
	char line[512], copy[512], got[200];
	int asked = 0;

	for (const char *p = strstr(e.text, "\n# would "); p; p = strstr(p + 1, "\n# would ")) {
		const char *from = p + strlen("\n# would ");
		char *want;

		snprintf(line, sizeof(line), "%.*s", (int)strcspn(from, "\n"), from);
		snprintf(copy, sizeof(copy), "%s", line);
		want = strstr(line, " = ");
		assert_non_null(want);
		*want = 0;
		answer(&e, line, got, sizeof(got));
		if (strcmp(got, want + 3))
			fail_msg("%s: %s\n  but it is: %s", name, copy, got);
		asked++;
	}
	assert_int_equal(asked, lines);
	unload(&e);
}

static void rules_of_a_mail_server_of_its_own(void **state)
{
	struct example e = load("mta-rules.conf");
	const struct mta_route *r = config_route(e.c, "use_only_tls12_when_relaying");

	(void)state;
	assert_int_equal(r->tls, TLS_VERIFY);
	assert_true(r->tls_implicit);
	assert_int_equal(r->tls_versions.min, 0x0303);
	assert_int_equal(r->tls_versions.max, 0x0303);
	assert_string_equal(r->addresses.v[0], "gateway.example.com");
	assert_int_equal(config_route(e.c, "careful")->tls, TLS_ENCRYPT);
	unload(&e);
	does_what_it_says("mta-rules.conf", 15);
}

static void three_machines_the_vps(void **state)
{
	struct example e = load("mta-three-vps.conf");

	(void)state;
	assert_true(config_route(e.c, "router")->tls_learn);
	assert_int_equal(config_route(e.c, "router")->ttl_ms / 86400000, 20);
	assert_int_equal(config_route(e.c, "router")->bounce, BOUNCE_NONE);
	unload(&e);
	does_what_it_says("mta-three-vps.conf", 10);
}

static void three_machines_the_router(void **state)
{
	(void)state;
	does_what_it_says("mta-three-router.conf", 11);
}

static void three_machines_the_workstation(void **state)
{
	(void)state;
	does_what_it_says("mta-three-workstation.conf", 6);
}

/* ---- what explain says beyond its verdict ---- */

static const char *sentence(const struct explain *x, size_t i)
{
	const char *s = json_string_value(json_array_get(x->why, i));

	return s ? s : "";
}

static void explain_names_each_rule_and_the_condition_that_failed(void **state)
{
	struct example e = load("mta-rules.conf");
	struct tunnel_table no_peers = { 0 };
	char line[] = "ann@far.example 203.0.113.7 joe@mydomain.example --helo x.example", why[300];
	json_t *args = question(line);
	struct explain x;

	(void)state;
	assert_int_equal(explain_begin(&x, e.c, &no_peers, args, why, sizeof(why)), 0);
	assert_false(x.ask);
	assert_string_equal(sentence(&x, 0),
			    "rule banned (mta-rules.conf:23) does not hold; clients: "
			    "203.0.113.7 is not among them");
	assert_string_equal(sentence(&x, 1), "rule names (mta-rules.conf:29) does not hold; helo: "
					     "\"x.example\" does not match");
	assert_string_equal(
	    sentence(&x, 2),
	    "rule allow_only_tls_for_mydomain (mta-rules.conf:35) holds and rejects; "
	    "tls = no, recipient matches @mydomain.example");
	assert_string_equal(sentence(&x, 3), "");
	assert_string_equal(json_string_value(json_object_get(x.answer, "at")), "RCPT");
	assert_int_equal(json_integer_value(json_object_get(x.answer, "line")), 35);
	json_decref(x.answer);
	json_object_set_new(args, "client", json_string("2001:db8:bad::1"));
	assert_int_equal(explain_begin(&x, e.c, &no_peers, args, why, sizeof(why)), 0);
	assert_string_equal(sentence(&x, 0),
			    "rule banned (mta-rules.conf:23) holds and rejects; listener "
			    "mx, client in 2001:db8:bad::/48");
	assert_string_equal(json_string_value(json_object_get(x.answer, "at")), "MAIL");
	json_decref(x.answer);
	json_decref(args);
	unload(&e);
}

static void a_question_that_cannot_be_asked_is_told(void **state)
{
	static const char *const rows[][2] = {
		{ "ann 203.0.113.7 joe@mydomain.example", "from \"ann\" is no address" },
		{ "ann@far.example here joe@mydomain.example", "client \"here\" is no address" },
		{ "ann@far.example 203.0.113.7 joe@", "to \"joe@\" is no address" },
		{ "a@b.example 203.0.113.7 c@d.example --listener none",
		  "there is no listener \"none\"" },
		{ "a@b.example 203.0.113.7 c@d.example --listener tunnel", "there is no listener" },
	};
	struct example e = load("mta-rules.conf");
	struct tunnel_table no_peers = { 0 };
	struct explain x;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		char line[200], why[300] = "";
		json_t *args;

		snprintf(line, sizeof(line), "%s", rows[i][0]);
		args = question(line);
		assert_int_not_equal(explain_begin(&x, e.c, &no_peers, args, why, sizeof(why)), 0);
		if (!strstr(why, rows[i][1]))
			fail_msg("%s", why);
		json_decref(args);
	}
	unload(&e);
}

/* What no session can be in is answered as a session would be on the way there. */
static void explain_logs_nobody_in_where_no_session_could(void **state)
{
	static const struct {
		const char *file, *line, *at;
		int code;
	} rows[] = {
		{ "mta-rules.conf",
		  "joe@mydomain.example 203.0.113.7 bob@far.example --user joe --listener mx --tls",
		  "AUTH", 502 },
		{ "mta-three-router.conf",
		  "test@example.com 127.0.0.1 bob@far.example --user test --listener local", "AUTH",
		  502 },
		{ "mta-rules.conf",
		  "joe@mydomain.example 203.0.113.7 bob@far.example --user joe --tls", "RCPT",
		  250 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct example e = load(rows[i].file);
		struct tunnel_table no_peers = { 0 };
		char line[200], why[300];
		struct explain x;
		json_t *args;

		snprintf(line, sizeof(line), "%s", rows[i].line);
		args = question(line);
		assert_int_equal(explain_begin(&x, e.c, &no_peers, args, why, sizeof(why)), 0);
		assert_string_equal(json_string_value(json_object_get(x.answer, "at")), rows[i].at);
		assert_int_equal(json_integer_value(json_object_get(x.answer, "code")),
				 rows[i].code);
		json_decref(x.answer);
		json_decref(args);
		unload(&e);
	}
}

/* The key of a home is shown by TLS or not at all, also where the listener itself does not ask for TLS. */
static void explain_knows_that_a_pinned_home_needs_tls(void **state)
{
	static const char text[] =
	    "[mta]\nrole = edge\nhostname = edge.example\ncertificate = c.pem\nprivate-key = "
	    "c.key\n"
	    "[home home]\ndomains = home.example\ntls-pins = "
	    "0000000000000000000000000000000000000000000000000000000000000000\n";
	struct conf *conf = conf_parse(&config_schema, "mta.conf", text, strlen(text));
	struct mta_config *c = config_new(conf);
	struct tunnel_table no_peers = { 0 };

	(void)state;
	assert_non_null(c);
	for (int tls = 0; tls < 2; tls++) {
		char line[200], why[300];
		struct explain x;
		json_t *args;

		snprintf(line, sizeof(line), "a@home.example 10.9.0.2 b@far.example --peer home%s",
			 tls ? " --tls" : "");
		args = question(line);
		assert_int_equal(explain_begin(&x, c, &no_peers, args, why, sizeof(why)), 0);
		assert_int_equal(json_integer_value(json_object_get(x.answer, "code")),
				 tls ? 250 : 530);
		assert_string_equal(
		    sentence(&x, 0),
		    tls ? "taken for granted: the client shows the key that [home home] pins"
			: "not without TLS: the client shows the key that [home home] pins");
		json_decref(x.answer);
		json_decref(args);
	}
	config_free(c);
	conf_free(conf);
}

static void explain_tells_what_limits_count_and_what_they_have_left(void **state)
{
	static const char text[] =
	    "[mta]\nrole = edge\nhostname = edge.example\n[listener lan]\naddress = 127.0.0.1:26\n"
	    "letters-per-sender = 5\nbytes-per-sender = 1M\nletters-per-recipient = 2\n"
	    "bytes-per-recipient = 3M\n"
	    "[route out]\nkind = mx\n";
	struct conf *conf = conf_parse(&config_schema, "mta.conf", text, strlen(text));
	struct mta_config *c = config_new(conf);
	struct limit *limits = limit_new(0, -1, 1);
	struct tunnel_table no_peers = { 0 };

	(void)state;
	assert_non_null(c);
	for (int i = 0; i < 3; i++) {
		char line[] = "a@here.example 127.0.0.1 b@far.example --listener lan", why[300];
		json_t *args = question(line);
		struct explain x;
		size_t n;

		assert_int_equal(explain_begin(&x, c, &no_peers, args, why, sizeof(why)), 0);
		n = json_array_size(x.why);
		explain_limits(&x, i ? limits : NULL, 1);
		assert_string_equal(sentence(&x, n), i ? "limit bytes-per-sender: 1024 KiB an hour for "
							 "a@here.example, 1024 KiB of them left now"
						       : "limit bytes-per-sender: 1024 KiB an hour for "
							 "a@here.example");
		assert_string_equal(sentence(&x, n + 1),
				    i ? "limit letters-per-sender: 5 an hour for a@here.example, 5 of "
					"them left now"
				      : "limit letters-per-sender: 5 an hour for a@here.example");
		assert_string_equal(sentence(&x, n + 2),
				    i ? "limit bytes-per-recipient: 3072 KiB an hour for b@far.example, "
					"3072 KiB of them left now"
				      : "limit bytes-per-recipient: 3072 KiB an hour for b@far.example");
		if (i)
			assert_string_equal(sentence(&x, n + 3),
					    i == 1 ? "limit letters-per-recipient: 2 an hour for "
						     "b@far.example, 2 of them left now"
						   : "limit letters-per-recipient: 2 an hour for "
						     "b@far.example, 0 of them left now");
		assert_int_equal(json_integer_value(json_object_get(x.answer, "code")),
				 i < 2 ? 250 : 450);
		assert_string_equal(json_string_value(json_object_get(x.answer, "at")), "RCPT");
		json_decref(x.answer);
		json_decref(args);
		for (int k = 0; i && k < 2; k++)
			limit_letters(limits, LIMIT_RECIPIENT, "b@far.example", 2, 1);
	}
	limit_free(limits);
	config_free(c);
	conf_free(conf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rules_of_a_mail_server_of_its_own),
		cmocka_unit_test(explain_tells_what_limits_count_and_what_they_have_left),
		cmocka_unit_test(three_machines_the_vps),
		cmocka_unit_test(three_machines_the_router),
		cmocka_unit_test(three_machines_the_workstation),
		cmocka_unit_test(explain_names_each_rule_and_the_condition_that_failed),
		cmocka_unit_test(a_question_that_cannot_be_asked_is_told),
		cmocka_unit_test(explain_logs_nobody_in_where_no_session_could),
		cmocka_unit_test(explain_knows_that_a_pinned_home_needs_tls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
