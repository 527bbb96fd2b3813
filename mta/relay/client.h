/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_RELAY_CLIENT_H
#define MTA_RELAY_CLIENT_H

/*
 * Theory: one SMTP or LMTP session of ours towards a next hop, as bytes in and bytes out, without
 * sockets and clock. The owner moves bytes, makes TLS when asked, and hands in letters.
 *
 *	banner -> EHLO -> [STARTTLS -> EHLO] -> [AUTH] -> idle <-> letters -> QUIT
 *
 * Commands go out as far as the peer's PIPELINING allows, each with an entry in a list of replies
 * that are due; a reply is always that of the oldest entry. With CHUNKING towards another
 * Postern a letter is MAIL, RCPT.., BDAT LAST in one go, and the next letter follows without
 * waiting. Elsewhere DATA, one letter after another on the same session; where the owner wants it so, the
 * next letter's MAIL, RCPT and DATA leave in one flight with the dot of the one before (RFC 2920 s3.1 lets
 * them; DATA ends the flight), so that a letter costs one round trip and not two.
 *
 * What a reply means has a scope: 421, a lost connection, and faults before the first MAIL are the
 * host's; MAIL and the end of data the letter's; RCPT the recipient's.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config.h"
#include "envelope.h"
#include "msg.h"
#include "reply.h"

#define CLIENT_OUT_MAX	   32768
#define CLIENT_LETTERS_MAX 64 /* under way at a time: at 280 ms RTT some 230 a second */

struct out_rcpt {
	const char *addr;
	const char *orcpt; /* "" for none */
	uint8_t notify;
	/* The outcome. */
	uint8_t result; /* enum rcpt_result */
	uint8_t scope;	/* enum fault_scope */
	bool settled;
	bool accepted; /* RCPT answered 2xx */
	bool notified; /* the far side was told @notify: reports are its affair */
	struct reply reply;
};

struct out_letter {
	const char *sender;
	uint32_t flags; /* ENV_8BITMIME, ENV_SMTPUTF8, ENV_NO_FINAL_CRLF, ENV_RET_HDRS */
	const char *envid;
	const char *hop_params; /* xpostern_params(), for a peer that offers it; NULL: none */
	uint64_t size;
	struct out_rcpt *rcpt;
	size_t rcpt_count;
	bool required_8bitmime;
	/* Bytes of the body from @off on: count, at least 1 while off < size; negative on error. */
	ssize_t (*read)(struct out_letter *l, uint64_t off, void *buf, size_t len);
	void *arg;
	/* The session's own. */
	uint64_t off;
	bool mail_failed, data_started, body_sent;
	bool cancelled;	  /* its end never leaves */
	size_t rcpt_next; /* next RCPT to send */
	size_t rcpt_replied;
	size_t lmtp_replied;
	struct out_letter *next;
};

enum client_want {
	CLIENT_BUSY,  /* bytes are due, in or out */
	CLIENT_TLS,   /* the peer said 220 to STARTTLS: handshake, then client_tls_done() */
	CLIENT_READY, /* takes a letter: client_letter() */
	CLIENT_OVER,  /* close the connection; see session.fault */
};

struct client_conf {
	const char *ehlo; /* our name */
	bool lmtp;
	enum tls_policy tls;
	bool tls_on;			 /* TLS before the banner */
	bool chain;			 /* DATA: the next letter follows the dot without waiting */
	bool hop;			 /* verified tunnel: XPOSTERN is used when offered */
	const char *username, *password; /* NULL: no such AUTH */
	bool external;			 /* AUTH EXTERNAL: our certificate says who we are */
	/* A letter's last recipient is settled. The letter is the owner's again. */
	void (*done)(void *arg, struct out_letter *l);
	/* What became of client_publish(). */
	void (*published)(void *arg, const struct reply *r);
	/* What client_trace() brings: each line, then the whole. */
	void (*trace_line)(void *arg, const char *line);
	void (*traced)(void *arg, const struct reply *r);
	void *arg;
};

enum due_kind {
	DUE_BANNER,
	DUE_EHLO,
	DUE_HELO,
	DUE_STARTTLS,
	DUE_AUTH,
	DUE_MAIL,
	DUE_RCPT,
	DUE_DATA,
	DUE_DOT,
	DUE_BDAT,
	DUE_RSET,
	DUE_QUIT,
	DUE_PUBLISH,   /* 354 to XPUBLISH */
	DUE_PUBLISHED, /* the word on the set */
	DUE_TRACE,     /* lines, and the end of them */
};

