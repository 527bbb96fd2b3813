/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "quota.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "maildir.h"
#include "note.h"

#define FILE_NAME  "maildirsize"
#define FILE_MAX   5120 /* then it is counted anew */
#define PART_NAME  "maildirsize.part"
#define PART_AGE_S (6 * 3600) /* what was counted before that is no use any more */
#define LOOK_EVERY 256	      /* letters, between two looks at the clock */

struct use {
	int64_t bytes, letters;
};

/* A count under way: what there was up to a place, as readdir(3) goes. */
struct counting {
	struct use use;
	bool past_inbox;
	long folder; /* where in the Maildir the folder in work stands */
	int part;    /* new, cur */
	long file;   /* where in that */
	int64_t began_s;
	uint64_t until_ms;
	unsigned seen;
};

static void head_of(const struct quota_limit *l, char out[static 64])
{
	int n = 0;

	out[0] = 0;
	if (l->bytes)
		n = snprintf(out, 64, "%lluS", (unsigned long long)l->bytes);
	if (l->letters)
		snprintf(out + n, (size_t)(64 - n), "%s%lluC", n ? "," : "",
			 (unsigned long long)l->letters);
}

/* 0, or -ENOENT when the file does not say what we want to know. */
static int read_file(int dir, const struct quota_limit *l, struct use *u)
{
	char text[FILE_MAX + 1], head[64], *line, *save;
	ssize_t n = note_read(dir, FILE_NAME, text, sizeof(text));

	if (n <= 0 || n == FILE_MAX)
		return -ENOENT;
	head_of(l, head);
	line = strtok_r(text, "\n", &save);
	if (!line || strcmp(line, head))
		return -ENOENT;
	memset(u, 0, sizeof(*u));
	while ((line = strtok_r(NULL, "\n", &save))) {
		long long bytes, letters;

		if (sscanf(line, "%18lld %18lld", &bytes, &letters) != 2 ||
		    __builtin_add_overflow(u->bytes, bytes, &u->bytes) ||
		    __builtin_add_overflow(u->letters, letters, &u->letters))
			return -ENOENT;
	}
	return u->bytes < 0 || u->letters < 0 ? -ENOENT : 0;
}

static DIR *open_dir(int at, const char *name)
{
	int fd = maildir_open_beneath(at, name, O_RDONLY | O_DIRECTORY);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d && fd >= 0)
		close(fd);
	return d;
}

static bool is_late(struct counting *c)
{
	return ++c->seen % LOOK_EVERY == 0 && clock_boot_ms() >= c->until_ms;
}

