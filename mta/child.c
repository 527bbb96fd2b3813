/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proc_mta.h"

#include <cap-ng.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lean.h"
#include "log.h"
#include "ruleset.h"
#include "secret.h"
#include "wire.h"

#define SETTLE_MS 500

static const char *const proc_names[MTA_PROCS] = { "smtpd", "queue", "relay", "lookup" };

/*
 * Theory: started by a root parent, a child begins with the two capabilities that it needs to
 * become its own user (SETUID, SETGID, inherited as ambient) and gives them up with that. Where the
 * whole MTA was started by an ordinary user (tests, containers) there is nothing to change.
 */
static int become(const struct mta_config *c, enum mta_proc who)
{
	uid_t uid;
	gid_t gid;
	int rc;

	if (capng_get_caps_process())
		return -EPERM;
	if (!capng_have_capability(CAPNG_EFFECTIVE, CAP_SETUID)) {
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		secret_process_harden();
		return 0;
	}
	rc = proc_user(who == MTA_PROC_QUEUE ? c->queue_user : c->user, &uid, &gid);
	if (rc)
		return rc;
	if (!uid)
		return -EPERM;
	rc = proc_become(uid, gid);
	if (rc)
		return rc;
	capng_clear(CAPNG_SELECT_ALL);
	return capng_apply(CAPNG_SELECT_CAPS) || capng_apply(CAPNG_SELECT_AMBIENT) ? -EPERM : 0;
}

/* The tables of rules are for those two who ask them. */
static struct mta_config *config_of(const struct bundle *b, enum mta_proc who, char *err,
				    size_t cap)
{
	struct conf *conf = bundle_conf(b, &config_schema);
	struct mta_config *c = conf && conf_ok(conf) ? config_new(conf) : NULL;

	if (!c)
		snprintf(err, cap, "%s", conf && conf->errors ? conf->errors : "out of memory");
	conf_free(conf);
	if (c && (who == MTA_PROC_SMTPD || who == MTA_PROC_QUEUE) && ruleset_load(c, b, err, cap)) {
		config_free(c);
		return NULL;
	}
	return c;
}

static void on_settled(struct timer *t, uint64_t now_ms)
{
	(void)t;
	(void)now_ms;
	lean_settle();
}

static void on_config(struct child *ch, int fd)
{
	struct bundle *b = bundle_open(fd), *old_bundle = ch->bundle;
	struct mta_config *c, *old = ch->config;
	enum log_level level;
	char err[512];
	int rc;

	c = b ? config_of(b, ch->who, err, sizeof(err)) : NULL;
	if (!c) {
		log_err(NULL, "configuration from the parent refused: %s",
			b ? err : strerror(errno));
		bundle_free(b);
		if (!ch->started)
			loop_stop(ch->loop);
		return;
	}
	ch->config = c;
	ch->bundle = b;
	if (!log_level_parse(c->log_level, &level)) {
		char program[64];

		snprintf(program, sizeof(program), "postern-mta/%s", ch->name);
		log_setup(program, level, STDERR_FILENO);
	}
	if (ch->started) {
		if (ch->ops->reload)
			ch->ops->reload(ch, old);
		config_free(old);
		bundle_free(old_bundle);
		return;
	}
	rc = become(c, ch->who);
	if (!rc)
		rc = ch->ops->start(ch);
	if (rc) {
		log_err(NULL, "cannot start: %s", strerror(-rc));
		loop_stop(ch->loop);
		return;
	}
	ch->started = true;
	ipc_send(ch->parent, MTA_READY, 0, NULL, 0);
	/* Certificates, tables, the journal: what they needed once goes when they are through. */
	ch->settle = (struct timer){ .fire = on_settled };
	timer_set(loop_timers(ch->loop), &ch->settle, loop_now_ms(ch->loop) + SETTLE_MS);
}

static void on_tunnel(struct child *ch, int fd)
{
	struct stat st;
	void *p;

	if (fstat(fd, &st) || st.st_size <= 0)
		return;
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		return;
	if (!tunnel_decode(&ch->tunnel, p, (size_t)st.st_size)) {
		if (ch->ops->tunnel)
			ch->ops->tunnel(ch);
	} else {
		log_err(NULL, "tunnel table from the parent refused");
	}
	munmap(p, (size_t)st.st_size);
}

static void on_key(struct child *ch, const struct ipc_msg *m)
{
	struct rd r = rd_init(m->data, m->len);
	size_t chain_len, key_len;
	const char *chain, *key;

	if (m->fd_count == 1) {
		struct stat st;
		void *p;

		if (fstat(m->fd[0], &st) || st.st_size < 0)
			return;
		p = st.st_size ? mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, m->fd[0], 0)
			       : NULL;
		if (p == MAP_FAILED)
			return;
		ch->ops->key(ch, m->id, NULL, 0, p ? p : "", (size_t)st.st_size);
		if (p)
			munmap(p, (size_t)st.st_size);
		return;
	}
	if (m->id < MTA_KEY_CLIENT || m->id >= MTA_KEY_PASSWORD) {
		ch->ops->key(ch, m->id, NULL, 0, (const char *)m->data, m->len);
	} else {
		chain_len = rd_be32(&r);
		chain = (const char *)rd_take(&r, chain_len);
		key_len = rd_left(&r);
		key = (const char *)rd_take(&r, key_len);
		if (!r.bad)
			ch->ops->key(ch, m->id, chain, chain_len, key, key_len);
	}
	secret_wipe((void *)(uintptr_t)m->data, m->len);
}

