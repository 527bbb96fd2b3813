/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "limit_table.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "secret.h"

#define TOKENS_MAX (1ll << 50) /* more, or a larger debt, no limit makes */

enum { DOORS, FAILURES, ACCOUNTS, SENDERS, RECIPIENTS, POOLS };

struct pool {
	struct hash_table table;
	struct limit_entry *oldest, *newest;
	struct limit_bucket *buckets;
	uint64_t *used; /* of them, from the first on */
};

/* What outlives the process. */
struct memory {
	uint64_t key[2];
	uint64_t used[POOLS];
	struct limit_bucket bucket[]; /* of one pool after the other */
};

struct limit_table {
	struct pool pool[POOLS];
	size_t entries_max;
	struct memory *memory;
	size_t memory_len;
};

static size_t memory_len(size_t entries_max)
{
	return sizeof(struct memory) + POOLS * entries_max * sizeof(struct limit_bucket);
}

int limit_table_memfd(size_t entries_max)
{
	const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
	int fd = memfd_create("limits", MFD_CLOEXEC | MFD_ALLOW_SEALING), rc;

	if (fd < 0)
		return -errno;
	if (!ftruncate(fd, (off_t)memory_len(entries_max)) && !fcntl(fd, F_ADD_SEALS, seals))
		return fd;
	rc = -errno;
	close(fd);
	return rc;
}

/* Cut from under us it would kill us; pages that were never used take no memory. */
static struct memory *map(int fd, size_t len)
{
	struct stat st;
	void *p;

	if (fd >= 0 && (fstat(fd, &st) || st.st_size != (off_t)len ||
			(fcntl(fd, F_GET_SEALS) & F_SEAL_SHRINK) == 0)) {
		errno = EINVAL;
		return NULL;
	}
	p = mmap(NULL, len, PROT_READ | PROT_WRITE,
		 fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, fd, 0);
	return p == MAP_FAILED ? NULL : p;
}

static int pool_of(uint8_t kind)
{
	switch (kind) {
	case LIMIT_DOOR:
		return DOORS;
	case LIMIT_FAILURES:
		return FAILURES;
	case LIMIT_HOMES:
	case LIMIT_LOGINS:
	case LIMIT_LOGINS_BYTES:
		return ACCOUNTS;
	case LIMIT_SENDERS:
	case LIMIT_SENDERS_BYTES:
		return SENDERS;
	case LIMIT_RECIPIENTS:
	case LIMIT_RECIPIENTS_BYTES:
		return RECIPIENTS;
	default:
		return -1;
	}
}

void limit_table_free(struct limit_table *t)
{
	struct limit_entry *next;

	if (!t)
		return;
	for (size_t i = 0; i < POOLS; i++) {
		for (struct limit_entry *e = t->pool[i].oldest; e; e = next) {
			next = e->next;
			free(e);
		}
		hash_free(&t->pool[i].table);
	}
	munmap(t->memory, t->memory_len);
	free(t);
}

static void unlink_entry(struct pool *p, struct limit_entry *e)
{
	*(e->prev ? &e->prev->next : &p->oldest) = e->next;
	*(e->next ? &e->next->prev : &p->newest) = e->prev;
}

static void link_newest(struct pool *p, struct limit_entry *e)
{
	e->next = NULL;
	e->prev = p->newest;
	*(p->newest ? &p->newest->next : &p->oldest) = e;
	p->newest = e;
}

/* One that is free, or the quietest without a session. Not in the hash, nor in the list. NULL: none. */
static struct limit_entry *take(struct limit_table *t, struct pool *p)
{
	struct limit_entry *e;

	if (*p->used < t->entries_max) {
		e = calloc(1, sizeof(*e));
		if (e)
			e->b = &p->buckets[(*p->used)++];
		return e;
	}
	for (e = p->oldest; e && e->sessions; e = e->next)
		;
	if (e) {
		unlink_entry(p, e);
		hash_remove(&p->table, &e->node);
	}
	return e;
}

static struct limit_entry *find(struct pool *p, const uint8_t key[static LIMIT_KEY_LEN])
{
	struct hash_node *n = hash_first(&p->table, hash_bytes(key, LIMIT_KEY_LEN));

