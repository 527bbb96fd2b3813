/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DATAPLANE_EVQ_H
#define DATAPLANE_EVQ_H

/*
 * Theory: one byte ring from one worker to the control thread. Records are a header and the bytes
 * that belong to it, rounded to 8; one that would wrap is preceded by a filler record. IKE
 * datagrams may fill the ring only up to EVQ_RESERVE, so that a flood of them never costs an
 * event that the daemon needs, and forgeable first messages only up to half, so that a flood of those
 * costs none of the others. One writer, one reader, no lock.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dp.h"

#define EVQ_RESERVE 16384

struct evq {
	uint8_t *mem;
	size_t cap;			  /* power of two */
	_Alignas(64) _Atomic size_t head; /* read position, by the control thread */
	size_t taken;			  /* bytes of the record that the reader still looks at */
	_Alignas(64) _Atomic size_t tail; /* write position, by the worker */
};

/** evq_init() - @cap a power of two >= 64 KiB; 0, -EINVAL, -ENOMEM. */
int evq_init(struct evq *q, size_t cap);
void evq_free(struct evq *q);
/** evq_push() - Copies @ev and its data; false when there is no room (the caller counts it). */
bool evq_push(struct evq *q, const struct dp_event *ev);
/** evq_pop() - @ev->data is valid until the next call on this ring. */
bool evq_pop(struct evq *q, struct dp_event *ev);

#endif
