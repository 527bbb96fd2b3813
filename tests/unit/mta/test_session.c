/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The session as a machine over bytes. Case numbers are those of the list of robustness cases. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "smtp_words.h"

static void a_letter_goes_from_banner_to_quit(void **state)
{
	struct drive *d = drive_new();

	(void)state;
	drive_begin(d);
	drive_collect(d);
	assert_string_equal(d->out, "220 mx.home.example ESMTP Postern\r\n");
	starts(say(d, GREETED), "250-mx.home.example\r\n250-PIPELINING\r\n");
	starts(say(d, MAIL), "250 2.1.0 ");
	starts(say(d, RCPT), "250 2.1.5 ");
	starts(say(d, "DATA\r\n"), "354 ");
	starts(say(d, LETTER ".\r\n"), "250 2.0.0 ");
	starts(say(d, "QUIT\r\n"), "221 2.0.0 ");
	assert_int_equal(session_wish(&d->s), SESSION_WANTS_CLOSE);
	assert_int_equal(d->letters, 1);
	assert_string_equal(d->letter[0].sender, "a@out.example");
	assert_string_equal(d->letter[0].rcpt[0], "b@home.example");
	assert_string_equal(body(d, 0), LETTER);
	assert_int_equal(d->letter[0].hops, 1);
	drive_free(d);
}

static void received_tells_client_protocol_id_and_recipient(void **state)
{
	struct drive *d = in_data();
	char id[LETTER_ID_STR_MAX];

	(void)state;
	say(d, LETTER ".\r\n");
	starts((char *)d->letter[0].body,
	       "Received: from client.example ([192.0.2.7])\r\n\tby mx.home.example (Postern) with "
	       "ESMTP id ");
	assert_non_null(
	    strstr((char *)d->letter[0].body,
		   "\r\n\tfor <b@home.example>;\r\n\tSat, 21 Nov 2026 23:56:36 +0000\r\n"));
	memcpy(id, strstr((char *)d->letter[0].body, " id ") + 4, 32);
	id[32] = 0;
	assert_int_equal(strspn(id, "0123456789abcdef"), 32);
	drive_free(d);
}

/* ------------------------------------------------------------------ commands 20-40 ---------- */

static void
mail_case_020_a_line_of_512_octets_is_processed_and_one_past_the_cap_is_discarded(void **state)
{
	struct drive *d = ready();
	char line[COMMAND_LINE_MAX + 64];

	(void)state;
	memset(line, 'x', sizeof(line));
	memcpy(line, "NOOP ", 5);
	memcpy(line + 510, "\r\n", 3);
	starts(say(d, line), "250 2.0.0");
	memset(line + 510, 'x', sizeof(line) - 510);
	memcpy(line + COMMAND_LINE_MAX - 2, "\r\n", 3);
	starts(say(d, line), "250 2.0.0");
	memset(line, 'x', sizeof(line));
	memcpy(line + COMMAND_LINE_MAX - 1, "\r\nNOOP\r\n", 9);
	assert_string_equal(codes(say(d, line)), "500 250");
	starts(d->out, "500 5.5.2 ");
	drive_free(d);
}

static void mail_case_021_a_megabyte_without_newline_takes_bounded_memory(void **state)
{
	struct drive *d = drive_new();
	char junk[4096];

	(void)state;
	drive_begin(d);
	memset(junk, 'A', sizeof(junk));
	for (int i = 0; i < 256; i++) {
		say_bytes(d, junk, sizeof(junk));
		assert_true(d->s.line_cap <= COMMAND_AUTH_MAX + 4096);
	}
	assert_string_equal(codes(say(d, "\r\n" GREETED)), "500 250");
	drive_free(d);
}

static void mail_case_022_overlong_addresses_are_refused_and_never_cut(void **state)
{
	struct drive *d = ready();
	char line[600], part[400];

	(void)state;
	memset(part, 'a', sizeof(part));
	snprintf(line, sizeof(line), "MAIL FROM:<%.250s@out.example>\r\n", part);
	starts(say(d, line), "501 5.1.7 ");
	snprintf(line, sizeof(line), "MAIL FROM:<a@%.60s.%.60s.%.60s.%.60s.%.60s>\r\n", part, part,
		 part, part, part);
	starts(say(d, line), "501 5.1.7 ");
	say(d, MAIL);
	snprintf(line, sizeof(line), "RCPT TO:<%.250s@home.example>\r\n", part);
	starts(say(d, line), "501 5.1.3 ");
	snprintf(line, sizeof(line), "RCPT TO:<%.64s@home.example>\r\n", part);
	starts(say(d, line), "250 2.1.5 ");
	assert_int_equal(d->s.t.rcpt[0].addr.len, 64 + 13);
	drive_free(d);
}

static void mail_case_023_unknown_commands_end_in_421(void **state)
{
	struct drive *d = ready();
	int n = 0;

	(void)state;
	starts(say(d, "FROBNICATE\r\n"), "500 5.5.1 ");
	while (d->s.state != SESSION_CLOSING && n < 100)
		say(d, "FROBNICATE\r\n"), n++;
	assert_int_equal(n, 19);
	assert_non_null(strstr(d->out, "421 4.7.0 "));
	drive_free(d);
}

static void mail_case_024_commands_out_of_order_are_503(void **state)
{
	struct drive *d = ready();

	(void)state;
	starts(say(d, RCPT), "503 5.5.1 ");
	starts(say(d, "DATA\r\n"), "503 5.5.1 ");
	say(d, MAIL);
	starts(say(d, MAIL), "503 5.5.1 ");
	/* What a pipelining client has sent behind the second MAIL must not join the first letter. */
	starts(say(d, RCPT), "503 5.5.1 ");
	starts(say(d, "DATA\r\n"), "503 5.5.1 ");
	say(d, MAIL);
	starts(say(d, "DATA\r\n"), "554 5.5.1 ");
	starts(say(d, "RCPT TO:<unknown@home.example>\r\n"), "550 5.1.1 ");
	starts(say(d, "DATA\r\n"), "554 5.5.1 ");
	assert_int_equal(d->letters, 0);
	drive_free(d);
}

static void mail_case_025_mail_before_ehlo_is_503(void **state)
{
	struct drive *d = drive_new();

	(void)state;
	drive_begin(d);
	starts((say(d, ""), say(d, MAIL)), "503 5.5.1 ");
	starts(say(d, "HELO old.example\r\n"), "250 mx.home.example");
	starts(say(d, MAIL), "250 ");
	drive_free(d);
}

static void who_lives_here_is_told_to_nobody(void **state)
{
	struct drive *d = ready();

	(void)state;
	/* The same for who is there and who is not, and it ends no transaction. */
	starts(say(d, MAIL), "250 ");
	starts(say(d, "VRFY joe\r\n"), "252 2.5.0 ");
	starts(say(d, "VRFY nobody-of-that-name\r\n"), "252 2.5.0 ");
	starts(say(d, "EXPN staff\r\n"), "502 5.5.1 ");
	starts(say(d, "HELP\r\n"), "214 2.0.0 ");
	starts(say(d, "ETRN home.example\r\n"), "500 5.5.1 ");
	starts(say(d, "RCPT TO:<joe@home.example>\r\n"), "250 ");
	drive_free(d);
}

static void mail_case_026_ehlo_in_a_transaction_resets_it(void **state)
{
	struct drive *d = ready();

	(void)state;
	say(d, MAIL RCPT GREETED);
	starts(say(d, "DATA\r\n"), "503 5.5.1 ");
	starts(say(d, MAIL), "250 ");
	drive_free(d);
}

static void mail_case_027_the_null_sender_is_accepted_with_many_recipients(void **state)
{
	struct drive *d = ready();

	(void)state;
	assert_string_equal(codes(say(d, "MAIL FROM:<>\r\n" RCPT
					 "RCPT TO:<c@home.example>\r\nDATA\r\n" LETTER ".\r\n")),
			    "250 250 250 354 250");
	assert_string_equal(d->letter[0].sender, "");
	assert_int_equal(d->letter[0].rcpt_count, 2);
	drive_free(d);
}

static void mail_case_028_postmaster_without_domain_is_accepted(void **state)
{
	struct drive *d = ready();

	(void)state;
	say(d, MAIL);
	starts(say(d, "RCPT TO:<PostMaster>\r\n"), "250 ");
	starts(say(d, "RCPT TO:<root>\r\n"), "501 5.1.3 ");
	drive_free(d);
}

static void mail_case_029_a_source_route_is_ignored(void **state)
{
	struct drive *d = ready();

	(void)state;
	say(d, MAIL);
	starts(say(d, "RCPT TO:<@one.example,@two.example:b@home.example>\r\n"), "250 ");
	say(d, "DATA\r\n" LETTER ".\r\n");
	assert_string_equal(d->letter[0].rcpt[0], "b@home.example");
	drive_free(d);
}

static void mail_case_031_a_quoted_local_part_leaves_as_it_came(void **state)
{
	struct drive *d = ready();

	(void)state;
	starts(say(d, "MAIL FROM:<\"joe \\\"b\\\" c\"@out.example>\r\n"), "250 ");
	say(d, RCPT "DATA\r\n" LETTER ".\r\n");
	assert_string_equal(d->letter[0].sender, "\"joe \\\"b\\\" c\"@out.example");
	drive_free(d);
}

