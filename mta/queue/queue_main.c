/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "log.h"
#include "queue.h"
#include "sandbox.h"

#define TICK_MS 1000

static void added(void *arg, struct letter *l, const struct envelope *e)
{
	struct queue *q = arg;

	if (schedule_add(q->schedule, l, e, loop_now_ms(q->loop)))
		log_err(NULL, "msg=\"out of memory: a letter waits for the next restart\"");
}

static void removed(void *arg, struct letter *l)
{
	struct queue *q = arg;

	attempt_forget(q, l);
	schedule_remove(q->schedule, l);
}

static void read_boot_id(uint8_t out[static 16])
{
	char text[64] = "";
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	size_t n = 0;

	memset(out, 0, 16);
	if (fd < 0)
		return;
	if (read(fd, text, sizeof(text) - 1) > 0)
		for (const char *p = text; *p && n < 32; p++) {
			int d = *p >= '0' && *p <= '9'	 ? *p - '0'
				: *p >= 'a' && *p <= 'f' ? *p - 'a' + 10
							 : -1;

			if (d >= 0) {
				out[n / 2] = (uint8_t)(out[n / 2] << 4 | d);
				n++;
			}
		}
	close(fd);
}

/* The journal directory, and nobody else in it. */
static int open_dir(const struct mta_config *c)
{
	char path[4096], why[512];
	int fd, rc;

	snprintf(path, sizeof(path), "%s/queue", c->state_dir);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		rc = -errno;
		log_err(NULL, "cannot open the queue directory %s: %s", path, strerror(errno));
		return rc;
	}
	rc = c->queue_volatile ? 0 : vfs_durable(fd, path, why, sizeof(why));
	if (rc == -EROFS)
		log_err(NULL, "%s (queue-volatile = yes overrides, for tests)", why);
	if (!rc && flock(fd, LOCK_EX | LOCK_NB)) {
		rc = -errno;
		log_err(NULL, "another process works in the queue directory %s", path);
	}
	if (rc) {
		close(fd);
		return rc;
	}
	return fd;
}

/* Letters whose routes a reload may have changed, a piece per turn. */
static void reroute(struct queue *q)
{
	struct letter *l = store_oldest(q->store);
	int n = 0;

	while (l && l->seq < q->reroute_seq)
		l = l->newer;
	for (; l && n < QUEUE_ROUTE_CHUNK; l = l->newer, n++) {
		q->reroute_seq = l->seq + 1;
		attempt_reroute(q, l);
	}
	q->rerouting = l != NULL;
}

static void on_pump(struct timer *t, uint64_t now_ms)
{
	struct queue *q = t->arg;

	if (q->rerouting) {
		reroute(q);
		timer_set(loop_timers(q->loop), t, now_ms);
		return;
	}
	attempt_pump(q);
}

static void on_tick(struct timer *t, uint64_t now_ms)
{
	struct queue *q = t->arg;

	timer_set(loop_timers(q->loop), t, now_ms + TICK_MS);
	store_tick(q->store, now_ms);
	if (now_ms >= q->expire_ms) {
		q->expire_ms = now_ms + QUEUE_EXPIRE_S * 1000;
		finish_expired(q, now_ms);
	}
	accept_state(q);
	if (!q->rerouting)
		attempt_pump(q);
}

/* No network, no process, no file but below the queue directory, reached by name. */
static const struct sandbox_role role = {
	.name = "queue",
	.calls = SANDBOX_IPC | SANDBOX_READ | SANDBOX_WRITE | SANDBOX_SYNC,
	.extra = { "memfd_create", "fstatfs", NULL },
	.ring_register = { -1 },
};

static int confine(const struct mta_config *c)
{
	char path[4096];
	struct sandbox_path own = { .path = path,
				    .access = SANDBOX_PATH_READ | SANDBOX_PATH_WRITE };
	int rc;

	snprintf(path, sizeof(path), "%s/queue", c->state_dir);
	rc = sandbox_opened(&role, &own, 1);
	return rc;
}

