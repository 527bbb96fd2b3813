/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef POLICY_LIMIT_TABLE_H
#define POLICY_LIMIT_TABLE_H

/*
 * Theory: the buckets that limit.c fills and empties, found by their keys. There are pools, each with room of its
 * own: whoever floods one of them with keys that he makes up pushes nothing out of another.
 *
 * Buckets lie in a memfd of the parent's, which outlives the process: who can make it crash is counted on by
 * the next one. That one trusts nothing of it. A bucket that makes no sense is left out, and what links buckets
 * to each other is each process's own.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hash.h"

#define LIMIT_KEY_LEN 24

/* Which pool a bucket is in, and of what kind there: the first byte of its key. */
enum limit_kind {
	LIMIT_DOOR = 'd',	 /* sessions of a prefix */
	LIMIT_FAILURES = 'f',	 /* wrong passwords of a prefix */
	LIMIT_HOMES = 'h',	 /* of the configuration: letters of a home */
	LIMIT_LOGINS = 'l',	 /* letters of who is logged in */
	LIMIT_LOGINS_BYTES = 'L', /* and their bytes */
	LIMIT_SENDERS = 's',	 /* letters of whom a stranger says that he is */
	LIMIT_SENDERS_BYTES = 'S',
	LIMIT_RECIPIENTS = 'r',
	LIMIT_RECIPIENTS_BYTES = 'R',
};

struct limit_bucket {
	uint8_t key[LIMIT_KEY_LEN]; /* begins with its enum limit_kind; 0: free */
	/* thousandths of a token, so that slow refills are not lost; < 0: a debt */
	int64_t tokens_milli;
	uint64_t filled_ms;	    /* monotonic, as is */
	uint64_t used_ms;
};

struct limit_entry {
	struct hash_node node;		 /* first member: a node is its entry */
	struct limit_entry *prev, *next; /* by last use, oldest first */
	struct limit_bucket *b;
	uint32_t sessions;
};

struct limit_table;

/** limit_table_memfd() - What limit_table_new() wants; its size is sealed. -errno. */
int limit_table_memfd(size_t entries_max);
/**
 * limit_table_new() - Pools of @entries_max buckets each.
 * @fd: of limit_table_memfd() with the same number, stays the caller's; -1: the buckets are this process's alone.
 *
 * NULL on an error: -EINVAL (@fd is no such memfd) or -ENOMEM in errno.
 */
struct limit_table *limit_table_new(size_t entries_max, int fd, uint64_t now_ms);
void limit_table_free(struct limit_table *t);
/** limit_table_find() - NULL: there is none. */
struct limit_entry *limit_table_find(struct limit_table *t, const uint8_t key[static LIMIT_KEY_LEN]);
/**
 * limit_table_get() - As it is, or a new one with @tokens.
 *
 * When its pool is full the one that was quiet longest goes, never one with sessions. NULL: all have some, or
 * memory is out.
 */
struct limit_entry *limit_table_get(struct limit_table *t, const uint8_t key[static LIMIT_KEY_LEN],
				    uint32_t tokens, uint64_t now_ms);
/** limit_table_sum() - Of a name, the same over restarts; nobody outside can tell which names share one. */
uint64_t limit_table_sum(const struct limit_table *t, const void *p, size_t len);

#endif
