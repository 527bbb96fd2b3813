/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "match.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "domain.h"
#include "ere.h"

/* ---- spelling ---- */

static void lower(char *s)
{
	for (; *s; s++)
		*s = (char)(*s >= 'A' && *s <= 'Z' ? *s + 32 : *s);
}

/* The domain from @s on in the spelling by which it is compared; a dot before it may stand there. */
static void spell_domain(char *s, size_t cap)
{
	char d[MTA_DOMAIN_MAX];

	s += *s == '.';
	domain_spell(s, d);
	if (strlen(d) + 2 < cap)
		memmove(s, d, strlen(d) + 1);
}

/* An address in brackets from @s on is spelled in one way, so that [IPv6:2001:DB8::1] and [IPv6:2001:db8:0::1] are one. */
static void spell_literal(char *s, size_t cap)
{
	char text[ADDR_STR_MAX];
	struct addr a;

	if (*s == '[' && !address_literal_parse(s, strlen(s), &a))
		snprintf(s, cap, "[%s%s]", a.family == AF_INET6 ? "ipv6:" : "", addr_str(&a, text));
}

static void spell_rest(char *s, size_t cap)
{
	if (*s == '[')
		spell_literal(s, cap);
	else
		spell_domain(s, cap);
}

/* A domain, ".domain" for what is below it, or a literal in brackets. */
static bool domain_word(const char *s)
{
	struct addr a;

	if (*s == '[')
		return !address_literal_parse(s, strlen(s), &a);
	return address_domain_valid(s + (*s == '.'), strlen(s + (*s == '.')), true);
}

static int spell_address(const char *word, char out[static MATCH_WORD_MAX])
{
	const char *at = strrchr(word, '@');
	char local[ADDRESS_MAX + 1];
	struct address a;

	if (!strcmp(word, "<>")) {
		snprintf(out, MATCH_WORD_MAX, "%s", word);
		return 0;
	}
	if (!strcasecmp(word,
			"postmaster")) { /* which needs no domain (RFC 5321 s4.5.1), and is none */
		snprintf(out, MATCH_WORD_MAX, "postmaster@");
		return 0;
	}
	if (!at || at == word) {
		if (!domain_word(at ? at + 1 : word))
			return -EINVAL;
		word = at ? at + 1 : word;
		snprintf(out, MATCH_WORD_MAX, "%s%s", *word == '.' ? "" : "@", word);
	} else {
		/* "*" may stand in a local part, but who writes it here means more than it would. */
		if (address_parse(word, strlen(word), ADDRESS_ALLOW_UTF8, &a) || strchr(word, '*'))
			return -EINVAL;
		address_local(&a, local);
		snprintf(out, MATCH_WORD_MAX, "%s@%s", local, address_domain(&a));
	}
	lower(out);
	at = strrchr(out, '@');
	spell_rest(out + (at ? at + 1 - out : 0), MATCH_WORD_MAX - (size_t)(at ? at + 1 - out : 0));
	return 0;
}

int match_word(enum match_kind kind, const char *word, char out[static MATCH_WORD_MAX], char *why,
	       size_t cap)
{
	static const char *const allowed[] = {
		[MATCH_ADDRESS] = "name@domain, @domain, @.domain (all below it), <>; else a regex",
		[MATCH_NAME] =
		    "a name, .domain (all below it) or an address in brackets; else a regex",
		[MATCH_CLIENT] = "an address or a prefix without host bits, as 192.0.2.0/24",
	};
	char text[PREFIX_STR_MAX];
	struct prefix p;
	bool ok = strlen(word) <= ADDRESS_MAX;

	if (ok && kind == MATCH_ADDRESS) {
		ok = !spell_address(word, out);
	} else if (ok && kind == MATCH_NAME) {
		ok = domain_word(word);
		snprintf(out, MATCH_WORD_MAX, "%s", ok ? word : "");
		lower(out);
		spell_rest(out, MATCH_WORD_MAX);
	} else if (ok) {
		ok = !prefix_parse(word, &p);
		snprintf(out, MATCH_WORD_MAX, "%s", ok ? prefix_str(&p, text) : "");
	}
	if (!ok)
		snprintf(why, cap, "\"%.80s\"; allowed: %s", word, allowed[kind]);
	return ok ? 0 : -EINVAL;
}

/* ---- making a list ---- */

