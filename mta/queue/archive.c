/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "archive.h"

#include <inttypes.h>

#include "crc32c.h"

static const char magic[8] = { 'P', 'o', 's', 't', 'e', 'r', 'n', 'Q' };

/* --- one letter --- */

void archive_letter_put(struct wr *w, const struct archive_letter *a)
{
	wr_bytes(w, a->id, ARCHIVE_ID_LEN);
	wr_be64(w, a->age_s);
	wr_u8(w, a->state);
	wr_be64(w, a->body_len);
	wr_be16(w, a->told_count);
	wr_bytes(w, a->told.p, rd_left(&a->told));
	wr_be16(w, a->way_count);
	wr_bytes(w, a->way.p, rd_left(&a->way));
	wr_bytes(w, a->env, a->env_len);
}

const char *archive_text(struct rd *r)
{
	size_t n = rd_be16(r);
	const char *s = (const char *)rd_take(r, n);

	if (!s || !n || s[n - 1] || memchr(s, 0, n - 1)) {
		r->bad = true;
		return "";
	}
	return s;
}

int archive_letter_get(struct archive_letter *a, const void *buf, size_t len)
{
	struct rd r = rd_init(buf, len);
	const uint8_t *way;

	memset(a, 0, sizeof(*a));
	rd_copy(&r, a->id, ARCHIVE_ID_LEN);
	a->age_s = rd_be64(&r);
	a->state = rd_u8(&r);
	a->body_len = rd_be64(&r);
	a->told_count = rd_be16(&r);
	a->told = rd_sub(&r, 2u * a->told_count);
	a->way_count = rd_be16(&r);
	way = r.p;
	for (uint32_t i = 0; i < 2u * a->way_count && !r.bad; i++)
		archive_text(&r);
	if (r.bad || a->state >= ARCHIVE_STATES || a->age_s > INT64_MAX || a->body_len > INT64_MAX)
		return -EBADMSG;
	a->way = rd_init(way, (size_t)(r.p - way));
	a->env_len = rd_left(&r);
	a->env = rd_take(&r, a->env_len);
	return a->env_len ? 0 : -EBADMSG;
}

/* --- writing --- */

static void put(struct archive_writer *w, const void *data, size_t len)
{
	if (len && fwrite(data, len, 1, w->f) != 1)
		w->failed = true;
}

void archive_begin(struct archive_writer *w, FILE *f)
{
	uint8_t head[ARCHIVE_HEAD_LEN];
	struct wr x = wr_init(head, sizeof(head));

	memset(w, 0, sizeof(*w));
	w->f = f;
	wr_bytes(&x, magic, sizeof(magic));
	wr_be32(&x, ARCHIVE_VERSION);
	wr_be32(&x, 0);
	w->crc = crc32c(0, head, sizeof(head));
	put(w, head, sizeof(head));
}

/* Over that of the frame before, then all of this one. */
static uint32_t frame_crc(uint32_t before, const uint8_t head[static 5], const void *data,
			  size_t len)
{
	uint8_t b[4];
	struct wr w = wr_init(b, sizeof(b));

	wr_be32(&w, before);
	return crc32c(crc32c(crc32c(0, b, sizeof(b)), head, 5), data, len);
}

void archive_frame(struct archive_writer *w, enum archive_type type, const void *data, size_t len)
{
	uint8_t head[5], tail[4];
	struct wr x = wr_init(head, sizeof(head)), y = wr_init(tail, sizeof(tail));

	wr_u8(&x, (uint8_t)type);
	wr_be32(&x, (uint32_t)len);
	w->crc = frame_crc(w->crc, head, data, len);
	wr_be32(&y, w->crc);
	put(w, head, sizeof(head));
	put(w, data, len);
	put(w, tail, sizeof(tail));
	w->letters += type == ARCHIVE_LETTER;
	w->bytes += type == ARCHIVE_BODY ? len : 0;
}

void archive_end(struct archive_writer *w)
{
	uint8_t b[16];
	struct wr x = wr_init(b, sizeof(b));

	wr_be64(&x, w->letters);
	wr_be64(&x, w->bytes);
	archive_frame(w, ARCHIVE_END, b, sizeof(b));
}

/* --- reading --- */

static int fail(struct archive_reader *r, int rc, const char *what)
{
	snprintf(r->why, sizeof(r->why), "byte %" PRIu64 ": %s", r->offset, what);
	return rc;
}

