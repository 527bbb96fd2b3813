/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_QUEUE_TRACE_H
#define MTA_QUEUE_TRACE_H

/*
 * Theory: what this hop tells of a letter, and whom else to ask (hop/story.h says who is told what). All of it follows
 * from the letter's events (history.h), whether it still waits or not:
 *
 *	accepted	who brought it: a tunnel peer, by posternd's name, or an address; there is the hop before
 *	delivered	by which route: one with trace = yes leads to a hop behind
 */

#include "addr.h"
#include "history.h"
#include "hop/story.h"
#include "route.h"
#include "tunnel.h"

#define TRACE_TARGETS_MAX 8
#define TRACE_LETTERS_MAX 8

struct queue;

/* Who wants to know. */
struct trace_asker {
	bool admin;
	char peer[TUNNEL_NAME_MAX]; /* "": @addr counts */
	struct addr addr;
};

/* A hop that knows more. */
struct trace_target {
	char route[MTA_NAME_MAX];
	char next_hop[ROUTE_HOP_MAX];
	uint8_t id[LETTER_ID_LEN]; /* by which it is asked */
};

struct trace {
	struct story story; /* what happened here */
	struct trace_target target[TRACE_TARGETS_MAX];
	size_t target_count;
	json_t *rcpts; /* of what hops before us tell, these addresses alone; NULL: all of it */
	json_t *next;  /* ids at hops behind: {id, hop} */
};

/** trace_init() - 0 or -ENOMEM. */
int trace_init(struct trace *t);
void trace_clear(struct trace *t);
/**
 * trace_letters() - Add what is known of @count letters, TRACE_LETTERS_MAX at most, as far as @who may know it.
 * Returns the index of the first one of which there is something that @who may know; @count: there is none.
 */
size_t trace_letters(struct queue *q, const uint8_t own[][LETTER_ID_LEN], size_t count,
		     const struct trace_asker *who, struct trace *t);

#endif
