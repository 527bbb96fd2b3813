/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bundle.h"
#include "config.h"
#include "secret.h"
#include "tables.h"
#include "tls.h"

/* A secret that only root may read is judged by root; 1: leave it alone. */
static int read_secret(struct conf *conf, const char *path, char **text, size_t *len)
{
	char why[CONF_WHY_MAX];
	int rc = conf_file_read(path, CONF_SECRET_FILE, text, len, why, sizeof(why));

	if (rc == -EACCES && geteuid())
		return 1;
	if (rc)
		conf_error(conf, 0, "%s: %s", path, why);
	return rc;
}

static void check_pair(struct conf *conf, const char *certificate, const char *key)
{
	struct tls_server_conf sc = { .keypair_count = 1 };
	char *chain = NULL, *k = NULL, why[CONF_WHY_MAX], err[TLS_ERROR_MAX];
	struct tls_keypair kp = { 0 };
	struct tls_ctx *ctx = NULL;

	if (conf_file_read(certificate, 0, &chain, &kp.chain_len, why, sizeof(why))) {
		conf_error(conf, 0, "%s: %s", certificate, why);
		return;
	}
	if (!read_secret(conf, key, &k, &kp.key_len)) {
		kp.chain = chain;
		kp.key = k;
		sc.keypairs = &kp;
		if (tls_server_ctx_new(&ctx, &sc, err))
			conf_error(conf, 0, "%s with %s: %s", certificate, key, err);
		tls_ctx_put(ctx);
	}
	if (k)
		secret_wipe(k, kp.key_len);
	free(k);
	free(chain);
}

/* "login:hash:senders"; what lookup will say of it when it gets it. */
static void check_users(struct conf *conf, const char *path)
{
	char *text = NULL, why[CONF_WHY_MAX];
	struct table t = { 0 };
	size_t len = 0;

	if (!read_secret(conf, path, &text, &len)) {
		if (table_parse(&t, text, len, ":", why, sizeof(why)))
			conf_error(conf, 0, "%s: %s", path, why);
		table_clear(&t);
		secret_wipe(text, len);
	}
	free(text);
}

static void check_files(struct conf *conf, const struct mta_config *c, int bundle)
{
	char why[CONF_WHY_MAX];
	struct bundle *b = bundle_open(bundle);
	struct tables *t = b ? tables_new(c, b, why, sizeof(why)) : NULL;

	if (!t)
		conf_error(conf, 0, "%s", b ? why : strerror(errno));
	tables_free(t);
	bundle_free(b);
	for (size_t i = 0; i < c->listener_count; i++) {
		const struct mta_listener *l = &c->listeners[i];

		for (size_t k = 0; k < l->certificates.count; k++)
			check_pair(conf, l->certificates.v[k], l->private_keys.v[k]);
	}
	if (c->users)
		check_users(conf, c->users);
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
			printf("%s: but all mail for [home %s] will be deferred: write recipients "
			       "= FILE, "
			       "or check-recipients = no\n",
			       path, c->homes[i].name);
	}
	free(text);
	if (fd >= 0)
		close(fd);
	config_free(c);
	conf_free(conf);
	return rc;
}
