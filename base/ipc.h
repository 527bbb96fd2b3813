/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BASE_IPC_H
#define BASE_IPC_H

/*
 * Theory: typed messages between the processes of one daemon, over a SOCK_SEQPACKET socketpair: one
 * message is one packet, so nothing has to be framed and a torn message cannot happen. The header is in
 * host byte order (same machine, same build). The receiver of each message checks the length
 * against its type itself; ipc only bounds it. A closed peer is reported once and ends the process
 * or restarts the other, as the owner decides.
 *
 *	+--------+--------+--------+------------------+
 *	| type32 |  id32  |  len32 | payload (<= 68K) |   + up to IPC_FDS_MAX descriptors
 *	+--------+--------+--------+------------------+
 *
 * Sending never blocks: what the socket does not take is kept, up to IPC_QUEUE_MAX bytes; past
 * that ipc_send() says -EAGAIN and the caller slows its source down (ipc_queued()).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loop.h"

#define IPC_PAYLOAD_MAX (68 * 1024)
#define IPC_FDS_MAX	8
#define IPC_QUEUE_MAX	(8u << 20)

struct ipc_msg {
	uint32_t type;	     /* of the daemon's own enum */
	uint32_t id;	     /* of the thing that the message is about, or of the request */
	const uint8_t *data; /* valid during the callback */
	size_t len;
	int fd[IPC_FDS_MAX]; /* the callee owns those it takes (sets to -1); the rest are closed */
	int fd_count;
};

struct ipc;

struct ipc_ops {
	void (*message)(struct ipc *ipc, struct ipc_msg *m, void *arg);
	void (*closed)(struct ipc *ipc, void *arg); /* peer gone or protocol fault; once */
	/* Queue fell to zero after -EAGAIN or ipc_tell_drained(); may be NULL. */
	void (*drained)(struct ipc *ipc, void *arg);
};

/** ipc_pair() - A connected pair, both close-on-exec; 0 or -errno. */
int ipc_pair(int fds[2]);
/** ipc_new() - Takes @fd (also on failure). NULL and errno on failure. */
struct ipc *ipc_new(struct loop *l, int fd, const struct ipc_ops *ops, void *arg);
void ipc_free(struct ipc *ipc);
/** ipc_send() - Copies @data; descriptors are duplicated by the kernel, the caller keeps its own. */
int ipc_send(struct ipc *ipc, uint32_t type, uint32_t id, const void *data, size_t len);
int ipc_send_fds(struct ipc *ipc, uint32_t type, uint32_t id, const void *data, size_t len,
		 const int *fds, int fd_count);
/** ipc_queued() - Bytes that wait to be sent. */
size_t ipc_queued(const struct ipc *ipc);
/** ipc_tell_drained() - Call drained() when all that waits now was sent; only while something waits. */
void ipc_tell_drained(struct ipc *ipc);
/** ipc_flush() - Block until the queue is written or the peer is gone; for orderly exits only. */
int ipc_flush(struct ipc *ipc);

#endif
