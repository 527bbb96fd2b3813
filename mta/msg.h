/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_MSG_H
#define MTA_MSG_H

/*
 * Theory: the messages between sibling processes, over base/ipc.h (those of the parent are in
 * proc_mta.h, lookup's in lookup/lookup.h).
 *
 *	 smtpd ---> queue ---> relay
 *
 * When a sibling was restarted a new pair replaces the old link, and everything that was under way
 * on it is void: smtpd answers 451 for letters not yet stored, the queue treats attempts without
 * a result as not made (the relay may have delivered them: at most one duplicate).
 *
 * Payloads are network byte order; texts carry their NUL, preceded by a 16-bit length that counts
 * it. Each struct below has msg_NAME_put() (appends to a cursor) and msg_NAME_get() (0 or
 * -EBADMSG; texts point into the message). A message without a struct says what its payload is.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "envelope.h"
#include "wire.h"

enum mta_msg {
	/* smtpd <-> queue; id: the transaction, smtpd's choice, unique while it lasts */
	MSG_Q_STATE =
	    0x200, /* queue -> smtpd; struct msg_q_state; id 0; at once and at each change */
	MSG_Q_HOME =
	    0x201, /* queue -> smtpd; struct msg_q_home; id 0; a tenant is full, or not any more */
	MSG_Q_BODY = 0x202, /* smtpd -> queue; payload: next bytes of the body, 1..MSG_BODY_CHUNK */
	MSG_Q_CREDIT = 0x203, /* queue -> smtpd; payload: u32 bytes that may be sent again */
	MSG_Q_STORE =
	    0x204, /* smtpd -> queue; struct msg_q_store: the letter is whole: commit it */
	MSG_Q_ABORT = 0x205, /* smtpd -> queue; forget this transaction; no answer */
	MSG_Q_STORED =
	    0x206, /* queue -> smtpd; struct msg_q_stored; answers STORE, or refuses early */
	/* Sets of recipients that homes published; their id is smtpd's choice, apart from the letters' */
	MSG_Q_PUBLISH = 0x207, /* smtpd -> queue; text: [home NAME]; fd[0]: memfd with the set: keep it */
	MSG_Q_PUBLISHED = 0x208, /* queue -> smtpd; struct msg_q_stored; answers PUBLISH */
	MSG_Q_PUBLICATION =
	    0x209, /* queue -> smtpd; text: [home NAME]; fd[0]: the set that is kept; id 0 */
	MSG_Q_PUBLICATIONS = 0x20a, /* queue -> smtpd; no payload: those were all; id 0 */
	MSG_Q_FROM = 0x20b, /* smtpd -> queue; u32 msg_client(), before the first BODY with queue = none */
	/* What a hop asks of a letter; its id is smtpd's choice, apart from the others */
	MSG_Q_TRACE = 0x20c,  /* smtpd -> queue; struct msg_q_trace */
	MSG_Q_TRACED = 0x20d, /* queue -> smtpd; struct msg_traced; answers TRACE, once */

	/* queue <-> relay; id: the attempt, the queue's choice, unique for the life of the link */
	MSG_R_CREDIT =
	    0x300, /* relay -> queue; payload: u32 further attempts that the relay takes */
	MSG_R_ATTEMPT =
	    0x301, /* queue -> relay; struct msg_r_attempt; fd[0]: the body (that letter alone),
				  read-only, unless inline */
	MSG_R_RESULT = 0x302, /* relay -> queue; struct msg_r_result; exactly one per attempt */
	MSG_R_CANCEL =
	    0x303, /* queue -> relay; give up if the body's end was not sent yet; a RESULT
				  still comes (RCPT_RES_NOT_TRIED where nothing happened) */
	MSG_R_TRACE = 0x305,  /* queue -> relay; struct msg_r_trace; its id is the queue's choice, apart
				 from the attempts */
	MSG_R_TRACED = 0x306, /* relay -> queue; struct msg_traced; answers TRACE, once */
	MSG_R_COMMITTED =
	    0x304, /* queue -> relay; the result of attempt id is on disk; no payload. Its id
				    is free and its credit is spent: the relay grants a new one */
};

/*
 * Storing a letter. MAIL may be answered 452 at once from the last MSG_Q_STATE. A body that fits
 * with its envelope in one message (body <= MSG_BODY_INLINE and both <= MSG_STORE_MAX) goes
 * in MSG_Q_STORE itself. A larger one goes ahead in MSG_Q_BODY chunks: smtpd may have
 * MSG_BODY_WINDOW bytes under way per letter and gets them back with MSG_Q_CREDIT as they are
 * written; then MSG_Q_STORE with @streamed and no inline body. Once smtpd has seen MSG_Q_STORED
 * for an id (an early refusal may come in the middle of the body) it sends nothing more for it,
 * and the queue ignores what was under way.
 */
