/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tables.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- one table ---- */

static void lower(char *s)
{
	for (; *s; s++) {
		if (*s >= 'A' && *s <= 'Z')
			*s += 'a' - 'A';
	}
}

static struct table_entry *find(const struct table *t, const char *key)
{
	struct hash_node *n = hash_first(&t->hash, hash_bytes(key, strlen(key)));

	for (; n; n = hash_next(n)) {
		struct table_entry *e = (struct table_entry *)n;

		if (!strcmp(e->key, key))
			return e;
	}
	return NULL;
}

static int add(struct table *t, const char *key, const char *value)
{
	struct table_entry *e;

	if (find(t, key))
		return -EEXIST;
	e = calloc(1, sizeof(*e));
	if (!e)
		return -ENOMEM;
	e->key = strdup(key);
	e->value = strdup(value);
	if (!e->key || !e->value || hash_insert(&t->hash, &e->node, hash_bytes(key, strlen(key)))) {
		free(e->key);
		free(e->value);
		free(e);
		return -ENOMEM;
	}
	return 0;
}

static char *trim(char *s)
{
	size_t n;

	s += strspn(s, " \t\r");
	n = strlen(s);
	while (n && strchr(" \t\r", s[n - 1]))
		s[--n] = 0;
	return s;
}

static int parse_line(struct table *t, char *line, const char *separators, const char **what)
{
	char *key, *value = NULL, none[] = "";
	size_t at;
	int rc;

	line[strcspn(line, "#")] = 0;
	key = trim(line);
	if (!*key)
		return 0;
	if (*separators) {
		at = strcspn(key, separators);
		*what = "no separator";
		if (!key[at])
			return -EBADMSG;
		key[at] = 0;
		value = trim(key + at + 1);
		key = trim(key);
		*what = "nothing on one side of the separator";
		if (!*key || !*value)
			return -EBADMSG;
	}
	*what = "white space inside of the name";
	if (strpbrk(key, " \t"))
		return -EBADMSG;
	lower(key);
	rc = add(t, key, value ? value : none);
	*what = "the name stands twice";
	return rc;
}

int table_parse(struct table *t, const char *text, size_t len, const char *separators, char *why,
		size_t cap)
{
	char line[TABLE_LINE_MAX];
	unsigned no = 0;

	while (len) {
		const char *nl = memchr(text, '\n', len), *what = "longer than allowed";
		size_t n = nl ? (size_t)(nl - text) : len;
		int rc = -EBADMSG;

		no++;
		if (n < sizeof(line) && !memchr(text, 0, n)) {
			memcpy(line, text, n);
			line[n] = 0;
			rc = parse_line(t, line, separators, &what);
		}
		if (rc) {
			snprintf(why, cap, "line %u: %s", no,
				 rc == -ENOMEM ? "out of memory" : what);
			return rc;
		}
		len -= n + (nl != NULL);
		text += n + 1;
	}
	return 0;
}

static void free_entry(struct hash_node *n, void *arg)
{
	struct table_entry *e = (struct table_entry *)n;

	hash_remove(arg, n);
	free(e->key);
	free(e->value);
	free(e);
}

void table_clear(struct table *t)
{
	hash_each(&t->hash, free_entry, &t->hash);
	hash_free(&t->hash);
	memset(t, 0, sizeof(*t));
}

const char *table_get(const struct table *t, const char *key)
{
	struct table_entry *e = find(t, key);

	return e ? e->value : NULL;
}

/* ---- all tables ---- */

static bool system_user(const char *name, uint32_t uid_min)
{
	struct passwd *pw = getpwnam(name);

	return pw && pw->pw_uid >= uid_min && pw->pw_uid;
}

static int load(struct table *t, const struct bundle *b, const char *path, const char *separators,
		char *why, size_t cap)
{
	char line[160];
	size_t len;
	const char *text = bundle_file(b, path, &len);

	if (!text) {
		snprintf(why, cap, "%s: not in the bundle", path);
		return -ENOENT;
	}
	if (!table_parse(t, text, len, separators, line, sizeof(line)))
		return 0;
	snprintf(why, cap, "%s: %s", path, line);
	return -EBADMSG;
}

struct tables *tables_new(const struct mta_config *c, const struct bundle *b, char *why, size_t cap)
{
	struct tables *t = calloc(1, sizeof(*t));
	int rc = 0;