/* @len bytes, or fewer at the end of the file: @got. */
static int get(struct archive_reader *r, void *to, size_t len, size_t *got)
{
	size_t n = fread(to, 1, len, r->f);

	if (got)
		*got = n;
	if (n == len)
		return 0;
	if (ferror(r->f))
		return fail(r, -EIO, "the file cannot be read");
	r->offset += n;
	return fail(r, -ENODATA, "the file ends here, before its end: it was cut");
}

int archive_open(struct archive_reader *r, FILE *f)
{
	uint8_t head[ARCHIVE_HEAD_LEN];
	struct rd x;
	int rc;

	r->f = f;
	r->offset = r->letters = r->bytes = r->body_left = 0;
	r->ended = r->inside = false;
	r->why[0] = 0;
	rc = get(r, head, sizeof(head), NULL);
	if (rc)
		return rc;
	x = rd_init(head, sizeof(head));
	if (memcmp(rd_take(&x, sizeof(magic)), magic, sizeof(magic)))
		return fail(r, -EBADMSG, "this is no export of a queue");
	if (rd_be32(&x) != ARCHIVE_VERSION)
		return fail(r, -EBADMSG, "a newer version of postern wrote it");
	r->offset = sizeof(head);
	r->crc = crc32c(0, head, sizeof(head));
	return 0;
}

static int on_letter(struct archive_reader *r)
{
	if (r->inside)
		return fail(r, -EBADMSG, "the body of the letter before is not complete");
	if (archive_letter_get(&r->letter, r->data, r->len))
		return fail(r, -EBADMSG, "a letter that cannot be read");
	r->letters++;
	r->body_left = r->letter.body_len;
	r->inside = r->body_left > 0;
	return 0;
}

static int on_body(struct archive_reader *r)
{
	if (!r->inside || !r->len || r->len > r->body_left)
		return fail(r, -EBADMSG, "a body where none belongs");
	r->bytes += r->len;
	r->body_left -= r->len;
	r->inside = r->body_left > 0;
	return 0;
}

static int on_end(struct archive_reader *r)
{
	struct rd x = rd_init(r->data, r->len);
	bool same = rd_be64(&x) == r->letters;

	same &= rd_be64(&x) == r->bytes;
	if (!same || x.bad || rd_left(&x) || r->inside)
		return fail(r, -EBADMSG, "the end counts other letters than there are");
	r->ended = true;
	return 0;
}

static int on_void(struct archive_reader *r)
{
	if (r->len != ARCHIVE_ID_LEN || !r->letters)
		return fail(r, -EBADMSG, "letters are left out that cannot be read");
	if (r->inside && !memcmp(r->data, r->letter.id, ARCHIVE_ID_LEN))
		r->inside = false;
	return 0;
}

int archive_next(struct archive_reader *r)
{
	uint8_t head[5], tail[4];
	size_t got;
	struct rd x;
	uint32_t crc;
	int rc = get(r, head, sizeof(head), &got);

	if (r->ended)
		return !got && rc == -ENODATA ? 1 : fail(r, -EBADMSG, "something behind the end");
	if (rc)
		return rc;
	x = rd_init(head, sizeof(head));
	r->type = rd_u8(&x);
	r->len = rd_be32(&x);
	if (r->len > ARCHIVE_PAYLOAD_MAX || r->type < ARCHIVE_LETTER || r->type > ARCHIVE_END)
		return fail(r, -EBADMSG, "no frame begins here: the file is damaged");
	r->offset += sizeof(head);
	rc = get(r, r->data, r->len, NULL);
	if (!rc) {
		r->offset += r->len;
		rc = get(r, tail, sizeof(tail), NULL);
	}
	if (rc)
		return rc;
	r->offset -= r->len + sizeof(head); /* of the frame, for what may be wrong with it */
	crc = frame_crc(r->crc, head, r->data, r->len);
	x = rd_init(tail, sizeof(tail));
	if (rd_be32(&x) != crc)
		return fail(r, -EBADMSG, "a checksum is wrong: the file is damaged");
	r->crc = crc;
	rc = r->type == ARCHIVE_LETTER ? on_letter(r)
	     : r->type == ARCHIVE_BODY ? on_body(r)
	     : r->type == ARCHIVE_VOID ? on_void(r)
				       : on_end(r);
	if (!rc)
		r->offset += sizeof(head) + r->len + sizeof(tail);
	return rc;
}
