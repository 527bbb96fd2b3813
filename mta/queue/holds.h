/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_QUEUE_HOLDS_H
#define MTA_QUEUE_HOLDS_H

/*
 * Theory: what the admin holds stays held until he releases it, whatever dies in between. Held letters
 * stand in the journal; routes and single next hops stand here, one a line, in the order of the holds:
 *
 *	holds		"ROUTE" or "ROUTE/HOP"; no file is no hold. "ROUTE quiet" after it: held quietly (an older
 *			version takes that for a hold of a route that is not there, and holds the route all the same)
 *	holds.new	being written; never read
 *
 * Written whole, synced, renamed and the directory synced before the admin has his answer. The hold itself
 * counts from the verb on: a disk that fails costs no more than its memory.
 */

#include <stdbool.h>
#include <stdint.h>

struct queue;

/** holds_load() - At the start, before letters find their routes. */
void holds_load(struct queue *q);
/**
 * holds_change() - Hold or release @what, "ROUTE" or "ROUTE/HOP", and answer @id when that is on the disk.
 * @quiet: nobody is told of the delay while it is held (delay.c).
 *
 * A route that is released takes the holds of its next hops with it.
 */
void holds_change(struct queue *q, uint32_t id, const char *what, bool hold, bool quiet);

#endif
