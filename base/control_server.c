/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "control.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "log.h"

#define GROUPS_MAX 256

struct client {
	struct control_server *server;
	struct client *next;
	struct loop_fd lf;
	uint64_t id;
	bool subscribed;
	bool admin;
	uid_t uid;    /* (uid_t)-1: unknown */
	bool waiting; /* a verb runs; the next line is read after its answer */
	bool taking;  /* take_lines() runs: a verb that answers at once must not recurse into it */
	bool closing; /* write what is left, then close */
	bool dead;    /* to be freed by sweep(), when no callback can hold it */
	char *in;
	size_t in_len;
	char *out;
	size_t out_len, out_at, out_cap;
	bool listing; /* an answer by control_reply_list() is on its way: waiting */
	control_list_fn *list; /* of it elements are to come; NULL: none */
	uint64_t list_at;
	bool list_begun; /* the first was made */
};

#define LIST_AHEAD (32u << 10) /* of a list so much is made before the client reads on */

#define ACCEPT_PAUSE_MS 500

struct control_server {
	struct loop *loop;
	struct loop_fd listen;
	struct control_config cfg;
	struct client *clients;
	size_t count;
	uint64_t next_id;
	struct timer again; /* accept was paused: no descriptor was left */
	struct timer sweep; /* frees the dead outside of their own callbacks */
};

int control_listen(const char *path, mode_t mode, gid_t gid)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	mode_t mask;
	int fd, rc;

	if (strlen(path) >= sizeof(sun.sun_path))
		return -ENAMETOOLONG;
	strcpy(sun.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	(void)unlink(path);
	mask = umask(0177); /* nobody else between bind and chmod */
	rc = bind(fd, (struct sockaddr *)&sun, sizeof(sun)) ? -errno : 0;
	umask(mask);
	if (!rc && gid != (gid_t)-1 && chown(path, (uid_t)-1, gid))
		rc = -errno;
	if (!rc && chmod(path, mode))
		rc = -errno;
	if (!rc && listen(fd, CONTROL_CLIENTS_MAX))
		rc = -errno;
	if (rc) {
		close(fd);
		return rc;
	}
	return fd;
}

static void client_end(struct client *c)
{
	if (c->dead)
		return;
	c->dead = true;
	loop_del(c->server->loop, &c->lf);
	close(c->lf.fd);
	c->server->count--;
	(void)timer_set(loop_timers(c->server->loop), &c->server->sweep,
			loop_now_ms(c->server->loop));
}

static void client_free(struct client *c)
{
	free(c->in);
	free(c->out);
	free(c);
}

static void sweep(struct timer *t, uint64_t now_ms)
{
	struct control_server *s = t->arg;

	(void)now_ms;
	for (struct client **at = &s->clients, *c; (c = *at);) {
		if (!c->dead) {
			at = &c->next;
			continue;
		}
		*at = c->next;
		client_free(c);
	}
}

static struct client *client_find(struct control_server *s, struct control_ref ref)
{
	for (struct client *c = s->clients; c; c = c->next)
		if (c->id == ref.client && !c->dead)
			return c;
	return NULL;
}

static void client_list(struct client *c, bool all);

static void client_write(struct client *c)
{
	/* In steps: between them the loop does what else there is. */
	client_list(c, false);
	while (c->out_at < c->out_len) {
		ssize_t n = send(c->lf.fd, c->out + c->out_at, c->out_len - c->out_at,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			client_end(c);
			return;
		}
		c->out_at += (size_t)n;
	}
	if (c->out_at == c->out_len) {
		c->out_at = c->out_len = 0;
		if (c->closing) {
			client_end(c);
			return;
		}
	}
	(void)loop_mod(c->server->loop, &c->lf,
		       (c->waiting || c->closing ? 0 : EPOLLIN) |
			   (c->out_len || c->listing ? EPOLLOUT : 0));
}

static void client_put(struct client *c, const char *text, size_t len)
{
	if (c->dead)
		return;
	if (c->out_len - c->out_at + len > CONTROL_BACKLOG_MAX) {
		/* It does not read: it is dropped, the daemon does not wait. */
		log_warn(NULL, "control client dropped: %zu bytes unread", c->out_len - c->out_at);
		client_end(c);
		return;
	}
	if (c->out_at) {
		memmove(c->out, c->out + c->out_at, c->out_len - c->out_at);
		c->out_len -= c->out_at;
		c->out_at = 0;
	}
	if (c->out_len + len > c->out_cap) {
		size_t cap = (c->out_len + len) * 2;
		char *grown = realloc(c->out, cap);

		if (!grown) {
			client_end(c);
			return;
		}
		c->out = grown;
		c->out_cap = cap;
	}
	memcpy(c->out + c->out_len, text, len);
	c->out_len += len;
}

