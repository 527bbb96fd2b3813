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
 */
#include "journal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crc32c.h"
#include "journal_format.h"
#include "log.h"

#define BATCH_MAX  (1u << 20)
#define FAULTS_MAX 3 /* failed segments in a row before it waits for the tick */

/* --- batches --- */

/* Its fragments skip ends of blocks too short for one. */
uint32_t journal_extent(uint32_t off, size_t len)
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
			.nonce = segment_current(j)->nonce,
			.payload_crc = crc32c(0, p + FRAG_HDR, room),
			.len = (uint16_t)room,
			.idx = idx++,
			.segment = segment_current(j)->number,
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

/* What of @l nobody insists on goes to @lost; the others come first in pending, in their order. */
static void put_back(struct journal *j, struct rec_list *l, struct rec_list *lost)
{
	struct rec_list keep = { NULL, &keep.first };
	struct journal_rec *r;

	while ((r = rec_take(l)))
		rec_put(r->keep ? &keep : lost, r);
	if (keep.first) {
		j->hurry = true;
		*keep.last = j->pending.first;
		if (!j->pending.first)
			j->pending.last = keep.last;
		j->pending.first = keep.first;
	}
}

static void end_all(struct journal *j, struct rec_list *l, int rc)
{
	struct journal_rec *r;

	while ((r = rec_take(l)))
		rec_end(j, r, rc);
}

static void cast_doubt(const struct rec_list *l, int rc)
{
	for (struct journal_rec *r = l->first; r; r = r->next) {
		if (!r->doubted && r->waiter && r->waiter->doubt)
			r->waiter->doubt(r->waiter, rc);
		r->doubted = true;
	}
}

/*
 * Nothing can be written now: all hear of it but those who insist. What is doomed is void only with its hole on
 * the disk: a crash before the next segment could bring it back.
 */
static void stall(struct journal *j, int rc)
{
	struct rec_list all = { NULL, &all.first }, lost = { NULL, &lost.first };
	struct journal_rec *r;

	j->stalled = true;
	while ((r = rec_take(&j->pending)))
		rec_put(&all, r);
	put_back(j, &all, &lost);
	cast_doubt(&j->doomed, j->doom_rc);
	cast_doubt(&j->pending, rc);
	end_all(j, &lost, rc);
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
		    segment_current(j)->number, strerror(-jj->rc));
		j->stats.failed_syncs++;
		j->faults++;
		j->closed = true;
		journal_add_hole(j, segment_current(j)->number, j->buf_at,
				 segment_current(j)->size);
		put_back(j, &j->flight, &j->doomed);
		j->doom_rc = jj->rc;
		if (j->faults >= FAULTS_MAX)
			stall(j, jj->rc);
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
	journal_kick(j);
}

static void roll_run(struct job *job)
{
	struct journal_job *jj = (struct journal_job *)(void *)job;

	jj->rc = segment_make(jj);
}

static void roll_done(struct job *job)
{
	struct journal_job *jj = (struct journal_job *)(void *)job;
	struct journal *j = jj->j;

	jj->busy = false;
	j->spare_ready = false;
	if (!jj->rc)
		jj->rc = segment_adopt(j);
	if (!jj->rc) {
		end_all(j, &j->doomed, j->doom_rc); /* void on the disk now */
	} else {
		log_err(NULL, "msg=\"no new journal segment: %s\"", strerror(-jj->rc));
		j->faults++;
		j->closed = true;
		if (j->faults >= FAULTS_MAX)
			stall(j, jj->rc);
	}
	spare_want(j);
	journal_kick(j);
}

