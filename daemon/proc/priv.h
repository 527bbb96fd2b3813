/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DAEMON_PROC_PRIV_H
#define DAEMON_PROC_PRIV_H

/*
 * Theory: the child's side of the three processes that may do what it may not: the parent (devices,
 * routes, sockets), keys (private keys) and the resolver (names). All requests are asynchronous:
 * a call returns 0 when the request is on its way, and then its callback runs exactly once, from the
 * loop, never from within the call; or it returns -errno and the callback never runs. A sibling that
 * was restarted fails what it had pending with -ECONNRESET; the caller tries again. The parent's end is
 * the child's end (.gone).
 *
 *	main:	p = priv_new(loop, &ops, arg);
 *		priv_wait(p, 10000, &inv)	blocks until PM_GO: all that the child owns
 *		... parse inv.bundle, sandbox_opened(), make rings and workers, sandbox_run() ...
 *		loop_run(loop)
 *
 * Control thread only.
 */

#include "bundle.h"
#include "loop.h"
#include "proc_msg.h"
#include "sign.h"

struct priv;

struct priv_socket {
	int fd;
	sa_family_t family;
	uint16_t port;
};

/* What the parent gave at start. The child owns all of it (descriptors and bundle). */
struct priv_inventory {
	struct bundle *bundle; /* parsed from what the parent read; bundle_free() */
	uint64_t generation;
	char tun_name[IFNAMSIZ];
	uint32_t tun_ifindex;
	uint32_t tun_mtu;
	int tun_fd[PROC_WORKERS_MAX];
	size_t tun_count;
	struct priv_socket outer[PROC_WORKERS_MAX]; /* in the order of the reuseport group */
	size_t outer_count;
	struct priv_socket port500; /* fd -1: none */
	struct priv_socket hop[PROC_HOPS];
	size_t hop_count;
	struct priv_socket port[PROC_PORTS]; /* further UDP ports */
	size_t port_count;
	struct priv_socket tcp[PROC_PORTS]; /* listening */
	bool tls[PROC_PORTS];		    /* in TLS */
	size_t tcp_count;
	int listener[PROC_LISTENERS]; /* enum proc_listener -> listening socket or -1 */
	int state_fd[PROC_STATE_FILES];
	uint8_t qcd[PROC_QCD_LEN];
	struct pm_addresses addresses; /* at the start */
	bool drain; /* it was in force when the child before this one ended */
};

struct priv_ops {
	/* A reload: a new configuration; @b is the callee's (bundle_free). */
	void (*config)(struct bundle *b, uint64_t generation, void *arg);
	void (*path_changed)(void *arg); /* look paths up again (design.md §4, liveness (4)) */
	/* Where peers could reach us; may be NULL. */
	void (*addresses)(const struct addr *a, size_t count, void *arg);
	void (*stop)(void *arg);	 /* orderly end: tell the peers, then return from main */
	void (*gone)(void *arg);	 /* the parent is gone: end at once */
};

/** priv_new() - Takes descriptor PROC_IPC_FD. NULL and errno. */
struct priv *priv_new(struct loop *l, const struct priv_ops *ops, void *arg);
/** priv_wait() - Run the loop until the inventory is complete; 0, -ETIMEDOUT, -EPIPE, -EBADMSG. */
int priv_wait(struct priv *p, uint64_t timeout_ms, struct priv_inventory *inv);
/** priv_free() - Pending callbacks do not run any more. */
void priv_free(struct priv *p);

/* @status: 0, -EPROTO (forbidden by the configuration; the parent's log says which rule), -errno. */

int priv_addr_add(struct priv *p, const char *peer, const struct addr *a,
		  void (*done)(int status, void *arg), void *arg);
int priv_addr_del(struct priv *p, const char *peer, const struct addr *a,
		  void (*done)(int status, void *arg), void *arg);
/** priv_route_add() - @src: preferred source, one of our tunnel addresses, or NULL. */
int priv_route_add(struct priv *p, const char *peer, const struct prefix *dst,
		   const struct addr *src, void (*done)(int status, void *arg), void *arg);
