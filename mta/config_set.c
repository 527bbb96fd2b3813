/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config_build.h"

#include <stdlib.h>
#include <string.h>

static char *dup_text(struct builder *b, const char *s)
{
	char *d = s ? strdup(s) : NULL;

	if (s && !d)
		b->nomem = true;
	return d;
}

void cb_set_text(struct builder *b, char **to, const char *s)
{
	if (!s)
		return;
	free(*to);
	*to = dup_text(b, s);
}

/* Of a key: leaves what stands there (a preset, a default) when the key is not written. */
void cb_key_text(struct builder *b, char **to, const struct conf_section *s, const char *key)
{
	cb_set_text(b, to, conf_text(s, key));
}

void cb_key_u64(uint64_t *to, const struct conf_section *s, const char *key)
{
	if (conf_is_set(s, key))
		*to = conf_uint(s, key);
}

void cb_key_u32(uint32_t *to, const struct conf_section *s, const char *key)
{
	if (conf_is_set(s, key))
		*to = (uint32_t)conf_uint(s, key);
}

void cb_key_bool(bool *to, const struct conf_section *s, const char *key)
{
	if (conf_is_set(s, key))
		*to = conf_bool(s, key);
}

void cb_strv_add(struct builder *b, struct strv *s, const char *word)
{
	char **v = realloc(s->v, (s->count + 1) * sizeof(*v));

	if (!v) {
		b->nomem = true;
		return;
	}
	s->v = v;
	v[s->count] = dup_text(b, word);
	if (v[s->count])
		s->count++;
}

void cb_key_strv(struct builder *b, struct strv *to, const struct conf_section *s, const char *key)
{
	const struct conf_entry *e = conf_get(s, key);

	if (!e->count)
		return;
	cb_strv_clear(to);
	for (size_t i = 0; i < e->count; i++)
		cb_strv_add(b, to, e->values[i].text);
}

void cb_lower(char *s)
{
	for (; *s; s++) {
		if (*s >= 'A' && *s <= 'Z')
			*s += 'a' - 'A';
	}
}

void cb_key_pins(struct builder *b, struct strv *to, const struct conf_section *s)
{
	const struct conf_entry *e = conf_get(s, "tls-pins");
	uint8_t pin[32];

	cb_key_strv(b, to, s, "tls-pins");
	if (e->count > 8)
		conf_error(b->conf, e->line, "tls-pins has %zu values; allowed: at most 8",
			   e->count);
	for (size_t i = 0; i < e->count; i++) {
		if (pin_parse(e->values[i].text, pin))
			conf_error(
			    b->conf, e->values[i].line,
			    "tls-pins \"%s\"; allowed: the SHA-256 of a public key as 64 hex "
			    "digits",
			    e->values[i].text);
	}
}

void cb_key_prefixes(struct builder *b, struct prefix **to, size_t *count,
		     const struct conf_section *s, const char *key)
{
	const struct conf_entry *e = conf_get(s, key);

	if (!e->count)
		return;
	*to = calloc(e->count, sizeof(**to));
	if (!*to) {
		b->nomem = true;
		return;
	}
	for (size_t i = 0; i < e->count; i++)
		(*to)[(*count)++] = e->values[i].prefix;
}

char cb_key_subaddress(const struct conf_section *s)
{
	static const char chars[] = { 0, '+', '-' };

	return chars[conf_uint(s, "subaddress")];
}

void cb_name_set(struct builder *b, char to[static MTA_NAME_MAX], const struct conf_section *s)
{
	if (strlen(s->name) >= MTA_NAME_MAX || strspn(s->name, "abcdefghijklmnopqrstuvwxyz"
							       "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
							       "0123456789._-") != strlen(s->name))
		conf_error(b->conf, s->line,
			   "name \"%s\"; allowed: at most %d letters, digits, '.', '_' and '-'",
			   s->name, MTA_NAME_MAX - 1);
	else
		memcpy(to, s->name, strlen(s->name) + 1);
}

/* One more element, zeroed, at the end of an array of @count; NULL on ENOMEM. */
void *cb_grow(struct builder *b, void *array, size_t *count, size_t size)
{
	char *p = realloc(*(void **)array, (*count + 1) * size);

	if (!p) {
		b->nomem = true;
		return NULL;
	}
	*(void **)array = p;
	p += (*count)++ * size;
	memset(p, 0, size);
	return p;
}
