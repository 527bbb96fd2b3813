/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_CLI_HASH_PASSWORD_H
#define MTA_CLI_HASH_PASSWORD_H

#include "cli.h"

/**
 * hash_password_run() - `postern mail hash-password`: what stands in the file of `users`.
 *
 * Asks twice on a terminal, without showing it; else takes the one line of standard input. Prints what
 * crypt(3) makes of it. Needs no daemon. The exit status.
 */
int hash_password_run(struct cli *cli, int argc, char **argv);

#endif
