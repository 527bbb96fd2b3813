/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "client.h"

#include <assert.h>
#include <errno.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "secret.h"

#define CHUNK	    4096 /* of the body at a time */
#define COMMAND_MAX 4096 /* room that a command needs in the buffer */
#define MINUTE_MS   60000ull

/* ---- what is due ---- */

static bool due_push(struct client *s, enum due_kind kind, struct out_letter *l, size_t rcpt)
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

static void own_words(struct reply *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void own_words(struct reply *r, const char *fmt, ...)
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

static void settle_all(struct out_letter *l, enum rcpt_result result, enum fault_scope scope,
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

static void over(struct client *s, const struct reply *why)
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
		settle_all(l, RCPT_RES_TEMPFAIL, SCOPE_HOST, why);
		letter_end(s, l);
		for (l = s->letters; l; l = l->next) {
			if (!l->body_sent)
				settle_all(l, RCPT_RES_NOT_TRIED, SCOPE_NONE, &nothing);
		}
	}
}

static void over_words(struct client *s, const char *words)
{
	struct reply r;

	own_words(&r, "%s", words);
	over(s, &r);
}

/* ---- output ---- */

static size_t room(const struct client *s)
{
	return CLIENT_OUT_MAX - s->out_len;
}

static void put(struct client *s, const char *data, size_t len)
{
	assert(len <= room(s));
	memcpy(s->out + s->out_len, data, len);
	s->out_len += len;
}

static void command(struct client *s, enum due_kind kind, struct out_letter *l, size_t rcpt,
		    const char *fmt, ...) __attribute__((format(printf, 5, 6)));
static void command(struct client *s, enum due_kind kind, struct out_letter *l, size_t rcpt,
		    const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(s->out + s->out_len, room(s), fmt, ap);
	va_end(ap);
	/* A command that does not fit is cut nowhere: the session ends (limits keep it from here). */
	if (n < 0 || (size_t)n + 2 > room(s) || !due_push(s, kind, l, rcpt)) {
		over_words(s, "a command does not fit");
		return;
	}
	s->out_len += (size_t)n;
	put(s, "\r\n", 2);
}

/* Addresses in the queue were checked when they came; this is the last wall before the wire. */
static bool clean(const char *s)
{
	for (; *s; s++) {
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return false;
	}
	return true;
}

static void mail_command(struct client *s, struct out_letter *l)
{
	char params[2600];
	size_t n = 0;

	params[0] = 0;
	if (s->size_known)
		n += (size_t)snprintf(params + n, sizeof(params) - n, " SIZE=%llu",
				      (unsigned long long)l->size);
	if (s->eightbit && l->flags & ENV_8BITMIME)
		n += (size_t)snprintf(params + n, sizeof(params) - n, " BODY=8BITMIME");
	if (s->smtputf8 && l->flags & ENV_SMTPUTF8)
		n += (size_t)snprintf(params + n, sizeof(params) - n, " SMTPUTF8");
	if (s->dsn && l->flags & ENV_RET_HDRS)
		n += (size_t)snprintf(params + n, sizeof(params) - n, " RET=HDRS");
	if (s->dsn && l->envid && strlen(l->envid) <= 100 && clean(l->envid))
		n += (size_t)snprintf(params + n, sizeof(params) - n, " ENVID=%s", l->envid);
	if (s->postern && l->hop_params)
		snprintf(params + n, sizeof(params) - n, "%s", l->hop_params);
	command(s, DUE_MAIL, l, 0, "MAIL FROM:<%s>%s", l->sender, params);
}

static void rcpt_command(struct client *s, struct out_letter *l)
{
	const struct out_rcpt *r = &l->rcpt[l->rcpt_next];
	char params[700];
	size_t n = 0;

	params[0] = 0;
	if (s->dsn && r->notify) {
		static const char *const words[] = { "NEVER", "SUCCESS", "FAILURE", "DELAY" };
		const char *comma = "";

		n += (size_t)snprintf(params, sizeof(params), " NOTIFY=");
		for (int i = 0; i < 4; i++) {
			if (!(r->notify & 1 << i))
				continue;
			n += (size_t)snprintf(params + n, sizeof(params) - n, "%s%s", comma,
					      words[i]);
			comma = ",";
		}
	}
	if (s->dsn && r->orcpt && *r->orcpt && strlen(r->orcpt) <= 500 && clean(r->orcpt))
		snprintf(params + n, sizeof(params) - n, " ORCPT=%s", r->orcpt);
	command(s, DUE_RCPT, l, l->rcpt_next, "RCPT TO:<%s>%s", r->addr, params);
	l->rcpt_next++;
}

