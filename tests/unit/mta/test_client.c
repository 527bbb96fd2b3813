/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>

#include "client_script.h"

static void one_letter_goes_with_pipelining(void **state)
{
	struct client_conf cf = conf();
	struct out_letter l = letter(&hello, 2);

	(void)state;
	begin(&cf);
	greet(PIPE);
	assert_int_equal(c.want, CLIENT_READY);
	client_letter(&c, &l);
	expect("MAIL FROM:<a@s.example> SIZE=18\r\nRCPT TO:<b@d.example>\r\n"
	       "RCPT TO:<c@d.example>\r\nDATA\r\n");
	assert_false(client_can_take(&c));
	say("250 ok\r\n250 ok\r\n550 5.1.1 no\r\n354 go\r\n");
	expect("Subject: x\r\n\r\nhi\r\n.\r\n");
	say("250 2.0.0 taken\r\n");
	assert_int_equal(finished_count, 1);
	assert_int_equal(rcpts[0].result, RCPT_RES_DELIVERED);
	assert_int_equal(rcpts[1].result, RCPT_RES_PERMFAIL);
	assert_int_equal(rcpts[1].scope, SCOPE_RECIPIENT);
	assert_string_equal(rcpts[1].reply.enhanced, "5.1.1");
	assert_true(client_can_take(&c));
	client_quit(&c);
	expect("QUIT\r\n");
	say("221 bye\r\n");
	assert_int_equal(c.want, CLIENT_OVER);
	assert_false(c.failed);
	client_clear(&c);
}

static ssize_t read_fault(struct out_letter *l, uint64_t off, void *buf, size_t len)
{
	(void)l;
	(void)off;
	(void)buf;
	(void)len;
	return -EIO;
}

/* A bad sector under one letter must not close the way for all others. */
static void a_body_that_cannot_be_read_is_the_letters_fault(void **state)
{
	struct client_conf cf = conf();
	struct out_letter l = letter(&hello, 1);

	(void)state;
	l.read = read_fault;
	begin(&cf);
	greet(PIPE);
	client_letter(&c, &l);
	expect("MAIL FROM:<a@s.example> SIZE=18\r\nRCPT TO:<b@d.example>\r\nDATA\r\n");
	say("250 ok\r\n250 ok\r\n354 go\r\n");
	assert_int_equal(c.want, CLIENT_OVER);
	assert_int_equal(finished_count, 1);
	assert_int_equal(rcpts[0].result, RCPT_RES_TEMPFAIL);
	assert_int_equal(rcpts[0].scope, SCOPE_MESSAGE);
	expect(""); /* no dot: what it has is no letter */
	client_clear(&c);
}

static void without_pipelining_each_reply_is_awaited(void **state)
{
	struct client_conf cf = conf();
	struct out_letter l = letter(&hello, 2);

	(void)state;
	begin(&cf);
	greet("250 mx.example\r\n");
	client_letter(&c, &l);
	expect("MAIL FROM:<a@s.example>\r\n");
	say("250 ok\r\n");
	expect("RCPT TO:<b@d.example>\r\n");
	say("450 4.2.0 later\r\n");
	expect("RCPT TO:<c@d.example>\r\n");
	say("550 5.1.1 no\r\n");
	expect("RSET\r\n"); /* nobody takes it: DATA never leaves */
	assert_int_equal(finished_count, 0);
	say("250 ok\r\n");
	assert_int_equal(finished_count, 1);
	assert_int_equal(rcpts[0].result, RCPT_RES_TEMPFAIL);
	assert_int_equal(rcpts[1].result, RCPT_RES_PERMFAIL);
	assert_true(client_can_take(&c));
	client_clear(&c);
}

static void a_354_for_nobody_is_ended_with_an_empty_body(void **state)
{
	struct client_conf cf = conf();
	struct out_letter l = letter(&hello, 1);

	(void)state;
	begin(&cf);
	greet(PIPE);
	client_letter(&c, &l);
	drain();
	sent_len = 0;
	say("250 ok\r\n550 5.1.1 no\r\n354 go\r\n");
	expect(".\r\n");
	say("250 2.0.0 strange\r\n");
	assert_int_equal(rcpts[0].result, RCPT_RES_PERMFAIL);
	assert_int_equal(finished_count, 1);
	client_clear(&c);
}

/* Cases 8, 11, 12: dots and line ends over every cut of reading and writing. */
static void mail_case_011_to_012_dots_are_doubled_and_lines_end_in_crlf_over_any_cut(void **state)
{
	static const char in[] = ".a\r\n..b\r\nc.\r\n.\r\nbare\nlf\rcr\r\n.no end";
	static const char out[] =
	    "..a\r\n...b\r\nc.\r\n..\r\nbare\r\nlf\r\ncr\r\n..no end\r\n.\r\n";
	struct client_conf cf = conf();

	(void)state;
	for (size_t chunk = 1; chunk <= sizeof(in); chunk++) {
		struct body b = { in, sizeof(in) - 1, chunk };
		struct out_letter l = letter(&b, 1);

		step = chunk % 7;
		begin(&cf);
		greet(PIPE);
		client_letter(&c, &l);
		drain();
		sent_len = 0;
		say("250 ok\r\n250 ok\r\n354 go\r\n");
		expect(out);
		say("250 ok\r\n");
		assert_int_equal(rcpts[0].result, RCPT_RES_DELIVERED);
		client_clear(&c);
	}
	step = 0;
}

