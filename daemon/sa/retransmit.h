/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SA_RETRANSMIT_H
#define SA_RETRANSMIT_H

/*
 * Theory: when to send an unanswered request again (RFC 7296 s2.4 leaves it to us; design.md
 * section 4): 0.5, 1, 2, 4, 4 s with 25 % jitter, then for ever at a gap drawn from 2-4 s, and
 * once the peer gave no proof of life for 24 h, every 30 s. Nobody here gives up.
 */

#include <stdint.h>

#define RETRANSMIT_LADDER     5
#define RETRANSMIT_PATIENT_MS (24 * 3600 * 1000ull)
#define RETRANSMIT_SLOW_MS    30000
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
 * @rnd: 32 random bits for the jitter.
 */
uint64_t retransmit_due_ms(const struct retransmit *r, uint64_t alive_ms, uint32_t rnd);

#endif
