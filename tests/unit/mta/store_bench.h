/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TESTS_STORE_BENCH_H
#define TESTS_STORE_BENCH_H

/* A store on a disk of the test's, and letters that are known by a number. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "log.h"
#include "simvfs.h"
#include "store.h"

#define SEG	(256 * 1024)
#define LETTERS 64

struct bench {
	struct simvfs *disk;
	struct worker *worker;
	struct store *s;
	uint64_t now_ms;
	int added;
	/* What the outside was told: 250 for letter n; its recipient's delivery is committed. */
	bool stored[LETTERS], delivered[LETTERS], asked[LETTERS];
};

struct wait {
	struct store_waiter w;
	bool *flag;
	int *rc;
};

static inline void done(struct store_waiter *w, int rc, struct letter *l)
{
	struct wait *x = (struct wait *)(void *)w;

	(void)l;
	if (x->flag && !rc)
		*x->flag = true;
	if (x->rc)
		*x->rc = rc;
	free(x);
}

static inline struct store_waiter *waiter(bool *flag, int *rc)
{
	struct wait *x = calloc(1, sizeof(*x));

	x->w.done = done;
	x->flag = flag;
	x->rc = rc;
	return &x->w;
}

/* As store_commit(); a waiter that is not taken is freed. */
static inline int commit(struct store_change *c, bool keep, struct store_waiter *w)
{
	int rc = store_commit(c, keep, w);

	if (rc)
		free(w);
	return rc;
}

static inline void added(void *arg, struct letter *l, const struct envelope *e)
{
	assert_int_equal(l->rcpt_count, e->rcpt_count);
	((struct bench *)arg)->added++;
}

static inline int start(struct bench *b)
{
	struct store_config cfg = { .vfs = &b->disk->vfs,
				    .worker = b->worker,
				    .segment_bytes = SEG,
				    .boot_id = { 1 },
				    .added = added,
				    .arg = b };

	b->s = NULL;
	b->added = 0;
	return store_open(&b->s, &cfg, b->now_ms);
}

static inline struct bench *bench_new(uint32_t seed)
{
	struct bench *b = calloc(1, sizeof(*b));

	b->disk = simvfs_new(seed);
	b->worker = worker_new(NULL);
	b->now_ms = 1000000;
	return b;
}

static inline void cut_off(struct bench *b)
{
	worker_drain(b->worker);
	store_abandon(b->s);
	b->s = NULL;
}

static inline void bench_free(struct bench *b)
{
	store_abandon(b->s);
	worker_free(b->worker);
	simvfs_free(b->disk);
	free(b);
}

static inline void name(uint32_t n, uint8_t id[static LETTER_ID_LEN])
{
	memset(id, 0, LETTER_ID_LEN);
	id[0] = 0xaa;
	id[1] = (uint8_t)n;
}

static inline int put(struct bench *b, uint32_t n, struct envelope *e, const char *body, bool *flag,
		      int *rc)
{
	struct store_change *c = store_begin(b->s);
	int err;

	name(n, e->id);
	err = store_put_letter(c, e, (const uint8_t *)body, body ? strlen(body) : 0);
	if (err) {
		store_cancel(c);
		return err;
	}
	return commit(c, false, waiter(flag, rc));
}

static struct env_rcpt two[2] = { { .addr = "a@home.example" }, { .addr = "b@home.example" } };

static inline struct envelope plain(void)
{
	return (struct envelope){ .sender = "x@out.example", .rcpt = two, .rcpt_count = 2 };
}

/* Bodies in their own files, as accept.c makes them: written, synced, named, directory synced. */
static inline int put_big(struct bench *b, uint32_t n, bool *flag)
{
	struct vfs *v = &b->disk->vfs;
	struct envelope e = plain();
	struct store_change *c;
	char tmp[48], final[48];
	static uint8_t body[70000];
	int fd, rc;

	memset(body, (int)n, sizeof(body));
	name(n, e.id);
	snprintf(tmp, sizeof(tmp), "body/in-%u", n);
	store_body_name(e.id, final);
	fd = v->open(v, tmp, true);
	if (fd < 0)
		return fd;
	rc = vfs_write_all(v, fd, body, 40000, 0);
	if (!rc)
		rc = vfs_write_all(v, fd, body, 30000, 40000);
	if (!rc)
		rc = v->sync(v, fd);
	v->close(v, fd);
	if (!rc)
		rc = v->rename(v, tmp, final);
	if (!rc)
		rc = v->sync_dir(v, "body");
	if (rc)
		return rc;
	c = store_begin(b->s);
	rc = store_put_letter(c, &e, NULL, sizeof(body));
	if (rc) {
		store_cancel(c);
		return rc;
	}
	return commit(c, false, waiter(flag, NULL));
}

static inline void deliver(struct bench *b, uint32_t n)
{
	uint8_t id[LETTER_ID_LEN];
	struct store_change *c;
	struct letter *l;

	name(n, id);
	l = store_find(b->s, id);
	if (!l || l->state == LETTER_GONE)
		return;
	b->asked[n] = true;
	c = store_begin(b->s);
	store_put_rcpt(c, l, 0, RCPT_DELIVERED, 1, "250");
	store_put_rcpt(c, l, 1, RCPT_DELIVERED, 1, "250");
	store_put_state(c, l, LETTER_GONE);
	commit(c, true, waiter(&b->delivered[n], NULL));
}

#endif
