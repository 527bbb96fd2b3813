/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DATAPLANE_FQ_H
#define DATAPLANE_FQ_H

/*
 * Theory: what waits between the TUN and the cipher. A TUN stops nobody who writes to it: what its ring does not
 * take is lost, whoever it is from. So the ring is read ahead of what can leave, and here is decided who goes first
 * and who is told to slow down, as fq_codel does it (RFC 8290) but by units, that is by what one read gave:
 *
 *	- flows take turns by deficit round robin; one that has just come goes before those with a backlog
 *	- CoDel (RFC 8289) looks at how long each flow's oldest unit has waited. When that is too long, the unit
 *	  is given out with @mark: its caller drops its first packet, or marks it where it may (RFC 3168). One that
 *	  is then parked is given out again, and not marked twice
 *	- when there is no room the flow with the most bytes loses its oldest unit
 *
 *	      new flow                        deficit > 0, empty            deficit > 0, empty
 *	(idle) ------> [new list] -- used up --> [old list] ------------------> (idle)
 *	                    |                     ^    |
 *	                    +--- empty -----------+    +-- used up: to its tail
 *
 * A flow whose peer may send no more for now is parked, with all it has, until a time. Then it is where it was.
 *
 * One worker uses it. Nothing is allocated; units are their owner's memory. Times are microseconds, an argument.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FQ_FLOWS	  256 /* power of two; flows that hash alike share one turn */
#define FQ_QUANTUM	  16384 /* bytes of a flow's turn */
#define FQ_TARGET_US	  2000 /* a queue that always holds more than this much time is no use */
#define FQ_INTERVAL_US 50000 /* and how long it may, which is about the round trip of who is to notice */

struct fq_unit {
	struct fq_unit *next;
	uint64_t at_us; /* came */
	uint32_t bytes; /* that it still has */
	uint16_t flow;
	bool begun; /* part of it has left: stays at the head of its flow */
	bool told;  /* its caller knows that it has waited too long */
};

struct fq_flow {
	struct fq_unit *head, *tail;
	struct fq_flow *next;
	uint32_t bytes;
	int32_t deficit;
	enum { FQ_IDLE, FQ_NEW, FQ_OLD, FQ_PARKED } on, from; /* and where it is parked from */
	uint64_t until_us; /* parked */
	/* CoDel */
	bool dropping;
	uint32_t count, last_count;
	uint64_t above_us; /* since its first time above the target: when that has lasted; 0: below */
	uint64_t next_us;  /* the next mark */
};

struct fq_list {
	struct fq_flow *head, *tail;
};

struct fq {
	struct fq_flow flow[FQ_FLOWS + 1]; /* the last one is fq_add_apart()'s */
	struct fq_list fresh, old, parked;
	uint64_t wake_us; /* the first of parked; UINT64_MAX: none */
	uint32_t units, bytes;
	uint64_t marks;
};

/** fq_init() - Empty. */
void fq_init(struct fq *s);
/** fq_add() - @u, with @u->bytes, waits from now on; @hash: of its flow. */
void fq_add(struct fq *s, struct fq_unit *u, uint32_t hash, uint64_t now_us);
/** fq_add_apart() - A flow that shares its turn with nobody, of one unit, which is never evicted. */
void fq_add_apart(struct fq *s, struct fq_unit *u, uint64_t now_us);
/**
 * fq_next() - Whose turn it is; NULL: nobody waits. The unit stays where it is until fq_took().
 * @mark: set when it has waited too long; once, and only while nothing of it has left.
 */
struct fq_unit *fq_next(struct fq *s, uint64_t now_us, bool *mark);
/**
 * fq_took() - @bytes of the unit that fq_next() gave have left, or were dropped; @done: all of it.
 * Then it is out of the queue and its caller's.
 */
void fq_took(struct fq *s, struct fq_unit *u, uint32_t bytes, bool done);
/** fq_park() - The unit that fq_next() gave, and all of its flow, is not looked at before @until_us. */
void fq_park(struct fq *s, struct fq_unit *u, uint64_t until_us);
/** fq_ready() - fq_next() would give one. */
bool fq_ready(const struct fq *s, uint64_t now_us);
/**
 * fq_evict() - The oldest whole unit of the flow with the most bytes, taken out.
 * NULL: there is none, or that one came after @before_us: a burst, no standing queue.
 */
struct fq_unit *fq_evict(struct fq *s, uint64_t before_us);

#endif
