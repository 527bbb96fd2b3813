/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_QUEUE_STORE_H
#define MTA_QUEUE_STORE_H

/*
 * Theory: the letters. The journal keeps everything, memory keeps an index: some 150 bytes a letter
 * and 32 a recipient; the envelope and the body are read back when an attempt needs them.
 *
 * A journal record is a list of items { type 8 | length 32 | value }, all of which count or none:
 *
 *	1 LETTER  id, seq 64, born 64, state 8, body kind 8, body length 64, envelope length 32,
 *		  envelope (recipients with their states), body when inline. A later LETTER of the same
 *		  id replaces the earlier (it was moved out of an old segment).
 *	2 RESULT  id, count 16, count x { index 16, state 8, attempts 16, text }
 *	3 STATE   id, state 8
 *	4 CLOCK   queue clock 64, boot id 16 bytes, milliseconds since boot 64
 *	6 BIRTH   id, born 64
 *	7 TOLD    id, count 16, count x index 16: their sender was told that they are delayed
 *	8 WAY     id, count 16, count x { from (text), to (text) }: instead of all before
 *	5 SEEN    peer (text), peer's letter id, seq 64, clock 64, count 16, count x recipient hash 64
 *	9 OWNER   peer (text), peer's letter id, recipient hash 64, beginning of the id 64 that it got here
 *
 * and unknown types are skipped. A first byte of 0 is the mark of a clean end.
 *
 * The queue clock counts seconds during which a queue was alive (of one boot, also those between two
 * processes); a letter's age is the clock now less the clock at its birth. Wall-clock time is
 * never asked.
 *
 * XPOSTERN's dedupe facts are the LETTER itself: peer, peer's id and recipients stand in its
 * envelope and are durable with it. In memory they outlive the letter, until the peer's low-water
 * mark or 30 days; they move as SEEN out of segments that go. Below the mark they are kept for a quarter of
 * an hour, but hold no segment: a connection that its relay gave up, or died with, may bring its letters late.
 * By its OWNER a letter that comes back from another queue is told from another one of the same peer's.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "envelope.h"
#include "hash.h"
#include "journal.h"

#define STORE_SEEN_S	  (30 * 86400)
#define STORE_SEEN_LEAST_S 900 /* what a dead relay's kernel, or a session here, may still have of it */
#define STORE_SEEN_MAX	  500000 /* beyond it the oldest go, of those peers with more than their share */
#define STORE_BODY_INLINE (64 * 1024)
#define STORE_TEXT_MAX	  400

enum letter_state {
	LETTER_QUEUED,
	LETTER_HELD, /* by the admin */
	LETTER_DEAD, /* expired or refused without a bounce; kept for the admin */
	LETTER_GONE,
	LETTER_STATES,
};

struct leg;

struct letter_rcpt {
	uint8_t state;	   /* enum rcpt_state */
	bool flying : 1;   /* in an attempt */
	bool tried : 1;	   /* in one before, or the process is new and does not know */
	bool told : 1;	   /* the sender knows that it is delayed, or shall not know */
	uint8_t owed : 3;  /* land.c: it has the letter, by this report + 1, and no record says so yet */
	uint16_t attempts; /* charged */
	uint32_t next_s;   /* not before this second since boot */
	struct leg *leg;   /* schedule.c's */
	char *last;	   /* last reply, or NULL */
};

struct letter {
	struct hash_node node;
	uint8_t id[LETTER_ID_LEN];
	struct journal_pos pos;
	uint64_t seq; /* order of arrival */
	uint64_t body_len;
	uint64_t born; /* queue clock */
	struct letter *older, *newer;
	struct leg *legs; /* schedule.c's */
	char *way;	  /* by which routes instead of which: way.h; or NULL */
	uint32_t rec_len; /* in the journal */
	uint32_t flags;	  /* ENV_* */
	uint32_t whose;	  /* dead.c's */
	uint8_t state;	  /* enum letter_state */
	bool own_file;	  /* body/ID */
	bool moving;
	bool unreadable : 1;
	uint8_t bad_reads : 7; /* finish.c's: how often it was since it was last sent */
	uint16_t open; /* recipients still RCPT_PENDING */
	uint16_t rcpt_count;
	struct letter_rcpt rcpt[];
};

