/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tables.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "domain.h"
#include "template.h"

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

/* An address or "@domain" with its domain as it is compared; what does not fit stays. */
static const char *spell_key(const char *key, char out[static LOOKUP_ADDRESS_MAX])
{
	const char *at = strrchr(key, '@');
	char d[MTA_DOMAIN_MAX];

	if (!at || snprintf(out, LOOKUP_ADDRESS_MAX, "%.*s%s", (int)(at + 1 - key), key,
			    domain_spell(at + 1, d)) >= LOOKUP_ADDRESS_MAX)
		return key;
	return out;
}

static int parse_line(struct table *t, char *line, const char *separators, const char **what)
{
	char *key, *value = NULL, none[] = "", spelled[LOOKUP_ADDRESS_MAX];
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
	rc = add(t, spell_key(key, spelled), value ? value : none);
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

static void any(struct hash_node *n, void *arg)
{
	const char *value = ((struct table_entry *)(void *)n)->value;

	if (*value != '*')
		*(const char **)arg = value;
}

const char *table_any(struct table *t)
{
	const char *value = NULL;

	hash_each(&t->hash, any, &value);
	return value;
}

/* ---- all tables ---- */

static bool system_user(const char *name, uint32_t uid_min)
{
	struct passwd *pw = getpwnam(name);

	return pw && config_user_gets_mail(uid_min, pw->pw_uid, pw->pw_gid);
}

static void each_system_user(uint32_t uid_min, void (*fn)(const char *name, void *arg), void *arg)
{
	struct passwd *pw;

	setpwent();
	while ((pw = getpwent())) {
		if (config_user_gets_mail(uid_min, pw->pw_uid, pw->pw_gid))
			fn(pw->pw_name, arg);
	}
	endpwent();
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

static int user_check(const char *value, char *why, size_t cap)
{
	const char *p = value + strcspn(value, " \t|");

	p += strspn(p, " \t");
	if (*p == '|')
		return template_command_check(p + 1, why, cap);
	return *p ? template_dir_check(p, why, cap) : 0;
}

struct check {
	char *why;
	size_t cap;
	int rc;
};

static void check_entry(struct hash_node *n, void *arg)
{
	const struct table_entry *e = (struct table_entry *)n;
	struct check *k = arg;
	char why[200];

	if (k->rc)
		return;
	k->rc = user_check(e->value, why, sizeof(why));
	if (k->rc)
		snprintf(k->why, k->cap, "\"%.60s\": %s", e->key, why);
}

int table_users_check(struct table *t, char *why, size_t cap)
{
	struct check k = { .why = why, .cap = cap };

	hash_each(&t->hash, check_entry, &k);
	return k.rc;
}

struct tables *tables_new(const struct mta_config *c, const struct bundle *b, char *why, size_t cap)
{
	struct tables *t = calloc(1, sizeof(*t));
	char line[300];
	int rc = 0;

	snprintf(why, cap, "out of memory");
	if (!t)
		return NULL;
	t->system_user = system_user;
	t->each_system_user = each_system_user;
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
	if (!rc && table_users_check(&t->users, line, sizeof(line))) {
		snprintf(why, cap, "%s: %s", c->deliver.users, line);
		rc = -EBADMSG;
	}
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

void table_name(const char *address, char separator, struct table_name *s)
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

void tables_name(const char *address, char separator, struct table_name *s)
{
	table_name(address, separator, s);
	domain_spell(s->domain, s->domain);
}

static const char *get_at(const struct table *t, const char *local, const char *domain)
{
	char full[2 * LOOKUP_ADDRESS_MAX];

	snprintf(full, sizeof(full), "%s@%s", local, domain);
	return table_get(t, full);
}

const char *table_find(const struct table *t, const struct mta_config *c,
		       const struct table_name *n)
{
	const char *v = get_at(t, n->local, n->domain);

	if (!v)
		v = get_at(t, n->base, n->domain);
	if (v || config_is_virtual(c, n->domain))
		return v;
	v = table_get(t, n->local);
	return v ? v : table_get(t, n->base);
}

const char *table_find_rest(const struct table *t, const struct table_name *n)
{
	return get_at(t, "", n->domain);
}

struct expansion {
	const struct tables *t;
	const struct mta_config *c;
	char (*list)[LOOKUP_ADDRESS_MAX];
	size_t count;
	size_t steps;
	enum lookup_status status;
};

static void expand(struct expansion *x, const char *address, unsigned depth, bool required);

static void keep(struct expansion *x, const char *address)
{
	char mine[LOOKUP_ADDRESS_MAX], other[LOOKUP_ADDRESS_MAX];
	const char *spelled = spell_key(address, mine);
	const char *at = strrchr(spelled, '@');
	bool ours = at && config_is_local(x->c, at + 1);
	size_t local = at ? (size_t)(at + 1 - spelled) : 0;

	/* Our own mailboxes are named without regard to case; of others we do not know. */
	for (size_t i = 0; i < x->count; i++) {
		const char *o;

		if (strncasecmp(x->list[i], spelled, local)) /* most differ there, and that is cheap */
			continue;
		o = spell_key(x->list[i], other);
		if (ours ? !strcasecmp(o, spelled) : !strcmp(o, spelled))
			return;
	}
	if (x->count == LOOKUP_EXPANSION_MAX || strlen(address) >= LOOKUP_ADDRESS_MAX) {
		x->status = LOOKUP_LOOP;
		return;
	}
	snprintf(x->list[x->count++], LOOKUP_ADDRESS_MAX, "%s", address);
}

/* "joe" in an alias is one of ours: of a domain where names without one count. */
static const char *own_domain(const struct mta_config *c, const char *here)
{
	const struct strv *d = &c->deliver.domains;

	if (!config_is_virtual(c, here))
		return here;
	for (size_t i = 0; i < d->count; i++) {
		if (!config_is_virtual(c, d->v[i]))
			return d->v[i];
	}
	return here;
}

bool tables_mailbox(const struct tables *t, const struct mta_config *c, const struct table_name *n)
{
	const struct mta_deliver *d = &c->deliver;
	const char *const names[] = { n->local, n->base };

	if (table_find(&t->users, c, n))
		return true;
	for (int i = 0; i < 2 && d->system_users && !config_is_virtual(c, n->domain); i++) {
		if (!strpbrk(names[i], "/\"\\ ") && t->system_user(names[i], d->uid_min))
			return true;
	}
	return false;
}

static bool mailbox(const struct expansion *x, const struct table_name *n)
{
	return tables_mailbox(x->t, x->c, n);
}

/* Whom no line names: postern-deliver finds him by the same lines, and keeps the address. */
static bool caught(const struct expansion *x, const struct table_name *n)
{
	return table_find_rest(&x->t->users, n) ||
	       (x->c->deliver.catch_all && !config_is_virtual(x->c, n->domain));
}

static void expand_target(struct expansion *x, const char *word, const struct table_name *self,
			  unsigned depth)
{
	const char *domain = own_domain(x->c, self->domain);
	char address[LOOKUP_ADDRESS_MAX];
	struct table_name n;

	if (strlen(word) + strlen(domain) + 1 >= LOOKUP_ADDRESS_MAX) {
		x->status = LOOKUP_LOOP;
		return;
	}
	if (strchr(word, '@'))
		snprintf(address, sizeof(address), "%s", word);
	else
		snprintf(address, sizeof(address), "%.64s@%.255s", word, domain);
	tables_name(address, x->c->deliver.subaddress, &n);
	if (strcmp(n.base, self->base) || strcmp(n.domain, self->domain))
		expand(x, address, depth + 1, false);
	else if (mailbox(x, &n) || caught(x, &n))
		keep(x, address); /* "joe: joe, archive": his own mailbox, not the alias again */
	else
		x->status = LOOKUP_LOOP;
}

static void expand_alias(struct expansion *x, const char *targets, const struct table_name *self,
			 unsigned depth)
{
	char copy[TABLE_LINE_MAX], *save, *word;

	snprintf(copy, sizeof(copy), "%s", targets);
	for (word = strtok_r(copy, ",", &save); word && x->status != LOOKUP_LOOP;
	     word = strtok_r(NULL, ",", &save)) {
		word = trim(word);
		if (*word)
			expand_target(x, word, self, depth);
	}
}

/* @required: a recipient that a client named; aliases may point to what does not exist (it bounces). */
static void expand(struct expansion *x, const char *address, unsigned depth, bool required)
{
	struct table_name n;
	const char *alias;

	/* Depth ends a circle; steps end what fans out on each of its levels. */
	if (depth > ALIAS_DEPTH_MAX || ++x->steps > ALIAS_STEPS_MAX) {
		x->status = LOOKUP_LOOP;
		return;
	}
	tables_name(address, x->c->deliver.subaddress, &n);
	if (!config_is_local(x->c, n.domain)) {
		keep(x, address);
		return;
	}
	alias = table_find(&x->t->aliases, x->c, &n);
	if (!alias && !mailbox(x, &n))
		alias = table_find_rest(&x->t->aliases, &n);
	if (alias)
		expand_alias(x, alias, &n, depth);
	else if (!required || mailbox(x, &n) || caught(x, &n))
		keep(x, address);
	else
		x->status = LOOKUP_NONE;
}

/* Joe, joe@domain; without the subaddress too. */
static bool named(const struct table *t, const struct table_name *s)
{
	return table_get(t, s->local) || table_get(t, s->base) || get_at(t, s->local, s->domain) ||
	       get_at(t, s->base, s->domain);
}

/* Has the set said anything of that domain? Each that a home publishes has its postmaster in it. */
static bool mentions(const struct table *t, const char *domain)
{
	char full[LOOKUP_ADDRESS_MAX + 16];

	snprintf(full, sizeof(full), "postmaster@%s", domain);
	if (table_get(t, full))
		return true;
	return table_get(t, strchr(full, '@')) != NULL;
}

static void home_rcpt(const struct tables *t, const struct mta_config *c,
		      const struct table *published, const struct mta_home *h, const char *address,
		      struct lookup_rcpt *a)
{
	size_t i = (size_t)(h - c->homes);
	const struct table *table = h->recipients ? &t->home[i] : published ? &published[i] : NULL;
	char subaddress = h->subaddress;
	struct table_name s;

	/* A subaddress counts where both ends know it, or home would refuse what we took. */
	if (!h->recipients && table && table->subaddress != subaddress)
		subaddress = 0;
	tables_name(address, subaddress, &s);
	snprintf(a->home, sizeof(a->home), "%s", h->name);
	if (h->recipients_any || !strcmp(s.local, "postmaster")) {
		a->status = LOOKUP_OK;
	} else if (!table || (!h->recipients && !mentions(table, s.domain))) {
		a->status =
		    LOOKUP_TEMPFAIL; /* nothing published of it: nobody is refused for good */
	} else if (named(table, &s)) {
		a->status = LOOKUP_OK;
	} else if (table_find_rest(table, &s)) {
		a->status = LOOKUP_OK;
		tables_count_rest(&s, a);
	} else {
		a->status = LOOKUP_NONE;
	}
}

/* A bounce of what was sent on: to the one who wrote it. */
static enum lookup_status srs_rcpt(const struct tables *t, const struct mta_config *c,
				   const char *address, char (*list)[LOOKUP_ADDRESS_MAX])
{
	int rc = t->srs ? srs_reverse(t->srs, address, srs_day(clock_wall_s()), c->srs.max_age_days,
				      list[0], LOOKUP_ADDRESS_MAX)
			: -ENOKEY;

	return !rc ? LOOKUP_OK : rc == -ENOKEY || rc == -EIO ? LOOKUP_TEMPFAIL : LOOKUP_NONE;
}

void tables_rcpt(const struct tables *t, const struct mta_config *c, const struct table *published,
		 const char *address, struct lookup_rcpt *a, char (*list)[LOOKUP_ADDRESS_MAX])
{
	struct expansion x = { .t = t, .c = c, .list = list, .status = LOOKUP_OK };
	char full[LOOKUP_ADDRESS_MAX];
	const struct mta_home *h;
	struct table_name s;

	memset(a, 0, sizeof(*a));
	a->to = (const char(*)[LOOKUP_ADDRESS_MAX])list;
	tables_name(address, 0, &s);
	/* "postmaster" alone is the postmaster of what we serve (RFC 5321 s4.5.1). */
	if (!s.domain[0] && !strcmp(s.local, "postmaster")) {
		const char *d = c->deliver.domains.count ? c->deliver.domains.v[0]
				: c->home_count		 ? c->homes[0].domains.v[0]
							 : NULL;

		if (d) {
			snprintf(full, sizeof(full), "%.64s@%.255s", address, d);
			address = full;
			tables_name(address, 0, &s);
		}
	}
	if (c->srs.domain && srs_is(address) && !strcmp(s.domain, c->srs.domain)) {
		a->status = srs_rcpt(t, c, address, list);
		a->to_count = a->status == LOOKUP_OK;
		if (a->to_count) /* whoever is written to, by as many addresses as were made of his */
			snprintf(a->mailbox, sizeof(a->mailbox), "%s", list[0]);
		return;
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
	if (a->status == LOOKUP_OK)
		tables_count_by(t, c, address, a);
}

/* ---- what a home publishes ---- */

struct own {
	struct publication_list *list;
	const char *domain;
	bool virtual;
};

static void add_name(const char *name, void *arg)
{
	const struct own *o = arg;

	publication_add(o->list, name, o->domain);
}

/* "joe@domain" and "@domain" in that domain alone, "joe" in each where names without one count. */
static void add_key(struct hash_node *n, void *arg)
{
	const char *key = ((struct table_entry *)n)->key, *at = strchr(key, '@');
	char local[LOOKUP_ADDRESS_MAX];
	const struct own *o = arg;

	if (!at && !o->virtual)
		add_name(key, arg);
	if (!at || strcmp(at + 1, o->domain))
		return;
	snprintf(local, sizeof(local), "%.*s", (int)(at - key), key);
	add_name(local, arg);
}

void tables_own(const struct tables *t, const struct mta_config *c, struct publication_list *l)
{
	const struct mta_deliver *d = &c->deliver;

	for (size_t i = 0; i < d->domains.count; i++) {
		struct own o = { .list = l,
				 .domain = d->domains.v[i],
				 .virtual = config_is_virtual(c, d->domains.v[i]) };

		add_name("postmaster", &o);
		if (d->catch_all && !o.virtual)
			add_name("", &o); /* everybody */
		hash_each((struct hash_table *)(uintptr_t)&t->users.hash, add_key, &o);
		hash_each((struct hash_table *)(uintptr_t)&t->aliases.hash, add_key, &o);
		if (d->system_users && !o.virtual && t->each_system_user)
			t->each_system_user(d->uid_min, add_name, &o);
	}
}
