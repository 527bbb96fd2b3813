/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Writes the starting corpora of the ike_* targets below the folder that it is given (corpus/). Not
 * part of a normal build: ninja tests/fuzz/make_ike_corpus, and commit what it wrote.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cert.h"
#include "vectors/certs.h"
#include "vectors/ike_sample.h"

static const char *root;

static void save(const char *target, const char *name, const void *p, size_t len)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", root, target);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/%s/%s", root, target, name);
	f = fopen(path, "wb");
	if (!f || fwrite(p, 1, len, f) != len || fclose(f)) {
		perror(path);
		exit(1);
	}
}

static void save_chain(const char *name, struct ike_build *b, const uint8_t *inner)
{
	static uint8_t chain[4097];
	size_t n;

	if (ike_build_end(b, &n))
		exit(1);
	chain[0] = b->first;
	memcpy(chain + 1, inner, n);
	save("ike_sk", name, chain, n + 1);
}

/* RFC 4555 and RFC 6290. */
static void moving(void)
{
	static uint8_t inner[4096], buf[256];
	static const uint8_t bytes[36] = { 198, 51, 100, 77, 192, 0, 2, 1, 0x9c, 0x41, 0x11, 0x94 };
	struct ike_hdr h = sample_hdr(INFORMATIONAL, IKE_FLAG_RESPONSE, 2);
	struct ike_build b;
	size_t len;

	ike_build_inner(&b, inner, sizeof(inner));
	pld_notify_add(&b, UPDATE_SA_ADDRESSES, (struct span){ NULL, 0 });
	pld_notify_add(&b, NAT_DETECTION_SOURCE_IP, (struct span){ bytes, 20 });
	pld_notify_add(&b, NAT_DETECTION_DESTINATION_IP, (struct span){ bytes, 20 });
	pld_notify_add(&b, COOKIE2, (struct span){ bytes, 16 });
	pld_notify_add(&b, NO_NATS_ALLOWED, (struct span){ bytes, 12 });
	pld_notify_add(&b, NO_NATS_ALLOWED, (struct span){ bytes, 36 });
	save_chain("update_request", &b, inner);
	ike_build_inner(&b, inner, sizeof(inner));
	pld_notify_add(&b, COOKIE2, (struct span){ bytes, 16 });
	pld_notify_add(&b, UNACCEPTABLE_ADDRESSES, (struct span){ NULL, 0 });
	pld_notify_add(&b, UNEXPECTED_NAT_DETECTED, (struct span){ NULL, 0 });
	save_chain("update_answer", &b, inner);
	ike_build_inner(&b, inner, sizeof(inner));
	pld_notify_add(&b, MOBIKE_SUPPORTED, (struct span){ NULL, 0 });
	pld_notify_add(&b, ADDITIONAL_IP4_ADDRESS, (struct span){ bytes, 4 });
	pld_notify_add(&b, ADDITIONAL_IP6_ADDRESS, (struct span){ bytes, 16 });
	pld_notify_add(&b, NO_ADDITIONAL_ADDRESSES, (struct span){ NULL, 0 });
	pld_notify_add_ike(&b, QCD_TOKEN, (struct span){ bytes, 16 });
	save_chain("addresses_and_token", &b, inner);
	ike_build_begin(&b, buf, sizeof(buf), &h);
	pld_notify_add(&b, INVALID_IKE_SPI, (struct span){ NULL, 0 });
	pld_notify_add_ike(&b, QCD_TOKEN, (struct span){ bytes, 16 });
	if (ike_build_end(&b, &len))
		exit(1);
	save("ike_message", "lost_with_token", buf, len);
}

