/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The letter itself: its end, its dots, its bounds, its header. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "smtp_words.h"

/* Would-be ends of DATA, each after text and before commands that must not run. */
static const struct {
	const char *bytes;
	size_t len;
	bool bare; /* refused with 550 5.5.2 and 421; else 554 5.6.0 and the session goes on */
} ends[] = {
#define END(s, bare)                                                                               \
	{                                                                                          \
		s, sizeof(s) - 1, bare                                                             \
	}
	END("\n.\n", true),   /* case 1 */
	END("\n.\r\n", true), /* case 2 */
	END("\r\n.\n", true), /* case 3 */
	END("\r.\r", true),   /* case 4 */
	END("\r.\r\n", true),	    END("\r\n.\r", true),
	END("\r\r\n.\r\r\n", true), /* case 5 */
	END("\r\n.\r\r\n", true),   END("\r\r\n.\r\n\r", true),
	END("\n\r.\n\r", true),	    END("\r.\n", true),
	END("\n.\r", true),	    END("\n\n.\n\n", true),
	END("\r\n\n.\r\n", true),   END("\r\n.\n\r\n", true),
	END("\n.\r\n\n", true),	    END("\r\n\r.\r\n", true),
	END("\n.\n.\r\n", true),    END("\r\n..\n", true),
	END("\r\n.\x0b\n", true),   END("\r\n.\r\0\n", true),
	END("\r\0\n.\r\0\n", true), END("\r\n\0.\r\n", false), /* case 6 */
	END("\r\n.\0\r\n", false),  END("\0\r\n", false),
	END("\r\n. \r\n", false), /* no fault at all: text, see below */
};
#define ENDS (sizeof(ends) / sizeof(*ends))

#define SMUGGLED                                                                                   \
	"MAIL FROM:<evil@out.example>\r\nRCPT TO:<b@home.example>\r\nDATA\r\nSubject: "            \
	"smuggled\r\n\r\n"

/* The whole flight: an honest letter with one of @ends in it, then NOOP behind the true end. */
static size_t flight(size_t i, char *out)
{
	size_t n = 0;

#define ADD(s, l) (memcpy(out + n, s, l), n += (l))
	ADD("Subject: x\r\n\r\ntext", 18);
	ADD(ends[i].bytes, ends[i].len);
	ADD(SMUGGLED, strlen(SMUGGLED));
	ADD("\r\n.\r\nNOOP\r\nNOOP\r\n", 17);
#undef ADD
	return n;
}

static void check_flight(size_t i, size_t first, size_t step)
{
	struct drive *d = in_data();
	char bytes[512];
	size_t n = flight(i, bytes);
	bool text = !memcmp(ends[i].bytes, "\r\n. \r\n", 6);
	const char *want = text ? "250 250 250" : ends[i].bare ? "550 421" : "554 250 250";

	d->first = first;
	d->step = step;
	say_bytes(d, bytes, n);
	if (strcmp(codes(d->out), want) || d->letters != text ||
	    (session_wish(&d->s) == SESSION_WANTS_CLOSE) != ends[i].bare)
		fail_msg("end %zu, first piece %zu, step %zu: \"%s\"", i, first, step, d->out);
	if (ends[i].bare)
		starts(d->out, "550 5.5.2 ");
	drive_free(d);
}

static void mail_case_001_to_007_only_crlf_dot_crlf_ends_data_whatever_the_pieces(void **state)
{
	char bytes[512];

	(void)state;
	for (size_t i = 0; i < ENDS; i++) {
		size_t n = flight(i, bytes);

		check_flight(i, 0, 0);
		check_flight(i, 0, 1);
		check_flight(i, 0, 2);
		for (size_t first = 1; first < n; first++)
			check_flight(i, first, 0);
	}
}

