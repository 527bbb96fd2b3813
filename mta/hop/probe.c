/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "probe.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

const char *probe_address(const uint8_t token[static LETTER_ID_LEN],
			  char out[static PROBE_ADDRESS_MAX])
{
	char hex[LETTER_ID_STR_MAX];

	snprintf(out, PROBE_ADDRESS_MAX, "%s@%s", letter_id_str(token, hex), PROBE_DOMAIN);
	return out;
}

bool probe_is_address(const char *address)
{
	const char *at = strrchr(address, '@');

	return at && !strcasecmp(at + 1, PROBE_DOMAIN);
}

int probe_token(const char *address, uint8_t token[static LETTER_ID_LEN])
{
	char hex[LETTER_ID_STR_MAX];

	if (!probe_is_address(address) || strrchr(address, '@') - address != LETTER_ID_STR_MAX - 1)
		return -EINVAL;
	memcpy(hex, address, sizeof(hex) - 1);
	hex[sizeof(hex) - 1] = 0;
	return letter_id_parse(hex, token);
}
