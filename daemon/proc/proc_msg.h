/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DAEMON_PROC_PROC_MSG_H
#define DAEMON_PROC_PROC_MSG_H

/*
 * Theory: what the processes of posternd say to each other, over base/ipc.h. Each type has one
 * struct of fixed size, in host order (same machine, same build); a message of another length, with
 * a name not terminated, a number out of range or descriptors that do not belong is refused and logged
 * by the receiver, never acted on in part. The three octet strings (what to sign, the result, the
 * text of an error) follow a fixed header that tells their length, which must be exact.
 *
 *	parent ──PM_──► child, keys, resolver		inventory at start, links, events
 *	child ──PQ_──► parent ──PR_REPLY──► child	privileged requests
 *	child ──KQ_──► keys ──KR_REPLY──► child		private keys, by a socketpair made by the parent
 *	child ──RQ_──► resolver ──RR_REPLY──► child	names, the same
 *
 * The id of a request is a token of the child's choice; its one reply bears the same. The
 * functions that senders and receivers use are in priv.h (child); receivers check by proc_check_*().
 */

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "ipc.h"

enum proc_id { PROC_CHILD, PROC_KEYS, PROC_RESOLVER, PROC_PARENT, PROC_IDS };

#define PROC_NAME_MAX	 256   /* peer name in the configuration, terminated */
#define PROC_HOST_MAX	 256   /* DNS name, terminated */
#define PROC_OCTETS_MAX	 66000 /* AUTH octets: an IKE_SA_INIT, a nonce, a MAC */
#define PROC_RESULT_MAX	 1100  /* RSA 8192 */
#define PROC_TEXT_MAX	 2048
#define PROC_ADDRS_MAX	 16
#define PROC_DNS_MAX	 8
#define PROC_WORKERS_MAX 32
#define PROC_HOPS_OWN	 2 /* outer sockets with other source ports, for the start side */
#define PROC_MARKS	 4 /* fwmarks of peers, each with so many sockets: */
#define PROC_MARK_SOCKS	 2
#define PROC_HOPS	 (PROC_HOPS_OWN + PROC_MARKS * PROC_MARK_SOCKS) /* in this order */
#define PROC_STATE_FILES 4 /* two by turns for each of: */
#define PROC_STATE_PEERS 0 /* what supervisors keep */
#define PROC_STATE_WANS	 2 /* what is known of ways out */
#define PROC_PORTS	 3 /* further UDP ports, and TCP ports */
#define PROC_QCD_LEN	 32
#define PROC_WAYS_MAX	 8
#define PROC_REQUEST_FDS 0 /* no request carries a descriptor */

enum proc_type {
	/* parent -> any */
	PM_START = 1, /* struct pm_start; the very first message: proc_enter() */
	PM_CONFIG,    /* struct pm_config, fd: bundle; next, and after each reload */
	PM_LINK,      /* struct pm_link, fd: ipc to a sibling; again when that one was restarted */
	PM_GO,	      /* no payload: the inventory is complete */
	/* parent -> child */
	PM_TUN,	     /* struct pm_tun, fd: one queue; queue 0 first, count of them */
	PM_SOCKET,   /* struct pm_socket, fd */
	PM_LISTENER, /* struct pm_listener, fd: listening socket */
	PM_STATE,    /* struct pm_state, fd: regular file in the state directory, read and write */
	PM_PATH_CHANGED, /* no payload: links, addresses or routes changed; look paths up again */
	PM_QCD, /* struct pm_qcd; with the inventory */
	PM_ADDRESSES, /* struct pm_addresses; with the inventory, and when they changed */
	PM_DRAIN, /* struct pm_drain; with the inventory: what the child before this one was told */
	PM_STOP,	 /* no payload: say goodbye to the peers and end; SIGTERM comes 3 s later */
	/* parent -> keys */
	PM_SECRETS, /* no payload, fd: sealed memfd of all secret files, each be16 length and path as the
		     * configuration names it (absolute), be16 length and bytes; between a PM_CONFIG
		     * and its PM_GO, which makes them valid together */

	/* child -> parent */
	PQ_ADDR_ADD = 32, /* struct pq_addr */
	PQ_ADDR_DEL,	  /* struct pq_addr */
	PQ_ROUTE_ADD,	  /* struct pq_route */
	PQ_ROUTE_DEL,	  /* struct pq_route */
	PQ_LINK_SET,	  /* struct pq_link_set */
	PQ_PATH,	  /* struct pq_path -> struct pr_path */
	PQ_HOP,		  /* struct pq_hop -> struct pr_hop, fd: the socket */
	PQ_RELOAD,	  /* no payload -> struct pr_reload with text */
	PQ_HOOK,	  /* struct pq_hook */
	PQ_WAN,		  /* struct pq_wan -> struct pr_wan */
	PQ_STREAM,	  /* struct pq_stream -> struct pr_reply, fd: a TCP socket that connects */
	PQ_WAYS,	  /* struct pq_path -> struct pr_ways */
	PQ_DRAIN,	  /* struct pm_drain: to be kept for the child's successor */
	/* parent -> child */
	PR_REPLY = 48, /* struct pr_reply, alone or as head of one of the above */

