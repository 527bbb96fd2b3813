/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "payload.h"
#include "prf.h"

int pld_nonce_parse(struct span body, struct span *out)
{
	*out = body;
	return body.len < NONCE_LEN_MIN || body.len > NONCE_LEN_MAX ? -EBADMSG : 0;
}

void pld_nonce_add(struct ike_build *b, struct span nonce)
{
	struct wr *w = ike_pld_begin(b, PLD_NONCE);

	wr_bytes(w, nonce.p, nonce.len);
	ike_pld_end(b);
}
