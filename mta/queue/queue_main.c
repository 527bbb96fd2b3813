/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "holds.h"
#include "log.h"
#include "queue.h"
#include "sandbox.h"
#include "through.h"

#define TICK_MS 1000
#define BACKUP_CHUNK                                                                               \
	1000 /* letters routed anew each tick, where there is a [route] with a backup */

static void added(void *arg, struct letter *l, const struct envelope *e)
{
	struct queue *q = arg;

	l->whose = dead_whose(q->ch->config, e);
	if (schedule_add(q->schedule, l, e, loop_now_ms(q->loop)))
		log_err(NULL, "msg=\"out of memory: a letter waits a minute\"");
	probe_added(q, e);
	if (q->store) /* not at replay */
		history_accepted(q->history, e, HISTORY_ACCEPTED);
}

static bool waits(void *arg, const uint8_t id[static LETTER_ID_LEN])
{
	const struct queue *q = arg;
	const struct letter *l = store_find(q->store, id);

	return l && l->state != LETTER_GONE;
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
	struct letter *l;

	for (int n = 0; n < QUEUE_ROUTE_CHUNK && (l = store_walk_next(&q->reroute)); n++)
		attempt_reroute(q, l);
	q->rerouting = store_walk_on(&q->reroute);
}

void queue_reroute(struct queue *q)
{
	q->rerouting = true;
	store_walk_begin(q->store, &q->reroute);
	q->reroutes++;
	timer_set(loop_timers(q->loop), &q->pump, loop_now_ms(q->loop));
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

/* Letters whose next hop is on its backup from now on, or not any more. */
static void go_by_backups(struct queue *q, uint64_t now_ms)
{
	static struct letter *some[BACKUP_CHUNK];
	size_t n = schedule_stranded(q->schedule, now_ms, some, BACKUP_CHUNK);

	for (size_t i = 0; i < n; i++)
		attempt_reroute(q, some[i]);
}

static void on_tick(struct timer *t, uint64_t now_ms)
{
	struct queue *q = t->arg;

	timer_set(loop_timers(q->loop), t, now_ms + TICK_MS);
	store_tick(q->store, now_ms);
	attempt_write(q);
	history_tick(q->history);
	if (!q->sweep.on) /* all that it ends in one report */
		report_run(q, now_ms);
	if (now_ms >= q->expire_ms && !q->sweep.on) {
		q->expire_ms = now_ms + QUEUE_EXPIRE_S * 1000;
		finish_expired(q, now_ms);
	}
	accept_state(q);
	if (!q->rerouting)
		go_by_backups(q, now_ms);
	levels_count(q);
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

void queue_settle(struct queue *q, struct letter *l, uint64_t now_ms)
{
	if (l->state != LETTER_QUEUED)
		schedule_remove(q->schedule, l);
	else if (l->way)
		attempt_reroute(q, l);
	else if (l->open != l->rcpt_count)
		schedule_settle(q->schedule, l, now_ms);
}

/*
 * The replay added each letter as it was accepted; what was read of it after that decides what is left to
 * be sent, and by which way.
 */
static void settle_replayed(struct queue *q, uint64_t now_ms)
{
	for (struct letter *l = store_oldest(q->store); l; l = l->newer)
		queue_settle(q, l, now_ms);
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
	int fd, rc;

	if (ch->config->cut_through)
		return through_start(ch);
	fd = open_dir(ch->config);
	if (fd < 0)
		return fd;
	vfs_dir_init(&q->dir, fd);
	q->ch = ch;
	q->loop = ch->loop;
	now_ms = loop_now_ms(ch->loop);
	q->started_ms = now_ms;
	q->expire_ms = now_ms + QUEUE_EXPIRE_S * 1000;
	pressure_init(q);
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
	q->history = history_open(&q->dir.vfs, HISTORY_SLOTS, waits, q);
	holds_load(q);
	settle_replayed(q, now_ms);
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
	q->expire_ms = now_ms; /* a ttl or a delay-warning may be another one */
	queue_reroute(q);
	counters_zero_gauges(ch->counters); /* some were about routes that are no more */
	levels_count(q);
	homes_tell(q);
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
	pressure_end(q, true);
	accept_close(q);
	worker_drain(q->worker);
	attempt_write(q);
	report_end(q, loop_now_ms(ch->loop));
	attempt_close(q);
	timer_clear(loop_timers(q->loop), &q->tick);
	timer_clear(loop_timers(q->loop), &q->pump);
	timer_clear(loop_timers(q->loop), &q->flush);
	timer_clear(loop_timers(q->loop), &q->sweep.timer);
	timer_clear(loop_timers(q->loop), &q->probes.timer);
	store_walk_end(&q->sweep.walk);
	store_walk_end(&q->reroute);
	dead_close(q);
	move_close(q);
	flush_close(q);
	stats_close(q);
	history_tick(q->history);
	store_close(q->store);
	history_close(q->history);
	q->history = NULL;
	q->store = NULL;
	import_close(q);
	probes_clear(&q->probes);
	asks_clear(q);
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
