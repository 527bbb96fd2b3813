/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "control.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "clock.h"
#include "whole.h"

#define IN_FIRST 4096

/* A growing buffer of received bytes from which lines are taken. */
struct inbox {
	char *p;
	size_t len, cap;
};

struct control_client {
	struct loop *loop;
	struct loop_fd lf;
	const struct control_client_ops *ops;
	void *arg;
	struct inbox in;
	char *out;
	size_t out_len;
	bool *freed; /* set while callbacks run, so that they may free us */
};

static int dial(const char *path, int flags)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd, rc;

	if (strlen(path) >= sizeof(sun.sun_path))
		return -ENAMETOOLONG;
	strcpy(sun.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&sun, sizeof(sun))) {
		rc = -errno;
		close(fd);
		return rc;
	}
	return fd;
}

/* Room for more; 0, -EMSGSIZE past the bound, -ENOMEM. */
static int inbox_room(struct inbox *in)
{
	size_t cap = in->cap ? in->cap * 2 : IN_FIRST;
	char *grown;

	if (in->len < in->cap)
		return 0;
	if (cap > CONTROL_REPLY_MAX)
		return -EMSGSIZE;
	grown = realloc(in->p, cap);
	if (!grown)
		return -ENOMEM;
	in->p = grown;
	in->cap = cap;
	return 0;
}

/* The next whole line as an object in *obj (to be put), NULL when there is none yet; -EBADMSG. */
static int inbox_line(struct inbox *in, json_t **obj)
{
	char *nl = in->len ? memchr(in->p, '\n', in->len) : NULL;
	size_t n;

	*obj = NULL;
	if (!nl)
		return 0;
	n = (size_t)(nl - in->p);
	*obj = json_loadb(in->p, n, JSON_REJECT_DUPLICATES, NULL);
	in->len -= n + 1;
	memmove(in->p, nl + 1, in->len);
	if (json_is_object(*obj))
		return 0;
	json_decref(*obj);
	*obj = NULL;
	return -EBADMSG;
}

static void client_closed(struct control_client *c, int err)
{
	loop_del(c->loop, &c->lf);
	c->ops->closed(c, err, c->arg);
}

static int client_flush(struct control_client *c)
{
	size_t at = 0;

	while (at < c->out_len) {
		ssize_t n =
		    send(c->lf.fd, c->out + at, c->out_len - at, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0)
			return -errno;
		at += (size_t)n;
	}
	c->out_len -= at;
	memmove(c->out, c->out + at, c->out_len);
	return loop_mod(c->loop, &c->lf, EPOLLIN | (c->out_len ? EPOLLOUT : 0));
}

static void client_ready(struct loop_fd *lf, uint32_t events)
{
	struct control_client *c = lf->arg;
	bool freed = false;
	ssize_t n;
	int rc = 0;

	if (events & EPOLLOUT && c->out_len)
		rc = client_flush(c);
	if (!rc)
		rc = inbox_room(&c->in);
	if (!rc) {
		n = recv(lf->fd, c->in.p + c->in.len, c->in.cap - c->in.len, MSG_DONTWAIT);
		if (n < 0)
			rc = errno == EAGAIN || errno == EINTR ? 0 : -errno;
		else if (n == 0)
			rc = -EPIPE;
		else
			c->in.len += (size_t)n;
	}
	c->freed = &freed;
	while (!rc) {
		json_t *obj;

		rc = inbox_line(&c->in, &obj);
		if (!obj)
			break;
		c->ops->line(c, obj, c->arg);
		json_decref(obj);
		if (freed)
			return;
	}
	c->freed = NULL;
	if (rc)
		client_closed(c, rc);
}

struct control_client *control_client_new(struct loop *l, const char *path,
					  const struct control_client_ops *ops, void *arg)
{
	struct control_client *c = calloc(1, sizeof(*c));
	int rc;

	if (!c)
		return NULL;
	*c = (struct control_client){ .loop = l, .ops = ops, .arg = arg };
	rc = dial(path, SOCK_NONBLOCK);
	c->lf = (struct loop_fd){ .fd = rc, .ready = client_ready, .arg = c };
	if (rc >= 0) {
		rc = loop_add(l, &c->lf, EPOLLIN);
		if (!rc)
			return c;
		close(c->lf.fd);
	}
	free(c);
	errno = -rc;
	return NULL;
}

void control_client_free(struct control_client *c)
{
	if (!c)
		return;
	if (c->freed)
		*c->freed = true;
	loop_del(c->loop, &c->lf);
	close(c->lf.fd);
	free(c->in.p);
	free(c->out);
	free(c);
}

