/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "conf_internal.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DOMAIN_MAX 253
#define LABEL_MAX  63
#define LOCAL_MAX  64

static int refuse(char *why, size_t cap, const char *text)
{
	snprintf(why, cap, "%s", text);
	return -EINVAL;
}

/* Decimal digits alone; -ERANGE when they do not fit. @end: first byte that is no digit. */
static int digits(const char *s, uint64_t *u, const char **end)
{
	uint64_t n = 0;

	*end = s;
	for (; *s >= '0' && *s <= '9'; s++) {
		unsigned d = (unsigned)(*s - '0');

		if (n > (UINT64_MAX - d) / 10)
			return -ERANGE;
		n = n * 10 + d;
	}
	if (s == *end)
		return -EINVAL;
	*end = s;
	*u = n;
	return 0;
}

struct unit {
	const char *name;
	uint64_t factor;
};

static const struct unit duration_units[] = {
	{ "ms", 1 },	  { "s", 1000 },     { "m", 60000 },
	{ "h", 3600000 }, { "d", 86400000 }, { NULL, 0 },
};
static const struct unit size_units[] = {
	{ "", 1 }, { "K", 1u << 10 }, { "M", 1u << 20 }, { "G", 1u << 30 }, { NULL, 0 },
};

static const struct unit rate_units[] = {
	{ "", 1 }, { "K", 1000 }, { "M", 1000000 }, { "G", 1000000000 }, { NULL, 0 },
};

static int parse_unit(const char *s, const struct unit *units, uint64_t *u)
{
	const char *end;
	int rc = digits(s, u, &end);

	if (rc)
		return rc;
	for (; units->name; units++) {
		if (strcmp(end, units->name))
			continue;
		return __builtin_mul_overflow(*u, units->factor, u) ? -ERANGE : 0;
	}
	return *u == 0 && !*end ? 0 : -EINVAL;
}

static int parse_number(const struct conf_key *k, struct conf_value *v, char *why, size_t cap)
{
	const char *end;
	int rc;

	if (k->type == CONF_DURATION) {
		rc = parse_unit(v->text, duration_units, &v->u);
		if (rc == -EINVAL)
			return refuse(why, cap, "not a duration");
	} else if (k->type == CONF_SIZE) {
		rc = parse_unit(v->text, size_units, &v->u);
		if (rc == -EINVAL)
			return refuse(why, cap, "not a size");
	} else if (k->type == CONF_RATE) {
		rc = parse_unit(v->text, rate_units, &v->u);
		if (rc == -EINVAL)
			return refuse(why, cap, "not a rate");
	} else {
		rc = digits(v->text, &v->u, &end);
		if (rc == -EINVAL || (!rc && *end))
			return refuse(why, cap, "not a number");
	}
	if (rc || v->u < k->min || (k->max && v->u > k->max))
		return refuse(why, cap, "out of range");
	return 0;
}

static int parse_bool(struct conf_value *v, char *why, size_t cap)
{
	static const char *const words[] = { "no", "yes", "false", "true", "off", "on" };

	for (size_t i = 0; i < CONF_COUNT(words); i++) {
		if (!strcmp(v->text, words[i])) {
			v->b = i & 1;
			v->u = v->b;
			return 0;
		}
	}
	return refuse(why, cap, "not yes or no");
}

static int parse_enum(const struct conf_key *k, struct conf_value *v, char *why, size_t cap)
{
	size_t n;
	const char *near;

	for (n = 0; k->words[n]; n++) {
		if (!strcmp(v->text, k->words[n])) {
			v->u = n;
			return 0;
		}
	}
	near = conf_nearest(v->text, k->words, n);
	if (near)
		snprintf(why, cap, "no such word, did you mean \"%s\"?", near);
	else
		snprintf(why, cap, "no such word");
	return -EINVAL;
}

static int parse_path(const char *dir, struct conf_value *v, char *why, size_t cap)
{
	char *joined;

	if (!*v->text)
		return refuse(why, cap, "empty");
	if (v->text[0] == '/')
		return 0;
	if (asprintf(&joined, "%s/%s", strcmp(dir, "/") ? dir : "", v->text) < 0)
		return -ENOMEM;
	free(v->text);
	v->text = joined;
	return 0;
}

static bool is_domain(const char *s, size_t len)
{
	size_t label = 0;
	bool letter = false;

	if (!len || len > DOMAIN_MAX)
		return false;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c == '.') {
			if (!label || s[i - 1] == '-')
				return false;
			label = 0;
			continue;
		}
		if (!isalnum(c) && c != '-' && c != '_')
			return false;
		if (c >= 0x80 || (c == '-' && !label) || ++label > LABEL_MAX)
			return false;
		letter = letter || !isdigit(c);
	}
	/* A name of digits and dots alone is a mistyped IPv4 address. */
	return label && s[len - 1] != '-' && letter;
}

static void lower(char *s)
{
	for (; *s; s++)
		*s = (char)tolower((unsigned char)*s);
}

