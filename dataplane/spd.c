/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "spd.h"

#include <errno.h>
#include <stdlib.h>

#include "stats.h"

struct entry {
	struct sa_out *sa; /* NULL: a trap */
	struct peer *peer;
	struct ts local, remote;
	uint32_t rank;
};

/* Immutable once published: every change makes a new one. */
struct set {
	struct rtab_node node;
	struct rcu_node rcu;
	uint8_t v6, len; /* key: family, prefix length, bits */
	uint64_t bits[2];
	size_t count;
	struct entry e[];
};

int ts_set(struct ts *t, const struct dp_ts *d)
{
	const struct addr *side[2] = { &d->from, &d->to };
	uint64_t *out[2] = { t->from, t->to };

	memset(t, 0, sizeof(*t));
	if (d->from.family != d->to.family || !addr_len(&d->from) ||
	    (d->port_from > d->port_to && (d->port_from != UINT16_MAX || d->port_to)))
		return -EINVAL;
	t->ver = d->from.family == AF_INET ? 4 : 6;
	t->proto = d->proto;
	t->port_from = d->port_from;
	t->port_to = d->port_to;
	for (int i = 0; i < 2; i++) {
		const uint8_t *b = side[i]->b;

		if (t->ver == 4) {
			out[i][1] = get32(b);
		} else {
			out[i][0] = (uint64_t)get32(b) << 32 | get32(b + 4);
			out[i][1] = (uint64_t)get32(b + 8) << 32 | get32(b + 12);
		}
	}
	if (t->from[0] > t->to[0] || (t->from[0] == t->to[0] && t->from[1] > t->to[1]))
		return -EINVAL;
	return 0;
}

/* Length of the smallest prefix that covers from..to. */
static uint8_t cover(const struct ts *t)
{
	if (t->ver == 4) {
		uint32_t d = (uint32_t)(t->from[1] ^ t->to[1]);

		return d ? (uint8_t)__builtin_clz(d) : 32;
	}
	if (t->from[0] != t->to[0])
		return (uint8_t)__builtin_clzll(t->from[0] ^ t->to[0]);
	if (t->from[1] != t->to[1])
		return (uint8_t)(64 + __builtin_clzll(t->from[1] ^ t->to[1]));
	return 128;
}

static void mask(bool v6, uint8_t len, const uint64_t a[2], uint64_t out[2])
{
	if (!v6) {
		out[0] = 0;
		out[1] = len ? a[1] & (~0ull << (32 - len)) : 0;
		return;
	}
	out[0] = len >= 64 ? a[0] : len ? a[0] & (~0ull << (64 - len)) : 0;
	out[1] = len == 128 ? a[1] : len > 64 ? a[1] & (~0ull << (128 - len)) : 0;
}

static uint64_t key_hash(bool v6, uint8_t len, const uint64_t bits[2])
{
	return hash_mix(bits[0] ^ hash_mix(bits[1] + ((uint64_t)v6 << 40 | (uint64_t)len << 32)));
}

static struct set *find(const struct spd *s, bool v6, uint8_t len, const uint64_t bits[2])
{
	struct rtab_it it;
	struct rtab_node *n;

	for (n = rtab_first(&s->tab, key_hash(v6, len, bits), &it); n; n = rtab_next(&it)) {
		struct set *t = (struct set *)n;

		if (t->v6 == v6 && t->len == len && t->bits[0] == bits[0] && t->bits[1] == bits[1])
			return t;
	}
	return NULL;
}

static void set_free(struct rcu_node *n)
{
	free((struct set *)((char *)n - offsetof(struct set, rcu)));
}

static uint32_t width(const struct ts *t)
{
	return ts_opaque(t) ? 0 : (uint32_t)(t->port_to - t->port_from);
}

/* Narrower first: local prefix, then ports, then protocol. */
static uint32_t rank(const struct entry *e)
{
	uint32_t ports = width(&e->remote) + width(&e->local);

	return (uint32_t)cover(&e->local) << 18 | (131070 - ports) |
	       (e->local.proto || e->remote.proto ? 1u << 17 : 0);
}

