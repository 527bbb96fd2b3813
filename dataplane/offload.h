/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DATAPLANE_OFFLOAD_H
#define DATAPLANE_OFFLOAD_H

/*
 * Theory: out, a super-packet from the TUN is cut at its gso_size; each piece gets its own IP and
 * TCP or UDP header, written in the TUN buffer directly before its slice of payload (over the tail
 * of the piece before, which is sealed already), so that it is sealed from one contiguous place. It is
 * taken from the piece before, so it may be of any length, also longer than the slices:
 *
 *	[vnet][IP|TCP][ slice 0 ][ slice 1 ][ slice 2 ] spare
 *	      <--- piece 0 ---->
 *			[IP|TCP   slice 1 ]
 *
 * In, decrypted packets of one flow are put together again as one iovec list and leave in one
 * write; the kernel makes their checksums anew, so each is verified before it is merged: a
 * corrupt one would be blessed otherwise. The rules of what may be merged are those of the kernel's GRO.
 * Order within a flow never changes: what cannot join its flow closes it first.
 */

#include <linux/virtio_net.h>
#include <sys/uio.h>

#include "dp.h"
#include "pkt.h"

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

#define VNET_LEN       10
/* Writeable bytes behind the packet that splitting and sealing may use. */
#define SPLIT_SPARE    24

struct split {
	uint8_t *p;
	struct pkt k;
	size_t head;	/* IP and TCP/UDP header bytes */
	size_t payload; /* behind them */
	uint16_t gso;	/* payload bytes of a piece; 0: the packet is one piece */
	bool tcp;
	bool frag;  /* the pieces are IPv4 fragments */
	bool whole; /* the outer datagram may be fragmented */
	unsigned count, i;
	unsigned take; /* how many of count leave; the others are dropped */
	/* Of the header what pieces change; the rest each takes from the one before it. */
	uint32_t seq;
	uint16_t id, frag_field;
	uint8_t flags;
};

struct piece {
	uint8_t *data;
	size_t len;
};

/**
 * split_parse() - Look at the packet of one TUN read, change nothing.
 * DP_OUT_PKT or DP_DROP_TUN_SHORT.
 */
enum dp_verdict split_parse(struct split *s, uint8_t *p, size_t len);
/**
 * split_init() - After split_parse(): make ready for split_next().
 * @v: the virtio-net header; NULL where the TUN has none.
 * @mtu: TCP SYNs are clamped to it; *@clamped tells.
 * Finishes the checksum of a packet that is one piece. DP_OUT_PKT or DP_DROP_VNET.
 */
enum dp_verdict split_init(struct split *s, const struct virtio_net_hdr *v, uint16_t mtu,
			   bool *clamped);
/** split_begin() - The fields are set that say how to cut: keep of the header what the pieces change. */
void split_begin(struct split *s);
/** split_bytes() - What the pieces from @from to before @to have together. */
static inline size_t split_bytes(const struct split *s, unsigned from, unsigned to)
{
	size_t begin = (size_t)from * s->gso, end = (size_t)to * s->gso;

	if (from >= to)
		return 0;
	if (!s->gso)
		return s->k.total;
	return (end < s->payload ? end : s->payload) - begin + (size_t)(to - from) * s->head;
}
/**
 * split_next() - The next piece; false after the last.
 * The bytes behind the piece are the next slice: who writes there restores them.
 */
bool split_next(struct split *s, struct piece *piece);

/* ---- merging ---- */

#define MERGE_FLOWS    8
#define MERGE_PKTS_MAX 64
#define MERGE_BUFS_MAX 8

struct buf;

/* One TUN write: owned by the merge while it grows, then by the I/O backend until written. */
struct tunw {
	struct iovec iov[MERGE_PKTS_MAX + 1];
	unsigned iovs;
	unsigned pkts;
	size_t bytes;
	uint8_t queue; /* of the TUN */
	struct buf *buf[MERGE_BUFS_MAX]; /* referenced: held until the write is done */
	unsigned bufs;
	struct tunw *next;
};

struct mflow {
	struct tunw *w; /* NULL: free */
	uint8_t *ip;	/* the first packet, in place */
	struct pkt k;	/* of it */
	uint16_t head;	/* its IP and TCP/UDP header bytes */
	uint16_t gso;	/* its payload bytes */
	uint32_t next_seq;
	uint16_t next_id;
	bool closed; /* a shorter one or a PSH was the last */
	uint8_t flags;
	uint64_t used; /* for choosing the oldest */
};

/* What the merge asks of its owner. */
struct merge_ops {
	struct tunw *(*get)(void *arg);		  /* never NULL */
	void (*ready)(void *arg, struct tunw *w); /* takes @w */
	void (*hold)(struct buf *b);		  /* one more reference */
};

struct merge {
	struct mflow flow[MERGE_FLOWS];
	unsigned open;
	uint64_t clock;
	bool vnet, tcp, udp; /* what may be done */
	const struct merge_ops *ops;
	void *arg;
};

/**
 * merge_add() - One decrypted packet for the TUN.
 * @p: VNET_LEN writeable dead bytes stand before it.
 * @b: the buffer that it lies in; referenced by the write that takes it.
 */
void merge_add(struct merge *m, uint8_t *p, const struct pkt *k, struct buf *b);
/** merge_flush() - Everything leaves now. */
void merge_flush(struct merge *m);

#endif
