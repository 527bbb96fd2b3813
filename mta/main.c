/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "explain.h"
#include "log.h"
#include "parent.h"

static const struct {
	const char *name;
	int (*main)(void);
} children[] = {
	{ "smtpd", smtpd_main },
	{ "queue", queue_main },
	{ "relay", relay_main },
	{ "lookup", lookup_main },
};

static int usage(FILE *to)
{
	fprintf(to, "usage: postern-mta [-c FILE] [-n | --explain JSON | --keys | --version]\n"
		    "  -c FILE    configuration, default /etc/postern/mta.conf\n"
		    "  -n         check the configuration and everything that it names, then exit\n"
		    "  --explain JSON\n"
		    "             what such a client would be answered, and why\n"
		    "  --keys     print all configuration keys\n");
	return to == stderr ? 64 : 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "config", required_argument, NULL, 'c' },
						 { "check", no_argument, NULL, 'n' },
						 { "explain", required_argument, NULL, 'e' },
						 { "keys", no_argument, NULL, 'k' },
						 { "version", no_argument, NULL, 'V' },
						 { "help", no_argument, NULL, 'h' },
						 { NULL } };
	const char *path = "/etc/postern/mta.conf", *child = proc_child_name(argc, argv);
	const char *question = NULL;
	bool check_only = false;
	int opt;

	for (size_t i = 0; child && i < CONF_COUNT(children); i++) {
		if (!strcmp(child, children[i].name))
			return children[i].main();
	}
	log_setup("postern-mta", LOG_LVL_INFO, 2);
	while (!child && (opt = getopt_long(argc, argv, "c:nh", options, NULL)) != -1) {
		switch (opt) {
		case 'c':
			path = optarg;
			break;
		case 'n':
			check_only = true;
			break;
		case 'e':
			question = optarg;
			break;
		case 'k':
			conf_print_keys(&config_schema, stdout);
			return 0;
		case 'V':
			puts("postern-mta " POSTERN_VERSION);
			return 0;
		case 'h':
			return usage(stdout);
		default:
			return usage(stderr);
		}
	}
	if (child || optind != argc)
		return usage(stderr);
	if (question)
		return explain_file(path, question);
	return check_only ? mta_check(path) : parent_run(path);
}
