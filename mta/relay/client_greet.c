/* SPDX-License-Identifier: GPL-3.0-or-later */
/* From the banner to the first letter: who we are, what the peer can do, TLS, AUTH. */
#include "client_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "client_auth.h"
#include "secret.h"

/* " 1 PUBLISH=17": a version, then words of which we know some. */
static void on_postern(struct client *s, const char *words)
{
	static const char key[] = " PUBLISH=";
	const char *p = strstr(words, key);
	char *end;

	s->postern = s->conf.hop;
	if (!p || !s->conf.hop || p[sizeof(key) - 1] < '0' || p[sizeof(key) - 1] > '9')
		return;
	errno = 0;
	s->publish_serial = strtoull(p + sizeof(key) - 1, &end, 10);
	s->may_publish = !errno && (!*end || *end == ' ') && s->publish_serial < UINT64_MAX;
}

void client_ehlo_line(void *arg, unsigned index, const char *text)
{
	struct client *s = arg;
	size_t n = strcspn(text, " ");

	if (s->due_count && s->due[s->due_head].kind == DUE_TRACE)
		s->conf.trace_line(s->conf.arg, text);
	if (!index || !s->due_count || s->due[s->due_head].kind != DUE_EHLO)
		return;
#define IS(word) (n == sizeof(word) - 1 && !strncasecmp(text, word, n))
	if (IS("PIPELINING"))
		s->pipelining = true;
	else if (IS("CHUNKING"))
		s->chunking = true;
	else if (IS("8BITMIME"))
		s->eightbit = true;
	else if (IS("STARTTLS"))
		s->starttls = true;
	else if (IS("DSN"))
		s->dsn = true;
	else if (IS("SMTPUTF8"))
		s->smtputf8 = true;
	else if (IS("XPOSTERN"))
		on_postern(s, text + n);
	else if (IS("XTRACE"))
		s->may_trace = true;
	else if (IS("SIZE")) {
		s->size_known = true;
		s->size_max = strtoull(text + n, NULL, 10);
	} else if (IS("AUTH")) {
		s->auth_offer |= client_auth_offer(text + n);
	}
#undef IS
}

static void say_hello(struct client *s)
{
	s->pipelining = s->chunking = s->eightbit = s->size_known = s->starttls = s->dsn = false;
	s->smtputf8 = s->postern = s->may_publish = s->may_trace = false;
	s->auth_offer = s->auth_step = 0;
	s->size_max = 0;
	client_command(s, DUE_EHLO, NULL, 0, "%s %s", s->conf.lmtp ? "LHLO" : "EHLO", s->conf.ehlo);
}

static void auth(struct client *s)
{
	bool external = s->conf.external;
	char line[CLIENT_AUTH_LINE_MAX];
	int rc = external ? client_auth_external(s->auth_offer, s->auth_step, line)
			  : client_auth_line(s->auth_offer, s->auth_step, s->conf.username,
					     s->conf.password, line);

	if (rc == -ENOTSUP)
		client_over_words(
		    s, external ? "the next hop does not offer AUTH EXTERNAL to our certificate"
				: "the next hop offers neither AUTH PLAIN nor LOGIN");
	else if (rc == -EMSGSIZE)
		client_over_words(s, "username and password are too long");
	else if (rc)
		client_over_words(s, external
					 ? "the next hop asks for more than our certificate"
					 : "the next hop asks for more than username and password");
	else
		client_command(s, DUE_AUTH, NULL, 0, "%s", line);
	secret_wipe(line, sizeof(line));
}

/* After EHLO: TLS if it is to be, then AUTH if it is to be, then letters. */
static void greeted(struct client *s)
{
	bool must = s->conf.tls > TLS_MAY;

	if (!s->tls_done && s->conf.tls != TLS_NONE && s->starttls) {
		client_command(s, DUE_STARTTLS, NULL, 0, "STARTTLS");
		return;
	}
	if (!s->tls_done && must) {
		s->tls_failed = true;
		client_over_words(s, "TLS is required, but the next hop does not offer STARTTLS");
		return;
	}
	if ((s->conf.username || s->conf.external) && !s->authenticated) {
		auth(s);
		return;
	}
	s->greeted = true;
	s->want = CLIENT_READY;
}

void client_tls_done(struct client *s)
{
	s->tls_done = true;
	s->want = CLIENT_BUSY;
	say_hello(s);
}

void client_on_greeting(struct client *s, enum due_kind kind, const struct reply *r)
{
	bool ok = r->code / 100 == 2;

	switch (kind) {
	case DUE_BANNER:
		if (r->code != 220)
			client_over(s, r);
		else
			say_hello(s);
		break;
	case DUE_EHLO:
		if (ok) {
			greeted(s);
		} else if (r->code / 100 == 5 && !s->conf.lmtp && r->code != 521) {
			client_command(s, DUE_HELO, NULL, 0, "HELO %s", s->conf.ehlo);
		} else {
			client_over(s, r);
		}
		break;
	case DUE_HELO:
		if (ok)
			greeted(s);
		else
			client_over(s, r);
		break;
	case DUE_STARTTLS:
		if (r->code == 220) {
			s->want = CLIENT_TLS;
		} else if (s->conf.tls > TLS_MAY) {
			s->tls_failed = true;
			client_over(s, r);
		} else {
			s->starttls = false;
			greeted(s);
		}
		break;
	default: /* DUE_AUTH */
		s->authenticated = r->code == 235;
		if (s->authenticated) {
			greeted(s);
		} else if (r->code == 334) {
			s->auth_step++;
			auth(s);
		} else {
			client_over(s, r);
		}
	}
}
