/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CRYPTO_DH_H
#define CRYPTO_DH_H

/*
 * Key exchange. Public values are as RFC 7296 s3.4 carries them: MODP padded to the
 * modulus, ECP as x | y (RFC 5903 s7), Curve25519 as 32 bytes (RFC 8031). A peer's value is checked
 * before use (RFC 6989): 1 < y < p-1; point on curve; result not all zero (RFC 7748 s6.1).
 */

#include "secret.h"
#include "suite.h"

#define DH_PUBLIC_MAX  512 /* bytes, MODP-4096 */
#define DH_PRIVATE_MAX 66  /* bytes, P-521; a MODP exponent is short: 225 to 325 bits */

struct dh;

/** dh_public_len() - Bytes of a public value of @group; 0: we do not have the group. */
size_t dh_public_len(uint16_t group);
/** dh_new() - A fresh ephemeral key; caller frees. 0, -ENOTSUP (group), -ENOMEM, -EIO. */
int dh_new(uint16_t group, struct dh **out);
/**
 * dh_private() - The private value, in at most DH_PRIVATE_MAX bytes, for dh_restore().
 * A library key takes a kilobyte and more; who has thousands that mostly come to nothing keeps bytes. The
 * caller wipes @out. 0, -EIO.
 */
int dh_private(const struct dh *dh, uint8_t out[static DH_PRIVATE_MAX], size_t *len);
/**
 * dh_restore() - A key pair from its parts, without computing anything.
 * @private: big-endian (X25519: little-endian, as RFC 7748 has it); @public: as on the wire (X25519: may
 * be empty, then it is computed). Both are believed. 0, -ENOTSUP (group), -ENOMEM, -EIO.
 */
int dh_restore(uint16_t group, struct span private, struct span public, struct dh **out);
/** dh_free() - Wipes the private value; NULL is allowed. */
void dh_free(struct dh *dh);
uint16_t dh_group(const struct dh *dh);
/** dh_public() - Our public value, dh_public_len() bytes; lives as long as @dh. */
struct span dh_public(const struct dh *dh);
/**
 * dh_shared() - g^ir with the peer's public value @peer.
 * @out: replaced; padded to the full length as s2.14 asks. May be called several times with
 * different peers' values (candidates of forged and true INIT responses).
 * Returns 0, -EBADMSG (wrong length), -EPROTO (value outside the group, low order), -ENOMEM, -EIO.
 */
int dh_shared(const struct dh *dh, const void *peer, size_t len, struct secret *out);

#endif
