/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: the plain backend. Reads, sends and writes are system calls made at once, the buffer that was used
 * last is used again. There are more of them for what waits its turn to be sent, and for datagrams that the
 * kernel did not coalesce, so that we still can (merges hold their buffers to the end of a turn).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "stream.h"

#define RX_BUFS 16
#define EVENTS	16

enum { TAG_STREAM = 253, TAG_WAKE = 254, TAG_TUN = 255 }; /* socket indexes are below */

struct ep_state {
	int fd;
	struct buf *tun_pool, *tun_free;
	struct buf *rx_pool, *rx_free;
};

static void tun_done(struct worker *w, struct buf *b)
{
	struct ep_state *e = w->io_state;

	/* Last in, first out: the one that is still in the cache. */
	b->next = e->tun_free;
	e->tun_free = b;
}

static void rx_done(struct worker *w, struct buf *b)
{
	struct ep_state *e = w->io_state;

	b->next = e->rx_free;
	e->rx_free = b;
}

static int watch(struct worker *w, int op, int fd, uint32_t events, uint64_t tag)
{
	struct ep_state *e = w->io_state;
	struct epoll_event ev = { .events = events, .data.u64 = tag };

	return epoll_ctl(e->fd, op, fd, &ev) ? -errno : 0;
}

static int ep_open(struct worker *w)
{
	struct ep_state *e = calloc(1, sizeof(*e));
	int flags = fcntl(w->tun_fd, F_GETFL), rc = 0;

	if (!e)
		return -ENOMEM;
	w->io_state = e;
	e->fd = epoll_create1(EPOLL_CLOEXEC);
	if (e->fd < 0)
		return -errno;
	e->tun_pool = e->tun_free = buf_pool(w, TUN_BUFS, tun_done);
	e->rx_pool = e->rx_free = buf_pool(w, RX_BUFS, rx_done);
	if (!e->tun_pool || !e->rx_pool)
		return -ENOMEM;
	if (flags < 0 || fcntl(w->tun_fd, F_SETFL, flags | O_NONBLOCK))
		return -errno;
	rc = watch(w, EPOLL_CTL_ADD, w->wake_fd, EPOLLIN, TAG_WAKE);
	if (!rc)
		rc = watch(w, EPOLL_CTL_ADD, w->tun_fd, EPOLLIN, TAG_TUN);
	if (!rc)
		rc = watch(w, EPOLL_CTL_ADD, w->stream_epfd, EPOLLIN, TAG_STREAM);
	for (unsigned i = 0; !rc && i < w->sock_count; i++) {
		/* A socket that another worker reads is only sent on. */
		rc = watch(w, EPOLL_CTL_ADD, w->socks[i].fd, w->socks[i].mine ? EPOLLIN : 0, i);
	}
	return rc;
}

static int ep_start(struct worker *w)
{
	(void)w;
	return 0;
}

static void read_tun(struct worker *w)
{
	struct ep_state *e = w->io_state;

	for (int i = 0; i < TUN_BURST && out_room(w) && e->tun_free; i++) {
		struct buf *b = e->tun_free;
		ssize_t n = read(w->tun_fd, b->mem, BUF_BYTES - SPLIT_SPARE);

		if (n < 0)
			tun_on_error(w, -errno);
		if (w->tun_dead)
			epoll_ctl(e->fd, EPOLL_CTL_DEL, w->tun_fd, NULL);
		if (n <= 0)
			return;
		e->tun_free = b->next;
		b->refs = 1;
		tun_on_read(w, b, (size_t)n);
	}
}