static void messages(void)
{
	static uint8_t buf[4096], inner[4096], chain[4097];
	struct ike_hdr h = sample_hdr(IKE_AUTH, IKE_FLAG_INITIATOR, 1);
	struct ike_aead *a = sample_aead();
	struct frag_plan plan;
	struct ike_build b;
	uint8_t first;
	size_t len, n;

	save("ike_message", "init_request", buf, sample_init(buf, sizeof(buf)));
	n = sample_inner(inner, sizeof(inner), &first);
	chain[0] = first;
	memcpy(chain + 1, inner, n);
	save("ike_sk", "auth_request", chain, n + 1);
	if (sk_seal(a, &h, first, inner, n, buf, sizeof(buf), &len))
		exit(1);
	save("ike_message", "auth_request", buf, len);
	if (frag_plan(a, n, 400, &plan) ||
	    skf_seal(a, &h, &plan, 2, first, inner, n, buf, sizeof(buf), &len))
		exit(1);
	save("ike_message", "fragment", buf, len);
	/* The inner chain in the clear, so that a byte changed in it is no ICV error. */
	ike_build_begin(&b, buf, sizeof(buf), &h);
	buf[16] = first;
	wr_bytes(&b.w, inner, n);
	if (ike_build_end(&b, &len))
		exit(1);
	save("ike_message", "auth_in_the_clear", buf, len);
	save("ike_sk", "empty", "\0", 1);
	ike_build_inner(&b, inner, sizeof(inner));
	pld_delete_add_ike(&b);
	if (ike_build_end(&b, &n))
		exit(1);
	chain[0] = b.first;
	memcpy(chain + 1, inner, n);
	save("ike_sk", "delete", chain, n + 1);
	ike_aead_free(a);
}

static void fragments(void)
{
	static const char reversed[] = "\1\3\3\0\0\0\2ef\1\2\3\0\0\0\2cd\1\1\3\51\0\0\2ab";
	static const char restart[] =
	    "\1\1\2\51\0\0\1a\1\1\3\51\0\0\1b\1\2\2\0\0\0\1c\2\1\1\51\0\0\1d";
	static const char late[] = "\1\1\2\51\0\0\1a\1\2\2\0\x28\0\1b\1\1\2\51\0\0\1a";
	static const char whole[] = "\1\1\1\51\0\0\10\0\0\0\10\0\0\100\0";

	save("ike_skf", "reversed", reversed, sizeof(reversed) - 1);
	save("ike_skf", "restart", restart, sizeof(restart) - 1);
	save("ike_skf", "late", late, sizeof(late) - 1);
	save("ike_skf", "whole", whole, sizeof(whole) - 1);
}

static void certificates(void)
{
	static const struct {
		const char *name, *pem;
	} t[] = { { "root", CERT_ROOT },       { "inter", CERT_INTER }, { "leaf", CERT_LEAF },
		  { "no_sign", CERT_NO_SIGN }, { "nul", CERT_NUL },	{ "weak", CERT_RSA1024 } };
	struct cert *certs[CERT_CHAIN_MAX];
	uint8_t spki[KEY_SPKI_MAX];
	struct pubkey *k;
	size_t n;

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		if (cert_chain_load(t[i].pem, strlen(t[i].pem), certs, &n))
			exit(1);
		save("ike_cert", t[i].name, cert_der(certs[0]).p, cert_der(certs[0]).len);
		if (!strcmp(t[i].name, "leaf")) {
			if (cert_pubkey(certs[0], &k) || pubkey_spki(k, spki, sizeof(spki), &n))
				exit(1);
			save("ike_cert", "spki", spki, n);
			pubkey_free(k);
		}
		cert_free(certs[0]);
	}
}

static void signatures(void)
{
	static const char trailer[] =
	    "\x0e\x48\x30\x46\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x39\xa0\x0f"
	    "\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\xa1\x1c\x30\x1a"
	    "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\x30\x0d\x06\x09\x60\x86\x48\x01"
	    "\x65\x03\x04\x02\x01\x05\x00\xa2\x03\x02\x01\x20\xa3\x03\x02\x01\x01sig";
	static const char line[] =
	    "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo= test\n";
	uint8_t data[SIG_AUTH_DATA_MAX];
	size_t n;

	for (enum sig_scheme s = SIG_ED25519; s < SIG_SCHEMES; s++) {
		data[0] = (uint8_t)sig_scheme_method(s);
		if (sig_auth_build(s, "signature", 9, data + 1, sizeof(data) - 1, &n))
			exit(1);
		save("ike_sigalg", sig_scheme_name(s), data, n + 1);
	}
	save("ike_sigalg", "pss-trailer", trailer, sizeof(trailer) - 1);
	save("ike_sigalg", "public-key", line, sizeof(line) - 1);
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: make_ike_corpus FOLDER\n");
		return 2;
	}
	root = argv[1];
	messages();
	moving();
	fragments();
	certificates();
	signatures();
	return 0;
}
