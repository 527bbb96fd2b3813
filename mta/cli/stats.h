/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_CLI_STATS_H
#define MTA_CLI_STATS_H

#include <jansson.h>

/** stats_print() - The answer of the verb "stats" as a table. Names of routes are our own configuration's. */
void stats_print(const json_t *o);

#endif
