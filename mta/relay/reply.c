/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "reply.h"

#include <errno.h>
#include <string.h>

static bool digit(char c, char last)
{
	return c >= '0' && c <= last;
}

/* "4.7.1 " at the start of a text, of the class of the code (RFC 2034 s4). */
static size_t enhanced(const char *s, uint16_t code, char out[static 12])
{
	size_t n = 2, k;

	if (s[0] != (char)('0' + code / 100) || s[1] != '.')
		return 0;
	for (int part = 0; part < 2; part++) {
		for (k = 0; k < 3 && digit(s[n], '9'); k++)
			n++;
		if (!k || (part == 0 && s[n++] != '.'))
			return 0;
	}
	if (s[n] && s[n] != ' ')
		return 0;
	memcpy(out, s, n);
	out[n] = 0;
	return s[n] ? n + 1 : n;
}

static void add_text(struct reply *r, const char *s)
{
	size_t n = strlen(r->text);

	if (n && n < REPLY_TEXT_MAX)
		r->text[n++] = ' ';
	for (; *s && n < REPLY_TEXT_MAX; s++)
		r->text[n++] = (unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s;
	r->text[n] = 0;
}

/* One line without its end. 1: the last of its reply. */
static int on_line(struct reply_parser *p)
{
	const char *l = p->line;
	uint16_t code;
	const char *text;

	p->line[p->len] = 0;
	if (p->len < 3 || !digit(l[0], '5') || l[0] < '2' || !digit(l[1], '5') ||
	    !digit(l[2], '9') || (l[3] && l[3] != ' ' && l[3] != '-') || memchr(l, 0, p->len))
		return -EBADMSG;
	code = (uint16_t)((l[0] - '0') * 100 + (l[1] - '0') * 10 + (l[2] - '0'));
	if (!p->lines) {
		memset(&p->reply, 0, sizeof(p->reply));
		p->reply.code = code;
	}
	if (code != p->reply.code || p->lines >= REPLY_LINES_MAX)
		return -EBADMSG;
	text = l[3] ? l + 4 : l + 3;
	if (p->on_line)
		p->on_line(p->arg, p->lines, text);
	if (!p->lines) {
		text += enhanced(text, code, p->reply.enhanced);
	} else {
		char again[12];

		text += enhanced(text, code, again);
	}
	add_text(&p->reply, text);
	p->lines++;
	if (l[3] == '-')
		return 0;
	p->lines = 0;
	return 1;
}

int reply_feed(struct reply_parser *p, const void *data, size_t len, size_t *used)
{
	const char *s = data;
	int rc;

	*used = 0;
	while (*used < len && !p->bad) {
		char c = s[(*used)++];

		if (c != '\n') {
			if (p->len == REPLY_LINE_MAX)
				p->bad = true;
			else
				p->line[p->len++] = c;
			continue;
		}
		if (p->len && p->line[p->len - 1] == '\r')
			p->len--;
		rc = on_line(p);
		p->len = 0;
		if (rc < 0)
			p->bad = true;
		else if (rc)
			return 1;
	}
	return p->bad ? -EBADMSG : 0;
}