/* Lines end in CRLF whatever the queue holds, and a dot at their start is doubled (s4.5.2). */
static void stuff(struct client *s, const char *p, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		char c = p[i];

		if (s->last_cr && c != '\n') { /* a bare CR */
			put(s, "\n", 1);
			s->line_start = true;
		}
		if (c == '\n' && !s->last_cr)
			put(s, "\r", 1); /* a bare LF */
		if (c == '.' && s->line_start)
			put(s, ".", 1);
		put(s, &c, 1);
		s->last_cr = c == '\r';
		s->line_start = c == '\n';
	}
}

static bool body_chunk(struct client *s, struct out_letter *l, bool raw)
{
	char buf[CHUNK];
	uint64_t left = l->size - l->off;
	size_t want = left < sizeof(buf) ? (size_t)left : sizeof(buf);
	ssize_t n = l->read(l, l->off, buf, want);

	if (n <= 0 || (size_t)n > want) {
		over_words(s, "the body cannot be read");
		return false;
	}
	l->off += (uint64_t)n;
	if (raw)
		put(s, buf, (size_t)n);
	else
		stuff(s, buf, (size_t)n);
	return true;
}

static void end_of_data(struct client *s, struct out_letter *l)
{
	bool any = false;

	if (s->last_cr)
		put(s, "\n", 1);
	else if (!s->line_start)
		put(s, "\r\n", 2);
	put(s, ".\r\n", 3);
	l->body_sent = true;
	s->sending = NULL;
	if (!s->conf.lmtp) {
		if (!due_push(s, DUE_DOT, l, 0))
			over_words(s, "out of memory");
		return;
	}
	/* A reply for each recipient that was taken (RFC 2033 s4.2). */
	for (size_t i = 0; i < l->rcpt_count; i++) {
		any |= l->rcpt[i].accepted;
		if (l->rcpt[i].accepted && !due_push(s, DUE_DOT, l, i))
			over_words(s, "out of memory");
	}
	if (!any)
		over_words(s, "the next hop takes data for nobody");
}

static bool by_bdat(const struct client *s)
{
	return s->postern && s->chunking && s->pipelining && !s->conf.lmtp;
}

/* DATA mode, after 354. False: nothing more for now. */
static bool send_data_body(struct client *s, struct out_letter *l)
{
	bool wanted = false;

	for (size_t i = 0; i < l->rcpt_count; i++)
		wanted |= l->rcpt[i].accepted;
	if (wanted && l->off < l->size)
		return body_chunk(s, l, false);
	if (!wanted)
		l->off = l->size; /* nobody gets it: an empty body ends what 354 began */
	end_of_data(s, l);
	return false;
}

static bool send_bdat_body(struct client *s, struct out_letter *l)
{
	if (l->off < l->size)
		return body_chunk(s, l, true);
	l->body_sent = true;
	s->sending = NULL;
	return true;
}

static struct out_letter *next_unsent(struct client *s)
{
	struct out_letter *l = s->letters;

	while (l && (l->body_sent || l->mail_failed || l->data_started))
		l = l->next;
	return l;
}

/* One more command or piece of body of the letter being sent. False: must wait. */
static bool send_step(struct client *s)
{
	struct out_letter *l = s->sending;
	bool may = s->pipelining || !s->due_count;

	if (!l) {
		l = next_unsent(s);
		if (!l || (l != s->letters && !by_bdat(s)) || !may)
			return false;
		if (s->open) {
			/*
			 * The letter before may have failed at its recipients and left its transaction
			 * open; ours would join it. RSET costs no round trip where we pipeline.
			 */
			s->open = false;
			command(s, DUE_RSET, l, 0, "RSET");
			return true;
		}
		s->sending = l;
		s->open = true;
		s->mailed = l;
		mail_command(s, l);
		return true;
	}
	if (l->data_started)
		return by_bdat(s) ? send_bdat_body(s, l) : send_data_body(s, l);
	if (!may)
		return false;
	if (l->rcpt_next < l->rcpt_count) {
		rcpt_command(s, l);
		return true;
	}
	if (by_bdat(s)) {
		l->data_started = true;
		command(s, DUE_BDAT, l, 0, "BDAT %llu LAST", (unsigned long long)l->size);
		return true;
	}
	/* LMTP needs to know who was taken before it counts replies, SMTP is better off too. */
	command(s, DUE_DATA, l, 0, "DATA");
	s->sending = NULL;
	l->data_started = true;
	return false;
}

size_t client_output(struct client *s, const char **data)
{
	if (s->want != CLIENT_OVER && s->want != CLIENT_TLS && s->greeted) {
		/* Room for the longest step: a command, or a chunk of which each byte is doubled. */
		while (room(s) >= 2 * CHUNK + COMMAND_MAX && send_step(s) && s->want != CLIENT_OVER)
			;
	}
	*data = s->out + s->out_off;
	return s->out_len - s->out_off;
}

