/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What next hops do to us, and what they get from us. Case numbers are those of the robustness cases. */
#include "client_script.h"

/* Up to the 354, with all recipients taken. */
static void into_data(const struct client_conf *cf, struct out_letter *l)
{
	begin(cf);
	greet("250-mx.example\r\n250 PIPELINING\r\n");
	client_letter(&c, l);
	drain();
	sent_len = 0;
	say("250 ok\r\n");
	for (size_t i = 0; i < l->rcpt_count; i++)
		say("250 ok\r\n");
	sent_len = 0;
	say("354 go\r\n");
}

/* As a receiver that ends lines at CRLF alone would store it; false: the end is not where it should be. */
static bool unstuff(const char *p, size_t len, char *out, size_t *n)
{
	bool at_start = true;

	*n = 0;
	for (size_t i = 0; i < len; i++) {
		if (at_start && p[i] == '.') {
			if (i + 3 == len && p[i + 1] == '\r' && p[i + 2] == '\n')
				return true;
			i++;
		}
		at_start = p[i] == '\n' && i && p[i - 1] == '\r';
		out[(*n)++] = p[i];
	}
	return false;
}

static void mail_case_008_whatever_the_queue_holds_no_bare_newline_leaves(void **state)
{
	static const char pieces[] = "\r\n.x\0";
	static char in[100000], out[sizeof(in) * 3];
	struct client_conf cf = conf();
	uint32_t seed = 1;
	size_t n;

	(void)state;
	for (size_t i = 0; i < sizeof(in); i++) {
		seed = seed * 1103515245 + 12345;
		in[i] = pieces[(seed >> 16) % 5];
	}
	for (size_t chunk = 1; chunk < 100000; chunk = chunk * 7 + 2) {
		struct body b = { in, sizeof(in), chunk };
		struct out_letter l = letter(&b, 1);

		step = chunk % 4099;
		into_data(&cf, &l);
		for (size_t i = 0; i < sent_len; i++) {
			if (sent[i] == '\n' && (!i || sent[i - 1] != '\r'))
				fail_msg("chunks of %zu: a bare LF at %zu", chunk, i);
			if (sent[i] == '\r' && (i + 1 == sent_len || sent[i + 1] != '\n'))
				fail_msg("chunks of %zu: a bare CR at %zu", chunk, i);
		}
		assert_true(unstuff(sent, sent_len, out, &n)); /* its end is the only one */
		say("250 ok\r\n");
		assert_int_equal(rcpts[0].result, RCPT_RES_DELIVERED);
		client_clear(&c);
	}
	step = 0;
}

static void mail_case_011_the_receiver_has_the_stored_bytes_over_any_cut(void **state)
{
	/* Longer than the buffer, so that its border falls on each place of these lines. */
	static const char *const lines[] = { ".\r\n", "..\r\n", ".x\r\n",
					     "\r\n",  "x.\r\n", "xxxxxxx\r\n" };
	static char in[3 * CLIENT_OUT_MAX], out[2 * sizeof(in)];
	struct client_conf cf = conf();
	size_t len = 0, n;

	(void)state;
	for (size_t i = 0; len + 16 < sizeof(in); i++) {
		const char *line = lines[(i * i + i / 5) % 6];

		memcpy(in + len, line, strlen(line));
		len += strlen(line);
	}
	for (size_t skip = 0; skip < 60; skip++) {
		struct body b = { in + skip, len - skip, skip % 2 ? 0 : 1 + skip * 37 };
		struct out_letter l;

		if (skip && in[skip - 1] != '\n')
			continue; /* as the queue has it: whole lines */
		l = letter(&b, 1);
		step = skip % 3 ? 1 + skip * 11 : 0;
		into_data(&cf, &l);
		assert_true(unstuff(sent, sent_len, out, &n));
		assert_int_equal(n, b.len);
		assert_memory_equal(out, b.text, n);
		client_clear(&c);
	}
	step = 0;
}

static void mail_case_012_a_letter_of_bdat_without_a_final_crlf_gets_one_by_data(void **state)
{
	struct body b = { "S: x\r\n\r\nhello!", 14, 0 };
	struct client_conf cf = conf();
	struct out_letter l = letter(&b, 1);

	(void)state;
	l.flags = ENV_NO_FINAL_CRLF;
	into_data(&cf, &l);
	expect("S: x\r\n\r\nhello!\r\n.\r\n");
	client_clear(&c);
	/* By BDAT it stays as it is. */
	cf.hop = true;
	begin(&cf);
	greet("250-mx\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 XPOSTERN 1\r\n");
	l = letter(&b, 1);
	client_letter(&c, &l);
	drain();
	assert_non_null(strstr(sent, "BDAT 14 LAST\r\nS: x\r\n\r\nhello!"));
	assert_int_equal(strlen(strstr(sent, "hello!")), 6);
	client_clear(&c);
}

