/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "data.h"

#include <string.h>

/*
 * The gravest stays, and of equals the first, so that the reply does not depend on the pieces in
 * which the bytes came. A bare newline is the gravest: the session must end with it, whatever else
 * is wrong with the letter.
 */
static void fault(struct data *d, enum data_fault f)
{
	static const uint8_t gravity[] = {
		[DATA_FINE] = 0,	 [DATA_LONG_HEADER] = 1, [DATA_LOOP] = 1,
		[DATA_TOO_LARGE] = 2,	 [DATA_LONG_LINE] = 3,	 [DATA_NUL] = 4,
		[DATA_BARE_NEWLINE] = 5,
	};

	if (gravity[f] > gravity[d->fault])
		d->fault = f;
}

void data_begin(struct data *d, const struct data_conf *conf, bool dots,
		void (*sink)(void *arg, const uint8_t *p, size_t len), void *arg)
{
	memset(d, 0, sizeof(*d));
	d->conf = *conf;
	d->dots = dots;
	header_begin(&d->header, &d->conf.header, sink, arg);
}

/* Line by line, so that the bounds are looked at in the same places however the bytes came. */
static size_t pass_header(struct data *d, const uint8_t *p, size_t len)
{
	size_t at = 0;

	while (at < len && d->header.open && !d->fault) {
		const uint8_t *lf = memchr(p + at, '\n', len - at);
		size_t n = lf ? (size_t)(lf + 1 - (p + at)) : len - at;

		header_feed(&d->header, p + at, n);
		at += n;
		if (!lf)
			continue;
		if (d->header.bytes > DATA_HEADER_BYTES_MAX ||
		    d->header.lines > DATA_HEADER_LINES_MAX)
			fault(d, DATA_LONG_HEADER);
		if (d->conf.received_max && d->header.received >= d->conf.received_max)
			fault(d, DATA_LOOP);
	}
	return at;
}

/* A run of the letter's own bytes, lines whole or in pieces. */
static void pass(struct data *d, const uint8_t *p, size_t len)
{
	size_t at;

	d->size_bytes += len;
	if (d->conf.size_max_bytes && d->size_bytes > d->conf.size_max_bytes)
		fault(d, DATA_TOO_LARGE);
	if (!len || d->fault)
		return;
	at = pass_header(d, p, len);
	if (at < len && !d->fault)
		header_feed(&d->header, p + at, len - at);
}

static void end(struct data *d)
{
	d->ended = true;
	d->no_final_crlf = d->size_bytes && d->state != DATA_LINE_START && d->state != DATA_DOT_CR;
	if (!d->fault)
		header_end(&d->header);
}

/* A byte that the plain text loop may not step over. */
static bool is_special(uint8_t c)
{
	return c == '\r' || c == '\n' || c == 0;
}

/* Count @n bytes of the current line. */
static void line_grows(struct data *d, size_t n)
{
	if (n > DATA_LINE_MAX || d->line_bytes + n > DATA_LINE_MAX)
		fault(d, DATA_LONG_LINE);
	else
		d->line_bytes += (uint32_t)n;
}

/* The byte that ends a plain run: CR, LF or NUL at @p[@at]. @run: start of what is not passed yet. */
static void special(struct data *d, const uint8_t *p, size_t at, size_t *run)
{
	line_grows(d, 1);
	switch (p[at]) {
	case '\r':
		d->state = DATA_AFTER_CR;
		return;
	case '\n':
		d->state = DATA_TEXT;
		d->line_bytes = 0;
		if (!d->conf.normalize)
			return fault(d, DATA_BARE_NEWLINE);
		pass(d, p + *run, at - *run);
		pass(d, (const uint8_t *)"\r\n", 2);
		*run = at + 1;
		return;
	default:
		d->state = DATA_TEXT;
		fault(d, DATA_NUL);
	}
}

size_t data_feed(struct data *d, const uint8_t *p, size_t len)
{
	size_t i = 0, run = 0;

	while (i < len && !d->ended) {
		size_t from = i;

		switch (d->state) {
		case DATA_LINE_START:
			d->line_bytes = 0;
			d->state = DATA_TEXT;
			if (d->dots && p[i] == '.') {
				pass(d, p + run, i - run);
				run = ++i;
				d->line_bytes = 1;
				d->state = DATA_DOT;
			}
			break;
		case DATA_TEXT:
			while (i < len && !is_special(p[i]))
				i++;
			line_grows(d, i - from);
			if (i < len)
				special(d, p, i++, &run);
			break;
		case DATA_AFTER_CR:
			if (p[i] == '\n') {
				line_grows(d, 1);
				i++;
				d->state = DATA_LINE_START;
			} else {
				fault(d, DATA_BARE_NEWLINE);
				d->state = DATA_TEXT;
			}
			break;
		case DATA_DOT: /* the dot is off, run starts after it */
			if (p[i] == '\r') {
				i++;
				d->state = DATA_DOT_CR;
			} else {
				d->state = DATA_TEXT;
			}
			break;
		case DATA_DOT_CR:
			if (p[i] == '\n') {
				i++;
				run = i;
				end(d);
			} else {
				fault(d, DATA_BARE_NEWLINE);
				d->state = DATA_TEXT;
			}
			break;
		}
	}
	if (d->state == DATA_DOT_CR)
		run = i; /* that CR is part of the end, or of a refused letter */
	pass(d, p + run, i - run);
	return i;
}

void data_last(struct data *d)
{
	if (d->state == DATA_AFTER_CR)
		fault(d, DATA_BARE_NEWLINE);
	end(d);
}
