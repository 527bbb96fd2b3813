/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef PEER_SUPERVISOR_H
#define PEER_SUPERVISOR_H

/*
 * Theory: one supervisor per peer, for as long as the peer is configured. It has no terminal state:
 * whatever happens, it either is up, or calls, or waits to be called, and goes on for ever. It owns
 * at most one live IKE SA, and beside it (when that one is silent, or there is none) a round of
 * attempts, one for each address of the peer; the first that authenticates becomes the live one.
 *
 *	      want, names, routes                    PEER_UP
 *	off ──────────► calling ─────────────────────────────► up ◄──────────┐
 *	 ▲                ▲  │ refused: 1 .. 30 s              │              │ REPLY
 *	 │ admin          │  └──────┐                          │ 8 s no answer│
 *	 │                └─────────┘        PEER_DOWN         ▼              │
 *	waiting ◄───────────────────────────────────────── silent ───────────┘
 *	                                          start side: 2 s second source port (hop.c),
 *	                                          15 s attempts beside the old SA, or at once
 *	                                          when a hint says that it has lost ours
 *
 * Proof of life is t_reply: when an authenticated response to a request of ours last came. Inbound
 * ESP never touches it, since it proves nothing about the way back.
 *
 * Time and everything outside come as arguments or through struct sup_ops, so that a test can
 * live a year in a millisecond. Ops never call back into the supervisor.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "endpoint.h"
#include "engine.h"
#include "keepalive.h"
#include "recall.h"

#define SUP_SOCKS_MAX	12 /* main and hop sockets, by the number in engine_path */
#define SUP_HOSTS_MAX	8  /* names and addresses of one peer that are used */
#define SUP_TARGETS_MAX 16 /* addresses that are called at once */
#define SUP_NAME_ADDRS	8
#define SUP_HOST_REDIRECT (SUP_HOSTS_MAX + 1) /* in place of a number of a host: see redirect.h */
#define SUP_RECALL_MS	60000 /* how long the last endpoint is called after our own start */

/* Numbers of design.md section 4, in one place. */
#define SUP_DATA_ASK_MS	   10000 /* inner data has left, and t_reply is older: ask */
#define SUP_DUMB_MS	   500	 /* ... and nothing came back for so long, though it did before */
#define SUP_DUMB_PROOF_MS  1500	 /* ... and there was no other proof of life in this time, */
#define SUP_DUMB_PACE_MS   5000	 /* ... at most one such question in this time, */
#define SUP_DUMB_LAST_MS   5000	 /* ... and none when it has lasted for so long */
#define SUP_BUSY_SAMPLE_MS 250	 /* how often activity is looked at while data leaves */
#define SUP_RENAME_MS	   2000	 /* a request unanswered for so long: do its names say something else? */
#define SUP_RENAME_PACE_MS 5000
#define SUP_EAGER_ASK_MS   2000	 /* the same where another server could take over */
#define SUP_START_ASK_MS   30000 /* start side: t_reply older (or 2 keepalives): ask */
#define SUP_FOREIGN_ASK_MS 20000 /* the same towards a peer that is no Postern */
#define SUP_WAIT_ASK_MS	   60000 /* waiting side, idle peer: at least */
#define SUP_SILENT_MS	   8000	 /* a request unanswered for so long: told as down */
#define SUP_HOP_MS	   2000	 /* ... the same bytes from another source port */
#define SUP_SLEPT_MS	   1000	 /* ... the same after a sleep */
#define SUP_HOP_TURN_MS	   20000 /* ... another one each 20 s, the one before is renewed meanwhile */
#define SUP_WAITED_MS	   1000	 /* an answer that took so long ends a silence */
#define SUP_PARALLEL_MS	   15000 /* ... attempts beside the old SA */
#define SUP_KICK_MS	   1000	 /* at most one immediate attempt in this time */
#define SUP_GAP_MIN_MS	   2000	 /* between attempts: 2 .. 4 s, */
#define SUP_GAP_MAX_MS	   4000
#define SUP_LONG_GAP_MS	   30000 /* and this much after a day */
#define SUP_DAY_MS	   (24ull * 3600 * 1000)
#define SUP_FRESH_MS	   300000 /* an attempt keeps its SPI and DH value no longer */
#define SUP_STAGGER_MS	   250	  /* between the addresses of one round */
#define SUP_REFUSED_MIN_MS 1000
#define SUP_REFUSED_MAX_MS 30000
#define SUP_BUSY_MS	   60000 /* our identity is in use elsewhere */
#define SUP_BRIEF_MS	   10000 /* one that the far side closes so soon was no welcome */
#define SUP_RECALL_GAP_MS  1000	 /* recall without a route: looked for again */
#define SUP_ICMP_MS	   5000	 /* at most one liveness for ICMP errors in this time */
#define SUP_SAMPLE_MS	   2000	 /* how often activity is looked at while up */
#define SUP_JUMP_MS	   5000	 /* a tick that comes so late: the machine slept */

