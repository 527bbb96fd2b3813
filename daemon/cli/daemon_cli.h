/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DAEMON_CLI_DAEMON_CLI_H
#define DAEMON_CLI_DAEMON_CLI_H

#include <jansson.h>

#include "cli.h"

int cli_keygen(struct cli *cli, int argc, char **argv);
int cli_status(struct cli *cli, int argc, char **argv);
int cli_watch(struct cli *cli, int argc, char **argv);
int cli_up(struct cli *cli, int argc, char **argv);
int cli_down(struct cli *cli, int argc, char **argv);
int cli_rekey(struct cli *cli, int argc, char **argv);
int cli_bench(struct cli *cli, int argc, char **argv);
int cli_drain(struct cli *cli, int argc, char **argv);
int cli_reload(struct cli *cli, int argc, char **argv);
int cli_check(struct cli *cli, int argc, char **argv);

/** cli_ask() - cli_call() of posternd's control socket. */
json_t *cli_ask(struct cli *cli, const char *verb, json_t *args);

#endif
