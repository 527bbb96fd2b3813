/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Whatever arrives on the socket: header, outer chain, and every body that a stranger can send. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "vectors/ike_bodies.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct ike_msg m;
	uint8_t *copy;

	if (!ike_msg_parse(data, len, &m))
		use_bodies(&m);
	if (len < IKE_HDR_LEN || len > UINT16_MAX)
		return 0;
	/* Once more with the length set right, or nearly nothing gets past the header. */
	copy = malloc(len);
	if (!copy)
		return 0;
	memcpy(copy, data, len);
	copy[24] = copy[25] = 0;
	copy[26] = (uint8_t)(len >> 8);
	copy[27] = (uint8_t)len;
	if (!ike_msg_parse(copy, len, &m))
		use_bodies(&m);
	free(copy);
	return 0;
}
