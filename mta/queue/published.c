/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "published.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "publication.h"

#define DIR_NAME "homes"
#define NEW_NAME DIR_NAME "/new"
#define NAME_BYTES (MTA_NAME_MAX + 16)

static void path_of(char out[static NAME_BYTES], const char *home)
{
	snprintf(out, NAME_BYTES, DIR_NAME "/%.*s.set", MTA_NAME_MAX - 1, home);
}

static int write_new(struct vfs *v, const void *text, size_t len)
{
	int fd, rc;

	rc = v->unlink(v, NEW_NAME); /* of a crash */
	if (rc && rc != -ENOENT)
		return rc;
	fd = v->open(v, NEW_NAME, true);
	if (fd < 0)
		return fd;
	rc = vfs_write_all(v, fd, text, len, 0);
	if (!rc)
		rc = v->sync(v, fd);
	v->close(v, fd);
	return rc;
}

int published_write(struct vfs *v, const char *home, const void *text, size_t len)
{
	char path[NAME_BYTES];
	int rc = v->mkdir(v, DIR_NAME);

	path_of(path, home);
	if (!rc)
		rc = v->sync_dir(v, ".");
	if (!rc)
		rc = write_new(v, text, len);
	if (!rc)
		rc = v->rename(v, NEW_NAME, path);
	return rc ? rc : v->sync_dir(v, DIR_NAME);
}

int published_read(struct vfs *v, const char *home, char **text, size_t *len)
{
	char path[NAME_BYTES], *p;
	size_t at = 0;
	ssize_t n;
	int fd;

	path_of(path, home);
	fd = v->open_read(v, path);
	if (fd < 0)
		return fd;
	p = malloc(PUBLICATION_MAX + 1);
	do {
		n = p ? v->pread(v, fd, p + at, PUBLICATION_MAX + 1 - at, at) : -ENOMEM;
		at += n > 0 ? (size_t)n : 0;
	} while (n > 0 && at <= PUBLICATION_MAX);
	v->close(v, fd);
	if (n < 0 || at > PUBLICATION_MAX) {
		free(p);
		return n < 0 ? (int)n : -EFBIG;
	}
	*text = p;
	*len = at;
	return 0;
}