	/* child -> keys */
	KQ_SIGN = 64, /* struct kq_sign + octets */
	KQ_PSK_AUTH,  /* struct kq_psk + octets */
	KQ_PUBLIC,    /* struct kq_public */
	/* keys -> child */
	KR_REPLY = 80, /* struct kr_reply + result */

	/* child -> resolver */
	RQ_LOOKUP = 96, /* struct rq_lookup */
	RQ_FLUSH,	/* no payload, no reply: forget what waits; the network changed */
	/* resolver -> child */
	RR_REPLY = 112, /* struct rr_reply */
};

/* ---- parent -> child ---- */

struct pm_start {
	uint32_t uid, gid; /* whom to become */
	uint32_t log_level;
	uint32_t pad;
};

struct pm_config {
	uint64_t generation; /* 1 at start, plus one with each reload */
	uint32_t mark[PROC_MARKS]; /* of their hop sockets; 0: nobody's */
};

struct pm_link {
	uint32_t to; /* enum proc_id */
};

struct pm_tun {
	uint32_t index, count;
	uint32_t ifindex;
	uint32_t mtu;
	char name[IFNAMSIZ];
};

enum proc_socket {
	PROC_SOCKET_OUTER, /* reuseport group at `port`, one per worker, index = place in the group */
	PROC_SOCKET_PORT500, /* waiting side: IKE_SA_INIT of foreign initiators */
	PROC_SOCKET_HOP,     /* another source port, ephemeral */
	PROC_SOCKET_PORT,    /* a further UDP port at which we are called */
	PROC_SOCKET_TCP,     /* listening: TCP encapsulation, */
	PROC_SOCKET_TLS,     /* and in TLS */
	PROC_SOCKETS
};

struct pm_socket {
	uint32_t kind; /* enum proc_socket */
	uint32_t index, count;
	uint32_t
	    family; /* AF_INET6 takes both (v4 as mapped); AF_INET where the machine has no IPv6 */
	uint32_t port; /* local, host order */
};

enum proc_listener {
	PROC_LISTENER_CONTROL, /* Unix, control.sock */
	PROC_LISTENER_EVENTS,  /* Unix, events.sock */
	PROC_LISTENER_METRICS, /* TCP on loopback; only when configured */
	PROC_LISTENERS
};

struct pm_listener {
	uint32_t kind; /* enum proc_listener */
	uint32_t pad;
};

/*
 * The child has no file system. What it keeps across restarts (last endpoints, addresses of names)
 * it writes into preopened files, two by turns for each kind, with a serial and a checksum of their own.
 */
struct pm_state {
	uint32_t index, count; /* count is PROC_STATE_FILES */
};

/* Where peers could reach this machine as well (RFC 4555 s3.6). */
struct pm_addresses {
	uint32_t count;
	struct addr addr[PROC_ADDRS_MAX];
};

/* From state-dir: what lets a peer be shown that we were started anew (RFC 6290). */
struct pm_qcd {
	uint8_t secret[PROC_QCD_LEN];
};

/* postern drain is in force: the admin's word, which the child that took it may not outlive. */
struct pm_drain {
	uint32_t on; /* 0 or 1 */
	uint32_t pad;
};

/* ---- child -> parent ---- */

/*
 * A virtual address that a peer assigned to us (CP), to stand on the TUN as /32 or /128. Refused
 * (-EPROTO) unless that peer is configured and the address is inside the peer's accept-assigned, not
 * inside a local subnet, not a peer's outer address, and not a configured inner address of another.
 */
struct pq_addr {
	char peer[PROC_NAME_MAX];
	struct prefix addr;
};

/* Refused (-EPROTO) unless dst is inside the peer's `networks` or `assign`; src: ours or none. */
struct pq_route {
	char peer[PROC_NAME_MAX];
	struct prefix dst;
	struct addr src;
};

struct pq_link_set {
	uint32_t mtu;	       /* 576..65535, 0: leave */
	uint32_t gso_max_size; /* 0: leave; 1280..65536 */
	uint32_t gso_max_segs; /* 0: leave; 1..65535 */
	uint32_t pad;
};

struct pq_path {
	struct addr dst;
	uint32_t mark; /* of the peer's sockets; 0: ours. Refused (-EPROTO) unless some peer has it */
	uint32_t pad;
};

/* By which network does a path leave that PQ_PATH gave? */
struct pq_wan {
	uint32_t ifindex;
	uint32_t pad;
	struct addr src, gateway; /* gateway: none when on link */
};

struct pq_hop {
	uint32_t index; /* below PROC_HOPS: which gets another port */
	uint32_t pad;
};

/*
 * A tunnel with a peer that gives us addresses came up or went: the configured `hook` is told, with
 * these name servers and with the addresses that the parent itself took from that peer. Refused
 * (-EPROTO) for a peer that is not asked for addresses, and for what no resolver could be told.
 */
