/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Letters on their way in: chunks, the envelope, and the one answer that they get; see through.c. */
#include "through_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "log.h"
#include "whole.h"

#define PASSING_MAX 1024

struct passing *through_find(struct through *t, uint32_t txn)
{
	return (struct passing *)(void *)hash_first(&t->letters, txn);
}

/* --- the end --- */

static void tell(struct through *t, uint32_t txn, uint16_t code, const char *text)
{
	uint8_t buf[512];
	struct wr w = wr_init(buf, sizeof(buf));
	struct msg_q_stored m = { .code = code, .text = text };

	msg_q_stored_put(&w, &m);
	if (t->smtpd)
		ipc_send(t->smtpd, MSG_Q_STORED, txn, buf, w.len);
}

void through_forget(struct passing *p)
{
	struct through *t = p->t;

	through_drop(p);
	timer_clear(loop_timers(t->ch->loop), &p->timer);
	hash_remove(&t->letters, &p->node);
	TAILQ_REMOVE(&t->all, p, all);
	t->count--;
	t->bytes -= p->bytes;
	if (p->fd >= 0)
		close(p->fd);
	if (p->env)
		envelope_clear(&p->e);
	free(p->env);
	free(p->body);
	free(p->part_of);
	free(p);
}

void through_refuse(struct through *t, uint32_t txn, struct passing *p, uint16_t code,
		    const char *text)
{
	t->refused[t->refused_at++ % PASSING_REFUSED] = txn;
	tell(t, txn, code, text);
	if (p)
		through_forget(p);
}

/* Every part is answered, so the client is. */
void through_answered(struct passing *p)
{
	char hex[LETTER_ID_STR_MAX], text[256];

	if (p->verdict.worst == RCPT_RES_DELIVERED)
		snprintf(text, sizeof(text), "2.0.0 %s passed on", letter_id_str(p->e.id, hex));
	else
		snprintf(text, sizeof(text), "%s", p->verdict.text);
	tell(p->t, p->txn, p->verdict.worst == RCPT_RES_DELIVERED ? 250 : p->verdict.code, text);
	through_forget(p);
}

/* --- the way in --- */

static struct passing *passing_new(struct through *t, uint32_t txn)
{
	struct passing *p = t->count < PASSING_MAX ? calloc(1, sizeof(*p)) : NULL;

	if (!p)
		return NULL;
	*p = (struct passing){ .txn = txn, .t = t, .seq = ++t->seq, .fd = -1 };
	if (hash_insert(&t->letters, &p->node, txn)) {
		free(p);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&t->all, p, all);
	t->count++;
	return p;
}

/* What one client, or one next hop, has of the memory. */
struct share {
	uint64_t bytes;
	size_t letters;
};

/*
 * As of the relay's places: nobody has more than he leaves, so who sends much, or answers nothing, keeps half,
 * the next one a quarter, and a letter of somebody else still passes. One letter alone may have nearly all.
 */
static bool share_fits(const struct share *s, uint64_t all)
{
	uint64_t left = all < PASSING_BYTES_MAX ? PASSING_BYTES_MAX - all : 0;

	return s->bytes <= left || (s->letters == 1 && left >= PASSING_SPARE);
}

static bool grow(struct passing *p, uint64_t n)
{
	struct share mine = { .bytes = n };
	const struct passing *o;

	TAILQ_FOREACH(o, &p->t->all, all)
	{
		mine.bytes += o->client == p->client ? o->bytes : 0;
		mine.letters += o->client == p->client;
	}
	if (n > PASSING_BYTES_MAX || !share_fits(&mine, p->t->bytes + n))
		return false;
	p->t->bytes += n;
	p->bytes += n;
	return true;
}

static bool goes_by(const struct passing *p, uint64_t way)
{
	const struct part *a = p->parts;

	while (a && a->way != way)
		a = a->next;
	return a != NULL;
}

