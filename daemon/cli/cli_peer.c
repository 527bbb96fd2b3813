/* SPDX-License-Identifier: GPL-3.0-or-later */
/* up, down, rekey, reload: one question, one answer. */
#include <stdio.h>
#include <string.h>

#include "daemon_cli.h"

static int ask(struct cli *cli, const char *verb, json_t *args)
{
	json_t *o = cli_ask(cli, verb, args);

	if (!o)
		return 1;
	if (cli->json)
		cli_print(o);
	json_decref(o);
	return 0;
}

static int one_peer(struct cli *cli, const char *verb, int argc, char **argv)
{
	if (argc != 2)
		return cli_usage(cli, "which peer?");
	return ask(cli, verb, json_pack("{s:s}", "peer", argv[1]));
}

int cli_up(struct cli *cli, int argc, char **argv)
{
	return one_peer(cli, "up", argc, argv);
}

int cli_down(struct cli *cli, int argc, char **argv)
{
	return one_peer(cli, "down", argc, argv);
}

int cli_rekey(struct cli *cli, int argc, char **argv)
{
	bool ike = argc > 1 && !strcmp(argv[1], "--ike");

	if (argc != (ike ? 3 : 2))
		return cli_usage(cli, "which peer?");
	return ask(cli, "rekey", json_pack("{s:s, s:b}", "peer", argv[argc - 1], "ike", ike));
}

int cli_reload(struct cli *cli, int argc, char **argv)
{
	if (argc != 1)
		return cli_usage(cli, "unexpected \"%s\"", argv[1]);
	return ask(cli, "reload", NULL);
}
