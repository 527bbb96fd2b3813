/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: one restricted ring (base/ring.h) per worker. Reads are multishot into rings of provided
 * buffers and fall back to single shots where the kernel refuses; a multishot that ends
 * because its buffers ran out is armed again when one comes back, thousands of times in a bulk
 * run. Sends carry MSG_DONTWAIT, so a full socket shows as -EAGAIN and is waited for by a poll,
 * never by a request that another one overtakes. What is queued is submitted after each large unit, so
 * that the other side of the tunnel can work on it while we go on.
 *
 *	user data: tag << 32 | number of the socket, batch or write
 *	fixed files: 0 wake_fd, 1 tun_fd, 2 stream_epfd, 3.. sockets, then all queues of the TUN
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ring.h"
#include "stream.h"

#define ENTRIES	      256
#define BUFS	      8 /* of 65 KiB each that the kernel has in bulk, per direction: few, so that they stay in the cache */
#define BUFS_MAX      TUN_BUFS /* those included that wait to be sent; of small packets it has all */
#define BULK_US	      1000     /* so long after a large read the next is believed to be one */
#define CQES_PER_TURN 128
#define LARGE	      16384 /* bytes of a unit after which we submit */
#define TUNW_RESERVE  (MERGE_FLOWS + 2)
#define CLOSE_WAIT_MS 200
#define NAME_ROOM     32 /* a sockaddr_in6, and what follows it stays aligned */

enum { GROUP_TUN = 0, GROUP_RX = 1 };
enum { FILE_WAKE, FILE_TUN, FILE_STREAM, FILE_SOCK };
enum { TAG_WAKE = 1, TAG_TUN, TAG_RECV, TAG_SEND, TAG_WRITE, TAG_POLL, TAG_CANCEL, TAG_STREAM };

static const uint8_t allowed[] = {
	IORING_OP_READ,	  RING_OP_READ_MULTISHOT, IORING_OP_RECVMSG,	  IORING_OP_SENDMSG,
	IORING_OP_WRITEV, IORING_OP_POLL_ADD,	  IORING_OP_ASYNC_CANCEL,
};

struct recv_state {
	bool armed;
	bool multi; /* as it was armed: the worker's feature may be off by the time it completes */
	struct msghdr msg; /* multishot: the template; single shot: what it fills */
	struct sockaddr_storage name;
	struct iovec iov;
	_Alignas(8) uint8_t control[192];
};

struct uring {
	struct ring r;
	struct ring_bufs bufs[2];
	struct buf buf[2][BUFS_MAX];
	struct buf *spare; /* of TUN reads, the one used last first */
	unsigned at_kernel[2]; /* buffers that it may take */
	uint64_t large_us;     /* when the last large read from the TUN came; 0: none */
	bool tun_armed, wake_armed, stream_armed, poll_armed[SOCKS_MAX];
	uint64_t wake_value;
	struct recv_state recv[SOCKS_MAX];
};

#define DATA(tag, n) ((uint64_t)(tag) << 32 | (uint32_t)(n))

static void give(struct uring *u, int group, struct buf *b)
{
	ring_buf_return(&u->bufs[group], b->id);
	u->at_kernel[group]++;
}

static void buf_back(struct worker *w, struct buf *b)
{
	struct uring *u = w->io_state;
	int group = b >= u->buf[GROUP_RX] ? GROUP_RX : GROUP_TUN;

	if (group == GROUP_RX) {
		give(u, group, b);
		return;
	}
	b->next = u->spare;
	u->spare = b;
}

static struct io_uring_sqe *sqe_for(struct worker *w, uint64_t data)
{
	struct uring *u = w->io_state;
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->r.u);

	if (!sqe) {
		io_uring_submit(&u->r.u);
		sqe = io_uring_get_sqe(&u->r.u);
		if (!sqe)
			return NULL; /* the kernel takes none: the caller does without */
	}
	memset(sqe, 0, sizeof(*sqe));
	sqe->user_data = data;
	return sqe;
}

