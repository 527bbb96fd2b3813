/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: what is appended waits in a list; whenever no disk work of this kind is under way, all
 * of it becomes one batch, laid out in one buffer, written and synced by the worker. While that
 * runs the next batch gathers: under load one sync serves many.
 *
 *	append -> pending -> [roll to a new segment] -> commit job -> waiters
 *	                          ^                         |
 *	                          +--- sync failed: hole, --+  (records with keep go back to pending)
 *	                               segment closed
 *
 * A next segment ("spare") is zeroed ahead of need, in pieces, so that no commit waits behind
 * 16 MiB. When that fails the disk is full: letters are refused, while done records still have
 * nearly a whole segment to go to.
 */
#include "journal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crc32c.h"
#include "journal_format.h"
#include "log.h"
#include "secret.h"
#include "wire.h"

#define BATCH_MAX   (1u << 20)
#define SPARE_PIECE (1u << 20)
#define FAULTS_MAX  3 /* failed segments in a row before it waits for the tick */
#define SEGMENT_FDS 64

static const char spare_name[] = "spare";
static const char spare_new[] = "spare.new";

/* --- format --- */

int frag_parse(const uint8_t *p, uint64_t nonce, uint32_t segment, struct frag *f)
{
	struct rd r = rd_init(p, FRAG_HDR);
	uint32_t crc;
	bool zero = true;

	for (size_t i = 0; i < FRAG_HDR && zero; i++)
		zero = !p[i];
	if (zero)
		return 1;
	f->nonce = rd_be64(&r);
	crc = rd_be32(&r);
	f->payload_crc = rd_be32(&r);
	f->len = rd_be16(&r);
	f->kind = rd_u8(&r);
	f->idx = rd_u8(&r);
	f->segment = rd_be32(&r);
	f->batch = rd_be64(&r);
	f->rid = rd_be64(&r);
	f->start = rd_be32(&r);
	if (f->nonce != nonce || crc != crc32c(0, p + 12, FRAG_HDR - 12) || f->segment != segment ||
	    f->kind < FRAG_FULL || f->kind > FRAG_LAST)
		return -EBADMSG;
	return 0;
}

void frag_build(uint8_t *p, const struct frag *f)
{
	struct wr w = wr_init(p, FRAG_HDR);

	wr_be64(&w, f->nonce);
	wr_be32(&w, 0);
	wr_be32(&w, f->payload_crc);
	wr_be16(&w, f->len);
	wr_u8(&w, f->kind);
	wr_u8(&w, f->idx);
	wr_be32(&w, f->segment);
	wr_be64(&w, f->batch);
	wr_be64(&w, f->rid);
	wr_be32(&w, f->start);
	w = wr_init(p + 8, 4);
	wr_be32(&w, crc32c(0, p + 12, FRAG_HDR - 12));
}

const char *segment_name(uint32_t number, char out[static 16])
{
	snprintf(out, 16, "%08x.seg", number);
	return out;
}

int segment_header_build(struct journal *j, const struct segment *s, uint8_t page[static PAGE])
{
	struct wr w = wr_init(page, PAGE - 4);

	memset(page, 0, PAGE);
	wr_bytes(&w, "PosternJ", 8);
	wr_be32(&w, SEG_VERSION);
	wr_be32(&w, s->number);
	wr_be32(&w, s->size);
	wr_be32(&w, (uint32_t)j->hole_count);
	wr_be64(&w, s->nonce);
	wr_be64(&w, s->floor);
	for (size_t i = 0; i < j->hole_count; i++) {
		wr_be32(&w, j->hole[i].segment);
		wr_be32(&w, j->hole[i].from);
		wr_be32(&w, j->hole[i].to);
	}
	if (w.bad)
		return -EMSGSIZE;
	w = wr_init(page + PAGE - 4, 4);
	wr_be32(&w, crc32c(0, page, PAGE - 4));
	return 0;
}

