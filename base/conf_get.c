/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Reading what was parsed. */
#include "conf_internal.h"

#include <assert.h>
#include <string.h>

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
	const struct conf_section *s = NULL;

	while ((s = conf_next(c, kind, s)))
		if (!strcmp(s->name, name))
			return s;
	return NULL;
}

const struct conf_entry *conf_get(const struct conf_section *s, const char *key)
{
	for (size_t i = 0; i < s->kind->key_count; i++)
		if (!strcmp(s->kind->keys[i].name, key))
			return &s->entries[i];
	assert(!"key is in the schema");
	return NULL;
}

bool conf_is_set(const struct conf_section *s, const char *key)
{
	return conf_get(s, key)->line != 0;
}

unsigned conf_line(const struct conf_section *s, const char *key)
{
	const struct conf_entry *e = conf_get(s, key);

	return e->line ? e->line : s->line;
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
