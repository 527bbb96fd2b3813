/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_DELIVER_QUOTA_H
#define MTA_DELIVER_QUOTA_H

/*
 * Theory: how much a Maildir holds stands in its file "maildirsize", as Maildir++ has it and other
 * programs keep it too:
 *
 *	1000000S,500C		the limit that it was counted for: bytes, letters
 *	41230 17		what was there when it was counted
 *	2310 1			one more letter; a program that removes one writes "-2310 -1"
 *
 * It is counted anew, over all folders, when there is none, when it grows past 5 KB, when the limit
 * changed, and before a letter is turned away: a program that removes letters without a word of it
 * costs its user nothing but that. It is the user's file. He who cheats himself past the limit meets that of
 * the file system, which is told as the same.
 *
 * A delivery has a minute, and a Maildir may have millions of letters. What is not counted in QUOTA_SLICE_MS goes
 * on with the next letter, from the place that stands in "maildirsize.part". Until the end is known nobody is
 * refused: who had room so far, or is not known to have none, gets his letter; for the others it is later.
 */

#include <stdint.h>

struct quota_limit {
	uint64_t bytes, letters; /* 0: none */
};

#define QUOTA_SLICE_MS 5000

/**
 * quota_room() - For one more letter of @size in the Maildir @dir?
 * @slice_ms: so long it may count; QUOTA_SLICE_MS.
 *
 * 0, -EDQUOT, -EAGAIN (it is still being counted, and was full before), or -errno.
 */
int quota_room(int dir, const struct quota_limit *l, uint64_t size, uint64_t slice_ms);
/** quota_added() - It lies there. What goes wrong here comes right with the next count. */
void quota_added(int dir, const struct quota_limit *l, uint64_t size);

#endif
