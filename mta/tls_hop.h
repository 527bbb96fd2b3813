/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_TLS_HOP_H
#define MTA_TLS_HOP_H

/*
 * Theory: the key by which one Postern knows another inside of the tunnel. It is nobody's public name and is
 * never renewed, so a peer that has seen it once may demand it for ever. The certificate around it is
 * signed by itself and has no dates to speak of; its subject says what it is (TLS_HOP_NAME), so that the
 * certificate of a foreign server, which will be renewed with another key, is not taken for one.
 */

#include <stdbool.h>
#include <stddef.h>

#include "tls.h"

#define TLS_HOP_NAME "Postern hop key"

/**
 * tls_hop_make() - A new key (ECDSA P-256) and its certificate.
 * @pem: both, one after the other, terminated; the caller's, who wipes and frees it.
 *
 * 0, or -EIO when OpenSSL cannot.
 */
int tls_hop_make(char **pem, size_t *len);
/** tls_hop_check() - Are @len bytes of @pem such a pair, key and certificate? Its pin; 0 or -EBADMSG. */
int tls_hop_check(const char *pem, size_t len, struct tls_pin *pin);
/** tls_peer_hop() - The pin of the peer's hop key; -ENOENT when what it showed is none. */
int tls_peer_hop(const struct tls *t, struct tls_pin *pin);

#endif
