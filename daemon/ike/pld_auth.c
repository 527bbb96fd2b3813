/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "payload.h"

int pld_auth_parse(struct span body, struct pld_auth *out)
{
	struct rd r = rd_init(body.p, body.len);

	out->method = rd_u8(&r);
	rd_skip(&r, 3);
	out->len = rd_left(&r);
	out->data = rd_take(&r, out->len);
	return r.bad || !out->method ? -EBADMSG : 0;
}

void pld_auth_add(struct ike_build *b, uint8_t method, struct span data)
{
	struct wr *w = ike_pld_begin(b, PLD_AUTH);

	wr_u8(w, method);
	wr_zero(w, 3);
	wr_bytes(w, data.p, data.len);
	ike_pld_end(b);
}
