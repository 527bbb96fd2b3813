/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hash.h"

/* Addresses lo .. hi behind the same first bits: 64 of IPv6, none of IPv4. */
struct range {
	uint8_t family;
	uint64_t high;
	uint64_t lo, hi;
};

struct ranges {
	struct range *v;
	size_t count, cap;
};

struct taken {
	struct hash_node node;
	struct addr addr;
};

struct side {
	size_t at; /* range that the cursor is in */
	uint64_t next;
	bool begun, over;
	struct addr *back; /* given back */
	size_t back_count, back_cap;
	struct pool_counts n;
};

struct pool {
	struct ranges nets, excluded;
	struct ranges free_; /* nets less excluded, once ready */
	bool ready;
	struct hash_table taken;
	struct side side[2]; /* IPv4, IPv6 */
};

static uint64_t be64(const uint8_t *b)
{
	uint64_t v = 0;

	for (int i = 0; i < 8; i++)
		v = v << 8 | b[i];
	return v;
}

static void put_be(uint8_t *b, int bytes, uint64_t v)
{
	while (bytes-- > 0) {
		b[bytes] = (uint8_t)v;
		v >>= 8;
	}
}

static struct range range_of(const struct prefix *p)
{
	bool v4 = p->addr.family == AF_INET;
	unsigned host = addr_bits(&p->addr) - p->len;
	struct range r = { .family = p->addr.family };

	r.high = v4 ? 0 : be64(p->addr.b);
	r.lo = v4 ? be64(p->addr.b) >> 32 : be64(p->addr.b + 8);
	r.hi = r.lo | (host >= 64 ? UINT64_MAX : (1ull << host) - 1);
	return r;
}

static struct addr addr_at(const struct range *r, uint64_t low)
{
	struct addr a = { .family = r->family };

	if (r->family == AF_INET) {
		put_be(a.b, 4, low);
	} else {
		put_be(a.b, 8, r->high);
		put_be(a.b + 8, 8, low);
	}
	return a;
}

static int append(struct ranges *l, const struct range *r)
{
	if (l->count == l->cap) {
		size_t cap = l->cap ? 2 * l->cap : 8;
		struct range *v = realloc(l->v, cap * sizeof(*v));

		if (!v)
			return -ENOMEM;
		l->v = v;
		l->cap = cap;
	}
	l->v[l->count++] = *r;
	return 0;
}

struct pool *pool_new(void)
{
	return calloc(1, sizeof(struct pool));
}

static void free_taken(struct hash_node *n, void *arg)
{
	(void)arg;
	free((struct taken *)((char *)n - offsetof(struct taken, node)));
}

void pool_free(struct pool *p)
{
	if (!p)
		return;
	hash_each(&p->taken, free_taken, NULL);
	hash_free(&p->taken);
	free(p->nets.v);
	free(p->excluded.v);
	free(p->free_.v);
	for (int i = 0; i < 2; i++)
		free(p->side[i].back);
	free(p);
}

int pool_add(struct pool *p, const struct prefix *net)
{
	struct range r;

	if (net->addr.family == AF_INET6 && net->len < POOL_V6_BITS_MIN)
		return -EINVAL;
	r = range_of(net);
	if (r.hi - r.lo > 1) {
		r.lo++;
		r.hi -= net->addr.family == AF_INET;
	}
	p->ready = false;
	return append(&p->nets, &r);
}

int pool_exclude(struct pool *p, const struct prefix *net)
{
	struct prefix host = *net;
	struct range r;

	/* Only one that covers whole /64s can be shorter; the /64s that are in use say which. */
	p->ready = false;
	if (net->addr.family == AF_INET || net->len >= POOL_V6_BITS_MIN) {
		r = range_of(net);
		return append(&p->excluded, &r);
	}
	for (size_t i = 0; i < p->nets.count; i++) {
		host.addr = addr_at(&p->nets.v[i], p->nets.v[i].lo);
		host.len = POOL_V6_BITS_MIN;
		if (p->nets.v[i].family != AF_INET6 || !prefix_contains(net, &host.addr))
			continue;
		host = prefix_of(&host.addr, POOL_V6_BITS_MIN);
		r = range_of(&host);
		if (append(&p->excluded, &r))
			return -ENOMEM;
	}
	return 0;
}

/* ---- what is left ---- */

static int by_place(const void *x, const void *y)
{
	const struct range *a = x, *b = y;

	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	if (a->high != b->high)
		return a->high < b->high ? -1 : 1;
	return a->lo < b->lo ? -1 : a->lo > b->lo;
}

static bool same_place(const struct range *a, const struct range *b)
{
	return a->family == b->family && a->high == b->high;
}

static int add_free(struct pool *p, const struct range *like, uint64_t lo, uint64_t hi)
{
	struct range r = { like->family, like->high, lo, hi };
	struct pool_counts *n = &p->side[like->family == AF_INET6].n;
	uint64_t more = hi - lo;

	/* more + 1 addresses, up to UINT64_MAX in all. */
	n->size = UINT64_MAX - n->size <= more ? UINT64_MAX : n->size + more + 1;
	return append(&p->free_, &r);
}

