/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One letter: MAIL, RCPT, and its bytes by DATA or BDAT, to the queue's answer. The letter goes to
 * the queue whole when it is small; past MSG_BODY_INLINE it is streamed in chunks, each within the
 * credit that the queue has given, so a slow disk slows the client and nothing piles up here.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session.h"

#define BDAT_DRAIN_MAX (256u << 20) /* a refused chunk larger than this is not read: 421 */

void session_log_keys(struct session *s, const char *letter)
{
	const struct session_conf *c = s->conf;
	char addr[ADDR_STR_MAX];

	log_set(&s->log, "client=%s family=%s listener=%s%s%s%s%s", addr_str(&c->client.addr, addr),
		addr_family_word(c->client.addr.family), c->listener ? c->listener : "",
		c->peer ? " peer=" : "", c->peer ? c->peer : "", letter ? " letter=" : "",
		letter ? letter : "");
}

void transaction_drop(struct session *s)
{
	struct transaction *t = &s->t;

	if (t->data_begun && t->streaming && !t->early.code)
		s->ops->abort(s->arg, s);
	for (size_t i = 0; i < t->rcpt_count; i++)
		free(t->rcpt[i].orcpt);
	free(t->rcpt);
	free(t->body);
	header_clear(&t->data.header);
	if (t->data_begun)
		session_log_keys(s, NULL);
	memset(t, 0, sizeof(*t));
	s->drain_ms = 0;
}

/* The letter is over, whatever became of it. */
static void finish(struct session *s)
{
	transaction_drop(s);
	session_enter(s, SESSION_READY);
}

bool session_admits(const struct session_conf *conf, bool tls, bool user, struct reply *r)
{
	if (conf->tls_required && !tls)
		*r = (struct reply){ 530, "5.7.0 STARTTLS first" };
	else if (conf->auth_required && !user)
		*r = (struct reply){ 530, "5.7.0 Authentication required" };
	else
		return true;
	return false;
}

void transaction_mail(struct session *s, const char *arg, size_t len)
{
	struct command_mail *m = &s->t.mail;
	struct envelope e = { .sender = "" };
	struct reply r = { 0 };
	uint32_t offered = OFFER_SIZE | OFFER_8BITMIME | OFFER_SMTPUTF8;

	if (s->state == SESSION_HELO)
		return session_reply(s, 503, "5.5.1 EHLO first");
	if (s->state != SESSION_READY) {
		/*
		 * Both letters are off. The recipients and the body that a pipelining client has
		 * sent behind this MAIL must never join the sender and the id of the letter before.
		 */
		finish(s);
		return session_reply(s, 503, "5.5.1 A letter was under way, now there is none");
	}
	if (!session_admits(s->conf, s->tls[0], s->auth_user[0], &r))
		return session_reply(s, r.code, r.text);
	if (s->conf->dsn)
		offered |= OFFER_DSN;
	if (s->conf->xpostern && s->conf->peer)
		offered |= OFFER_XPOSTERN;
	if (session_auth_possible(s))
		offered |= OFFER_AUTH;
	if (!s->esmtp)
		offered = 0;
	if (!command_mail(arg, len, offered, m, &r))
		goto refuse;
	if (size_max(s) && m->size_bytes > size_max(s)) {
		r = size_refusal(s);
		goto refuse;
	}
	if (!s->ops->mail(s->arg, s, m, &r))
		goto refuse;
	e.helo = s->helo;
	e.sender = m->sender.text;
	e.auth_user = s->auth_user;
	/* listener, peer, tls, envid and numbers stand within this. */
	s->t.env_bytes = envelope_base_bytes(&e) + 4096;
	session_enter(s, SESSION_MAIL);
	return session_reply(s, 250, "2.1.0 Sender accepted");
refuse:
	memset(m, 0, sizeof(*m));
	session_reply(s, r.code, r.text);
}

static bool has_rcpt(const struct transaction *t, const struct address *a)
{
	for (size_t i = 0; i < t->rcpt_count; i++) {
		if (t->rcpt[i].addr.len == a->len && !memcmp(t->rcpt[i].addr.text, a->text, a->len))
			return true;
	}
	return false;
}

