/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What parses must build again, and to the same meaning. */
#include <stdlib.h>

#include "envelope.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static uint8_t one[2 * ENVELOPE_MAX], two[2 * ENVELOPE_MAX];
	struct wr w = wr_init(one, sizeof(one)), x = wr_init(two, sizeof(two));
	struct envelope e, f;

	if (envelope_parse(&e, data, len))
		return 0;
	envelope_build(&e, &w);
	if (!w.bad) { /* fields that were absent may push it over ENVELOPE_MAX */
		if (envelope_parse(&f, one, w.len))
			abort();
		envelope_build(&f, &x);
		if (x.bad || x.len != w.len || memcmp(one, two, w.len))
			abort();
		envelope_clear(&f);
	}
	envelope_clear(&e);
	return 0;
}
