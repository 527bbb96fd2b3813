/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DATAPLANE_WORKER_H
#define DATAPLANE_WORKER_H

/*
 * Theory: one thread, one TUN queue, its sockets, one I/O backend. The way of a packet:
 *
 *	out  tun_on_read -> split_parse -> fq_add ... fq_next -> spd_lookup -> split_init
 *	     -> sa_out_next_seq -> split_next -> esp_seal -> udp_queue -> udp_flush -> udp_on_sent
 *	in   udp_on_recv -> udp_classify -> sad_lookup -> replay_check -> esp_open
 *	     -> replay_commit -> peer_note_addr -> selector_check -> merge_add -> tun_on_written
 *
 * Nothing on it locks, allocates or calls the system per packet. The unit of work is what one read
 * gave, not the packet. A turn ends with worker_end_turn(): merges and the open batch leave, so
 * nothing ever waits for more to come; what still waits for its turn makes the next one begin at once. Between turns the worker holds no pointer into the tables.
 */

#include <pthread.h>

#include "bench.h"
#include "buf.h"
#include "evq.h"
#include "flowq.h"
#include "io.h"
#include "line.h"
#include "offload.h"
#include "rtab.h"
#include "sad.h"
#include "fq.h"
#include "spd.h"
#include "stats.h"

#define TX_POOL	   8
#define TUNW_POOL  64
#define INBOX_CMDS 512 /* power of two */
#define HAND_SLOTS 64  /* per pair of workers; power of two; untouched ones cost nothing */
#define SOCKS_MAX  (2 * DP_SOCKS_MAX)
#define TUN_BUFS   32 /* a power of two: reads that wait to be sent, and a few that are read into */
#define TUN_BURST  32 /* reads in a turn */
#define RECV_BURST 32
#define DUMMY_MAX  9216 /* content of the largest probe */

/* A socket as one worker sees it. */
struct sock {
	int fd;
	uint32_t group; /* or the number of a stream */
	enum dp_sock_role role;
	int family;
	bool mine;     /* this worker receives on it */
	bool gso;      /* UDP_SEGMENT works */
	bool blocked;  /* took no more; batches wait */
	uint8_t index; /* in worker.socks */
	size_t line_bytes; /* what its line takes in a moment; 0: it is not known to be slow */
	size_t buffer;	   /* for sending, as the kernel counts */
	struct line line;
	struct txbatch *waiting, **waiting_end;
};

/* One receive, as the backend gives it. */
struct rx {
	struct sock *sock;
	uint8_t *data;
	size_t len;
	size_t seg; /* UDP_GRO's segment size; 0: one datagram */
	const struct sockaddr_storage *from;
	struct addr local; /* destination address, family 0 when unknown */
	uint32_t ifindex;  /* it came in there; 0: unknown */
	uint8_t tos;
	bool truncated;
	bool framed; /* @data are frames of a stream */
};

struct cmd {
	uint32_t peer;
	bool shrunk; /* no dummy: its path takes less than before */
	bool bench;  /* no dummy: see bench_wake() */
	bool has_via;
	struct dp_path via;
	uint16_t udp_bytes;
	uint8_t token_len;
	uint8_t token[DP_TOKEN_MAX];
};

/* What one TUN read gave, from then until all of it has been sent. */
struct unit {
	struct fq_unit q; /* first */
	struct buf *b;
	struct split s;
	struct virtio_net_hdr v;
	bool vnet;
	bool ready; /* cut and fitted */
	bool held;  /* counted as such */
};

/* Control thread -> worker. One writer, one reader. */
struct inbox {
	_Alignas(64) _Atomic uint32_t head;
	_Alignas(64) _Atomic uint32_t tail;
	struct cmd cmd[INBOX_CMDS];
};

/* Worker -> worker: whole units, copied. */
struct hand_slot {
	enum { HAND_TUN, HAND_UDP } kind;
	size_t len;
	/* HAND_UDP */
	size_t seg;
	bool framed;
	uint32_t group;
	struct sockaddr_storage from;
	struct addr local;
	uint32_t ifindex;
	uint8_t tos;
	uint8_t mem[BUF_BYTES];
};

