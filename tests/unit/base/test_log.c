/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"

#define MSG_MAX 1400 /* of a message before it is escaped, as log.h says */

static int out[2];

static const char *line(void)
{
	static char buf[8192];
	ssize_t n = read(out[0], buf, sizeof(buf) - 1);

	buf[n > 0 ? n : 0] = '\0';
	return buf;
}

static int begin(void **state)
{
	(void)state;
	if (pipe(out))
		return -1;
	log_setup("posternd/child", LOG_LVL_INFO, out[1]);
	return 0;
}

static int end(void **state)
{
	(void)state;
	close(out[0]);
	close(out[1]);
	log_setup("test", LOG_LVL_ERR, 2);
	return 0;
}

static void a_line_has_time_level_program_keys_and_message(void **state)
{
	struct log l = { 0 };
	const char *s;

	(void)state;
	log_set(&l, "peer=%s spi=%08x", "home", 0xabcu);
	log_info(&l, "up after %d ms", 12);
	s = line();
	assert_int_equal(s[4], '-');
	assert_int_equal(s[23], 'Z');
	assert_string_equal(s + 24,
			    " info posternd/child peer=home spi=00000abc msg=\"up after 12 ms\"\n");
	log_warn(NULL, "x");
	assert_string_equal(line() + 24, " warn posternd/child msg=\"x\"\n");
	log_clear(&l);
	log_warn(&l, "x");
	assert_string_equal(line() + 24, " warn posternd/child msg=\"x\"\n");
}

static void lower_levels_are_not_written(void **state)
{
	(void)state;
	log_debug(NULL, "not seen");
	assert_false(log_enabled(LOG_LVL_DEBUG));
	log_err(NULL, "seen");
	assert_non_null(strstr(line(), "seen"));
}

static void what_comes_from_outside_cannot_break_the_line(void **state)
{
	const char *s;

	(void)state;
	log_info(NULL, "name \"%s\"", "a\nb\r\x1b[31m\\ \x7f");
	s = line();
	assert_ptr_equal(strchr(s, '\n'), s + strlen(s) - 1);
	assert_null(strchr(s, '\x1b'));
	assert_null(strchr(s, '\r'));
	assert_null(strchr(s, '\x7f'));
	assert_non_null(strstr(s, "name \\\"a"));
}

static void quoting_is_bounded_and_terminated(void **state)
{
	char q[10];

	(void)state;
	assert_string_equal(log_quote(q, sizeof(q), "ab\"c", 4), "ab\\\"c");
	memset(q, 'x', sizeof(q));
	log_quote(q, sizeof(q), "\n\n\n\n\n\n\n\n\n\n", 10);
	assert_true(strlen(q) < sizeof(q));
	log_quote(q, 1, "abc", 3);
	assert_string_equal(q, "");
	assert_string_equal(log_quote(q, sizeof(q), "a\0b", 3)[0] == 'a' ? "a" : "", "a");
}

static void a_long_message_is_cut_and_still_one_line(void **state)
{
	char *big = malloc(6000);
	const char *s;

	(void)state;
	memset(big, 'y', 5999);
	big[5999] = '\0';
	log_info(NULL, "%s", big);
	s = line();
	assert_true(strlen(s) <= LOG_LINE_MAX);
	assert_string_equal(s + strlen(s) - 6, "y...\"\n");
	memset(big, '\n', 5999);
	log_info(NULL, "%s", big);
	s = line();
	assert_true(strlen(s) <= LOG_LINE_MAX);
	assert_string_equal(s + strlen(s) - 2, "\"\n");
	free(big);
}

static void a_message_is_whole_with_all_of_it_escaped(void **state)
{
	char text[MSG_MAX], ctx[LOG_CTX_MAX];
	struct log l = { 0 };
	const char *s;

	(void)state;
	memset(ctx, 'c', sizeof(ctx) - 1);
	ctx[sizeof(ctx) - 1] = '\0';
	log_set(&l, "%s", ctx);
	memset(text, '"', sizeof(text) - 2);
	memcpy(text + sizeof(text) - 2, "z", 2);
	log_info(&l, "%s", text);
	s = line();
	assert_string_equal(s + strlen(s) - 5, "\\\"z\"\n");
	assert_int_equal(s[strlen(s) - 6], '"');
	log_clear(&l);
}

