/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_QUEUE_THROUGH_H
#define MTA_QUEUE_THROUGH_H

struct child;

/**
 * through_start() - `queue = none`: be the queue process without a queue; @ch gets other callbacks.
 * 0 or -errno, as child_ops.start.
 */
int through_start(struct child *ch);

#endif
