/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SA_RETRANSMIT_H
#define SA_RETRANSMIT_H

/*
 * Theory: when to send an unanswered request again (RFC 7296 s2.4 leaves it to us; design.md
 * section 4): 0.5, 1, 2, 4, 4 s less up to 25 % of jitter (never more: nobody
 * waits longer than 4 s for the next try), then for ever at a gap drawn from 2-4 s, and
 * once the peer gave no proof of life for 24 h, every 30 s. A peer with a longer pause of its own
 * (`retry-max`) is asked by that once it was silent for 15 s. Nobody here gives up.
 */

#include <stdint.h>

#define RETRANSMIT_LADDER     5
#define RETRANSMIT_PATIENT_MS (24 * 3600 * 1000ull)
#define RETRANSMIT_SLOW_MS    30000
#define RETRANSMIT_GAP_MS     4000  /* the longest pause of the first day, if no other is asked for */
#define RETRANSMIT_FAST_MS    15000 /* before a longer one holds */
#define RETRANSMIT_STEP_DOWN  3 /* transmissions after which a request goes in smaller fragments */

struct retransmit {
	uint64_t first_ms; /* first transmission */
	uint64_t last_ms;
	uint32_t tries; /* transmissions so far */
};

/** retransmit_start() - The request leaves for the first time. */
void retransmit_start(struct retransmit *r, uint64_t now_ms);
/** retransmit_again() - It leaves once more. */
void retransmit_again(struct retransmit *r, uint64_t now_ms);
/**
 * retransmit_due_ms() - When to send next.
 * @alive_ms: last proof of life of this peer, or when we began to call it.
 * @gap_max_ms: longest pause in the first day; RETRANSMIT_GAP_MS or less: 2-4 s.
 * @rnd: 32 random bits for the jitter.
 */
uint64_t retransmit_due_ms(const struct retransmit *r, uint64_t alive_ms, uint64_t gap_max_ms,
			   uint32_t rnd);

#endif
