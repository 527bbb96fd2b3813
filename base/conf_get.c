/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Reading what was parsed. */
#include "conf_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hash.h"

const char *conf_kind_str(const struct conf_kind *k, char *out, size_t cap)
{
	snprintf(out, cap, "[%s%s]", k->name, k->flags & CONF_NAMED ? " NAME" : "");
	return out;
}

const struct conf_section *conf_next(const struct conf *c, const char *kind,
				     const struct conf_section *after)
{
	for (size_t i = after ? (size_t)(after - c->sections) + 1 : 0; i < c->section_count; i++)
		if (!strcmp(c->sections[i].kind->name, kind))
			return &c->sections[i];
	return NULL;
}

const struct conf_section *conf_find(const struct conf *c, const char *kind, const char *name)
{
	size_t mask = c->by_name_size - 1;

	for (size_t at = hash_bytes(name, strlen(name)) & mask; c->by_name_size;
	     at = (at + 1) & mask) {
		const struct conf_section *s;

		if (!c->by_name[at])
			return NULL;
		s = &c->sections[c->by_name[at] - 1];
		if (!strcmp(s->name, name) && !strcmp(s->kind->name, kind))
			return s;
	}
	return NULL;
}

static void by_name_put(uint32_t *table, size_t size, const char *name, uint32_t number)
{
	size_t at = hash_bytes(name, strlen(name)) & (size - 1);

	while (table[at])
		at = (at + 1) & (size - 1);
	table[at] = number;
}

int conf_by_name_add(struct conf *c)
{
	if (2 * c->section_count > c->by_name_size) {
		size_t size = c->by_name_size ? 2 * c->by_name_size : 64;
		uint32_t *grown = calloc(size, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		for (size_t i = 0; i + 1 < c->section_count; i++)
			by_name_put(grown, size, c->sections[i].name, (uint32_t)i + 1);
		free(c->by_name);
		c->by_name = grown;
		c->by_name_size = size;
	}
	by_name_put(c->by_name, c->by_name_size, c->sections[c->section_count - 1].name,
		    (uint32_t)c->section_count);
	return 0;
}

const struct conf_entry *conf_get(const struct conf_section *s, const char *key)
{
	assert(!s->forgotten);
	for (size_t i = 0; i < s->entry_count; i++)
		if (!strcmp(s->entries[i].key->name, key))
			return &s->entries[i];
	for (size_t i = 0; i < s->kind->key_count; i++)
		if (!strcmp(s->kind->keys[i].name, key))
			return &s->rest[i];
	assert(!"key is in the schema");
	return NULL;
}

/* 0: it is not in the file. */
static unsigned own_line(const struct conf_section *s, const char *key)
{
	if (!s->forgotten)
		return conf_get(s, key)->line;
	for (size_t i = 0; i < s->entry_count; i++)
		if (!strcmp(s->kind->keys[s->marks[i].key].name, key))
			return s->marks[i].line;
	return 0;
}

bool conf_is_set(const struct conf_section *s, const char *key)
{
	return own_line(s, key) != 0;
}

unsigned conf_line(const struct conf_section *s, const char *key)
{
	unsigned line = own_line(s, key);

	return line ? line : s->line;
}

bool conf_bool(const struct conf_section *s, const char *key)
{
	const struct conf_entry *e = conf_get(s, key);

	return e->count ? e->values[0].b : false;
}

uint64_t conf_uint(const struct conf_section *s, const char *key)
{
	const struct conf_entry *e = conf_get(s, key);

	return e->count ? e->values[0].u : 0;
}

const char *conf_text(const struct conf_section *s, const char *key)
{
	const struct conf_entry *e = conf_get(s, key);

	return e->count ? e->values[0].text : NULL;
}

void conf_print_keys(const struct conf_schema *schema, FILE *to)
{
	char what[256], kind[80];

	for (size_t i = 0; i < schema->kind_count; i++) {
		const struct conf_kind *s = &schema->kinds[i];

		fprintf(to, "%s%s%s\n", i ? "\n" : "", conf_kind_str(s, kind, sizeof(kind)),
			s->flags & CONF_NEEDED ? "  (required)" : "");
		if (s->help)
			fprintf(to, "    %s\n", s->help);
		for (size_t k = 0; k < s->key_count; k++) {
			const struct conf_key *key = &s->keys[k];

			fprintf(to, "  %-20s %s%s%s%s%s\n", key->name,
				key->flags & CONF_LIST ? "list of: " : "",
				conf_describe(key, what, sizeof(what)),
				key->flags & CONF_REQUIRED ? "  (required)" : "",
				key->dflt ? "  default " : "", key->dflt ? key->dflt : "");
			if (key->help)
				fprintf(to, "  %20s %s\n", "", key->help);
		}
	}
}
