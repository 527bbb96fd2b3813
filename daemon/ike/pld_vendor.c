/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "payload.h"

void pld_vendor_add(struct ike_build *b, struct span id)
{
	struct wr *w = ike_pld_begin(b, PLD_VENDOR);

	wr_bytes(w, id.p, id.len);
	ike_pld_end(b);
}
