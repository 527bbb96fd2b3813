/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a listener's TLS demands of clients. Used by smtpd and, before it is started, by the check of
 * the configuration, so that what the check passes serves.
 */
#include <errno.h>
#include <stdio.h>

#include "smtpd.h"

int listener_tls(struct tls_ctx **out, const struct mta_listener *l, const struct bundle *b,
		 const struct tls_keypair *pairs, size_t count, char err[static TLS_ERROR_MAX])
{
	struct tls_pin pins[TLS_PINS_MAX];
	struct tls_server_conf conf = {
		.keypairs = pairs,
		.keypair_count = count,
		/* The pins of homes are looked at when MAIL comes: the tunnel's clients are asked. */
		.ask_client_cert = l->class == LISTEN_TUNNEL || l->client_cert != CLIENT_CERT_NONE,
		.require_cert = l->client_cert == CLIENT_CERT_REQUIRE,
		.require_proof = l->client_cert == CLIENT_CERT_VERIFY,
		.pins = pins,
		.version_min = l->tls_versions.min,
		.version_max = l->tls_versions.max,
		.ciphers = (const char *const *)l->tls_ciphers.v,
		.cipher_count = l->tls_ciphers.count,
	};

	*out = NULL;
	for (; conf.pin_count < l->client_pins.count && conf.pin_count < TLS_PINS_MAX;
	     conf.pin_count++)
		(void)pin_parse(l->client_pins.v[conf.pin_count], pins[conf.pin_count].sha256);
	for (size_t i = 0; i < l->client_login_count; i++)
		conf.keep_ca |= !l->client_logins[i].name;
	if (l->client_ca)
		conf.ca_pem = bundle_file(b, l->client_ca, &conf.ca_pem_len);
	if (l->client_ca && !conf.ca_pem) {
		snprintf(err, TLS_ERROR_MAX, "client-ca cannot be read");
		return -EINVAL;
	}
	return tls_server_ctx_new(out, &conf, err);
}
