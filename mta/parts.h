/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_PARTS_H
#define MTA_PARTS_H

/* A long answer of a child goes to the parent in parts (proc_mta.h), and is one again there. */

#include <jansson.h>

/**
 * parts_join() - Add @part to @to.
 * Arrays of the same name are joined, and so are objects, member by member; other members are replaced.
 */
void parts_join(json_t *to, json_t *part);

#endif
