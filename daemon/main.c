/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * posternd: the parent and the resolver, which need no cryptography and do not load its libraries. The rest is
 * posternd-child, see child_main.c.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "leak_guard.h"
#include "proc.h"
#include "procs.h"

static const struct {
	const char *name;
	int (*run)(void);
} children[] = {
	{ "resolver", resolver_main },
};

static int usage(FILE *to, int status)
{
	fputs("usage: posternd [-c FILE] [-n | --cleanup | --leak-guard WORD]\n"
	      "       posternd --version\n"
	      "\n"
	      "  -c FILE    configuration (" CONFIG_DEFAULT_PATH ")\n"
	      "  -n         check the configuration and every file that it names, and end\n"
	      "  --cleanup  remove the tunnel device, its routes, rules and nft tables, and end\n"
	      "  --leak-guard apply | remove\n"
	      "             what `leak = never` guards is unreachable but through the tunnel\n",
	      to);
	return status;
}

static enum leak_guard guard_word(const char *word)
{
	return !strcmp(word, "apply")	 ? LEAK_GUARD_APPLY
	       : !strcmp(word, "remove") ? LEAK_GUARD_REMOVE
					 : LEAK_GUARD_NONE;
}

/* What only the other program can judge: keys and certificates. */
static int judge(const char *config)
{
	char name[] = "posternd", flag[] = "-n", file[4096];
	char *argv[] = { name, flag, file, NULL };
	struct proc_program child;
	int rc = proc_program(PROC_CHILD_PROGRAM, &child);

	snprintf(file, sizeof(file), "%s", config);
	if (!rc)
		rc = proc_exec(&child, argv, environ);
	fprintf(stderr, "%s cannot be run: %s; %s\n", child.path, strerror(-rc), proc_cure(rc));
	return 1;
}

int main(int argc, char **argv)
{
	struct parent_options o = { .config = CONFIG_DEFAULT_PATH };
	const char *child = proc_child_name(argc, argv);
	enum leak_guard guard = LEAK_GUARD_NONE;
	bool check = false;

	for (size_t i = 0; child && i < sizeof(children) / sizeof(*children); i++) {
		if (!strcmp(child, children[i].name))
			return children[i].run();
	}
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "-c") && i + 1 < argc)
			o.config = argv[++i];
		else if (!strcmp(argv[i], "-n"))
			check = true;
		else if (!strcmp(argv[i], "--cleanup"))
			o.cleanup = true;
		else if (!strcmp(argv[i], "--leak-guard") && i + 1 < argc && guard_word(argv[i + 1]))
			guard = guard_word(argv[++i]);
		else if (!strcmp(argv[i], "--version"))
			return puts("posternd " POSTERN_VERSION) < 0;
		else if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
			return usage(stdout, 0);
		else
			return usage(stderr, 64);
	}
	if (guard)
		return leak_guard_main(guard, o.config);
	return check ? judge(o.config) : parent_main(&o);
}
