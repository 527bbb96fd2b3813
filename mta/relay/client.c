/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "client_int.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "secret.h"

#define MINUTE_MS 60000ull

/* ---- what is due ---- */

bool client_due_push(struct client *s, enum due_kind kind, struct out_letter *l, size_t rcpt)
{
	if (s->due_count == s->due_cap) {
		size_t cap = s->due_cap ? s->due_cap * 2 : 16;
		struct due *d = calloc(cap, sizeof(*d));

		if (!d)
			return false;
		for (size_t i = 0; i < s->due_count; i++)
			d[i] = s->due[(s->due_head + i) % s->due_cap];
		free(s->due);
		s->due = d;
		s->due_head = 0;
		s->due_cap = cap;
	}
	s->due[(s->due_head + s->due_count++) % s->due_cap] =
	    (struct due){ .kind = kind, .letter = l, .rcpt = rcpt };
	return true;
}

static struct due due_pop(struct client *s)
{
	struct due d = s->due[s->due_head];

	s->due_head = (s->due_head + 1) % s->due_cap;
	s->due_count--;
	return d;
}

/* ---- the end ---- */

void client_own_words(struct reply *r, const char *fmt, ...)
{
	va_list ap;

	memset(r, 0, sizeof(*r));
	va_start(ap, fmt);
	vsnprintf(r->text, sizeof(r->text), fmt, ap);
	va_end(ap);
}

static void settle(struct out_rcpt *r, enum rcpt_result result, enum fault_scope scope,
		   const struct reply *reply)
{
	if (r->settled)
		return;
	r->settled = true;
	r->result = (uint8_t)result;
	r->scope = (uint8_t)scope;
	r->reply = *reply;
}

void client_settle_all(struct out_letter *l, enum rcpt_result result, enum fault_scope scope,
		       const struct reply *reply)
{
	for (size_t i = 0; i < l->rcpt_count; i++)
		settle(&l->rcpt[i], result, scope, reply);
}

/* Takes @l from the list and gives it back. */
static void letter_end(struct client *s, struct out_letter *l)
{
	struct out_letter **at = &s->letters;

	while (*at != l)
		at = &(*at)->next;
	*at = l->next;
	if (!*at)
		s->letters_tail = at;
	if (s->sending == l)
		s->sending = NULL;
	s->letter_count--;
	l->next = NULL;
	s->conf.done(s->conf.arg, l);
}

void client_over(struct client *s, const struct reply *why)
{
	if (s->want == CLIENT_OVER)
		return;
	s->want = CLIENT_OVER;
	s->failed = true;
	s->fault = *why;
	s->out_len = s->out_off = 0;
	s->sending = NULL;
	while (s->letters) {
		struct out_letter *l = s->letters;
		struct reply nothing = { 0 };

		/* The first pays for the host; those behind it are free unless they may be there. */
		client_settle_all(l, RCPT_RES_TEMPFAIL, SCOPE_HOST, why);
		letter_end(s, l);
		for (l = s->letters; l; l = l->next) {
			if (!l->body_sent)
				client_settle_all(l, RCPT_RES_NOT_TRIED, SCOPE_NONE, &nothing);
		}
	}
}

void client_over_words(struct client *s, const char *words)
{
	struct reply r;

	client_own_words(&r, "%s", words);
	client_over(s, &r);
}

/* ---- replies ---- */

static bool all_settled(const struct out_letter *l)
{
	for (size_t i = 0; i < l->rcpt_count; i++) {
		if (!l->rcpt[i].settled)
			return false;
	}
	return true;
}

static enum rcpt_result result_of(const struct reply *r)
{
	return r->code / 100 == 2   ? RCPT_RES_DELIVERED
	       : r->code / 100 == 5 ? RCPT_RES_PERMFAIL
				    : RCPT_RES_TEMPFAIL;
}

/* Nothing of this letter is due any more. */
static bool quiet(const struct client *s, const struct out_letter *l)
{
	for (size_t i = 0; i < s->due_count; i++) {
		if (s->due[(s->due_head + i) % s->due_cap].letter == l)
			return false;
	}
	return s->sending != l;
}

/* With those before it answered, nothing is in doubt when the session ends here. */
static void cut_cancelled(struct client *s)
{
	if (s->letters && s->letters->cancelled)
		client_withdraw(s, "a letter was called back");
}

