/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ipc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define READS_PER_TURN 64

struct header {
	uint32_t type, id, len;
};

struct pending {
	struct pending *next;
	int fd[IPC_FDS_MAX];
	int fd_count;
	size_t len; /* header included */
	uint8_t bytes[];
};

struct ipc {
	struct loop *loop;
	struct loop_fd lf;
	const struct ipc_ops *ops;
	void *arg;
	struct pending *head, **tail;
	size_t queued;
	bool starved, dead;
	bool *freed; /* points to a local of the dispatcher, so that a callback may free us */
	uint8_t in[sizeof(struct header) + IPC_PAYLOAD_MAX];
};

int ipc_pair(int fds[2])
{
	int size = 1 << 20;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
		return -errno;
	for (int i = 0; i < 2; i++)
		setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	return 0;
}

static void close_fds(int *fds, int count)
{
	for (int i = 0; i < count; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
}

static void drop_queue(struct ipc *ipc)
{
	while (ipc->head) {
		struct pending *p = ipc->head;

		ipc->head = p->next;
		close_fds(p->fd, p->fd_count);
		free(p);
	}
	ipc->tail = &ipc->head;
	ipc->queued = 0;
}

static int send_now(struct ipc *ipc, const void *buf, size_t len, const int *fds, int fd_count)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int) * IPC_FDS_MAX)];
	} ctl;
	struct iovec iov = { .iov_base = (void *)(uintptr_t)buf, .iov_len = len };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	if (fd_count) {
		struct cmsghdr *c;

		memset(&ctl, 0, sizeof(ctl));
		mh.msg_control = ctl.buf;
		mh.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)fd_count);
		c = CMSG_FIRSTHDR(&mh);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)fd_count);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * (size_t)fd_count);
	}
	do
		n = sendmsg(ipc->lf.fd, &mh, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

static void fail(struct ipc *ipc)
{
	if (ipc->dead)
		return;
	ipc->dead = true;
	loop_del(ipc->loop, &ipc->lf);
	drop_queue(ipc);
	ipc->ops->closed(ipc, ipc->arg);
}

static int write_queue(struct ipc *ipc)
{
	while (ipc->head) {
		struct pending *p = ipc->head;
		int rc = send_now(ipc, p->bytes, p->len, p->fd, p->fd_count);

		if (rc)
			return rc;
		ipc->head = p->next;
		if (!ipc->head)
			ipc->tail = &ipc->head;
		ipc->queued -= p->len;
		close_fds(p->fd, p->fd_count);
		free(p);
	}
	return 0;
}

/* Returns false when the ipc is gone or must not be read further in this turn. */
static bool read_one(struct ipc *ipc, bool *freed)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int) * IPC_FDS_MAX)];
	} ctl;
	struct iovec iov = { .iov_base = ipc->in, .iov_len = sizeof(ipc->in) };
	struct msghdr mh = { .msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = ctl.buf,
			     .msg_controllen = sizeof(ctl.buf) };
	struct ipc_msg m = { 0 };
	struct header h;
	ssize_t n = recvmsg(ipc->lf.fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		fail(ipc);
		return false;
	}
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&mh); c; c = CMSG_NXTHDR(&mh, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		m.fd_count = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(m.fd, CMSG_DATA(c), sizeof(int) * (size_t)m.fd_count);
	}
	memcpy(&h, ipc->in, (size_t)n < sizeof(h) ? (size_t)n : sizeof(h));
	if ((size_t)n < sizeof(h) || h.len != (size_t)n - sizeof(h) ||
	    (mh.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
		close_fds(m.fd, m.fd_count);
		fail(ipc);
		return false;
	}
	m.type = h.type;
	m.id = h.id;
	m.data = ipc->in + sizeof(h);
	m.len = h.len;
	ipc->ops->message(ipc, &m, ipc->arg);
	close_fds(m.fd, m.fd_count);
	return !*freed && !ipc->dead;
}

static void on_ready(struct loop_fd *lf, uint32_t events)
{
	struct ipc *ipc = lf->arg;
	bool freed = false;
	int rc;

	ipc->freed = &freed;
	if (events & EPOLLOUT) {
		rc = write_queue(ipc);
		if (rc && rc != -EAGAIN) {
			fail(ipc);
			goto out;
		}
		if (!rc) {
			loop_mod(ipc->loop, &ipc->lf, EPOLLIN);
			if (ipc->starved) {
				ipc->starved = false;
				if (ipc->ops->drained)
					ipc->ops->drained(ipc, ipc->arg);
			}
			if (freed || ipc->dead)
				goto out;
		}
	}
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
		for (int i = 0; i < READS_PER_TURN && read_one(ipc, &freed); i++)
			;
	}
