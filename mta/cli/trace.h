/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_CLI_TRACE_H
#define MTA_CLI_TRACE_H

#include <jansson.h>

/** trace_print() - The answer of `trace`, without what the letter is now here: one event a line, by time. */
void trace_print(const json_t *o);

#endif