static void maybe_end(struct client *s, struct out_letter *l)
{
	if (all_settled(l) && quiet(s, l))
		letter_end(s, l);
	cut_cancelled(s);
	if (s->want == CLIENT_BUSY && s->greeted)
		s->want = CLIENT_READY;
}

/*
 * A tunnel peer that does not offer XPOSTERN does not (yet) know us as its peer: it may have been
 * restarted a moment ago and not heard of the tunnel. And 530 asks for a key that we have not shown. That
 * it denies us then is no word on the letter.
 */
static bool mistaken(const struct client *s, const struct reply *r)
{
	return s->conf.hop && r->code / 100 == 5 && !strncmp(r->enhanced, "5.7.", 4) &&
	       (!s->postern || r->code == 530);
}

/*
 * At MAIL a tunnel peer that is just starting (4.3.0, 4.3.2) or at fault (4.3.5) speaks of itself; only
 * 4.3.1, no room, may be about this letter's size. Behind MAIL it stays the letter's own, or one that a peer
 * cannot digest would come first for ever.
 */
static bool unready(const struct client *s, const struct reply *r)
{
	return s->conf.hop && r->code / 100 == 4 && !strncmp(r->enhanced, "4.3.", 4) &&
	       strcmp(r->enhanced, "4.3.1") != 0;
}

static void on_mail(struct client *s, struct out_letter *l, const struct reply *r)
{
	if (r->code / 100 == 2)
		return;
	l->mail_failed = true;
	client_settle_all(l,
			  result_of(r) == RCPT_RES_PERMFAIL ? RCPT_RES_PERMFAIL : RCPT_RES_TEMPFAIL,
			  SCOPE_MESSAGE, r);
	/* What was pipelined behind it still gets its replies; what was not is not sent. */
	if (s->sending == l && !l->data_started)
		s->sending = NULL;
}

static void on_rcpt(struct client *s, struct out_letter *l, size_t i, const struct reply *r)
{
	struct reply nothing = { 0 };
	bool some = false;

	l->rcpt_replied++;
	if (r->code / 100 == 2) {
		l->rcpt[i].accepted = !l->mail_failed;
	} else {
		for (size_t k = 0; k < l->rcpt_count; k++)
			some |= l->rcpt[k].accepted;
		/* Behind others: too many at once (s4.5.3.1.10); they come in the next transaction. */
		if ((r->code == 452 || r->code == 552) && some)
			settle(&l->rcpt[i], RCPT_RES_NOT_TRIED, SCOPE_NONE, &nothing);
		else
			settle(&l->rcpt[i],
			       r->code / 100 == 5 ? RCPT_RES_PERMFAIL : RCPT_RES_TEMPFAIL,
			       SCOPE_RECIPIENT, r);
	}
	/* Without pipelining DATA has not left yet: with nobody to take the letter it never does. */
	if (s->sending == l && !l->data_started && l->rcpt_next == l->rcpt_count &&
	    l->rcpt_replied == l->rcpt_count && !s->pipelining && all_settled(l)) {
		s->sending = NULL;
		l->mail_failed = true;
		s->open = false;
		client_command(s, DUE_RSET, l, 0, "RSET");
	}
}

static void on_data(struct client *s, struct out_letter *l, const struct reply *r)
{
	if (r->code == 354) {
		s->sending = l;
		s->line_start = true;
		s->last_cr = false;
		return;
	}
	l->mail_failed = true;
	client_settle_all(l, r->code / 100 == 5 ? RCPT_RES_PERMFAIL : RCPT_RES_TEMPFAIL,
			  SCOPE_MESSAGE, r);
}

static void on_end(struct out_letter *l, size_t i, bool one, const struct reply *r)
{
	enum rcpt_result result = result_of(r);
	enum fault_scope scope = result == RCPT_RES_DELIVERED ? SCOPE_NONE
				 : one			      ? SCOPE_RECIPIENT
							      : SCOPE_MESSAGE;

	for (size_t k = 0; k < l->rcpt_count; k++) {
		if (l->rcpt[k].accepted && (!one || k == i))
			settle(&l->rcpt[k], result, scope, r);
	}
	if (one)
		return;
	/* 2xx for a letter of which nobody was accepted is nonsense; it delivers nothing. */
	client_settle_all(l, RCPT_RES_TEMPFAIL, SCOPE_MESSAGE, r);
}

