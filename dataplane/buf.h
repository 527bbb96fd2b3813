/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DATAPLANE_BUF_H
#define DATAPLANE_BUF_H

/*
 * Theory: all packet memory is made at start and has one owner at a time.
 *
 *	struct buf	what was read: from a TUN or a socket. Counted references, because several
 *			merged writes may lie in one received datagram; the last buf_put() gives
 *			it back to its backend (buf->done)
 *	struct txbatch	what is sent: ESP packets of one size for one tuple, back to back
 *	struct tunw	what is written: an iovec list into received bufs (offload.h)
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

/* The largest datagram or super-packet, what io_uring puts before it, and spare behind. */
#define BUF_BYTES 66560

struct worker;

struct buf {
	uint8_t *mem; /* BUF_BYTES */
	uint16_t id;
	int refs;
	void (*done)(struct worker *w, struct buf *b);
	struct worker *w;
	struct buf *next; /* in a free or waiting list */
	size_t len;	  /* while waiting: bytes read */
};

static inline void buf_get(struct buf *b)
{
	b->refs++;
}

static inline void buf_put(struct buf *b)
{
	if (!--b->refs)
		b->done(b->w, b);
}

#define TX_BYTES_MAX 65507 /* of UDP payload in one send, IPv4's limit */
#define TX_SEGS_MAX  64	   /* UDP_MAX_SEGMENTS of the oldest kernels */

struct sock;
struct ep;
struct stream;

struct txbatch {
	uint8_t *mem;
	size_t bytes;
	uint16_t seg; /* size of each packet but the last, which may be shorter */
	unsigned pkts;
	uint8_t ecn;
	bool cut;  /* may be fragmented on its way: sent without DF */
	bool kept; /* from the turn before */
	const struct ep *ep; /* identity only, and only while it grows; of a kept one its path counts too */
	struct sock *sock;
	struct stream *stream; /* frames for it, each with its length; NULL: datagrams */
	struct sockaddr_storage to;
	struct msghdr msg;
	struct iovec iov;
	_Alignas(8) uint8_t control[96];
	struct txbatch *next;
};

/** buf_pool() - @count bufs in one mapping, linked by next; NULL: no memory. */
struct buf *buf_pool(struct worker *w, unsigned count, void (*done)(struct worker *, struct buf *));
void buf_pool_free(struct buf *pool, unsigned count);
/** buf_pool_rest() - Its memory is given back, until it is used again, when all @count are in the list @free. */
void buf_pool_rest(struct buf *pool, const struct buf *free, unsigned count);
/** txbatch_pool() - @count batches, linked by next. */
struct txbatch *txbatch_pool(unsigned count);
void txbatch_pool_free(struct txbatch *pool, unsigned count);
/** txbatch_pool_rest() - As buf_pool_rest(). */
void txbatch_pool_rest(struct txbatch *pool, const struct txbatch *free, unsigned count);

#endif
