/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SMTPD_SESSION_H
#define SMTPD_SESSION_H

/*
 * Theory: one SMTP session as a machine over bytes: no socket, no clock, no descriptor. The owner
 * (connection.c, or a test) brings bytes and the time, takes replies away, and answers questions:
 *
 *	           session_input()                      ops->rcpt, auth, store ...
 *	  owner  ------------------>   struct session  ---------------------------> owner
 *	         <------------------                   <---------------------------
 *	           session_output()                     session_rcpt_done() ...
 *
 * While a question is open, or the client's replies are not taken away, or the queue has no room
 * for more of the body, session_input() takes nothing: the bytes stay with the owner and, past its
 * buffer, in the kernel. So a session's memory is bounded by what stands here, whatever the client
 * sends. A question may be answered from inside the call that asks it.
 *
 *	[GREETING --greet-delay-->]
 *	HELO --EHLO--> READY --MAIL--> MAIL --RCPT--> RCPT --DATA--> DATA --CRLF.CRLF--> STORING
 *	                 ^ |                            |                                   |
 *	    AUTH, TLS <--+ +<------- RSET, EHLO, end -- + --BDAT--> BDAT <--> BDAT_MORE ----+
 *	      PUBLISH <--+
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "command.h"
#include "data.h"
#include "log.h"
#include "msg.h"
#include "story.h"
#include "told.h"

#define SESSION_OUT_MAX		  (16 * 1024) /* replies that the client does not read: input stops */
#define SESSION_LINE_MAX	  2048	      /* of one reply, with its end; the client reads no longer one */
#define SESSION_CHUNK_ROOM	  (HEADER_HOLD_MAX + HEADER_ADD_MAX + 64)
#define SESSION_SENDERS_MAX	  64
#define SESSION_AUTH_USER_MAX	  256
#define SESSION_RATE_MS		  180000 /* in each such time of DATA at least ... */
#define SESSION_RATE_BYTES	  4096	 /* ... so many bytes come (RFC 5321 s4.5.3.2.5) */
#define SESSION_DRAIN_MS	  60000	 /* for the rest of a letter that is refused already */
#define SESSION_STORE_MS	  600000 /* for the queue to answer */
#define SESSION_IDLE_COMMANDS_MAX 200	 /* without a letter: RSET, NOOP, EHLO and their like */
#define SESSION_AUTH_FAILURES_MAX 3
#define SESSION_PAUSE_MAX_MS	  5000 /* the longest that a tarpit holds one reply */
#define RECEIVED_MAX		  1200 /* bytes of our Received field */

/* What a listener, and who the client is, make of a session. Strings are borrowed for its life. */
struct session_conf {
	const char *hostname;
	const char *listener;
	struct endpoint client;
	const char *peer;	     /* verified tunnel peer, or NULL */
	bool tls_offered;	     /* a certificate stands */
	bool tls_required;	     /* no MAIL before TLS */
	bool auth_offered;	     /* AUTH exists here ... */
	bool auth_in_clear;	     /* ... and needs no TLS: loopback or tunnel */
	bool auth_required;	     /* no MAIL before AUTH */
	bool dsn;		     /* offer DSN */
	bool xpostern;		     /* offer XPOSTERN: needs @peer */
	bool publishes;		     /* and PUBLISH with it: the peer is a home without a file here */
	bool traces;		     /* answer XTRACE: who asks is a hop of ours ... */
	bool traces_by_tls;	     /* ... once TLS is on */
	bool mask_source;	     /* Received does not tell the client */
	bool normalize;		     /* see struct data_conf */
	bool complete_header;	     /* submission: add Date and Message-ID */
	bool check_from;	     /* ask ops->from for each From address */
	bool helo_tolerant;	     /* submission: any EHLO name, told as the address */
	bool local;		     /* client is this machine */
	const char *cut_authserv_id; /* NULL: none */
	uint32_t recipients_max;
	uint32_t errors_max; /* 0: no limit and no tarpit */
	uint32_t received_max;
	uint64_t size_max_bytes;
	uint32_t idle_ms;
	uint32_t greet_delay_ms; /* no greeting before; who talks in it is sent away */
	uint32_t session_ms;
};

enum session_auth {
	SESSION_AUTH_OK,
	SESSION_AUTH_WRONG,
	SESSION_AUTH_LATER,   /* cannot be checked now */
	SESSION_AUTH_LIMITED, /* was not looked at: too many were wrong before */
};

struct session;