static int start(struct child *ch)
{
	struct queue *q = ch->state;
	struct store_config cfg = {
		.vfs = &q->dir.vfs,
		.reserve_bytes = ch->config->queue_reserve_bytes,
		.reserve_inodes = QUEUE_RESERVE_INODES,
		.added = added,
		.removed = removed,
		.arg = q,
	};
	uint64_t now_ms;
	int fd = open_dir(ch->config), rc;

	if (fd < 0)
		return fd;
	vfs_dir_init(&q->dir, fd);
	q->ch = ch;
	q->loop = ch->loop;
	now_ms = loop_now_ms(ch->loop);
	q->started_ms = now_ms;
	q->expire_ms = now_ms + QUEUE_EXPIRE_S * 1000;
	q->tick = (struct timer){ .fire = on_tick, .arg = q };
	q->pump = (struct timer){ .fire = on_pump, .arg = q };
	read_boot_id(cfg.boot_id);
	rc = confine(ch->config);
	if (rc)
		return rc;
	q->worker = worker_new(ch->loop);
	q->schedule = schedule_new(ch->config, &ch->tunnel);
	if (!q->worker || !q->schedule)
		return -ENOMEM;
	cfg.worker = q->worker;
	rc = store_open(&q->store, &cfg, now_ms);
	if (rc == -EPROTONOSUPPORT)
		log_err(
		    NULL,
		    "the queue was written by a newer version of postern-mta: install that again, "
		    "or let it empty the queue first");
	if (rc)
		return rc;
	rc = sandbox_run(&role);
	if (rc)
		return rc;
	log_info(NULL, "letters=%zu held=%zu dead=%zu msg=\"queue is open\"",
		 store_count(q->store, LETTER_QUEUED), store_count(q->store, LETTER_HELD),
		 store_count(q->store, LETTER_DEAD));
	return timer_set(loop_timers(q->loop), &q->tick, now_ms + TICK_MS);
}

static void on_reload(struct child *ch, const struct mta_config *old)
{
	struct queue *q = ch->state;
	uint64_t now_ms = loop_now_ms(ch->loop);

	(void)old;
	store_set_reserve(q->store, ch->config->queue_reserve_bytes, QUEUE_RESERVE_INODES);
	schedule_reload(q->schedule, ch->config, &ch->tunnel, now_ms);
	q->rerouting = true;
	q->reroute_seq = 0;
	q->reloads++;
	timer_set(loop_timers(q->loop), &q->pump, now_ms);
}

static void on_peer(struct child *ch, enum mta_proc who, int fd)
{
	struct queue *q = ch->state;

	if (who == MTA_PROC_SMTPD)
		accept_attach(q, fd);
	else if (who == MTA_PROC_RELAY)
		attempt_attach(q, fd);
	else
		close(fd);
}

static void on_tunnel(struct child *ch)
{
	struct queue *q = ch->state;

	schedule_tunnel(q->schedule, &ch->tunnel, loop_now_ms(ch->loop));
	attempt_pump(q);
}

static void on_control(struct child *ch, uint32_t id, const char *json, size_t len)
{
	verbs_run(ch->state, id, json, len);
}

/* What smtpd has stored is committed; what relay has under way is lost at most twice. */
static void on_stop(struct child *ch)
{
	struct queue *q = ch->state;

	worker_drain(q->worker);
	accept_close(q);
	worker_drain(q->worker);
	attempt_close(q);
	timer_clear(loop_timers(q->loop), &q->tick);
	timer_clear(loop_timers(q->loop), &q->pump);
	store_close(q->store);
	q->store = NULL;
	schedule_free(q->schedule);
	worker_free(q->worker);
	close(q->dir.dirfd);
	free(q->full);
	hash_free(&q->txns);
	hash_free(&q->attempts);
	loop_stop(ch->loop);
}

int queue_main(void)
{
	static const struct child_ops ops = {
		.start = start,
		.reload = on_reload,
		.peer = on_peer,
		.tunnel = on_tunnel,
		.control = on_control,
		.stop = on_stop,
	};
	static struct queue q;

	return child_run(MTA_PROC_QUEUE, &ops, &q);
}
