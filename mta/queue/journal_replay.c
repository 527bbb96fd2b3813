/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: reading a journal that a crash, a bad disk or a stranger may have shaped; see "Reading" in
 * journal.h. Bad areas are collected while a segment is read and judged at its end, when the
 * start of its highest batch is known.
 */
#include "journal_format.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crc32c.h"
#include "log.h"
#include "wire.h"

#define AREAS_MAX	 256
#define QUARANTINE_MAX	 256 /* copies of one start */
#define QUARANTINE_BYTES (1u << 20)
#define REFRESH_TRIES	 3 /* a sync tells of a fault once; then the pages can go */

struct area {
	uint32_t from, to;
};

struct replay {
	struct journal *j;
	struct segment *s;
	int fd;
	bool last;
	uint8_t *block;
	uint8_t *rec; /* the record being put together */
	size_t rec_len;
	bool open; /* a FIRST was read and its LAST was not */
	uint64_t rid;
	uint8_t idx;
	uint32_t rec_at;
	uint64_t batch; /* highest in this segment, and where it starts */
	uint32_t batch_start;
	uint32_t end; /* behind the last good fragment */
	bool holes;   /* one was met in this segment */
	struct area area[AREAS_MAX];
	size_t areas, more_areas;
	bool copied; /* something went to quarantine */
};

static void add_area(struct replay *r, uint32_t from, uint32_t to)
{
	if (r->areas && r->area[r->areas - 1].to >= from) {
		if (to > r->area[r->areas - 1].to)
			r->area[r->areas - 1].to = to;
		return;
	}
	if (r->areas == AREAS_MAX) { /* never one long one: what lies between them is good */
		r->more_areas++;
		return;
	}
	r->area[r->areas++] = (struct area){ from, to };
}

/* The record under way does not go on at @at. */
static void break_record(struct replay *r, uint32_t at)
{
	if (r->open)
		add_area(r, r->rec_at, at);
	r->open = false;
}

static void quarantine(struct replay *r, const struct area *a, const char *why);

/* The record is whole. */
static int give_record(struct replay *r, uint32_t end)
{
	struct area a = { r->rec_at, end };
	int rc;

	r->j->stats.records++;
	rc = r->j->cfg.record(r->j->cfg.arg, (struct journal_pos){ r->s->number, r->rec_at },
			      r->rid, r->rec, r->rec_len);
	if (rc != -EBADMSG)
		return rc;
	/* Good on the disk and yet nonsense: a fault of ours, or what a newer version wrote. */
	quarantine(r, &a, "record not understood");
	return 0;
}

static int take_fragment(struct replay *r, const struct frag *f, uint32_t at,
			 const uint8_t *payload)
{
	bool starts = f->kind == FRAG_FULL || f->kind == FRAG_FIRST;

	if (f->rid >= r->j->rid)
		r->j->rid = f->rid + 1;
	if (starts) {
		break_record(r, at);
		r->rec_at = at;
		r->rec_len = 0;
		r->rid = f->rid;
		r->idx = 0;
	} else if (!r->open || f->rid != r->rid || f->idx != (uint8_t)(r->idx + 1)) {
		break_record(r, at);
		add_area(r, at, at + FRAG_HDR + f->len);
		return 0;
	} else {
		r->idx++;
	}
	if (r->rec_len + f->len > JOURNAL_RECORD_MAX) {
		r->open = true;
		break_record(r, at + FRAG_HDR + f->len);
		return 0;
	}
	memcpy(r->rec + r->rec_len, payload, f->len);
	r->rec_len += f->len;
	r->open = f->kind == FRAG_FIRST || f->kind == FRAG_MIDDLE;
	return r->open ? 0 : give_record(r, at + FRAG_HDR + f->len);
}

/* End of the hole that @at lies in, or 0. */
static uint32_t hole_end(const struct journal *j, uint32_t segment, uint32_t at)
{
	for (size_t i = 0; i < j->hole_count; i++)
		if (j->hole[i].segment == segment && at >= j->hole[i].from && at < j->hole[i].to)
			return j->hole[i].to;
	return 0;
}