static bool before(const struct entry *a, const struct entry *b)
{
	if (!a->sa != !b->sa)
		return a->sa != NULL;
	if (a->rank != b->rank)
		return a->rank > b->rank;
	return a->sa && (int32_t)(a->sa->generation - b->sa->generation) > 0;
}

static void len_ref(struct spd *s, bool v6, uint8_t len, int by)
{
	_Atomic uint64_t *word = &s->lens[v6][len / 64];
	uint64_t bit = 1ull << (len & 63), was = atomic_load_explicit(word, memory_order_relaxed);

	s->refs[v6][len] += (uint32_t)by;
	atomic_store_explicit(word, s->refs[v6][len] ? was | bit : was & ~bit,
			      memory_order_release);
}

static int insert(struct spd *s, struct rcu *r, const struct entry *e)
{
	bool v6 = e->remote.ver == 6;
	uint8_t len = cover(&e->remote);
	struct set *old, *fresh;
	uint64_t bits[2];
	size_t n, i = 0;

	mask(v6, len, e->remote.from, bits);
	old = find(s, v6, len, bits);
	n = old ? old->count : 0;
	fresh = malloc(sizeof(*fresh) + (n + 1) * sizeof(fresh->e[0]));
	if (!fresh)
		return -ENOMEM;
	memset(fresh, 0, sizeof(*fresh));
	fresh->node.h = key_hash(v6, len, bits);
	fresh->v6 = v6;
	fresh->len = len;
	memcpy(fresh->bits, bits, sizeof(bits));
	fresh->count = n + 1;
	while (i < n && !before(e, &old->e[i]))
		i++;
	if (old) {
		memcpy(fresh->e, old->e, i * sizeof(*e));
		memcpy(fresh->e + i + 1, old->e + i, (n - i) * sizeof(*e));
	}
	fresh->e[i] = *e;
	if (old) {
		rtab_swap(&s->tab, &old->node, &fresh->node);
		rcu_retire(r, &old->rcu, set_free);
		return 0;
	}
	if (rtab_add(&s->tab, r, &fresh->node)) {
		free(fresh);
		return -ENOMEM;
	}
	len_ref(s, v6, len, 1);
	return 0;
}

static bool is_dead(const struct entry *e)
{
	return !e->sa && !e->peer;
}

static bool is_meant(const struct entry *e, const struct sa_out *sa, const struct peer *p)
{
	return !is_dead(e) && e->sa == sa && (sa || e->peer == p);
}

/*
 * Without memory for a new set the entry dies where it stands: a pointer to an SA that will be freed must
 * not stay, and a worker that reads it meanwhile sees the SA, which lives until it has passed a quiet
 * point, or nothing. The next change of the set leaves it out.
 */
static void kill_in_place(struct set *t, const struct sa_out *sa, const struct peer *p)
{
	for (size_t i = 0; i < t->count; i++) {
		if (!is_meant(&t->e[i], sa, p))
			continue;
		__atomic_store_n(&t->e[i].sa, NULL, __ATOMIC_RELEASE);
		__atomic_store_n(&t->e[i].peer, NULL, __ATOMIC_RELEASE);
	}
}

/* Take out what has @sa, or with @sa NULL the trap of @p. */
static void cut(struct spd *s, struct rcu *r, const struct ts *remote, const struct sa_out *sa,
		const struct peer *p)
{
	bool v6 = remote->ver == 6;
	uint8_t len = cover(remote);
	struct set *old, *fresh;
	uint64_t bits[2];
	size_t keep = 0;

	mask(v6, len, remote->from, bits);
	old = find(s, v6, len, bits);
	if (!old)
		return;
	for (size_t i = 0; i < old->count; i++)
		keep += !is_dead(&old->e[i]) && !is_meant(&old->e[i], sa, p);
	if (keep == old->count)
		return;
	if (!keep) {
		rtab_del(&s->tab, &old->node);
		len_ref(s, v6, len, -1);
		rcu_retire(r, &old->rcu, set_free);
		return;
	}
	fresh = malloc(sizeof(*fresh) + keep * sizeof(fresh->e[0]));
	if (!fresh) {
		kill_in_place(old, sa, p);
		return;
	}
	*fresh = *old;
	fresh->count = 0;
	for (size_t i = 0; i < old->count; i++) {
		if (!is_dead(&old->e[i]) && !is_meant(&old->e[i], sa, p))
			fresh->e[fresh->count++] = old->e[i];
	}
	rtab_swap(&s->tab, &old->node, &fresh->node);
	rcu_retire(r, &old->rcu, set_free);
}