/* One recipient more in the envelope; the same address twice is one. NULL: done; else why not. */
static const char *add_rcpt(struct transaction *t, const struct address *a,
			    const struct command_rcpt *c, const char *orcpt)
{
	struct env_rcpt er = { .addr = a->text, .orcpt = orcpt, .notify = c->notify };
	size_t bytes = envelope_rcpt_bytes(&er);
	struct session_rcpt *rc;

	if (has_rcpt(t, a))
		return NULL;
	if (t->rcpt_count == ENVELOPE_RCPTS_MAX || t->env_bytes + bytes > ENVELOPE_MAX)
		return "4.5.3 Too many recipients, send the rest in another letter";
	if (t->rcpt_count == t->rcpt_cap) {
		size_t cap = t->rcpt_cap ? 2 * t->rcpt_cap : 4;

		rc = realloc(t->rcpt, cap * sizeof(*rc));
		if (!rc)
			return "4.3.0 Out of memory";
		t->rcpt = rc;
		t->rcpt_cap = cap;
	}
	rc = &t->rcpt[t->rcpt_count];
	rc->addr = *a;
	rc->notify = c->notify;
	rc->orcpt = orcpt ? strdup(orcpt) : NULL;
	if (orcpt && !rc->orcpt)
		return "4.3.0 Out of memory";
	t->rcpt_count++;
	t->env_bytes += bytes;
	return NULL;
}

/* Back to @count recipients: an alias enters whole or not at all. */
static void take_back(struct transaction *t, size_t count)
{
	while (t->rcpt_count > count) {
		struct session_rcpt *rc = &t->rcpt[--t->rcpt_count];
		struct env_rcpt er = { .addr = rc->addr.text, .orcpt = rc->orcpt };

		t->env_bytes -= envelope_rcpt_bytes(&er);
		free(rc->orcpt);
	}
}

void transaction_rcpt(struct session *s, const char *arg, size_t len)
{
	struct transaction *t = &s->t;
	struct reply r = { 0 };

	if (s->state != SESSION_MAIL && s->state != SESSION_RCPT)
		return session_reply(s, 503, "5.5.1 MAIL first");
	if (!command_rcpt(arg, len, s->conf->dsn ? OFFER_DSN : 0, t->mail.smtputf8, &t->asked, &r))
		return session_reply(s, r.code, r.text);
	if (s->conf->recipients_max && t->rcpt_commands >= s->conf->recipients_max)
		return session_reply(s, 452,
				     "4.5.3 Too many recipients, send the rest in another letter");
	s->wait = WAIT_RCPT;
	s->wait_ms = s->now_ms;
	t->asked_cap.bytes = t->asked_cap.home = 0;
	s->ops->rcpt(s->arg, s, &t->asked.rcpt);
}

/* One that an answer of lookup names. */
static int parse_rcpt(const char *text, struct address *a)
{
	return address_parse(text, strlen(text), ADDRESS_ALLOW_BARE | ADDRESS_ALLOW_UTF8, a);
}

bool session_rcpt_repeats(const struct session *s, const char *const *to, size_t to_count)
{
	struct address a;

	for (size_t i = 0; i < to_count; i++) {
		if (parse_rcpt(to[i], &a) || !has_rcpt(&s->t, &a))
			return false;
	}
	return to_count || has_rcpt(&s->t, &s->t.asked.rcpt);
}

/* The recipients that @to names instead of the one asked for. */
static const char *add_expansion(struct transaction *t, const char *const *to, size_t to_count)
{
	char orcpt[ADDRESS_MAX + 1 + 8], xtext[COMMAND_TEXT_MAX];
	const struct command_rcpt *c = &t->asked;
	size_t before = t->rcpt_count;
	const char *why = NULL;

	for (size_t i = 0; i < to_count && !why; i++) {
		struct address a;
		bool same = !strcmp(to[i], c->rcpt.text);

		if (parse_rcpt(to[i], &a))
			why = "4.3.5 An alias of that recipient cannot be read";
		else if (c->has_orcpt || same)
			why = add_rcpt(t, &a, c, c->has_orcpt ? c->orcpt : NULL);
		else if (xpostern_xtext_encode(c->rcpt.text, c->rcpt.len, xtext, sizeof(orcpt) - 7))
			why = add_rcpt(t, &a, c, NULL);
		else {
			snprintf(orcpt, sizeof(orcpt), "rfc822;%.*s", ADDRESS_MAX, xtext);
			why = add_rcpt(t, &a, c, orcpt);
		}
	}
	if (why)
		take_back(t, before);
	return why;
}

