/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Fragments as an authenticated peer can send them. Each record: message ID 1, number 1, total 1, first
 * payload 1, milliseconds since the last be16, length 1, that many bytes.
 */
#include <stdint.h>
#include <stdlib.h>

#include "vectors/ike_sample.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(const struct frag_set *s)
{
	size_t bytes = 0;
	unsigned have = 0;

	for (unsigned i = 0; i < FRAGS_MAX; i++) {
		bytes += s->frag[i].len;
		have += s->frag[i].p != NULL;
		if (s->frag[i].p && i >= s->total)
			abort();
	}
	if (bytes != s->bytes || have != s->have || bytes > FRAG_BYTES_MAX || have > s->total)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static uint8_t joined[FRAG_BYTES_MAX];
	struct rd r = rd_init(data, len);
	struct frag_set s = { 0 };
	uint64_t now_ms = 1;

	while (rd_left(&r)) {
		struct ike_msg m = { .hdr = sample_hdr(IKE_AUTH, IKE_FLAG_RESPONSE, rd_u8(&r)) };
		const uint8_t *p;
		uint8_t first, n;
		size_t got;
		int rc;

		m.sk.type = PLD_SKF;
		m.sk.frag_number = rd_u8(&r);
		m.sk.frag_total = rd_u8(&r);
		m.sk.first = rd_u8(&r);
		now_ms += rd_be16(&r);
		n = rd_u8(&r);
		p = rd_take(&r, n);
		if (r.bad)
			break;
		rc = frag_add(&s, &m, p, n, now_ms);
		check(&s);
		if (rc == 1 && frag_join(&s, joined, sizeof(joined), &got, &first))
			abort();
		if (rc == 1) {
			ike_msg_parse_inner(&m, first, joined, got);
			check(&s);
		}
	}
	frag_clear(&s);
	return 0;
}
