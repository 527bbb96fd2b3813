/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Keys of peers as they lie on disk: what is taken can be written again, and is the same then. */
#include <assert.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hash.h"
#include "hop_keys.h"

#define END_LEN 21

/* As whoever wrote it would have ended it, so that the input is not lost at the checksum. */
static char *ended(const uint8_t *data, size_t len)
{
	static const uint64_t key[2] = { 0x706f737465726e20, 0x686f70206b657973 };
	char *text = malloc(len + END_LEN + 1);

	assert(text);
	if (len)
		memcpy(text, data, len);
	sprintf(text + len, "end %016" PRIx64 "\n", hash_keyed(key, data, len));
	return text;
}

static void try(const char *text, size_t len)
{
	struct hop_keys s = { 0 }, again = { 0 };
	char *built;
	size_t n;

	if (hop_keys_parse(&s, text, len)) {
		assert(!s.count && !s.v);
		return;
	}
	built = hop_keys_build(&s, &n);
	assert(built && !hop_keys_parse(&again, built, n));
	assert(again.count == s.count && again.edition == s.edition);
	for (size_t i = 0; i < s.count; i++)
		assert(!memcmp(&again.v[i], &s.v[i], sizeof(s.v[i])));
	free(built);
	hop_keys_clear(&again);
	hop_keys_clear(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *text = ended(data, len), *bare = malloc(len ? len : 1);

	assert(bare);
	if (len)
		memcpy(bare, data, len); /* of its exact size, for the sanitizer */
	try(bare, len);
	text = realloc(text, len + END_LEN);
	assert(text);
	try(text, len + END_LEN);
	free(text);
	free(bare);
	return 0;
}
