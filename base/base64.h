/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BASE_BASE64_H
#define BASE_BASE64_H

#include <stddef.h>

/* Characters for @n bytes, and NUL. */
#define BASE64_ROOM(n) (((n) + 2) / 3 * 4 + 1)

/** base64_encode() - RFC 4648 s4 with padding; @out has BASE64_ROOM(@len); returns its length. */
size_t base64_encode(const void *in, size_t len, char *out);
/**
 * base64_decode() - Strict: whole groups, padding only at the end, no stray bits.
 * @out: terminated by a NUL; @cap: more than the bytes that come out, by three at most.
 *
 * The length, or -EBADMSG.
 */
int base64_decode(const char *s, size_t len, void *out, size_t cap);

#endif