int segment_header_parse(const uint8_t page[static PAGE], struct segment *s, struct hole *holes,
			 size_t *count)
{
	struct rd r = rd_init(page, PAGE - 4), c = rd_init(page + PAGE - 4, 4);
	uint32_t version;

	*count = 0;
	if (memcmp(rd_take(&r, 8), "PosternJ", 8) || rd_be32(&c) != crc32c(0, page, PAGE - 4))
		return -EBADMSG;
	version = rd_be32(&r);
	if (version != SEG_VERSION)
		return -EPROTONOSUPPORT;
	s->number = rd_be32(&r);
	s->size = rd_be32(&r);
	*count = rd_be32(&r);
	s->nonce = rd_be64(&r);
	s->floor = rd_be64(&r);
	if (*count > HOLES_MAX)
		return -EBADMSG;
	for (size_t i = 0; i < *count; i++) {
		holes[i].segment = rd_be32(&r);
		holes[i].from = rd_be32(&r);
		holes[i].to = rd_be32(&r);
		if (holes[i].to < holes[i].from)
			return -EBADMSG;
	}
	return r.bad ? -EBADMSG : 0;
}

void journal_add_hole(struct journal *j, uint32_t segment, uint32_t from, uint32_t to)
{
	bool exists = false;

	for (size_t i = 0; i < j->seg_count; i++)
		exists |= j->seg[i].number == segment;
	for (size_t i = 0; i < j->hole_count; i++)
		if (j->hole[i].segment == segment && j->hole[i].from == from && j->hole[i].to == to)
			return;
	if (!exists || from >= to)
		return;
	if (j->hole_count == HOLES_MAX) {
		/* The widest reach of two neighbours keeps "nothing counts here" true. */
		struct hole *h = &j->hole[HOLES_MAX - 1];

		if (h->segment == segment) {
			h->from = from < h->from ? from : h->from;
			h->to = to > h->to ? to : h->to;
		}
		return;
	}
	j->hole[j->hole_count++] = (struct hole){ segment, from, to };
}

/* --- segments --- */

int journal_segment_fd(struct journal *j, struct segment *s)
{
	size_t open = 0, victim = j->seg_count;
	char name[16];

	if (s->fd >= 0)
		return s->fd;
	for (size_t i = 0; i + 1 < j->seg_count; i++) {
		if (j->seg[i].fd < 0 || &j->seg[i] == s)
			continue;
		open++;
		victim = i;
	}
	if (open >= SEGMENT_FDS) {
		j->cfg.vfs->close(j->cfg.vfs, j->seg[victim].fd);
		j->seg[victim].fd = -1;
	}
	s->fd = j->cfg.vfs->open(j->cfg.vfs, segment_name(s->number, name), false);
	return s->fd;
}

static struct segment *current(struct journal *j)
{
	return &j->seg[j->seg_count - 1];
}

/* Worker (or journal_open): the spare becomes the segment that @jj describes. */
static int make_segment(struct journal_job *jj)
{
	struct vfs *v = jj->j->cfg.vfs;
	char name[16];
	int rc, fd;

	fd = v->open(v, spare_name, false);
	if (fd < 0)
		return fd;
	rc = vfs_write_all(v, fd, jj->page, PAGE, 0);
	if (!rc)
		rc = v->sync(v, fd);
	if (!rc)
		rc = v->rename(v, spare_name, segment_name(jj->number, name));
	if (!rc)
		rc = v->sync_dir(v, ".");
	if (rc) {
		v->close(v, fd);
		/* After a failed sync the file cannot be trusted; after a rename it has no records. */
		v->unlink(v, spare_name);
		return rc;
	}
	jj->fd = fd;
	return 0;
}

static int prepare_fresh(struct journal *j)
{
	struct segment *s = &j->fresh;

	*s = (struct segment){ .number = j->next_number++, .size = j->seg_bytes, .fd = -1 };
	s->floor = j->batch;
	do
		if (secret_random(&s->nonce, sizeof(s->nonce)))
			return -EIO;
	while (!s->nonce);
	j->roll.number = s->number;
	return segment_header_build(j, s, j->roll.page);
}

static int adopt_fresh(struct journal *j)
{
	if (j->seg_count == j->seg_cap) {
		size_t cap = j->seg_cap ? 2 * j->seg_cap : 16;
		struct segment *a = realloc(j->seg, cap * sizeof(*a));

		if (!a)
			return -ENOMEM;
		j->seg = a;
		j->seg_cap = cap;
	}
	j->fresh.fd = j->roll.fd;
	j->seg[j->seg_count++] = j->fresh;
	j->end = PAGE;
	j->closed = false;
	return 0;
}

