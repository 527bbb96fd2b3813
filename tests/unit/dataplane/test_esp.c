/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "esp.h"
#include "hex.h"
#include "probe.h"
#include "vectors/rfc_crypto.h"

struct vector {
	const char *source;
	enum dp_cipher cipher;
	const char *key; /* key and salt */
	bool esn;
	uint32_t seq_hi;
	const char *text; /* with padding and trailer */
	const char *packet;
};

/* draft-mcgrew-gcm-test-01 section 4 (ESP packets) and RFC 7634 appendix A. */
static const struct vector vectors[] = {
	{ "gcm-test 1", DP_AES_128_GCM_16, "4c80cdefbb5d10da906ac73c3613a6342e443b68", true,
	  0x87654321,
	  "45000048699a000080114db7c0a80102c0a801010a9bf15638d301000001000000000000045f7369"
	  "70045f756470037369700963796265726369747902646b000021000101020201",
	  "00004321000000004956ed7e3b244cfefecf537e729d5b07dc30df528dd22b768d1b98736696a6fd"
	  "348509fa13ceac34cfa2436f14a3f3cf65925bf1f4a13c5d15b21e1884f5ff6247aeabb786b93bce"
	  "61bc17d768fd9732459018148f6cbe722fd04796562dfdb4" },
	{ "gcm-test 2", DP_AES_128_GCM_16, "feffe9928665731c6d6a8f9467308308cafebabe", false, 0,
	  "4500003e698f000080114dccc0a80102c0a801010a980035002a2343b2d001000001000000000000"
	  "03736970096379626572636974790264"
	  "6b00000100010001",
	  "0000a5f80000000afacedbaddecaf888deb22cd9b07c72c16e3a65beeb8df304a5a5897d33ae530f"
	  "1ba76d5d114d2a5c3de81827c10e9a4f51330d0eec416642cfbb85a5b47e48a4ec3b9ba95d918bd1"
	  "83b70d3aa8bc6ee4c309e9d85a41ad4a" },
	{ "gcm-test 3", DP_AES_256_GCM_16,
	  "abbccddef00112233445566778899aababbccddef00112233445566778899aab11223344", false, 0,
	  "4500003069a6400080062690c0a801029389155e0a9e008b2dc57ee0000000007002400020bf0000"
	  "020405b40101040201020201",
	  "4a2cbfe3000000020102030405060708ff425c9b724599df7a3bcd510194e00d6a78107f1b0b1cbf"
	  "06efae9d65a5d763748a637985771d347f0545659f14e99def842d8eb335f4eecfdbf831824b4c49"
	  "15956c96" },
	{ "gcm-test 5", DP_AES_128_GCM_16, "3de09874b388e6491988d0c3607eae1f57690e43", true,
	  0x10101010,
	  "4500003c99c300008001cb7c40679318010101010800085c02004300616263646566676869"
	  "6a6b6c6d6e6f70717273747576776162636465666768"
	  "6901020201",
	  "42f67e3f101010104e280000a2fca1a3fba2caa4853cf9f0f22cb10d86dd83b0fec75691cf1a04b0"
	  "0d1138ec9c35791765acbd8701ad79845bf9fe3fba487bc91755e6662b4c8d0d1f5e22739530320a"
	  "e0d731cc978ecafaeae88f00e80d6e48" },
	{ "gcm-test 6", DP_AES_128_GCM_16, "3de09874b388e6491988d0c3607eae1f57690e43", true,
	  0x10101010, "4500001c42a200008001441f406793b6e00000020a00f5ff01020201",
	  "42f67e3f101010104e280000a2fca1a3fba2ca845e5df9f0f22c3e6e86dd831e1fc65792cd1af913"
	  "0e1379ed369f071f35e034be95f112e4e7d05d35" },
	{ "gcm-test 8", DP_AES_128_GCM_16, "abbccddef00112233445566778899aabdecaf888", true, 0,
	  "4500004933ba00007f119106c3fb1d10c2b1d326c02831ce0035dd7b800302d500004e20001e8c18"
	  "d75b81dc91baa0476b91b924b280389d92c963bac046ec959b6266c04722b14923010101",
	  "0000010000000001cafedebaceface7418a6fd42f72cbf4ab2a2ea901f73d814e3e7f243d95412e1"
	  "c349c1d2fbec168f9190feebaf2cb01984e65863965d7472b79da345e0e780191f0d2f0e0f496c22"
	  "6f2127b27db35724e7845d68651f57e65f354f75ff17015769623436" },
	{ "gcm-test 9", DP_AES_256_GCM_16,
	  "abbccddef00112233445566778899aababbccddef00112233445566778899aab73616c74", true,
	  0x156f3126,
	  "45080028732c00004006e9f90a0106120a01038f06b88023dd6bafbecb71260250101f646d540001",
	  "17405e67dd0db99b616e640169766563f2d69ecdbd5a0d5b8d5ef38bad4da58d1f278fde98ef6754"
	  "9d524a3018d9a57ff4d3a31ce673119e451626c2415771e3b7eebca614c89b35" },
	{ "gcm-test 12", DP_AES_128_GCM_16, "7d773d00c144c525ac619d18c84a3f47d9664267", false, 0,
	  "01020201", "335467aeffffffff43457e9182443bc6437f866bcb3f699fe9b0822bac961c4504bef270" },
	{ "gcm-test 14", DP_AES_256_GCM_16,
	  "6c6567616c697a656d6172696a75616e61616e64646f69746265666f726569617475726e", true,
	  0xffffffff,
	  "45000030da3a00008001df3bc0a80005c0a800010800c6cd02000700616263646566676869"
	  "6a6b6c6d6e6f7071727374"
	  "01020201",
	  "796b6963ffffffff333021696765746df97ab2aa356d8edce17644ac8c78e25dd24dedbb29ebf1b6"
	  "4a274b39b49c3a864cd3d78ca4ae68a32b42458fb57dbe821dcc63b9d0937ba2945f669368661a32"
	  "9fb4c053" },
	{ "RFC 7634 A", DP_CHACHA20_POLY1305,
	  "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3", false, 0,
	  "45000054a6f200004001e778c6336405c000020508005b7a3a080000553bec100007362708090a0b"
	  "0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f30313233"
	  "3435363701020204",
	  "0102030400000005101112131415161724039428b97f417e3c13753a4f05087b67c352e6a7fab1b9"
	  "82d466ef407ae5c614ee8099d52844eb61aa95dfab4c02f72aa71e7c4c4f64c9befe2facc638e8f3"
	  "cbec163fac469b502773f6fb94e664da9165b82829f641e076aaa8266b7fb0f7b11b369907e1ad43" },
};
#define VECTORS (sizeof(vectors) / sizeof(vectors[0]))

