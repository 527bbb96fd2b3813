/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_DELIVER_CONFINE_H
#define MTA_DELIVER_CONFINE_H

/*
 * Theory: postern-deliver parses what an unprivileged process sends it, as root, and what a user has put
 * into his home, as that user. Neither needs more than this:
 *
 *	the server	to become a user, to end its children; it asks name services, so that its calls
 *			are bounded only by what nobody needs (mount, bpf, ptrace, ...)
 *	a child		files beneath one home: no other file, no socket, no program, no process
 */

#include <stdbool.h>

/**
 * confine_start() - First thing in main.
 * @activated: descriptor 3 is the socket and stays open.
 * 0 or -errno; the caller exits on errors.
 */
int confine_start(bool activated);
/** confine_server() - When it listens: the capabilities and calls of its life. As confine_start(). */
int confine_server(void);
/**
 * confine_child() - For good, before the letter or anything in @home is read.
 * @home: where it may read and write. The caller has become the user.
 * 0 or -errno; a caller that gets an error must not go on.
 */
int confine_child(const char *home);

#endif
