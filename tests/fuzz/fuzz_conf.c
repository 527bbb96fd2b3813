/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The strict configuration reader, over a schema with every type. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "bundle.h"
#include "conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const char *const words[] = { "always", "no", NULL };
static const struct conf_key keys[] = {
	{ .name = "bool", .type = CONF_BOOL, .dflt = "no" },
	{ .name = "uint", .type = CONF_UINT, .min = 5, .max = 500 },
	{ .name = "duration", .type = CONF_DURATION, .flags = CONF_LIST },
	{ .name = "size", .type = CONF_SIZE, .flags = CONF_LIST },
	{ .name = "string", .type = CONF_STRING, .flags = CONF_LIST },
	{ .name = "path", .type = CONF_PATH, .flags = CONF_PUBLIC_FILE },
	{ .name = "addr", .type = CONF_ADDR, .flags = CONF_LIST },
	{ .name = "prefix", .type = CONF_PREFIX, .flags = CONF_LIST },
	{ .name = "endpoint", .type = CONF_ENDPOINT, .flags = CONF_LIST, .min = 25 },
	{ .name = "enum", .type = CONF_ENUM, .words = words },
	{ .name = "domain", .type = CONF_DOMAIN, .flags = CONF_LIST },
	{ .name = "identity", .type = CONF_IDENTITY, .flags = CONF_LIST },
};
static const struct conf_kind kinds[] = {
	{ "main", 0, CONF_STRING, keys, CONF_COUNT(keys), NULL },
	{ "peer", CONF_NAMED, CONF_STRING, keys, CONF_COUNT(keys), NULL },
};
static const struct conf_schema schema = { kinds, CONF_COUNT(kinds) };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct conf *c = conf_parse(&schema, "f", (const char *)data, len);
	struct bundle *b = bundle_parse(data, len);

	if (c && conf_ok(c) != !c->errors)
		abort();
	for (size_t i = 0; c && i < c->section_count; i++)
		for (size_t k = 0; k < CONF_COUNT(keys); k++) {
			const struct conf_entry *e = conf_get(&c->sections[i], keys[k].name);

			for (size_t n = 0; n < e->count; n++)
				if (!e->values[n].text)
					abort();
		}
	conf_free(c);
	bundle_free(b);
	return 0;
}
