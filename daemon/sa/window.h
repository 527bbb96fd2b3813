/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SA_WINDOW_H
#define SA_WINDOW_H

/*
 * Theory: message IDs of one IKE SA, window size 1 in both directions (RFC 7296 s2.2, s2.3).
 * Checking moves nothing: a message counts only after it has been authenticated and, for a request,
 * after its answer is ready to be sent. The last answer is kept until the next request, so
 * that a retransmitted request gets the same bytes.
 *
 *	peer's requests:   next_in-1 = answered, its reply is stored     next_in = awaited
 *	our requests:      next_out  = outstanding, or the next to be used
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Datagrams of one message: one, or its RFC 7383 fragments in order. */
struct datagrams {
	struct datagram {
		uint8_t *bytes;
		size_t len;
	} * v;
	size_t count;
};

/** datagrams_add() - Takes a copy of @bytes; 0 or -ENOMEM. */
int datagrams_add(struct datagrams *d, const uint8_t *bytes, size_t len);
void datagrams_clear(struct datagrams *d);
/** datagrams_bytes() - Of all of them together. */
size_t datagrams_bytes(const struct datagrams *d);

#define REPLIES_PER_S 8

struct window {
	uint32_t next_in, next_out;
	bool outstanding; /* next_out was sent and has no answer */
	bool answering;	  /* next_in is authentic and its answer is being made */
	struct datagrams reply;
	uint64_t request_hash; /* of the datagram (last or first fragment) that next_in-1 was */
	uint32_t repeated;     /* how often those bytes came again */
	uint64_t resent_ms;    /* the second in which the reply went out again */
	uint32_t resent;       /* so often */
};

enum window_verdict {
	WINDOW_NEW,	  /* the awaited one */
	WINDOW_DUPLICATE, /* the last one again: resend the stored reply */
	WINDOW_BUSY,	  /* the awaited one again while its answer is being made: drop */
	WINDOW_STALE,	  /* anything else: drop, never answered (s2.3) */
};

enum window_verdict window_check_request(const struct window *w, uint32_t id);
/** window_check_response() - Is @id the answer that we wait for? */
bool window_check_response(const struct window *w, uint32_t id);
/**
 * window_commit_request() - The answer to next_in is ready.
 * @reply: taken over (emptied); @request_hash: see struct window.
 */
void window_commit_request(struct window *w, struct datagrams *reply, uint64_t request_hash);
/** window_may_repeat() - May the stored reply leave once more? At most REPLIES_PER_S in a second. */
bool window_may_repeat(struct window *w, uint64_t now_ms);
/** window_commit_response() - next_out is answered, the following number is free. */
void window_commit_response(struct window *w);
/** window_exhausted() - Message IDs near their end: the IKE SA must be rekeyed (s2.2). */
bool window_exhausted(const struct window *w);
/** window_last() - One number is left on a side: it must be closed now, while we can still say so. */
bool window_last(const struct window *w);
void window_clear(struct window *w);

#endif
