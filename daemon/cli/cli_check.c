/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdio.h>
#include <string.h>

#include "config.h"
#include "daemon_cli.h"

int cli_check(struct cli *cli, int argc, char **argv)
{
	const char *path = CONFIG_DEFAULT_PATH;
	struct config *cfg;
	int rc;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--keys")) {
			conf_print_keys(&config_schema, stdout);
			return 0;
		}
		if (argv[i][0] == '-' || i + 1 < argc)
			return cli_usage(cli, "unexpected \"%s\"", argv[i]);
		path = argv[i];
	}
	cfg = config_load(path);
	if (!cfg)
		return cli_fail(cli, "out of memory");
	config_files_check(cfg, &conf_files_disk);
	rc = conf_ok(cfg->conf) ? 0 : 1;
	if (rc)
		fprintf(stderr, "%s\n", cfg->conf->errors);
	else
		printf("%s: %zu peer%s, nothing wrong\n", path, cfg->peer_count,
		       cfg->peer_count == 1 ? "" : "s");
	config_free(cfg);
	return rc;
}
