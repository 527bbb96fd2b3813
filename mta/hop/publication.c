/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "publication.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char head_word[] = "#recipients ", size_word[] = "size=";

size_t publication_head(char out[static PUBLICATION_HEAD_MAX], uint64_t serial, size_t count,
			char subaddress, uint64_t size_max_bytes)
{
	char one[2] = { subaddress, 0 }, size[32] = "";

	if (size_max_bytes)
		snprintf(size, sizeof(size), " %s%" PRIu64, size_word, size_max_bytes);
	return (size_t)snprintf(out, PUBLICATION_HEAD_MAX, "%s%d %" PRIu64 " %zu %s%s\n", head_word,
				PUBLICATION_VERSION, serial, count, subaddress ? one : "none", size);
}

/* Decimal up to a blank or @end. */
static bool number(const char **at, const char *end, uint64_t *out)
{
	const char *p = *at;
	uint64_t v = 0;

	for (; p < end && *p >= '0' && *p <= '9'; p++) {
		unsigned d = (unsigned)(*p - '0');

		if (v > (UINT64_MAX - d) / 10)
			return false;
		v = v * 10 + d;
	}
	if (p == *at || (p < end && *p != ' '))
		return false;
	*out = v;
	*at = p < end ? p + 1 : p;
	return true;
}

/* Words behind the others; those that are not known are of a later home. */
static int words_parse(struct publication *p, const char *at, const char *end)
{
	const size_t n = sizeof(size_word) - 1;

	while (at < end) {
		const char *blank = memchr(at, ' ', (size_t)(end - at));

		if ((size_t)(end - at) >= n && !memcmp(at, size_word, n)) {
			at += n;
			if (p->size_max_bytes || !number(&at, end, &p->size_max_bytes) ||
			    !p->size_max_bytes)
				return -EBADMSG;
		} else {
			at = blank ? blank + 1 : end;
		}
	}
	return 0;
}

static int head_parse(struct publication *p, const char *at, const char *end)
{
	uint64_t version, count;
	size_t word;

	if ((size_t)(end - at) < sizeof(head_word) - 1 ||
	    memcmp(at, head_word, sizeof(head_word) - 1))
		return -EBADMSG;
	at += sizeof(head_word) - 1;
	if (!number(&at, end, &version))
		return -EBADMSG;
	if (version != PUBLICATION_VERSION)
		return -EPROTONOSUPPORT;
	if (!number(&at, end, &p->serial) || !p->serial || !number(&at, end, &count) ||
	    !count || count > PUBLICATION_MAX)
		return -EBADMSG;
	p->count = (size_t)count;
	word = 0;
	while (at + word < end && at[word] != ' ')
		word++;
	if (word == 1 && (*at == '+' || *at == '-'))
		p->subaddress = *at;
	else if (word != 4 || memcmp(at, "none", 4))
		return -EBADMSG;
	return words_parse(p, at + word, end);
}

bool publication_line_valid(const char *line, size_t len)
{
	const char *at = len ? memchr(line, '@', len) : NULL;

	if (!at || len > PUBLICATION_LINE_MAX || at == line + len - 1)
		return false;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)line[i];

		if (c <= 32 || c == 127 || c == '#' || c == '"' || c == '\\' ||
		    (c >= 'A' && c <= 'Z') || (c == '@' && line + i != at))
			return false;
		if (at < line + i && c >= 0x80) /* by A-labels: else two lines may be one address */
			return false;
	}
	return at - line <= 64 && len - (size_t)(at - line) <= MTA_DOMAIN_MAX;
}

/* As memcmp(), and what is a beginning of the other comes first. */
static int compare(const char *a, size_t a_len, const char *b, size_t b_len)
{
	int c = memcmp(a, b, a_len < b_len ? a_len : b_len);

	return c ? c : a_len < b_len ? -1 : a_len > b_len;
}

/* Next line of [*at, end) with its length; NULL: no more, or no LF at its end. */
static const char *next_line(const char **at, const char *end, size_t *len)
{
	const char *line = *at, *lf = line < end ? memchr(line, '\n', (size_t)(end - line)) : NULL;

	if (!lf)
		return NULL;
	*len = (size_t)(lf - line);
	*at = lf + 1;
	return line;
}