struct hand {
	_Alignas(64) _Atomic uint32_t head;
	_Alignas(64) _Atomic uint32_t tail;
	struct hand_slot *slot; /* HAND_SLOTS, mapped, untouched until used */
};

struct group {
	bool used;
	enum dp_sock_role role;
	int family;
	int fd[DP_WORKERS_MAX]; /* -1: none */
};

#define WATCHED_FLOWS 64
#define WATCHED_HEAD  64

/* How far a TCP connection has been sent; and when it was last sent again, how its packet began. */
struct flow {
	uint32_t key, top;
	uint32_t peer;
	uint64_t again_ms;
	struct pkt k;
	uint8_t head[WATCHED_HEAD];
};

struct worker {
	struct dp *dp;
	unsigned index;
	pthread_t thread;
	bool running;
	const struct io_ops *io;
	void *io_state;
	unsigned without;  /* features not to be used */
	unsigned features; /* in use; by the control thread until started, then by the worker */
	int tun_fd;
	int wake_fd;
	_Atomic bool wake_told;
	_Atomic bool stop;
	_Atomic int started; /* 0: not yet, 1: ready, < 0: -errno */
	struct rcu_reader rcu;
	uint64_t now_ms, now_us;
	struct fq fq; /* what waits to be sent */
	struct unit unit[TUN_BUFS];
	struct {
		uint64_t moved;	 /* packets in and out, when last looked */
		uint64_t rested; /* of these, before the pools rested last */
		uint64_t due_us; /* they rest then, if nothing moves; UINT64_MAX: not used since */
	} rest;
	uint64_t full_us; /* when a socket was last found full; 0: long ago */
	uint64_t icmp_since_ms; /* the second in which icmp_seen errors were looked at */
	unsigned icmp_seen;
	uint64_t unknown_since_ms; /* the second in which unknown_seen SPIs were looked at */
	unsigned unknown_seen;
	struct sock socks[SOCKS_MAX];
	unsigned sock_count;
	struct sock *tx_sock[DP_SOCKS_MAX];
	bool tx_blocked; /* some socket is */
	bool tun_dead;	 /* the device is gone: read no more, or we would spin */
	struct txbatch *tx, *tx_free, *tx_pool;
	struct tunw *tunw_free, *tunw_pool;
	int stream_epfd; /* the streams that it reads */
	struct buf *stream_bufs, *stream_pool;
	struct merge merge;
	uint8_t to_queue; /* of the TUN, for what is merged next */
	struct evq evq;
	uint64_t told_since_ms; /* the second in which told errors about size were written */
	unsigned told;
	uint64_t big_ms; /* last DP_EV_TOO_BIG */
	struct flow flow[WATCHED_FLOWS];
	struct bench_tx bench;
	struct inbox inbox;
	struct hand *hand_in[DP_WORKERS_MAX]; /* from worker i; NULL: none */
	struct buf hand_buf;		      /* stands for the slot that is being handled */
	struct hand *hand_now;
	struct sock hand_stream; /* what it came from, when that was a stream */
	uint8_t scratch[DUMMY_MAX + ESP_TRAILER_MAX]; /* dummies are built here */
	struct stats stats;
};

struct dp {
	unsigned workers;
	struct worker *worker[DP_WORKERS_MAX];
	uint32_t spi_mask;
	unsigned features;
	enum dp_io io;
	char why_not_uring[64];
	_Atomic uint16_t tun_mtu;
	int event_fd;
	_Atomic bool event_told;
	unsigned next_ring; /* event ring to look at first */
	bool started;
	struct rcu rcu;
	struct group group[DP_SOCKS_MAX];
	struct rtab sad;
	struct spd spd;
	struct flowq *flowq; /* NULL: one worker */
	struct bench bench;
	uint64_t bench_began_us, bench_cpu_us; /* control thread */
	uint32_t peers_max;
	_Atomic uint32_t peers_end; /* above every id that was ever in use */
	_Atomic(struct peer *) *peers;
	/* control thread */
	struct rtab spis; /* reserved */
	uint32_t next_spi_worker;
	struct stream **stream; /* DP_STREAMS_MAX */
	uint32_t stream_next;
	int stream_epfd;       /* the young ones */
	struct evq stream_evq; /* what they bring: this thread writes and reads it */
	struct stats stats; /* what the control thread itself does */
};

