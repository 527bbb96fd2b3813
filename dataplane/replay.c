/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "replay.h"

#include <stdlib.h>
#include <string.h>

struct replay *replay_new(uint32_t window, bool esn)
{
	uint32_t words = 2;
	struct replay *r;

	if (!window)
		window = REPLAY_WINDOW_DEFAULT;
	if (window > REPLAY_WINDOW_MAX)
		return NULL;
	window = (window + 63) & ~63u;
	while (words < window / 64 + 1)
		words *= 2;
	r = calloc(1, sizeof(*r));
	if (!r)
		return NULL;
	r->window = window;
	r->full = words - 1;
	r->mask = words < REPLAY_WORDS_MIN ? words - 1 : REPLAY_WORDS_MIN - 1;
	r->esn = esn;
	r->bits = r->few;
	return r;
}

void replay_free(struct replay *r)
{
	if (r && r->bits != r->few)
		free(r->bits);
	free(r);
}

/*
 * Before it goes round for the first time, so that it holds every number that ever came: a handful of
 * times in the life of an SA, the last time at 4096 with the usual window.
 */
static void grow(struct replay *r, uint64_t seq)
{
	uint32_t words = r->mask + 1;
	uint64_t *bits;

	while (words <= r->full && words <= seq >> 6)
		words *= 2;
	bits = calloc(words, sizeof(*bits));
	if (!bits) {
		r->full = r->mask; /* for good: what a wider one should know will be gone */
		r->window = r->mask * 64;
		return;
	}
	memcpy(bits, r->bits, (r->mask + 1) * sizeof(*bits));
	if (r->bits != r->few)
		free(r->bits);
	r->bits = bits;
	r->mask = words - 1;
}

/*
 * The high half is the one that brings the number nearest to the window's top. RFC 4303 App. A2.1 goes by the window's edge
 * alone, with the same result for what lies in the window or up to 2^31 above it; but to it what is a little too old is one
 * that comes after nearly 2^32 more: opened in vain, and counted as forged. No SA outlives the loss of 2^31 packets.
 */
#define FAR	 (1ull << 31)
#define SUBSPACE (1ull << 32)

uint64_t replay_infer(const struct replay *r, uint32_t seq_lo)
{
	uint64_t seq = (r->top & ~(SUBSPACE - 1)) | seq_lo;
	uint32_t edge = (uint32_t)r->top - r->window + 1; /* of the window, modulo 2^32 */

	if (!r->esn)
		return seq_lo;
	if (seq + FAR <= r->top)
		return seq + SUBSPACE;
	if (seq <= r->top + FAR)
		return seq;
	if (seq >= SUBSPACE)
		return seq - SUBSPACE;
	/* In the first subspace: of a window that began below zero? */
	return r->top < r->window - 1 && seq_lo >= edge ? 0 : seq;
}

enum replay_result replay_check(const struct replay *r, uint64_t seq)
{
	if (!seq)
		return REPLAY_STALE;
	if (seq > r->top)
		return REPLAY_NEW;
	if (r->top - seq >= r->window)
		return REPLAY_STALE;
	return r->bits[(seq >> 6) & r->mask] >> (seq & 63) & 1 ? REPLAY_SEEN : REPLAY_NEW;
}

bool replay_commit(struct replay *r, uint64_t seq)
{
	bool newest = seq > r->top;

	if (r->mask != r->full && seq >> 6 > r->mask)
		grow(r, seq);
	if (newest) {
		uint64_t from = r->top >> 6, to = seq >> 6;

		if (to - from > r->mask)
			from = to - r->mask - 1;
		while (from < to)
			r->bits[++from & r->mask] = 0;
		r->top = seq;
	}
	r->bits[(seq >> 6) & r->mask] |= 1ull << (seq & 63);
	return newest;
}
