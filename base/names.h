/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BASE_NAMES_H
#define BASE_NAMES_H

/* A set of strings: which of many have been seen already? A zeroed one is empty. */

#include "hash.h"

struct names {
	struct hash_table table;
};

/** names_add() - Keeps a copy. 1: it is new; 0: it was there; -ENOMEM. */
int names_add(struct names *n, const char *name);
void names_clear(struct names *n);

#endif
