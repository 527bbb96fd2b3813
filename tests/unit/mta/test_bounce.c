/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bounce.h"

static char *own_domain[] = { (char *)"home.example" };
static struct mta_config config = { .deliver = { .domains = { own_domain, 1 } } };
static struct mta_route route = { .bounce = BOUNCE_AUTHENTICATED };

static bool wanted(const char *sender, uint32_t flags, uint8_t notify, enum bounce_policy p)
{
	struct env_rcpt r = { .addr = "x@y.example", .notify = notify };
	struct envelope e = { .sender = sender, .flags = flags, .rcpt = &r, .rcpt_count = 1 };

	route.bounce = p;
	return bounce_wanted(&config, &route, &e, &r);
}

static void bounces_go_to_own_users_only(void **state)
{
	assert_true(wanted("ann@home.example", ENV_LOCAL, 0, BOUNCE_AUTHENTICATED));
	assert_true(wanted("ann@Home.Example", ENV_TUNNEL, 0, BOUNCE_AUTHENTICATED));
	assert_true(wanted("ann@else.example", ENV_AUTHENTICATED, 0, BOUNCE_AUTHENTICATED));
	assert_false(wanted("spam@out.example", 0, 0, BOUNCE_AUTHENTICATED));
	assert_false(wanted("spam@out.example", ENV_TUNNEL, 0, BOUNCE_AUTHENTICATED));
	assert_false(
	    wanted("ann@home.example", 0, 0, BOUNCE_AUTHENTICATED)); /* forged from outside */
	assert_false(wanted("", ENV_AUTHENTICATED, 0, BOUNCE_ALL));
	assert_false(wanted("ann@home.example", ENV_LOCAL | ENV_BOUNCE, 0, BOUNCE_ALL));
	assert_false(wanted("ann@home.example", ENV_LOCAL, ENV_NOTIFY_NEVER, BOUNCE_ALL));
	assert_false(wanted("ann@home.example", ENV_LOCAL, ENV_NOTIFY_SUCCESS, BOUNCE_ALL));
	assert_true(wanted("ann@home.example", ENV_LOCAL, ENV_NOTIFY_FAILURE, BOUNCE_ALL));
	assert_false(wanted("ann@home.example", ENV_LOCAL, 0, BOUNCE_NONE));
	assert_true(wanted("a@out.example", ENV_VERIFIED, 0, BOUNCE_VERIFIED));
	assert_false(wanted("a@out.example", ENV_VERIFIED, 0, BOUNCE_AUTHENTICATED));
	assert_true(wanted("a@out.example", 0, 0, BOUNCE_ALL));
}

static void dsn_lists_the_failed_and_quotes_headers_only(void **state)
{
	static const char letter[] =
	    "From: <ann@home.example>\r\nSubject: hello\r\n\r\nSECRET BODY\r\n";
	struct env_rcpt r[3] = {
		{ .addr = "good@y.example" },
		{ .addr = "bad@y.example",
		  .orcpt = "rfc822;b@y.example",
		  .state = RCPT_FAILED,
		  .last = "550 5.1.1 no such\tuser\x01" },
		{ .addr = "late@y.example", .state = RCPT_EXPIRED, .last = "451 4.7.1 busy" }
	};
	struct envelope e = { .sender = "ann@home.example",
			      .envid = "E7",
			      .rcpt = r,
			      .rcpt_count = 3,
			      .received_s = 1700000000 };
	struct bounce_text t = { .hostname = "mail.home.example",
				 .headers = (const uint8_t *)letter,
				 .headers_len = sizeof(letter) - 1,
				 .now_s = 1700003600 };
	static uint8_t out[BOUNCE_BODY_MAX + 1];
	const uint16_t which[] = { 1, 2 };
	size_t count = 2, len = bounce_build(&t, &e, which, &count, out);
	const char *s = (const char *)out;

	assert_true(len > 0);
	assert_int_equal(count, 2);
	assert_int_equal(strlen(s), len);
	assert_non_null(strstr(s, "report-type=delivery-status"));
	assert_non_null(strstr(s, "Reporting-MTA: dns; mail.home.example\r\n"));
	assert_non_null(strstr(s, "Original-Envelope-Id: E7\r\n"));
	assert_non_null(strstr(
	    s, "Final-Recipient: rfc822; bad@y.example\r\nAction: failed\r\nStatus: 5.1.1\r\n"));
	assert_non_null(strstr(s, "Original-Recipient: rfc822;b@y.example\r\n"));
	assert_non_null(strstr(s, "Diagnostic-Code: smtp; 550 5.1.1 no such user \r\n"));
	assert_non_null(strstr(
	    s, "Final-Recipient: rfc822; late@y.example\r\nAction: failed\r\nStatus: 4.7.1\r\n"));
	assert_non_null(strstr(s, "Auto-Submitted: auto-replied\r\n"));
	assert_non_null(strstr(s, "Subject: hello\r\n"));
	assert_null(strstr(s, "SECRET"));
	assert_null(strstr(s, "good@y.example"));
	for (const char *p = s; (p = strchr(p, '\n')); p++) /* no bare newline ever */
		assert_int_equal(p[-1], '\r');
}

