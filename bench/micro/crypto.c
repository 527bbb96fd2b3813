/* SPDX-License-Identifier: GPL-3.0-or-later */
/* esp_seal() and esp_open() by size, cipher and library. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "esp.h"
#include "micro.h"

#define BATCH 16 /* packets between two looks at the clock */

static const size_t sizes[] = { 64, 256, 576, 1400, 4096, 16384 };

struct esp_bench {
	struct esp_key seal, open;
	size_t len;
	uint8_t *in, *sealed, *work; /* BATCH packets each */
	uint64_t seq;
};

static uint64_t seal(void *arg, unsigned n)
{
	struct esp_bench *b = arg;
	size_t out = esp_len(&b->seal.shape, b->len);
	uint64_t began = bench_ns();

	for (unsigned i = 0; i < n; i++) {
		if (esp_seal(&b->seal, ++b->seq, ESP_NH_IPV4, b->in, b->len,
			     b->sealed + i % BATCH * out))
			abort();
	}
	return bench_ns() - began;
}

/* Opened in place, so each batch is copied first, which does not count. */
static uint64_t open_batch(void *arg, unsigned n)
{
	struct esp_bench *b = arg;
	size_t out = esp_len(&b->seal.shape, b->len);
	uint64_t ns = 0;

	(void)seal(b, BATCH);
	for (unsigned done = 0; done < n; done += BATCH) {
		struct esp_inner inner;
		uint64_t began;

		memcpy(b->work, b->sealed, BATCH * out);
		began = bench_ns();
		for (unsigned i = 0; i < BATCH; i++) {
			if (esp_open(&b->open, b->seq - BATCH + 1 + i, b->work + i * out, out,
				     &inner) != DP_IN_PKT)
				abort();
		}
		ns += bench_ns() - began;
	}
	return ns;
}

static void add(enum dp_cipher c, const char *row)
{
	static const uint8_t key[DP_CIPHER_KEY_LEN_MAX] = { 1, 2, 3 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		struct esp_bench *b = bench_alloc(sizeof(*b));
		char col[24];
		size_t out;

		if (esp_key_init(&b->seal, c, key, 1, true, true) ||
		    esp_key_init(&b->open, c, key, 1, true, false))
			abort();
		b->len = sizes[i];
		out = esp_len(&b->seal.shape, b->len);
		b->in = bench_alloc(b->len + ESP_TRAILER_MAX);
		b->sealed = bench_alloc(BATCH * out);
		b->work = bench_alloc(BATCH * out);
		/* Both contexts are made now, by the library that is chosen now, and stay. */
		(void)open_batch(b, BATCH);
		snprintf(col, sizeof(col), "%zu", b->len);
		bench_add("esp_seal: bytes of the inner packet", row, col, seal, b);
		bench_add("esp_open: bytes of the inner packet", row, col, open_batch, b);
	}
}

void add_crypto(void)
{
	static const char *const aead[] = { "AES-128-GCM", "AES-256-GCM", "ChaCha20-Poly1305" };
	static const struct {
		enum dp_cipher c;
		const char *name;
	} cbc[] = { { DP_AES_128_CBC_SHA256, "AES-128-CBC, SHA-256" },
		    { DP_AES_256_CBC_SHA512, "AES-256-CBC, SHA-512" } };
	static const enum dp_crypto libs[] = { DP_CRYPTO_OPENSSL, DP_CRYPTO_IPSEC_MB };

	for (size_t l = 0; l < sizeof(libs) / sizeof(*libs); l++) {
		if (aead_choose(libs[l]))
			continue;
		for (int c = 0; c < AEAD_COUNT; c++) {
			char row[64];

			snprintf(row, sizeof(row), "%s, %.30s", aead[c], aead_backend());
			add((enum dp_cipher)c, row);
		}
	}
	for (size_t i = 0; i < sizeof(cbc) / sizeof(*cbc); i++)
		add(cbc[i].c, cbc[i].name);
}
