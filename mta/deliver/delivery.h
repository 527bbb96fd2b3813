/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_DELIVER_DELIVERY_H
#define MTA_DELIVER_DELIVERY_H

/*
 * What a forked child of postern-deliver does: it becomes the user, and then either is confined and
 * delivers into the Maildir, or becomes the command that gets the letter.
 */

#include "deliver.h"
#include "resolve.h"

#define DELIVERY_S 60 /* then it ends itself */

/**
 * delivery_run() - Does not return.
 * @out: a pipe; gets a clause on failure, or what the command writes.
 * Exits as sysexits(3) with 0 when the letter lies durably in the mailbox, or the command says so.
 */
_Noreturn void delivery_run(const struct deliver_request *r, const struct mailbox *m,
			    const struct mta_config *c, int body, int out);
/**
 * delivery_verdict() - What its end means; @status of waitpid(2).
 * @code: the enhanced code that goes with it, where the text brings none.
 *
 * Never: EX_DATAERR, EX_NOUSER, EX_NOHOST, EX_UNAVAILABLE, EX_NOPERM. All else that is not 0 is later,
 * also what tells of a mistake in the command's line: no letter is lost for that.
 */
enum deliver_status delivery_verdict(int status, const char **code);

#endif
