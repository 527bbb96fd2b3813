/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DATAPLANE_LINE_H
#define DATAPLANE_LINE_H

/*
 * Theory: how fast the line behind a socket is. A send buffer that is full, and full again later, took in between
 * what has left it. Times at which it would have taken more and had nothing are no part of that.
 *
 *	full          writable            full      writable     full
 *	 |- - - - - - - -|  line_took()... |- - - - - -|  ...      |
 *	 |<------------------- a window ---------------------------->|   line_full() says when one is over
 *
 * What waits in a send buffer waits behind nobody's turn, so it gets no more than LINE_QUEUE_US of that. Buffers are
 * counted in what the kernel's memory of a packet takes, which for a small one is many times its bytes: so is the load.
 * A line that is never full any more may have become faster. It is tried step by step, because a buffer for
 * a fast one is a second's worth of a slow one.
 *
 * Microseconds are an argument. One worker.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LINE_WINDOW_US	  20000 /* at least, */
#define LINE_WINDOW_BYTES 8192	/* and with that: of two packets one too many would be half */
#define LINE_IDLE_US	  2000	/* in which a buffer of LINE_QUEUE_US never runs empty */
#define LINE_DOUBT_US	  1000000
#define LINE_QUEUE_US	  5000
#define LINE_PORTION_US	  2500
#define LINE_FAST_BYTES	  65507 /* a portion of that size is as good as any */
#define LINE_PACKET	  1500
#define LINE_SEND_COST	  1024 /* what the kernel adds to a send, about */
#define LINE_BUFFER_LEAST 6912 /* three full packets */

struct line {
	uint64_t rate;	       /* bytes a second; 0: not known */
	uint64_t load;	       /* what those take of the buffer */
	uint64_t since_us;     /* a window began then; 0: none */
	uint64_t bytes, taken; /* since then */
	uint64_t idle_us;      /* since then it would take more; 0: it has what it takes */
	uint64_t full_us;      /* when it last was, or was last doubted */
};

/* That was too long: it may have stood still. */
static inline void line_check_idle(struct line *l, uint64_t now_us)
{
	if (l->idle_us && now_us - l->idle_us >= LINE_IDLE_US)
		l->since_us = 0;
	l->idle_us = 0;
}

/** line_took() - @bytes, that take @taken of the buffer, were sent. */
static inline void line_took(struct line *l, size_t bytes, size_t taken, uint64_t now_us)
{
	line_check_idle(l, now_us);
	l->bytes += bytes;
	l->taken += taken;
}

static inline uint64_t line_smooth(uint64_t was, uint64_t seen)
{
	/* Another line, or another share of it; small differences are chance. */
	if (seen > 2 * was || seen < was / 2)
		return seen;
	return (3 * was + seen) / 4;
}

/** line_full() - It takes no more. True: something was learnt. */
static inline bool line_full(struct line *l, uint64_t now_us)
{
	uint64_t us;

	line_check_idle(l, now_us);
	l->full_us = now_us;
	us = now_us - l->since_us;
	if (l->since_us && (us < LINE_WINDOW_US || l->bytes < LINE_WINDOW_BYTES))
		return false;
	if (l->since_us) {
		l->rate = line_smooth(l->rate, l->bytes * 1000000 / us);
		l->load = line_smooth(l->load, l->taken * 1000000 / us);
	}
	us = l->since_us;
	l->since_us = now_us;
	l->bytes = l->taken = 0;
	return us;
}

/** line_resized() - The buffer is another one: full is not what it was. */
static inline void line_resized(struct line *l)
{
	l->since_us = 0;
}

/** line_idle() - Nothing waits for it, though it would take something. */
static inline void line_idle(struct line *l, uint64_t now_us)
{
	if (!l->idle_us)
		l->idle_us = now_us;
}

/** line_doubt() - True: it was not full for long, and is believed to be faster now. */
static inline bool line_doubt(struct line *l, uint64_t now_us)
{
	if (!l->rate || now_us - l->full_us < LINE_DOUBT_US)
		return false;
	l->full_us = now_us;
	l->since_us = 0;
	l->rate *= 2;
	l->load *= 2;
	if (l->rate * LINE_PORTION_US / 1000000 >= LINE_FAST_BYTES)
		l->rate = l->load = 0;
	return true;
}

/** line_portion() - Bytes that may be sent to it at a time; 0: it is not known to be slow. */
static inline size_t line_portion(const struct line *l)
{
	uint64_t bytes = l->rate * LINE_PORTION_US / 1000000;

	if (!l->rate || bytes >= LINE_FAST_BYTES)
		return 0;
	return bytes < LINE_PACKET ? LINE_PACKET : (size_t)bytes;
}

/** line_buffer() - The send buffer that it is worth, in the kernel's count; 0: nobody knows. */
static inline size_t line_buffer(const struct line *l)
{
	uint64_t bytes = l->load * LINE_QUEUE_US / 1000000;

	if (!l->rate)
		return 0;
	return bytes < LINE_BUFFER_LEAST ? LINE_BUFFER_LEAST : (size_t)bytes;
}

#endif
