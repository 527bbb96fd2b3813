/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "srs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/*
 * An address that somebody sends a bounce to, and what a stranger is called. Whatever is an address
 * and can be written anew comes back as it was; and what the fuzzer wrote itself never comes back.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char secret[] = "0123456789abcdef";
	char out[ADDRESS_MAX + 1], back[ADDRESS_MAX + 1], text[2 * ADDRESS_MAX];
	struct srs_keys k;
	struct address a;

	if (size >= sizeof(text) || memchr(data, 0, size))
		return 0;
	memcpy(text, data, size);
	text[size] = 0;
	if (srs_keys_parse(&k, secret, sizeof(secret) - 1))
		abort();
	if (!srs_reverse(&k, text, 20000, 1022, back, sizeof(back)))
		abort();
	if (!address_parse(text, size, ADDRESS_ALLOW_UTF8, &a) &&
	    !srs_forward(&k, text, "us.example", 20000, out, sizeof(out)) &&
	    srs_reverse(&k, out, 20000, 21, back, sizeof(back)) == 0) {
		/* SRS1 of others comes back as the first forwarder's, all else as it was. */
		if (!srs_is(text) && strcmp(back, text))
			abort();
	} else if (!address_parse(text, size, ADDRESS_ALLOW_UTF8, &a) &&
		   !srs_forward(&k, text, "us.example", 20000, out, sizeof(out)) && !srs_is(text)) {
		abort(); /* what we made we know */
	}
	srs_keys_clear(&k);
	return 0;
}