static int by_word(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Same family and length stand together, so that a search asks once for each length. */
static int by_prefix(const void *a, const void *b)
{
	const struct prefix *p = a, *q = b;

	if (p->addr.family != q->addr.family)
		return p->addr.family < q->addr.family ? -1 : 1;
	if (p->len != q->len)
		return p->len < q->len ? -1 : 1;
	return memcmp(p->addr.b, q->addr.b, sizeof(p->addr.b));
}

static void list_clear(struct match_list *l)
{
	for (size_t i = 0; i < l->word_count; i++)
		free(l->word[i]);
	free(l->word);
	free(l->prefix);
	*l = (struct match_list){ 0 };
}

static int list_add(struct match_list *l, enum match_kind kind, const char *word, char *why,
		    size_t cap)
{
	bool client = kind == MATCH_CLIENT;
	size_t n = client ? l->prefix_count : l->word_count;
	char spelled[MATCH_WORD_MAX];
	int rc = match_word(kind, word, spelled, why, cap);
	void *p;

	if (rc)
		return rc;
	snprintf(why, cap, "out of memory");
	if (!(n & (n - 1))) { /* 0 or a power of two: full */
		p = client ? realloc(l->prefix, (n ? 2 * n : 1) * sizeof(*l->prefix))
			   : realloc(l->word, (n ? 2 * n : 1) * sizeof(*l->word));
		if (!p)
			return -ENOMEM;
		if (client)
			l->prefix = p;
		else
			l->word = p;
	}
	if (client) {
		prefix_parse(spelled, &l->prefix[l->prefix_count++]);
		return 0;
	}
	l->word[n] = strdup(spelled);
	if (!l->word[n])
		return -ENOMEM;
	l->word_count++;
	return 0;
}

/* One line of a table: a word, a comment, both or nothing. */
static int add_line(struct match_list *l, enum match_kind kind, const char *line, size_t len,
		    char *why, size_t cap)
{
	char word[MATCH_WORD_MAX];
	const char *hash = memchr(line, '#', len);

	snprintf(why, cap, "longer than allowed, or with a NUL");
	if (hash)
		len = (size_t)(hash - line);
	while (len && strchr(" \t\r", line[len - 1]))
		len--;
	while (len && strchr(" \t", *line))
		line++, len--;
	if (!len)
		return 0;
	if (len >= sizeof(word) || memchr(line, 0, len))
		return -EINVAL;
	memcpy(word, line, len);
	word[len] = 0;
	return list_add(l, kind, word, why, cap);
}

static int add_table(struct match_list *l, enum match_kind kind, const struct bundle *b,
		     const char *path, char *why, size_t cap)
{
	char line_why[200];
	size_t len;
	const char *text = bundle_file(b, path, &len);

	if (!text) {
		snprintf(why, cap, "%s: is not there", path);
		return -ENOENT;
	}
	for (unsigned no = 1; len; no++) {
		const char *nl = memchr(text, '\n', len);
		size_t n = nl ? (size_t)(nl - text) : len;
		int rc = add_line(l, kind, text, n, line_why, sizeof(line_why));

		if (rc) {
			snprintf(why, cap, "%s:%u: %s", path, no, line_why);
			return rc;
		}
		text += n + (nl != NULL);
		len -= n + (nl != NULL);
	}
	return 0;
}

int match_load(struct mta_match *m, const struct bundle *b, char *why, size_t cap)
{
	struct match_list l = { 0 };
	int rc = 0;

	for (size_t i = 0; !rc && i < m->words.count; i++)
		rc = list_add(&l, m->kind, m->words.v[i], why, cap);
	for (size_t i = 0; !rc && b && i < m->tables.count; i++)
		rc = add_table(&l, m->kind, b, m->tables.v[i], why, cap);
	if (rc) {
		list_clear(&l);
		return rc;
	}
	if (l.word_count)
		qsort(l.word, l.word_count, sizeof(*l.word), by_word);
	if (l.prefix_count)
		qsort(l.prefix, l.prefix_count, sizeof(*l.prefix), by_prefix);
	list_clear(&m->list);
	m->list = l;
	return 0;
}

int match_expression(struct mta_match *m, const char *pattern, char *why, size_t cap)
{
	struct ere *e = ere_new(pattern, why, cap), **v;

	if (!e)
		return -EINVAL;
	v = realloc(m->ere, (m->ere_count + 1) * sizeof(struct ere *));
	if (!v) {
		ere_free(e);
		return -ENOMEM;
	}
	m->ere = v;
	v[m->ere_count++] = e;
	return 0;
}

static void strv_clear(struct strv *s)
{
	for (size_t i = 0; i < s->count; i++)
		free(s->v[i]);
	free(s->v);
	*s = (struct strv){ 0 };
}

void match_clear(struct mta_match *m)
{
	strv_clear(&m->words);
	strv_clear(&m->tables);
	list_clear(&m->list);
	for (size_t i = 0; i < m->ere_count; i++)
		ere_free(m->ere[i]);
	free(m->ere);
	m->ere = NULL;
	m->ere_count = 0;
}

/* ---- asking ---- */

/* The text itself, what begins at @from ("@domain"), then each ".parent" of it. @from NULL: a name. */
static const char *find(const struct match_list *l, const char *text, const char *from)
{
	const char *p = text;

	while (p && l->word_count) {
		char **hit = bsearch(&p, l->word, l->word_count, sizeof(*l->word), by_word);

		if (hit)
			return *hit;
		if (p == text && from && p != from)
			p = from;
		else
			p = p[p[0] == '@'] == '[' ? NULL : strchr(p + 1, '.');
	}
	return NULL;
}

static const char *find_ere(const struct mta_match *m, const char *text, size_t len)
{
	for (size_t i = 0; i < m->ere_count; i++) {
		if (ere_match(m->ere[i], text, len))
			return ere_pattern(m->ere[i]);
	}
	return NULL;
}

static const char *spelled_address(const struct address *a, char text[static MATCH_WORD_MAX])
{
	char local[ADDRESS_MAX + 1];
	size_t n = address_local(a, local);

	if (a->kind == ADDRESS_NULL)
		snprintf(text, MATCH_WORD_MAX, "<>");
	else
		snprintf(text, MATCH_WORD_MAX, "%s@%s", local, address_domain(a));
	lower(text);
	if (a->kind != ADDRESS_NULL)
		spell_rest(text + n + 1, MATCH_WORD_MAX - n - 1);
	return a->kind == ADDRESS_NULL ? NULL : text + n;
}

const char *match_address(const struct mta_match *m, const struct address *a)
{
	char text[MATCH_WORD_MAX];
	const char *at = spelled_address(a, text), *hit = find(&m->list, text, at);

	if (!hit)
		hit = find_ere(m, a->text, a->len);
	/* Quotes that need not be there are no way around an expression. */
	if (!hit && a->text[0] == '"')
		hit = find_ere(m, text, strlen(text));
	return hit;
}

const char *match_name(const struct mta_match *m, const char *name)
{
	char text[MATCH_WORD_MAX];
	const char *hit;

	snprintf(text, sizeof(text), "%s", name);
	lower(text);
	spell_rest(text, sizeof(text));
	hit = find(&m->list, text, NULL);
	return hit ? hit : find_ere(m, name, strlen(name));
}

const struct prefix *match_client(const struct mta_match *m, const struct addr *a)
{
	const struct match_list *l = &m->list;
	size_t at = 0;

	/* Prefixes stand by family and length: one search in those of the same. */
	while (at < l->prefix_count) {
		const struct prefix *first = &l->prefix[at], *hit;
		struct prefix key = prefix_of(a, first->len);
		size_t n = 1;

		for (size_t step = 1; step;) { /* the end of the run, by leaps */
			if (at + n + step <= l->prefix_count &&
			    first[n + step - 1].len == first->len &&
			    first[n + step - 1].addr.family == first->addr.family) {
				n += step;
				step *= 2;
			} else {
				step /= 2;
			}
		}
		hit = first->addr.family == a->family
			  ? bsearch(&key, first, n, sizeof(*first), by_prefix)
			  : NULL;
		if (hit)
			return hit;
		at += n;
	}
	return NULL;
}

bool match_address_words(const struct strv *words, const struct address *a)
{
	char text[MATCH_WORD_MAX], spelled[MATCH_WORD_MAX], why[200];
	const char *at = spelled_address(a, text);

	for (size_t i = 0; i < words->count; i++) {
		char *one = spelled;
		struct match_list l = { .word = &one, .word_count = 1 };

		if (!match_word(MATCH_ADDRESS, words->v[i], spelled, why, sizeof(why)) &&
		    find(&l, text, at))
			return true;
	}
	return false;
}

bool match_door(const struct mta_door *d, const struct addr *a, const struct prefix **by)
{
	*by = match_client(&d->deny, a);
	return !*by && (!match_written(&d->allow) || match_client(&d->allow, a));
}
