/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: letters of another queue come in, from a file that the admin's program reads (archive.h) and has
 * checked. One import at a time, in steps, each answered when the next may come:
 *
 *	import {begin: true}		-> {session}
 *	import {session, items: [..]}	-> {taken, known}	items {k, d} as of an export: "L", "l", "b"
 *	import {session, end: true}	-> {taken, known}	when all of them are durable
 *
 * A small body waits in memory for its record. A larger one goes to its own file as in accept.c. A letter that
 * is here, or was taken once (store_put_import()), is known, and its body is not looked at. So an
 * import that broke off anywhere is simply begun again.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "answer.h"
#include "archive.h"
#include "base64.h"
#include "log.h"
#include "way.h"

#define WAITING_MAX 128	  /* letters that are being written, before who sends them has to wait */
#define IDLE_MS	    20000 /* then another import may begin */

struct import {
	struct queue *q;
	uint32_t session;
	uint64_t used_ms;
	uint32_t asked; /* the request that is answered later; 0: none */
	bool end;
	size_t waiting; /* commits under way */
	size_t taken, known;
	int rc; /* the first that went wrong */
	char failed[LETTER_ID_STR_MAX];
	/* The letter that is being read. */
	uint8_t *frame;
	size_t frame_len;
	uint8_t *body; /* small ones */
	uint64_t got, body_len;
	bool reading, skip;
	int fd;
	char name[48], final[48];
	struct job job; /* of its file */
	int job_rc;
	json_t *rest; /* items behind a file that is being synced */
	size_t rest_at;
};

static void letter_done(struct import *m)
{
	free(m->frame);
	free(m->body);
	m->frame = m->body = NULL;
	m->frame_len = 0;
	m->got = m->body_len = 0;
	m->reading = m->skip = false;
	if (m->fd >= 0)
		m->q->dir.vfs.close(&m->q->dir.vfs, m->fd);
	if (m->name[0])
		m->q->dir.vfs.unlink(&m->q->dir.vfs, m->name);
	m->fd = -1;
	m->name[0] = 0;
}

static void set_failed(struct import *m, const uint8_t *id, int rc)
{
	if (m->rc)
		return;
	m->rc = rc;
	if (id)
		letter_id_str(id, m->failed);
}

static void step(struct import *m)
{
	struct queue *q = m->q;
	char why[160];
	uint32_t id = m->asked;

	if (!id || m->rest || m->waiting > (m->end && !m->rc ? 0 : WAITING_MAX))
		return;
	m->asked = 0;
	m->used_ms = loop_now_ms(q->loop);
	if (m->rc) {
		m->session = 0;
		snprintf(why, sizeof(why), "letter %s could not be taken: %s; %zu before it are",
			 m->failed[0] ? m->failed : "without an id",
			 m->rc == -EBADMSG ? "it is damaged" : strerror(-m->rc), m->taken);
		return answer_fail(q, id, why);
	}
	if (m->end && m->reading)
		return answer_fail(q, id, "the last letter is not complete");
	if (m->end)
		log_info(NULL, "taken=%zu known=%zu msg=\"import\"", m->taken, m->known);
	if (m->end)
		m->session = 0;
	answer_reply(
	    q, id,
	    json_pack("{s:I,s:I}", "taken", (json_int_t)m->taken, "known", (json_int_t)m->known));
}

/* --- one letter into the journal --- */

struct storing {
	struct store_waiter w;
	struct import *m;
	uint16_t *told;
	size_t told_count;
	char *way;
	uint8_t id[LETTER_ID_LEN];
	char final[48]; /* its file, until it is the letter's */
};

static void storing_free(struct storing *x)
{
	struct vfs *v = &x->m->q->dir.vfs;

	if (x->final[0])
		v->unlink(v, x->final);
	free(x->told);
	free(x->way);
	free(x);
}

static void stored(struct store_waiter *w, int rc, struct letter *l)
{
	struct storing *x = (struct storing *)(void *)w;
	struct import *m = x->m;
	struct queue *q = m->q;
	char hex[LETTER_ID_STR_MAX];

	m->waiting--;
	if (rc == -ECANCELED)
		x->final[0] = 0; /* the next start knows whether it is a letter's */
	if (rc || !l) {
		set_failed(m, x->id, rc ? rc : -ENOMEM);
		storing_free(x);
		return step(m);
	}
	m->taken++;
	x->final[0] = 0;
	for (size_t i = 0; i < x->told_count; i++)
		if (x->told[i] < l->rcpt_count)
			l->rcpt[x->told[i]].told = true;
	for (size_t i = 0; i < l->rcpt_count; i++)
		l->rcpt[i].tried = true; /* that queue does not say what its last attempt came to */
	l->way = x->way;
	x->way = NULL;
	storing_free(x);
	log_info(NULL, "letter=%s size=%llu rcpts=%u msg=\"imported\"", letter_id_str(l->id, hex),
		 (unsigned long long)l->body_len, l->rcpt_count);
	history_note(q->history, HISTORY_IMPORTED, l->id, "from a file");
	queue_settle(q, l, loop_now_ms(q->loop));
	attempt_pump(q);
	step(m);
}

