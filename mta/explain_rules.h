/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_EXPLAIN_RULES_H
#define MTA_EXPLAIN_RULES_H

#include <jansson.h>

#include "config.h"

/**
 * explain_rules() - Who may send to whom: for each listener the rules that can hold there, in their order, and
 * what its class decides where none does. NULL: no memory.
 */
json_t *explain_rules(const struct mta_config *c);

#endif