static bool receive(struct worker *w, struct sock *s)
{
	struct ep_state *e = w->io_state;
	struct sockaddr_storage from;
	_Alignas(8) uint8_t control[192];
	struct rx rx = { .sock = s, .from = &from };
	struct buf *b;
	struct iovec iov;
	struct msghdr msg = { .msg_name = &from,
			      .msg_namelen = sizeof(from),
			      .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control,
			      .msg_controllen = sizeof(control) };
	uint64_t since = bench_call(w);
	ssize_t n;

	if (!e->rx_free)
		merge_flush(&w->merge);
	b = e->rx_free;
	iov.iov_base = b->mem;
	iov.iov_len = BUF_BYTES;
	n = recvmsg(s->fd, &msg, MSG_DONTWAIT);
	bench_read(w, since);
	if (n < 0) {
		if (errno == EAGAIN || errno == EINTR)
			return false;
		udp_on_error(w, s, -errno);
		return true;
	}
	e->rx_free = b->next;
	b->refs = 1;
	rx.data = b->mem;
	rx.len = (size_t)n;
	rx.truncated = msg.msg_flags & MSG_TRUNC;
	udp_parse_control(&rx, &msg);
	udp_on_recv(w, &rx, b);
	if (rx.seg)
		merge_flush(&w->merge); /* enough for a write; the buffer is hot */
	return true;
}

static int ep_turn(struct worker *w)
{
	struct ep_state *e = w->io_state;
	struct epoll_event ev[EVENTS];
	uint64_t us = out_wait_us(w);
	int n;

	rcu_offline(&w->rcu);
	n = epoll_wait(e->fd, ev, EVENTS, us == UINT64_MAX ? -1 : (int)((us + 999) / 1000));
	worker_begin_turn(w);
	if (n < 0 && errno != EINTR)
		return -errno;
	for (int i = 0; i < n; i++) {
		struct sock *s;

		if (ev[i].data.u64 == TAG_TUN) {
			read_tun(w);
			continue;
		}
		if (ev[i].data.u64 == TAG_WAKE) {
			uint64_t v;

			if (read(w->wake_fd, &v, sizeof(v)) == sizeof(v))
				worker_on_wake(w);
			continue;
		}
		if (ev[i].data.u64 == TAG_STREAM) {
			stream_on_ready(w);
			continue;
		}
		s = &w->socks[ev[i].data.u64];
		if (ev[i].events & EPOLLERR)
			udp_on_error(w, s, -EIO);
		if ((ev[i].events & EPOLLOUT) && s->blocked) {
			udp_on_writable(w, s);
			if (!s->blocked)
				watch(w, EPOLL_CTL_MOD, s->fd, s->mine ? EPOLLIN : 0, s->index);
		}
		for (int k = 0; s->mine && k < RECV_BURST && receive(w, s); k++)
			;
	}
	worker_end_turn(w);
	return 0;
}

static void ep_send(struct worker *w, struct txbatch *b)
{
	udp_on_sent(w, b, sendmsg(b->sock->fd, &b->msg, MSG_DONTWAIT) < 0 ? -errno : 0);
}

static void ep_write(struct worker *w, struct tunw *t)
{
	int fd = w->dp->worker[t->queue]->tun_fd;

	tun_on_written(w, t, writev(fd, t->iov, (int)t->iovs) < 0 ? -errno : 0);
}

static void ep_blocked(struct worker *w, struct sock *s)
{
	watch(w, EPOLL_CTL_MOD, s->fd, EPOLLOUT | (s->mine ? EPOLLIN : 0), s->index);
}

static void ep_rest(struct worker *w)
{
	struct ep_state *e = w->io_state;

	buf_pool_rest(e->tun_pool, e->tun_free, TUN_BUFS);
	buf_pool_rest(e->rx_pool, e->rx_free, RX_BUFS);
}

static void ep_close(struct worker *w)
{
	struct ep_state *e = w->io_state;

	if (!e)
		return;
	if (e->fd >= 0)
		close(e->fd);
	buf_pool_free(e->tun_pool, TUN_BUFS);
	buf_pool_free(e->rx_pool, RX_BUFS);
	free(e);
	w->io_state = NULL;
}

const struct io_ops io_epoll = {
	.name = "epoll",
	.open = ep_open,
	.start = ep_start,
	.turn = ep_turn,
	.send = ep_send,
	.write = ep_write,
	.blocked = ep_blocked,
	.rest = ep_rest,
	.close = ep_close,
};
