/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Sizes: what fits into an outer packet, and dummies of a wished size. */
#include <string.h>

#include "esp.h"
#include "probe.h"

#define UDP_HEAD 8

static const uint8_t mark[8] = "PSTNprb1";

uint16_t dp_tun_mtu(uint16_t outer_mtu, int family, enum dp_cipher cipher)
{
	unsigned head = (family == AF_INET ? 20 : 40) + UDP_HEAD;
	struct esp_shape s = esp_shape(cipher);

	return outer_mtu < head ? 0 : (uint16_t)esp_room(&s, outer_mtu - head);
}

size_t probe_build(const struct esp_shape *s, const uint8_t *token, size_t token_len,
		   size_t udp_bytes, uint8_t *out, size_t cap)
{
	size_t len = token_len ? sizeof(mark) + 1 + token_len : 0, want = esp_room(s, udp_bytes);

	if (want > cap)
		want = cap;
	if (len < want)
		memset(out + len, 0, want - len);
	if (token_len) {
		memcpy(out, mark, sizeof(mark));
		out[sizeof(mark)] = (uint8_t)token_len;
		memcpy(out + sizeof(mark) + 1, token, token_len);
	}
	return len > want ? len : want;
}

size_t probe_parse(const uint8_t *content, size_t len, const uint8_t **token)
{
	size_t n;

	if (len < sizeof(mark) + 2 || memcmp(content, mark, sizeof(mark)))
		return 0;
	n = content[sizeof(mark)];
	if (!n || n > DP_TOKEN_MAX || sizeof(mark) + 1 + n > len)
		return 0;
	*token = content + sizeof(mark) + 1;
	return n;
}