struct due {
	enum due_kind kind;
	struct out_letter *letter;
	size_t rcpt;
};

struct client {
	struct client_conf conf;
	enum client_want want;
	/* Why it is over before its time: "connect" excluded, that is the owner's. */
	bool failed;
	bool tls_failed;    /* the policy could not be met */
	struct reply fault; /* reply or own words (code 0), with failed */
	struct reply_parser parser;
	/* Offered by the peer. */
	bool pipelining, chunking, eightbit, size_known, starttls, dsn, smtputf8, postern;
	unsigned auth_offer; /* CLIENT_AUTH_ bits */
	unsigned auth_step;  /* 334 seen */
	uint64_t size_max;
	bool tls_done, authenticated, greeted;
	struct due *due; /* ring of due_cap, from due_head */
	size_t due_head, due_count, due_cap;
	struct out_letter *letters, **letters_tail; /* under way, oldest first */
	struct out_letter *sending;
	bool open;		   /* the far side may still hold a transaction of ours */
	struct out_letter *mailed; /* of the last MAIL; only compared */
	size_t letter_count;
	uint64_t letters_sent;
	uint64_t replies; /* whole ones */
	bool quit_sent;
	bool may_publish;	 /* offered, and this was held: */
	uint64_t publish_serial; /* by the edge at its EHLO */
	const char *publication; /* under way */
	size_t publication_len, publication_off;
	bool publishing, publication_wanted;
	bool may_trace; /* offered */
	bool tracing;
	/* Dot stuffing over buffer borders. */
	bool line_start, last_cr;
	char out[CLIENT_OUT_MAX];
	size_t out_off, out_len;
};

/** client_start() - @conf is copied; its texts are borrowed for the session's life. */
void client_start(struct client *s, const struct client_conf *conf);
/** client_clear() - Letters under way are not told; take them from s->letters before. */
void client_clear(struct client *s);
/** client_input() - Bytes from the peer. s->want tells what follows. */
void client_input(struct client *s, const void *data, size_t len);
/** client_output() - Bytes for the peer, as many as there are now; 0: none. */
size_t client_output(struct client *s, const char **data);
/** client_sent() - The owner wrote @n of them. */
void client_sent(struct client *s, size_t n);
/** client_tls_done() - The handshake succeeded; everything learned before it is forgotten. */
void client_tls_done(struct client *s);
/** client_can_take() - Would client_letter() take one more now? */
bool client_can_take(const struct client *s);
/** client_carries_many() - Greeted, would it send letters without waiting for the answers of those before? */
bool client_carries_many(const struct client *s);
/** client_letter() - Send @l, the owner's, which stays valid until conf.done. */
void client_letter(struct client *s, struct out_letter *l);
/**
 * client_publish() - Send a set of recipients (hop/publication.h) over a session that is READY, has no
 * letter and may_publish; @text is the caller's until conf.published. A session that ends before that
 * does not tell.
 */
void client_publish(struct client *s, const char *text, size_t len);
/**
 * client_trace() - Ask XTRACE (hop/story.h) over a session that is READY, has no letter and may_trace;
 * @args: xtrace_build(). conf.traced tells the end; a session that ends before that does not.
 */
void client_trace(struct client *s, const char *args);
/** client_quit() - End in order when nothing is under way. */
void client_quit(struct client *s);
/**
 * client_lost() - The connection ended or timed out: what is not settled becomes a host-scope
 * TEMPFAIL with @why, in the oldest letter, and NOT_TRIED in letters of which no byte of the body's
 * end left. All letters are told.
 */
void client_lost(struct client *s, const char *why);
/**
 * client_withdraw() - As client_lost(), but none of the letters is charged: the way there was cut,
 * and a fresh session will do better. One that did arrive is known by its id (XPOSTERN).
 */
void client_withdraw(struct client *s, const char *why);
/**
 * client_cancel() - @l is not wanted any more. What has not begun is given back at once, and what has not come to
 * the end of its body never does: the session ends for it, once the letters before it have their answers.
 * Past that end it is the next hop's, whose answer decides. Whom it spares gets NOT_TRIED.
 */
void client_cancel(struct client *s, struct out_letter *l);
/** client_timeout_ms() - How long the reply that is due may take (RFC 5321 s4.5.3.2). */
uint64_t client_timeout_ms(const struct client *s);

#endif
