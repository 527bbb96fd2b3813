/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "payload.h"

int pld_delete_parse(struct span body, struct pld_delete *out)
{
	struct rd r = rd_init(body.p, body.len);
	size_t size;

	out->proto = rd_u8(&r);
	out->spi_len = rd_u8(&r);
	out->count = rd_be16(&r);
	if (r.bad)
		return -EBADMSG;
	size = (size_t)out->spi_len * out->count;
	/*
	 * An IKE Delete names no SPI, those of the header are meant; an ESP one has four bytes. What
	 * does not fit deletes nothing, and is no reason to end the IKE SA (s2.21.3).
	 */
	if (size != rd_left(&r) ||
	    (out->proto == PROTO_IKE ? out->spi_len || out->count : out->spi_len != 4)) {
		*out = (struct pld_delete){ .proto = PROTO_NONE };
		return 0;
	}
	out->spis = rd_take(&r, size);
	return 0;
}

uint32_t pld_delete_spi(const struct pld_delete *d, unsigned i)
{
	struct rd r;

	if (d->spi_len != 4 || i >= d->count)
		return 0;
	r = rd_init(d->spis + 4 * (size_t)i, 4);
	return rd_be32(&r);
}

void pld_delete_add_ike(struct ike_build *b)
{
	struct wr *w = ike_pld_begin(b, PLD_DELETE);

	wr_u8(w, PROTO_IKE);
	wr_u8(w, 0);
	wr_be16(w, 0);
	ike_pld_end(b);
}

void pld_delete_add_esp(struct ike_build *b, const uint32_t *spis, uint16_t count)
{
	struct wr *w = ike_pld_begin(b, PLD_DELETE);

	wr_u8(w, PROTO_ESP);
	wr_u8(w, 4);
	wr_be16(w, count);
	for (uint16_t i = 0; i < count; i++)
		wr_be32(w, spis[i]);
	ike_pld_end(b);
}
