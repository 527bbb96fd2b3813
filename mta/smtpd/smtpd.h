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
 *	queue_link.c letters on their way to the queue
 *	smtpd_main.c what the parent says
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limit.h"
#include "log.h"
#include "lookup/lookup.h"
#include "proc_mta.h"
#include "session.h"
#include "tls.h"

#define SMTPD_READ_MAX	      (64 * 1024)
#define SMTPD_HANDSHAKE_MS    60000
#define SMTPD_STOP_MS	      5000
#define SMTPD_LINGER_MS	      2000 /* after our last words, for what the client still sends */
#define SMTPD_LINGER_BYTES    (1 << 20)
#define SMTPD_ACCEPT_PAUSE_MS 200 /* out of descriptors */
#define SMTPD_ACCEPT_BATCH    64

struct smtpd;

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
	struct lookup_req lookup;
	struct addr client;
};

struct smtpd {
	struct child *ch;
	struct lsock *lsocks;
	struct tls_ctx *tls[MTA_LISTENERS_MAX]; /* by listener */
	struct tls_ctx *tls_client_cert[MTA_LISTENERS_MAX];
	struct limit *limits;
	struct timer accept_again;
	bool accept_paused;
	uint64_t paused_told_ms; /* last log line about it */
	bool relays_for_all;	 /* a reload brought an open relay: nothing is taken */
	bool stopping;
	struct timer stop_timer;
	struct conn *conns;
	size_t conn_count;
	uint32_t listener_sessions[MTA_LISTENERS_MAX];
	struct lookup *lookup;
	struct ipc *queue;
	uint32_t next_txn;
	bool accepting; /* of MSG_Q_STATE */
	uint16_t state_code;
	char state_text[128];
	uint64_t room_bytes;
	char (*full_homes)[MTA_NAME_MAX];
	size_t full_count;
	struct log_limit quiet;
	uint8_t buf[SMTPD_READ_MAX];
};

/* listener.c */
int listener_add(struct smtpd *d, uint32_t index, const struct mta_listen_fd *at, int fd);
/** listener_settle() - The set is told: older sockets go. */
void listener_settle(struct smtpd *d);
void listener_close_all(struct smtpd *d);
/** listener_resume() - A descriptor became free. */
void listener_resume(struct smtpd *d);

/* connection.c */
/** connection_new() - Takes @fd, also on failure. @peer: NULL, or the verified tunnel peer. */
void connection_new(struct smtpd *d, const struct lsock *ls, int fd, const struct endpoint *client,
		    const char *peer);
/** connection_pump() - Something changed: move what can be moved. May free @c. */
void connection_pump(struct conn *c);
void connection_free(struct conn *c);

/* answers.c */
extern const struct session_ops answers_ops;
const struct mta_listener *answers_listener(const struct conn *c);
void answers_forget(struct conn *c);

/* queue_link.c */
void queue_attach(struct smtpd *d, int fd);
bool queue_body(struct conn *c, const uint8_t *p, size_t len);
void queue_store(struct conn *c, const struct envelope *e, const uint8_t *body, size_t len);
void queue_abort(struct conn *c);
bool queue_home_full(const struct smtpd *d, const char *home);

#endif
