/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_QUEUE_REPORT_H
#define MTA_QUEUE_REPORT_H

/*
 * Theory: the admin is told by mail of letters that became dead ones ([mta] dead-letter-report): of the
 * first at once, of what dies in the hour after a report in one more at its end. Noted are ids; all else is
 * read when the report is made, so it is true by then: what was released or removed meanwhile is not in it.
 *
 *	letter dies -> report_died: its id, or one more of "and N more"
 *	tick -> report_run: an hour after the last one -> read, written, queued as any letter
 *
 * It comes from the null sender, and of letters of the null sender nothing is noted: a report that is given
 * up, here or at a next hop with reports of its own, makes no other one. What is noted is lost with the
 * process, but for an orderly end, which reports at once.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "envelope.h"

#define REPORT_LETTERS_MAX 50 /* that a report names */
#define REPORT_RCPTS_MAX   5  /* of each */
#define REPORT_BODY_MAX	   (60 * 1024)
#define REPORT_EVERY_MS	   3600000ull
#define REPORT_AGAIN_MS	   60000ull /* where there is no room for one */

struct letter;
struct queue;

struct report {
	struct {
		uint8_t id[LETTER_ID_LEN];
		int64_t when_s; /* wall clock */
	} died[REPORT_LETTERS_MAX];
	size_t count;
	uint64_t more;	  /* that died besides */
	uint64_t next_ms; /* none before */
};

/** report_died() - @l, whose sender is not the null one, becomes a dead letter. Never fails. */
void report_died(struct queue *q, const struct letter *l);
/**
 * report_run() - A report if one is due, else nothing.
 * @now_ms: CLOCK_BOOTTIME. What cannot be written is tried again in a minute; the dead letters do not change by it.
 */
void report_run(struct queue *q, uint64_t now_ms);
/** report_end() - The process ends: of what is noted now, or never. */
void report_end(struct queue *q, uint64_t now_ms);

#endif
