/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: three steps for each line of the file.
 *
 *	next_line() (inih's reader)	counts, trims, checks; opens sections in our own table; looks up
 *					the key; gives inih "[NUMBER]" or "key=PIECE", encoded so
 *					that nothing in it means anything to inih
 *	on_pair() (inih's handler)	must be called with just what was handed in; joins the pieces
 *	finish_value()			splits lists, unquotes, and has conf_value.c make typed values
 */
#include "conf_internal.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIECE_MAX 120 /* encoded bytes of a value in one line for inih, which takes 199 */
#define SHOWN_MAX 60  /* of what was read, in a message */

struct reader {
	struct conf *c;
	const char *p, *end;
	unsigned line;
	size_t section; /* index of the current one + 1; 0: none yet */
	bool skipping;	/* the current section is not known: its keys are not looked at */
	bool header_due;
	size_t key;	/* index in the kind, of the value on its way */
	bool value_due; /* pieces of it are not all handed in, or not come back */
	char *enc;	/* the encoded value, and how much of it was handed in */
	size_t enc_len, enc_at;
	char *raw; /* what came back, decoded */
	size_t raw_len;
	struct conf_chunk **values; /* where the next one goes */
	bool out_of_memory;
	struct conf_entry entries[CONF_KEYS_MAX]; /* of the section that is read, by key */
};

void conf_error(struct conf *c, unsigned line, const char *fmt, ...)
{
	char msg[1024], *joined;
	va_list ap;
	int n;

	if (++c->error_count > CONF_ERRORS_MAX)
		return;
	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	if (line)
		n = asprintf(&joined, "%s%s%s:%u: %s", c->errors ? c->errors : "",
			     c->errors ? "\n" : "", c->path, line, msg);
	else
		n = asprintf(&joined, "%s%s%s: %s", c->errors ? c->errors : "",
			     c->errors ? "\n" : "", c->path, msg);
	if (n < 0)
		return;
	free(c->errors);
	c->errors = joined;
}

#define BESIDES_MAX 32 /* "... and 4294967295 more" */

void conf_told(const struct conf *c, char *out, size_t cap)
{
	const char *p = c && c->errors ? c->errors : "out of memory";
	size_t len = 0, room = cap - BESIDES_MAX, n;
	unsigned lines = 0;

	if (!c || c->error_count <= CONF_ERRORS_MAX) {
		n = strlen(p);
		room = n < cap ? n : room;
	}
	for (; *p; p += n + (p[n] == '\n')) {
		n = strcspn(p, "\n");
		if (len + !!len + n > room)
			break;
		len += (size_t)sprintf(out + len, "%s%.*s", len ? "\n" : "", (int)n, p);
		lines++;
	}
	if (!lines) {
		for (len = room; len && ((unsigned char)p[len] & 0xc0) == 0x80; len--)
			;
		memcpy(out, p, len);
		len += (size_t)sprintf(out + len, "...");
		lines++;
	}
	if (c && c->error_count > lines)
		sprintf(out + len, "\n... and %u more", c->error_count - lines);
}

/* A bounded copy of what was read, for a message. */
static const char *shown(char out[static SHOWN_MAX + 4], const char *s, size_t len)
{
	size_t n = len < SHOWN_MAX ? len : SHOWN_MAX;

	/* Not in the middle of a UTF-8 sequence. */
	while (n < len && n && ((unsigned char)s[n] & 0xc0) == 0x80)
		n--;
	memcpy(out, s, n);
	strcpy(out + n, n < len ? "..." : "");
	return out;
}

static const char *section_str(const struct conf_section *s, char *out, size_t cap)
{
	snprintf(out, cap, "[%s%s%.60s]", s->kind->name, *s->name ? " " : "", s->name);
	return out;
}

/* ---- checks of a line ---- */

static size_t utf8_len(const unsigned char *s, size_t left)
{
	unsigned need;
	uint32_t cp;

	if (*s < 0x80)
		return 1;
	need = *s >= 0xf0 ? 3 : *s >= 0xe0 ? 2 : 1;
	if (*s < 0xc2 || *s > 0xf4 || left <= need)
		return 0;
	cp = *s & (0x3fu >> need);
	for (unsigned i = 1; i <= need; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		cp = cp << 6 | (s[i] & 0x3f);
	}
	if ((need == 2 && (cp < 0x800 || (cp >= 0xd800 && cp < 0xe000))) ||
	    (need == 3 && (cp < 0x10000 || cp > 0x10ffff)))
		return 0;
	return need + 1;
}

static bool line_is_text(struct reader *r, const char *s, size_t len)
{
	for (size_t i = 0; i < len;) {
		unsigned char ch = (unsigned char)s[i];
		size_t n = utf8_len((const unsigned char *)s + i, len - i);

		if ((ch < 0x20 && ch != '\t') || ch == 0x7f) {
			conf_error(r->c, r->line, "control character 0x%02x; allowed: text", ch);
			return false;
		}
		if (!n) {
			conf_error(r->c, r->line, "byte 0x%02x is not UTF-8; allowed: UTF-8 text",
				   ch);
			return false;
		}
		i += n;
	}
	return true;
}

/*
 * Cut a comment off a value or header: ';' or '#' outside of quotes after white space (or at the
 * start). Elsewhere outside of quotes they are refused, since half of the world's readers
 * would cut there. Returns false after an error.
 */
static bool cut_comment(struct reader *r, const char *s, size_t *len)
{
	bool quoted = false;

	for (size_t i = 0; i < *len; i++) {
		if (quoted && s[i] == '\\')
			i++;
		else if (s[i] == '"')
			quoted = !quoted;
		else if (!quoted && (s[i] == ';' || s[i] == '#')) {
			if (i && !isblank((unsigned char)s[i - 1])) {
				conf_error(
				    r->c, r->line,
				    "'%c' inside of a value; put the value in double quotes, or "
				    "a space before a comment",
				    s[i]);
				return false;
			}
			*len = i;
			break;
		}
	}
	while (*len && isblank((unsigned char)s[*len - 1]))
		(*len)--;
	return true;
}

/* ---- sections ---- */

static const struct conf_kind *kind_find(const struct conf_schema *schema, const char *name)
{
	for (size_t i = 0; i < schema->kind_count; i++)
		if (!strcmp(schema->kinds[i].name, name))
			return &schema->kinds[i];
	return NULL;
}

static void unknown_kind(struct reader *r, const char *kind, const char *name)
{
	const struct conf_schema *schema = r->c->schema;
	const char *words[32], *near;
	char list[512] = "", buf[80], was[2 * SHOWN_MAX];
	size_t n = 0, at = 0;

	for (; n < schema->kind_count && n < CONF_COUNT(words); n++) {
		words[n] = schema->kinds[n].name;
		if (at < sizeof(list))
			at += (size_t)snprintf(list + at, sizeof(list) - at, "%s%s", n ? ", " : "",
					       conf_kind_str(&schema->kinds[n], buf, sizeof(buf)));
	}
	near = conf_nearest(kind, words, n);
	snprintf(was, sizeof(was), "[%.40s%s%.40s]", kind, name ? " " : "", name ? name : "");
	if (near)
		conf_error(r->c, r->line, "unknown section %s; did you mean %s?", was,
			   conf_kind_str(kind_find(schema, near), buf, sizeof(buf)));
	else
		conf_error(r->c, r->line, "unknown section %s; allowed: %s", was, list);
}

static void finish_value(struct reader *r, struct conf_entry *e, const char *s, size_t len);

/* What a section of this kind has where the file says nothing; made once, for all of them. */
static const struct conf_entry *defaults_of(struct reader *r, const struct conf_kind *kind)
{
	struct conf_entry **at = &r->c->defaults[kind - r->c->schema->kinds];
	unsigned line = r->line;

	if (*at)
		return *at;
	*at = calloc(kind->key_count ? kind->key_count : 1, sizeof(**at));
	if (!*at) {
		r->out_of_memory = true;
		return NULL;
	}
	r->line = 0;
	r->values = &r->c->values[r->c->schema->kind_count];
	for (size_t i = 0; i < kind->key_count; i++) {
		struct conf_entry *e = &(*at)[i];

		e->key = &kind->keys[i];
		if (e->key->dflt)
			finish_value(r, e, e->key->dflt, strlen(e->key->dflt));
	}
	r->line = line;
	return *at;
}

/* The section is read: of its entries those stay that the file has. */
static void settle(struct reader *r, struct conf_section *s)
{
	char buf[128], what[256];
	size_t n = 0;

	s->rest = defaults_of(r, s->kind);
	for (size_t i = 0; i < s->kind->key_count; i++) {
		struct conf_entry *e = &r->entries[i];

		if (e->line || e->count)
			r->entries[n++] = *e;
		else if (!e->key->dflt && e->key->flags & CONF_REQUIRED)
			conf_error(r->c, s->line, "%s lacks key \"%s\"; allowed: %s",
				   section_str(s, buf, sizeof(buf)), e->key->name,
				   conf_describe(e->key, what, sizeof(what)));
	}
	if (!n)
		return;
	s->entries = malloc(n * sizeof(*s->entries));
	if (!s->entries) {
		r->out_of_memory = true;
		return;
	}
	memcpy(s->entries, r->entries, n * sizeof(*s->entries));
	s->entry_count = (uint16_t)n;
}

/* Appends; @name is kept. */
static int section_add(struct reader *r, const struct conf_kind *kind, char *name)
{
	struct conf *c = r->c;
	size_t n = c->section_count;
	struct conf_section *s;

	assert(kind->key_count <= CONF_KEYS_MAX);
	if (n)
		settle(r, &c->sections[n - 1]);

	/* Room for 1, 2, 4, 8...: there may be ten thousand, and each move copies all. */
	if (!(n & (n - 1))) {
		s = realloc(c->sections, (n ? 2 * n : 1) * sizeof(*s));
		if (!s)
			goto nomem;
		c->sections = s;
	}
	s = &c->sections[n];
	*s = (struct conf_section){ .kind = kind, .name = name, .line = r->line };
	memset(r->entries, 0, sizeof(r->entries));
	for (size_t i = 0; i < kind->key_count; i++)
		r->entries[i].key = &kind->keys[i];
	r->section = ++c->section_count;
	if (conf_by_name_add(c)) {
		r->out_of_memory = true;
		return -ENOMEM;
	}
	r->skipping = false;
	return 0;
nomem:
	r->out_of_memory = true;
	return -ENOMEM;
}

/* The NAME of a header, checked by the kind's type; NULL after an error. */
static char *section_name(struct reader *r, const struct conf_kind *kind, const char *s, size_t len)
{
	struct conf_key k = { .name = kind->name, .type = kind->name_type };
	struct conf_value v = { 0 };
	char why[CONF_WHY_MAX], what[128], was[SHOWN_MAX + 4];
	int rc;

	if (*s != '"') {
		for (size_t i = 0; i < len; i++) {
			if (isblank((unsigned char)s[i]) || strchr("[]\",", s[i])) {
				conf_error(
				    r->c, r->line,
				    "[%s %s]; a name with spaces or [ ] , \" stands in double "
				    "quotes",
				    kind->name, shown(was, s, len));
				return NULL;
			}
		}
	}
	v.text = conf_value_unquote(s, len, why, sizeof(why));
	if (!v.text) {
		conf_error(r->c, r->line, "[%s %s]: %s", kind->name, shown(was, s, len), why);
		return NULL;
	}
	rc = strlen(v.text) > CONF_NAME_MAX ? -EINVAL : 0;
	if (rc || !*v.text)
		snprintf(why, sizeof(why), "%s", rc ? "too long a name" : "empty name");
	if (!rc)
		rc = *v.text ? conf_value_parse(&k, r->c->dir, &v, why, sizeof(why)) : -EINVAL;
	if (rc) {
		conf_error(r->c, r->line, "[%s %s]: %s; allowed: %s", kind->name,
			   shown(was, s, len), why, conf_describe(&k, what, sizeof(what)));
		free(v.text);
		return NULL;
	}
	return v.text;
}

static void header_known(struct reader *r, const struct conf_kind *kind, const char *name,
			 size_t len)
{
	const struct conf_section *first = NULL;
	char *copy, buf[128];

	if (kind->flags & CONF_NAMED && !len) {
		conf_error(r->c, r->line, "[%s] needs a name: [%s NAME]", kind->name, kind->name);
		return;
	}
	if (!(kind->flags & CONF_NAMED) && len) {
		conf_error(r->c, r->line, "[%s %.*s]: this section takes no name; allowed: [%s]",
			   kind->name, (int)(len < SHOWN_MAX ? len : SHOWN_MAX), name, kind->name);
		return;
	}
	copy = len ? section_name(r, kind, name, len) : strdup("");
	if (!copy) {
		r->out_of_memory = r->out_of_memory || !len;
		return;
	}
	if (!(kind->flags & CONF_MANY))
		first = conf_find(r->c, kind->name, copy);
	if (first) {
		conf_error(r->c, r->line, "section %s stands twice; first at line %u",
			   section_str(first, buf, sizeof(buf)), first->line);
		free(copy);
		return;
	}
	copy = conf_keep(r->c, copy);
	if (!copy)
		r->out_of_memory = true;
	else if (!section_add(r, kind, copy))
		r->header_due = true;
}

/* "[kind]" or "[kind NAME]", trimmed, comment cut off. */
static void header(struct reader *r, const char *s, size_t len)
{
	const struct conf_kind *kind;
	char word[SHOWN_MAX + 4], was[SHOWN_MAX + 4];
	size_t n = 0;

	r->skipping = true;
	r->section = 0;
	if (!cut_comment(r, s, &len))
		return;
	if (s[len - 1] != ']') {
		conf_error(r->c, r->line, "section header \"%s\" does not end with ']'",
			   shown(was, s, len));
		return;
	}
	s++, len -= 2;
	while (len && isblank((unsigned char)*s))
		s++, len--;
	while (len && isblank((unsigned char)s[len - 1]))
		len--;
	while (n < len && !isblank((unsigned char)s[n]))
		n++;
	shown(word, s, n);
	s += n, len -= n;
	while (len && isblank((unsigned char)*s))
		s++, len--;
	kind = kind_find(r->c->schema, word);
	if (kind)
		header_known(r, kind, s, len);
	else
		unknown_kind(r, word, len ? shown(was, s, len) : NULL);
}

/* ---- keys and values ---- */

static void unknown_key(struct reader *r, const struct conf_kind *kind, const char *key)
{
	const struct conf_schema *schema = r->c->schema;
	const char *words[CONF_KEYS_MAX], *near;
	char list[700] = "", sec[128], other[80];
	size_t at = 0, n = 0;

	section_str(&r->c->sections[r->section - 1], sec, sizeof(sec));
	for (size_t i = 0; i < schema->kind_count; i++)
		for (size_t k = 0; k < schema->kinds[i].key_count; k++)
			if (!strcmp(schema->kinds[i].keys[k].name, key)) {
				conf_error(r->c, r->line,
					   "key \"%s\" does not belong in %s; it belongs in %s",
					   key, sec,
					   conf_kind_str(&schema->kinds[i], other, sizeof(other)));
				return;
			}
	for (; n < kind->key_count; n++) {
		words[n] = kind->keys[n].name;
		if (at < sizeof(list))
			at += (size_t)snprintf(list + at, sizeof(list) - at, "%s%s", n ? ", " : "",
					       words[n]);
	}
	near = conf_nearest(key, words, n);
	if (near)
		conf_error(r->c, r->line, "unknown key \"%s\" in %s; did you mean \"%s\"?", key,
			   sec, near);
	else
		conf_error(r->c, r->line, "unknown key \"%s\" in %s; allowed: %s", key, sec, list);
}

/* Each byte that could mean something to inih becomes %XX. */
static int encode(struct reader *r, const char *s, size_t len)
{
	static const char hex[] = "0123456789abcdef";
	char *o = realloc(r->enc, len * 3 + 1);

	if (!o) {
		r->out_of_memory = true;
		return -ENOMEM;
	}
	r->enc = o;
	for (size_t i = 0; i < len; i++) {
		unsigned char ch = (unsigned char)s[i];

		if (isalnum(ch) || ch == '.' || ch == '/' || ch == '-' || ch == '_') {
			*o++ = (char)ch;
			continue;
		}
		*o++ = '%';
		*o++ = hex[ch >> 4];
		*o++ = hex[ch & 15];
	}
	*o = '\0';
	r->enc_len = (size_t)(o - r->enc);
	r->enc_at = 0;
	r->raw_len = 0;
	o = realloc(r->raw, len + 1);
	if (!o) {
		r->out_of_memory = true;
		return -ENOMEM;
	}
	r->raw = o;
	return 0;
}

static void pair_known(struct reader *r, struct conf_section *s, const char *key, const char *value,
		       size_t len)
{
	const struct conf_kind *kind = s->kind;
	char buf[160];
	size_t k = 0;

	while (k < kind->key_count && strcmp(kind->keys[k].name, key))
		k++;
	if (k == kind->key_count) {
		unknown_key(r, kind, key);
		return;
	}
	if (r->entries[k].line && !(kind->keys[k].flags & CONF_LIST)) {
		conf_error(r->c, r->line, "key \"%s\" stands twice in %s; first at line %u", key,
			   section_str(s, buf, sizeof(buf)), r->entries[k].line);
		return;
	}
	if (!r->entries[k].line)
		r->entries[k].line = r->line;
	if (!cut_comment(r, value, &len))
		return;
	if (!len) {
		conf_error(r->c, r->line, "%s has no value; allowed: %s", key,
			   conf_describe(&kind->keys[k], buf, sizeof(buf)));
		return;
	}
	if (encode(r, value, len))
		return;
	r->key = k;
	r->value_due = true;
}

static void pair(struct reader *r, const char *s, size_t len)
{
	const char *eq = memchr(s, '=', len), *value;
	char key[SHOWN_MAX + 4];
	size_t n;

	if (!eq) {
		conf_error(r->c, r->line, "\"%s\" is neither [section] nor key = value%s",
			   shown(key, s, len),
			   memchr(s, ':', len) ? "; ':' does not separate, write '='" : "");
		return;
	}
	n = (size_t)(eq - s);
	while (n && isblank((unsigned char)s[n - 1]))
		n--;
	shown(key, s, n);
	for (size_t i = 0; i < n || !n; i++) {
		if (n && n < SHOWN_MAX &&
		    (islower((unsigned char)s[i]) || isdigit((unsigned char)s[i]) || s[i] == '-'))
			continue;
		conf_error(
		    r->c, r->line,
		    "\"%s\" is not a key; a key is made of a-z, 0-9 and '-', and stands before '='",
		    key);
		return;
	}
	if (!r->section) {
		if (!r->skipping)
			conf_error(r->c, r->line, "key \"%s\" stands before the first section",
				   key);
		return;
	}
	value = eq + 1;
	len -= (size_t)(value - s);
	while (len && isblank((unsigned char)*value))
		value++, len--;
	pair_known(r, &r->c->sections[r->section - 1], key, value, len);
}

/* One element of @raw; adds a typed value. */
static void add_value(struct reader *r, struct conf_entry *e, const char *s, size_t len)
{
	const struct conf_key *k = e->key;
	struct conf_value v = { .line = r->line }, *grown;
	char why[CONF_WHY_MAX], what[256], was[SHOWN_MAX + 4];
	int rc;

	v.text = conf_value_unquote(s, len, why, sizeof(why));
	rc = v.text ? conf_value_parse(k, r->c->dir, &v, why, sizeof(why)) : -EINVAL;
	if (rc) {
		while (len && isblank((unsigned char)*s))
			s++, len--;
		conf_error(r->c, r->line, "%s = %s: %s; allowed: %s", k->name, shown(was, s, len),
			   why, conf_describe(k, what, sizeof(what)));
		free(v.text);
		return;
	}
	v.text = conf_keep(r->c, v.text);
	/* Room for 1, 2, 4, 8... */
	if (!(e->count & (e->count - 1))) {
		grown = conf_alloc(r->values, (e->count ? 2 * e->count : 1) * sizeof(*grown), 8);
		if (grown && e->count)
			memcpy(grown, e->values, e->count * sizeof(*grown));
		e->values = grown;
	}
	if (!e->values || !v.text) {
		e->count = 0;
		r->out_of_memory = true;
		return;
	}
	e->values[e->count++] = v;
}

static void finish_value(struct reader *r, struct conf_entry *e, const char *s, size_t len)
{
	bool quoted = false;
	size_t from = 0;

	for (size_t i = 0; i < len; i++) {
		if (quoted && s[i] == '\\') {
			i++;
		} else if (s[i] == '"') {
			quoted = !quoted;
		} else if (s[i] == ',' && !quoted) {
			if (!(e->key->flags & CONF_LIST)) {
				char was[SHOWN_MAX + 4];

				conf_error(
				    r->c, r->line,
				    "%s = %s: takes one value; a value with a comma stands in "
				    "double quotes",
				    e->key->name, shown(was, s, len));
				return;
			}
			add_value(r, e, s + from, i - from);
			from = i + 1;
		}
	}
	add_value(r, e, s + from, len - from);
}

/* ---- between us and inih ---- */

/* One line of the file: leaves header_due or value_due when inih is to see it. */
static void take_line(struct reader *r)
{
	const char *nl = memchr(r->p, '\n', (size_t)(r->end - r->p)), *s = r->p;
	size_t len = (size_t)((nl ? nl : r->end) - s);

	r->p = nl ? nl + 1 : r->end;
	r->line++;
	if (r->line == 1 && len >= 3 && !memcmp(s, "\xef\xbb\xbf", 3))
		s += 3, len -= 3;
	if (len && s[len - 1] == '\r')
		len--;
	if (!line_is_text(r, s, len))
		return;
	while (len && isblank((unsigned char)*s))
		s++, len--;
	while (len && isblank((unsigned char)s[len - 1]))
		len--;
	if (!len || *s == '#' || *s == ';')
		return;
	if (*s == '[')
		header(r, s, len);
	else
		pair(r, s, len);
}

static char *next_line(char *str, int num, void *arg)
{
	struct reader *r = arg;
	size_t n;

	while (!r->header_due && !r->value_due) {
		if (r->p == r->end || r->out_of_memory)
			return NULL;
		take_line(r);
	}
	if (r->header_due) {
		r->header_due = false;
		snprintf(str, (size_t)num, "[%zu]\n", r->section);
		return str;
	}
	n = r->enc_len - r->enc_at;
	if (n > PIECE_MAX) {
		n = PIECE_MAX;
		/* Not in the middle of a %XX. */
		if (r->enc[r->enc_at + n - 1] == '%')
			n -= 1;
		else if (r->enc[r->enc_at + n - 2] == '%')
			n -= 2;
	}
	snprintf(str, (size_t)num, "%s=%.*s\n",
		 r->c->sections[r->section - 1].kind->keys[r->key].name, (int)n,
		 r->enc + r->enc_at);
	r->enc_at += n;
	return str;
}

static int hexval(char ch)
{
	return isdigit((unsigned char)ch) ? ch - '0' : ch - 'a' + 10;
}

static int on_pair(void *arg, const char *section, const char *name, const char *value)
{
	struct reader *r = arg;
	struct conf_section *s;
	char number[24];

	if (!name || r->out_of_memory)
		return 1; /* some builds of inih announce a new section this way */
	/* What comes back must be what was handed in, or inih is not the one that we know. */
	assert(r->value_due && r->section);
	snprintf(number, sizeof(number), "%zu", r->section);
	s = &r->c->sections[r->section - 1];
	assert(!strcmp(section, number) && !strcmp(name, s->kind->keys[r->key].name));
	for (; *value; value++) {
		if (*value == '%') {
			r->raw[r->raw_len++] = (char)(hexval(value[1]) << 4 | hexval(value[2]));
			value += 2;
		} else {
			r->raw[r->raw_len++] = *value;
		}
	}
	if (r->enc_at < r->enc_len)
		return 1;
	r->value_due = false;
	r->values = &r->c->values[s->kind - r->c->schema->kinds];
	finish_value(r, &r->entries[r->key], r->raw, r->raw_len);
	return 1;
}

/* ---- after the last line ---- */

static void check_needed(struct conf *c)
{
	char buf[80];

	for (size_t i = 0; i < c->schema->kind_count; i++) {
		const struct conf_kind *k = &c->schema->kinds[i];

		if (k->flags & CONF_NEEDED && !conf_next(c, k->name, NULL))
			conf_error(c, 0, "section %s is missing",
				   conf_kind_str(k, buf, sizeof(buf)));
	}
}

/* The folder of @path, absolute. */
static char *folder(const char *path)
{
	char *cwd = NULL, *full = NULL, *slash;

	if (*path == '/') {
		full = strdup(path);
	} else {
		cwd = getcwd(NULL, 0);
		if (asprintf(&full, "%s/%s", cwd ? cwd : "", path) < 0)
			full = NULL;
		free(cwd);
	}
	slash = full ? strrchr(full, '/') : NULL;
	if (slash)
		slash[slash == full] = '\0';
	return full;
}

struct conf *conf_parse(const struct conf_schema *schema, const char *path, const char *text,
			size_t len)
{
	struct conf *c = calloc(1, sizeof(*c));
	struct reader r = { .c = c, .p = text, .end = text ? text + len : text };
	struct conf_section *fit;

	if (!c)
		return NULL;
	c->schema = schema;
	c->path = strdup(path);
	c->dir = folder(path);
	c->defaults = calloc(schema->kind_count, sizeof(*c->defaults));
	c->values = calloc(schema->kind_count + 1, sizeof(*c->values));
	if (!c->path || !c->dir || !c->defaults || !c->values)
		goto nomem;
	if (len > CONF_SIZE_MAX) {
		conf_error(c, 0, "%zu bytes; allowed: up to %u", len, CONF_SIZE_MAX);
		return c;
	}
	if (ini_parse_stream(next_line, &r, on_pair, &r) == -2)
		r.out_of_memory = true;
	if (c->section_count && !r.out_of_memory)
		settle(&r, &c->sections[c->section_count - 1]);
	fit = realloc(c->sections, (c->section_count + 1) * sizeof(*fit));
	if (fit)
		c->sections = fit;
	check_needed(c);
	free(r.enc);
	free(r.raw);
	if (!r.out_of_memory)
		return c;
nomem:
	conf_free(c);
	return NULL;
}

void conf_free(struct conf *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->section_count; i++)
		if (!c->sections[i].forgotten)
			free(c->sections[i].entries);
	for (size_t i = 0; c->defaults && i < c->schema->kind_count; i++)
		free(c->defaults[i]);
	for (size_t i = 0; c->values && i <= c->schema->kind_count; i++)
		conf_chunks_free(&c->values[i]);
	free(c->values);
	conf_chunks_free(&c->texts);
	conf_chunks_free(&c->rooms);
	free(c->defaults);
	free(c->sections);
	free(c->by_name);
	free(c->path);
	free(c->dir);
	free(c->errors);
	free(c);
}
