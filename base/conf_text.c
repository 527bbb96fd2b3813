/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Where what was read lies: texts packed in chunks for the life of the conf, values in chunks of
 * their section's kind, which go as a whole. Single allocations would leave holes between what
 * stays, of which the system gets nothing back.
 */
#include "conf_internal.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK (65536 - 64)

struct conf_chunk {
	struct conf_chunk *next;
	size_t used, size;
	_Alignas(8) char b[];
};

void *conf_alloc(struct conf_chunk **list, size_t len, size_t align)
{
	struct conf_chunk *t = *list;
	size_t at = t ? (t->used + align - 1) & ~(align - 1) : 0;

	if (!t || t->size < at || t->size - at < len) {
		size_t size = len > CHUNK ? len : CHUNK;

		t = malloc(sizeof(*t) + size);
		if (!t)
			return NULL;
		*t = (struct conf_chunk){ .next = *list, .size = size };
		*list = t;
		at = 0;
	}
	t->used = at + len;
	return t->b + at;
}

void conf_chunks_free(struct conf_chunk **list)
{
	struct conf_chunk *t;

	while ((t = *list)) {
		*list = t->next;
		free(t);
	}
}

char *conf_keep(struct conf *c, char *text)
{
	size_t len = strlen(text) + 1;
	char *at = conf_alloc(&c->texts, len, 1);

	if (at)
		memcpy(at, text, len);
	free(text);
	return at;
}

void *conf_room(struct conf *c, size_t len)
{
	void *at = conf_alloc(&c->rooms, len, 8);

	return at ? memset(at, 0, len) : NULL;
}

/* Without memory the entries stay, of which the values are gone as well. */
static void keep_marks(struct conf *c, struct conf_section *s)
{
	struct conf_mark *marks = conf_room(c, s->entry_count * sizeof(*marks));

	if (!marks)
		return;
	for (size_t k = 0; k < s->entry_count; k++)
		marks[k] = (struct conf_mark){ s->entries[k].line,
					       (uint16_t)(s->entries[k].key - s->kind->keys) };
	free(s->entries);
	s->marks = marks;
	s->forgotten = true;
}

void conf_forget_values(struct conf *c, const char *kind)
{
	for (size_t i = 0; i < c->section_count; i++) {
		struct conf_section *s = &c->sections[i];

		if (s->forgotten || strcmp(s->kind->name, kind) != 0)
			continue;
		for (size_t k = 0; k < s->entry_count; k++) {
			s->entries[k].values = NULL;
			s->entries[k].count = 0;
		}
		keep_marks(c, s);
	}
	for (size_t i = 0; i < c->schema->kind_count; i++)
		if (!strcmp(c->schema->kinds[i].name, kind))
			conf_chunks_free(&c->values[i]);
}