static void on_publish(struct client *s, enum due_kind kind, const struct reply *r)
{
	if (kind == DUE_PUBLISH && r->code == 354) {
		s->publication_wanted = true;
		return;
	}
	s->publishing = false;
	s->want = CLIENT_READY;
	s->conf.published(s->conf.arg, r);
}

static void on_trace(struct client *s, const struct reply *r)
{
	s->tracing = false;
	s->want = CLIENT_READY;
	s->conf.traced(s->conf.arg, r);
}

static void on_reply(struct client *s)
{
	const struct reply *r = &s->parser.reply;
	struct due d;

	if (!s->due_count) {
		/* 421 may come unasked (s3.8); anything else is out of step. */
		client_over(s, r);
		return;
	}
	d = due_pop(s);
	if (r->code == 421) {
		client_over(s, r);
		return;
	}
	if (r->code / 100 == 3 && d.kind != DUE_DATA && d.kind != DUE_PUBLISH &&
	    d.kind != DUE_AUTH) {
		client_over_words(s, "the next hop answers out of step");
		return;
	}
	if (((d.kind == DUE_MAIL || d.kind == DUE_RCPT) && mistaken(s, r)) ||
	    (d.kind == DUE_MAIL && unready(s, r))) {
		client_over(s, r);
		return;
	}
	/* Out of step: whose letter is whose is no longer sure, so nothing on this session counts. */
	if (r->code == 503 &&
	    (d.kind == DUE_MAIL || (d.kind == DUE_RCPT && !d.letter->mail_failed))) {
		client_over(s, r);
		return;
	}
	if (d.kind == DUE_BDAT && r->code / 100 == 2 && s->mailed == d.letter)
		s->open = false;
	switch (d.kind) {
	case DUE_MAIL:
		on_mail(s, d.letter, r);
		break;
	case DUE_RCPT:
		on_rcpt(s, d.letter, d.rcpt, r);
		break;
	case DUE_DATA:
		on_data(s, d.letter, r);
		break;
	case DUE_DOT:
		on_end(d.letter, d.rcpt, s->conf.lmtp, r);
		break;
	case DUE_BDAT:
		on_end(d.letter, 0, false, r);
		break;
	case DUE_RSET:
		break;
	case DUE_QUIT:
		s->want = CLIENT_OVER;
		return;
	case DUE_PUBLISH:
	case DUE_PUBLISHED:
		on_publish(s, d.kind, r);
		return;
	case DUE_TRACE:
		on_trace(s, r);
		return;
	default:
		client_on_greeting(s, d.kind, r);
		return;
	}
	if (s->want != CLIENT_OVER)
		maybe_end(s, d.letter);
}

void client_input(struct client *s, const void *data, size_t len)
{
	const char *p = data;

	while (len && s->want != CLIENT_OVER) {
		size_t used;
		int rc;

		/* Bytes behind the 220 to STARTTLS were injected (RFC 3207 s6): give up. */
		if (s->want == CLIENT_TLS) {
			s->tls_failed = true;
			client_over_words(s, "plain text behind the answer to STARTTLS");
			return;
		}
		rc = reply_feed(&s->parser, p, len, &used);
		p += used;
		len -= used;
		if (rc < 0) {
			client_over_words(s, "the next hop's reply is not SMTP");
		} else if (rc) {
			s->replies++;
			on_reply(s);
		}
	}
}

void client_start(struct client *s, const struct client_conf *conf)
{
	memset(s, 0, sizeof(*s));
	s->conf = *conf;
	s->letters_tail = &s->letters;
	s->parser.on_line = client_ehlo_line;
	s->parser.arg = s;
	s->tls_done = conf->tls_on;
	if (!client_due_push(s, DUE_BANNER, NULL, 0))
		client_over_words(s, "out of memory");
}

void client_clear(struct client *s)
{
	free(s->due);
	secret_wipe(s->out, sizeof(s->out));
	s->due = NULL;
	s->due_cap = s->due_count = 0;
}

