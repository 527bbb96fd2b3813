/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "conf.h"
#include "control.h"

#define RUN_DIR	   "/run/postern"
#define TABLES_MAX 8
#define ARGS_MAX   256
#define WORDS_MAX  64
#define COLUMN	   33 /* where help begins, so that all fits into 80 */

static void list(FILE *to, const struct cli_verb *const *tables, const char *above)
{
	for (; *tables; tables++) {
		for (const struct cli_verb *v = *tables; v->name; v++) {
			char words[192];

			snprintf(words, sizeof(words), "%s%s%s", above, *above ? " " : "", v->name);
			if (v->sub) {
				const struct cli_verb *const one[] = { v->sub, NULL };

				list(to, one, words);
				continue;
			}
			snprintf(words + strlen(words), sizeof(words) - strlen(words), "%s%s",
				 v->args ? " " : "", v->args ? v->args : "");
			fprintf(to, "  %-*s", COLUMN, words);
			if (strlen(words) > COLUMN)
				fprintf(to, "\n  %*s", COLUMN, "");
			fprintf(to, " %s\n", v->help ? v->help : "");
		}
	}
}

static void usage(FILE *to, const struct cli_verb *const *tables, const char *help,
		  const char *above)
{
	if (help && !*above)
		fprintf(to, "%s\n\n", help);
	fprintf(to, "usage: postern [--run-dir DIR] [--json] %s%sVERB ...\n\n", above,
		*above ? " " : "");
	list(to, tables, above);
	fprintf(to, "\nOf one verb: postern help VERB. All of it: man postern.\n");
}

/* What one verb takes. */
static int usage_of(const struct cli_verb *v, const char *words)
{
	printf("usage: postern %s%s%s\n\n%s\n", words, v->args ? " " : "", v->args ? v->args : "",
	       v->help);
	return 0;
}

static int no_verb(const struct cli_verb *const *tables, const char *above, const char *name)
{
	const char *words[WORDS_MAX], *near;
	size_t n = 0;

	for (; *tables; tables++)
		for (const struct cli_verb *v = *tables; v->name && n < WORDS_MAX; v++)
			words[n++] = v->name;
	near = conf_nearest(name, words, n);
	fprintf(stderr, "postern: no verb \"%s%s%s\"", above, *above ? " " : "", name);
	if (near)
		fprintf(stderr, "; did you mean \"%s%s%s\"?\n", above, *above ? " " : "", near);
	else
		fprintf(stderr, "; see \"postern%s%s help\"\n", *above ? " " : "", above);
	return CLI_USAGE;
}

/* All entries of that name in all tables: the leaf, or the tables below them. */
static const struct cli_verb *look_up(const struct cli_verb *const *tables, const char *name,
				      const struct cli_verb **sub)
{
	size_t n = 0;

	for (; *tables; tables++)
		for (const struct cli_verb *v = *tables; v->name; v++) {
			if (strcmp(v->name, name))
				continue;
			if (!v->sub)
				return v;
			if (n < TABLES_MAX - 1)
				sub[n++] = v->sub;
		}
	sub[n] = NULL;
	return NULL;
}

int cli_usage(const struct cli *cli, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "postern %s: ", cli->verb);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "; see \"postern %s --help\"\n", cli->verb);
	return CLI_USAGE;
}

int cli_fail(const struct cli *cli, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "postern %s: ", cli->verb);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return 1;
}

int cli_unreached(struct cli *cli, const char *path, const char *daemon, int rc, const char *why)
{
	if (rc == -ENOENT || rc == -ECONNREFUSED) {
		(void)cli_fail(
		    cli,
		    "nothing answers at %s: %s does not run (systemctl start %s), or its "
		    "run-dir is another one (--run-dir)",
		    path, daemon, daemon);
		return cli->status = CLI_NO_DAEMON;
	}
	if (rc == -EACCES || rc == -EPERM) {
		(void)cli_fail(cli,
			       "%s: not allowed; use sudo, or become a member of the group that "
			       "admin-group names (postern-admin)",
			       path);
		return cli->status = CLI_NOT_ALLOWED;
	}
	(void)cli_fail(cli, "%s", why);
	return cli->status =
		   rc == -ETIMEDOUT || rc == -EPIPE || rc == -ECONNRESET ? CLI_NO_DAEMON : 1;
}

