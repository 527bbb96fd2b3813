/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * By what the letters to a recipient are counted. A stranger makes as many addresses as he likes of joe, where
 * a subaddress counts or a catch-all takes what nobody has: all of them fill one mailbox.
 */
#include <stdio.h>
#include <string.h>

#include "tables.h"

static void name(struct lookup_rcpt *a, const char *local, const char *domain)
{
	/* Cut, it would still be of one mailbox alone. */
	if (snprintf(a->mailbox, sizeof(a->mailbox), "%s@%s", local, domain) < 0)
		a->mailbox[0] = 0;
}

/* Does "@domain = user place" lead each local part to a mailbox of its own? */
static bool each_its_own(const struct mta_config *c, const char *value)
{
	const char *place = value + strcspn(value, " \t|");

	place += strspn(place, " \t");
	if (!*place)
		place = c->deliver.pipe ? c->deliver.pipe : c->deliver.maildir;
	return strstr(place, "%l") || strstr(place, "%r");
}

static void count_local(const struct tables *t, const struct mta_config *c,
			const struct table_name *n, struct lookup_rcpt *a)
{
	const char *rest = table_find_rest(&t->users, n);

	if (table_find(&t->aliases, c, n) || tables_mailbox(t, c, n))
		return name(a, n->base, n->domain);
	if (table_find_rest(&t->aliases, n) || (rest && !each_its_own(c, rest)))
		return name(a, "", n->domain);
	name(a, !rest && c->deliver.catch_all ? c->deliver.catch_all : n->base, n->domain);
}

void tables_count_rest(const struct table_name *n, struct lookup_rcpt *a)
{
	name(a, "", n->domain);
}

void tables_count_by(const struct tables *t, const struct mta_config *c, const char *address,
		     struct lookup_rcpt *a)
{
	const struct mta_home *h = a->home[0] ? config_home(c, a->home) : NULL;
	struct table_name n;

	if (a->local) {
		tables_name(address, c->deliver.subaddress, &n);
		count_local(t, c, &n, a);
	} else if (h && !a->mailbox[0]) {
		tables_name(address, h->subaddress, &n);
		name(a, n.base, n.domain);
	}
}
