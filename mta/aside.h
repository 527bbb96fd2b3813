/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_ASIDE_H
#define MTA_ASIDE_H

/*
 * Theory: what a process does once and would pay for all its life is done aside, in a child that is forked for
 * it and ends with it: OpenSSL's tables, the text of a key, a file system that hangs. The child inherits what
 * its parent may do, writes no core, cannot be traced, and dies with its parent.
 */

#include <stddef.h>

/**
 * aside() - Let @work fill @out in a child of its own, and wait for that.
 * @work: runs in the child, with @out zeroed; it may log.
 * @out: @len bytes (at most PIPE_BUF), untouched unless it returns 0.
 * @wait_ms: after that the child is ended, which is not waited for; a later call sees that it is gone.
 *
 * For processes of one thread. 0; -ETIMEDOUT; -ECANCELED when it ended without a result; -errno when it could
 * not be started, -EAGAIN also while 8 that were ended hang still.
 */
int aside(void (*work)(void *arg, void *out), void *arg, void *out, size_t len, int wait_ms);
/** aside_words() - What such an error says, for a line of the log. */
const char *aside_words(int rc);

#endif
