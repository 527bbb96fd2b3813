/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_QUEUE_OUTGOING_H
#define MTA_QUEUE_OUTGOING_H

/* An attempt on its way to relay, whether the letter lies in the journal or is only passing. */

#include <stddef.h>
#include <stdint.h>

#include "envelope.h"
#include "ipc.h"
#include "msg.h"

/**
 * outgoing_send() - MSG_R_ATTEMPT.
 * @m: complete but for the envelope; body and body_len of a body that is in memory.
 * @e: facts; its recipients are not sent, those are @m->rcpts.
 * @fd: of the body where @m->body is NULL; the caller's.
 *
 * 0: sent. -EMSGSIZE: it never can be; else another time.
 */
int outgoing_send(struct ipc *relay, uint32_t id, struct msg_r_attempt *m, const struct envelope *e,
		  int fd);

#endif
