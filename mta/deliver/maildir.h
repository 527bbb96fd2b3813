/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_DELIVER_MAILDIR_H
#define MTA_DELIVER_MAILDIR_H

/*
 * Theory: one letter into one Maildir, as the user that owns it. Every path is opened beneath the
 * descriptor of the home directory with openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS), so that what the
 * user has put there leads nowhere else. The file is written in tmp, made durable, moved to new, and
 * the directory made durable; whatever fails on the way removes what was written.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct maildir_letter {
	int body; /* sealed memfd, read from offset 0 */
	uint64_t size;
	const char *sender;    /* "" for the null sender */
	const char *recipient; /* for Delivered-To */
	const char *hostname;
};

/**
 * maildir_open() - The Maildir below @home_fd, made when it is not there (mode 0700).
 * @dir: relative, below the home; parts that are missing are made.
 * @uid: who must own it.
 * A descriptor, or -errno with @why a clause.
 */
int maildir_open(int home_fd, const char *dir, uid_t uid, char *why, size_t cap);
/** maildir_put() - Deliver; CRLF becomes LF. 0, or -errno with @why. */
int maildir_put(int dir_fd, const struct maildir_letter *l, char *why, size_t cap);

#endif