#define MSG_BODY_INLINE (64 * 1024)
#define MSG_STORE_MAX	(67 * 1024)
#define MSG_BODY_CHUNK	(32 * 1024)
#define MSG_BODY_WINDOW (64 * 1024)

struct msg_q_state {
	uint8_t accepting;
	uint16_t code;	     /* when not: 452 or 451 */
	const char *text;    /* "4.3.1 Insufficient system storage" */
	uint64_t room_bytes; /* largest body that would be taken now; for SIZE= */
};

struct msg_q_home {
	const char *home; /* [home NAME] */
	uint8_t full;	  /* answer 452 4.2.2 to RCPT for its recipients */
};

struct msg_q_store {
	uint8_t streamed;   /* the body went ahead */
	uint64_t body_len;  /* of the whole body; must equal what was streamed */
	const uint8_t *env; /* encoded envelope */
	size_t env_len;
	const uint8_t *body; /* inline; NULL and 0 when streamed */
	size_t inline_len;
};

struct msg_q_stored {
	uint16_t code; /* 250 durable; 452, 451; 554 for an envelope that the queue cannot take */
	const char *text;  /* "2.0.0 <id> queued", "2.0.0 already have it", "4.3.1 ..." */
	uint8_t duplicate; /* 250 because (peer, id, recipient) was stored before, all of them */
};

/* A question about a letter (hop/story.h). */
struct msg_q_trace {
	const char *peer;   /* tunnel peer that asks, or "" ... */
	const char *client; /* ... and the address, of class lan */
	const char *args;   /* xtrace_build() */
};

struct msg_traced {
	uint16_t code;	    /* 250, or why not; 0: no hop said anything */
	const char *text;   /* with the enhanced code; with code 0 our own words */
	const uint8_t *story; /* 250: lines of story_write(), or what a hop sent for such */
	size_t len;	    /* <= STORY_MAX */
};

#define MSG_R_FAMILY4 0x01
#define MSG_R_FAMILY6 0x02

/* msg_r_attempt.flags */
#define MSG_R_PROBE                                                                                \
	0x01		  /* the only attempt on this next hop now: a connect, banner or TLS failure
			    is charged to nobody. One connection only */
#define MSG_R_INLINE 0x02 /* the body is in the message */
#define MSG_R_REPEAT 0x04 /* an attempt was made before whose end the queue may not know */

struct msg_r_rcpt {
	uint16_t index; /* in the envelope; comes back in the result */
	uint8_t notify; /* ENV_NOTIFY_*; 0: not given */
	const char *addr;
	const char *orcpt; /* "" when none */
};

/*
 * Pipelining: the relay may hold as many attempts as it gave credits for, and sends those of the
 * same route and next hop through as few sessions as sessions_max allows. After a host-scope fault
 * it answers the others of that session RCPT_RES_NOT_TRIED.
 *
 * A 250 must be in our journal before the far side may forget that it has the letter, or a crash makes
 * a duplicate. The queue commits each RESULT and answers MSG_R_COMMITTED; a session to a hop
 * without XPOSTERN sends no dot while more than a window (8) of its results are not committed.
 */
struct msg_r_attempt {
	const char *route; /* struct mta_route's; one that the relay does not know yet: NOT_TRIED */
	const char *next_hop; /* as route_next_hop() */
	uint8_t families;     /* MSG_R_FAMILY*: those not in a host-scope wait; never 0 */
	uint8_t flags;	      /* MSG_R_PROBE, MSG_R_INLINE, MSG_R_REPEAT */
	uint64_t seq; /* place in our journal and the lowest that still waits: for XPOSTERN */
	uint64_t low_seq;
	uint64_t age_s;
	uint32_t prior;	   /* attempts made before */
	uint64_t body_off; /* where in fd[0] */
	uint64_t body_len;
	const uint8_t
	    *env; /* the encoded envelope without its recipients: facts for XPOSTERN, MAIL */
	size_t env_len;
	uint16_t rcpt_count; /* msg_r_rcpt_get() reads them from @rcpts, in order */
	struct rd rcpts;
	const uint8_t *body; /* with MSG_R_INLINE */
};

enum rcpt_result {
	RCPT_RES_DELIVERED, /* the next hop answered 2xx: it is its letter now */
	RCPT_RES_TEMPFAIL,
	RCPT_RES_PERMFAIL,
	RCPT_RES_NOT_TRIED, /* never reached the point where this recipient counts: nothing is charged */
	RCPT_RESULTS,
};

