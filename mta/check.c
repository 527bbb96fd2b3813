/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bundle.h"
#include "config.h"
#include "ruleset.h"
#include "secret.h"
#include "smtpd/smtpd.h"
#include "tables.h"
#include "tls.h"

static bool serving; /* what cannot be read now, serves nobody */

/* A secret that only root may read is judged by root; 1: leave it alone. */
static int read_secret(struct conf *conf, const char *path, char **text, size_t *len)
{
	char why[CONF_WHY_MAX];
	int rc = conf_file_read(path, CONF_SECRET_FILE, text, len, why, sizeof(why));

	if (rc == -EACCES && geteuid() && !serving)
		return 1;
	if (rc)
		conf_error(conf, 0, "%s: %s", path, why);
	return rc;
}

/* Does a listener before @l have the same pair? Its faults are told once. */
static bool pair_told(const struct mta_config *c, const struct mta_listener *l, size_t i)
{
	for (const struct mta_listener *o = c->listeners; o < l; o++) {
		for (size_t k = 0; k < o->certificates.count; k++) {
			if (!strcmp(o->certificates.v[k], l->certificates.v[i]) &&
			    !strcmp(o->private_keys.v[k], l->private_keys.v[i]))
				return true;
		}
	}
	return false;
}

static void judge_pairs(struct conf *conf, const struct mta_listener *l, const struct bundle *b,
			const struct tls_keypair *kp, size_t total)
{
	struct tls_ctx *ctx = NULL;
	char err[TLS_ERROR_MAX];

	for (size_t i = 0; i < l->certificates.count; i++) {
		struct tls_server_conf one = { .keypairs = &kp[i], .keypair_count = 1 };

		if (tls_server_ctx_new(&ctx, &one, err)) {
			conf_error(conf, 0, "%s with %s: %s", l->certificates.v[i],
				   l->private_keys.v[i], err);
			return;
		}
		tls_ctx_put(ctx);
	}
	if (listener_tls(&ctx, l, b, kp, l->certificates.count, err))
		conf_error(conf, l->line, "listener \"%s\": %s", l->name, err);
	tls_ctx_put(ctx);
	if (total > IPC_PAYLOAD_MAX)
		conf_error(conf, l->line,
			   "listener \"%s\": its certificates and keys are %zu bytes; allowed: %d",
			   l->name, total, IPC_PAYLOAD_MAX);
}

/* Every pair of a listener with what it demands of clients, as smtpd will load them. */
static void check_listener(struct conf *conf, const struct mta_config *c,
			   const struct mta_listener *l, const struct bundle *b)
{
	char *chain[TLS_KEYPAIRS_MAX] = { 0 }, *key[TLS_KEYPAIRS_MAX] = { 0 };
	struct tls_keypair kp[TLS_KEYPAIRS_MAX];
	size_t n = l->certificates.count, total = 0;
	char why[CONF_WHY_MAX];
	bool whole = true;

	memset(kp, 0, sizeof(kp));
	for (size_t i = 0; i < n; i++) {
		if (!conf_ok(conf) && pair_told(c, l, i))
			return;
	}
	for (size_t i = 0; i < n; i++) {
		if (conf_file_read(l->certificates.v[i], 0, &chain[i], &kp[i].chain_len, why,
				   sizeof(why))) {
			conf_error(conf, 0, "%s: %s", l->certificates.v[i], why);
			whole = false;
		} else if (read_secret(conf, l->private_keys.v[i], &key[i], &kp[i].key_len)) {
			whole = false;
		}
		kp[i].chain = chain[i];
		kp[i].key = key[i];
		total += kp[i].chain_len + kp[i].key_len + 8;
	}
	if (whole)
		judge_pairs(conf, l, b, kp, total);
	for (size_t i = 0; i < n; i++) {
		if (key[i])
			secret_wipe(key[i], kp[i].key_len);
		free(key[i]);
		free(chain[i]);
	}
}

