/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "rules.h"

#include <stdio.h>

static const char *text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static void print_rule(const json_t *r)
{
	const json_t *w;
	size_t i;

	printf("  %s (line %d): %s", text(r, "rule"),
	       (int)json_integer_value(json_object_get(r, "line")), text(r, "action"));
	if (*text(r, "route"))
		printf(" by route %s", text(r, "route"));
	if (*text(r, "message"))
		printf(" \"%s\"", text(r, "message"));
	putchar('\n');
	json_array_foreach(json_object_get(r, "when"), i, w)
	{
		printf("      %s\n", json_string_value(w));
	}
}

void rules_print(const json_t *o)
{
	const json_t *l, *r;
	size_t i, k;

	json_array_foreach(json_object_get(o, "listeners"), i, l)
	{
		printf("listener %s\n", text(l, "listener"));
		json_array_foreach(json_object_get(l, "rules"), k, r)
		{
			print_rule(r);
		}
		printf("  else accept %s; reject all other\n", text(l, "else"));
	}
}