struct session_ops {
	/* May this letter begin? Queue state and the sender's policy. False: @r says why not. */
	bool (*mail)(void *arg, struct session *s, const struct command_mail *m, struct reply *r);
	/* Is this recipient taken? session_rcpt_done() answers. */
	void (*rcpt)(void *arg, struct session *s, const struct address *a);
	/*
	 * Is this password right, or with @password NULL: is @login whom external() tells, and may it
	 * come in? session_auth_done() answers. Both are wiped after the call.
	 */
	void (*auth)(void *arg, struct session *s, const char *login, const char *password);
	/* Login that the client's certificate stands for, for a moment; NULL: none. May be missing. */
	const char *(*external)(void *arg);
	/* May this address stand in From? */
	bool (*from)(void *arg, struct session *s, const struct address *a);
	/* 1..MSG_BODY_CHUNK bytes of a large letter, within the credit. False: no memory. */
	bool (*body)(void *arg, struct session *s, const uint8_t *p, size_t len);
	/* The letter is whole; @body NULL: it was streamed. session_stored() answers. */
	void (*store)(void *arg, struct session *s, const struct envelope *e, const uint8_t *body,
		      size_t body_len);
	/* Forget what was streamed. */
	void (*abort)(void *arg, struct session *s);
	/* Serial of the set of recipients that the peer published last; 0: none. */
	uint64_t (*serial)(void *arg);
	/* May the peer publish now? False: @r says why not. */
	bool (*may_publish)(void *arg, struct session *s, struct reply *r);
	/* A whole set, borrowed until the return. session_published() answers. */
	void (*publish)(void *arg, struct session *s, const char *text, size_t len);
	/* A hop asks what is known of a letter; session_traced() answers. */
	void (*trace)(void *arg, struct session *s, const struct xtrace *x);
	int64_t (*wall_s)(void *arg);
	/* A reply 4xx or 5xx is said; for who counts them, or NULL. */
	void (*refused)(void *arg, uint16_t code, const char *text);
	/* May a line of the log tell it? NULL: always. */
	bool (*may_tell)(void *arg, enum told_what what);
};

enum session_state {
	SESSION_HELO, /* greeted, EHLO has not come */
	SESSION_READY,
	SESSION_MAIL,	   /* sender is known */
	SESSION_RCPT,	   /* and one recipient at least */
	SESSION_DATA,	   /* reading a letter up to its dot */
	SESSION_BDAT,	   /* reading a chunk */
	SESSION_BDAT_MORE, /* between two chunks */
	SESSION_DISCARD,   /* reading a chunk that nobody wants */
	SESSION_PUBLISH,   /* reading a set of recipients */
	SESSION_AUTH,	   /* the next line belongs to AUTH */
	SESSION_TLS,	   /* 220 was said; the handshake follows */
	SESSION_GREETING,  /* not said yet, and nothing is listened to */
	SESSION_CLOSING,   /* the last reply was said */
};

enum session_wait {
	WAIT_NOTHING,
	WAIT_RCPT,
	WAIT_AUTH,
	WAIT_CREDIT, /* letter is whole, its last bytes are not sent */
	WAIT_STORED,
	WAIT_PUBLISHED,
	WAIT_TRACED,
};

enum session_wish {
	SESSION_WANTS_IO,    /* input if it takes any, output if there is any */
	SESSION_WANTS_TLS,   /* once the output is written: handshake, then session_tls_done() */
	SESSION_WANTS_CLOSE, /* once the output is written */
};

enum auth_step { AUTH_PLAIN, AUTH_LOGIN_USER, AUTH_LOGIN_PASSWORD, AUTH_EXTERNAL };

struct session_rcpt {
	struct address addr;
	uint8_t notify;
	char *orcpt; /* or NULL */
};

#define SIZE_TEXT_MAX 384 /* of a reply that names a recipient */

/* The largest letter that recipients take, size.c. */
struct size_cap {
	uint64_t bytes; /* 0: as large as the listener takes */
	uint64_t home;	/* that homes take, who get it with our Received; 0: none says */
	uint64_t apart; /* the same of all recipients of a letter; 0: any letter that is to be expected fits */
	char text[256]; /* what is told with 552 */
};