	snprintf(why, cap, "out of memory");
	if (!t)
		return NULL;
	t->system_user = system_user;
	t->home = calloc(c->home_count ? c->home_count : 1, sizeof(*t->home));
	if (!t->home) {
		free(t);
		return NULL;
	}
	t->home_count = c->home_count;
	for (size_t i = 0; !rc && i < c->home_count; i++) {
		if (c->homes[i].recipients)
			rc = load(&t->home[i], b, c->homes[i].recipients, "", why, cap);
	}
	if (!rc && c->deliver.users)
		rc = load(&t->users, b, c->deliver.users, "=", why, cap);
	if (!rc && c->deliver.aliases)
		rc = load(&t->aliases, b, c->deliver.aliases, ":", why, cap);
	if (rc) {
		tables_free(t);
		return NULL;
	}
	return t;
}

void tables_free(struct tables *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->home_count; i++)
		table_clear(&t->home[i]);
	free(t->home);
	table_clear(&t->users);
	table_clear(&t->aliases);
	free(t);
}

/* ---- recipients ---- */

/* Local part (lower case, unquoted when the quotes were not needed) and domain of an address. */
struct split {
	char local[LOOKUP_ADDRESS_MAX];
	char base[LOOKUP_ADDRESS_MAX]; /* without the subaddress */
	char domain[LOOKUP_ADDRESS_MAX];
};

static void split(const char *address, char separator, struct split *s)
{
	const char *at = strrchr(address, '@');
	size_t n = at ? (size_t)(at - address) : strlen(address);
	char *sub;

	snprintf(s->local, sizeof(s->local), "%.*s", (int)n, address);
	snprintf(s->domain, sizeof(s->domain), "%s", at ? at + 1 : "");
	lower(s->local);
	lower(s->domain);
	n = strlen(s->local);
	if (n > 2 && s->local[0] == '"' && s->local[n - 1] == '"' &&
	    !strpbrk(s->local + 1, "\\ \t") && strchr(s->local + 1, '"') == s->local + n - 1) {
		memmove(s->local, s->local + 1, n - 2);
		s->local[n - 2] = 0;
	}
	memcpy(s->base, s->local, sizeof(s->base));
	sub = separator ? strchr(s->base + (s->base[0] != 0), separator) : NULL;
	if (sub)
		*sub = 0;
}

struct expansion {
	const struct tables *t;
	const struct mta_config *c;
	char (*list)[LOOKUP_ADDRESS_MAX];
	size_t count;
	enum lookup_status status;
};

static void expand(struct expansion *x, const char *address, unsigned depth, bool required);

static void keep(struct expansion *x, const char *address)
{
	const char *at = strrchr(address, '@');
	bool ours = at && config_is_local(x->c, at + 1);

	/* Our own mailboxes are named without regard to case; of others we do not know. */
	for (size_t i = 0; i < x->count; i++) {
		if (ours ? !strcasecmp(x->list[i], address) : !strcmp(x->list[i], address))
			return;
	}
	if (x->count == LOOKUP_EXPANSION_MAX || strlen(address) >= LOOKUP_ADDRESS_MAX) {
		x->status = LOOKUP_LOOP;
		return;
	}
	snprintf(x->list[x->count++], LOOKUP_ADDRESS_MAX, "%s", address);
}

static void expand_alias(struct expansion *x, const char *targets, const char *self,
			 const char *domain, unsigned depth)
{
	char copy[TABLE_LINE_MAX], *save, *word, address[LOOKUP_ADDRESS_MAX];

	snprintf(copy, sizeof(copy), "%s", targets);
	for (word = strtok_r(copy, ",", &save); word && x->status != LOOKUP_LOOP;
	     word = strtok_r(NULL, ",", &save)) {
		word = trim(word);
		if (!*word)
			continue;
		if (strlen(word) + strlen(domain) + 1 >= LOOKUP_ADDRESS_MAX) {
			x->status = LOOKUP_LOOP;
			return;
		}
		if (strchr(word, '@'))
			snprintf(address, sizeof(address), "%s", word);
		else
			snprintf(address, sizeof(address), "%.64s@%.255s", word, domain);
		/* "joe: joe, archive": himself is his own mailbox, not the alias again. */
		if (!strchr(word, '@') && !strcasecmp(word, self))
			keep(x, address);
		else
			expand(x, address, depth + 1, false);
	}
}

