/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A TCP stream as it may come: prefix and frames, cut as the first byte says. */
#include <stdlib.h>
#include <string.h>

#include "frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	size_t step, at = 0, have, n;

	if (!len)
		return 0;
	step = data[0] % 16u + 1;
	data++;
	len--;
	for (have = 0; have < len && frame_prefix(data, have) == FRAME_PART; have++)
		;
	if (frame_prefix(data, have) != FRAME_WHOLE)
		return 0;
	at = FRAME_PREFIX_LEN;
	for (have = at; have <= len; have += step) {
		enum frame_word w;

		while ((w = frame_next(data + at, have - at, 1000, &n)) == FRAME_WHOLE) {
			/* What comes after relies on these. */
			if (n + FRAME_HEAD > 1000 || at + FRAME_HEAD + n > have)
				abort();
			at += FRAME_HEAD + n;
		}
		if (w == FRAME_BROKEN)
			return 0;
		if (have - at >= 1000)
			abort(); /* it would wait for what cannot be */
	}
	return 0;
}
