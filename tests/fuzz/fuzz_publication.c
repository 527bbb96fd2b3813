/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A set of recipients as a home sends it: what is taken can be written again, and is a table. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "publication.h"
#include "tables.h"

/* What was read of the first line is what another edge would read of the one that we make of it. */
static void heads_agree(const struct publication *p, const char *head)
{
	size_t n = strlen(head);
	char *text = malloc(n + p->lines_len);
	struct publication again;
	const char *why;

	assert(text);
	memcpy(text, head, n);
	memcpy(text + n, p->lines, p->lines_len);
	if (n + p->lines_len <= PUBLICATION_MAX) {
		assert(!publication_parse(&again, text, n + p->lines_len, &why));
		assert(again.serial == p->serial && publication_same(&again, p));
	}
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *domain = (char[]){ "example.net" }, *text = malloc(len ? len : 1), why_table[160];
	struct strv domains = { .v = &domain, .count = 1 };
	struct publication p;
	struct table t = { 0 };
	const char *why;

	assert(text);
	if (len)
		memcpy(text, data, len); /* of its exact size, for the sanitizer */
	if (!publication_parse(&p, text, len, &why)) {
		char head[PUBLICATION_HEAD_MAX];

		assert(p.serial && p.count && p.lines + p.lines_len == text + len);
		assert(publication_covers(&p, &domains) <= p.count);
		assert(publication_same(&p, &p));
		assert(publication_head(head, p.serial, p.count, p.subaddress, p.size_max_bytes) <
		       sizeof(head));
		heads_agree(&p, head);
		assert(!table_parse(&t, text, len, "", why_table, sizeof(why_table)));
		assert(t.hash.count == p.count);
		table_clear(&t);
	}
	free(text);
	return 0;
}
