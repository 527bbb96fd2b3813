/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "esp.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "secret.h"

/* ---- keys ---- */

size_t dp_cipher_key_len(enum dp_cipher c)
{
	return c < AEAD_COUNT ? aead_key_len(c) + AEAD_SALT_LEN : cbc_key_len(c) + cbc_integ_len(c);
}

struct esp_shape esp_shape(enum dp_cipher c)
{
	if (c < AEAD_COUNT)
		return (struct esp_shape){ ESP_HEAD_LEN, 4, AEAD_ICV_LEN };
	return (struct esp_shape){ CBC_HEAD_LEN, CBC_BLOCK, (uint8_t)cbc_icv_len(c) };
}

static struct aead *keyed(struct esp_key *k)
{
	if (!k->aead)
		k->aead = aead_new(k->cipher, k->key, k->seal);
	return k->aead;
}

int esp_key_init(struct esp_key *k, enum dp_cipher c, const uint8_t *key, uint32_t spi, bool esn,
		 bool seal)
{
	memset(k, 0, sizeof(*k));
	if (c >= DP_CIPHER_COUNT)
		return -EINVAL;
	k->shape = esp_shape(c);
	k->spi = spi;
	k->esn = esn;
	k->cipher = c;
	k->seal = seal;
	if (c >= AEAD_COUNT) {
		k->cbc = cbc_new(c, key, seal);
		return k->cbc ? 0 : -ENOMEM;
	}
	memcpy(k->key, key, aead_key_len(c));
	memcpy(k->salt, key + aead_key_len(c), AEAD_SALT_LEN);
	/* That it can be had is found out here and not at the first packet. */
	if (!keyed(k)) {
		esp_key_clear(k);
		return -ENOMEM;
	}
	aead_free(k->aead);
	k->aead = NULL;
	return 0;
}

void esp_key_clear(struct esp_key *k)
{
	aead_free(k->aead);
	cbc_free(k->cbc);
	secret_wipe(k, sizeof(*k));
}

/* ---- packets ---- */

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

int esp_seal(struct esp_key *k, uint64_t seq, uint8_t next_header, uint8_t *in, size_t len,
	     uint8_t *out)
{
	uint8_t nonce[AEAD_NONCE_LEN], aad[12];
	size_t pad = -(len + 2) & (k->shape.align - 1u);
	uint64_t be = htobe64(seq);
	uint32_t lo = htobe32((uint32_t)seq);

	/* RFC 4303 s2.4: the pad is 1, 2, 3...; pad length and next header end on the boundary. */
	for (size_t i = 0; i < pad; i++)
		in[len + i] = (uint8_t)(i + 1);
	in[len + pad] = (uint8_t)pad;
	in[len + pad + 1] = next_header;

	memcpy(out, &k->spi, 4);
	memcpy(out + 4, &lo, 4);
	if (k->cbc)
		return cbc_seal(k->cbc, seq, k->esn, in, len + pad + 2, out);
	memcpy(out + 8, &be, 8);
	memcpy(nonce, k->salt, AEAD_SALT_LEN);
	memcpy(nonce + AEAD_SALT_LEN, &be, 8);
	if (!keyed(k))
		return -EIO;
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

enum dp_verdict esp_open(struct esp_key *k, uint64_t seq, uint8_t *pkt, size_t len,
			 struct esp_inner *inner)
{
	uint8_t nonce[AEAD_NONCE_LEN], aad[12];
	size_t fixed = (size_t)k->shape.head_len + k->shape.icv_len, text;

	if (len < fixed + k->shape.align || ((len - fixed) & (k->shape.align - 1u)))
		return DP_DROP_ESP_SHORT;
	text = len - fixed;
	if (k->cbc) {
		if (cbc_open(k->cbc, seq, k->esn, pkt, text))
			return DP_DROP_ICV;
		return esp_unpad(pkt + CBC_HEAD_LEN, text, inner);
	}
	memcpy(nonce, k->salt, AEAD_SALT_LEN);
	memcpy(nonce + AEAD_SALT_LEN, pkt + 8, 8);
	if (!keyed(k) || aead_open(k->aead, nonce, aad, make_aad(k, seq, aad), pkt + ESP_HEAD_LEN, text))
		return DP_DROP_ICV;
	return esp_unpad(pkt + ESP_HEAD_LEN, text, inner);
}