/* Fill the buffer with as much of pending as fits one batch; false when the segment is full. */
static bool gather(struct journal *j)
{
	uint32_t start = j->end, off = start, limit, next;
	struct journal_rec *r;

	if (j->closed)
		return false;
	limit = segment_current(j)->size;
	for (;;) {
		r = j->pending.first;
		if (!r || (off > start && off - start >= BATCH_MAX))
			break;
		next = journal_extent(off, r->len);
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

void journal_kick(struct journal *j)
{
	bool any = (j->pending.first && j->hurry) || j->doomed.first;

	if (j->commit.busy || j->roll.busy || j->stalled || !any)
		return;
	if (gather(j)) {
		if (!j->pending.first)
			j->hurry = false;
		j->later = 0;
		j->commit.busy = true;
		j->commit.fd = segment_current(j)->fd;
		worker_submit(j->cfg.worker, &j->commit.job);
		return;
	}
	j->closed = true;
	if (!j->spare_ready) {
		if (j->spare_failed)
			stall(j, -ENOSPC);
		spare_want(j);
		return;
	}
	if (segment_prepare(j))
		return;
	j->roll.busy = true;
	worker_submit(j->cfg.worker, &j->roll.job);
}

static int append(struct journal *j, const void *data, size_t len, bool keep, bool later,
		  struct journal_waiter *w)
{
	struct journal_rec *r;

	if (!len || len > JOURNAL_RECORD_MAX || journal_extent(PAGE, len) > j->seg_bytes)
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
	j->later += later;
	j->hurry |= !later || j->later >= JOURNAL_LATER_MAX;
	journal_kick(j);
	return 0;
}

int journal_append(struct journal *j, const void *data, size_t len, bool keep,
		   struct journal_waiter *w)
{
	return append(j, data, len, keep, false, w);
}

int journal_append_later(struct journal *j, const void *data, size_t len, struct journal_waiter *w)
{
	return append(j, data, len, true, true, w);
}

void journal_flush(struct journal *j)
{
	j->hurry |= j->pending.first != NULL; /* else it would be of a record to come */
	journal_kick(j);
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

/* --- life --- */

static void job_init(struct journal *j, struct journal_job *jj, void (*run)(struct job *),
		     void (*done)(struct job *))
{
	jj->job = (struct job){ .run = run, .done = done };
	jj->j = j;
}

/*
 * What is to be written to: a new segment, or, where the disk has no room for one, what is left of the
 * last. Without either the journal opens all the same: mail that is there can leave.
 */
static int begin(struct journal *j)
{
	struct vfs *v = j->cfg.vfs;
	int rc = 0;

	if (!j->spare_ready) {
		v->unlink(v, JOURNAL_SPARE); /* of another size */
		do
			rc = spare_piece(j);
		while (!rc);
		rc = rc == 1 ? 0 : rc;
	}
	if (!rc)
		rc = segment_prepare(j);
	if (!rc)
		rc = segment_make(&j->roll);
	if (!rc)
		rc = segment_adopt(j);
	j->spare_ready = false;
	if (rc != -ENOSPC && rc != -EDQUOT)
		return rc;
	j->spare_failed = true;
	/* Its name may stand in memory only: made by a process that died before it could write there. */
	j->closed = v->sync_dir(v, ".") || !segment_reopen(j);
	log_err(NULL,
		"msg=\"no room for a new journal segment (%s): letters are refused, and results "
		"are %s\"",
		strerror(-rc), j->closed ? "kept in memory" : "written into the last one");
	return 0;
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
	j->doomed.last = &j->doomed.first;
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
	if (!rc)
		rc = begin(j);
	if (rc) {
		journal_abandon(j);
		return rc;
	}
	spare_want(j);
	*out = j;
	return 0;
}

void journal_abandon(struct journal *j)
{
	if (!j)
		return;
	end_all(j, &j->flight, -ECANCELED);
	end_all(j, &j->doomed, -ECANCELED);
	end_all(j, &j->pending, -ECANCELED);
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
	journal_flush(j);
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
		spare_want(j);
	journal_flush(j);
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
	return j->seg_count ? j->seg[0].number : 0;
}

uint32_t journal_current(const struct journal *j)
{
	return j->seg_count ? j->seg[j->seg_count - 1].number : 0;
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
