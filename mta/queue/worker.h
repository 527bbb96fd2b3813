/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_QUEUE_WORKER_H
#define MTA_QUEUE_WORKER_H

/*
 * Theory: one helper thread that does what may block on the disk, one job after the other, so that
 * the loop goes on accepting while a sync runs. Jobs run in the order of submission; their done()
 * comes on the loop's thread, in the same order. A test makes a worker without a thread and runs
 * each job when it likes.
 */

#include <stdbool.h>

#include "loop.h"

struct worker;

/* Embedded in its owner, which keeps it until done() was called. */
struct job {
	struct job *next;
	void (*run)(struct job *j);  /* on the helper thread */
	void (*done)(struct job *j); /* on the loop's thread; may free the job */
};

/** worker_new() - @l NULL: no thread, worker_step() runs the jobs. NULL on ENOMEM or no thread. */
struct worker *worker_new(struct loop *l);
void worker_submit(struct worker *w, struct job *j);
/** worker_step() - Without a thread: run and finish the oldest job; false when there is none. */
bool worker_step(struct worker *w);
/** worker_drain() - Run all jobs to their done(), and those that these submit. */
void worker_drain(struct worker *w);
/** worker_free() - After worker_drain(). */
void worker_free(struct worker *w);

#endif
