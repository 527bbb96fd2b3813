/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DATAPLANE_DP_H
#define DATAPLANE_DP_H

/*
 * Theory: libdataplane moves packets between TUN queues and UDP sockets and knows ESP, not IKE. It
 * owns N worker threads; the daemon's control thread is the only other one. The control thread
 *
 *	installs	peers (where they are), SAs (how to talk to them), networks (who is asked)
 *	reads		events (struct dp_event) when dp_event_fd() becomes readable
 *	sends		IKE datagrams and keepalives through the same sockets
 *
 *		   dp_peer_set, dp_sa_install_*, dp_send_dummy
 *	control  ------------------------------------------------>  worker 0..N-1
 *	thread   <------------------------------------------------  (one TUN queue, one ring or
 *		   bounded event rings + one eventfd		     epoll set, its sockets)
 *
 * All functions below are for ONE control thread, except where they say "any thread". None of them
 * blocks. What an install publishes is seen by every worker for each packet that it looks at
 * after the call has returned; what a remove unpublishes is freed when every worker has passed a
 * quiet point, so the caller may forget its own copy at once.
 *
 * Sockets come in groups. A group is one local port: one descriptor for each worker (SO_REUSEPORT, in
 * worker order) or one for worker 0 alone. A number of a group, chosen by the daemon, is
 * what "sock" means everywhere here. Descriptors are borrowed: dp duplicates none and closes none.
 *
 * Times are milliseconds of CLOCK_BOOTTIME. SPIs are in network byte order, as IKE carries them.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"

struct dp;

#define DP_WORKERS_MAX	16
#define DP_SOCKS_MAX	16    /* socket groups */
#define DP_PEERS_MAX	65536 /* peer ids are 0 .. DP_PEERS_MAX - 1, chosen by the daemon, reusable */
#define DP_TS_MAX	32    /* selectors on each side of one SA */
#define DP_NETWORKS_MAX 256   /* networks of one peer */
#define DP_IKE_MAX	65507 /* bytes of an IKE message, marker not counted */
#define DP_TOKEN_MAX	64    /* bytes that a probe can carry */

/* ---- configuration ---- */

enum dp_io { DP_IO_AUTO, DP_IO_URING, DP_IO_EPOLL };

/* Who enciphers: see aead_choose(). AUTO: for each cipher the one that is faster here. */
enum dp_crypto { DP_CRYPTO_AUTO, DP_CRYPTO_OPENSSL, DP_CRYPTO_IPSEC_MB };

enum dp_sock_role {
	DP_SOCK_MAIN, /* 4500 or an ephemeral port: ESP, IKE behind the non-ESP marker, 0xFF */
	DP_SOCK_IKE,  /* 500: IKE without a marker, no ESP */
	DP_SOCK_HOP,  /* as DP_SOCK_MAIN, from a second source port */
};

/*
 * What a rung of the ladder is made of. dp_new() probes each one alone; a bit in
 * dp_config.without switches it off as if the kernel had refused it (tests and benchmarks).
 */
enum dp_feature {
	DP_F_VNET_HDR =
	    1 << 0,	       /* the TUN carries a virtio-net header (the opener's IFF_VNET_HDR) */
	DP_F_TSO = 1 << 1,     /* TUN reads give TCP super-packets */
	DP_F_USO = 1 << 2,     /* ... and UDP ones */
	DP_F_UDP_GSO = 1 << 3, /* UDP_SEGMENT sends */
	DP_F_UDP_GRO = 1 << 4, /* UDP_GRO receives */
	DP_F_MERGE_TCP = 1 << 5,   /* inner TCP is coalesced before a TUN write */
	DP_F_MERGE_UDP = 1 << 6,   /* inner UDP too (needs DP_F_USO: the kernel must take UDP_L4) */
	DP_F_RECV_MULTI = 1 << 7,  /* io_uring: multishot recvmsg */
	DP_F_READ_MULTI = 1 << 8,  /* io_uring: multishot TUN read (Linux 6.7) */
	DP_F_RING_LOCKED = 1 << 9, /* io_uring: restrictions registered; always on with io_uring */
	DP_F_DEFER = 1 << 10,	   /* io_uring: SINGLE_ISSUER and DEFER_TASKRUN (Linux 6.1) */
};
#define DP_F_COUNT 11

