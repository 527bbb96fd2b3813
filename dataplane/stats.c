/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "stats.h"

#include <stddef.h>

static const char *const words[] = {
#define WORD(e, w) [e] = w,
	DP_VERDICTS(WORD)
#undef WORD
};

static const char *const features[DP_F_COUNT] = {
	"vnet_hdr",  "tso",	   "uso",	 "udp_gso",	"udp_gro", "merge_tcp",
	"merge_udp", "recv_multi", "read_multi", "ring_locked", "defer",
};

const char *dp_verdict_word(enum dp_verdict v)
{
	return v < DP_VERDICT_COUNT ? words[v] : NULL;
}

const char *dp_feature_word(unsigned bit)
{
	for (int i = 0; i < DP_F_COUNT; i++) {
		if (bit == 1u << i)
			return features[i];
	}
	return NULL;
}

void stats_sum(const struct stats *s, struct dp_stats *to)
{
	for (int i = 0; i < DP_VERDICT_COUNT; i++)
		to->n[i] += count_get(&s->n[i]);
}
