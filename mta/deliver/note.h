/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_DELIVER_NOTE_H
#define MTA_DELIVER_NOTE_H

/* Small files that deliveries leave for later ones in a Maildir. They are its user's: whoever reads one judges it. */

#include <stddef.h>
#include <sys/types.h>

/** note_read() - At most @cap - 1 bytes and a NUL. How many, or -errno; what is no regular file is -ENOENT. */
ssize_t note_read(int dir, const char *name, char *text, size_t cap);
/** note_write() - @text in the place of the file @name of less than 250 bytes; 0 or -errno. */
int note_write(int dir, const char *name, const char *text);

#endif
