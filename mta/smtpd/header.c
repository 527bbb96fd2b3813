/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "header.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

void header_begin(struct header *h, const struct header_conf *conf,
		  void (*sink)(void *arg, const uint8_t *p, size_t len), void *arg)
{
	memset(h, 0, sizeof(*h));
	h->conf = conf;
	h->sink = sink;
	h->arg = arg;
	h->open = true;
	h->line_start = true;
	h->field = HEADER_FIELD_PASS;
}

void header_clear(struct header *h)
{
	free(h->from);
	h->from = NULL;
	h->from_len = 0;
}

static void put(struct header *h, const void *p, size_t len)
{
	if (len)
		h->sink(h->arg, p, len);
}

static void flush_hold(struct header *h)
{
	put(h, h->hold, h->held);
	h->held = 0;
}

static bool name_is(const struct header *h, const char *name)
{
	size_t len = h->value_at - 1; /* without the colon */

	while (len && (h->hold[len - 1] == ' ' || h->hold[len - 1] == '\t'))
		len--; /* "Name :" is the obsolete spelling (RFC 5322 s4.5) */
	return len == strlen(name) && !strncasecmp((const char *)h->hold, name, len);
}

static void collect_from(struct header *h, uint8_t c)
{
	if (!h->from)
		h->from = malloc(HEADER_FROM_MAX);
	if (!h->from || h->from_len == HEADER_FROM_MAX) {
		h->from_cut = true;
		return;
	}
	if (c != '\r' && c != '\n')
		h->from[h->from_len++] = (char)c;
}

/* The colon has come: what is this field? */
static void classify(struct header *h)
{
	h->value_at = h->held;
	h->field = HEADER_FIELD_PASS;
	if (name_is(h, "Received"))
		h->received++;
	else if (name_is(h, "Date"))
		h->has_date = true;
	else if (name_is(h, "Message-ID"))
		h->has_message_id = true;
	else if (name_is(h, "Authentication-Results") && h->conf->cut_authserv_id)
		h->field = HEADER_FIELD_AUTHRES;
	else if (name_is(h, "From"))
		h->field = HEADER_FIELD_FROM, h->from_count++;
	if (h->field != HEADER_FIELD_AUTHRES)
		flush_hold(h);
}

/* Where the id in @v starts, past blanks and comments; @len when it has not come yet. */
static size_t skip_cfws(const uint8_t *v, size_t len)
{
	int depth = 0;
	size_t i;

	for (i = 0; i < len; i++) {
		if (v[i] == '\\' && depth)
			i++;
		else if (v[i] == '(')
			depth++;
		else if (v[i] == ')' && depth)
			depth--;
		else if (!depth && !strchr(" \t\r\n", v[i]))
			return i;
	}
	return len;
}

/*
 * Does the held field bear our id? 1 yes, 0 no, -1 not known yet. @whole: the field has ended.
 */
static int bears_our_id(const struct header *h, bool whole)
{
	const uint8_t *v = h->hold + h->value_at;
	size_t len = h->held - h->value_at, at = skip_cfws(v, len), n = 0;
	const char *id = h->conf->cut_authserv_id;
	char word[256];
	bool quoted, over;

	if (at >= len)
		return whole ? 0 : -1;
	quoted = v[at] == '"';
	at += quoted;
	for (over = false; at < len && !over; at++) {
		over = quoted ? v[at] == '"' : !!strchr(" \t\r\n;(", v[at]);
		if (quoted && v[at] == '\\' && ++at >= len)
			break;
		if (!over && n < sizeof(word) - 1)
			word[n++] = (char)v[at];
	}
	if (!over && !whole)
		return -1;
	word[n] = 0;
	while (n && word[n - 1] == '.')
		word[--n] = 0;
	return !strcasecmp(word, id);
}

static void judge_authres(struct header *h, bool whole)
{
	int ours = bears_our_id(h, whole);

	if (ours < 0 && h->held < HEADER_HOLD_MAX)
		return;
	/* An id behind a kilobyte of comment hides from us: cut. */
	h->field = ours ? HEADER_FIELD_CUT : HEADER_FIELD_PASS;
	if (ours)
		h->held = 0;
	else
		flush_hold(h);
}

/* The field that stands before this place is over. */
static void field_over(struct header *h)
{
	if (h->field == HEADER_FIELD_AUTHRES)
		judge_authres(h, true);
	else if (h->field == HEADER_FIELD_FROM && h->from && h->from_len < HEADER_FROM_MAX)
		h->from[h->from_len++] = '\n';
	if (h->field == HEADER_FIELD_NAME)
		flush_hold(h);
	h->field = HEADER_FIELD_PASS;
}

/* The section ends here; add what lacks. @with_blank: a body follows without its empty line. */
static void close_section(struct header *h, bool with_blank)
{
	h->open = false;
	if (!h->has_date && h->conf->add_date)
		put(h, h->conf->add_date, strlen(h->conf->add_date));
	if (!h->has_message_id && h->conf->add_message_id)
		put(h, h->conf->add_message_id, strlen(h->conf->add_message_id));
	if (with_blank)
		put(h, "\r\n", 2);
}

/* A line without a colon. */
static void not_a_field(struct header *h)
{
	if (h->conf->add_date || h->conf->add_message_id)
		close_section(h, true);
	flush_hold(h);
	h->field = HEADER_FIELD_PASS;
}

/* First byte of a line: does it go on with the field, start one, or end the section? */
static void at_line_start(struct header *h, uint8_t c)
{
	h->line_start = false;
	h->lines++;
	if ((c == ' ' || c == '\t') && h->lines > 1)
		return;
	field_over(h);
	h->held = 0;
	if (c == '\r')
		close_section(h, false);
	else
		h->field = HEADER_FIELD_NAME;
}

static void name_byte(struct header *h, uint8_t c)
{
	h->hold[h->held++] = c;
	if (c == ':')
		classify(h);
	else if (c == '\n' || h->held == HEADER_NAME_MAX)
		not_a_field(h);
}

/* One byte of the open section. True when it is to be passed as it stands. */
static bool section_byte(struct header *h, uint8_t c)
{
	if (h->line_start) {
		at_line_start(h, c);
		if (!h->open)
			return true;
	}
	h->bytes++;
	h->eight |= c >> 7;
	h->line_start = c == '\n';
	switch (h->field) {
	case HEADER_FIELD_NAME:
		name_byte(h, c);
		return false;
	case HEADER_FIELD_AUTHRES:
		h->hold[h->held++] = c;
		judge_authres(h, false);
		return false;
	case HEADER_FIELD_FROM:
		collect_from(h, c);
		return true;
	case HEADER_FIELD_CUT:
		return false;
	default:
		return true;
	}
}

void header_feed(struct header *h, const uint8_t *p, size_t len)
{
	size_t i = 0, run = 0;

	while (i < len && h->open) {
		bool held_before = h->line_start || h->field == HEADER_FIELD_NAME ||
				   h->field == HEADER_FIELD_AUTHRES;

		/* What is passed so far must leave before something held or added does. */
		if (held_before && run < i) {
			put(h, p + run, i - run);
			run = i;
		}
		if (!section_byte(h, p[i]))
			run = i + 1;
		i++;
	}
	put(h, p + run, len - run);
}

void header_end(struct header *h)
{
	if (!h->open)
		return;
	field_over(h);
	if (!h->line_start && h->lines &&
	    ((!h->has_date && h->conf->add_date) ||
	     (!h->has_message_id && h->conf->add_message_id)))
		put(h, "\r\n", 2); /* a last line without its end: what is added stands alone */
	close_section(h, false);
}
