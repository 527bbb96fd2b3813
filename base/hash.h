/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BASE_HASH_H
#define BASE_HASH_H

/*
 * Theory: a chained table of structs that embed a struct hash_node. Keys that
 * a stranger chooses (SPIs, addresses, names) go through SipHash-2-4 with a random key per
 * process, so that no input makes the chains long.
 */

#include <stddef.h>
#include <stdint.h>

struct hash_node {
	struct hash_node *next;
	uint64_t h;
};

struct hash_table {
	struct hash_node **bucket;
	size_t buckets; /* power of two, grows; 0 before the first insert */
	size_t count;
};

/** hash_bytes() - SipHash-2-4 under the process's key. */
uint64_t hash_bytes(const void *p, size_t len);
/** hash_keyed() - The same under a key of the caller's, for a sum that outlives the process. */
uint64_t hash_keyed(const uint64_t key[static 2], const void *p, size_t len);
/** hash_insert() - @n is linked under @h; the caller has looked for an equal one. 0 or -ENOMEM. */
int hash_insert(struct hash_table *t, struct hash_node *n, uint64_t h);
void hash_remove(struct hash_table *t, struct hash_node *n);
/** hash_first() and hash_next() - Nodes with exactly @h; the caller compares the key itself. */
struct hash_node *hash_first(const struct hash_table *t, uint64_t h);
struct hash_node *hash_next(const struct hash_node *n);
/** hash_each() - Calls @fn for every node; @fn may remove (and free) the node it is given. */
void hash_each(struct hash_table *t, void (*fn)(struct hash_node *n, void *arg), void *arg);
/** hash_free() - Frees the buckets, not the nodes. */
void hash_free(struct hash_table *t);

#endif
