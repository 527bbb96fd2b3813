/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Sessions whose memory runs out at any place. Linked so that each malloc(), calloc(), realloc() and strdup()
 * passes here; those of the test itself never fail.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static bool armed;
static long asked, fail_at, fail_for;

static bool fails(void)
{
	if (!armed)
		return false;
	asked++;
	return asked >= fail_at && asked < fail_at + fail_for;
}

#include "scarce.h"

/* What plays queue and lookup has memory. */
#define calloc	__real_calloc
#define realloc __real_realloc
#include "smtp_words.h"
#undef calloc
#undef realloc

#define AUTH_JOE "AUTH LOGIN\r\nam9l\r\nc2VjcmV0\r\n" /* joe, secret */

static void calm_store(void *arg, struct session *s, const struct envelope *e, const uint8_t *b,
		       size_t len)
{
	bool was = armed;

	armed = false;
	drive_store(arg, s, e, b, len);
	armed = was;
}

static void begin_short_of_memory(struct drive *d, long at, long times)
{
	static struct session_ops ops;

	ops = drive_ops;
	ops.store = calm_store;
	asked = 0;
	fail_at = at;
	fail_for = times;
	armed = true;
	session_begin(&d->s, &d->conf, &ops, d, NULL, d->now_ms);
}

/* A login, an alias, and a letter that is small or is streamed. */
static void say_all(struct drive *d, const char *text, size_t len)
{
	say(d, GREETED AUTH_JOE);
	say(d, MAIL "RCPT TO:<alias@home.example>\r\n" RCPT);
	say(d, "DATA\r\n");
	drive_bytes(d, text, len);
	drive_bytes(d, ".\r\n", 3);
}

static bool all_temporary(const char *out, char *why)
{
	for (const char *at = out; *at; at = strstr(at, "\r\n") + 2) {
		snprintf(why, 128, "%.100s", at);
		/* What only follows from a refusal before: there is no transaction, or nobody in it. */
		if (at[0] == '5' && strncmp(at, "503 5.5.1", 9) &&
		    strncmp(at, "554 5.5.1 No valid", 18) && strncmp(at, "500 5.5.", 8))
			return false;
	}
	return true;
}

/* Returns whether anything failed. */
static bool run(const char *text, size_t len, long at, long times)
{
	struct drive *d = drive_new(), *other = drive_new();
	char why[128] = "";
	bool hit;

	d->conf.auth_offered = d->conf.auth_in_clear = true;
	d->conf.errors_max = other->conf.errors_max = 0;
	begin_short_of_memory(d, at, times);
	say_all(d, text, len);
	armed = false;
	hit = asked >= at;
	if (!all_temporary(d->out, why))
		fail_msg("allocation %ld of %ld: %s", at, asked, why);
	/* 250 to its end means whole. */
	for (size_t i = 0; i < d->letters; i++) {
		if (d->letter[i].rcpt_count != 3 && d->letter[i].rcpt_count != 2 &&
		    d->letter[i].rcpt_count != 1)
			fail_msg("allocation %ld: %zu recipients", at, d->letter[i].rcpt_count);
		if (d->letter[i].body_len < len ||
		    memcmp(d->letter[i].body + d->letter[i].body_len - (len - 10), text + 10,
			   len - 10))
			fail_msg("allocation %ld: the letter is not whole", at);
	}
	if (!hit && !d->letters)
		fail_msg("nothing failed, and there is no letter: %s", d->out);
	if (d->stream)
		fail_msg("allocation %ld: the queue is left with the beginning of a letter", at);
	/* This session goes on, or was sent away; others do not know of it. */
	if (d->s.state != SESSION_CLOSING) {
		say(d, "RSET\r\n" GREETED);
		assert_string_equal(codes(say(d, MAIL RCPT "DATA\r\n" LETTER ".\r\n")),
				    "250 250 354 250");
	}
	drive_begin(other);
	say(other, GREETED);
	assert_string_equal(codes(say(other, MAIL RCPT "DATA\r\n" LETTER ".\r\n")),
			    "250 250 354 250");
	drive_free(d);
	drive_free(other);
	return hit;
}

static void out_of_memory_everywhere(const char *text, size_t len)
{
	static const long times[] = { 1, 3, 1000000 };

	for (size_t i = 0; i < 3; i++) {
		long at = 1;

		while (run(text, len, at, times[i]))
			at++;
		assert_true(at > 5);
	}
}

static void mail_case_059_a_small_letter_out_of_memory_is_4xx_and_others_are_served(void **state)
{
	static const char text[] = "From: a@home.example\r\nSubject: x\r\n\r\nhello\r\n";

	(void)state;
	out_of_memory_everywhere(text, sizeof(text) - 1);
}

static void mail_case_059_a_large_letter_out_of_memory_is_4xx_and_others_are_served(void **state)
{
	static char text[200 * 1024];

	(void)state;
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = i % 70 == 68 ? '\r' : i % 70 == 69 ? '\n' : (char)('a' + i % 23);
	memcpy(text, "From: a@home.example\r\n\r\n", 24);
	memcpy(text + sizeof(text) - 2, "\r\n", 2);
	out_of_memory_everywhere(text, sizeof(text));
}

/* A login that cannot be kept whole is none: it would refuse its own senders for good. */
static void mail_case_059_a_login_out_of_memory_is_454(void **state)
{
	(void)state;
	for (long at = 1;; at++) {
		struct drive *d = drive_new();
		bool in;

		d->conf.auth_offered = d->conf.auth_in_clear = true;
		begin_short_of_memory(d, at, 1);
		say(d, GREETED AUTH_JOE);
		armed = false;
		in = strstr(d->out, "235 ") != NULL;
		if (in)
			assert_int_equal(d->s.sender_count, 2);
		else
			assert_string_equal(d->s.auth_user, "");
		drive_free(d);
		if (asked < at) {
			assert_true(in && at > 3);
			return;
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    mail_case_059_a_small_letter_out_of_memory_is_4xx_and_others_are_served),
		cmocka_unit_test(
		    mail_case_059_a_large_letter_out_of_memory_is_4xx_and_others_are_served),
		cmocka_unit_test(mail_case_059_a_login_out_of_memory_is_454),
	};

	log_setup("test_session_memory", LOG_LVL_ERR, -1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