static inline void worker_count(struct worker *w, enum dp_verdict v)
{
	stats_add(&w->stats, v, 1);
}

static inline uint64_t worker_counted(const struct worker *w, enum dp_verdict v)
{
	return count_get(&w->stats.n[v]);
}

/* While a tunnel is measured: for a sample of packets the time in ns; else 0. */
static inline uint64_t worker_timed(struct worker *w)
{
	if (!bench_on(&w->dp->bench) || w->bench.tick++ % BENCH_SAMPLE)
		return 0;
	return bench_clock_ns();
}

/* A counter that several workers may add to: a locked add only where there are several. */
static inline void worker_add(struct worker *w, _Atomic uint64_t *c, uint64_t by)
{
	if (w->dp->workers == 1)
		count_add(c, by);
	else
		peer_add(c, by);
}

/** worker_charge() - Of @took bytes, by ep_take(), @sent are on their way to @ep. */
static inline void worker_charge(struct worker *w, struct ep *ep, uint64_t took, uint64_t sent)
{
	if (!ep->limited)
		worker_add(w, &ep->tx_bytes, sent);
	else if (sent < took)
		atomic_fetch_sub_explicit(&ep->tx_bytes, took - sent, memory_order_relaxed);
}

/** worker_new() - Memory, pools; no backend yet. NULL: no memory. */
struct worker *worker_new(struct dp *dp, unsigned index);
void worker_free(struct worker *w);
int worker_start(struct worker *w);
void worker_stop(struct worker *w);
/** worker_wake() - Any thread; at most one system call until it has woken. */
void worker_wake(struct worker *w);
/** worker_event() - Push to the control thread; counted when lost. */
void worker_event(struct worker *w, struct dp_event *ev);
/** worker_on_wake() - By the backend when wake_fd was read: inbox and hand-overs. */
void worker_on_wake(struct worker *w);
void worker_end_turn(struct worker *w);
/** worker_clock_us() - For how long something has waited. */
uint64_t worker_clock_us(void);
/** worker_begin_turn() - After waiting: quiet point, clock. */
void worker_begin_turn(struct worker *w);
/** hand_over() - Copy a unit to worker @to: a TUN read, or with @rx a receive. False: full. */
bool hand_over(struct worker *w, unsigned to, const struct rx *rx, const uint8_t *p, size_t len);
/** worker_for_spi() - Which worker receives on @spi (network order). */
unsigned worker_for_spi(const struct dp *dp, uint32_t spi);

/* tun.c */
/** tun_probe() - What the TUN behind @fd offers and takes, minus @without; feature bits. */
unsigned tun_probe(int fd, unsigned without);
/** tun_on_error() - A read failed with -errno @res. */
void tun_on_error(struct worker *w, int res);
void tun_on_written(struct worker *w, struct tunw *t, int res);
/** tun_send_dummy() - Seal and send what an inbox command asks for. */
void tun_send_dummy(struct worker *w, const struct cmd *c);
extern const struct merge_ops tun_merge_ops;

/* out.c */
/** out_flow() - A number that the packets of one flow have in common, and those of few others. */
uint32_t out_flow(const struct pkt *k);
/** tun_on_read() - @b (its id below TUN_BUFS) holds @len bytes from the TUN, SPLIT_SPARE writeable ones behind. */
void tun_on_read(struct worker *w, struct buf *b, size_t len);
/** tun_out() - Send a unit that lies elsewhere (hand-over), now. */
void tun_out(struct worker *w, uint8_t *p, size_t len);
/**
 * out_room() - One more read may be taken. A burst stays in the TUN's ring; behind a queue that stands, the fattest
 * flow loses a unit, so that who has little to send is still heard.
 */
