/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Theory: a letter that went bad while the queue runs: a bit flipped, or the disk does not give its sectors back.
 * It would hold its segment, and with it all newer ones, for ever. So when compaction meets it, and has met it
 * for a while, what can be read of its record is copied to quarantine, its body goes there too, and the letter
 * leaves the queue: as at a start (journal_replay.c). The log says so; nothing of it is thrown away.
 *
 *	met by compaction -> RESCUE_AFTER_S later still bad -> copied (worker) -> GONE in the journal
 */
#include "store_format.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

#define RESCUE_AFTER_S 60   /* a cable, or a path to the disk, may come back */
#define RESCUE_PIECE   4096 /* what is read of it at once: a sector that is gone costs no more */

struct rescue {
	struct job job;
	struct store *s;
	bool busy;
	uint8_t id[LETTER_ID_LEN];
	struct journal_pos pos;
	uint32_t len; /* of its fragments */
	bool own_file;
	size_t lost; /* bytes that could not be read */
	int rc;
	char copy[64];
};

/* What cannot be read is zeros. */
static size_t read_pieces(struct vfs *v, int fd, uint8_t *buf, uint32_t len, uint32_t from)
{
	size_t lost = 0;

	for (uint32_t at = 0, n; at < len; at += n) {
		n = RESCUE_PIECE - (from + at) % RESCUE_PIECE;
		n = n < len - at ? n : len - at;
		if (!vfs_read_all(v, fd, buf + at, n, from + at))
			continue;
		memset(buf + at, 0, n);
		lost += n;
	}
	return lost;
}

static int write_copy(struct vfs *v, const char *name, const uint8_t *buf, size_t len)
{
	static const char part[] = "quarantine/new";
	int fd, rc;

	v->unlink(v, part); /* of one that was cut short */
	fd = v->open(v, part, true);
	if (fd < 0)
		return fd;
	rc = vfs_write_all(v, fd, buf, len, 0);
	if (!rc)
		rc = v->sync(v, fd);
	v->close(v, fd);
	if (!rc)
		rc = v->rename(v, part, name);
	if (rc)
		v->unlink(v, part);
	return rc;
}

static void run(struct job *job)
{
	struct rescue *r = (struct rescue *)(void *)job;
	struct vfs *v = r->s->cfg.vfs;
	uint8_t *buf = malloc(r->len);
	char body[48], to[64], seg[16], hex[LETTER_ID_STR_MAX];
	int fd = buf ? v->open_read(v, journal_file(r->pos.segment, seg)) : -ENOMEM;

	r->rc = fd < 0 ? fd : 0;
	if (fd >= 0) {
		r->lost = read_pieces(v, fd, buf, r->len, r->pos.offset);
		v->close(v, fd);
		r->rc = write_copy(v, r->copy, buf, r->len);
	}
	free(buf);
	if (!r->rc && r->own_file) {
		snprintf(to, sizeof(to), "quarantine/body-%s", letter_id_str(r->id, hex));
		r->rc = v->rename(v, store_body_name(r->id, body), to);
		r->rc = r->rc == -ENOENT ? 0 : r->rc; /* that was what ailed it, or it was done before */
	}
	if (!r->rc)
		r->rc = v->sync_dir(v, "quarantine");
}

static void finish(struct job *job)
{
	struct rescue *r = (struct rescue *)(void *)job;
	char hex[LETTER_ID_STR_MAX];
	struct letter *l = store_find(r->s, r->id);
	struct store_change *c = NULL;
	int rc = r->rc;

	r->busy = false;
	letter_id_str(r->id, hex);
	if (!l || l->state == LETTER_GONE)
		return; /* the admin was faster */
	if (!rc) {
		c = store_begin(r->s);
		rc = c ? store_remember(c, l) : -ENOMEM;
	}
	if (!rc)
		rc = store_put_state(c, l, LETTER_GONE);
	if (rc)
		store_cancel(c);
	else
		rc = store_commit(c, true, NULL);
	if (rc)
		log_err(NULL, "letter=%s segment=%08x msg=\"it cannot be read, nor put into quarantine: %s\"",
			hex, r->pos.segment, strerror(-rc));
	else
		log_err(NULL,
			"letter=%s segment=%08x offset=%u bytes=%u lost=%zu copy=%s msg=\"it cannot be read any "
			"more: it left the queue, and what there is of it is kept in quarantine\"",
			hex, r->pos.segment, r->pos.offset, r->len, r->lost, r->copy);
}

bool store_rescuing(const struct store *s, const struct letter *l)
{
	return s->rescue && s->rescue->busy && !memcmp(s->rescue->id, l->id, LETTER_ID_LEN);
}

static bool flies(const struct letter *l)
{
	for (size_t i = 0; i < l->rcpt_count; i++)
		if (l->rcpt[i].flying)
			return true;
	return false;
}

void store_rescue(struct store *s, struct letter *l)
{
	struct rescue *r = s->rescue;

	if (s->bad_segment != l->pos.segment) {
		s->bad_segment = l->pos.segment;
		s->bad_since = s->clock;
	}
	/* One in flight ends first: its result, and what it means, must find it. */
	if (s->clock - s->bad_since < RESCUE_AFTER_S || (r && r->busy) || flies(l))
		return;
	r = r ? r : calloc(1, sizeof(*r));
	if (!r)
		return;
	s->rescue = r;
	*r = (struct rescue){ .job = { .run = run, .done = finish },
			      .s = s,
			      .busy = true,
			      .pos = l->pos,
			      .len = journal_extent(l->pos.offset, l->rec_len) - l->pos.offset,
			      .own_file = l->own_file };
	memcpy(r->id, l->id, LETTER_ID_LEN);
	snprintf(r->copy, sizeof(r->copy), "quarantine/%08x-%u", l->pos.segment, l->pos.offset);
	if (s->cfg.removed) /* nor does it leave any more, while its body goes aside: it is marked unreadable */
		s->cfg.removed(s->cfg.arg, l);
	worker_submit(s->cfg.worker, &r->job);
}