enum sup_start { SUP_ALWAYS, SUP_ON_DEMAND, SUP_WAIT };

struct sup_host {
	const char *name; /* NULL: addr is given */
	struct addr addr;
};

enum sup_tcp { SUP_TCP_AUTO, SUP_TCP_NEVER, SUP_TCP_ALWAYS };
#define SUP_PORTS_MAX 3

/* Where else it listens. */
struct sup_transport_config {
	enum sup_tcp tcp;
	uint8_t udp_count, tcp_count;
	uint8_t tls; /* bit i: tcp_port[i] speaks TLS */
	uint16_t udp[SUP_PORTS_MAX], tcp_port[SUP_PORTS_MAX];
};

struct sup_config {
	uint32_t peer;
	enum sup_start start;
	const struct sup_host *host; /* borrowed until sup_update() or sup_remove() */
	size_t host_count;	     /* <= SUP_HOSTS_MAX */
	uint16_t port;
	const char *interface; /* by which alone packets leave; config's; NULL: any */
	uint8_t sock_set; /* of the sockets with its mark; the kernel's rules choose its way; 0: no mark */
	uint64_t retry_max_ms; /* the engine has it too, for its retransmissions */
	uint64_t keepalive_ms;  /* 0: as the way there needs it (wan.h) */
	bool gives; /* it calls us and gets its addresses in the tunnel from us */
	uint64_t inactivity_ms; /* closed after so long without inner data; 0: never */
	struct sup_transport_config transport;
};

struct sup_activity {
	uint64_t tx_data_ms, tx_any_ms, rx_auth_ms, rx_data_ms;
	uint64_t tx_first_ms; /* first inner data that left at rx_data_ms or later; older: none did */
};

/* The kernel's way to an address. */
struct sup_route {
	uint32_t ifindex;
	struct addr src, gateway;
};

/* One of the ways to an address, as the kernel likes them. */
struct sup_way {
	uint32_t ifindex;
	bool chosen; /* the kernel takes it without a wish */
	struct addr src, gateway;
	char name[16];
};

/* A [wan] section. */
struct sup_wan {
	const char *interface;
	uint32_t priority;
};

struct sup_ops {
	/* The engine. initiate gives a handle > 0 or -errno. */
	int64_t (*initiate)(void *arg, uint32_t peer, const struct engine_path *path);
	void (*drop)(void *arg, uint32_t ike);
	void (*close)(void *arg, uint32_t ike);
	void (*liveness)(void *arg, uint32_t ike);
	void (*retransmit)(void *arg, uint32_t ike, const struct engine_path *via);
	void (*set_path)(void *arg, uint32_t ike, const struct engine_path *path);
	/*
	 * Our side of an IKE SA with MOBIKE moved, set_path has told where to: UPDATE_SA_ADDRESSES is
	 * the next request, once the outstanding one is answered (RFC 4555 s3.5). 0, or -errno when
	 * that cannot be (we are not its original initiator): then a liveness is asked for. May be NULL.
	 */
	int (*update_addresses)(void *arg, uint32_t ike);
	bool (*answered)(void *arg,
			 uint32_t ike); /* did the far side say anything in this attempt? */
	/* The same as liveness, but the first copy leaves by @via, the others by the SA's path. May be NULL. */
	void (*probe)(void *arg, uint32_t ike, const struct engine_path *via);
	/*
	 * TCP encapsulation. Asynchronous: answered by sup_on_stream() once, when it can carry IKE or cannot be
	 * had; non-zero: no answer will come. May be NULL: there is none.
	 */
	int (*connect)(void *arg, uint32_t peer, const struct endpoint *to, bool tls);
	void (*disconnect)(void *arg, uint32_t sock);
	/* Asynchronous: answered by sup_on_resolved(), sup_on_route(); non-zero: no answer will come. */
	int (*resolve)(void *arg, uint32_t peer, size_t host, const char *name);
	int (*route)(void *arg, uint32_t peer, const struct addr *to);
	/* The same for all devices: path_on_ways(). May be NULL: then the kernel chooses always. */
	int (*ways)(void *arg, uint32_t peer, const struct addr *to);
	/* An IPv4 address has no way: learn env->nat64; sup_on_nat64() follows. May be NULL. */
	void (*nat64)(void *arg);
	/* The data plane. */
	/* An authenticated dummy with @token by @via; path_on_probe() at the far end. May be NULL. */
	void (*test_way)(void *arg, uint32_t peer, const struct engine_path *via,
			 const uint8_t *token, size_t len);
	void (*move)(void *arg, uint32_t peer, const struct engine_path *path, bool limited,
		     uint64_t credit_bytes);
	void (*dummy)(void *arg, uint32_t peer);
	void (*nat_keepalive)(void *arg, uint32_t peer);
	void (*activity)(void *arg, uint32_t peer, struct sup_activity *a);
	/* Others. */
	void (*changed)(void *arg, uint32_t peer, bool up);
	void (*roamed)(void *arg, uint32_t peer, const struct endpoint *from,
		       const struct endpoint *to, const char *why);
	void (*remember)(void *arg, uint32_t peer); /* sup_memory has changed */
	uint32_t (*random)(void *arg, uint32_t below);
};