/* What is to come of its list; @all: the rest of it, else a step. */
static void client_list(struct client *c, bool all)
{
	while (c->list && !c->dead && (all || c->out_len - c->out_at < LIST_AHEAD)) {
		json_t *o = c->list(c->server->cfg.arg, &c->list_at);
		char *text = o ? json_dumps(o, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;

		if (o && !text) {
			client_end(c);
		} else if (o) {
			if (c->list_begun)
				client_put(c, ",", 1);
			client_put(c, text, strlen(text));
			c->list_begun = true;
		} else {
			c->list = NULL;
			client_put(c, "]}\n", 3);
		}
		free(text);
		json_decref(o);
	}
}

static void client_queue(struct client *c, const char *text, size_t len)
{
	client_list(c, true); /* nothing stands within another line */
	client_put(c, text, len);
}

/* @obj is borrowed. */
static char *line_of(json_t *obj, size_t *len)
{
	char *text = json_dumps(obj, JSON_COMPACT | JSON_PRESERVE_ORDER), *grown;

	if (!text)
		return NULL;
	*len = strlen(text);
	grown = realloc(text, *len + 2);
	if (!grown) {
		free(text);
		return NULL;
	}
	grown[(*len)++] = '\n';
	grown[*len] = '\0';
	return grown;
}

static void client_send(struct client *c, json_t *obj)
{
	size_t len;
	char *text = line_of(obj, &len);

	if (!text) {
		client_end(c);
		return;
	}
	client_queue(c, text, len);
	free(text);
	if (!c->dead)
		client_write(c);
}

static void take_lines(struct client *c);

static void answer(struct control_server *s, struct control_ref ref, json_t *head, json_t *body)
{
	struct client *c = client_find(s, ref);

	if (body && head)
		(void)json_object_update(head, body);
	json_decref(body);
	if (c && head) {
		c->waiting = false;
		client_send(c, head);
	}
	json_decref(head);
	if (c && !c->dead && c->in_len && !c->taking)
		take_lines(c);
}

static json_t *good(void)
{
	return json_pack("{s:i, s:b}", "v", CONTROL_VERSION, "ok", 1);
}

void control_reply(struct control_server *s, struct control_ref ref, json_t *body)
{
	answer(s, ref, good(), body);
}

void control_reply_list(struct control_server *s, struct control_ref ref, json_t *body,
			const char *key, control_list_fn *next)
{
	struct client *c = client_find(s, ref);
	json_t *head = good();
	size_t len = 0;
	char *text = NULL, *begin = NULL;

	if (head && body)
		(void)json_object_update(head, body);
	if (c && head)
		text = line_of(head, &len);
	json_decref(body);
	json_decref(head);
	if (!c)
		goto out;
	/* In place of the closing brace and the newline. */
	if (!text || asprintf(&begin, "%.*s,\"%s\":[", (int)len - 2, text, key) < 0) {
		client_end(c);
		goto out;
	}
	client_queue(c, begin, strlen(begin));
	if (c->dead)
		goto out;
	c->list = next;
	c->list_at = 0;
	c->list_begun = false;
	c->listing = true;
	client_write(c); /* what remains, and then its next line: client_ready() */
out:
	free(text);
	free(begin);
}

void control_fail(struct control_server *s, struct control_ref ref, const char *fmt, ...)
{
	char text[4096];
	va_list ap;
	json_t *str;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	str = json_string(text);
	if (!str) /* not UTF-8: cut in the middle of a character, or bytes from a file */
		str = json_string("an error that is no text");
	answer(s, ref, json_pack("{s:i, s:b, s:o}", "v", CONTROL_VERSION, "ok", 0, "error", str),
	       NULL);
}

/* "v" first, since people read these lines too. */
static json_t *event_with_version(json_t *event)
{
	json_t *full = json_pack("{s:i}", "v", CONTROL_VERSION);

	if (full && event)
		(void)json_object_update(full, event);
	json_decref(event);
	return full;
}

void control_event(struct control_server *s, json_t *event)
{
	json_t *full = event_with_version(event);
	size_t len;
	char *text = full ? line_of(full, &len) : NULL;

	json_decref(full);
	if (!text)
		return;
	for (struct client *c = s->clients; c; c = c->next) {
		if (!c->subscribed || c->dead)
			continue;
		client_queue(c, text, len);
		if (!c->dead)
			client_write(c);
	}
	free(text);
}

bool control_here(struct control_server *s, struct control_ref ref)
{
	return client_find(s, ref) != NULL;
}

void control_event_to(struct control_server *s, struct control_ref ref, json_t *event)
{
	struct client *c = client_find(s, ref);
	json_t *full = event_with_version(event);

	if (c && full)
		client_send(c, full);
	json_decref(full);
}

size_t control_subscribers(const struct control_server *s)
{
	size_t n = 0;

	for (const struct client *c = s->clients; c; c = c->next)
		n += c->subscribed && !c->dead;
	return n;
}

int control_line_parse(const char *line, size_t len, struct control_line *out, char *why,
		       size_t cap)
{
	json_error_t err;
	json_t *v, *verb;

	*out = (struct control_line){ 0 };
	out->json = json_loadb(line, len, JSON_REJECT_DUPLICATES, &err);
	if (!out->json) {
		snprintf(why, cap, "not a JSON object: %s", err.text);
		return -EBADMSG;
	}
	v = json_object_get(out->json, "v");
	verb = json_object_get(out->json, "verb");
	out->args = json_object_get(out->json, "args");
	if (!json_is_object(out->json))
		snprintf(why, cap, "not a JSON object");
	else if (!json_is_integer(v) || json_integer_value(v) != CONTROL_VERSION)
		snprintf(why, cap, "\"v\" must be %d", CONTROL_VERSION);
	else if (!json_is_string(verb))
		snprintf(why, cap, "\"verb\" must be a string");
	else if (out->args && !json_is_object(out->args))
		snprintf(why, cap, "\"args\" must be an object");
	else
		goto good;
bad:
	json_decref(out->json);
	*out = (struct control_line){ 0 };
	return -EBADMSG;
good:
	if (!out->args) {
		out->args = json_object();
		if (!out->args || json_object_set_new(out->json, "args", out->args)) {
			snprintf(why, cap, "out of memory");
			goto bad;
		}
	}
	out->verb = json_string_value(verb);
	return 0;
}

static bool allowed(const struct client *c, enum control_class cls)
{
	return c->admin || (cls == CONTROL_READ && c->server->cfg.anyone_may_read);
}

static void run_line(struct client *c, const char *line, size_t len)
{
	struct control_server *s = c->server;
	struct control_ref ref = { c->id };
	const struct control_verb *verb = s->cfg.verbs;
	struct control_line req;
	char why[256];

	if (control_line_parse(line, len, &req, why, sizeof(why))) {
		control_fail(s, ref, "%s", why);
		return;
	}
	while (verb && verb->name && strcmp(verb->name, req.verb))
		verb++;
	c->waiting = true;
	if (!strcmp(req.verb, "subscribe") && allowed(c, CONTROL_READ)) {
		control_reply(s, ref, NULL);
		c->subscribed = true;
		if (s->cfg.subscribed)
			s->cfg.subscribed(s, ref, s->cfg.arg);
	} else if (!verb || !verb->name) {
		control_fail(s, ref, "unknown verb \"%.40s\"", req.verb);
	} else if (!allowed(c, verb->cls)) {
		control_fail(s, ref, "%s: not allowed; be root or a member of the admin group",
			     req.verb);
	} else {
		verb->run(s, ref, req.args, s->cfg.arg);
	}
	json_decref(req.json);
}

static void take_lines(struct client *c)
{
	char *nl;

	c->taking = true;
	while (!c->dead && !c->waiting && !c->closing && (nl = memchr(c->in, '\n', c->in_len))) {
		size_t len = (size_t)(nl - c->in);
		char *line = malloc(len + 1);

		if (!line) {
			client_end(c);
			break;
		}
		memcpy(line, c->in, len);
		c->in_len -= len + 1;
		memmove(c->in, nl + 1, c->in_len);
		run_line(c, line, len);
		free(line);
	}
	c->taking = false;
	if (!c->dead && c->in_len == CONTROL_LINE_MAX && !memchr(c->in, '\n', c->in_len)) {
		c->in_len = 0;
		c->closing = true;
		control_fail(c->server, (struct control_ref){ c->id },
			     "a line of more than %d bytes", CONTROL_LINE_MAX);
	}
}

static void client_ready(struct loop_fd *lf, uint32_t events)
{
	struct client *c = lf->arg;
	ssize_t n;

	if (events & EPOLLOUT)
		client_write(c);
	if (!c->dead && c->listing && !c->list) {
		c->listing = c->waiting = false;
		take_lines(c);
		if (!c->dead)
			client_write(c);
	}
	if (c->dead)
		return;
	if ((events & EPOLLIN) && !c->waiting && !c->closing) {
		n = recv(lf->fd, c->in + c->in_len, CONTROL_LINE_MAX - c->in_len, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			client_end(c);
			return;
		}
		if (c->server->cfg.greet)
			return; /* events.sock: what a client says is not read */
		c->in_len += (size_t)n;
		take_lines(c);
		if (!c->dead)
			client_write(c);
	} else if (events & (EPOLLHUP | EPOLLERR)) {
		client_end(c);
	}
}

/* Root, or in @admin by main or supplementary group. */
static bool is_admin(int fd, gid_t admin)
{
	gid_t groups[GROUPS_MAX];
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len))
		return false;
	if (cred.uid == 0 || (admin != (gid_t)-1 && cred.gid == admin))
		return true;
	len = sizeof(groups);
	if (admin == (gid_t)-1 || getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len))
		return false;
	for (size_t i = 0; i < len / sizeof(groups[0]); i++)
		if (groups[i] == admin)
			return true;
	return false;
}

