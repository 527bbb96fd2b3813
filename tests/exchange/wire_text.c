/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "world.h"
#include "engine_int.h"
#include "sk.h"
#include "wire_text.h"

static struct ike_sa *of_spis(const struct engine *e, const struct ike_hdr *h)
{
	for (struct peer_entry *pe = e ? e->peers : NULL; pe; pe = pe->next)
		for (struct ike_sa *sa = pe->sas; sa; sa = sa->peer_next)
			if (sa->spi_i == h->spi_i && sa->spi_r == h->spi_r && sa->aead_in)
				return sa;
	return NULL;
}

static void payload(uint8_t type, bool answer, const uint8_t *body, size_t len, char *out,
		    size_t cap)
{
	const char *role = answer ? "r" : "i";

	switch (type) {
	case PLD_NONCE:
		snprintf(out, cap, "N%s", role);
		break;
	case PLD_KE:
		snprintf(out, cap, "KE%s", role);
		break;
	case PLD_NOTIFY:
		snprintf(out, cap, "N(%s)",
			 len < 4 ? "?" : ike_notify_name((uint16_t)(body[2] << 8 | body[3])));
		break;
	case PLD_DELETE:
		snprintf(out, cap, len && body[0] == PROTO_IKE ? "D(IKE)" : "D");
		break;
	default:
		snprintf(out, cap, "%s", ike_payload_name(type));
		break;
	}
}

bool wire_text(const struct world *w, int from, const uint8_t *bytes, size_t len, char *text,
	       size_t cap)
{
	static struct ike_msg m; /* too large for a stack frame */
	static uint8_t plain[IKE_MSG_MAX];
	struct ike_sa *theirs, *ours;
	size_t n, left;
	uint8_t type;
	int used;

	memset(&m, 0, sizeof(m));
	if (ike_msg_parse(bytes, len, &m)) {
		snprintf(text, cap, "?");
		return false;
	}
	used = snprintf(text, cap, "%s {", ike_exchange_name(m.hdr.exchange));
	theirs = of_spis(w->host[!from].e, &m.hdr);
	ours = of_spis(w->host[from].e, &m.hdr);
	type = m.sk.first;
	if (m.sk.type == PLD_NONE) {
		snprintf(text + used, cap - (size_t)used, " unprotected }");
		return ike_hdr_is_response(&m.hdr);
	}
	if ((!theirs || sk_open(theirs->aead_in, &m, plain, sizeof(plain), &left)) &&
	    (!ours || sk_open(ours->aead_out, &m, plain, sizeof(plain), &left))) {
		snprintf(text, cap, "?");
		return ike_hdr_is_response(&m.hdr);
	}
	n = (size_t)used;
	for (const uint8_t *p = plain; type && left >= 4;) {
		size_t l = (size_t)(p[2] << 8 | p[3]);
		char one[64];

		payload(type, ike_hdr_is_response(&m.hdr), p + 4, l - 4, one, sizeof(one));
		n += (size_t)snprintf(text + n, cap - n, "%s%s", p == plain ? " " : ", ", one);
		assert_true(n < cap);
		type = p[0];
		p += l;
		left -= l;
	}
	snprintf(text + n, cap - n, " }");
	return ike_hdr_is_response(&m.hdr);
}
