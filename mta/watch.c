/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "parent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "hash.h"
#include "log.h"

#define CONNECT_MS 500
#define LOOK_MS	   5000

/* ---- posternd's events ---- */

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

static void on_closed(struct control_client *c, int err, void *arg)
{
	struct parent *p = arg;
	uint64_t now = loop_now_ms(p->loop);

	log_info(NULL, "posternd is gone: %s", err ? strerror(-err) : "closed");
	control_client_free(c);
	p->events = NULL;
	timer_set(loop_timers(p->loop), &p->events_timer, now + CONNECT_MS);
	timer_set(loop_timers(p->loop), &p->lost_timer, now + TUNNEL_UNKNOWN_MS);
}

static void on_lost(struct timer *t, uint64_t now_ms)
{
	struct parent *p = t->arg;

	if (!p->events && tunnel_lost(&p->tunnel, now_ms))
		parent_send_tunnel(p, NULL);
}

static void on_connect(struct timer *t, uint64_t now_ms)
{
	static const struct control_client_ops ops = { .line = on_line, .closed = on_closed };
	struct parent *p = t->arg;

	p->events = control_client_new(p->loop, p->config->events, &ops, p);
	if (p->events) {
		log_info(NULL, "connected to posternd at=%s", p->config->events);
		timer_clear(loop_timers(p->loop), &p->lost_timer);
	} else {
		timer_set(loop_timers(p->loop), t, now_ms + CONNECT_MS);
	}
}

void events_start(struct parent *p)
{
	p->events_timer = (struct timer){ .fire = on_connect, .arg = p };
	p->lost_timer = (struct timer){ .fire = on_lost, .arg = p };
	if (p->config->tunnel)
		timer_set(loop_timers(p->loop), &p->events_timer, loop_now_ms(p->loop));
}

void events_stop(struct parent *p)
{
	timer_clear(loop_timers(p->loop), &p->events_timer);
	timer_clear(loop_timers(p->loop), &p->lost_timer);
	control_client_free(p->events);
	p->events = NULL;
}

/* ---- files ---- */

static uint64_t look(const char *path)
{
	struct stat st;
	uint64_t v[6];

	if (stat(path, &st))
		return 0;
	v[0] = st.st_ino;
	v[1] = (uint64_t)st.st_size;
	v[2] = (uint64_t)st.st_mtim.tv_sec;
	v[3] = (uint64_t)st.st_mtim.tv_nsec;
	v[4] = (uint64_t)st.st_ctim.tv_sec;
	v[5] = (uint64_t)st.st_ctim.tv_nsec;
	return hash_bytes(v, sizeof(v)) | 1;
}

static void add(struct parent *p, const char *path)
{
	struct watched *w;

	if (!path || p->watched_count == WATCHED_MAX)
		return;
	for (size_t i = 0; i < p->watched_count; i++) {
		if (!strcmp(p->watched[i].path, path))
			return;
	}
	w = &p->watched[p->watched_count];
	w->path = strdup(path);
	if (!w->path)
		return;
	w->sum = look(path);
	p->watched_count++;
}

static int add_value(const struct conf_section *s, const struct conf_key *k,
		     const struct conf_value *v, void *arg)
{
	(void)s;
	(void)k;
	add(arg, v->text);
	return 0;
}

static void on_look(struct timer *t, uint64_t now_ms)
{
	struct parent *p = t->arg;
	bool changed = false;

	for (size_t i = 0; i < p->watched_count; i++)
		changed |= look(p->watched[i].path) != p->watched[i].sum;
	if (changed) {
		log_info(NULL, "a file that the configuration names has changed");
		parent_resend(p);
	}
	timer_set(loop_timers(p->loop), t, now_ms + LOOK_MS);
}

void watch_files(struct parent *p)
{
	for (size_t i = 0; i < p->watched_count; i++)
		free(p->watched[i].path);
	p->watched_count = 0;
	conf_paths(p->conf, add_value, p);
	for (size_t i = 0; i < p->config->listener_count; i++)
		for (size_t k = 0; k < p->config->listeners[i].certificates.count; k++)
			add(p, p->config->listeners[i].certificates.v[k]);
	add(p, p->config->certificate);
	add(p, "/etc/resolv.conf");
	if (!p->watch_timer.fire)
		p->watch_timer = (struct timer){ .fire = on_look, .arg = p };
	timer_set(loop_timers(p->loop), &p->watch_timer, loop_now_ms(p->loop) + LOOK_MS);
}
