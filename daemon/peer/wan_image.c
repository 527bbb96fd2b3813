/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is known of WANs, on disk: see wan.h. */
#include "wan.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "digest.h"
#include "wire.h"

#define MAGIC	  0x5053574eu
#define VERSION	  1
#define HEAD_LEN  24
#define REBINDING 1
#define RUNGS	  4
#define LONGEST_MS (400 * 1000)

static void put_addr(struct wr *w, const struct addr *a)
{
	wr_u8(w, (uint8_t)addr_len(a));
	wr_bytes(w, a->b, addr_len(a));
}

static void get_addr(struct rd *r, struct addr *a)
{
	size_t len = rd_u8(r);
	const uint8_t *p = rd_take(r, len);

	if (len && (!p || addr_from_bytes(a, p, len)))
		r->bad = true;
}

static void put_wan(struct wr *w, const struct wan *v)
{
	size_t n = strnlen(v->id.ifname, sizeof(v->id.ifname));

	wr_u8(w, (uint8_t)n);
	wr_bytes(w, v->id.ifname, n);
	put_addr(w, &v->id.gateway);
	put_addr(w, &v->id.prefix.addr);
	wr_u8(w, v->id.prefix.len);
	wr_bytes(w, v->id.mac, sizeof(v->id.mac));
	wr_be64(w, v->interval_ms);
	wr_be64(w, v->ok_ms);
	wr_be64(w, v->bad_ms);
	wr_u8(w, v->rebinding ? REBINDING : 0);
	wr_u8(w, v->rung_ok);
	wr_u8(w, v->rung_bad);
	wr_be64(w, v->month_ms);
	for (int i = 0; i < WAN_USES; i++)
		wr_be64(w, v->used_bytes[i]);
	wr_be64(w, v->order);
}

/* A number that no rule gives would be with us for ever: such an image is no image. */
static bool sane(const struct wan *v)
{
	return v->id.ifname[0] && v->interval_ms >= WAN_FLOOR_MS &&
	       v->interval_ms <= WAN_CEILING_MS && v->ok_ms <= LONGEST_MS &&
	       v->rung_ok <= RUNGS && v->rung_bad <= RUNGS && v->month_ms < WAN_MONTH_MS &&
	       v->id.prefix.len <= addr_bits(&v->id.prefix.addr);
}

static void get_wan(struct rd *r, struct wan *v)
{
	size_t n = rd_u8(r);
	uint8_t flags;

	memset(v, 0, sizeof(*v));
	if (n >= sizeof(v->id.ifname)) {
		r->bad = true;
		return;
	}
	rd_copy(r, v->id.ifname, n);
	get_addr(r, &v->id.gateway);
	get_addr(r, &v->id.prefix.addr);
	v->id.prefix.len = rd_u8(r);
	rd_copy(r, v->id.mac, sizeof(v->id.mac));
	v->interval_ms = rd_be64(r);
	v->ok_ms = rd_be64(r);
	v->bad_ms = rd_be64(r);
	flags = rd_u8(r);
	v->rebinding = flags & REBINDING;
	v->rung_ok = rd_u8(r);
	v->rung_bad = rd_u8(r);
	v->month_ms = rd_be64(r);
	for (int i = 0; i < WAN_USES; i++)
		v->used_bytes[i] = rd_be64(r);
	v->order = rd_be64(r);
	if (strlen(v->id.ifname) != n || !sane(v))
		r->bad = true;
}

static int sum_of(const void *p, size_t len, uint8_t out[static SHA256_LEN])
{
	struct span part = { p, len };

	return digest_sha256(&part, 1, out);
}

int wan_parse(const void *image, size_t len, struct wan_table *out)
{
	struct rd r = rd_init(image, len);
	uint32_t magic = rd_be32(&r), version = rd_be32(&r), count, body;
	uint8_t sum[SHA256_LEN];

	memset(out, 0, sizeof(*out));
	out->serial = rd_be64(&r);
	count = rd_be32(&r);
	body = rd_be32(&r);
	if (r.bad || magic != MAGIC || version != VERSION || count > WAN_COUNT_MAX ||
	    body > WAN_IMAGE_MAX || rd_left(&r) < (size_t)body + sizeof(sum))
		return -EBADMSG;
	if (sum_of(image, HEAD_LEN + (size_t)body, sum))
		return -EIO;
	if (memcmp(sum, (const uint8_t *)image + HEAD_LEN + body, sizeof(sum)) != 0)
		return -EBADMSG;
	r = rd_sub(&r, body);
	for (; out->count < count && !r.bad; out->count++) {
		struct wan *v = &out->wan[out->count];

		get_wan(&r, v);
		wan_revive(v);
		if (v->order > out->order)
			out->order = v->order;
	}
	if (!r.bad && !rd_left(&r))
		return 0;
	memset(out, 0, sizeof(*out));
	return -EBADMSG;
}

int wan_build(const struct wan_table *t, uint8_t image[static WAN_IMAGE_MAX], size_t *len)
{
	struct wr w = wr_init(image, WAN_IMAGE_MAX - SHA256_LEN);
	uint32_t body;

	wr_be32(&w, MAGIC);
	wr_be32(&w, VERSION);
	wr_be64(&w, t->serial);
	wr_be32(&w, (uint32_t)t->count);
	wr_be32(&w, 0);
	for (size_t i = 0; i < t->count; i++)
		put_wan(&w, &t->wan[i]);
	if (w.bad)
		return -EMSGSIZE;
	body = (uint32_t)(w.len - HEAD_LEN);
	wr_patch16(&w, 20, (uint16_t)(body >> 16));
	wr_patch16(&w, 22, (uint16_t)body);
	if (sum_of(image, w.len, image + w.len))
		return -EIO;
	*len = w.len + SHA256_LEN;
	return 0;
}

static int load_one(int fd, struct wan_table *out)
{
	uint8_t image[WAN_IMAGE_MAX];
	ssize_t n = fd < 0 ? -1 : pread(fd, image, sizeof(image), 0);

	return n > 0 ? wan_parse(image, (size_t)n, out) : -EBADMSG;
}

void wan_load(const int fds[static 2], struct wan_table *out)
{
	struct wan_table other;
	int ra = load_one(fds[0], out), rb = load_one(fds[1], &other);

	if (!rb && (ra || other.serial > out->serial))
		*out = other;
	else if (ra)
		memset(out, 0, sizeof(*out));
}

int wan_save(const int fds[static 2], struct wan_table *t)
{
	uint8_t image[WAN_IMAGE_MAX];
	size_t len, at = 0;
	int fd, rc;

	t->serial++;
	fd = fds[t->serial & 1];
	rc = fd < 0 ? -EBADF : wan_build(t, image, &len);
	while (!rc && at < len) {
		ssize_t n = pwrite(fd, image + at, len - at, (off_t)at);

		if (n > 0)
			at += (size_t)n;
		else if (!n || errno != EINTR)
			rc = n ? -errno : -EIO;
	}
	if (!rc && ftruncate(fd, (off_t)len))
		rc = -errno;
	if (!rc && fdatasync(fd))
		rc = -errno;
	if (!rc)
		t->changed = false;
	return rc;
}
