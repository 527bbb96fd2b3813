/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "retransmit.h"

static const uint16_t ladder_ms[RETRANSMIT_LADDER] = { 500, 1000, 2000, 4000, 4000 };

void retransmit_start(struct retransmit *r, uint64_t now_ms)
{
	r->first_ms = now_ms;
	r->last_ms = now_ms;
	r->tries = 1;
}

void retransmit_again(struct retransmit *r, uint64_t now_ms)
{
	r->last_ms = now_ms;
	if (r->tries != UINT32_MAX)
		r->tries++;
}

uint64_t retransmit_due_ms(const struct retransmit *r, uint64_t alive_ms, uint32_t rnd)
{
	uint64_t gap;

	if (r->tries <= RETRANSMIT_LADDER) {
		gap = ladder_ms[r->tries ? r->tries - 1 : 0];
		gap += gap * (rnd % 501) / 1000 - gap / 4; /* 75-125 % */
	} else if (r->last_ms < alive_ms || r->last_ms - alive_ms < RETRANSMIT_PATIENT_MS) {
		gap = 2000 + rnd % 2001;
	} else {
		gap = RETRANSMIT_SLOW_MS;
	}
	return r->last_ms + gap;
}
