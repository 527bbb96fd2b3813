/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TESTS_CLIENT_SCRIPT_H
#define TESTS_CLIENT_SCRIPT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

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

static inline void on_done(void *arg, struct out_letter *l)
{
	(void)arg;
	finished[finished_count++] = l;
}

static inline struct client_conf conf(void)
{
	return (struct client_conf){ .ehlo = "us.example", .tls = TLS_MAY, .done = on_done };
}

static inline void drain(void)
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

static inline void begin(const struct client_conf *cf)
{
	finished_count = 0;
	sent_len = 0;
	client_start(&c, cf);
}

static inline void say(const char *text)
{
	client_input(&c, text, strlen(text));
	drain();
}

static inline void expect(const char *text)
{
	drain();
	assert_string_equal(sent, text);
	sent_len = 0;
	sent[0] = 0;
}

static inline void greet(const char *ehlo)
{
	say("220 mx.example\r\n");
	expect("EHLO us.example\r\n");
	say(ehlo);
}

struct body {
	const char *text;
	size_t len, chunk; /* at most that many at a time */
};

static inline ssize_t read_body(struct out_letter *l, uint64_t off, void *buf, size_t len)
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

static inline struct out_letter letter(struct body *b, size_t count)
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

#endif
