/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Streams as bytes: what leaves, what a worker reads, frames. Their life is in stream_life.c. */
#include "stream.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "frame.h"
#include "stream_int.h"
#include "udp_classify.h"

#define READY_EVENTS 16
#define READ_BURST   8
#define READ_BUFS    8
#define READ_HEAD    64 /* before the first frame: what comes behind it stays aligned */
#define CLOAK_ROOM   512 /* what TLS adds to a batch of five records */
#define FLUSH_AT     16384

/* ---- out ---- */

/* Under the lock. Listen for room as long as something waits. */
static void watch(struct stream *s, bool want_out)
{
	struct epoll_event ev = { .events = EPOLLIN | (want_out ? EPOLLOUT : 0u), .data.ptr = s };

	if (s->want_out == want_out || s->epfd < 0)
		return;
	s->want_out = want_out;
	(void)epoll_ctl(s->epfd, EPOLL_CTL_MOD, s->fd, &ev);
}

static ssize_t to_socket(struct stream *s, const void *p, size_t len)
{
	ssize_t n = send(s->fd, p, len, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n >= 0)
		return n;
	return errno == EAGAIN || errno == EINTR || errno == ENOBUFS ? 0 : -errno;
}

int stream_put(void *arg, const void *p, size_t len)
{
	struct stream *s = arg;
	const uint8_t *from = p;

	if (!s->out_len) {
		ssize_t n = to_socket(s, from, len);

		if (n < 0)
			return (int)n;
		if ((size_t)n == len)
			return 0;
		from += n;
		len -= (size_t)n;
		s->out_at = 0;
		atomic_store_explicit(&s->stuck_ms, clock_boot_ms(), memory_order_relaxed);
	}
	if (s->out_len + len > s->out_cap)
		return -ENOBUFS;
	if (s->out_at + s->out_len + len > s->out_cap) {
		memmove(s->out, s->out + s->out_at, s->out_len);
		s->out_at = 0;
	}
	memcpy(s->out + s->out_at + s->out_len, from, len);
	s->out_len += len;
	watch(s, true);
	return 0;
}

int stream_flush(struct stream *s)
{
	while (s->out_len) {
		ssize_t n = to_socket(s, s->out + s->out_at, s->out_len);

		if (n < 0)
			return (int)n;
		if (!n)
			return 0;
		s->out_at += (size_t)n;
		s->out_len -= (size_t)n;
		/* It moves, if slowly. */
		atomic_store_explicit(&s->stuck_ms, clock_boot_ms(), memory_order_relaxed);
	}
	atomic_store_explicit(&s->stuck_ms, 0, memory_order_relaxed);
	watch(s, false);
	return 0;
}

int stream_write(struct stream *s, const void *p, size_t len)
{
	if (s->out_len + len + CLOAK_ROOM > s->out_cap)
		return -EAGAIN;
	return s->cloak ? cloak_write(s->cloak, p, len) : stream_put(s, p, len);
}

void stream_send(struct worker *w, struct stream *s, const struct txbatch *b)
{
	int rc = -ENOTCONN;

	if (atomic_load_explicit(&s->state, memory_order_acquire) == STREAM_OPEN) {
		pthread_mutex_lock(&s->lock);
		rc = stream_write(s, b->mem, b->bytes);
		pthread_mutex_unlock(&s->lock);
	}
	if (!rc)
		worker_count(w, DP_OUT_SENDS);
	else
		stats_add(&w->stats, rc == -EAGAIN ? DP_DROP_STREAM_FULL : DP_DROP_SEND, b->pkts);
	/* A write that fails ends the stream; whoever reads it finds out and tells. */
	if (rc && rc != -EAGAIN)
		(void)shutdown(s->fd, SHUT_RDWR);
}

int stream_send_ike(struct stream *s, const void *msg, size_t len)
{
	uint8_t head[FRAME_HEAD + 4] = { 0 }; /* RFC 3948 s2.2: the non-ESP marker */
	uint8_t *whole;
	int rc;

	if (len + sizeof(head) > STREAM_IKE_MAX)
		return -EMSGSIZE;
	if (atomic_load(&s->state) != STREAM_OPEN)
		return -ENOTCONN;
	whole = malloc(sizeof(head) + len); /* one write, so one record and one segment */
	if (!whole)
		return -ENOMEM;
	frame_head(head, len + 4);
	memcpy(whole, head, sizeof(head));
	memcpy(whole + sizeof(head), msg, len);
	pthread_mutex_lock(&s->lock);
	rc = stream_write(s, whole, sizeof(head) + len);
	pthread_mutex_unlock(&s->lock);
	free(whole);
	if (rc && rc != -EAGAIN)
		(void)shutdown(s->fd, SHUT_RDWR);
	return rc;
}

/* ---- in ---- */

ssize_t stream_take(void *arg, void *p, size_t len)
{
	const struct stream *s = arg;
	ssize_t n = recv(s->fd, p, len, MSG_DONTWAIT);

	if (n >= 0)
		return n;
	return errno == EINTR ? -EAGAIN : -errno;
}

ssize_t stream_read(struct stream *s, void *p, size_t len)
{
	ssize_t n;

	if (!s->cloak)
		return stream_take(s, p, len);
	pthread_mutex_lock(&s->lock);
	n = cloak_read(s->cloak, p, len);
	pthread_mutex_unlock(&s->lock);
	return n;
}

