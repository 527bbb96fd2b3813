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
int cli_reload(struct cli *cli, int argc, char **argv);
int cli_check(struct cli *cli, int argc, char **argv);

/**
 * cli_ask() - One verb of posternd's control socket; takes @args.
 * The answer (the caller puts it), or NULL after a message.
 */
json_t *cli_ask(const struct cli *cli, const char *verb, json_t *args);
/** cli_print() - One JSON object on standard output, readable. */
void cli_print(const json_t *o);

#endif