/* One letter under way. */
struct transaction {
	struct command_mail mail;
	struct session_rcpt *rcpt;
	size_t rcpt_count, rcpt_cap;
	uint32_t
	    rcpt_commands;    /* that were accepted; an alias is one command and many recipients */
	struct address first; /* of them, as it was asked for */
	struct command_rcpt asked; /* while WAIT_RCPT, and the last one after it */
	struct size_cap asked_cap; /* of that recipient */
	struct size_cap cap;	   /* the least of those that were accepted */
	bool cap_is_ones;	   /* others take more, and the reply names him */
	char cap_text[SIZE_TEXT_MAX];
	size_t env_bytes;	   /* bound of the encoding */
	uint8_t id[LETTER_ID_LEN];
	int64_t received_s;
	struct data data;
	bool data_begun;
	char date[96]; /* field to add; conf of data.header points here */
	char message_id[320];
	uint8_t *body; /* not yet sent: at most MSG_BODY_INLINE + SESSION_CHUNK_ROOM */
	size_t body_len, body_cap;
	uint64_t body_total; /* bytes of the letter as stored, sent and not yet sent */
	bool streaming;
	bool no_memory;
	bool failed; /* a chunk was refused: more BDAT of this letter is 503 */
	uint32_t credit;
	struct msg_q_stored early; /* code 0: none; refused by the queue before its end */
	char early_text[256];
};

struct session {
	const struct session_conf *conf;
	const struct session_ops *ops;
	void *arg;
	struct log log;
	enum session_state state;
	enum session_wait wait;
	uint64_t now_ms;
	uint64_t begun_ms;
	uint64_t alive_ms;  /* last whole command, or end of an answer */
	uint64_t window_ms; /* DATA: start of the rate window */
	uint64_t window_bytes;
	uint64_t drain_ms; /* when draining began; 0: it did not */
	uint64_t pause_ms; /* no output and no input before; 0: none */
	uint64_t wait_ms;  /* when the open question was asked */
	uint32_t errors;
	uint32_t idle_commands;
	uint32_t auth_failures;
	uint32_t auth_strikes; /* of its network, as the owner counts them: answers wait longer */
	uint32_t letters;      /* stored */
	bool esmtp;
	bool sent_away; /* closed by us, while the client may still be sending */
	char helo[256];
	char tls[96]; /* "" in clear */
	char auth_user[SESSION_AUTH_USER_MAX];
	char **senders; /* that the user may use */
	size_t sender_count;
	enum auth_step auth_step;
	char *auth_login; /* LOGIN: between its two lines */
	char *line;	  /* an incomplete command line */
	size_t line_len, line_cap;
	bool line_skip; /* too long: thrown away up to its end */
	char *out;
	size_t out_len, out_cap;
	uint64_t chunk_left;
	bool chunk_last;
	struct reply chunk_reply; /* for SESSION_DISCARD */
	bool chunk_close;
	char *publication; /* what came of a set */
	size_t publication_len;
	struct transaction t;
};

/** session_admits() - May MAIL come at all in such a session? False: @r says what is missing. */
bool session_admits(const struct session_conf *conf, bool tls, bool user, struct reply *r);
/** session_admits_auth() - And AUTH? */
bool session_admits_auth(const struct session_conf *conf, bool tls, struct reply *r);

/**
 * session_begin() - A client has come (for implicit TLS: after the handshake).
 * @tls: "TLSv1.3 TLS_AES_128_GCM_SHA256", or NULL.
 *
 * Puts the banner into the output. session_end() frees what the session holds, not @s itself.
 */
void session_begin(struct session *s, const struct session_conf *conf,
		   const struct session_ops *ops, void *arg, const char *tls, uint64_t now_ms);
void session_end(struct session *s);

/**
 * session_input() - Bytes from the client, decrypted.
 * @p: all that the owner has; a STARTTLS with bytes behind it is an attack.
 *
 * Returns how many were taken. The rest is given again, with what came since, when something
 * has changed: an answer, taken output, credit, the end of a pause.
 */
size_t session_input(struct session *s, const uint8_t *p, size_t len, uint64_t now_ms);
/** session_eof() - The client closed its side; a letter under way is dropped. */
void session_eof(struct session *s);
/** session_output() - Replies to be written, all in one; *@len 0 when none or not yet. */
const char *session_output(const struct session *s, size_t *len);
/** session_taken() - So many bytes of the output were written. */
void session_taken(struct session *s, size_t len);
enum session_wish session_wish(const struct session *s);
/** session_takes_input() - Would session_input() take anything now? */
bool session_takes_input(const struct session *s);
/** session_deadline_ms() - When session_tick() wants to be called. */
uint64_t session_deadline_ms(const struct session *s);
void session_tick(struct session *s, uint64_t now_ms);
/** session_shutdown() - 421 4.3.2 unless a letter is being stored. True: it says good-bye. */
bool session_shutdown(struct session *s, uint64_t now_ms);

/** session_tls_done() - The handshake succeeded; everything said before is forgotten (RFC 3207). */
void session_tls_done(struct session *s, const char *tls, uint64_t now_ms);

/* Answers; each may be called from inside the question. */
/**
 * session_rcpt_done() - The recipient is taken (2xx) or not.
 * @to: addresses that it stands for, @to_count of them; 0: it stands for itself.
 */
