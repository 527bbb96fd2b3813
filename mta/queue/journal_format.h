/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_QUEUE_JOURNAL_FORMAT_H
#define MTA_QUEUE_JOURNAL_FORMAT_H

/* What journal.c and journal_replay.c share; the format is drawn in journal.h. */

#include "journal.h"

#define PAGE	    4096u
#define BLOCK	    32768u
#define FRAG_HDR    44u
#define SEG_VERSION 1u
#define HOLES_MAX   320u

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
	int fd; /* -1: not open */
};

struct journal_rec {
	struct journal_rec *next;
	struct journal_waiter *waiter;
	uint64_t rid;
	struct journal_pos pos;
	uint32_t len;
	bool keep;
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
	bool closed;  /* the last segment takes nothing more */
	uint32_t end; /* in the last segment: next free page */

	struct hole hole[HOLES_MAX];
	size_t hole_count;

	uint64_t batch; /* of the last one written */
	uint64_t rid;	/* next */
	struct rec_list pending;
	size_t pending_bytes;
	struct rec_list flight; /* in the batch that the worker writes */
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
const char *segment_name(uint32_t number, char out[static 16]);
int segment_header_build(struct journal *j, const struct segment *s, uint8_t page[static PAGE]);
int segment_header_parse(const uint8_t page[static PAGE], struct segment *s, struct hole *holes,
			 size_t *count);
/** journal_segment_fd() - Open for reading and writing, kept open within a bound; or -errno. */
int journal_segment_fd(struct journal *j, struct segment *s);
void journal_add_hole(struct journal *j, uint32_t segment, uint32_t from, uint32_t to);
/** journal_replay() - All segments in the directory; fills seg[], holes, batch, rid, next_number. */
int journal_replay(struct journal *j);

#endif