static void arm_tun(struct worker *w)
{
	struct uring *u = w->io_state;
	unsigned most = u->large_us && w->now_us - u->large_us < BULK_US ? BUFS : BUFS_MAX;
	struct io_uring_sqe *sqe;

	/* Room is made first: where all buffers hold what waits there is no spare one before. */
	while (u->at_kernel[GROUP_TUN] < most && out_room(w) && u->spare) {
		struct buf *b = u->spare;

		u->spare = b->next;
		give(u, GROUP_TUN, b);
	}
	if (u->tun_armed || !u->at_kernel[GROUP_TUN] || w->tun_dead)
		return;
	sqe = sqe_for(w, DATA(TAG_TUN, 0));
	if (!sqe)
		return;
	sqe->opcode = w->features & DP_F_READ_MULTI ? RING_OP_READ_MULTISHOT : IORING_OP_READ;
	sqe->fd = FILE_TUN;
	sqe->len = w->features & DP_F_READ_MULTI ? 0 : BUF_BYTES - SPLIT_SPARE;
	sqe->off = (uint64_t)-1;
	sqe->buf_group = GROUP_TUN;
	sqe->flags = IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT;
	u->tun_armed = true;
}

static void arm_recv(struct worker *w, unsigned i)
{
	struct uring *u = w->io_state;
	struct recv_state *r = &u->recv[i];
	struct io_uring_sqe *sqe;

	if (r->armed || !w->socks[i].mine || !u->at_kernel[GROUP_RX])
		return;
	sqe = sqe_for(w, DATA(TAG_RECV, i));
	if (!sqe)
		return;
	memset(&r->msg, 0, sizeof(r->msg));
	sqe->opcode = IORING_OP_RECVMSG;
	sqe->fd = FILE_SOCK + (int)i;
	sqe->addr = (uintptr_t)&r->msg;
	sqe->len = 1;
	sqe->buf_group = GROUP_RX;
	sqe->flags = IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT;
	r->multi = w->features & DP_F_RECV_MULTI;
	if (r->multi) {
		sqe->ioprio = IORING_RECV_MULTISHOT;
		r->msg.msg_namelen = NAME_ROOM;
		r->msg.msg_controllen = sizeof(r->control);
	} else {
		r->iov.iov_base = NULL;
		r->iov.iov_len = BUF_BYTES;
		r->msg.msg_iov = &r->iov;
		r->msg.msg_iovlen = 1;
		r->msg.msg_name = &r->name;
		r->msg.msg_namelen = sizeof(r->name);
		r->msg.msg_control = r->control;
		r->msg.msg_controllen = sizeof(r->control);
	}
	r->armed = true;
}

static void arm_wake(struct worker *w)
{
	struct uring *u = w->io_state;
	struct io_uring_sqe *sqe;

	if (u->wake_armed)
		return;
	sqe = sqe_for(w, DATA(TAG_WAKE, 0));
	if (!sqe)
		return;
	sqe->opcode = IORING_OP_READ;
	sqe->fd = FILE_WAKE;
	sqe->addr = (uintptr_t)&u->wake_value;
	sqe->len = sizeof(u->wake_value);
	sqe->off = (uint64_t)-1;
	sqe->flags = IOSQE_FIXED_FILE;
	u->wake_armed = true;
}

/* Of the streams' epoll set it is only told that there is something: see stream.h. */
static void arm_streams(struct worker *w)
{
	struct uring *u = w->io_state;
	struct io_uring_sqe *sqe;

	if (u->stream_armed || !stream_can_read(w))
		return;
	sqe = sqe_for(w, DATA(TAG_STREAM, 0));
	if (!sqe)
		return;
	sqe->opcode = IORING_OP_POLL_ADD;
	sqe->fd = FILE_STREAM;
	sqe->poll32_events = POLLIN;
	sqe->flags = IOSQE_FIXED_FILE;
	u->stream_armed = true;
}

static void arm_poll(struct worker *w, unsigned i)
{
	struct uring *u = w->io_state;
	struct io_uring_sqe *sqe;

	if (u->poll_armed[i] || !w->socks[i].blocked)
		return;
	sqe = sqe_for(w, DATA(TAG_POLL, i));
	if (!sqe)
		return; /* at the end of the turn once more: nothing else would let the socket go on */
	sqe->opcode = IORING_OP_POLL_ADD;
	sqe->fd = FILE_SOCK + (int)i;
	sqe->poll32_events = POLLOUT;
	sqe->flags = IOSQE_FIXED_FILE;
	u->poll_armed[i] = true;
}

static void arm_all(struct worker *w)
{
	arm_streams(w);
	arm_wake(w);
	arm_tun(w);
	for (unsigned i = 0; i < w->sock_count; i++) {
		arm_recv(w, i);
		arm_poll(w, i);
	}
}

