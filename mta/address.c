/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "address.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "domain.h"

/* Where a parse stands. Sticky: after a fault nothing moves and err keeps the first reason. */
struct scan {
	const char *p;
	const char *end;
	int err;
};

static void fail(struct scan *s, int err)
{
	if (!s->err)
		s->err = err;
	s->p = s->end;
}

static int peek(const struct scan *s)
{
	return s->p < s->end ? (unsigned char)*s->p : -1;
}

static bool is_alnum(int c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool is_atext(int c)
{
	return is_alnum(c) || (c > 0 && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

/* Never in an address, whatever the grammar says. */
static bool is_forbidden(int c)
{
	return c < 0x20 || c == 0x7f || c == '|' || c == ';' || c == '$' || c == '`';
}

bool address_utf8_valid(const char *str, size_t len)
{
	const uint8_t *p = (const uint8_t *)str, *end = p + len;

	while (p < end) {
		uint32_t c = *p++;
		int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
		static const uint32_t least[] = { 0, 0x80, 0x800, 0x10000 };

		if (c < 0x80) {
			if (c < 0x20 || c == 0x7f)
				return false;
			continue;
		}
		if (c < 0xc2 || c > 0xf4 || end - p < more)
			return false;
		c &= 0x3fu >> more;
		for (int i = 0; i < more; i++, p++) {
			if ((*p & 0xc0) != 0x80)
				return false;
			c = c << 6 | (*p & 0x3f);
		}
		if (c < least[more] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff) || c < 0xa0)
			return false;
	}
	return true;
}

bool address_domain_valid(const char *s, size_t len, bool allow_utf8)
{
	size_t label = 0;

	if (!len || len > ADDRESS_DOMAIN_MAX)
		return false;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c == '.') {
			if (!label || s[i - 1] == '-')
				return false;
			label = 0;
			continue;
		}
		if (!is_alnum(c) && c != '_' && !(c == '-' && label) && !(c >= 0x80 && allow_utf8))
			return false;
		if (++label > ADDRESS_LABEL_MAX)
			return false;
	}
	return label && s[len - 1] != '-';
}

int address_literal_parse(const char *s, size_t len, struct addr *out)
{
	char text[ADDR_STR_MAX];
	bool v6;

	if (len < 3 || s[0] != '[' || s[len - 1] != ']')
		return -EBADMSG;
	s++, len -= 2;
	v6 = len > 5 && !strncasecmp(s, "IPv6:", 5);
	if (v6)
		s += 5, len -= 5;
	if (len >= sizeof(text) || memchr(s, 0, len))
		return -EBADMSG;
	memcpy(text, s, len);
	text[len] = 0;
	if (addr_parse(text, out) || !!strchr(text, ':') != v6) {
		memset(out, 0, sizeof(*out));
		return -EBADMSG;
	}
	return 0;
}

/* Dot-string = Atom *("." Atom), with UTF-8 as atext where SMTPUTF8 holds (RFC 6531 s3.3). */
static void dot_string(struct scan *s)
{
	bool dot = true;
	int c;

	for (; (c = peek(s)) >= 0; s->p++) {
		if (c == '.') {
			if (dot)
				return fail(s, -EBADMSG);
			dot = true;
			continue;
		}
		if (c < 0x80 && !is_atext(c))
			break;
		if (is_forbidden(c))
			return fail(s, -EPROTO);
		dot = false;
	}
	if (dot)
		fail(s, -EBADMSG);
}

static void quoted_string(struct scan *s)
{
	int c;

	for (s->p++; (c = peek(s)) >= 0; s->p++) {
		if (c == '"') {
			s->p++;
			return;
		}
		if (c == '\\') {
			s->p++;
			c = peek(s);
			if (c < 0x20 || c > 0x7e)
				return fail(s, -EBADMSG);
		}
		if (is_forbidden(c) || strchr("<>()", c))
			return fail(s, -EPROTO);
	}
	fail(s, -EBADMSG);
}

/* The domain ends where the path does: at '>', at a space, or at the end. */
static void domain(struct scan *s, struct address *a, bool utf8)
{
	const char *from = s->p;
	size_t len;

	while (s->p < s->end && *s->p != '>' && *s->p != ' ')
		s->p++;
	len = (size_t)(s->p - from);
	if (len && *from == '[') {
		a->kind = ADDRESS_LITERAL;
		if (address_literal_parse(from, len, &a->literal))
			fail(s, -EBADMSG);
		return;
	}
	a->kind = ADDRESS_DOMAIN;
	if (len > ADDRESS_DOMAIN_MAX)
		fail(s, -ENAMETOOLONG);
	else if (!address_domain_valid(from, len, utf8))
		fail(s, -EBADMSG);
}