json_t *cli_call(struct cli *cli, const char *socket, const char *daemon, const char *verb,
		 json_t *args, int timeout_ms)
{
	char path[512], why[4352];
	json_t *reply;
	int rc = control_call(cli_socket(cli, socket, path, sizeof(path)), verb, args, timeout_ms,
			      &reply, why, sizeof(why));

	if (!rc)
		return reply;
	(void)cli_unreached(cli, path, daemon, rc, why);
	return NULL;
}

void cli_print_json(const json_t *o)
{
	(void)json_dumpf(o, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(6));
	putchar('\n');
}

const char *cli_socket(const struct cli *cli, const char *name, char *out, size_t cap)
{
	snprintf(out, cap, "%s/%s", cli->run_dir, name);
	return out;
}

static bool is_help(const char *word)
{
	return !strcmp(word, "help") || !strcmp(word, "--help") || !strcmp(word, "-h");
}

/* Options that stand before the verb; the index of the verb, or -1. */
static int options(struct cli *cli, int argc, char **argv)
{
	int i = 1;

	for (; i < argc && argv[i][0] == '-'; i++) {
		if (!strcmp(argv[i], "--json")) {
			cli->json = true;
		} else if (!strcmp(argv[i], "--run-dir") && i + 1 < argc) {
			cli->run_dir = argv[++i];
		} else if (!strncmp(argv[i], "--run-dir=", 10)) {
			cli->run_dir = argv[i] + 10;
		} else if (!strcmp(argv[i], "--version")) {
			printf("postern %s\n", POSTERN_VERSION);
			return 0;
		} else if (is_help(argv[i])) {
			return i;
		} else if (!strcmp(argv[i], "--run-dir")) {
			fprintf(stderr, "postern: --run-dir needs a folder\n");
			return -1;
		} else {
			fprintf(stderr, "postern: unknown option %s; see \"postern help\"\n",
				argv[i]);
			return -1;
		}
	}
	return i;
}

/*
 * From argv[*i] down to one verb: that verb, with *i at its name and @words as typed; or NULL with
 * *status, after a message or what "help" asks for.
 */
static const struct cli_verb *descend(const struct cli_verb *const *tables, const char *help,
				      int argc, char **argv, int *i, char *words, size_t cap,
				      int *status)
{
	const struct cli_verb *found, *sub[TABLES_MAX], *below[TABLES_MAX];
	bool asked = false; /* "help" was among the words: tell of the rest, do nothing */

	for (;; ++*i) {
		if (*i < argc && is_help(argv[*i])) {
			asked = true;
			continue;
		}
		if (*i >= argc) {
			usage(asked ? stdout : stderr, tables, help, words);
			*status = asked ? 0 : CLI_USAGE;
			return NULL;
		}
		found = look_up(tables, argv[*i], sub);
		if (!found && !sub[0]) {
			*status = no_verb(tables, words, argv[*i]);
			return NULL;
		}
		snprintf(words + strlen(words), cap - strlen(words), "%s%s", *words ? " " : "",
			 argv[*i]);
		if (found)
			break;
		memcpy(below, sub, sizeof(below));
		tables = below;
	}
	for (int n = *i + 1; n < argc; n++)
		asked |= is_help(argv[n]) && argv[n][0] == '-';
	if (!asked)
		return found;
	*status = usage_of(found, words);
	return NULL;
}

int cli_main(int argc, char **argv, const struct cli_verb *const *tables, const char *help)
{
	struct cli cli = { .run_dir = RUN_DIR };
	char words[128] = "", *args[ARGS_MAX];
	int i = options(&cli, argc, argv), n = 0, status = 0;
	const struct cli_verb *found;

	if (i <= 0)
		return i ? CLI_USAGE : 0;
	found = descend(tables, help, argc, argv, &i, words, sizeof(words), &status);
	if (!found)
		return status;
	cli.verb = words;
	for (; i < argc && n < ARGS_MAX - 1; i++) {
		if (n && !strcmp(argv[i], "--json"))
			cli.json = true;
		else
			args[n++] = argv[i];
	}
	args[n] = NULL;
	return found->run(&cli, n, args);
}