void session_rcpt_done(struct session *s, const struct reply *r, const char *const *to,
		       size_t to_count, uint64_t now_ms)
{
	struct transaction *t = &s->t;
	struct reply sized;
	const char *why;

	if (s->wait != WAIT_RCPT)
		return;
	s->wait = WAIT_NOTHING;
	s->now_ms = s->alive_ms = now_ms;
	if (r->code / 100 != 2)
		return session_reply(s, r->code, r->text);
	if (!session_rcpt_admits(s, &sized))
		return session_reply(s, sized.code, sized.text);
	why = to_count ? add_expansion(t, to, to_count)
		       : add_rcpt(t, &t->asked.rcpt, &t->asked,
				  t->asked.has_orcpt ? t->asked.orcpt : NULL);
	if (why)
		return session_reply(s, 452, why);
	size_take(s);
	if (!t->rcpt_commands++)
		t->first = t->asked.rcpt;
	session_enter(s, SESSION_RCPT);
	session_reply(s, r->code, r->text);
}

/* ------------------------------------------------------------------ the body on its way ----- */

/* Room for @more bytes of body; false when memory is out. */
static bool body_room(struct transaction *t, size_t more)
{
	size_t cap = t->body_cap ? t->body_cap : 8192;
	uint8_t *p;

	while (cap < t->body_len + more)
		cap *= 2;
	if (cap == t->body_cap)
		return true;
	p = realloc(t->body, cap);
	if (!p)
		return false;
	t->body = p;
	t->body_cap = cap;
	return true;
}

static void sink(void *arg, const uint8_t *p, size_t len)
{
	struct session *s = arg;
	struct transaction *t = &s->t;

	if (t->early.code || t->no_memory)
		return;
	if (!body_room(t, len)) {
		t->no_memory = true;
		return;
	}
	memcpy(t->body + t->body_len, p, len);
	t->body_len += len;
	t->body_total += len;
}

/* Send what the credit allows. @all: the letter is whole, so a short last chunk may go. */
static void stream(struct session *s, bool all)
{
	struct transaction *t = &s->t;
	size_t at = 0;

	while (!t->early.code && !t->no_memory) {
		size_t n = t->body_len - at;

		if (n > MSG_BODY_CHUNK)
			n = MSG_BODY_CHUNK;
		if (!n || (n < MSG_BODY_CHUNK && !all) || n > t->credit)
			break;
		t->credit -= (uint32_t)n;
		if (!s->ops->body(s->arg, s, t->body + at, n))
			t->no_memory = true;
		at += n;
	}
	if (at) {
		memmove(t->body, t->body + at, t->body_len - at);
		t->body_len -= at;
	}
}

/* The letter cannot be stored any more: keep nothing of it, here or in the queue. */
static void give_up(struct session *s)
{
	struct transaction *t = &s->t;

	if (t->streaming && !t->early.code) {
		s->ops->abort(s->arg, s);
		t->streaming = false;
	}
	t->body_len = 0;
	if (!s->drain_ms)
		s->drain_ms = s->now_ms;
}

static bool is_lost(const struct transaction *t)
{
	return t->data.fault || t->early.code || t->no_memory;
}

size_t transaction_room(const struct session *s)
{
	const struct transaction *t = &s->t;
	size_t used = t->body_len + SESSION_CHUNK_ROOM;

	if (is_lost(t))
		return SIZE_MAX;
	used = used < MSG_BODY_INLINE ? MSG_BODY_INLINE - used : 0;
	return s->conf->normalize ? used / 2 : used;
}

