/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "payload.h"

/* CERT and CERTREQ have the same shape: an encoding, then data (which CERTREQ may lack). */
int pld_cert_parse(struct span body, struct pld_cert *out)
{
	struct rd r = rd_init(body.p, body.len);

	out->encoding = rd_u8(&r);
	out->len = rd_left(&r);
	out->data = rd_take(&r, out->len);
	return r.bad ? -EBADMSG : 0;
}

static void add(struct ike_build *b, uint8_t pld, uint8_t encoding, struct span data)
{
	struct wr *w = ike_pld_begin(b, pld);

	wr_u8(w, encoding);
	wr_bytes(w, data.p, data.len);
	ike_pld_end(b);
}

void pld_cert_add(struct ike_build *b, uint8_t encoding, struct span data)
{
	add(b, PLD_CERT, encoding, data);
}

void pld_certreq_add(struct ike_build *b, uint8_t encoding, struct span data)
{
	add(b, PLD_CERTREQ, encoding, data);
}