static size_t unhex(const char *s, uint8_t *out)
{
	size_t n = strlen(s) / 2;

	for (size_t i = 0; i < n; i++) {
		unsigned v;

		assert_int_equal(sscanf(s + 2 * i, "%2x", &v), 1);
		out[i] = (uint8_t)v;
	}
	return n;
}

static void set_key(struct esp_key *k, enum dp_cipher c, const uint8_t *key, uint32_t spi, bool esn,
		    int seal)
{
	assert_int_equal(esp_key_init(k, c, key, spi, esn, seal), 0);
}

static uint64_t load(const struct vector *v, struct esp_key *k, uint8_t *pkt, size_t *len)
{
	uint8_t key[64];
	uint32_t spi, lo;

	assert_int_equal(unhex(v->key, key), dp_cipher_key_len(v->cipher));
	*len = unhex(v->packet, pkt);
	memcpy(&spi, pkt, 4);
	memcpy(&lo, pkt + 4, 4);
	set_key(k, v->cipher, key, spi, v->esn, 0);
	return (uint64_t)v->seq_hi << 32 | be32toh(lo);
}

static bool kept_after(struct esp_key *k, struct esp_key *other, uint64_t now_ms)
{
	uint8_t in[20 + ESP_TRAILER_MAX] = { 0x45 }, out[100];
	struct esp_inner got;

	esp_key_use(k, now_ms);
	assert_int_equal(esp_seal(k, now_ms, ESP_NH_IPV4, in, 20, out), 0);
	esp_key_done(k);
	esp_key_use(other, now_ms);
	assert_int_equal(esp_open(other, now_ms, out, esp_len(&k->shape, 20), &got), DP_IN_PKT);
	esp_key_done(other);
	assert_int_equal(k->aead != NULL, other->aead != NULL);
	return k->aead != NULL;
}

