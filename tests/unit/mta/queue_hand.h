/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TESTS_QUEUE_HAND_H
#define TESTS_QUEUE_HAND_H

/*
 * The queue process taken apart: its own accept.c, finish.c and schedule on a disk in memory, with an
 * smtpd played by the test, no relay, and days in a moment. What was one process dies by hand_die().
 */

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
#include "queue.h"
#include "simvfs.h"

#define HAND_LETTERS 2048

struct hand {
	struct child ch;
	struct queue q;
	struct simvfs *disk;
	struct mta_config config;
	struct tunnel_peer peers[4];
	struct ipc *smtpd; /* our end */
	uint64_t now_ms;
	uint64_t reserve_bytes;
	uint32_t shift;		     /* of the transactions' numbers: no letter is sent twice as one */
	uint16_t code[HAND_LETTERS]; /* by letter; 0: none yet */
	uint64_t credit[HAND_LETTERS];
	bool full[4]; /* homes that smtpd was told of, by number */
	bool accepting;
	bool no_memory; /* the test's doing */
	const char *sender, *peer; /* of the letters from now on; NULL: no peer */
	uint32_t flags;
};

/* The queue has its disk by value, the test's is elsewhere. */
static struct simvfs *hand_disk;
#define HAND_VFS (&hand_disk->vfs)

static int h_open(struct vfs *v, const char *n, bool c)
{
	(void)v;
	return HAND_VFS->open(HAND_VFS, n, c);
}

static int h_open_read(struct vfs *v, const char *n)
{
	(void)v;
	return HAND_VFS->open_read(HAND_VFS, n);
}

static void h_close(struct vfs *v, int fd)
{
	(void)v;
	HAND_VFS->close(HAND_VFS, fd);
}

static ssize_t h_pread(struct vfs *v, int fd, void *p, size_t n, uint64_t off)
{
	(void)v;
	return HAND_VFS->pread(HAND_VFS, fd, p, n, off);
}

static ssize_t h_pwrite(struct vfs *v, int fd, const void *p, size_t n, uint64_t off)
{
	(void)v;
	return HAND_VFS->pwrite(HAND_VFS, fd, p, n, off);
}

static int h_sync(struct vfs *v, int fd)
{
	(void)v;
	return HAND_VFS->sync(HAND_VFS, fd);
}

static int h_refresh(struct vfs *v, int fd)
{
	(void)v;
	return HAND_VFS->refresh(HAND_VFS, fd);
}

static int h_rename(struct vfs *v, const char *a, const char *b)
{
	(void)v;
	return HAND_VFS->rename(HAND_VFS, a, b);
}

static int h_unlink(struct vfs *v, const char *n)
{
	(void)v;
	return HAND_VFS->unlink(HAND_VFS, n);
}

static int h_mkdir(struct vfs *v, const char *n)
{
	(void)v;
	return HAND_VFS->mkdir(HAND_VFS, n);
}

static int h_sync_dir(struct vfs *v, const char *n)
{
	(void)v;
	return HAND_VFS->sync_dir(HAND_VFS, n);
}

static int h_list(struct vfs *v, const char *d,
		  void (*fn)(const char *name, uint64_t size, void *arg), void *arg)
{
	(void)v;
	return HAND_VFS->list(HAND_VFS, d, fn, arg);
}

static int h_space(struct vfs *v, struct vfs_space *out)
{
	(void)v;
	return HAND_VFS->space(HAND_VFS, out);
}

static const struct vfs hand_vfs = { h_open,   h_open_read, h_close, h_pread,	 h_pwrite, h_sync, h_refresh,
				     h_rename, h_unlink,    h_mkdir, h_sync_dir, h_list,   h_space };

static void hand_added(void *arg, struct letter *l, const struct envelope *e)
{
	struct hand *h = arg;

	l->whose = dead_whose(&h->config, e);
	if (schedule_add(h->q.schedule, l, e, h->now_ms))
		assert_true(h->no_memory);
}

static void hand_removed(void *arg, struct letter *l)
{
	struct hand *h = arg;

	attempt_forget(&h->q, l);
	schedule_remove(h->q.schedule, l);
}

