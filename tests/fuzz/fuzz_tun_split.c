/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One read from the TUN: ten bytes of virtio-net header, then the packet; whole, cut to fit, answered. */
#include <stdlib.h>
#include <string.h>

#include "esp.h"
#include "fit.h"
#include "too_big.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* How the worker would make it fit: 0 as it is. */
static void cut(struct split *s, unsigned max)
{
	uint8_t out[TOO_BIG_V6_MAX];

	if (!max)
		return;
	if (too_big_build(s->p, &s->k, s->k.total, (uint16_t)max, out) > sizeof(out))
		abort();
	if (!split_recut(s, max))
		(void)split_fragment(s, max);
}

static void one(const uint8_t *data, size_t len, unsigned max)
{
	struct virtio_net_hdr v;
	struct piece piece;
	struct split s;
	uint8_t *p;
	bool clamped;

	memcpy(&v, data, VNET_LEN);
	len -= VNET_LEN;
	p = malloc(len + SPLIT_SPARE);
	if (!p)
		abort();
	memcpy(p, data + VNET_LEN, len);
	if (split_parse(&s, p, len) == DP_OUT_PKT &&
	    split_init(&s, &v, 1400, &clamped) == DP_OUT_PKT) {
		size_t total = 0;

		cut(&s, max);
		while (split_next(&s, &piece)) {
			uint8_t save[ESP_TRAILER_MAX];

			/* As the worker does: what is behind is overwritten and restored. */
			memcpy(save, piece.data + piece.len, sizeof(save));
			memset(piece.data + piece.len, 0xee, sizeof(save));
			memcpy(piece.data + piece.len, save, sizeof(save));
			total += piece.len;
		}
		if (total != split_bytes(&s, 0, s.take))
			abort();
	}
	free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (len < VNET_LEN || len > 65536)
		return 0;
	one(data, len, 0);
	one(data, len, 76);
	one(data, len, 1280);
	return 0;
}