static void mail_case_007_nothing_runs_after_a_refused_bare_newline(void **state)
{
	struct drive *d = in_data();

	(void)state;
	say(d, "a\nb\r\n.\r\n");
	assert_string_equal(codes(d->out), "550 421");
	assert_int_equal(d->s.state, SESSION_CLOSING);
	assert_false(session_takes_input(&d->s));
	assert_int_equal(drive_bytes(d, MAIL, strlen(MAIL)), 0);
	drive_free(d);
}

static void mail_case_008_a_body_with_a_bare_newline_never_reaches_the_queue(void **state)
{
	static const char *const bad[] = { "a\nb", "a\rb", "\n", "\r", "a\r\r\nb" };
	char text[64];

	(void)state;
	for (size_t i = 0; i < 5; i++) {
		struct drive *d = in_data();

		snprintf(text, sizeof(text), "S: x\r\n\r\n%s\r\n.\r\n", bad[i]);
		starts(say(d, text), "550 5.5.2 ");
		assert_int_equal(d->letters, 0);
		drive_free(d);
	}
}

static void mail_case_009_the_true_end_is_found_once_at_every_split(void **state)
{
	const char *all = LETTER ".\r\n" MAIL RCPT "DATA\r\n" LETTER ".\r\n";

	(void)state;
	for (size_t first = 0; first < strlen(all); first++) {
		struct drive *d = in_data();

		d->first = first;
		assert_string_equal(codes(say(d, all)), "250 250 250 354 250");
		assert_int_equal(d->letters, 2);
		assert_string_equal(body(d, 0), LETTER);
		assert_string_equal(body(d, 1), LETTER);
		drive_free(d);
	}
}

static void mail_case_010_dots_are_taken_off_byte_for_byte_at_every_split(void **state)
{
	static const char sent[] =
	    "..first: x\r\n\r\n..\r\n...\r\n.x\r\nx.\r\n..x..\r\n. \r\n.\t.\r\n\r\n";
	static const char want[] =
	    ".first: x\r\n\r\n.\r\n..\r\nx\r\nx.\r\n.x..\r\n \r\n\t.\r\n\r\n";
	char all[sizeof(sent) + 8];

	(void)state;
	snprintf(all, sizeof(all), "%s.\r\n", sent);
	for (size_t first = 0; first < strlen(all); first++) {
		for (size_t step = 0; step < 4; step++) {
			struct drive *d = in_data();

			d->first = first;
			d->step = step;
			starts(say(d, all), "250 ");
			assert_string_equal(body(d, 0), want);
			drive_free(d);
		}
	}
}

static void a_bare_newline_ends_the_session_whatever_else_is_wrong(void **state)
{
	(void)state;
	for (size_t step = 0; step < 3; step++) {
		struct drive *d = in_data();

		d->step = step;
		d->s.t.data.conf.size_max_bytes = 50;
		assert_string_equal(
		    codes(say(
			d, "S: x\r\n\r\n"
			   "0123456789012345678901234567890123456789012345678901234567890123456789"
			   "\r\nx\ny\r\n.\r\nNOOP\r\n")),
		    "550 421");
		drive_free(d);
	}
}

static void mail_case_012_a_letter_without_a_last_crlf_is_stored_as_it_is_and_noted(void **state)
{
	struct drive *d = ready();

	(void)state;
	assert_string_equal(codes(say(d, MAIL RCPT "BDAT 14 LAST\r\nS: x\r\n\r\nhello")),
			    "250 250");
	starts(say(d, "!"), "250 ");
	assert_string_equal(body(d, 0), "S: x\r\n\r\nhello!");
	assert_true(d->letter[0].flags & ENV_NO_FINAL_CRLF);
	drive_free(d);
	d = in_data();
	say(d, LETTER ".\r\n");
	assert_false(d->letter[0].flags & ENV_NO_FINAL_CRLF);
	drive_free(d);
}

static void long_line(struct drive *d, size_t octets)
{
	char *line = malloc(octets);

	memset(line, 'x', octets);
	memcpy(line + octets - 2, "\r\n", 2);
	say_bytes(d, line, octets);
	free(line);
}

