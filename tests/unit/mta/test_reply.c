/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "reply.h"

static int feed(struct reply_parser *p, const char *text, size_t *used)
{
	memset(p, 0, sizeof(*p));
	return reply_feed(p, text, strlen(text), used);
}

static void a_reply_has_code_class_and_text(void **state)
{
	struct reply_parser p;
	size_t used;

	(void)state;
	assert_int_equal(feed(&p, "450-4.7.1 come\r\n450 4.7.1 later\r\n250 x", &used), 1);
	assert_int_equal(used, 33);
	assert_int_equal(p.reply.code, 450);
	assert_string_equal(p.reply.enhanced, "4.7.1");
	assert_string_equal(p.reply.text, "come later");
	assert_int_equal(feed(&p, "250\r\n", &used), 1);
	assert_string_equal(p.reply.text, "");
	assert_int_equal(feed(&p, "550 4.1.1 other class\r\n", &used), 1);
	assert_string_equal(p.reply.enhanced, "");
	assert_int_equal(feed(&p, "250 a\x01\x1b[2Jb\r\n", &used), 1);
	assert_string_equal(p.reply.text, "a??[2Jb");
}

static void a_reply_comes_whole_over_any_cut(void **state)
{
	static const char text[] = "250-mx.example\r\n250-SIZE 10\r\n250 2.0.0 HELP\r\n";
	struct reply_parser p;
	size_t used;

	(void)state;
	for (size_t cut = 1; cut < sizeof(text) - 1; cut++) {
		memset(&p, 0, sizeof(p));
		assert_int_equal(reply_feed(&p, text, cut, &used), 0);
		assert_int_equal(used, cut);
		assert_int_equal(reply_feed(&p, text + cut, sizeof(text) - 1 - cut, &used), 1);
		assert_string_equal(p.reply.text, "mx.example SIZE 10 HELP");
	}
}

static void mail_case_073_what_is_no_reply_is_an_error(void **state)
{
	static const char *const bad[] = {
		"\r\n",	     "25\r\n",	      "000 x\r\n",	"999 x\r\n",
		"199 x\r\n", "260 x\r\n",     "250x\r\n",	"250-a\r\n251 b\r\n",
		"hello\r\n", "SSH-2.0-x\r\n", "250-a\r\nb\r\n", "2 0 x\r\n",
	};
	struct reply_parser p;
	size_t used;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(feed(&p, bad[i], &used), -EBADMSG);
		assert_int_equal(reply_feed(&p, "250 ok\r\n", 8, &used), -EBADMSG);
	}
}

/* Case 73: replies for ever take no more memory than one. */
static void mail_case_073_endless_replies_end(void **state)
{
	struct reply_parser p = { 0 };
	char line[REPLY_LINE_MAX + 100];
	size_t used;
	int rc = 0, n = 0;

	(void)state;
	while (!rc && n++ < 10000)
		rc = reply_feed(&p, "250-again\r\n", 11, &used);
	assert_int_equal(rc, -EBADMSG);
	assert_true(n <= REPLY_LINES_MAX + 1);
	memset(&p, 0, sizeof(p));
	memset(line, 'x', sizeof(line));
	memcpy(line, "250 ", 4);
	assert_int_equal(reply_feed(&p, line, sizeof(line), &used), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_reply_has_code_class_and_text),
		cmocka_unit_test(a_reply_comes_whole_over_any_cut),
		cmocka_unit_test(mail_case_073_what_is_no_reply_is_an_error),
		cmocka_unit_test(mail_case_073_endless_replies_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
