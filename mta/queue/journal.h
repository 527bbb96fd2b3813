/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_QUEUE_JOURNAL_H
#define MTA_QUEUE_JOURNAL_H

/*
 * Theory: a log of records in preallocated files, with group commit. What the records mean is
 * store.c's affair; a record is all there after a crash or not there at all.
 *
 *	queue/00000001.seg ...	segments, written one after the other, removed oldest first
 *	queue/spare		zeroed file of a segment's size, synced: the next segment
 *	queue/body/ID		bodies over 64 KiB (store.c)
 *	queue/quarantine/	copies of what could not be read
 *
 * On-disk format, version 1, big endian. A segment is a file of segment_bytes:
 *
 *	page 0 (4 KiB):	magic "PosternJ" | version 32 | segment 32 | size 32 | holes 32 | nonce 64 |
 *			floor 64 | holes x { segment 32 | from 32 | to 32 } | zeros | crc32c 32
 *	then 32 KiB blocks (the first without page 0), filled with fragments:
 *
 *	+--------+--------+--------+------+----+----+---------+--------+--------+--------+=========+
 *	|nonce 64|hcrc 32 |pcrc 32 |len 16|kind|idx |segment32|batch 64| rid 64 |start 32| payload |
 *	+--------+--------+--------+------+----+----+---------+--------+--------+--------+=========+
 *
 * - A record is one FULL fragment, or FIRST, MIDDLE.., LAST with the same rid and idx 0, 1, ...
 *   No fragment crosses a block. hcrc covers the 32 bytes behind it, pcrc the payload.
 * - A batch is what one fdatasync makes durable. It starts on a page (4 KiB) of its own, named
 *   by start: no commit rewrites a page that an earlier one made durable. A batch is written only
 *   when the sync of the batch before it has returned.
 * - The nonce is random for each segment: nothing that a stranger writes into a letter can look
 *   like a header, wherever a reader picks up again.
 *
 * Reading. Zeros in place of a header, or up to a page's end nearer than a header is long, end a
 * batch: go on at the next page. A bad header: go on at the next block. A bad payload behind a
 * good header: go on behind it. What was skipped is the
 * never-committed tail if it lies in the last segment at or behind the start of the highest batch
 * that has a good fragment; it is dropped. Anything else was once committed: it is copied to
 * quarantine and logged. Each start, and each failed sync, begins a new segment; its page 0
 * lists the holes in older segments (tails, quarantined areas, batches whose sync failed), where
 * nothing counts any more. Writers of a batch whose sync failed are told so when that page is durable;
 * while there can be none, they hear that it is in doubt.
 * So a record whose writer was told "failed" is void, and each fault is reported once. (A start
 * without room for a new segment goes on in the last one if nothing bad stands there.) The last segment is synced before it is read, and read from the disk:
 * after a kill, what it says may have been in memory only.
 *
 * Segments go oldest first and only when nothing in them lives, so a record never outlives one
 * that it refers to. Unknown versions are refused; records that store.c does not understand go to
 * quarantine too, unknown items in them are its to skip.
 *
 * All functions run on the loop's thread; disk work runs on the worker.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vfs.h"
#include "worker.h"

#define JOURNAL_RECORD_MAX    (512 * 1024)
#define JOURNAL_SEGMENT_BYTES (16u << 20)
#define JOURNAL_LATER_MAX     4

struct journal;

/* Where a record starts. */
struct journal_pos {
	uint32_t segment; /* from 1 */
	uint32_t offset;
};

/* Embedded in its owner; called once, from the loop, never from inside journal_append(). */
struct journal_waiter {
	/*
	 * @rc: 0: durable, at @pos. -errno: void, now and after any restart; -ECANCELED: the journal ends, and
	 * whether a restart brings it back is not known.
	 */
	void (*done)(struct journal_waiter *w, int rc, struct journal_pos pos);
	/*
	 * Once before done, or never; NULL: not wanted. Nothing can be written now. With @keep it waits for that.
	 * Without, it was to be written and that failed, and nothing says so yet: a restart could bring it back.
	 */
	void (*doubt)(struct journal_waiter *w, int rc);
};

