/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "parent.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "log.h"

/*
 * Theory: until it hears of the tunnel smtpd refuses what comes by it, so a posternd that starts is noticed at once:
 * its socket's name appears in a folder that is watched. The watch only hastens the next try. Without it (no folder
 * yet, no watches left) a try each RETRY_MAX_MS finds posternd too, and looks for the folder.
 */

#define RETRY_MIN_MS 4 /* the name is there before somebody listens behind it */
#define RETRY_MAX_MS 500

static void on_line(struct control_client *c, const json_t *o, void *arg)
{
	struct parent *p = arg;
	bool changed;
	int rc = tunnel_apply(&p->tunnel, o, loop_now_ms(p->loop), &changed);

	(void)c;
	if (rc) {
		log_warn(NULL, "posternd sent an event that is not understood: %s", strerror(-rc));
		return;
	}
	if (!changed)
		return;
	listen_update(p);
	parent_send_tunnel(p, NULL);
}

static void retry(struct parent *p, unsigned wait_ms)
{
	p->events_wait = wait_ms;
	timer_set(loop_timers(p->loop), &p->events_timer, loop_now_ms(p->loop) + wait_ms);
}

static void on_closed(struct control_client *c, int err, void *arg)
{
	struct parent *p = arg;
	uint64_t now = loop_now_ms(p->loop);

	log_info(NULL, "posternd is gone: %s", err ? strerror(-err) : "closed");
	control_client_free(c);
	p->events = NULL;
	retry(p, RETRY_MIN_MS); /* its name may be that of the next one already */
	timer_set(loop_timers(p->loop), &p->lost_timer, now + TUNNEL_UNKNOWN_MS);
}

static void on_lost(struct timer *t, uint64_t now_ms)
{
	struct parent *p = t->arg;

	if (!p->events && tunnel_lost(&p->tunnel, now_ms))
		parent_send_tunnel(p, NULL);
}

static void on_name(struct loop_fd *lf, uint32_t events)
{
	char buf[sizeof(struct inotify_event) + NAME_MAX + 1]
		__attribute__((aligned(__alignof__(struct inotify_event))));
	struct parent *p = lf->arg;
	const char *name = strrchr(p->config->events, '/');
	bool appeared = false;
	ssize_t n;

	(void)events;
	while ((n = read(lf->fd, buf, sizeof(buf))) > 0) {
		const struct inotify_event *e;

		for (const char *at = buf; at < buf + n; at += sizeof(*e) + e->len) {
			e = (const void *)at;
			appeared |= e->mask & IN_Q_OVERFLOW || (e->len && name && !strcmp(e->name, name + 1));
		}
	}
	if (appeared && !p->events)
		retry(p, RETRY_MIN_MS);
}

/* The folder may have gone and come with posternd; the kernel knows one that it watches already. */
static void watch_folder(struct parent *p)
{
	char folder[PATH_MAX];
	char *end;

	if (p->events_watch.fd < 0)
		return;
	snprintf(folder, sizeof(folder), "%s", p->config->events);
	end = strrchr(folder, '/');
	if (!end)
		return;
	end[end == folder] = 0;
	inotify_add_watch(p->events_watch.fd, folder, IN_CREATE | IN_MOVED_TO | IN_ONLYDIR);
}

static void on_connect(struct timer *t, uint64_t now_ms)
{
	static const struct control_client_ops ops = { .line = on_line, .closed = on_closed };
	struct parent *p = t->arg;

	(void)now_ms;
	watch_folder(p);
	p->events = control_client_new(p->loop, p->config->events, &ops, p);
	if (p->events) {
		log_info(NULL, "connected to posternd at=%s", p->config->events);
		timer_clear(loop_timers(p->loop), &p->lost_timer);
	} else {
		retry(p, p->events_wait < RETRY_MAX_MS / 2 ? 2 * p->events_wait : RETRY_MAX_MS);
	}
}

void events_start(struct parent *p)
{
	p->events_timer = (struct timer){ .fire = on_connect, .arg = p };
	p->lost_timer = (struct timer){ .fire = on_lost, .arg = p };
	p->events_watch = (struct loop_fd){ .fd = -1, .ready = on_name, .arg = p };
	if (!p->config->tunnel)
		return;
	p->events_watch.fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (p->events_watch.fd >= 0 && loop_add(p->loop, &p->events_watch, EPOLLIN)) {
		close(p->events_watch.fd);
		p->events_watch.fd = -1;
	}
	p->events_wait = RETRY_MAX_MS;
	timer_set(loop_timers(p->loop), &p->events_timer, loop_now_ms(p->loop));
}

void events_stop(struct parent *p)
{
	timer_clear(loop_timers(p->loop), &p->events_timer);
	timer_clear(loop_timers(p->loop), &p->lost_timer);
	if (p->events_watch.fd >= 0) {
		loop_del(p->loop, &p->events_watch);
		close(p->events_watch.fd);
		p->events_watch.fd = -1;
	}
	control_client_free(p->events);
	p->events = NULL;
}