static int take_fd(struct ipc_msg *m)
{
	int fd = m->fd_count == 1 ? m->fd[0] : -1;

	if (fd >= 0)
		m->fd[0] = -1;
	return fd;
}

static void on_counters(struct child *ch, uint32_t id, int fd)
{
	struct counters **to = id == (uint32_t)ch->who ? &ch->counters : &ch->others[id];

	if (*to)
		return;
	*to = counters_open(fd, to == &ch->counters);
	if (!*to)
		log_err(NULL, "no table to count in: %s", strerror(errno));
}

static void on_message(struct ipc *ipc, struct ipc_msg *m, void *arg)
{
	struct child *ch = arg;
	struct mta_listen_fd at;
	int fd;

	(void)ipc;
	/* Tables are mapped before the process is confined. */
	if (m->type == MTA_COUNTERS && !ch->started && m->fd_count == 1 && m->id < MTA_PROCS)
		on_counters(ch, m->id, m->fd[0]);
	if (m->type == MTA_LIMITS && !ch->started && ch->limits_fd < 0)
		ch->limits_fd = take_fd(m);
	if (!ch->started && m->type != MTA_CONFIG)
		return;
	switch (m->type) {
	case MTA_COUNTERS:
	case MTA_LIMITS:
		break;
	case MTA_METRICS:
		fd = take_fd(m);
		if (fd >= 0 && ch->ops->metrics)
			ch->ops->metrics(ch, fd);
		else if (fd >= 0)
			close(fd);
		break;
	case MTA_CONFIG:
		if (m->fd_count == 1)
			on_config(ch, m->fd[0]);
		break;
	case MTA_PEER:
		fd = take_fd(m);
		if (fd >= 0 && ch->ops->peer && m->id < MTA_PROCS)
			ch->ops->peer(ch, (enum mta_proc)m->id, fd);
		else if (fd >= 0)
			close(fd);
		break;
	case MTA_LISTENER:
		fd = take_fd(m);
		if (fd < 0 || m->len != sizeof(at) || !ch->ops->listener) {
			if (fd >= 0)
				close(fd);
			break;
		}
		memcpy(&at, m->data, sizeof(at));
		ch->ops->listener(ch, m->id, &at, fd);
		break;
	case MTA_LISTENERS_END:
		if (ch->ops->listeners_end)
			ch->ops->listeners_end(ch);
		break;
	case MTA_KEY:
		if (ch->ops->key)
			on_key(ch, m);
		break;
	case MTA_TUNNEL:
		if (m->fd_count == 1)
			on_tunnel(ch, m->fd[0]);
		break;
	case MTA_CONTROL:
		if (ch->ops->control)
			ch->ops->control(ch, m->id, (const char *)m->data, m->len);
		break;
	default:
		log_err(NULL, "unknown message type=%u from the parent", m->type);
	}
}

static void on_closed(struct ipc *ipc, void *arg)
{
	struct child *ch = arg;

	(void)ipc;
	loop_stop(ch->loop);
}

static void on_sigterm(int signo, void *arg)
{
	struct child *ch = arg;

	(void)signo;
	if (ch->stopping)
		return;
	ch->stopping = true;
	if (ch->started && ch->ops->stop)
		ch->ops->stop(ch);
	else
		loop_stop(ch->loop);
}

int child_reply(struct child *ch, uint32_t id, const char *json, size_t len)
{
	return ipc_send(ch->parent, MTA_CONTROL_REPLY, id, json, len);
}

int child_run(enum mta_proc who, const struct child_ops *ops, void *state)
{
	static const struct ipc_ops parent_ops = { .message = on_message, .closed = on_closed };
	struct child ch = { .ops = ops, .state = state, .name = proc_names[who], .who = who,
			    .limits_fd = -1 };
	char program[64];
	int rc;

	snprintf(program, sizeof(program), "postern-mta/%s", ch.name);
	log_setup(program, LOG_LVL_INFO, STDERR_FILENO);
	snprintf(program, sizeof(program), "mta-%s", ch.name);
	prctl(PR_SET_NAME, program); /* or ps says "exe" */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGINT, SIG_IGN); /* a terminal's ^C is for the parent, which says SIGTERM */
	signal(SIGHUP, SIG_IGN);
	ch.loop = loop_new();
	if (!ch.loop)
		die("no event loop: %s", strerror(errno));
	ch.parent = ipc_new(ch.loop, PROC_IPC_FD, &parent_ops, &ch);
	if (!ch.parent)
		die("no connection to the parent: %s", strerror(errno));
	if (loop_signal(ch.loop, SIGTERM, on_sigterm, &ch))
		die("cannot watch for SIGTERM");
	rc = loop_run(ch.loop);
	if (rc)
		log_err(NULL, "event loop: %s", strerror(-rc));
	ipc_flush(ch.parent);
	/* What the process itself holds goes with the process: a child ends only by exiting. */
	ipc_free(ch.parent);
	tunnel_clear(&ch.tunnel);
	counters_close(ch.counters);
	for (size_t i = 0; i < MTA_PROCS; i++)
		counters_close(ch.others[i]);
	config_free(ch.config);
	bundle_free(ch.bundle);
	loop_free(ch.loop);
	return rc || !ch.stopping;
}