bool out_room(struct worker *w);
/** out_queue() - Of the TUN: to which what comes in of @p's flow @k is written, so that what goes back leaves by who may send it. */
uint8_t out_queue(const struct worker *w, const struct peer *p, const struct pkt *k);
/** out_serve() - Send what waits, for a turn. */
void out_serve(struct worker *w);
/** out_wait_us() - When there is something to do again without anybody's doing; UINT64_MAX: never. */
static inline uint64_t out_wait_us(const struct worker *w)
{
	/* A time that is past without anything to be sent is of what was parked and then lost. */
	uint64_t at_us = w->fq.wake_us > w->now_us ? w->fq.wake_us : UINT64_MAX;

	if (w->tx_blocked)
		return UINT64_MAX;
	if (fq_ready(&w->fq, w->now_us) || w->rest.due_us <= w->now_us)
		return 0;
	if (w->rest.due_us < at_us)
		at_us = w->rest.due_us;
	return at_us == UINT64_MAX ? UINT64_MAX : at_us - w->now_us;
}
/** out_line_room() - What a slow line still takes in this moment; SIZE_MAX: it is not known to be slow. */
size_t out_line_room(const struct worker *w, const struct ep *ep);
/** out_soft() - Something was sent with it: is it time for new keys? */
void out_soft(struct worker *w, struct sa_out *sa);
/** out_expired() - An SA has come to its hard end: said once. */
void out_expired(struct worker *w, struct sa_out *sa);

/* line.c */
/** line_open() - A new socket's send buffer. */
void line_open(struct sock *s);
/** line_blocked() - @s takes no more. */
void line_blocked(struct worker *w, struct sock *s);
/** line_settle() - At the end of a turn: what was not full, and how long not. */
void line_settle(struct worker *w);

/* udp.c */
/** udp_setup() - Socket options; features found on it (DP_F_UDP_*), or -errno. */
int udp_setup(struct sock *s, unsigned without);
void udp_on_recv(struct worker *w, const struct rx *rx, struct buf *b);
/** udp_on_datagram() - One of those @rx has, @len bytes at @at; returns the bytes dealt with. */
size_t udp_on_datagram(struct worker *w, const struct rx *rx, size_t at, size_t len,
		       struct buf *b);
/** udp_parse_control() - Fill seg, tos, local, ifindex of @rx from ancillary data. */
void udp_parse_control(struct rx *rx, struct msghdr *msg);
/** udp_peer_at() - The peer whose present path is that tuple; DP_PEERS_MAX: nobody's. Looks at all. */
uint32_t udp_peer_at(const struct dp *dp, const struct sockaddr_storage *to, unsigned group);
/** udp_on_error() - A receive failed with -errno @res; reads the error queue. */
void udp_on_error(struct worker *w, struct sock *s, int res);
/**
 * udp_room() - Where the next ESP packet of @len bytes for @ep goes; flushes what does not fit
 * with it. NULL (counted) when nothing can be sent there.
 */
uint8_t *udp_room(struct worker *w, struct ep *ep, uint8_t ecn, size_t len);
/** udp_queue() - The packet at udp_room() is complete. */
void udp_queue(struct worker *w, size_t len);
void udp_flush(struct worker *w);
/** udp_keep() - The open batch may wait for what the next turn adds, if that begins at once; not twice. */
bool udp_keep(struct worker *w);
void udp_on_sent(struct worker *w, struct txbatch *b, int res);
void udp_on_writable(struct worker *w, struct sock *s);
/** udp_prepare() - Make @b's msghdr; once it is complete. */
void udp_prepare(struct txbatch *b);
/** udp_path_sockaddr() - Fill @to for @path in @family; 0: does not fit. */
socklen_t udp_path_sockaddr(const struct dp_path *path, int family, struct sockaddr_storage *to);
/** ep_address() - Fill @ep->to for its path in @family; 0, or -EINVAL when it does not fit. */
int ep_address(struct ep *ep, int family);
/**
 * udp_control() - Source address, interface, ECN and (at the end) segment size as ancillary data.
 * @out: 96 bytes, aligned; @family: of the socket. Returns bytes used.
 */
size_t udp_control(uint8_t *out, const struct dp_path *path, int family, uint8_t ecn,
		   uint16_t seg);

/* install.c */
/** install_reap() - Free what was removed and no worker can look at any more. */
void install_reap(struct dp *dp);

/* esp_in.c */
/** esp_in() - One ESP packet of a received datagram (RFC 4303 s3.4). */
void esp_in(struct worker *w, const struct rx *rx, uint8_t *pkt, size_t len, struct buf *b);

#endif
