/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_LOOKUP_TABLES_H
#define MTA_LOOKUP_TABLES_H

/*
 * Theory: who exists here, and where does his mail go. Tables are text files:
 *
 *	recipients	joe@example.net		one address a line; "joe": in all domains of the
 *			joe			home; "@example.net": everybody there
 *	users		joe = joe Maildir	[deliver]: local part, system user, [directory]
 *			ann@shop.example = ann	that address alone
 *			@shop.example = vmail shop/%l/Maildir	whom nothing else there names
 *			lists = list | /usr/bin/post %r	a command that gets the letters
 *	aliases		info: joe, ann@elsewhere.example; keys as in users
 *
 * A key without a domain holds in all of our domains but the virtual ones. The most precise key wins:
 * joe+x@d, joe@d, joe+x, joe, a user of the system, @d, the catch-all.
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
#include "publication.h"
#include "srs.h"

#define ALIAS_DEPTH_MAX 20
#define ALIAS_STEPS_MAX 4096 /* names looked at for one recipient */
#define TABLE_LINE_MAX	4096

struct table_entry {
	struct hash_node node;
	char *key;
	char *value; /* "" when there is none */
};

struct table {
	struct hash_table hash;
	char subaddress; /* of a published set: what begins one at home; 0: nothing */
};

struct tables {
	struct table *home; /* of config.homes[i]; empty: no file */
	size_t home_count;
	struct table users;
	struct table aliases;
	const struct srs_keys *srs; /* NULL: not known; borrowed */
	/* Is @name a user of the system with uid >= uid_min? */
	bool (*system_user)(const char *name, uint32_t uid_min);
	/* Calls @fn with each of them that the system lists; NULL: with none. */
	void (*each_system_user)(uint32_t uid_min, void (*fn)(const char *name, void *arg), void *arg);
};

/** table_parse() - Lines "key" or "key SEP value"; keys in lower case. @why: "line N: ...". */
int table_parse(struct table *t, const char *text, size_t len, const char *separators, char *why,
		size_t cap);
void table_clear(struct table *t);
/** table_get() - Value of a key that is in lower case; NULL when absent. */
const char *table_get(const struct table *t, const char *key);
/** table_any() - Value of one key or another that does not begin with "*"; NULL: there is none. */
const char *table_any(struct table *t);

/* An address as tables know it. */
struct table_name {
	char local[LOOKUP_ADDRESS_MAX]; /* lower case; without quotes that were not needed */
	char base[LOOKUP_ADDRESS_MAX];	/* without the subaddress */
	char domain[LOOKUP_ADDRESS_MAX];
};

/** table_name() - @separator begins a subaddress; 0: nothing does. */
void table_name(const char *address, char separator, struct table_name *n);
/** tables_name() - With the domain as domain_spell() has it; postern-deliver gets names that were spelled before. */
void tables_name(const char *address, char separator, struct table_name *n);
/** table_find() - What @t says of that name in one of our domains, "@domain" aside; NULL: nothing. */
const char *table_find(const struct table *t, const struct mta_config *c,
		       const struct table_name *n);
/** table_find_rest() - What it says of "@domain". */
const char *table_find_rest(const struct table *t, const struct table_name *n);
/** table_users_check() - Are all values "user [directory]" or "user | command"? 0, or -EINVAL with @why. */
int table_users_check(struct table *t, char *why, size_t cap);

/** tables_new() - From the bundle's files; NULL with @why "FILE: line N: ...". */
struct tables *tables_new(const struct mta_config *c, const struct bundle *b, char *why,
			  size_t cap);
void tables_free(struct tables *t);

/** tables_mailbox() - Is there a mailbox of that name, "@domain" and the catch-all aside? */
bool tables_mailbox(const struct tables *t, const struct mta_config *c, const struct table_name *n);
/** tables_count_rest() - The same mailbox for all whom "@domain" of a home's set takes. */
void tables_count_rest(const struct table_name *n, struct lookup_rcpt *a);
/**
 * tables_count_by() - Fill in a->mailbox of @address, who was found to be local or of a home; what
 * tables_count_rest() wrote stays.
 */
void tables_count_by(const struct tables *t, const struct mta_config *c, const char *address,
		     struct lookup_rcpt *a);

/**
 * tables_own() - Everybody who has mail in [deliver], as a home publishes it.
 */
void tables_own(const struct tables *t, const struct mta_config *c, struct publication_list *l);

/**
 * tables_rcpt() - The whole answer to lookup_rcpt().
 * @published: recipients that homes published, by index of config.homes; may be NULL.
 * @list: LOOKUP_EXPANSION_MAX addresses, that a->to points into afterwards.
 */
void tables_rcpt(const struct tables *t, const struct mta_config *c, const struct table *published,
		 const char *address, struct lookup_rcpt *a, char (*list)[LOOKUP_ADDRESS_MAX]);

#endif