/* What a listener or route allows of TLS: judged without certificates, which may be the key of the hop alone. */
static bool limits_hold(struct conf *conf, const char *kind, const char *name,
			const struct tls_range *v, const struct strv *ciphers)
{
	const struct conf_section *s = conf_find(conf, kind, name);
	char err[TLS_ERROR_MAX];

	if (!v->min && !v->max && !ciphers->count)
		return true;
	if (!tls_limits_check(v->min, v->max, (const char *const *)ciphers->v, ciphers->count, err))
		return true;
	conf_error(conf, s ? conf_line(s, "tls-ciphers") : 0,
		   "%s \"%s\": %s; write names of ciphers(1) and versions that OpenSSL has, or leave "
		   "the key away",
		   kind, name, err);
	return false;
}

static bool listener_limits_hold(struct conf *conf, const struct mta_listener *l)
{
	return limits_hold(conf, "listener", l->name, &l->tls_versions, &l->tls_ciphers);
}

/* Whom relay will believe. */
static void check_authorities(struct conf *conf, const char *kind, const char *name,
			      const char *path, const struct bundle *b)
{
	const struct conf_section *s = conf_find(conf, kind, name);
	struct tls_client_conf tc = { .verify = TLS_VERIFY_NAME };
	struct tls_ctx *ctx = NULL;
	char err[TLS_ERROR_MAX];

	if (!path)
		return;
	tc.ca_pem = bundle_file(b, path, &tc.ca_pem_len);
	if (tls_client_ctx_new(&ctx, &tc, err))
		conf_error(conf, s ? conf_line(s, "ca-file") : 0,
			   "%s%s%s%s: ca-file %s: %s; put certificates of authorities into it, "
			   "PEM, or leave the key away",
			   kind, *name ? " \"" : "", name, *name ? "\"" : "", path, err);
	tls_ctx_put(ctx);
}

/* What relay will ask of next hops. */
static void check_demands(struct conf *conf, const struct mta_route *r, const struct bundle *b)
{
	if (limits_hold(conf, "route", r->name, &r->tls_versions, &r->tls_ciphers))
		check_authorities(conf, "route", r->name, r->ca_file, b);
}

/* What relay will show next hops. */
static void check_route(struct conf *conf, const struct mta_route *r)
{
	char *chain = NULL, *key = NULL, why[CONF_WHY_MAX], err[TLS_ERROR_MAX];
	struct tls_client_conf tc = { .verify = TLS_VERIFY_NONE };
	struct tls_ctx *ctx = NULL;

	if (conf_file_read(r->certificate, 0, &chain, &tc.keypair.chain_len, why, sizeof(why))) {
		conf_error(conf, 0, "%s: %s", r->certificate, why);
	} else if (!read_secret(conf, r->private_key, &key, &tc.keypair.key_len)) {
		tc.keypair.chain = chain;
		tc.keypair.key = key;
		if (tls_client_ctx_new(&ctx, &tc, err))
			conf_error(conf, 0, "%s with %s: %s", r->certificate, r->private_key, err);
		tls_ctx_put(ctx);
	}
	if (key)
		secret_wipe(key, tc.keypair.key_len);
	free(key);
	free(chain);
}

/* Who logs in by a certificate has a line too, with what it may send. */
static void check_logins(struct conf *conf, const struct mta_config *c, const struct table *users)
{
	for (const struct mta_listener *l = c->listeners; l < c->listeners + c->listener_count;
	     l++) {
		for (size_t i = 0; i < l->client_login_count; i++) {
			if (!table_get(users, l->client_logins[i].login))
				conf_error(conf, l->line,
					   "listener \"%s\": %s of client-logins is not in %s",
					   l->name, l->client_logins[i].login, c->users);
		}
	}
}

/* "login:hash:senders"; what lookup will say of it when it gets it. */
static void check_users(struct conf *conf, const struct mta_config *c)
{
	const char *path = c->users;
	char *text = NULL, why[CONF_WHY_MAX];
	struct table t = { 0 };
	size_t len = 0;

	if (!read_secret(conf, path, &text, &len)) {
		if (table_parse(&t, text, len, ":", why, sizeof(why)))
			conf_error(conf, 0, "%s: %s", path, why);
		else
			check_logins(conf, c, &t);
		table_clear(&t);
		secret_wipe(text, len);
	}
	free(text);
}

