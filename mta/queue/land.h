/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_QUEUE_LAND_H
#define MTA_QUEUE_LAND_H

#include "queue.h"

/* Whose result it is. */
struct land_to {
	uint32_t id;	     /* of the attempt; 0: no relay knows of it */
	uint32_t generation; /* of the link to the relay that had it */
	bool again;	     /* its host was judged before */
};

/** land_told() - MSG_R_COMMITTED, if that relay is still there. */
void land_told(struct queue *q, const struct land_to *to);
/**
 * land_result() - Write down what an attempt came to; land_told() when it is durable.
 *
 * 0: @g has landed. -errno: some of it was delivered, and that could not be written. It stays in flight until
 * land_again() says 0.
 */
int land_result(struct queue *q, struct leg *g, const struct land_to *to, const struct msg_r_result *m,
		uint64_t now_ms);
int land_again(struct queue *q, struct leg *g, const struct land_to *to, uint64_t now_ms);

#endif
