/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_CLI_ARCHIVE_VERBS_H
#define MTA_CLI_ARCHIVE_VERBS_H

#include "cli.h"

/** export_verb() - `postern mail export [--take] FILE|DIR`. */
int export_verb(struct cli *cli, int argc, char **argv);
/** import_verb() - `postern mail import [--cut] FILE`. */
int import_verb(struct cli *cli, int argc, char **argv);

#endif
