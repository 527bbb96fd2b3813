/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DATAPLANE_STREAM_H
#define DATAPLANE_STREAM_H

/*
 * Theory: TCP encapsulation (RFC 9329) beside the socket groups. A stream is one connected socket; its
 * number is the sock of a path, DP_STREAM_FIRST and above, and is not used again. It has two lives:
 *
 *	young	a stranger, or a call of ours that nobody has answered: read by the control thread (on
 *		dp->stream_epfd), one IKE message a turn; small buffers, ESP in it is dropped
 *	trusted	dp_stream_trust(): its peer has authenticated on it. The worker that sends for the peer
 *		reads it (on worker->stream_epfd), whole bursts into one buf, ESP opened in place
 *
 * The workers' backends watch stream_epfd as one more descriptor. A ring's descriptors are registered
 * before it is locked, so a socket that comes later can be none of them; an epoll set in their place can
 * be filled at any time, and reading and writing by plain calls is as restricted as seccomp makes
 * them. TCP costs a copy and its acknowledgements anyway: what a ring would save is the least of it.
 *
 * Whoever has something to send writes it at once: a worker its batch, one write for a whole unit, the
 * control thread IKE messages. What the socket does not take waits in ->out, and what does not fit
 * there whole is dropped, as a full ring drops. So nobody waits, and memory is bounded.
 * ->lock guards the writing side and all of TLS; between one worker and the control thread it is free
 * nearly always, and taken once for each unit. The reading side belongs to one thread at a time.
 *
 * A stream that breaks is dead: nothing is sent any more, DP_EV_STREAM_GONE is told, and the owner
 * closes it. Endpoint entries that name it hold it until the workers have forgotten them.
 */

#include <pthread.h>

#include "cloak.h"
#include "worker.h"

enum stream_state {
	STREAM_CONNECTING, /* the kernel is */
	STREAM_CLOAKING,   /* TLS handshake */
	STREAM_PREFIX,	   /* accepted: its first bytes have to say IKETCP */
	STREAM_OPEN,
	STREAM_DEAD,
};

struct stream {
	struct rcu_node rcu;
	struct sock sock; /* what a receive comes from: its group is the stream's number */
	struct dp *dp;
	int fd;
	int refs; /* control thread: the table, and each endpoint entry */
	bool accepted;
	struct endpoint local, remote;
	struct sockaddr_storage from; /* remote */
	uint64_t since_ms;
	_Atomic int state; /* enum stream_state */
	_Atomic int error; /* why it is dead */
	_Atomic uint64_t stuck_ms; /* since when bytes wait in ->out; 0: none do */
	struct worker *reader;	   /* NULL: young */

	pthread_mutex_t lock;
	int epfd; /* that watches it; -1: none any more */
	bool want_out;
	struct cloak *cloak;
	uint8_t *out;
	size_t out_cap, out_at, out_len;

	/* the reader's */
	bool filled; /* young: the last read left no room */
	bool fresh;  /* just trusted: what is in ->part may be whole */
	/* the beginning of a frame */
	uint8_t *part;
	size_t part_cap, part_len;
};

/** stream_find() - By number; control thread. NULL: no such, or closed. */
struct stream *stream_find(const struct dp *dp, uint32_t number);
void stream_hold(struct stream *s);
void stream_drop(struct stream *s);
/** stream_send() - @b's frames; the batch stays the caller's. Any thread that is its worker's. */
void stream_send(struct worker *w, struct stream *s, const struct txbatch *b);
/** stream_send_ike() - By the control thread; 0, -EAGAIN (full), -ENOTCONN (not open, or dead). */
int stream_send_ike(struct stream *s, const void *msg, size_t len);
/** stream_on_ready() - By the backend when the worker's stream_epfd is readable. */
void stream_on_ready(struct worker *w);
/** stream_can_read() - Has the worker a buffer for stream_on_ready()? */
static inline bool stream_can_read(const struct worker *w)
{
	return w->stream_bufs != NULL;
}
/** stream_frames() - Handle the whole frames of @len bytes at @p (in @b); bytes used, or -EBADMSG. */
ssize_t stream_frames(struct worker *w, struct rx *rx, uint8_t *p, size_t len, struct buf *b);
/** stream_worker_open() - Epoll set and buffers of a worker; 0 or -errno. */
int stream_worker_open(struct worker *w);
void stream_worker_close(struct worker *w);
/** streams_open(), streams_close() - The table of a dp; close after the workers have stopped. */
int streams_open(struct dp *dp);
void streams_close(struct dp *dp);

#endif
