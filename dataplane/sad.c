/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sad.h"

#include <errno.h>
#include <stdlib.h>

_Static_assert(REPLAY_WINDOW_MAX == DP_WINDOW_SHARED, "what may be announced can be had");

int sa_in_new(const struct dp_sa *d, struct peer *peer, uint8_t worker, struct sa_in **out)
{
	size_t n = d->local_count + d->remote_count;
	struct sa_in *sa;

	if (d->cipher >= DP_CIPHER_COUNT || d->key_len != dp_cipher_key_len(d->cipher) ||
	    !d->local_count || d->local_count > DP_TS_MAX || !d->remote_count ||
	    d->remote_count > DP_TS_MAX || d->replay_window > REPLAY_WINDOW_MAX)
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
	sa->replay = replay_new(d->replay_window, d->esn);
	if (!sa->replay || esp_key_init(&sa->key, d->cipher, d->key, d->spi, d->esn, false)) {
		sa_in_free(&sa->rcu);
		return -ENOMEM;
	}
	sa->node.h = hash_mix(d->spi);
	sa->peer = peer;
	sa->worker = worker;
	sa->generation = d->generation;
	sa->soft_pkts = d->soft_pkts ? d->soft_pkts : d->esn ? 1ull << 48 : 1ull << 31;
	sa->soft_bytes = d->soft_bytes ? d->soft_bytes : UINT64_MAX;
	sa->hard_bytes = d->hard_bytes ? d->hard_bytes : UINT64_MAX;
	sa->hard_pkts = d->hard_pkts ? d->hard_pkts : UINT64_MAX;
	sa->line = d->line;
	*out = sa;
	return 0;
}

void sa_in_free(struct rcu_node *n)
{
	struct sa_in *sa = (struct sa_in *)((char *)n - offsetof(struct sa_in, rcu));

	esp_key_clear(&sa->key);
	replay_free(sa->replay);
	free(sa);
}

bool selector_check(const struct sa_in *sa, const struct pkt *k)
{
	const struct ts *remote = sa->ts + sa->local_count;

	for (size_t i = 0; i < sa->local_count; i++) {
		if (!ts_match(&sa->ts[i], k, k->dst, k->dport, false))
			continue;
		for (size_t j = 0; j < sa->remote_count; j++) {
			if (ts_match(&remote[j], k, k->src, k->sport, true))
				return true;
		}
		return false; /* the remote side is the same for every local one */
	}
	return false;
}