struct dp_sock {
	int fd;		/* bound UDP socket, AF_INET or AF_INET6 (dual-stack or not) */
	uint8_t sock;	/* its group: 0 .. DP_SOCKS_MAX - 1 */
	uint8_t worker; /* which worker reads it */
	enum dp_sock_role role;
};

struct dp_config {
	unsigned workers;   /* 1 .. DP_WORKERS_MAX; 0 means 1 */
	const int *tun_fds; /* one queue of the same TUN per worker, O_NONBLOCK not required */
	const struct dp_sock *socks; /* read during dp_new() only */
	size_t sock_count;
	enum dp_io io;
	enum dp_crypto crypto;
	unsigned without;   /* enum dp_feature bits to do without */
	uint16_t tun_mtu;   /* inner bytes, 576 .. 65535; TCP MSS is clamped to it both ways */
	uint32_t peers_max; /* 0: 1024 */
	uint32_t event_ring_bytes; /* per worker, power of two; 0: 256 KiB */
};

/* What dp_new() found; for status and for the header of every benchmark. */
struct dp_info {
	enum dp_io io;	   /* DP_IO_URING or DP_IO_EPOLL */
	unsigned features; /* enum dp_feature bits in use now */
	unsigned workers;
	const char *crypto;	/* who enciphers what: "OpenSSL 3.0.15" */
	bool aes_fast;		/* measured: AES-GCM before ChaCha20 */
	char why_not_uring[64]; /* empty, or why DP_IO_AUTO took epoll */
};

/**
 * dp_new() - Probe what the kernel has, make rings, buffers and tables; start nothing.
 * @cfg: borrowed during the call; the descriptors it names are borrowed until dp_free().
 * @out: set on success.
 *
 * Needs io_uring_setup, io_uring_register, mmap, ioctl on the TUN queues and setsockopt on the
 * sockets (sets UDP_GRO, IP_PMTUDISC_PROBE, PKTINFO, RECVTOS, RECVERR, the reuseport program), so it is
 * called before the last stage of the sandbox. With DP_IO_URING a refusal of io_uring is an
 * error; with DP_IO_AUTO it falls back to epoll and says why in dp_info().
 * Returns 0, -EINVAL (configuration), -ENOTSUP (@crypto is not to be had), -ENOMEM, or what the
 * kernel said.
 */
int dp_new(const struct dp_config *cfg, struct dp **out);
/**
 * dp_start() - Start the workers; returns when each has enabled its ring and is ready.
 * After that no worker needs io_uring_setup or io_uring_register (but for unregistering at exit,
 * which closing does): the last seccomp stage may be entered. Threads block all signals.
 */
int dp_start(struct dp *dp);
/** dp_stop() - Stop and join the workers, requests cancelled; idempotent. Events stay readable. */
void dp_stop(struct dp *dp);
/** dp_free() - dp_stop(), wipe all keys, free. NULL is allowed. */
void dp_free(struct dp *dp);
void dp_info(const struct dp *dp, struct dp_info *info);
/** dp_feature_word() - "tso", "uso" ...; NULL for no such bit (a single bit is meant). */
const char *dp_feature_word(unsigned bit);
/** dp_set_tun_mtu() - The TUN's MTU was changed: clamp MSS to the new one from now on. */
void dp_set_tun_mtu(struct dp *dp, uint16_t mtu);

/* ---- where a peer is ---- */

/* One way to a peer: from which group and local address to which tuple. */
struct dp_path {
	uint32_t sock;	   /* group to send from, or a stream */
	uint32_t ifindex;  /* leaves by that interface only; 0: the kernel's choice */
	struct addr local; /* source address; family 0: the kernel chooses */
	struct endpoint remote;
};

