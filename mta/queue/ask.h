/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_QUEUE_ASK_H
#define MTA_QUEUE_ASK_H

/*
 * Theory: a trace is asked for by the admin, or by a hop (hop/story.h). What this hop knows (trace.h) is there at
 * once; relay asks the others, and what they tell is added until all have answered or time is over:
 *
 *	mail trace   --> struct inquiry --MSG_R_TRACE--> relay --XTRACE--> hop		for each hop
 *	MSG_Q_TRACE  -->	^---------MSG_R_TRACED----/
 *			 all answered, or the timer: the story to who asked
 *
 * A hop that did not answer is told by name, with why. Whoever asks: not more than ASK_MAX questions are under way,
 * the last ASK_ADMIN of them the admin's. Each answer reads all of the history, twice, and nothing else happens
 * meanwhile: one hop may ask ASK_BURST times at once, then once in ASK_GAP_MS, and all of them together
 * ASK_ALL_BURST times, then once in ASK_ALL_GAP_MS.
 */

#include <jansson.h>

#include "ipc.h"
#include "loop.h"
#include "queue/trace.h"

#define ASK_MAX	       16
#define ASK_ADMIN      4
#define ASK_WHO	       32 /* hops whose last question is remembered */
#define ASK_BURST      20
#define ASK_GAP_MS     2000
#define ASK_ALL_BURST  30
#define ASK_ALL_GAP_MS 500

struct queue;

/* A hop that was asked. */
struct ask_open {
	uint32_t id; /* at the relay; 0: it has answered */
	char hop[ROUTE_HOP_MAX];
	uint8_t letter[LETTER_ID_LEN]; /* by which */
};

struct inquiry {
	bool used;
	struct queue *q;
	struct trace_asker who;
	uint32_t id; /* of the admin's request, or of smtpd's */
	uint32_t generation; /* of smtpd's link */
	uint8_t letter[LETTER_ID_LEN];
	struct trace t;
	struct ask_open open[TRACE_TARGETS_MAX];
	size_t open_count;
	struct timer timer;
};

struct asks {
	struct inquiry inquiry[ASK_MAX];
	uint32_t next_id;
	struct ask_quota {
		char who[TUNNEL_NAME_MAX];
		uint64_t at_ms; /* when @left was counted; 0: not yet */
		uint32_t left;
	} quota[ASK_WHO], all;
	size_t next_quota;
};

/** ask_admin() - Verb trace {id, local}: by its id here, at the hop before or at one behind. */
void ask_admin(struct queue *q, uint32_t id, const json_t *args);
/** ask_peer() - MSG_Q_TRACE. */
void ask_peer(struct queue *q, const struct ipc_msg *m);
/** ask_answered() - MSG_R_TRACED. */
void ask_answered(struct queue *q, const struct ipc_msg *m);
/** ask_relay_lost() - Nobody answers what was asked by it. */
void ask_relay_lost(struct queue *q);
/** asks_clear() - At the end; nobody is told. */
void asks_clear(struct queue *q);

#endif
