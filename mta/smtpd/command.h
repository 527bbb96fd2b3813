/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SMTPD_COMMAND_H
#define SMTPD_COMMAND_H

/*
 * Theory: one command line, without its CRLF, becomes one struct. The parser knows the grammar and
 * nothing of the session: which extensions were offered is told by @offered, and a parameter of one
 * that was not is unknown (RFC 5321 s4.1.1.11). A failure is a reply, ready to be sent.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "address.h"
#include "envelope.h"
#include "xpostern.h"

#define COMMAND_LINE_MAX 2048  /* CRLF included: 512 and what the offered parameters may add */
#define COMMAND_AUTH_MAX 12288 /* a line of an AUTH exchange (RFC 4954 s4) */
#define COMMAND_TEXT_MAX 1024

enum smtp_verb {
	SMTP_UNKNOWN,
	SMTP_EHLO,
	SMTP_HELO,
	SMTP_MAIL,
	SMTP_RCPT,
	SMTP_DATA,
	SMTP_BDAT,
	SMTP_RSET,
	SMTP_NOOP,
	SMTP_QUIT,
	SMTP_VRFY,
	SMTP_EXPN,
	SMTP_HELP,
	SMTP_STARTTLS,
	SMTP_AUTH,
	SMTP_LHLO,
	SMTP_XPUBLISH,
	SMTP_XTRACE,
	SMTP_VERBS,
};

/* Extensions offered in EHLO. */
#define OFFER_SIZE	 0x01
#define OFFER_8BITMIME	 0x02
#define OFFER_SMTPUTF8	 0x04
#define OFFER_DSN	 0x08
#define OFFER_AUTH	 0x10
#define OFFER_XPOSTERN	 0x20
#define OFFER_CHUNKING	 0x40
#define OFFER_STARTTLS	 0x80
#define OFFER_PIPELINING 0x100

struct reply {
	uint16_t code;
	const char *text; /* with the enhanced code: "5.5.4 Unknown parameter" */
};

struct command_mail {
	struct address sender;
	bool has_size;
	uint64_t size_bytes;
	bool body_8bit;
	bool smtputf8;
	bool ret_headers;
	char envid[128];
	bool has_envid;
	struct mail_hop hop;
};

struct command_rcpt {
	struct address rcpt;
	uint8_t notify; /* ENV_NOTIFY_* */
	bool has_orcpt;
	char orcpt[COMMAND_TEXT_MAX];
};

/** command_verb() - The verb; *@arg and *@arg_len: the rest, blanks around it taken off. */
enum smtp_verb command_verb(const char *line, size_t len, const char **arg, size_t *arg_len);
/** command_verb_name() - "MAIL"; for logs. */
const char *command_verb_name(enum smtp_verb v);

/** command_mail() - "FROM:<path> parameters". @r is set and false returned when it does not hold. */
bool command_mail(const char *arg, size_t len, uint32_t offered, struct command_mail *m,
		  struct reply *r);
/** command_rcpt() - "TO:<path> parameters". @utf8: SMTPUTF8 was given with MAIL. */
bool command_rcpt(const char *arg, size_t len, uint32_t offered, bool utf8, struct command_rcpt *c,
		  struct reply *r);
/**
 * command_bdat() - "size [LAST]".
 * @size: set whenever the number can be read, even where more follows that cannot.
 * Returns false with @r set; then @size is the count of octets that follow nevertheless, or
 * UINT64_MAX when nobody can know.
 */
bool command_bdat(const char *arg, size_t len, uint64_t *size, bool *last, struct reply *r);

/** command_number() - Decimal digits and nothing else, at most 2^64 - 2. */
bool command_number(const char *s, size_t len, uint64_t *out);

/**
 * command_helo_valid() - A domain or an address literal (RFC 5321 s4.1.3).
 */
bool command_helo_valid(const char *arg, size_t len);

#endif
