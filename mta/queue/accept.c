/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: letters come in. A small body comes with its envelope and goes into the journal at once. A
 * large one streams into body/in-N, chunk by chunk, each chunk's credit returned when it is
 * written; at the end the file is synced, gets the letter's name, the directory is synced, and
 * only then the record is appended. 250 when that is durable.
 *
 *	chunks -> [job: write] -> credit        STORE -> [job: sync, rename, sync dir] -> journal -> 250
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "queue.h"

struct chunk {
	struct chunk *next;
	size_t len;
	uint8_t data[];
};

struct txn {
	struct hash_node node;
	uint32_t id;
	struct queue *q;
	struct ipc *link; /* NULL: smtpd does not want it any more */
	struct job job;
	bool busy;     /* the job is under way */
	bool storing;  /* STORE came */
	bool finished; /* the file has its name and is durable */
	bool report;   /* on the probe @probe, which goes on from here */
	uint8_t probe[LETTER_ID_LEN];
	int fd;
	int rc;
	char name[48];
	char final[48];
	uint64_t written, credited, announced;
	struct chunk *first, **last;
	struct chunk *running;
	uint8_t *env;
	size_t env_len;
	struct store_waiter waiter;
};

static struct txn *find(struct queue *q, uint32_t id)
{
	struct hash_node *n = hash_first(&q->txns, id);
	struct txn *t = (struct txn *)(void *)n;

	return t;
}

static void txn_free(struct txn *t)
{
	struct chunk *c;

	while ((c = t->first)) {
		t->first = c->next;
		free(c);
	}
	if (t->fd >= 0)
		t->q->dir.vfs.close(&t->q->dir.vfs, t->fd);
	if (t->name[0]) /* not named finally, or not committed: nobody's */
		t->q->dir.vfs.unlink(&t->q->dir.vfs, t->finished ? t->final : t->name);
	if (t->link)
		hash_remove(&t->q->txns, &t->node);
	if (t->report)
		probe_passed(t->q, t->probe, false);
	free(t->env);
	free(t);
}

static struct txn *txn_new(struct queue *q, uint32_t id)
{
	struct txn *t = q->txns.count < QUEUE_TXNS_MAX ? calloc(1, sizeof(*t)) : NULL;

	if (!t)
		return NULL;
	t->id = id;
	t->q = q;
	t->link = q->smtpd;
	t->fd = -1;
	t->last = &t->first;
	if (hash_insert(&q->txns, &t->node, id)) {
		free(t);
		return NULL;
	}
	return t;
}

static void answer(struct queue *q, struct ipc *link, uint32_t id, uint16_t code, bool duplicate,
		   const char *text)
{
	uint8_t buf[512];
	struct wr w = wr_init(buf, sizeof(buf));
	struct msg_q_stored m = { .code = code, .text = text, .duplicate = duplicate };

	if (!link || link != q->smtpd)
		return;
	msg_q_stored_put(&w, &m);
	ipc_send(link, MSG_Q_STORED, id, buf, w.len);
}

void accept_stored(struct queue *q, uint32_t txn, const uint8_t id[static LETTER_ID_LEN])
{
	char hex[LETTER_ID_STR_MAX], text[96];

	snprintf(text, sizeof(text), "2.0.0 %s queued", letter_id_str(id, hex));
	answer(q, q->smtpd, txn, 250, false, text);
}

static void refuse(struct txn *t, int rc)
{
	struct queue *q = t->q;
	bool full = rc == -ENOSPC || rc == -EDQUOT || rc == -EFBIG;

	if (!t->link) /* of an older smtpd: the number may be another letter's by now */
		return;
	q->refused[q->refused_at++ % QUEUE_REFUSED] = t->id;
	if (rc != -EAGAIN)
		log_warn(NULL, "msg=\"letter not stored: %s\"", strerror(-rc));
	answer(t->q, t->link, t->id,
	       full	       ? 452
	       : rc == -EINVAL ? 554
			       : 451,
	       false,
	       full	       ? "4.3.1 Insufficient system storage"
	       : rc == -EINVAL ? "5.6.0 The queue cannot take this envelope"
	       : rc == -EAGAIN ? "4.3.0 The same letter is just being stored"
			       : "4.3.0 The queue could not store the letter");
}

/* Whoever brought the probe of which it tells gets it, now or after a restart. */
static void report_passed(struct txn *t)
{
	if (t->report)
		probe_passed(t->q, t->probe, true);
	t->report = false;
}

/* No more is wanted of @t, but a job may still use it. */
static void drop(struct txn *t)
{
	if (t->link)
		hash_remove(&t->q->txns, &t->node);
	t->link = NULL;
	if (!t->busy)
		txn_free(t);
}

