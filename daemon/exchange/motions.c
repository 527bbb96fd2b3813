/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: going through the motions. A caller whose proof cannot hold, since the identity is nobody's or its
 * key is of another kind than the signature, must not learn that from the time that the answer takes
 * (RFC 7296 s2.21.2 wants one answer; this makes it one cost). So a signature of the scheme that he chose
 * is verified all the same, against a key that nobody owns. Only what he chose decides which
 * key that is, never what is configured.
 */
#include "engine_int.h"

#define RSA_BYTES 256

/* RFC 8032 s7.1, test 1: a public key that nobody configures. */
static const uint8_t ed25519_spki[] = {
	0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00, 0xd7, 0x5a, 0x98,
	0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a, 0x0e, 0xe1,
	0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a,
};

/* An odd number of full length in place of a product of primes: the work is the same (RFC 8017 s8.2.2). */
static int rsa_key(struct engine *e, struct pubkey **out)
{
	static const uint8_t head[] = { 0x30, 0x82, 0x01, 0x22, 0x30, 0x0d, 0x06, 0x09, 0x2a,
					0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05,
					0x00, 0x03, 0x82, 0x01, 0x0f, 0x00, 0x30, 0x82, 0x01,
					0x0a, 0x02, 0x82, 0x01, 0x01, 0x00 };
	static const uint8_t exponent[] = { 0x02, 0x03, 0x01, 0x00, 0x01 };
	uint8_t der[sizeof(head) + RSA_BYTES + sizeof(exponent)], *n = der + sizeof(head);

	memcpy(der, head, sizeof(head));
	engine_random(e, n, RSA_BYTES);
	n[0] |= 0x80;
	n[RSA_BYTES - 1] |= 1;
	memcpy(n + RSA_BYTES, exponent, sizeof(exponent));
	return pubkey_from_spki(der, sizeof(der), out);
}

static int ec_key(enum key_type t, struct pubkey **out)
{
	struct secret unused = { 0 };
	char pem[2048];
	int err = key_generate(t, &unused, pem, sizeof(pem));

	secret_clear(&unused);
	return err ? err : pubkey_load(pem, strlen(pem), out);
}

/* The curve is the one that the hash is meant for, as under methods 9 to 11. */
static enum key_type key_for(enum sig_scheme s)
{
	if (sig_scheme_fits(s, KEY_ED25519))
		return KEY_ED25519;
	if (sig_scheme_fits(s, KEY_RSA))
		return KEY_RSA;
	return sig_scheme_hash(s) == SIG_HASH_SHA2_384	 ? KEY_P384
	       : sig_scheme_hash(s) == SIG_HASH_SHA2_512 ? KEY_P521
							 : KEY_P256;
}

void motions(struct engine *e, enum sig_scheme s, struct span octets, struct span sig)
{
	enum key_type t = key_for(s);
	struct pubkey **k = &e->nobody[t];

	/* Made when first needed: few engines ever meet all kinds. */
	if (!*k && (t == KEY_ED25519 ? pubkey_from_spki(ed25519_spki, sizeof(ed25519_spki), k)
		    : t == KEY_RSA   ? rsa_key(e, k)
				     : ec_key(t, k)))
		return;
	(void)sig_verify(*k, s, octets, sig);
}

void motions_free(struct engine *e)
{
	for (unsigned i = 0; i < MOTIONS_KEYS; i++)
		pubkey_free(e->nobody[i]);
}
