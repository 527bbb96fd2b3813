/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"

/*
 * A scripted server: what the client sends is collected, what the server says is put in. The client
 * writes into @sent; expect() checks and forgets it.
 */
static struct client c;
static struct out_letter *finished[16];
static size_t finished_count;
static char sent[1 << 19];
static size_t sent_len;
static size_t step; /* bytes taken by one write; 0: all */

static void on_done(void *arg, struct out_letter *l)
{
	(void)arg;
	finished[finished_count++] = l;
}

static struct client_conf conf(void)
{
	return (struct client_conf){ .ehlo = "us.example", .tls = TLS_MAY, .done = on_done };
}

static void drain(void)
{
	const char *data;
	size_t n;

	while ((n = client_output(&c, &data)) && c.want != CLIENT_OVER) {
		if (step && n > step)
			n = step;
		assert_true(sent_len + n < sizeof(sent));
		memcpy(sent + sent_len, data, n);
		sent_len += n;
		client_sent(&c, n);
	}
	sent[sent_len] = 0;
}

static void begin(const struct client_conf *cf)
{
	finished_count = 0;
	sent_len = 0;
	client_start(&c, cf);
}

static void say(const char *text)
{
	client_input(&c, text, strlen(text));
	drain();
}

static void expect(const char *text)
{
	drain();
	assert_string_equal(sent, text);
	sent_len = 0;
	sent[0] = 0;
}

static void greet(const char *ehlo)
{
	say("220 mx.example\r\n");
	expect("EHLO us.example\r\n");
	say(ehlo);
}

struct body {
	const char *text;
	size_t len, chunk; /* at most that many at a time */
};

static ssize_t read_body(struct out_letter *l, uint64_t off, void *buf, size_t len)
{
	const struct body *b = l->arg;

	if (len > b->len - off)
		len = b->len - (size_t)off;
	if (b->chunk && len > b->chunk)
		len = b->chunk;
	memcpy(buf, b->text + off, len);
	return (ssize_t)len;
}

static struct out_rcpt rcpts[4];

static struct out_letter letter(struct body *b, size_t count)
{
	static const char *const names[] = { "b@d.example", "c@d.example", "d@d.example",
					     "e@d.example" };

	for (size_t i = 0; i < count; i++)
		rcpts[i] = (struct out_rcpt){ .addr = names[i], .orcpt = "" };
	return (struct out_letter){ .sender = "a@s.example",
				    .size = b->len,
				    .rcpt = rcpts,
				    .rcpt_count = count,
				    .read = read_body,
				    .arg = b };
}

static struct body hello = { "Subject: x\r\n\r\nhi\r\n", 18, 0 };

#define PIPE "250-mx.example\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250 8BITMIME\r\n"

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
static void dots_are_doubled_and_lines_end_in_crlf_over_any_cut(void **state)
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
	assert_false(c.auth_plain);
	client_clear(&c);
}

/* Case 42 */
static void text_behind_the_answer_to_starttls_ends_the_session(void **state)
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
static void required_tls_is_never_given_up(void **state)
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

#define HOP "250-mx\r\n250-PIPELINING\r\n250-CHUNKING\r\n250-8BITMIME\r\n250 XPOSTERN 1\r\n"

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
	say("250 ok\r\n250 ok\r\n250 2.0.0 stored\r\n250 reset\r\n250 ok\r\n452 4.2.2 full\r\n554 5.5.1 "
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
	say("250 ok\r\n451 4.3.0 later\r\n554 5.5.1 none\r\n250 reset\r\n503 5.5.1 one is under way\r\n");
	assert_int_equal(finished_count, 2);
	assert_int_equal(rcpts[0].result, RCPT_RES_TEMPFAIL);
	assert_int_equal(r2.result, RCPT_RES_TEMPFAIL);
	assert_int_equal(r2.scope, SCOPE_HOST);
	client_clear(&c);
}

static void a_lost_session_is_charged_to_the_letter_that_was_open(void **state)
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
static void lmtp_settles_each_recipient_by_itself(void **state)
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
		cmocka_unit_test(without_pipelining_each_reply_is_awaited),
		cmocka_unit_test(a_354_for_nobody_is_ended_with_an_empty_body),
		cmocka_unit_test(dots_are_doubled_and_lines_end_in_crlf_over_any_cut),
		cmocka_unit_test(a_long_body_goes_through_a_small_buffer),
		cmocka_unit_test(starttls_forgets_what_was_said_before),
		cmocka_unit_test(text_behind_the_answer_to_starttls_ends_the_session),
		cmocka_unit_test(required_tls_is_never_given_up),
		cmocka_unit_test(a_password_goes_only_where_plain_is_offered),
		cmocka_unit_test(letters_to_another_postern_follow_without_waiting),
		cmocka_unit_test(a_next_hop_out_of_step_decides_nothing),
		cmocka_unit_test(a_lost_session_is_charged_to_the_letter_that_was_open),
		cmocka_unit_test(a_421_is_the_host_s),
		cmocka_unit_test(too_many_recipients_come_again_and_the_rest_goes),
		cmocka_unit_test(mail_and_end_of_data_are_the_letter_s),
		cmocka_unit_test(lmtp_settles_each_recipient_by_itself),
		cmocka_unit_test(what_a_peer_cannot_take_is_told_without_asking),
		cmocka_unit_test(a_tunnel_peer_that_does_not_know_us_is_a_host_that_waits),
		cmocka_unit_test(replies_out_of_step_end_the_session),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