static void a_long_body_goes_through_a_small_buffer(void **state)
{
	static char in[200000];
	struct body b = { in, sizeof(in), 0 };
	struct client_conf cf = conf();
	struct out_letter l;

	(void)state;
	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = i % 3 == 2 ? '\n' : i % 3 == 1 ? '\r' : '.';
	l = letter(&b, 1);
	begin(&cf);
	greet("250-mx\r\n250 PIPELINING\r\n");
	client_letter(&c, &l);
	drain();
	sent_len = 0;
	say("250 ok\r\n250 ok\r\n354 go\r\n");
	assert_int_equal(sent_len, sizeof(in) / 3 * 4 + sizeof("..\r\n.\r\n") - 1);
	client_clear(&c);
}

static void starttls_forgets_what_was_said_before(void **state)
{
	struct client_conf cf = conf();

	(void)state;
	cf.tls = TLS_ENCRYPT;
	begin(&cf);
	greet("250-mx\r\n250-PIPELINING\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n");
	expect("STARTTLS\r\n");
	say("220 go\r\n");
	assert_int_equal(c.want, CLIENT_TLS);
	client_tls_done(&c);
	expect("EHLO us.example\r\n");
	say("250 mx\r\n");
	assert_int_equal(c.want, CLIENT_READY);
	assert_false(c.pipelining);
	assert_int_equal(c.auth_offer, 0);
	client_clear(&c);
}

/* Case 42 */
static void mail_case_042_text_behind_the_answer_to_starttls_ends_the_session(void **state)
{
	static const char *const tails[] = { "220 go\r\n250 x\r\n", "220 go\r\n2",
					     "220 go\r\n\r\n" };
	struct client_conf cf = conf();

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		begin(&cf);
		greet("250-mx\r\n250 STARTTLS\r\n");
		expect("STARTTLS\r\n");
		say(tails[i]);
		assert_int_equal(c.want, CLIENT_OVER);
		assert_true(c.tls_failed);
		client_clear(&c);
	}
}

/* Case 52 */
static void mail_case_052_required_tls_is_never_given_up(void **state)
{
	struct client_conf cf = conf();

	(void)state;
	cf.tls = TLS_PIN;
	begin(&cf);
	greet("250 mx\r\n");
	assert_int_equal(c.want, CLIENT_OVER);
	assert_true(c.tls_failed);
	client_clear(&c);
	begin(&cf);
	greet("250-mx\r\n250 STARTTLS\r\n");
	expect("STARTTLS\r\n");
	say("454 4.7.0 not now\r\n");
	assert_int_equal(c.want, CLIENT_OVER);
	client_clear(&c);
	cf.tls = TLS_MAY;
	begin(&cf);
	greet("250-mx\r\n250 STARTTLS\r\n");
	expect("STARTTLS\r\n");
	say("454 4.7.0 not now\r\n");
	assert_int_equal(c.want, CLIENT_READY);
	client_clear(&c);
}

static void a_password_goes_only_where_plain_is_offered(void **state)
{
	struct client_conf cf = conf();

	(void)state;
	cf.tls = TLS_VERIFY;
	cf.tls_on = true;
	cf.username = "u";
	cf.password = "p";
	begin(&cf);
	greet("250-mx\r\n250 AUTH LOGIN PLAIN\r\n");
	expect("AUTH PLAIN AHUAcA==\r\n");
	say("535 5.7.8 no\r\n");
	assert_int_equal(c.want, CLIENT_OVER);
	assert_int_equal(c.fault.code, 535);
	client_clear(&c);
	begin(&cf);
	greet("250-mx\r\n250 AUTH CRAM-MD5\r\n");
	assert_int_equal(c.want, CLIENT_OVER);
	client_clear(&c);
}

static void login_answers_two_questions_and_no_third(void **state)
{
	struct client_conf cf = conf();

	(void)state;
	cf.tls = TLS_VERIFY;
	cf.tls_on = true;
	cf.username = "user";
	cf.password = "pass";
	begin(&cf);
	greet("250-mx\r\n250 AUTH DIGEST-MD5 LOGINX login\r\n");
	expect("AUTH LOGIN\r\n");
	say("334 VXNlcm5hbWU6\r\n");
	expect("dXNlcg==\r\n");
	say("334 UGFzc3dvcmQ6\r\n");
	expect("cGFzcw==\r\n");
	say("235 2.7.0 in\r\n");
	assert_int_equal(c.want, CLIENT_READY);
	client_clear(&c);
	begin(&cf);
	greet("250-mx\r\n250 AUTH LOGIN\r\n");
	say("334 a\r\n334 b\r\n334 c\r\n");
	assert_int_equal(c.want, CLIENT_OVER);
	assert_int_equal(c.fault.code, 0);
	client_clear(&c);
	/* Asked after all that PLAIN has to say. */
	begin(&cf);
	greet("250-mx\r\n250 AUTH PLAIN\r\n");
	expect("AUTH PLAIN AHVzZXIAcGFzcw==\r\n");
	say("334 \r\n");
	assert_int_equal(c.want, CLIENT_OVER);
	client_clear(&c);
}

