/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "payload.h"

int pld_ke_parse(struct span body, struct pld_ke *out)
{
	struct rd r = rd_init(body.p, body.len);

	out->group = rd_be16(&r);
	(void)rd_be16(&r); /* RESERVED, ignored on receipt: RFC 7296 s2.5 */
	out->len = rd_left(&r);
	out->data = rd_take(&r, out->len); /* const view: lives as long as the datagram */
	return r.bad || !out->len ? -EBADMSG : 0;
}

void pld_ke_add(struct ike_build *b, uint16_t group, struct span public)
{
	struct wr *w = ike_pld_begin(b, PLD_KE);

	wr_be16(w, group);
	wr_be16(w, 0);
	wr_bytes(w, public.p, public.len);
	ike_pld_end(b);
}
