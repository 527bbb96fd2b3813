/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One read from the TUN: ten bytes of virtio-net header, then the packet. */
#include <stdlib.h>
#include <string.h>

#include "esp.h"
#include "offload.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct virtio_net_hdr v;
	struct piece piece;
	struct split s;
	uint8_t *p;
	bool clamped;

	if (len < VNET_LEN || len > 65536)
		return 0;
	memcpy(&v, data, VNET_LEN);
	len -= VNET_LEN;
	p = malloc(len + SPLIT_SPARE);
	if (!p)
		abort();
	memcpy(p, data + VNET_LEN, len);
	if (split_parse(&s, p, len) == DP_OUT_PKT &&
	    split_init(&s, &v, 1400, &clamped) == DP_OUT_PKT) {
		size_t total = 0;

		while (split_next(&s, &piece)) {
			uint8_t save[ESP_TRAILER_MAX];

			/* As the worker does: what is behind is overwritten and restored. */
			memcpy(save, piece.data + piece.len, sizeof(save));
			memset(piece.data + piece.len, 0xee, sizeof(save));
			memcpy(piece.data + piece.len, save, sizeof(save));
			total += piece.len;
		}
		if (total != split_bytes(&s))
			abort();
	}
	free(p);
	return 0;
}
