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
#include "cert.h"
#include "ike_num.h"
#include "proposal.h"
#include "selector.h"
#include "sign.h"

#define ENGINE_CHILDREN_MAX 16 /* CHILD SAs that one peer can be configured with */

/* RFC 7296 s3.5. IPv4/IPv6 addresses in network order; text without a terminating zero. */
struct engine_id {
	uint8_t type; /* enum id_type; 0: none */
	const uint8_t *data;
	size_t len; /* <= 255 */
};

enum engine_auth_kind {
	ENGINE_AUTH_PSK,  /* shared secret, AUTH method 2 */
	ENGINE_AUTH_RAW,  /* public keys known by file: methods 14 (RFC 7427), 9-11 */
	ENGINE_AUTH_CERT, /* X.509 chain to a trust anchor, the same methods */
};

/* How we prove ourselves to the peer. */
struct engine_auth_local {
	enum engine_auth_kind kind;
	uint32_t key_ref;	   /* of the private key or PSK, resolved by the keys process */
	uint64_t key_mark;	   /* changes with the secret behind key_ref; 0: not known */
	enum key_type key_type;	   /* RAW, CERT: of key_ref; tells which schemes fit */
	struct cert *const *chain; /* CERT: end entity first */
	size_t chain_count;	   /* <= CERT_CHAIN_MAX */
};

/* How the peer has to prove itself. */
struct engine_auth_remote {
	enum engine_auth_kind kind;
	uint32_t psk_ref;		  /* PSK */
	uint64_t psk_mark;		  /* changes with the secret behind psk_ref */
	struct pubkey *const *public_key; /* RAW: any of these */
	size_t public_key_count;
	const struct ca_store *ca; /* CERT: trust anchors */
};

/* Childless IKE SAs (RFC 6023): IKE_AUTH without a CHILD SA, which comes by CREATE_CHILD_SA, with PFS. */
enum engine_childless {
	ENGINE_CHILDLESS_ALLOW,	 /* take one, start none */
	ENGINE_CHILDLESS_PREFER, /* start one where the responder says that it can */
	ENGINE_CHILDLESS_FORCE,	 /* nothing else, in both roles */
	ENGINE_CHILDLESS_NEVER,	 /* take none, start none */
};

struct engine_lifetime {
	uint32_t
	    ike_s; /* 0: for ever; the series' initiator rekeys at 90-100 % of it, the other side
			   acts only at 1.1 x */
};

/* One selector of the configuration. */
struct engine_ts {
	struct ts ts;
	/*
	 * Its addresses are those that the configuration payload gave, of the family of ts.lo: on
	 * our side what the peer gave us (until it has: any), on its side what it is given. ts.lo
	 * and ts.hi say no more than the family.
	 */
	bool assigned;
};

/*
 * One CHILD SA that is to be up. The series' initiator makes and keeps each of them; the other side
 * narrows a wish against all of them and takes the one that fits best.
 */
struct engine_child_conf {
	uint32_t id; /* never 0, unique in its peer, stable over reloads as long as the name is */
	const char *name;		  /* of the configuration section, for logs; never NULL */
	const struct engine_ts *local_ts; /* what lies on our side, each count >= 1 */
	size_t local_ts_count;
	const struct engine_ts *remote_ts; /* and on theirs */
	size_t remote_ts_count;
	/*
	 * What we offer and accept, without SPIs, in order of preference; may be shared. KE transforms
	 * are the PFS groups of a rekey; KE_NONE among them makes PFS optional. NULL: the peer's.
	 */
	const struct proposals *esp;
	/* The series' initiator rekeys at 90-100 % of each, the other side at 1.1 x. 0: no such limit. */
	uint32_t lifetime_s;
	uint64_t lifetime_bytes, lifetime_pkts; /* in either direction; at 1.25 x nothing is sent */
};

/* Where a gateway sends its clients (RFC 5685): an address, or with family 0 a name. */
struct engine_gateway {
	struct addr addr;
	char name[256];
};

struct engine_peer {
	uint32_t id;	  /* never 0, unique, stable over reloads as long as the section name is */
	const char *name; /* of the configuration section, for logs */
	struct engine_id local_id;
	struct engine_id remote_id;
	struct engine_auth_local local_auth;
	struct engine_auth_remote remote_auth;
	/*
	 * What we offer and accept, without SPIs, in order of preference; may be shared by peers. KE
	 * transforms in esp are the PFS groups of a rekey; KE_NONE among them makes PFS optional.
	 */
	const struct proposals *ike;
	const struct proposals *esp;

	const struct engine_child_conf
	    *child;	    /* in order of preference; the first goes into IKE_AUTH */
	size_t child_count; /* 1 .. ENGINE_CHILDREN_MAX */

	/* Configuration payload. */
	bool request_v4, request_v6; /* initiator: ask for an internal address */
	const struct addr
	    *assign;	     /* responder: given to exactly this identity; see engine_ts.assigned */
	size_t assign_count; /* at most one of each family is handed out, all are allowed */
	bool pool; /* responder: a family that assign lacks comes from engine_ops.address_lease */
	struct addr lease[2];	/* IPv4, IPv6: what it has from there already; family 0: nothing */
	const struct addr *dns; /* responder: name servers, for who asks; up to ENGINE_DNS_MAX */
	size_t dns_count;

	uint64_t retry_max_ms; /* see retransmit.h; 0: as usual */
	struct engine_lifetime lifetime;
	enum engine_childless childless;
	bool redirect; /* may it send us to another address (RFC 5685) */
	const struct engine_gateway *redirect_to; /* waiting side: it is served there; NULL: here */
	const struct prefix *from; /* waiting side: accept only from here; none: from anywhere */
	size_t from_count;
	bool accept; /* may this peer be the initiator (false: we only call) */
};

#endif
