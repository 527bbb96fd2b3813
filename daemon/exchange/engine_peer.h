/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef EXCHANGE_ENGINE_PEER_H
#define EXCHANGE_ENGINE_PEER_H

/*
 * Theory: what the configuration says about one peer, as the engine needs it: a read-only view. The
 * configuration owns every pointer in it and keeps it unchanged until engine_peer_update() or
 * engine_peer_remove() for that peer has returned. Private keys and PSKs are not here: they are
 * named by a reference that only the keys process can resolve.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"

struct engine_blob {
	const uint8_t *data;
	size_t len;
};

/* RFC 7296 s3.5. IPv4/IPv6 addresses in network order; text without a terminating zero. */
struct engine_id {
	uint8_t type; /* 1 IPv4, 2 FQDN, 3 RFC822, 5 IPv6, 9 DER DN, 11 KEY_ID; 0: none */
	const uint8_t *data;
	size_t len; /* <= 255 */
};

/* One selector of RFC 7296 s3.13.1; a prefix is the range of its addresses. */
struct engine_ts {
	uint8_t proto; /* 0: any */
	uint16_t port_from, port_to; /* host order; 0 and 65535: any (ICMP: type << 8 | code) */
	struct addr from, to;	     /* of one family, inclusive */
};

#define ENGINE_ALGS_MAX 12

struct engine_encr {
	uint16_t id;	   /* IANA IKEv2 transform type 1: 20 AES-GCM-16, 28 ChaCha20-Poly1305, 12 AES-CBC */
	uint16_t key_bits; /* 128, 256; 0 where the cipher has one size */
};

/*
 * What we offer and accept, each list in order of preference. Offered as one proposal for all AEAD
 * ciphers and one for the others; an empty prf list means "not for ESP".
 */
struct engine_suites {
	struct engine_encr encr[ENGINE_ALGS_MAX];
	uint16_t prf[ENGINE_ALGS_MAX];	 /* type 2; IKE only */
	uint16_t integ[ENGINE_ALGS_MAX]; /* type 3; only with ciphers that are no AEAD */
	uint16_t ke[ENGINE_ALGS_MAX];	 /* type 4; for ESP: PFS groups of a rekey, none means no PFS */
	uint8_t encr_count, prf_count, integ_count, ke_count;
	bool ke_required; /* ESP: refuse a rekey without KE (key `pfs = required`) */
	bool esn, no_esn; /* ESP: which of the two we take; ESN first when both */
};

enum engine_auth_kind {
	ENGINE_AUTH_PSK,  /* shared secret, AUTH method 2 */
	ENGINE_AUTH_RAW,  /* public keys known by file: methods 14 (RFC 7427), 9-11 */
	ENGINE_AUTH_CERT, /* X.509 chain to a trust anchor, the same methods */
};

/* How we prove ourselves to the peer. */
struct engine_auth_local {
	enum engine_auth_kind kind;
	uint32_t key_ref; /* of the private key or PSK, resolved by the keys process */
	/* RAW, CERT: SubjectPublicKeyInfo (DER) that belongs to key_ref: tells which schemes fit. */
	struct engine_blob public_key;
	const struct engine_blob *chain; /* CERT: end entity first, DER */
	size_t chain_count;
};

/* How the peer has to prove itself. */
struct engine_auth_remote {
	enum engine_auth_kind kind;
	uint32_t psk_ref;		      /* PSK */
	const struct engine_blob *public_key; /* RAW: any of these SubjectPublicKeyInfo, DER */
	size_t public_key_count;
	const struct engine_blob *ca; /* CERT: trust anchors, DER */
	size_t ca_count;
};

struct engine_lifetime {
	uint32_t child_s; /* default 3600: the series' initiator rekeys at 90-100 % of it */
	uint32_t ike_s;	  /* default 14400; the other side acts only at 1.1 x */
};

struct engine_peer {
	uint32_t id;	  /* never 0, unique, stable over reloads as long as the section name is */
	const char *name; /* of the configuration section, for logs */
	struct engine_id local_id;
	struct engine_id remote_id;
	struct engine_auth_local local_auth;
	struct engine_auth_remote remote_auth;
	struct engine_suites ike;
	struct engine_suites esp;

	/* What lies on our side and what on theirs. The responder narrows a peer's wish against all. */
	const struct engine_ts *local_ts;
	size_t local_ts_count;
	const struct engine_ts *remote_ts;
	size_t remote_ts_count;

	/* Configuration payload. A requested address replaces local_ts for this peer. */
	bool request_v4, request_v6; /* initiator: ask for an internal address */
	const struct addr *assign;   /* responder: given to exactly this identity; also its remote_ts */
	size_t assign_count;	     /* at most one of each family is handed out, all are allowed */

	struct engine_lifetime lifetime;
	const struct prefix *from; /* waiting side: accept only from here; none: from anywhere */
	size_t from_count;
	bool accept; /* may this peer be the initiator (false: we only call) */
};

#endif