static void mail_case_013_lines_up_to_the_cap_pass_unmodified(void **state)
{
	static const size_t sizes[] = { 1000, 1001, 4096, DATA_LINE_MAX };

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		struct drive *d = in_data();

		say(d, "\r\n");
		long_line(d, sizes[i]);
		starts(say(d, ".\r\n"), "250 ");
		assert_int_equal(strlen(body(d, 0)), 2 + sizes[i]);
		drive_free(d);
	}
}

static void mail_case_014_an_endless_line_is_refused_in_constant_memory(void **state)
{
	struct drive *d = in_data();
	char junk[8192];

	(void)state;
	d->conf.size_max_bytes = d->s.t.data.conf.size_max_bytes = 0;
	memset(junk, 'x', sizeof(junk));
	for (int i = 0; i < 1000; i++) {
		assert_string_equal(say_bytes(d, junk, sizeof(junk)), "");
		assert_true(d->s.t.body_cap <= 128 * 1024);
	}
	starts(say(d, "\r\n.\r\n"), "554 5.6.0 ");
	starts(say(d, MAIL), "250 ");
	drive_free(d);
}

static void mail_case_015_a_header_of_too_many_bytes_or_lines_is_552(void **state)
{
	struct drive *d = in_data();

	(void)state;
	for (int i = 0; i < DATA_HEADER_LINES_MAX + 10; i++)
		say(d, "X: y\r\n");
	starts(say(d, "\r\nbody\r\n.\r\n"), "552 5.3.4 ");
	drive_free(d);
	d = in_data();
	for (int i = 0; i < 300; i++) {
		say(d, "X: y");
		long_line(d, 1000);
	}
	starts(say(d, "\r\nbody\r\n.\r\n"), "552 5.3.4 ");
	drive_free(d);
	d = in_data(); /* the same lines in the body do no harm */
	say(d, "\r\n");
	for (int i = 0; i < DATA_HEADER_LINES_MAX + 10; i++)
		say(d, "X: y\r\n");
	starts(say(d, ".\r\n"), "250 ");
	drive_free(d);
}

static void mail_case_016_an_empty_letter_is_accepted(void **state)
{
	struct drive *d = in_data();

	(void)state;
	starts(say(d, ".\r\n"), "250 ");
	assert_string_equal(body(d, 0), "");
	drive_free(d);
}

static void mail_case_019_eight_bit_bytes_pass_unchanged_without_8bitmime(void **state)
{
	struct drive *d = in_data();
	char all[600];
	size_t n = (size_t)snprintf(all, sizeof(all), "S: x\r\n\r\n");

	(void)state;
	for (int c = 1; c < 256; c++) {
		if (c != '\r' && c != '\n')
			all[n++] = (char)c;
	}
	memcpy(all + n, "\r\n.\r\n", 6);
	starts(say_bytes(d, all, n + 5), "250 ");
	assert_memory_equal(body(d, 0), all, n + 2);
	assert_false(d->letter[0].flags & ENV_8BITMIME);
	drive_free(d);
}

static void mail_case_075_too_many_received_fields_are_a_loop(void **state)
{
	(void)state;
	for (int count = 49; count <= 50; count++) {
		struct drive *d = in_data();

		for (int i = 0; i < count; i++)
			say(d, i % 2 ? "Received: from x\r\n\tby y\r\n" : "RECEIVED : x\r\n");
		say(d, "X-Received: no\r\n\r\nReceived: in the body\r\n");
		starts(say(d, ".\r\n"), count < 50 ? "250 " : "554 5.4.6 ");
		if (count < 50)
			assert_int_equal(d->letter[0].hops, 50);
		drive_free(d);
	}
}

