/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "prefix_set.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

int prefix_set_add(struct prefix_set *s, const struct prefix *p)
{
	if (s->count == s->cap) {
		size_t cap = s->cap ? 2 * s->cap : 16;
		struct prefix *v = realloc(s->v, cap * sizeof(*v));

		if (!v)
			return -ENOMEM;
		s->v = v;
		s->cap = cap;
	}
	s->v[s->count++] = *p;
	s->len[p->addr.family == AF_INET6][p->len] = true;
	return 0;
}

static int order(const void *a, const void *b)
{
	const struct prefix *x = a, *y = b;

	if (x->addr.family != y->addr.family)
		return x->addr.family < y->addr.family ? -1 : 1;
	if (x->len != y->len)
		return x->len < y->len ? -1 : 1;
	return memcmp(x->addr.b, y->addr.b, addr_len(&x->addr));
}

void prefix_set_sort(struct prefix_set *s)
{
	size_t n = 0;

	if (s->count)
		qsort(s->v, s->count, sizeof(*s->v), order);
	for (size_t i = 0; i < s->count; i++)
		if (!n || order(&s->v[n - 1], &s->v[i]))
			s->v[n++] = s->v[i];
	s->count = n;
}

bool prefix_set_covers(const struct prefix_set *s, const struct prefix *p)
{
	for (int len = p->len; s->count && len >= 0; len--) {
		struct prefix outer;

		if (!s->len[p->addr.family == AF_INET6][len])
			continue;
		outer = prefix_of(&p->addr, (uint8_t)len);
		if (bsearch(&outer, s->v, s->count, sizeof(*s->v), order))
			return true;
	}
	return false;
}

void prefix_set_clear(struct prefix_set *s)
{
	free(s->v);
	*s = (struct prefix_set){ 0 };
}
