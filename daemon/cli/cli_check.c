/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdio.h>
#include <string.h>

#include "config.h"
#include "daemon_cli.h"

int cli_check(struct cli *cli, int argc, char **argv)
{
	const char *path = CONFIG_DEFAULT_PATH;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--keys")) {
			conf_print_keys(&config_schema, stdout);
			return 0;
		}
		if (argv[i][0] == '-' || i + 1 < argc)
			return cli_usage(cli, "unexpected \"%s\"", argv[i]);
		path = argv[i];
	}
	return config_judge(path);
}
