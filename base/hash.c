/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "hash.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "secret.h"

static uint64_t rotl(uint64_t v, int n)
{
	return v << n | v >> (64 - n);
}

static void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = rotl(v[1], 13) ^ v[0];
	v[0] = rotl(v[0], 32);
	v[2] += v[3];
	v[3] = rotl(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotl(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotl(v[1], 17) ^ v[2];
	v[2] = rotl(v[2], 32);
}

uint64_t hash_keyed(const uint64_t key[static 2], const void *p, size_t len)
{
	const uint8_t *in = p;
	uint64_t v[4], m;
	size_t left = len;

	v[0] = key[0] ^ 0x736f6d6570736575u;
	v[1] = key[1] ^ 0x646f72616e646f6du;
	v[2] = key[0] ^ 0x6c7967656e657261u;
	v[3] = key[1] ^ 0x7465646279746573u;
	for (;; in += 8, left -= 8) {
		size_t n = left < 8 ? left : 8;

		m = 0;
		for (size_t i = 0; i < n; i++)
			m |= (uint64_t)in[i] << (8 * i);
		if (left < 8)
			m |= (uint64_t)(len & 0xff) << 56;
		v[3] ^= m;
		sip_round(v);
		sip_round(v);
		v[0] ^= m;
		if (left < 8)
			break;
	}
	v[2] ^= 0xff;
	for (int i = 0; i < 4; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint64_t hash_bytes(const void *p, size_t len)
{
	static uint64_t key[2];

	if (!key[0] && !key[1] && secret_random(key, sizeof(key)))
		abort();
	return hash_keyed(key, p, len);
}

static int grow(struct hash_table *t)
{
	size_t buckets = t->buckets ? t->buckets * 2 : 16;
	struct hash_node **fresh = calloc(buckets, sizeof(*fresh));

	if (!fresh)
		return t->buckets ? 0 : -ENOMEM;
	for (size_t i = 0; i < t->buckets; i++) {
		struct hash_node *n = t->bucket[i], *next;

		for (; n; n = next) {
			next = n->next;
			n->next = fresh[n->h & (buckets - 1)];
			fresh[n->h & (buckets - 1)] = n;
		}
	}
	free(t->bucket);
	t->bucket = fresh;
	t->buckets = buckets;
	return 0;
}

int hash_insert(struct hash_table *t, struct hash_node *n, uint64_t h)
{
	if (t->count >= t->buckets) {
		int rc = grow(t);

		if (rc)
			return rc;
	}
	n->h = h;
	n->next = t->bucket[h & (t->buckets - 1)];
	t->bucket[h & (t->buckets - 1)] = n;
	t->count++;
	return 0;
}

void hash_remove(struct hash_table *t, struct hash_node *n)
{
	struct hash_node **at;

	if (!t->buckets)
		return;
	for (at = &t->bucket[n->h & (t->buckets - 1)]; *at; at = &(*at)->next) {
		if (*at == n) {
			*at = n->next;
			n->next = NULL;
			t->count--;
			return;
		}
	}
}

static struct hash_node *match(struct hash_node *n, uint64_t h)
{
	while (n && n->h != h)
		n = n->next;
	return n;
}

struct hash_node *hash_first(const struct hash_table *t, uint64_t h)
{
	return t->buckets ? match(t->bucket[h & (t->buckets - 1)], h) : NULL;
}

struct hash_node *hash_next(const struct hash_node *n)
{
	return match(n->next, n->h);
}

void hash_each(struct hash_table *t, void (*fn)(struct hash_node *n, void *arg), void *arg)
{
	for (size_t i = 0; i < t->buckets; i++) {
		struct hash_node *n = t->bucket[i], *next;

		for (; n; n = next) {
			next = n->next;
			fn(n, arg);
		}
	}
}

void hash_free(struct hash_table *t)
{
	free(t->bucket);
	*t = (struct hash_table){ 0 };
}
