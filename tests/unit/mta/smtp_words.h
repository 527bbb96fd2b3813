/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TESTS_SMTP_WORDS_H
#define TESTS_SMTP_WORDS_H

/* What the tests of the session say and look at. Needs cmocka.h before it. */
#include "smtp_drive.h"

/* Bytes in, replies out; the replies are forgotten before. */
static __attribute__((unused)) const char *say(struct drive *d, const char *text)
{
	if (*text) { /* nothing said: what came by itself is looked at */
		drive_collect(d);
		d->out_len = 0;
		d->out[0] = 0;
	}
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

static __attribute__((unused)) void starts(const char *have, const char *want)
{
	if (strncmp(have, want, strlen(want)))
		fail_msg("reply is \"%s\", wanted \"%s...\"", have, want);
}

/* Codes of the replies in order: "250 354 250". Lines of one reply count once. */
static __attribute__((unused)) const char *codes(const char *out)
{
	static char text[4096];
	size_t n = 0;

	text[0] = 0;
	while (*out && n + 5 < sizeof(text)) {
		if (out[3] == ' ')
			n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%.3s", n ? " " : "",
					      out);
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
static __attribute__((unused)) struct drive *in_data(void)
{
	struct drive *d = ready();

	assert_string_equal(codes(say(d, MAIL RCPT "DATA\r\n")), "250 250 354");
	return d;
}

/* The letter as stored, past our own Received field. */
static __attribute__((unused)) const char *body(struct drive *d, size_t i)
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

#endif