static bool delay_wanted(const char *sender, uint32_t flags, uint8_t notify, enum bounce_policy p)
{
	struct env_rcpt r = { .addr = "x@y.example", .notify = notify };
	struct envelope e = { .sender = sender, .flags = flags, .rcpt = &r, .rcpt_count = 1 };

	route.bounce = p;
	return bounce_delay_wanted(&config, &route, &e, &r);
}

static void delays_are_told_to_whom_failures_are(void **state)
{
	const uint8_t failure = ENV_NOTIFY_FAILURE, delay = ENV_NOTIFY_DELAY;
	const char *ann = "ann@home.example";

	assert_true(delay_wanted(ann, ENV_LOCAL, 0, BOUNCE_AUTHENTICATED));
	assert_true(delay_wanted(ann, ENV_LOCAL, delay, BOUNCE_AUTHENTICATED));
	assert_true(delay_wanted(ann, ENV_LOCAL, failure | delay, BOUNCE_AUTHENTICATED));
	assert_false(delay_wanted(ann, ENV_LOCAL, failure, BOUNCE_AUTHENTICATED));
	assert_false(delay_wanted(ann, ENV_LOCAL, ENV_NOTIFY_NEVER, BOUNCE_ALL));
	assert_false(wanted(ann, ENV_LOCAL, delay, BOUNCE_ALL));
	assert_false(delay_wanted("spam@out.example", 0, 0, BOUNCE_AUTHENTICATED));
	assert_false(delay_wanted("", ENV_LOCAL, 0, BOUNCE_ALL));
	assert_false(delay_wanted(ann, ENV_LOCAL | ENV_BOUNCE, 0, BOUNCE_ALL));
	assert_false(delay_wanted(ann, ENV_LOCAL, 0, BOUNCE_NONE));
}

static bool success_wanted(const char *sender, uint32_t flags, uint8_t notify, enum bounce_policy p)
{
	struct env_rcpt r = { .addr = "x@y.example", .notify = notify };
	struct envelope e = { .sender = sender, .flags = flags, .rcpt = &r, .rcpt_count = 1 };

	route.bounce = p;
	return bounce_success_wanted(&config, &route, &e, &r);
}

static void of_success_only_who_asked_is_told(void **state)
{
	const char *ann = "ann@home.example";

	(void)state;
	assert_true(success_wanted(ann, ENV_LOCAL, ENV_NOTIFY_SUCCESS, BOUNCE_AUTHENTICATED));
	assert_true(success_wanted(ann, ENV_AUTHENTICATED, ENV_NOTIFY_SUCCESS | ENV_NOTIFY_DELAY,
				   BOUNCE_VERIFIED));
	assert_false(success_wanted(ann, ENV_LOCAL, 0, BOUNCE_ALL));
	assert_false(success_wanted(ann, ENV_LOCAL, ENV_NOTIFY_FAILURE, BOUNCE_ALL));
	assert_false(success_wanted("spam@out.example", 0, ENV_NOTIFY_SUCCESS, BOUNCE_VERIFIED));
	assert_false(success_wanted("", ENV_LOCAL, ENV_NOTIFY_SUCCESS, BOUNCE_ALL));
	assert_false(success_wanted(ann, ENV_LOCAL, ENV_NOTIFY_SUCCESS, BOUNCE_NONE));
}

static void a_report_of_success_says_delivered_or_relayed(void **state)
{
	struct env_rcpt r[2] = { { .addr = "joe@y.example", .orcpt = "rfc822;j@z.example",
				   .last = "250 2.1.5 in the box" },
				 { .addr = "jim@y.example" } };
	struct envelope e = { .sender = "ann@home.example", .envid = "q1", .rcpt = r, .rcpt_count = 2 };
	struct bounce_text t = { .kind = DSN_DELIVERED,
				 .hostname = "mail.home.example",
				 .headers = (const uint8_t *)"Subject: hello\r\n\r\nSECRET\r\n",
				 .headers_len = 26 };
	static uint8_t out[BOUNCE_BODY_MAX + 1];
	const char *s = (const char *)out;
	const uint16_t which[] = { 0, 1 };
	size_t count = 2, len = bounce_build(&t, &e, which, &count, out);

	(void)state;
	assert_true(len > 0);
	out[len] = 0;
	assert_non_null(strstr(s, "Subject: Mail was delivered\r\n"));
	assert_non_null(strstr(s, "Original-Envelope-Id: q1\r\n"));
	assert_non_null(strstr(s, "Original-Recipient: rfc822;j@z.example\r\nFinal-Recipient: rfc822; "
				  "joe@y.example\r\nAction: delivered\r\nStatus: 2.1.5\r\n"));
	assert_non_null(strstr(s, "jim@y.example\r\nAction: delivered\r\nStatus: 2.0.0\r\n"));
	assert_null(strstr(s, "Will-Retry-Until"));
	assert_null(strstr(s, "SECRET"));
	t.kind = DSN_RELAYED;
	count = 2;
	len = bounce_build(&t, &e, which, &count, out);
	out[len] = 0;
	assert_non_null(strstr(s, "jim@y.example\r\nAction: relayed\r\nStatus: 2.0.0\r\n"));
}