/* After new bytes: on to the queue when they are many, away when the letter is lost. */
static void settle(struct session *s)
{
	struct transaction *t = &s->t;

	if (is_lost(t)) {
		give_up(s);
		return;
	}
	if (!t->streaming && t->body_len > MSG_BODY_INLINE - 4096 - SESSION_CHUNK_ROOM) {
		t->streaming = true;
		t->credit = MSG_BODY_WINDOW;
	}
	if (t->streaming)
		stream(s, false);
}

/* Start of the bytes, by either command. */
static bool begin(struct session *s, bool dots)
{
	struct transaction *t = &s->t;
	struct data_conf dc = {
		.size_max_bytes = size_max(s),
		.received_max = s->conf->received_max,
		.normalize = s->conf->normalize,
		.header.cut_authserv_id = s->conf->cut_authserv_id,
	};
	char received[RECEIVED_MAX], id[LETTER_ID_STR_MAX], date[80];
	size_t len;

	if (envelope_new_id(t->id))
		return false;
	t->received_s = s->ops->wall_s(s->arg);
	session_log_keys(s, letter_id_str(t->id, id));
	if (s->conf->complete_header) {
		trace_date(t->received_s, date);
		snprintf(t->date, sizeof(t->date), "Date: %s\r\n", date);
		snprintf(t->message_id, sizeof(t->message_id), "Message-ID: <%s@%s>\r\n", id,
			 s->conf->hostname);
		dc.header.add_date = t->date;
		dc.header.add_message_id = t->message_id;
	}
	data_begin(&t->data, &dc, dots, sink, s);
	t->data_begun = true;
	len = trace_received(s, received, sizeof(received));
	sink(s, (const uint8_t *)received, len);
	s->window_ms = s->now_ms;
	s->window_bytes = 0;
	return !t->no_memory;
}

void transaction_data(struct session *s, size_t arg_len)
{
	if (arg_len)
		return session_reply(s, 501, "5.5.4 DATA takes no parameters");
	if (s->state == SESSION_BDAT_MORE || s->t.failed)
		return session_reply(s, 503, "5.5.1 The letter has begun with BDAT");
	if (s->state == SESSION_MAIL)
		return session_reply(s, 554, "5.5.1 No valid recipients");
	if (s->state != SESSION_RCPT)
		return session_reply(s, 503, "5.5.1 MAIL first");
	if (!begin(s, true)) {
		session_reply(s, 451, "4.3.0 Cannot take a letter now");
		return finish(s);
	}
	session_put(s, "354 End with a dot on a line of its own\r\n");
	session_enter(s, SESSION_DATA);
}

/* ----------------------------------------------------------------------- its end ------------ */

struct from_check {
	struct session *s;
};

static int check_one_from(const struct address *a, void *arg)
{
	struct from_check *f = arg;

	return f->s->ops->from(f->s->arg, f->s, a) ? 0 : -EACCES;
}

/* What speaks against the letter now that all of it was seen; code 0: nothing. */
static struct reply judge(struct session *s)
{
	static const struct reply faults[] = {
		[DATA_BARE_NEWLINE] = { 550, "5.5.2 A line ends with CR LF, neither stands alone" },
		[DATA_NUL] = { 554, "5.6.0 A NUL byte stands in the letter" },
		[DATA_LONG_LINE] = { 554, "5.6.0 A line is too long" },
		[DATA_LONG_HEADER] = { 552, "5.3.4 The header section is too long" },
		[DATA_LOOP] = { 554,
				"5.4.6 Too many Received fields: the letter goes in a circle" },
	};
	struct transaction *t = &s->t;
	struct from_check f = { .s = s };

	if (t->data.fault == DATA_TOO_LARGE)
		return size_refusal(s);
	if (t->data.fault)
		return faults[t->data.fault];
	if (t->early.code)
		return (struct reply){ t->early.code, t->early.text };
	if (t->no_memory)
		return (struct reply){ 451, "4.3.0 Out of memory" };
	if (!size_fits(s) && t->cap_is_ones && t->cap.home != t->cap.bytes)
		return (struct reply){ 552,
				       "5.3.4 Letter is larger than one of its recipients takes" };
	if (!size_fits(s))
		return size_refusal(s);
	if (!s->conf->check_from || (!t->mail.sender.len && !s->conf->auth_required))
		return (struct reply){ 0 };
	switch (header_from_each(&t->data.header, check_one_from, &f)) {
	case 0:
		return (struct reply){ 0 };
	case -EACCES:
		return (struct reply){ 550, "5.7.1 The From address is not yours to use" };
	case -ENOENT:
		return (struct reply){ 554, "5.6.0 There is no From address" };
	default:
		return (struct reply){ 554, "5.6.0 The From field cannot be read" };
	}
}