bool client_can_take(const struct client *s)
{
	if (s->want != CLIENT_READY || s->quit_sent)
		return false;
	if (client_carries_many(s))
		return s->letter_count < CLIENT_LETTERS_MAX;
	return !s->letter_count ||
	       (client_chains(s) && s->letter_count == 1 && s->letters->body_sent);
}

/* What this peer cannot take at all is settled without a word to it. */
static bool unfit(struct client *s, struct out_letter *l)
{
	struct reply r = { .code = 0 };

	if (s->size_known && s->size_max && l->size > s->size_max) {
		client_own_words(&r, "the next hop takes at most %llu bytes",
				 (unsigned long long)s->size_max);
		memcpy(r.enhanced, "5.3.4", 6);
	} else if (!s->smtputf8 && client_needs_utf8(l)) {
		client_own_words(&r, "the next hop does not offer SMTPUTF8");
		memcpy(r.enhanced, "5.6.7", 6);
	} else if (l->required_8bitmime && l->flags & ENV_8BITMIME && !s->eightbit) {
		client_own_words(&r, "the next hop does not offer 8BITMIME");
		memcpy(r.enhanced, "5.6.3", 6);
	} else {
		bool dirty = !client_clean(l->sender);

		for (size_t i = 0; i < l->rcpt_count; i++)
			dirty |= !client_clean(l->rcpt[i].addr);
		if (!dirty)
			return false;
		client_own_words(&r, "an address with control characters");
		memcpy(r.enhanced, "5.1.3", 6);
	}
	client_settle_all(l, RCPT_RES_PERMFAIL, SCOPE_MESSAGE, &r);
	return true;
}

void client_letter(struct client *s, struct out_letter *l)
{
	l->next = NULL;
	*s->letters_tail = l;
	s->letters_tail = &l->next;
	s->letter_count++;
	s->letters_sent++;
	if (unfit(s, l))
		letter_end(s, l);
}

void client_publish(struct client *s, const char *text, size_t len)
{
	assert(s->want == CLIENT_READY && s->may_publish && !s->letter_count && !s->quit_sent);
	s->publication = text;
	s->publication_len = len;
	s->publication_off = 0;
	s->publication_wanted = false;
	s->publishing = true;
	s->want = CLIENT_BUSY;
	client_command(s, DUE_PUBLISH, NULL, 0, "XPUBLISH %zu", len);
}

void client_trace(struct client *s, const char *args)
{
	assert(s->want == CLIENT_READY && s->may_trace && !s->letter_count && !s->quit_sent);
	s->tracing = true;
	s->want = CLIENT_BUSY;
	client_command(s, DUE_TRACE, NULL, 0, "XTRACE %s", args);
}

void client_quit(struct client *s)
{
	/* In the middle of a set QUIT would be a part of it. */
	if (s->want == CLIENT_OVER || s->quit_sent || s->publishing || s->tracing)
		return;
	s->quit_sent = true;
	client_command(s, DUE_QUIT, NULL, 0, "QUIT");
}

void client_lost(struct client *s, const char *why)
{
	client_over_words(s, why);
}

void client_withdraw(struct client *s, const char *why)
{
	struct reply nothing = { 0 };

	for (struct out_letter *l = s->letters; l; l = l->next)
		client_settle_all(l, RCPT_RES_NOT_TRIED, SCOPE_NONE, &nothing);
	client_over_words(s, why);
}

void client_cancel(struct client *s, struct out_letter *l)
{
	struct reply nothing = { 0 };

	if (l->body_sent || s->want == CLIENT_OVER)
		return;
	if (!l->data_started && quiet(s, l)) {
		client_settle_all(l, RCPT_RES_NOT_TRIED, SCOPE_NONE, &nothing);
		letter_end(s, l);
		return;
	}
	l->cancelled = true;
	cut_cancelled(s);
}

uint64_t client_timeout_ms(const struct client *s)
{
	if (!s->due_count)
		return s->sending || s->publication_wanted ? 3 * MINUTE_MS : UINT64_MAX;
	switch (s->due[s->due_head].kind) {
	case DUE_DATA:
		return 2 * MINUTE_MS;
	case DUE_DOT:
	case DUE_BDAT:
	case DUE_PUBLISHED:
		return 10 * MINUTE_MS;
	case DUE_QUIT:
		return 5000;
	default:
		return 5 * MINUTE_MS;
	}
}
