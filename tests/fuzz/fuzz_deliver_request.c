/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "deliver.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is taken comes out again byte for byte. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t out[DELIVER_PACKET_MAX];
	struct deliver_request r;
	struct deliver_answer a;
	size_t len;

	if (!deliver_request_parse(&r, data, size) &&
	    (deliver_request_build(&r, out, &len) || len != size || memcmp(out, data, len)))
		abort();
	if (!deliver_answer_parse(&a, data, size) &&
	    (deliver_answer_build(&a, out, &len) || len != size || memcmp(out, data, len)))
		abort();
	return 0;
}
