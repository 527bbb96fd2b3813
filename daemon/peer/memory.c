/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "digest.h"
#include "wire.h"

#define MAGIC	  0x5053544du
#define VERSION	  2
#define HEAD_LEN  24
#define COUNT_MAX 100000

static void put_addr(struct wr *w, const struct addr *a)
{
	wr_u8(w, (uint8_t)addr_len(a));
	wr_bytes(w, a->b, addr_len(a));
}

static void get_addr(struct rd *r, struct addr *a)
{
	size_t len = rd_u8(r);
	const uint8_t *p = rd_take(r, len);

	memset(a, 0, sizeof(*a));
	if (len && (!p || addr_from_bytes(a, p, len)))
		r->bad = true;
}

static void put_text(struct wr *w, const char *s)
{
	size_t n = s ? strlen(s) : 0;

	if (n > MEMORY_NAME_MAX)
		n = 0;
	wr_u8(w, (uint8_t)n);
	wr_bytes(w, s, n);
}

/* A text with a byte of length before it fits with a zero behind it into as much room, at *@text. */
static const char *get_text(struct rd *r, char **text)
{
	size_t n = rd_u8(r);
	char *s = *text;

	if (n > rd_left(r))
		r->bad = true;
	if (r->bad)
		return "";
	rd_copy(r, s, n);
	s[n] = '\0';
	if (strlen(s) != n)
		r->bad = true;
	*text += n + 1;
	return s;
}

static void put_entry(struct wr *w, const struct memory_entry *e)
{
	const struct sup_names *known = e->m.names;

	put_text(w, e->name);
	put_addr(w, &e->m.endpoint.addr);
	wr_be16(w, e->m.endpoint.port);
	wr_u8(w, known ? SUP_HOSTS_MAX : 0);
	for (int h = 0; known && h < SUP_HOSTS_MAX; h++) {
		wr_u8(w, known->count[h]);
		for (int i = 0; i < known->count[h]; i++)
			put_addr(w, &known->addr[h][i]);
	}
	put_text(w, e->identity);
	for (int s = 0; s < 2; s++)
		put_addr(w, &e->lease[s]);
}

static void get_lease(struct rd *r, struct memory_entry *e, char **text)
{
	e->identity = get_text(r, text);
	for (int s = 0; s < 2; s++) {
		get_addr(r, &e->lease[s]);
		if (e->lease[s].family && e->lease[s].family != (s ? AF_INET6 : AF_INET))
			r->bad = true;
	}
}

static void get_names(struct rd *r, struct memory_entry *e, unsigned hosts)
{
	struct sup_names n = { .count = { 0 } };
	bool any = false;

	for (unsigned h = 0; h < hosts && !r->bad; h++) {
		n.count[h] = rd_u8(r);
		if (n.count[h] > SUP_NAME_ADDRS)
			r->bad = true;
		for (int i = 0; i < n.count[h] && !r->bad; i++)
			get_addr(r, &n.addr[h][i]);
		any |= n.count[h] != 0;
	}
	if (r->bad || !any)
		return;
	e->m.names = malloc(sizeof(n));
	if (e->m.names)
		*e->m.names = n;
}

static void get_entry(struct rd *r, struct memory_entry *e, uint32_t version, char **text)
{
	unsigned hosts;

	memset(e, 0, sizeof(*e));
	e->name = get_text(r, text);
	get_addr(r, &e->m.endpoint.addr);
	e->m.endpoint.port = rd_be16(r);
	hosts = rd_u8(r);
	if (hosts > SUP_HOSTS_MAX || !*e->name)
		r->bad = true;
	if (!r->bad)
		get_names(r, e, hosts);
	if (version > 1 && !r->bad)
		get_lease(r, e, text);
}

static int sum_of(const void *p, size_t len, uint8_t out[static SHA256_LEN])
{
	struct span part = { p, len };

	return digest_sha256(&part, 1, out);
}

int memory_parse(const void *image, size_t len, struct memory *out)
{
	struct rd r = rd_init(image, len);
	uint8_t sum[SHA256_LEN];
	uint32_t magic = rd_be32(&r), version = rd_be32(&r), count, body;
	char *text;

	memset(out, 0, sizeof(*out));
	out->serial = rd_be64(&r);
	count = rd_be32(&r);
	body = rd_be32(&r);
	if (r.bad || magic != MAGIC || !version || version > VERSION || count > COUNT_MAX ||
	    body > MEMORY_IMAGE_MAX || rd_left(&r) < (size_t)body + sizeof(sum))
		return -EBADMSG;
	if (sum_of(image, HEAD_LEN + (size_t)body, sum))
		return -EIO;
	if (memcmp(sum, (const uint8_t *)image + HEAD_LEN + body, sizeof(sum)) != 0)
		return -EBADMSG;
	r = rd_sub(&r, body);
	/* An entry is never shorter than this: a count that lies allocates nothing. */
	if (count > body / 5)
		return -EBADMSG;
	out->entries = calloc(count ? count : 1, sizeof(*out->entries));
	out->text = text = malloc((size_t)body + 1);
	if (!out->entries || !text) {
		memory_free(out);
		return -ENOMEM;
	}
	for (; out->count < count && !r.bad; out->count++)
		get_entry(&r, &out->entries[out->count], version, &text);
	if (!r.bad && !rd_left(&r))
		return 0;
	memory_free(out);
	return -EBADMSG;
}

