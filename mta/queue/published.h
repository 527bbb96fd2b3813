/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_QUEUE_PUBLISHED_H
#define MTA_QUEUE_PUBLISHED_H

/*
 * Theory: the sets of recipients that homes published (hop/publication.h), one file each below the
 * queue directory, which only this process can write:
 *
 *	homes/NAME.set		in force
 *	homes/new		being written; never read
 *
 * Written whole, synced, renamed, and the directory synced before smtpd hears of it: after a power cut
 * the old set is there or the new one, never a half. A set is replaced by the next one and by nothing
 * else; that of a home which is no more in the configuration stays until it comes back.
 */

#include <stddef.h>

#include "config.h"
#include "vfs.h"

/** published_write() - Durable when 0; else -errno, and the old set stands. Any thread, one at a time. */
int published_write(struct vfs *v, const char *home, const void *text, size_t len);
/**
 * published_read() - The set of @home; malloc'd.
 *
 * 0, -ENOENT when there is none, -EFBIG for what cannot be ours, or another -errno.
 */
int published_read(struct vfs *v, const char *home, char **text, size_t *len);

#endif