static void mail_case_019_a_peer_without_8bitmime_gets_the_bytes_or_none_at_all(void **state)
{
	struct body b = { "S: x\r\n\r\n\xe4\xff\x80\r\n", 13, 0 };
	struct client_conf cf = conf();
	struct out_letter l = letter(&b, 1);

	(void)state;
	l.flags = ENV_8BITMIME;
	begin(&cf);
	greet("250-mx\r\n250 PIPELINING\r\n");
	client_letter(&c, &l);
	expect("MAIL FROM:<a@s.example>\r\nRCPT TO:<b@d.example>\r\nDATA\r\n");
	say("250 ok\r\n250 ok\r\n354 go\r\n");
	expect("S: x\r\n\r\n\xe4\xff\x80\r\n.\r\n"); /* not encoded anew */
	client_clear(&c);
	/* require-8bitmime: it comes back instead. */
	l = letter(&b, 1);
	l.flags = ENV_8BITMIME;
	l.required_8bitmime = true;
	begin(&cf);
	greet("250-mx\r\n250 PIPELINING\r\n");
	client_letter(&c, &l);
	expect("");
	assert_int_equal(finished_count, 1);
	assert_int_equal(rcpts[0].result, RCPT_RES_PERMFAIL);
	assert_string_equal(rcpts[0].reply.enhanced, "5.6.3");
	client_clear(&c);
}

static void mail_case_031_addresses_leave_as_they_came(void **state)
{
	struct client_conf cf = conf();
	struct out_letter l = letter(&hello, 2);

	(void)state;
	l.sender = "\"joe \\\"b\\\" c\"@out.example";
	rcpts[0].addr = "\"a b\\\\\"@d.example";
	rcpts[1].addr = "MiXed.Case+x@D.Example";
	begin(&cf);
	greet("250-mx\r\n250 PIPELINING\r\n");
	client_letter(&c, &l);
	expect("MAIL FROM:<\"joe \\\"b\\\" c\"@out.example>\r\nRCPT TO:<\"a b\\\\\"@d.example>\r\n"
	       "RCPT TO:<MiXed.Case+x@D.Example>\r\nDATA\r\n");
	client_clear(&c);
}

static void mail_case_071_one_of_three_is_refused_and_the_others_get_the_letter(void **state)
{
	struct client_conf cf = conf();
	struct out_letter l = letter(&hello, 3);

	(void)state;
	begin(&cf);
	greet(PIPE);
	client_letter(&c, &l);
	drain();
	sent_len = 0;
	say("250 ok\r\n250 ok\r\n550 5.1.1 nobody\r\n250 ok\r\n354 go\r\n");
	expect("Subject: x\r\n\r\nhi\r\n.\r\n");
	say("250 2.0.0 taken\r\n");
	assert_int_equal(finished_count, 1);
	assert_int_equal(rcpts[0].result, RCPT_RES_DELIVERED);
	assert_int_equal(rcpts[1].result, RCPT_RES_PERMFAIL);
	assert_int_equal(rcpts[1].scope, SCOPE_RECIPIENT);
	assert_int_equal(rcpts[1].reply.code, 550);
	assert_int_equal(rcpts[2].result, RCPT_RES_DELIVERED);
	client_clear(&c);
}

static void mail_case_072_closed_before_the_250_is_tried_again_and_after_it_is_done(void **state)
{
	struct client_conf cf = conf();

	(void)state;
	for (int taken = 0; taken < 2; taken++) {
		struct out_letter l = letter(&hello, 1);

		into_data(&cf, &l);
		if (taken) {
			say("250 2.0.0 taken\r\n");
			client_quit(&c);
			drain();
			assert_true(client_timeout_ms(&c) <= 5000); /* nobody waits for a 221 */
		}
		client_lost(&c, "the peer has closed");
		assert_int_equal(finished_count, 1);
		assert_int_equal(rcpts[0].result, taken ? RCPT_RES_DELIVERED : RCPT_RES_TEMPFAIL);
		client_clear(&c);
	}
	/* Half of a reply is none. */
	{
		struct out_letter l = letter(&hello, 1);

		into_data(&cf, &l);
		say("250-2.0.0 ta");
		client_lost(&c, "the peer has closed");
		assert_int_equal(rcpts[0].result, RCPT_RES_TEMPFAIL);
		client_clear(&c);
	}
}

