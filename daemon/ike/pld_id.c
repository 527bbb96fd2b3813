/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "payload.h"

#include <ctype.h>
#include <stdio.h>
#include <strings.h>

int pld_id_parse(struct span body, struct pld_id *out)
{
	struct rd r = rd_init(body.p, body.len);

	out->type = rd_u8(&r);
	rd_skip(&r, 3); /* RESERVED; signed as received, so it is kept in body */
	out->len = rd_left(&r);
	out->data = rd_take(&r, out->len);
	out->body = body;
	/*
	 * An address of the wrong size or an empty name is not malformed: it equals nobody's identity and
	 * ends in AUTHENTICATION_FAILED.
	 */
	return r.bad ? -EBADMSG : 0;
}

void pld_id_add(struct ike_build *b, uint8_t pld, uint8_t id_type, struct span id)
{
	struct wr *w = ike_pld_begin(b, pld);

	wr_u8(w, id_type);
	wr_zero(w, 3);
	wr_bytes(w, id.p, id.len);
	ike_pld_end(b);
}

int pld_id_from_text(const char *text, uint8_t *type, uint8_t *out, size_t cap, size_t *len)
{
	struct addr a;

	*len = 0;
	if (!addr_parse(text, &a)) {
		*type = a.family == AF_INET ? ID_IPV4_ADDR : ID_IPV6_ADDR;
		*len = addr_len(&a);
		if (*len > cap)
			return -EINVAL;
		memcpy(out, a.b, *len);
		return 0;
	}
	*type = strchr(text, '@') ? ID_RFC822_ADDR : ID_FQDN;
	if (*text == '@') { /* "a name, whatever it looks like" */
		text++;
		*type = ID_FQDN;
	}
	*len = strlen(text);
	if (!*len || *len > 255 || *len > cap)
		return -EINVAL;
	for (size_t i = 0; i < *len; i++) {
		if ((uint8_t)text[i] <= ' ' || text[i] == 0x7f)
			return -EINVAL;
	}
	memcpy(out, text, *len);
	return 0;
}

const char *pld_id_str(uint8_t type, struct span id, char *out, size_t cap)
{
	const uint8_t *p = id.p;
	char text[ADDR_STR_MAX];
	struct addr a;
	size_t at = 0;

	if (!cap)
		return out;
	if ((type == ID_IPV4_ADDR || type == ID_IPV6_ADDR) && !addr_from_bytes(&a, p, id.len)) {
		snprintf(out, cap, "%s", addr_str(&a, text));
		return out;
	}
	out[0] = '\0';
	for (size_t i = 0; i < id.len && at + 5 < cap; i++) {
		bool hex = type != ID_FQDN && type != ID_RFC822_ADDR;

		if (hex)
			at += (size_t)snprintf(out + at, cap - at, "%02x", p[i]);
		else if (isgraph(p[i]) && p[i] != '\\' && p[i] != '"')
			at += (size_t)snprintf(out + at, cap - at, "%c", p[i]);
		else
			at += (size_t)snprintf(out + at, cap - at, "\\x%02x", p[i]);
	}
	return out;
}

bool pld_id_equal(uint8_t type_a, struct span a, uint8_t type_b, struct span b)
{
	const char *x = a.p, *y = b.p;

	if (type_a != type_b || a.len != b.len || !a.len)
		return false;
	if (type_a != ID_FQDN && type_a != ID_RFC822_ADDR)
		return !memcmp(x, y, a.len);
	for (size_t i = 0; i < a.len; i++) {
		int c = x[i] >= 'A' && x[i] <= 'Z' ? x[i] + 32 : x[i];
		int d = y[i] >= 'A' && y[i] <= 'Z' ? y[i] + 32 : y[i];

		if (!c || c != d) /* no name holds a NUL */
			return false;
	}
	return true;
}