/* RFC 4954 s4: what makes the command too long is sent by itself. */
static void a_long_password_goes_in_a_line_of_its_own(void **state)
{
	struct client_conf cf = conf();
	char password[600];

	(void)state;
	cf.tls = TLS_VERIFY;
	cf.tls_on = true;
	cf.username = "u";
	cf.password = password;
	/* 372 bytes are 496 in base64, which AUTH PLAIN leaves room for. */
	for (size_t len = 369; len <= 370; len++) {
		memset(password, 'p', len);
		password[len] = 0;
		begin(&cf);
		greet("250-mx\r\n250 AUTH PLAIN\r\n");
		drain();
		if (len == 369) {
			assert_int_equal(sent_len, sizeof("AUTH PLAIN \r\n") - 1 + 496);
		} else {
			expect("AUTH PLAIN\r\n");
			say("334 \r\n");
			assert_int_equal(sent_len, 500 + 2);
		}
		say("235 2.7.0 in\r\n");
		assert_int_equal(c.want, CLIENT_READY);
		client_clear(&c);
	}
	memset(password, 'p', 598);
	password[598] = 0;
	begin(&cf);
	greet("250-mx\r\n250 AUTH PLAIN\r\n");
	assert_int_equal(c.want, CLIENT_OVER);
	client_clear(&c);
}

#define HOP "250-mx\r\n250-PIPELINING\r\n250-CHUNKING\r\n250-8BITMIME\r\n250 XPOSTERN 1\r\n"

static unsigned published_code;

static void on_published(void *arg, const struct reply *r)
{
	(void)arg;
	published_code = r->code;
}

static void a_set_goes_after_its_354_and_letters_follow_it(void **state)
{
	struct client_conf cf = conf();
	struct out_letter a = letter(&hello, 1);

	(void)state;
	cf.hop = true;
	cf.published = on_published;
	begin(&cf);
	greet("250-mx\r\n250 XPOSTERN 1 OTHER PUBLISH=41\r\n");
	assert_true(c.may_publish);
	assert_int_equal(c.publish_serial, 41);
	client_publish(&c, "#set\n", 5);
	assert_false(client_can_take(&c));
	client_quit(&c); /* not in its middle */
	expect("XPUBLISH 5\r\n");
	say("354 go on\r\n");
	expect("#set\n");
	published_code = 0;
	say("250 2.0.0 Published\r\n");
	assert_int_equal(published_code, 250);
	client_letter(&c, &a);
	expect("MAIL FROM:<a@s.example>\r\n");
	client_lost(&c, "end");
	client_clear(&c);
}

static void a_set_that_is_refused_is_not_sent(void **state)
{
	struct client_conf cf = conf();

	(void)state;
	cf.hop = true;
	cf.published = on_published;
	begin(&cf);
	greet("250-mx\r\n250 XPOSTERN 1 PUBLISH=0\r\n");
	client_publish(&c, "#set\n", 5);
	expect("XPUBLISH 5\r\n");
	say("450 4.3.2 later\r\n");
	expect("");
	assert_int_equal(published_code, 450);
	client_quit(&c);
	expect("QUIT\r\n");
	client_clear(&c);
}

static char trace_lines[200];
static unsigned traced_code;

static void on_trace_line(void *arg, const char *line)
{
	(void)arg;
	strcat(trace_lines, line);
	strcat(trace_lines, "\n");
}

static void on_traced(void *arg, const struct reply *r)
{
	(void)arg;
	traced_code = r->code;
}

static void a_trace_is_asked_where_it_is_offered(void **state)
{
	struct client_conf cf = conf();
	struct out_letter a = letter(&hello, 1);

	(void)state;
	cf.trace_line = on_trace_line;
	cf.traced = on_traced;
	begin(&cf);
	greet("250-mx\r\n250 XTRACEABLE\r\n");
	assert_false(c.may_trace);
	client_clear(&c);
	begin(&cf);
	greet("250-mx\r\n250 XTRACE 1\r\n");
	assert_true(c.may_trace);
	client_trace(&c, "0123 HOPS=1");
	assert_false(client_can_take(&c));
	client_quit(&c); /* not in its middle */
	expect("XTRACE 0123 HOPS=1\r\n");
	trace_lines[0] = 0;
	traced_code = 0;
	say("250-[{}]\r\n");
	assert_int_equal(traced_code, 0);
	say("250-[{\"a\":1}]\r\n250 2.0.0 end\r\n");
	assert_string_equal(trace_lines, "[{}]\n[{\"a\":1}]\n2.0.0 end\n");
	assert_int_equal(traced_code, 250);
	client_trace(&c, "4567");
	say("550 5.1.1 no\r\n");
	assert_int_equal(traced_code, 550);
	expect("XTRACE 4567\r\n");
	client_letter(&c, &a);
	expect("MAIL FROM:<a@s.example>\r\n");
	client_lost(&c, "end");
	client_clear(&c);
}

