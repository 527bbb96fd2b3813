/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CRYPTO_CERT_H
#define CRYPTO_CERT_H

/*
 * X.509 as far as IKE needs it (RFC 4945): parse a peer's leaf, check its chain against the CA file of
 * the peer section, compare its subject or a subjectAltName with the ID payload, exactly: no wildcard,
 * no fallback to the common name. No network, no files: texts and time come from the caller.
 *
 * The chain is OpenSSL's to check: signatures, dates, basicConstraints, path length, keyUsage of the
 * authorities, name constraints; 112 bits of strength, so neither SHA-1 nor RSA below 2048. Any
 * certificate of the CA file is an anchor, an intermediate too. Ours is what RFC 4945 asks of
 * the leaf: keyUsage, where present, allows signatures (s5.1.3.2), extendedKeyUsage, where
 * present, holds id-kp-ipsecIKE or anyExtendedKeyUsage (s5.1.3.12). A knowing departure: serverAuth,
 * clientAuth and the ikeIntermediate of old do as well, since the common authorities give nothing
 * else; who may sign for a name is settled by the CA file, not by what the name is used for.
 */

#include "sign.h"

#define CERT_DER_MAX   16384 /* bytes; a larger one is refused */
#define CERT_CHAIN_MAX 8     /* certificates, leaf included */

struct cert;
struct ca_store;

/** cert_parse() - DER, exactly @len bytes. 0, -EBADMSG, -EMSGSIZE, -ENOMEM. */
int cert_parse(const void *der, size_t len, struct cert **out);
void cert_free(struct cert *c);
/** cert_der() - View; lives as long as @c. */
struct span cert_der(const struct cert *c);
/** cert_pubkey() - Caller frees. 0, -ENOTSUP (key type or size not ours), -ENOMEM. */
int cert_pubkey(const struct cert *c, struct pubkey **out);
/** cert_subject() - One line for logs, cut at @cap; returns @out. */
const char *cert_subject(const struct cert *c, char *out, size_t cap);
/**
 * cert_has_id() - Does the certificate name this identity?
 * @id_type: of the ID payload: FQDN -> dNSName, RFC822 -> rfc822Name, IPv4/IPv6 -> iPAddress,
 * DER_ASN1_DN -> subject, compared as DER. Other types and embedded NULs: false.
 */
bool cert_has_id(const struct cert *c, uint8_t id_type, const void *id, size_t len);

/**
 * cert_chain_load() - Certificates of our own from a PEM file, leaf first.
 * @certs: takes up to CERT_CHAIN_MAX, the caller frees each; @count: how many.
 */
int cert_chain_load(const void *pem, size_t len, struct cert *certs[static CERT_CHAIN_MAX],
		    size_t *count);

/**
 * ca_store_new() - Trust anchors from PEM text, at least one.
 * 0, -EBADMSG, -ENOTSUP (the key of one is of a type or size that is not ours), -ENOMEM.
 */
int ca_store_new(const void *pem, size_t len, struct ca_store **out);
void ca_store_free(struct ca_store *s);
size_t ca_store_count(const struct ca_store *s);
/** ca_store_keyid() - SHA-1 of the SPKI of anchor @i, as CERTREQ carries it (RFC 7296 s3.7). */
int ca_store_keyid(const struct ca_store *s, size_t i, uint8_t out[static 20]);

/**
 * cert_verify() - Chain from @leaf through any of @others (untrusted) to an anchor.
 * @others: DER of the peer's further CERT payloads; unusable ones are skipped, at most
 * CERT_CHAIN_MAX are looked at.
 * @now_s: wall-clock seconds; negative: do not judge dates (a router without a clock).
 * @why: static text for the log on failure: a clause whose subject is the certificate.
 * Returns 0, -EKEYEXPIRED (only the dates are wrong), -EKEYREJECTED, -ENOMEM.
 */
int cert_verify(const struct cert *leaf, const struct span *others, size_t count,
		const struct ca_store *anchors, int64_t now_s, const char **why);

#endif