static void mail_case_032_shell_characters_and_controls_never_enter(void **state)
{
	static const char *const bad[] = {
		"a;b@out.example",     "a|b@out.example",      "a`id`@out.example",
		"a$(id)@out.example",  "\";id;\"@out.example", "\"a|b\"@out.example",
		"a\tb@out.example",    "\"a\tb\"@out.example", "a\x7f@out.example",
		"\"a$b\"@out.example", "a@out.example;id",     "\"a\\|b\"@out.example",
	};
	struct drive *d = ready();
	char line[128];

	(void)state;
	d->conf.errors_max = 0;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		snprintf(line, sizeof(line), "MAIL FROM:<%s>\r\n", bad[i]);
		if (strncmp(say(d, line), "501 5.1.7", 9) && strncmp(d->out, "553 5.1.7", 9))
			fail_msg("%s: %s", bad[i], d->out);
	}
	drive_free(d);
}

static void mail_case_033_unknown_and_repeated_parameters_are_refused(void **state)
{
	struct drive *d = ready();

	(void)state;
	starts(say(d, "MAIL FROM:<a@out.example> FOO=bar\r\n"), "555 5.5.4 ");
	starts(say(d, "MAIL FROM:<a@out.example> RET=HDRS\r\n"), "555 5.5.4 ");
	starts(say(d, "MAIL FROM:<a@out.example> SIZE=1 SIZE=1\r\n"), "501 5.5.4 ");
	starts(say(d, "MAIL FROM:<a@out.example> BODY=7BIT body=8bitmime\r\n"), "501 5.5.4 ");
	starts(say(d, "MAIL FROM:<a@out.example> BODY=BINARYMIME\r\n"), "501 5.5.4 ");
	starts(say(d, "MAIL FROM:<a@out.example> SIZE=-1\r\n"), "501 5.5.4 ");
	starts(say(d, "MAIL FROM:<a@out.example>SIZE=1\r\n"), "501 5.5.4 ");
	starts(
	    say(d,
		"MAIL FROM:<a@out.example> XPOSTERN-ID=00112233445566778899aabbccddeeff.1.1\r\n"),
	    "555 5.5.4 ");
	starts(say(d, "MAIL FROM:<a@out.example> AUTH=<>\r\n"), "555 5.5.4 ");
	starts(say(d, "mail from:<a@out.example> size=1 body=8bitmime\r\n"), "250 ");
	starts(say(d, "RCPT TO:<b@home.example> NOTIFY=NEVER\r\n"), "555 5.5.4 ");
	drive_free(d);
}

static void
mail_case_034_size_over_the_limit_is_552_at_mail_and_a_lie_is_552_at_the_end(void **state)
{
	struct drive *d = ready();
	char big[2000];

	(void)state;
	d->conf.size_max_bytes = 4096;
	starts(say(d, "MAIL FROM:<a@out.example> SIZE=4097\r\n"), "552 5.3.4 ");
	say(d, "MAIL FROM:<a@out.example> SIZE=100\r\n" RCPT "DATA\r\n");
	memset(big, 'x', sizeof(big));
	memcpy(big + sizeof(big) - 2, "\r\n", 2);
	for (int i = 0; i < 50; i++)
		assert_string_equal(say_bytes(d, big, sizeof(big)), "");
	starts(say(d, ".\r\n"), "552 5.3.4 ");
	assert_int_equal(d->letters, 0);
	assert_string_equal(codes(say(d, MAIL RCPT "DATA\r\n" LETTER ".\r\n")), "250 250 354 250");
	drive_free(d);
}

#define SMALL(size, ...)                                                                           \
	do {                                                                                       \
		say(d, "RSET\r\n");                                                                \
		assert_string_equal(codes(say(d, "MAIL FROM:<a@out.example>" size "\r\n" __VA_ARGS__)), \
				    expected);                                                     \
	} while (0)
#define TO(who) "RCPT TO:<" who "@home.example>\r\n"

static void a_recipient_that_takes_less_than_was_announced_is_552(void **state)
{
	struct drive *d = ready();
	const char *expected = "250 552 250 250";

	(void)state;
	SMALL(" SIZE=10001", TO("small1") TO("joe") TO("ann"));
	assert_non_null(strstr(say(d, "RCPT TO:<smaller@home.example>\r\n"), "552 5.3.4 Smaller"));
	say(d, "DATA\r\n" LETTER ".\r\n");
	assert_int_equal(d->letters, 1);
	assert_int_equal(d->letter[0].rcpt_count, 2);
	drive_free(d);
}

/* DATA has one answer for all, so none may be among them for whom it would be wrong. */
static void recipients_that_take_letters_of_other_sizes_get_one_of_their_own(void **state)
{
	struct drive *d = ready();
	const char *expected = "250 250 250 452 452 550";

	(void)state;
	SMALL("", TO("small1") TO("small2") TO("joe") TO("smaller") TO("unknown"));
	expected = "250 250 250 452";
	SMALL("", TO("joe") TO("ann") TO("small"));
	/* What is announced to be small enough goes to all, even if line ends were not counted whole. */
	expected = "250 250 250 250";
	SMALL(" SIZE=1900", TO("small1") TO("joe") TO("smaller"));
	expected = "250 250 250 452";
	SMALL(" SIZE=1901", TO("small1") TO("joe") TO("smaller"));
	/* Nobody takes more than the listener, so more than that sets nobody apart. */
	d->conf.size_max_bytes = 9000;
	expected = "250 250 250 452";
	SMALL("", TO("joe") TO("small") TO("smaller"));
	drive_free(d);
}

static void a_letter_larger_than_its_recipients_take_is_552_at_its_end(void **state)
{
	struct drive *d = ready();
	char text[8000];

	(void)state;
	memset(text, 'x', sizeof(text));
	for (size_t i = 100; i < sizeof(text); i += 100)
		memcpy(text + i - 2, "\r\n", 2);
	memcpy(text + sizeof(text) - 2, "\r\n", 2);
	memcpy(text, "\r\n", 2);
	say(d, "MAIL FROM:<a@out.example>\r\n" TO("smaller") "DATA\r\n");
	say_bytes(d, text, sizeof(text));
	starts(say(d, ".\r\n"), "552 5.3.4 Smaller");
	say(d, "MAIL FROM:<a@out.example>\r\n" TO("small") "DATA\r\n");
	say_bytes(d, text, sizeof(text));
	starts(say(d, ".\r\n"), "250 ");
	/* A rule is about what came: as large as announced, and as it lets him have. */
	say(d, "MAIL FROM:<a@out.example> SIZE=5000\r\n" TO("smaller") "DATA\r\n");
	say_bytes(d, text, 4998);
	starts(say(d, "\r\n.\r\n"), "250 ");
	say(d, "MAIL FROM:<a@out.example> SIZE=5000\r\n" TO("smaller") "DATA\r\n");
	say_bytes(d, text, 4998);
	starts(say(d, "x\r\n.\r\n"), "552 5.3.4 Smaller");
	/* With our Received it is larger than what came, and that is what a home would get. */
	say(d, "MAIL FROM:<a@out.example>\r\n" TO("small") "DATA\r\n");
	say_bytes(d, text, sizeof(text));
	say_bytes(d, text, 1998);
	starts(say(d, "\r\n.\r\n"), "552 5.3.4 Letter is larger than this recipient takes");
	say(d, "MAIL FROM:<a@out.example>\r\n" TO("joe") "DATA\r\n");
	say_bytes(d, text, sizeof(text));
	starts(say(d, ".\r\n"), "250 ");
	assert_int_equal(d->letters, 3);
	drive_free(d);
}

static void a_chunk_past_what_the_recipients_take_is_552_and_read_away(void **state)
{
	struct drive *d = ready();
	char text[6000];

	(void)state;
	memset(text, 'x', sizeof(text));
	say(d, "MAIL FROM:<a@out.example>\r\n" TO("smaller") "BDAT 6000 LAST\r\n");
	starts(say_bytes(d, text, sizeof(text)), "552 5.3.4 Smaller");
	say(d, "MAIL FROM:<a@out.example>\r\n" TO("smaller") "BDAT 4000\r\n");
	starts(say_bytes(d, text, 4000), "250 ");
	say(d, "BDAT 1001 LAST\r\n");
	starts(say_bytes(d, text, 1001), "552 5.3.4 Smaller");
	assert_string_equal(codes(say(d, MAIL RCPT "DATA\r\n" LETTER ".\r\n")), "250 250 354 250");
	assert_int_equal(d->letters, 1);
	drive_free(d);
}

static void mail_case_034_a_refused_letter_is_drained_for_a_bounded_time_only(void **state)
{
	struct drive *d = in_data();
	char big[8192];

	(void)state;
	d->conf.size_max_bytes = 4096;
	d->s.t.data.conf.size_max_bytes = 4096;
	memset(big, 'x', sizeof(big));
	for (int i = 0; i < 1000 && d->s.state != SESSION_CLOSING; i++) {
		say_bytes(d, big, sizeof(big));
		d->now_ms += 1000;
		if (d->now_ms >= session_deadline_ms(&d->s))
			session_tick(&d->s, d->now_ms);
	}
	assert_int_equal(d->s.state, SESSION_CLOSING);
	assert_true(d->now_ms - 1000 <= SESSION_DRAIN_MS + 2000);
	drive_free(d);
}

static void mail_case_035_a_recipient_past_the_limit_is_452_and_the_others_stay(void **state)
{
	struct drive *d = ready();
	char line[64];

	(void)state;
	say(d, MAIL);
	for (int i = 0; i < 101; i++) {
		snprintf(line, sizeof(line), "RCPT TO:<u%d@home.example>\r\n", i);
		starts(say(d, line), i < 100 ? "250 " : "452 4.5.3 ");
	}
	say(d, "DATA\r\n" LETTER ".\r\n");
	assert_int_equal(d->letter[0].rcpt_count, 100);
	drive_free(d);
}