static void a_serial_that_cannot_be_read_is_no_offer(void **state)
{
	static const char *const bad[] = { "250 XPOSTERN 1\r\n",
					   "250 XPOSTERN 1 PUBLISH=\r\n",
					   "250 XPOSTERN 1 PUBLISH=-1\r\n",
					   "250 XPOSTERN 1 PUBLISH=1x\r\n",
					   "250 XPOSTERN 1 PUBLISH=18446744073709551615\r\n",
					   "250 XPOSTERN 1 PUBLISH=18446744073709551616\r\n" };
	struct client_conf cf = conf();
	char ehlo[100];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		cf.hop = true;
		begin(&cf);
		snprintf(ehlo, sizeof(ehlo), "250-mx\r\n%s", bad[i]);
		greet(ehlo);
		assert_true(c.postern);
		assert_false(c.may_publish);
		client_clear(&c);
	}
	cf.hop = false; /* a stranger may say what he likes */
	begin(&cf);
	greet("250-mx\r\n250 XPOSTERN 1 PUBLISH=0\r\n");
	assert_false(c.may_publish);
	client_clear(&c);
}

static void letters_to_another_postern_follow_without_waiting(void **state)
{
	struct client_conf cf = conf();
	struct out_rcpt r2 = { .addr = "z@d.example", .orcpt = "" };
	struct out_letter a = letter(&hello, 1), b = letter(&hello, 1);

	(void)state;
	cf.hop = true;
	a.hop_params = " XPOSTERN-ID=1";
	b.rcpt = &r2;
	b.flags = ENV_8BITMIME;
	begin(&cf);
	greet(HOP);
	client_letter(&c, &a);
	assert_true(client_can_take(&c));
	client_letter(&c, &b);
	expect("MAIL FROM:<a@s.example> XPOSTERN-ID=1\r\nRCPT TO:<b@d.example>\r\nBDAT 18 LAST\r\n"
	       "Subject: x\r\n\r\nhi\r\n"
	       "RSET\r\n"
	       "MAIL FROM:<a@s.example> BODY=8BITMIME\r\nRCPT TO:<z@d.example>\r\nBDAT 18 LAST\r\n"
	       "Subject: x\r\n\r\nhi\r\n");
	say("250 ok\r\n250 ok\r\n250 2.0.0 stored\r\n250 reset\r\n250 ok\r\n452 4.2.2 full\r\n554 "
	    "5.5.1 "
	    "none\r\n");
	assert_int_equal(finished_count, 2);
	assert_int_equal(rcpts[0].result, RCPT_RES_DELIVERED);
	assert_int_equal(r2.result, RCPT_RES_TEMPFAIL);
	assert_int_equal(r2.scope, SCOPE_RECIPIENT);
	client_clear(&c);
	/* Offered by somebody who is no tunnel peer it counts for nothing. */
	cf.hop = false;
	begin(&cf);
	greet(HOP);
	assert_false(c.postern);
	client_clear(&c);
}

/* MAIL, RCPT and DATA of the next letter leave with the dot of the one before: one round trip a letter. */
static void the_next_letter_follows_the_dot(void **state)
{
	struct client_conf cf = conf();
	struct out_rcpt r2 = { .addr = "z@d.example", .orcpt = "" }, r3 = r2;
	struct out_letter a = letter(&hello, 1), b = letter(&hello, 1), d = letter(&hello, 1);

	(void)state;
	b.rcpt = &r2;
	d.rcpt = &r3;
	cf.chain = true;
	begin(&cf);
	greet(PIPE);
	client_letter(&c, &a);
	assert_false(client_can_take(&c));
	expect("MAIL FROM:<a@s.example> SIZE=18\r\nRCPT TO:<b@d.example>\r\nDATA\r\n");
	say("250 ok\r\n250 ok\r\n");
	assert_false(client_can_take(&c));
	say("354 go\r\n");
	assert_true(client_can_take(&c));
	client_letter(&c, &b);
	assert_false(client_can_take(&c));
	expect("Subject: x\r\n\r\nhi\r\n.\r\n"
	       "MAIL FROM:<a@s.example> SIZE=18\r\nRCPT TO:<z@d.example>\r\nDATA\r\n");
	/* A refusal of the first one's text is no word on the second one. */
	say("451 4.3.0 later\r\n250 ok\r\n250 ok\r\n354 go\r\n");
	assert_int_equal(finished_count, 1);
	assert_int_equal(rcpts[0].result, RCPT_RES_TEMPFAIL);
	client_letter(&c, &d);
	expect("Subject: x\r\n\r\nhi\r\n.\r\n"
	       "MAIL FROM:<a@s.example> SIZE=18\r\nRCPT TO:<z@d.example>\r\nDATA\r\n");
	say("250 2.0.0 taken\r\n");
	assert_int_equal(r2.result, RCPT_RES_DELIVERED);
	/* The session ends: the one that is left pays for it. */
	client_lost(&c, "gone");
	assert_int_equal(finished_count, 3);
	assert_int_equal(r3.result, RCPT_RES_TEMPFAIL);
	client_clear(&c);
}