static void esp_keeps_a_context_only_while_packets_follow_each_other(void **state)
{
	static const uint8_t key[36] = { 1, 2, 3 };

	(void)state;
	for (enum dp_cipher c = 0; c < AEAD_COUNT; c++) {
		struct esp_key s, o;

		assert_int_equal(esp_key_init(&s, c, key, 1, true, true), 0);
		assert_int_equal(esp_key_init(&o, c, key, 1, true, false), 0);
		assert_null(s.aead); /* installed and never used */
		assert_false(kept_after(&s, &o, 100000));
		assert_true(kept_after(&s, &o, 100000 + ESP_IDLE_MS - 1));
		assert_true(kept_after(&s, &o, 100000 + 2 * ESP_IDLE_MS - 2));
		assert_false(kept_after(&s, &o, 200000)); /* a dummy, much later */
		assert_false(kept_after(&s, &o, 215000));
		/* two dummies close to each other keep nothing, one amid data does not end what that keeps */
		esp_key_glance(&s, 230000);
		esp_key_glance(&s, 230010);
		assert_false(s.keep);
		assert_false(kept_after(&s, &o, 240000));
		assert_true(kept_after(&s, &o, 240010));
		esp_key_glance(&s, 240020);
		assert_true(s.keep);
		esp_key_clear(&s);
		esp_key_clear(&o);
	}
}

static void esp_opens_the_published_packets(void **state)
{
	(void)state;
	for (size_t i = 0; i < VECTORS; i++) {
		const struct vector *v = &vectors[i];
		uint8_t pkt[256], text[256];
		struct esp_inner in;
		struct esp_key k;
		size_t len, n = unhex(v->text, text);
		uint64_t seq = load(v, &k, pkt, &len);

		if (esp_open(&k, seq, pkt, len, &in) != DP_IN_PKT)
			fail_msg("%s does not open", v->source);
		assert_int_equal(in.next_header, text[n - 1]);
		assert_int_equal(in.len, n - 2 - text[n - 2]);
		assert_memory_equal(in.data, text, in.len);
		esp_key_clear(&k);
	}
}

static void aead_seals_the_published_packets(void **state)
{
	(void)state;
	for (size_t i = 0; i < VECTORS; i++) {
		const struct vector *v = &vectors[i];
		uint8_t pkt[256], text[256], out[256], key[64], nonce[12], aad[12];
		size_t len = unhex(v->packet, pkt), n = unhex(v->text, text), kl;
		uint32_t hi = htobe32(v->seq_hi);
		struct aead *a;

		unhex(v->key, key);
		kl = aead_key_len(v->cipher);
		a = aead_new(v->cipher, key, 1);
		memcpy(nonce, key + kl, 4);
		memcpy(nonce + 4, pkt + 8, 8);
		memcpy(aad, pkt, 4);
		memcpy(aad + 4, v->esn ? (uint8_t *)&hi : pkt + 4, 4);
		memcpy(aad + 8, pkt + 4, 4);
		assert_int_equal(aead_seal(a, nonce, aad, v->esn ? 12 : 8, text, n, out), 0);
		assert_int_equal(len, ESP_HEAD_LEN + n + AEAD_ICV_LEN);
		assert_memory_equal(out, pkt + ESP_HEAD_LEN, n + AEAD_ICV_LEN);
		aead_free(a);
	}
}

static void aead_matches_rfc_8439(void **state)
{
	struct hex k = hex(RFC8439_KEY), nonce = hex(RFC8439_NONCE), aad = hex(RFC8439_AAD),
		   clear = hex(RFC8439_TEXT), sealed = hex(RFC8439_SEALED);
	struct aead *seal = aead_new(DP_CHACHA20_POLY1305, k.b, 1),
		    *open = aead_new(DP_CHACHA20_POLY1305, k.b, 0);
	uint8_t out[200];

	(void)state;
	assert_int_equal(aead_seal(seal, nonce.b, aad.b, aad.len, clear.b, clear.len, out), 0);
	assert_memory_equal(out, sealed.b, sealed.len);
	assert_int_equal(aead_open(open, nonce.b, aad.b, aad.len, out, clear.len), 0);
	assert_memory_equal(out, clear.b, clear.len);
	aead_free(seal);
	aead_free(open);
}

