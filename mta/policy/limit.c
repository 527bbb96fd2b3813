/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "limit.h"

#include <stdlib.h>
#include <string.h>

#include "hash.h"

#define NAME_MAX_BYTES 64
#define MILLI	       1000

struct entry {
	struct hash_node node;	   /* first member: a node is its entry */
	struct entry *prev, *next; /* by last use, oldest first */
	uint8_t key[NAME_MAX_BYTES];
	size_t key_len;
	uint32_t sessions;
	uint64_t tokens_milli; /* thousandths of a token, so that slow refills are not lost */
	uint64_t filled_ms;
};

struct limit {
	struct hash_table table;
	struct entry *oldest, *newest;
	size_t entries_max;
	uint32_t sessions;
};

struct limit *limit_new(size_t entries_max)
{
	struct limit *l = calloc(1, sizeof(*l));

	if (l)
		l->entries_max = entries_max ? entries_max : LIMIT_ENTRIES_MAX;
	return l;
}

void limit_free(struct limit *l)
{
	struct entry *next;

	if (!l)
		return;
	for (struct entry *e = l->oldest; e; e = next) {
		next = e->next;
		free(e);
	}
	hash_free(&l->table);
	free(l);
}

static void unlink_entry(struct limit *l, struct entry *e)
{
	*(e->prev ? &e->prev->next : &l->oldest) = e->next;
	*(e->next ? &e->next->prev : &l->newest) = e->prev;
}

static void link_newest(struct limit *l, struct entry *e)
{
	e->next = NULL;
	e->prev = l->newest;
	*(l->newest ? &l->newest->next : &l->oldest) = e;
	l->newest = e;
}

/* Room for one more: the quietest without a session leaves. */
static bool make_room(struct limit *l)
{
	if (l->table.count < l->entries_max)
		return true;
	for (struct entry *e = l->oldest; e; e = e->next) {
		if (e->sessions)
			continue;
		unlink_entry(l, e);
		hash_remove(&l->table, &e->node);
		free(e);
		return true;
	}
	return false;
}

static struct entry *find(struct limit *l, const void *key, size_t len)
{
	struct hash_node *n = hash_first(&l->table, hash_bytes(key, len));

	for (; n; n = hash_next(n)) {
		struct entry *e = (struct entry *)n;

		if (e->key_len == len && !memcmp(e->key, key, len))
			return e;
	}
	return NULL;
}

static struct entry *get(struct limit *l, const void *key, size_t len, uint32_t burst,
			 uint64_t now_ms)
{
	struct entry *e = find(l, key, len);

	if (e) {
		unlink_entry(l, e);
		link_newest(l, e);
		return e;
	}
	if (!make_room(l))
		return NULL;
	e = calloc(1, sizeof(*e));
	if (!e)
		return NULL;
	memcpy(e->key, key, len);
	e->key_len = len;
	e->tokens_milli = (uint64_t)burst * MILLI;
	e->filled_ms = now_ms;
	if (hash_insert(&l->table, &e->node, hash_bytes(key, len))) {
		free(e);
		return NULL;
	}
	link_newest(l, e);
	return e;
}

/* Take one token of a bucket of @burst that refills with @per in each @period_ms. */
static bool take(struct entry *e, uint32_t burst, uint32_t per, uint64_t period_ms, uint64_t now_ms)
{
	uint64_t gone = now_ms > e->filled_ms ? now_ms - e->filled_ms : 0;
	uint64_t full = (uint64_t)burst * MILLI;

	if (gone > period_ms * (burst / per + 1)) {
		e->tokens_milli = full;
		e->filled_ms = now_ms;
	} else {
		uint64_t add = gone * per * MILLI / period_ms;

		e->tokens_milli += add;
		e->filled_ms += add * period_ms / (per * (uint64_t)MILLI); /* the rest counts on */
	}
	if (e->tokens_milli > full)
		e->tokens_milli = full;
	if (e->tokens_milli < MILLI)
		return false;
	e->tokens_milli -= MILLI;
	return true;
}

static size_t prefix_key(const struct addr *a, uint8_t key[static 20])
{
	struct prefix p = prefix_of(a, a->family == AF_INET ? LIMIT_V4_BITS : LIMIT_V6_BITS);

	key[0] = p.addr.family;
	memcpy(key + 1, p.addr.b, 16);
	return 17;
}

enum limit_verdict limit_open(struct limit *l, const struct limit_conf *c, const struct addr *a,
			      uint64_t now_ms)
{
	uint32_t burst = c->burst ? c->burst : LIMIT_BURST;
	uint8_t key[20];
	struct entry *e;

	if (c->sessions_max && l->sessions >= c->sessions_max)
		return LIMIT_TOTAL;
	e = get(l, key, prefix_key(a, key), burst, now_ms);
	if (!e)
		return LIMIT_TOTAL;
	if (c->sessions_per_prefix && e->sessions >= c->sessions_per_prefix)
		return LIMIT_PREFIX;
	if (c->per_minute && !take(e, burst, c->per_minute, 60000, now_ms))
		return LIMIT_RATE;
	e->sessions++;
	l->sessions++;
	return LIMIT_OK;
}

void limit_close(struct limit *l, const struct addr *a, uint64_t now_ms)
{
	uint8_t key[20];
	struct entry *e = find(l, key, prefix_key(a, key));

	(void)now_ms;
	if (e && e->sessions) {
		e->sessions--;
		l->sessions--;
	}
}

uint32_t limit_sessions(const struct limit *l)
{
	return l->sessions;
}

bool limit_letters(struct limit *l, const char *name, uint32_t per_hour, uint64_t now_ms)
{
	char key[NAME_MAX_BYTES] = { 'n' };
	size_t len = strnlen(name, sizeof(key) - 1);
	struct entry *e;

	if (!per_hour)
		return true;
	memcpy(key + 1, name, len);
	e = get(l, key, len + 1, per_hour, now_ms);
	return e && take(e, per_hour, per_hour, 3600000, now_ms);
}