/* They did nothing wrong: at the next turn they come in a letter of their own. */
static void recipients_for_another_letter_are_no_errors_of_the_client(void **state)
{
	struct drive *d = ready();
	uint64_t then = d->now_ms;

	(void)state;
	say(d, MAIL TO("joe"));
	for (int i = 0; i < 100; i++)
		starts(say(d, TO("small")), "452 4.5.3 ");
	d->conf.recipients_max = 1;
	for (int i = 0; i < 100; i++)
		starts(say(d, TO("ann")), "452 4.5.3 ");
	assert_int_equal(d->now_ms, then); /* nor does a tarpit hold them */
	assert_string_equal(codes(say(d, "DATA\r\n" LETTER ".\r\n")), "354 250");
	assert_int_equal(d->letter[0].rcpt_count, 1);
	d->full = "4.3.1 Insufficient system storage";
	for (int i = 0; i < 20; i++)
		say(d, MAIL);
	assert_int_equal(d->s.state, SESSION_CLOSING); /* another 452 is one */
	drive_free(d);
}

static void who_logs_in_sends_one_letter_to_all_and_the_least_limit_holds_for_it(void **state)
{
	struct drive *d = ready();
	const char *expected = "250 250 250 250 354";
	char text[6000];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	d->conf.auth_offered = d->conf.auth_in_clear = true;
	starts(say(d, "AUTH PLAIN AGpvZQBzZWNyZXQ=\r\n"), "235 ");
	SMALL("", TO("joe") TO("small") TO("smaller") "DATA\r\n");
	say(d, text);
	starts(say(d, "\r\n.\r\n"), "552 5.3.4 Smaller");
	expected = "250 250 250 354 250";
	SMALL("", TO("smaller") TO("joe") "DATA\r\n" LETTER ".\r\n");
	assert_int_equal(d->letter[0].rcpt_count, 2);
	expected = "250 250 552 250";
	SMALL(" SIZE=5001", TO("joe") TO("smaller") TO("small"));
	drive_free(d);
}

/* One answer for all: whose limit it was decides whom the sender leaves out. */
static void a_letter_too_large_for_one_of_many_is_refused_by_his_name(void **state)
{
	struct drive *d = ready();
	const char *expected = "250 250 250 354";
	char text[6000];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	/* They take the same. */
	SMALL("", TO("smaller1") TO("smaller2") "DATA\r\n");
	say(d, text);
	assert_string_equal(say(d, "\r\n.\r\n"), "552 5.3.4 Smaller ones\r\n");
	d->conf.auth_offered = d->conf.auth_in_clear = true;
	starts(say(d, "AUTH PLAIN AGpvZQBzZWNyZXQ=\r\n"), "235 ");
	expected = "250 250 354";
	SMALL("", TO("smaller1") "DATA\r\n"); /* alone */
	say(d, text);
	assert_string_equal(say(d, "\r\n.\r\n"), "552 5.3.4 Smaller ones\r\n");
	expected = "250 250 250 250 354";
	SMALL("", TO("joe") TO("smaller1") TO("small2") "DATA\r\n");
	say(d, text);
	assert_string_equal(say(d, "\r\n.\r\n"), "552 5.3.4 Smaller ones (for <smaller1@home.example>)\r\n");
	expected = "250 250 250 354";
	SMALL("", TO("smaller1") TO("joe") "DATA\r\n"); /* whoever came last */
	say(d, text);
	assert_string_equal(say(d, "\r\n.\r\n"), "552 5.3.4 Smaller ones (for <smaller1@home.example>)\r\n");
	/* By a chunk, whose reply outlives its letter. */
	expected = "250 250 250";
	SMALL("", TO("joe") TO("smaller1"));
	say(d, "BDAT 6000 LAST\r\n");
	assert_string_equal(say_bytes(d, text, sizeof(text)),
			    "552 5.3.4 Smaller ones (for <smaller1@home.example>)\r\n");
	/* A part of a long one, and nothing but ASCII. */
	expected = "250 250 250 354";
	assert_string_equal(codes(say(d, "MAIL FROM:<a@out.example> SMTPUTF8\r\n" TO("joe")
#define LABEL "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
				      "RCPT TO:<smaller\xc3\xa9@" LABEL "." LABEL ".example>\r\nDATA\r\n")),
			    expected);
	say(d, text);
	starts(say(d, "\r\n.\r\n"), "552 5.3.4 Smaller ones (for <smaller??@" LABEL ".aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...>)\r\n");
	drive_free(d);
}

static void a_recipient_that_the_letter_has_already_is_known_as_such(void **state)
{
	struct drive *d = ready();

	(void)state;
	say(d, MAIL TO("joe") TO("one") TO("alias") TO("ann"));
	assert_int_equal(d->repeats, 0);
	say(d, TO("ann") TO("alias") TO("two"));
	assert_int_equal(d->repeats, 3);
	assert_string_equal(codes(say(d, "RSET\r\n" MAIL TO("ann"))), "250 250 250");
	assert_int_equal(d->repeats, 3);
	drive_free(d);
}

static void mail_case_036_utf8_needs_smtputf8_and_must_be_well_formed(void **state)
{
	struct drive *d = ready();

	(void)state;
	starts(say(d, "MAIL FROM:<j\xc3\xb6@out.example>\r\n"), "553 5.6.7 ");
	starts(say(d, "MAIL FROM:<j\xc3@out.example> SMTPUTF8\r\n"), "553 5.6.7 ");
	starts(say(d, "MAIL FROM:<j\xc0\x80@out.example> SMTPUTF8\r\n"), "553 5.6.7 ");
	starts(say(d, "MAIL FROM:<\"x SMTPUTF8 \xc3\xb6\"@out.example>\r\n"), "553 5.6.7 ");
	starts(say(d, "MAIL FROM:<j\xc3\xb6@out.example> SMTPUTF8\r\n"), "250 ");
	starts(say(d, "RCPT TO:<b\xc3\xb6@home.example>\r\n"), "250 ");
	say(d, "DATA\r\n" LETTER ".\r\n");
	assert_true(d->letter[0].flags & ENV_SMTPUTF8);
	assert_non_null(strstr((char *)d->letter[0].body, "with UTF8SMTP id"));
	drive_free(d);
}

/* Many clients ask for it whatever they send; that alone keeps no letter from a host without it. */
static void who_asks_for_smtputf8_and_needs_it_not_is_not_held_to_it(void **state)
{
	struct drive *d = ready();
	static const char *const needs[] = {
		"MAIL FROM:<j\xc3\xb6@out.example> SMTPUTF8\r\n" RCPT "DATA\r\n" LETTER ".\r\n",
		"MAIL FROM:<j@out.example> SMTPUTF8\r\nRCPT "
		"TO:<b\xc3\xb6@home.example>\r\nDATA\r\n" LETTER ".\r\n",
		"MAIL FROM:<j@out.example> SMTPUTF8\r\n" RCPT
		"DATA\r\nSubject: \xc3\xb6\r\n\r\nx\r\n.\r\n",
	};

	(void)state;
	say(d, "MAIL FROM:<j@out.example> SMTPUTF8 BODY=8BITMIME\r\n" RCPT
	       "DATA\r\nSubject: x\r\n\r\n\xc3\xb6\r\n.\r\n");
	assert_int_equal(d->letters, 1);
	assert_int_equal(d->letter[0].flags & (ENV_SMTPUTF8 | ENV_8BITMIME), ENV_8BITMIME);
	for (int i = 0; i < 3; i++) {
		say(d, needs[i]);
		assert_int_equal(d->letters, i + 2);
		assert_true(d->letter[i + 1].flags & ENV_SMTPUTF8);
	}
	drive_free(d);
}

static void mail_case_037_pipelined_commands_are_answered_in_order_around_a_refusal(void **state)
{
	struct drive *d = ready();

	(void)state;
	for (d->step = 0; d->step < 3; d->step++)
		assert_string_equal(
		    codes(say(d, MAIL RCPT "RCPT TO:<unknown@home.example>\r\nDATA\r\n" LETTER
					   ".\r\nNOOP\r\n")),
		    "250 250 550 354 250 250");
	assert_int_equal(d->letters, 3);
	drive_free(d);
}

static void mail_case_037_answers_that_come_late_keep_the_order(void **state)
{
	struct drive *d = ready();

	(void)state;
	d->late = true;
	assert_string_equal(
	    codes(say(d, MAIL RCPT "RCPT TO:<unknown@home.example>\r\nDATA\r\n" LETTER
				   ".\r\n" MAIL RCPT "RSET\r\n")),
	    "250 250 550 354 250 250 250 250");
	drive_free(d);
}

static void mail_case_039_helo_names_are_checked_and_received_stays_well_formed(void **state)
{
	struct drive *d = drive_new();
	char line[1200];

	(void)state;
	drive_begin(d);
	starts((say(d, ""), say(d, "EHLO [IPv6:2001:db8::1]\r\n")), "250-");
	starts(say(d, "EHLO [192.0.2.1]\r\n"), "250-");
	starts(say(d, "EHLO [2001:db8::1]\r\n"), "501 5.5.2 ");
	starts(say(d, "EHLO [300.1.1.1]\r\n"), "501 5.5.2 ");
	starts(say(d, "EHLO\r\n"), "501 5.5.2 ");
	starts(say(d, "EHLO a b\r\n"), "501 5.5.2 ");
	starts(say(d, "EHLO x)\tfoo\r\n"), "501 5.5.2 ");
	memset(line, 'a', sizeof(line));
	memcpy(line, "EHLO ", 5);
	memcpy(line + 1030, "\r\n", 3);
	starts(say(d, line), "501 5.5.2 ");
	d->conf.helo_tolerant = true;
	starts(say(d, "EHLO my printer (old)\r\n"), "250-");
	assert_string_equal(d->s.helo, "[192.0.2.7]");
	drive_free(d);
}