/* Its file stays until it is known that no restart makes it a letter's. */
static void doubted(struct store_waiter *w, int rc)
{
	struct storing *x = (struct storing *)(void *)w;

	set_failed(x->m, x->id, rc);
	step(x->m);
}

/* Told and way as the store wants them; 0 or -errno. */
static int read_marks(struct storing *x, const struct archive_letter *a)
{
	struct rd told = a->told, way = a->way;

	x->told = calloc(a->told_count ? a->told_count : 1, sizeof(*x->told));
	if (!x->told)
		return -ENOMEM;
	for (; x->told_count < a->told_count; x->told_count++)
		x->told[x->told_count] = rd_be16(&told);
	for (uint16_t i = 0; i < a->way_count; i++) {
		const char *from = archive_text(&way), *to = archive_text(&way);
		char *more;

		if (!*from || !*to || strlen(from) >= MTA_NAME_MAX || strlen(to) >= MTA_NAME_MAX)
			return -EBADMSG;
		more = way_add(x->way, from, to);
		if (!more)
			return -ENOMEM;
		free(x->way);
		x->way = more;
	}
	return 0;
}

static int put(struct import *m, struct storing *x, const struct archive_letter *a,
	       struct store_change *c)
{
	struct store_import im = { .age_s = a->age_s, .state = (enum letter_state)a->state };
	bool own = a->body_len > STORE_BODY_INLINE;
	bool open = false;
	struct envelope e;
	int rc = envelope_parse(&e, a->env, a->env_len);

	if (rc)
		return rc;
	for (size_t i = 0; i < e.rcpt_count; i++)
		open |= e.rcpt[i].state == RCPT_PENDING;
	if (!open) /* nothing would ever end it */
		im.state = LETTER_DEAD;
	im.told = x->told;
	im.told_count = x->told_count;
	im.way = x->way;
	rc = memcmp(e.id, a->id, LETTER_ID_LEN) ? -EBADMSG : 0;
	if (!rc)
		rc = store_put_import(c, &e, own ? NULL : m->body, a->body_len, &im);
	envelope_clear(&e);
	return rc;
}

/* The letter is whole, its file durable. */
static void commit(struct import *m)
{
	struct storing *x = calloc(1, sizeof(*x));
	struct store_change *c = x ? store_begin(m->q->store) : NULL;
	struct archive_letter a;
	int rc = c ? archive_letter_get(&a, m->frame, m->frame_len) : -ENOMEM;

	if (x) {
		x->m = m;
		x->w = (struct store_waiter){ .done = stored, .doubt = doubted };
		memcpy(x->id, a.id, LETTER_ID_LEN);
		memcpy(x->final, m->final, sizeof(x->final));
	}
	m->final[0] = 0;
	if (!rc)
		rc = read_marks(x, &a);
	if (!rc)
		rc = put(m, x, &a, c);
	letter_done(m);
	if (rc) {
		store_cancel(c);
	} else {
		m->waiting++;
		rc = store_commit(c, false, &x->w);
		m->waiting -= rc != 0;
	}
	if (rc == -EEXIST)
		m->known++;
	else if (rc)
		set_failed(m, x ? x->id : NULL, rc);
	if (rc && x && store_has(m->q->store, x->id))
		x->final[0] = 0; /* that is the file of the letter that is there */
	if (rc && x)
		storing_free(x);
}

/* --- bodies --- */

static void sync_run(struct job *job)
{
	struct import *m = (struct import *)(void *)((char *)job - offsetof(struct import, job));
	struct vfs *v = &m->q->dir.vfs;

	m->job_rc = v->sync(v, m->fd);
	if (!m->job_rc)
		m->job_rc = v->rename(v, m->name, m->final);
	if (!m->job_rc)
		m->job_rc = v->sync_dir(v, "body");
}

static void take(struct import *m);

static void sync_done(struct job *job)
{
	struct import *m = (struct import *)(void *)((char *)job - offsetof(struct import, job));

	if (m->job_rc) {
		set_failed(m, m->frame, m->job_rc);
		m->final[0] = 0;
		letter_done(m);
	} else {
		m->name[0] = 0;
		commit(m);
	}
	take(m);
	step(m);
}

/* Its file gets its name first; true: the rest has to wait for that. */
static bool complete(struct import *m)
{
	if (m->skip) {
		m->known++;
		letter_done(m);
		return false;
	}
	if (m->fd < 0) {
		commit(m);
		return false;
	}
	if (store_has(m->q->store, m->frame)) {
		m->known++;
		letter_done(m);
		return false;
	}
	store_body_name(m->frame, m->final);
	m->job = (struct job){ .run = sync_run, .done = sync_done };
	worker_submit(m->q->worker, &m->job);
	return true;
}

