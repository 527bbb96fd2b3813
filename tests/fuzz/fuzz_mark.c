/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A letter that is about to be delivered: what is found in it is found with more behind it, too. */
#include <stdlib.h>
#include <string.h>

#include "mark.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char own[] = "home.example.net";
	static const struct mta_config config = { .hostname = own };
	char *text = calloc(1, size + 2);
	bool found;

	if (!text)
		abort();
	if (size)
		memcpy(text, data, size);
	found = mark_found(text, size, "joe@d.example", &config);
	memcpy(text + size, "\nX", 2);
	if (found && !mark_found(text, size + 2, "joe@d.example", &config))
		abort();
	free(text);
	return 0;
}