static void mail_case_040_a_flood_of_rset_and_noop_ends_in_421(void **state)
{
	struct drive *d = ready();
	int n;

	(void)state;
	for (n = 0; n < 10000 && d->s.state != SESSION_CLOSING; n++)
		say(d, n % 2 ? "RSET\r\n" : "NOOP\r\n");
	assert_true(n <= SESSION_IDLE_COMMANDS_MAX + 1);
	starts(d->out, "421 4.7.0 ");
	drive_free(d);
}

static void a_command_that_ends_with_lf_alone_is_not_run(void **state)
{
	struct drive *d = ready();

	(void)state;
	starts(say(d, "MAIL FROM:<a@out.example>\n"), "500 5.5.2 ");
	starts(say(d, "NO\rOP\r\n"), "500 5.5.2 ");
	starts(say_bytes(d, "NO\0OP\r\n", 7), "500 5.5.2 ");
	starts(say(d, RCPT), "503 ");
	drive_free(d);
}

static void an_alias_becomes_its_recipients_and_the_same_address_twice_is_one(void **state)
{
	struct drive *d = ready();

	(void)state;
	say(d, MAIL "RCPT TO:<alias@home.example>\r\n" RCPT RCPT "DATA\r\n" LETTER ".\r\n");
	assert_int_equal(d->letter[0].rcpt_count, 3);
	assert_string_equal(d->letter[0].rcpt[0], "one@home.example");
	assert_string_equal(d->letter[0].orcpt[0], "rfc822;alias@home.example");
	assert_string_equal(d->letter[0].rcpt[2], "b@home.example");
	assert_string_equal(d->letter[0].orcpt[2], "");
	drive_free(d);
}

static void dsn_parameters_reach_the_envelope_where_they_are_offered(void **state)
{
	struct drive *d = drive_new();

	(void)state;
	d->conf.dsn = true;
	drive_begin(d);
	say(d, GREETED);
	assert_non_null(strstr(d->out, "250-DSN\r\n"));
	starts(say(d, "MAIL FROM:<a@out.example> RET=HDRS ENVID=QQ+2B1\r\n"), "250 ");
	starts(say(d, "RCPT TO:<b@home.example> NOTIFY=NEVER,DELAY\r\n"), "501 ");
	starts(say(d, "RCPT TO:<b@home.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;c@d\r\n"),
	       "250 ");
	say(d, "DATA\r\n" LETTER ".\r\n");
	assert_true(d->letter[0].flags & ENV_RET_HDRS);
	assert_string_equal(d->letter[0].orcpt[0], "rfc822;c@d");
	drive_free(d);
}

/* ------------------------------------------------------------------ TLS and AUTH ------------ */

static void mail_case_041_bytes_behind_starttls_close_the_session(void **state)
{
	struct drive *d = ready();

	(void)state;
	starts(say(d, "STARTTLS\r\nMAIL FROM:<evil@out.example>\r\nNOOP\r\n"), "554 5.5.0 ");
	assert_string_equal(codes(d->out), "554");
	assert_int_equal(session_wish(&d->s), SESSION_WANTS_CLOSE);
	assert_int_equal(say_bytes(d, "NOOP\r\n", 6)[0], 0);
	drive_free(d);
}

static void mail_case_043_starttls_with_parameters_twice_or_without_certificate(void **state)
{
	struct drive *d = ready();

	(void)state;
	starts(say(d, "STARTTLS now\r\n"), "501 5.5.4 ");
	starts(say(d, "STARTTLS\r\n"), "220 2.0.0 ");
	assert_int_equal(session_wish(&d->s), SESSION_WANTS_TLS);
	session_tls_done(&d->s, "TLSv1.3 TLS_AES_128_GCM_SHA256", d->now_ms);
	say(d, GREETED);
	assert_null(strstr(d->out, "STARTTLS"));
	starts(say(d, "STARTTLS\r\n"), "503 5.5.1 ");
	drive_free(d);
	d = ready();
	d->conf.tls_offered = false;
	starts(say(d, "STARTTLS\r\n"), "454 4.7.0 ");
	drive_free(d);
}

static void mail_case_044_what_was_said_before_tls_is_forgotten(void **state)
{
	struct drive *d = ready();

	(void)state;
	say(d, MAIL RCPT);
	starts(say(d, "STARTTLS\r\n"), "220 ");
	session_tls_done(&d->s, "TLSv1.3 TLS_AES_128_GCM_SHA256", d->now_ms);
	assert_int_equal(d->s.t.rcpt_count, 0);
	starts(say(d, "DATA\r\n"), "503 ");
	starts(say(d, MAIL), "503 5.5.1 EHLO first");
	say(d, GREETED);
	say(d, MAIL RCPT "DATA\r\n" LETTER ".\r\n");
	assert_non_null(strstr((char *)d->letter[0].body, "with ESMTPS id"));
	assert_non_null(strstr((char *)d->letter[0].body,
			       "(using TLSv1.3 with cipher TLS_AES_128_GCM_SHA256)"));
	drive_free(d);
}

static struct drive *submission(bool tls)
{
	struct drive *d = drive_new();

	d->conf.auth_offered = d->conf.auth_required = true;
	d->conf.complete_header = d->conf.check_from = d->conf.mask_source = true;
	session_begin(&d->s, &d->conf, &drive_ops, d, tls ? "TLSv1.3 X" : NULL, d->now_ms);
	say(d, GREETED);
	return d;
}

#define AUTH_JOE "AUTH PLAIN AGpvZQBzZWNyZXQ=\r\n" /* joe, secret */

static void mail_case_045_auth_in_clear_is_not_offered_and_refused(void **state)
{
	struct drive *d = submission(false);

	(void)state;
	assert_null(strstr(d->out, "AUTH"));
	starts(say(d, AUTH_JOE), "538 5.7.11 ");
	assert_int_equal(d->auths, 0);
	d->conf.auth_in_clear = true;
	say(d, GREETED);
	assert_non_null(strstr(d->out, "250-AUTH PLAIN LOGIN\r\n"));
	drive_free(d);
}

static void mail_case_046_auth_twice_or_inside_a_transaction_is_503(void **state)
{
	struct drive *d = submission(true);

	(void)state;
	starts(say(d, AUTH_JOE), "235 2.7.0 ");
	starts(say(d, AUTH_JOE), "503 5.5.1 ");
	assert_int_equal(d->auths, 1);
	assert_null(strstr(say(d, GREETED), "AUTH"));
	drive_free(d);
	d = drive_new();
	d->conf.auth_offered = d->conf.auth_in_clear = true;
	drive_begin(d);
	say(d, GREETED MAIL);
	starts(say(d, AUTH_JOE), "503 5.5.1 ");
	drive_free(d);
}

static void mail_case_047_a_star_bad_base64_and_overlong_lines_end_the_exchange(void **state)
{
	struct drive *d = submission(true);
	char line[COMMAND_AUTH_MAX + 10];

	(void)state;
	d->conf.errors_max = 0;
	assert_string_equal(say(d, "AUTH PLAIN\r\n"), "334 \r\n");
	starts(say(d, "*\r\n"), "501 5.0.0 ");
	starts(say(d, "AUTH PLAIN !!!!\r\n"), "501 5.5.2 ");
	starts(say(d, "AUTH PLAIN AGpvZQBzZWNyZXQ\r\n"), "501 5.5.2 ");
	starts(say(d, "AUTH PLAIN =\r\n"), "501 5.5.2 ");
	starts(say(d, "AUTH PLAIN AGpvZQ==\r\n"), "501 5.5.2 "); /* one NUL only */
	starts(say(d, "AUTH CRAM-MD5\r\n"), "504 5.5.4 ");
	say(d, "AUTH LOGIN\r\n");
	memset(line, 'A', sizeof(line));
	memcpy(line + COMMAND_AUTH_MAX, "\r\n", 3);
	starts(say(d, line), "500 5.5.6 ");
	starts(say(d, "NOOP\r\n"), "250 ");
	assert_int_equal(d->auths, 0);
	drive_free(d);
}

static void mail_case_047_login_and_plain_both_reach_the_password_check(void **state)
{
	struct drive *d = submission(true);

	(void)state;
	assert_string_equal(say(d, "AUTH LOGIN\r\n"), "334 VXNlcm5hbWU6\r\n");
	assert_string_equal(say(d, "am9l\r\n"), "334 UGFzc3dvcmQ6\r\n");
	starts(say(d, "c2VjcmV0\r\n"), "235 2.7.0 ");
	drive_free(d);
	d = submission(true);
	d->step = 1;
	d->late = true;
	starts(say(d, "AUTH PLAIN\r\nAGpvZQBzZWNyZXQ=\r\n"), "334 \r\n235 2.7.0 ");
	drive_free(d);
	d = submission(true);
	starts(say(d, "AUTH LOGIN am9l\r\n"), "334 UGFzc3dvcmQ6\r\n");
	starts(say(d, "c2VjcmV0\r\n"), "235 2.7.0 ");
	drive_free(d);
}

