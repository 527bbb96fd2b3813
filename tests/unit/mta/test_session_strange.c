/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Clients that do what no good client does. Case numbers are those of the list of robustness cases. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "smtp_words.h"

/* Without greet-delay: what comes early is answered behind the greeting, and nothing of it is lost. */
static void mail_case_038_who_talks_before_the_greeting_is_answered_behind_it(void **state)
{
	static const char early[] = GREETED MAIL RCPT "DATA\r\n" LETTER ".\r\nQUIT\r\n";

	(void)state;
	for (size_t cut = 1; cut < sizeof(early); cut += 3) {
		struct drive *d = drive_new();

		session_begin(&d->s, &d->conf, &drive_ops, d, NULL, d->now_ms);
		/* The client has sent this when its connection is taken. */
		assert_int_equal(session_input(&d->s, (const uint8_t *)early, cut, d->now_ms), cut);
		drive_collect(d);
		starts(d->out, "220 mx.home.example ESMTP");
		drive_bytes(d, early + cut, sizeof(early) - 1 - cut);
		assert_string_equal(codes(d->out), "220 250 250 250 354 250 221");
		assert_int_equal(d->letters, 1);
		assert_string_equal(body(d, 0), LETTER);
		drive_free(d);
	}
	/* What is no SMTP runs into the limit of errors. */
	{
		struct drive *d = drive_new();

		drive_begin(d);
		for (int i = 0; i < 40 && d->s.state != SESSION_CLOSING; i++)
			drive_bytes(d, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27);
		assert_int_equal(d->s.state, SESSION_CLOSING);
		assert_int_equal(d->letters, 0);
		drive_free(d);
	}
}

static void
mail_case_038_with_a_greet_delay_the_hasty_are_sent_away_and_the_patient_greeted(void **state)
{
	struct drive *d = drive_new();
	size_t len;

	(void)state;
	d->conf.greet_delay_ms = 3000;
	drive_begin(d);
	session_output(&d->s, &len);
	assert_int_equal(len, 0);
	assert_true(session_takes_input(&d->s)); /* or nobody would see that it talks */
	assert_int_equal(session_deadline_ms(&d->s), d->now_ms + 3000);
	session_tick(&d->s, d->now_ms + 2999);
	session_output(&d->s, &len);
	assert_int_equal(len, 0);
	d->now_ms += 3000;
	session_tick(&d->s, d->now_ms);
	assert_string_equal((drive_collect(d), d->out), "220 mx.home.example ESMTP Postern\r\n");
	/* Its own time begins with the greeting. */
	assert_int_equal(session_deadline_ms(&d->s), d->now_ms + d->conf.idle_ms);
	assert_string_equal(codes(say(d, GREETED MAIL RCPT "DATA\r\n" LETTER ".\r\n")),
			    "250 250 250 354 250");
	drive_free(d);

	d = drive_new();
	d->conf.greet_delay_ms = 3000;
	drive_begin(d);
	assert_int_equal(drive_bytes(d, GREETED MAIL RCPT, strlen(GREETED MAIL RCPT)), 0);
	assert_string_equal(codes(d->out), "554");
	assert_int_equal(session_wish(&d->s), SESSION_WANTS_CLOSE);
	session_tick(&d->s, d->now_ms + 3000);
	drive_collect(d);
	assert_null(strstr(d->out, "220"));
	drive_free(d);

	d = drive_new(); /* a server that goes down has no greeting for him */
	d->conf.greet_delay_ms = 3000;
	drive_begin(d);
	assert_true(session_shutdown(&d->s, d->now_ms));
	assert_string_equal(codes((drive_collect(d), d->out)), "421");
	drive_free(d);
}

static void mail_case_022_a_path_of_256_octets_passes_and_none_is_cut(void **state)
{
	char line[1200], local[80], domain[300];

	(void)state;
	memset(local, 'l', sizeof(local));
	for (size_t total = 245; total <= 270; total++) { /* of <...> */
		struct drive *d = ready();
		size_t n = total - 2 - 64 - 1, at = 0;

		while (at < n) { /* labels of up to 60 octets */
			size_t label = n - at > 61 ? 60 : n - at;

			memset(domain + at, 'd', label);
			at += label;
			if (at < n)
				domain[at++] = '.';
		}
		if (domain[n - 1] == '.')
			domain[n - 1] = 'd';
		domain[n] = 0;
		snprintf(line, sizeof(line), "MAIL FROM:<%.64s@%s>\r\n", local, domain);
		say(d, line);
		if (total <= 256)
			starts(d->out, "250 ");
		if (!strncmp(d->out, "250", 3)) {
			assert_string_equal(codes(say(d, RCPT "DATA\r\n" LETTER ".\r\n")),
					    "250 354 250");
			line[strlen(line) - 3] = 0;
			assert_string_equal(d->letter[0].sender, line + strlen("MAIL FROM:<"));
		} else {
			starts(d->out, "501 5.1.7 ");
		}
		drive_free(d);
	}
}

static void mail_case_032_shell_characters_never_enter_as_a_recipient_either(void **state)
{
	static const char *const bad[] = {
		"a;b@home.example",
		"a|b@home.example",
		"a`id`@home.example",
		"a$(id)@home.example",
		"\";id;\"@home.example",
		"a\tb@home.example",
		"a\x1b[2J@home.example",
		"\"a\\\x07z\"@home.example",
		"b@home.example;id",
		"b@home.example\t",
		"../../etc/x@home.example\x01",
		"a\xc2\x9b@home.example",
	};
	struct drive *d = ready();
	char line[128];

	(void)state;
	d->conf.errors_max = 0;
	say(d, MAIL);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		snprintf(line, sizeof(line), "RCPT TO:<%s>\r\n", bad[i]);
		say(d, line);
		if (strncmp(d->out, "501 5.1.3", 9) && strncmp(d->out, "553 5.1.3", 9) &&
		    strncmp(d->out, "553 5.6.7", 9))
			fail_msg("%s: %s", bad[i], d->out);
	}
	starts(say(d, "DATA\r\n"), "554 5.5.1 ");
	drive_free(d);
}

