/* SPDX-License-Identifier: GPL-3.0-or-later */
/* up, down, rekey, drain, reload: one question, one answer. */
#include <stdio.h>
#include <string.h>

#include "daemon_cli.h"

/* @done is for people; it may name the peer once. */
static int ask(struct cli *cli, const char *verb, json_t *args, const char *done, const char *peer)
{
	json_t *o = cli_ask(cli, verb, args);

	if (!o)
		return cli->status;
	if (cli->json)
		cli_print_json(o);
	else
		printf("%s%s%s\n", peer, *peer ? ": " : "", done);
	json_decref(o);
	return 0;
}

static int one_peer(struct cli *cli, const char *verb, int argc, char **argv, const char *done)
{
	if (argc < 2)
		return cli_usage(cli, "which peer?");
	if (argc > 2)
		return cli_usage(cli, "unexpected \"%s\"", argv[2]);
	return ask(cli, verb, json_pack("{s:s}", "peer", argv[1]), done, argv[1]);
}

int cli_up(struct cli *cli, int argc, char **argv)
{
	return one_peer(cli, "up", argc, argv, "may come up; \"postern status\" shows how it goes");
}

int cli_down(struct cli *cli, int argc, char **argv)
{
	return one_peer(cli, "down", argc, argv, "goes down and stays down until \"postern up\"");
}

int cli_rekey(struct cli *cli, int argc, char **argv)
{
	bool ike = argc > 1 && !strcmp(argv[1], "--ike");

	int at = ike ? 2 : 1;

	if (argc <= at)
		return cli_usage(cli, "which peer?");
	if (argc > at + 1)
		return cli_usage(cli, "unexpected \"%s\"", argv[at + 1]);
	return ask(cli, "rekey", json_pack("{s:s, s:b}", "peer", argv[at], "ike", ike),
		   "new keys are being made", argv[at]);
}

int cli_drain(struct cli *cli, int argc, char **argv)
{
	bool off = argc > 1 && !strcmp(argv[1], "--off");

	if (argc > 1 + off)
		return cli_usage(cli, "unexpected \"%s\"", argv[1 + off]);
	return ask(cli, "drain", json_pack("{s:b}", "off", off),
		   off ? "callers are taken in again"
		       : "nobody is taken in; \"postern status\" shows who is left",
		   "");
}

int cli_reload(struct cli *cli, int argc, char **argv)
{
	if (argc != 1)
		return cli_usage(cli, "unexpected \"%s\"", argv[1]);
	return ask(cli, "reload", NULL, "the configuration is read again and in force", "");
}
