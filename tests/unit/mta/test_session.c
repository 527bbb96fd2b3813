/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The session as a machine over bytes. Case numbers are those of the list of robustness cases. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "smtp_drive.h"

/* Bytes in, replies out; the replies are forgotten before. */
static const char *say(struct drive *d, const char *text)
{
	drive_collect(d);
	d->out_len = 0;
	d->out[0] = 0;
	drive_bytes(d, text, strlen(text));
	return d->out;
}

static __attribute__((unused)) const char *say_bytes(struct drive *d, const void *p, size_t len)
{
	drive_collect(d);
	d->out_len = 0;
	d->out[0] = 0;
	drive_bytes(d, p, len);
	return d->out;
}

static void starts(const char *have, const char *want)
{
	if (strncmp(have, want, strlen(want)))
		fail_msg("reply is \"%s\", wanted \"%s...\"", have, want);
}

/* Codes of the replies in order: "250 354 250". Lines of one reply count once. */
static const char *codes(const char *out)
{
	static char text[4096];
	size_t n = 0;

	text[0] = 0;
	while (*out && n + 5 < sizeof(text)) {
		if (out[3] == ' ')
			n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%.3s", n ? " " : "", out);
		out = strstr(out, "\r\n");
		if (!out)
			break;
		out += 2;
	}
	return text;
}

#define GREETED "EHLO client.example\r\n"
#define MAIL	"MAIL FROM:<a@out.example>\r\n"
#define RCPT	"RCPT TO:<b@home.example>\r\n"
#define LETTER	"Subject: x\r\n\r\nhello\r\n"

static struct drive *ready(void)
{
	struct drive *d = drive_new();

	drive_begin(d);
	drive_bytes(d, GREETED, strlen(GREETED));
	return d;
}

/* Ready, with sender and recipient told and DATA answered. */
static struct drive *in_data(void)
{
	struct drive *d = ready();

	assert_string_equal(codes(say(d, MAIL RCPT "DATA\r\n")), "250 250 354");
	return d;
}

/* The letter as stored, past our own Received field. */
static const char *body(struct drive *d, size_t i)
{
	static char text[DRIVE_BODY];
	const uint8_t *p = d->letter[i].body, *end = p + d->letter[i].body_len;

	/* The first line that is no continuation ends our field. */
	for (; p + 2 < end; p++) {
		if (p[0] == '\r' && p[1] == '\n' && p[2] != '\t')
			break;
	}
	p = p + 2 <= end ? p + 2 : end;
	assert_true((size_t)(end - p) < sizeof(text));
	memcpy(text, p, (size_t)(end - p));
	text[end - p] = 0;
	return text;
}

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
	assert_non_null(strstr((char *)d->letter[0].body,
			       "\r\n\tfor <b@home.example>;\r\n\tSat, 21 Nov 2026 23:56:36 +0000\r\n"));
	memcpy(id, strstr((char *)d->letter[0].body, " id ") + 4, 32);
	id[32] = 0;
	assert_int_equal(strspn(id, "0123456789abcdef"), 32);
	drive_free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_letter_goes_from_banner_to_quit),
		cmocka_unit_test(received_tells_client_protocol_id_and_recipient),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
