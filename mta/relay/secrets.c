/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "secrets.h"

#include <stdlib.h>
#include <string.h>

#include "proc_mta.h"
#include "secret.h"

static void drop(struct secret_text *t)
{
	if (t->v)
		secret_wipe(t->v, t->len);
	free(t->v);
	*t = (struct secret_text){ 0 };
}

static void keep(struct secret_text *t, const char *from, size_t len)
{
	drop(t);
	t->v = malloc(len + 1);
	if (!t->v)
		return;
	memcpy(t->v, from, len);
	t->v[len] = 0;
	t->len = len;
}

static struct route_secret *at(struct secrets *s, const struct mta_config *config, size_t i)
{
	if (!s->route) {
		s->route = calloc(config->route_count, sizeof(*s->route));
		s->count = s->route ? config->route_count : 0;
		s->config = config;
	}
	return i < s->count ? &s->route[i] : NULL;
}

void secrets_take(struct secrets *s, const struct mta_config *config, uint32_t id,
		  const char *chain, size_t chain_len, const char *key, size_t key_len)
{
	struct route_secret *r;

	if (id == MTA_KEY_CLIENT) {
		keep(&s->chain, chain, chain_len);
		keep(&s->key, key, key_len);
	} else if (id == MTA_KEY_SRS) {
		srs_keys_take(&s->srs, key, key_len);
	} else if (id == MTA_KEY_CA) {
		keep(&s->authorities, key, key_len);
	} else if (id >= MTA_KEY_PASSWORD) {
		r = at(s, config, id - MTA_KEY_PASSWORD);
		if (r)
			keep(&r->password, key, key_len);
	} else if (id >= MTA_KEY_ROUTE) {
		r = at(s, config, id - MTA_KEY_ROUTE);
		if (r) {
			keep(&r->chain, chain, chain_len);
			keep(&r->key, key, key_len);
		}
	}
}

void secrets_forget(struct secrets *s)
{
	for (size_t i = 0; i < s->count; i++) {
		drop(&s->route[i].password);
		drop(&s->route[i].chain);
		drop(&s->route[i].key);
	}
	free(s->route);
	s->route = NULL;
	s->count = 0;
	s->config = NULL;
}

static const struct route_secret *of(const struct secrets *s, const struct mta_route *route)
{
	static const struct route_secret none;

	return s->route ? &s->route[route - s->config->routes] : &none;
}

const char *secrets_password(const struct secrets *s, const struct mta_route *route)
{
	return of(s, route)->password.v;
}

const char *secrets_missing(const struct secrets *s, const struct mta_route *route)
{
	const struct route_secret *r = of(s, route);

	if (route->username && !r->password.v)
		return "the route's password-file could not be read";
	if (route->certificate && (!r->chain.v || !r->key.v))
		return "the route's certificate could not be read";
	return NULL;
}

struct tls_keypair secrets_keypair(const struct secrets *s, const struct mta_route *route)
{
	const struct route_secret *r = of(s, route);

	if (route->certificate)
		return (struct tls_keypair){ r->chain.v, r->chain.len, r->key.v, r->key.len };
	return (struct tls_keypair){ s->chain.v, s->chain.len, s->key.v, s->key.len };
}