/* Name, endpoint, all addresses of all names, lease. */
static size_t entry_max(const struct memory_entry *e)
{
	return 1 + strlen(e->name) + 19 + 1 +
	       (e->m.names ? SUP_HOSTS_MAX * (1 + SUP_NAME_ADDRS * 17) : 0) + 1 +
	       (e->identity ? strlen(e->identity) : 0) + 34;
}

int memory_build(const struct memory *m, uint8_t **image, size_t *len)
{
	size_t cap = HEAD_LEN + SHA256_LEN;
	uint32_t body;
	struct wr w;
	uint8_t *p;

	for (size_t i = 0; i < m->count; i++)
		cap += entry_max(&m->entries[i]);
	p = malloc(cap);
	if (!p)
		return -ENOMEM;
	w = wr_init(p, cap);
	wr_be32(&w, MAGIC);
	wr_be32(&w, VERSION);
	wr_be64(&w, m->serial);
	wr_be32(&w, (uint32_t)m->count);
	wr_be32(&w, 0);
	for (size_t i = 0; i < m->count; i++)
		put_entry(&w, &m->entries[i]);
	body = (uint32_t)(w.len - HEAD_LEN);
	p[20] = (uint8_t)(body >> 24);
	p[21] = (uint8_t)(body >> 16);
	p[22] = (uint8_t)(body >> 8);
	p[23] = (uint8_t)body;
	if (w.bad || body > MEMORY_IMAGE_MAX) {
		free(p);
		return -EMSGSIZE;
	}
	if (sum_of(p, w.len, p + w.len)) {
		free(p);
		return -EIO;
	}
	(void)wr_reserve(&w, SHA256_LEN);
	*image = p;
	return wr_finish(&w, len);
}

static int load_one(int fd, struct memory *out)
{
	off_t size = lseek(fd, 0, SEEK_END);
	uint8_t *p;
	ssize_t n;
	int rc;

	if (size <= 0 || size > (off_t)MEMORY_IMAGE_MAX)
		return -EBADMSG;
	p = malloc((size_t)size);
	if (!p)
		return -ENOMEM;
	n = pread(fd, p, (size_t)size, 0);
	rc = n > 0 ? memory_parse(p, (size_t)n, out) : -EBADMSG;
	free(p);
	return rc;
}

int memory_load(const int fds[2], struct memory *out)
{
	struct memory a, b;
	int ra = load_one(fds[0], &a), rb = load_one(fds[1], &b);

	memset(out, 0, sizeof(*out));
	if (!ra && !rb) {
		bool first = a.serial > b.serial;

		*out = first ? a : b;
		memory_free(first ? &b : &a);
	} else if (!ra) {
		*out = a;
	} else if (!rb) {
		*out = b;
	}
	return 0;
}

int memory_save(const int fds[2], struct memory *m)
{
	uint8_t *image;
	size_t len, at = 0;
	int fd, rc;

	m->serial++;
	fd = fds[m->serial & 1];
	rc = memory_build(m, &image, &len);
	if (rc)
		return rc;
	while (at < len) {
		ssize_t n = pwrite(fd, image + at, len - at, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			rc = n ? -errno : -EIO;
			break;
		}
		at += (size_t)n;
	}
	if (!rc && ftruncate(fd, (off_t)len))
		rc = -errno;
	if (!rc && fdatasync(fd))
		rc = -errno;
	free(image);
	return rc;
}

const struct sup_memory *memory_find(struct memory *m, const char *name)
{
	/* Peers ask one after the other, in the order in which they were written. */
	for (size_t i = 0; i < m->count; i++) {
		size_t at = (m->next + i) % m->count;

		if (strcmp(m->entries[at].name, name))
			continue;
		m->next = at + 1;
		return &m->entries[at].m;
	}
	return NULL;
}

void memory_free(struct memory *m)
{
	for (size_t i = 0; i < m->count; i++)
		free(m->entries[i].m.names);
	free(m->entries);
	free(m->text);
	memset(m, 0, sizeof(*m));
}