static void hand_told(struct ipc *ipc, struct ipc_msg *m, void *arg)
{
	struct rd r = rd_init(m->data, m->len);
	struct hand *h = arg;
	struct msg_q_stored stored;
	struct msg_q_state state;
	struct msg_q_home home;
	uint32_t n = m->id - h->shift;

	(void)ipc;
	if (m->type == MSG_Q_STORED && !msg_q_stored_get(&r, &stored) && n < HAND_LETTERS)
		h->code[n] = stored.code;
	if (m->type == MSG_Q_CREDIT && n < HAND_LETTERS)
		h->credit[n] += rd_be32(&r);
	if (m->type == MSG_Q_STATE && !msg_q_state_get(&r, &state))
		h->accepting = state.accepting;
	if (m->type == MSG_Q_HOME && !msg_q_home_get(&r, &home))
		for (size_t i = 0; i < h->config.home_count; i++)
			if (!strcmp(h->config.homes[i].name, home.home))
				h->full[i] = home.full;
}

static void hand_closed(struct ipc *ipc, void *arg)
{
	(void)ipc;
	(void)arg;
}

/* Everything that is on its way, the helper's jobs too. */
static inline void hand_settle(struct hand *h)
{
	for (int quiet = 0; quiet < 2; quiet++) {
		loop_once(h->ch.loop, 0);
		while (worker_step(h->q.worker)) {
			loop_once(h->ch.loop, 0);
			quiet = -1;
		}
		if (h->q.sweep.on || h->q.move || h->q.flushing || h->q.stats)
			quiet = -1;
	}
}

static inline void hand_pump(struct timer *t, uint64_t now_ms)
{
	(void)now_ms;
	attempt_pump(t->arg);
}

/* 0 or as store_open(). */
static inline int hand_start(struct hand *h)
{
	static const struct ipc_ops ops = { .message = hand_told, .closed = hand_closed };
	struct store_config cfg = {
		.vfs = &h->q.dir.vfs,
		.segment_bytes = 256 * 1024,
		.boot_id = { 1 },
		.reserve_bytes = h->reserve_bytes,
		.added = hand_added,
		.removed = hand_removed,
		.arg = h,
	};
	int fds[2], rc;

	memset(&h->q, 0, sizeof(h->q));
	h->q.ch = &h->ch;
	h->q.loop = h->ch.loop;
	h->q.started_ms = h->now_ms;
	h->q.dir.vfs = hand_vfs;
	h->q.pump = (struct timer){ .fire = hand_pump, .arg = &h->q };
	h->q.worker = cfg.worker = worker_new(NULL);
	h->q.schedule = schedule_new(&h->config, &h->ch.tunnel);
	rc = store_open(&h->q.store, &cfg, h->now_ms);
	if (rc)
		return rc;
	assert_int_equal(ipc_pair(fds), 0);
	h->smtpd = ipc_new(h->ch.loop, fds[0], &ops, h);
	accept_attach(&h->q, fds[1]);
	hand_settle(h);
	return 0;
}

static inline void hand_end(struct hand *h, bool orderly, bool power)
{
	timer_clear(loop_timers(h->ch.loop), &h->q.sweep.timer);
	timer_clear(loop_timers(h->ch.loop), &h->q.pump);
	timer_clear(loop_timers(h->ch.loop), &h->q.flush);
	store_walk_end(&h->q.sweep.walk);
	store_walk_end(&h->q.reroute);
	dead_close(&h->q);
	move_close(&h->q);
	flush_close(&h->q);
	stats_close(&h->q);
	accept_close(&h->q);
	ipc_free(h->smtpd);
	worker_drain(h->q.worker);
	for (struct letter *l = store_oldest(h->q.store); l; l = l->newer)
		schedule_remove(h->q.schedule, l);
	if (orderly)
		store_close(h->q.store);
	else
		store_abandon(h->q.store);
	schedule_free(h->q.schedule);
	worker_free(h->q.worker);
	free(h->q.full);
	hash_free(&h->q.txns);
	hash_free(&h->q.attempts);
	simvfs_restart(h->disk, power);
}

