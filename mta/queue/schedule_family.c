/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Which address family of a next hop is left out, and until when. */
#include "schedule_int.h"

#define FAMILY_FIRST_MS 60000
#define FAMILY_MAX_MS	3600000

static const uint8_t bit[2] = { MSG_R_FAMILY4, MSG_R_FAMILY6 };

void family_note(struct dest *d, const struct msg_r_result *r, uint64_t now_ms)
{
	for (int i = 0; i < 2; i++) {
		struct dest_family *f = &d->family[i];
		uint64_t wait = FAMILY_FIRST_MS;

		if (r->families_ok & bit[i])
			*f = (struct dest_family){ 0 };
		/* Only while the other one works: else the host is at fault, not the family. */
		if (!(r->families_failed & bit[i]) || !(r->families_ok & bit[!i]))
			continue;
		for (uint32_t n = 0; n < f->failures && wait < FAMILY_MAX_MS; n++)
			wait *= 2;
		f->failures++;
		f->until_ms = now_ms + (wait < FAMILY_MAX_MS ? wait : FAMILY_MAX_MS);
	}
}

uint8_t family_usable(const struct dest *d, uint64_t now_ms)
{
	uint8_t f = 0;

	for (int i = 0; i < 2; i++)
		f |= d->family[i].until_ms <= now_ms ? bit[i] : 0;
	return f ? f : MSG_R_FAMILY4 | MSG_R_FAMILY6;
}