static void a_refused_letter_behind_a_dot_leaves_no_transaction_open(void **state)
{
	struct client_conf cf = conf();
	struct out_rcpt r2 = { .addr = "z@d.example", .orcpt = "" }, r3 = r2;
	struct out_letter a = letter(&hello, 1), b = letter(&hello, 1), d = letter(&hello, 1);

	(void)state;
	b.rcpt = &r2;
	d.rcpt = &r3;
	cf.chain = true;
	begin(&cf);
	greet(PIPE);
	client_letter(&c, &a);
	drain();
	say("250 ok\r\n250 ok\r\n354 go\r\n");
	client_letter(&c, &b);
	drain();
	sent_len = 0;
	say("250 taken\r\n250 ok\r\n550 5.1.1 nobody\r\n");
	client_letter(&c, &d);
	expect(""); /* 354 may still come for nobody, and wants its dot */
	say("503 5.5.1 nobody\r\n");
	expect("RSET\r\nMAIL FROM:<a@s.example> SIZE=18\r\nRCPT TO:<z@d.example>\r\nDATA\r\n");
	assert_int_equal(rcpts[0].result, RCPT_RES_DELIVERED);
	assert_int_equal(r2.result, RCPT_RES_PERMFAIL);
	assert_int_equal(finished_count, 2);
	client_clear(&c);
	/* Without the owner's wish, or without PIPELINING, each waits for the one before. */
	for (int i = 0; i < 2; i++) {
		struct out_letter one = letter(&hello, 1);

		cf.chain = i;
		begin(&cf);
		greet(i ? "250 mx.example\r\n" : PIPE);
		client_letter(&c, &one);
		drain();
		say("250 ok\r\n");
		say("250 ok\r\n");
		say("354 go\r\n");
		assert_false(client_can_take(&c));
		say("250 taken\r\n");
		assert_true(client_can_take(&c));
		client_clear(&c);
	}
}

/* Case 72, and who pays when a session is lost. */
static void a_next_hop_out_of_step_decides_nothing(void **state)
{
	struct client_conf cf = conf();
	struct out_rcpt r2 = { .addr = "z@d.example", .orcpt = "" };
	struct out_letter a = letter(&hello, 1), b = letter(&hello, 1);

	(void)state;
	cf.hop = true;
	b.rcpt = &r2;
	begin(&cf);
	greet(HOP);
	client_letter(&c, &a);
	client_letter(&c, &b);
	drain();
	/* 503 to the second MAIL: its recipient and body may have gone under the first one's name. */
	say("250 ok\r\n451 4.3.0 later\r\n554 5.5.1 none\r\n250 reset\r\n503 5.5.1 one is under "
	    "way\r\n");
	assert_int_equal(finished_count, 2);
	assert_int_equal(rcpts[0].result, RCPT_RES_TEMPFAIL);
	assert_int_equal(r2.result, RCPT_RES_TEMPFAIL);
	assert_int_equal(r2.scope, SCOPE_HOST);
	client_clear(&c);
}

static void mail_case_072_a_lost_session_is_charged_to_the_letter_that_was_open(void **state)
{
	struct client_conf cf = conf();
	struct out_rcpt r2 = { .addr = "z@d.example", .orcpt = "" };
	struct body big = { NULL, 100000, 0 };
	static char text[100000];
	struct out_letter a, b;

	(void)state;
	memset(text, 'x', sizeof(text));
	big.text = text;
	cf.hop = true;
	a = letter(&hello, 1);
	b = letter(&big, 1);
	b.rcpt = &r2;
	begin(&cf);
	greet(HOP);
	client_letter(&c, &a);
	client_letter(&c, &b);
	{
		const char *data;

		assert_true(client_output(&c, &data) > 0);
	}
	client_lost(&c, "cut");
	assert_int_equal(finished_count, 2);
	assert_int_equal(rcpts[0].result, RCPT_RES_TEMPFAIL);
	assert_int_equal(rcpts[0].scope, SCOPE_HOST);
	assert_int_equal(r2.result, RCPT_RES_NOT_TRIED);
	client_clear(&c);
	/* After the 250 the end of the connection changes nothing. */
	a = letter(&hello, 1);
	cf.hop = false;
	begin(&cf);
	greet(PIPE);
	client_letter(&c, &a);
	drain();
	say("250 ok\r\n250 ok\r\n354 go\r\n");
	say("250 2.0.0 taken\r\n");
	client_lost(&c, "cut");
	assert_int_equal(finished_count, 1);
	assert_int_equal(rcpts[0].result, RCPT_RES_DELIVERED);
	client_clear(&c);
}