/**
 * dp_peer_set() - Make @peer known, or move it: workers send to @path from their next packet on.
 * @path: copied; NULL when it is not known yet (data is then dropped as no_endpoint).
 * @limited: the new address is not validated: no more than 3 x the bytes received from that
 *	tuple are sent to it until dp_peer_set() is called again with the same path and
 *	@limited false (RFC 7296 s2.23 and its amplification concern).
 * @credit_bytes: bytes already received from it, when @limited (the packet that caused the move). Where @path is the tuple
 *	that was set before, limited too, they add to those, and what was sent to it stays charged.
 * Returns 0, -EINVAL (peer id, sock without a descriptor, family), -ENOMEM; on error nothing moved.
 */
int dp_peer_set(struct dp *dp, uint32_t peer, const struct dp_path *path, bool limited,
		uint64_t credit_bytes);
/**
 * dp_peer_networks() - What lies behind @peer: a packet for it without an SA gives DP_EV_ACQUIRE.
 * Replaces the former list, in which case what is in both is never without it; copied; @count <= DP_NETWORKS_MAX. The peer
 * must be known. Returns 0, -EINVAL, -ENOMEM; on error the former list stays.
 */
int dp_peer_networks(struct dp *dp, uint32_t peer, const struct prefix *nets, size_t count);
/**
 * dp_peer_passive() - While @on no inner packet is sent to it, its networks and selectors count for nothing:
 * another peer with the same ones stands for it. Its SAs stay, what comes on them is taken, dummies
 * are sent. 0, -ENOENT, -ENOMEM (then some of its selectors are not found).
 */
int dp_peer_passive(struct dp *dp, uint32_t id, bool on);
/** dp_peer_remove() - With all its SAs and networks. Unknown: nothing happens. */
void dp_peer_remove(struct dp *dp, uint32_t peer);

/**
 * dp_peer_set_mtu() - How large an outer packet may be on the way to @peer: what does not fit is cut or
 * answered, and MSS is clamped to it. Dummies of a wished size are not held to it.
 * @path_mtu: bytes with the outer IP header; 0: not known. Returns 0 or -ENOENT.
 */
int dp_peer_set_mtu(struct dp *dp, uint32_t peer, uint16_t path_mtu);
/** dp_peer_inner_mtu() - The largest inner packet that this gives now; 0: not known. Any thread. */
uint16_t dp_peer_inner_mtu(const struct dp *dp, uint32_t peer);
/**
 * dp_peer_set_rate() - From now on no more than that passes; what is above waits, or when it came in is dropped.
 * @out_bits_s, @in_bits_s: of inner packets to and from the peer; 0: no limit. Returns 0 or -ENOENT.
 */
int dp_peer_set_rate(struct dp *dp, uint32_t peer, uint64_t out_bits_s, uint64_t in_bits_s);

struct dp_activity {
	uint64_t tx_data_ms; /* last inner packet that left, dummies not counted; 0: never */
	uint64_t tx_first_ms; /* the first one that left at rx_data_ms or later; older: none did */
	uint64_t tx_any_ms;  /* last ESP packet of any kind or 0xFF that left */
	uint64_t rx_auth_ms; /* last authentic ESP packet, dummies included */
	uint64_t rx_data_ms; /* last authentic inner packet */
	uint64_t
	    rx_path_bytes; /* outer bytes received from the present tuple since dp_peer_set() */
	uint64_t tx_path_bytes;			       /* outer bytes sent to it since then */
	uint64_t tx_pkts, tx_bytes, rx_pkts, rx_bytes; /* inner; for ever */
	uint64_t tx_limited_pkts, rx_limited_pkts;     /* waited, were dropped for the peer's rate; for ever */
};
/** dp_peer_activity() - A consistent enough snapshot; -ENOENT. Any thread. */
int dp_peer_activity(const struct dp *dp, uint32_t peer, struct dp_activity *a);

/* ---- SAs ---- */

enum dp_cipher {
	DP_AES_128_GCM_16, /* RFC 4106 */
	DP_AES_256_GCM_16,
	DP_CHACHA20_POLY1305,  /* RFC 7634 */
	DP_AES_128_CBC_SHA256, /* RFC 3602 with RFC 4868; and all behind it */
	DP_AES_128_CBC_SHA384,
	DP_AES_128_CBC_SHA512,
	DP_AES_256_CBC_SHA256,
	DP_AES_256_CBC_SHA384,
	DP_AES_256_CBC_SHA512,
};
#define DP_CIPHER_COUNT	      9
#define DP_CIPHER_KEY_LEN_MAX 96

