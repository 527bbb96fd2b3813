/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_QUEUE_JOURNAL_FORMAT_H
#define MTA_QUEUE_JOURNAL_FORMAT_H

/* What the journal's files share; the format is drawn in journal.h. */

#include "journal.h"

#define PAGE	      4096u
#define BLOCK	      32768u
#define FRAG_HDR      44u
#define SEG_VERSION   1u
#define HOLES_MAX     320u
#define JOURNAL_SPARE "spare"

enum frag_kind { FRAG_FULL = 1, FRAG_FIRST = 2, FRAG_MIDDLE = 3, FRAG_LAST = 4 };

struct frag {
	uint64_t nonce;
	uint32_t payload_crc;
	uint16_t len;
	uint8_t kind;
	uint8_t idx;
	uint32_t segment;
	uint64_t batch;
	uint64_t rid;
	uint32_t start; /* offset of the batch's first page */
};

struct hole {
	uint32_t segment, from, to;
};

struct segment {
	uint32_t number;
	uint32_t size;
	uint64_t nonce;
	uint64_t floor;
	int fd;	     /* -1: not open */
	bool pinned; /* holds what should be in quarantine, and cannot be there yet */
};

struct journal_rec {
	struct journal_rec *next;
	struct journal_waiter *waiter;
	uint64_t rid;
	struct journal_pos pos;
	uint32_t len;
	bool keep;
	bool doubted;
	uint8_t data[];
};

struct rec_list {
	struct journal_rec *first, **last;
};

/* What the worker does for the journal; one of each kind at a time. */
struct journal_job {
	struct job job;
	struct journal *j;
	bool busy;
	int rc;
	/* What run() works on, copied before: the loop may change the journal meanwhile. */
	int fd;
	uint32_t number;
	uint8_t page[PAGE];
};

struct journal {
	struct journal_config cfg;
	uint32_t seg_bytes;

	struct segment *seg; /* ascending; the last one is written to, unless closed */
	size_t seg_count, seg_cap;
	uint32_t next_number;
	bool closed;	   /* the last segment takes nothing more, or there is none */
	uint32_t end;	   /* in the last segment: next free page */
	uint32_t tail_end; /* of replay: the same, when nothing there is bad; else 0 */

	struct hole hole[HOLES_MAX];
	size_t hole_count;

	uint64_t batch; /* of the last one written */
	uint64_t rid;	/* next */
	struct rec_list pending;
	size_t pending_bytes;
	unsigned later; /* records in pending that wait for company */
	bool hurry;	/* they have it, or need not wait */
	struct rec_list flight; /* in the batch that the worker writes */
	/* Their sync failed. Told so, with doom_rc, when the next segment says that they are void. */
	struct rec_list doomed;
	int doom_rc;
	uint8_t *buf;
	uint32_t buf_at, buf_len;
	struct journal_job commit, roll, spare, drop;

	struct segment fresh; /* the roll's; fd set by its run() */
	bool spare_ready;
	bool spare_failed; /* no room for a next segment */
	uint32_t spare_at;
	int spare_fd;
	unsigned faults; /* in a row */
	bool stalled;	 /* wait for journal_tick() */
	struct journal_stats stats;
};

/** frag_parse() - 0; 1: all zeros; -EBADMSG. Does not look at the payload. */
int frag_parse(const uint8_t *p, uint64_t nonce, uint32_t segment, struct frag *f);
void frag_build(uint8_t *p, const struct frag *f);
int segment_header_build(struct journal *j, const struct segment *s, uint8_t page[static PAGE]);
int segment_header_parse(const uint8_t page[static PAGE], struct segment *s, struct hole *holes,
			 size_t *count);
/**
 * journal_add_hole() - Nothing counts any more in [@from, @to) of @segment.
 *
 * One that reaches to the segment's end makes a batch void, and a writer relies on it: it displaces
 * one of the others when there are too many. Those only keep a bad place from being read, and told
 * of, again at the next start.
 */
void journal_add_hole(struct journal *j, uint32_t segment, uint32_t from, uint32_t to);

/** journal_segment_fd() - Open for reading and writing, kept open within a bound; or -errno. */
int journal_segment_fd(struct journal *j, struct segment *s);
/** segment_current() - The one that is written to. */
struct segment *segment_current(struct journal *j);
/** segment_prepare() - Number, nonce and first page of the next one, in j->fresh and j->roll. */
int segment_prepare(struct journal *j);
/** segment_make() - Worker (or journal_open): the spare becomes the segment that @jj describes. */
int segment_make(struct journal_job *jj);
/** segment_adopt() - What was made is the current one. */
int segment_adopt(struct journal *j);
/** segment_reopen() - Write on behind what replay found in the last one; false: that cannot be. */
bool segment_reopen(struct journal *j);
/** spare_piece() - One piece of the spare: opens it first, renames it last. 1: done. */
int spare_piece(struct journal *j);
void spare_want(struct journal *j);
/* The worker's jobs of spare and drop, and what follows on the loop. */
void spare_run(struct job *job);
void spare_done(struct job *job);
void drop_run(struct job *job);
void drop_done(struct job *job);

/** journal_kick() - Begin what can begin: a commit, or a new segment for it. */
void journal_kick(struct journal *j);
/** journal_replay() - All segments in the directory; fills seg[], holes, batch, rid, next_number. */
int journal_replay(struct journal *j);

#endif
