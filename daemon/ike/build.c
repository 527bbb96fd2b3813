/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "message.h"

#include <errno.h>

#define NEXT_AT	  16 /* offset of Next Payload in the header */
#define LENGTH_AT 24

void ike_build_begin(struct ike_build *b, void *buf, size_t cap, const struct ike_hdr *h)
{
	struct ike_hdr fresh = *h;

	fresh.next = PLD_NONE;
	fresh.length = 0;
	*b = (struct ike_build){ .w = wr_init(buf, cap), .next_at = NEXT_AT, .whole = true };
	ike_hdr_build(&b->w, &fresh);
}

void ike_build_inner(struct ike_build *b, void *buf, size_t cap)
{
	*b = (struct ike_build){ .w = wr_init(buf, cap) };
}

struct wr *ike_pld_begin(struct ike_build *b, uint8_t type)
{
	size_t at = b->w.len;

	if (b->len_at)
		b->w.bad = true; /* one inside another: our own fault */
	if (!b->count)
		b->first = type;
	if (b->count++ || b->whole) {
		if (!b->w.bad)
			b->w.base[b->next_at] = type;
	}
	b->next_at = at;
	wr_u8(&b->w, PLD_NONE);
	wr_u8(&b->w, 0);
	b->len_at = wr_len16_begin(&b->w);
	return &b->w;
}

void ike_pld_end(struct ike_build *b)
{
	wr_len16_end(&b->w, b->len_at);
	b->len_at = 0;
}

int ike_build_end(struct ike_build *b, size_t *len)
{
	if (b->len_at || b->count > IKE_PAYLOADS_MAX)
		b->w.bad = true;
	if (b->whole && !b->w.bad) {
		wr_patch16(&b->w, LENGTH_AT, (uint16_t)(b->w.len >> 16));
		wr_patch16(&b->w, LENGTH_AT + 2, (uint16_t)b->w.len);
	}
	return wr_finish(&b->w, len);
}
