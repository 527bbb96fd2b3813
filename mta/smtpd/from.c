/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Addresses of a From field. The syntax around them (display names, comments, groups) is skipped,
 * not judged; an address itself is read by address.c as strictly as one of the envelope.
 */
#include <errno.h>
#include <string.h>

#include "header.h"

#define FROM_FLAGS ADDRESS_ALLOW_UTF8

/* One element of the list, gathered: words outside of comments and angle brackets, and the path. */
struct element {
	char word[ADDRESS_MAX + 1];
	size_t len;
	char path[ADDRESS_MAX + 3];
	size_t path_len;
	bool has_path;
	bool overlong; /* or else not to be read */
};

static void add(char *to, size_t cap, size_t *len, char c, bool *overlong)
{
	if (*len < cap)
		to[(*len)++] = c;
	else
		*overlong = true;
}

/* A quoted string from *@p, quotes included, into word or path. */
static const char *quoted(const char *p, const char *end, struct element *e, bool path)
{
	bool first = true;

	for (; p < end; p++) {
		if (path)
			add(e->path, sizeof(e->path), &e->path_len, *p, &e->overlong);
		else if (e->len < sizeof(e->word))
			e->word[e->len++] = *p; /* a display name may be as long as it likes */
		if (*p == '\\' && p + 1 < end) {
			p++;
			if (path)
				add(e->path, sizeof(e->path), &e->path_len, *p, &e->overlong);
			else if (e->len < sizeof(e->word))
				e->word[e->len++] = *p;
		} else if (*p == '"' && !first) {
			return p + 1;
		}
		first = false;
	}
	return end;
}

static const char *comment(const char *p, const char *end)
{
	int depth = 0;

	for (; p < end; p++) {
		if (*p == '\\')
			p++;
		else if (*p == '(')
			depth++;
		else if (*p == ')' && --depth == 0)
			return p + 1;
	}
	return end;
}

static const char *angle(const char *p, const char *end, struct element *e)
{
	/* Two addresses and no comma: which of them a reader is shown is anybody's guess. */
	e->overlong |= e->has_path;
	e->has_path = true;
	e->path_len = 0;
	while (p < end) {
		if (*p == '"') {
			p = quoted(p, end, e, true);
		} else if (*p == '(') {
			p = comment(p, end);
		} else {
			if (*p != ' ' && *p != '\t')
				add(e->path, sizeof(e->path), &e->path_len, *p, &e->overlong);
			if (*p++ == '>')
				break;
		}
	}
	return p;
}

/* Gather up to the next separator; *@sep is that byte, 0 at the end. */
static const char *gather(const char *p, const char *end, struct element *e, char *sep)
{
	memset(e, 0, sizeof(*e));
	for (*sep = 0; p < end;) {
		if (*p == '"') {
			p = quoted(p, end, e, false);
		} else if (*p == '(') {
			p = comment(p, end);
		} else if (*p == '<') {
			p = angle(p, end, e);
		} else if (strchr(",;:\n", *p)) {
			*sep = *p;
			return p + 1;
		} else {
			if (*p != ' ' && *p != '\t' && e->len < sizeof(e->word))
				e->word[e->len++] = *p;
			p++;
		}
	}
	return p;
}

int header_list_each(const char *p, size_t list_len,
		     int (*fn)(const char *s, size_t len, bool path, void *arg), void *arg)
{
	const char *end = p ? p + list_len : p;
	int found = 0, err = 0;

	while (p < end && !err) {
		struct element e;
		char sep;

		p = gather(p, end, &e, &sep);
		if (sep == ':' || (!e.has_path && !e.len))
			continue; /* the name of a group, or nothing between two commas */
		if (e.overlong || (!e.has_path && e.len > ADDRESS_MAX))
			return -EBADMSG;
		found++;
		err =
		    e.has_path ? fn(e.path, e.path_len, true, arg) : fn(e.word, e.len, false, arg);
	}
	return err ? err : found ? 0 : -ENOENT;
}

struct from_each {
	int (*fn)(const struct address *a, void *arg);
	void *arg;
};

static int parsed(const char *s, size_t len, bool path, void *arg)
{
	const struct from_each *x = arg;
	struct address a;
	size_t used;

	if (path ? address_parse_path(s, len, FROM_FLAGS, &a, &used)
		 : address_parse(s, len, FROM_FLAGS, &a))
		return -EBADMSG;
	return x->fn(&a, x->arg);
}

int header_from_each(const struct header *h, int (*fn)(const struct address *a, void *arg),
		     void *arg)
{
	struct from_each x = { .fn = fn, .arg = arg };

	return h->from_cut ? -EBADMSG : header_list_each(h->from, h->from_len, parsed, &x);
}