static void stored(struct store_waiter *w, int rc, struct letter *l)
{
	struct txn *t = (struct txn *)(void *)((char *)w - offsetof(struct txn, waiter));
	struct queue *q = t->q;
	char hex[LETTER_ID_STR_MAX];

	t->busy = false;
	if (rc == -ECANCELED)
		t->name[0] = 0; /* the next start knows whether it is a letter's */
	if (rc || !l) {
		refuse(t, rc ? rc : -ENOMEM);
		return drop(t);
	}
	t->name[0] = 0; /* the file is the letter's now */
	report_passed(t);
	log_info(NULL, "letter=%s size=%llu rcpts=%u msg=\"queued\"", letter_id_str(l->id, hex),
		 (unsigned long long)l->body_len, l->rcpt_count);
	if (t->link && t->link == q->smtpd && !pressure_hold(q, t->id, l))
		accept_stored(q, t->id, l->id);
	drop(t);
	attempt_pump(q);
}

/* Who waits hears of it. The file stays until it is known that no restart makes it a letter's. */
static void doubted(struct store_waiter *w, int rc)
{
	struct txn *t = (struct txn *)(void *)((char *)w - offsetof(struct txn, waiter));

	refuse(t, rc);
	drop(t);
}

/* The body is durable, or comes along: into the journal. Ends @t on failure. */
static void commit(struct txn *t, const uint8_t *body, uint64_t body_len)
{
	struct store_change *c = NULL;
	struct envelope e;
	int rc = envelope_parse(&e, t->env, t->env_len);

	if (rc) {
		refuse(t, rc == -EBADMSG ? -EINVAL : rc);
		return drop(t);
	}
	rc = probe_take(t->q, &e, body, body_len);
	if (rc) {
		envelope_clear(&e);
		if (rc == -EAGAIN)
			refuse(t, rc);
		else
			answer(t->q, t->link, t->id, rc > 0 ? 250 : 550, false,
			       rc > 0 ? "2.0.0 The report is taken"
				      : "5.1.1 Nobody waits for this report");
		return drop(t);
	}
	t->report = (e.flags & ENV_PROBE) && (e.flags & ENV_BOUNCE);
	memcpy(t->probe, e.probe, LETTER_ID_LEN);
	c = store_begin(t->q->store);
	rc = c ? store_put_letter(c, &e, body, body_len) : -ENOMEM;
	envelope_clear(&e);
	if (rc == -EEXIST) {
		store_cancel(c);
		report_passed(t);
		answer(t->q, t->link, t->id, 250, true, "2.0.0 already have it");
		return drop(t);
	}
	if (rc) {
		store_cancel(c);
	} else {
		t->waiter = (struct store_waiter){ .done = stored, .doubt = doubted };
		t->busy = true;
		rc = store_commit(c, false, &t->waiter);
		if (rc)
			t->busy = false;
	}
	if (rc) {
		refuse(t, rc == -EMSGSIZE ? -EINVAL : rc);
		drop(t);
	}
}

/* --- streamed bodies --- */

static void write_run(struct job *job)
{
	struct txn *t = (struct txn *)(void *)((char *)job - offsetof(struct txn, job));
	struct vfs *v = &t->q->dir.vfs;

	t->rc = 0;
	if (t->fd < 0) {
		t->fd = v->open(v, t->name, true);
		if (t->fd < 0)
			t->rc = t->fd;
	}
	for (struct chunk *c = t->running; c && !t->rc; c = c->next) {
		t->rc = vfs_write_all(v, t->fd, c->data, c->len, t->written);
		t->written += c->len;
	}
}

static void finish_run(struct job *job)
{
	struct txn *t = (struct txn *)(void *)((char *)job - offsetof(struct txn, job));
	struct vfs *v = &t->q->dir.vfs;

	t->rc = v->sync(v, t->fd);
	v->close(v, t->fd);
	t->fd = -1;
	if (!t->rc)
		t->rc = v->rename(v, t->name, t->final);
	if (!t->rc) {
		t->finished = true;
		t->rc = v->sync_dir(v, "body");
	}
}

static void advance(struct txn *t);

static void job_done(struct job *job)
{
	struct txn *t = (struct txn *)(void *)((char *)job - offsetof(struct txn, job));
	uint8_t buf[4];
	struct wr w = wr_init(buf, sizeof(buf));
	struct chunk *c;

	t->busy = false;
	while ((c = t->running)) {
		t->running = c->next;
		free(c);
	}
	if (!t->link)
		return txn_free(t);
	if (t->rc) {
		refuse(t, t->rc);
		return drop(t);
	}
	if (t->written > t->credited) {
		wr_be32(&w, (uint32_t)(t->written - t->credited));
		t->credited = t->written;
		ipc_send(t->link, MSG_Q_CREDIT, t->id, buf, sizeof(buf));
	}
	advance(t);
}

