/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "reply.h"
#include "sendmail.h"
#include "whole.h"

#define REPLY_MS  (5 * 60 * 1000)
#define BUSY_TRY  10 /* the server has too many sessions just now */
#define LINE_ROOM 2048

struct session {
	int fd;
	const struct place *place;
	char in[4096];
	size_t in_len;
	struct reply reply;
	bool eight, size, utf8, dsn;
	bool broken; /* nothing can be said any more */
};

static int complain(int status, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static int complain(int status, const char *fmt, ...)
{
	va_list ap;

	fputs("sendmail: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputs("; the letter was not sent\n", stderr);
	return status;
}

static int dial(const struct place *p)
{
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = htons(p->port) };
	struct sockaddr_in four = { .sin_family = AF_INET, .sin_port = htons(p->port) };
	bool is6 = inet_pton(AF_INET6, p->host, &six.sin6_addr) == 1;
	int fd = socket(is6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), rc;

	if (fd < 0)
		return -errno;
	if (!is6)
		inet_pton(AF_INET, p->host, &four.sin_addr);
	rc = is6 ? connect(fd, (const struct sockaddr *)&six, sizeof(six))
		 : connect(fd, (const struct sockaddr *)&four, sizeof(four));
	if (!rc)
		return fd;
	rc = -errno;
	close(fd);
	return rc;
}

static int unreached(const struct place *p, int rc)
{
	return complain(EX_TEMPFAIL,
			"postern-mta does not answer at %s port %u (%s): does it run, and has "
			"mta.conf a [listener lan]?",
			p->host, p->port, strerror(-rc));
}

/* --- one session --- */

static void on_line(void *arg, unsigned index, const char *text)
{
	struct session *s = arg;

	if (!index)
		return;
	s->eight |= !strcasecmp(text, "8BITMIME");
	s->utf8 |= !strcasecmp(text, "SMTPUTF8");
	s->dsn |= !strcasecmp(text, "DSN");
	s->size |= !strncasecmp(text, "SIZE", 4);
}

/* The next reply into s->reply; 0 or -errno. */
static int hear(struct session *s)
{
	struct reply_parser p = { .on_line = on_line, .arg = s };
	struct pollfd pfd = { .fd = s->fd, .events = POLLIN };

	for (;;) {
		size_t used = 0;
		int rc = reply_feed(&p, s->in, s->in_len, &used);
		ssize_t n;

		s->in_len -= used;
		memmove(s->in, s->in + used, s->in_len);
		s->reply = p.reply;
		if (rc)
			return rc == 1 ? 0 : rc;
		n = poll(&pfd, 1, REPLY_MS);
		if (n == 0)
			return -ETIMEDOUT;
		n = n < 0 ? n : recv(s->fd, s->in + s->in_len, sizeof(s->in) - s->in_len, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -ECONNRESET;
		s->in_len += (size_t)n;
	}
}

static int say(struct session *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A command and its reply; 0 or -errno. */
static int say(struct session *s, const char *fmt, ...)
{
	char line[LINE_ROOM];
	va_list ap;
	int n, rc;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line) - 2, fmt, ap);
	va_end(ap);
	if (n < 0 || n >= (int)sizeof(line) - 2)
		return -EMSGSIZE;
	memcpy(line + n, "\r\n", 2);
	rc = whole_send(s->fd, line, (size_t)n + 2);
	return rc ? rc : hear(s);
}

/* What a refusal means to who called; @rcpt: of one recipient. */
static int status_of(const struct reply *r, bool rcpt)
{
	if (r->code < 500)
		return EX_TEMPFAIL;
	if (!strncmp(r->enhanced, "5.7.", 4))
		return EX_NOPERM;
	if (rcpt && (!strncmp(r->enhanced, "5.1.", 4) || r->code == 550 || r->code == 553))
		return EX_NOUSER;
	return !strncmp(r->enhanced, "5.6.", 4) ? EX_DATAERR : EX_UNAVAILABLE;
}

/* 0 when the reply is of @class (2, 3); else the exit status, after a message. */
static int want(struct session *s, int rc, int class, const char *what, bool rcpt)
{
	s->broken |= rc != 0;
	if (rc)
		return complain(EX_TEMPFAIL, "%s: the session with postern-mta broke: %s", what,
				strerror(-rc));
	if (s->reply.code / 100 == class)
		return 0;
	return complain(status_of(&s->reply, rcpt), "%s: %u %s%s%s", what, s->reply.code,
			s->reply.enhanced, *s->reply.enhanced ? " " : "", s->reply.text);
}

/* Banner and EHLO; waits a while for a server that is busy. */
static int greet(struct session *s)
{
	for (int try = 0;; try++) {
		int rc = dial(s->place);

		if (rc < 0)
			return unreached(s->place, rc);
		s->fd = rc;
		s->in_len = 0;
		rc = hear(s);
		if (rc || s->reply.code != 421 || try == BUSY_TRY) {
			rc = want(s, rc, 2, "connection", false);
			break;
		}
		close(s->fd);
		s->fd = -1;
		sleep(1);
	}
	if (s->broken || s->reply.code / 100 != 2)
		return s->broken ? EX_TEMPFAIL : status_of(&s->reply, false);
	return want(s, say(s, "EHLO %s", s->place->hostname), 2, "EHLO", false);
}

static bool ascii(const char *s)
{
	while (*s && !(*s & 0x80))
		s++;
	return !*s;
}

static int mail(struct session *s, const struct submission *x)
{
	bool utf8 = !ascii(x->sender);
	char *p = NULL;
	size_t len;
	FILE *f = open_memstream(&p, &len);
	int rc;

	for (size_t i = 0; i < x->rcpts->count; i++)
		utf8 |= !ascii(x->rcpts->v[i]);
	if (!f)
		return complain(EX_OSERR, "%s", strerror(errno));
	if (utf8 && !s->utf8) {
		fclose(f);
		free(p);
		return complain(EX_UNAVAILABLE, "the server takes no addresses beyond ASCII");
	}
	if (s->size)
		fprintf(f, " SIZE=%zu",
			strlen(x->added) + x->message->head_len + 2 + x->message->body_len);
	if (x->message->eight && s->eight)
		fputs(" BODY=8BITMIME", f);
	if (utf8)
		fputs(" SMTPUTF8", f);
	if (s->dsn && x->ret)
		fprintf(f, " RET=%s", x->ret);
	if (s->dsn && x->envid)
		fprintf(f, " ENVID=%s", x->envid);
	fclose(f);
	rc = want(s, say(s, "MAIL FROM:<%s>%s", x->sender, p), 2, "sender", false);
	free(p);
	return rc;
}

/* All of them, or nobody gets it. */
static int rcpts(struct session *s, const struct submission *x)
{
	int status = 0;

	for (size_t i = 0; i < x->rcpts->count && !status; i++) {
		const char *a = x->rcpts->v[i], *notify = s->dsn ? x->notify : NULL;

		status = want(
		    s,
		    say(s, "RCPT TO:<%s>%s%s", a, notify ? " NOTIFY=" : "", notify ? notify : ""),
		    2, a, true);
	}
	return status;
}

static int data(struct session *s, const struct submission *x)
{
	int status = want(s, say(s, "DATA"), 3, "DATA", false), rc;
	char buf[16384];
	size_t n;

	if (status)
		return status;
	rc = whole_send(s->fd, x->added, strlen(x->added));
	if (!rc)
		rc = whole_send(s->fd, x->message->head, x->message->head_len);
	if (!rc)
		rc = whole_send(s->fd, "\r\n", 2);
	while (!rc && (n = fread(buf, 1, sizeof(buf), x->message->body)))
		rc = whole_send(s->fd, buf, n);
	if (!rc && ferror(x->message->body)) { /* without the dot nothing is taken */
		s->broken = true;
		return complain(EX_IOERR, "the copy of the letter cannot be read");
	}
	if (!rc)
		rc = whole_send(s->fd, ".\r\n", 3);
	return want(s, rc ? rc : hear(s), 2, "letter", false);
}

int submit(const struct submission *x, char *reply, size_t cap)
{
	struct session s = { .fd = -1, .place = x->place };
	int status = greet(&s);

	if (!status)
		status = mail(&s, x);
	if (!status)
		status = rcpts(&s, x);
	if (!status)
		status = data(&s, x);
	if (!status)
		snprintf(reply, cap, "%s", s.reply.text);
	if (s.fd >= 0 && !s.broken)
		say(&s, "QUIT");
	if (s.fd >= 0)
		close(s.fd);
	return status;
}

/* --- -bs --- */

static bool copy(int from, int to)
{
	char buf[16384];
	ssize_t n = read(from, buf, sizeof(buf));

	if (n > 0 && whole_write(to, buf, (size_t)n))
		return false;
	return n > 0 || (n < 0 && errno == EINTR);
}

int submit_pipe(const struct place *place)
{
	int fd = dial(place);
	struct pollfd p[2] = { { .fd = STDIN_FILENO, .events = POLLIN },
			       { .fd = fd, .events = POLLIN } };

	if (fd < 0)
		return unreached(place, fd);
	for (;;) {
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			break;
		if (p[1].revents && !copy(fd, STDOUT_FILENO))
			break;
		if (p[0].revents && !copy(STDIN_FILENO, fd)) {
			shutdown(fd, SHUT_WR);
			p[0].fd = -1;
			p[0].revents = 0;
		}
	}
	close(fd);
	return EX_OK;
}