static void a_letter_called_back_before_its_end_never_has_one(void **state)
{
	struct client_conf cf = conf();
	struct out_letter l = letter(&hello, 1);

	(void)state;
	begin(&cf);
	greet(PIPE);
	client_letter(&c, &l);
	expect("MAIL FROM:<a@s.example> SIZE=18\r\nRCPT TO:<b@d.example>\r\nDATA\r\n");
	say("250 ok\r\n250 ok\r\n");
	client_cancel(&c, &l);
	assert_int_equal(c.want, CLIENT_OVER);
	assert_int_equal(finished_count, 1);
	assert_int_equal(rcpts[0].result, RCPT_RES_NOT_TRIED);
	expect("");
	client_clear(&c);
	/* Behind it the next hop has the word. */
	l = letter(&hello, 1);
	begin(&cf);
	greet(PIPE);
	client_letter(&c, &l);
	drain();
	say("250 ok\r\n250 ok\r\n354 go\r\n");
	client_cancel(&c, &l);
	assert_int_equal(finished_count, 0);
	say("250 2.0.0 taken\r\n");
	assert_int_equal(finished_count, 1);
	assert_int_equal(rcpts[0].result, RCPT_RES_DELIVERED);
	assert_true(client_can_take(&c));
	client_clear(&c);
}

/* The first is at its dot, the second has been begun, the third has not. */
static void a_letter_called_back_waits_for_the_answers_before_it(void **state)
{
	struct out_rcpt r[3] = { { .addr = "x@d.example", .orcpt = "" },
				 { .addr = "y@d.example", .orcpt = "" },
				 { .addr = "z@d.example", .orcpt = "" } };
	struct client_conf cf = conf();
	struct out_letter l[3];

	(void)state;
	cf.chain = true;
	begin(&cf);
	greet(PIPE);
	for (int i = 0; i < 3; i++) {
		l[i] = letter(&hello, 1);
		l[i].rcpt = &r[i];
		client_letter(&c, &l[i]);
	}
	drain();
	sent_len = 0;
	say("250 ok\r\n250 ok\r\n354 go\r\n");
	expect("Subject: x\r\n\r\nhi\r\n.\r\n"
	       "MAIL FROM:<a@s.example> SIZE=18\r\nRCPT TO:<y@d.example>\r\nDATA\r\n");
	client_cancel(&c, &l[2]);
	assert_int_equal(finished_count, 1);
	assert_int_equal(r[2].result, RCPT_RES_NOT_TRIED);
	client_cancel(&c, &l[1]);
	assert_int_equal(finished_count, 1);
	assert_true(c.want != CLIENT_OVER);
	say("250 2.0.0 taken\r\n250 ok\r\n250 ok\r\n354 go\r\n");
	expect("");
	assert_int_equal(c.want, CLIENT_OVER);
	assert_int_equal(finished_count, 3);
	assert_int_equal(r[0].result, RCPT_RES_DELIVERED);
	assert_int_equal(r[1].result, RCPT_RES_NOT_TRIED);
	client_clear(&c);
}

/* Over the tunnel letters follow one another without waiting: this one stops in the middle of its body. */
static void a_letter_called_back_in_its_body_goes_no_further(void **state)
{
	static char text[200000];
	struct body big = { text, sizeof(text), 0 };
	struct out_rcpt r2 = { .addr = "z@d.example", .orcpt = "" };
	struct client_conf cf = conf();
	struct out_letter a = letter(&hello, 1), b = letter(&big, 1);
	const char *data;

	(void)state;
	memset(text, 'x', sizeof(text));
	b.rcpt = &r2;
	cf.hop = true;
	begin(&cf);
	greet(HOP);
	client_letter(&c, &a);
	client_letter(&c, &b);
	assert_true(client_output(&c, &data) > 0);
	assert_true(a.body_sent && b.data_started && !b.body_sent);
	client_cancel(&c, &b);
	drain();
	assert_false(b.body_sent);
	assert_int_equal(finished_count, 0);
	say("250 ok\r\n250 ok\r\n250 2.0.0 taken\r\n");
	assert_int_equal(c.want, CLIENT_OVER);
	assert_int_equal(finished_count, 2);
	assert_int_equal(rcpts[0].result, RCPT_RES_DELIVERED);
	assert_int_equal(r2.result, RCPT_RES_NOT_TRIED);
	client_clear(&c);
}

static void a_421_is_the_host_s(void **state)
{
	static const char *const scripts[] = { "421 4.3.2 away\r\n", "250 ok\r\n421 4.3.2 away\r\n",
					       "250 ok\r\n250 ok\r\n354 go\r\n421 4.3.2 away\r\n" };
	struct client_conf cf = conf();

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct out_letter l = letter(&hello, 1);

		begin(&cf);
		greet(PIPE);
		client_letter(&c, &l);
		drain();
		say(scripts[i]);
		assert_int_equal(c.want, CLIENT_OVER);
		assert_int_equal(rcpts[0].result, RCPT_RES_TEMPFAIL);
		assert_int_equal(rcpts[0].scope, SCOPE_HOST);
		client_clear(&c);
	}
}

