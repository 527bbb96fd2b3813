/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TESTS_JOURNAL_BENCH_H
#define TESTS_JOURNAL_BENCH_H

/* A journal on a disk of the test's, and records that are known by their number alone. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crc32c.h"
#include "journal.h"
#include "log.h"
#include "simvfs.h"

#define SEG	 (256 * 1024)
#define RECS_MAX 4096

/* A record of the tests: number, length by number, bytes by number. */
struct bench {
	struct simvfs *disk;
	struct worker *worker;
	struct journal *j;
	int seen[RECS_MAX];    /* by replay */
	int acked[RECS_MAX];   /* waiter said 0 */
	int refused[RECS_MAX]; /* waiter said < 0, or append did */
	int doubted[RECS_MAX];
	bool keep[RECS_MAX];
	struct journal_pos pos[RECS_MAX];
	int strange;
};

struct wait {
	struct journal_waiter w;
	struct bench *b;
	uint32_t n;
};

static size_t length(uint32_t n)
{
	static const size_t sizes[] = { 4, 100, 4000, 32768 - 4096 - 44, 32768 - 44, 33000, 90000 };

	return sizes[n % 7];
}

static void fill(uint8_t *p, uint32_t n)
{
	memcpy(p, &n, 4);
	for (size_t i = 4; i < length(n); i++)
		p[i] = (uint8_t)(n * 31 + i * 7);
}

static int on_record(void *arg, struct journal_pos pos, uint64_t rid, const uint8_t *data,
		     size_t len)
{
	static uint8_t want[128 * 1024];
	struct bench *b = arg;
	uint32_t n;

	(void)pos;
	(void)rid;
	if (len == 1 && !data[0])
		return 0; /* clean end */
	memcpy(&n, data, 4);
	fill(want, n);
	if (len < 4 || n >= RECS_MAX || len != length(n) || memcmp(want, data, len))
		b->strange++;
	else
		b->seen[n]++;
	return 0;
}

static int start(struct bench *b)
{
	struct journal_config cfg = { .vfs = &b->disk->vfs,
				      .worker = b->worker,
				      .segment_bytes = SEG,
				      .record = on_record,
				      .arg = b };

	memset(b->seen, 0, sizeof(b->seen));
	b->strange = 0;
	b->j = NULL;
	return journal_open(&b->j, &cfg);
}

static struct bench *bench_new(uint32_t seed)
{
	struct bench *b = calloc(1, sizeof(*b));

	b->disk = simvfs_new(seed);
	b->worker = worker_new(NULL);
	return b;
}

static void bench_free(struct bench *b)
{
	journal_abandon(b->j);
	worker_free(b->worker);
	simvfs_free(b->disk);
	free(b);
}

static void on_done(struct journal_waiter *w, int rc, struct journal_pos pos)
{
	struct wait *x = (struct wait *)(void *)w;

	x->b->pos[x->n] = pos;
	if (rc && rc != -ECANCELED && !x->b->disk->dead) /* the dead tell nobody */
		x->b->refused[x->n]++;
	else if (!rc)
		x->b->acked[x->n]++;
	free(x);
}

static void on_doubt(struct journal_waiter *w, int rc)
{
	struct wait *x = (struct wait *)(void *)w;

	assert_true(rc < 0);
	x->b->doubted[x->n]++;
}

static void append(struct bench *b, uint32_t n, bool keep)
{
	static uint8_t buf[128 * 1024];
	struct wait *x = calloc(1, sizeof(*x));

	x->w = (struct journal_waiter){ .done = on_done, .doubt = on_doubt };
	x->b = b;
	x->n = n;
	b->keep[n] = keep;
	fill(buf, n);
	if (journal_append(b->j, buf, length(n), keep, &x->w)) {
		b->refused[n] += !b->disk->dead;
		free(x);
	}
}

/* The dead process's memory: its waiters never come back. */
static void cut_off(struct bench *b)
{
	worker_drain(b->worker); /* all fails, except what is already done */
	journal_abandon(b->j);
	b->j = NULL;
}

#endif
