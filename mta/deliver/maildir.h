/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_DELIVER_MAILDIR_H
#define MTA_DELIVER_MAILDIR_H

/*
 * Theory: one letter into one Maildir, as the user that owns it. Every path is opened beneath the
 * descriptor of the home directory with openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS), so that what the
 * user has put there leads nowhere else. The file is written in tmp, made durable, moved to new, and
 * the directory made durable; whatever fails on the way removes what was written.
 *
 * Its name there is made of the letter's id and the recipient alone. When the word of a delivery is
 * lost on its way back, the letter comes again and meets itself: in new, or in cur if the user's
 * program has looked already. (One that he has moved to another folder by then, or deleted, comes
 * twice.) A first delivery need not look for that: a large cur takes its time to read (look.h).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "envelope.h"
#include "quota.h"

struct maildir_letter {
	int body; /* sealed memfd, read from offset 0 */
	uint64_t size;
	uint8_t id[LETTER_ID_LEN];
	uint64_t received_s;   /* the same each time; seconds since 1970 */
	bool repeat;	       /* it may lie there already */
	const char *sender;    /* "" for the null sender */
	const char *recipient; /* for Delivered-To */
	const char *hostname;
	struct quota_limit limit; /* of the whole Maildir */
};

/**
 * maildir_open() - The Maildir below @home_fd, made when it is not there (mode 0700).
 * @dir: relative, below the home; parts that are missing are made.
 * @uid: who must own it.
 * A descriptor, or -errno with @why a clause.
 */
int maildir_open(int home_fd, const char *dir, uid_t uid, char *why, size_t cap);
/**
 * maildir_put() - Deliver; CRLF becomes LF.
 * 0, also when it was there; -EDQUOT (past the limit, or past that of the file system); -errno; with @why.
 */
int maildir_put(int dir_fd, const struct maildir_letter *l, char *why, size_t cap);

/** letter_write() - The two fields and the text into @fd, as both a Maildir and a command get it. */
int letter_write(int fd, const struct maildir_letter *l);
/** maildir_open_beneath() - openat2(2) of @path below @dir, past no link; -errno. */
int maildir_open_beneath(int dir, const char *path, int flags);

#endif
