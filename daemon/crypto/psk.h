/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CRYPTO_PSK_H
#define CRYPTO_PSK_H

/*
 * A PSK can be guessed offline by whoever once answers our call or takes one in our peer's name (RFC
 * 7296 s5), so what a person makes up is not enough.
 */

#include <stddef.h>
#include <stdint.h>

#define PSK_LEN_MIN  16 /* bytes */
#define PSK_BITS_MIN 70 /* of the estimate */

/** psk_trim() - Its length without the end of the line, which an editor puts into the file. */
size_t psk_trim(const uint8_t *p, size_t len);
/**
 * psk_bits() - How hard it is to guess, in bits: an estimate from above for random characters of
 * the kinds that are in it, far lower for words, rows (abcd, 4321) and repetitions.
 * O(len^2), at most PSK_JUDGED_MAX bytes are looked at. Leaves nothing of @p behind.
 */
unsigned psk_bits(const uint8_t *p, size_t len);
#define PSK_JUDGED_MAX 256
/** psk_fault() - NULL, or a clause that says why the secret is refused. */
const char *psk_fault(const uint8_t *p, size_t len);

#endif