/* A name or an address; @at: user@domain is allowed too. */
static int parse_name(struct conf_value *v, bool addr, bool at, char *why, size_t cap)
{
	size_t len = strlen(v->text);
	const char *p = at ? strrchr(v->text, '@') : NULL;

	if (addr && addr_parse(v->text, &v->addr) == 0)
		return 0;
	memset(&v->addr, 0, sizeof(v->addr));
	if (p) {
		size_t local = (size_t)(p - v->text);

		if (!local || local > LOCAL_MAX || !is_domain(p + 1, len - local - 1))
			return refuse(why, cap, "not a name");
		for (size_t i = 0; i < local; i++)
			if ((unsigned char)v->text[i] <= ' ' || strchr("\"<>@", v->text[i]))
				return refuse(why, cap, "not a name");
		lower(v->text + local);
		return 0;
	}
	if (!is_domain(v->text, len))
		return refuse(why, cap,
			      addr ? "neither a name nor an address" : "not a domain name");
	lower(v->text);
	return 0;
}

static int parse_prefix(struct conf_value *v, char *why, size_t cap)
{
	int rc = prefix_parse(v->text, &v->prefix);
	char host[PREFIX_STR_MAX], *slash = strchr(v->text, '/');
	struct addr a;

	if (rc != -EDOM)
		return rc ? refuse(why, cap, "not a prefix") : 0;
	/* Host bits are set: name the prefix that was probably meant. */
	if (slash && (size_t)(slash - v->text) < sizeof(host)) {
		struct prefix p;

		memcpy(host, v->text, (size_t)(slash - v->text));
		host[slash - v->text] = '\0';
		if (addr_parse(host, &a) == 0) {
			p = prefix_of(&a, (uint8_t)atoi(slash + 1));
			snprintf(why, cap, "has bits set behind its length, did you mean %s?",
				 prefix_str(&p, host));
			return -EINVAL;
		}
	}
	return refuse(why, cap, "has bits set behind its length");
}

static int parse_text(const struct conf_key *k, struct conf_value *v, char *why, size_t cap)
{
	size_t len = strlen(v->text);

	if (len < k->min || (k->max && len > k->max))
		return refuse(why, cap, len < k->min ? "too short" : "too long");
	return 0;
}

int conf_value_parse(const struct conf_key *k, const char *dir, struct conf_value *v, char *why,
		     size_t cap)
{
	int rc = -EINVAL;

	why[0] = '\0';
	switch (k->type) {
	case CONF_BOOL:
		rc = parse_bool(v, why, cap);
		break;
	case CONF_UINT:
	case CONF_DURATION:
	case CONF_SIZE:
	case CONF_RATE:
		rc = parse_number(k, v, why, cap);
		break;
	case CONF_STRING:
		rc = parse_text(k, v, why, cap);
		break;
	case CONF_PATH:
		rc = parse_path(dir, v, why, cap);
		break;
	case CONF_ADDR:
		rc = addr_parse(v->text, &v->addr) ? refuse(why, cap, "not an address") : 0;
		break;
	case CONF_PREFIX:
		rc = parse_prefix(v, why, cap);
		break;
	case CONF_ENDPOINT:
		rc = endpoint_parse(v->text, (uint16_t)k->min, &v->endpoint)
			 ? refuse(why, cap, "not an address with a port")
			 : 0;
		break;
	case CONF_ENUM:
		rc = parse_enum(k, v, why, cap);
		break;
	case CONF_DOMAIN:
		rc = parse_name(v, false, false, why, cap);
		break;
	case CONF_HOST:
		rc = parse_name(v, true, false, why, cap);
		break;
	case CONF_IDENTITY:
		rc = parse_name(v, true, true, why, cap);
		break;
	}
	if (!rc && k->check && k->check(v, why, cap))
		rc = -EINVAL;
	return rc;
}

char *conf_value_unquote(const char *s, size_t len, char *why, size_t cap)
{
	char *out, *o;
	size_t i;

	while (len && isblank((unsigned char)*s))
		s++, len--;
	while (len && isblank((unsigned char)s[len - 1]))
		len--;
	out = o = malloc(len + 1);
	if (!out) {
		refuse(why, cap, "out of memory");
		return NULL;
	}
	if (!len) {
		refuse(why, cap, "empty");
		goto bad;
	}
	if (*s != '"') {
		if (memchr(s, '"', len)) {
			refuse(why, cap, "a double quote inside; the whole value stands in quotes");
			goto bad;
		}
		memcpy(out, s, len);
		out[len] = '\0';
		return out;
	}
	for (i = 1; i < len && s[i] != '"'; i++) {
		if (s[i] == '\\') {
			i++;
			if (i >= len || (s[i] != '"' && s[i] != '\\')) {
				refuse(why, cap, "only \\\" and \\\\ are escapes");
				goto bad;
			}
		}
		*o++ = s[i];
	}
	if (i >= len) {
		refuse(why, cap, "the closing double quote is missing");
		goto bad;
	}
	if (i != len - 1) {
		refuse(why, cap, "text behind the closing double quote");
		goto bad;
	}
	*o = '\0';
	return out;
bad:
	free(out);
	return NULL;
}

