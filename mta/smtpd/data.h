/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SMTPD_DATA_H
#define SMTPD_DATA_H

/*
 * Theory: what stands between the wire and the queue. One pass over the bytes as they come, in
 * pieces of any size, with no memory but this struct:
 *
 *	bytes --> line ends, dots, bounds (data.c) --> header fields (header.c) --> sink
 *
 * Only CRLF "." CRLF ends DATA (RFC 5321 s4.1.1.4). A CR or LF that stands alone is no line end,
 * for the header, for the dot and for the end of the letter alike; it makes the letter refused at its
 * true end. A peer that took such a byte for a line end would read other commands than we do:
 * that gap is SMTP smuggling, so the session also ends there and what follows is not executed.
 *
 *	        CR                LF
 *	TEXT ------> AFTER_CR ---------> LINE_START --"."--> DOT --CR--> DOT_CR --LF--> end
 *	  ^--------------+ other: bare CR     |  other         |  other      | other: bare CR
 *	  ^-----------------------------------+----------------+-------------+
 *
 * After a fault nothing more reaches the sink; the bytes are still read to the true end, so that the
 * reply stands at its place.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "header.h"

#define DATA_LINE_MAX	      (64 * 1024) /* CRLF included; RFC 5321 asks for 1000 */
#define DATA_HEADER_BYTES_MAX (256 * 1024)
#define DATA_HEADER_LINES_MAX 5000

/* The gravest one found stays. */
enum data_fault {
	DATA_FINE,
	DATA_BARE_NEWLINE, /* 550 5.5.2, then 421 */
	DATA_NUL,	   /* 554 5.6.0 */
	DATA_LONG_LINE,	   /* 554 5.6.0 */
	DATA_LONG_HEADER,  /* 552 5.3.4 */
	DATA_LOOP,	   /* 554 5.4.6 */
	DATA_TOO_LARGE,	   /* 552 5.3.4 */
};

struct data_conf {
	uint64_t size_max_bytes; /* 0: no limit */
	uint32_t received_max;	 /* so many Received fields are a loop */
	bool normalize;		 /* a bare LF becomes CRLF instead of a fault (a bare CR never) */
	struct header_conf header;
};

enum data_state {
	DATA_LINE_START,
	DATA_TEXT,
	DATA_AFTER_CR,
	DATA_DOT,
	DATA_DOT_CR,
};

struct data {
	struct data_conf conf;
	enum data_state state;
	enum data_fault fault;
	bool dots;  /* DATA, not BDAT */
	bool ended; /* the last byte of the letter has been read */
	bool no_final_crlf;
	uint64_t size_bytes; /* read, dots taken off */
	uint32_t line_bytes;
	struct header header;
};

/**
 * data_begin() - A new letter.
 * @conf: copied; its strings are borrowed until the letter ends.
 * @dots: true for DATA, false for BDAT.
 * @sink: gets what is to be stored, in pieces of any size.
 */
void data_begin(struct data *d, const struct data_conf *conf, bool dots,
		void (*sink)(void *arg, const uint8_t *p, size_t len), void *arg);

/**
 * data_feed() - Read some bytes of the letter.
 *
 * With DATA it stops after the true end and sets @d->ended; what follows belongs to the next
 * command. With BDAT the caller passes bytes of chunks only and ends with data_last().
 * Returns the bytes read. The sink gets at most @len + HEADER_HOLD_MAX + HEADER_ADD_MAX bytes.
 */
size_t data_feed(struct data *d, const uint8_t *p, size_t len);

/** data_last() - The chunk with LAST has been fed. */
void data_last(struct data *d);

#endif