out:
	if (!freed)
		ipc->freed = NULL;
}

struct ipc *ipc_new(struct loop *l, int fd, const struct ipc_ops *ops, void *arg)
{
	struct ipc *ipc = malloc(sizeof(*ipc));
	int rc;

	if (!ipc) {
		close(fd);
		errno = ENOMEM;
		return NULL;
	}
	/* Pages of @in that no message is long enough for need not be there. */
	memset(ipc, 0, offsetof(struct ipc, in));
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	ipc->loop = l;
	ipc->ops = ops;
	ipc->arg = arg;
	ipc->tail = &ipc->head;
	ipc->lf = (struct loop_fd){ .fd = fd, .ready = on_ready, .arg = ipc };
	rc = loop_add(l, &ipc->lf, EPOLLIN);
	if (rc) {
		close(fd);
		free(ipc);
		errno = -rc;
		return NULL;
	}
	return ipc;
}

void ipc_free(struct ipc *ipc)
{
	if (!ipc)
		return;
	if (ipc->freed)
		*ipc->freed = true;
	loop_del(ipc->loop, &ipc->lf);
	drop_queue(ipc);
	close(ipc->lf.fd);
	free(ipc);
}

static int enqueue(struct ipc *ipc, const struct header *h, const void *data, const int *fds,
		   int fd_count)
{
	struct pending *p;

	if (ipc->queued > IPC_QUEUE_MAX) {
		ipc->starved = true;
		return -EAGAIN;
	}
	p = malloc(sizeof(*p) + sizeof(*h) + h->len);
	if (!p)
		return -ENOMEM;
	p->next = NULL;
	p->fd_count = 0;
	p->len = sizeof(*h) + h->len;
	memcpy(p->bytes, h, sizeof(*h));
	if (h->len)
		memcpy(p->bytes + sizeof(*h), data, h->len);
	for (int i = 0; i < fd_count; i++) {
		p->fd[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
		if (p->fd[i] < 0) {
			int rc = -errno;

			close_fds(p->fd, p->fd_count);
			free(p);
			return rc;
		}
		p->fd_count++;
	}
	*ipc->tail = p;
	ipc->tail = &p->next;
	ipc->queued += p->len;
	loop_mod(ipc->loop, &ipc->lf, EPOLLIN | EPOLLOUT);
	return 0;
}

int ipc_send_fds(struct ipc *ipc, uint32_t type, uint32_t id, const void *data, size_t len,
		 const int *fds, int fd_count)
{
	uint8_t buf[sizeof(struct header) + 4096], *heap = NULL, *out = buf;
	struct header h = { .type = type, .id = id, .len = (uint32_t)len };
	int rc;

	if (len > IPC_PAYLOAD_MAX || fd_count > IPC_FDS_MAX)
		return -EMSGSIZE;
	if (ipc->dead)
		return -EPIPE;
	if (ipc->head)
		return enqueue(ipc, &h, data, fds, fd_count);
	if (sizeof(h) + len > sizeof(buf)) {
		heap = malloc(sizeof(h) + len);
		if (!heap)
			return -ENOMEM;
		out = heap;
	}
	memcpy(out, &h, sizeof(h));
	if (len)
		memcpy(out + sizeof(h), data, len);
	rc = send_now(ipc, out, sizeof(h) + len, fds, fd_count);
	free(heap);
	if (rc == -EAGAIN)
		return enqueue(ipc, &h, data, fds, fd_count);
	/* A broken pipe is told by the read side, which sees what the peer sent before it went. */
	return rc;
}

int ipc_send(struct ipc *ipc, uint32_t type, uint32_t id, const void *data, size_t len)
{
	return ipc_send_fds(ipc, type, id, data, len, NULL, 0);
}

size_t ipc_queued(const struct ipc *ipc)
{
	return ipc->queued;
}

void ipc_tell_drained(struct ipc *ipc)
{
	ipc->starved = ipc->head != NULL;
}

int ipc_flush(struct ipc *ipc)
{
	int rc;

	while (!ipc->dead && (rc = write_queue(ipc)) == -EAGAIN) {
		struct pollfd pfd = { .fd = ipc->lf.fd, .events = POLLOUT };

		if (poll(&pfd, 1, 5000) <= 0)
			return -ETIMEDOUT;
	}
	return ipc->dead ? -EPIPE : 0;
}