/* All of a frame is here: is it wanted, and where does its body go? */
static int on_frame(struct import *m)
{
	struct vfs *v = &m->q->dir.vfs;
	struct archive_letter a;

	if (archive_letter_get(&a, m->frame, m->frame_len))
		return -EBADMSG;
	m->reading = true;
	m->body_len = a.body_len;
	if (store_has(m->q->store, a.id)) {
		m->skip = true;
		return 0;
	}
	if (a.body_len > store_room(m->q->store) || !store_room(m->q->store))
		return -ENOSPC;
	if (a.body_len <= STORE_BODY_INLINE) {
		m->body = malloc(a.body_len ? a.body_len : 1);
		return m->body ? 0 : -ENOMEM;
	}
	snprintf(m->name, sizeof(m->name), "body/in-%u", m->q->next_file++);
	m->fd = v->open(v, m->name, true);
	if (m->fd < 0)
		m->name[0] = 0;
	return m->fd < 0 ? m->fd : 0;
}

static int add_frame(struct import *m, const void *data, size_t len, bool last)
{
	uint8_t *f;

	if (m->reading || m->frame_len + len > ARCHIVE_PAYLOAD_MAX)
		return -EBADMSG;
	f = realloc(m->frame, m->frame_len + len + 1);
	if (!f)
		return -ENOMEM;
	memcpy(f + m->frame_len, data, len);
	m->frame = f;
	m->frame_len += len;
	return last ? on_frame(m) : 0;
}

static int add_body(struct import *m, const void *data, size_t len)
{
	int rc = 0;

	if (!m->reading || len > m->body_len - m->got)
		return -EBADMSG;
	if (m->body)
		memcpy(m->body + m->got, data, len);
	else if (m->fd >= 0)
		rc = vfs_write_all(&m->q->dir.vfs, m->fd, data, len, m->got);
	m->got += len;
	return rc;
}

static int item(struct import *m, const json_t *o)
{
	static uint8_t buf[IPC_PAYLOAD_MAX];
	const char *kind = json_string_value(json_object_get(o, "k")),
		   *text = json_string_value(json_object_get(o, "d"));
	int n = kind && text ? base64_decode(text, strlen(text), buf, sizeof(buf)) : -EBADMSG;

	if (n < 0)
		return n;
	if (!strcmp(kind, "L") || !strcmp(kind, "l"))
		return add_frame(m, buf, (size_t)n, *kind == 'l');
	return strcmp(kind, "b") ? -EBADMSG : add_body(m, buf, (size_t)n);
}

/* Items, until one has to wait for the disk. */
static void take(struct import *m)
{
	while (m->rest) {
		int rc = m->rc;

		if (m->rest_at == json_array_size(m->rest) || rc) {
			json_decref(m->rest);
			m->rest = NULL;
			return;
		}
		rc = item(m, json_array_get(m->rest, m->rest_at++));
		if (rc) {
			set_failed(m, m->frame_len >= LETTER_ID_LEN ? m->frame : NULL, rc);
			letter_done(m);
		} else if (m->reading && m->got == m->body_len && complete(m)) {
			return;
		}
	}
}

static struct import *begin(struct queue *q)
{
	struct import *m = q->import;
	uint64_t now_ms = loop_now_ms(q->loop);

	if (m &&
	    (m->rest || m->waiting || (m->session && now_ms - m->used_ms < IDLE_MS && m->used_ms)))
		return NULL;
	if (m) {
		letter_done(m);
	} else {
		m = q->import = calloc(1, sizeof(*m));
		if (!m)
			return NULL;
		m->fd = -1;
	}
	m->q = q;
	m->used_ms = now_ms;
	m->session = ++q->imports;
	m->taken = m->known = 0;
	m->rc = 0;
	m->end = false;
	m->failed[0] = 0;
	return m;
}

void import_run(struct queue *q, uint32_t id, const json_t *args)
{
	json_int_t session = json_integer_value(json_object_get(args, "session"));
	json_t *items = json_object_get(args, "items");
	struct import *m = q->import;

	if (json_is_true(json_object_get(args, "begin"))) {
		m = begin(q);
		if (!m)
			return answer_fail(q, id,
					   "another import is under way, or broke off just now; "
					   "try again in a moment");
		return answer_reply(q, id, json_pack("{s:I}", "session", (json_int_t)m->session));
	}
	if (!m || !session || session != m->session || m->asked || m->rest)
		return answer_fail(q, id,
				   "the queue was restarted, or another import began: begin again");
	m->asked = id;
	m->used_ms = loop_now_ms(q->loop);
	m->end = json_is_true(json_object_get(args, "end"));
	if (json_is_array(items)) {
		m->rest = json_incref(items);
		m->rest_at = 0;
		take(m);
	}
	step(m);
}

void import_close(struct queue *q)
{
	if (!q->import)
		return;
	json_decref(q->import->rest);
	letter_done(q->import);
	free(q->import);
	q->import = NULL;
}
