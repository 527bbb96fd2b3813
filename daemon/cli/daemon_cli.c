/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon_cli.h"

#define ANSWER_MS 30000 /* ten thousand peers on a slow machine */

const struct cli_verb daemon_cli_verbs[] = {
	{ "status", "[--counters]", "peers, their state and why", cli_status, NULL },
	{ "watch", NULL, "events as they come", cli_watch, NULL },
	{ "up", "PEER", "undo down: call it, or let it call", cli_up, NULL },
	{ "down", "PEER", "close the tunnel and stay down", cli_down, NULL },
	{ "rekey", "[--ike] PEER", "make new keys with a peer now", cli_rekey, NULL },
	{ "bench", "[--seconds N] [--rate RATE] PEER", "measure the tunnel to a peer that allows it", cli_bench, NULL },
	{ "drain", "[--off]", "take nobody in any more", cli_drain, NULL },
	{ "reload", NULL, "read postern.conf again", cli_reload, NULL },
	{ "check", "[--keys] [FILE]", "judge postern.conf and what it names", cli_check, NULL },
	{ "keygen", "[--type TYPE] FILE.key | --psk FILE", "make a key pair or a shared secret",
	  cli_keygen, NULL },
	{ 0 },
};

json_t *cli_ask(struct cli *cli, const char *verb, json_t *args)
{
	return cli_call(cli, "control.sock", "posternd", verb, args, ANSWER_MS);
}
