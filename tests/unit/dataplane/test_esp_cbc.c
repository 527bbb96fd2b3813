/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "esp.h"
#include "hex.h"
#include "vectors/aes_cbc.h"

static uint8_t key[DP_CIPHER_KEY_LEN_MAX];

static const EVP_MD *hash_of(enum dp_cipher c)
{
	return cbc_integ_len(c) == 32	? EVP_sha256()
	       : cbc_integ_len(c) == 48 ? EVP_sha384()
					: EVP_sha512();
}

/* The ICV by RFC 4303 s3.3.2.1 and RFC 4868, not by the code that is tested. */
static size_t add_icv(enum dp_cipher c, const uint8_t *integ, uint8_t *pkt, size_t len, bool esn,
		      uint32_t high)
{
	uint8_t mac[EVP_MAX_MD_SIZE];
	uint32_t be = htobe32(high);
	size_t n = len;

	if (esn) {
		memcpy(pkt + len, &be, 4);
		n += 4;
	}
	assert_non_null(HMAC(hash_of(c), integ, (int)cbc_integ_len(c), pkt, n, mac, NULL));
	memcpy(pkt + len, mac, cbc_icv_len(c));
	return len + cbc_icv_len(c);
}

static void set_key(enum dp_cipher c, const char *aes)
{
	struct hex h = hex(aes);

	for (size_t i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)(0xc0 + i);
	memcpy(key, h.b, h.len);
	assert_int_equal(h.len, cbc_key_len(c));
}

static void cbc_opens_what_rfc_3602_encrypted(void **state)
{
	enum dp_cipher c = DP_AES_128_CBC_SHA256;

	(void)state;
	for (size_t i = 0; i < sizeof(cbc_vectors) / sizeof(cbc_vectors[0]); i++) {
		const struct cbc_vector *v = &cbc_vectors[i];
		struct hex iv = hex(v->iv), ct = hex(v->cipher), text = hex(v->text);
		uint8_t pkt[200] = { 0, 0, 0x43, 0x21, 0, 0, 0, 9 };
		struct cbc *a;

		set_key(c, v->key);
		a = cbc_new(c, key, 0);
		memcpy(pkt + 8, iv.b, iv.len);
		memcpy(pkt + CBC_HEAD_LEN, ct.b, ct.len);
		add_icv(c, key + 16, pkt, CBC_HEAD_LEN + ct.len, false, 0);
		assert_int_equal(cbc_open(a, 9, false, pkt, ct.len), 0);
		assert_memory_equal(pkt + CBC_HEAD_LEN, text.b, text.len);
		cbc_free(a);
	}
}

static void esp_opens_the_packets_of_rfc_3602(void **state)
{
	(void)state;
	for (enum dp_cipher c = DP_AES_128_CBC_SHA256; c <= DP_AES_128_CBC_SHA512; c++) {
		for (size_t i = 0; i < 2 * sizeof(cbc_esp_vectors) / sizeof(*cbc_esp_vectors);
		     i++) {
			const struct cbc_esp_vector *v = &cbc_esp_vectors[i / 2];
			struct hex h = hex(v->packet), inner = hex(v->inner);
			bool esn = i & 1;
			uint8_t pkt[256];
			struct esp_inner in;
			struct esp_key k;
			uint32_t spi, lo;
			uint64_t seq;
			size_t len;

			memcpy(pkt, h.b, h.len);
			memcpy(&spi, pkt, 4);
			memcpy(&lo, pkt + 4, 4);
			seq = be32toh(lo) | (esn ? 7ull << 32 : 0);
			set_key(c, v->key);
			assert_int_equal(esp_key_init(&k, c, key, spi, esn, false), 0);
			len = add_icv(c, key + 16, pkt, h.len, esn, 7);
			assert_int_equal(esp_open(&k, seq, pkt, len, &in), DP_IN_PKT);
			assert_int_equal(in.next_header, v->next_header);
			assert_int_equal(in.len, inner.len);
			assert_memory_equal(in.data, inner.b, inner.len);
			esp_key_clear(&k);
		}
	}
}

