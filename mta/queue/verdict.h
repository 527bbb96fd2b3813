/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_QUEUE_VERDICT_H
#define MTA_QUEUE_VERDICT_H

/* What one client is told where several recipients were answered by next hops. */

#include <stdint.h>

#include "msg.h"

#define VERDICT_TEXT_MAX 200

struct verdict {
	uint8_t worst; /* enum rcpt_result, by how bad it is for the client; 0: all have it */
	uint16_t code; /* where they have not */
	char text[VERDICT_TEXT_MAX];
};

/** verdict_add() - The worst counts; @v is zero at first. */
void verdict_add(struct verdict *v, const struct msg_r_rcpt_result *r);

#endif
