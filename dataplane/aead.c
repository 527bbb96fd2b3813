/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "aead_int.h"

#define TRIAL_BYTES  1400
#define TRIAL_SEALS  16
#define TRIAL_ROUNDS 5

static const struct aead_ops *const backends[] = {
	[DP_CRYPTO_OPENSSL] = &aead_openssl,
#ifdef HAVE_IPSEC_MB
	[DP_CRYPTO_IPSEC_MB] = &aead_ipsec_mb,
#endif
};
#define BACKENDS (sizeof(backends) / sizeof(backends[0]))

static const struct aead_ops *chosen[AEAD_COUNT];
static uint64_t chosen_ns[AEAD_COUNT]; /* of TRIAL_SEALS; 0: not measured */
static bool refused[AEAD_COUNT];       /* no library is to be trusted with it */
static char described[128];

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t trial_round(const struct aead_ops *ops, struct aead *a)
{
	static const uint8_t aad[8];
	uint8_t nonce[AEAD_NONCE_LEN] = { 0 }, text[TRIAL_BYTES + AEAD_ICV_LEN] = { 0 };
	uint64_t began = now_ns();

	for (int i = 0; i < TRIAL_SEALS; i++) {
		nonce[0]++;
		if (ops->seal(a, nonce, aad, sizeof(aad), text, TRIAL_BYTES, text))
			return UINT64_MAX;
	}
	return now_ns() - began;
}

/* It opens what it sealed, and not what somebody changed. A library that does not is worse than none. */
static bool honest(const struct aead_ops *ops, struct aead *seal, struct aead *open)
{
	static const uint8_t nonce[AEAD_NONCE_LEN] = { 7 };
	uint8_t aad[8] = { 1, 2, 3 }, clear[64] = { 4, 5, 6 }, text[64 + AEAD_ICV_LEN];

	/* 0: as it was sealed; then a changed byte of text, ICV, associated data */
	for (int turn = 0; turn < 4; turn++) {
		if (ops->seal(seal, nonce, aad, sizeof(aad), clear, sizeof(clear), text))
			return false;
		text[9] ^= turn == 1;
		text[64 + 15] ^= turn == 2;
		aad[5] ^= turn == 3;
		if (!ops->open(open, nonce, aad, sizeof(aad), text, sizeof(clear)) != !turn ||
		    (!turn && memcmp(text, clear, sizeof(clear))))
			return false;
	}
	return true;
}

/* The best of some short rounds: who else wants the CPU makes none faster. UINT64_MAX: not to be had. */
static uint64_t trial(const struct aead_ops *ops, enum dp_cipher c)
{
	static const uint8_t key[32];
	struct aead *a = ops->name() ? ops->new_ctx(c, key, 1) : NULL;
	struct aead *open = a ? ops->new_ctx(c, key, 0) : NULL;
	bool good = open && honest(ops, a, open);
	uint64_t best = UINT64_MAX;

	if (open)
		ops->free_ctx(open);
	for (int r = 0; good && r < TRIAL_ROUNDS; r++) {
		uint64_t ns = trial_round(ops, a);

		best = ns < best ? ns : best;
	}
	if (a)
		ops->free_ctx(a);
	return best;
}

static void describe(void)
{
	static const char *const word[] = { "AES-128-GCM", "AES-256-GCM", "ChaCha20-Poly1305" };
	size_t at = 0;

	if (chosen[0] == chosen[1] && chosen[1] == chosen[2]) {
		snprintf(described, sizeof(described), "%s", chosen[0]->name());
		return;
	}
	for (int c = 0; c < AEAD_COUNT && at < sizeof(described); c++) {
		bool same = c && chosen[c] == chosen[c - 1];
		int n = snprintf(described + at, sizeof(described) - at, "%s%s%s%s",
				 !c ? "" : same ? " and " : ", ", same ? "" : chosen[c]->name(),
				 same ? "" : " for ", word[c]);

		at += n > 0 ? (size_t)n : 0;
	}
}

int aead_choose(enum dp_crypto wish)
{
	if (wish != DP_CRYPTO_AUTO && (wish >= BACKENDS || !backends[wish]->name()))
		return -ENOTSUP;
	for (int c = 0; c < AEAD_COUNT; c++) {
		uint64_t best = UINT64_MAX;

		chosen[c] = &aead_openssl;
		for (size_t i = DP_CRYPTO_OPENSSL; i < BACKENDS; i++) {
			uint64_t ns = wish && wish != i ? UINT64_MAX : trial(backends[i], (enum dp_cipher)c);

			if (ns >= best)
				continue;
			best = ns;
			chosen[c] = backends[i];
		}
		refused[c] = best == UINT64_MAX;
		chosen_ns[c] = refused[c] ? 0 : best;
	}
	describe();
	return 0;
}

bool aead_prefers_aes(void)
{
	uint64_t aes = chosen_ns[DP_AES_128_GCM_16], chacha = chosen_ns[DP_CHACHA20_POLY1305];

	return aes && (!chacha || aes <= chacha);
}

const char *aead_backend(void)
{
	return described[0] ? described : aead_openssl.name();
}

size_t aead_key_len(enum dp_cipher c)
{
	return c == DP_AES_128_GCM_16 ? 16 : 32;
}

struct aead *aead_new(enum dp_cipher c, const uint8_t *key, int seal)
{
	const struct aead_ops *ops = c < AEAD_COUNT && chosen[c] ? chosen[c] : &aead_openssl;
	struct aead *a = c < AEAD_COUNT && refused[c] ? NULL : ops->new_ctx(c, key, seal);

	if (a)
		a->ops = ops;
	return a;
}

void aead_free(struct aead *a)
{
	if (a)
		a->ops->free_ctx(a);
}

int aead_seal(struct aead *a, const uint8_t nonce[static AEAD_NONCE_LEN], const uint8_t *aad,
	      size_t aad_len, const uint8_t *in, size_t len, uint8_t *out)
{
	return a->ops->seal(a, nonce, aad, aad_len, in, len, out);
}

int aead_open(struct aead *a, const uint8_t nonce[static AEAD_NONCE_LEN], const uint8_t *aad,
	      size_t aad_len, uint8_t *text, size_t len)
{
	return a->ops->open(a, nonce, aad, aad_len, text, len);
}
