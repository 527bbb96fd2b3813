/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct name {
	struct hash_node node; /* first */
	char text[];
};

int names_add(struct names *n, const char *name)
{
	size_t len = strlen(name);
	uint64_t h = hash_bytes(name, len);
	struct name *e;

	for (struct hash_node *at = hash_first(&n->table, h); at; at = hash_next(at))
		if (!strcmp(((struct name *)at)->text, name))
			return 0;
	e = malloc(sizeof(*e) + len + 1);
	if (!e)
		return -ENOMEM;
	memcpy(e->text, name, len + 1);
	if (hash_insert(&n->table, &e->node, h)) {
		free(e);
		return -ENOMEM;
	}
	return 1;
}

static void drop(struct hash_node *at, void *arg)
{
	hash_remove(arg, at);
	free(at);
}

void names_clear(struct names *n)
{
	hash_each(&n->table, drop, &n->table);
	hash_free(&n->table);
	memset(n, 0, sizeof(*n));
}