static void advance(struct txn *t)
{
	if (t->busy)
		return;
	if (t->first) {
		t->running = t->first;
		t->first = NULL;
		t->last = &t->first;
		t->job = (struct job){ .run = write_run, .done = job_done };
	} else if (t->storing && !t->finished) {
		t->job = (struct job){ .run = finish_run, .done = job_done };
	} else {
		if (t->storing)
			commit(t, NULL, t->written);
		return;
	}
	t->busy = true;
	worker_submit(t->q->worker, &t->job);
}

static bool was_refused(const struct queue *q, uint32_t id)
{
	for (size_t i = 0; i < QUEUE_REFUSED; i++)
		if (q->refused[i] == id)
			return true;
	return false;
}

static void on_body(struct queue *q, const struct ipc_msg *m)
{
	struct txn *t = find(q, m->id);
	struct chunk *c;

	if (!m->len || m->len > MSG_BODY_CHUNK || (t && t->storing)) {
		log_err(NULL, "msg=\"bad body chunk from smtpd\"");
		return;
	}
	if (!t) {
		if (was_refused(q, m->id))
			return; /* it was under way when the answer left */
		t = txn_new(q, m->id);
		if (!t)
			return answer(q, q->smtpd, m->id, 451, false,
				      "4.3.2 Too many letters at once");
		snprintf(t->name, sizeof(t->name), "body/in-%u", q->next_file++);
	}
	t->announced += m->len;
	if (t->announced - t->credited > MSG_BODY_WINDOW || t->announced > store_room(q->store)) {
		refuse(t, t->announced - t->credited > MSG_BODY_WINDOW ? -EPROTO : -ENOSPC);
		return drop(t);
	}
	c = malloc(sizeof(*c) + m->len);
	if (!c) {
		refuse(t, -ENOMEM);
		return drop(t);
	}
	c->next = NULL;
	c->len = m->len;
	memcpy(c->data, m->data, m->len);
	*t->last = c;
	t->last = &c->next;
	advance(t);
}

struct naming {
	const char *file;
	bool taken;
};

static void look_at_name(struct hash_node *n, void *arg)
{
	const struct txn *t = (const struct txn *)(void *)n;
	struct naming *x = arg;

	x->taken |= t->storing && !strcmp(t->final, x->file);
}

/*
 * May @t's file get the name of letter @id? Ids are never used twice; an smtpd that does so means to
 * put its own text in the place of another's letter.
 */
static bool may_name(struct queue *q, struct txn *t, const uint8_t id[static LETTER_ID_LEN])
{
	struct naming x = { .file = t->final };

	store_body_name(id, t->final);
	hash_each(&q->txns, look_at_name, &x);
	if (!x.taken && !store_has(q->store, id))
		return true;
	log_err(NULL, "msg=\"smtpd names a letter that is there already: %s\"", t->final);
	return false;
}

static void on_store(struct queue *q, const struct ipc_msg *m)
{
	struct rd r = rd_init(m->data, m->len);
	struct txn *t = find(q, m->id);
	struct msg_q_store s;
	struct envelope e;
	bool ok;

	if (!t && was_refused(q, m->id))
		return;
	if (msg_q_store_get(&r, &s) || (s.streamed != 0) != (t != NULL)) {
		answer(q, q->smtpd, m->id, 451, false, "4.3.0 Queue and server disagree");
		if (t)
			drop(t);
		return;
	}
	if (!t)
		t = txn_new(q, m->id);
	if (!t)
		return answer(q, q->smtpd, m->id, 451, false, "4.3.2 Too many letters at once");
	t->env = malloc(s.env_len ? s.env_len : 1);
	if (!t->env || t->storing || (s.streamed && s.body_len != t->announced)) {
		refuse(t, t->env ? -EPROTO : -ENOMEM);
		return drop(t);
	}
	memcpy(t->env, s.env, s.env_len);
	t->env_len = s.env_len;
	if (!store_room(q->store)) {
		refuse(t, -ENOSPC);
		return drop(t);
	}
	if (!s.streamed)
		return commit(t, s.inline_len ? s.body : (const uint8_t *)"", s.inline_len);
	if (envelope_parse(&e, t->env, t->env_len)) {
		refuse(t, -EINVAL);
		return drop(t);
	}
	ok = may_name(q, t, e.id);
	envelope_clear(&e);
	if (!ok) {
		refuse(t, -EINVAL);
		return drop(t);
	}
	t->storing = true;
	advance(t);
}

