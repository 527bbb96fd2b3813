/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "simvfs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR 512
#define FDS    32

struct write {
	struct write *next;
	uint64_t off;
	size_t len;
	uint8_t data[];
};

struct bytes {
	uint8_t *p;
	size_t len, cap;
};

struct simfile {
	struct simfile *next;
	char now[96];	  /* name in the cache; "": none */
	char durable[96]; /* name on the disk; "": none */
	struct bytes cache, disk;
	struct write *first, **last;
	int fds[FDS];
	bool lost; /* a sync failed: the cache has what the disk has not */
};

struct simop {
	struct simop *next;
	struct simfile *f;
	char from[96], to[96];
};

static struct simvfs *self(struct vfs *v)
{
	return (struct simvfs *)(void *)v;
}

static uint32_t rnd(struct simvfs *s)
{
	s->seed ^= s->seed << 13;
	s->seed ^= s->seed >> 17;
	s->seed ^= s->seed << 5;
	return s->seed;
}

static bool dies(struct simvfs *s)
{
	if (!s->dead && ++s->ops == s->die_at)
		s->dead = true;
	return s->dead || s->ops == s->fail_at;
}

static bool no_room(struct simvfs *s)
{
	return s->full && rnd(s) & 1;
}

static void put(struct bytes *b, uint64_t off, const uint8_t *p, size_t n)
{
	if (off + n > b->len) {
		if (off + n > b->cap) {
			b->cap = off + n > 2 * b->cap ? off + n : 2 * b->cap;
			b->p = realloc(b->p, b->cap);
		}
		memset(b->p + b->len, 0, off + n - b->len);
		b->len = off + n;
	}
	memcpy(b->p + off, p, n);
}

static struct simfile *by_name(struct simvfs *s, const char *name)
{
	for (struct simfile *f = s->files; f; f = f->next)
		if (!strcmp(f->now, name))
			return f;
	return NULL;
}

static struct simfile *by_fd(struct simvfs *s, int fd)
{
	for (struct simfile *f = s->files; f; f = f->next)
		for (int i = 0; i < FDS; i++)
			if (f->fds[i] == fd)
				return f;
	abort();
}

static void note(struct simvfs *s, struct simfile *f, const char *from, const char *to)
{
	struct simop *op = calloc(1, sizeof(*op)), **at = &s->pending;

	op->f = f;
	snprintf(op->from, sizeof(op->from), "%s", from);
	snprintf(op->to, sizeof(op->to), "%s", to);
	while (*at)
		at = &(*at)->next;
	*at = op;
}

static int sim_open(struct vfs *v, const char *name, bool create)
{
	struct simvfs *s = self(v);
	struct simfile *f;

	if (dies(s))
		return -EIO;
	f = by_name(s, name);
	if (create && f)
		return -EEXIST;
	if (create && no_room(s))
		return -ENOSPC;
	if (!create && !f)
		return -ENOENT;
	if (create) {
		f = calloc(1, sizeof(*f));
		snprintf(f->now, sizeof(f->now), "%s", name);
		f->last = &f->first;
		memset(f->fds, -1, sizeof(f->fds));
		f->next = s->files;
		s->files = f;
		note(s, f, "", name);
	}
	for (int i = 0; i < FDS; i++)
		if (f->fds[i] < 0)
			return f->fds[i] = s->next_fd++;
	return -EMFILE;
}

static int sim_open_read(struct vfs *v, const char *name)
{
	return sim_open(v, name, false);
}

static void sim_close(struct vfs *v, int fd)
{
	struct simfile *f = by_fd(self(v), fd);

	for (int i = 0; i < FDS; i++)
		if (f->fds[i] == fd)
			f->fds[i] = -1;
}

static ssize_t sim_pread(struct vfs *v, int fd, void *buf, size_t len, uint64_t off)
{
	struct simvfs *s = self(v);
	struct simfile *f = by_fd(s, fd);

	if (s->dead)
		return -EIO;
	if (off >= f->cache.len)
		return 0;
	if (len > f->cache.len - off)
		len = f->cache.len - off;
	memcpy(buf, f->cache.p + off, len);
	return (ssize_t)len;
}

