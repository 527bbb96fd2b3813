/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_SENDMAIL_H
#define MTA_SENDMAIL_H

/*
 * Theory: what programs call as sendmail. It runs as whoever calls it, reads one letter, and hands it to
 * postern-mta at a listener of this machine, over loopback, by SMTP as everybody does. There
 * is no spool of its own: exit status 0 means that the server has the letter on its disk, for all
 * recipients; anything else, that nobody has it.
 *
 *	options, recipients (sendmail.c) -> letter from standard input (message.c) -> SMTP (submit.c)
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "address.h"

#define SENDMAIL_RCPTS_MAX 1000

/* What is known of this machine and who calls. */
struct place {
	char hostname[256];
	char domain[256]; /* of a name without one */
	char host[64];	  /* of the listener; never a name */
	uint16_t port;
	char *user;	/* login, or uNNN */
	char *fullname; /* or NULL */
};

struct rcpts {
	char (*v)[ADDRESS_MAX + 1];
	size_t count;
};

/** rcpts_add() - Addresses of a list, each once, with @domain where they have none; 0, -EBADMSG (then @bad), -ENOMEM. */
int rcpts_add(struct rcpts *r, const char *list, size_t len, const char *domain,
	      char bad[static ADDRESS_MAX + 1]);

/* message.c */
struct message {
	FILE *body; /* as it goes on the wire: CRLF, dots doubled */
	char *head; /* the fields as they came, CRLF; without what is cut */
	size_t head_len, body_len;
	bool eight; /* a byte over 127 */
	bool has_from, has_date, has_message_id;
	struct rcpts rcpts; /* of To, Cc, Bcc */
	char bad[ADDRESS_MAX + 1];
};

/**
 * message_read() - One letter from @in.
 * @dot: a line with a dot alone ends it; @take: recipients are those of its fields, and Bcc goes.
 *
 * 0, -EBADMSG (an address in it: m->bad), -E2BIG (its header), -ENOMEM, -EIO (@in), -ENOSPC (the copy of it).
 */
int message_read(struct message *m, FILE *in, bool dot, bool take, const char *domain);
void message_clear(struct message *m);

/* submit.c */
struct submission {
	const struct place *place;
	const char *sender; /* without brackets; "" for none */
	const struct rcpts *rcpts;
	const char *added; /* fields above those of the letter, CRLF */
	struct message *message;
	const char *notify, *ret, *envid; /* of DSN, as they go out; NULL: not given */
};

/** submit() - The exit status, after a message; @reply: what the server said of the letter. */
int submit(const struct submission *s, char *reply, size_t cap);
/** submit_pipe() - -bs: standard input and output are the session. */
int submit_pipe(const struct place *place);

#endif
