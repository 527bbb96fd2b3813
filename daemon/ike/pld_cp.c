/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "payload.h"

/* RFC 7296 s3.15.1: which lengths an attribute of a type we read may have. */
static bool length_valid(uint16_t type, uint16_t len)
{
	switch (type) {
	case INTERNAL_IP4_ADDRESS:
	case INTERNAL_IP4_NETMASK:
	case INTERNAL_IP4_DNS:
		return !len || len == 4;
	case INTERNAL_IP6_ADDRESS:
		return !len || len == 17;
	case INTERNAL_IP6_DNS:
		return !len || len == 16;
	case INTERNAL_IP4_SUBNET:
		return !len || len == 8;
	case INTERNAL_IP6_SUBNET:
		return !len || len == 17;
	default:
		return true;
	}
}

int cp_parse(struct span body, struct pld_cp *out)
{
	struct rd r = rd_init(body.p, body.len);

	*out = (struct pld_cp){ .type = rd_u8(&r) };
	rd_skip(&r, 3);
	while (rd_left(&r)) {
		struct cp_attr a;

		a.type = rd_be16(&r) & 0x7fff; /* top bit reserved */
		a.len = rd_be16(&r);
		a.value = rd_take(&r, a.len);
		if (r.bad)
			break;
		if (length_valid(a.type, a.len) && out->count < CP_ATTRS_MAX)
			out->attrs[out->count++] = a;
	}
	return r.bad || !out->type ? -EBADMSG : 0;
}

struct wr *cp_begin(struct ike_build *b, uint8_t type)
{
	struct wr *w = ike_pld_begin(b, PLD_CP);

	wr_u8(w, type);
	wr_zero(w, 3);
	return w;
}

void cp_attr_add(struct wr *w, uint16_t type, struct span value)
{
	if (value.len > UINT16_MAX)
		w->bad = true;
	wr_be16(w, type);
	wr_be16(w, (uint16_t)value.len);
	wr_bytes(w, value.p, value.len);
}

void cp_attr_add_addr(struct wr *w, const struct addr *a, uint8_t prefix_len)
{
	uint8_t v6[17];

	if (a->family == AF_INET) {
		cp_attr_add(w, INTERNAL_IP4_ADDRESS, (struct span){ a->b, 4 });
	} else if (a->family == AF_INET6) {
		memcpy(v6, a->b, 16);
		v6[16] = prefix_len;
		cp_attr_add(w, INTERNAL_IP6_ADDRESS, (struct span){ v6, sizeof(v6) });
	}
}

void cp_end(struct ike_build *b)
{
	ike_pld_end(b);
}

int cp_attr_addr(const struct cp_attr *a, struct addr *out)
{
	int rc;

	switch (a->type) {
	case INTERNAL_IP4_ADDRESS:
	case INTERNAL_IP4_DNS:
		return a->len ? addr_from_bytes(out, a->value, 4) : -ENOENT;
	case INTERNAL_IP6_ADDRESS:
	case INTERNAL_IP6_DNS:
		rc = a->len ? addr_from_bytes(out, a->value, 16) : -ENOENT;
		/* A v4-mapped one is no IPv6 address to give to anybody. */
		return !rc && out->family != AF_INET6 ? -EINVAL : rc;
	default:
		return -EINVAL;
	}
}