/* The sockets that there are; the same for all peers. */
struct sup_env {
	const struct sup_ops *ops;
	void *arg;
	uint16_t sock_port[SUP_SOCKS_MAX];   /* local port, 0: no such socket; 0 is the main one */
	uint32_t sock_number[SUP_SOCKS_MAX]; /* as it stands in engine_path */
	uint8_t sock_family[SUP_SOCKS_MAX];
	uint8_t sock_set[SUP_SOCKS_MAX]; /* a peer has one set, as its sup_config says; 0: without a mark */
	size_t sock_count;
	const struct sup_wan *wan; /* none: any device that leads to a peer */
	size_t wan_count;
	const struct nat64 *nat64; /* how this network reaches IPv4; NULL: never asked for */
};

enum sup_attempt_state { SUP_AT_NONE, SUP_AT_WAIT, SUP_AT_ROUTE, SUP_AT_CALLING };

struct sup_attempt {
	enum sup_attempt_state state;
	struct endpoint remote;
	size_t host; /* which of ours it came from; SUP_HOSTS_MAX: recall */
	bool stream; /* by a connection of its own, not by datagrams */
	uint32_t ike;
	uint64_t at_ms;	  /* WAIT: when to begin; else when it began */
	uint32_t ifindex; /* it is to leave there; 0: by the best way */
	uint32_t via;	  /* CALLING: by which device it left; 0: the kernel's choice */
};

/* Addresses of a peer's names, the last that were found. */
struct sup_names {
	struct addr addr[SUP_HOSTS_MAX][SUP_NAME_ADDRS];
	uint8_t count[SUP_HOSTS_MAX];
};

/* What is worth keeping over restarts. */
struct sup_memory {
	struct endpoint endpoint; /* waiting side: last validated; family 0: none */
	struct sup_names *names;  /* owned; NULL: nothing was found */
};

struct sup_redirect; /* redirect.h */
struct supervisor;
struct sup_transport;

/*
 * struct sup_hook - A mechanism that takes part in the supervision of every peer.
 *
 * Each has a file of its own, its state as one member at the end of struct supervisor, and one line in
 * hooks.c, in whose order they are called. Any function may be NULL. They may use ops, and what call.h
 * declares; they never call sup_*().
 */
struct sup_hook {
	/* sup_init() (all zero but cfg, env and memory) and sup_update(). */
	void (*init)(struct supervisor *s, uint64_t now_ms);
	/* Each sup_tick(), before calls are made. Returns when it wants the next one, or UINT64_MAX. */
	uint64_t (*tick)(struct supervisor *s, uint64_t now_ms);
	/* A round of calls begins: more targets by call_add(). */
	void (*round)(struct supervisor *s, uint64_t now_ms);
	/*
	 * Something is about to leave by @path, towards path->remote: an attempt (@a), or a request
	 * of the live IKE SA (@a NULL) that hops or follows a route. The hook may choose another socket,
	 * source or interface. False: by no way at present, it is tried again in the next round.
	 */
	bool (*depart)(struct supervisor *s, const struct sup_attempt *a, struct engine_path *path,
		       uint64_t now_ms);
	/* An effect that is about this peer (also FX_PRIVATE), after the supervisor has dealt with it. */
	void (*fx)(struct supervisor *s, const struct fx *fx, uint64_t now_ms);
	/* Links, addresses or routes of this machine changed. */
	void (*network)(struct supervisor *s, uint64_t now_ms);
};