/* One piece of the spare: opens it first, renames it last. 1: done. */
static int spare_piece(struct journal *j)
{
	struct vfs *v = j->cfg.vfs;
	uint32_t n = j->seg_bytes - j->spare_at;
	uint8_t *zero;
	int rc;

	if (j->spare_fd < 0) {
		j->spare_at = 0;
		v->unlink(v, spare_new);
		j->spare_fd = v->open(v, spare_new, true);
		if (j->spare_fd < 0)
			return j->spare_fd;
		n = j->seg_bytes;
	}
	if (n > SPARE_PIECE)
		n = SPARE_PIECE;
	zero = calloc(1, n);
	rc = zero ? vfs_write_all(v, j->spare_fd, zero, n, j->spare_at) : -ENOMEM;
	free(zero);
	if (!rc)
		rc = v->sync(v, j->spare_fd);
	j->spare_at += n;
	if (!rc && j->spare_at < j->seg_bytes)
		return 0;
	v->close(v, j->spare_fd);
	j->spare_fd = -1;
	if (!rc)
		rc = v->rename(v, spare_new, spare_name);
	if (!rc)
		rc = v->sync_dir(v, ".");
	if (rc)
		v->unlink(v, spare_new);
	return rc ? rc : 1;
}

static void kick(struct journal *j);

static void spare_run(struct job *job)
{
	struct journal_job *jj = (struct journal_job *)(void *)job;

	jj->rc = spare_piece(jj->j);
}

static void spare_done(struct job *job)
{
	struct journal_job *jj = (struct journal_job *)(void *)job;
	struct journal *j = jj->j;

	if (!jj->rc) {
		worker_submit(j->cfg.worker, job);
		return;
	}
	jj->busy = false;
	if (jj->rc < 0 && !j->spare_failed)
		log_err(NULL,
			"msg=\"no room for a next journal segment (%s): letters are refused\"",
			strerror(-jj->rc));
	if (jj->rc == 1 && j->spare_failed)
		log_info(NULL, "msg=\"room for the journal again\"");
	j->spare_ready = jj->rc == 1;
	j->spare_failed = jj->rc < 0;
	kick(j);
}

static void want_spare(struct journal *j)
{
	if (j->spare_ready || j->spare.busy)
		return;
	j->spare.busy = true;
	worker_submit(j->cfg.worker, &j->spare.job);
}

/* --- batches --- */

/* Offset behind a record of @len laid out from @off; its fragments skip ends of blocks too short for one. */
static uint32_t layout_end(uint32_t off, size_t len)
{
	bool first = true;

	while (first || len) {
		uint32_t room = BLOCK - off % BLOCK;

		if (room <= FRAG_HDR) {
			off += room;
			continue;
		}
		room -= FRAG_HDR;
		if (room > len)
			room = (uint32_t)len;
		off += FRAG_HDR + room;
		len -= room;
		first = false;
	}
	return off;
}

static uint32_t put_record(struct journal *j, uint32_t start, uint32_t off, struct journal_rec *r)
{
	size_t left = r->len;
	bool first = true;
	uint8_t idx = 0;

	while (first || left) {
		uint32_t room = BLOCK - off % BLOCK;
		uint8_t *p = j->buf + (off - start);
		struct frag f;

		if (room <= FRAG_HDR) {
			memset(p, 0, room);
			off += room;
			continue;
		}
		room -= FRAG_HDR;
		if (room > left)
			room = (uint32_t)left;
		memcpy(p + FRAG_HDR, r->data + (r->len - left), room);
		f = (struct frag){
			.nonce = current(j)->nonce,
			.payload_crc = crc32c(0, p + FRAG_HDR, room),
			.len = (uint16_t)room,
			.idx = idx++,
			.segment = current(j)->number,
			.batch = j->batch,
			.rid = r->rid,
			.start = start,
		};
		if (first)
			r->pos = (struct journal_pos){ f.segment, off };
		left -= room;
		f.kind = first ? (left ? FRAG_FIRST : FRAG_FULL) : (left ? FRAG_MIDDLE : FRAG_LAST);
		frag_build(p, &f);
		off += FRAG_HDR + room;
		first = false;
	}
	return off;
}

static struct journal_rec *rec_take(struct rec_list *l)
{
	struct journal_rec *r = l->first;

	if (r) {
		l->first = r->next;
		if (!l->first)
			l->last = &l->first;
	}
	return r;
}

static void rec_put(struct rec_list *l, struct journal_rec *r)
{
	r->next = NULL;
	*l->last = r;
	l->last = &r->next;
}