/* Highest batch so far, and where it starts. A number left out means that a whole batch is gone. */
static void note_batch(struct replay *r, const struct frag *f, uint32_t at)
{
	uint64_t before = r->batch ? r->batch : r->s->floor;

	if (f->batch <= r->batch)
		return;
	if (f->batch != before + 1 && !r->areas && r->s->nonce && before && !r->holes) {
		r->j->stats.gaps++;
		log_err(NULL,
			"segment=%08x offset=%u msg=\"batches missing before this one: the disk "
			"lost writes that it had confirmed\"",
			r->s->number, at);
	}
	r->batch = f->batch;
	r->batch_start = f->start;
}

/*
 * Does a batch end at @p, with less than a header's room to the page behind which the next begins?
 * Asked only where no header stands: a nonce may begin with zeros.
 */
static bool page_ends(const uint8_t *block, uint32_t p)
{
	if (PAGE - p % PAGE >= FRAG_HDR)
		return false;
	while (p % PAGE)
		if (block[p++])
			return false;
	return true;
}

/* @pos: in the block; on return what is to be skipped of the blocks behind it. */
static int walk_block(struct replay *r, uint32_t base, uint32_t *pos)
{
	uint32_t p = *pos, skip;
	struct frag f;
	int rc;

	*pos = 0;
	while (p + FRAG_HDR <= BLOCK) {
		skip = hole_end(r->j, r->s->number, base + p);
		if (skip) {
			r->open = false;
			r->holes = true;
			p = skip - base;
			if (p > BLOCK)
				*pos = p - BLOCK;
			continue;
		}
		rc = frag_parse(r->block + p, r->s->nonce, r->s->number, &f);
		if (rc == 1 || (rc && p % PAGE && page_ends(r->block, p))) {
			break_record(r, base + p);
			p = (p | (PAGE - 1)) + 1;
			continue;
		}
		if (rc || p + FRAG_HDR + f.len > BLOCK) {
			break_record(r, base + p);
			add_area(r, base + p, base + BLOCK);
			return 0;
		}
		note_batch(r, &f, base + p); /* true even if the payload is not */
		if (crc32c(0, r->block + p + FRAG_HDR, f.len) != f.payload_crc) {
			break_record(r, base + p);
			add_area(r, base + p, base + p + FRAG_HDR + f.len);
		} else {
			rc = take_fragment(r, &f, base + p, r->block + p + FRAG_HDR);
			if (rc)
				return rc;
		}
		p += FRAG_HDR + f.len;
		r->end = base + p;
	}
	return 0;
}

/* 0: @buf lies there durably, or has before: what bears the name is whole. */
static int write_copy(struct replay *r, uint32_t from, const uint8_t *buf, uint32_t n)
{
	static const char part[] = "quarantine/new";
	struct vfs *v = r->j->cfg.vfs;
	char name[64];
	int fd, rc;

	snprintf(name, sizeof(name), "quarantine/%08x-%u", r->s->number, from);
	fd = v->open_read(v, name);
	if (fd >= 0) {
		v->close(v, fd);
		return 0;
	}
	v->unlink(v, part); /* a start that was cut short */
	fd = v->open(v, part, true);
	if (fd < 0)
		return fd;
	rc = vfs_write_all(v, fd, buf, n, 0);
	if (!rc)
		rc = v->sync(v, fd);
	v->close(v, fd);
	if (!rc)
		rc = v->rename(v, part, name);
	if (rc)
		v->unlink(v, part);
	r->copied |= !rc;
	return rc;
}

/*
 * Out of the way, with a copy for the admin; the segment stays while there is no room for that, and for the
 * next start what is too much for this one.
 */
