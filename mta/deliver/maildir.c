/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "maildir.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "secret.h"

#define NAME_LEN_MAX 200
#define BUF_MAX	     65536

static int open_beneath(int dir, const char *path, int flags)
{
	struct open_how how = { .flags = (uint64_t)(flags | O_CLOEXEC),
				.resolve =
				    RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS };
	long fd = syscall(SYS_openat2, dir, path, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

/* A directory of the user's, one name, made when it is missing. */
static int open_part(int dir, const char *name, uid_t uid, char *why, size_t cap)
{
	struct stat st;
	int fd, rc;

	if (mkdirat(dir, name, 0700) < 0 && errno != EEXIST) {
		rc = -errno;
		snprintf(why, cap, "cannot make directory %.60s: %s", name, strerror(-rc));
		return rc;
	}
	fd = open_beneath(dir, name, O_RDONLY | O_DIRECTORY);
	if (fd < 0) {
		snprintf(why, cap, "cannot open directory %.60s: %s", name,
			 fd == -ELOOP ? "it is a symbolic link" : strerror(-fd));
		return fd;
	}
	rc = fstat(fd, &st) < 0 ? -errno : st.st_uid != uid ? -EPERM : 0;
	if (rc) {
		snprintf(why, cap, "directory %.60s belongs to another user", name);
		close(fd);
		return rc;
	}
	return fd;
}

int maildir_open(int home_fd, const char *dir, uid_t uid, char *why, size_t cap)
{
	char copy[512], *save, *part;
	int fd = -1;

	snprintf(copy, sizeof(copy), "%s", dir);
	for (part = strtok_r(copy, "/", &save); part; part = strtok_r(NULL, "/", &save)) {
		int next;

		if (!strcmp(part, ".") || !strcmp(part, "..") || strlen(dir) >= sizeof(copy)) {
			snprintf(why, cap, "the directory is not below the home");
			next = -EINVAL;
		} else {
			next = open_part(fd < 0 ? home_fd : fd, part, uid, why, cap);
		}
		if (fd >= 0)
			close(fd);
		if (next < 0)
			return next;
		fd = next;
	}
	if (fd < 0)
		snprintf(why, cap, "no directory is named");
	return fd < 0 ? -EINVAL : fd;
}

static int write_all(int fd, const char *p, size_t len)
{
	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static int write_head(int fd, const struct maildir_letter *l)
{
	char head[1600];
	int n = snprintf(head, sizeof(head), "Return-Path: <%s>\nDelivered-To: %s\n", l->sender,
			 l->recipient);

	if (n < 0 || (size_t)n >= sizeof(head))
		return -EMSGSIZE;
	return write_all(fd, head, (size_t)n);
}

/* As the tools of this machine expect it: CRLF becomes LF, all other bytes stay. */
static int write_body(int fd, const struct maildir_letter *l)
{
	char *in = malloc(2 * BUF_MAX), *out = in + BUF_MAX;
	uint64_t off = 0;
	bool cr = false;
	int rc = in ? 0 : -ENOMEM;

	while (!rc && off < l->size) {
		ssize_t n = pread(l->body, in, BUF_MAX - 1, (off_t)off);
		size_t k = 0;

		if (n <= 0) {
			rc = n < 0 ? -errno : -EIO;
			break;
		}
		off += (uint64_t)n;
		for (ssize_t i = 0; i < n; i++) {
			if (cr && in[i] != '\n')
				out[k++] = '\r';
			cr = in[i] == '\r';
			if (!cr)
				out[k++] = in[i];
		}
		rc = write_all(fd, out, k);
	}
	if (!rc && cr)
		rc = write_all(fd, "\r", 1);
	free(in);
	return rc;
}

static int unique_name(const struct maildir_letter *l, char out[static NAME_LEN_MAX])
{
	struct timeval tv;
	uint64_t random;
	char host[100];
	size_t n = 0;

	if (secret_random(&random, sizeof(random)))
		return -EIO;
	gettimeofday(&tv, NULL);
	for (const char *p = l->hostname; *p && n + 1 < sizeof(host); p++)
		host[n++] = *p == '/' || *p == ':' ? '_' : *p;
	host[n] = 0;
	snprintf(out, NAME_LEN_MAX, "%lld.M%06ldP%dR%016llx.%s", (long long)tv.tv_sec,
		 (long)tv.tv_usec, (int)getpid(), (unsigned long long)random, host);
	return 0;
}

static int put(int tmp, int new, const char *name, const struct maildir_letter *l, char *why,
	       size_t cap)
{
	int fd = openat(tmp, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int rc = fd < 0 ? -errno : 0;

	if (rc) {
		snprintf(why, cap, "cannot create a file in tmp: %s", strerror(-rc));
		return rc;
	}
	rc = write_head(fd, l);
	if (!rc)
		rc = write_body(fd, l);
	if (!rc && fsync(fd) < 0)
		rc = -errno;
	if (close(fd) < 0 && !rc)
		rc = -errno;
	if (!rc && syscall(SYS_renameat2, tmp, name, new, name, 1 /* RENAME_NOREPLACE */) < 0)
		rc = -errno;
	if (rc) {
		snprintf(why, cap, "cannot write the letter: %s", strerror(-rc));
		unlinkat(tmp, name, 0);
		return rc;
	}
	/* In new it counts; that it stays there after a power cut needs the directory. */
	if (fsync(new) < 0) {
		rc = -errno;
		snprintf(why, cap, "cannot make the directory durable: %s", strerror(-rc));
		unlinkat(new, name, 0);
	}
	return rc;
}

int maildir_put(int dir_fd, const struct maildir_letter *l, char *why, size_t cap)
{
	static const char *const parts[] = { "tmp", "new", "cur" };
	char name[NAME_LEN_MAX];
	struct stat st;
	int fd[3] = { -1, -1, -1 }, rc = fstat(dir_fd, &st) < 0 ? -errno : 0;

	for (int i = 0; !rc && i < 3; i++) {
		fd[i] = open_part(dir_fd, parts[i], st.st_uid, why, cap);
		if (fd[i] < 0)
			rc = fd[i];
	}
	if (!rc) {
		rc = unique_name(l, name);
		if (rc)
			snprintf(why, cap, "no random numbers");
	}
	if (!rc)
		rc = put(fd[0], fd[1], name, l, why, cap);
	for (int i = 0; i < 3; i++) {
		if (fd[i] >= 0)
			close(fd[i]);
	}
	return rc;
}