static void esp_rejects_every_truncation_and_every_flipped_bit(void **state)
{
	(void)state;
	for (size_t i = 0; i < VECTORS; i++) {
		uint8_t pkt[256], copy[256];
		struct esp_inner in;
		struct esp_key k;
		size_t len;
		uint64_t seq = load(&vectors[i], &k, pkt, &len);

		for (size_t n = 0; n < len; n++) {
			uint8_t *exact = malloc(n + 1);

			memcpy(exact, pkt, n);
			assert_int_not_equal(esp_open(&k, seq, exact, n, &in), DP_IN_PKT);
			free(exact);
		}
		for (size_t bit = 64; bit < len * 8; bit++) {
			memcpy(copy, pkt, len);
			copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
			assert_int_equal(esp_open(&k, seq, copy, len, &in), DP_DROP_ICV);
		}
		memcpy(copy, pkt, len);
		assert_int_equal(esp_open(&k, seq + 1, copy, len, &in), DP_DROP_ICV);
		memcpy(copy, pkt, len);
		if (k.esn)
			assert_int_equal(esp_open(&k, seq + (1ull << 32), copy, len, &in),
					 DP_DROP_ICV);
		k.spi ^= 1;
		memcpy(copy, pkt, len);
		assert_int_equal(esp_open(&k, seq, copy, len, &in), DP_DROP_ICV);
		esp_key_clear(&k);
	}
}

static void esp_round_trips_every_length(void **state)
{
	static uint8_t key[DP_CIPHER_KEY_LEN_MAX] = { 1, 2, 3 };
	uint8_t in[1600 + ESP_TRAILER_MAX], out[1700], was[1600];
	struct esp_inner got;

	(void)state;
	for (int c = 0; c < DP_CIPHER_COUNT; c++) {
		struct esp_key s, o;

		set_key(&s, (enum dp_cipher)c, key, 0x01000000, c != 1, 1);
		set_key(&o, (enum dp_cipher)c, key, 0x01000000, c != 1, 0);
		for (size_t n = 0; n < 1500; n += n < 70 ? 1 : 97) {
			uint64_t seq = c == 1 ? n + 1 : (5ull << 32) + n;
			size_t len;

			for (size_t i = 0; i < n; i++)
				in[i] = was[i] = (uint8_t)(i * 7 + n);
			assert_int_equal(esp_seal(&s, seq, ESP_NH_IPV6, in, n, out), 0);
			len = esp_len(&s.shape, n);
			assert_int_equal((len - s.shape.head_len - s.shape.icv_len) % s.shape.align,
					 0);
			assert_true(esp_room(&s.shape, len) >= n);
			assert_true(esp_room(&s.shape, len - 1) < n || !n);
			assert_int_equal(esp_open(&o, seq, out, len, &got), DP_IN_PKT);
			assert_int_equal(got.len, n);
			assert_int_equal(got.next_header, ESP_NH_IPV6);
			assert_memory_equal(got.data, was, n);
		}
		esp_key_clear(&s);
		esp_key_clear(&o);
	}
}

/* RFC 4303 s2.2.1: the high half is in the ICV or is not; who disagrees about it opens nothing, not even the first. */
static void ike_case_104_who_disagrees_about_esn_opens_nothing(void **state)
{
	static uint8_t key[DP_CIPHER_KEY_LEN_MAX] = { 1, 2, 3 };
	uint8_t in[64 + ESP_TRAILER_MAX] = { 0x45 }, out[200];
	struct esp_inner got;

	(void)state;
	for (int c = 0; c < DP_CIPHER_COUNT; c++) {
		for (int esn = 0; esn < 2; esn++) {
			struct esp_key s, o;

			set_key(&s, (enum dp_cipher)c, key, 0x01000000, esn, 1);
			set_key(&o, (enum dp_cipher)c, key, 0x01000000, !esn, 0);
			for (uint64_t seq = 1; seq < 50; seq++) {
				assert_int_equal(esp_seal(&s, seq, ESP_NH_IPV4, in, 40, out), 0);
				assert_int_equal(esp_open(&o, seq, out, esp_len(&s.shape, 40), &got),
						 DP_DROP_ICV);
			}
			esp_key_clear(&s);
			esp_key_clear(&o);
		}
	}
}

