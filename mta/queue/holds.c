/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "holds.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "answer.h"
#include "log.h"
#include "queue.h"

#define FILE_NAME "holds"
#define NEW_NAME  FILE_NAME ".new"
#define HOLD_LINE_MAX (MTA_NAME_MAX + ROUTE_HOP_MAX)
#define QUIET	      " quiet"
#define TEXT_MAX      (SCHEDULE_HOLDS_MAX * (2 * HOLD_LINE_MAX + sizeof(QUIET)))

struct write_job {
	struct job job;
	struct queue *q;
	uint32_t id;
	size_t count; /* of next hops that wait there now */
	bool hold;
	int rc;
	size_t len;
	char text[];
};

struct text {
	char *p;
	size_t len;
};

static void add_line(const char *route, const char *hop, bool quiet, void *arg)
{
	const char *slash = *hop ? "/" : "";
	struct text *t = arg;

	t->len += (size_t)sprintf(t->p + t->len, "%s%s%s\n", route, slash, hop);
	if (quiet)
		t->len += (size_t)sprintf(t->p + t->len, "%s%s%s" QUIET "\n", route, slash, hop);
}

static int write_file(struct vfs *v, const char *text, size_t len)
{
	int fd, rc = v->unlink(v, NEW_NAME); /* of a crash */

	if (rc && rc != -ENOENT)
		return rc;
	fd = v->open(v, NEW_NAME, true);
	if (fd < 0)
		return fd;
	rc = vfs_write_all(v, fd, text, len, 0);
	if (!rc)
		rc = v->sync(v, fd);
	v->close(v, fd);
	if (!rc)
		rc = v->rename(v, NEW_NAME, FILE_NAME);
	return rc ? rc : v->sync_dir(v, ".");
}

static void run(struct job *job)
{
	struct write_job *j = (struct write_job *)(void *)job;

	j->rc = write_file(&j->q->dir.vfs, j->text, j->len);
}

static void done(struct job *job)
{
	struct write_job *j = (struct write_job *)(void *)job;
	char why[160];

	if (!j->rc) {
		answer_reply(j->q, j->id,
			     json_pack("{s:I,s:s}", "count", (json_int_t)j->count, "text",
				       j->hold ? "next hops there are held, as are those to come"
					       : "next hops there are released"));
	} else {
		snprintf(why, sizeof(why), "%s, but until the next start only: %s",
			 j->hold ? "held" : "released", strerror(-j->rc));
		log_err(NULL, "msg=\"holds cannot be written: %s\"", strerror(-j->rc));
		answer_fail(j->q, j->id, why);
	}
	free(j);
}

/* "ROUTE/HOP" in its two parts; false: the hop is none. */
static bool parts(const char *what, char route[static HOLD_LINE_MAX], const char **hop)
{
	char *slash;

	snprintf(route, HOLD_LINE_MAX, "%s", what);
	slash = strchr(route, '/');
	*hop = slash ? slash + 1 : NULL;
	if (!slash)
		return true;
	*slash = 0;
	for (const char *p = *hop; *p; p++)
		if ((unsigned char)*p <= ' ' || *p == 0x7f)
			return false;
	return **hop && strlen(*hop) < ROUTE_HOP_MAX;
}

struct search {
	const char *route;
	bool found;
};

static void match(const char *route, const char *hop, bool quiet, void *arg)
{
	struct search *s = arg;

	(void)hop, (void)quiet;
	s->found |= !strcmp(route, s->route);
}

/* Of a route that is no more, too: it would be held again when it comes back. */
static bool stands(const struct queue *q, const char *route)
{
	struct search s = { .route = route };

	schedule_holds(q->schedule, match, &s);
	return s.found;
}

void holds_change(struct queue *q, uint32_t id, const char *what, bool hold, bool quiet)
{
	uint64_t now_ms = loop_now_ms(q->loop);
	char route[HOLD_LINE_MAX];
	struct write_job *j;
	struct text t;
	const char *hop;
	ssize_t n;

	if (strlen(what) >= HOLD_LINE_MAX || !parts(what, route, &hop) ||
	    (!config_route(q->ch->config, route) && (hold || !stands(q, route))))
		return answer_fail(q, id,
				   "no such route in mta.conf; postern mail routes lists them");
	j = calloc(1, sizeof(*j) + TEXT_MAX + 1);
	n = j ? schedule_hold(q->schedule, route, hop, hold, now_ms) : -ENOMEM;
	if (n < 0) {
		free(j);
		return answer_fail(q, id,
				   n == -ENOMEM ? "out of memory" : "too many holds; hold the route");
	}
	if (hold && quiet)
		schedule_hush(q->schedule, route, hop);
	t = (struct text){ .p = j->text };
	schedule_holds(q->schedule, add_line, &t);
	j->job = (struct job){ .run = run, .done = done };
	j->q = q;
	j->id = id;
	j->count = (size_t)n;
	j->hold = hold;
	j->len = t.len;
	worker_submit(q->worker, &j->job);
	attempt_pump(q);
}

static ssize_t read_file(struct vfs *v, char *text)
{
	int fd = v->open_read(v, FILE_NAME);
	size_t at = 0;
	ssize_t n;

	if (fd < 0)
		return fd;
	do {
		n = v->pread(v, fd, text + at, TEXT_MAX - at, at);
		at += n > 0 ? (size_t)n : 0;
	} while (n > 0 && at < TEXT_MAX);
	v->close(v, fd);
	return n < 0 ? n : (ssize_t)at;
}

/* False: the line says nothing of that. */
static bool load_quiet(struct queue *q, char *line)
{
	size_t len = strlen(line), n = strlen(QUIET);
	char route[HOLD_LINE_MAX];
	const char *hop;

	if (len <= n || strcmp(line + len - n, QUIET) != 0)
		return false;
	line[len - n] = 0;
	if (len - n < HOLD_LINE_MAX && parts(line, route, &hop))
		schedule_hush(q->schedule, route, hop);
	return true;
}

void holds_load(struct queue *q)
{
	char *text = calloc(1, TEXT_MAX + 1), route[HOLD_LINE_MAX], *rest = text;
	ssize_t n = text ? read_file(&q->dir.vfs, text) : -ENOMEM;
	const char *hop;
	char *line;

	if (n < 0 && n != -ENOENT)
		log_err(NULL, "msg=\"holds cannot be read, nothing is held: %s\"",
			strerror((int)-n));
	while (n > 0 && (line = strsep(&rest, "\n"))) {
		if (load_quiet(q, line) || !*line || strlen(line) >= HOLD_LINE_MAX ||
		    !parts(line, route, &hop) || !*route ||
		    schedule_hold(q->schedule, route, hop, true, loop_now_ms(q->loop)) < 0)
			continue;
		log_warn(NULL, "route=%s msg=\"still held by the admin\"", line);
	}
	free(text);
}