static uint64_t used(struct simvfs *s)
{
	uint64_t n = 0;

	for (struct simfile *f = s->files; f; f = f->next)
		n += f->now[0] ? f->cache.len : 0;
	return n;
}

static ssize_t sim_pwrite(struct vfs *v, int fd, const void *buf, size_t len, uint64_t off)
{
	struct simvfs *s = self(v);
	struct simfile *f = by_fd(s, fd);
	struct write *w;
	bool dead = s->dead;

	if (dies(s)) {
		if (dead || !len)
			return -EIO;
		len = rnd(s) % len; /* half done */
	}
	if (no_room(s) && !(len > 1 && (len = rnd(s) % len)))
		return -ENOSPC;
	if (s->space && off + len > f->cache.len && used(s) + off + len - f->cache.len > s->space)
		return -ENOSPC;
	w = malloc(sizeof(*w) + len);
	w->next = NULL;
	w->off = off;
	w->len = len;
	memcpy(w->data, buf, len);
	*f->last = w;
	f->last = &w->next;
	put(&f->cache, off, buf, len);
	return s->dead ? -EIO : (ssize_t)len;
}

/* The writes that wait reach the disk: all, or such sectors as chance has it. */
static void flush(struct simvfs *s, struct simfile *f, bool all)
{
	struct write *w;

	while ((w = f->first)) {
		for (size_t at = 0; at < w->len;) {
			size_t n = SECTOR - (w->off + at) % SECTOR;

			if (n > w->len - at || all)
				n = w->len - at;
			if (all || rnd(s) & 4)
				put(&f->disk, w->off + at, w->data + at, n);
			at += n;
		}
		f->first = w->next;
		free(w);
	}
	f->last = &f->first;
}

static int sim_sync(struct vfs *v, int fd)
{
	struct simvfs *s = self(v);
	struct simfile *f = by_fd(s, fd);

	if (dies(s))
		return -EIO;
	s->syncs++;
	if (s->fail_sync_at && s->syncs >= s->fail_sync_at &&
	    s->syncs <= s->fail_sync_at + s->fail_syncs) {
		flush(s, f, false); /* the kernel calls these pages clean now */
		f->lost = true;
		return -EIO;
	}
	flush(s, f, true);
	return 0;
}

static int sim_refresh(struct vfs *v, int fd)
{
	struct simfile *f = by_fd(self(v), fd);
	int rc = sim_sync(v, fd);

	if (rc || !f->lost)
		return rc;
	f->lost = false;
	f->cache.len = 0;
	put(&f->cache, 0, f->disk.p ? f->disk.p : (uint8_t *)"", f->disk.len);
	return 0;
}

static int sim_rename(struct vfs *v, const char *from, const char *to)
{
	struct simvfs *s = self(v);
	struct simfile *f, *old;

	if (dies(s))
		return -EIO;
	f = by_name(s, from);
	old = by_name(s, to);
	if (!f)
		return -ENOENT;
	if (no_room(s))
		return -ENOSPC;
	if (old)
		old->now[0] = 0;
	snprintf(f->now, sizeof(f->now), "%s", to);
	note(s, f, from, to);
	return 0;
}

static int sim_unlink(struct vfs *v, const char *name)
{
	struct simvfs *s = self(v);
	struct simfile *f;

	if (dies(s))
		return -EIO;
	f = by_name(s, name);
	if (!f)
		return -ENOENT;
	note(s, f, name, "");
	f->now[0] = 0;
	return 0;
}

static int sim_mkdir(struct vfs *v, const char *name)
{
	(void)name;
	return dies(self(v)) ? -EIO : 0;
}

static void apply(struct simvfs *s, const struct simop *op)
{
	if (op->to[0])
		for (struct simfile *f = s->files; f; f = f->next)
			if (!strcmp(f->durable, op->to))
				f->durable[0] = 0;
	snprintf(op->f->durable, sizeof(op->f->durable), "%s", op->to);
}

static bool in_dir(const char *name, const char *dir)
{
	size_t n = strlen(dir);

	if (!strcmp(dir, "."))
		return !strchr(name, '/');
	return !strncmp(name, dir, n) && name[n] == '/';
}

