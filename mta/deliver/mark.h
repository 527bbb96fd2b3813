/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_DELIVER_MARK_H
#define MTA_DELIVER_MARK_H

/*
 * Theory: what a mailbox or a command gets has "Delivered-To: RECIPIENT" before its text (maildir.c), and
 * whatever sends such a letter on as it is (a command, a program that empties the mailbox) leaves that
 * there. If it comes to the same recipient again, it will go on again: a circle, which the count of
 * Received fields ends after 50 turns alone. So the mark ends it, at once, with 5.4.6, as the local
 * deliveries of Postfix and qmail do.
 *
 *	Received: ... by elsewhere		the way back to us
 *	Delivered-To: joe@example.net		the mark: this recipient ...
 *	Received: ... by home.example.net	... had it from this machine
 *
 * Both belong to it: the field of a server that had the mailbox before us, in a letter that somebody
 * moves over from there, is no circle, and nor is that of another recipient, so joe's letters may go on
 * to ann, and from joe to anybody elsewhere.
 *
 * A stranger can write both, and then his own letter is refused and nobody else's: it is his to spoil. He
 * makes no backscatter that way that an unknown recipient of some other machine would not make as
 * well: who is told of a failure is the route's `bounce` to say, and at a home none who has not logged in.
 * But a mailing list that leaves such fields in what it sends on carries his marks to its subscribers: who
 * is named in them does not get that one letter, and the list may take the failure for theirs.
 */

#include <stdbool.h>
#include <stddef.h>

#include "config.h"

#define MARK_HEADER_MAX (512 * 1024) /* of a letter's header that is looked at; smtpd takes half of it */

/**
 * mark_found() - Does the header of a letter say that it was delivered here to @recipient before?
 * @text: the letter, or as much of its beginning as there is; CRLF or LF.
 */
bool mark_found(const char *text, size_t len, const char *recipient, const struct mta_config *c);
/** mark_in_file() - The same of a file, from its offset 0. 1, 0 or -errno. */
int mark_in_file(int fd, const char *recipient, const struct mta_config *c);

#endif