static void esp_unpad_refuses_wrong_padding(void **state)
{
	struct esp_inner in;
	uint8_t ok[] = { 9, 9, 1, 2, 2, 4 }, longer[] = { 9, 9, 1, 2, 5, 4 },
		content[] = { 9, 9, 1, 3, 2, 4 }, all[] = { 1, 2, 2, 59 };

	(void)state;
	assert_int_equal(esp_unpad(ok, sizeof(ok), &in), DP_IN_PKT);
	assert_int_equal(in.len, 2);
	assert_int_equal(esp_unpad(longer, sizeof(longer), &in), DP_DROP_PAD);
	assert_int_equal(esp_unpad(content, sizeof(content), &in), DP_DROP_PAD);
	assert_int_equal(esp_unpad(all, sizeof(all), &in), DP_IN_PKT);
	assert_int_equal(in.len, 0);
	assert_int_equal(esp_unpad(ok, 1, &in), DP_DROP_ESP_SHORT);
}

static void tun_mtu_is_the_largest_that_fits(void **state)
{
	static const struct {
		uint16_t outer, want;
		int family;
		enum dp_cipher cipher;
	} c[] = { { 1500, 1438, AF_INET, DP_AES_128_GCM_16 },
		  { 1500, 1418, AF_INET6, DP_CHACHA20_POLY1305 },
		  { 1280, 1198, AF_INET6, DP_AES_256_GCM_16 },
		  { 63, 0, AF_INET, DP_AES_128_GCM_16 },
		  { 64, 2, AF_INET, DP_AES_128_GCM_16 },
		  { 1500, 1422, AF_INET, DP_AES_128_CBC_SHA256 },
		  { 1500, 1390, AF_INET6, DP_AES_256_CBC_SHA512 },
		  { 83, 0, AF_INET, DP_AES_256_CBC_SHA256 },
		  { 84, 14, AF_INET, DP_AES_256_CBC_SHA256 } };

	(void)state;
	for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		uint16_t m = dp_tun_mtu(c[i].outer, c[i].family, c[i].cipher);
		struct esp_shape sh = esp_shape(c[i].cipher);
		size_t head = (c[i].family == AF_INET ? 20 : 40) + 8;

		assert_int_equal(m, c[i].want);
		if (!m)
			continue;
		assert_true(esp_len(&sh, m) + head <= c[i].outer);
		assert_true(esp_len(&sh, m + 1u) + head > c[i].outer);
	}
}

static void probe_content_round_trips_and_fills(void **state)
{
	struct esp_shape sh = esp_shape(DP_AES_128_GCM_16), cbc = esp_shape(DP_AES_128_CBC_SHA384);
	uint8_t b[2000];
	const uint8_t *token;

	(void)state;
	assert_int_equal(probe_build(&sh, NULL, 0, 0, b, sizeof(b)), 0);
	for (size_t want = 64; want < 1500; want += 3) {
		size_t n = probe_build(&cbc, (const uint8_t *)"token", 5, want, b, sizeof(b));

		assert_true(want < 80 || esp_len(&cbc, n) <= want);
		n = probe_build(&sh, (const uint8_t *)"token", 5, want, b, sizeof(b));
		assert_true(esp_len(&sh, n) <= want && esp_len(&sh, n) + 4 > want);
		assert_int_equal(probe_parse(b, n, &token), 5);
		assert_memory_equal(token, "token", 5);
	}
	for (size_t n = 0; n < 14; n++)
		assert_int_equal(probe_parse(b, n, &token), 0);
	b[0] ^= 1;
	assert_int_equal(probe_parse(b, 100, &token), 0);
}