static void too_many_recipients_come_again_and_the_rest_goes(void **state)
{
	struct client_conf cf = conf();
	struct out_letter l = letter(&hello, 2);

	(void)state;
	begin(&cf);
	greet(PIPE);
	client_letter(&c, &l);
	drain();
	say("250 ok\r\n250 ok\r\n452 4.5.3 too many\r\n354 go\r\n");
	say("250 ok\r\n");
	assert_int_equal(rcpts[0].result, RCPT_RES_DELIVERED);
	assert_int_equal(rcpts[1].result, RCPT_RES_NOT_TRIED);
	client_clear(&c);
}

static void mail_and_end_of_data_are_the_letter_s(void **state)
{
	static const char *const scripts[] = {
		"552 5.3.4 big\r\n503 no\r\n503 no\r\n503 no\r\n",
		"250 ok\r\n250 ok\r\n250 ok\r\n554 5.6.0 no\r\n",
		"250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n",
	};
	struct client_conf cf = conf();

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct out_letter l = letter(&hello, 2);

		begin(&cf);
		greet(PIPE);
		client_letter(&c, &l);
		drain();
		say(scripts[i]);
		if (i == 2)
			say("554 5.6.0 no\r\n");
		assert_int_equal(finished_count, 1);
		for (int k = 0; k < 2; k++) {
			assert_int_equal(rcpts[k].result, RCPT_RES_PERMFAIL);
			assert_int_equal(rcpts[k].scope, SCOPE_MESSAGE);
		}
		assert_true(client_can_take(&c));
		client_clear(&c);
	}
}

/* Case 80 */
static void mail_case_080_lmtp_settles_each_recipient_by_itself(void **state)
{
	struct client_conf cf = conf();
	struct out_letter l = letter(&hello, 4);

	(void)state;
	cf.lmtp = true;
	cf.tls = TLS_NONE;
	begin(&cf);
	say("220 lmtp\r\n");
	expect("LHLO us.example\r\n");
	say("250-x\r\n250 PIPELINING\r\n");
	client_letter(&c, &l);
	drain();
	say("250 ok\r\n250 ok\r\n550 5.1.1 no\r\n250 ok\r\n250 ok\r\n354 go\r\n");
	say("250 2.0.0 b\r\n450 4.2.2 d\r\n");
	assert_int_equal(finished_count, 0);
	say("550 5.2.0 e\r\n");
	assert_int_equal(finished_count, 1);
	assert_int_equal(rcpts[0].result, RCPT_RES_DELIVERED);
	assert_int_equal(rcpts[1].result, RCPT_RES_PERMFAIL);
	assert_int_equal(rcpts[2].result, RCPT_RES_TEMPFAIL);
	assert_int_equal(rcpts[3].result, RCPT_RES_PERMFAIL);
	assert_int_equal(rcpts[3].scope, SCOPE_RECIPIENT);
	client_clear(&c);
}

static void what_a_peer_cannot_take_is_told_without_asking(void **state)
{
	struct body big = { "", 2000, 0 };
	struct client_conf cf = conf();
	struct out_letter l = letter(&big, 1);

	(void)state;
	begin(&cf);
	greet(PIPE);
	client_letter(&c, &l);
	assert_int_equal(finished_count, 1);
	assert_string_equal(rcpts[0].reply.enhanced, "5.3.4");
	l = letter(&hello, 1);
	l.flags = ENV_SMTPUTF8;
	client_letter(&c, &l);
	assert_string_equal(rcpts[0].reply.enhanced, "5.6.7");
	l = letter(&hello, 1);
	rcpts[0].addr = "j\xc3\xb6rg@y.example"; /* by an alias */
	client_letter(&c, &l);
	assert_string_equal(rcpts[0].reply.enhanced, "5.6.7");
	l = letter(&hello, 1);
	rcpts[0].addr = "x@y\r\nRCPT TO:<z@y>";
	client_letter(&c, &l);
	assert_string_equal(rcpts[0].reply.enhanced, "5.1.3");
	expect("");
	client_clear(&c);
}

static void a_tunnel_peer_that_does_not_know_us_is_a_host_that_waits(void **state)
{
	struct client_conf cf = conf();
	struct out_letter l = letter(&hello, 1);

	(void)state;
	cf.hop = true;
	begin(&cf);
	greet(PIPE);
	client_letter(&c, &l);
	drain();
	say("250 ok\r\n550 5.7.1 Relaying denied\r\n");
	assert_int_equal(rcpts[0].result, RCPT_RES_TEMPFAIL);
	assert_int_equal(rcpts[0].scope, SCOPE_HOST);
	assert_int_equal(c.want, CLIENT_OVER);
	client_clear(&c);
}

static void a_tunnel_peer_that_misses_our_key_refuses_no_letter(void **state)
{
	struct client_conf cf = conf();
	struct out_letter l = letter(&hello, 1);

	(void)state;
	for (int hop = 1; hop >= 0; hop--) {
		cf.hop = hop;
		begin(&cf);
		greet("250-mx.example\r\n250-XPOSTERN 1\r\n250 PIPELINING\r\n");
		l = letter(&hello, 1);
		client_letter(&c, &l);
		drain();
		say("530 5.7.0 TLS with the pinned key of this home is required\r\n"
		    "503 5.5.1 MAIL first\r\n");
		assert_int_equal(rcpts[0].result, hop ? RCPT_RES_TEMPFAIL : RCPT_RES_PERMFAIL);
		assert_int_equal(rcpts[0].scope, hop ? SCOPE_HOST : SCOPE_MESSAGE);
		client_clear(&c);
	}
}

