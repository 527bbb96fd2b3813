/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config_build.h"

#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "domain.h"

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

void cb_key_domains(struct builder *b, struct strv *to, const struct conf_section *s,
		    const char *key, bool rest)
{
	const struct conf_entry *e = conf_get(s, key);
	char d[MTA_DOMAIN_MAX];

	if (!e->count)
		return;
	cb_strv_clear(to);
	for (size_t i = 0; i < e->count; i++) {
		domain_spell(e->values[i].text, d);
		if (!(rest && !strcmp(d, "*")) && !address_domain_valid(d, strlen(d), false))
			conf_error(b->conf, conf_line(s, key), "%s \"%s\"; allowed: a domain%s",
				   key, e->values[i].text, rest ? ", or * for the rest" : "");
		cb_strv_add(b, to, d);
	}
}

void cb_lower(char *s)
{
	for (; *s; s++) {
		if (*s >= 'A' && *s <= 'Z')
			*s += 'a' - 'A';
	}
}

void cb_key_pins(struct builder *b, struct strv *to, const struct conf_section *s, const char *key)
{
	const struct conf_entry *e = conf_get(s, key);
	uint8_t pin[32];

	cb_key_strv(b, to, s, key);
	if (e->count > 8)
		conf_error(b->conf, e->line, "%s has %zu values; allowed: at most 8", key,
			   e->count);
	for (size_t i = 0; i < e->count; i++) {
		if (pin_parse(e->values[i].text, pin))
			conf_error(
			    b->conf, e->values[i].line,
			    "%s \"%s\"; allowed: the SHA-256 of a public key as 64 hex digits", key,
			    e->values[i].text);
	}
}

/* "1.2", "1.2, 1.3"; in any order, without a gap: what a handshake agrees on is a range. */
bool cb_key_versions(struct builder *b, struct tls_range *to, const struct conf_section *s)
{
	const struct conf_entry *e = conf_get(s, "tls-versions");
	unsigned seen = 0;

	for (size_t i = 0; i < e->count; i++)
		seen |= 1u << e->values[i].u;
	if (!seen)
		return false;
	if (seen == 5)
		conf_error(b->conf, e->line,
			   "tls-versions with a gap; write 1.1, 1.2, 1.3 or leave 1.1 out");
	to->min = seen & 1 ? 0x0302 : seen & 2 ? 0x0303 : 0x0304;
	to->max = seen & 4 ? 0x0304 : seen & 2 ? 0x0303 : 0x0302;
	return true;
}

void cb_key_ciphers(struct builder *b, struct strv *to, const struct conf_section *s)
{
	const struct conf_entry *e = conf_get(s, "tls-ciphers");

	cb_key_strv(b, to, s, "tls-ciphers");
	if (e->count > CIPHERS_MAX)
		conf_error(b->conf, e->line, "tls-ciphers has %zu values; allowed: at most %d",
			   e->count, CIPHERS_MAX);
	for (size_t i = 0; i < e->count; i++) {
		const char *w = e->values[i].text;

		if (w[strspn(w,
			     "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-_!")])
			conf_error(
			    b->conf, e->values[i].line,
			    "tls-ciphers \"%s\"; allowed: names of OpenSSL with commas between "
			    "them, ciphers(1)",
			    w);
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
	if (strlen(s->name) >= MTA_NAME_MAX || strspn(s->name, MTA_NAME_CHARS) != strlen(s->name))
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
