/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef PEER_RECALL_H
#define PEER_RECALL_H

/*
 * Theory: after our own start those that wait for their peers call each where it was last seen. Ten thousand
 * are no more than RECALL_OUT_MAX at a time: the next one's turn comes as one answers, so that a machine
 * that is slow takes longer, and that is all. Who does not answer gives way to those that wait, and has
 * its turn again later, at longer and longer intervals, until it is there or not ours any more.
 */

#include <stddef.h>
#include <stdint.h>

#define RECALL_OUT_MAX	   256
#define RECALL_STEP_MS	   20
#define RECALL_STEP_CALLS  10	   /* begun in one step: 10 000 in 20 s, faster than they notice */
#define RECALL_PATIENCE_MS 4000	   /* unanswered for so long it gives way */
#define RECALL_AGAIN_MS	   10000   /* and comes again; twice as late each time, */
#define RECALL_LONG_MS	   3600000 /* but not later than this */

enum recall_state {
	RECALL_DONE,	 /* it is up, or nobody that we would call */
	RECALL_SILENT,	 /* called, and not answered */
	RECALL_ANSWERED, /* the handshake goes on */
	RECALL_OVER,	 /* not called (any more) */
};

struct recall_ops {
	void (*begin)(void *arg, uint32_t peer, uint64_t now_ms);
	void (*end)(void *arg, uint32_t peer);
	enum recall_state (*state)(void *arg, uint32_t peer);
};

struct recall_turn;

struct recall {
	const struct recall_ops *ops;
	void *arg;
	struct recall_turn *turn; /* owned */
	size_t count, room;
	size_t at;  /* whose turn is looked at next */
	size_t out; /* called now */
};

/** recall_add() - @peer is to be called, from @at_ms on. 0 or -ENOMEM. */
int recall_add(struct recall *r, uint32_t peer, uint64_t at_ms);
/** recall_step() - Go on; returns when to do so again, UINT64_MAX: nobody is left. */
uint64_t recall_step(struct recall *r, uint64_t now_ms);
void recall_clear(struct recall *r);

#endif