static void a_tunnel_peer_that_just_starts_defers_no_letter(void **state)
{
	static const struct {
		const char *reply;
		bool hop;
		enum fault_scope scope;
	} at[] = {
		{ "451 4.3.0 Queue is starting, try again\r\n", true, SCOPE_HOST },
		{ "451 4.3.2 This listener is no more, connect again\r\n", true, SCOPE_HOST },
		{ "452 4.3.1 Insufficient system storage\r\n", true, SCOPE_MESSAGE },
		{ "450 4.7.1 This home has sent its letters for now\r\n", true, SCOPE_MESSAGE },
		{ "451 4.3.0 Queue is starting, try again\r\n", false, SCOPE_MESSAGE },
	};
	struct client_conf cf = conf();
	struct out_letter l;

	(void)state;
	for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		cf.hop = at[i].hop;
		begin(&cf);
		greet("250-mx.example\r\n250-XPOSTERN 1\r\n250 PIPELINING\r\n");
		l = letter(&hello, 1);
		client_letter(&c, &l);
		drain();
		say(at[i].reply);
		assert_int_equal(rcpts[0].result, RCPT_RES_TEMPFAIL);
		assert_int_equal(rcpts[0].scope, at[i].scope);
		client_clear(&c);
	}
}

static void replies_out_of_step_end_the_session(void **state)
{
	struct client_conf cf = conf();

	(void)state;
	begin(&cf);
	greet(PIPE);
	say("250 unasked\r\n");
	assert_int_equal(c.want, CLIENT_OVER);
	client_clear(&c);
	begin(&cf);
	say("554 no service\r\n");
	assert_int_equal(c.want, CLIENT_OVER);
	assert_int_equal(c.fault.code, 554);
	client_clear(&c);
	begin(&cf);
	say("220 mx\r\n");
	expect("EHLO us.example\r\n");
	say("502 what\r\n");
	expect("HELO us.example\r\n");
	say("250 ok\r\n");
	assert_int_equal(c.want, CLIENT_READY);
	client_clear(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_letter_goes_with_pipelining),
		cmocka_unit_test(a_body_that_cannot_be_read_is_the_letters_fault),
		cmocka_unit_test(without_pipelining_each_reply_is_awaited),
		cmocka_unit_test(a_354_for_nobody_is_ended_with_an_empty_body),
		cmocka_unit_test(
		    mail_case_011_to_012_dots_are_doubled_and_lines_end_in_crlf_over_any_cut),
		cmocka_unit_test(a_long_body_goes_through_a_small_buffer),
		cmocka_unit_test(starttls_forgets_what_was_said_before),
		cmocka_unit_test(mail_case_042_text_behind_the_answer_to_starttls_ends_the_session),
		cmocka_unit_test(mail_case_052_required_tls_is_never_given_up),
		cmocka_unit_test(a_password_goes_only_where_plain_is_offered),
		cmocka_unit_test(login_answers_two_questions_and_no_third),
		cmocka_unit_test(a_long_password_goes_in_a_line_of_its_own),
		cmocka_unit_test(a_set_goes_after_its_354_and_letters_follow_it),
		cmocka_unit_test(a_set_that_is_refused_is_not_sent),
		cmocka_unit_test(a_trace_is_asked_where_it_is_offered),
		cmocka_unit_test(a_serial_that_cannot_be_read_is_no_offer),
		cmocka_unit_test(letters_to_another_postern_follow_without_waiting),
		cmocka_unit_test(the_next_letter_follows_the_dot),
		cmocka_unit_test(a_refused_letter_behind_a_dot_leaves_no_transaction_open),
		cmocka_unit_test(a_next_hop_out_of_step_decides_nothing),
		cmocka_unit_test(
		    mail_case_072_a_lost_session_is_charged_to_the_letter_that_was_open),
		cmocka_unit_test(a_letter_called_back_before_its_end_never_has_one),
		cmocka_unit_test(a_letter_called_back_waits_for_the_answers_before_it),
		cmocka_unit_test(a_letter_called_back_in_its_body_goes_no_further),
		cmocka_unit_test(a_421_is_the_host_s),
		cmocka_unit_test(too_many_recipients_come_again_and_the_rest_goes),
		cmocka_unit_test(mail_and_end_of_data_are_the_letter_s),
		cmocka_unit_test(mail_case_080_lmtp_settles_each_recipient_by_itself),
		cmocka_unit_test(what_a_peer_cannot_take_is_told_without_asking),
		cmocka_unit_test(a_tunnel_peer_that_does_not_know_us_is_a_host_that_waits),
		cmocka_unit_test(a_tunnel_peer_that_misses_our_key_refuses_no_letter),
		cmocka_unit_test(a_tunnel_peer_that_just_starts_defers_no_letter),
		cmocka_unit_test(replies_out_of_step_end_the_session),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
