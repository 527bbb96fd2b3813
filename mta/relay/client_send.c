/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a session says, as far as the peer lets it. */
#include "client_int.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define CHUNK	    4096 /* of the body at a time */
#define COMMAND_MAX 4096 /* room that a command needs in the buffer */

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

void client_command(struct client *s, enum due_kind kind, struct out_letter *l, size_t rcpt,
		    const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(s->out + s->out_len, room(s), fmt, ap);
	va_end(ap);
	/* A command that does not fit is cut nowhere: the session ends (limits keep it from here). */
	if (n < 0 || (size_t)n + 2 > room(s) || !client_due_push(s, kind, l, rcpt)) {
		client_over_words(s, "a command does not fit");
		return;
	}
	s->out_len += (size_t)n;
	put(s, "\r\n", 2);
}

/* Addresses in the queue were checked when they came; this is the last wall before the wire. */
bool client_clean(const char *s)
{
	for (; *s; s++) {
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return false;
	}
	return true;
}

static bool ascii(const char *s)
{
	for (; *s; s++) {
		if (*s & 0x80)
			return false;
	}
	return true;
}

/* It was asked for, or an alias of ours leads to such an address. */
bool client_needs_utf8(const struct out_letter *l)
{
	bool needs = l->flags & ENV_SMTPUTF8 || !ascii(l->sender);

	for (size_t i = 0; i < l->rcpt_count && !needs; i++)
		needs = !ascii(l->rcpt[i].addr);
	return needs;
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
	if (s->smtputf8 && client_needs_utf8(l))
		n += (size_t)snprintf(params + n, sizeof(params) - n, " SMTPUTF8");
	if (s->dsn && l->flags & ENV_RET_HDRS)
		n += (size_t)snprintf(params + n, sizeof(params) - n, " RET=HDRS");
	if (s->dsn && l->envid && strlen(l->envid) <= 100 && client_clean(l->envid))
		n += (size_t)snprintf(params + n, sizeof(params) - n, " ENVID=%s", l->envid);
	if (s->postern && l->hop_params)
		snprintf(params + n, sizeof(params) - n, "%s", l->hop_params);
	client_command(s, DUE_MAIL, l, 0, "MAIL FROM:<%s>%s", l->sender, params);
}

static void rcpt_command(struct client *s, struct out_letter *l)
{
	struct out_rcpt *r = &l->rcpt[l->rcpt_next];
	char params[700];
	size_t n = 0;

	params[0] = 0;
	r->notified = s->dsn && r->notify;
	if (r->notified) {
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
	if (s->dsn && r->orcpt && *r->orcpt && strlen(r->orcpt) <= 500 && client_clean(r->orcpt))
		snprintf(params + n, sizeof(params) - n, " ORCPT=%s", r->orcpt);
	client_command(s, DUE_RCPT, l, l->rcpt_next, "RCPT TO:<%s>%s", r->addr, params);
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
	struct reply why;

	if (n <= 0 || (size_t)n > want) {
		/* Its own fault and no host's, or it would come first again and hold up all behind it. */
		client_own_words(&why, "the body cannot be read");
		client_settle_all(l, RCPT_RES_TEMPFAIL, SCOPE_MESSAGE, &why);
		client_over(s, &why);
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
	s->open = false; /* the dot ends the transaction, whatever the answer (s4.1.1.4) */
	s->sending = NULL;
	if (!s->conf.lmtp) {
		if (!client_due_push(s, DUE_DOT, l, 0))
			client_over_words(s, "out of memory");
		return;
	}
	/* A reply for each recipient that was taken (RFC 2033 s4.2). */
	for (size_t i = 0; i < l->rcpt_count; i++) {
		any |= l->rcpt[i].accepted;
		if (l->rcpt[i].accepted && !client_due_push(s, DUE_DOT, l, i))
			client_over_words(s, "out of memory");
	}
	if (!any)
		client_over_words(s, "the next hop takes data for nobody");
}

bool client_carries_many(const struct client *s)
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

bool client_chains(const struct client *s)
{
	return s->conf.chain && s->pipelining && !s->conf.lmtp;
}

/* May @l begin while those before it are not answered? */
static bool may_begin(const struct client *s, const struct out_letter *l)
{
	if (l == s->letters || client_carries_many(s))
		return true;
	for (const struct out_letter *p = s->letters; p != l; p = p->next)
		if (!p->body_sent)
			return false;
	return client_chains(s);
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
		if (!l || !may_begin(s, l) || !may)
			return false;
		if (s->open) {
			/*
			 * The letter before may have failed at its recipients and left its transaction
			 * open; ours would join it. RSET costs no round trip where we pipeline.
			 */
			s->open = false;
			client_command(s, DUE_RSET, l, 0, "RSET");
			return true;
		}
		s->sending = l;
		s->open = true;
		s->mailed = l;
		mail_command(s, l);
		return true;
	}
	if (l->cancelled)
		return false;
	if (l->data_started)
		return client_carries_many(s) ? send_bdat_body(s, l) : send_data_body(s, l);
	if (!may)
		return false;
	if (l->rcpt_next < l->rcpt_count) {
		rcpt_command(s, l);
		return true;
	}
	if (client_carries_many(s)) {
		l->data_started = true;
		client_command(s, DUE_BDAT, l, 0, "BDAT %llu LAST", (unsigned long long)l->size);
		return true;
	}
	/* LMTP needs to know who was taken before it counts replies, SMTP is better off too. */
	client_command(s, DUE_DATA, l, 0, "DATA");
	s->sending = NULL;
	l->data_started = true;
	return false;
}

/* After its 354: the set as it is. */
static void publication_step(struct client *s)
{
	size_t n = s->publication_len - s->publication_off;

	if (!s->publication_wanted)
		return;
	n = n < room(s) ? n : room(s);
	put(s, s->publication + s->publication_off, n);
	s->publication_off += n;
	if (s->publication_off < s->publication_len)
		return;
	s->publication_wanted = false;
	if (!client_due_push(s, DUE_PUBLISHED, NULL, 0))
		client_over_words(s, "out of memory");
}

size_t client_output(struct client *s, const char **data)
{
	if (s->want != CLIENT_OVER)
		publication_step(s);
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