/* What one library seals the other opens, whatever the length; and a broken ICV neither. */
static void aead_backends_agree(void **state)
{
	static uint8_t in[2048], out[2048 + AEAD_ICV_LEN];
	const uint8_t nonce[AEAD_NONCE_LEN] = { 1, 2, 3 }, aad[12] = { 4, 5, 6 };
	uint8_t key[32];

	(void)state;
	if (aead_choose(DP_CRYPTO_IPSEC_MB))
		skip();
	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)(i * 7);
	memset(key, 9, sizeof(key));
	for (int c = 0; c < AEAD_COUNT; c++) {
		for (int turn = 0; turn < 2; turn++) {
			struct aead *seal, *open;

			assert_int_equal(0, aead_choose(turn ? DP_CRYPTO_OPENSSL : DP_CRYPTO_IPSEC_MB));
			seal = aead_new((enum dp_cipher)c, key, 1);
			assert_int_equal(0, aead_choose(turn ? DP_CRYPTO_IPSEC_MB : DP_CRYPTO_OPENSSL));
			open = aead_new((enum dp_cipher)c, key, 0);
			for (size_t len = 1; len <= sizeof(in); len += len < 300 ? 1 : 37) {
				size_t aad_len = len & 1 ? 8 : 12;

				assert_int_equal(0, aead_seal(seal, nonce, aad, aad_len, in, len, out));
				assert_int_equal(0, aead_open(open, nonce, aad, aad_len, out, len));
				assert_memory_equal(in, out, len);
				assert_int_equal(0, aead_seal(seal, nonce, aad, aad_len, in, len, out));
				out[len + len % AEAD_ICV_LEN] ^= 1;
				assert_int_equal(-EKEYREJECTED,
						 aead_open(open, nonce, aad, aad_len, out, len));
			}
			aead_free(seal);
			aead_free(open);
		}
	}
}

static void aead_chooses_what_was_wished_and_says_so(void **state)
{
	(void)state;
	assert_int_equal(0, aead_choose(DP_CRYPTO_OPENSSL));
	assert_non_null(strstr(aead_backend(), "OpenSSL"));
	assert_null(strstr(aead_backend(), " for "));
	assert_int_equal(-ENOTSUP, aead_choose((enum dp_crypto)(DP_CRYPTO_IPSEC_MB + 1)));
	assert_non_null(strstr(aead_backend(), "OpenSSL"));
	if (!aead_choose(DP_CRYPTO_IPSEC_MB)) {
		assert_non_null(strstr(aead_backend(), "ipsec-mb"));
		assert_null(strstr(aead_backend(), "OpenSSL"));
	}
	assert_int_equal(0, aead_choose(DP_CRYPTO_AUTO));
}

static int with_ipsec_mb(void **state)
{
	(void)state;
	return aead_choose(DP_CRYPTO_IPSEC_MB) ? -1 : 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(esp_keeps_a_context_only_while_packets_follow_each_other),
		cmocka_unit_test(esp_opens_the_published_packets),
		cmocka_unit_test(aead_seals_the_published_packets),
		cmocka_unit_test(aead_matches_rfc_8439),
		cmocka_unit_test(esp_rejects_every_truncation_and_every_flipped_bit),
		cmocka_unit_test(esp_round_trips_every_length),
		cmocka_unit_test(ike_case_104_who_disagrees_about_esn_opens_nothing),
		cmocka_unit_test(esp_unpad_refuses_wrong_padding),
		cmocka_unit_test(tun_mtu_is_the_largest_that_fits),
		cmocka_unit_test(probe_content_round_trips_and_fills),
	};
	const struct CMUnitTest choice[] = {
		cmocka_unit_test(aead_backends_agree),
		cmocka_unit_test(aead_chooses_what_was_wished_and_says_so),
	};
	int failed = cmocka_run_group_tests_name("OpenSSL", tests, NULL, NULL);

	if (!aead_choose(DP_CRYPTO_IPSEC_MB))
		failed += cmocka_run_group_tests_name("ipsec-mb", tests, with_ipsec_mb, NULL);
	return failed + cmocka_run_group_tests_name("choice", choice, NULL, NULL);
}