static void quarantine(struct replay *r, const struct area *a, const char *why)
{
	struct journal *j = r->j;
	uint32_t n = a->to - a->from;
	uint8_t *buf;
	int rc = 0;

	if (j->stats.quarantined++ >= QUARANTINE_MAX) {
		rc = -E2BIG;
	} else {
		n = n > QUARANTINE_BYTES ? QUARANTINE_BYTES : n;
		buf = malloc(n);
		rc = buf ? 0 : -ENOMEM;
		if (buf && !vfs_read_all(j->cfg.vfs, r->fd, buf, n, a->from))
			rc = write_copy(r, a->from, buf, n);
		free(buf);
	}
	log_err(NULL, "segment=%08x offset=%u bytes=%u msg=\"%s, %s\"", r->s->number, a->from,
		a->to - a->from, why,
		rc == -E2BIG ? "too many for one start: it stays for the next"
		: rc	     ? "no room for it in quarantine: it stays"
			     : "copied to quarantine");
	if (rc)
		r->s->pinned = true;
	else
		journal_add_hole(j, r->s->number, a->from, a->to);
}

static void judge(struct replay *r)
{
	for (size_t i = 0; i < r->areas; i++) {
		const struct area *a = &r->area[i];
		bool tail = r->last && (!r->batch || a->from >= r->batch_start);

		if (tail) {
			log_info(NULL,
				 "segment=%08x offset=%u bytes=%u msg=\"unfinished write dropped\"",
				 r->s->number, a->from, a->to - a->from);
			r->j->stats.tails++;
			journal_add_hole(r->j, r->s->number, a->from, a->to);
		} else {
			quarantine(r, a, "unreadable record in committed mail");
		}
	}
	if (r->more_areas) {
		log_err(NULL,
			"segment=%08x places=%zu msg=\"more unreadable records in committed mail: they "
			"stay for the next start\"",
			r->s->number, r->more_areas);
		r->s->pinned = true;
		r->j->stats.quarantined += (uint32_t)r->more_areas;
	}
	if (r->copied)
		r->j->cfg.vfs->sync_dir(r->j->cfg.vfs, "quarantine");
}

/* Page 0 is bad: the nonce also stands in the first header behind it. */
static uint64_t guess_nonce(const uint8_t *block, uint32_t number)
{
	struct rd rd = rd_init(block + PAGE, 8);
	uint64_t nonce = rd_be64(&rd);
	struct frag f;

	return frag_parse(block + PAGE, nonce, number, &f) ? 0 : nonce;
}

/*
 * What a killed process wrote last may stand in memory only, be it that it was never synced or that
 * its sync failed. What is taken from it here will be acted on, so it has to be what the disk has.
 */
static int refresh(struct replay *r)
{
	struct vfs *v = r->j->cfg.vfs;
	int rc = -EIO;

	for (int i = 0; rc && i < REFRESH_TRIES; i++)
		rc = v->refresh(v, r->fd);
	if (rc)
		log_err(NULL, "segment=%08x msg=\"cannot be synced before it is read: %s\"",
			r->s->number, strerror(-rc));
	return rc;
}

static int replay_segment(struct replay *r)
{
	struct journal *j = r->j;
	uint32_t pos = PAGE, base = 0;
	bool whole;
	int rc = 0;

	r->fd = journal_segment_fd(j, r->s);
	rc = r->fd < 0 ? r->fd : r->last ? refresh(r) : 0;
	if (rc)
		return rc;
	r->open = false;
	r->areas = r->more_areas = 0;
	r->copied = false;
	r->batch = 0;
	r->batch_start = 0;
	r->end = PAGE;
	r->holes = false;
	whole = r->s->nonce != 0;
	for (; !rc && base + BLOCK <= r->s->size; base += BLOCK) {
		if (pos >= BLOCK) { /* a hole reaches over this block */
			pos -= BLOCK;
			continue;
		}
		rc = vfs_read_all(j->cfg.vfs, r->fd, r->block, BLOCK, base);
		if (rc == -EIO) { /* a bad sector costs its block only */
			break_record(r, base);
			add_area(r, base, base + BLOCK);
			pos = 0;
			rc = 0;
			continue;
		}
		if (!base && !r->s->nonce)
			r->s->nonce = guess_nonce(r->block, r->s->number);
		if (!rc)
			rc = walk_block(r, base, &pos);
	}
	break_record(r, base);
	if (rc)
		return rc;
	if (r->batch > j->batch)
		j->batch = r->batch;
	if (r->last && whole && !r->areas && !r->holes)
		j->tail_end = (r->end + PAGE - 1) / PAGE * PAGE;
	judge(r);
	return 0;
}