struct pq_hook {
	char peer[PROC_NAME_MAX];
	uint32_t up; /* 0 or 1 */
	uint32_t dns_count;
	struct addr dns[PROC_DNS_MAX]; /* zero behind dns_count */
};

/*
 * TCP encapsulation: a marked socket whose connect() has begun. Refused (-EPROTO) unless we call that
 * peer, and at one of its tcp-ports; so a child that was taken over calls no port of its choice.
 */
struct pq_stream {
	char peer[PROC_NAME_MAX];
	struct addr to;
	uint32_t port;
	uint32_t tls; /* 0 or 1: as its tcp-ports have it */
};

struct pr_reply {
	int32_t status;	  /* 0 or -errno; -EPROTO: forbidden by the configuration */
	uint32_t request; /* PQ_* */
};

struct pr_path {
	struct pr_reply head;
	uint32_t ifindex;
	uint32_t mtu;
	struct addr src;
	struct addr gateway;
};

struct pr_wan {
	struct pr_reply head;
	char ifname[IFNAMSIZ];
	struct prefix prefix; /* of src on that interface */
	uint8_t mac[6];	      /* of the gateway */
	uint8_t pad[2];
};

/* A device by which a route leads to the address that was asked about. */
struct proc_way {
	uint32_t ifindex;
	uint32_t mtu;
	uint32_t chosen; /* 1: the kernel takes it without a wish */
	uint32_t pad;
	struct addr src, gateway;
	char name[IFNAMSIZ];
};

/* That which the kernel takes first. */
struct pr_ways {
	struct pr_reply head;
	uint32_t count;
	uint32_t pad;
	struct proc_way way[PROC_WAYS_MAX];
};

struct pr_hop {
	struct pr_reply head;
	struct pm_socket socket;
};

struct pr_reload {
	struct pr_reply head;
	uint32_t text_len; /* bytes that follow; the reason when status is not 0 */
	uint32_t pad;
};

/* ---- child <-> keys ---- */

/* Sign with the private key that peer's section names, or else the one of [posternd]. */
struct kq_sign {
	char peer[PROC_NAME_MAX];
	uint32_t scheme; /* enum sig_scheme (sign.h); -EINVAL when it does not fit the key */
	uint32_t len;	 /* octets that follow: RFC 7296 s2.15 <SignedOctets>, see proc_check_octets() */
};

/* The public half of that key: SubjectPublicKeyInfo in DER, for the key type and for the peer. */
struct kq_public {
	char peer[PROC_NAME_MAX];
};

/* prf(prf(PSK, "Key Pad for IKEv2"), octets), RFC 7296 s2.15; for both directions. */
struct kq_psk {
	char peer[PROC_NAME_MAX];
	uint32_t prf; /* PRF_HMAC_SHA2_* (suite.h) */
	uint32_t len;
};

struct kr_reply {
	int32_t status;	  /* 0; -ENOENT: no such key; -EINVAL: it does not fit; -EIO */
	uint32_t request; /* KQ_* */
	uint32_t len;	  /* bytes that follow, at most PROC_RESULT_MAX */
	uint32_t pad;
};

/* ---- child <-> resolver ---- */

struct rq_lookup {
	char name[PROC_HOST_MAX]; /* letters, digits, '-', '_', '.' */
	uint32_t timeout_ms;	  /* 100..60000 */
	uint32_t pad;
};

struct rr_reply {
	int32_t
	    status; /* 0; -ENOENT: no such name; -EAGAIN: no answer now; -ETIMEDOUT; -EBUSY: full */
	uint32_t count;
	struct addr addr[PROC_ADDRS_MAX]; /* as the system's resolver orders them (RFC 6724) */
};

/* ---- checks by the receiver ---- */

/**
 * proc_check_request() - Is @m a well-formed PQ_ request: type, exact length, no descriptor,
 * terminated names, canonical addresses, numbers in range?
 * @why: on failure what is wrong, for the log.
 * Returns 0 or -EBADMSG. Whether it is *allowed* is policy.h's question.
 */
int proc_check_request(const struct ipc_msg *m, const char **why);
/** proc_check_keys() - The same for KQ_. */
int proc_check_keys(const struct ipc_msg *m, const char **why);
/**
 * proc_check_octets() - Have these the shape of what RFC 7296 s2.15 signs: a whole IKE_SA_INIT message (of
 * either side, v2, message ID 0), then a nonce and the output of a PRF? Whoever has taken the child over
 * gets nothing else signed: no certificate, no other protocol's transcript. 0 or -EBADMSG.
 */
int proc_check_octets(const void *octets, size_t len);
/** proc_check_resolver() - The same for RQ_. */
int proc_check_resolver(const struct ipc_msg *m, const char **why);
/** proc_check_reply() - The same for PR_, KR_, RR_ replies and PM_ messages, in the child. */
int proc_check_reply(const struct ipc_msg *m, const char **why);

/** proc_name_set() - Copy a name into a field of @cap bytes, zero padded; -ENAMETOOLONG. */
int proc_name_set(char *field, size_t cap, const char *name);

#endif
