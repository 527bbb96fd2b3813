/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bundle.h"
#include "check.h"
#include "explain.h"
#include "explain_rules.h"
#include "tables.h"

/* Config, bundle and tables of one file, as the processes would have them. */
struct loaded {
	struct conf *conf;
	struct mta_config *c;
	struct bundle *b;
	struct tables *t;
	char *text;
};

static int load(struct loaded *l, const char *path, char *why, size_t cap)
{
	static const struct bundle_secrets none; /* keys decide nothing here */
	size_t len = 0;
	int fd;

	l->conf = conf_load(&config_schema, path);
	l->c = l->conf && conf_ok(l->conf) ? config_new(l->conf) : NULL;
	snprintf(why, cap, "%s", l->conf && l->conf->errors ? l->conf->errors : "out of memory");
	if (!l->c || conf_file_read(path, 0, &l->text, &len, why, cap))
		return -EINVAL;
	fd = bundle_make(l->conf, l->text, len, &none);
	if (fd < 0) {
		snprintf(why, cap, "%s", l->conf->errors ? l->conf->errors : strerror(-fd));
		return fd;
	}
	l->b = bundle_open(fd);
	close(fd);
	if (!l->b || ruleset_load(l->c, l->b, why, cap))
		return -EINVAL;
	l->t = tables_new(l->c, l->b, why, cap);
	return l->t ? 0 : -EINVAL;
}

static void unload(struct loaded *l)
{
	tables_free(l->t);
	bundle_free(l->b);
	config_free(l->c);
	conf_free(l->conf);
	free(l->text);
}

/* A recipient of ours, asked of the tables without the process that has them. */
static void ask_tables(struct explain *x, const struct loaded *l)
{
	static char list[LOOKUP_EXPANSION_MAX][LOOKUP_ADDRESS_MAX];
	struct table *published = calloc(l->c->home_count + 1, sizeof(*published));
	struct lookup_rcpt a = { .status = LOOKUP_TEMPFAIL };

	if (published)
		tables_rcpt(l->t, l->c, published, x->rcpt.text, &a, list);
	explain_recipient(x, &a);
	free(published);
}

static int answer(struct explain *x, const struct loaded *l, const json_t *question, char *why,
		  size_t cap)
{
	struct tunnel_table no_peers = { 0 };
	int rc;

	if (json_is_true(json_object_get(question, "rules"))) {
		x->answer = explain_rules(l->c);
		return 0;
	}
	rc = explain_begin(x, l->c, &no_peers, question, why, cap);
	if (rc)
		return rc;
	if (x->ask)
		ask_tables(x, l);
	explain_limits(x, NULL, 0);
	return 0;
}

int explain_file(const char *path, const char *args)
{
	struct loaded l = { 0 };
	struct explain x = { 0 };
	json_t *o = json_loads(args, 0, NULL);
	char why[4096];
	int rc = o ? load(&l, path, why, sizeof(why)) : -EINVAL;

	if (!o)
		snprintf(why, sizeof(why), "the question is no JSON object");
	if (!rc)
		rc = answer(&x, &l, o, why, sizeof(why));
	if (rc)
		fprintf(stderr, "%s\n", why);
	else
		rc = json_dumpf(x.answer, stdout, JSON_COMPACT) || putchar('\n') == EOF;
	json_decref(x.answer);
	json_decref(o);
	unload(&l);
	return rc ? 1 : 0;
}
