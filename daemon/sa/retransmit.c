/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "retransmit.h"

#include <stdbool.h>

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

uint64_t retransmit_due_ms(const struct retransmit *r, uint64_t alive_ms, uint64_t gap_max_ms,
			   uint32_t rnd)
{
	uint64_t silent = r->last_ms > alive_ms ? r->last_ms - alive_ms : 0, gap;
	bool sparing = gap_max_ms > RETRANSMIT_GAP_MS && silent >= RETRANSMIT_FAST_MS;

	if (r->tries <= RETRANSMIT_LADDER && !sparing) {
		gap = ladder_ms[r->tries ? r->tries - 1 : 0];
		gap -= gap * (rnd % 251) / 1000; /* 75-100 % */
	} else if (silent < RETRANSMIT_PATIENT_MS) {
		gap = sparing ? gap_max_ms / 2 + rnd % (gap_max_ms / 2 + 1) : 2000 + rnd % 2001;
	} else {
		gap = gap_max_ms > RETRANSMIT_SLOW_MS ? gap_max_ms : RETRANSMIT_SLOW_MS;
	}
	return r->last_ms + gap;
}