struct store;

struct store_config {
	struct vfs *vfs;
	struct worker *worker;
	uint32_t segment_bytes;
	uint64_t reserve_bytes; /* of free space, below which letters are refused */
	uint64_t reserve_inodes;
	uint8_t boot_id[16];
	/* A letter came into the index (at replay, or stored); @e is valid during the call. */
	void (*added)(void *arg, struct letter *l, const struct envelope *e);
	/* It leaves memory; no attempt is under way. */
	void (*removed)(void *arg, struct letter *l);
	void *arg;
};

/** store_open() - Replay; 0 or as journal_open(). @now_ms: CLOCK_BOOTTIME. */
int store_open(struct store **out, const struct store_config *cfg, uint64_t now_ms);
/** store_close() - Commits what waits. */
void store_close(struct store *s);
/** store_abandon() - As after a crash. */
void store_abandon(struct store *s);
/** store_tick() - About once a second: clock, removal and compaction of segments, space. */
void store_tick(struct store *s, uint64_t now_ms);
/** store_set_reserve() - New bounds from a reload. */
void store_set_reserve(struct store *s, uint64_t bytes, uint64_t inodes);

/** store_room() - Bytes of body that may be taken now; 0: refuse letters (452). */
uint64_t store_room(const struct store *s);
/** store_clock() - Queue clock in seconds. */
uint64_t store_clock(const struct store *s);
/** store_age() - Seconds; of a letter that came with an age, its birth may lie before the clock's. */
uint64_t store_age(const struct store *s, const struct letter *l);
/** store_low_seq() - Smallest seq that still waits; what is below will never be sent again. */
uint64_t store_low_seq(const struct store *s);
/** store_next_seq() - Beyond that of every letter there is. */
uint64_t store_next_seq(const struct store *s);
struct letter *store_oldest(const struct store *s);
/*
 * A look at all letters, oldest first, in as many turns of the loop as it takes: it keeps its place when letters
 * leave. Those that come meanwhile are looked at too.
 */
struct store_walk {
	struct store_walk *other; /* under way */
	struct store *s;	  /* NULL: it is not under way */
	struct letter *at;	  /* the next one */
};

/** store_walk_begin() - From the oldest letter on; one that is under way begins anew. */
void store_walk_begin(struct store *s, struct store_walk *w);
/** store_walk_next() - NULL: all were looked at, and it has ended. */
struct letter *store_walk_next(struct store_walk *w);
/** store_walk_end() - Of one that is not under way nothing happens. */
void store_walk_end(struct store_walk *w);
static inline bool store_walk_on(const struct store_walk *w)
{
	return w->s;
}
struct letter *store_find(const struct store *s, const uint8_t id[static LETTER_ID_LEN]);
/** store_has() - Is there a letter of this id, or one on its way to the disk? */
bool store_has(const struct store *s, const uint8_t id[static LETTER_ID_LEN]);
size_t store_count(const struct store *s, enum letter_state state);
/** store_bytes() - Of their bodies. */
uint64_t store_bytes(const struct store *s, enum letter_state state);
void store_journal_stats(const struct store *s, struct journal_stats *out);

/* A change: items that count together or not at all. */
struct store_change;
struct store_waiter {
	/* Once, from the loop. @l: the first letter that the change stored, or NULL. @rc: as in journal.h. */
	void (*done)(struct store_waiter *w, int rc, struct letter *l);
	/* Before it, or NULL. As in journal.h: what a restart might bring back needs its body. */
	void (*doubt)(struct store_waiter *w, int rc);
};

