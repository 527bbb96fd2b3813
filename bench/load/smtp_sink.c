/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "smtp_load.h"

#define LINE_MAX_BYTES 1024
#define OUT_MAX	       8192
#define PIECE	       (128 * 1024)
#define CARRY	       4 /* of the end of data, that may stand in the piece before */

struct taker {
	struct handle h; /* first */
	bool data;
	uint32_t number, run; /* of the letter under way */
	uint64_t size;
	char carry[CARRY];
	size_t carried;
	char line[LINE_MAX_BYTES];
	size_t line_len;
	char out[OUT_MAX];
	size_t out_len;
};

static char piece[CARRY + PIECE];

static void taker_free(struct taker *t)
{
	close(t->h.fd);
	free(t);
}

static void say(struct taker *t, const char *words)
{
	size_t len = strlen(words);

	if (t->out_len + len <= sizeof(t->out)) {
		memcpy(t->out + t->out_len, words, len);
		t->out_len += len;
	}
}

static void received(struct load *ld, const struct taker *t, uint64_t now_ns)
{
	struct letter *l =
	    t->run == ld->run && t->number < ld->letters ? &ld->letter[t->number] : NULL;

	if (!l)
		return;
	if (t->size < ld->bytes)
		ld->cut++;
	if (l->got_ns) {
		ld->twice++;
		return;
	}
	l->got_ns = now_ns;
	ld->last_got_ns = now_ns;
	if (!ld->first_got_ns)
		ld->first_got_ns = now_ns;
	ld->delivered++;
}

/* False: QUIT. */
static bool command(struct taker *t)
{
	const char *l = t->line;
	char *end;

	if (!strncasecmp(l, "EHLO", 4))
		say(t,
		    "250-sink.example\r\n250-PIPELINING\r\n250-SIZE 100000000\r\n250-8BITMIME\r\n"
		    "250 ENHANCEDSTATUSCODES\r\n");
	else if (!strncasecmp(l, "RCPT TO:<l", 10)) {
		t->number = (uint32_t)strtoul(l + 10, &end, 10);
		t->run = *end == '-' ? (uint32_t)strtoul(end + 1, NULL, 10) : 0;
		say(t, "250 2.1.5 Ok\r\n");
	} else if (!strncasecmp(l, "DATA", 4)) {
		say(t, "354 Go on\r\n");
		t->data = true;
		t->size = 0;
		t->carried = 2;
		memcpy(t->carry, "\r\n", 2);
	} else if (!strncasecmp(l, "QUIT", 4)) {
		say(t, "221 2.0.0 Bye\r\n");
		return false;
	} else
		say(t, "250 2.0.0 Ok\r\n");
	return true;
}

/* Takes commands from @p; how many bytes, up to DATA or all. -1: QUIT. */
static ssize_t lines(struct taker *t, const char *p, size_t len)
{
	size_t at = 0;

	while (at < len && !t->data) {
		char c = p[at++];

		if (c == '\n') {
			t->line[t->line_len] = 0;
			t->line_len = 0;
			if (!command(t))
				return -1;
		} else if (t->line_len < sizeof(t->line) - 1)
			t->line[t->line_len++] = c;
	}
	return (ssize_t)at;
}

/* Takes text from @p, before which CARRY bytes are free; how many bytes of @len. */
static size_t text(struct load *ld, struct taker *t, char *p, size_t len, uint64_t now_ns)
{
	char *from = p - t->carried, *dot;
	size_t all = t->carried + len;

	memcpy(from, t->carry, t->carried);
	dot = memmem(from, all, "\r\n.\r\n", 5);
	if (dot) {
		size_t taken = (size_t)(dot + 5 - p);

		t->size += taken;
		t->data = false;
		received(ld, t, now_ns);
		say(t, "250 2.0.0 Ok\r\n");
		return taken;
	}
	t->size += len;
	t->carried = all < CARRY ? all : CARRY;
	memcpy(t->carry, from + all - t->carried, t->carried);
	return len;
}

/* False: the session is over. */
static bool take(struct load *ld, struct taker *t, size_t len, uint64_t now_ns)
{
	for (size_t at = 0; at < len;) {
		ssize_t n;

		if (t->data) {
			at += text(ld, t, piece + CARRY + at, len - at, now_ns);
			continue;
		}
		n = lines(t, piece + CARRY + at, len - at);
		if (n < 0)
			return false;
		at += (size_t)n;
	}
	return true;
}

static void on_input(struct load *ld, struct handle *h, uint32_t events, uint64_t now_ns)
{
	struct taker *t = (struct taker *)(void *)h;
	ssize_t n = read(h->fd, piece + CARRY, PIECE);
	bool more;

	(void)events;
	if (n <= 0)
		return taker_free(t);
	more = take(ld, t, (size_t)n, now_ns);
	if (t->out_len && write(h->fd, t->out, t->out_len) != (ssize_t)t->out_len)
		more = false; /* replies to one window of commands fit the socket */
	t->out_len = 0;
	if (!more)
		taker_free(t);
}

static void on_call(struct load *ld, struct handle *h, uint32_t events, uint64_t now_ns)
{
	int one = 1, fd;

	(void)events;
	(void)now_ns;
	while ((fd = accept4(h->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
		struct taker *t = calloc(1, sizeof(*t));

		if (!t) {
			close(fd);
			return;
		}
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		t->h = (struct handle){ .ready = on_input, .fd = fd };
		say(t, "220 sink.example ESMTP\r\n");
		if (write(fd, t->out, t->out_len) != (ssize_t)t->out_len ||
		    !load_watch(ld->sink_epoll, &t->h, EPOLLIN, true)) {
			taker_free(t);
			continue;
		}
		t->out_len = 0;
	}
}

static pthread_t thread;
static struct handle h;

static void *run(void *arg)
{
	struct load *ld = arg;

	while (!ld->ended)
		load_turn(ld, ld->sink_epoll);
	return NULL;
}

void sink_end(struct load *ld)
{
	ld->ended = true;
	pthread_join(thread, NULL);
}

int sink_start(struct load *ld)
{
	int one = 1;

	h = (struct handle){ .ready = on_call,
			     .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0) };
	if (h.fd < 0 || setsockopt(h.fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(h.fd, (struct sockaddr *)&ld->at, sizeof(ld->at)) || listen(h.fd, 4096) ||
	    !load_watch(ld->sink_epoll, &h, EPOLLIN, true) ||
	    pthread_create(&thread, NULL, run, ld)) {
		perror("smtp_load: the sink");
		return -1;
	}
	return 0;
}
