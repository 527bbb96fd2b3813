/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What posternd keeps about ways out; its sum is made right, so that what lies behind it is reached. */
#include <stdlib.h>
#include <string.h>

#include "digest.h"
#include "wan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static uint8_t image[WAN_IMAGE_MAX];
	uint8_t *copy = malloc(len + SHA256_LEN);
	struct span part = { copy, len };
	struct wan_table t, back;
	size_t n;

	if (!copy)
		return 0;
	if (len)
		memcpy(copy, data, len);
	if (len >= 24) {
		uint32_t body = (uint32_t)(len - 24);

		copy[20] = (uint8_t)(body >> 24);
		copy[21] = (uint8_t)(body >> 16);
		copy[22] = (uint8_t)(body >> 8);
		copy[23] = (uint8_t)body;
	}
	(void)digest_sha256(&part, 1, copy + len);
	if (!wan_parse(copy, len + SHA256_LEN, &t)) {
		/* What was taken can be used, and written again as it was. */
		for (size_t i = 0; i < t.count; i++)
			if (wan_interval_ms(&t.wan[i]) < WAN_FLOOR_MS ||
			    wan_gap_ms(&t.wan[i], 1) > 240000)
				abort();
		if (wan_build(&t, image, &n) || wan_parse(image, n, &back) ||
		    back.count != t.count)
			abort();
	}
	free(copy);
	return 0;
}
