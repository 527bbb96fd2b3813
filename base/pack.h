/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BASE_PACK_H
#define BASE_PACK_H

/*
 * Theory: a small byte packer for protocol messages that wait in memory by the thousand: lists of
 * equal structures (IKE transforms, payload headers) shrink to less than half, random bytes cost one more in 128.
 *
 *	0nnnnnnn            n + 1 bytes follow
 *	10lnnnnn d [x]      n + 3 bytes from d + 1 back (they may overlap what they make); l: then x
 *	11lnnnnn dd dd [x]  n + 4 bytes from d + 1 back, big-endian; the same
 *
 * What is unpacked was packed here; still pack_open() trusts no length.
 */

#include <stddef.h>
#include <stdint.h>

#define PACK_IN_MAX    65536
/* Room that pack_bytes() needs for @len bytes at worst. */
#define PACK_ROOM(len) ((len) + (len) / 128 + 1)

/** pack_bytes() - @len (at most PACK_IN_MAX) bytes into @out, PACK_ROOM(len); the packed length. */
size_t pack_bytes(const void *in, size_t len, uint8_t *out);
/** pack_open() - Exactly @len bytes into @out; 0, or -EBADMSG: @in is not that. */
int pack_open(const uint8_t *in, size_t in_len, void *out, size_t len);

#endif
