/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The link to the queue process. A transaction's number is new for each letter, so an answer for one
 * that was given up meets nobody. When the link breaks, every letter under way on it is void: 451.
 *
 * The queue writes slower than many clients send. Credit bounds what one letter has under way; what
 * all of them have is bounded here: while the link is full no client is read, and no credit
 * passed on. They have their turns in the order in which they came.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "smtpd.h"

static struct conn *by_txn(struct smtpd *d, uint32_t txn)
{
	struct conn *c = d->conns;

	while (c && c->txn != txn)
		c = c->next;
	return txn ? c : NULL;
}

bool queue_full(const struct smtpd *d)
{
	return d->queue && ipc_queued(d->queue) > SMTPD_LINK_MAX;
}

void queue_thirst(struct conn *c)
{
	if (!c->thirsty)
		TAILQ_INSERT_TAIL(&c->d->thirsty, c, thirst);
	c->thirsty = true;
	ipc_tell_drained(c->d->queue);
}

/* Room on the link. A pump may free its connection. */
static void quench(struct smtpd *d)
{
	struct conn *c;
	uint32_t owed;

	while (!queue_full(d) && (c = TAILQ_FIRST(&d->thirsty))) {
		TAILQ_REMOVE(&d->thirsty, c, thirst);
		c->thirsty = false;
		owed = c->owed;
		c->owed = 0;
		if (owed)
			session_credit(&c->s, owed, loop_now_ms(d->ch->loop));
		connection_pump(c);
	}
	if (d->queue && !TAILQ_EMPTY(&d->thirsty))
		ipc_tell_drained(d->queue);
}

static void on_drained(struct ipc *ipc, void *arg)
{
	(void)ipc;
	quench(arg);
}

static void on_credit(struct smtpd *d, uint32_t txn, uint32_t bytes)
{
	struct conn *c = by_txn(d, txn);

	if (!c)
		return;
	if (queue_full(d)) {
		c->owed += bytes;
		return queue_thirst(c);
	}
	session_credit(&c->s, bytes, loop_now_ms(d->ch->loop));
	connection_pump(c);
}

static void on_state(struct smtpd *d, struct rd *r)
{
	struct msg_q_state m;

	if (msg_q_state_get(r, &m)) {
		log_err(NULL, "malformed state from the queue");
		return;
	}
	if (!m.accepting && d->accepting)
		log_warn(NULL, "queue takes no letters: %u %s", m.code, m.text);
	d->accepting = m.accepting;
	d->state_code = m.code / 100 == 4 ? m.code : 451;
	d->room_bytes = m.room_bytes;
	snprintf(d->state_text, sizeof(d->state_text), "%s",
		 *m.text ? m.text : "4.3.1 Insufficient system storage");
	listener_resume(d);
}

bool queue_home_full(const struct smtpd *d, const char *home)
{
	for (size_t i = 0; i < d->full_count; i++) {
		if (!strcmp(d->full_homes[i], home))
			return true;
	}
	return false;
}

static void on_home(struct smtpd *d, struct rd *r)
{
	struct msg_q_home m;
	void *bigger;

	if (msg_q_home_get(r, &m) || m.full == queue_home_full(d, m.home))
		return;
	if (m.full) {
		bigger = realloc(d->full_homes, (d->full_count + 1) * sizeof(*d->full_homes));
		if (!bigger)
			return;
		d->full_homes = bigger;
		snprintf(d->full_homes[d->full_count++], MTA_NAME_MAX, "%s", m.home);
		return;
	}
	for (size_t i = 0; i < d->full_count; i++) {
		if (!strcmp(d->full_homes[i], m.home)) {
			memmove(d->full_homes[i], d->full_homes[--d->full_count], MTA_NAME_MAX);
			return;
		}
	}
}

static void on_stored(struct smtpd *d, uint32_t txn, struct rd *r)
{
	struct msg_q_stored m;
	struct conn *c = by_txn(d, txn);
	uint64_t bytes;
	uint32_t letters;

	if (msg_q_stored_get(r, &m)) {
		log_err(NULL, "malformed answer from the queue");
		return;
	}
	if (!c)
		return; /* was given up meanwhile */
	c->txn = 0;
	bytes = c->s.t.body_total;
	letters = c->s.letters;
	session_stored(&c->s, &m, loop_now_ms(d->ch->loop));
	if (c->s.letters != letters) {
		if (!m.duplicate)
			answers_stored(c, bytes);
		connection_count(c, COUNTER_LETTERS, WORD_NONE, WORD_NONE, 1);
		connection_count(c, COUNTER_LETTER_BYTES, WORD_NONE, WORD_NONE, bytes);
	}
	connection_pump(c);
}

