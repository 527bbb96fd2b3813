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
		cmocka_unit_test(many_recipients_take_several_dsns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
