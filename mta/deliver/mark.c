/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "mark.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* Where the field that begins at @p ends: behind a line after which none is folded. */
static const char *field_end(const char *p, const char *end)
{
	do {
		const char *lf = memchr(p, '\n', (size_t)(end - p));

		p = lf ? lf + 1 : end;
	} while (p < end && (*p == ' ' || *p == '\t'));
	return p;
}

/* What stands behind the name; NULL: it is another field. */
static const char *body_of(const char *p, const char *end, const char *name)
{
	size_t n = strlen(name);

	if ((size_t)(end - p) <= n || strncasecmp(p, name, n))
		return NULL;
	for (p += n; p < end && (*p == ' ' || *p == '\t'); p++)
		;
	return p < end && *p == ':' ? p + 1 : NULL;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool parts_words(char c)
{
	return is_blank(c) || c == ';';
}

/* The next word of a field; its length, 0: no more. */
static size_t word(const char **at, const char *end)
{
	size_t n = 0;

	while (*at < end && parts_words(**at))
		(*at)++;
	while (*at + n < end && !parts_words((*at)[n]))
		n++;
	return n;
}

static bool is_word(const char *p, size_t n, const char *name)
{
	return strlen(name) == n && !strncasecmp(p, name, n);
}

/* The whole of the field, as maildir.c writes it. */
static bool names(const char *p, const char *end, const char *recipient)
{
	while (p < end && is_blank(*p))
		p++;
	while (end > p && is_blank(end[-1]))
		end--;
	return is_word(p, (size_t)(end - p), recipient);
}

static bool is_ours(const char *p, size_t n, const struct mta_config *c)
{
	if (is_word(p, n, c->hostname))
		return true;
	for (size_t i = 0; i < c->listener_count; i++) {
		const char *name = c->listeners[i].hostname;

		if (name && is_word(p, n, name))
			return true;
	}
	return false;
}

/* Received: ... by NAME, where NAME is one that we go by (RFC 5321 s4.4). */
static bool by_us(const char *p, const char *end, const struct mta_config *c)
{
	bool by = false;
	size_t n;

	for (; (n = word(&p, end)); p += n) {
		if (by && is_ours(p, n, c))
			return true;
		by = is_word(p, n, "by");
	}
	return false;
}

bool mark_found(const char *text, size_t len, const char *recipient, const struct mta_config *c)
{
	const char *p = text, *end = text + len, *next, *body;
	bool delivered = false;

	for (; p < end && *p != '\r' && *p != '\n'; p = next) {
		next = field_end(p, end);
		body = body_of(p, next, "Delivered-To");
		if (body) {
			delivered |= names(body, next, recipient);
			continue;
		}
		body = delivered ? body_of(p, next, "Received") : NULL;
		if (body && by_us(body, next, c))
			return true;
	}
	return false;
}

int mark_in_file(int fd, const char *recipient, const struct mta_config *c)
{
	char *text = malloc(MARK_HEADER_MAX);
	size_t len = 0;
	ssize_t n = 1;
	int found;

	if (!text)
		return -ENOMEM;
	while (n > 0 && len < MARK_HEADER_MAX) {
		n = pread(fd, text + len, MARK_HEADER_MAX - len, (off_t)len);
		len += n > 0 ? (size_t)n : 0;
	}
	found = n < 0 ? -errno : mark_found(text, len, recipient, c);
	free(text);
	return found;
}
