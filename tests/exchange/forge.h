/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TESTS_EXCHANGE_FORGE_H
#define TESTS_EXCHANGE_FORGE_H

/*
 * Theory: a peer that has the keys of an IKE SA and sends what no engine would. It takes the keys from the
 * engine whose place it takes, opens a message of that engine on its way, changes the payloads and seals
 * it again; or it makes up a message of its own.
 */

#include "world.h"
#include "ike_sa.h"
#include "payload.h"
#include "sk.h"

#define CHAIN_MAX	70
#define FORGE_MSG_MAX	40000
#define FORGE_PLAIN_MAX 40000

/* The payloads that stand in SK, as they come; bodies are views into bytes, or the test's own. */
struct chain {
	struct link {
		uint8_t type;
		const uint8_t *body;
		size_t len;
	} v[CHAIN_MAX];
	unsigned n;
	uint8_t bytes[FORGE_PLAIN_MAX];
};

/** chain_find() - The first payload of @type, or NULL. */
struct link *chain_find(struct chain *c, uint8_t type);
/** chain_drop() - All payloads of @type go. */
void chain_drop(struct chain *c, uint8_t type);
/** chain_add() - One more at the end; @body is borrowed until the message is sealed. */
void chain_add(struct chain *c, uint8_t type, const void *body, size_t len);
/** chain_notify() - The first notify of @type, or NULL. */
struct link *chain_notify(struct chain *c, uint16_t type);
/** chain_write() - The chain as the plaintext of SK; its length and the first type. */
size_t chain_write(const struct chain *c, uint8_t *out, size_t cap, uint8_t *first);

/** forge_pair() - Both are up, with a PSK; neither follows packets from elsewhere. */
struct world *forge_pair(uint64_t seed);
/** forge_ends() - The two still agree, leave nothing behind, and go. */
void forge_ends(struct world *w);
/** forge_up() - The IKE SA of that host that is up. */
struct ike_sa *forge_up(struct world *w, int host);
/** forge_sa() - The IKE SA of that host with these SPIs, half-open ones too; or NULL. */
struct ike_sa *forge_sa(struct world *w, int host, const struct ike_hdr *h);
/** forge_aead() - The context of @sa, its own, for what the initiator (or the responder) sends. */
struct ike_aead *forge_aead(const struct ike_sa *sa, bool from_initiator);
/** forge_hdr() - Header of a message that @host would send on @sa. */
struct ike_hdr forge_hdr(const struct ike_sa *sa, uint8_t exchange, bool response, uint32_t id);
/** forge_open() - What stands in the SK message that @from sent; false: it is none, or no key. */
bool forge_open(struct world *w, int from, const uint8_t *bytes, size_t len, struct ike_hdr *h,
		struct chain *c);
/** forge_seal() - @c in one SK message, by the keys of @from's @sa. */
size_t forge_seal(const struct ike_sa *sa, const struct ike_hdr *h, const struct chain *c,
		  uint8_t *out, size_t cap);
/** forge_inject() - The same, arriving at @to now by its usual path. */
void forge_inject(struct world *w, int to, const struct ike_sa *sa, const struct ike_hdr *h,
		  const struct chain *c);

/* A filter (world.filter, with this as filter_arg) that changes messages on their way. */
struct forgery {
	int from;
	uint8_t exchange;
	bool response;
	/* Changes the payloads; false: this message stays as it was. */
	bool (*edit)(struct world *w, struct chain *c, struct ike_hdr *h, void *arg);
	void *arg;
	unsigned done; /* messages changed */
};

bool forge_filter(struct world *w, int to, const struct engine_path *path, uint8_t *bytes,
		  size_t *len);

#endif