static void mail_case_094_results_that_bear_our_name_are_cut_and_others_stay(void **state)
{
	static const struct {
		const char *field;
		bool stays;
	} cases[] = {
		{ "Authentication-Results: mx.home.example; spf=pass\r\n", false },
		{ "authentication-results: MX.HOME.example;\r\n spf=pass\r\n\tdkim=pass\r\n",
		  false },
		{ "Authentication-Results:\r\n mx.home.example 1; none\r\n", false },
		{ "Authentication-Results: (c (d) \\) ) mx.home.example; none\r\n", false },
		{ "Authentication-Results: \"mx.home.example\"; none\r\n", false },
		{ "Authentication-Results: \"mx\\.home.example\"; none\r\n", false },
		{ "Authentication-Results : mx.home.example; none\r\n", false },
		{ "Authentication-Results:mx.home.example\r\n", false },
		{ "Authentication-Results: mx.home.example.; none\r\n", false },
		{ "Authentication-Results: mx.home.example(c); none\r\n", false },
		{ "Authentication-Results: other.example; x=mx.home.example\r\n", true },
		{ "Authentication-Results: mx.home.example.evil.example; none\r\n", true },
		{ "Authentication-Results: x.mx.home.example; none\r\n", true },
		{ "Authentication-Results:\r\n", true },
		{ "X-Authentication-Results: mx.home.example; none\r\n", true },
		{ "ARC-Authentication-Results: i=1; mx.home.example; none\r\n", true },
	};
	char all[1024], want[1024];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		for (size_t step = 0; step < 3; step++) {
			struct drive *d = in_data();

			d->step = step;
			snprintf(all, sizeof(all), "A: 1\r\n%sB: 2\r\n 3\r\n\r\n%s.\r\n",
				 cases[i].field, "Authentication-Results: mx.home.example\r\n");
			snprintf(want, sizeof(want), "A: 1\r\n%sB: 2\r\n 3\r\n\r\n%s",
				 cases[i].stays ? cases[i].field : "",
				 "Authentication-Results: mx.home.example\r\n");
			starts(say(d, all), "250 ");
			assert_string_equal(body(d, 0), want);
			drive_free(d);
		}
	}
}

static void a_result_field_whose_name_hides_behind_a_kilobyte_of_comment_is_cut(void **state)
{
	struct drive *d = in_data();
	char text[2048];

	(void)state;
	memset(text, 'c', sizeof(text));
	text[0] = '(';
	memcpy(text + 1500, ")\r\n", 4);
	say(d, "Authentication-Results: ");
	say(d, text);
	say(d, " mx.home.example; spf=pass\r\nSubject: x\r\n\r\n");
	starts(say(d, ".\r\n"), "250 ");
	assert_string_equal(body(d, 0), "Subject: x\r\n\r\n");
	drive_free(d);
}

static void a_header_passes_byte_for_byte_whatever_it_looks_like(void **state)
{
	static const char *const letters[] = {
		"no colon here\r\nSubject: x\r\n\r\nbody\r\n",
		"From joe Sat Nov 21 23:56:36 2026\r\nSubject: x\r\n\r\n",
		" continuation first\r\nX: y\r\n\r\n",
		"X:\r\n \r\n \t\r\nY: z\r\n\r\n",
		": empty name\r\n\r\n",
		"Received\r\nRec: x\r\n\r\nbody",
		"X: y",
		"\r\n",
		"Subject: no body\r\n",
	};
	char all[256];

	(void)state;
	for (size_t i = 0; i < sizeof(letters) / sizeof(*letters); i++) {
		struct drive *d = ready();

		d->step = i % 3;
		snprintf(all, sizeof(all), MAIL RCPT "BDAT %zu LAST\r\n%s", strlen(letters[i]),
			 letters[i]);
		assert_string_equal(codes(say(d, all)), "250 250 250");
		assert_string_equal(body(d, 0), letters[i]);
		drive_free(d);
	}
}

