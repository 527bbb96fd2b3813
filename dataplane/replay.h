/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DATAPLANE_REPLAY_H
#define DATAPLANE_REPLAY_H

/*
 * Theory: the anti-replay window of one inbound SA (RFC 4303 s3.4.3, App. A). Numbers are 64 bit
 * inside; with ESN the high half is inferred from the window's place, without it is zero. The
 * bitmap is a ring of words one longer than the window (RFC 6479), so that moving it clears
 * whole words and never shifts. Nothing moves before the ICV holds: infer, check, open, commit.
 * One thread only.
 *
 * The ring begins with REPLAY_WORDS_MIN words and grows with the numbers that come: an SA that has
 * carried 200 packets needs no 4096 bits, and of ten thousand peers most are like that. Without
 * memory to grow the window stays narrower, and packets that are very late are dropped.
 */

#include <stdbool.h>
#include <stdint.h>

#define REPLAY_WINDOW_DEFAULT 4096
#define REPLAY_WINDOW_MAX     65536 /* DP_WINDOW_SHARED */
#define REPLAY_WORDS_MIN      4

struct replay {
	uint64_t top;	 /* highest number accepted; 0: none yet */
	uint32_t window; /* packets, a multiple of 64 */
	uint32_t mask;	 /* words - 1 */
	uint32_t full;	 /* the same when it has all that the window needs */
	bool esn;
	uint64_t *bits; /* few, or owned */
	uint64_t few[REPLAY_WORDS_MIN];
};

enum replay_result { REPLAY_NEW, REPLAY_SEEN, REPLAY_STALE };

/** replay_new() - @window in packets, rounded up to 64; 0: default. NULL: no memory or too large. */
struct replay *replay_new(uint32_t window, bool esn);
void replay_free(struct replay *r);
/**
 * replay_infer() - The full number behind the 32 bits on the wire (RFC 4303 App. A2).
 * 0 when there is none: zero itself, or a high half below zero. What is older than the window stays so, for replay_check()
 * to tell.
 */
uint64_t replay_infer(const struct replay *r, uint32_t seq_lo);
/** replay_check() - Before any crypto. */
enum replay_result replay_check(const struct replay *r, uint64_t seq);
/** replay_commit() - After the ICV held; true when @seq is above every number accepted before. */
bool replay_commit(struct replay *r, uint64_t seq);

#endif
