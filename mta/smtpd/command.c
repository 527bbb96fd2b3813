/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "command.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

static const struct {
	const char *name;
	enum smtp_verb verb;
} verbs[] = {
	{ "EHLO", SMTP_EHLO },	       { "HELO", SMTP_HELO }, { "MAIL", SMTP_MAIL },
	{ "RCPT", SMTP_RCPT },	       { "DATA", SMTP_DATA }, { "BDAT", SMTP_BDAT },
	{ "RSET", SMTP_RSET },	       { "NOOP", SMTP_NOOP }, { "QUIT", SMTP_QUIT },
	{ "VRFY", SMTP_VRFY },	       { "EXPN", SMTP_EXPN }, { "HELP", SMTP_HELP },
	{ "STARTTLS", SMTP_STARTTLS }, { "AUTH", SMTP_AUTH }, { "LHLO", SMTP_LHLO },
	{ "XPUBLISH", SMTP_XPUBLISH },
	{ "XTRACE", SMTP_XTRACE },
};

enum smtp_verb command_verb(const char *line, size_t len, const char **arg, size_t *arg_len)
{
	const char *end = line + len, *p = memchr(line, ' ', len);
	size_t word = p ? (size_t)(p - line) : len;

	for (p = line + word; p < end && *p == ' ';)
		p++;
	while (end > p && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	*arg = p;
	*arg_len = (size_t)(end - p);
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (strlen(verbs[i].name) == word && !strncasecmp(verbs[i].name, line, word))
			return verbs[i].verb;
	}
	return SMTP_UNKNOWN;
}

const char *command_verb_name(enum smtp_verb v)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (verbs[i].verb == v)
			return verbs[i].name;
	}
	return "?";
}

static bool refuse(struct reply *r, uint16_t code, const char *text)
{
	r->code = code;
	r->text = text;
	return false;
}

/* One "keyword[=value]" of a MAIL or RCPT command. */
struct param {
	const char *key;
	size_t key_len;
	const char *value; /* NULL: no '=' */
	size_t value_len;
};

static bool key_is(const struct param *p, const char *name)
{
	return strlen(name) == p->key_len && !strncasecmp(p->key, name, p->key_len);
}

static bool value_is(const struct param *p, const char *word)
{
	return p->value && strlen(word) == p->value_len &&
	       !strncasecmp(p->value, word, p->value_len);
}

/* esmtp-keyword and esmtp-value of RFC 5321 s4.1.2; with SMTPUTF8 values may be 8-bit. */
static bool param_valid(const struct param *p)
{
	if (!p->key_len || (p->value && !p->value_len))
		return false;
	for (size_t i = 0; i < p->key_len; i++) {
		char c = p->key[i];

		if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
		      (i && c == '-')))
			return false;
	}
	for (size_t i = 0; i < p->value_len; i++) {
		unsigned char c = (unsigned char)p->value[i];

		if (c <= 32 || c == '=' || c == 127)
			return false;
	}
	return true;
}

/* The next parameter from *@at on; false at the end. */
static bool next_param(const char **at, const char *end, struct param *p)
{
	const char *eq;

	memset(p, 0, sizeof(*p));
	while (*at < end && **at == ' ')
		(*at)++;
	if (*at == end)
		return false;
	p->key = *at;
	while (*at < end && **at != ' ')
		(*at)++;
	p->key_len = (size_t)(*at - p->key);
	eq = memchr(p->key, '=', p->key_len);
	if (eq) {
		p->value = eq + 1;
		p->value_len = (size_t)(*at - p->value);
		p->key_len = (size_t)(eq - p->key);
	}
	return true;
}

/* Decimal digits only, no sign, no overflow. */
bool command_number(const char *s, size_t len, uint64_t *out)
{
	uint64_t v = 0;

	if (!len)
		return false;
	for (size_t i = 0; i < len; i++) {
		unsigned d = (unsigned)(s[i] - '0');

		if (d > 9 || v > (UINT64_MAX - 1 - d) / 10)
			return false;
		v = v * 10 + d;
	}
	*out = v;
	return true;
}

/* xtext kept as it is, decoded only to see that it is well formed (RFC 3461 s4). */
static bool xtext_copy(const struct param *p, char *out, size_t cap)
{
	char plain[COMMAND_TEXT_MAX];

	if (!p->value || p->value_len >= cap ||
	    xpostern_xtext_decode(p->value, p->value_len, plain, sizeof(plain)))
		return false;
	memcpy(out, p->value, p->value_len);
	out[p->value_len] = 0;
	return true;
}

/* "FROM:" or "TO:", then the path. Blanks after the colon are tolerated, none before. */
static bool path_of(const char **at, const char *end, const char *word, unsigned flags,
		    struct address *a, struct reply *r, bool sender)
{
	size_t n = strlen(word), used;
	const char *p = *at;

