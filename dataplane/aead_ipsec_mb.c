/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Intel's ipsec-mb, its direct calls: one per packet, no job queue (which gains nothing at these sizes and
 * breaks between 1.3 and 2.0). The manager is a table of functions that is only read once it was filled.
 */
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <intel-ipsec-mb.h>
#include <openssl/crypto.h>

#include "aead_int.h"
#include "secret.h"

#define IA32CAP_AES 57 /* a bit of what OpenSSL says of the CPU: CPUID.1:ECX.25 */

struct mb {
	struct aead a;
	enum dp_cipher cipher;
	/* The header of 1.3 says so only to its own build; the code behind it takes it for granted. */
	_Alignas(64) union {
		struct gcm_key_data gcm;
		uint8_t chacha[32];
	} key;
	_Alignas(64) union {
		struct gcm_context_data gcm;
		struct chacha20_poly1305_context_data chacha;
	} state;
};

static IMB_MGR *mgr;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* Who hides AES from OpenSSL (OPENSSL_ia32cap(3)) means this CPU, not that library. */
static bool aes_is_hidden(void)
{
	const char *cap = OPENSSL_info(OPENSSL_INFO_CPU_SETTINGS);
	unsigned long long bits;

	return cap && sscanf(cap, "OPENSSL_ia32cap=0x%llx", &bits) == 1 && !(bits >> IA32CAP_AES & 1);
}

static void start(void)
{
	if (aes_is_hidden())
		return;
	mgr = alloc_mb_mgr(0);
	if (!mgr)
		return;
	init_mb_mgr_auto(mgr, NULL);
	/* Without AES instructions it would emulate them, slower than anyone and with tables. */
	if (imb_get_errno(mgr) || !(mgr->features & IMB_FEATURE_AESNI)) {
		free_mb_mgr(mgr);
		mgr = NULL;
	}
}

static const char *mb_name(void)
{
	static char name[48];

	pthread_once(&once, start);
	if (!mgr)
		return NULL;
	if (!name[0])
		snprintf(name, sizeof(name), "ipsec-mb %s", imb_get_version_str());
	return name;
}

static void mb_free(struct aead *a)
{
	secret_wipe(a, sizeof(struct mb));
	free(a);
}

static struct aead *mb_new(enum dp_cipher c, const uint8_t *key, int seal)
{
	struct mb *m;

	(void)seal;
	if (!mb_name() || c >= AEAD_COUNT)
		return NULL;
	m = aligned_alloc(_Alignof(struct mb), sizeof(*m));
	if (!m)
		return NULL;
	memset(m, 0, sizeof(*m));
	m->cipher = c;
	if (c == DP_AES_128_GCM_16)
		IMB_AES128_GCM_PRE(mgr, key, &m->key.gcm);
	else if (c == DP_AES_256_GCM_16)
		IMB_AES256_GCM_PRE(mgr, key, &m->key.gcm);
	else
		memcpy(m->key.chacha, key, sizeof(m->key.chacha));
	return &m->a;
}

static int mb_seal(struct aead *a, const uint8_t *nonce, const uint8_t *aad, size_t aad_len,
		   const uint8_t *in, size_t len, uint8_t *out)
{
	struct mb *m = (struct mb *)a;

	switch (m->cipher) {
	case DP_AES_128_GCM_16:
		IMB_AES128_GCM_ENC(mgr, &m->key.gcm, &m->state.gcm, out, in, len, nonce, aad, aad_len,
				   out + len, AEAD_ICV_LEN);
		return 0;
	case DP_AES_256_GCM_16:
		IMB_AES256_GCM_ENC(mgr, &m->key.gcm, &m->state.gcm, out, in, len, nonce, aad, aad_len,
				   out + len, AEAD_ICV_LEN);
		return 0;
	default:
		IMB_CHACHA20_POLY1305_INIT(mgr, m->key.chacha, &m->state.chacha, nonce, aad, aad_len);
		IMB_CHACHA20_POLY1305_ENC_UPDATE(mgr, m->key.chacha, &m->state.chacha, out, in, len);
		IMB_CHACHA20_POLY1305_ENC_FINALIZE(mgr, &m->state.chacha, out + len, AEAD_ICV_LEN);
		return 0;
	}
}

static int mb_open(struct aead *a, const uint8_t *nonce, const uint8_t *aad, size_t aad_len,
		   uint8_t *text, size_t len)
{
	struct mb *m = (struct mb *)a;
	uint8_t tag[AEAD_ICV_LEN];

	switch (m->cipher) {
	case DP_AES_128_GCM_16:
		IMB_AES128_GCM_DEC(mgr, &m->key.gcm, &m->state.gcm, text, text, len, nonce, aad,
				   aad_len, tag, sizeof(tag));
		break;
	case DP_AES_256_GCM_16:
		IMB_AES256_GCM_DEC(mgr, &m->key.gcm, &m->state.gcm, text, text, len, nonce, aad,
				   aad_len, tag, sizeof(tag));
		break;
	default:
		IMB_CHACHA20_POLY1305_INIT(mgr, m->key.chacha, &m->state.chacha, nonce, aad, aad_len);
		IMB_CHACHA20_POLY1305_DEC_UPDATE(mgr, m->key.chacha, &m->state.chacha, text, text, len);
		IMB_CHACHA20_POLY1305_DEC_FINALIZE(mgr, &m->state.chacha, tag, sizeof(tag));
		break;
	}
	return CRYPTO_memcmp(tag, text + len, sizeof(tag)) ? -EKEYREJECTED : 0;
}

const struct aead_ops aead_ipsec_mb = {
	.name = mb_name,
	.new_ctx = mb_new,
	.free_ctx = mb_free,
	.seal = mb_seal,
	.open = mb_open,
};