static void on_message(struct ipc *ipc, struct ipc_msg *m, void *arg)
{
	struct queue *q = arg;
	struct txn *t;

	(void)ipc;
	switch (m->type) {
	case MSG_Q_BODY:
		return on_body(q, m);
	case MSG_Q_STORE:
		return on_store(q, m);
	case MSG_Q_TRACE:
		return ask_peer(q, m);
	case MSG_Q_PUBLISH:
		return homes_publish(q, m);
	case MSG_Q_ABORT:
		t = find(q, m->id);
		if (t) /* what is on its way into the journal cannot be called back */
			drop(t);
		return;
	default:
		log_err(NULL, "unknown message type=%u from smtpd", m->type);
	}
}

static void drop_each(struct hash_node *n, void *arg)
{
	(void)arg;
	drop((struct txn *)(void *)n);
}

void accept_close(struct queue *q)
{
	if (!q->smtpd)
		return;
	pressure_end(q, false);
	ipc_free(q->smtpd);
	q->smtpd = NULL;
	hash_each(&q->txns, drop_each, NULL);
}

static void on_closed(struct ipc *ipc, void *arg)
{
	(void)ipc;
	accept_close(arg);
}

static bool was_full(const struct queue *q, const char *home, size_t *at)
{
	for (*at = 0; *at < q->full_count; ++*at)
		if (!strcmp(q->full[*at], home))
			return true;
	return false;
}

static void tell_home(struct queue *q, const char *home, bool full)
{
	uint8_t buf[256];
	struct wr w = wr_init(buf, sizeof(buf));
	struct msg_q_home m = { .home = home, .full = full };

	msg_q_home_put(&w, &m);
	ipc_send(q->smtpd, MSG_Q_HOME, 0, buf, w.len);
}

/*
 * Its own bound, or as much as is still free: homes that nobody empties leave half of the disk to the others, the
 * second one a quarter, and so on.
 */
static bool is_full(const struct queue *q, const struct mta_home *h)
{
	uint64_t bytes = schedule_home_bytes(q->schedule, h->name);

	return (h->queue_max_bytes && bytes >= h->queue_max_bytes) ||
	       (bytes && bytes >= store_room(q->store));
}

static void homes(struct queue *q)
{
	const struct mta_config *c = q->ch->config;
	void *a;
	size_t at;

	for (size_t i = 0; i < c->home_count; i++) {
		const struct mta_home *h = &c->homes[i];
		bool full = is_full(q, h);
		bool was = was_full(q, h->name, &at);

		if (full == was)
			continue;
		if (full) {
			a = realloc(q->full, (q->full_count + 1) * sizeof(*q->full));
			if (!a)
				return;
			q->full = a;
			snprintf(q->full[q->full_count++], MTA_NAME_MAX, "%s", h->name);
			log_warn(NULL,
				 "home=%s msg=\"its mail has reached queue-max, or half of the disk: 452 "
				 "for it\"",
				 h->name);
		} else {
			memmove(q->full[at], q->full[--q->full_count], MTA_NAME_MAX);
		}
		tell_home(q, h->name, full);
	}
}

void accept_state(struct queue *q)
{
	uint64_t room = store_room(q->store);
	uint8_t buf[256];
	struct wr w = wr_init(buf, sizeof(buf));
	struct msg_q_state m = { .accepting = room > 0,
				 .code = room ? 0 : 452,
				 .room_bytes = room,
				 .text = room ? "" : "4.3.1 Insufficient system storage" };

	if (!q->smtpd)
		return;
	homes(q);
	/* Room changes all the time: it is told when it matters. */
	if (q->told && q->accepting == m.accepting &&
	    (room / 2 < q->told_room && q->told_room / 2 < room))
		return;
	if (q->told && q->accepting != m.accepting)
		log_warn(NULL, "msg=\"%s\"",
			 m.accepting ? "letters are taken again"
				     : "disk below queue-reserve: 452 to all");
	q->told = true;
	q->accepting = m.accepting;
	q->told_room = room;
	msg_q_state_put(&w, &m);
	ipc_send(q->smtpd, MSG_Q_STATE, 0, buf, w.len);
}

void accept_attach(struct queue *q, int fd)
{
	static const struct ipc_ops ops = { .message = on_message, .closed = on_closed };

	accept_close(q);
	memset(q->refused, 0, sizeof(q->refused));
	q->smtpd = ipc_new(q->loop, fd, &ops, q);
	q->smtpd_generation++;
	q->told = false;
	homes_tell(q);
	for (size_t i = 0; q->smtpd && i < q->full_count; i++)
		tell_home(q, q->full[i], true);
	accept_state(q);
}