struct found {
	struct journal *j;
	uint64_t spare_bytes;
	int rc;
};

static void on_file(const char *name, uint64_t size, void *arg)
{
	struct found *f = arg;
	struct journal *j = f->j;
	struct segment *a;
	char canon[16];
	unsigned n;

	if (!strcmp(name, JOURNAL_SPARE))
		f->spare_bytes = size;
	if (sscanf(name, "%8x.seg", &n) != 1 || strcmp(journal_file(n, canon), name) || !n)
		return;
	if (j->seg_count == j->seg_cap) {
		a = realloc(j->seg, (j->seg_cap ? 2 * j->seg_cap : 16) * sizeof(*a));
		if (!a) {
			f->rc = -ENOMEM;
			return;
		}
		j->seg = a;
		j->seg_cap = j->seg_cap ? 2 * j->seg_cap : 16;
	}
	size = size / BLOCK * BLOCK;
	if (size > UINT32_MAX - BLOCK)
		size = UINT32_MAX / BLOCK * BLOCK;
	j->seg[j->seg_count++] = (struct segment){ .number = n, .size = (uint32_t)size, .fd = -1 };
	if (n >= j->next_number)
		j->next_number = n + 1;
}

static int by_number(const void *a, const void *b)
{
	const struct segment *x = a, *y = b;

	return (x->number > y->number) - (x->number < y->number);
}

/* Headers of all segments; the newest good one has all the holes that still matter. */
static int read_headers(struct journal *j)
{
	struct hole *holes = calloc(HOLES_MAX, sizeof(*holes));
	uint8_t page[PAGE];
	size_t count;
	int rc = holes ? 0 : -ENOMEM;

	for (size_t i = 0; !rc && i < j->seg_count; i++) {
		struct segment *s = &j->seg[i], h = { 0 };
		int fd = journal_segment_fd(j, s);

		if (fd < 0) {
			rc = fd;
			break;
		}
		rc = vfs_read_all(j->cfg.vfs, fd, page, PAGE, 0);
		if (!rc)
			rc = segment_header_parse(page, &h, holes, &count);
		if (!rc && h.number != s->number)
			rc = -EBADMSG;
		if (rc == -EPROTONOSUPPORT)
			break;
		if (rc) {
			log_err(
			    NULL,
			    "segment=%08x msg=\"bad first page; records are read all the same\"",
			    s->number);
			rc = 0;
			continue;
		}
		s->nonce = h.nonce;
		s->floor = h.floor;
		if (h.floor > j->batch)
			j->batch = h.floor;
		for (size_t k = 0; k < count; k++)
			journal_add_hole(j, holes[k].segment, holes[k].from, holes[k].to);
	}
	free(holes);
	return rc;
}

static int find_segments(struct journal *j)
{
	struct found f = { .j = j };
	int rc = j->cfg.vfs->list(j->cfg.vfs, ".", on_file, &f);

	if (!rc)
		rc = f.rc;
	if (!rc && j->seg_count)
		qsort(j->seg, j->seg_count, sizeof(*j->seg), by_number);
	/* It got its name after all its zeros were synced. */
	j->spare_ready = f.spare_bytes == j->seg_bytes;
	return rc;
}

int journal_replay(struct journal *j)
{
	struct replay *r = calloc(1, sizeof(*r));
	int rc = r ? 0 : -ENOMEM;

	if (!rc)
		rc = find_segments(j);
	if (!rc)
		rc = read_headers(j);
	if (!rc) {
		r->j = j;
		r->block = malloc(BLOCK);
		r->rec = malloc(JOURNAL_RECORD_MAX);
		if (!r->block || !r->rec)
			rc = -ENOMEM;
	}
	for (size_t i = 0; !rc && i < j->seg_count; i++) {
		r->s = &j->seg[i];
		r->last = i + 1 == j->seg_count;
		rc = replay_segment(r);
	}
	if (r) {
		free(r->block);
		free(r->rec);
	}
	free(r);
	return rc;
}
