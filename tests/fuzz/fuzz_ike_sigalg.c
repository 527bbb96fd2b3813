/* SPDX-License-Identifier: GPL-3.0-or-later */
/* AUTH data (first byte the method), and the same bytes as a public key file. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "sign.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint8_t built[SIG_AUTH_DATA_MAX];
	enum sig_scheme s;
	struct span sig;
	struct pubkey *k;
	size_t n;

	if (!pubkey_load(data, len, &k))
		pubkey_free(k);
	if (!len || sig_auth_parse(data[0], data + 1, len - 1, &s, &sig))
		return 0;
	/* What parses can be built, with the same signature at its end. */
	if (!s || sig_auth_build(s, sig.p, sig.len, built, sizeof(built), &n) || n < sig.len ||
	    memcmp(built + n - sig.len, sig.p, sig.len) != 0)
		abort();
	return 0;
}
