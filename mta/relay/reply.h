/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_RELAY_REPLY_H
#define MTA_RELAY_REPLY_H

/*
 * Theory: replies of a next hop, from bytes as they come (RFC 5321 s4.2). What a peer can make us hold is
 * bounded: lines of REPLY_LINE_MAX, REPLY_LINES_MAX of them, and of the text the first
 * REPLY_TEXT_MAX bytes. A code whose digits are not 2-5, 0-5, 0-9, a line without a code, and lines
 * of one reply with different codes are protocol errors, after which nothing is read any more.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REPLY_LINE_MAX	2048 /* RFC 5321 says 512; real servers are longer */
#define REPLY_LINES_MAX 128
#define REPLY_TEXT_MAX	512

struct reply {
	uint16_t code;
	char enhanced[12];	       /* "4.7.1", "" when there is none */
	char text[REPLY_TEXT_MAX + 1]; /* of all lines, joined by blanks, control characters gone */
};

struct reply_parser {
	struct reply reply; /* being read, or just read */
	char line[REPLY_LINE_MAX + 1];
	size_t len;
	unsigned lines;
	bool bad;
	/* Called for each line's text (terminated, behind code and separator); may be NULL. */
	void (*on_line)(void *arg, unsigned index, const char *text);
	void *arg;
};

/**
 * reply_feed() - Read from @data up to the end of one reply.
 * @used: bytes read; those behind the reply are left alone.
 *
 * Returns 1 when p->reply is whole, 0 when more is needed, -EBADMSG for a protocol error.
 */
int reply_feed(struct reply_parser *p, const void *data, size_t len, size_t *used);

#endif
