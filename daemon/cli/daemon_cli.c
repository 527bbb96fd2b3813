/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon_cli.h"

#include <stdio.h>

#include "control.h"

#define ANSWER_MS 10000

const struct cli_verb daemon_cli_verbs[] = {
	{ "status", "[--counters]", "peers, their state and why", cli_status, NULL },
	{ "watch", NULL, "events as they come", cli_watch, NULL },
	{ "up", "PEER", "call a peer, or let it call, after down", cli_up, NULL },
	{ "down", "PEER", "close the tunnel to a peer and stay down", cli_down, NULL },
	{ "rekey", "[--ike] PEER", "make new keys with a peer now", cli_rekey, NULL },
	{ "reload", NULL, "read the configuration again", cli_reload, NULL },
	{ "check", "[--keys] [FILE]", "judge a configuration without using it", cli_check, NULL },
	{ "keygen", "[--type TYPE] FILE.key | --psk FILE", "make a key pair or a shared secret",
	  cli_keygen, NULL },
	{ 0 },
};

json_t *cli_ask(const struct cli *cli, const char *verb, json_t *args)
{
	char path[512], why[4352];
	json_t *reply;

	if (!control_call(cli_socket(cli, "control.sock", path, sizeof(path)), verb, args,
			  ANSWER_MS, &reply, why, sizeof(why)))
		return reply;
	(void)cli_fail(cli, "%s", why);
	return NULL;
}

void cli_print(const json_t *o)
{
	(void)json_dumpf(o, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(6));
	putchar('\n');
}