static int ur_open(struct worker *w)
{
	struct uring *u = calloc(1, sizeof(*u));
	int fds[FILE_SOCK + SOCKS_MAX + DP_WORKERS_MAX], rc;

	if (!u)
		return -ENOMEM;
	w->io_state = u;
	rc = ring_open(&u->r, ENTRIES, w->without & DP_F_DEFER);
	if (rc)
		return rc;
	fds[FILE_WAKE] = w->wake_fd;
	fds[FILE_TUN] = w->tun_fd;
	fds[FILE_STREAM] = w->stream_epfd;
	for (unsigned i = 0; i < w->sock_count; i++)
		fds[FILE_SOCK + i] = w->socks[i].fd;
	for (unsigned i = 0; i < w->dp->workers; i++)
		fds[FILE_SOCK + w->sock_count + i] = w->dp->worker[i]->tun_fd;
	rc = ring_files(&u->r, fds, FILE_SOCK + w->sock_count + w->dp->workers);
	if (rc)
		return rc;
	for (int g = 0; g < 2; g++) {
		unsigned count = g == GROUP_TUN ? BUFS_MAX : BUFS;

		rc = ring_bufs_new(&u->r, &u->bufs[g], (uint16_t)g, count, BUFS, BUF_BYTES);
		if (rc)
			return rc;
		u->at_kernel[g] = BUFS;
		for (unsigned i = count; i-- > 0;) {
			u->buf[g][i].mem = ring_buf(&u->bufs[g], i);
			u->buf[g][i].id = (uint16_t)i;
			u->buf[g][i].done = buf_back;
			u->buf[g][i].w = w;
			if (i >= BUFS) {
				u->buf[g][i].next = u->spare;
				u->spare = &u->buf[g][i];
			}
		}
	}
	if (!(w->without & DP_F_READ_MULTI) && ring_has_op(&u->r, RING_OP_READ_MULTISHOT))
		w->features |= DP_F_READ_MULTI;
	/* No probe tells of multishot receives (6.0); a refusal at run time turns them off. */
	if (!(w->without & DP_F_RECV_MULTI))
		w->features |= DP_F_RECV_MULTI;
	if (u->r.deferred)
		w->features |= DP_F_DEFER;
	rc = ring_restrict(&u->r, allowed, sizeof(allowed));
	if (rc)
		return rc;
	w->features |= DP_F_RING_LOCKED;
	return 0;
}

static int ur_start(struct worker *w)
{
	struct uring *u = w->io_state;
	int rc = ring_enable(&u->r);

	if (rc)
		return rc;
	arm_all(w);
	rc = io_uring_submit(&u->r.u);
	return rc < 0 ? rc : 0;
}

static void submit_large(struct worker *w, size_t bytes)
{
	struct uring *u = w->io_state;

	if (bytes >= LARGE && io_uring_sq_ready(&u->r.u))
		io_uring_submit(&u->r.u);
}

static struct buf *take_buf(struct uring *u, int group, const struct io_uring_cqe *cqe)
{
	struct buf *b;

	if (!(cqe->flags & IORING_CQE_F_BUFFER))
		return NULL;
	b = &u->buf[group][(cqe->flags >> IORING_CQE_BUFFER_SHIFT) % BUFS_MAX];
	u->at_kernel[group]--;
	b->refs = 1;
	return b;
}

static void on_tun(struct worker *w, const struct io_uring_cqe *cqe)
{
	struct uring *u = w->io_state;
	struct buf *b = take_buf(u, GROUP_TUN, cqe);

	if (!(cqe->flags & IORING_CQE_F_MORE)) {
		u->tun_armed = false;
		worker_count(w, DP_REARM);
	}
	if (cqe->res <= 0) {
		if (cqe->res == -EINVAL && (w->features & DP_F_READ_MULTI))
			w->features &= ~(unsigned)DP_F_READ_MULTI;
		else if (cqe->res < 0)
			tun_on_error(w, cqe->res);
		if (b)
			buf_put(b);
		return;
	}
	if (!b)
		return;
	if (cqe->res >= LARGE)
		u->large_us = w->now_us;
	tun_on_read(w, b, (size_t)cqe->res);
}

static bool multi_view(struct recv_state *r, struct buf *b, int res, struct rx *rx,
		       struct msghdr *msg)
{
	struct io_uring_recvmsg_out *o = io_uring_recvmsg_validate(b->mem, res, &r->msg);

	if (!o)
		return false;
	rx->data = io_uring_recvmsg_payload(o, &r->msg);
	rx->len = io_uring_recvmsg_payload_length(o, res, &r->msg);
	rx->truncated = o->flags & MSG_TRUNC;
	memcpy(&r->name, io_uring_recvmsg_name(o), sizeof(struct sockaddr_in6));
	msg->msg_control = (uint8_t *)io_uring_recvmsg_name(o) + r->msg.msg_namelen;
	msg->msg_controllen = o->controllen;
	return true;
}