int spd_init(struct spd *s)
{
	memset(s, 0, sizeof(*s));
	return rtab_init(&s->tab);
}

void spd_free(struct spd *s)
{
	struct rtab_arr *a = atomic_load(&s->tab.arr);

	for (size_t i = 0; a && i <= a->mask; i++) {
		struct rtab_node *n = atomic_load(&a->slot[i]);

		if ((uintptr_t)n > 1)
			free((struct set *)n);
	}
	rtab_free(&s->tab);
}

void spd_del_sa(struct spd *s, struct rcu *r, struct sa_out *sa)
{
	for (size_t j = 0; j < sa->remote_count; j++)
		cut(s, r, &sa->ts[sa->local_count + j], sa, NULL);
}

int spd_add_sa(struct spd *s, struct rcu *r, struct sa_out *sa)
{
	for (size_t i = 0; i < sa->local_count; i++) {
		for (size_t j = 0; j < sa->remote_count; j++) {
			struct entry e = { .sa = sa, .peer = sa->peer };
			int rc;

			e.local = sa->ts[i];
			e.remote = sa->ts[sa->local_count + j];
			if (e.local.ver != e.remote.ver ||
			    (e.local.proto && e.remote.proto && e.local.proto != e.remote.proto))
				continue;
			e.rank = rank(&e);
			rc = insert(s, r, &e);
			if (rc) {
				spd_del_sa(s, r, sa);
				return rc;
			}
		}
	}
	return 0;
}

static void trap_ts(const struct prefix *net, struct ts *t)
{
	struct dp_ts d = { .from = net->addr, .to = net->addr, .port_to = UINT16_MAX };

	for (unsigned i = net->len; i < addr_bits(&net->addr); i++)
		d.to.b[i / 8] |= (uint8_t)(0x80 >> (i & 7));
	(void)ts_set(t, &d); /* a prefix is well-formed */
}

int spd_add_trap(struct spd *s, struct rcu *r, struct peer *p, const struct prefix *net)
{
	struct entry e = { .peer = p };

	trap_ts(net, &e.remote);
	return insert(s, r, &e);
}

void spd_del_trap(struct spd *s, struct rcu *r, struct peer *p, const struct prefix *net)
{
	struct ts t;

	trap_ts(net, &t);
	cut(s, r, &t, NULL, p);
}

/* The next longer-to-shorter length in use below *len; false at the end. */
static bool next_len(const struct spd *s, bool v6, int *len)
{
	for (int l = *len - 1; l >= 0;) {
		uint64_t w = atomic_load_explicit(&s->lens[v6][l / 64], memory_order_acquire);

		w &= ~0ull >> (63 - (l & 63));
		if (w) {
			*len = (l & ~63) + 63 - __builtin_clzll(w);
			return true;
		}
		l = (l & ~63) - 1;
	}
	return false;
}

struct spd_hit spd_lookup(const struct spd *s, const struct pkt *k)
{
	struct spd_hit hit = { 0 };
	bool v6 = k->ver == 6;
	int len = v6 ? 129 : 33;

	while (next_len(s, v6, &len)) {
		const struct set *t;
		uint64_t bits[2];

		mask(v6, (uint8_t)len, k->dst, bits);
		t = find(s, v6, (uint8_t)len, bits);
		for (size_t i = 0; t && i < t->count; i++) {
			const struct entry *e = &t->e[i];
			struct peer *peer = __atomic_load_n(&e->peer, __ATOMIC_RELAXED);
			struct sa_out *sa = __atomic_load_n(&e->sa, __ATOMIC_RELAXED);

			if (!peer || (hit.peer && peer != hit.peer))
				continue;
			if (!sa) {
				hit.peer = peer;
				continue;
			}
			if (ts_match(&e->remote, k, k->dst, k->dport, false) &&
			    ts_match(&e->local, k, k->src, k->sport, true)) {
				hit.sa = sa;
				hit.peer = peer;
				return hit;
			}
		}
	}
	return hit;
}

