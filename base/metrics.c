/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "metrics.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "addr.h"
#include "control.h"

#define REQUEST_MAX 4096
#define ACCEPT_PAUSE_MS 500
#define CLIENTS_MAX 8
#define TIMEOUT_MS  5000

struct metrics {
	char *text;
	size_t len, cap;
	bool failed;
	const char *family;
};

/* ---- text ---- */

static void put(struct metrics *m, const char *s, size_t n)
{
	if (m->failed)
		return;
	if (m->len + n + 1 > m->cap) {
		size_t cap = (m->len + n + 1) * 2;
		char *grown = realloc(m->text, cap);

		if (!grown) {
			m->failed = true;
			return;
		}
		m->text = grown;
		m->cap = cap;
	}
	memcpy(m->text + m->len, s, n);
	m->len += n;
	m->text[m->len] = '\0';
}

static void putf(struct metrics *m, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void putf(struct metrics *m, const char *fmt, ...)
{
	char buf[512];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	put(m, buf, n < (int)sizeof(buf) ? (size_t)n : sizeof(buf) - 1);
}

void metrics_family(struct metrics *m, const char *name, enum metrics_type type, const char *help)
{
	m->family = name;
	putf(m, "# HELP %s %s\n# TYPE %s %s\n", name, help, name,
	     type == METRICS_COUNTER ? "counter" : "gauge");
}

static void series(struct metrics *m, const struct metrics_label *labels, size_t count)
{
	putf(m, "%s", m->family);
	for (size_t i = 0; i < count; i++) {
		putf(m, "%c%s=\"", i ? ',' : '{', labels[i].name);
		for (const char *p = labels[i].value; *p; p++) {
			if (*p == '\n')
				put(m, "\\n", 2);
			else if (*p == '"' || *p == '\\')
				putf(m, "\\%c", *p);
			else
				put(m, p, 1);
		}
		put(m, "\"", 1);
	}
	if (count)
		put(m, "}", 1);
}

void metrics_value(struct metrics *m, const struct metrics_label *labels, size_t count, double v)
{
	series(m, labels, count);
	putf(m, " %.10g\n", v);
}

void metrics_count(struct metrics *m, const struct metrics_label *labels, size_t count, uint64_t v)
{
	series(m, labels, count);
	putf(m, " %llu\n", (unsigned long long)v);
}

struct metrics *metrics_new(void)
{
	return calloc(1, sizeof(struct metrics));
}

const char *metrics_text(const struct metrics *m, size_t *len)
{
	*len = m->len;
	if (m->failed)
		return NULL;
	return m->text ? m->text : "";
}

void metrics_free(struct metrics *m)
{
	if (m)
		free(m->text);
	free(m);
}

/* ---- responder ---- */

struct asker {
	struct metrics_server *server; /* NULL: slot free */
	struct loop_fd lf;
	struct timer timeout;
	char in[REQUEST_MAX];
	size_t in_len;
	char *out;
	size_t out_len, out_at;
};

struct metrics_server {
	struct loop *loop;
	struct loop_fd listen;
	struct timer again; /* accept was paused: no descriptor was left */
	void (*fill)(struct metrics *m, void *arg);
	void *arg;
	struct asker asker[CLIENTS_MAX];
};

int metrics_check(const char *where, char *why, size_t cap)
{
	struct endpoint e;

	if (*where == '/')
		return 0;
	if (!endpoint_parse(where, 0, &e) && e.port && addr_is_loopback(&e.addr))
		return 0;
	snprintf(why, cap, "neither a loopback address with a port nor an absolute path");
	return -1;
}

int metrics_listen(const char *where)
{
	struct sockaddr_storage ss;
	struct endpoint e;
	socklen_t len;
	int fd, rc, one = 1;

	if (*where == '/')
		return control_listen(where, 0666, (gid_t)-1);
	rc = endpoint_parse(where, 0, &e);
	if (rc)
		return rc;
	if (!addr_is_loopback(&e.addr))
		return -EPERM;
	fd = socket(e.addr.family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	len = endpoint_to_sockaddr(&e, e.addr.family, &ss);
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(fd, (struct sockaddr *)&ss, len) || listen(fd, CLIENTS_MAX)) {
		rc = -errno;
		close(fd);
		return rc;
	}
	return fd;
}

static void asker_end(struct asker *a)
{
	timer_clear(loop_timers(a->server->loop), &a->timeout);
	loop_del(a->server->loop, &a->lf);
	close(a->lf.fd);
	free(a->out);
	a->server = NULL;
}

static void asker_timeout(struct timer *t, uint64_t now_ms)
{
	(void)now_ms;
	asker_end(t->arg);
}

static void asker_write(struct asker *a)
{
	while (a->out_at < a->out_len) {
		ssize_t n = send(a->lf.fd, a->out + a->out_at, a->out_len - a->out_at,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			(void)loop_mod(a->server->loop, &a->lf, EPOLLOUT);
			return;
		}
		if (n < 0)
			break;
		a->out_at += (size_t)n;
	}
	asker_end(a);
}

static void respond(struct asker *a)
{
	static const char get[] = "GET /metrics";
	struct metrics *m = NULL;
	const char *status = "200 OK", *body = "";
	size_t len = 0, n = sizeof(get) - 1;
	int out;

	if (a->in_len < 4 || memcmp(a->in, "GET ", 4)) {
		status = "405 Method Not Allowed";
	} else if (a->in_len <= n || memcmp(a->in, get, n) || !strchr(" ?", a->in[n])) {
		status = "404 Not Found";
	} else {
		m = metrics_new();
		if (m)
			a->server->fill(m, a->server->arg);
		body = m ? metrics_text(m, &len) : NULL;
		if (!body) {
			body = "";
			len = 0;
			status = "500 Internal Server Error";
		}
	}
	out = asprintf(&a->out,
		       "HTTP/1.1 %s\r\nContent-Type: text/plain; version=0.0.4\r\n"
		       "Content-Length: %zu\r\nConnection: close\r\n\r\n%s",
		       status, len, body);
	metrics_free(m);
	if (out < 0) {
		a->out = NULL;
		asker_end(a);
		return;
	}
	a->out_len = (size_t)out;
	asker_write(a);
}

static void asker_ready(struct loop_fd *lf, uint32_t events)
{
	struct asker *a = lf->arg;
	ssize_t n;

	if (a->out) {
		if (events & (EPOLLHUP | EPOLLERR))
			asker_end(a);
		else
			asker_write(a);
		return;
	}
	n = recv(lf->fd, a->in + a->in_len, sizeof(a->in) - 1 - a->in_len, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		asker_end(a);
		return;
	}
	a->in_len += (size_t)n;
	a->in[a->in_len] = '\0';
	if (strstr(a->in, "\r\n\r\n") || strstr(a->in, "\n\n"))
		respond(a);
	else if (a->in_len == sizeof(a->in) - 1)
		asker_end(a);
}

static void accept_again(struct timer *t, uint64_t now_ms)
{
	struct metrics_server *s = t->arg;

	(void)now_ms;
	if (loop_mod(s->loop, &s->listen, EPOLLIN))
		(void)timer_set(loop_timers(s->loop), t, loop_now_ms(s->loop) + ACCEPT_PAUSE_MS);
}

/* Who waits keeps the socket readable: without a pause the loop would do nothing else. */
static void pause_accept(struct metrics_server *s)
{
	if (!timer_set(loop_timers(s->loop), &s->again, loop_now_ms(s->loop) + ACCEPT_PAUSE_MS))
		(void)loop_mod(s->loop, &s->listen, 0);
}

static void accept_ready(struct loop_fd *lf, uint32_t events)
{
	struct metrics_server *s = lf->arg;
	int fd = accept4(lf->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct asker *a = NULL;

	(void)events;
	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			pause_accept(s);
		return;
	}
	for (size_t i = 0; i < CLIENTS_MAX && !a; i++)
		if (!s->asker[i].server)
			a = &s->asker[i];
	if (!a) {
		close(fd);
		return;
	}
	memset(a, 0, sizeof(*a));
	a->lf = (struct loop_fd){ .fd = fd, .ready = asker_ready, .arg = a };
	a->timeout = (struct timer){ .fire = asker_timeout, .arg = a };
	if (loop_add(s->loop, &a->lf, EPOLLIN)) {
		close(fd);
		return;
	}
	a->server = s;
	if (timer_set(loop_timers(s->loop), &a->timeout, loop_now_ms(s->loop) + TIMEOUT_MS))
		asker_end(a);
}

struct metrics_server *metrics_server_new(struct loop *l, int listen_fd,
					  void (*fill)(struct metrics *m, void *arg), void *arg)
{
	struct metrics_server *s = calloc(1, sizeof(*s));
	int rc = -ENOMEM;

	if (s) {
		s->loop = l;
		s->fill = fill;
		s->arg = arg;
		s->again = (struct timer){ .fire = accept_again, .arg = s };
		s->listen = (struct loop_fd){ .fd = listen_fd, .ready = accept_ready, .arg = s };
		rc = loop_add(l, &s->listen, EPOLLIN);
	}
	if (rc) {
		free(s);
		close(listen_fd);
		errno = -rc;
		return NULL;
	}
	return s;
}

void metrics_server_free(struct metrics_server *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < CLIENTS_MAX; i++)
		if (s->asker[i].server)
			asker_end(&s->asker[i]);
	timer_clear(loop_timers(s->loop), &s->again);
	loop_del(s->loop, &s->listen);
	close(s->listen.fd);
	free(s);
}