static void mail_case_048_failures_wait_longer_each_time_and_end_in_421(void **state)
{
	struct drive *d = submission(true);
	uint64_t waited[SESSION_AUTH_FAILURES_MAX];

	(void)state;
	for (int i = 0; i < SESSION_AUTH_FAILURES_MAX; i++) {
		uint64_t before = d->now_ms;

		/* an unknown user and a wrong password wait alike */
		say(d, i % 2 ? "AUTH PLAIN AGpvZQB3cm9uZw==\r\n" : "AUTH PLAIN AG5vYm9keQB4\r\n");
		waited[i] = d->now_ms - before;
	}
	assert_true(waited[0] >= 1000 && waited[1] > waited[0] && waited[2] > waited[1]);
	assert_true(waited[2] <= SESSION_PAUSE_MAX_MS);
	starts(d->out, "421 4.7.0 ");
	drive_free(d);
}

static void mail_case_048_a_withheld_reply_is_not_given_early(void **state)
{
	struct drive *d = submission(true);
	const char *wrong = "AUTH PLAIN AGpvZQB3cm9uZw==\r\n";
	size_t len;

	(void)state;
	session_input(&d->s, (const uint8_t *)wrong, strlen(wrong), d->now_ms);
	session_output(&d->s, &len);
	assert_int_equal(len, 0);
	assert_false(session_takes_input(&d->s));
	session_tick(&d->s, d->now_ms + 999);
	session_output(&d->s, &len);
	assert_int_equal(len, 0);
	session_tick(&d->s, d->now_ms + 1000);
	session_output(&d->s, &len);
	assert_true(len > 0);
	drive_free(d);
}

/* How long the reply to a login waits when its network is told as @strikes failures. */
static uint64_t waits(struct drive *d, uint32_t strikes, enum session_auth result)
{
	uint64_t before = d->now_ms;

	d->late = true;
	drive_collect(d);
	d->out_len = 0;
	session_input(&d->s, (const uint8_t *)AUTH_JOE, strlen(AUTH_JOE), d->now_ms);
	d->s.auth_strikes = strikes;
	session_auth_done(&d->s, result, NULL, 0, d->now_ms);
	d->now_ms = d->s.pause_ms;
	session_tick(&d->s, d->now_ms);
	drive_collect(d);
	return d->now_ms - before;
}

static void mail_case_048_failures_of_a_network_wait_longer_in_a_new_session(void **state)
{
	struct drive *d = submission(true);

	(void)state;
	assert_int_equal(waits(d, 0, SESSION_AUTH_WRONG), 1000);
	starts(d->out, "535 5.7.8 ");
	drive_free(d);
	d = submission(true);
	assert_int_equal(waits(d, 3, SESSION_AUTH_WRONG), 4000);
	drive_free(d);
	d = submission(true);
	assert_int_equal(waits(d, UINT32_MAX, SESSION_AUTH_WRONG), SESSION_PAUSE_MAX_MS);
	drive_free(d);
	d = submission(true);
	assert_int_equal(waits(d, 0, SESSION_AUTH_LIMITED), 1000);
	starts(d->out, "454 4.7.0 ");
	waits(d, 0, SESSION_AUTH_LIMITED);
	waits(d, 0, SESSION_AUTH_LIMITED);
	starts(d->out, "421 4.7.0 ");
	drive_free(d);
}

static void external_is_offered_to_who_has_shown_a_certificate_of_a_login(void **state)
{
	struct drive *d = submission(true);

	(void)state;
	assert_null(strstr(d->out, "EXTERNAL"));
	starts(say(d, "AUTH EXTERNAL =\r\n"), "504 5.5.4 ");
	assert_int_equal(d->auths, 0);
	d->external = "home";
	assert_non_null(strstr(say(d, GREETED), "250-AUTH PLAIN LOGIN EXTERNAL\r\n"));
	drive_free(d);
	/* What is shown is shown inside of TLS. */
	d = submission(false);
	d->external = "home";
	d->conf.auth_in_clear = true;
	assert_non_null(strstr(say(d, GREETED), "250-AUTH PLAIN LOGIN\r\n"));
	starts(say(d, "AUTH EXTERNAL =\r\n"), "504 5.5.4 ");
	drive_free(d);
}

static void external_wants_no_name_or_the_login(void **state)
{
	static const char *const good[] = { "AUTH EXTERNAL =\r\n", "AUTH external SE9NRQ==\r\n",
					    "AUTH EXTERNAL\r\n\r\n",
					    "AUTH EXTERNAL\r\naG9tZQ==\r\n" };

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		struct drive *d = submission(true);

		d->external = "home";
		starts(say(d, good[i]), i < 2 ? "235 2.7.0 " : "334 \r\n235 2.7.0 ");
		assert_true(d->by_certificate);
		assert_string_equal(d->s.auth_user, "home");
		assert_null(strstr(say(d, GREETED), "AUTH"));
		starts(say(d, MAIL), "250 ");
		drive_free(d);
	}
}

static void external_fails_as_a_password_does(void **state)
{
	struct drive *d = submission(true);
	uint64_t at = d->now_ms;

	(void)state;
	d->external = "home";
	starts(say(d, "AUTH EXTERNAL !\r\n"), "501 5.5.2 ");
	starts(say(d, "AUTH EXTERNAL aG9tZQBq\r\n"), "501 5.5.2 "); /* a NUL is in no name */
	starts(say(d, "AUTH EXTERNAL\r\n*\r\n"), "334 \r\n501 5.0.0 ");
	assert_int_equal(d->auths, 0);
	starts(say(d, "AUTH EXTERNAL am9l\r\n"), "535 5.7.8 "); /* joe */
	assert_int_equal(d->auths, 1);
	assert_string_equal(d->s.auth_user, "");
	assert_true(d->now_ms - at >= 1000);
	starts(say(d, MAIL), "530 5.7.0 ");
	starts(say(d, "AUTH EXTERNAL am9l\r\n"), "535 5.7.8 ");
	starts(say(d, "AUTH EXTERNAL am9l\r\n"), "421 4.7.0 ");
	drive_free(d);
	/* A password is still one. */
	d = submission(true);
	d->external = "home";
	starts(say(d, AUTH_JOE), "235 2.7.0 ");
	assert_false(d->by_certificate);
	assert_string_equal(d->s.auth_user, "joe");
	drive_free(d);
}

static void mail_case_049_submission_without_auth_is_530(void **state)
{
	struct drive *d = submission(true);

	(void)state;
	starts(say(d, MAIL), "530 5.7.0 ");
	say(d, AUTH_JOE);
	starts(say(d, MAIL), "250 ");
	drive_free(d);
	d = submission(false);
	d->conf.tls_required = true;
	starts(say(d, MAIL), "530 5.7.0 STARTTLS first");
	drive_free(d);
}

static void a_submission_gets_date_and_message_id_and_hides_its_client(void **state)
{
	struct drive *d = submission(true);

	(void)state;
	say(d, AUTH_JOE MAIL RCPT
	    "DATA\r\nFrom: Joe <joe@home.example>\r\nSubject: x\r\n\r\nhi\r\n.\r\n");
	starts((char *)d->letter[0].body,
	       "Received: by mx.home.example (Postern) with ESMTPSA id ");
	assert_null(strstr((char *)d->letter[0].body, "192.0.2.7"));
	starts(body(d, 0), "From: Joe <joe@home.example>\r\nSubject: x\r\nDate: Sat, 21 Nov 2026 "
			   "23:56:36 +0000\r\nMessage-ID: <");
	assert_non_null(strstr(body(d, 0), "@mx.home.example>\r\n\r\nhi\r\n"));
	say(d, MAIL RCPT
	    "DATA\r\nfrom: joe@home.example\r\nDATE: now\r\nmessage-id: <1@x>\r\n\r\nhi\r\n.\r\n");
	assert_string_equal(
	    body(d, 1), "from: joe@home.example\r\nDATE: now\r\nmessage-id: <1@x>\r\n\r\nhi\r\n");
	drive_free(d);
}

static void a_from_address_of_somebody_else_is_refused_on_submission(void **state)
{
	static const struct {
		const char *from;
		const char *reply;
	} cases[] = {
		{ "From: joe@home.example", "250 " },
		{ "From: \"Boss, the <boss@bank.example>\" <joe@home.example>", "250 " },
		{ "From: joe@home.example (boss@bank.example)", "250 " },
		{ "From: boss@bank.example", "550 5.7.1 " },
		{ "From: Joe <joe@home.example>, Boss <boss@bank.example>", "550 5.7.1 " },
		{ "From: \"joe@home.example\" <boss@bank.example>", "550 5.7.1 " },
		{ "From: all: joe@home.example, boss@bank.example;", "550 5.7.1 " },
		{ "From: joe@home.example\r\nFrom: boss@bank.example", "550 5.7.1 " },
		{ "From:\r\n joe@home.example,\r\n\tboss@bank.example", "550 5.7.1 " },
		{ "From: joe@home.example\r\nfrom : boss@bank.example", "550 5.7.1 " },
		{ "Subject: none", "554 5.6.0 " },
		{ "From: nobody", "554 5.6.0 " },
		{ "From: <joe@home.example", "554 5.6.0 " },
		{ "From: <boss@bank.example> <joe@home.example>", "554 5.6.0 " },
		{ "From: Boss <boss@bank.example> Joe <joe@home.example>", "554 5.6.0 " },
	};
	char text[600];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct drive *d = submission(true);

		say(d, AUTH_JOE MAIL RCPT "DATA\r\n");
		snprintf(text, sizeof(text), "%s\r\n\r\nhi\r\n.\r\n", cases[i].from);
		if (strncmp(say(d, text), cases[i].reply, strlen(cases[i].reply)))
			fail_msg("%s: %s", cases[i].from, d->out);
		drive_free(d);
	}
}

