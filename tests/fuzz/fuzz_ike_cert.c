/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A CERT payload's DER: as leaf, as link of a chain, as raw public key. */
#include <stdint.h>
#include <string.h>

#include "cert.h"
#include "vectors/certs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static struct ca_store *anchors;
static struct cert *leaf;

static void setup(void)
{
	struct cert *certs[CERT_CHAIN_MAX];
	size_t n;

	if (!ca_store_new(CERT_ROOT, strlen(CERT_ROOT), &anchors) &&
	    !cert_chain_load(CERT_LEAF, strlen(CERT_LEAF), certs, &n))
		leaf = certs[0];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct span other = { data, len };
	const char *why;
	struct pubkey *k;
	struct cert *c;
	char text[100];

	if (!leaf)
		setup();
	if (!leaf)
		return 0;
	if (!pubkey_from_spki(data, len, &k))
		pubkey_free(k);
	cert_verify(leaf, &other, 1, anchors, CERTS_INSIDE, &why);
	cert_has_id(leaf, 9, data, len);
	if (cert_parse(data, len, &c))
		return 0;
	cert_subject(c, text, sizeof(text));
	cert_has_id(c, 2, "vps.example.net", 15);
	cert_has_id(c, 9, data, len);
	cert_verify(c, NULL, 0, anchors, CERTS_INSIDE, &why);
	if (!cert_pubkey(c, &k))
		pubkey_free(k);
	cert_free(c);
	return 0;
}
