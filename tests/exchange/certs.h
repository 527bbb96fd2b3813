/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TESTS_EXCHANGE_CERTS_H
#define TESTS_EXCHANGE_CERTS_H

#include "cert.h"

#define TEST_CERT_NOW 1800000000 /* certificates are valid a year around it */

/**
 * test_cert_load() - A key, its certificate and the CA that signed it, made on the spot.
 * @kind: 0 Ed25519, 1 ECDSA P-256, 2 RSA. @index: 0 home.example.net, 1 vps.example.net.
 */
void test_cert_load(int kind, int index, struct privkey **key, struct cert **chain, size_t *count,
		    const struct ca_store **ca);

#endif
