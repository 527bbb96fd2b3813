/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_QUEUE_PRESSURE_H
#define MTA_QUEUE_PRESSURE_H

/*
 * Theory: where letters come faster than a fast next hop takes them, each that is stored would wait
 * behind all that came before, and what does the storing takes its time from what sends. So their
 * senders wait instead: the 250 of a letter that schedule_behind() speaks of is given when the letter
 * leaves the line, when the line is short again, or after PRESSURE_MS, whichever comes first. It is
 * durable all the while.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "envelope.h"
#include "loop.h"

#define PRESSURE_MS 250

struct queue;
struct letter;
struct pressed;

struct pressure {
	STAILQ_HEAD(, pressed) line; /* in the order of their end */
	struct timer timer;
};

void pressure_init(struct queue *q);
/** pressure_hold() - Is @l's 250 to wait? Then accept_stored() is called later. */
bool pressure_hold(struct queue *q, uint32_t txn, const struct letter *l);
/** pressure_release() - Something left: who need not wait any more? */
void pressure_release(struct queue *q);
/** pressure_end() - All that wait are answered now, or, where nobody is there any more, forgotten. */
void pressure_end(struct queue *q, bool answer);

#endif
