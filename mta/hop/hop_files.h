/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_HOP_HOP_FILES_H
#define MTA_HOP_HOP_FILES_H

/*
 * Theory: the parent's files of the hop, in the state folder; root's, and nobody else's to read.
 *
 *	hop.pem			our own key: made once, whole or not at all, never written again
 *	hop-keys.0, hop-keys.1	those of peers, the two last editions of a struct hop_keys
 *
 * The parent is an ordinary user by the time it learns a key, and may create nothing in the folder. So both
 * editions are opened while it is root, and written in turn, in place: of the one that a crash tears the
 * checksum does not hold, and the other one counts.
 */

#include <stdbool.h>

#include "hop_keys.h"

#define HOP_OWN_NAME "hop.pem"

struct hop_store {
	int fd[2]; /* -1: not kept on disk */
	int next;  /* of the two, to be written */
	bool behind; /* the disk has older keys: the last hop_store_save() failed */
	struct hop_keys keys;
};

/** hop_own_make() - Make HOP_OWN_NAME in @dir, durably; 0, -EEXIST when there is one, -errno. */
int hop_own_make(int dir);
/**
 * hop_store_open() - The keys that are kept in @dir; files are made where they are missing.
 * @lost: something is there, and nothing of it can be read.
 *
 * 0 or -errno; then, too, @s can be used, and keeps nothing.
 */
int hop_store_open(struct hop_store *s, int dir, bool *lost);
/** hop_store_save() - s->keys, durably; 0 or -errno (-EBADF: nowhere to keep them). */
int hop_store_save(struct hop_store *s);
void hop_store_close(struct hop_store *s);

#endif
