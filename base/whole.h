/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BASE_WHOLE_H
#define BASE_WHOLE_H

#include <stddef.h>

/*
 * All of it, or an error: what write(2) and send(2) took of it, and signals, are not the caller's matter.
 * For descriptors that block, and for files and memfds.
 */

/** whole_write() - 0 or -errno; how much is written after an error is not known. */
int whole_write(int fd, const void *p, size_t len);
/** whole_send() - As whole_write(), to a socket; a peer that is gone is -EPIPE and no signal. */
int whole_send(int fd, const void *p, size_t len);

#endif