static void a_submission_without_a_header_gets_one_and_an_empty_line(void **state)
{
	struct drive *d = drive_new();

	(void)state;
	d->conf.complete_header = true;
	drive_begin(d);
	say(d, GREETED MAIL RCPT "DATA\r\njust text\r\nmore: text\r\n.\r\n");
	starts(body(d, 0), "Date: Sat, 21 Nov 2026 23:56:36 +0000\r\nMessage-ID: <");
	assert_non_null(strstr(body(d, 0), "@mx.home.example>\r\n\r\njust text\r\nmore: text\r\n"));
	drive_free(d);
}

static void a_normalizing_listener_turns_lf_into_crlf_but_still_ends_at_crlf_dot_crlf(void **state)
{
	struct drive *d = drive_new();

	(void)state;
	d->conf.normalize = true;
	drive_begin(d);
	say(d, GREETED MAIL RCPT "DATA\r\n");
	assert_string_equal(say(d, "S: x\n\nhello\n.\n.x\nend\r\n"), "");
	starts(say(d, ".\r\n"), "250 ");
	assert_string_equal(body(d, 0), "S: x\r\n\r\nhello\r\n.\r\n.x\r\nend\r\n");
	say(d, MAIL RCPT "DATA\r\n");
	assert_string_equal(codes(say(d, "S: x\r\n\r\na\rb\r\n.\r\n")), "550 421");
	drive_free(d);
}

/* ------------------------------------------------------------------ BDAT -------------------- */

static void a_letter_in_chunks_is_one_letter_at_every_split(void **state)
{
	const char *all = MAIL RCPT
	    "BDAT 3\r\nS: BDAT 0\r\nBDAT 5\r\nx\r\n\r\nBDAT 8 last\r\n.\r\n..x\r\nNOOP\r\n";

	(void)state;
	for (size_t first = 0; first < strlen(all); first++) {
		struct drive *d = ready();

		d->first = first;
		assert_string_equal(codes(say(d, all)), "250 250 250 250 250 250 250");
		assert_int_equal(d->letters, 1);
		assert_string_equal(body(d, 0), "S: x\r\n\r\n.\r\n..x\r\n");
		drive_free(d);
	}
}

static void mail_case_083_bdat_0_last_ends_a_letter_with_or_without_chunks(void **state)
{
	struct drive *d = ready();

	(void)state;
	assert_string_equal(codes(say(d, MAIL RCPT "BDAT 0 LAST\r\n")), "250 250 250");
	assert_string_equal(body(d, 0), "");
	assert_string_equal(codes(say(d, MAIL RCPT "BDAT 6\r\nS: x\r\nBDAT 0 LAST\r\n")),
			    "250 250 250 250");
	assert_string_equal(body(d, 1), "S: x\r\n");
	drive_free(d);
}

static void mail_case_084_wrong_or_huge_sizes_are_refused_without_overflow(void **state)
{
	static const struct {
		const char *size;
		const char *codes;
	} cases[] = {
		{ "2147483648", "552" },
		{ "9223372036854775808", "552" },
		{ "18446744073709551615", "501" },
		{ "18446744073709551614", "552" },
		{ "-1", "501" },
		{ "+5", "501" },
		{ "123456789012345678901234567890", "501" },
		{ "5x", "501" },
		{ "", "501" },
		{ "0x10", "501" },
	};
	char line[100];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct drive *d = ready();

		say(d, MAIL RCPT);
		snprintf(line, sizeof(line), "BDAT %s LAST\r\nNOOP\r\nNOOP\r\n", cases[i].size);
		if (strcmp(codes(say(d, line)), cases[i].codes) ||
		    session_wish(&d->s) != SESSION_WANTS_CLOSE)
			fail_msg("%s: %s", cases[i].size, d->out);
		assert_int_equal(d->letters, 0);
		drive_free(d);
	}
}

