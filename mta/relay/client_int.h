/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_RELAY_CLIENT_INT_H
#define MTA_RELAY_CLIENT_INT_H

/* What the files of a session share. */

#include "client.h"

/* client.c */
/** client_due_push() - A reply is due from now on; false: no memory. */
bool client_due_push(struct client *s, enum due_kind kind, struct out_letter *l, size_t rcpt);
/** client_own_words() - A reply that is ours: code 0. */
void client_own_words(struct reply *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/** client_settle_all() - The recipients of @l that are not settled yet. */
void client_settle_all(struct out_letter *l, enum rcpt_result result, enum fault_scope scope,
		       const struct reply *reply);
/** client_over() - The session ends by a fault; all letters are told. */
void client_over(struct client *s, const struct reply *why);
void client_over_words(struct client *s, const char *words);

/* client_send.c */
void client_command(struct client *s, enum due_kind kind, struct out_letter *l, size_t rcpt,
		    const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/** client_clean() - No control characters. */
bool client_clean(const char *s);
bool client_needs_utf8(const struct out_letter *l);
/** client_chains() - May the next letter follow a dot that is not answered? */
bool client_chains(const struct client *s);

/* client_greet.c */
/** client_ehlo_line() - reply_parser.on_line. */
void client_ehlo_line(void *arg, unsigned index, const char *text);
/** client_on_greeting() - The reply to what comes before letters. */
void client_on_greeting(struct client *s, enum due_kind kind, const struct reply *r);

#endif