static void on_message(struct ipc *ipc, struct ipc_msg *m, void *arg)
{
	struct rd r = rd_init(m->data, m->len);
	struct smtpd *d = arg;
	uint32_t bytes;

	(void)ipc;
	switch (m->type) {
	case MSG_Q_STATE:
		return on_state(d, &r);
	case MSG_Q_HOME:
		return on_home(d, &r);
	case MSG_Q_STORED:
		return on_stored(d, m->id, &r);
	case MSG_Q_PUBLISHED:
		return published_stored(d, m->id, &r);
	case MSG_Q_PUBLICATION:
		return published_kept(d, m);
	case MSG_Q_TRACED:
		return traced_answer(d, m->id, &r);
	case MSG_Q_PUBLICATIONS:
		d->held_known = true;
		return;
	case MSG_Q_CREDIT:
		bytes = rd_be32(&r);
		if (!r.bad)
			on_credit(d, m->id, bytes);
		return;
	default:
		log_err(NULL, "unknown message type=%u from the queue", m->type);
	}
}

static void on_closed(struct ipc *ipc, void *arg)
{
	static const struct msg_q_stored lost = { .code = 451,
						  .text = "4.3.0 Queue went away, try again" };
	struct smtpd *d = arg;
	struct conn *c, *next;

	log_warn(NULL, "link to the queue is gone");
	d->queue = NULL;
	d->accepting = false;
	d->state_code = 451;
	snprintf(d->state_text, sizeof(d->state_text), "4.3.0 Queue is starting, try again");
	d->full_count = 0;
	listener_wait(d);
	published_lost(d);
	traced_lost(d);
	/* Two passes: a pump may free its connection, and only its own. */
	for (c = d->conns; c; c = next) {
		next = c->next;
		if (!c->txn)
			continue;
		c->txn = 0;
		session_stored(&c->s, &lost, loop_now_ms(d->ch->loop));
		connection_pump(c);
	}
	quench(d);
	ipc_free(ipc);
}

void queue_attach(struct smtpd *d, int fd)
{
	static const struct ipc_ops ops = { .message = on_message,
					    .closed = on_closed,
					    .drained = on_drained };

	if (d->queue)
		on_closed(d->queue, d);
	d->queue = ipc_new(d->ch->loop, fd, &ops, d);
	if (!d->queue)
		log_err(NULL, "no link to the queue: %s", strerror(errno));
}

/* A number for the letter under way. */
static uint32_t txn_of(struct conn *c)
{
	while (!c->txn) {
		uint32_t txn = ++c->d->next_txn;

		if (!by_txn(c->d, txn)) {
			c->txn = txn;
			c->owed = 0;
		}
	}
	return c->txn;
}

/* What passes in memory is shared among clients, so the first of it says whose it is. */
static void say_whose(struct conn *c)
{
	uint8_t buf[4];
	struct wr w = wr_init(buf, sizeof(buf));

	wr_be32(&w, msg_client(&c->client));
	ipc_send(c->d->queue, MSG_Q_FROM, txn_of(c), buf, sizeof(buf));
}

bool queue_body(struct conn *c, const uint8_t *p, size_t len)
{
	if (!c->txn && c->d->queue && c->d->ch->config->cut_through)
		say_whose(c);
	return c->d->queue && !ipc_send(c->d->queue, MSG_Q_BODY, txn_of(c), p, len);
}

void queue_abort(struct conn *c)
{
	if (c->txn && c->d->queue)
		ipc_send(c->d->queue, MSG_Q_ABORT, c->txn, NULL, 0);
	c->txn = 0;
}

void queue_store(struct conn *c, const struct envelope *e, const uint8_t *body, size_t len)
{
	static uint8_t env[ENVELOPE_MAX], msg[MSG_STORE_MAX];
	struct msg_q_stored no = { .code = 451, .text = "4.3.0 Queue is not there, try again" };
	struct wr we = wr_init(env, sizeof(env)), wm = wr_init(msg, sizeof(msg));
	struct msg_q_store m = { .streamed = !body, .body_len = body ? len : e->size };
	size_t n;

	envelope_build(e, &we);
	if (wr_finish(&we, &m.env_len)) {
		no.code = 554;
		no.text = "5.3.0 The envelope is too large";
		goto refuse;
	}
	m.env = env;
	m.body = body;
	m.inline_len = len;
	msg_q_store_put(&wm, &m);
	if (wr_finish(&wm, &n) || !c->d->queue ||
	    ipc_send(c->d->queue, MSG_Q_STORE, txn_of(c), msg, n))
		goto refuse;
	return;
refuse:
	if (!body)
		queue_abort(c);
	c->txn = 0;
	session_stored(&c->s, &no, loop_now_ms(c->d->ch->loop));
}
