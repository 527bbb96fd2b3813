/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "payload.h"

#include "sign.h"

int pld_notify_parse(struct span body, struct pld_notify *out)
{
	struct rd r = rd_init(body.p, body.len);

	out->proto = rd_u8(&r);
	out->spi_len = rd_u8(&r);
	out->type = rd_be16(&r);
	out->spi = rd_take(&r, out->spi_len);
	out->len = rd_left(&r);
	out->data = rd_take(&r, out->len);
	return r.bad ? -EBADMSG : 0;
}

static void add(struct ike_build *b, uint8_t proto, uint16_t type, struct span data)
{
	struct wr *w = ike_pld_begin(b, PLD_NOTIFY);

	wr_u8(w, proto);
	wr_u8(w, 0);
	wr_be16(w, type);
	wr_bytes(w, data.p, data.len);
	ike_pld_end(b);
}

void pld_notify_add(struct ike_build *b, uint16_t type, struct span data)
{
	add(b, PROTO_NONE, type, data);
}

void pld_notify_add_ike(struct ike_build *b, uint16_t type, struct span data)
{
	add(b, PROTO_IKE, type, data);
}

void pld_notify_add_spi(struct ike_build *b, uint16_t type, uint8_t proto, uint32_t spi,
			struct span data)
{
	struct wr *w = ike_pld_begin(b, PLD_NOTIFY);

	wr_u8(w, proto);
	wr_u8(w, 4);
	wr_be16(w, type);
	wr_be32(w, spi);
	wr_bytes(w, data.p, data.len);
	ike_pld_end(b);
}

void pld_notify_add_be16(struct ike_build *b, uint16_t type, uint16_t value)
{
	uint8_t data[2] = { (uint8_t)(value >> 8), (uint8_t)value };

	pld_notify_add(b, type, (struct span){ data, sizeof(data) });
}

uint32_t pld_notify_spi(const struct pld_notify *n)
{
	struct rd r = rd_init(n->spi, n->spi_len);

	return n->spi_len == 4 ? rd_be32(&r) : 0;
}

unsigned pld_hashes_parse(const struct pld_notify *n)
{
	struct rd r = rd_init(n->data, n->len);
	unsigned hashes = 0;

	while (rd_left(&r) >= 2) {
		uint16_t hash = rd_be16(&r);

		if (hash < 16)
			hashes |= 1u << hash;
	}
	return hashes;
}

void pld_hashes_add(struct ike_build *b, unsigned hashes)
{
	uint8_t data[2 * 16];
	struct wr w = wr_init(data, sizeof(data));

	for (uint16_t hash = 0; hash < 16; hash++) {
		if (hashes >> hash & 1)
			wr_be16(&w, hash);
	}
	pld_notify_add(b, SIGNATURE_HASH_ALGORITHMS, (struct span){ data, w.len });
}
