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

#include "address.h"
#include "asker.h"
#include "deliver.h"
#include "dial.h"
#include "envelope.h"
#include "hash.h"
#include "hop_keys.h"
#include "lookup.h"
#include "memory.h"
#include "msg.h"
#include "proc_mta.h"
#include "route.h"
#include "secrets.h"
#include "client.h"
#include "publisher.h"
#include "tls.h"
#include "xpostern.h"

#define CREDITS	       128 /* attempts that the queue may have with us: SCHEDULE_FLYING */
#define CONNS_MAX      256 /* of the whole process */
#define COMMIT_WINDOW  8   /* results not yet committed on one session without XPOSTERN */
#define IDLE_MX_MS     2000
#define IDLE_TUNNEL_MS 30000
#define TUNNEL_NEWS_MS 2000 /* how long the queue's word counts more than our own table */
#define TUNNEL_LOOK_MS 20
#define ENOUGH_MS      5000 /* to the next try of a hop that turned one more connection away */

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
	uint16_t *index;	      /* of each recipient in the envelope */
	char sender[ADDRESS_MAX + 1]; /* that we made for it, srs.h */
	char hop_params[XPOSTERN_PARAMS_MAX];
	int body_fd; /* -1: inline */
	bool answered;
	bool untold; /* answered, but the link did not take it */
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
	uint64_t enough_ms; /* it turned one more away: until then what works has to do */
};

enum conn_state { CONN_RESOLVE, CONN_DIAL, CONN_TLS, CONN_SESSION };

struct conn {
	struct conn *next; /* of hop.conns */
	struct hop *hop;
	enum conn_state state;
	struct mta_route route; /* shallow: scalars only are used after a reload */
	struct lookup_req lookup;
	size_t address_next; /* how many of the route's list have been looked at */
	size_t address_first;
	uint16_t port; /* of the one that is being resolved */
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
	/* hop_pin.c; of what the peer's key is learned */
	char identity[HOP_IDENTITY_MAX]; /* "": by configuration alone */
	bool pinned;			 /* it has shown a key before: that one, or no letter */
	uint8_t pin[HOP_KEY_LEN];
	uint32_t letters;
	uint32_t uncommitted;
	uint8_t families; /* that the queue allows */
	uint8_t counted;  /* MSG_R_FAMILY* that failed and are in the metrics already */
	bool old;	  /* begun before a reload, by a route that may have said something else */
	bool
	    publishes; /* for a set of recipients alone, @old from its beginning: takes no letters */
	struct question *question; /* for it alone, @old from its beginning; or NULL */
	bool dead;     /* freed at the end of the turn */
};

/* An attempt that there was no memory for, or that is not understood, until it is committed. */
struct refusal {
	uint32_t id;
	bool untold;
};

struct relay {
	struct child *ch;
	struct ipc *queue;
	struct lookup *lookup;
	struct hash_table attempts, hops;
	size_t conn_count;
	struct timer reap; /* frees dead conns and empty hops */
	struct refusal refusal[CREDITS];
	size_t refusal_count;
	uint32_t owed;	    /* credits that the link did not take */
	struct timer again; /* for that, and for results */
	struct secrets secrets;
	struct memory memory;
	struct publisher publisher;
	struct hop_keys shown; /* what peers have shown */
	bool shown_known;      /* the parent has told */
	struct question *questions;
	/* postern-deliver */
	struct loop_fd mailbox;
	bool mailbox_open;
	uint32_t mailbox_number;
	struct mailbox_wait *mailbox_waits;
	struct timer mailbox_timer;
};

/* result.c */
/** relay_settle() - All recipients of an attempt that are not settled get this. */
void relay_settle(struct attempt *a, enum rcpt_result result, enum fault_scope scope, uint16_t code,
		  const char *enhanced, const char *text);
/** relay_answer() - Send the result; @a lives on until it is committed. */
void relay_answer(struct attempt *a);
/** relay_refuse() - There is no struct attempt: its recipients were not tried. */
void relay_refuse(struct relay *r, uint32_t id);
/** relay_refused() - It was committed; false: that was none of those. */
bool relay_refused(struct relay *r, uint32_t id);
/** relay_grant() - @n more attempts may come; 0: those that could not be told. */
void relay_grant(struct relay *r, uint32_t n);
/** results_init() - 0 or -ENOMEM; from then on timers need no memory. */
int results_init(struct relay *r);
/** results_forget() - The queue that asked is gone. */
void results_forget(struct relay *r);

/* relay_main.c */
struct attempt *relay_pop(struct hop *h);
/** relay_fail_waiting() - The first that waits pays, the others are told "not tried". */
void relay_fail_waiting(struct hop *h, enum rcpt_result result, enum fault_scope scope,
			uint16_t code, const char *enhanced, const char *text);
void relay_pump(struct hop *h);
void relay_reap_soon(struct relay *r);
const struct mta_route *relay_route(const struct hop *h);
/** relay_hop() - By route and next hop, made when it is new; NULL on ENOMEM. */
struct hop *relay_hop(struct relay *r, const char *route, const char *next_hop);

/* connect.c */
/** conn_new() - Begin a connection for @h by @families (MSG_R_FAMILY*); it is h->conns then. 0 or -errno. */
int conn_new(struct hop *h, uint8_t families);
/** conn_give() - Hand a letter to a ready connection. */
void conn_give(struct conn *c, struct attempt *a);
/** conn_cancel() - A letter that it has is not wanted any more; see client_cancel(). */
void conn_cancel(struct conn *c, struct attempt *a);
bool conn_can_take(const struct conn *c);
/** conn_opening() - Not yet ready for letters. */
bool conn_opening(const struct conn *c);
void conn_check_idle(struct conn *c);
void conn_close(struct conn *c, const char *why);
/**
 * conn_after_cut() - The tunnel table changed: @c takes no letter more when the tunnel is down, and ends when it is
 * older than the tunnel's last coming up.
 */
void conn_after_cut(struct conn *c);
void conn_free(struct conn *c);

/* hop_pin.c */
/** hop_pins_take() - The parent's set; also when a key was forgotten. */
void hop_pins_take(struct relay *r, const char *text, size_t len);
/** hop_pin_begin() - Which key may @c's peer have? Before the first byte of the session. */
void hop_pin_begin(struct conn *c, const struct mta_route *route);
/** hop_pin_seen() - TLS stands: learn the key, if it is the first. */
void hop_pin_seen(struct conn *c);
/**
 * hop_pin_refused() - The peer did not show its key: told to the parent.
 * @out: what the letters wait for, and what to do about it.
 */
const char *hop_pin_refused(struct conn *c, char *out, size_t cap);

/* sender.c */
/** sender_write() - A sender of ours for @a, where an alias sends on what a stranger wrote. */
void sender_write(struct relay *r, struct attempt *a);

/* mailbox.c */
void mailbox_deliver(struct attempt *a);
/** mailbox_cancel() - It is not wanted any more: requests that wait in line are not made. */
void mailbox_cancel(struct attempt *a);
void mailbox_init(struct relay *r);

#endif
