/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_LOOKUP_TABLES_H
#define MTA_LOOKUP_TABLES_H

/*
 * Theory: who exists here, and where does his mail go. Tables are text files:
 *
 *	recipients	joe@example.net		one address a line; "joe": in all domains of the
 *			joe			home; "@example.net": everybody there
 *	users		joe = joe Maildir	[deliver]: local part, system user, [directory]
 *	aliases		info: joe, ann@elsewhere.example
 *
 * "#" starts a comment. Domains are compared in lower case, local parts without regard to ASCII
 * case, as our own mailboxes are. A struct tables is built whole from one bundle and never changed;
 * a reload makes the next one, and a file that is bad keeps the old one in force.
 */

#include <stdbool.h>
#include <stddef.h>

#include "bundle.h"
#include "config.h"
#include "hash.h"
#include "lookup.h"

#define ALIAS_DEPTH_MAX 20
#define TABLE_LINE_MAX	4096

struct table_entry {
	struct hash_node node;
	char *key;
	char *value; /* "" when there is none */
};

struct table {
	struct hash_table hash;
};

struct tables {
	struct table *home; /* of config.homes[i]; empty: no file */
	size_t home_count;
	struct table users;
	struct table aliases;
	/* Is @name a user of the system with uid >= uid_min? */
	bool (*system_user)(const char *name, uint32_t uid_min);
};

/** table_parse() - Lines "key" or "key SEP value"; keys in lower case. @why: "line N: ...". */
int table_parse(struct table *t, const char *text, size_t len, const char *separators, char *why,
		size_t cap);
void table_clear(struct table *t);
/** table_get() - Value of a key that is in lower case; NULL when absent. */
const char *table_get(const struct table *t, const char *key);

/** tables_new() - From the bundle's files; NULL with @why "FILE: line N: ...". */
struct tables *tables_new(const struct mta_config *c, const struct bundle *b, char *why,
			  size_t cap);
void tables_free(struct tables *t);

/**
 * tables_rcpt() - The whole answer to lookup_rcpt().
 * @published: recipients that homes published, by index of config.homes; may be NULL.
 * @list: LOOKUP_EXPANSION_MAX addresses, that a->to points into afterwards.
 */
void tables_rcpt(const struct tables *t, const struct mta_config *c, const struct table *published,
		 const char *address, struct lookup_rcpt *a, char (*list)[LOOKUP_ADDRESS_MAX]);

#endif
