/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "parent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "log.h"

#define LOOK_MS 5000

static void add(struct parent *p, const char *path)
{
	struct watched *w;

	if (!path)
		return;
	for (size_t i = 0; i < p->watched_count; i++) {
		if (!strcmp(p->watched[i].path, path))
			return;
	}
	if (p->watched_count == p->watched_cap) {
		size_t cap = p->watched_cap ? 2 * p->watched_cap : 64;

		w = realloc(p->watched, cap * sizeof(*w));
		if (!w)
			return;
		p->watched = w;
		p->watched_cap = cap;
	}
	w = &p->watched[p->watched_count];
	w->path = strdup(path);
	if (!w->path)
		return;
	w->sum = conf_file_mark(path);
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
		changed |= conf_file_mark(p->watched[i].path) != p->watched[i].sum;
	if (changed) {
		log_info(NULL, "a file that the configuration names has changed");
		parent_resend(p);
	}
	timer_set(loop_timers(p->loop), t, now_ms + LOOK_MS);
}

void watch_files(struct parent *p)
{
	char path[PATH_BYTES];

	for (size_t i = 0; i < p->watched_count; i++)
		free(p->watched[i].path);
	p->watched_count = 0;
	conf_paths(p->conf, add_value, p);
	for (size_t i = 0; i < p->config->listener_count; i++)
		for (size_t k = 0; k < p->config->listeners[i].certificates.count; k++)
			add(p, p->config->listeners[i].certificates.v[k]);
	for (size_t i = 0; i < p->config->route_count; i++)
		add(p, p->config->routes[i].certificate);
	add(p, p->config->certificate);
	add(p, hop_own_path(p, path));
	add(p, "/etc/resolv.conf");
	if (!p->watch_timer.fire)
		p->watch_timer = (struct timer){ .fire = on_look, .arg = p };
	timer_set(loop_timers(p->loop), &p->watch_timer, loop_now_ms(p->loop) + LOOK_MS);
}
