/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SMTPD_SMTPD_H
#define SMTPD_SMTPD_H

/*
 * Theory: the smtpd process, inside. It holds sockets that the parent bound, certificates that the
 * parent read, a link to the queue and one to lookup, and no file. Everything runs on one loop:
 *
 *	listener.c   accept, limits, who the client is
 *	connection.c bytes between socket, TLS and the session
 *	answers.c    the session's questions: rules, lookup, queue
 *	explain.c    what would be answered, and why
 *	queue_link.c letters on their way to the queue
 *	published.c  sets of recipients that homes publish
 *	told.c       lines of the log that strangers cause
 *	traced.c     questions of other hops about letters
 *	smtpd_main.c what the parent says; what all processes count, for who asks
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "charged.h"
#include "limit.h"
#include "log.h"
#include "lookup/lookup.h"
#include "proc_mta.h"
#include "session.h"
#include "srs.h"
#include "tls.h"
#include "told.h"

#define SMTPD_READ_MAX	      (64 * 1024)
#define SMTPD_HANDSHAKE_MS    60000
#define SMTPD_STOP_MS	      5000
#define SMTPD_LINGER_MS	      2000 /* after our last words, for what the client still sends */
#define SMTPD_LINGER_BYTES    (1 << 20)
#define SMTPD_ACCEPT_PAUSE_MS 200  /* out of descriptors */
#define SMTPD_QUEUE_WAIT_MS   5000 /* for the queue to say what it takes */
#define SMTPD_ACCEPT_BATCH    64

#define SMTPD_LINK_MAX (2 << 20) /* bytes on their way to the queue, past which none are taken */

struct smtpd;
struct held;

/* A socket that the parent bound. */
struct lsock {
	struct loop_fd lf;
	struct smtpd *d;
	struct lsock *next;
	uint32_t index; /* in config.listeners */
	struct mta_listen_fd at;
	bool fresh; /* of the set that is being told */
};

struct conn {
	struct loop_fd lf;
	struct timer timer;
	struct smtpd *d;
	struct conn *next, *prev;
	TAILQ_ENTRY(conn) thirst; /* of smtpd.thirsty */
	bool thirsty;
	uint32_t owed; /* credit that came while the link was full */
	struct session s;
	struct session_conf conf;
	enum listener_class class;
	char hostname[256]; /* copies: a reload frees the configuration under us */
	char listener[MTA_NAME_MAX];
	char peer[TUNNEL_NAME_MAX];
	struct tls *tls;
	bool handshaking;
	bool implicit; /* TLS from the first byte: the session begins after it */
	bool begun;
	bool counted; /* in the limits */
	bool gone;    /* the socket is dead; kept until the queue has answered */
	bool pumping;
	bool lingering;
	size_t lingered_bytes;
	uint8_t *left; /* read, but not taken by the session yet */
	size_t left_len;
	uint32_t txn; /* of the letter under way at the queue */
	bool stored_asked;
	uint32_t trace; /* question that the queue has; 0: none */
	struct lookup_req lookup;
	bool guesses; /* a password of it is being checked */
	struct charged charged; /* by the letter under way */
	struct addr client;
};

struct smtpd {
	struct child *ch;
	struct lsock *lsocks;
	struct tls_ctx *tls[MTA_LISTENERS_MAX]; /* by listener */
	struct limit *limits;
	struct srs_keys srs;
	struct timer accept_again;
	bool accept_paused;
	bool waits_queue; /* accept is paused until the queue has spoken */
	uint64_t paused_told_ms; /* last log line about it */
	bool relays_for_all;	 /* a reload brought an open relay: nothing is taken */
	bool stopping;
	struct timer stop_timer;
	struct conn *conns;
	size_t conn_count;
	uint32_t listener_sessions[MTA_LISTENERS_MAX];
	struct lookup *lookup;
	struct ipc *queue;
	TAILQ_HEAD(, conn) thirsty; /* wait until the link has room, in turn */
	uint32_t next_txn;
	bool accepting; /* of MSG_Q_STATE */
	uint16_t state_code;
	char state_text[128];
	uint64_t room_bytes;
	char (*full_homes)[MTA_NAME_MAX];
	size_t full_count;
	struct held *held; /* sets that homes published */
	bool held_known;   /* the queue has told all that it keeps */
	uint32_t next_set;
	uint32_t next_trace;
	struct told told;
	struct log_limit quiet; /* of homes that publish */
	struct metrics_server *metrics; /* NULL: nobody asks */
	struct explaining *explaining;	/* questions of the admin that wait for lookup */
	uint8_t buf[SMTPD_READ_MAX];
};

/* listener_tls.c */
/**
 * listener_tls() - The TLS of a listener.
 * @b: holds client-ca.
 * @pairs: @count of them, in the order of the configuration.
 *
 * Returns 0 and *@out with one reference; -EINVAL or -ENOMEM, with @err.
 */
int listener_tls(struct tls_ctx **out, const struct mta_listener *l, const struct bundle *b,
		 const struct tls_keypair *pairs, size_t count, char err[static TLS_ERROR_MAX]);

/* listener.c */
int listener_add(struct smtpd *d, uint32_t index, const struct mta_listen_fd *at, int fd);
/**
 * listener_admits() - Is a client from @a let in, by the lists of [mta] and of the listener?
 * @by: what of deny keeps it out; NULL: it is not in allow.
 *
 * False: @r is what it is told instead of the banner.
 */