static void limits(struct sa_out *sa, const struct dp_sa *d)
{
	sa->soft_pkts = d->soft_pkts ? d->soft_pkts : d->esn ? 1ull << 48 : 1ull << 31;
	/* RFC 4303 s3.3.3: the counter must never cycle; with ESN we stop long before. */
	sa->hard_seq = d->esn ? 1ull << 62 : UINT32_MAX;
	sa->soft_bytes = d->soft_bytes ? d->soft_bytes : UINT64_MAX;
	sa->hard_bytes = d->hard_bytes ? d->hard_bytes : UINT64_MAX;
	sa->hard_pkts = d->hard_pkts ? d->hard_pkts : UINT64_MAX;
}

static int share(struct sa_out *sa, const struct dp_sa *d, unsigned workers)
{
	sa->other = aligned_alloc(64, workers * sizeof(*sa->other));
	if (!sa->other)
		return -ENOMEM;
	memset(sa->other, 0, workers * sizeof(*sa->other));
	sa->other_count = workers;
	for (unsigned i = 0; i < workers; i++) {
		if (esp_key_init(&sa->other[i].key, d->cipher, d->key, d->spi, d->esn, true))
			return -ENOMEM;
	}
	return 0;
}

int sa_out_new(const struct dp_sa *d, struct peer *peer, unsigned workers, struct sa_out **out)
{
	size_t n = d->local_count + d->remote_count;
	struct sa_out *sa;

	if (d->cipher >= DP_CIPHER_COUNT || d->key_len != dp_cipher_key_len(d->cipher) ||
	    !d->local_count || d->local_count > DP_TS_MAX || !d->remote_count ||
	    d->remote_count > DP_TS_MAX)
		return -EINVAL;
	sa = calloc(1, sizeof(*sa) + n * sizeof(sa->ts[0]));
	if (!sa)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		const struct dp_ts *t =
		    i < d->local_count ? &d->local[i] : &d->remote[i - d->local_count];

		if (ts_set(&sa->ts[i], t)) {
			free(sa);
			return -EINVAL;
		}
	}
	sa->local_count = d->local_count;
	sa->remote_count = d->remote_count;
	if (esp_key_init(&sa->key, d->cipher, d->key, d->spi, d->esn, true)) {
		free(sa);
		return -ENOMEM;
	}
	if (d->replay_window >= DP_WINDOW_SHARED && workers > 1 && share(sa, d, workers)) {
		sa_out_free(&sa->rcu);
		return -ENOMEM;
	}
	sa->peer = peer;
	sa->generation = d->generation;
	limits(sa, d);
	*out = sa;
	return 0;
}

void sa_out_free(struct rcu_node *n)
{
	struct sa_out *sa = (struct sa_out *)((char *)n - offsetof(struct sa_out, rcu));

	for (unsigned i = 0; i < sa->other_count; i++)
		esp_key_clear(&sa->other[i].key);
	free(sa->other);
	esp_key_clear(&sa->key);
	free(sa);
}

enum dp_verdict sa_out_next_seq(struct sa_out *sa, unsigned n, uint64_t bytes, uint64_t *first)
{
	uint64_t was;

	if (count_get(&sa->bytes) >= sa->hard_bytes || count_get(&sa->pkts) >= sa->hard_pkts)
		return DP_DROP_HARD_LIMIT;
	/* Looked at before the add, so that a stopped SA does not count on towards its wrap. */
	if (atomic_load_explicit(&sa->seq, memory_order_relaxed) + n > sa->hard_seq)
		return DP_DROP_SEQ_EXHAUSTED;
	was = atomic_fetch_add_explicit(&sa->seq, n, memory_order_relaxed);
	if (was + n > sa->hard_seq)
		return DP_DROP_SEQ_EXHAUSTED;
	*first = was + 1;
	atomic_fetch_add_explicit(&sa->pkts, n, memory_order_relaxed);
	atomic_fetch_add_explicit(&sa->bytes, bytes, memory_order_relaxed);
	return DP_OUT_PKT;
}