/* As by kill -9, or, with @power, with the machine. What is started next finds what is left. */
static inline void hand_die(struct hand *h, bool power)
{
	h->disk->dead = true;
	hand_end(h, false, power);
}

/* @homes tunnel routes "h0" to "h3" with domains h0.example ... of peers that are down. */
static inline struct hand *hand_new(uint32_t seed, size_t homes)
{
	static char names[4][8], domains[4][16];
	static char *domain_of[4], *world = (char *)"*";
	struct hand *h = calloc(1, sizeof(*h));

	h->disk = hand_disk = simvfs_new(seed);
	h->ch.loop = loop_new();
	h->now_ms = loop_now_ms(h->ch.loop);
	h->sender = "x@out.example";
	h->ch.config = &h->config;
	h->config.hostname = (char *)"edge.example.net";
	h->config.homes = calloc(homes, sizeof(*h->config.homes));
	h->config.routes = calloc(homes + 1, sizeof(*h->config.routes));
	h->config.home_count = homes;
	h->config.route_count = homes + 1;
	for (size_t i = 0; i < homes; i++) {
		struct mta_home *m = &h->config.homes[i];
		struct mta_route *r = &h->config.routes[i];

		snprintf(names[i], sizeof(names[i]), "h%zu", i);
		snprintf(domains[i], sizeof(domains[i]), "h%zu.example", i);
		domain_of[i] = domains[i];
		memcpy(m->name, names[i], 3);
		memcpy(r->name, names[i], 3);
		memcpy(h->peers[i].name, names[i], 3);
		m->peer = r->peer = names[i];
		m->domains = r->domains = (struct strv){ &domain_of[i], 1 };
		r->kind = ROUTE_TUNNEL;
		r->ttl_ms = 20ull * 86400000;
		r->bounce = BOUNCE_VERIFIED;
		r->schedule = (struct mta_schedule){ SCHEDULE_EXPONENTIAL, 60000, 600000, 0 };
		r->sessions_max = 4;
	}
	h->config.routes[homes] = (struct mta_route){ .name = "internet",
						      .kind = ROUTE_MX,
						      .domains = { &world, 1 },
						      .ttl_ms = 5ull * 86400000,
						      .sessions_max = 5 };
	h->ch.tunnel.peers = h->peers;
	h->ch.tunnel.peer_count = homes;
	h->ch.tunnel.connected = true;
	return h;
}

static inline void hand_free(struct hand *h)
{
	hand_die(h, false);
	loop_free(h->ch.loop);
	simvfs_free(h->disk);
	free(h->config.homes);
	free(h->config.routes);
	free(h);
}

static inline void hand_id(uint32_t txn, uint8_t id[static LETTER_ID_LEN])
{
	memset(id, 0, LETTER_ID_LEN);
	id[0] = 0xbb;
	id[1] = (uint8_t)(txn >> 8);
	id[2] = (uint8_t)txn;
}

/* The body that letter @txn has, of @len bytes. */
static inline void hand_body(uint32_t txn, uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(txn + i / 1000);
}

static inline void hand_store(struct hand *h, uint32_t txn, const char *rcpt, size_t len,
			      bool streamed)
{
	static uint8_t env[ENVELOPE_MAX], msg[MSG_STORE_MAX], body[MSG_BODY_INLINE];
	struct wr we = wr_init(env, sizeof(env)), w = wr_init(msg, sizeof(msg));
	struct env_rcpt to = { .addr = rcpt };
	struct envelope e = { .flags = h->flags,
			      .sender = h->sender,
			      .peer = h->peer,
			      .rcpt = &to,
			      .rcpt_count = 1,
			      .size = len };
	struct msg_q_store m = { .streamed = streamed, .body_len = len, .env = env };

	hand_id(txn, e.id);
	envelope_build(&e, &we);
	m.env_len = we.len;
	if (!streamed) {
		hand_body(txn, body, len);
		m.body = body;
		m.inline_len = len;
	}
	msg_q_store_put(&w, &m);
	assert_false(w.bad);
	ipc_send(h->smtpd, MSG_Q_STORE, h->shift + txn, msg, w.len);
}

#endif
