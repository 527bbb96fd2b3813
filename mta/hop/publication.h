/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HOP_PUBLICATION_H
#define HOP_PUBLICATION_H

/*
 * Theory: a home tells its edge whom it has, so that the edge can refuse strangers at RCPT while the
 * home is out of reach, and needs no file for it. The set goes over a session of XPOSTERN, home to edge:
 *
 *	250-XPOSTERN 1 PUBLISH=17	the edge holds set 17 of this home (0: none yet)
 *	XPUBLISH 71			bytes that follow the 354
 *	354 Go on
 *	#recipients 1 18 2 +		version, serial, lines, what begins a subaddress (or "none")
 *	ann@example.net			one address a line, each of a domain of its own,
 *	joe@example.net			or "@example.net": everybody there
 *	250 2.0.0 Published		the set is on the edge's disk
 *
 * What a set looks like: lower case, LF, bytes of lines strictly rising (so none stands twice), no
 * white space, quotes, "#" or control characters, domains by A-labels. All of it is a table of recipients, whose first line
 * is a comment: what reads tables reads it as it is. A later version of the first line is refused
 * (501).
 *
 * Words may follow on the first line. "size=20971520" is the largest letter that the home takes, so that
 * the edge can refuse a larger one before it has promised anything; without it nothing is known. Words
 * that are not known are ignored, so an older edge takes the set of a newer home.
 *
 * Serial: one more than what the edge holds, which it says in EHLO. So an old set that a lost session
 * still had under way comes too late (450) and nobody needs a clock; neither side is ever set back. The
 * home keeps nothing on disk: it asks for the number anew each time.
 *
 * What a home may say: the edge offers PUBLISH only to the tunnel peer of a [home] that has neither a
 * file of recipients nor check-recipients = no, under the same demands (pinned key) as for MAIL. An
 * address is looked for in the set of the one home that owns its domain, so lines of other domains mean
 * nothing; a set in which no line is of the home's own domains is refused (553).
 *
 *	the edge holds		address of the home		answer to RCPT
 *	no set			any but postmaster		451: nobody is refused for good
 *	a set			domain stands in it nowhere	451: the home has said nothing of it
 *	a set			is in it, or is postmaster	250
 *	a set			is not in it			550 5.1.1
 *
 * The edge keeps the set below its queue (queue/published.c), so that a restart while the tunnel is
 * down changes none of this; a refused or half set leaves the one before in force.
 *
 *	home: lookup (its tables) -> relay -- XPUBLISH --> edge: smtpd -> queue (disk)
 *	                                                          \-----> lookup (RCPT)
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config.h"

#define PUBLICATION_MAX	     (1u << 20) /* bytes of a set, its first line too */
#define PUBLICATION_LINE_MAX 320
#define PUBLICATION_HEAD_MAX 80 /* the longest has 74 */
#define PUBLICATION_VERSION  1

/* A set, read. @lines points into the text. */
struct publication {
	uint64_t serial;
	size_t count;
	char subaddress; /* '+', '-' or 0 */
	uint64_t size_max_bytes; /* of one letter; 0: not said */
	const char *lines;
	size_t lines_len;
};

/**
 * publication_head() - The first line for @count lines, LF included; returns its length.
 * @size_max_bytes: 0: not to be said.
 */
size_t publication_head(char out[static PUBLICATION_HEAD_MAX], uint64_t serial, size_t count,
			char subaddress, uint64_t size_max_bytes);
/**
 * publication_parse() - Read and check a whole set; borrows @text.
 *
 * 0, -EPROTONOSUPPORT for a version that we do not know, else -EBADMSG; @why then has a few words.
 */
int publication_parse(struct publication *p, const char *text, size_t len, const char **why);
/** publication_covers() - How many lines are of one of @domains (lower case). */
size_t publication_covers(const struct publication *p, const struct strv *domains);
/** publication_same() - Do both say the same of the same addresses, whatever their serials? */
bool publication_same(const struct publication *a, const struct publication *b);
/** publication_line_valid() - May that stand as a line? Without its LF. */
bool publication_line_valid(const char *line, size_t len);

/* Making one: lines in any order, some twice. */
struct publication_list {
	char **line;
	size_t count, cap;
	size_t left_out; /* that cannot stand in a set */
	bool nomem;
};

/** publication_add() - "@domain" when @local is ""; ASCII is made lower case. */
void publication_add(struct publication_list *l, const char *local, const char *domain);
/** publication_text() - The sorted lines; malloc'd. NULL: out of memory, or past PUBLICATION_MAX. */
char *publication_text(struct publication_list *l, size_t *len);
void publication_list_clear(struct publication_list *l);

#endif
