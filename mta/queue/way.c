/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "way.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "route.h"

const char *way_next(const char *way, const char **from, const char **to)
{
	if (!way || !*way)
		return NULL;
	*from = way;
	*to = way + strlen(way) + 1;
	return *to + strlen(*to) + 1;
}

static size_t length(const char *way)
{
	const char *from, *to, *at = way, *next;

	while ((next = way_next(at, &from, &to)))
		at = next;
	return way ? (size_t)(at - way) : 0;
}

char *way_add(const char *way, const char *from, const char *to)
{
	size_t n = length(way);
	char *out = calloc(1, n + strlen(from) + strlen(to) + 3);

	if (!out)
		return NULL;
	if (n)
		memcpy(out, way, n);
	stpcpy(stpcpy(out + n, from) + 1, to);
	return out;
}

char *way_copy(const char *way)
{
	size_t n = length(way);
	char *out = calloc(1, n + 1);

	if (out && n)
		memcpy(out, way, n);
	return out;
}

char *way_move(const struct mta_config *c, const char *way, const char *from, const char *to)
{
	char *out = calloc(1, 1), *more;
	const char *f, *t;
	bool known = false;

	for (const char *p = way; out && (p = way_next(p, &f, &t));) {
		if (!config_route(c, t)) /* counts for nothing */
			continue;
		known |= !strcmp(f, from);
		t = strcmp(t, from) ? t : to;
		if (!strcmp(f, t)) /* back where it came from is no exception */
			continue;
		more = way_add(out, f, t);
		free(out);
		out = more;
	}
	if (!out || known || !strcmp(from, to))
		return out;
	more = way_add(out, from, to);
	free(out);
	return more;
}

const struct mta_route *way_route(const struct mta_config *c, const char *way,
				  const struct envelope *e, const char *rcpt)
{
	const struct mta_route *r = route_choose(c, e, rcpt), *other = NULL;
	const char *from, *to;

	for (const char *p = way; r && (p = way_next(p, &from, &to));)
		if (!strcmp(from, r->name))
			other = config_route(c, to);
	return other ? other : r;
}
