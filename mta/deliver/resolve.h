/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_DELIVER_RESOLVE_H
#define MTA_DELIVER_RESOLVE_H

/* From a recipient to a user and a directory, by postern-deliver's own configuration alone. */

#include <stdint.h>
#include <sys/types.h>

#include "config.h"
#include "tables.h"

struct mailbox {
	char user[64];
	uid_t uid;
	gid_t gid;
	char home[512];
	char dir[256]; /* below the home */
};

/**
 * resolve_mailbox() - Who gets mail for @recipient.
 * 0, or -errno with @why: -ENOENT (no such user), -EPERM (uid 0, below uid-min, home unfit).
 */
int resolve_mailbox(const struct mta_config *c, const struct table *users, const char *recipient,
		    struct mailbox *m, char *why, size_t cap);

#endif
