/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DATAPLANE_ESP_H
#define DATAPLANE_ESP_H

/*
 * Theory: ESP with a combined-mode cipher (RFC 4303, RFC 4106, RFC 7634), tunnel mode; AES-CBC with HMAC
 * has its own picture in cbc.h.
 *
 *	0		4		8		     16			     -16	len
 *	+---------------+---------------+--------------------+----------------------+---------+
 *	| SPI		| sequence low	| IV, 8 bytes	     | ciphertext	    | ICV, 16 |
 *	+---------------+---------------+--------------------+----------------------+---------+
 *						inner packet | TFC | pad 1,2,3.. | pad length | NH
 *
 * The IV is the 64-bit sequence number: never repeated under a key (RFC 4106 s3.1). The associated data
 * is SPI and sequence number, with ESN all 64 bits of it (RFC 4106 s5).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aead.h"
#include "cbc.h"

#define ESP_HEAD_LEN	16 /* SPI, sequence number, IV: of an AEAD, the smallest */
#define ESP_TRAILER_MAX 24 /* that esp_seal() needs behind the plaintext: 15 pad + 2, rounded */

#define ESP_NH_IPV4  4
#define ESP_NH_IPV6  41
#define ESP_NH_DUMMY 59

/* What a cipher adds to a packet, in bytes. */
struct esp_shape {
	uint8_t head_len; /* SPI, sequence number, IV */
	uint8_t align;	  /* of plaintext with its trailer; a power of two */
	uint8_t icv_len;
};

/*
 * A keyed context is a kilobyte, and of ten thousand peers most say nothing but a dummy now and then. So an
 * AEAD context is made by the worker that first needs it, and one that was not used for ESP_IDLE_MS
 * serves once more and is gone: esp_key_use() before a packet or unit, esp_key_done() after it. A
 * busy SA keeps its context and pays two comparisons.
 */
#define ESP_IDLE_MS 1000

struct esp_key {
	struct aead *aead; /* of the one worker that uses this key; NULL: not made yet, or idle */
	struct cbc *cbc;   /* or this, for life */
	uint8_t key[32];   /* AEAD */
	uint8_t salt[AEAD_SALT_LEN];
	enum dp_cipher cipher;
	bool seal, keep;
	uint64_t used_ms;
	struct esp_shape shape;
	uint32_t spi; /* network order */
	bool esn;
};

struct esp_inner {
	uint8_t *data; /* within the packet, at least ESP_HEAD_LEN bytes of dead room before it */
	size_t len;    /* pad and trailer taken off; TFC padding still there */
	uint8_t next_header;
};

struct esp_shape esp_shape(enum dp_cipher c);

/** esp_key_init() - @key: borrowed, dp_cipher_key_len() bytes. 0, -EINVAL or -ENOMEM (all clear). */
int esp_key_init(struct esp_key *k, enum dp_cipher c, const uint8_t *key, uint32_t spi, bool esn,
		 bool seal);
/** esp_key_use() - By the worker, before esp_seal() or esp_open() of data. */
static inline void esp_key_use(struct esp_key *k, uint64_t now_ms)
{
	k->keep = now_ms - k->used_ms < ESP_IDLE_MS;
	k->used_ms = now_ms;
}

/** esp_key_glance() - In place of it for a dummy: that alone is no reason to keep a context. */
static inline void esp_key_glance(struct esp_key *k, uint64_t now_ms)
{
	k->keep = now_ms - k->used_ms < ESP_IDLE_MS;
}

/** esp_key_done() - And after them. */
static inline void esp_key_done(struct esp_key *k)
{
	if (k->keep || !k->aead)
		return;
	aead_free(k->aead);
	k->aead = NULL;
}

/** esp_key_clear() - Wipes; a zeroed one is allowed. */
void esp_key_clear(struct esp_key *k);

/** esp_len() - Bytes of the ESP packet that carries @inner bytes. */
static inline size_t esp_len(const struct esp_shape *s, size_t inner)
{
	return s->head_len + ((inner + 2 + s->align - 1u) & ~(size_t)(s->align - 1u)) + s->icv_len;
}

/** esp_room() - The largest @inner whose packet has at most @len bytes; 0 when there is none. */
static inline size_t esp_room(const struct esp_shape *s, size_t len)
{
	size_t fixed = (size_t)s->head_len + s->icv_len;

	return len < fixed + s->align ? 0 : ((len - fixed) & ~(size_t)(s->align - 1u)) - 2;
}

/**
 * esp_seal() - Seal @len bytes at @in into an ESP packet at @out, of esp_len() bytes (RFC 4303 s3.3).
 * @seq: full number, taken for this packet alone.
 * @in: ESP_TRAILER_MAX bytes behind it are overwritten (the caller restores them).
 * Returns 0 or -EIO.
 */
int esp_seal(struct esp_key *k, uint64_t seq, uint8_t next_header, uint8_t *in, size_t len,
	     uint8_t *out);
/**
 * esp_open() - Verify and decrypt one ESP packet in place (RFC 4303 s3.4.4).
 * @seq: as inferred; its low half stands in @pkt.
 * Returns DP_IN_PKT, or why not: DP_DROP_ESP_SHORT, DP_DROP_ICV, DP_DROP_PAD.
 */
enum dp_verdict esp_open(struct esp_key *k, uint64_t seq, uint8_t *pkt, size_t len,
			 struct esp_inner *inner);
/** esp_unpad() - The plaintext half of esp_open(): trailer at the end of @len bytes at @text. */
enum dp_verdict esp_unpad(uint8_t *text, size_t len, struct esp_inner *inner);

#endif