/* 60000 -> "1m": the largest unit that divides it. */
static const char *with_unit(uint64_t u, const struct unit *units, char *out, size_t cap)
{
	const struct unit *best = units;

	for (const struct unit *t = units; t->name; t++)
		if (u && u % t->factor == 0)
			best = t;
	snprintf(out, cap, "%llu%s", (unsigned long long)(u / best->factor), best->name);
	return out;
}

static void describe_range(const struct conf_key *k, const struct unit *units, const char *what,
			   char *out, size_t cap)
{
	char lo[32], hi[32];

	with_unit(k->min, units, lo, sizeof(lo));
	if (k->max)
		snprintf(out, cap, "%s%s to %s", what, lo,
			 with_unit(k->max, units, hi, sizeof(hi)));
	else if (k->min)
		snprintf(out, cap, "%s%s or more", what, lo);
	else
		snprintf(out, cap, "%sno bound", what);
}

static void describe_words(const struct conf_key *k, char *out, size_t cap)
{
	size_t at = 0;

	out[0] = '\0';
	for (size_t i = 0; k->words[i] && at < cap; i++)
		at += (size_t)snprintf(out + at, cap - at, "%s%s",
				       !i ? "" : (k->words[i + 1] ? ", " : " or "), k->words[i]);
}

const char *conf_describe(const struct conf_key *k, char *out, size_t cap)
{
	static const struct unit plain[] = { { "", 1 }, { NULL, 0 } };

	if (k->allowed) {
		snprintf(out, cap, "%s", k->allowed);
		return out;
	}
	switch (k->type) {
	case CONF_BOOL:
		snprintf(out, cap, "yes or no");
		break;
	case CONF_UINT:
		describe_range(k, plain, "", out, cap);
		break;
	case CONF_DURATION:
		describe_range(k, duration_units, "a duration (ms, s, m, h, d), ", out, cap);
		break;
	case CONF_SIZE:
		describe_range(k, size_units, "a size (K, M, G), ", out, cap);
		break;
	case CONF_RATE:
		describe_range(k, rate_units, "bits a second (K, M, G), ", out, cap);
		break;
	case CONF_STRING:
		snprintf(out, cap, "text");
		break;
	case CONF_PATH:
		snprintf(out, cap, "a file or folder");
		break;
	case CONF_ADDR:
		snprintf(out, cap, "an IPv4 or IPv6 address");
		break;
	case CONF_PREFIX:
		snprintf(out, cap, "an address or prefix such as 192.0.2.0/24 or 2001:db8::/64");
		break;
	case CONF_ENDPOINT:
		snprintf(out, cap, "ADDRESS:PORT or [IPV6]:PORT");
		break;
	case CONF_ENUM:
		describe_words(k, out, cap);
		break;
	case CONF_DOMAIN:
		snprintf(out, cap, "a domain name");
		break;
	case CONF_HOST:
		snprintf(out, cap, "a host name or an address");
		break;
	case CONF_IDENTITY:
		snprintf(out, cap, "a domain name, user@domain or an address");
		break;
	}
	return out;
}

/* Optimal string alignment distance, given up above @limit. */
static unsigned distance(const char *a, const char *b, unsigned limit)
{
	enum { MAX = 64 };
	size_t la = strlen(a), lb = strlen(b);
	unsigned row[3][MAX + 1];

	if (la > MAX || lb > MAX || la > lb + limit || lb > la + limit)
		return limit + 1;
	for (size_t j = 0; j <= lb; j++)
		row[0][j] = (unsigned)j;
	for (size_t i = 1; i <= la; i++) {
		unsigned *cur = row[i % 3], *up = row[(i + 2) % 3], *up2 = row[(i + 1) % 3];

		cur[0] = (unsigned)i;
		for (size_t j = 1; j <= lb; j++) {
			unsigned d = up[j - 1] + (a[i - 1] != b[j - 1]);

			if (up[j] + 1 < d)
				d = up[j] + 1;
			if (cur[j - 1] + 1 < d)
				d = cur[j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    up2[j - 2] + 1 < d)
				d = up2[j - 2] + 1;
			cur[j] = d;
		}
	}
	return row[la % 3][lb];
}

const char *conf_nearest(const char *read, const char *const *words, size_t count)
{
	size_t len = strlen(read);
	unsigned best = len <= 3 ? 1 : len <= 7 ? 2 : 3;
	const char *near = NULL;

	for (size_t i = 0; i < count; i++) {
		unsigned d = distance(read, words[i], best);

		if (d < best || (d == best && !near)) {
			best = d;
			near = words[i];
		}
	}
	return near;
}
