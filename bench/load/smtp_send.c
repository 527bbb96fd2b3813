/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "smtp_load.h"

#define IN_MAX	 4096
#define RECORD	 16384 /* of TLS, at a time */
#define AGAIN_NS 200000000u

/* Each step but the first and HANDSHAKE waits for a reply. */
enum step { CONNECT, BANNER, EHLO, STARTTLS, HANDSHAKE, MAIL, RCPT, DATA, BODY, DOT, QUIT, OVER };

struct sender {
	struct handle h; /* first */
	enum step step;
	SSL *ssl;
	uint32_t number; /* of the letter */
	size_t sent;	 /* of its body */
	char in[IN_MAX];
	size_t in_len;
	uint64_t again_ns; /* it broke: call again then */
	bool used;	   /* a letter was taken in this session */
	uint32_t watched;
};

static struct sender *senders;
static uint32_t sender_count, broken;

static void call(struct load *ld, struct sender *s);

static void hang_up(struct sender *s)
{
	SSL_free(s->ssl);
	s->ssl = NULL;
	if (s->h.fd >= 0)
		close(s->h.fd);
	s->h.fd = -1;
	s->in_len = 0;
}

static void over(struct load *ld, struct sender *s)
{
	hang_up(s);
	s->step = OVER;
	ld->busy--;
}

/* The connection is no more; what it carried counts as not accepted. */
static void fault(struct load *ld, struct sender *s, uint64_t now_ns)
{
	ld->faults++;
	hang_up(s);
	if (!load_more(ld, now_ns))
		return over(ld, s);
	s->again_ns = now_ns + AGAIN_NS;
	broken++;
}

static void want(struct load *ld, struct sender *s, uint32_t events)
{
	if (s->watched != events)
		load_watch(ld->epoll, &s->h, events, false);
	s->watched = events;
}