/* ------------------------------------------------------------------ resources --------------- */

static void mail_case_056_slow_bytes_are_closed_and_an_honest_slow_link_passes(void **state)
{
	struct drive *d = in_data();
	char kilo[1024];
	int n;

	(void)state;
	for (n = 0; n < 100 && d->s.state != SESSION_CLOSING; n++) {
		say(d, "x");
		d->now_ms += 240000;
		session_tick(&d->s, d->now_ms);
	}
	assert_true(n <= 2);
	assert_non_null(strstr((drive_collect(d), d->out), "421 4.4.2 "));
	assert_int_equal(d->letters, 0);
	drive_free(d);

	d = in_data();
	say(d, "\r\n");
	memset(kilo, 'x', sizeof(kilo));
	memcpy(kilo + 1022, "\r\n", 2);
	for (n = 0; n < 900; n++) { /* 1 KB in 20 s */
		say_bytes(d, kilo, sizeof(kilo));
		d->now_ms += 7000;
		if (d->now_ms >= session_deadline_ms(&d->s))
			session_tick(&d->s, d->now_ms);
	}
	starts(say(d, ".\r\n"), "250 ");
	drive_free(d);
}

static void mail_case_056_idle_and_absolute_limits_close_with_421(void **state)
{
	struct drive *d = ready();

	(void)state;
	session_tick(&d->s, d->now_ms + 299999);
	assert_int_equal(d->s.state, SESSION_READY);
	session_tick(&d->s, d->now_ms + 300000);
	drive_collect(d);
	assert_non_null(strstr(d->out, "421 4.4.2 Idle"));
	drive_free(d);
	d = ready();
	for (int i = 0; i < 100 && d->s.state != SESSION_CLOSING; i++) {
		d->now_ms += 200000;
		say(d, "NOOP\r\n");
		session_tick(&d->s, d->now_ms);
	}
	assert_int_equal(d->s.state, SESSION_CLOSING);
	assert_true(d->now_ms < 8000000);
	drive_free(d);
}

static void mail_case_057_a_full_queue_is_452_at_mail_and_after_the_dot(void **state)
{
	struct drive *d = ready();

	(void)state;
	d->full = "4.3.1 Insufficient system storage";
	starts(say(d, MAIL), "452 4.3.1 ");
	d->full = NULL;
	d->stored = (struct msg_q_stored){ 452, "4.3.1 Insufficient system storage", 0 };
	starts((say(d, MAIL RCPT "DATA\r\n"), say(d, LETTER ".\r\n")), "452 4.3.1 ");
	d->stored.code = 0;
	starts((say(d, MAIL RCPT "DATA\r\n"), say(d, LETTER ".\r\n")), "250 ");
	drive_free(d);
}

static void
mail_case_057_a_letter_refused_by_the_queue_in_its_middle_is_452_at_its_end(void **state)
{
	struct drive *d = in_data();
	struct msg_q_stored full = { 452, "4.3.1 Insufficient system storage", 0 };
	char kilo[1024];

	(void)state;
	say(d, "\r\n");
	memset(kilo, 'x', sizeof(kilo));
	memcpy(kilo + 1022, "\r\n", 2);
	for (int i = 0; i < 300; i++) {
		if (i == 200)
			session_stored(&d->s, &full, d->now_ms);
		assert_string_equal(say_bytes(d, kilo, sizeof(kilo)), "");
	}
	starts(say(d, ".\r\nNOOP\r\n"), "452 4.3.1 ");
	assert_int_equal(d->letters, 0);
	assert_int_equal(d->aborts, 0); /* the queue knows */
	starts(say(d, MAIL), "250 ");
	drive_free(d);
}

static void mail_case_017_a_connection_lost_before_the_dot_leaves_nothing(void **state)
{
	struct drive *d = in_data();
	static char big[200 * 1024];

	(void)state;
	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = i % 70 == 68 ? '\r' : i % 70 == 69 ? '\n' : 'x';
	say_bytes(d, big, sizeof(big));
	assert_true(d->stream_len > 0);
	session_eof(&d->s);
	assert_int_equal(d->aborts, 1);
	assert_int_equal(d->letters, 0);
	drive_free(d);
}

static void mail_case_018_a_connection_lost_after_the_dot_keeps_the_letter(void **state)
{
	struct drive *d = in_data();

	(void)state;
	d->queue_holds = true;
	say(d, LETTER ".\r\n");
	session_eof(&d->s);
	assert_int_equal(d->letters, 1);
	assert_int_equal(d->aborts, 0);
	assert_int_equal(d->s.wait, WAIT_STORED);
	drive_free(d);
}

static void no_250_leaves_before_the_queue_has_stored(void **state)
{
	struct drive *d = in_data();

	(void)state;
	d->queue_holds = true;
	assert_string_equal(say(d, LETTER ".\r\nNOOP\r\n"), "");
	assert_int_equal(d->letters, 1);
	d->queue_holds = false;
	drive_stored(d);
	starts(say(d, ""), "250 2.0.0 queued");
	drive_free(d);
}

static void a_promise_for_half_a_letter_is_not_believed(void **state)
{
	struct drive *d = in_data();
	struct msg_q_stored yes = { 250, "2.0.0 queued", 0 };

	(void)state;
	say(d, "Subject: x\r\n\r\nhalf\r\n");
	session_stored(&d->s, &yes, d->now_ms);
	assert_string_equal(say(d, "rest\r\n"), "");
	starts(say(d, ".\r\n"), "250 ");
	assert_int_equal(d->letters, 1);
	assert_string_equal(body(d, 0), "Subject: x\r\n\r\nhalf\r\nrest\r\n");
	drive_free(d);
}

static void a_large_letter_streams_within_its_credit_and_memory_stays_bounded(void **state)
{
	struct drive *d = drive_new();
	static uint8_t big[400 * 1024];
	size_t took;

	(void)state;
	d->late = true;
	d->queue_holds = true;
	drive_begin(d);
	say(d, GREETED MAIL RCPT "DATA\r\n\r\n");
	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = i % 70 == 68 ? '\r' : i % 70 == 69 ? '\n' : (uint8_t)('a' + i % 23);
	memcpy(big + sizeof(big) - 2, "\r\n", 2);
	took = drive_bytes(d, big, sizeof(big));
	/* 64 KiB under way and at most 64 KiB here; then the client waits. */
	assert_true(took < 140 * 1024);
	assert_false(session_takes_input(&d->s));
	assert_true(d->s.t.body_cap <= 128 * 1024);
	d->queue_holds = false;
	while (took < sizeof(big)) {
		assert_true(drive_answer(d));
		took += drive_bytes(d, big + took, sizeof(big) - took);
		assert_true(d->s.t.body_cap <= 128 * 1024);
	}
	d->out_len = 0;
	starts(say(d, ".\r\n"), "250 ");
	assert_true(d->letter[0].streamed);
	assert_memory_equal(d->letter[0].body + d->letter[0].body_len - sizeof(big), big,
			    sizeof(big));
	drive_free(d);
}

static void mail_case_060_shutdown_says_421_but_lets_a_whole_letter_finish(void **state)
{
	struct drive *d = in_data();

	(void)state;
	d->queue_holds = true;
	say(d, LETTER ".\r\n");
	assert_false(session_shutdown(&d->s, d->now_ms));
	d->queue_holds = false;
	drive_stored(d);
	starts(say(d, ""), "250 ");
	assert_true(session_shutdown(&d->s, d->now_ms));
	assert_string_equal(codes(say(d, "")), "250 421");
	drive_free(d);
	d = in_data();
	d->out_len = 0;
	assert_true(session_shutdown(&d->s, d->now_ms));
	starts(say(d, ""), "421 4.3.2 ");
	assert_int_equal(d->letters, 0);
	drive_free(d);
}

static void a_client_that_reads_no_replies_is_read_no_further(void **state)
{
	struct drive *d = ready();
	size_t took = 0;

	(void)state;
	d->conf.errors_max = 0;
	for (int i = 0; i < 100000 && session_takes_input(&d->s); i++)
		took += session_input(&d->s, (const uint8_t *)"VRFY\r\n", 6, d->now_ms);
	assert_true(took < 100000 * 6);
	assert_true(d->s.out_len <= SESSION_OUT_MAX + 1024);
	drive_free(d);
}

/* ------------------------------------------------------------------ XPOSTERN ---------------- */

#define HOP                                                                                        \
	"MAIL FROM:<a@out.example> XPOSTERN-ID=00112233445566778899aabbccddeeff.17.12 "            \
	"XPOSTERN-CLIENT=[2001:db8::5]:4711 XPOSTERN-HELO=mx.far.example "                         \
	"XPOSTERN-TLS=TLSv1.3+20TLS_AES_128_GCM_SHA256 XPOSTERN-FACTS=verified,new-word\r\n"

