/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base64.h"

#include <errno.h>
#include <stdint.h>

size_t base64_encode(const void *in, size_t len, char *out)
{
	static const char digits[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const uint8_t *p = in;
	char *o = out;

	for (; len; p += 3, len -= len < 3 ? len : 3) {
		uint32_t v = (uint32_t)p[0] << 16 | (len > 1 ? (uint32_t)p[1] << 8 : 0) |
			     (len > 2 ? p[2] : 0);

		*o++ = digits[v >> 18];
		*o++ = digits[v >> 12 & 63];
		*o++ = len > 1 ? digits[v >> 6 & 63] : '=';
		*o++ = len > 2 ? digits[v & 63] : '=';
	}
	*o = 0;
	return (size_t)(o - out);
}

static int value_of(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int base64_decode(const char *s, size_t len, void *to, size_t cap)
{
	char *out = to;
	size_t n = 0;

	if (len % 4)
		return -EBADMSG;
	for (size_t i = 0; i < len; i += 4) {
		int pad = 0, v[4];

		if (i + 4 == len)
			pad = s[i + 3] != '=' ? 0 : s[i + 2] != '=' ? 1 : 2;
		for (int k = 0; k < 4; k++) {
			v[k] = k >= 4 - pad ? 0 : value_of(s[i + (size_t)k]);
			if (v[k] < 0)
				return -EBADMSG;
		}
		if ((pad == 2 && v[1] & 15) || (pad == 1 && v[2] & 3) || n + 3 >= cap)
			return -EBADMSG;
		out[n++] = (char)(v[0] << 2 | v[1] >> 4);
		if (pad < 2)
			out[n++] = (char)(v[1] << 4 | v[2] >> 2);
		if (pad < 1)
			out[n++] = (char)(v[2] << 6 | v[3]);
	}
	out[n] = 0;
	return (int)n;
}