void client_sent(struct client *s, size_t n)
{
	s->out_off += n;
	if (s->out_off < s->out_len) {
		if (s->out_off > CLIENT_OUT_MAX / 2) {
			memmove(s->out, s->out + s->out_off, s->out_len - s->out_off);
			s->out_len -= s->out_off;
			s->out_off = 0;
		}
		return;
	}
	s->out_off = s->out_len = 0;
}

/* ---- the greeting ---- */

static void on_ehlo_line(void *arg, unsigned index, const char *text)
{
	struct client *s = arg;
	size_t n = strcspn(text, " ");

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
		s->postern = s->conf.hop;
	else if (IS("SIZE")) {
		s->size_known = true;
		s->size_max = strtoull(text + n, NULL, 10);
	} else if (IS("AUTH")) {
		for (const char *w = text + n; (w = strchr(w, ' ')); w++) {
			if (!strncasecmp(w + 1, "PLAIN", 5) && (!w[6] || w[6] == ' '))
				s->auth_plain = true;
		}
	}
#undef IS
}

static void say_hello(struct client *s)
{
	s->pipelining = s->chunking = s->eightbit = s->size_known = s->starttls = s->dsn = false;
	s->smtputf8 = s->auth_plain = s->postern = false;
	s->size_max = 0;
	command(s, DUE_EHLO, NULL, 0, "%s %s", s->conf.lmtp ? "LHLO" : "EHLO", s->conf.ehlo);
}

static void auth(struct client *s)
{
	char plain[600], b64[820];
	size_t u = strlen(s->conf.username), p = strlen(s->conf.password);

	if (!s->auth_plain || u + p + 2 > sizeof(plain)) {
		over_words(s, "the next hop does not offer AUTH PLAIN");
		return;
	}
	plain[0] = 0;
	memcpy(plain + 1, s->conf.username, u + 1);
	memcpy(plain + 2 + u, s->conf.password, p);
	EVP_EncodeBlock((unsigned char *)b64, (unsigned char *)plain, (int)(u + p + 2));
	command(s, DUE_AUTH, NULL, 0, "AUTH PLAIN %s", b64);
	secret_wipe(plain, sizeof(plain));
	secret_wipe(b64, sizeof(b64));
}

