/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "leak.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A header section from outside: what is found can be printed, and with less room as much is counted. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const words[] = { "router", "jay" };
	struct leak_known k = { .words = words, .word_count = 2 };
	struct leak out[16];
	size_t n = leak_find((const char *)data, size, &k, out, 16);

	for (size_t i = 0; i < n && i < 16; i++) {
		if (!memchr(out[i].what, 0, sizeof(out[i].what)) || !out[i].what[0])
			abort();
		if (i && out[i].field < out[i - 1].field)
			abort();
	}
	return 0;
}
