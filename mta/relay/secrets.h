/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_RELAY_SECRETS_H
#define MTA_RELAY_SECRETS_H

/*
 * Theory: what relay shows next hops and by what it knows them, all read by the parent. After a reload
 * routes have other indexes, so all that belongs to one is forgotten and comes anew a moment later.
 */
#include <stddef.h>
#include <stdint.h>

#include "config.h"
#include "srs.h"
#include "tls.h"

struct secret_text {
	char *v; /* NUL behind it */
	size_t len;
};

struct secrets {
	struct secret_text chain, key;	/* of [mta] */
	struct secret_text authorities; /* the system's */
	struct srs_keys srs;
	struct route_secret {
		struct secret_text password, chain, key;
	} * route; /* by index in @config */
	size_t count;
	const struct mta_config *config; /* of the indexes; only compared with its own routes */
};

/** secrets_take() - One MTA_KEY of the parent; @config: the one in force. Texts are copied. */
void secrets_take(struct secrets *s, const struct mta_config *config, uint32_t id,
		  const char *chain, size_t chain_len, const char *key, size_t key_len);
/** secrets_forget() - All that belongs to a route, wiped. */
void secrets_forget(struct secrets *s);
/** secrets_missing() - What @route needs and is not there, in words; NULL: nothing. */
const char *secrets_missing(const struct secrets *s, const struct mta_route *route);
/** secrets_password() - NULL when it is not there. */
const char *secrets_password(const struct secrets *s, const struct mta_route *route);
/** secrets_keypair() - The route's own, else that of [mta]; empty without one. Borrowed until the next secrets_ call. */
struct tls_keypair secrets_keypair(const struct secrets *s, const struct mta_route *route);

#endif