/* It is read by programs, too. */
static void fields_that_are_cut_end_their_quotes(void **state)
{
	char big[3000], quoted[7000];
	const char *s;

	(void)state;
	memset(big, 'y', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	log_info(NULL, "peer=%s msg=\"%s\"", "home", big);
	s = line();
	assert_string_equal(s + strlen(s) - 6, "y...\"\n");
	for (size_t i = 0; i < 2; i++) { /* an escape at either place */
		memset(big, '"', sizeof(big) - 1);
		log_info(NULL, "peer=%s msg=\"%s\"", i ? "home" : "vps",
			 log_quote(quoted, sizeof(quoted), big, strlen(big)));
		s = line();
		assert_string_equal(s + strlen(s) - 6, "\"...\"\n");
	}
	for (size_t i = 0; i < 4; i++) {
		memset(big, 0x1f, sizeof(big) - 1);
		log_info(NULL, "peer=%s msg=\"%s\"", &"home"[i],
			 log_quote(quoted, sizeof(quoted), big, strlen(big)));
		s = line();
		assert_string_equal(s + strlen(s) - 9, "\\x1f...\"\n");
	}
	log_info(NULL, "peer=\"%s\" number=%s", "a", big + 2000);
	s = line();
	assert_int_equal(s[strlen(s) - 1], '\n');
}

static void a_stranger_gets_a_burst_then_one_line_a_period(void **state)
{
	struct log_limit *lim = calloc(1, sizeof(*lim));
	uint32_t suppressed = 99;
	int passed = 0;

	(void)state;
	for (int i = 0; i < 1000; i++)
		passed += log_limited(lim, 7, 1000000 + (uint64_t)i, &suppressed);
	assert_int_equal(passed, LOG_LIMIT_BURST);
	assert_true(log_limited(lim, 8, 1000000, &suppressed)); /* another is not held back */
	assert_true(log_limited(lim, 7, 1001000 + LOG_LIMIT_PERIOD_MS, &suppressed));
	assert_int_equal(suppressed, 1000 - LOG_LIMIT_BURST);
	free(lim);
}

static void levels_are_parsed(void **state)
{
	enum log_level l;

	(void)state;
	assert_int_equal(log_level_parse("debug", &l), 0);
	assert_int_equal(l, LOG_LVL_DEBUG);
	assert_int_equal(log_level_parse("Debug", &l), -EINVAL);
	assert_int_equal(log_level_parse("", &l), -EINVAL);
}

static void die_says_why_and_ends_with_1(void **state)
{
	int status;
	pid_t pid = fork();

	(void)state;
	if (!pid)
		die("no %s", "luck");
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 1);
	assert_non_null(strstr(line(), "err posternd/child msg=\"no luck\""));
}

/* Nothing but key=value: it stands in the line as it is. */
static void fields_are_not_wrapped(void **state)
{
	struct log l = { 0 };
	char quoted[64];

	(void)state;
	log_set(&l, "client=192.0.2.1");
	log_info(&l, "letter=%s size=%d msg=\"queued\"", "0af", 7);
	assert_string_equal(
	    line() + 24,
	    " info posternd/child client=192.0.2.1 letter=0af size=7 msg=\"queued\"\n");
	log_info(NULL, "to=\"%s\" code=%d", log_quote(quoted, sizeof(quoted), "\"a b\"@x\n", 8),
		 250);
	assert_string_equal(line() + 24,
			    " info posternd/child to=\"\\\"a b\\\"@x\\x0a\" code=250\n");
	log_info(NULL, "to=\"%s\" msg=\"a\"", "x\ny");
	assert_string_equal(line() + 24, " info posternd/child to=\"x\\x0ay\" msg=\"a\"\n");
	/* What only begins so is a sentence. */
	log_info(NULL, "tun=%s mtu=%d: %s", "t0", 9, "no");
	assert_string_equal(line() + 24, " info posternd/child msg=\"tun=t0 mtu=9: no\"\n");
	log_info(NULL, "ready proc=%s", "x");
	assert_string_equal(line() + 24, " info posternd/child msg=\"ready proc=x\"\n");
	log_info(NULL, "a=\"%s", "x");
	assert_string_equal(line() + 24, " info posternd/child msg=\"a=\\\"x\"\n");
	log_clear(&l);
}

int main(void)
{
#define T(x) cmocka_unit_test_setup_teardown(x, begin, end)
	const struct CMUnitTest tests[] = {
		T(fields_are_not_wrapped),
		T(a_line_has_time_level_program_keys_and_message),
		T(lower_levels_are_not_written),
		T(what_comes_from_outside_cannot_break_the_line),
		T(quoting_is_bounded_and_terminated),
		T(a_long_message_is_cut_and_still_one_line),
		T(a_message_is_whole_with_all_of_it_escaped),
		T(fields_that_are_cut_end_their_quotes),
		T(a_stranger_gets_a_burst_then_one_line_a_period),
		T(levels_are_parsed),
		T(die_says_why_and_ends_with_1),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