/* After EHLO: TLS if it is to be, then AUTH if it is to be, then letters. */
static void greeted(struct client *s)
{
	bool must = s->conf.tls > TLS_MAY;

	if (!s->tls_done && s->conf.tls != TLS_NONE && s->starttls) {
		command(s, DUE_STARTTLS, NULL, 0, "STARTTLS");
		return;
	}
	if (!s->tls_done && must) {
		s->tls_failed = true;
		over_words(s, "TLS is required, but the next hop does not offer STARTTLS");
		return;
	}
	if (s->conf.username && !s->authenticated) {
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

static void on_greeting(struct client *s, enum due_kind kind, const struct reply *r)
{
	bool ok = r->code / 100 == 2;

	switch (kind) {
	case DUE_BANNER:
		if (r->code != 220)
			over(s, r);
		else
			say_hello(s);
		break;
	case DUE_EHLO:
		if (ok) {
			greeted(s);
		} else if (r->code / 100 == 5 && !s->conf.lmtp && r->code != 521) {
			command(s, DUE_HELO, NULL, 0, "HELO %s", s->conf.ehlo);
		} else {
			over(s, r);
		}
		break;
	case DUE_HELO:
		if (ok)
			greeted(s);
		else
			over(s, r);
		break;
	case DUE_STARTTLS:
		if (r->code == 220) {
			s->want = CLIENT_TLS;
		} else if (s->conf.tls > TLS_MAY) {
			s->tls_failed = true;
			over(s, r);
		} else {
			s->starttls = false;
			greeted(s);
		}
		break;
	default: /* DUE_AUTH */
		s->authenticated = r->code == 235;
		if (s->authenticated)
			greeted(s);
		else
			over(s, r);
	}
}

/* ---- letters ---- */

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

static void maybe_end(struct client *s, struct out_letter *l)
{
	if (all_settled(l) && quiet(s, l))
		letter_end(s, l);
	if (s->want == CLIENT_BUSY && s->greeted)
		s->want = CLIENT_READY;
}

/*
 * A tunnel peer that does not offer XPOSTERN does not (yet) know us as its peer: it may have been
 * restarted a moment ago and not heard of the tunnel. That it denies us then is no word on the letter.
 */
static bool mistaken(const struct client *s, const struct reply *r)
{
	return s->conf.hop && !s->postern && r->code / 100 == 5 && !strncmp(r->enhanced, "5.7.", 4);
}

static void on_mail(struct client *s, struct out_letter *l, const struct reply *r)
{
	if (r->code / 100 == 2)
		return;
	l->mail_failed = true;
	settle_all(l, result_of(r) == RCPT_RES_PERMFAIL ? RCPT_RES_PERMFAIL : RCPT_RES_TEMPFAIL,
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
		command(s, DUE_RSET, l, 0, "RSET");
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
	settle_all(l, r->code / 100 == 5 ? RCPT_RES_PERMFAIL : RCPT_RES_TEMPFAIL, SCOPE_MESSAGE, r);
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
	settle_all(l, RCPT_RES_TEMPFAIL, SCOPE_MESSAGE, r);
}

static void on_reply(struct client *s)
{
	const struct reply *r = &s->parser.reply;
	struct due d;

	if (!s->due_count) {
		/* 421 may come unasked (s3.8); anything else is out of step. */
		over(s, r);
		return;
	}
	d = due_pop(s);
	if (r->code == 421) {
		over(s, r);
		return;
	}
	if (r->code / 100 == 3 && d.kind != DUE_DATA) {
		over_words(s, "the next hop answers out of step");
		return;
	}
	if ((d.kind == DUE_MAIL || d.kind == DUE_RCPT) && mistaken(s, r)) {
		over(s, r);
		return;
	}
	/* Out of step: whose letter is whose is no longer sure, so nothing on this session counts. */
	if (r->code == 503 &&
	    (d.kind == DUE_MAIL || (d.kind == DUE_RCPT && !d.letter->mail_failed))) {
		over(s, r);
		return;
	}
	if ((d.kind == DUE_DOT || d.kind == DUE_BDAT) && r->code / 100 == 2 && s->mailed == d.letter)
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
	default:
		on_greeting(s, d.kind, r);
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
			over_words(s, "plain text behind the answer to STARTTLS");
			return;
		}
		rc = reply_feed(&s->parser, p, len, &used);
		p += used;
		len -= used;
		if (rc < 0) {
			over_words(s, "the next hop's reply is not SMTP");
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
	s->parser.on_line = on_ehlo_line;
	s->parser.arg = s;
	s->tls_done = conf->tls_on;
	if (!due_push(s, DUE_BANNER, NULL, 0))
		over_words(s, "out of memory");
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
	return by_bdat(s) ? s->letter_count < CLIENT_LETTERS_MAX : !s->letter_count;
}

/* What this peer cannot take at all is settled without a word to it. */
static bool unfit(struct client *s, struct out_letter *l)
{
	struct reply r = { .code = 0 };

	if (s->size_known && s->size_max && l->size > s->size_max) {
		own_words(&r, "the next hop takes at most %llu bytes",
			  (unsigned long long)s->size_max);
		memcpy(r.enhanced, "5.3.4", 6);
	} else if (l->flags & ENV_SMTPUTF8 && !s->smtputf8) {
		own_words(&r, "the next hop does not offer SMTPUTF8");
		memcpy(r.enhanced, "5.6.7", 6);
	} else if (l->required_8bitmime && l->flags & ENV_8BITMIME && !s->eightbit) {
		own_words(&r, "the next hop does not offer 8BITMIME");
		memcpy(r.enhanced, "5.6.3", 6);
	} else {
		bool dirty = !clean(l->sender);

		for (size_t i = 0; i < l->rcpt_count; i++)
			dirty |= !clean(l->rcpt[i].addr);
		if (!dirty)
			return false;
		own_words(&r, "an address with control characters");
		memcpy(r.enhanced, "5.1.3", 6);
	}
	settle_all(l, RCPT_RES_PERMFAIL, SCOPE_MESSAGE, &r);
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

void client_quit(struct client *s)
{
	if (s->want == CLIENT_OVER || s->quit_sent)
		return;
	s->quit_sent = true;
	command(s, DUE_QUIT, NULL, 0, "QUIT");
}

void client_lost(struct client *s, const char *why)
{
	over_words(s, why);
}

void client_withdraw(struct client *s, const char *why)
{
	struct reply nothing = { 0 };

	for (struct out_letter *l = s->letters; l; l = l->next)
		settle_all(l, RCPT_RES_NOT_TRIED, SCOPE_NONE, &nothing);
	over_words(s, why);
}

uint64_t client_timeout_ms(const struct client *s)
{
	if (!s->due_count)
		return s->sending ? 3 * MINUTE_MS : UINT64_MAX;
	switch (s->due[s->due_head].kind) {
	case DUE_DATA:
		return 2 * MINUTE_MS;
	case DUE_DOT:
	case DUE_BDAT:
		return 10 * MINUTE_MS;
	case DUE_QUIT:
		return 5000;
	default:
		return 5 * MINUTE_MS;
	}
}
