/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_DELIVER_LOOK_H
#define MTA_DELIVER_LOOK_H

/*
 * Theory: does a letter that comes again lie in the Maildir already? In new by its name; in cur the user's program
 * has put flags behind that, so all of cur has to be read, and there may be millions of letters in it. What is not
 * read in LOOK_SLICE_MS is read when the letter comes the next time, from the place that stands in
 * "tmp/NAME.look"; that is one file for each letter looked for, so that several do not put each other back, and
 * in tmp, which mail programs keep clean of what nobody comes back to. Until the end is known it is later for the
 * letter. One whose name changes between two slices, by a flag set just then, may be passed over and come twice.
 */

#include <stdint.h>

#define LOOK_SLICE_MS 5000

/**
 * look_for() - The earlier delivery of the letter @name.
 * @tmp, @new, @cur: of the Maildir; @slice_ms: so long it may look, LOOK_SLICE_MS.
 *
 * @new or @cur, where it lies; -ENOENT: nowhere; -EAGAIN: so far nowhere; -errno.
 */
int look_for(int tmp, int new, int cur, const char *name, uint64_t slice_ms);

#endif