/*
 * Clients ask for SMTPUTF8 wherever it is offered. Who needs it has an address or a field beyond ASCII;
 * the other letters go to hosts that do not know it, too (RFC 6531 s3.1, item 8).
 */
static bool needs_utf8(const struct transaction *t)
{
	bool needs = t->mail.sender.utf8 || t->data.header.eight;

	for (size_t i = 0; i < t->rcpt_count && !needs; i++)
		needs = t->rcpt[i].addr.utf8;
	return needs;
}

static uint32_t envelope_flags(const struct session *s)
{
	const struct transaction *t = &s->t;
	uint32_t f = 0;

	f |= t->mail.body_8bit ? ENV_8BITMIME : 0;
	f |= t->mail.smtputf8 && needs_utf8(t) ? ENV_SMTPUTF8 : 0;
	f |= s->auth_user[0] ? ENV_AUTHENTICATED : 0;
	f |= s->conf->peer ? ENV_TUNNEL : 0;
	f |= s->tls[0] ? ENV_ENCRYPTED : 0;
	f |= s->conf->local ? ENV_LOCAL : 0;
	f |= t->mail.ret_headers ? ENV_RET_HDRS : 0;
	f |= t->data.no_final_crlf ? ENV_NO_FINAL_CRLF : 0;
	if (t->mail.hop.given)
		f |= ENV_PEER_ID | t->mail.hop.flags;
	return f;
}

/* It is whole, and cannot be stored all the same. */
static void refuse(struct session *s)
{
	struct reply r = judge(s);

	s->wait = WAIT_NOTHING;
	give_up(s);
	session_reply(s, r.code, r.text);
	finish(s);
}

/* Hand the letter over. */
static void store(struct session *s)
{
	struct transaction *t = &s->t;
	struct env_rcpt *rcpt = calloc(t->rcpt_count, sizeof(*rcpt));
	const struct mail_hop *hop = &t->mail.hop;
	struct envelope e = {
		.flags = envelope_flags(s),
		.received_s = t->received_s,
		.client = s->conf->client,
		.origin = hop->client,
		.helo = hop->given && hop->helo[0] ? hop->helo : s->helo,
		.tls = hop->given && hop->tls[0] ? hop->tls
		       : s->tls[0]		 ? s->tls
						 : NULL,
		.auth_user = s->auth_user[0] ? s->auth_user : NULL,
		.listener = s->conf->listener,
		.peer = s->conf->peer,
		.sender = t->mail.sender.text,
		.envid = t->mail.has_envid ? t->mail.envid : NULL,
		.size = t->body_total,
		.hops = (uint16_t)(t->data.header.received + 1),
		.peer_seq = hop->seq,
		.peer_low = hop->low,
		.rcpt = rcpt,
		.rcpt_count = t->rcpt_count,
	};

	if (!rcpt) {
		t->no_memory = true;
		return refuse(s);
	}
	s->wait = WAIT_STORED;
	s->wait_ms = s->now_ms;
	memcpy(e.id, t->id, sizeof(e.id));
	memcpy(e.peer_id, hop->id, sizeof(e.peer_id));
	memcpy(e.probe, hop->probe, sizeof(e.probe));
	for (size_t i = 0; i < t->rcpt_count; i++) {
		rcpt[i].addr = t->rcpt[i].addr.text;
		rcpt[i].orcpt = t->rcpt[i].orcpt;
		rcpt[i].notify = t->rcpt[i].notify;
	}
	s->ops->store(s->arg, s, &e, t->streaming ? NULL : t->body, t->streaming ? 0 : t->body_len);
	free(rcpt);
}