enum fault_scope {
	SCOPE_NONE, /* delivered, or not tried */
	SCOPE_HOST, /* connect, banner, TLS, EHLO, 421, session lost: says nothing of the letter */
	SCOPE_MESSAGE,	 /* MAIL or the end of data refused: this letter */
	SCOPE_RECIPIENT, /* RCPT refused: this recipient (greylisting too) */
	SCOPES,
};

/* What becomes of a NOTIFY=SUCCESS once the letter is out of our hands (RFC 3461 s5.2.1, s5.2.7). */
enum rcpt_report {
	REPORT_NONE,	  /* none was asked for, or the next hop was told to make it */
	REPORT_DELIVERED, /* it is in the mailbox */
	REPORT_RELAYED,	  /* the next hop knows of no reports */
	REPORT_PROBED,	  /* a probe, at its end and in no mailbox */
	REPORTS,
};

struct msg_r_trace {
	const char *route;
	const char *next_hop; /* as route_next_hop() */
	uint32_t ms;	      /* then it is given up */
	const char *args;     /* xtrace_build() */
};

struct msg_r_rcpt_result {
	uint16_t index;
	uint8_t result;	      /* enum rcpt_result */
	uint8_t scope;	      /* enum fault_scope */
	uint8_t report;	      /* enum rcpt_report, with RCPT_RES_DELIVERED */
	uint16_t code;	      /* SMTP reply code; 0: none was received */
	const char *enhanced; /* "4.7.1" or "" */
	const char *text;     /* reply text, one line, control characters gone, <= 512 */
};

struct msg_r_result {
	const char *host;    /* that answered, or was tried last: name or address; "" when none */
	struct addr address; /* its address; family 0: none */
	const char *tls;     /* "TLSv1.3 TLS_AES_256_GCM_SHA384", with " verified" behind it where a pin, or a
			      * chain and the name, held; "": in clear. NULL may be put */
	uint8_t families_failed; /* MSG_R_FAMILY*: every connect failed or came too late */
	uint8_t families_ok;	 /* to which one succeeded */
	uint16_t rcpt_count;
	struct rd rcpts; /* msg_r_rcpt_result_get() reads them; one left out counts as NOT_TRIED */
};

/** msg_client() - A number for who a letter comes from: his IPv4 address, or his /64. */
uint32_t msg_client(const struct addr *client);
/** msg_memfd() - Sealed memory that holds @len bytes; a descriptor, the caller's, or -errno. */
int msg_memfd(const char *name, const void *p, size_t len);

void msg_text_put(struct wr *w, const char *s);
/** msg_text_get() - A NUL-terminated view; "" and a bad cursor after a fault. Never NULL. */
const char *msg_text_get(struct rd *r);

void msg_q_state_put(struct wr *w, const struct msg_q_state *m);
int msg_q_state_get(struct rd *r, struct msg_q_state *m);
void msg_q_home_put(struct wr *w, const struct msg_q_home *m);
int msg_q_home_get(struct rd *r, struct msg_q_home *m);
void msg_q_store_put(struct wr *w, const struct msg_q_store *m);
int msg_q_store_get(struct rd *r, struct msg_q_store *m);
void msg_q_stored_put(struct wr *w, const struct msg_q_stored *m);
int msg_q_stored_get(struct rd *r, struct msg_q_stored *m);
void msg_q_trace_put(struct wr *w, const struct msg_q_trace *m);
int msg_q_trace_get(struct rd *r, struct msg_q_trace *m);
void msg_r_trace_put(struct wr *w, const struct msg_r_trace *m);
int msg_r_trace_get(struct rd *r, struct msg_r_trace *m);
void msg_traced_put(struct wr *w, const struct msg_traced *m);
int msg_traced_get(struct rd *r, struct msg_traced *m);
/** msg_r_attempt_put() - @m->rcpts must hold what msg_r_rcpt_put() wrote, rcpt_count times. */
void msg_r_attempt_put(struct wr *w, const struct msg_r_attempt *m);
int msg_r_attempt_get(struct rd *r, struct msg_r_attempt *m);
void msg_r_rcpt_put(struct wr *w, const struct msg_r_rcpt *m);
int msg_r_rcpt_get(struct rd *r, struct msg_r_rcpt *m);
/** msg_r_result_put() - As msg_r_attempt_put(), with msg_r_rcpt_result_put(). */
void msg_r_result_put(struct wr *w, const struct msg_r_result *m);
int msg_r_result_get(struct rd *r, struct msg_r_result *m);
void msg_r_rcpt_result_put(struct wr *w, const struct msg_r_rcpt_result *m);
int msg_r_rcpt_result_get(struct rd *r, struct msg_r_rcpt_result *m);

#endif