int priv_route_del(struct priv *p, const char *peer, const struct prefix *dst,
		   void (*done)(int status, void *arg), void *arg);
/** priv_link_set() - Zero leaves a value as it is. */
int priv_link_set(struct priv *p, uint32_t mtu, uint32_t gso_max_size, uint32_t gso_max_segs,
		  void (*done)(int status, void *arg), void *arg);
/** priv_drain() - The parent keeps it: a child that is started anew is told in its inventory. */
int priv_drain(struct priv *p, bool on, void (*done)(int status, void *arg), void *arg);
/** priv_hook() - Tell the admin's program; @status says only whether it will be. */
int priv_hook(struct priv *p, const char *peer, bool up, const struct addr *dns, size_t dns_count,
	      void (*done)(int status, void *arg), void *arg);
/** priv_marks() - Of the hop sockets from PROC_HOPS_OWN on, as the newest configuration has them. */
const uint32_t *priv_marks(const struct priv *p);
/** priv_path() - The route that a packet of an outer socket with @mark (0: our own) takes; @path is NULL unless status is 0. */
int priv_path(struct priv *p, const struct addr *dst, uint32_t mark,
	      void (*done)(int status, const struct pr_path *path, void *arg), void *arg);
/** priv_wan() - By which network a path of priv_path() leaves; @w is NULL unless status is 0. */
int priv_wan(struct priv *p, uint32_t ifindex, const struct addr *src, const struct addr *gateway,
	     void (*done)(int status, const struct pr_wan *w, void *arg), void *arg);
/** priv_ways() - All devices by which a route leads there; see net_ways(). @count 0 unless status is 0. */
int priv_ways(struct priv *p, const struct addr *dst, uint32_t mark,
	      void (*done)(int status, const struct proc_way *way, size_t count, void *arg),
	      void *arg);
/** priv_hop() - Another source port for hop @index; @s->fd is one more duplicate, the callee's. */
int priv_hop(struct priv *p, uint32_t index,
	     void (*done)(int status, const struct priv_socket *s, void *arg), void *arg);
/** priv_stream() - A TCP socket that connects to @to for @peer; @fd is the callee's, -1 unless status is 0. */
int priv_stream(struct priv *p, const char *peer, const struct endpoint *to, bool tls,
		void (*done)(int status, int fd, void *arg), void *arg);
/** priv_reload() - @text is the reason (terminated) when status is not 0. .config runs before. */
int priv_reload(struct priv *p, void (*done)(int status, const char *text, void *arg), void *arg);

/** priv_sign() - AUTH signature by the keys process; @sig lives during the callback. */
int priv_sign(struct priv *p, const char *peer, enum sig_scheme scheme, const void *octets,
	      size_t len, void (*done)(int status, const uint8_t *sig, size_t sig_len, void *arg),
	      void *arg);
/** priv_psk_auth() - AUTH MAC by the keys process. @prf: PRF_HMAC_SHA2_*. */
int priv_psk_auth(struct priv *p, const char *peer, uint16_t prf, const void *octets, size_t len,
		  void (*done)(int status, const uint8_t *mac, size_t mac_len, void *arg),
		  void *arg);
/** priv_public() - SubjectPublicKeyInfo of our key towards @peer, for pubkey_from_spki(). */
int priv_public(struct priv *p, const char *peer,
		void (*done)(int status, const uint8_t *spki, size_t len, void *arg), void *arg);
/** priv_resolve() - Addresses of a name; always answered within @timeout_ms and a little. */
int priv_resolve(struct priv *p, const char *name, uint32_t timeout_ms,
		 void (*done)(int status, const struct addr *addr, size_t count, void *arg),
		 void *arg);
/** priv_resolve_flush() - The network changed: forget queued look-ups (-ECANCELED to each). */
void priv_resolve_flush(struct priv *p);

#endif
