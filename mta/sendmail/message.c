/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "header.h"
#include "sendmail.h"

#define HEAD_MAX (1 << 20)

struct adding {
	struct rcpts *r;
	const char *domain;
	char *bad;
};

static int add_one(const char *s, size_t len, bool path, void *arg)
{
	char text[2 * ADDRESS_MAX];
	struct adding *x = arg;
	struct address a;
	void *grown;

	if (path && len >= 2 && s[len - 1] == '>') {
		s++;
		len -= 2;
	}
	snprintf(x->bad, ADDRESS_MAX + 1, "%.*s", (int)len, s);
	if (len > ADDRESS_MAX || memchr(s, 0, len))
		return -EBADMSG;
	snprintf(text, sizeof(text), "%.*s%s%s", (int)len, s, memchr(s, '@', len) ? "" : "@",
		 memchr(s, '@', len) ? "" : x->domain);
	if (address_parse(text, strlen(text), ADDRESS_ALLOW_UTF8, &a))
		return -EBADMSG;
	for (size_t i = 0; i < x->r->count; i++)
		if (!strcmp(x->r->v[i], a.text))
			return 0;
	if (x->r->count == SENDMAIL_RCPTS_MAX)
		return -EBADMSG;
	grown = realloc(x->r->v, (x->r->count + 1) * sizeof(*x->r->v));
	if (!grown)
		return -ENOMEM;
	x->r->v = grown;
	memcpy(x->r->v[x->r->count++], a.text, sizeof(a.text));
	return 0;
}

int rcpts_add(struct rcpts *r, const char *list, size_t len, const char *domain,
	      char bad[static ADDRESS_MAX + 1])
{
	struct adding x = { .r = r, .domain = domain, .bad = bad };
	int rc = header_list_each(list, len, add_one, &x);

	return rc == -ENOENT ? 0 : rc;
}

/* --- the header --- */

static bool is_field(const char *line, size_t len)
{
	size_t n = 0;

	if (len && *line == '.') /* it goes out as it is: no dots are doubled there */
		return false;
	while (n < len && line[n] > ' ' && line[n] < 127 && line[n] != ':')
		n++;
	while (n && n < len && (line[n] == ' ' || line[n] == '\t'))
		n++;
	return n && n < len && line[n] == ':';
}

static bool named(const char *field, const char *name)
{
	size_t n = strlen(name);

	return !strncasecmp(field, name, n) && strchr(": \t", field[n]);
}

/* One field, all its lines with CRLF at their ends. */
static bool is_rcpt_field(const char *field, bool resent)
{
	static const char *const names[] = { "To", "Cc", "Bcc" }, *const again[] = { "Resent-To",
										     "Resent-Cc",
										     "Resent-Bcc" };

	for (size_t i = 0; i < 3; i++)
		if (named(field, resent ? again[i] : names[i]))
			return true;
	return false;
}

static size_t field_len(const char *p)
{
	const char *end = p;

	do {
		end = strstr(end, "\r\n");
		end = end ? end + 2 : p + strlen(p);
	} while (*end == ' ' || *end == '\t');
	return (size_t)(end - p);
}

/* The value unfolded: line ends inside of a list are blanks. */
static int take_rcpts(struct message *m, const char *field, size_t len, const char *domain)
{
	const char *colon = memchr(field, ':', len);
	size_t n = (size_t)(field + len - (colon + 1));
	char *value = malloc(n + 1);
	int rc;

	if (!value)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		value[i] = colon[1 + i] == '\r' || colon[1 + i] == '\n' ? ' ' : colon[1 + i];
	rc = rcpts_add(&m->rcpts, value, n, domain, m->bad);
	free(value);
	return rc;
}

/* What the fields say, and Bcc out of them where their addresses were taken. */
static int look_at_head(struct message *m, bool take, const char *domain)
{
	char *from = m->head, *to = m->head, *end = m->head + m->head_len;
	bool resent = false;
	int rc = 0;

	for (const char *p = m->head; p < end; p += field_len(p))
		resent |= is_rcpt_field(p, true);
	while (from < end && !rc) {
		size_t n = field_len(from);

		m->has_from |= named(from, "From");
		m->has_date |= named(from, "Date");
		m->has_message_id |= named(from, "Message-ID");
		if (take && is_rcpt_field(from, resent))
			rc = take_rcpts(m, from, n, domain);
		if (!take || (!named(from, "Bcc") && !named(from, "Resent-Bcc"))) {
			memmove(to, from, n);
			to += n;
		}
		from += n;
	}
	m->head_len = (size_t)(to - m->head);
	*to = 0;
	return rc;
}

static int add_head(struct message *m, const char *line, size_t len)
{
	char *head;

	if (m->head_len + len + 3 > HEAD_MAX)
		return -E2BIG;
	head = realloc(m->head, m->head_len + len + 3);
	if (!head)
		return -ENOMEM;
	memcpy(head + m->head_len, line, len);
	memcpy(head + m->head_len + len, "\r\n", 3);
	m->head = head;
	m->head_len += len + 2;
	return 0;
}

static int add_body(struct message *m, const char *line, size_t len)
{
	if (len && *line == '.' && fputc('.', m->body) == EOF)
		return -ENOSPC;
	if (len && fwrite(line, len, 1, m->body) != 1)
		return -ENOSPC;
	return fputs("\r\n", m->body) == EOF ? -ENOSPC : 0;
}

static int read_lines(struct message *m, FILE *in, bool dot)
{
	bool head = true, first = true;
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;
	int rc = 0;

	while (!rc && (n = getline(&line, &cap, in)) >= 0) {
		size_t len = (size_t)n;

		len -= len && line[len - 1] == '\n';
		len -= len && line[len - 1] == '\r';
		if (dot && len == 1 && *line == '.')
			break;
		for (size_t i = 0; i < len && !m->eight; i++)
			m->eight = line[i] & 0x80;
		if (first && len > 5 && !memcmp(line, "From ", 5)) {
			first = false;
			continue; /* of a mailbox file */
		}
		first = false;
		if (head && !len) {
			head = false;
			continue;
		}
		if (head && !memchr(line, 0, len) &&
		    (is_field(line, len) || (m->head_len && (*line == ' ' || *line == '\t')))) {
			rc = add_head(m, line, len);
			continue;
		}
		head = false;
		rc = add_body(m, line, len);
	}
	free(line);
	return rc ? rc : ferror(in) ? -EIO : 0;
}

int message_read(struct message *m, FILE *in, bool dot, bool take, const char *domain)
{
	int rc;

	memset(m, 0, sizeof(*m));
	m->body = tmpfile();
	m->head = calloc(1, 1);
	if (!m->body || !m->head)
		return m->body ? -ENOMEM : -ENOSPC;
	rc = read_lines(m, in, dot);
	if (!rc && (fflush(m->body) || ferror(m->body)))
		rc = -ENOSPC;
	m->body_len = (size_t)ftell(m->body);
	rewind(m->body);
	return rc ? rc : look_at_head(m, take, domain);
}

void message_clear(struct message *m)
{
	if (m->body)
		fclose(m->body);
	free(m->head);
	free(m->rcpts.v);
	memset(m, 0, sizeof(*m));
}
