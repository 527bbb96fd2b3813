/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BASE_WIRE_H
#define BASE_WIRE_H

/*
 * Theory: cursors over bytes from and to the wire. Both are sticky: after the first fault every
 * read gives 0 (or NULL) and every write does nothing, so code reads straight through and checks
 * once at the end. All integers on the wire are in network byte order; in memory, host order.
 * A reader never copies: rd_take() returns a view that lives as long as the underlying bytes.
 */

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct rd {
	const uint8_t *p;
	const uint8_t *end;
	bool bad;
};

static inline struct rd rd_init(const void *buf, size_t len)
{
	const uint8_t *p = buf;

	return (struct rd){ .p = p, .end = p ? p + len : p, .bad = !p && len };
}

static inline size_t rd_left(const struct rd *r)
{
	return r->bad ? 0 : (size_t)(r->end - r->p);
}

/** rd_take() - View of the next @n bytes; NULL (and bad) when fewer are left. */
static inline const uint8_t *rd_take(struct rd *r, size_t n)
{
	const uint8_t *p = r->p;

	if (r->bad || (size_t)(r->end - r->p) < n) {
		r->bad = true;
		return NULL;
	}
	r->p += n;
	return p;
}

static inline void rd_skip(struct rd *r, size_t n)
{
	(void)rd_take(r, n);
}

/** rd_sub() - Nested cursor over the next @n bytes; bad itself when they are not there. */
static inline struct rd rd_sub(struct rd *r, size_t n)
{
	const uint8_t *p = rd_take(r, n);

	return (struct rd){ .p = p, .end = p ? p + n : p, .bad = !p };
}

static inline uint8_t rd_u8(struct rd *r)
{
	const uint8_t *p = rd_take(r, 1);

	return p ? p[0] : 0;
}

static inline uint16_t rd_be16(struct rd *r)
{
	const uint8_t *p = rd_take(r, 2);

	return p ? (uint16_t)(p[0] << 8 | p[1]) : 0;
}

static inline uint32_t rd_be32(struct rd *r)
{
	const uint8_t *p = rd_take(r, 4);

	return p ? (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3] : 0;
}

static inline uint64_t rd_be64(struct rd *r)
{
	uint64_t hi = rd_be32(r);

	return hi << 32 | rd_be32(r);
}

/** rd_copy() - Copy the next @n bytes into @to; @to is zeroed when they are not there. */
static inline void rd_copy(struct rd *r, void *to, size_t n)
{
	const uint8_t *p = rd_take(r, n);

	if (p)
		memcpy(to, p, n);
	else
		memset(to, 0, n);
}

struct wr {
	uint8_t *base;
	size_t len;
	size_t cap;
	bool bad;
};

static inline struct wr wr_init(void *buf, size_t cap)
{
	return (struct wr){ .base = buf, .cap = cap };
}

/** wr_reserve() - Room for @n bytes that the caller fills; NULL (and bad) when full. */
static inline uint8_t *wr_reserve(struct wr *w, size_t n)
{
	uint8_t *p;

	if (w->bad || w->cap - w->len < n) {
		w->bad = true;
		return NULL;
	}
	p = w->base + w->len;
	w->len += n;
	return p;
}

static inline void wr_bytes(struct wr *w, const void *from, size_t n)
{
	uint8_t *p = wr_reserve(w, n);

	if (p && n)
		memcpy(p, from, n);
}

static inline void wr_zero(struct wr *w, size_t n)
{
	uint8_t *p = wr_reserve(w, n);

	if (p && n)
		memset(p, 0, n);
}

static inline void wr_u8(struct wr *w, uint8_t v)
{
	wr_bytes(w, &v, 1);
}

static inline void wr_be16(struct wr *w, uint16_t v)
{
	uint8_t b[2] = { (uint8_t)(v >> 8), (uint8_t)v };

	wr_bytes(w, b, 2);
}

static inline void wr_be32(struct wr *w, uint32_t v)
{
	uint8_t b[4] = { (uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v };

	wr_bytes(w, b, 4);
}

static inline void wr_be64(struct wr *w, uint64_t v)
{
	wr_be32(w, (uint32_t)(v >> 32));
	wr_be32(w, (uint32_t)v);
}

/** wr_patch16() - Overwrite the two bytes at offset @at, written before. */
static inline void wr_patch16(struct wr *w, size_t at, uint16_t v)
{
	if (w->bad || at + 2 > w->len) {
		w->bad = true;
		return;
	}
	w->base[at] = (uint8_t)(v >> 8);
	w->base[at + 1] = (uint8_t)v;
}

/**
 * wr_len16_begin() - Leave two bytes for a length that is known later; returns their offset.
 *
 * wr_len16_end() stores the count of bytes from two *before* the field up to the cursor: the
 * shape of every IKE generic header, proposal, transform and selector (RFC 7296 s3.2, s3.3, s3.13).
 */
static inline size_t wr_len16_begin(struct wr *w)
{
	size_t at = w->len;

	wr_be16(w, 0);
	return at;
}

static inline void wr_len16_end(struct wr *w, size_t at)
{
	size_t n = w->len - (at - 2);

	if (at < 2 || n > UINT16_MAX) {
		w->bad = true;
		return;
	}
	wr_patch16(w, at, (uint16_t)n);
}

/** wr_finish() - 0 and the length written, or -EMSGSIZE when something did not fit. */
static inline int wr_finish(const struct wr *w, size_t *len)
{
	*len = w->bad ? 0 : w->len;
	return w->bad ? -EMSGSIZE : 0;
}

#endif
