/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ere.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A line with an expression, and what it is asked about; a match never takes more than it may. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *nl = memchr(data, '\n', size);
	size_t n = nl ? (size_t)(nl - data) : size, steps, len = nl ? size - n - 1 : 0;
	char why[200], domain[ERE_PATTERN_MAX + 1], *pattern;
	struct ere *e;
	bool holds;

	if (memchr(data, 0, n))
		return 0;
	pattern = strndup((const char *)data, n);
	e = pattern ? ere_new(pattern, why, sizeof(why)) : NULL;
	if (e) {
		holds = ere_match_steps(e, nl ? (const char *)nl + 1 : "", len, &steps);
		if (steps > (len + 1) * ere_states(e))
			abort();
		/* What the domain is said to be ends every address that holds. */
		if (holds && ere_domain(e, domain)) {
			size_t d = strlen(domain);

			if (len <= d || nl[len - d] != '@')
				abort();
		}
	} else if (!*why) {
		abort();
	}
	ere_free(e);
	free(pattern);
	return 0;
}