/* The last bytes that the credit did not cover yet; then the letter itself. */
static void push(struct session *s)
{
	struct transaction *t = &s->t;

	if (t->streaming)
		stream(s, true);
	if (t->early.code || t->no_memory)
		return refuse(s);
	if (t->streaming && t->body_len) {
		if (s->wait != WAIT_CREDIT)
			s->wait_ms = s->now_ms;
		s->wait = WAIT_CREDIT;
		return;
	}
	store(s);
}

/* The true end of the letter was read. */
static void ended(struct session *s)
{
	struct transaction *t = &s->t;
	bool bare = t->data.fault == DATA_BARE_NEWLINE;
	struct reply r = judge(s);
	char quoted[600];

	if (r.code) {
		give_up(s);
		if (session_tells(s, TOLD_REFUSED))
			log_info(&s->log, "code=%u msg=\"refused at the end of data: %s\"", r.code,
				 log_quote(quoted, sizeof(quoted), r.text, strlen(r.text)));
		session_reply(s, r.code, r.text);
		finish(s);
		if (bare && s->state != SESSION_CLOSING)
			session_close(s, 421, "4.5.0 What followed was not executed");
		return;
	}
	/* With its envelope it must fit into one message, or go in pieces. */
	if (!t->streaming &&
	    (t->body_len > MSG_BODY_INLINE || t->body_len + t->env_bytes + 256 > MSG_STORE_MAX)) {
		t->streaming = true;
		t->credit = MSG_BODY_WINDOW;
	}
	push(s);
}

void session_credit(struct session *s, uint32_t bytes, uint64_t now_ms)
{
	struct transaction *t = &s->t;

	if (!t->data_begun || !t->streaming)
		return;
	s->now_ms = now_ms;
	t->credit = bytes > MSG_BODY_WINDOW - t->credit ? MSG_BODY_WINDOW : t->credit + bytes;
	if (s->wait == WAIT_CREDIT)
		push(s);
	else if (s->wait == WAIT_NOTHING && !is_lost(t))
		stream(s, false);
}

static void log_accepted(const struct session *s, bool duplicate)
{
	const struct transaction *t = &s->t;
	char helo[600], from[600], user[600];

	log_info(
	    &s->log,
	    "helo=\"%s\" tls=\"%s\" from=\"%s\" rcpts=%zu bytes=%llu user=\"%s\" repeat=%d "
	    "msg=\"accepted\"",
	    log_quote(helo, sizeof(helo), s->helo, strlen(s->helo)), s->tls,
	    log_quote(from, sizeof(from), t->mail.sender.text, t->mail.sender.len), t->rcpt_count,
	    (unsigned long long)t->body_total,
	    log_quote(user, sizeof(user), s->auth_user, strlen(s->auth_user)), duplicate);
}

void session_stored(struct session *s, const struct msg_q_stored *m, uint64_t now_ms)
{
	struct transaction *t = &s->t;

	if (!t->data_begun || t->early.code)
		return;
	s->now_ms = now_ms;
	if (s->wait != WAIT_STORED && m->code / 100 == 2)
		return; /* a promise for a letter that is not whole would be a lie */
	t->early = *m;
	snprintf(t->early_text, sizeof(t->early_text), "%s", m->text);
	t->early.text = t->early_text;
	if (s->wait == WAIT_CREDIT)
		return push(s);
	if (s->wait != WAIT_STORED) {
		give_up(s); /* refused in the middle; its reply stands at its end */
		return;
	}
	s->wait = WAIT_NOTHING;
	s->alive_ms = now_ms;
	if (m->code / 100 == 2) {
		s->letters++;
		s->idle_commands = 0;
		log_accepted(s, m->duplicate);
	}
	session_reply(s, t->early.code, t->early.text);
	finish(s);
}

/* ------------------------------------------------------------------------- BDAT ------------- */