static bool is_postmaster(const char *s, size_t len)
{
	return len == 10 && !strncasecmp(s, "postmaster", 10);
}

/* Mailbox at the cursor. Leaves the cursor after it. */
static void mailbox(struct scan *s, unsigned flags, struct address *a)
{
	const char *from = s->p;
	size_t local, len;

	if (peek(s) == '"')
		quoted_string(s);
	else
		dot_string(s);
	if (s->err)
		return;
	local = (size_t)(s->p - from);
	if (peek(s) == '@') {
		s->p++;
		domain(s, a, flags & ADDRESS_ALLOW_UTF8);
	} else if ((flags & ADDRESS_ALLOW_BARE) && is_postmaster(from, local)) {
		a->kind = ADDRESS_BARE;
	} else {
		fail(s, -EBADMSG);
	}
	if (s->err)
		return;
	len = (size_t)(s->p - from);
	if (len > ADDRESS_MAX)
		return fail(s, -ENAMETOOLONG);
	memcpy(a->text, from, len);
	a->len = (uint8_t)len;
	a->at = (uint8_t)local;
	for (size_t i = 0; i < len; i++)
		a->utf8 |= (unsigned char)from[i] >= 0x80;
	if (a->utf8 && (!(flags & ADDRESS_ALLOW_UTF8) || !address_utf8_valid(from, len)))
		fail(s, -EILSEQ);
}

/* "@a,@b:" before the mailbox; checked, then forgotten (RFC 5321 s3.6.1, appendix C). */
static void source_route(struct scan *s)
{
	while (peek(s) == '@') {
		const char *from = ++s->p;

		while (s->p < s->end && *s->p != ',' && *s->p != ':' && *s->p != '>')
			s->p++;
		if (!address_domain_valid(from, (size_t)(s->p - from), false))
			return fail(s, -EBADMSG);
		if (peek(s) == ':') {
			s->p++;
			return;
		}
		if (peek(s) != ',')
			return fail(s, -EBADMSG);
		s->p++;
	}
	fail(s, -EBADMSG);
}

static int finish(const struct scan *s, struct address *a)
{
	if (s->err)
		memset(a, 0, sizeof(*a));
	return s->err;
}

int address_parse(const char *str, size_t len, unsigned flags, struct address *a)
{
	struct scan s = { .p = str, .end = str + len };

	memset(a, 0, sizeof(*a));
	if (!len && (flags & ADDRESS_ALLOW_NULL))
		return 0;
	mailbox(&s, flags, a);
	if (!s.err && s.p != s.end)
		fail(&s, -EBADMSG);
	return finish(&s, a);
}

int address_parse_path(const char *str, size_t len, unsigned flags, struct address *a, size_t *used)
{
	struct scan s = { .p = str, .end = str + len };

	memset(a, 0, sizeof(*a));
	*used = 0;
	if (peek(&s) != '<')
		return -EBADMSG;
	s.p++;
	if (peek(&s) == '>' && (flags & ADDRESS_ALLOW_NULL)) {
		*used = 2;
		return 0;
	}
	if (peek(&s) == '@')
		source_route(&s);
	if (!s.err)
		mailbox(&s, flags, a);
	if (!s.err && peek(&s) != '>')
		fail(&s, -EBADMSG);
	if (!s.err)
		*used = (size_t)(s.p + 1 - str);
	return finish(&s, a);
}

const char *address_domain(const struct address *a)
{
	return a->at < a->len ? a->text + a->at + 1 : "";
}

size_t address_local(const struct address *a, char out[static ADDRESS_MAX + 1])
{
	size_t n = 0;

	if (a->at && a->text[0] == '"') {
		for (size_t i = 1; i + 1 < a->at; i++) {
			if (a->text[i] == '\\')
				i++;
			out[n++] = a->text[i];
		}
	} else {
		memcpy(out, a->text, a->at);
		n = a->at;
	}
	out[n] = 0;
	return n;
}

bool address_equal(const struct address *a, const struct address *b)
{
	char la[ADDRESS_MAX + 1], lb[ADDRESS_MAX + 1], da[MTA_DOMAIN_MAX], db[MTA_DOMAIN_MAX];

	if (a->kind != b->kind)
		return false;
	if (a->kind == ADDRESS_BARE)
		return true;
	if (a->kind == ADDRESS_LITERAL
		? !addr_eq(&a->literal, &b->literal)
		: strcmp(domain_spell(address_domain(a), da), domain_spell(address_domain(b), db)))
		return false;
	address_local(a, la);
	address_local(b, lb);
	return !strcmp(la, lb);
}

bool address_routed_local(const struct address *a)
{
	return memchr(a->text, '%', a->at) || memchr(a->text, '!', a->at) ||
	       memchr(a->text, '@', a->at);
}
