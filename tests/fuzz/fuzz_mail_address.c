/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is accepted reads back as itself and holds nothing that was promised to be kept out. */
#include <assert.h>
#include <string.h>

#include "address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(const struct address *a, unsigned flags)
{
	char local[ADDRESS_MAX + 1];
	struct address again;

	assert(a->len <= ADDRESS_MAX && strlen(a->text) == a->len && a->at <= a->len);
	for (size_t i = 0; i < a->len; i++)
		assert((unsigned char)a->text[i] >= 32 && a->text[i] != 127 &&
		       !strchr("|;$`<>", a->text[i]));
	assert(!address_parse(a->text, a->len, flags | ADDRESS_ALLOW_NULL, &again));
	assert(!memcmp(a, &again, sizeof(again)));
	assert(address_equal(a, &again));
	assert(address_local(a, local) <= a->len);
	(void)address_routed_local(a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const char *s = (const char *)data;
	struct address a;
	size_t used;

	for (unsigned flags = 0; flags < 8; flags++) {
		if (!address_parse_path(s, len, flags, &a, &used)) {
			assert(used >= 2 && used <= len && s[used - 1] == '>');
			check(&a, flags);
		}
		if (!address_parse(s, len, flags, &a))
			check(&a, flags);
	}
	return 0;
}
