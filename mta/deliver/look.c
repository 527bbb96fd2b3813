/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "look.h"

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
#include "note.h"

#define LOOK_EVERY 256 /* names, between two looks at the clock */
#define NAME_BYTES 255

/* 1: it is there; 0: it is not. */
static int there(int dir, const char *name)
{
	struct stat st;

	if (!fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW))
		return 1;
	return errno == ENOENT ? 0 : -errno;
}

/* What most letters are called when they are found again: taken over, and read. */
static int usual(int cur, const char *name)
{
	static const char *const flags[] = { ":2,", ":2,S" };
	char full[NAME_BYTES + 8];
	int rc = 0;

	for (size_t i = 0; !rc && i < sizeof(flags) / sizeof(flags[0]); i++) {
		snprintf(full, sizeof(full), "%.*s%s", NAME_BYTES, name, flags[i]);
		rc = there(cur, full);
	}
	return rc;
}

/* 1: among the names from *@place on; 0: not; -EAGAIN: not up to *@place. */
static int read_on(DIR *d, const char *name, long *place, uint64_t until_ms)
{
	size_t n = strlen(name), seen = 0;
	struct dirent *e;

	if (*place)
		seekdir(d, *place);
	while ((errno = 0, e = readdir(d))) {
		if (!strncmp(e->d_name, name, n) && strchr(":,", e->d_name[n]))
			return 1;
		if (++seen % LOOK_EVERY || clock_boot_ms() < until_ms)
			continue;
		*place = telldir(d);
		return -EAGAIN;
	}
	return -errno;
}

/* As read_on(), with the place in the note @note of @tmp. */
static int in_cur(int tmp, int cur, const char *name, const char *note, uint64_t until_ms)
{
	int fd = openat(cur, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	char text[32];
	long place;

	if (!d) {
		rc = -errno;
		if (fd >= 0)
			close(fd);
		return rc;
	}
	if (note_read(tmp, note, text, sizeof(text)) <= 0 || sscanf(text, "%19ld", &place) != 1)
		place = 0;
	rc = read_on(d, name, &place, until_ms);
	closedir(d);
	if (rc != -EAGAIN) {
		unlinkat(tmp, note, 0);
		return rc;
	}
	snprintf(text, sizeof(text), "%ld\n", place);
	note_write(tmp, note, text);
	return rc;
}

/* In this order: the user's program moves from new to cur. */
int look_for(int tmp, int new, int cur, const char *name, uint64_t slice_ms)
{
	uint64_t until_ms = clock_boot_ms() + slice_ms;
	char note[NAME_BYTES + 8];
	int rc = there(new, name);

	snprintf(note, sizeof(note), "%.*s.look", NAME_BYTES, name);
	if (rc) {
		unlinkat(tmp, note, 0);
		return rc > 0 ? new : rc;
	}
	rc = usual(cur, name);
	rc = rc ? rc : in_cur(tmp, cur, name, note, until_ms);
	return rc > 0 ? cur : rc ? rc : -ENOENT;
}