static void rec_end(struct journal *j, struct journal_rec *r, int rc)
{
	j->pending_bytes -= r->len;
	if (r->waiter)
		r->waiter->done(r->waiter, rc, r->pos);
	free(r);
}

/* Give up on the records in @l that nobody insists on; the others keep their order in pending. */
static void fail_records(struct journal *j, struct rec_list *l, int rc)
{
	struct rec_list keep = { NULL, &keep.first }, lost = { NULL, &lost.first };
	struct journal_rec *r;

	while ((r = rec_take(l)))
		rec_put(r->keep ? &keep : &lost, r);
	if (keep.first) {
		*keep.last = j->pending.first;
		if (!j->pending.first)
			j->pending.last = keep.last;
		j->pending.first = keep.first;
	}
	while ((r = rec_take(&lost)))
		rec_end(j, r, rc);
}

static void fail_pending(struct journal *j, int rc)
{
	struct rec_list l = { NULL, &l.first };
	struct journal_rec *r;

	while ((r = rec_take(&j->pending)))
		rec_put(&l, r);
	fail_records(j, &l, rc);
}

static void commit_run(struct job *job)
{
	struct journal_job *jj = (struct journal_job *)(void *)job;
	struct journal *j = jj->j;
	struct vfs *v = j->cfg.vfs;

	jj->rc = vfs_write_all(v, jj->fd, j->buf, j->buf_len, j->buf_at);
	if (!jj->rc)
		jj->rc = v->sync(v, jj->fd);
}

static void commit_done(struct job *job)
{
	struct journal_job *jj = (struct journal_job *)(void *)job;
	struct journal *j = jj->j;
	struct journal_rec *r;

	jj->busy = false;
	if (jj->rc) {
		log_err(
		    NULL,
		    "segment=%08x msg=\"journal write failed (%s): segment closed, batch void\"",
		    current(j)->number, strerror(-jj->rc));
		j->stats.failed_syncs++;
		j->faults++;
		j->closed = true;
		journal_add_hole(j, current(j)->number, j->buf_at, j->seg_bytes);
		if (j->faults >= FAULTS_MAX)
			j->stalled = true;
		fail_records(j, &j->flight, jj->rc);
		if (j->stalled)
			fail_pending(j, jj->rc);
	} else {
		j->faults = 0;
		j->end = j->buf_at + j->buf_len;
		j->stats.batches++;
		/* Detached first: a waiter may append, and that may begin the next batch. */
		while ((r = rec_take(&j->flight))) {
			j->stats.records++;
			rec_end(j, r, 0);
		}
	}
	kick(j);
}

static void roll_run(struct job *job)
{
	struct journal_job *jj = (struct journal_job *)(void *)job;

	jj->rc = make_segment(jj);
}

static void roll_done(struct job *job)
{
	struct journal_job *jj = (struct journal_job *)(void *)job;
	struct journal *j = jj->j;

	jj->busy = false;
	j->spare_ready = false;
	if (!jj->rc)
		jj->rc = adopt_fresh(j);
	if (jj->rc) {
		log_err(NULL, "msg=\"no new journal segment: %s\"", strerror(-jj->rc));
		j->faults++;
		j->closed = true;
		j->stalled = j->faults >= FAULTS_MAX;
		if (j->stalled)
			fail_pending(j, jj->rc);
	}
	want_spare(j);
	kick(j);
}

/* Fill the buffer with as much of pending as fits one batch; false when the segment is full. */
static bool gather(struct journal *j)
{
	uint32_t start = j->end, off = start, limit = j->seg_bytes, next;
	struct journal_rec *r;

	if (j->closed)
		return false;
	for (;;) {
		r = j->pending.first;
		if (!r || (off > start && off - start >= BATCH_MAX))
			break;
		next = layout_end(off, r->len);
		if (next > limit)
			break;
		if (off == start)
			j->batch++;
		off = put_record(j, start, off, rec_take(&j->pending));
		rec_put(&j->flight, r);
	}
	if (off == start)
		return false;
	j->buf_at = start;
	j->buf_len = (off - start + PAGE - 1) / PAGE * PAGE;
	memset(j->buf + (off - start), 0, j->buf_len - (off - start));
	return true;
}