	if ((size_t)(end - p) < n || strncasecmp(p, word, n))
		return refuse(r, 501,
			      sender ? "5.5.4 Write MAIL FROM:<address>"
				     : "5.5.4 Write RCPT TO:<address>");
	for (p += n; p < end && *p == ' ';)
		p++;
	switch (address_parse_path(p, (size_t)(end - p), flags, a, &used)) {
	case 0:
		break;
	case -EPROTO:
		return refuse(r, 553,
			      sender ? "5.1.7 Forbidden character in the sender's address"
				     : "5.1.3 Forbidden character in the recipient's address");
	case -EILSEQ:
		return refuse(r, 553, "5.6.7 Address is not ASCII, and SMTPUTF8 was not asked for");
	case -ENAMETOOLONG:
		return refuse(r, 501,
			      sender ? "5.1.7 Sender's address is too long"
				     : "5.1.3 Recipient's address is too long");
	default:
		return refuse(r, 501,
			      sender ? "5.1.7 Bad syntax of the sender's address"
				     : "5.1.3 Bad syntax of the recipient's address");
	}
	p += used;
	if (p < end && *p != ' ')
		return refuse(r, 501, "5.5.4 A blank is missing after the address");
	*at = p;
	return true;
}

enum mail_key { KEY_SIZE, KEY_BODY, KEY_UTF8, KEY_AUTH, KEY_RET, KEY_ENVID, KEY_HOP };

static bool mail_size(struct command_mail *m, const struct param *p)
{
	m->has_size = true;
	return p->value_len <= 20 && command_number(p->value, p->value_len, &m->size_bytes);
}

static bool mail_body(struct command_mail *m, const struct param *p)
{
	m->body_8bit = value_is(p, "8BITMIME");
	return m->body_8bit || value_is(p, "7BIT");
}

static bool mail_utf8(struct command_mail *m, const struct param *p)
{
	m->smtputf8 = true; /* was looked for ahead of the address, too */
	return !p->value;
}

/* What another server claims of the author; nobody here believes it, so it only has to be well formed. */
static bool mail_auth(struct command_mail *m, const struct param *p)
{
	char plain[COMMAND_TEXT_MAX];

	return p->value && !xpostern_xtext_decode(p->value, p->value_len, plain, sizeof(plain));
}

static bool mail_ret(struct command_mail *m, const struct param *p)
{
	m->ret_headers = value_is(p, "HDRS");
	return m->ret_headers || value_is(p, "FULL");
}

static bool mail_envid(struct command_mail *m, const struct param *p)
{
	m->has_envid = xtext_copy(p, m->envid, sizeof(m->envid));
	return m->has_envid;
}

static const struct {
	const char *name;
	uint32_t offer;
	bool (*read)(struct command_mail *m, const struct param *p);
} mail_params[] = {
	[KEY_SIZE] = { "SIZE", OFFER_SIZE, mail_size },
	[KEY_BODY] = { "BODY", OFFER_8BITMIME, mail_body },
	[KEY_UTF8] = { "SMTPUTF8", OFFER_SMTPUTF8, mail_utf8 },
	[KEY_AUTH] = { "AUTH", OFFER_AUTH, mail_auth },
	[KEY_RET] = { "RET", OFFER_DSN, mail_ret },
	[KEY_ENVID] = { "ENVID", OFFER_DSN, mail_envid },
};

static bool mail_param(struct command_mail *m, const struct param *p, uint32_t offered,
		       uint32_t *seen, struct reply *r)
{
	int n;

	if (!param_valid(p))
		return refuse(r, 501, "5.5.4 Bad syntax of a parameter");
	if ((offered & OFFER_XPOSTERN) && (n = xpostern_key(p->key, p->key_len)) >= 0) {
		uint32_t bit = 1u << (16 + n);

		if (*seen & bit)
			return refuse(r, 501, "5.5.4 Parameter given twice");
		*seen |= bit;
		if (!p->value || xpostern_read(n, p->value, p->value_len, &m->hop))
			return refuse(r, 501, "5.5.4 Bad value of an XPOSTERN parameter");
		return true;
	}
	for (size_t i = 0; i < sizeof(mail_params) / sizeof(mail_params[0]); i++) {
		if (!(offered & mail_params[i].offer) || !key_is(p, mail_params[i].name))
			continue;
		if (*seen & 1u << i)
			return refuse(r, 501, "5.5.4 Parameter given twice");
		*seen |= 1u << i;
		if (!mail_params[i].read(m, p))
			return refuse(r, 501, "5.5.4 Bad value of a parameter");
		return true;
	}
	return refuse(r, 555, "5.5.4 Unknown parameter");
}

/* SMTPUTF8 stands after the address that it is about. */
static bool asks_utf8(const char *arg, size_t len)
{
	for (size_t i = 0; i + 9 <= len; i++) {
		if (arg[i] == ' ' && !strncasecmp(arg + i + 1, "SMTPUTF8", 8) &&
		    (i + 9 == len || arg[i + 9] == ' '))
			return true;
	}
	return false;
}

