/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef UNIT_HEX_H
#define UNIT_HEX_H

/* Vectors as text: whitespace is skipped. Include after cmocka.h. */

#include <ctype.h>
#include <stdint.h>
#include <string.h>

struct hex {
	size_t len;
	uint8_t b[2048];
};

static inline struct hex hex(const char *s)
{
	struct hex h = { 0 };
	unsigned half = 0, digits = 0;

	for (; *s; s++) {
		if (isspace((unsigned char)*s))
			continue;
		assert_true(isxdigit((unsigned char)*s) && h.len < sizeof(h.b));
		half = half << 4 |
		       (unsigned)(isdigit((unsigned char)*s) ? *s - '0' : (*s | 32) - 'a' + 10);
		if (++digits % 2 == 0) {
			h.b[h.len++] = (uint8_t)half;
			half = 0;
		}
	}
	assert_int_equal(digits % 2, 0);
	return h;
}

#define assert_hex(p, n, text)                                                                     \
	do {                                                                                       \
		struct hex want_ = hex(text);                                                      \
		assert_int_equal(n, want_.len);                                                    \
		if (want_.len)                                                                     \
			assert_memory_equal(p, want_.b, want_.len);                                \
	} while (0)

#endif
