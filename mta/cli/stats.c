/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "stats.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static int64_t number(const json_t *o, const char *key)
{
	return (int64_t)json_integer_value(json_object_get(o, key));
}

/* 300 -> 5m; bounds are whole ones. */
static const char *span(int64_t s, char out[static 24])
{
	if (s >= 86400)
		snprintf(out, 24, "%" PRId64 "d", s / 86400);
	else if (s >= 3600)
		snprintf(out, 24, "%" PRId64 "h", s / 3600);
	else
		snprintf(out, 24, "%" PRId64 "m", s / 60);
	return out;
}

static const char *size(int64_t n, char out[static 24])
{
	static const char units[] = "BKMGT";
	size_t u = 0;

	while (n >= 10240 && u + 2 < sizeof(units)) {
		n /= 1024;
		u++;
	}
	snprintf(out, 24, "%" PRId64 "%c", n, units[u]);
	return out;
}

static int widest(const json_t *routes)
{
	size_t i, w = strlen("route");
	const json_t *r;

	json_array_foreach(routes, i, r)
	{
		size_t n = json_string_length(json_object_get(r, "route"));

		w = n > w ? n : w;
	}
	return (int)w;
}

static void print_head(const json_t *bounds, int w)
{
	char text[24], column[26];
	const json_t *b;
	size_t i;

	printf("%-*s %7s", w, "route", "total");
	json_array_foreach(bounds, i, b)
	{
		snprintf(column, sizeof(column), "<%s", span((int64_t)json_integer_value(b), text));
		printf(" %6s", column);
	}
	printf(" %6s %7s\n", "more", "oldest");
}

void stats_print(const json_t *o)
{
	const json_t *routes = json_object_get(o, "routes"), *r, *n;
	int w = widest(routes);
	char text[24], journal[24];
	size_t i, k;

	print_head(json_object_get(o, "bounds_s"), w);
	json_array_foreach(routes, i, r)
	{
		printf("%-*s %7" PRId64, w, json_string_value(json_object_get(r, "route")),
		       number(r, "recipients"));
		json_array_foreach(json_object_get(r, "ages"), k, n)
		    printf(" %6" PRId64, (int64_t)json_integer_value(n));
		printf(" %7s\n", span(number(r, "oldest_s"), text));
	}
	printf("letters: %" PRId64 " queued, %" PRId64 " held, %" PRId64 " dead; %s\n",
	       number(o, "queued"), number(o, "held"), number(o, "dead"),
	       size(number(o, "bytes"), text));
	printf("journal: %" PRId64 " segments, %s\n", number(o, "journal_segments"),
	       size(number(o, "journal_bytes"), journal));
}