bool command_mail(const char *arg, size_t len, uint32_t offered, struct command_mail *m,
		  struct reply *r)
{
	bool utf8 = (offered & OFFER_SMTPUTF8) && asks_utf8(arg, len);
	const char *at = arg, *end = arg + len;
	uint32_t seen = 0;
	struct param p;

	memset(m, 0, sizeof(*m));
	if (!path_of(&at, end, "FROM:", ADDRESS_ALLOW_NULL | (utf8 ? ADDRESS_ALLOW_UTF8 : 0),
		     &m->sender, r, true))
		return false;
	while (next_param(&at, end, &p)) {
		if (!mail_param(m, &p, offered, &seen, r))
			return false;
	}
	if (m->sender.utf8 && !m->smtputf8) /* it stood inside of a quoted address */
		return refuse(r, 553, "5.6.7 Address is not ASCII, and SMTPUTF8 was not asked for");
	if (!m->hop.given && seen >> 16)
		return refuse(r, 501, "5.5.4 XPOSTERN facts without an id");
	return true;
}

static bool rcpt_notify(struct command_rcpt *c, const struct param *p)
{
	static const struct {
		const char *word;
		uint8_t bit;
	} words[] = { { "SUCCESS", ENV_NOTIFY_SUCCESS },
		      { "FAILURE", ENV_NOTIFY_FAILURE },
		      { "DELAY", ENV_NOTIFY_DELAY },
		      { "NEVER", ENV_NOTIFY_NEVER } };
	const char *v = p->value, *end = v ? v + p->value_len : NULL;

	while (v && v <= end) {
		const char *comma = memchr(v, ',', (size_t)(end - v));
		size_t n = (size_t)((comma ? comma : end) - v), i;

		for (i = 0; i < 4; i++) {
			if (strlen(words[i].word) == n && !strncasecmp(v, words[i].word, n))
				break;
		}
		if (i == 4)
			return false;
		c->notify |= words[i].bit;
		v = comma ? comma + 1 : end + 1;
	}
	return p->value && (!(c->notify & ENV_NOTIFY_NEVER) || c->notify == ENV_NOTIFY_NEVER);
}

static bool rcpt_orcpt(struct command_rcpt *c, const struct param *p)
{
	const char *semi = p->value ? memchr(p->value, ';', p->value_len) : NULL;

	c->has_orcpt = semi && semi > p->value && xtext_copy(p, c->orcpt, sizeof(c->orcpt));
	return c->has_orcpt;
}

bool command_rcpt(const char *arg, size_t len, uint32_t offered, bool utf8, struct command_rcpt *c,
		  struct reply *r)
{
	const char *at = arg, *end = arg + len;
	bool notify = false;
	struct param p;

	memset(c, 0, sizeof(*c));
	if (!path_of(&at, end, "TO:", ADDRESS_ALLOW_BARE | (utf8 ? ADDRESS_ALLOW_UTF8 : 0),
		     &c->rcpt, r, false))
		return false;
	while (next_param(&at, end, &p)) {
		bool is_notify = key_is(&p, "NOTIFY"), is_orcpt = key_is(&p, "ORCPT");

		if (!param_valid(&p) && !is_orcpt)
			return refuse(r, 501, "5.5.4 Bad syntax of a parameter");
		if (!(offered & OFFER_DSN) || (!is_notify && !is_orcpt))
			return refuse(r, 555, "5.5.4 Unknown parameter");
		if (is_notify ? notify : c->has_orcpt)
			return refuse(r, 501, "5.5.4 Parameter given twice");
		notify |= is_notify;
		if (!(is_notify ? rcpt_notify(c, &p) : rcpt_orcpt(c, &p)))
			return refuse(r, 501, "5.5.4 Bad value of a parameter");
	}
	return true;
}

bool command_bdat(const char *arg, size_t len, uint64_t *size, bool *last, struct reply *r)
{
	const char *end = arg + len, *p = arg;

	*last = false;
	*size = UINT64_MAX;
	while (p < end && *p != ' ')
		p++;
	if (!command_number(arg, (size_t)(p - arg), size)) {
		*size = UINT64_MAX;
		return refuse(r, 501, "5.5.4 Write BDAT size [LAST]");
	}
	while (p < end && *p == ' ')
		p++;
	if (p == end)
		return true;
	*last = end - p == 4 && !strncasecmp(p, "LAST", 4);
	return *last || refuse(r, 501, "5.5.4 Write BDAT size [LAST]");
}

bool command_helo_valid(const char *arg, size_t len)
{
	struct addr a;

	if (!len || len > ADDRESS_DOMAIN_MAX)
		return false;
	return arg[0] == '[' ? !address_literal_parse(arg, len, &a)
			     : address_domain_valid(arg, len, false);
}
