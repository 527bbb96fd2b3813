/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DATAPLANE_ESP_H
#define DATAPLANE_ESP_H

/*
 * Theory: ESP with a combined-mode cipher (RFC 4303, RFC 4106, RFC 7634), tunnel mode.
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

#define ESP_HEAD_LEN	16 /* SPI, sequence number, IV */
#define ESP_TRAILER_MAX 8  /* room that esp_seal() needs behind the plaintext: 3 pad + 2, rounded */
#define ESP_OVERHEAD	(ESP_HEAD_LEN + 2 + AEAD_ICV_LEN)
#define ESP_MIN_LEN	(ESP_HEAD_LEN + 4 + AEAD_ICV_LEN)

#define ESP_NH_IPV4  4
#define ESP_NH_IPV6  41
#define ESP_NH_DUMMY 59

struct esp_key {
	struct aead *aead;
	uint8_t salt[AEAD_SALT_LEN];
	uint32_t spi; /* network order */
	bool esn;
};

struct esp_inner {
	uint8_t *data; /* within the packet, ESP_HEAD_LEN bytes of dead room before it */
	size_t len;    /* pad and trailer taken off; TFC padding still there */
	uint8_t next_header;
};

/** esp_len() - Bytes of the ESP packet that carries @inner bytes. */
static inline size_t esp_len(size_t inner)
{
	return ESP_HEAD_LEN + ((inner + 2 + 3) & ~(size_t)3) + AEAD_ICV_LEN;
}

/**
 * esp_seal() - Seal @len bytes at @in into an ESP packet at @out, esp_len(@len) bytes (RFC 4303 s3.3).
 * @seq: full number, taken for this packet alone.
 * @in: ESP_TRAILER_MAX bytes behind it are overwritten (the caller restores them).
 * Returns 0 or -EIO.
 */
int esp_seal(const struct esp_key *k, uint64_t seq, uint8_t next_header, uint8_t *in, size_t len,
	     uint8_t *out);
/**
 * esp_open() - Verify and decrypt one ESP packet in place (RFC 4303 s3.4.4).
 * @seq: as inferred; its low half stands in @pkt.
 * Returns DP_IN_PKT, or why not: DP_DROP_ESP_SHORT, DP_DROP_ICV, DP_DROP_PAD.
 */
enum dp_verdict esp_open(const struct esp_key *k, uint64_t seq, uint8_t *pkt, size_t len,
			 struct esp_inner *inner);
/** esp_unpad() - The plaintext half of esp_open(): trailer at the end of @len bytes at @text. */
enum dp_verdict esp_unpad(uint8_t *text, size_t len, struct esp_inner *inner);

#endif
