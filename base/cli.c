/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define RUN_DIR	   "/run/postern"
#define TABLES_MAX 8
#define ARGS_MAX   256

static void list(FILE *to, const struct cli_verb *const *tables, const char *above)
{
	for (; *tables; tables++) {
		for (const struct cli_verb *v = *tables; v->name; v++) {
			char words[128];

			snprintf(words, sizeof(words), "%s%s%s", above, *above ? " " : "", v->name);
			if (v->sub) {
				const struct cli_verb *const one[] = { v->sub, NULL };

				list(to, one, words);
				continue;
			}
			snprintf(words + strlen(words), sizeof(words) - strlen(words), "%s%s",
				 v->args ? " " : "", v->args ? v->args : "");
			fprintf(to, "  %-34s %s\n", words, v->help ? v->help : "");
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
	fprintf(stderr, "; see \"postern help\"\n");
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

const char *cli_socket(const struct cli *cli, const char *name, char *out, size_t cap)
{
	snprintf(out, cap, "%s/%s", cli->run_dir, name);
	return out;
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
		} else if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
			return argc;
		} else {
			fprintf(stderr, "postern: unknown option %s; see \"postern help\"\n",
				argv[i]);
			return -1;
		}
	}
	return i;
}

int cli_main(int argc, char **argv, const struct cli_verb *const *tables, const char *help)
{
	const struct cli_verb *found, *sub[TABLES_MAX], *below[TABLES_MAX];
	struct cli cli = { .run_dir = RUN_DIR };
	char words[128] = "", *args[ARGS_MAX];
	int i = options(&cli, argc, argv), n = 0;

	if (i <= 0)
		return i ? CLI_USAGE : 0;
	for (;; i++) {
		if (i >= argc || !strcmp(argv[i], "help")) {
			usage(i >= argc ? stderr : stdout, tables, help, words);
			return i >= argc ? CLI_USAGE : 0;
		}
		found = look_up(tables, argv[i], sub);
		snprintf(words + strlen(words), sizeof(words) - strlen(words), "%s%s",
			 *words ? " " : "", argv[i]);
		if (found)
			break;
		if (!sub[0]) {
			fprintf(stderr, "postern: no verb \"%s\"; see \"postern help\"\n", words);
			return CLI_USAGE;
		}
		memcpy(below, sub, sizeof(below));
		tables = below;
	}
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