/**
 * dp_cipher_key_len() - Bytes of KEYMAT for one direction, in its order (RFC 7296 s2.17): cipher key,
 * then the 4-byte salt (20, 36, 36), or with CBC the key of the HMAC.
 */
size_t dp_cipher_key_len(enum dp_cipher c);

/* One side of a traffic selector (RFC 7296 s3.13.1). */
struct dp_ts {
	struct addr from, to;	     /* inclusive, same family */
	uint8_t proto;		     /* 0: any */
	/*
	 * Inclusive. 0..65535: any; 65535..0: opaque, a port that cannot be seen. ICMP: type << 8 | code,
	 * of what this side sends (RFC 4301 s4.4.1.3).
	 */
	uint16_t port_from, port_to;
};

/* A worker that took numbers may be kept from sending for a while: so many packets of the others may pass it. */
#define DP_WINDOW_SHARED 65536

struct dp_sa {
	uint32_t peer;
	uint32_t spi; /* network order; inbound: from dp_spi_alloc(), outbound: the peer's */
	uint32_t
	    generation; /* grows with each CHILD SA of the peer; among equals the newest sends */
	enum dp_cipher cipher;
	const uint8_t *key; /* as KEYMAT gives it: dp_cipher_key_len() */
	size_t key_len;
	bool esn;
	/*
	 * Packets. Inbound: rounded up to 64; 0: 4096; at most DP_WINDOW_SHARED. Outbound: as the peer announced it, 0: it
	 * did not. With DP_WINDOW_SHARED all workers send with it, else the peer's one.
	 */
	uint32_t replay_window;
	const struct dp_ts *local, *remote; /* a packet must match one of each */
	size_t local_count, remote_count;   /* 1 .. DP_TS_MAX */
	/* Soft: one DP_EV_REKEY. Hard: DP_EV_EXPIRED, nothing passes any more. 0: the default. */
	uint64_t soft_pkts;  /* default 2^31 without ESN, 2^48 with */
	uint64_t soft_bytes; /* default: none */
	uint64_t hard_bytes; /* default: none */
	uint64_t hard_pkts;  /* default: the end of the numbers */
	/*
	 * CHILD SAs of one line replace each other: DP_EV_ENDPOINT's newest is about the SA's own line,
	 * so that each of several beside each other can tell where the peer is.
	 */
	uint32_t line;
};

/**
 * dp_spi_alloc() - An SPI for an inbound SA, reserved until dp_sa_remove_in() or dp_spi_release().
 * Random, >= 256, unique among all reserved, low bits = the worker that will receive on it.
 */
int dp_spi_alloc(struct dp *dp, uint32_t *spi);
/** dp_spi_reserve() - Reserve this very SPI, as after a restart that keeps SAs; -EEXIST, -EINVAL. */
int dp_spi_reserve(struct dp *dp, uint32_t spi);
void dp_spi_release(struct dp *dp, uint32_t spi);

/**
 * dp_sa_install_in() - From the return on, packets with @sa->spi are accepted.
 * @sa: copied, the key included; the caller wipes its own.
 * Returns 0, -EINVAL (peer, cipher, key length, selectors), -EEXIST, -ENOENT (SPI not allocated),
 * -ENOMEM. On error nothing is installed and the SPI stays reserved.
 */
int dp_sa_install_in(struct dp *dp, const struct dp_sa *sa);
/** dp_sa_install_out() - From the return on, matching inner packets are sealed with it. */
int dp_sa_install_out(struct dp *dp, const struct dp_sa *sa);
/** dp_sa_remove_in() - And releases the SPI. Unknown: nothing happens. */
void dp_sa_remove_in(struct dp *dp, uint32_t spi);
void dp_sa_remove_out(struct dp *dp, uint32_t peer, uint32_t spi);