static void mail_case_084_a_chunk_past_the_size_limit_is_drained_and_552(void **state)
{
	struct drive *d = ready();
	static char big[5000];

	(void)state;
	d->conf.size_max_bytes = 4096;
	memset(big, 'x', sizeof(big));
	say(d, MAIL RCPT "BDAT 5000\r\n");
	starts(say_bytes(d, big, sizeof(big)), "552 5.3.4 ");
	assert_string_equal(codes(say(d, "BDAT 3 LAST\r\nabcNOOP\r\n")), "503 250");
	assert_int_equal(d->letters, 0);
	assert_string_equal(codes(say(d, "RSET\r\n" MAIL RCPT "BDAT 3 LAST\r\nabc")),
			    "250 250 250 250");
	/* two chunks that only together are too large */
	assert_string_equal(codes(say(d, MAIL RCPT "BDAT 6\r\nS: x\r\nBDAT 4091 LAST\r\n")),
			    "250 250 250");
	starts(say_bytes(d, big, 4091), "552 5.3.4 ");
	drive_free(d);
}

static void mail_case_085_bdat_without_a_transaction_is_503_and_its_octets_are_consumed(void **state)
{
	struct drive *d = ready();

	(void)state;
	assert_string_equal(codes(say(d, "BDAT 6\r\nNOOP\r\nNOOP\r\n")), "503 250");
	assert_string_equal(codes(say(d, MAIL "BDAT 6 LAST\r\nNOOP\r\nNOOP\r\n" RCPT)),
			    "250 554 250 503");
	assert_string_equal(codes(say(d, MAIL RCPT "BDAT 6 FOO\r\nNOOP\r\nBDAT 6 LAST\r\nNOOP\r\nNOOP\r\n")),
			    "250 250 501 503 250");
	assert_string_equal(codes(say(d, "DATA\r\n")), "503");
	assert_int_equal(d->letters, 0);
	drive_free(d);
}

static void the_last_chunk_ends_its_letter_also_when_nobody_takes_it(void **state)
{
	struct drive *d = ready();

	(void)state;
	/* A pipelined second letter is a letter of its own: its body never goes under the first's name. */
	assert_string_equal(codes(say(d, MAIL "RCPT TO:<unknown@home.example>\r\n"
					      "BDAT 9 LAST\r\nS: x\r\n\r\na" MAIL RCPT
					      "BDAT 9 LAST\r\nS: y\r\n\r\nb")),
			    "250 550 554 250 250 250");
	assert_int_equal(d->letters, 1);
	drive_free(d);
}

static void mail_case_086_data_after_bdat_is_503(void **state)
{
	struct drive *d = ready();

	(void)state;
	assert_string_equal(codes(say(d, MAIL RCPT "BDAT 6\r\nS: x\r\nDATA\r\n" RCPT)),
			    "250 250 250 503 503");
	starts(say(d, "BDAT 2 LAST\r\n\r\n"), "250 ");
	assert_string_equal(body(d, 0), "S: x\r\n\r\n");
	drive_free(d);
}

static void mail_case_087_dots_stay_inside_bdat_and_bare_newlines_are_refused(void **state)
{
	static const char *const bad[] = { "a\nb\r\n", "a\rb\r\n", "ab\r\n\r", "a\r\n.\n" };
	struct drive *d = ready();
	char text[100];

	(void)state;
	/* 14 octets that end in a CR: its LF would be the next command's */
	assert_string_equal(codes(say(d, MAIL RCPT "BDAT 14 LAST\r\n\r\n.\r\n..\r\n.\r\n.\r\n")),
			    "250 250 550 421");
	drive_free(d);
	d = ready();
	assert_string_equal(codes(say(d, MAIL RCPT "BDAT 15 LAST\r\n\r\n.\r\n..\r\n.\r\n.\r\n")),
			    "250 250 250");
	assert_string_equal(body(d, 0), "\r\n.\r\n..\r\n.\r\n.\r\n");
	drive_free(d);
	for (size_t i = 0; i < 4; i++) {
		d = ready();
		snprintf(text, sizeof(text), MAIL RCPT "BDAT %zu LAST\r\n%sNOOP\r\n",
			 strlen(bad[i]), bad[i]);
		assert_string_equal(codes(say(d, text)), "250 250 550 421");
		assert_int_equal(d->letters, 0);
		drive_free(d);
	}
	/* the CR in one chunk, the LF in the next: a line end */
	d = ready();
	assert_string_equal(
	    codes(say(d, MAIL RCPT "BDAT 6\r\nS: x\r\nBDAT 1\r\n\rBDAT 1 LAST\r\n\n")),
	    "250 250 250 250 250");
	assert_string_equal(body(d, 0), "S: x\r\n\r\n");
	drive_free(d);
}

