/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "esp.h"

#include <endian.h>
#include <string.h>

static size_t make_aad(const struct esp_key *k, uint64_t seq, uint8_t aad[static 12])
{
	uint64_t be = htobe64(seq);

	memcpy(aad, &k->spi, 4);
	if (k->esn) {
		memcpy(aad + 4, &be, 8);
		return 12;
	}
	memcpy(aad + 4, (uint8_t *)&be + 4, 4);
	return 8;
}

int esp_seal(const struct esp_key *k, uint64_t seq, uint8_t next_header, uint8_t *in, size_t len,
	     uint8_t *out)
{
	uint8_t nonce[AEAD_NONCE_LEN], aad[12];
	size_t pad = -(len + 2) & 3;
	uint64_t be = htobe64(seq);
	uint32_t lo = htobe32((uint32_t)seq);

	/* RFC 4303 s2.4: the pad is 1, 2, 3; pad length and next header end on a 4-byte boundary. */
	for (size_t i = 0; i < pad; i++)
		in[len + i] = (uint8_t)(i + 1);
	in[len + pad] = (uint8_t)pad;
	in[len + pad + 1] = next_header;

	memcpy(out, &k->spi, 4);
	memcpy(out + 4, &lo, 4);
	memcpy(out + 8, &be, 8);
	memcpy(nonce, k->salt, AEAD_SALT_LEN);
	memcpy(nonce + AEAD_SALT_LEN, &be, 8);
	return aead_seal(k->aead, nonce, aad, make_aad(k, seq, aad), in, len + pad + 2,
			 out + ESP_HEAD_LEN);
}

enum dp_verdict esp_unpad(uint8_t *text, size_t len, struct esp_inner *inner)
{
	size_t pad;

	if (len < 2)
		return DP_DROP_ESP_SHORT;
	pad = text[len - 2];
	if (pad + 2 > len)
		return DP_DROP_PAD;
	/* RFC 4303 s2.4: the receiver SHOULD look at the padding. */
	for (size_t i = 0; i < pad; i++) {
		if (text[len - 2 - pad + i] != (uint8_t)(i + 1))
			return DP_DROP_PAD;
	}
	inner->data = text;
	inner->len = len - 2 - pad;
	inner->next_header = text[len - 1];
	return DP_IN_PKT;
}

enum dp_verdict esp_open(const struct esp_key *k, uint64_t seq, uint8_t *pkt, size_t len,
			 struct esp_inner *inner)
{
	uint8_t nonce[AEAD_NONCE_LEN], aad[12];
	size_t text;

	if (len < ESP_MIN_LEN || (len & 3))
		return DP_DROP_ESP_SHORT;
	text = len - ESP_HEAD_LEN - AEAD_ICV_LEN;
	memcpy(nonce, k->salt, AEAD_SALT_LEN);
	memcpy(nonce + AEAD_SALT_LEN, pkt + 8, 8);
	if (aead_open(k->aead, nonce, aad, make_aad(k, seq, aad), pkt + ESP_HEAD_LEN, text))
		return DP_DROP_ICV;
	return esp_unpad(pkt + ESP_HEAD_LEN, text, inner);
}