struct dp_sa_counts {
	uint64_t pkts, bytes; /* inner packets and bytes that passed */
	uint64_t seq; /* out: last number used; in: highest accepted (64 bit, as inferred) */
	uint64_t replays, bad_icv; /* inbound only */
	uint64_t last_ms;	   /* last packet */
};
/** dp_sa_counts_in/out() - -ENOENT. */
int dp_sa_counts_in(const struct dp *dp, uint32_t spi, struct dp_sa_counts *c);
int dp_sa_counts_out(const struct dp *dp, uint32_t peer, uint32_t spi, struct dp_sa_counts *c);

/* ---- sending beside the data path ---- */

/**
 * dp_send_ike() - One IKE datagram, now, from the control thread (it does not queue behind data).
 * @msg: without marker; on DP_SOCK_MAIN and DP_SOCK_HOP groups the four zero bytes are put before.
 * Returns 0, -EAGAIN (send buffer full: retransmission will do), -EMSGSIZE (path or DP_IKE_MAX),
 * or the kernel's word for an unreachable destination.
 */
int dp_send_ike(struct dp *dp, const struct dp_path *path, const void *msg, size_t len);
/** dp_send_nat_keepalive() - One 0xFF byte (RFC 3948 s2.3) on the peer's present path. */
int dp_send_nat_keepalive(struct dp *dp, uint32_t peer);

struct dp_dummy {
	const struct dp_path *via; /* NULL: the peer's present path */
	uint16_t
	    udp_bytes; /* wished size of the UDP payload; 0 or too small: the smallest possible */
	/*
	 * With @token_len > 0 it is a probe: a Postern at the far end reports it (DP_EV_PROBE)
	 * and never moves the endpoint by it. To anyone else it is just a dummy.
	 */
	uint8_t token[DP_TOKEN_MAX];
	uint8_t token_len;
};
/**
 * dp_send_dummy() - Have an authenticated ESP dummy sent (next header 59, RFC 4303 s2.6).
 * @d: NULL for a plain one on the present path.
 * Asynchronous: the worker that sends for this peer seals it in its turn, on the newest outbound
 * SA. Returns 0, -ENOENT (peer, or no outbound SA), -EAGAIN (its inbox is full), -EMSGSIZE.
 */
int dp_send_dummy(struct dp *dp, uint32_t peer, const struct dp_dummy *d);

/* ---- measuring a tunnel: see bench.h ---- */

#define DP_BENCH_RTTS	  4096
#define DP_BENCH_RATE_MAX 100000000000ull /* bit/s */

struct dp_bench {
	uint32_t peer;
	uint64_t id;	      /* of the run, known to both sides; not 0 */
	uint32_t load_ms;     /* for so long we load; 0: we are loaded, or nobody is */
	uint64_t rate_bits_s; /* no more than that; 0: DP_BENCH_RATE_MAX */
};

struct dp_bench_counts {
	uint64_t tx_pkts, tx_bytes; /* of the load; bytes as an inner packet would have them */
	/* Since the rate has settled: */
	uint64_t rx_pkts, rx_bytes, rx_lost;
	uint64_t rx_us;			/* between the first and the last of these */
	uint64_t rx_all_pkts;		/* from the first on */
	uint64_t heard_ms;		/* when anything of the other side came last; 0: never */
	bool loading;
	/* All workers, since dp_bench_begin() */
	uint64_t wall_us, cpu_us;
	uint64_t crypto_us; /* of it, from samples: sealing the load, opening whatever came */
	uint64_t send_us;   /* in the call that sends */
	uint64_t read_us;   /* in the calls that receive: datagrams, and with io_uring TUN reads */
};

/**
 * dp_bench_begin() - From now on what the peer sends under that id is counted and answered, and it is loaded.
 * What was counted before is gone. 0, -EINVAL, -ENOENT (peer, or no outbound SA), -EBUSY (another id is on).
 */
