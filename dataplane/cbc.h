/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DATAPLANE_CBC_H
#define DATAPLANE_CBC_H

/*
 * Theory: AES-CBC (RFC 3602) with HMAC-SHA2 (RFC 4868) for peers that offer nothing better. Encrypt,
 * then authenticate; on receipt the ICV is checked before anything is decrypted, so padding is no
 * oracle.
 *
 *	0		4		8		     24			  -icv	    len
 *	+---------------+---------------+--------------------+---------------------+---------+
 *	| SPI		| sequence low	| IV, 16 bytes	     | ciphertext, 16 * n  | ICV     |
 *	+---------------+---------------+--------------------+---------------------+---------+
 *	|<------------------------- HMAC, and with ESN the high half ------------>|
 *
 * The IV must not be predictable (RFC 3602 s3): it is the sequence number under AES with a random key of
 * its own, drawn with the context. That never repeats and costs a worker no system call.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dp.h"

#define CBC_BLOCK    16
#define CBC_HEAD_LEN (8 + CBC_BLOCK)

struct cbc;

/** cbc_key_len(), cbc_integ_len(), cbc_icv_len() - In bytes; the cipher must be one with CBC. */
size_t cbc_key_len(enum dp_cipher c);
size_t cbc_integ_len(enum dp_cipher c);
size_t cbc_icv_len(enum dp_cipher c);
/**
 * cbc_new() - @key: borrowed, cbc_key_len() bytes of AES and then cbc_integ_len() of HMAC.
 * @seal: 1 to seal, 0 to open. NULL when it cannot be had.
 */
struct cbc *cbc_new(enum dp_cipher c, const uint8_t *key, int seal);
/** cbc_free() - Wipes the keys. NULL is allowed. */
void cbc_free(struct cbc *c);
/**
 * cbc_seal() - IV, ciphertext and ICV behind the 8 bytes of SPI and number that stand at @pkt.
 * @seq: the full number, the high half counts with @esn. @len: a multiple of CBC_BLOCK.
 * @in may not overlap @pkt. 0 or -EIO.
 */
int cbc_seal(struct cbc *c, uint64_t seq, bool esn, const uint8_t *in, size_t len, uint8_t *pkt);
/**
 * cbc_open() - Verify and then decrypt @len bytes of ciphertext at @pkt + CBC_HEAD_LEN in place.
 * 0 or -EKEYREJECTED; then nothing has changed.
 */
int cbc_open(struct cbc *c, uint64_t seq, bool esn, uint8_t *pkt, size_t len);

#endif
