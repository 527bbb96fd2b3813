/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef POLICY_MATCH_H
#define POLICY_MATCH_H

/*
 * Theory: what a condition of a rule compares an address, a HELO name or a client with.
 *
 *	addresses	joe@example.net   @example.net   example.net   @.example.net   <>   postmaster
 *	names		mail.example.net  .example.net   [192.0.2.1]
 *	clients		192.0.2.0/24      2001:db8::/32
 *
 * "@.example.net" and ".example.net" are all subdomains, not the domain itself. Words of the
 * configuration and lines of tables (one a line, "#" begins a comment) go into one sorted list, in one
 * spelling: lower case, "@example.net" for a domain, ".example.net" for what is below it. What is asked
 * is looked up by the ends of it that could stand there (joe@a.example.net, @a.example.net,
 * .example.net, .net), so a table of a hundred thousand lines costs a few comparisons. Expressions are tried
 * after the list, on the address as it came and, if its local part is quoted, without the quotes too. The
 * condition holds when anything in it matches.
 */

#include <stdbool.h>
#include <stddef.h>

#include "address.h"
#include "bundle.h"
#include "config.h"

/** match_word() - Bring a word into the one spelling: 0, or -EINVAL with @why, a clause. */
int match_word(enum match_kind kind, const char *word, char out[static MATCH_WORD_MAX], char *why,
	       size_t cap);
/** match_expression() - Add one more expression: 0; -EINVAL with @why; -ENOMEM. */
int match_expression(struct mta_match *m, const char *pattern, char *why, size_t cap);
/**
 * match_load() - Words and tables into the list.
 * @b: where the tables are; NULL: none are loaded yet, the words alone count.
 *
 * Returns 0, or -EINVAL, -ENOENT, -ENOMEM with @why "FILE:LINE: ..." and the old list in force.
 */
int match_load(struct mta_match *m, const struct bundle *b, char *why, size_t cap);
void match_clear(struct mta_match *m);

/** match_written() - Is there such a condition at all? */
static inline bool match_written(const struct mta_match *m)
{
	return m->words.count || m->tables.count || m->ere_count;
}

/* What of @m matches, as it is spelled there; NULL: nothing. Lives as long as @m. */
const char *match_address(const struct mta_match *m, const struct address *a);
const char *match_name(const struct mta_match *m, const char *name);
const struct prefix *match_client(const struct mta_match *m, const struct addr *a);

/** match_door() - Is @a let in? False: *@by is what of deny keeps it out, NULL: it is not in allow. */
bool match_door(const struct mta_door *d, const struct addr *a, const struct prefix **by);

/** match_address_words() - Does @a match one of @words, spelled in any way? */
bool match_address_words(const struct strv *words, const struct address *a);

#endif