int dp_bench_begin(struct dp *dp, const struct dp_bench *b);
/** dp_bench_ping() - How long does a small packet take, there and back? */
void dp_bench_ping(struct dp *dp);
/** dp_bench_read() - At any time between begin and end. */
void dp_bench_read(struct dp *dp, struct dp_bench_counts *c);
/** dp_bench_rtts() - The last ones, in microseconds: @n of them at most, in no order. How many. */
unsigned dp_bench_rtts(struct dp *dp, uint32_t *us, unsigned n);
/** dp_bench_end() - The load stops at once. */
void dp_bench_end(struct dp *dp);

/* ---- streams: TCP encapsulation (RFC 9329) ---- */

#define DP_STREAM_FIRST	   256u /* numbers of streams begin here, those of socket groups end below */
#define DP_STREAMS_MAX	   2048
#define DP_STREAM_YOUNG_MS 10000 /* from the first packet to the first authenticated exchange */
#define DP_STREAM_STUCK_MS 15000 /* what is sent does not leave: the stream is over */

struct cloak_ctx;

struct dp_stream {
	int fd;			 /* TCP, O_NONBLOCK, connected or connecting */
	bool accepted;		 /* it called us; else we say IKETCP */
	struct cloak_ctx *cloak; /* TLS by it, borrowed during the call; NULL: none */
	const char *name;	 /* for SNI, or NULL */
	struct endpoint local, remote;
};

/**
 * dp_stream_add() - A young stream. *sock is its number in every path from now on, and never another's.
 * Takes the descriptor on success. 0, -ENFILE (DP_STREAMS_MAX), -ENOMEM, or what epoll said.
 */
int dp_stream_add(struct dp *dp, const struct dp_stream *s, uint32_t *sock);
/** dp_stream_trust() - @peer has authenticated on it: data may pass. 0, -ENOENT, -ENOTCONN, -ENOMEM. */
int dp_stream_trust(struct dp *dp, uint32_t sock, uint32_t peer);
/** dp_stream_close() - Unknown: nothing happens. A peer whose path it is has none until it is set anew. */
void dp_stream_close(struct dp *dp, uint32_t sock);
/** dp_stream_fd() - An epoll set; readable when dp_stream_poll() has something to do. */
int dp_stream_fd(const struct dp *dp);
/** dp_stream_poll() - Young streams' turn; what comes of it is told by events. */
void dp_stream_poll(struct dp *dp);
/** dp_stream_sweep() - About once a second: end those that are young or stuck for too long. */
void dp_stream_sweep(struct dp *dp, uint64_t now_ms);

struct dp_stream_info {
	struct endpoint local, remote;
	bool accepted, tls;
};
/** dp_stream_info() - False: no such stream. */
bool dp_stream_info(const struct dp *dp, uint32_t sock, struct dp_stream_info *info);

/* ---- events ---- */

enum dp_event_kind {
	DP_EV_NONE,
	DP_EV_IKE,	/* a datagram for IKE: path, data (marker removed) */
	DP_EV_ENDPOINT, /* authentic, above every number of its SA, and from another tuple */
	DP_EV_ACQUIRE, /* an inner packet waits for an outbound SA; at most one a second and peer */
	DP_EV_REKEY,   /* soft limit of an SA reached; once per SA */
	DP_EV_EXPIRED, /* hard limit reached or numbers used up; once per SA */
	DP_EV_FIRST_IN, /* first authentic packet on an inbound SA (RFC 7296 s2.8) */
	DP_EV_ICMP,  /* the kernel heard an ICMP error for a datagram of ours; a hint, forgeable */
	DP_EV_PROBE, /* an authenticated dummy with a token */
	DP_EV_STALLED, /* large inner packets are sent that may not arrive: TCP repeats itself, or it is
			  not TCP and nobody can tell; peer. At most two a second and peer */
	DP_EV_TOO_BIG, /* the device took no datagram of this size; peer, or DP_PEERS_MAX; two a second */
	DP_EV_STREAM_OPEN, /* a stream of ours is connected, path.sock: IKE can begin */
	DP_EV_STREAM_GONE, /* a stream is dead, path.sock; icmp_errno: why. It is to be closed */
	DP_EV_UNKNOWN_SPI, /* ESP under no SPI of ours: at most 8 a second and worker, for anybody
			      can make such a packet; spi, path, peer (0: from where none is) */
};

