/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "leak.h"

#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

struct scan {
	const struct leak_known *known;
	struct leak *out;
	size_t max, count;
	size_t first; /* of this field, in @out */
	size_t field;
	char name[LEAK_NAME_MAX];
};

const char *leak_kind_word(enum leak_kind kind)
{
	static const char *const words[] = { "address", "name", "word" };

	return words[kind];
}

static bool in_word(char c)
{
	return isalnum((unsigned char)c) || (c && strchr(".:-_@+", c)) || (unsigned char)c >= 0x80;
}

static void found(struct scan *s, enum leak_kind kind, const char *what)
{
	size_t told = s->count < s->max ? s->count : s->max;
	struct leak *x;

	for (size_t i = s->first; i < told; i++)
		if (!strcasecmp(s->out[i].what, what))
			return;
	if (s->count++ >= s->max)
		return;
	x = &s->out[s->count - 1];
	x->kind = kind;
	x->field = s->field;
	memcpy(x->name, s->name, sizeof(x->name));
	snprintf(x->what, sizeof(x->what), "%s", what);
}

/* "IPv6:fd99::2", "10.0.0.1", "10.0.0.1:25" */
static bool read_address(const char *word, struct addr *a)
{
	char text[ADDR_STR_MAX + 8];
	size_t n;

	if (!strncasecmp(word, "IPv6:", 5))
		word += 5;
	n = strlen(word);
	if (n >= sizeof(text))
		return false;
	memcpy(text, word, n + 1);
	if (!addr_parse(text, a))
		return true;
	if (strchr(text, ':') != strrchr(text, ':'))
		return false;
	text[strcspn(text, ":")] = 0;
	return !addr_parse(text, a);
}

static bool is_inner(const struct scan *s, const struct addr *a)
{
	if (addr_is_loopback(a))
		return false;
	for (size_t i = 0; i < s->known->inner_count; i++)
		if (prefix_contains(&s->known->inner[i], a))
			return true;
	return addr_is_private(a);
}

/* A name that only the own network knows (RFC 6762 s3, RFC 8375, and what is used so). */
static bool is_private_name(const char *word)
{
	static const char *const ends[] = { ".lan",	 ".local",     ".localdomain",
					    ".internal", ".home.arpa", ".intern",
					    ".home",	 ".corp",      ".private" };
	size_t n = strlen(word);

	for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++) {
		size_t m = strlen(ends[i]);

		if (n > m && !strcasecmp(word + n - m, ends[i]))
			return true;
	}
	return false;
}

static void look_at_word(struct scan *s, const char *p, size_t len)
{
	char word[LEAK_TEXT_MAX];
	struct addr a;

	/* The end of a sentence belongs to no name. */
	while (len && strchr(".:-", p[len - 1]) && !(len > 1 && p[len - 2] == ':'))
		len--;
	if (!len || len >= sizeof(word))
		return;
	memcpy(word, p, len);
	word[len] = 0;
	if (read_address(word, &a)) {
		if (is_inner(s, &a))
			found(s, LEAK_ADDRESS, word);
		return;
	}
	for (size_t i = 0; i < s->known->word_count; i++)
		if (!strcasecmp(s->known->words[i], word))
			return found(s, LEAK_WORD, word);
	if (is_private_name(word))
		found(s, LEAK_NAME, word);
}

/* Its name, up to the colon. Returns where its value begins. */
static size_t begin_field(struct scan *s, const char *p, size_t len)
{
	size_t n = 0, colon = 0;

	while (colon < len && p[colon] != ':' && p[colon] != '\n')
		colon++;
	for (; n < colon && n + 1 < sizeof(s->name); n++)
		s->name[n] = (char)(isgraph((unsigned char)p[n]) ? p[n] : '?');
	s->name[n] = 0;
	s->first = s->count < s->max ? s->count : s->max;
	return colon < len && p[colon] == ':' ? colon + 1 : 0;
}

static void look_at_field(struct scan *s, const char *p, size_t len)
{
	size_t i = begin_field(s, p, len);

	while (i < len) {
		size_t n = 0;

		while (i + n < len && in_word(p[i + n]))
			n++;
		if (n)
			look_at_word(s, p + i, n);
		i += n + 1;
	}
	s->field++;
}

size_t leak_find(const char *head, size_t len, const struct leak_known *known, struct leak *out,
		 size_t max)
{
	struct scan s = { .known = known, .out = out, .max = max };
	size_t start = 0, at = 0;

	while (at < len) {
		const char *nl = memchr(head + at, '\n', len - at);
		size_t next = nl ? (size_t)(nl - head) + 1 : len;

		if (head[at] == '\n' || (head[at] == '\r' && next == at + 2))
			break;
		if (at && head[at] != ' ' && head[at] != '\t') {
			look_at_field(&s, head + start, at - start);
			start = at;
		}
		at = next;
	}
	if (at > start)
		look_at_field(&s, head + start, at - start);
	return s.count;
}