bool listener_admits(const struct mta_config *c, const struct mta_listener *l, const struct addr *a,
		     const struct prefix **by, struct reply *r);
/** listener_settle() - The set is told: older sockets go. */
void listener_settle(struct smtpd *d);
void listener_close_all(struct smtpd *d);
/**
 * listener_wait() - The queue starts: clients wait in the backlog until it has spoken, SMTPD_QUEUE_WAIT_MS
 * at most. Greeted at once they would be told 451, and come back in minutes or in an hour.
 */
void listener_wait(struct smtpd *d);
/** listener_resume() - A descriptor became free, or the queue has spoken. */
void listener_resume(struct smtpd *d);

/* connection.c */
/** connection_new() - Takes @fd, also on failure. @peer: NULL, or the verified tunnel peer. */
void connection_new(struct smtpd *d, const struct lsock *ls, int fd, const struct endpoint *client,
		    const char *peer);
/** connection_conf() - What a listener and its class make of a session; strings are those of @l. */
void connection_conf(const struct mta_config *cfg, const struct mta_listener *l,
		     const struct endpoint *client, const char *peer, struct session_conf *conf);
/** connection_count() - Under the name of its listener and its address family. */
void connection_count(const struct conn *c, enum counter what, enum counter_word result,
		      enum counter_word reason, uint64_t n);
/** connection_pump() - Something changed: move what can be moved. May free @c. */
void connection_pump(struct conn *c);
void connection_free(struct conn *c);

/* answers.c */
extern const struct session_ops answers_ops;
const struct mta_listener *answers_listener(const struct conn *c);
void answers_forget(struct conn *c);
/** answers_stored() - The letter under way, of @bytes, is in the queue: it counts for its recipients. */
void answers_stored(struct conn *c, uint64_t bytes);
/**
 * answers_external() - The login that the certificate which the client shows stands for, by the
 * listener's client-logins; NULL: none. Until the next reload.
 */
const char *answers_external(const struct conn *c);
/** answers_lookup() - The reply to RCPT that an answer of lookup makes. */
struct reply answers_lookup(enum lookup_status status);
/** answers_pinned() - Does the client show the key that this home must, if it must one? */
bool answers_pinned(const struct conn *c, const struct mta_home *h);
/** answers_unpinned() - The reply to MAIL of a home that does not show its pinned key. */
struct reply answers_unpinned(void);

/* explain_control.c */
/** explain_control() - A question of the admin, as the parent handed it on. */
void explain_control(struct smtpd *d, uint32_t id, const char *json, size_t len);
/** explain_abandon() - The configuration goes: whoever waits is told to ask again. */
void explain_abandon(struct smtpd *d);

/* queue_link.c */
void queue_attach(struct smtpd *d, int fd);
/** queue_full() - Does so much wait on the link that nothing more may be taken from clients? */
bool queue_full(const struct smtpd *d);
/** queue_thirst() - Pump @c when there is room again. */
void queue_thirst(struct conn *c);
bool queue_body(struct conn *c, const uint8_t *p, size_t len);
void queue_store(struct conn *c, const struct envelope *e, const uint8_t *body, size_t len);
void queue_abort(struct conn *c);
bool queue_home_full(const struct smtpd *d, const char *home);

/* published.c */
/** published_offered() - May this tunnel peer publish whom it has? */
bool published_offered(const struct mta_config *cfg, const char *peer);
/** published_serial() - Of the set that we have of the client's home; 0: none. */
uint64_t published_serial(const struct conn *c);
/**
 * published_size() - The largest letter that @home takes, as it says and as [home] says.
 * @bytes: 0: no limit is known.
 *
 * False: the queue has not told yet what it keeps, so ask again.
 */
bool published_size(const struct smtpd *d, const struct mta_home *home, uint64_t *bytes);
/** published_may() - May it publish now? False: @r says why not. */
bool published_may(struct conn *c, struct reply *r);
/** published_take() - A whole set came; session_published() answers, at once or later. */
void published_take(struct conn *c, const char *text, size_t len);
/** published_stored() - The queue's answer for set @id. */
void published_stored(struct smtpd *d, uint32_t id, struct rd *r);
/** published_kept() - A set that the queue keeps. */
void published_kept(struct smtpd *d, const struct ipc_msg *m);
/** published_attach() - lookup's link is new, or it has another configuration: all sets to it. */
void published_attach(struct smtpd *d);
/** published_lost() - The queue's link is gone. */
void published_lost(struct smtpd *d);
/** published_forget() - The connection goes; what it published may still be kept. */
void published_forget(const struct conn *c);

/* traced.c */
/** traced_offered() - May a client of this listener ask? @peer: NULL, or the verified tunnel peer. */
bool traced_offered(const struct mta_config *cfg, const struct mta_listener *l,
		    const struct addr *client, const char *peer);
/** traced_ask() - session_traced() answers, at once or later. */
void traced_ask(struct conn *c, const struct xtrace *x);
/** traced_answer() - The queue's answer to question @id. */
void traced_answer(struct smtpd *d, uint32_t id, struct rd *r);
/** traced_lost() - The queue's link is gone. */
void traced_lost(struct smtpd *d);

#endif