static bool mailbox(const struct expansion *x, const char *name)
{
	const struct mta_deliver *d = &x->c->deliver;

	return table_get(&x->t->users, name) ||
	       (d->system_users && !strpbrk(name, "/\"\\ ") && x->t->system_user(name, d->uid_min));
}

/* @required: a recipient that a client named; aliases may point to what does not exist (it bounces). */
static void expand(struct expansion *x, const char *address, unsigned depth, bool required)
{
	const struct mta_deliver *d = &x->c->deliver;
	struct split s;
	const char *alias;

	split(address, d->subaddress, &s);
	if (depth > ALIAS_DEPTH_MAX) {
		x->status = LOOKUP_LOOP;
		return;
	}
	if (!config_is_local(x->c, s.domain)) {
		keep(x, address);
		return;
	}
	alias = table_get(&x->t->aliases, s.local);
	if (!alias)
		alias = table_get(&x->t->aliases, s.base);
	if (alias)
		expand_alias(x, alias, s.base, s.domain, depth);
	else if (mailbox(x, s.local) || mailbox(x, s.base) || !required)
		keep(x, address);
	else if (d->catch_all)
		keep(x, address); /* postern-deliver knows the catch-all, and keeps the address */
	else
		x->status = LOOKUP_NONE;
}

/* Joe, joe@domain, @domain; without the subaddress too. */
static bool listed(const struct table *t, const struct split *s)
{
	char full[2 * LOOKUP_ADDRESS_MAX];

	if (table_get(t, s->local) || table_get(t, s->base))
		return true;
	snprintf(full, sizeof(full), "@%s", s->domain);
	if (table_get(t, full))
		return true;
	snprintf(full, sizeof(full), "%s@%s", s->local, s->domain);
	if (table_get(t, full))
		return true;
	snprintf(full, sizeof(full), "%s@%s", s->base, s->domain);
	return table_get(t, full);
}

static void home_rcpt(const struct tables *t, const struct mta_config *c,
		      const struct table *published, const struct mta_home *h, const char *address,
		      struct lookup_rcpt *a)
{
	size_t i = (size_t)(h - c->homes);
	const struct table *table = h->recipients ? &t->home[i] : published ? &published[i] : NULL;
	struct split s;

	split(address, h->subaddress, &s);
	snprintf(a->home, sizeof(a->home), "%s", h->name);
	if (h->recipients_any || !strcmp(s.local, "postmaster"))
		a->status = LOOKUP_OK;
	else if (!table || (!h->recipients && !table->hash.count))
		a->status = LOOKUP_TEMPFAIL; /* nothing published yet: nobody is refused for good */
	else
		a->status = listed(table, &s) ? LOOKUP_OK : LOOKUP_NONE;
}

void tables_rcpt(const struct tables *t, const struct mta_config *c, const struct table *published,
		 const char *address, struct lookup_rcpt *a, char (*list)[LOOKUP_ADDRESS_MAX])
{
	struct expansion x = { .t = t, .c = c, .list = list, .status = LOOKUP_OK };
	char full[LOOKUP_ADDRESS_MAX];
	const struct mta_home *h;
	struct split s;

	memset(a, 0, sizeof(*a));
	a->to = (const char(*)[LOOKUP_ADDRESS_MAX])list;
	split(address, 0, &s);
	/* "postmaster" alone is the postmaster of what we serve (RFC 5321 s4.5.1). */
	if (!s.domain[0] && !strcmp(s.local, "postmaster")) {
		const char *d = c->deliver.domains.count ? c->deliver.domains.v[0]
				: c->home_count		 ? c->homes[0].domains.v[0]
							 : NULL;

		if (d) {
			snprintf(full, sizeof(full), "%.64s@%.255s", address, d);
			address = full;
			split(address, 0, &s);
		}
	}
	h = config_home_by_domain(c, s.domain);
	a->status = LOOKUP_NONE;
	if (config_is_local(c, s.domain)) {
		a->local = true;
		expand(&x, address, 0, true);
		a->status = x.status;
		a->to_count = x.status == LOOKUP_OK ? x.count : 0;
	} else if (h) {
		home_rcpt(t, c, published, h, address, a);
		if (a->status == LOOKUP_OK) {
			keep(&x, address);
			a->to_count = x.count;
		}
	}
}