void session_rcpt_done(struct session *s, const struct reply *r, const char *const *to,
		       size_t to_count, uint64_t now_ms);
/**
 * session_rcpt_repeats() - Before session_rcpt_done() with the same @to: is the letter for all of them already?
 */
bool session_rcpt_repeats(const struct session *s, const char *const *to, size_t to_count);
/**
 * session_rcpt_limit() - Before session_rcpt_done(): the recipient takes no letter larger than @bytes.
 * @text: of a rule, for letters as they come, what a larger one is refused with (552). NULL: of his home,
 *	which gets more by what we add.
 *
 * Of several limits the least counts; 0 is none.
 */
void session_rcpt_limit(struct session *s, uint64_t bytes, const char *text);
/**
 * session_rcpt_admits() - With these limits, may the recipient join the letter? False: @r says why not.
 * session_rcpt_done() asks too; an owner who counts letters asks before he counts one.
 */
bool session_rcpt_admits(const struct session *s, struct reply *r);
void session_auth_done(struct session *s, enum session_auth result, const char *const *senders,
		       size_t sender_count, uint64_t now_ms);
void session_credit(struct session *s, uint32_t bytes, uint64_t now_ms);
void session_stored(struct session *s, const struct msg_q_stored *m, uint64_t now_ms);
/** session_published() - The set is kept (2xx), or why not. */
void session_published(struct session *s, const struct reply *r, uint64_t now_ms);
/** session_traced() - What is known, or why nothing is told. */
void session_traced(struct session *s, const struct msg_traced *m, uint64_t now_ms);

/* --- between the files of the session, not for owners --- */

/** session_tells() - May the log tell something that a client did? */
bool session_tells(const struct session *s, enum told_what what);
/** session_reply() - One line; counts errors, may end the session. */
void session_reply(struct session *s, uint16_t code, const char *text);
/** session_close() - Last words, then no more input. @code 0: none. */
void session_close(struct session *s, uint16_t code, const char *text);
bool session_put(struct session *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void session_pause(struct session *s, uint64_t ms);
void session_enter(struct session *s, enum session_state to);
bool session_auth_possible(const struct session *s);

/* transaction.c */
void transaction_mail(struct session *s, const char *arg, size_t len);
void transaction_rcpt(struct session *s, const char *arg, size_t len);
void transaction_data(struct session *s, size_t arg_len);
void transaction_bdat(struct session *s, const char *arg, size_t len);
/** transaction_feed() - Bytes of a letter, in DATA, BDAT and DISCARD; returns those taken. */
size_t transaction_feed(struct session *s, const uint8_t *p, size_t len);
/** transaction_room() - How much of the body may be read now? */
size_t transaction_room(const struct session *s);
/** session_log_keys() - What each log line of the session begins with; @letter: NULL outside of one. */
void session_log_keys(struct session *s, const char *letter);
/** transaction_drop() - Nothing of it remains, in the queue neither. */
void transaction_drop(struct session *s);

/* size.c */
/** size_max() - The largest letter that may come now; 0: no limit. */
uint64_t size_max(const struct session *s);
/** size_refusal() - The reply to one that is larger. */
struct reply size_refusal(const struct session *s);
/** size_fits() - The letter as it would be stored: do the homes of its recipients take it? */
bool size_fits(const struct session *s);
/** size_take() - It has joined. */
void size_take(struct session *s);

/* publish.c */
void publish_command(struct session *s, const char *arg, size_t len);
/** publish_feed() - Bytes of a set, in PUBLISH; returns those taken. */
size_t publish_feed(struct session *s, const uint8_t *p, size_t len);
void publish_drop(struct session *s);

/* xtrace.c */
/** xtrace_offered() - May the client ask, as the session stands now? */
bool xtrace_offered(const struct session *s);
void xtrace_command(struct session *s, const char *arg, size_t len);

/* auth.c */
void auth_command(struct session *s, const char *arg, size_t len);
void auth_line(struct session *s, const char *line, size_t len);
void auth_forget(struct session *s);
/** auth_external() - The login that AUTH EXTERNAL would give this client; NULL: it is not offered. */
const char *auth_external(const struct session *s);
/** auth_logout() - Nobody is logged in, and nobody's senders are kept. */
void auth_logout(struct session *s);

/* trace.c */
/** trace_received() - Our Received field for this letter (RFC 5321 s4.4); returns its length. */
size_t trace_received(const struct session *s, char *out, size_t cap);
/** trace_date() - "Sat, 21 Nov 2026 23:56:36 +0000". */
void trace_date(int64_t wall_s, char out[static 80]);

#endif