static void kick(struct journal *j)
{
	if (j->commit.busy || j->roll.busy || j->stalled || !j->pending.first)
		return;
	if (gather(j)) {
		j->commit.busy = true;
		j->commit.fd = current(j)->fd;
		worker_submit(j->cfg.worker, &j->commit.job);
		return;
	}
	j->closed = true;
	if (!j->spare_ready) {
		if (j->spare_failed) {
			j->stalled = true;
			fail_pending(j, -ENOSPC);
		}
		want_spare(j);
		return;
	}
	if (prepare_fresh(j))
		return;
	j->roll.busy = true;
	worker_submit(j->cfg.worker, &j->roll.job);
}

int journal_append(struct journal *j, const void *data, size_t len, bool keep,
		   struct journal_waiter *w)
{
	struct journal_rec *r;

	if (!len || len > JOURNAL_RECORD_MAX || layout_end(PAGE, len) > j->seg_bytes)
		return -EMSGSIZE;
	if (!keep && !journal_ready(j))
		return -ENOSPC;
	r = malloc(sizeof(*r) + len);
	if (!r)
		return -ENOMEM;
	*r = (struct journal_rec){
		.waiter = w, .rid = j->rid++, .len = (uint32_t)len, .keep = keep
	};
	memcpy(r->data, data, len);
	rec_put(&j->pending, r);
	j->pending_bytes += len;
	kick(j);
	return 0;
}

int journal_read(struct journal *j, struct journal_pos pos, uint8_t **data, size_t *len)
{
	struct segment *s = NULL;
	uint8_t *out = NULL, *grown, hdr[FRAG_HDR];
	uint32_t at = pos.offset;
	size_t n = 0;
	uint8_t idx = 0;
	struct frag f;
	int rc, fd;

	for (size_t i = 0; i < j->seg_count; i++)
		if (j->seg[i].number == pos.segment)
			s = &j->seg[i];
	if (!s)
		return -ENOENT;
	fd = journal_segment_fd(j, s);
	if (fd < 0)
		return fd;
	do {
		if (BLOCK - at % BLOCK <= FRAG_HDR)
			at += BLOCK - at % BLOCK;
		rc = vfs_read_all(j->cfg.vfs, fd, hdr, FRAG_HDR, at);
		if (!rc &&
		    (frag_parse(hdr, s->nonce, s->number, &f) || f.idx != idx ||
		     (idx == 0) != (f.kind == FRAG_FULL || f.kind == FRAG_FIRST) ||
		     n + f.len > JOURNAL_RECORD_MAX || f.len > BLOCK - at % BLOCK - FRAG_HDR))
			rc = -EBADMSG;
		grown = rc ? NULL : realloc(out, n + f.len + 1);
		if (!rc && !grown)
			rc = -ENOMEM;
		if (rc)
			break;
		out = grown;
		rc = vfs_read_all(j->cfg.vfs, fd, out + n, f.len, at + FRAG_HDR);
		if (!rc && crc32c(0, out + n, f.len) != f.payload_crc)
			rc = -EBADMSG;
		n += f.len;
		at += FRAG_HDR + f.len;
		idx++;
	} while (!rc && (f.kind == FRAG_FIRST || f.kind == FRAG_MIDDLE));
	if (rc) {
		free(out);
		return rc;
	}
	*data = out;
	*len = n;
	return 0;
}

/* --- removal --- */

static void drop_run(struct job *job)
{
	struct journal_job *jj = (struct journal_job *)(void *)job;
	struct vfs *v = jj->j->cfg.vfs;
	char name[16];

	/* Synced before the next may go: an older segment that came back alone would bring
	 * back letters whose end stood in a newer one. */
	jj->rc = v->unlink(v, segment_name(jj->number, name));
	if (!jj->rc || jj->rc == -ENOENT)
		jj->rc = v->sync_dir(v, ".");
}

static void drop_done(struct job *job)
{
	struct journal_job *jj = (struct journal_job *)(void *)job;
	struct journal *j = jj->j;
	size_t kept = 0;

	jj->busy = false;
	if (jj->rc) {
		log_err(NULL, "segment=%08x msg=\"cannot remove: %s\"", j->seg[0].number,
			strerror(-jj->rc));
		return;
	}
	for (size_t i = 0; i < j->hole_count; i++)
		if (j->hole[i].segment != j->seg[0].number)
			j->hole[kept++] = j->hole[i];
	j->hole_count = kept;
	if (j->seg[0].fd >= 0)
		j->cfg.vfs->close(j->cfg.vfs, j->seg[0].fd);
	memmove(j->seg, j->seg + 1, --j->seg_count * sizeof(*j->seg));
	if (j->spare_failed)
		want_spare(j);
}