static void on_recv(struct worker *w, unsigned i, const struct io_uring_cqe *cqe)
{
	struct uring *u = w->io_state;
	struct recv_state *r = &u->recv[i];
	struct buf *b = take_buf(u, GROUP_RX, cqe);
	struct rx rx = { .sock = &w->socks[i], .from = &r->name };
	struct msghdr msg = { 0 };

	if (!(cqe->flags & IORING_CQE_F_MORE)) {
		r->armed = false;
		worker_count(w, DP_REARM);
	}
	if (cqe->res < 0 || !b) {
		if (b)
			buf_put(b);
		if (cqe->res == -EINVAL && r->multi)
			w->features &= ~(unsigned)DP_F_RECV_MULTI;
		else if (cqe->res < 0 && cqe->res != -ENOBUFS && cqe->res != -EAGAIN &&
			 cqe->res != -ECANCELED)
			udp_on_error(w, &w->socks[i], cqe->res);
		return;
	}
	if (r->multi) {
		if (!multi_view(r, b, cqe->res, &rx, &msg)) {
			worker_count(w, DP_DROP_TRUNCATED);
			buf_put(b);
			return;
		}
	} else {
		rx.data = b->mem;
		rx.len = (size_t)cqe->res;
		rx.truncated = r->msg.msg_flags & MSG_TRUNC;
		msg.msg_control = r->control;
		msg.msg_controllen = r->msg.msg_controllen;
	}
	udp_parse_control(&rx, &msg);
	udp_on_recv(w, &rx, b);
	if (rx.seg)
		merge_flush(&w->merge);
	submit_large(w, rx.len);
}

static void handle(struct worker *w, const struct io_uring_cqe *cqe)
{
	struct uring *u = w->io_state;
	unsigned n = (uint32_t)cqe->user_data;

	switch (cqe->user_data >> 32) {
	case TAG_WAKE:
		u->wake_armed = false;
		worker_on_wake(w);
		break;
	case TAG_TUN:
		on_tun(w, cqe);
		break;
	case TAG_RECV:
		on_recv(w, n, cqe);
		break;
	case TAG_SEND:
		udp_on_sent(w, &w->tx_pool[n], cqe->res < 0 ? cqe->res : 0);
		break;
	case TAG_WRITE:
		tun_on_written(w, &w->tunw_pool[n], cqe->res < 0 ? cqe->res : 0);
		break;
	case TAG_POLL:
		u->poll_armed[n] = false;
		udp_on_writable(w, &w->socks[n]);
		break;
	case TAG_STREAM:
		u->stream_armed = false;
		stream_on_ready(w);
		break;
	default:
		break;
	}
}

static int ur_turn(struct worker *w)
{
	struct uring *u = w->io_state;
	uint64_t us = out_wait_us(w);
	struct __kernel_timespec ts = { .tv_sec = (long long)(us / 1000000), .tv_nsec = (long long)(us % 1000000) * 1000 };
	uint64_t since = bench_call(w);
	struct io_uring_cqe *cqe;
	int rc;

	rcu_offline(&w->rcu);
	if (us == UINT64_MAX)
		rc = io_uring_submit_and_wait(&u->r.u, 1);
	else if (!us) /* it is only looked what else has come */
		rc = io_uring_submit_and_get_events(&u->r.u);
	else
		rc = io_uring_submit_and_wait_timeout(&u->r.u, &cqe, 1, &ts, NULL);
	bench_read(w, since); /* what was received was copied within the call */
	worker_begin_turn(w);
	if (rc < 0 && rc != -EINTR && rc != -EBUSY && rc != -EAGAIN && rc != -ETIME)
		return rc;
	for (int i = 0; i < CQES_PER_TURN && !io_uring_peek_cqe(&u->r.u, &cqe); i++) {
		struct io_uring_cqe copy = *cqe;

		io_uring_cqe_seen(&u->r.u, cqe);
		handle(w, &copy);
	}
	worker_end_turn(w);
	arm_all(w);
	return 0;
}

