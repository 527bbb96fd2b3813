/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_QUEUE_THROUGH_INT_H
#define MTA_QUEUE_THROUGH_INT_H

/* What the files of `queue = none` share; the theory is in through.c. */

#include <sys/queue.h>

#include "envelope.h"
#include "hash.h"
#include "ipc.h"
#include "loop.h"
#include "msg.h"
#include "proc_mta.h"
#include "route.h"
#include "verdict.h"

#define PASSING_BYTES_MAX (64ull << 20) /* of all letters that are under way */
#define PASSING_SPARE	  (8ull << 20)	/* of which nobody has the last */
#define PASSING_REFUSED	  256

struct passing;

/* The recipients of one letter with the same next hop. It outlives the letter until relay has answered. */
struct part {
	struct hash_node node;	/* through.parts, by the attempt's id, once it was sent */
	TAILQ_ENTRY(part) line; /* through.waiting, until then */
	struct part *next;	/* of the letter */
	struct passing *letter; /* NULL: nobody waits any more */
	uint32_t id;
	bool sent;
	uint64_t way; /* a hash of these two */
	char route[MTA_NAME_MAX];
	char hop[ROUTE_HOP_MAX];
};

struct passing {
	struct hash_node node; /* through.letters, by smtpd's number */
	TAILQ_ENTRY(passing) all;
	uint32_t txn;
	struct through *t;
	uint32_t client; /* msg_client() */
	uint64_t seq, bytes;
	uint8_t *env, *body; /* body: small; else */
	int fd;		     /* in a file in memory, or -1 */
	struct envelope e;
	struct part **part_of; /* of each recipient */
	struct part *parts;
	size_t open; /* parts that are not answered */
	bool called_back;
	struct timer timer;
	struct verdict verdict;
};

struct through {
	struct child *ch;
	struct ipc *smtpd, *relay;
	struct hash_table letters, parts;
	TAILQ_HEAD(, passing) all;  /* oldest first */
	TAILQ_HEAD(, part) waiting; /* for room at the relay */
	size_t count;
	uint64_t bytes, seq;
	uint32_t next_id, credits;
	uint32_t refused[PASSING_REFUSED]; /* numbers whose last chunks may still come; 0 is none */
	uint32_t refused_at;
	uint32_t from_txn,
	    from_client; /* of the last MSG_Q_FROM: its first chunk is the next message */
};

/* through_in.c: letters from smtpd, and what it is told of them. */
/** through_find() - By smtpd's number; or NULL. */
struct passing *through_find(struct through *t, uint32_t txn);
/** through_forget() - It is answered, or nobody waits for the answer. */
void through_forget(struct passing *p);
/** through_refuse() - 4xx for a letter, which ends; @p: NULL when there is none yet, or not any more. */
void through_refuse(struct through *t, uint32_t txn, struct passing *p, uint16_t code,
		    const char *text);
/** through_answered() - All next hops have said what they say. */
void through_answered(struct passing *p);
/* Messages of smtpd's. */
void through_from(struct through *t, const struct ipc_msg *m);
void through_body(struct through *t, const struct ipc_msg *m);
void through_store(struct through *t, const struct ipc_msg *m);

/* through_out.c: parts to next hops, and what those say. */
/** through_ways() - Make the parts of a letter that is whole; NULL, or why not, as a reply of 451. */
const char *through_ways(struct passing *p);
/** through_pump() - Hand out what may go now. */
void through_pump(struct through *t);
/** through_drop() - What was not sent yet never is; what is under way is called back, and lands on nobody. */
void through_drop(struct passing *p);
/** through_watch() - A letter is whole: from now on its next hops have so long. 0 or -ENOMEM. */
int through_watch(struct passing *p);
/** through_result() - Relay's answer for one part; through_lost() - none will come, of any. */
void through_result(struct through *t, const struct ipc_msg *m);
void through_lost(struct through *t);

#endif
