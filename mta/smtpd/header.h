/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SMTPD_HEADER_H
#define SMTPD_HEADER_H

/*
 * Theory: the header section as it streams by (RFC 5322 s2.2). Field by field: the name is held
 * until its colon, then the field is passed, cut, or held until what decides about it is known.
 * All that is passed is passed byte for byte; nothing is folded, sorted or spelled anew.
 *
 *	Received			counted: the loop limit (RFC 5321 s6.3)
 *	Authentication-Results		cut when it bears our own authserv-id: only we may write that
 *					(RFC 8601 s5), others' stay as they are
 *	From				collected, for listeners that tie it to the user
 *	Date, Message-ID, From		noted; a submission gets the first two when they lack
 *
 * A line that is no field stands in many real letters. It is passed, and the section goes on to the
 * empty line, so that no field hides behind one. Only where fields are to be added
 * (submission) such a line means that the body has begun.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "address.h"

#define HEADER_NAME_MAX 78
#define HEADER_HOLD_MAX 1024 /* of an Authentication-Results field before its id must be known */
#define HEADER_FROM_MAX 4096
#define HEADER_ADD_MAX	512

struct header_conf {
	const char *cut_authserv_id; /* NULL: cut nothing */
	const char *add_date;	     /* "Date: ...\r\n" when it lacks; NULL: never */
	const char *add_message_id;  /* same */
};

enum header_field {
	HEADER_FIELD_NAME, /* held: name not yet known */
	HEADER_FIELD_PASS,
	HEADER_FIELD_CUT,
	HEADER_FIELD_AUTHRES, /* held: id not yet known */
	HEADER_FIELD_FROM,    /* passed and collected */
};

struct header {
	const struct header_conf *conf;
	void (*sink)(void *arg, const uint8_t *p, size_t len);
	void *arg;
	bool open; /* still in the header section */
	bool line_start;
	enum header_field field;
	uint32_t bytes;
	uint32_t lines;
	uint32_t received;
	uint32_t from_count;
	bool has_date;
	bool has_message_id;
	bool eight;    /* a byte beyond ASCII stood in the section */
	bool from_cut; /* the From fields were longer than HEADER_FROM_MAX */
	uint8_t hold[HEADER_HOLD_MAX];
	size_t held;
	size_t value_at; /* in hold: after the colon */
	char *from;	 /* unfolded values, '\n' after each field; NULL before the first */
	size_t from_len;
};

void header_begin(struct header *h, const struct header_conf *conf,
		  void (*sink)(void *arg, const uint8_t *p, size_t len), void *arg);
/** header_feed() - Bytes of the letter; past the header section they go straight to the sink. */
void header_feed(struct header *h, const uint8_t *p, size_t len);
/** header_end() - The letter ended, perhaps before its header section did. */
void header_end(struct header *h);
/** header_clear() - Free what was collected. */
void header_clear(struct header *h);

/**
 * header_from_each() - Every address in the From fields (RFC 5322 s3.4: lists, groups, comments).
 * @fn: gets each; a return other than 0 ends the walk and is returned.
 * Returns 0, what @fn returned, -ENOENT when there is no address, -EBADMSG when one cannot be read.
 */
int header_from_each(const struct header *h, int (*fn)(const struct address *a, void *arg),
		     void *arg);
/**
 * header_list_each() - Every element of such a list, as it stands there.
 * @fn: gets each without blanks and comments; @path: it stood in angle brackets, and has them.
 * Returns as header_from_each(); -EBADMSG is an element that is too long.
 */
int header_list_each(const char *list, size_t list_len,
		     int (*fn)(const char *s, size_t len, bool path, void *arg), void *arg);

#endif
