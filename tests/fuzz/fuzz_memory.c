/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The state file of posternd; its sum is made right, so that what lies behind it is reached. */
#include <stdlib.h>
#include <string.h>

#include "digest.h"
#include "memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint8_t *copy = malloc(len + SHA256_LEN), *image;
	struct span part = { copy, len };
	struct memory m;
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
	if (!memory_parse(copy, len + SHA256_LEN, &m)) {
		if (memory_build(&m, &image, &n))
			abort();
		free(image);
		memory_free(&m);
	}
	free(copy);
	return 0;
}
