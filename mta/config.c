/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include <errno.h>
#include <string.h>

bool strv_has(const struct strv *s, const char *word)
{
	for (size_t i = 0; i < s->count; i++) {
		if (!strcmp(s->v[i], word))
			return true;
	}
	return false;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int pin_parse(const char *hex, uint8_t sha256[static 32])
{
	for (size_t i = 0; i < 32; i++) {
		int hi, lo;

		if (i && *hex == ':')
			hex++;
		hi = hex_digit(hex[0]);
		lo = hi < 0 ? -1 : hex_digit(hex[1]);
		if (lo < 0)
			return -EINVAL;
		sha256[i] = (uint8_t)(hi << 4 | lo);
		hex += 2;
	}
	return *hex ? -EINVAL : 0;
}