/* Read the chunk's octets, then say @code. */
static void discard(struct session *s, uint64_t octets, uint16_t code, const char *text)
{
	s->chunk_reply = (struct reply){ code, text };
	if (octets > BDAT_DRAIN_MAX)
		return session_close(s, code, text); /* nobody waits for that */
	if (!octets)
		return session_reply(s, code, text);
	s->chunk_left = octets;
	if (!s->drain_ms)
		s->drain_ms = s->now_ms;
	session_enter(s, SESSION_DISCARD);
}

void transaction_bdat(struct session *s, const char *arg, size_t len)
{
	struct transaction *t = &s->t;
	struct reply r = { 0 };
	uint64_t size;
	bool last;

	s->chunk_last = false;
	if (!command_bdat(arg, len, &size, &last, &r)) {
		t->failed = s->state == SESSION_RCPT || s->state == SESSION_BDAT_MORE;
		return discard(s, size, r.code, r.text);
	}
	s->chunk_last = last;
	if (s->state == SESSION_MAIL)
		return discard(s, size, 554, "5.5.1 No valid recipients");
	if (s->state != SESSION_RCPT && s->state != SESSION_BDAT_MORE)
		return discard(s, size, 503, "5.5.1 MAIL first");
	if (t->failed)
		return discard(s, size, 503, "5.5.1 A chunk of this letter was refused");
	if (size_max(s) && (size > size_max(s) || t->data.size_bytes + size > size_max(s))) {
		struct reply large = size_refusal(s);

		t->failed = true;
		give_up(s);
		return discard(s, size, large.code, large.text);
	}
	if (!t->data_begun && !begin(s, false)) {
		t->failed = true;
		return discard(s, size, 451, "4.3.0 Cannot take a letter now");
	}
	s->chunk_left = size;
	session_enter(s, SESSION_BDAT);
	transaction_feed(s, NULL, 0);
}

static void chunk_ended(struct session *s)
{
	struct transaction *t = &s->t;
	struct reply r;
	bool bare;

	session_enter(s, SESSION_BDAT_MORE);
	s->alive_ms = s->now_ms;
	if (s->chunk_last) {
		data_last(&t->data);
		return ended(s);
	}
	if (!is_lost(t)) {
		session_put(s, "250 2.0.0 Chunk taken\r\n");
		return;
	}
	r = judge(s);
	bare = t->data.fault == DATA_BARE_NEWLINE;
	t->failed = true;
	session_reply(s, r.code, r.text);
	if (bare && s->state != SESSION_CLOSING)
		session_close(s, 421, "4.5.0 What followed was not executed");
}

static size_t feed_discard(struct session *s, size_t len)
{
	size_t n = len < s->chunk_left ? len : (size_t)s->chunk_left;

	s->chunk_left -= n;
	if (!s->chunk_left) {
		struct reply r = s->chunk_reply;
		char text[SIZE_TEXT_MAX];

		snprintf(text, sizeof(text), "%s", r.text); /* it may be of the letter that is dropped */
		/* The last chunk ends its letter, refused or not: what follows begins a new one. */
		if (s->chunk_last && s->t.env_bytes)
			transaction_drop(s);
		session_enter(s, s->t.data_begun   ? SESSION_BDAT_MORE
				 : s->t.rcpt_count ? SESSION_RCPT
				 : s->t.env_bytes  ? SESSION_MAIL
				 : s->helo[0]	   ? SESSION_READY
						   : SESSION_HELO);
		session_reply(s, r.code, text);
		if (s->state != SESSION_BDAT_MORE)
			s->drain_ms = 0;
	}
	return n;
}

size_t transaction_feed(struct session *s, const uint8_t *p, size_t len)
{
	size_t n = 0;

	s->window_bytes += len;
	if (s->state == SESSION_DISCARD)
		return feed_discard(s, len);
	if (len > transaction_room(s))
		len = transaction_room(s);
	if (s->state == SESSION_DATA) {
		n = data_feed(&s->t.data, p, len);
		settle(s);
		if (s->t.data.ended)
			ended(s);
		return n;
	}
	if (len > s->chunk_left)
		len = (size_t)s->chunk_left;
	if (len) {
		n = data_feed(&s->t.data, p, len);
		s->chunk_left -= n;
		settle(s);
	}
	if (!s->chunk_left)
		chunk_ended(s);
	return n;
}