static uid_t uid_of(int fd)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) ? (uid_t)-1 : cred.uid;
}

/* One user of the machine must not keep all the others (the MTA) from events.sock. */
static bool too_many(const struct control_server *s, const struct client *c)
{
	size_t n = 0;

	if (s->count >= CONTROL_CLIENTS_MAX)
		return true;
	for (const struct client *o = s->clients; o; o = o->next)
		n += !o->dead && o->uid == c->uid;
	return n >= CONTROL_PER_USER && !c->admin && c->uid != geteuid();
}

static void client_add(struct control_server *s, int fd)
{
	struct client *c = calloc(1, sizeof(*c));

	if (!c || !(c->in = malloc(CONTROL_LINE_MAX)))
		goto fail;
	c->server = s;
	c->id = ++s->next_id;
	c->admin = is_admin(fd, s->cfg.admin_gid);
	c->uid = uid_of(fd);
	if (too_many(s, c)) {
		static const char full[] =
		    "{\"v\":1,\"ok\":false,\"error\":\"too many clients\"}\n";

		(void)!send(fd, full, sizeof(full) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
		goto fail;
	}
	c->lf = (struct loop_fd){ .fd = fd, .ready = client_ready, .arg = c };
	if (loop_add(s->loop, &c->lf, EPOLLIN))
		goto fail;
	c->next = s->clients;
	s->clients = c;
	s->count++;
	if (s->cfg.greet) {
		c->subscribed = true;
		s->cfg.greet(s, (struct control_ref){ c->id }, s->cfg.arg);
	}
	return;
fail:
	close(fd);
	if (c)
		client_free(c);
}

static void accept_again(struct timer *t, uint64_t now_ms)
{
	struct control_server *s = t->arg;

	(void)now_ms;
	if (loop_mod(s->loop, &s->listen, EPOLLIN))
		(void)timer_set(loop_timers(s->loop), t, loop_now_ms(s->loop) + ACCEPT_PAUSE_MS);
}

/* Who waits keeps the socket readable: without a pause the loop would do nothing else. */
static void pause_accept(struct control_server *s)
{
	if (!timer_set(loop_timers(s->loop), &s->again, loop_now_ms(s->loop) + ACCEPT_PAUSE_MS))
		(void)loop_mod(s->loop, &s->listen, 0);
}

static void accept_ready(struct loop_fd *lf, uint32_t events)
{
	struct control_server *s = lf->arg;
	int fd = accept4(lf->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			pause_accept(s);
		return;
	}
	client_add(s, fd);
}

struct control_server *control_server_new(struct loop *l, int listen_fd,
					  const struct control_config *cfg)
{
	struct control_server *s = calloc(1, sizeof(*s));
	int rc;

	if (!s) {
		close(listen_fd);
		errno = ENOMEM;
		return NULL;
	}
	s->loop = l;
	s->cfg = *cfg;
	s->sweep = (struct timer){ .fire = sweep, .arg = s };
	s->again = (struct timer){ .fire = accept_again, .arg = s };
	s->listen = (struct loop_fd){ .fd = listen_fd, .ready = accept_ready, .arg = s };
	rc = loop_add(l, &s->listen, EPOLLIN);
	if (rc) {
		close(listen_fd);
		free(s);
		errno = -rc;
		return NULL;
	}
	return s;
}

void control_server_free(struct control_server *s)
{
	if (!s)
		return;
	loop_del(s->loop, &s->listen);
	close(s->listen.fd);
	for (struct client *c = s->clients; c; c = c->next)
		client_end(c);
	timer_clear(loop_timers(s->loop), &s->sweep);
	timer_clear(loop_timers(s->loop), &s->again);
	sweep(&s->sweep, 0);
	free(s);
}