/* One range less all that is excluded; @from: the first exclusion that may touch it. */
static int subtract(struct pool *p, const struct range *r, size_t from)
{
	uint64_t lo = r->lo;

	for (size_t i = from; i < p->excluded.count; i++) {
		const struct range *x = &p->excluded.v[i];

		if (same_place(x, r) ? x->lo > r->hi : by_place(x, r) > 0)
			break;
		if (!same_place(x, r) || x->hi < lo)
			continue;
		if (x->lo > lo && add_free(p, r, lo, x->lo - 1))
			return -ENOMEM;
		if (x->hi >= r->hi)
			return 0;
		lo = x->hi + 1;
	}
	return add_free(p, r, lo, r->hi);
}

static void sort(struct ranges *l)
{
	if (l->count)
		qsort(l->v, l->count, sizeof(*l->v), by_place);
}

static int make_ready(struct pool *p)
{
	struct range done = { 0 };
	size_t from = 0;

	if (p->ready)
		return 0;
	p->free_.count = 0;
	p->side[0].n.size = p->side[1].n.size = 0;
	sort(&p->nets);
	sort(&p->excluded);
	for (size_t i = 0; i < p->nets.count; i++) {
		struct range r = p->nets.v[i];

		/* What two prefixes have in common counts once. */
		if (same_place(&r, &done) && r.lo <= done.hi) {
			if (r.hi <= done.hi)
				continue;
			r.lo = done.hi + 1;
		}
		done = r;
		while (from < p->excluded.count && by_place(&p->excluded.v[from], &r) < 0 &&
		       (!same_place(&p->excluded.v[from], &r) || p->excluded.v[from].hi < r.lo))
			from++;
		if (subtract(p, &r, from))
			return -ENOMEM;
	}
	for (int s = 0; s < 2; s++) {
		p->side[s].begun = p->side[s].over = false;
		p->side[s].back_count = 0;
	}
	p->ready = true;
	return 0;
}

static struct range point_of(const struct addr *a)
{
	struct prefix host = prefix_host(a);

	return range_of(&host);
}

static bool is_free_range(const struct pool *p, const struct addr *a)
{
	struct range x = point_of(a);
	size_t lo = 0, hi = p->free_.count;

	/* The last range that does not begin behind it. */
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (by_place(&p->free_.v[mid], &x) <= 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo && same_place(&p->free_.v[lo - 1], &x) && x.lo <= p->free_.v[lo - 1].hi;
}

/* ---- who has it ---- */

static uint64_t hash_of(const struct addr *a)
{
	return hash_bytes(a->b, addr_len(a));
}

static struct taken *find(const struct pool *p, const struct addr *a)
{
	struct hash_node *n = hash_first(&p->taken, hash_of(a));

	for (; n; n = hash_next(n)) {
		struct taken *t = (struct taken *)((char *)n - offsetof(struct taken, node));

		if (addr_eq(&t->addr, a))
			return t;
	}
	return NULL;
}

static int mark(struct pool *p, const struct addr *a)
{
	struct taken *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->addr = *a;
	if (hash_insert(&p->taken, &t->node, hash_of(a))) {
		free(t);
		return -ENOMEM;
	}
	p->side[a->family == AF_INET6].n.taken++;
	return 0;
}

/* The cursor's next address of @family, taken or not. */
static bool next_of(struct pool *p, struct side *s, int family, struct addr *out)
{
	if (!s->begun) {
		s->begun = true;
		for (s->at = 0; s->at < p->free_.count && p->free_.v[s->at].family != family;)
			s->at++;
		s->over = s->at == p->free_.count;
		s->next = s->over ? 0 : p->free_.v[s->at].lo;
	}
	if (s->over)
		return false;
	*out = addr_at(&p->free_.v[s->at], s->next);
	if (s->next < p->free_.v[s->at].hi) {
		s->next++;
	} else if (++s->at < p->free_.count && p->free_.v[s->at].family == family) {
		s->next = p->free_.v[s->at].lo;
	} else {
		s->over = true;
	}
	return true;
}

int pool_take(struct pool *p, int family, struct addr *out)
{
	struct side *s = &p->side[family == AF_INET6];

	if (make_ready(p))
		return -ENOMEM;
	if (!s->n.size)
		return -ENOENT;
	while (s->back_count) {
		*out = s->back[--s->back_count];
		if (!find(p, out))
			return mark(p, out);
	}
	while (next_of(p, s, family, out))
		if (!find(p, out))
			return mark(p, out);
	return -ENOSPC;
}

int pool_claim(struct pool *p, const struct addr *a)
{
	if (make_ready(p))
		return -ENOMEM;
	if (!a->family || !is_free_range(p, a))
		return -ENOENT;
	return find(p, a) ? -EADDRINUSE : mark(p, a);
}

void pool_give(struct pool *p, const struct addr *a)
{
	struct side *s = &p->side[a->family == AF_INET6];
	struct taken *t = a->family ? find(p, a) : NULL;

	if (!t)
		return;
	hash_remove(&p->taken, &t->node);
	s->n.taken--;
	if (s->back_count == s->back_cap) {
		size_t cap = s->back_cap ? 2 * s->back_cap : 16;
		struct addr *v = realloc(s->back, cap * sizeof(*v));

		if (v) {
			s->back = v;
			s->back_cap = cap;
		}
	}
	if (s->back_count < s->back_cap)
		s->back[s->back_count++] = t->addr;
	else /* no memory to remember it: look through all of them again */
		s->begun = s->over = false;
	free(t);
}

void pool_count(struct pool *p, int family, struct pool_counts *n)
{
	memset(n, 0, sizeof(*n));
	if (!make_ready(p))
		*n = p->side[family == AF_INET6].n;
}