static int sim_sync_dir(struct vfs *v, const char *dir)
{
	struct simvfs *s = self(v);
	struct simop **at = &s->pending, *op;

	if (dies(s))
		return -EIO;
	if (no_room(s))
		return -ENOSPC;
	while ((op = *at)) {
		if (!in_dir(op->to[0] ? op->to : op->from, dir)) {
			at = &op->next;
			continue;
		}
		apply(s, op);
		*at = op->next;
		free(op);
	}
	return 0;
}

static int sim_list(struct vfs *v, const char *dir,
		    void (*fn)(const char *name, uint64_t size, void *arg), void *arg)
{
	struct simvfs *s = self(v);

	if (s->dead)
		return -EIO;
	for (struct simfile *f = s->files; f; f = f->next)
		if (f->now[0] && in_dir(f->now, dir))
			fn(strcmp(dir, ".") ? f->now + strlen(dir) + 1 : f->now, f->cache.len, arg);
	return 0;
}

static int sim_space(struct vfs *v, struct vfs_space *out)
{
	struct simvfs *s = self(v);
	uint64_t n = used(s);

	out->bytes = s->full ? 0 : !s->space ? UINT64_MAX / 2 : n < s->space ? s->space - n : 0;
	out->inodes = s->inodes ? s->inodes : UINT64_MAX;
	return 0;
}

struct simvfs *simvfs_new(uint32_t seed)
{
	struct simvfs *s = calloc(1, sizeof(*s));

	s->vfs = (struct vfs){ sim_open,     sim_open_read, sim_close,	sim_pread,  sim_pwrite,
			       sim_sync,     sim_refresh,   sim_rename, sim_unlink, sim_mkdir,
			       sim_sync_dir, sim_list,	    sim_space };
	s->seed = seed * 2654435761u | 1;
	return s;
}

static void file_free(struct simfile *f)
{
	struct write *w;

	while ((w = f->first)) {
		f->first = w->next;
		free(w);
	}
	free(f->cache.p);
	free(f->disk.p);
	free(f);
}

void simvfs_free(struct simvfs *s)
{
	struct simfile *f;
	struct simop *op;

	while ((f = s->files)) {
		s->files = f->next;
		file_free(f);
	}
	while ((op = s->pending)) {
		s->pending = op->next;
		free(op);
	}
	free(s);
}

/* What was not synced is lost, or not, piece by piece. */
static void power_cut(struct simvfs *s)
{
	struct simfile **at = &s->files, *f;
	struct simop *op;

	while ((op = s->pending)) {
		if (rnd(s) & 4)
			apply(s, op);
		s->pending = op->next;
		free(op);
	}
	while ((f = *at)) {
		flush(s, f, false);
		if (!f->durable[0]) {
			*at = f->next;
			file_free(f);
			continue;
		}
		snprintf(f->now, sizeof(f->now), "%s", f->durable);
		free(f->cache.p);
		f->cache.p = malloc(f->disk.len + 1);
		memcpy(f->cache.p, f->disk.p ? f->disk.p : (uint8_t *)"", f->disk.len);
		f->cache.len = f->disk.len;
		f->cache.cap = f->disk.len + 1;
		at = &f->next;
	}
}

void simvfs_restart(struct simvfs *s, bool power)
{
	if (power)
		power_cut(s);
	for (struct simfile *f = s->files; f; f = f->next)
		memset(f->fds, -1, sizeof(f->fds));
	s->dead = false;
	s->ops = s->die_at = s->fail_at = 0;
	s->syncs = s->fail_sync_at = s->fail_syncs = 0;
}

uint8_t *simvfs_data(struct simvfs *s, const char *name, size_t *len)
{
	struct simfile *f = by_name(s, name);

	if (!f)
		return NULL;
	*len = f->cache.len;
	return f->cache.p;
}

size_t simvfs_count(struct simvfs *s, const char *prefix)
{
	size_t n = 0;

	for (struct simfile *f = s->files; f; f = f->next)
		n += f->now[0] && !strncmp(f->now, prefix, strlen(prefix));
	return n;
}