/* Frames from @at on that are ESP for another worker: their bytes, lengths included. */
static size_t foreign_run(struct worker *w, uint8_t *p, size_t have, unsigned to)
{
	size_t at = 0, len;

	while (frame_next(p + at, have - at, FRAME_MAX, &len) == FRAME_WHOLE) {
		uint32_t spi;

		if (udp_classify(true, p + at + FRAME_HEAD, len) != UDP_ESP)
			break;
		memcpy(&spi, p + at + FRAME_HEAD, 4);
		if (worker_for_spi(w->dp, spi) != to || at + FRAME_HEAD + len > STREAM_HAND_MAX)
			break;
		at += FRAME_HEAD + len;
	}
	return at;
}

ssize_t stream_frames(struct worker *w, struct rx *rx, uint8_t *p, size_t have, struct buf *b)
{
	size_t at = 0, len = 0;
	enum frame_word word;

	while ((word = frame_next(p + at, have - at, FRAME_MAX, &len)) == FRAME_WHOLE) {
		unsigned to = w->index;
		size_t run;

		if (udp_classify(true, p + at + FRAME_HEAD, len) == UDP_ESP) {
			uint32_t spi;

			memcpy(&spi, p + at + FRAME_HEAD, 4);
			to = worker_for_spi(w->dp, spi);
		}
		run = to == w->index ? 0 : foreign_run(w, p + at, have - at, to);
		if (run) {
			rx->framed = true;
			worker_count(w, DP_HANDED_OVER);
			if (!hand_over(w, to, rx, p + at, run))
				worker_count(w, DP_DROP_HANDOVER_FULL);
			rx->framed = false;
			at += run;
			continue;
		}
		rx->data = p + at + FRAME_HEAD;
		rx->len = len;
		udp_on_datagram(w, rx, 0, len, b);
		at += FRAME_HEAD + len;
	}
	return word == FRAME_BROKEN ? -EBADMSG : (ssize_t)at;
}

/* One read into one buf, behind what was left of the one before. False: nothing more now. */
static bool read_once(struct worker *w, struct stream *s)
{
	struct buf *b = w->stream_bufs;
	struct rx rx = { .sock = &s->sock, .from = &s->from, .local = s->local.addr };
	size_t room = BUF_BYTES - SPLIT_SPARE - READ_HEAD, have = s->part_len;
	uint8_t *mem;
	ssize_t n, used;

	if (!b)
		return false;
	mem = b->mem + READ_HEAD;
	memcpy(mem, s->part, have);
	do {
		n = stream_read(s, mem + have, room - have);
		have += n > 0 ? (size_t)n : 0;
	} while (n > 0 && s->cloak && have < room); /* a record at a time */
	if (n <= 0 && n != -EAGAIN)
		stream_die(s, w, n ? (int)-n : ECONNRESET);
	if (have == s->part_len && !s->fresh)
		return false;
	s->fresh = false;
	worker_count(w, DP_IN_RECVS);
	w->stream_bufs = b->next;
	b->refs = 1;
	used = stream_frames(w, &rx, mem, have, b);
	if (used >= 0) {
		/* Always less than a frame, and there is room for one. */
		s->part_len = have - (size_t)used;
		memcpy(s->part, mem + used, s->part_len);
	} else {
		worker_count(w, DP_DROP_STREAM_FRAME);
		stream_die(s, w, EBADMSG);
	}
	buf_put(b);
	if (have >= FLUSH_AT)
		merge_flush(&w->merge);
	return have == room && atomic_load(&s->state) == STREAM_OPEN;
}

static void ready(struct worker *w, struct stream *s, uint32_t events)
{
	int rc = 0;

	if (atomic_load(&s->state) != STREAM_OPEN)
		return;
	if (events & EPOLLOUT) {
		pthread_mutex_lock(&s->lock);
		rc = stream_flush(s);
		pthread_mutex_unlock(&s->lock);
	}
	if (rc) {
		stream_die(s, w, -rc);
		return;
	}
	if (!w->stream_bufs) {
		stream_again(s);
		return;
	}
	for (int i = 0; read_once(w, s); i++) {
		/* What TLS holds back nobody would wake us for. */
		if (i == READ_BURST || !w->stream_bufs) {
			stream_again(s);
			break;
		}
	}
}

void stream_on_ready(struct worker *w)
{
	struct epoll_event ev[READY_EVENTS];
	int n = epoll_wait(w->stream_epfd, ev, READY_EVENTS, 0);

	/* What was closed meanwhile is freed no sooner than at the end of this turn. */
	for (int i = 0; i < n; i++)
		ready(w, ev[i].data.ptr, ev[i].events);
}

/* ---- a worker's share ---- */

static void buf_back(struct worker *w, struct buf *b)
{
	b->next = w->stream_bufs;
	w->stream_bufs = b;
}

int stream_worker_open(struct worker *w)
{
	w->stream_epfd = epoll_create1(EPOLL_CLOEXEC);
	if (w->stream_epfd < 0)
		return -errno;
	w->stream_pool = w->stream_bufs = buf_pool(w, READ_BUFS, buf_back);
	return w->stream_pool ? 0 : -ENOMEM;
}

void stream_worker_close(struct worker *w)
{
	if (w->stream_epfd >= 0)
		close(w->stream_epfd);
	w->stream_epfd = -1;
	buf_pool_free(w->stream_pool, READ_BUFS);
	w->stream_pool = w->stream_bufs = NULL;
}