int journal_drop_oldest(struct journal *j)
{
	if (j->drop.busy || j->seg_count < 2)
		return -EBUSY;
	j->drop.busy = true;
	j->drop.number = j->seg[0].number;
	worker_submit(j->cfg.worker, &j->drop.job);
	return 0;
}

/* --- life --- */

static void job_init(struct journal *j, struct journal_job *jj, void (*run)(struct job *),
		     void (*done)(struct job *))
{
	jj->job = (struct job){ .run = run, .done = done };
	jj->j = j;
}

int journal_open(struct journal **out, const struct journal_config *cfg)
{
	struct journal *j = calloc(1, sizeof(*j));
	struct vfs *v = cfg->vfs;
	int rc;

	if (!j)
		return -ENOMEM;
	j->cfg = *cfg;
	j->seg_bytes = cfg->segment_bytes ? cfg->segment_bytes : JOURNAL_SEGMENT_BYTES;
	j->pending.last = &j->pending.first;
	j->flight.last = &j->flight.first;
	j->next_number = 1;
	j->rid = 1;
	j->spare_fd = -1;
	job_init(j, &j->commit, commit_run, commit_done);
	job_init(j, &j->roll, roll_run, roll_done);
	job_init(j, &j->spare, spare_run, spare_done);
	job_init(j, &j->drop, drop_run, drop_done);
	j->buf = malloc(BATCH_MAX + JOURNAL_RECORD_MAX + 64 * 1024);
	rc = j->buf ? 0 : -ENOMEM;
	if (!rc)
		rc = v->mkdir(v, "quarantine");
	if (!rc)
		rc = journal_replay(j);
	if (!rc && !j->spare_ready) {
		v->unlink(v, spare_name); /* of another size */
		do
			rc = spare_piece(j);
		while (!rc);
		rc = rc == 1 ? 0 : rc;
	}
	if (!rc)
		rc = prepare_fresh(j);
	if (!rc)
		rc = make_segment(&j->roll);
	if (!rc)
		rc = adopt_fresh(j);
	if (rc) {
		journal_abandon(j);
		return rc;
	}
	j->spare_ready = false;
	want_spare(j);
	*out = j;
	return 0;
}

void journal_abandon(struct journal *j)
{
	struct journal_rec *r;

	if (!j)
		return;
	while ((r = rec_take(&j->flight)))
		rec_end(j, r, -ECANCELED);
	while ((r = rec_take(&j->pending)))
		rec_end(j, r, -ECANCELED);
	for (size_t i = 0; i < j->seg_count; i++)
		if (j->seg[i].fd >= 0)
			j->cfg.vfs->close(j->cfg.vfs, j->seg[i].fd);
	if (j->spare_fd >= 0)
		j->cfg.vfs->close(j->cfg.vfs, j->spare_fd);
	free(j->seg);
	free(j->buf);
	free(j);
}

void journal_close(struct journal *j)
{
	static const uint8_t clean[] = { 0 };

	if (!j)
		return;
	worker_drain(j->cfg.worker);
	/* A batch of its own behind all others: a fault found before it later is no mere tail. */
	journal_append(j, clean, sizeof(clean), true, NULL);
	worker_drain(j->cfg.worker);
	journal_abandon(j);
}

void journal_tick(struct journal *j)
{
	j->stalled = false;
	j->faults = 0;
	if (!j->spare_ready)
		want_spare(j);
	kick(j);
}

bool journal_ready(const struct journal *j)
{
	return !j->stalled && !j->spare_failed;
}

uint64_t journal_next_rid(const struct journal *j)
{
	return j->rid;
}

uint32_t journal_oldest(const struct journal *j)
{
	return j->seg[0].number;
}

uint32_t journal_current(const struct journal *j)
{
	return j->seg[j->seg_count - 1].number;
}

void journal_stats(const struct journal *j, struct journal_stats *out)
{
	*out = j->stats;
	out->segments = (uint32_t)j->seg_count;
	out->bytes = 0;
	for (size_t i = 0; i < j->seg_count; i++)
		out->bytes += j->seg[i].size;
	out->pending_bytes = j->pending_bytes;
}