struct dp_event {
	enum dp_event_kind kind;
	uint64_t at_ms;
	uint32_t peer;	     /* not for IKE; ICMP: DP_PEERS_MAX when no peer has that tuple */
	uint32_t spi;	     /* ENDPOINT, REKEY, EXPIRED, FIRST_IN, PROBE; ICMP: as quoted, 0: not ESP or too short */
	uint32_t generation; /* of that SA */
	bool outbound;	     /* REKEY, EXPIRED: which direction */
	bool dummy;	     /* ENDPOINT: the packet was a dummy, not data */
	bool newest;	     /* ENDPOINT: no newer inbound SA of its line is installed */
	bool ce;	     /* IKE: the outer header had ECN CE */
	bool opening;	     /* IKE: an IKE_SA_INIT request without a cookie */
	struct dp_path
	    path; /* IKE, ENDPOINT, PROBE: as received, on that interface; ICMP: the quoted tuple */
	uint32_t bytes; /* ENDPOINT, PROBE: outer UDP payload bytes of that packet */
	/* ICMP: as struct sock_extended_err: errno, ICMP type and code, and the MTU for too-big. */
	uint32_t icmp_errno, icmp_mtu;
	uint8_t icmp_type, icmp_code;
	/* IKE: the message; PROBE: the token; ACQUIRE: the first bytes of the inner packet. */
	const uint8_t *data;
	size_t len;
};

/**
 * dp_event_fd() - An eventfd; readable when there may be events. Level-triggered use: call
 * dp_event_next() until it returns false; dp reads the eventfd itself.
 */
int dp_event_fd(const struct dp *dp);
/**
 * dp_event_next() - The next event of any worker, fair between workers.
 * @ev->data points into dp and is valid until the next call. Returns false when there is none.
 * IKE datagrams that do not fit are dropped and counted (ike_queue_full); the small events have
 * room of their own in the same ring, and those that open an exchange without a cookie, which are
 * what anybody can forge, get no more than half of it.
 */
bool dp_event_next(struct dp *dp, struct dp_event *ev);

/* ---- counters ---- */

/*
 * The fate of a packet: one value, one counter, one word in `postern status --counters`.
 * X(enum, word). _OUT_ and _IN_ count packets that went through; DROP_ those that did not; the
 * rest are occurrences.
 */