	for (; n; n = hash_next(n)) {
		struct limit_entry *e = (struct limit_entry *)n;

		if (!memcmp(e->b->key, key, LIMIT_KEY_LEN))
			return e;
	}
	return NULL;
}

/* The kind of a key is a constant of ours. */
static struct pool *pool_of_key(struct limit_table *t, const uint8_t key[static LIMIT_KEY_LEN])
{
	int pool = pool_of(key[0]);

	assert(pool >= 0);
	return &t->pool[pool];
}

struct limit_entry *limit_table_find(struct limit_table *t, const uint8_t key[static LIMIT_KEY_LEN])
{
	return find(pool_of_key(t, key), key);
}

struct limit_entry *limit_table_get(struct limit_table *t, const uint8_t key[static LIMIT_KEY_LEN],
				    uint32_t tokens, uint64_t now_ms)
{
	struct pool *p = pool_of_key(t, key);
	struct limit_entry *e = find(p, key);

	if (e) {
		e->b->used_ms = now_ms;
		unlink_entry(p, e);
		link_newest(p, e);
		return e;
	}
	e = take(t, p);
	if (!e)
		return NULL;
	if (hash_insert(&p->table, &e->node, hash_bytes(key, LIMIT_KEY_LEN))) {
		--*p->used; /* it fails for the first of all alone */
		free(e);
		return NULL;
	}
	memcpy(e->b->key, key, LIMIT_KEY_LEN);
	e->b->tokens_milli = (int64_t)tokens * 1000;
	e->b->filled_ms = e->b->used_ms = now_ms;
	link_newest(p, e);
	return e;
}

uint64_t limit_table_sum(const struct limit_table *t, const void *p, size_t len)
{
	return hash_keyed(t->memory->key, p, len);
}

/* ---- what an earlier process left ---- */

static bool makes_sense(const struct limit_bucket *b, size_t pool, uint64_t now_ms)
{
	return pool_of(b->key[0]) == (int)pool && b->tokens_milli <= TOKENS_MAX &&
	       b->tokens_milli >= -TOKENS_MAX && b->filled_ms <= now_ms && b->used_ms <= now_ms;
}

static int by_use(const void *a, const void *b)
{
	const struct limit_bucket *x = a, *y = b;

	return x->used_ms < y->used_ms ? -1 : x->used_ms > y->used_ms;
}

static int take_over(struct limit_table *t, size_t pool, uint64_t now_ms)
{
	struct pool *p = &t->pool[pool];
	size_t n = *p->used <= t->entries_max ? (size_t)*p->used : 0, kept = 0;

	qsort(p->buckets, n, sizeof(*p->buckets), by_use);
	for (size_t i = 0; i < n; i++) {
		struct limit_bucket *b = &p->buckets[kept];
		struct limit_entry *e;

		*b = p->buckets[i];
		if (!makes_sense(b, pool, now_ms) || find(p, b->key))
			continue;
		e = calloc(1, sizeof(*e));
		if (!e || hash_insert(&p->table, &e->node, hash_bytes(b->key, LIMIT_KEY_LEN))) {
			free(e);
			return -ENOMEM;
		}
		e->b = b;
		link_newest(p, e);
		kept++;
	}
	*p->used = kept;
	return 0;
}

struct limit_table *limit_table_new(size_t entries_max, int fd, uint64_t now_ms)
{
	struct limit_table *t = calloc(1, sizeof(*t));
	struct memory *m;

	if (!t)
		return NULL;
	t->entries_max = entries_max;
	t->memory_len = memory_len(entries_max);
	m = t->memory = map(fd, t->memory_len);
	if (!m) {
		free(t);
		return NULL;
	}
	for (size_t i = 0; i < POOLS; i++) {
		t->pool[i].buckets = m->bucket + i * entries_max;
		t->pool[i].used = &m->used[i];
	}
	if (!m->key[0] && !m->key[1] && secret_random(m->key, sizeof(m->key)))
		goto fail;
	for (size_t i = 0; i < POOLS; i++) {
		if (take_over(t, i, now_ms))
			goto fail;
	}
	return t;
fail:
	limit_table_free(t);
	errno = ENOMEM;
	return NULL;
}