static void xpostern_is_offered_and_read_for_a_tunnel_peer_only(void **state)
{
	struct drive *d = drive_new();
	static const uint8_t id[] = { 0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
				      0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff };

	(void)state;
	d->conf.xpostern = true; /* the listener would, but nobody vouches for the client */
	drive_begin(d);
	assert_null(strstr(say(d, GREETED), "XPOSTERN"));
	starts(say(d, HOP), "555 5.5.4 ");
	drive_free(d);

	d = drive_new();
	d->conf.xpostern = true;
	d->conf.peer = "vps";
	drive_begin(d);
	assert_non_null((say(d, ""), strstr(say(d, GREETED), "250-XPOSTERN 1\r\n")));
	starts(say(d, HOP), "250 ");
	d->stored = (struct msg_q_stored){ 250, "2.0.0 already have it", 1 };
	starts((say(d, RCPT "DATA\r\n"), say(d, LETTER ".\r\n")), "250 2.0.0 already have it");
	assert_string_equal(d->letter[0].peer, "vps");
	assert_memory_equal(d->letter[0].peer_id, id, 16);
	assert_int_equal(d->letter[0].flags &
			     (ENV_TUNNEL | ENV_PEER_ID | ENV_VERIFIED | ENV_AUTHENTICATED),
			 ENV_TUNNEL | ENV_PEER_ID | ENV_VERIFIED);
	assert_string_equal(d->letter[0].helo, "mx.far.example");
	assert_string_equal(d->letter[0].tls, "TLSv1.3 TLS_AES_128_GCM_SHA256");
	assert_int_equal(d->letter[0].origin.port, 4711);
	drive_free(d);
}

static struct drive *home(void)
{
	struct drive *d = drive_new();

	d->conf.xpostern = d->conf.publishes = true;
	d->conf.peer = "home";
	d->serial = 17;
	drive_begin(d);
	return d;
}

static void a_set_of_recipients_is_taken_from_a_home_only(void **state)
{
	struct drive *d = home();

	(void)state;
	starts((say(d, ""), say(d, "XPUBLISH 5\r\n")), "500 5.5.1 ");
	assert_non_null(strstr(say(d, GREETED), "250-XPOSTERN 1 PUBLISH=17\r\n"));
	starts(say(d, "XPUBLISH 5\r\n"), "354 ");
	starts(say(d, "QUIT\n"), "250 2.0.0 Published"); /* bytes, no commands */
	assert_int_equal(d->publications, 1);
	assert_memory_equal(d->publication, "QUIT\n", 5);
	starts(say(d, "MAIL FROM:<a@out.example>\r\n"), "250 ");
	starts(say(d, "XPUBLISH 5\r\n"), "503 5.5.1 ");
	drive_free(d);

	d = drive_new(); /* a stranger */
	d->conf.xpostern = d->conf.publishes = true;
	drive_begin(d);
	assert_null(strstr((say(d, ""), say(d, GREETED)), "PUBLISH"));
	starts(say(d, "XPUBLISH 5\r\n"), "500 5.5.1 ");
	drive_free(d);

	d = drive_new(); /* a peer whose recipients stand in a file here */
	d->conf.xpostern = true;
	d->conf.peer = "home";
	drive_begin(d);
	assert_non_null(strstr((say(d, ""), say(d, GREETED)), "250-XPOSTERN 1\r\n"));
	starts(say(d, "XPUBLISH 5\r\n"), "500 5.5.1 ");
	drive_free(d);
}

static void a_trace_is_told_to_hops_alone(void **state)
{
	static const char id[] = "000102030405060708090a0b0c0d0e0f";
	struct drive *d = home();
	char line[200];

	(void)state;
	snprintf(line, sizeof(line), "XTRACE %s HOPS=2 MS=7000\r\n", id);
	assert_null(strstr((say(d, ""), say(d, GREETED)), "XTRACE"));
	starts(say(d, line), "500 5.5.1 ");
	drive_free(d);

	d = drive_new();
	d->conf.peer = "home";
	d->conf.traces = true;
	drive_begin(d);
	say(d, "");
	starts(say(d, line), "500 5.5.1 "); /* EHLO offers it */
	assert_non_null(strstr(say(d, GREETED), "250-XTRACE 1\r\n"));
	starts(say(d, line), "550 5.1.1 Nothing");
	assert_int_equal(d->traced.hops, 2);
	assert_int_equal(d->traced.ms, 7000);
	assert_int_equal(d->traced.id[15], 15);
	d->story = "[{\"a\":1}]\n[{\"b\":2}]\n";
	assert_string_equal(say(d, line),
			    "250-[{\"a\":1}]\r\n250-[{\"b\":2}]\r\n250 2.0.0 That is all\r\n");
	d->late = true; /* what is pipelined behind it waits */
	snprintf(line, sizeof(line), "XTRACE %s\r\nNOOP\r\n", id);
	starts(say(d, line), "250-[{\"a\"");
	d->late = false;
	assert_int_equal(d->traces, 3);
	starts(say(d, "XTRACE 0001\r\n"), "501 ");
	starts(say(d, "XTRACE\r\n"), "501 ");
	starts(say(d, "MAIL FROM:<a@out.example>\r\n"), "250 ");
	starts(say(d, line), "503 5.5.1 ");
	assert_int_equal(d->traces, 3);
	drive_free(d);

	d = drive_new(); /* class lan: after TLS */
	d->conf.traces = d->conf.traces_by_tls = d->conf.tls_offered = true;
	drive_begin(d);
	assert_null(strstr((say(d, ""), say(d, GREETED)), "XTRACE"));
	starts(say(d, line), "500 5.5.1 ");
	say(d, "STARTTLS\r\n");
	session_tls_done(&d->s, "TLSv1.3 X", d->now_ms);
	assert_non_null(strstr(say(d, GREETED), "250-XTRACE 1\r\n"));
	starts(say(d, line), "550 ");
	drive_free(d);
}

/* Longer than any other reply, from the first byte of output on. */
static void a_trace_is_told_whole_with_the_longest_lines(void **state)
{
	static const char ask[] = "XTRACE 000102030405060708090a0b0c0d0e0f\r\n";
	char story[20 * (STORY_LINE_MAX + 1) + 1], *at = story;
	struct drive *d = drive_new();
	const char *p;

	(void)state;
	for (int i = 0; i < 20; i++) {
		memset(at, 'a' + i, STORY_LINE_MAX);
		at[STORY_LINE_MAX] = '\n';
		at += STORY_LINE_MAX + 1;
	}
	*at = 0;
	d->conf.peer = "home";
	d->conf.traces = true;
	drive_begin(d);
	say(d, "");
	say(d, GREETED);
	d->story = story;
	p = say(d, ask);
	for (int i = 0; i < 20; i++) {
		assert_memory_equal(p, "250-", 4);
		assert_memory_equal(p + 4, story + i * (STORY_LINE_MAX + 1), STORY_LINE_MAX);
		p += 4 + STORY_LINE_MAX;
		assert_memory_equal(p, "\r\n", 2);
		p += 2;
	}
	assert_string_equal(p, "250 2.0.0 That is all\r\n");
	/* One that no story has: no answer is better than one with a hole. */
	memset(story, 'x', 2 * SESSION_LINE_MAX);
	assert_string_equal(say(d, ask), "");
	assert_int_equal(session_wish(&d->s), SESSION_WANTS_CLOSE);
	drive_free(d);
}

static void a_set_that_may_not_come_is_refused_before_its_bytes(void **state)
{
	struct drive *d = home();

	(void)state;
	say(d, "");
	say(d, GREETED);
	starts(say(d, "XPUBLISH\r\n"), "501 ");
	starts(say(d, "XPUBLISH 0\r\n"), "501 ");
	starts(say(d, "XPUBLISH 5 LAST\r\n"), "501 ");
	starts(say(d, "XPUBLISH 18446744073709551620\r\n"), "501 ");
	starts(say(d, "XPUBLISH 1048577\r\n"), "552 ");
	d->may_not = "4.3.2 Another set is under way";
	starts(say(d, "XPUBLISH 5\r\n"), "450 4.3.2 ");
	d->may_not = NULL;
	d->publish_code = 451;
	starts(say(d, "XPUBLISH 5\r\n"), "354 ");
	starts(say(d, "12345"), "451 ");
	starts(say(d, "NOOP\r\n"), "250 ");
	drive_free(d);
}

static void a_set_may_come_in_pieces_and_slowly_but_not_for_ever(void **state)
{
	struct drive *d = home();

	(void)state;
	d->step = 1;
	d->late = true;
	say(d, "");
	say(d, GREETED);
	starts(say(d, "XPUBLISH 9000\r\n"), "354 ");
	say(d, "#recipients");
	d->now_ms += SESSION_RATE_MS + 1;
	session_tick(&d->s, d->now_ms);
	starts(say(d, ""), "421 4.4.2 Too slow");
	assert_int_equal(d->publications, 0);
	drive_free(d);
}

static void xpostern_parameters_read_back_what_was_written(void **state)
{
	struct envelope e = { .flags =
				  ENV_AUTHENTICATED | ENV_VERIFIED | ENV_PROBE | ENV_PROBE_MAILBOX,
			      .helo = "we+ird=h\xc3\xa9lo",
			      .tls = "TLSv1.3 X" };
	struct drive *d = drive_new();
	char params[XPOSTERN_PARAMS_MAX], line[XPOSTERN_PARAMS_MAX + 64];

	(void)state;
	for (size_t i = 0; i < 16; i++)
		e.probe[i] = (uint8_t) ~(e.id[i] = (uint8_t)(i * 7));
	endpoint_parse("198.51.100.9:25", 0, &e.client);
	assert_int_equal(xpostern_params(&e, UINT64_MAX, 5, params), 0);
	d->conf.xpostern = true;
	d->conf.peer = "home";
	drive_begin(d);
	say(d, GREETED);
	snprintf(line, sizeof(line), "MAIL FROM:<>%s\r\n", params);
	starts(say(d, line), "250 ");
	assert_int_equal(d->s.t.mail.hop.seq, UINT64_MAX);
	assert_int_equal(d->s.t.mail.hop.low, 5);
	assert_memory_equal(d->s.t.mail.hop.id, e.id, 16);
	assert_true(endpoint_eq(&d->s.t.mail.hop.client, &e.client));
	assert_string_equal(d->s.t.mail.hop.helo, e.helo);
	assert_int_equal(d->s.t.mail.hop.flags, e.flags);
	assert_memory_equal(d->s.t.mail.hop.probe, e.probe, 16);
	drive_free(d);
}