static void check_files(struct conf *conf, struct mta_config *c, int bundle)
{
	char why[512];
	struct bundle *b = bundle_open(bundle);
	struct tables *t = b ? tables_new(c, b, why, sizeof(why)) : NULL;

	if (!t)
		conf_error(conf, 0, "%s", b ? why : strerror(errno));
	if (b && ruleset_load(c, b, why, sizeof(why)))
		conf_error(conf, 0, "%s", why);
	tables_free(t);
	for (size_t i = 0; b && i < c->listener_count; i++) {
		if (listener_limits_hold(conf, &c->listeners[i]) &&
		    c->listeners[i].certificates.count)
			check_listener(conf, c, &c->listeners[i], b);
	}
	if (b)
		check_authorities(conf, "mta", "", c->ca_file, b);
	for (size_t i = 0; b && i < c->route_count; i++)
		check_demands(conf, &c->routes[i], b);
	bundle_free(b);
	for (size_t i = 0; i < c->route_count; i++) {
		if (c->routes[i].certificate)
			check_route(conf, &c->routes[i]);
	}
	if (c->users)
		check_users(conf, c);
}

static bool needs_tls(const struct mta_listener *l)
{
	return l->class == LISTEN_SUBMISSION || l->class == LISTEN_SUBMISSIONS || l->tls_required;
}

int check_doors(const char *path, const char *text, size_t len, const struct mta_config *c,
		int bundle, char *why, size_t cap)
{
	struct conf *conf = conf_parse(&config_schema, path, text, len);
	struct bundle *b = bundle_open(bundle);
	int rc = !conf || !b || !conf_ok(conf);
	char end[600]; /* what it means, in view whatever else is cut */

	snprintf(why, cap, "%s", rc ? "out of memory" : "");
	serving = true;
	for (size_t i = 0; !rc && i < c->listener_count; i++)
		(void)listener_limits_hold(conf, &c->listeners[i]);
	if (!rc)
		check_authorities(conf, "mta", "", c->ca_file, b);
	for (size_t i = 0; !rc && i < c->route_count; i++)
		check_demands(conf, &c->routes[i], b);
	if (!rc && !conf_ok(conf)) {
		conf_told(conf, why, cap);
		rc = 1;
	}
	for (size_t i = 0; !rc && i < c->listener_count; i++) {
		const struct mta_listener *l = &c->listeners[i];

		if (!l->certificates.count || !needs_tls(l))
			continue;
		check_listener(conf, c, l, b);
		if (!conf_ok(conf)) {
			snprintf(end, sizeof(end),
				 "\n%.300s:%u: listener \"%s\" would have no TLS: mend that file, "
				 "or name others by certificate and private-key",
				 path, l->line, l->name);
			conf_told(conf, why, cap - strlen(end));
			strcat(why, end);
			rc = 1;
		}
	}
	bundle_free(b);
	conf_free(conf);
	return rc;
}

int mta_check(const char *path)
{
	struct conf *conf = conf_load(&config_schema, path);
	struct mta_config *c = conf && conf_ok(conf) ? config_new(conf) : NULL;
	char *text = NULL, why[CONF_WHY_MAX];
	size_t len = 0;
	int fd = -1, rc;

	if (c && !conf_file_read(path, 0, &text, &len, why, sizeof(why)))
		fd = bundle_make(conf, text, len, NULL);
	if (fd >= 0)
		check_files(conf, c, fd);
	rc = c && conf_ok(conf) && fd >= 0 ? 0 : 1;
	if (rc)
		fprintf(stderr, "%s\n", conf && conf->errors ? conf->errors : "out of memory");
	else
		printf("%s: nothing wrong\n", path);
	for (size_t i = 0; !rc && i < c->home_count; i++) {
		if (!c->homes[i].recipients && !c->homes[i].recipients_any)
			printf("%s: mail for [home %s] is deferred until that home has told its "
			       "recipients; recipients = FILE or check-recipients = no does "
			       "without\n",
			       path, c->homes[i].name);
	}
	free(text);
	if (fd >= 0)
		close(fd);
	config_free(c);
	conf_free(conf);
	return rc;
}
