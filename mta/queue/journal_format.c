/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Fragments, first pages and holes as they stand on the disk: see journal.h. */
#include "journal_format.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "crc32c.h"
#include "log.h"
#include "wire.h"

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

const char *journal_file(uint32_t number, char out[static 16])
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

static bool to_the_end(const struct journal *j, const struct hole *h)
{
	for (size_t i = 0; i < j->seg_count; i++)
		if (j->seg[i].number == h->segment)
			return h->to >= j->seg[i].size;
	return false;
}

static bool displace(struct journal *j)
{
	for (size_t i = 0; i < j->hole_count; i++)
		if (!to_the_end(j, &j->hole[i])) {
			j->hole[i] = j->hole[--j->hole_count];
			return true;
		}
	return false;
}

void journal_add_hole(struct journal *j, uint32_t segment, uint32_t from, uint32_t to)
{
	struct hole hole = { segment, from, to };
	bool exists = false;

	for (size_t i = 0; i < j->seg_count; i++)
		exists |= j->seg[i].number == segment;
	for (size_t i = 0; i < j->hole_count; i++)
		if (j->hole[i].segment == segment && j->hole[i].from <= from && j->hole[i].to >= to)
			return;
	if (!exists || from >= to)
		return;
	if (j->hole_count < HOLES_MAX || (to_the_end(j, &hole) && displace(j)))
		j->hole[j->hole_count++] = hole;
	else
		log_err(NULL,
			"segment=%08x offset=%u bytes=%u msg=\"too many bad places in the journal: "
			"this one will be told of again\"",
			segment, from, to - from);
}