static void a_delay_says_until_when_it_is_tried(void **state)
{
	struct env_rcpt r[3] = { { .addr = "busy@y.example", .last = "451 4.7.1 come again" },
				 { .addr = "full@y.example", .last = "554 5.3.4 of the host" },
				 { .addr = "down@y.example", .orcpt = "rfc822;d@y.example" } };
	struct envelope e = { .sender = "ann@home.example", .rcpt = r, .rcpt_count = 3 };
	struct bounce_text t = { .hostname = "mail.home.example",
				 .headers = (const uint8_t *)"Subject: hello\r\n\r\nSECRET\r\n",
				 .headers_len = 26,
				 .now_s = 1700003600,
				 .kind = DSN_DELAYED,
				 .until_s = 1700403600 };
	static uint8_t out[BOUNCE_BODY_MAX + 1];
	const uint16_t which[] = { 0, 1, 2 };
	size_t count = 3, len = bounce_build(&t, &e, which, &count, out);
	const char *s = (const char *)out;

	assert_true(len > 0);
	assert_int_equal(count, 3);
	assert_non_null(strstr(s, "Subject: Mail is delayed\r\n"));
	assert_non_null(strstr(s, "busy@y.example\r\nAction: delayed\r\nStatus: 4.7.1\r\n"));
	assert_non_null(strstr(s, "full@y.example\r\nAction: delayed\r\nStatus: 4.3.4\r\n"));
	assert_non_null(strstr(s, "down@y.example\r\nAction: delayed\r\nStatus: 4.4.1\r\n"
				  "Will-Retry-Until: Sun, 19 Nov 2023 14:20:00 +0000\r\n"));
	assert_non_null(strstr(s, "until\r\nSun, 19 Nov 2023 14:20:00 +0000."));
	assert_non_null(strstr(s, "Original-Recipient: rfc822;d@y.example\r\n"));
	assert_non_null(strstr(s, "Subject: hello\r\n"));
	assert_null(strstr(s, "SECRET"));
	assert_null(strstr(s, "failed"));
	for (const char *p = s; (p = strchr(p, '\n')); p++)
		assert_int_equal(p[-1], '\r');
}

static void many_recipients_take_several_dsns(void **state)
{
	static struct env_rcpt r[ENVELOPE_RCPTS_MAX];
	static uint16_t which[ENVELOPE_RCPTS_MAX];
	static uint8_t out[BOUNCE_BODY_MAX];
	struct envelope e = { .sender = "ann@home.example",
			      .rcpt = r,
			      .rcpt_count = ENVELOPE_RCPTS_MAX };
	struct bounce_text t = { .hostname = "h", .headers = out };
	size_t left = ENVELOPE_RCPTS_MAX, rounds = 0;
	char last[500];

	memset(last, '4', sizeof(last) - 1);
	last[sizeof(last) - 1] = 0;
	for (uint16_t i = 0; i < ENVELOPE_RCPTS_MAX; i++) {
		r[i] = (struct env_rcpt){ .addr = "someone@y.example",
					  .last = last,
					  .state = RCPT_FAILED };
		which[i] = i;
	}
	while (left) {
		size_t n = left;

		assert_true(bounce_build(&t, &e, which, &n, out) > 0);
		assert_true(n && n <= left);
		left -= n;
		rounds++;
	}
	assert_true(rounds > 10 && rounds < 60);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bounces_go_to_own_users_only),
		cmocka_unit_test(dsn_lists_the_failed_and_quotes_headers_only),
		cmocka_unit_test(delays_are_told_to_whom_failures_are),
		cmocka_unit_test(of_success_only_who_asked_is_told),
		cmocka_unit_test(a_report_of_success_says_delivered_or_relayed),
		cmocka_unit_test(a_delay_says_until_when_it_is_tried),
		cmocka_unit_test(many_recipients_take_several_dsns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
