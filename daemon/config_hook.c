/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * May root run this program because our configuration names it? Its name is followed by hand, as the kernel
 * will follow it: every folder in which a part of it is looked up, those of links too, has to be root's
 * alone. Then nobody else can put another program there, and what was looked at is what runs.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINKS_MAX 40 /* as the kernel has it */

struct walk {
	char rest[PATH_MAX]; /* still to go */
	char at[PATH_MAX];   /* where @fd is, for the error */
	int fd;
	unsigned links;
	char *why;
	size_t cap;
};

/* Whoever can change @path, or put another thing in its place, runs it as root. */
static int check_owner(const struct walk *w, const struct stat *st)
{
	if (st->st_uid) {
		snprintf(w->why, w->cap, "%s belongs to user %u; allowed: root alone", w->at,
			 (unsigned)st->st_uid);
		return -EPERM;
	}
	if (st->st_mode & (S_IWGRP | S_IWOTH)) {
		snprintf(w->why, w->cap, "%s is writable by others than root; chmod go-w", w->at);
		return -EPERM;
	}
	return 0;
}

static int fail(const struct walk *w, int rc)
{
	snprintf(w->why, w->cap, "%s: %s", w->at, strerror(-rc));
	return rc;
}

static void move(struct walk *w, int fd)
{
	if (w->fd >= 0)
		close(w->fd);
	w->fd = fd;
}

static int to_root(struct walk *w)
{
	move(w, open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
	strcpy(w->at, "/");
	return w->fd < 0 ? fail(w, -errno) : 0;
}

/* The next part of the name, taken off the rest; false: none. */
static bool next_part(struct walk *w, char part[static NAME_MAX + 1])
{
	size_t skip = strspn(w->rest, "/"), len = strcspn(w->rest + skip, "/");

	if (!len || len > NAME_MAX)
		return false;
	memcpy(part, w->rest + skip, len);
	part[len] = '\0';
	memmove(w->rest, w->rest + skip + len, strlen(w->rest + skip + len) + 1);
	return true;
}

static int follow(struct walk *w, int link)
{
	char target[PATH_MAX];
	ssize_t len = readlinkat(link, "", target, sizeof(target) - 1);

	if (len <= 0)
		return fail(w, len ? -errno : -ENOENT);
	target[len] = '\0';
	if (++w->links > LINKS_MAX)
		return fail(w, -ELOOP);
	if ((size_t)len + 1 + strlen(w->rest) >= sizeof(w->rest))
		return fail(w, -ENAMETOOLONG);
	memmove(w->rest + len, w->rest, strlen(w->rest) + 1);
	memcpy(w->rest, target, (size_t)len);
	return *target == '/' ? to_root(w) : 0;
}

/* One part further. @st is of the place that is reached. */
static int step(struct walk *w, const char *part, struct stat *st)
{
	size_t len = strlen(w->at);
	int fd, rc;

	if (fstat(w->fd, st))
		return fail(w, -errno);
	if (!S_ISDIR(st->st_mode))
		return fail(w, -ENOTDIR);
	rc = check_owner(w, st);
	if (rc)
		return rc;
	snprintf(w->at + len, sizeof(w->at) - len, "%s%s", len > 1 ? "/" : "", part);
	fd = openat(w->fd, part, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, st)) {
		rc = fail(w, -errno);
		if (fd >= 0)
			close(fd);
		return rc;
	}
	if (S_ISLNK(st->st_mode)) {
		w->at[len] = '\0'; /* a relative one goes on from here */
		rc = follow(w, fd);
		close(fd);
		return rc;
	}
	move(w, fd);
	return 0;
}

int config_hook_check(const char *path, char *why, size_t cap)
{
	struct walk w = { .fd = -1, .why = why, .cap = cap };
	char part[NAME_MAX + 1];
	struct stat st;
	int rc;

	if (*path != '/' || strlen(path) >= CONFIG_HOOK_MAX) {
		snprintf(why, cap, "not an absolute path");
		return -EINVAL;
	}
	snprintf(w.rest, sizeof(w.rest), "%s", path);
	rc = to_root(&w);
	while (!rc && next_part(&w, part))
		rc = step(&w, part, &st);
	if (!rc && fstat(w.fd, &st))
		rc = fail(&w, -errno);
	if (!rc && (!S_ISREG(st.st_mode) || !(st.st_mode & S_IXUSR))) {
		snprintf(why, cap, "not a program: chmod u+x");
		rc = -EACCES;
	}
	if (!rc)
		rc = check_owner(&w, &st);
	move(&w, -1);
	return rc;
}