int control_client_send(struct control_client *c, const json_t *obj)
{
	char *text = json_dumps(obj, JSON_COMPACT | JSON_PRESERVE_ORDER), *grown;
	size_t len;

	if (!text)
		return -ENOMEM;
	len = strlen(text);
	grown = c->out_len + len + 1 > CONTROL_BACKLOG_MAX ? NULL
							   : realloc(c->out, c->out_len + len + 1);
	if (!grown) {
		free(text);
		return -ENOMEM;
	}
	c->out = grown;
	memcpy(c->out + c->out_len, text, len);
	c->out[c->out_len + len] = '\n';
	c->out_len += len + 1;
	free(text);
	return client_flush(c);
}

static json_t *request(const char *verb, json_t *args)
{
	if (!args)
		args = json_object();
	return json_pack("{s:i, s:s, s:o}", "v", CONTROL_VERSION, "verb", verb, "args", args);
}

int control_client_verb(struct control_client *c, const char *verb, json_t *args)
{
	json_t *req = request(verb, args);
	int rc = req ? control_client_send(c, req) : -ENOMEM;

	json_decref(req);
	return rc;
}

/* ---- blocking ---- */

static int explain(int rc, const char *path, char *why, size_t cap)
{
	if (rc == -ENOENT || rc == -ECONNREFUSED)
		snprintf(why, cap, "nothing answers at %s; is the daemon running?", path);
	else if (rc == -EACCES)
		snprintf(why, cap, "%s: not allowed; be root or a member of the admin group", path);
	else if (rc == -ETIMEDOUT)
		snprintf(why, cap, "%s: no answer in time", path);
	else if (rc == -EPIPE)
		snprintf(why, cap, "%s: the daemon closed the connection", path);
	else
		snprintf(why, cap, "%s: %s", path, strerror(-rc));
	return rc;
}

/* Connect and send one verb; the descriptor or -errno. */
static int ask(const char *path, const char *verb, json_t *args)
{
	json_t *req = request(verb, args);
	char *text = req ? json_dumps(req, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
	int fd, rc;

	json_decref(req);
	if (!text)
		return -ENOMEM;
	fd = dial(path, 0);
	rc = fd < 0 ? fd : whole_send(fd, text, strlen(text));
	if (!rc)
		rc = whole_send(fd, "\n", 1);
	free(text);
	if (rc < 0 && fd >= 0)
		close(fd);
	return rc < 0 ? rc : fd;
}

/* Wait for the next line until @until_ms (0: for ever). */
static int next_line(int fd, struct inbox *in, uint64_t until_ms, json_t **obj)
{
	for (;;) {
		struct pollfd pfd = { .fd = fd, .events = POLLIN };
		uint64_t now = clock_boot_ms();
		ssize_t n;
		int rc = inbox_line(in, obj);

		if (rc || *obj)
			return rc;
		if (until_ms && now >= until_ms)
			return -ETIMEDOUT;
		rc = poll(&pfd, 1, until_ms ? (int)(until_ms - now) : -1);
		if (rc < 0 && errno != EINTR)
			return -errno;
		if (rc <= 0)
			continue;
		rc = inbox_room(in);
		if (rc)
			return rc;
		n = recv(fd, in->p + in->len, in->cap - in->len, 0);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			return -EPIPE;
		if (n > 0)
			in->len += (size_t)n;
	}
}

/* Is this the answer of success? Otherwise fills @why. */
static int check_answer(const json_t *obj, char *why, size_t cap)
{
	const char *error = json_string_value(json_object_get(obj, "error"));

	if (json_is_true(json_object_get(obj, "ok")))
		return 0;
	snprintf(why, cap, "%s", error ? error : "an answer without \"ok\"");
	return -EREMOTEIO;
}

int control_call(const char *path, const char *verb, json_t *args, int timeout_ms, json_t **reply,
		 char *why, size_t cap)
{
	struct inbox in = { 0 };
	json_t *obj = NULL;
	int fd = ask(path, verb, args), rc;

	*reply = NULL;
	if (fd < 0)
		return explain(fd, path, why, cap);
	rc = next_line(fd, &in, clock_boot_ms() + (uint64_t)timeout_ms, &obj);
	close(fd);
	free(in.p);
	if (rc)
		return explain(rc, path, why, cap);
	rc = check_answer(obj, why, cap);
	if (rc)
		json_decref(obj);
	else
		*reply = obj;
	return rc;
}

int control_watch(const char *path, const char *verb, json_t *args,
		  int (*fn)(const json_t *event, void *arg), void *arg, char *why, size_t cap)
{
	struct inbox in = { 0 };
	json_t *obj;
	int fd = ask(path, verb, args), rc, stop = 0;

	if (fd < 0)
		return explain(fd, path, why, cap);
	rc = next_line(fd, &in, 0, &obj);
	if (rc) {
		rc = explain(rc, path, why, cap);
	} else {
		rc = check_answer(obj, why, cap);
		json_decref(obj);
	}
	while (!rc && !stop) {
		rc = next_line(fd, &in, 0, &obj);
		if (rc) {
			rc = explain(rc, path, why, cap);
		} else {
			stop = fn(obj, arg);
			json_decref(obj);
		}
	}
	close(fd);
	free(in.p);
	return rc ? rc : stop;
}