static void ur_send(struct worker *w, struct txbatch *b)
{
	struct uring *u = w->io_state;
	struct io_uring_sqe *sqe = NULL;

	/*
	 * With the last batch in hand its completion could not be waited for; on a slow line it is to be known whether
	 * it went before the next is sealed. Those are sent directly.
	 */
	if (w->tx_free && !b->sock->line_bytes)
		sqe = sqe_for(w, DATA(TAG_SEND, b - w->tx_pool));
	if (!sqe) {
		io_uring_submit(&u->r.u); /* those before it go first */
		udp_on_sent(w, b, sendmsg(b->sock->fd, &b->msg, MSG_DONTWAIT) < 0 ? -errno : 0);
		return;
	}
	sqe->opcode = IORING_OP_SENDMSG;
	sqe->fd = FILE_SOCK + b->sock->index;
	sqe->addr = (uintptr_t)&b->msg;
	sqe->len = 1;
	sqe->msg_flags = MSG_DONTWAIT;
	sqe->flags = IOSQE_FIXED_FILE;
	if (bench_on(&w->dp->bench))
		io_uring_submit(&u->r.u); /* it is timed what sending costs */
}

static void ur_write(struct worker *w, struct tunw *t)
{
	struct uring *u = w->io_state;
	struct io_uring_sqe *sqe = NULL;
	struct tunw *f = w->tunw_free;

	for (int i = 0; i < TUNW_RESERVE && f; i++)
		f = f->next;
	if (f)
		sqe = sqe_for(w, DATA(TAG_WRITE, t - w->tunw_pool));
	if (!sqe) {
		io_uring_submit(&u->r.u);
		tun_on_written(w, t,
			       writev(w->dp->worker[t->queue]->tun_fd, t->iov, (int)t->iovs) < 0 ? -errno : 0);
		return;
	}
	sqe->opcode = IORING_OP_WRITEV;
	sqe->fd = (int)(FILE_SOCK + w->sock_count + t->queue);
	sqe->addr = (uintptr_t)t->iov;
	sqe->len = t->iovs;
	sqe->off = (uint64_t)-1;
	sqe->flags = IOSQE_FIXED_FILE;
}

static void ur_blocked(struct worker *w, struct sock *s)
{
	arm_poll(w, s->index);
}

/*
 * The kernel's buffers are among them: it writes into one while it makes its completion, which with deferred task work
 * is within our calls alone, and with multishot reads by nobody else. Where it could be at any time, nothing rests.
 */
static void ur_rest(struct worker *w)
{
	const unsigned alone = DP_F_DEFER | DP_F_READ_MULTI | DP_F_RECV_MULTI;
	struct uring *u = w->io_state;
	unsigned spare = 0;

	if ((w->features & alone) != alone || io_uring_cq_ready(&u->r.u))
		return;
	for (const struct buf *b = u->spare; b; b = b->next)
		spare++;
	if (spare + u->at_kernel[GROUP_TUN] == BUFS_MAX)
		ring_bufs_rest(&u->bufs[GROUP_TUN]);
	if (u->at_kernel[GROUP_RX] == BUFS)
		ring_bufs_rest(&u->bufs[GROUP_RX]);
}

/* Requests are cancelled and seen off here: else the TUN and the port are let go of late. */
static void cancel_all(struct worker *w)
{
	struct uring *u = w->io_state;
	struct __kernel_timespec ts = { .tv_nsec = CLOSE_WAIT_MS * 1000000L };
	struct io_uring_sqe *sqe = sqe_for(w, DATA(TAG_CANCEL, 0));
	struct io_uring_cqe *cqe;
	bool done = false;

	if (!sqe)
		return;
	sqe->opcode = IORING_OP_ASYNC_CANCEL;
	sqe->cancel_flags = IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL;
	sqe->flags = IOSQE_FIXED_FILE;
	io_uring_submit(&u->r.u);
	while (!done && !io_uring_wait_cqe_timeout(&u->r.u, &cqe, &ts)) {
		done = cqe->user_data >> 32 == TAG_CANCEL;
		io_uring_cqe_seen(&u->r.u, cqe);
	}
}

static void ur_close(struct worker *w)
{
	struct uring *u = w->io_state;

	if (!u)
		return;
	if (u->r.open && atomic_load(&w->started) == 1)
		cancel_all(w);
	ring_close(&u->r);
	ring_bufs_free(&u->bufs[0]);
	ring_bufs_free(&u->bufs[1]);
	free(u);
	w->io_state = NULL;
}

const struct io_ops io_uring_ops = {
	.name = "io_uring",
	.open = ur_open,
	.start = ur_start,
	.turn = ur_turn,
	.send = ur_send,
	.write = ur_write,
	.blocked = ur_blocked,
	.rest = ur_rest,
	.close = ur_close,
};