static void mail_case_088_rset_between_chunks_drops_the_letter(void **state)
{
	struct drive *d = ready();

	(void)state;
	assert_string_equal(
	    codes(say(d, MAIL RCPT "BDAT 6\r\nS: x\r\nRSET\r\nBDAT 2 LAST\r\n\r\n")),
	    "250 250 250 250 503");
	assert_int_equal(d->letters, 0);
	drive_free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    mail_case_001_to_007_only_crlf_dot_crlf_ends_data_whatever_the_pieces),
		cmocka_unit_test(mail_case_007_nothing_runs_after_a_refused_bare_newline),
		cmocka_unit_test(mail_case_008_a_body_with_a_bare_newline_never_reaches_the_queue),
		cmocka_unit_test(mail_case_009_the_true_end_is_found_once_at_every_split),
		cmocka_unit_test(mail_case_010_dots_are_taken_off_byte_for_byte_at_every_split),
		cmocka_unit_test(a_bare_newline_ends_the_session_whatever_else_is_wrong),
		cmocka_unit_test(
		    mail_case_012_a_letter_without_a_last_crlf_is_stored_as_it_is_and_noted),
		cmocka_unit_test(mail_case_013_lines_up_to_the_cap_pass_unmodified),
		cmocka_unit_test(mail_case_014_an_endless_line_is_refused_in_constant_memory),
		cmocka_unit_test(mail_case_015_a_header_of_too_many_bytes_or_lines_is_552),
		cmocka_unit_test(mail_case_016_an_empty_letter_is_accepted),
		cmocka_unit_test(mail_case_019_eight_bit_bytes_pass_unchanged_without_8bitmime),
		cmocka_unit_test(mail_case_075_too_many_received_fields_are_a_loop),
		cmocka_unit_test(mail_case_094_results_that_bear_our_name_are_cut_and_others_stay),
		cmocka_unit_test(
		    a_result_field_whose_name_hides_behind_a_kilobyte_of_comment_is_cut),
		cmocka_unit_test(a_header_passes_byte_for_byte_whatever_it_looks_like),
		cmocka_unit_test(a_submission_without_a_header_gets_one_and_an_empty_line),
		cmocka_unit_test(
		    a_normalizing_listener_turns_lf_into_crlf_but_still_ends_at_crlf_dot_crlf),
		cmocka_unit_test(a_letter_in_chunks_is_one_letter_at_every_split),
		cmocka_unit_test(mail_case_083_bdat_0_last_ends_a_letter_with_or_without_chunks),
		cmocka_unit_test(mail_case_084_wrong_or_huge_sizes_are_refused_without_overflow),
		cmocka_unit_test(mail_case_084_a_chunk_past_the_size_limit_is_drained_and_552),
		cmocka_unit_test(
		    mail_case_085_bdat_without_a_transaction_is_503_and_its_octets_are_consumed),
		cmocka_unit_test(the_last_chunk_ends_its_letter_also_when_nobody_takes_it),
		cmocka_unit_test(mail_case_086_data_after_bdat_is_503),
		cmocka_unit_test(mail_case_087_dots_stay_inside_bdat_and_bare_newlines_are_refused),
		cmocka_unit_test(mail_case_088_rset_between_chunks_drops_the_letter),
	};

	log_setup("test", LOG_LVL_ERR, 2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
