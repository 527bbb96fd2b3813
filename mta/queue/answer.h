/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_QUEUE_ANSWER_H
#define MTA_QUEUE_ANSWER_H

/* What a verb of the admin is answered with. A long answer goes in parts, all but the last with "more". */

#include "queue.h"

struct answer {
	struct queue *q;
	uint32_t id;
	const char *in;	  /* the object that it is in; NULL: the answer itself */
	const char *name; /* of the array */
	json_t *items;
	size_t bytes, total; /* of this part, and of all */
};

/**
 * answer_reply() - One object, taken.
 * One that is too large for a message goes in parts: its arrays, and those of the objects in it, are divided.
 */
void answer_reply(struct queue *q, uint32_t id, json_t *o);
void answer_fail(struct queue *q, uint32_t id, const char *why);
/** answer_add() - One more item, taken; one that fits into no message is left out. */
void answer_add(struct answer *a, json_t *item);
/** answer_full() - It is long enough: of more than CONTROL_BACKLOG_MAX who asked hears nothing at all. */
bool answer_full(const struct answer *a);
/** answer_end() - The last part; @also: members beside the array, taken, or NULL. */
void answer_end(struct answer *a, json_t *also);

/*
 * An answer that waits until all that the verb changed is durable; or until nothing can be written, which it
 * says then. Takes nothing back: what could not be committed is the caller's to tell.
 */
struct answer_later;

/** answer_later() - NULL without memory. */
struct answer_later *answer_later(struct queue *q, uint32_t id);
/** answer_commit() - As store_commit() of records that are kept; the answer waits for this one too. */
int answer_commit(struct answer_later *a, struct store_change *c);
/** answer_so_far() - There are more changes to come; what an answer says that cannot wait for them. */
void answer_so_far(struct answer_later *a, size_t count, const char *text);
/** answer_count() - No more changes; "count" and "text" when all are durable. Takes @a. */
void answer_count(struct answer_later *a, size_t count, const char *text);
/**
 * answer_not() - No more changes, and some could not be made: an error at once, unless there was an answer. Takes @a,
 * which may be NULL.
 */
void answer_not(struct answer_later *a, struct queue *q, uint32_t id, const char *why);

#endif