static void what_is_sealed_has_the_form_of_the_rfcs(void **state)
{
	uint8_t in[100 + ESP_TRAILER_MAX] = "inner", pkt[300], again[300], ivs[64][16];

	(void)state;
	for (enum dp_cipher c = DP_AES_128_CBC_SHA256; c < DP_CIPHER_COUNT; c++) {
		const uint8_t *integ = key + cbc_key_len(c);
		struct esp_key k, other;
		size_t len;

		assert_int_equal(esp_key_init(&k, c, key, htobe32(0x1234), true, true), 0);
		assert_int_equal(esp_key_init(&other, c, key, htobe32(0x1234), true, true), 0);
		len = esp_len(&k.shape, 20);
		for (unsigned i = 0; i < 64; i++) {
			assert_int_equal(esp_seal(&k, (3ull << 32) + i, 4, in, 20, pkt), 0);
			memcpy(ivs[i], pkt + 8, 16);
			for (unsigned j = 0; j < i; j++)
				assert_memory_not_equal(ivs[i], ivs[j], 16);
			memcpy(again, pkt, sizeof(pkt));
			assert_int_equal(len,
					 add_icv(c, integ, again, len - cbc_icv_len(c), true, 3));
			assert_memory_equal(again, pkt, len);
		}
		/* Not a function of key and number: who knows both cannot tell the IV. */
		assert_int_equal(esp_seal(&other, (3ull << 32) + 63, 4, in, 20, pkt), 0);
		assert_memory_not_equal(ivs[63], pkt + 8, 16);
		esp_key_clear(&k);
		esp_key_clear(&other);
	}
}

static void every_truncation_and_every_flipped_bit_is_rejected(void **state)
{
	(void)state;
	for (enum dp_cipher c = DP_AES_128_CBC_SHA256; c < DP_CIPHER_COUNT; c++) {
		uint8_t in[40 + ESP_TRAILER_MAX] = { 1 }, pkt[200], copy[200];
		struct esp_key s, o;
		struct esp_inner got;
		size_t len;

		assert_int_equal(esp_key_init(&s, c, key, 5, true, true), 0);
		assert_int_equal(esp_key_init(&o, c, key, 5, true, false), 0);
		len = esp_len(&s.shape, 33);
		assert_int_equal(esp_seal(&s, 9, 4, in, 33, pkt), 0);
		for (size_t n = 0; n < len; n++) {
			uint8_t *exact = malloc(n + 1);

			memcpy(exact, pkt, n);
			assert_int_not_equal(esp_open(&o, 9, exact, n, &got), DP_IN_PKT);
			free(exact);
		}
		for (size_t bit = 0; bit < len * 8; bit++) {
			memcpy(copy, pkt, len);
			copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
			assert_int_equal(esp_open(&o, 9, copy, len, &got), DP_DROP_ICV);
		}
		memcpy(copy, pkt, len);
		assert_int_equal(esp_open(&o, 9 + (1ull << 32), copy, len, &got), DP_DROP_ICV);
		assert_int_equal(esp_open(&o, 9, copy, len, &got), DP_IN_PKT);
		esp_key_clear(&s);
		esp_key_clear(&o);
	}
}

/* Padding that is wrong under a right ICV: the sender's fault, no oracle. */
static void padding_is_judged_after_the_icv(void **state)
{
	enum dp_cipher c = DP_AES_128_CBC_SHA256;
	uint8_t text[16] = { 0 }, pkt[64] = { 0, 0, 1, 0, 0, 0, 0, 9 };
	struct cbc *a = cbc_new(c, key, 1);
	struct esp_inner in;
	struct esp_key k;

	(void)state;
	text[14] = 15;
	assert_int_equal(esp_key_init(&k, c, key, htobe32(0x100), false, false), 0);
	assert_int_equal(cbc_seal(a, 9, false, text, 16, pkt), 0);
	assert_int_equal(esp_open(&k, 9, pkt, 56, &in), DP_DROP_PAD);
	assert_int_equal(cbc_seal(a, 9, false, text, 16, pkt), 0);
	pkt[50] ^= 1;
	assert_int_equal(esp_open(&k, 9, pkt, 56, &in), DP_DROP_ICV);
	cbc_free(a);
	esp_key_clear(&k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cbc_opens_what_rfc_3602_encrypted),
		cmocka_unit_test(esp_opens_the_packets_of_rfc_3602),
		cmocka_unit_test(what_is_sealed_has_the_form_of_the_rfcs),
		cmocka_unit_test(every_truncation_and_every_flipped_bit_is_rejected),
		cmocka_unit_test(padding_is_judged_after_the_icv),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
