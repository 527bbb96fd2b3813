/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: segments come and go. A next segment ("spare") is zeroed ahead of need, in pieces, so that no
 * commit waits behind 16 MiB. When that fails the disk is full: letters are refused, while done
 * records still have nearly a whole segment to go to.
 */
#include "journal_format.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "secret.h"

#define SPARE_PIECE (1u << 20)
#define SEGMENT_FDS 64

static const char spare_new[] = "spare.new";

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
	s->fd = j->cfg.vfs->open(j->cfg.vfs, journal_file(s->number, name), false);
	return s->fd;
}

struct segment *segment_current(struct journal *j)
{
	return &j->seg[j->seg_count - 1];
}

int segment_make(struct journal_job *jj)
{
	struct vfs *v = jj->j->cfg.vfs;
	bool named = false;
	char name[16];
	int rc, fd;

	fd = v->open(v, JOURNAL_SPARE, false);
	if (fd < 0)
		return fd;
	rc = vfs_write_all(v, fd, jj->page, PAGE, 0);
	if (!rc)
		rc = v->sync(v, fd);
	journal_file(jj->number, name);
	if (!rc) {
		rc = v->rename(v, JOURNAL_SPARE, name);
		named = !rc;
	}
	if (!rc)
		rc = v->sync_dir(v, ".");
	if (rc) {
		v->close(v, fd);
		/* After a failed sync it cannot be trusted. It has no records, and nobody would remove it. */
		v->unlink(v, named ? name : JOURNAL_SPARE);
		return rc;
	}
	jj->fd = fd;
	return 0;
}

int segment_prepare(struct journal *j)
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

int segment_adopt(struct journal *j)
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

bool segment_reopen(struct journal *j)
{
	j->end = j->tail_end;
	return j->end && j->end < segment_current(j)->size;
}

int spare_piece(struct journal *j)
{
	struct vfs *v = j->cfg.vfs;
	/* In memory it is one page: nobody ever writes to it. */
	static uint8_t zero[SPARE_PIECE];
	uint32_t n = j->seg_bytes - j->spare_at;
	struct vfs_space sp;
	int rc;

	if (j->spare_fd < 0) {
		j->spare_at = 0;
		v->unlink(v, spare_new);
		/* Asked every second while the disk is full: not by filling it. */
		if (!v->space(v, &sp) && sp.bytes < j->seg_bytes)
			return -ENOSPC;
		j->spare_fd = v->open(v, spare_new, true);
		if (j->spare_fd < 0)
			return j->spare_fd;
		n = j->seg_bytes;
	}
	if (n > SPARE_PIECE)
		n = SPARE_PIECE;
	rc = vfs_write_all(v, j->spare_fd, zero, n, j->spare_at);
	if (!rc)
		rc = v->sync(v, j->spare_fd);
	j->spare_at += n;
	if (!rc && j->spare_at < j->seg_bytes)
		return 0;
	v->close(v, j->spare_fd);
	j->spare_fd = -1;
	if (!rc)
		rc = v->rename(v, spare_new, JOURNAL_SPARE);
	if (!rc)
		rc = v->sync_dir(v, ".");
	if (rc)
		v->unlink(v, spare_new);
	return rc ? rc : 1;
}

void spare_run(struct job *job)
{
	struct journal_job *jj = (struct journal_job *)(void *)job;

	jj->rc = spare_piece(jj->j);
}

void spare_done(struct job *job)
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
	journal_kick(j);
}

void spare_want(struct journal *j)
{
	if (j->spare_ready || j->spare.busy)
		return;
	j->spare.busy = true;
	worker_submit(j->cfg.worker, &j->spare.job);
}

void drop_run(struct job *job)
{
	struct journal_job *jj = (struct journal_job *)(void *)job;
	struct vfs *v = jj->j->cfg.vfs;
	char name[16];

	/* Synced before the next may go: an older segment that came back alone would bring
	 * back letters whose end stood in a newer one. */
	jj->rc = v->unlink(v, journal_file(jj->number, name));
	if (!jj->rc || jj->rc == -ENOENT)
		jj->rc = v->sync_dir(v, ".");
}

void drop_done(struct job *job)
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
		spare_want(j);
}

int journal_drop_oldest(struct journal *j)
{
	if (j->drop.busy || j->seg_count < 2 || j->seg[0].pinned)
		return -EBUSY;
	j->drop.busy = true;
	j->drop.number = j->seg[0].number;
	worker_submit(j->cfg.worker, &j->drop.job);
	return 0;
}
