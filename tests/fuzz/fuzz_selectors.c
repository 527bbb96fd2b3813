/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Traffic selectors: two TS bodies (RFC 7296 s3.13), the first as long as the first two bytes say.
 * What is parsed is narrowed, each by the other, and the answer has to lie within both, whatever
 * packet is held against it.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "selector.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void through_the_wire(const struct ts_list *l)
{
	static uint8_t buf[8192];
	static struct ts_list again;
	struct ike_build b;
	size_t len;

	ike_build_inner(&b, buf, sizeof(buf));
	ts_add(&b, PLD_TSI, l);
	assert(!ike_build_end(&b, &len));
	assert(!ts_parse((struct span){ buf + 4, len - 4 }, &again));
	assert(ts_list_equal(l, &again));
}

/* A packet at each corner of each selector. */
static void hold_packets(const struct ts_list *offered, const struct ts_list *ours,
			 const struct ts_list *out, bool found)
{
	for (unsigned i = 0; i < offered->count; i++) {
		const struct ts *t = &offered->ts[i];
		const struct addr *at[] = { &t->lo, &t->hi };
		int ports[] = { t->port_lo, t->port_hi };

		for (int k = 0; k < 4; k++) {
			const struct addr *a = at[k & 1];
			int port = ports[k >> 1];
			bool both = ts_match(offered, a, t->proto, port) &&
				    ts_match(ours, a, t->proto, port);
			bool got = found && ts_match(out, a, t->proto, port);

			assert(!got || both);
		}
	}
}

static void narrow(const struct ts_list *offered, const struct ts_list *ours)
{
	static struct ts_list out;
	bool found = !ts_narrow(offered, ours, &out);

	if (found) {
		assert(out.count > 0);
		assert(ts_list_covers(offered, &out) && ts_list_covers(ours, &out));
		through_the_wire(&out);
	}
	hold_packets(offered, ours, &out, found);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct ts_list a, b;
	char text[200];
	size_t first;
	int bad_a, bad_b;

	if (len < 2)
		return 0;
	first = (size_t)(data[0] << 8 | data[1]);
	data += 2;
	len -= 2;
	if (first > len)
		first = len;
	bad_a = ts_parse((struct span){ data, first }, &a);
	bad_b = ts_parse((struct span){ data + first, len - first }, &b);
	if (!bad_a) {
		ts_list_str(&a, text, sizeof(text));
		if (a.count)
			through_the_wire(&a);
		narrow(&a, &a);
	}
	if (!bad_a && !bad_b) {
		narrow(&a, &b);
		narrow(&b, &a);
	}
	return 0;
}
