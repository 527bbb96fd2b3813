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
#include <unistd.h>

#include "look.h"
#include "secret.h"
#include "whole.h"

#define NAME_LEN_MAX 200
#define BUF_MAX	     65536

int maildir_open_beneath(int dir, const char *path, int flags)
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
	fd = maildir_open_beneath(dir, name, O_RDONLY | O_DIRECTORY);
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

static int write_head(int fd, const struct maildir_letter *l)
{
	char head[1600];
	int n = snprintf(head, sizeof(head), "Return-Path: <%s>\nDelivered-To: %s\n", l->sender,
			 l->recipient);

	if (n < 0 || (size_t)n >= sizeof(head))
		return -EMSGSIZE;
	return whole_write(fd, head, (size_t)n);
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
		rc = whole_write(fd, out, k);
	}
	if (!rc && cr)
		rc = whole_write(fd, "\r", 1);
	free(in);
	return rc;
}

/* Of what stays the same when a letter comes again. */
static void name_of(const struct maildir_letter *l, char out[static NAME_LEN_MAX])
{
	char id[LETTER_ID_STR_MAX], host[100];
	uint64_t rcpt = 0xcbf29ce484222325u; /* FNV-1a */
	size_t n = 0;

	for (const char *p = l->recipient; *p; p++)
		rcpt = (rcpt ^ (uint8_t)*p) * 0x100000001b3u;
	for (const char *p = l->hostname; *p && n + 1 < sizeof(host); p++)
		host[n++] = *p == '/' || *p == ':' ? '_' : *p;
	host[n] = 0;
	snprintf(out, NAME_LEN_MAX, "%llu.P%sR%016llx.%s", (unsigned long long)l->received_s,
		 letter_id_str(l->id, id), (unsigned long long)rcpt, host);
}

int letter_write(int fd, const struct maildir_letter *l)
{
	int rc = write_head(fd, l);

	return rc ? rc : write_body(fd, l);
}

static int write_file(int tmp, const char *name, const struct maildir_letter *l)
{
	int fd = openat(tmp, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int rc = fd < 0 ? -errno : 0;

	if (rc)
		return rc;
	rc = letter_write(fd, l);
	if (!rc && fsync(fd) < 0)
		rc = -errno;
	if (close(fd) < 0 && !rc)
		rc = -errno;
	return rc;
}

/* NFS and many in user space cannot be told to replace nothing; what would be replaced is this letter. */
static int move(int tmp, const char *part, int new, const char *name)
{
	if (!syscall(SYS_renameat2, tmp, part, new, name, 1 /* NOREPLACE */))
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	return renameat(tmp, part, new, name) < 0 ? -errno : 0;
}

enum { TMP, NEW, CUR, PARTS };

/* A new file in new. 0 or -errno; @mine: it is there by us. */
static int put_new(int dir, const int fd[static PARTS], const char *name,
		   const struct maildir_letter *l, bool *mine)
{
	char part[NAME_LEN_MAX + 20];
	uint64_t random;
	int rc = quota_room(dir, &l->limit, l->size, QUOTA_SLICE_MS);

	if (rc)
		return rc;
	if (secret_random(&random, sizeof(random)))
		return -EIO;
	snprintf(part, sizeof(part), "%s.%016llx", name, (unsigned long long)random);
	rc = write_file(fd[TMP], part, l);
	if (!rc)
		rc = move(fd[TMP], part, fd[NEW], name);
	*mine = !rc;
	if (rc)
		unlinkat(fd[TMP], part, 0);
	else
		quota_added(dir, &l->limit, l->size);
	return rc == -EEXIST ? 0 : rc; /* another delivery of the same letter was quicker */
}

static int put(int dir, const int fd[static PARTS], const struct maildir_letter *l, char *why,
	       size_t cap)
{
	char name[NAME_LEN_MAX];
	bool mine = false;
	int at, rc = 0;

	name_of(l, name);
	at = l->repeat ? look_for(fd[TMP], fd[NEW], fd[CUR], name, LOOK_SLICE_MS) : -ENOENT;
	if (at == -EAGAIN) {
		snprintf(why, cap, "it may lie in cur already, and to look there takes a while");
		return at;
	}
	if (at < 0 && at != -ENOENT) {
		snprintf(why, cap, "cannot look for the letter: %s", strerror(-at));
		return at;
	}
	if (at < 0) {
		at = fd[NEW];
		rc = put_new(dir, fd, name, l, &mine);
	}
	if (rc == -EDQUOT)
		snprintf(why, cap, "the mailbox is full");
	else if (rc == -EAGAIN)
		snprintf(why, cap, "the mailbox was full and is counted anew, which takes a while");
	else if (rc)
		snprintf(why, cap, "cannot write the letter: %s", strerror(-rc));
	if (rc)
		return rc;
	/* There it counts; that it stays there after a power cut needs the directory. */
	if (fsync(at) < 0) {
		rc = -errno;
		snprintf(why, cap, "cannot make the directory durable: %s", strerror(-rc));
		if (mine)
			unlinkat(fd[NEW], name, 0);
	}
	return rc;
}

int maildir_put(int dir_fd, const struct maildir_letter *l, char *why, size_t cap)
{
	static const char *const parts[PARTS] = { "tmp", "new", "cur" };
	int fd[PARTS] = { -1, -1, -1 };
	struct stat st;
	int rc = fstat(dir_fd, &st) < 0 ? -errno : 0;

	for (int i = 0; !rc && i < PARTS; i++) {
		fd[i] = open_part(dir_fd, parts[i], st.st_uid, why, cap);
		if (fd[i] < 0)
			rc = fd[i];
	}
	if (!rc)
		rc = put(dir_fd, fd, l, why, cap);
	for (int i = 0; i < PARTS; i++) {
		if (fd[i] >= 0)
			close(fd[i]);
	}
	return rc;
}