/* hooks.c; NULL ends it. */
extern const struct sup_hook *const sup_hooks[];

struct supervisor {
	const struct sup_env *env;
	struct sup_config cfg;
	bool admin_down;
	bool standby; /* another server of the same peer serves: closed, not called */
	bool eager;   /* and one could: silence is to be noticed soon */
	bool wanted; /* on-demand: a packet asked for it */

	/* the live IKE SA */
	uint32_t ike; /* 0: none */
	bool postern, mobike, nat_local, nat_remote, child;
	struct endpoint_rule where; /* where it is, and whether that is sure */
	uint32_t good_sock;	    /* by its number: the last IKE SA's; calls begin there */
	struct sup_route route;	    /* towards it */
	uint64_t up_ms;		    /* since when this IKE SA lives */
	uint64_t reply_ms;	    /* t_reply */
	uint64_t dumb_ms;	    /* last question because what went both ways only left */
	uint64_t asked_ms;	    /* a request of ours is unanswered since; 0: none */
	uint64_t ike_tx_ms;	    /* last request that we know of: it refreshes a NAT as well */
	uint64_t rx_auth_ms, rx_gap_ms; /* waiting side: how often it is usually heard */
	struct keepalive ka;
	bool slept;    /* and since it was asked for that: what it knew may be gone long since */
	bool hinted;   /* it does not answer, and somebody says that it has lost this IKE SA */
	bool moved;    /* it does not answer, and its name says that it is elsewhere */
	uint64_t renamed_ms; /* when its names were last asked for because it does not answer */
	uint64_t hop_due_ms; /* what is unanswered goes by another socket; 0: nothing is for so long */
	bool closing;	     /* for inactivity */
	bool told_up;
	unsigned held; /* questions whose answer this IKE SA waits for before it counts as up */
	bool
	    held_in_vain; /* the last one ended so: its back-off and reason outlive the next attempt */

	/* calling */
	struct sup_attempt *attempt; /* owned; NULL while there is none */
	size_t attempt_count;	     /* free places among them included; <= SUP_TARGETS_MAX */
	bool resolving[SUP_HOSTS_MAX];
	uint64_t next_call_ms;
	uint64_t refused_ms; /* present back-off; 0: none */
	uint64_t refused_until_ms;
	uint64_t brief_ms; /* the same for IKE SAs that the far side closed at once */
	uint64_t kicked_ms, icmp_ms;
	uint64_t recall_ms, recall_until_ms; /* waiting side: next try, end; 0: none */
	uint64_t silent_since_ms; /* last proof of life, for the long gap */

	struct sup_redirect *redirect; /* owned; NULL: the peer never sent us elsewhere */
	struct sup_memory memory;
	uint64_t due_ms;
	uint64_t tick_ms;
	char *failure; /* owned: why the last negotiation failed; NULL: none did, or it is up */
	uint64_t failure_ms;
	struct sup_elsewhere *elsewhere; /* owned: where else it is, as it said; NULL: nowhere */
	char *claim; /* owned: why one who only said that he is this peer was turned away, or NULL */
	uint64_t claim_ms, claims;
	uint64_t moves, hops, rounds, ups;
	uint32_t trials, trials_won, trials_lost; /* of new addresses */
	uint64_t tcp_ups, udp_returns;
	struct sup_transport *transport; /* owned: transport.c; NULL: nothing was needed of it */

	/* path.c */
	struct path *path;   /* owned; NULL: we do not call it */
	uint64_t answer_ms;  /* how long the last answer took, or 0 */
	uint64_t probed_ms;  /* the second in which ... */
	uint16_t probed;     /* so many tests of its were answered */
	uint8_t family_first; /* the one that was the better; 0: IPv6 */
};

/** sup_say() - *@at is a copy of @text now, what was there is freed; NULL: nothing is. */
void sup_say(char **at, const char *text);
/** sup_init() - A new peer; begins with the next sup_tick(). @m is copied; may be NULL. */
void sup_init(struct supervisor *s, const struct sup_env *env, const struct sup_config *cfg,
	      const struct sup_memory *m, uint64_t now_ms);
