/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "path_report.h"

#define ID "00112233445566778899aabbccddeeff"

static const struct leak_known nothing;
static json_t *o;

/* What a last hop writes, as the queue keeps it. */
static json_t *state(const char *action, const char *diagnostic, const char *head)
{
	char text[4096];

	snprintf(text, sizeof(text),
		 "Received: from vps\n\tby home; x\nSubject: A probe\n\n--=_1\nContent-Type: "
		 "text/plain\n\n"
		 "This is the mail system.\n\n<a@far.example>\n    %s\n\n--=_1\n"
		 "Content-Type: message/delivery-status\n\nReporting-MTA: dns; vps.example.net\n\n"
		 "Final-Recipient: rfc822; a@far.example\nAction: %s\nStatus: 2.0.0\n"
		 "Diagnostic-Code: smtp; %s\n\n--=_1\nContent-Type: text/rfc822-headers\n"
		 "Content-Transfer-Encoding: 8bit\n\n%s\n--=_1--\n",
		 diagnostic, action, diagnostic, head);
	return json_pack("{s:s,s:b,s:s,s:s,s:s,s:s,s:i,s:s,s:s}", "state", "gone-on", "report_due",
			 1, "route", "edge", "hop", "vps", "host", "10.99.0.1", "tls", "TLSv1.3 X",
			 "code", 250, "reply", "2.0.0 " ID " queued", "report", text);
}

static const char *at(const char *path, const char *key)
{
	json_t *x = *path ? json_object_get(o, path) : o;

	return json_string_value(json_object_get(x, key));
}

static size_t count(const char *key)
{
	return json_array_size(json_object_get(o, key));
}

static const char *item(const char *key, size_t i)
{
	return json_string_value(json_array_get(json_object_get(o, key), i));
}

static void make(json_t *st)
{
	json_t *asked = json_pack("{s:s,s:s,s:s,s:s,s:s}", "id", ID, "address", "a@far.example",
				  "sender", "b@example.org", "hostname", "home", "header",
				  "Subject: x\r\nMessage-ID: <1@pc.lan>\r\n\r\n10.0.0.1\r\n");

	json_decref(o);
	o = path_report(asked, st, &nothing);
	assert_non_null(o);
	json_decref(asked);
	json_decref(st);
}

static void a_report_is_taken_apart(void **s)
{
	(void)s;
	make(state("relayed",
		   "250 2.0.0 Ok [host=evil tls=x] [host=mx.far.example tls=TLSv1.3 Y verified]",
		   "Received: from home\n\tby vps\n\t(using TLSv1.3 with cipher X);\n\tnow\n"
		   "Received: from pc by home;\n then\nSubject: x\n"));
	assert_string_equal(at("report", "by"), "vps.example.net");
	assert_string_equal(at("report", "action"), "relayed");
	assert_string_equal(at("report", "host"), "mx.far.example");
	assert_string_equal(at("report", "tls"), "TLSv1.3 Y verified");
	assert_string_equal(at("first", "next_id"), ID);
	assert_int_equal(count("received"), 2);
	assert_string_equal(item("received", 0), "Received: from pc by home; then");
	assert_string_equal(item("received", 1),
			    "Received: from home by vps (using TLSv1.3 with cipher X); now");
	assert_true(json_is_true(json_object_get(o, "outside")));
	assert_true(json_is_true(json_object_get(o, "ok")));
	assert_int_equal(count("problems"), 0);
}

static void a_leak_outside_is_a_problem_and_inside_is_none(void **s)
{
	static const char head[] = "Received: from home ([10.99.0.2]) by vps; now\n";
	static const char took[] = "250 2.0.0 Ok [host=mx tls=TLSv1.3 Y]";

	(void)s;
	make(state("relayed", took, head));
	assert_int_equal(count("leaks"), 1);
	assert_int_equal(count("problems"), 1);
	assert_false(json_is_true(json_object_get(o, "ok")));
	make(state("delivered", took, head));
	assert_int_equal(count("leaks"), 1);
	assert_true(json_is_true(json_object_get(o, "ok")));
}

static void a_host_outside_without_tls_is_a_problem(void **s)
{
	(void)s;
	make(state("relayed", "250 2.0.0 Ok [host=mx tls=none]", "Subject: x\n"));
	assert_string_equal(item("problems", 0), "mx took it in clear, without TLS");
	make(state("relayed", "250 2.0.0 Ok", "Subject: x\n"));
	assert_int_equal(count("problems"), 1);
}

static void a_failure_and_a_report_that_is_none_are_problems(void **s)
{
	json_t *st = state("failed", "550 5.1.1 no [host=mx tls=none]", "Subject: x\n");

	(void)s;
	make(st);
	assert_string_equal(item("problems", 0),
			    "it failed at vps.example.net: 550 5.1.1 no [host=mx tls=none]");
	st = state("relayed", "x", "");
	json_object_set_new(st, "report", json_string("nonsense"));
	assert_true(path_report_settled(st));
	make(st);
	assert_int_equal(count("problems"), 1);
	st = state("relayed", "x", "");
	json_object_set_new(st, "report", json_null());
	assert_false(path_report_settled(st));
	make(st);
	assert_string_equal(item("problems", 0),
			    "no report came: the hops behind vps are not known");
	/* Then what left here is all that is known. */
	assert_int_equal(count("leaks"), 1);
}

static void where_no_report_is_due_the_first_hop_is_judged(void **s)
{
	json_t *st = state("relayed", "x", "");

	(void)s;
	json_object_set_new(st, "report", json_null());
	json_object_set_new(st, "report_due", json_false());
	assert_true(path_report_settled(st));
	json_object_set_new(st, "tls", json_string(""));
	make(st);
	assert_int_equal(count("problems"), 2); /* in clear, and pc.lan */
	assert_true(json_is_true(json_object_get(o, "outside")));
}

static void every_truncation_of_a_report_is_read(void **s)
{
	json_t *whole =
	    state("relayed", "250 Ok [host=mx tls=T Y]", "Received: a\n\tb\nReceived: c\n");
	const char *text = json_string_value(json_object_get(whole, "report"));

	(void)s;
	for (size_t n = 0; n <= strlen(text); n++) {
		json_t *st = json_deep_copy(whole);

		json_object_set_new(st, "report", json_stringn(text, n));
		make(st);
	}
	json_decref(whole);
	json_decref(o);
	o = NULL;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_report_is_taken_apart),
		cmocka_unit_test(a_leak_outside_is_a_problem_and_inside_is_none),
		cmocka_unit_test(a_host_outside_without_tls_is_a_problem),
		cmocka_unit_test(a_failure_and_a_report_that_is_none_are_problems),
		cmocka_unit_test(where_no_report_is_due_the_first_hop_is_judged),
		cmocka_unit_test(every_truncation_of_a_report_is_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