/* Bytes written, 0: not now, -1: broken. */
static ssize_t put(struct sender *s, const char *p, size_t len)
{
	ssize_t n;

	if (!s->ssl) {
		n = send(s->h.fd, p, len, MSG_NOSIGNAL);
		return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : n;
	}
	n = SSL_write(s->ssl, p, len < RECORD ? (int)len : RECORD);
	if (n > 0)
		return n;
	return SSL_get_error(s->ssl, (int)n) == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

static ssize_t get(struct sender *s, char *p, size_t len)
{
	ssize_t n;
	int why;

	if (!s->ssl) {
		n = recv(s->h.fd, p, len, 0);
		return n > 0 ? n : n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
	}
	n = SSL_read(s->ssl, p, (int)len);
	if (n > 0)
		return n;
	why = SSL_get_error(s->ssl, (int)n);
	return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

static void tell(struct load *ld, struct sender *s, enum step next, const char *words,
		 uint64_t now_ns)
{
	size_t len = strlen(words);

	s->step = next;
	if (put(s, words, len) != (ssize_t)len) /* the socket is empty between commands */
		fault(ld, s, now_ns);
}

static void body(struct load *ld, struct sender *s, uint64_t now_ns)
{
	while (s->sent < ld->body_len) {
		ssize_t n = put(s, ld->body + s->sent, ld->body_len - s->sent);

		if (n < 0)
			return fault(ld, s, now_ns);
		if (!n)
			return want(ld, s, EPOLLIN | EPOLLOUT);
		s->sent += (size_t)n;
	}
	want(ld, s, EPOLLIN);
	ld->letter[s->number].dot_ns = load_ns();
	s->step = DOT;
}

static void next_letter(struct load *ld, struct sender *s, uint64_t now_ns)
{
	if (!load_more(ld, now_ns))
		return tell(ld, s, QUIT, "QUIT\r\n", now_ns);
	s->number = ld->begun++;
	s->sent = 0;
	tell(ld, s, MAIL, "MAIL FROM:<load@client.example>\r\n", now_ns);
}

static void rcpt(struct load *ld, struct sender *s, uint64_t now_ns)
{
	char line[64];

	snprintf(line, sizeof(line), "RCPT TO:<l%u-%u@sink.example>\r\n", s->number, ld->run);
	tell(ld, s, RCPT, line, now_ns);
}

static void handshake(struct load *ld, struct sender *s, uint64_t now_ns)
{
	int rc = SSL_do_handshake(s->ssl), why;

	if (rc == 1) {
		want(ld, s, EPOLLIN);
		return tell(ld, s, EHLO, "EHLO client.example\r\n", now_ns);
	}
	why = SSL_get_error(s->ssl, rc);
	if (why == SSL_ERROR_WANT_READ)
		want(ld, s, EPOLLIN);
	else if (why == SSL_ERROR_WANT_WRITE)
		want(ld, s, EPOLLIN | EPOLLOUT);
	else
		fault(ld, s, now_ns);
}

static void begin_tls(struct load *ld, struct sender *s, uint64_t now_ns)
{
	s->ssl = SSL_new(ld->ctx);
	if (!s->ssl || !SSL_set_fd(s->ssl, s->h.fd))
		return fault(ld, s, now_ns);
	SSL_set_connect_state(s->ssl);
	s->step = HANDSHAKE;
	handshake(ld, s, now_ns);
}

static void accepted(struct load *ld, struct sender *s, uint64_t now_ns)
{
	ld->letter[s->number].ok_ns = now_ns;
	ld->last_ok_ns = now_ns;
	ld->accepted++;
	s->used = true;
	if (ld->renew)
		tell(ld, s, QUIT, "QUIT\r\n", now_ns);
	else
		next_letter(ld, s, now_ns);
}

static void on_reply(struct load *ld, struct sender *s, char class, uint64_t now_ns)
{
	if (s->step != QUIT && class != '2' && !(s->step == DATA && class == '3')) {
		ld->refused++;
		if (s->step != MAIL || !s->used)
			return fault(ld, s, now_ns);
		hang_up(s); /* so many letters it takes in one session */
		return load_more(ld, now_ns) ? call(ld, s) : over(ld, s);
	}
	switch (s->step) {
	case BANNER:
		return tell(ld, s, EHLO, "EHLO client.example\r\n", now_ns);
	case EHLO:
		if (ld->tls && !s->ssl)
			return tell(ld, s, STARTTLS, "STARTTLS\r\n", now_ns);
		return next_letter(ld, s, now_ns);
	case STARTTLS:
		return begin_tls(ld, s, now_ns);
	case MAIL:
		return rcpt(ld, s, now_ns);
	case RCPT:
		return tell(ld, s, DATA, "DATA\r\n", now_ns);
	case DATA:
		s->step = BODY;
		return body(ld, s, now_ns);
	case DOT:
		return accepted(ld, s, now_ns);
	case QUIT:
		hang_up(s);
		return load_more(ld, now_ns) ? call(ld, s) : over(ld, s);
	default:
		return fault(ld, s, now_ns);
	}
}

/* The length of the reply that stands whole at the start of the buffer, 0: not yet. */
static size_t whole_reply(const struct sender *s)
{
	const char *p = s->in, *end = s->in + s->in_len, *nl;

	while ((nl = memchr(p, '\n', (size_t)(end - p)))) {
		if (nl - p >= 4 && p[3] != '-')
			return (size_t)(nl + 1 - s->in);
		p = nl + 1;
	}
	return 0;
}

static void on_input(struct load *ld, struct sender *s, uint64_t now_ns)
{
	ssize_t n = get(s, s->in + s->in_len, sizeof(s->in) - s->in_len);
	size_t len;
	char class;

	if (n < 0 && s->step == QUIT) {
		hang_up(s);
		return load_more(ld, now_ns) ? call(ld, s) : over(ld, s);
	}
	if (n < 0 || s->in_len + (size_t)n == sizeof(s->in))
		return fault(ld, s, now_ns);
	s->in_len += (size_t)n;
	len = whole_reply(s);
	if (!len)
		return;
	class = s->in[0];
	s->in_len -= len; /* nothing is pipelined: more than one reply there is not */
	on_reply(ld, s, class, now_ns);
}

static void on_ready(struct load *ld, struct handle *h, uint32_t events, uint64_t now_ns)
{
	struct sender *s = (struct sender *)(void *)h;

	if (s->step == CONNECT) {
		if (events & (EPOLLERR | EPOLLHUP))
			return fault(ld, s, now_ns);
		want(ld, s, EPOLLIN);
		s->step = BANNER;
		return;
	}
	if (s->step == HANDSHAKE)
		return handshake(ld, s, now_ns);
	if (s->step == BODY && events & EPOLLOUT && !(events & EPOLLIN))
		return body(ld, s, now_ns);
	on_input(ld, s, now_ns);
}

static void call(struct load *ld, struct sender *s)
{
	int one = 1;

	s->step = CONNECT;
	s->h =
	    (struct handle){ .ready = on_ready,
			     .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0) };
	s->watched = EPOLLOUT;
	s->used = false;
	ld->connects++;
	if (s->h.fd < 0)
		return fault(ld, s, load_ns());
	setsockopt(s->h.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if ((connect(s->h.fd, (struct sockaddr *)&ld->to, sizeof(ld->to)) &&
	     errno != EINPROGRESS) ||
	    !load_watch(ld->epoll, &s->h, EPOLLOUT, true))
		fault(ld, s, load_ns());
}

int send_start(struct load *ld)
{
	sender_count = ld->busy = ld->sessions;
	senders = calloc(sender_count ? sender_count : 1, sizeof(*senders));
	if (!senders)
		return -1;
	for (uint32_t i = 0; i < sender_count; i++)
		call(ld, &senders[i]);
	return 0;
}

void send_again(struct load *ld, uint64_t now_ns)
{
	for (uint32_t i = 0; broken && i < sender_count; i++) {
		struct sender *s = &senders[i];

		if (!s->again_ns || s->again_ns > now_ns)
			continue;
		s->again_ns = 0;
		broken--;
		if (load_more(ld, now_ns))
			call(ld, s);
		else
			over(ld, s);
	}
}