/** sup_update() - A reload changed how it is called; a refusal's back-off is forgotten. */
void sup_update(struct supervisor *s, const struct sup_config *cfg, uint64_t now_ms);
/** sup_remove() - Drops attempts, frees all; the engine removes the IKE SA with the peer. */
void sup_remove(struct supervisor *s);
/** sup_clear() - Only frees: the engine is gone already. */
void sup_clear(struct supervisor *s);
/** sup_standby() - One of several servers that is not needed (@on), or is again. */
void sup_standby(struct supervisor *s, bool on, uint64_t now_ms);
/** sup_admin() - `postern up` and `down`. */
void sup_admin(struct supervisor *s, bool up, uint64_t now_ms);
/**
 * sup_recall() - After our own start, a waiting peer: call the endpoint that it was last seen at,
 * from @at_ms on, for SUP_RECALL_MS; while there is no way to it, it is looked for each second.
 */
void sup_recall(struct supervisor *s, uint64_t at_ms);
/** sup_recall_end() - It is somebody else's turn. */
void sup_recall_end(struct supervisor *s);
/** sup_recall_state() - What came of it. */
enum recall_state sup_recall_state(const struct supervisor *s);

/** sup_due_ms() - When to call sup_tick(); it may be called at any time. */
static inline uint64_t sup_due_ms(const struct supervisor *s)
{
	return s->due_ms;
}
void sup_tick(struct supervisor *s, uint64_t now_ms);

/* Answers and events. */
void sup_on_resolved(struct supervisor *s, size_t host, int status, const struct addr *addr,
		     size_t count, uint64_t now_ms);
void sup_on_route(struct supervisor *s, const struct addr *to, int status,
		  const struct sup_route *r, uint64_t now_ms);
/** sup_on_nat64() - env->nat64 is another one now: what had no way may have one. */
void sup_on_nat64(struct supervisor *s, uint64_t now_ms);
/** sup_on_path_change() - Links, addresses or routes of this machine changed. */
void sup_on_path_change(struct supervisor *s, uint64_t now_ms);
/** sup_on_wake() - The machine has slept; a tick that comes much too late says the same. */
void sup_on_wake(struct supervisor *s, uint64_t now_ms);
/** sup_on_inner_packet() - One waits that cannot be sent. */
void sup_on_inner_packet(struct supervisor *s, uint64_t now_ms);
/** sup_on_stream() - What connect brought: @status 0 and a path that can carry IKE, or -errno. */
void sup_on_stream(struct supervisor *s, const struct endpoint *to, bool tls, int status,
		   const struct engine_path *path, uint64_t now_ms);
/** sup_tries() - Is this stream one of its attempts? */
bool sup_tries(const struct supervisor *s, uint32_t sock);
/** sup_on_stream_gone() - A stream that may be this peer's has broken. */
void sup_on_stream_gone(struct supervisor *s, uint32_t sock, uint64_t now_ms);
void sup_on_icmp(struct supervisor *s, uint64_t now_ms);
/** sup_on_endpoint() - DP_EV_ENDPOINT: authentic, newest, from another tuple. */
void sup_on_endpoint(struct supervisor *s, const struct engine_path *path, uint32_t bytes,
		     bool newest, uint64_t now_ms);
/** sup_on_fx() - An effect of the engine that is about this peer (PEER_UP .. FAILED). */
void sup_on_fx(struct supervisor *s, const struct fx *fx, uint64_t now_ms);

/** sup_ask() - Ask the live IKE SA for proof of life; for the files of this folder. */
void sup_ask(struct supervisor *s, uint64_t now_ms);
/** sup_ask_moved() - The same after our own side moved: with MOBIKE by UPDATE_SA_ADDRESSES. */
void sup_ask_moved(struct supervisor *s, uint64_t now_ms);

/**
 * sup_hold() - An address that the peer gave us is asked for (@on), or that was answered. Before that the
 * peer is not up; a refusal ends the IKE SA with ENGINE_WHY_ADDRESS first.
 */
void sup_hold(struct supervisor *s, bool on, uint64_t now_ms);
/** sup_is_up() - As events.sock tells it: authenticated, with a CHILD, and answering. */
bool sup_is_up(const struct supervisor *s, uint64_t now_ms);
/** sup_state() - One word: up, silent, childless, calling, refused, waiting, idle, off. */
const char *sup_state(const struct supervisor *s, uint64_t now_ms);
/** sup_cost_bytes() - What a day of silence costs at the present pace, IP and UDP headers counted. */
uint64_t sup_cost_bytes(const struct supervisor *s, uint64_t now_ms);

#endif
