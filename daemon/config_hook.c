/* SPDX-License-Identifier: GPL-3.0-or-later */
/* May root run this program because our configuration names it? */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Whoever can change @path, or put another thing in its place, runs it as root. */
static int check_owner(const char *path, const struct stat *st, char *why, size_t cap)
{
	if (st->st_uid) {
		snprintf(why, cap, "%s belongs to user %u; allowed: root alone", path,
			 (unsigned)st->st_uid);
		return -EPERM;
	}
	if (st->st_mode & (S_IWGRP | S_IWOTH)) {
		snprintf(why, cap, "%s is writable by others than root; chmod go-w", path);
		return -EPERM;
	}
	return 0;
}

int config_hook_check(const char *path, char *why, size_t cap)
{
	char part[CONFIG_HOOK_MAX];
	struct stat st;
	int rc;

	if (*path != '/' || strlen(path) >= sizeof(part)) {
		snprintf(why, cap, "not an absolute path");
		return -EINVAL;
	}
	/* Every folder on the way, as it is written: a link is root's to make, and so is what it names. */
	for (const char *slash = path; slash; slash = strchr(slash + 1, '/')) {
		size_t len = slash == path ? 1 : (size_t)(slash - path);

		memcpy(part, path, len);
		part[len] = '\0';
		if (stat(part, &st)) {
			snprintf(why, cap, "%s: %s", part, strerror(errno));
			return -errno;
		}
		rc = check_owner(part, &st, why, cap);
		if (rc)
			return rc;
	}
	if (stat(path, &st)) {
		snprintf(why, cap, "%s", strerror(errno));
		return -errno;
	}
	if (!S_ISREG(st.st_mode) || !(st.st_mode & S_IXUSR)) {
		snprintf(why, cap, "not a program: chmod u+x");
		return -EACCES;
	}
	return check_owner(path, &st, why, cap);
}
