/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DAEMON_VIEW_H
#define DAEMON_VIEW_H

/*
 * Theory: the configuration as the engine needs it: one struct engine_peer for each peer, with keys
 * and certificates loaded from the files that it names. Belongs to one configuration and lives no
 * longer than it.
 */

#include "config.h"
#include "engine_peer.h"

struct view {
	struct engine_peer peer;
	/* What peer points into: the lists stand behind it in the same piece of memory. */
	struct pubkey **public_key;
	size_t public_key_count;
	struct cert **chain; /* of CERT_CHAIN_MAX, if there is a certificate of ours */
	size_t chain_count;
	struct ca_store *ca;
	struct engine_child_conf *child;
	struct engine_ts *ts;	  /* of all of them */
	uint8_t (*id_bytes)[16]; /* of two identities, if one is an address */
	struct engine_gateway *elsewhere; /* NULL: it is served here */
};

/**
 * view_new() - @own: type of our private key towards this peer, KEY_NONE when not known (or a PSK).
 * @files: where public keys and certificates come from; NULL: they are not loaded.
 * @ike, @esp: for peers whose configuration names none; shared by all, borrowed.
 * NULL with @why on failure, which names file and fault.
 */
struct view *view_new(const struct config_peer *p, const struct conf_files *files,
		      enum key_type own, const struct proposals *ike, const struct proposals *esp,
		      char *why, size_t why_cap);
void view_free(struct view *v);
/** view_gateway() - Where callers are sent, as the engine has it; false: the configuration names none. */
bool view_gateway(const struct config_host *h, struct engine_gateway *to);

/** view_proposals() - What the data plane can do, in the order of this CPU. */
void view_proposals(struct proposals *ike, struct proposals *esp, bool aes_fast);

#endif