/* At each place where a reply is due. */
static void mail_case_073_endless_and_odd_replies_cost_the_session_and_no_letter(void **state)
{
	static char line[8192];
	static const char *const odd[] = { "000 x\r\n", "999 x\r\n",  "hello\r\n",	   "25\r\n",
					   "\r\n",	"250 a\r\n2", "250-a\r\n550 b\r\n" };
	static const char *const before[] = { "", "250 ok\r\n", "250 ok\r\n250 ok\r\n",
					      "250 ok\r\n250 ok\r\n354 go\r\n" };
	struct client_conf cf = conf();

	(void)state;
	memset(line, 'x', sizeof(line) - 1);
	memcpy(line, "250 ", 4);
	for (size_t at = 0; at < 4; at++) {
		for (size_t kind = 0; kind < 9; kind++) {
			struct out_letter l = letter(&hello, 1);
			int n = 0;

			begin(&cf);
			greet(PIPE);
			client_letter(&c, &l);
			drain();
			say(before[at]);
			sent_len = 0;
			if (kind < 7)
				say(odd[kind]);
			for (; kind >= 7 && c.want != CLIENT_OVER && n < 10000; n++)
				say(kind == 7 ? "250-again\r\n" : line);
			assert_true(n <= 200);
			if (kind == 5) /* a good reply, and the session is cut in the next */
				client_lost(&c, "cut");
			assert_int_equal(c.want, CLIENT_OVER);
			assert_int_equal(finished_count, 1);
			assert_true(c.letters == NULL);
			if (kind == 5 && at == 3)
				assert_int_equal(rcpts[0].result, RCPT_RES_DELIVERED);
			else
				assert_int_equal(rcpts[0].result, RCPT_RES_TEMPFAIL);
			client_clear(&c);
		}
	}
}

static void mail_case_073_strange_codes_count_by_their_first_digit(void **state)
{
	static const struct {
		const char *reply;
		enum rcpt_result result;
	} cases[] = { { "459 x\r\n", RCPT_RES_TEMPFAIL },
		      { "400\r\n", RCPT_RES_TEMPFAIL },
		      { "559 x\r\n", RCPT_RES_PERMFAIL },
		      { "500\r\n", RCPT_RES_PERMFAIL },
		      { "259 x\r\n", RCPT_RES_DELIVERED } };
	struct client_conf cf = conf();

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct out_letter l = letter(&hello, 1);

		into_data(&cf, &l);
		say(cases[i].reply);
		assert_int_equal(finished_count, 1);
		assert_int_equal(rcpts[0].result, cases[i].result);
		client_clear(&c);
	}
}

static void a_certificate_logs_in_where_external_is_offered_and_nowhere_else(void **state)
{
	struct client_conf cf = conf();

	(void)state;
	cf.tls = TLS_VERIFY;
	cf.tls_on = true;
	cf.external = true;
	begin(&cf);
	greet("250-mx\r\n250 AUTH PLAIN external\r\n");
	expect("AUTH EXTERNAL =\r\n");
	say("235 2.7.0 in\r\n");
	assert_int_equal(c.want, CLIENT_READY);
	client_clear(&c);
	/* To "=" some say 334: then nothing is a line. */
	begin(&cf);
	greet("250-mx\r\n250 AUTH EXTERNAL\r\n");
	expect("AUTH EXTERNAL =\r\n");
	say("334 \r\n");
	expect("\r\n");
	say("334 \r\n");
	assert_int_equal(c.want, CLIENT_OVER);
	assert_string_equal(c.fault.text, "the next hop asks for more than our certificate");
	client_clear(&c);
	begin(&cf);
	greet("250-mx\r\n250 AUTH EXTERNAL\r\n");
	expect("AUTH EXTERNAL =\r\n");
	say("535 5.7.8 no\r\n");
	assert_int_equal(c.want, CLIENT_OVER);
	assert_int_equal(c.fault.code, 535);
	client_clear(&c);
	/* A host that does not know the certificate may refuse for good what it would take tomorrow. */
	begin(&cf);
	greet("250-mx\r\n250 AUTH PLAIN LOGIN\r\n");
	expect("");
	assert_int_equal(c.want, CLIENT_OVER);
	assert_int_equal(c.fault.code, 0);
	client_clear(&c);
	/* With a password it is not a choice. */
	cf.external = false;
	cf.username = "u";
	cf.password = "p";
	begin(&cf);
	greet("250-mx\r\n250 AUTH EXTERNAL\r\n");
	assert_int_equal(c.want, CLIENT_OVER);
	client_clear(&c);
	begin(&cf);
	greet("250-mx\r\n250 AUTH EXTERNAL PLAIN\r\n");
	expect("AUTH PLAIN AHUAcA==\r\n");
	client_clear(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_certificate_logs_in_where_external_is_offered_and_nowhere_else),
		cmocka_unit_test(mail_case_008_whatever_the_queue_holds_no_bare_newline_leaves),
		cmocka_unit_test(mail_case_011_the_receiver_has_the_stored_bytes_over_any_cut),
		cmocka_unit_test(
		    mail_case_012_a_letter_of_bdat_without_a_final_crlf_gets_one_by_data),
		cmocka_unit_test(
		    mail_case_019_a_peer_without_8bitmime_gets_the_bytes_or_none_at_all),
		cmocka_unit_test(mail_case_031_addresses_leave_as_they_came),
		cmocka_unit_test(
		    mail_case_071_one_of_three_is_refused_and_the_others_get_the_letter),
		cmocka_unit_test(
		    mail_case_072_closed_before_the_250_is_tried_again_and_after_it_is_done),
		cmocka_unit_test(
		    mail_case_073_endless_and_odd_replies_cost_the_session_and_no_letter),
		cmocka_unit_test(mail_case_073_strange_codes_count_by_their_first_digit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
