/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_DELIVER_RESOLVE_H
#define MTA_DELIVER_RESOLVE_H

/* From a recipient to a user, and a directory or a command, by postern-deliver's own configuration alone. */

#include <stdint.h>
#include <sys/types.h>

#include "config.h"
#include "deliver.h"
#include "tables.h"
#include "template.h"

struct mailbox {
	char user[64];
	uid_t uid;
	gid_t gid;
	char home[512];
	char dir[256]; /* below the home; "": a command */
	char box[2 * LOOKUP_ADDRESS_MAX]; /* which of the user's: the directory, or who gets the command's letters */
	struct template_argv command;
};

/**
 * resolve_mailbox() - Who gets @r, and how.
 * 0, or -errno with @why: -ENOENT (no such user), -EPERM (uid 0, below uid-min, home unfit),
 * -EBADMSG (what stands in the addresses makes no directory and no argument: it never will).
 */
int resolve_mailbox(const struct mta_config *c, const struct table *users,
		    const struct deliver_request *r, struct mailbox *m, char *why, size_t cap);

#endif
