/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DATAPLANE_STREAM_INT_H
#define DATAPLANE_STREAM_INT_H

/* Between stream.c (bytes) and stream_life.c (from the first byte to the last). */

#include "clock.h"
#include "frame.h"
#include "stream.h"

#define STREAM_IKE_MAX	16640 /* frame of the largest IKE message: all that a young stream is for */
#define STREAM_OUT_YOUNG 20480
#define STREAM_OUT	 (192 << 10)
#define STREAM_HAND_MAX	 (BUF_BYTES - SPLIT_SPARE)

/** stream_put(), stream_take() - The cloak's I/O, and the socket itself without one; under the lock. */
int stream_put(void *arg, const void *p, size_t len);
ssize_t stream_take(void *arg, void *p, size_t len);
/** stream_write() - All or nothing; 0, -EAGAIN or what broke it. Under the lock. */
int stream_write(struct stream *s, const void *p, size_t len);
/** stream_flush() - What waits, as far as it goes; 0 or -errno. Under the lock. */
int stream_flush(struct stream *s);
/** stream_read() - Plain bytes; 0 at the end, -EAGAIN or -errno. */
ssize_t stream_read(struct stream *s, void *p, size_t len);
/** stream_again() - Be called for it once more, whatever the socket has to say. */
void stream_again(struct stream *s);
/** stream_die() - By its reader (@w, NULL: the control thread); told once. */
void stream_die(struct stream *s, struct worker *w, int error);

#endif
