/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_RELAY_RELAY_H
#define MTA_RELAY_RELAY_H

/*
 * Theory: inside of the relay process. The queue hands attempts; those of one route and next hop
 * wait at a struct hop and go through as few connections as the hop's sessions_max allows:
 *
 *	attempt ---> hop (waiting) ---> conn (dial, TLS, session) or the mailbox of this machine
 *	   \___________________ result, then committed __________________/
 *
 * The relay keeps no opinion of a next hop between attempts: what failed is told, and the queue
 * decides when to try again.
 */

#include "deliver.h"
#include "dial.h"
#include "envelope.h"
#include "hash.h"
#include "lookup.h"
#include "msg.h"
#include "proc_mta.h"
#include "route.h"
#include "client.h"
#include "tls.h"
#include "xpostern.h"

#define CREDITS	       64  /* attempts that the queue may have with us */
#define CONNS_MAX      256 /* of the whole process */
#define COMMIT_WINDOW  8   /* results not yet committed on one session without XPOSTERN */
#define IDLE_MX_MS     2000
#define IDLE_TUNNEL_MS 30000
#define TUNNEL_NEWS_MS 2000 /* how long the queue's word counts more than our own table */
#define TUNNEL_LOOK_MS 20

struct relay;
struct hop;
struct conn;

struct attempt {
	struct hash_node node; /* relay.attempts, by id, until committed */
	uint32_t id;
	struct relay *relay;
	struct attempt *next; /* of hop.waiting */
	struct conn *conn;    /* that it went over; NULL when that is gone */
	uint8_t *data;	      /* the message; texts point into it */
	struct msg_r_attempt msg;
	struct envelope env;
	struct out_letter letter;
	uint16_t *index; /* of each recipient in the envelope */
	char hop_params[XPOSTERN_PARAMS_MAX];
	int body_fd; /* -1: inline */
	bool answered;
	bool orphan; /* the queue that asked is gone */
	/* Delivery on this machine. */
	size_t mailbox_open;
};

struct hop {
	struct hash_node node; /* relay.hops, by route and next hop */
	struct relay *relay;
	char route_name[MTA_NAME_MAX];
	char next_hop[ROUTE_HOP_MAX];
	struct attempt *waiting, **waiting_tail;
	size_t waiting_count;
	struct conn *conns;
};

enum conn_state { CONN_RESOLVE, CONN_DIAL, CONN_TLS, CONN_SESSION };

struct conn {
	struct conn *next; /* of hop.conns */
	struct hop *hop;
	enum conn_state state;
	struct mta_route route; /* shallow: scalars only are used after a reload */
	struct lookup_req lookup;
	size_t address_next; /* in the route's list */
	struct dial dial;
	size_t target;
	struct loop_fd lf;
	struct tls *tls;
	struct tls_ctx *tls_ctx;
	bool plain;	   /* opportunistic TLS failed on this target before */
	bool tls_implicit; /* handshake before the banner */
	struct client session;
	bool session_open;
	struct timer begin, deadline, idle;
	uint64_t begun_ms;
	uint64_t progress_ms;
	size_t trickle; /* bytes written since */
	char *ehlo, *username, *password;
	uint32_t letters;
	uint32_t uncommitted;
	uint8_t families; /* that the queue allows */
	bool dead;	  /* freed at the end of the turn */
};

struct relay {
	struct child *ch;
	struct ipc *queue;
	struct lookup *lookup;
	struct hash_table attempts, hops;
	size_t conn_count;
	struct timer reap; /* frees dead conns and empty hops */
	char *client_chain, *client_key;
	size_t client_chain_len, client_key_len;
	char *authorities;
	size_t authorities_len;
	struct relay_secret {
		char *password;
	} * passwords; /* by route index */
	size_t password_count;
	/* postern-deliver */
	struct loop_fd mailbox;
	bool mailbox_open;
	uint32_t mailbox_number;
	struct mailbox_wait *mailbox_waits;
	struct timer mailbox_timer;
};

/* relay_main.c */
/** relay_settle() - All recipients of an attempt that are not settled get this. */
void relay_settle(struct attempt *a, enum rcpt_result result, enum fault_scope scope, uint16_t code,
		  const char *enhanced, const char *text);
/** relay_answer() - Send the result; @a lives on until it is committed. */
void relay_answer(struct attempt *a);
struct attempt *relay_pop(struct hop *h);
/** relay_fail_waiting() - The first that waits pays, the others are told "not tried". */
void relay_fail_waiting(struct hop *h, enum rcpt_result result, enum fault_scope scope,
			uint16_t code, const char *enhanced, const char *text);
void relay_pump(struct hop *h);
void relay_reap_soon(struct relay *r);
const struct mta_route *relay_route(const struct hop *h);

/* connect.c */
/** conn_new() - Begin a connection for @h. 0 or -errno (then nothing was begun). */
int conn_new(struct hop *h, const struct attempt *first);
/** conn_give() - Hand a letter to a ready connection. */
void conn_give(struct conn *c, struct attempt *a);
bool conn_can_take(const struct conn *c);
/** conn_opening() - Not yet ready for letters. */
bool conn_opening(const struct conn *c);
void conn_check_idle(struct conn *c);
void conn_close(struct conn *c, const char *why);
/** conn_after_cut() - The tunnel table changed: end @c when it is older than the tunnel's last coming up. */
void conn_after_cut(struct conn *c);
void conn_free(struct conn *c);

/* mailbox.c */
void mailbox_deliver(struct attempt *a);
void mailbox_init(struct relay *r);

#endif