static bool ways_fit(const struct passing *p)
{
	for (const struct part *a = p->parts; a; a = a->next) {
		struct share its = { .bytes = 0 };
		const struct passing *o;

		TAILQ_FOREACH(o, &p->t->all, all)
		if (goes_by(o, a->way)) {
			its.bytes += o->bytes;
			its.letters++;
		}
		if (!share_fits(&its, p->t->bytes))
			return false;
	}
	return true;
}

static bool was_refused(const struct through *t, uint32_t txn)
{
	for (size_t i = 0; i < PASSING_REFUSED; i++)
		if (t->refused[i] == txn)
			return true;
	return false;
}

void through_body(struct through *t, const struct ipc_msg *m)
{
	struct passing *p = through_find(t, m->id);
	uint8_t buf[4];
	struct wr w = wr_init(buf, sizeof(buf));

	if (!m->len || m->len > MSG_BODY_CHUNK || (p && p->env)) {
		log_err(NULL, "msg=\"bad body chunk from smtpd\"");
		return;
	}
	if (!p && was_refused(t, m->id))
		return; /* it was under way when the answer left */
	if (!p)
		p = passing_new(t, m->id);
	if (!p)
		return through_refuse(t, m->id, NULL, 451, "4.3.2 Too many letters at once");
	if (!p->bytes)
		p->client = t->from_txn == m->id ? t->from_client : 0;
	if (p->fd < 0)
		p->fd = memfd_create("letter", MFD_CLOEXEC);
	if (p->fd < 0 || !grow(p, m->len) || whole_write(p->fd, m->data, m->len))
		return through_refuse(t, m->id, p, 452, "4.3.1 Not enough memory for this letter now");
	wr_be32(&w, (uint32_t)m->len);
	ipc_send(t->smtpd, MSG_Q_CREDIT, m->id, buf, sizeof(buf));
}

/* A body that came along, or has come before. */
static const char *take_letter(struct passing *p, const struct msg_q_store *s)
{
	p->env = malloc(s->env_len ? s->env_len : 1);
	if (!p->env)
		return "4.3.0 Out of memory";
	memcpy(p->env, s->env, s->env_len);
	if (envelope_parse(&p->e, p->env, s->env_len)) {
		free(p->env);
		p->env = NULL;
		return "4.3.0 The envelope is not understood";
	}
	if (!s->streamed) {
		p->client = msg_client(&p->e.client.addr);
		p->body = malloc(s->inline_len ? s->inline_len : 1);
		if (!p->body || !grow(p, s->inline_len))
			return "4.3.1 Not enough memory for this letter now";
		memcpy(p->body, s->inline_len ? s->body : (const uint8_t *)"", s->inline_len);
	}
	return s->body_len == p->bytes ? through_ways(p) : "4.3.0 Queue and server disagree";
}

void through_from(struct through *t, const struct ipc_msg *m)
{
	struct rd r = rd_init(m->data, m->len);

	t->from_client = rd_be32(&r);
	t->from_txn = r.bad ? 0 : m->id;
}

void through_store(struct through *t, const struct ipc_msg *m)
{
	struct rd r = rd_init(m->data, m->len);
	struct passing *p = through_find(t, m->id);
	struct msg_q_store s;
	const char *why;

	if (!p && was_refused(t, m->id))
		return;
	if (msg_q_store_get(&r, &s) || (s.streamed != 0) != (p != NULL) || (p && p->env))
		return through_refuse(t, m->id, p, 451, "4.3.0 Queue and server disagree");
	if (!p)
		p = passing_new(t, m->id);
	if (!p)
		return through_refuse(t, m->id, NULL, 451, "4.3.2 Too many letters at once");
	why = t->relay ? take_letter(p, &s) : "4.3.2 The next hop cannot be reached now";
	if (!why && through_watch(p))
		why = "4.3.0 Out of memory";
	if (why)
		return through_refuse(t, m->id, p, 451, why);
	if (!ways_fit(p))
		return through_refuse(t, m->id, p, 452, "4.3.1 Too much waits for that next hop now");
	through_pump(t);
}