/* The word of a newer peer is none that we know, and so is a token that is none. */
static void a_probe_without_a_whole_token_is_an_ordinary_letter(void **state)
{
	static const char *const words[] = { "probe", "probe-",
					     "probe-00112233445566778899aabbccddee",
					     "probe-00112233445566778899aabbccddeexx",
					     "probe-00112233445566778899aabbccddeeff00" };
	struct mail_hop hop;

	(void)state;
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		memset(&hop, 0, sizeof(hop));
		assert_int_equal(xpostern_read(xpostern_key("XPOSTERN-FACTS", 14), words[i],
					       strlen(words[i]), &hop),
				 0);
		assert_int_equal(hop.flags, 0);
	}
}

static void xpostern_values_that_are_none_are_refused(void **state)
{
	static const char *const bad[] = {
		"XPOSTERN-ID=00112233445566778899aabbccddeeff",
		"XPOSTERN-ID=00112233445566778899aabbccddee.1.1",
		"XPOSTERN-ID=00112233445566778899aabbccddeeff.1.99999999999999999999999",
		"XPOSTERN-ID=00112233445566778899aabbccddeeff.1.1x",
		"XPOSTERN-ID",
		"XPOSTERN-HELO=x", /* facts without an id */
		"XPOSTERN-ID=00112233445566778899aabbccddeeff.1.1 XPOSTERN-CLIENT=nobody",
		"XPOSTERN-ID=00112233445566778899aabbccddeeff.1.1 XPOSTERN-HELO=a+0Ab",
		"XPOSTERN-ID=00112233445566778899aabbccddeeff.1.1 XPOSTERN-HELO=a+",
	};
	struct drive *d = drive_new();
	char line[256];

	(void)state;
	d->conf.xpostern = true;
	d->conf.peer = "home";
	d->conf.errors_max = 0;
	drive_begin(d);
	say(d, GREETED);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		snprintf(line, sizeof(line), "MAIL FROM:<> %s\r\n", bad[i]);
		if (strncmp(say(d, line), "501 5.5.4", 9))
			fail_msg("%s: %s", bad[i], d->out);
	}
	drive_free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_letter_goes_from_banner_to_quit),
		cmocka_unit_test(received_tells_client_protocol_id_and_recipient),
		cmocka_unit_test(
		    mail_case_020_a_line_of_512_octets_is_processed_and_one_past_the_cap_is_discarded),
		cmocka_unit_test(mail_case_021_a_megabyte_without_newline_takes_bounded_memory),
		cmocka_unit_test(mail_case_022_overlong_addresses_are_refused_and_never_cut),
		cmocka_unit_test(mail_case_023_unknown_commands_end_in_421),
		cmocka_unit_test(mail_case_024_commands_out_of_order_are_503),
		cmocka_unit_test(mail_case_025_mail_before_ehlo_is_503),
		cmocka_unit_test(who_lives_here_is_told_to_nobody),
		cmocka_unit_test(mail_case_026_ehlo_in_a_transaction_resets_it),
		cmocka_unit_test(mail_case_027_the_null_sender_is_accepted_with_many_recipients),
		cmocka_unit_test(mail_case_028_postmaster_without_domain_is_accepted),
		cmocka_unit_test(mail_case_029_a_source_route_is_ignored),
		cmocka_unit_test(mail_case_031_a_quoted_local_part_leaves_as_it_came),
		cmocka_unit_test(mail_case_032_shell_characters_and_controls_never_enter),
		cmocka_unit_test(mail_case_033_unknown_and_repeated_parameters_are_refused),
		cmocka_unit_test(
		    mail_case_034_size_over_the_limit_is_552_at_mail_and_a_lie_is_552_at_the_end),
		cmocka_unit_test(a_recipient_that_takes_less_than_was_announced_is_552),
		cmocka_unit_test(recipients_that_take_letters_of_other_sizes_get_one_of_their_own),
		cmocka_unit_test(a_letter_larger_than_its_recipients_take_is_552_at_its_end),
		cmocka_unit_test(a_chunk_past_what_the_recipients_take_is_552_and_read_away),
		cmocka_unit_test(mail_case_034_a_refused_letter_is_drained_for_a_bounded_time_only),
		cmocka_unit_test(
		    mail_case_035_a_recipient_past_the_limit_is_452_and_the_others_stay),
		cmocka_unit_test(who_logs_in_sends_one_letter_to_all_and_the_least_limit_holds_for_it),
		cmocka_unit_test(recipients_for_another_letter_are_no_errors_of_the_client),
		cmocka_unit_test(a_letter_too_large_for_one_of_many_is_refused_by_his_name),
		cmocka_unit_test(a_recipient_that_the_letter_has_already_is_known_as_such),
		cmocka_unit_test(mail_case_036_utf8_needs_smtputf8_and_must_be_well_formed),
		cmocka_unit_test(who_asks_for_smtputf8_and_needs_it_not_is_not_held_to_it),
		cmocka_unit_test(
		    mail_case_037_pipelined_commands_are_answered_in_order_around_a_refusal),
		cmocka_unit_test(mail_case_037_answers_that_come_late_keep_the_order),
		cmocka_unit_test(
		    mail_case_039_helo_names_are_checked_and_received_stays_well_formed),
		cmocka_unit_test(mail_case_040_a_flood_of_rset_and_noop_ends_in_421),
		cmocka_unit_test(a_command_that_ends_with_lf_alone_is_not_run),
		cmocka_unit_test(an_alias_becomes_its_recipients_and_the_same_address_twice_is_one),
		cmocka_unit_test(dsn_parameters_reach_the_envelope_where_they_are_offered),
		cmocka_unit_test(mail_case_041_bytes_behind_starttls_close_the_session),
		cmocka_unit_test(
		    mail_case_043_starttls_with_parameters_twice_or_without_certificate),
		cmocka_unit_test(mail_case_044_what_was_said_before_tls_is_forgotten),
		cmocka_unit_test(mail_case_045_auth_in_clear_is_not_offered_and_refused),
		cmocka_unit_test(mail_case_046_auth_twice_or_inside_a_transaction_is_503),
		cmocka_unit_test(
		    mail_case_047_a_star_bad_base64_and_overlong_lines_end_the_exchange),
		cmocka_unit_test(mail_case_047_login_and_plain_both_reach_the_password_check),
		cmocka_unit_test(mail_case_048_failures_wait_longer_each_time_and_end_in_421),
		cmocka_unit_test(mail_case_048_failures_of_a_network_wait_longer_in_a_new_session),
		cmocka_unit_test(mail_case_048_a_withheld_reply_is_not_given_early),
		cmocka_unit_test(external_is_offered_to_who_has_shown_a_certificate_of_a_login),
		cmocka_unit_test(external_wants_no_name_or_the_login),
		cmocka_unit_test(external_fails_as_a_password_does),
		cmocka_unit_test(mail_case_049_submission_without_auth_is_530),
		cmocka_unit_test(a_submission_gets_date_and_message_id_and_hides_its_client),
		cmocka_unit_test(a_from_address_of_somebody_else_is_refused_on_submission),
		cmocka_unit_test(
		    mail_case_056_slow_bytes_are_closed_and_an_honest_slow_link_passes),
		cmocka_unit_test(mail_case_056_idle_and_absolute_limits_close_with_421),
		cmocka_unit_test(mail_case_057_a_full_queue_is_452_at_mail_and_after_the_dot),
		cmocka_unit_test(
		    mail_case_057_a_letter_refused_by_the_queue_in_its_middle_is_452_at_its_end),
		cmocka_unit_test(mail_case_017_a_connection_lost_before_the_dot_leaves_nothing),
		cmocka_unit_test(mail_case_018_a_connection_lost_after_the_dot_keeps_the_letter),
		cmocka_unit_test(no_250_leaves_before_the_queue_has_stored),
		cmocka_unit_test(a_promise_for_half_a_letter_is_not_believed),
		cmocka_unit_test(a_large_letter_streams_within_its_credit_and_memory_stays_bounded),
		cmocka_unit_test(mail_case_060_shutdown_says_421_but_lets_a_whole_letter_finish),
		cmocka_unit_test(a_client_that_reads_no_replies_is_read_no_further),
		cmocka_unit_test(xpostern_is_offered_and_read_for_a_tunnel_peer_only),
		cmocka_unit_test(a_set_of_recipients_is_taken_from_a_home_only),
		cmocka_unit_test(a_trace_is_told_to_hops_alone),
		cmocka_unit_test(a_trace_is_told_whole_with_the_longest_lines),
		cmocka_unit_test(a_set_that_may_not_come_is_refused_before_its_bytes),
		cmocka_unit_test(a_set_may_come_in_pieces_and_slowly_but_not_for_ever),
		cmocka_unit_test(xpostern_parameters_read_back_what_was_written),
		cmocka_unit_test(xpostern_values_that_are_none_are_refused),
		cmocka_unit_test(a_probe_without_a_whole_token_is_an_ordinary_letter),
	};

	log_setup("test", LOG_LVL_ERR, 2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
