/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "note.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "maildir.h"
#include "secret.h"

ssize_t note_read(int dir, const char *name, char *text, size_t cap)
{
	int fd = maildir_open_beneath(dir, name, O_RDONLY | O_NONBLOCK);
	struct stat st;
	ssize_t n;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode))
		n = -ENOENT;
	else if ((n = read(fd, text, cap - 1)) < 0)
		n = -errno;
	close(fd);
	text[n > 0 ? n : 0] = 0;
	return n;
}

int note_write(int dir, const char *name, const char *text)
{
	size_t len = strlen(text);
	char part[280];
	uint64_t random;
	int fd, rc = 0;

	if (secret_random(&random, sizeof(random)))
		return -EIO;
	snprintf(part, sizeof(part), "%s.%016llx", name, (unsigned long long)random);
	fd = openat(dir, part, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (write(fd, text, len) != (ssize_t)len)
		rc = -EIO;
	else if (renameat(dir, part, dir, name) < 0)
		rc = -errno;
	if (rc)
		unlinkat(dir, part, 0);
	close(fd);
	return rc;
}