int publication_parse(struct publication *p, const char *text, size_t len, const char **why)
{
	const char *at = text, *end = text + len, *line, *before = NULL;
	size_t n, before_len = 0, count = 0;
	int rc;

	memset(p, 0, sizeof(*p));
	*why = "The first line is missing, too long or holds a NUL";
	line = len <= PUBLICATION_MAX ? next_line(&at, end, &n) : NULL;
	if (!line || n >= PUBLICATION_HEAD_MAX || memchr(line, 0, n))
		return -EBADMSG;
	rc = head_parse(p, line, line + n);
	*why = rc == -EPROTONOSUPPORT ? "A version that is not known here"
				      : "The first line cannot be read";
	if (rc)
		return rc;
	p->lines = at;
	p->lines_len = (size_t)(end - at);
	while ((line = next_line(&at, end, &n))) {
		*why = "A line is no address in lower case";
		if (!publication_line_valid(line, n))
			return -EBADMSG;
		*why = "The lines do not rise";
		if (before && compare(before, before_len, line, n) >= 0)
			return -EBADMSG;
		before = line;
		before_len = n;
		count++;
	}
	*why = "Not so many lines as the first one says";
	return at == end && count == p->count ? 0 : -EBADMSG;
}

size_t publication_covers(const struct publication *p, const struct strv *domains)
{
	const char *at = p->lines, *end = p->lines + p->lines_len, *line;
	size_t n, count = 0;

	while ((line = next_line(&at, end, &n))) {
		const char *domain = (const char *)memchr(line, '@', n) + 1;
		size_t len = n - (size_t)(domain - line);

		for (size_t i = 0; i < domains->count; i++) {
			if (strlen(domains->v[i]) == len && !memcmp(domains->v[i], domain, len)) {
				count++;
				break;
			}
		}
	}
	return count;
}

bool publication_same(const struct publication *a, const struct publication *b)
{
	return a->subaddress == b->subaddress && a->size_max_bytes == b->size_max_bytes &&
	       a->lines_len == b->lines_len &&
	       !memcmp(a->lines, b->lines, a->lines_len);
}

/* ---- making one ---- */

static bool list_room(struct publication_list *l)
{
	size_t cap = l->cap ? 2 * l->cap : 64;
	char **bigger;

	if (l->count < l->cap)
		return true;
	bigger = realloc(l->line, cap * sizeof(*bigger));
	if (!bigger)
		return false;
	l->line = bigger;
	l->cap = cap;
	return true;
}

void publication_add(struct publication_list *l, const char *local, const char *domain)
{
	char line[PUBLICATION_LINE_MAX + 2];
	int n = snprintf(line, sizeof(line), "%s@%s", local, domain);

	for (char *p = line; *p; p++) {
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p + ('a' - 'A'));
	}
	if (n < 0 || (size_t)n >= sizeof(line) || !publication_line_valid(line, (size_t)n)) {
		l->left_out++;
		return;
	}
	if (!list_room(l) || !(l->line[l->count] = strdup(line))) {
		l->nomem = true;
		return;
	}
	l->count++;
}

static int by_bytes(const void *a, const void *b)
{
	const char *x = *(char *const *)a, *y = *(char *const *)b;

	return compare(x, strlen(x), y, strlen(y));
}

char *publication_text(struct publication_list *l, size_t *len)
{
	size_t bytes = 0, at = 0;
	char *text;

	if (l->nomem)
		return NULL;
	if (l->count)
		qsort(l->line, l->count, sizeof(*l->line), by_bytes);
	for (size_t i = 0; i < l->count; i++)
		bytes += strlen(l->line[i]) + 1;
	text = bytes <= PUBLICATION_MAX - PUBLICATION_HEAD_MAX ? malloc(bytes + 1) : NULL;
	if (!text)
		return NULL;
	for (size_t i = 0; i < l->count; i++) {
		size_t n = strlen(l->line[i]);

		if (i && !strcmp(l->line[i], l->line[i - 1]))
			continue;
		memcpy(text + at, l->line[i], n);
		text[at + n] = '\n';
		at += n + 1;
	}
	text[at] = 0;
	*len = at;
	return text;
}

void publication_list_clear(struct publication_list *l)
{
	for (size_t i = 0; i < l->count; i++)
		free(l->line[i]);
	free(l->line);
	memset(l, 0, sizeof(*l));
}
