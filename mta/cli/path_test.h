/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_CLI_PATH_TEST_H
#define MTA_CLI_PATH_TEST_H

#include "cli.h"

/** path_test_run() - `postern mail path-test`: 0 where the way is as it should be, else 1. */
int path_test_run(struct cli *cli, int argc, char **argv);

#endif
