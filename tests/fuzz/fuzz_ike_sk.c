/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What an authenticated peer can say: first byte the type of the first payload, the rest the chain. It
 * is sealed under a known key, opened again and walked.
 */
#include <stdint.h>
#include <stdlib.h>

#include "vectors/ike_bodies.h"
#include "vectors/ike_sample.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct ike_hdr h = sample_hdr(IKE_AUTH, IKE_FLAG_INITIATOR, 1);
	uint8_t *msg = NULL, *plain = NULL;
	struct ike_aead *a;
	struct ike_msg m;
	size_t n, got;

	if (!len || len > 60000)
		return 0;
	a = sample_aead();
	msg = malloc(len + 256);
	plain = malloc(len); /* exact: chain and pad length */
	if (!a || !msg || !plain)
		goto out;
	if (sk_seal(a, &h, data[0], data + 1, len - 1, msg, len + 256, &n) ||
	    ike_msg_parse(msg, n, &m) || sk_open(a, &m, plain, len, &got) || got != len - 1)
		abort();
	if (!ike_msg_parse_inner(&m, m.sk.first, plain, got))
		use_bodies(&m);
out:
	ike_aead_free(a);
	free(msg);
	free(plain);
	return 0;
}
