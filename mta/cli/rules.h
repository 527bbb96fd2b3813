/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_CLI_RULES_H
#define MTA_CLI_RULES_H

#include <jansson.h>

/** rules_print() - What explain_rules() has made, for people. */
void rules_print(const json_t *o);

#endif
