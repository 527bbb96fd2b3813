/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A socket and its line (line.h): what is measured, and the send buffer that follows from it. */
#include "worker.h"

#define BUFFER_DEFAULT 212992  /* effective; what Linux gives, some 70 ms at 20 Mbit/s */
#define BUFFER_MOST    4194304 /* the kernel may allow less */

/* The kernel doubles what it is told, for what packets cost beside their bytes; line_buffer() has counted that. */
static void set_buffer(struct sock *s, size_t bytes)
{
	int half = (int)(bytes / 2);

	s->buffer = bytes;
	(void)setsockopt(s->fd, SOL_SOCKET, SO_SNDBUF, &half, sizeof(half));
}

void line_open(struct sock *s)
{
	set_buffer(s, BUFFER_DEFAULT);
}

/* A little more or less is not worth a call, and a window that is begun anew. */
static void follow(struct sock *s)
{
	size_t want = line_buffer(&s->line);

	s->line_bytes = line_portion(&s->line);
	if (!want)
		want = BUFFER_DEFAULT;
	if (want > BUFFER_MOST)
		want = BUFFER_MOST;
	/* One that another worker reads is theirs to set. */
	if (!s->mine || (want < s->buffer + s->buffer / 4 && want > s->buffer - s->buffer / 4))
		return;
	set_buffer(s, want);
	line_resized(&s->line);
}

void line_blocked(struct worker *w, struct sock *s)
{
	uint64_t now = worker_clock_us();

	w->full_us = now;
	if (line_full(&s->line, now))
		follow(s);
}

void line_settle(struct worker *w)
{
	bool known = false;

	if (!w->full_us)
		return;
	for (unsigned i = 0; i < w->sock_count; i++) {
		struct sock *s = &w->socks[i];

		if (!s->blocked && !fq_ready(&w->fq, w->now_us))
			line_idle(&s->line, w->now_us);
		if (!s->blocked && line_doubt(&s->line, w->now_us))
			follow(s);
		known |= s->line.rate || s->blocked;
	}
	if (!known && w->now_us - w->full_us >= LINE_DOUBT_US)
		w->full_us = 0;
}