struct journal_config {
	struct vfs *vfs;
	struct worker *worker;
	uint32_t
	    segment_bytes; /* multiple of 32 KiB, at least two blocks; 0: JOURNAL_SEGMENT_BYTES */
	/*
	 * Replay: each whole record in order; @data is valid during the call. 0, -EBADMSG (it is not
	 * understood, and nothing of it was taken: it goes to quarantine), or -errno to give up.
	 */
	int (*record)(void *arg, struct journal_pos pos, uint64_t rid, const uint8_t *data,
		      size_t len);
	void *arg;
};

struct journal_stats {
	uint32_t segments;
	uint64_t bytes;	      /* of the segment files */
	size_t pending_bytes; /* not yet durable */
	uint64_t batches, records;
	uint64_t failed_syncs;
	uint32_t quarantined, tails; /* at replay */
	uint32_t gaps;		     /* places where batches are missing that were confirmed */
};

/**
 * journal_open() - Replay what is there, then start a new segment.
 *
 * Does its disk work itself, before it returns. On a disk without room for a new segment it goes on
 * behind the records of the last one, or, where something bad stands there, writes nothing until
 * there is room; journal_ready() says no meanwhile. 0 and @out; -errno: -EPROTONOSUPPORT (written by a
 * newer version), -EIO and so on, or what @record returned.
 */
int journal_open(struct journal **out, const struct journal_config *cfg);
/** journal_close() - Commit what is pending, mark a clean end, free. Waiters are called. */
void journal_close(struct journal *j);
/** journal_abandon() - Free without touching the disk; waiters get -ECANCELED. No job may be under way. */
void journal_abandon(struct journal *j);

/**
 * journal_append() - Queue a record for the next batch; copies @data.
 * @keep: a failed sync or a full disk must not lose it: it is written again, into a new segment, until
 *	that succeeds. Otherwise the waiter gets the error.
 * @w: may be NULL.
 *
 * 0; -ENOSPC (only without @keep: there is no next segment; nothing was queued), -EMSGSIZE, -ENOMEM.
 */
int journal_append(struct journal *j, const void *data, size_t len, bool keep,
		   struct journal_waiter *w);
/**
 * journal_append_later() - As journal_append() with @keep, of what nobody waits for: it goes with the next record
 * that somebody does, with JOURNAL_LATER_MAX of its kind, or by journal_flush(). Never out of its order.
 */
int journal_append_later(struct journal *j, const void *data, size_t len, struct journal_waiter *w);
/** journal_flush() - What waits for company waits no longer; journal_tick() does so too. */
void journal_flush(struct journal *j);
/** journal_read() - A committed record again: malloc'd to *@data. -EBADMSG when it went bad. */
int journal_read(struct journal *j, struct journal_pos pos, uint8_t **data, size_t *len);
/** journal_extent() - Offset behind a record of @len that starts at @off. */
uint32_t journal_extent(uint32_t off, size_t len);
/** journal_file() - Name of a segment's file; returns @out. */
const char *journal_file(uint32_t segment, char out[static 16]);
/** journal_tick() - About once a second: try again to make room and to write what was kept. */
void journal_tick(struct journal *j);
/** journal_ready() - May a record without @keep be appended now? */
bool journal_ready(const struct journal *j);
/** journal_next_rid() - Number of the next record appended; grows for the life of the journal. */
uint64_t journal_next_rid(const struct journal *j);
uint32_t journal_oldest(const struct journal *j);
uint32_t journal_current(const struct journal *j);
/** journal_drop_oldest() - Remove the oldest segment; 0, or -EBUSY (it is in use, or one is on its way). */
int journal_drop_oldest(struct journal *j);
void journal_stats(const struct journal *j, struct journal_stats *out);

#endif