struct store_change *store_begin(struct store *s);
void store_cancel(struct store_change *c);
/**
 * store_put_letter() - A new letter.
 * @e: gets age 0; recipients that a peer sent before (ENV_PEER_ID) are left out of what is stored.
 * @body: inline, @body_len <= STORE_BODY_INLINE; NULL: the file body/ID is complete and durable.
 *
 * 0, -EEXIST (every recipient was stored before: answer "already have it"), -EAGAIN (the
 * same letter is just being stored), -EMSGSIZE, -ENOMEM, -EINVAL (no recipients, or another letter
 * has this id already, be it on its way to the disk only).
 */
int store_put_letter(struct store_change *c, const struct envelope *e, const uint8_t *body,
		     uint64_t body_len);
/* What a letter of another queue brings along. */
struct store_import {
	uint64_t age_s;
	enum letter_state state;
	const uint16_t *told; /* recipients, ascending */
	size_t told_count;
	const char *way; /* way.h, or NULL */
};
/**
 * store_put_import() - A letter of another queue, with the states of its recipients; else as store_put_letter().
 *
 * What its peer sent to this queue too is here as another letter's: such recipients become RCPT_REMOVED.
 *
 * -EEXIST: it is here, or was taken before (in the last 30 days, and did not leave by an export since), or no
 * recipient of it is left.
 */
int store_put_import(struct store_change *c, const struct envelope *e, const uint8_t *body,
		     uint64_t body_len, const struct store_import *x);
/** store_put_rcpt() - New state of a recipient, counted at once in memory. @text, its last reply, may be NULL. */
int store_put_rcpt(struct store_change *c, struct letter *l, uint16_t index, enum rcpt_state state,
		   uint16_t attempts, const char *text);
/** store_put_state() - LETTER_GONE frees the letter when it is durable; the caller must forget it. */
int store_put_state(struct store_change *c, struct letter *l, enum letter_state state);
/** store_put_told() - These recipients' sender is told of their delay. */
int store_put_told(struct store_change *c, struct letter *l, const uint16_t *which, size_t count);
/** store_put_way() - Its exceptions from the configuration's routes; takes @way. */
int store_put_way(struct store_change *c, struct letter *l, char *way);
/** store_put_birth() - Its age begins again at 0; so do delays. */
int store_put_birth(struct store_change *c, struct letter *l);
/** store_remember() - Before a change of @l: if it is not committed, @l stays as it is now. 0 or -ENOMEM. */
int store_remember(struct store_change *c, struct letter *l);
/**
 * store_commit() - Takes @c. @keep: as journal_append(); changes to known letters want it.
 * 0: @w (may be NULL) will be called. -errno: nothing happened on disk, @w is not called.
 */
int store_commit(struct store_change *c, bool keep, struct store_waiter *w);
/** store_commit_later() - The same of what is kept and nobody waits for: journal_append_later(). */
int store_commit_later(struct store_change *c, struct store_waiter *w);
/** store_flush() - It has waited for long enough. */
void store_flush(struct store *s);

/* A letter read back. */
struct store_reading {
	struct envelope env; /* as accepted, with the present states, attempts and age */
	const uint8_t *body; /* inline body, or NULL: its own file */
	uint64_t body_len;
	uint8_t *record;
};
/** store_read() - 0, -EBADMSG or -EIO (then the letter is marked unreadable: see store_rescue.c), -ENOMEM. */
int store_read(struct store *s, struct letter *l, struct store_reading *r);
void store_reading_clear(struct store_reading *r);
/**
 * store_retry() - Is a letter that was marked unreadable whole again, with its body? Then it is no more; else -errno,
 * -EBUSY while it is put into quarantine.
 */
int store_retry(struct store *s, struct letter *l);
/** store_open_body() - The letter's own file, read-only; or -errno. */
int store_open_body(struct store *s, const struct letter *l);
/** store_body_name() - "body/ID"; returns @out. */
const char *store_body_name(const uint8_t id[static LETTER_ID_LEN], char out[static 48]);

#endif
