/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "frame.h"

#include <string.h>

enum frame_word frame_next(const uint8_t *p, size_t have, size_t max, size_t *len)
{
	size_t n;

	if (have < FRAME_HEAD)
		return FRAME_PART;
	n = (size_t)p[0] << 8 | p[1];
	if (n < FRAME_HEAD || n > max)
		return FRAME_BROKEN;
	if (have < n)
		return FRAME_PART;
	*len = n - FRAME_HEAD;
	return FRAME_WHOLE;
}

enum frame_word frame_prefix(const uint8_t *p, size_t have)
{
	size_t n = have < FRAME_PREFIX_LEN ? have : FRAME_PREFIX_LEN;

	if (memcmp(p, FRAME_PREFIX, n) != 0)
		return FRAME_BROKEN;
	return have < FRAME_PREFIX_LEN ? FRAME_PART : FRAME_WHOLE;
}
