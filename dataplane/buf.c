/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "buf.h"

#include <stdlib.h>
#include <sys/mman.h>

/* Untouched pages of a mapping cost nothing: large pools are cheap until they are needed. */
static void *map(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

struct buf *buf_pool(struct worker *w, unsigned count, void (*done)(struct worker *, struct buf *))
{
	struct buf *pool = calloc(count, sizeof(*pool));
	uint8_t *mem = map((size_t)count * BUF_BYTES);

	if (!pool || !mem) {
		free(pool);
		if (mem)
			munmap(mem, (size_t)count * BUF_BYTES);
		return NULL;
	}
	for (unsigned i = 0; i < count; i++) {
		pool[i].mem = mem + (size_t)i * BUF_BYTES;
		pool[i].id = (uint16_t)i;
		pool[i].w = w;
		pool[i].done = done;
		pool[i].next = i + 1 < count ? &pool[i + 1] : NULL;
	}
	return pool;
}

void buf_pool_free(struct buf *pool, unsigned count)
{
	if (!pool)
		return;
	munmap(pool[0].mem, (size_t)count * BUF_BYTES);
	free(pool);
}

void buf_pool_rest(struct buf *pool, const struct buf *free, unsigned count)
{
	unsigned n = 0;

	for (; free; free = free->next)
		n++;
	if (n == count)
		(void)madvise(pool[0].mem, (size_t)count * BUF_BYTES, MADV_DONTNEED);
}

struct txbatch *txbatch_pool(unsigned count)
{
	struct txbatch *pool = calloc(count, sizeof(*pool));
	uint8_t *mem = map((size_t)count * BUF_BYTES);

	if (!pool || !mem) {
		free(pool);
		if (mem)
			munmap(mem, (size_t)count * BUF_BYTES);
		return NULL;
	}
	for (unsigned i = 0; i < count; i++) {
		pool[i].mem = mem + (size_t)i * BUF_BYTES;
		pool[i].next = i + 1 < count ? &pool[i + 1] : NULL;
	}
	return pool;
}

void txbatch_pool_free(struct txbatch *pool, unsigned count)
{
	if (!pool)
		return;
	munmap(pool[0].mem, (size_t)count * BUF_BYTES);
	free(pool);
}

void txbatch_pool_rest(struct txbatch *pool, const struct txbatch *free, unsigned count)
{
	unsigned n = 0;

	for (; free; free = free->next)
		n++;
	if (n == count)
		(void)madvise(pool[0].mem, (size_t)count * BUF_BYTES, MADV_DONTNEED);
}