/* One file more. */
static void add(int dir, const struct dirent *e, struct use *u)
{
	struct stat st;

	if (e->d_name[0] == '.' || fstatat(dir, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    !S_ISREG(st.st_mode))
		return;
	u->bytes += st.st_size;
	u->letters++;
}

/* Letters of one folder: those in new and cur of @at. -EAGAIN: so far, the rest another time. */
static int count_folder(int at, struct counting *c)
{
	static const char *const parts[] = { "new", "cur" };
	struct dirent *e;

	for (; c->part < 2; c->part++, c->file = 0) {
		DIR *d = open_dir(at, parts[c->part]);
		bool late = false;

		if (d && c->file)
			seekdir(d, c->file);
		while (d && !late && (e = readdir(d))) {
			add(dirfd(d), e, &c->use);
			late = is_late(c);
		}
		if (late)
			c->file = telldir(d);
		if (d)
			closedir(d);
		if (late)
			return -EAGAIN;
	}
	c->part = 0;
	return 0;
}

static int count_on(int dir, struct counting *c)
{
	DIR *d = open_dir(dir, ".");
	struct dirent *e;
	int rc = 0;

	if (!d)
		return -errno;
	if (!c->past_inbox)
		rc = count_folder(dir, c);
	if (!rc && c->past_inbox)
		seekdir(d, c->folder);
	c->past_inbox |= !rc;
	for (; !rc; c->folder = telldir(d)) {
		int fd;

		e = readdir(d);
		if (!e)
			break;
		if (e->d_name[0] != '.' || !strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		fd = maildir_open_beneath(dir, e->d_name, O_RDONLY | O_DIRECTORY);
		if (fd < 0)
			continue;
		rc = count_folder(fd, c);
		close(fd);
		if (rc)
			break; /* from this folder on */
		if (is_late(c)) {
			c->folder = telldir(d);
			rc = -EAGAIN;
			break;
		}
	}
	closedir(d);
	return rc;
}

static void write_file(int dir, const struct quota_limit *l, const struct use *u)
{
	char head[64], text[128];

	head_of(l, head);
	snprintf(text, sizeof(text), "%s\n%lld %lld\n", head, (long long)u->bytes,
		 (long long)u->letters);
	note_write(dir, FILE_NAME, text);
}

/* Where an earlier slice has come to, if one has. */
static void resume(int dir, struct counting *c)
{
	long long bytes, letters, began;
	int past, part;
	char text[256];
	long folder, file;

	memset(c, 0, sizeof(*c));
	c->began_s = clock_wall_s();
	if (note_read(dir, PART_NAME, text, sizeof(text)) <= 0)
		return;
	if (sscanf(text, "%18lld %18lld %18lld %1d %19ld %1d %19ld", &began, &bytes, &letters, &past,
		   &folder, &part, &file) != 7 ||
	    bytes < 0 || letters < 0 || part < 0 || part > 1 || began > c->began_s ||
	    c->began_s - began > PART_AGE_S)
		return;
	*c = (struct counting){ .use = { bytes, letters },
				.past_inbox = past,
				.folder = folder,
				.part = part,
				.file = file,
				.began_s = began };
}

static int count(int dir, struct use *u, uint64_t slice_ms)
{
	struct counting c;
	char text[256];
	int rc;

	resume(dir, &c);
	c.until_ms = clock_boot_ms() + slice_ms;
	rc = count_on(dir, &c);
	*u = c.use;
	if (rc != -EAGAIN) {
		unlinkat(dir, PART_NAME, 0);
		return rc;
	}
	snprintf(text, sizeof(text), "%lld %lld %lld %d %ld %d %ld\n", (long long)c.began_s,
		 (long long)u->bytes, (long long)u->letters, c.past_inbox, c.folder, c.part, c.file);
	note_write(dir, PART_NAME, text);
	return rc;
}

static bool fits(const struct quota_limit *l, const struct use *u, uint64_t size)
{
	return (!l->bytes || (uint64_t)u->bytes + size <= l->bytes) &&
	       (!l->letters || (uint64_t)u->letters < l->letters);
}

int quota_room(int dir, const struct quota_limit *l, uint64_t size, uint64_t slice_ms)
{
	struct use u;
	bool known;
	int rc;

	if (!l->bytes && !l->letters)
		return 0;
	known = !read_file(dir, l, &u);
	if (known && fits(l, &u, size))
		return 0;
	rc = count(dir, &u, slice_ms);
	if (rc == -EAGAIN)
		return known ? rc : 0;
	if (rc)
		return rc;
	write_file(dir, l, &u);
	return fits(l, &u, size) ? 0 : -EDQUOT;
}

void quota_added(int dir, const struct quota_limit *l, uint64_t size)
{
	char line[64];
	int fd, n = snprintf(line, sizeof(line), "%llu 1\n", (unsigned long long)size);

	if (!l->bytes && !l->letters)
		return;
	fd = maildir_open_beneath(dir, FILE_NAME, O_WRONLY | O_APPEND | O_NONBLOCK);
	if (fd < 0)
		return;
	if (write(fd, line, (size_t)n) != n)
		unlinkat(dir, FILE_NAME, 0); /* half a line counts for nothing */
	close(fd);
}