#define DP_VERDICTS(X)                                                                             \
	X(DP_OUT_PKT, "out_packets")                                                               \
	X(DP_OUT_BYTES, "out_bytes")                                                               \
	X(DP_OUT_DUMMY, "out_dummies")                                                             \
	X(DP_OUT_UNITS, "out_tun_reads")                                                           \
	X(DP_OUT_SENDS, "out_sends")                                                               \
	X(DP_IN_PKT, "in_packets")                                                                 \
	X(DP_IN_BYTES, "in_bytes")                                                                 \
	X(DP_IN_DUMMY, "in_dummies")                                                               \
	X(DP_IN_RECVS, "in_receives")                                                              \
	X(DP_IN_WRITES, "in_tun_writes")                                                           \
	X(DP_IN_IKE, "in_ike")                                                                     \
	X(DP_IN_KEEPALIVE, "in_nat_keepalives")                                                    \
	X(DP_OUT_RECUT, "tcp_recut")                                                               \
	X(DP_OUT_FRAGMENTED, "inner_fragmented")                                                   \
	X(DP_OUT_WITHOUT_DF, "outer_may_fragment")                                                 \
	X(DP_TOO_BIG_TOLD, "too_big_answered")                                                     \
	X(DP_MSS_CLAMPED, "mss_clamped")                                                           \
	X(DP_HANDED_OVER, "handed_to_other_worker")                                                \
	X(DP_GSO_FALLBACK, "gso_fallbacks")                                                        \
	X(DP_SEND_BLOCKED, "send_blocked")                                                         \
	X(DP_RECV_ERROR, "recv_errors")                                                            \
	X(DP_REARM, "multishot_rearmed")                                                           \
	X(DP_TUN_ERROR, "tun_read_errors")                                                         \
	X(DP_EVENT_LOST, "events_lost")                                                            \
	X(DP_OUT_RATE_HELD, "rate_limit_out")                                                      \
	X(DP_OUT_MARKED, "queue_marked_ce")                                                        \
	X(DP_DROP_QUEUE_LONG, "queue_too_long")                                                    \
	X(DP_DROP_QUEUE_FULL, "queue_full")                                                        \
	X(DP_DROP_TUN_SHORT, "tun_malformed")                                                      \
	X(DP_DROP_VNET, "tun_bad_vnet_header")                                                     \
	X(DP_DROP_NO_POLICY, "no_policy")                                                          \
	X(DP_DROP_NO_SA, "no_outbound_sa")                                                         \
	X(DP_DROP_NO_ENDPOINT, "no_endpoint")                                                      \
	X(DP_DROP_BUDGET, "unvalidated_address_budget")                                            \
	X(DP_DROP_SEQ_EXHAUSTED, "sequence_exhausted")                                             \
	X(DP_DROP_HARD_LIMIT, "sa_hard_limit")                                                     \
	X(DP_DROP_SEAL, "seal_failed")                                                             \
	X(DP_DROP_NO_BUF, "no_buffer")                                                             \
	X(DP_DROP_INNER_BIG, "inner_too_big")                                                      \
	X(DP_DROP_RATE_IN, "rate_limit_in")                                                        \
	X(DP_DROP_TOO_BIG, "datagram_too_big")                                                     \
	X(DP_DROP_SEND, "send_failed")                                                             \
	X(DP_DROP_HANDOVER_FULL, "handover_full")                                                  \
	X(DP_DROP_STREAM_FULL, "stream_full")                                                     \
	X(DP_DROP_STREAM_FRAME, "stream_malformed")                                               \
	X(DP_DROP_STREAM_YOUNG, "stream_not_authenticated")                                       \
	X(DP_DROP_RUNT, "udp_runt")                                                                \
	X(DP_DROP_TRUNCATED, "udp_truncated")                                                      \
	X(DP_DROP_IKE_QUEUE, "ike_queue_full")                                                     \
	X(DP_DROP_ESP_ON_500, "esp_on_ike_port")                                                   \
	X(DP_DROP_SPI, "unknown_spi")                                                              \
	X(DP_DROP_REPLAY, "replayed")                                                              \
	X(DP_DROP_STALE, "older_than_window")                                                      \
	X(DP_DROP_ESP_SHORT, "esp_malformed")                                                      \
	X(DP_DROP_ICV, "bad_icv")                                                                  \
	X(DP_DROP_PAD, "esp_bad_padding")                                                          \
	X(DP_DROP_NEXT_HEADER, "esp_bad_next_header")                                              \
	X(DP_DROP_INNER, "inner_malformed")                                                        \
	X(DP_DROP_SELECTOR, "selector_mismatch")                                                   \
	X(DP_DROP_ECN, "ecn_ce_on_not_ect")                                                        \
	X(DP_DROP_TUN_WRITE, "tun_write_failed")

enum dp_verdict {
#define DP_VERDICT_ENUM(e, w) e,
	DP_VERDICTS(DP_VERDICT_ENUM)
#undef DP_VERDICT_ENUM
	    DP_VERDICT_COUNT
};

struct dp_stats {
	uint64_t n[DP_VERDICT_COUNT];
};
/** dp_stats() - Sum over all workers. Any thread. */
void dp_stats(const struct dp *dp, struct dp_stats *s);
const char *dp_verdict_word(enum dp_verdict v);

/* ---- sizes ---- */

/**
 * dp_tun_mtu() - Largest inner packet that fits one outer packet of @outer_mtu bytes.
 * @family: AF_INET or AF_INET6 of the outer header. UDP encapsulation is counted always, ESP's
 * alignment (4 bytes, RFC 4303 s2.4; CBC 16) is respected. 0 when nothing fits.
 */
uint16_t dp_tun_mtu(uint16_t outer_mtu, int family, enum dp_cipher cipher);

#endif