static void mail_case_044_a_login_before_tls_is_forgotten(void **state)
{
	struct drive *d = drive_new();

	(void)state;
	d->conf.auth_offered = d->conf.auth_required = d->conf.auth_in_clear = true;
	drive_begin(d);
	say(d, GREETED "AUTH PLAIN AGpvZQBzZWNyZXQ=\r\n"); /* joe, secret */
	assert_string_equal(d->s.auth_user, "joe");
	starts(say(d, MAIL), "250 ");
	starts(say(d, "RSET\r\nSTARTTLS\r\n"), "250 ");
	session_tls_done(&d->s, "TLSv1.3 TLS_AES_128_GCM_SHA256", d->now_ms);
	assert_string_equal(d->s.auth_user, "");
	assert_int_equal(d->s.sender_count, 0);
	say(d, GREETED);
	assert_non_null(strstr(d->out, "250-AUTH PLAIN LOGIN\r\n"));
	starts(say(d, MAIL), "530 5.7.0 ");
	drive_free(d);
}

/* Two hosts that each believe that the other one has the mailbox. */
static void mail_case_075_two_hosts_that_point_at_each_other_stop_at_the_limit(void **state)
{
	static char text[DRIVE_BODY] = LETTER;
	size_t len = strlen(LETTER);
	int hops = 0;

	(void)state;
	for (bool going = true; going && hops < 100; hops++) {
		struct drive *d = drive_new();

		d->conf.hostname = hops % 2 ? "a.example" : "b.example";
		drive_begin(d);
		say(d, GREETED MAIL RCPT "DATA\r\n");
		drive_bytes(d, text, len);
		say(d, ".\r\n");
		going = d->letters > 0;
		if (going) {
			/* As the relay sends it on: all of it, with the field that was added. */
			starts(d->out, "250 ");
			assert_true(d->letter[0].body_len > len &&
				    d->letter[0].body_len < sizeof(text));
			len = d->letter[0].body_len;
			memcpy(text, d->letter[0].body, len);
			assert_int_equal(d->letter[0].hops, hops + 1);
		} else {
			starts(d->out, "554 5.4.6 ");
		}
		drive_free(d);
	}
	assert_int_equal(hops, 51);
}

static void mail_case_014_a_hundred_megabytes_without_a_line_end_take_no_memory(void **state)
{
	struct drive *d = in_data();
	static char junk[1 << 20];

	(void)state;
	d->conf.size_max_bytes = d->s.t.data.conf.size_max_bytes = 0;
	memset(junk, 'x', sizeof(junk));
	for (int i = 0; i < 100; i++) {
		assert_string_equal(say_bytes(d, junk, sizeof(junk)), "");
		assert_true(d->s.t.body_cap <= 128 * 1024);
		assert_int_equal(d->stream_len, 0);
	}
	starts(say(d, "\r\n.\r\n"), "554 5.6.0 ");
	starts(say(d, MAIL), "250 ");
	drive_free(d);
}

/* Either bound, and what is read of it after that costs nothing but the reading. */
static void mail_case_015_ten_megabytes_of_header_are_552_and_not_kept(void **state)
{
	static char lines[100000 * 6 + 1], folded[10 << 20];

	(void)state;
	for (size_t i = 0; i < 100000; i++)
		memcpy(lines + 6 * i, "X: y\r\n", 6);
	for (size_t i = 0; i < sizeof(folded); i++)
		folded[i] = i % 4096 == 4094   ? '\r'
			    : i % 4096 == 4095 ? '\n'
			    : i % 4096	       ? 'f'
					       : ' ';
	memcpy(folded, "X:", 2); /* one field, of few lines */
	for (int one = 0; one < 2; one++) {
		struct drive *d = in_data();
		const char *p = one ? folded : lines;
		size_t len = one ? sizeof(folded) : sizeof(lines) - 1;

		d->conf.size_max_bytes = d->s.t.data.conf.size_max_bytes = 0;
		for (size_t at = 0; at < len; at += 65536) {
			drive_bytes(d, p + at, len - at < 65536 ? len - at : 65536);
			assert_true(d->s.t.body_cap + d->stream_len <= 512 * 1024);
		}
		starts((say(d, "\r\nbody\r\n.\r\n"), d->out), "552 5.3.4 ");
		assert_int_equal(d->letters, 0);
		assert_string_equal(codes(say(d, MAIL RCPT "DATA\r\n" LETTER ".\r\n")),
				    "250 250 354 250");
		drive_free(d);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    mail_case_014_a_hundred_megabytes_without_a_line_end_take_no_memory),
		cmocka_unit_test(mail_case_015_ten_megabytes_of_header_are_552_and_not_kept),
		cmocka_unit_test(mail_case_022_a_path_of_256_octets_passes_and_none_is_cut),
		cmocka_unit_test(mail_case_032_shell_characters_never_enter_as_a_recipient_either),
		cmocka_unit_test(mail_case_038_who_talks_before_the_greeting_is_answered_behind_it),
		cmocka_unit_test(
		    mail_case_038_with_a_greet_delay_the_hasty_are_sent_away_and_the_patient_greeted),
		cmocka_unit_test(mail_case_044_a_login_before_tls_is_forgotten),
		cmocka_unit_test(
		    mail_case_075_two_hosts_that_point_at_each_other_stop_at_the_limit),
	};

	log_setup("test_session_strange", LOG_LVL_ERR, -1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
