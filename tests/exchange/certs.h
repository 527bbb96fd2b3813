/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TESTS_EXCHANGE_CERTS_H
#define TESTS_EXCHANGE_CERTS_H

#include "cert.h"

#define TEST_CERT_NOW 1800000000 /* certificates are valid half a year around it */

/* What is wrong with a chain, or only unusual: below PKI_FAULTS it has to be refused. */
enum pki_fault {
	PKI_OTHER_CA, /* signed by an authority of the same name and another key */
	PKI_OTHER_NAME,
	PKI_EXPIRED,
	PKI_NOT_YET,
	PKI_WEAK_CA_KEY, /* RSA-1024, in the middle */
	PKI_SHA1,
	PKI_PATH_LENGTH,   /* the root allows no authority below it, and there is one */
	PKI_CONSTRAINT,	   /* the middle may name *.example.org only */
	PKI_EXCLUDED,	   /* and here not what is below example.net */
	PKI_NOT_CA,	   /* basicConstraints of the middle: CA:FALSE */
	PKI_NO_CERT_SIGN,  /* keyUsage of the middle without keyCertSign */
	PKI_KEY_USAGE,	   /* of the leaf: keyEncipherment alone */
	PKI_CODE_SIGNING,  /* extendedKeyUsage of the leaf */
	PKI_MISSING_INTER, /* the middle is not sent */
	PKI_FAULTS,
	PKI_GOOD = PKI_FAULTS,
	PKI_INTER,	   /* with a middle */
	PKI_CONSTRAINT_OK, /* whose constraints hold the name */
	PKI_EKU_IKE,	   /* RFC 4945 s5.1.3.12: id-kp-ipsecIKE */
	PKI_EKU_ANY,
	PKI_EKU_SERVER,
	PKI_KINDS
};

/**
 * test_cert_load() - A key, its certificate and the CA that signed it, made on the spot.
 * @kind: 0 Ed25519, 1 ECDSA P-256, 2 RSA. @index: 0 home.example.net, 1 vps.example.net.
 */
void test_cert_load(int kind, int index, struct privkey **key, struct cert **chain, size_t *count,
		    const struct ca_store **ca);
/** test_pki() - The same on P-256, with @fault. @chain: leaf, then the middle if there is one. */
void test_pki(enum pki_fault fault, int index, struct privkey **key, struct cert **chain,
	      size_t *count, const struct ca_store **ca);

#endif
