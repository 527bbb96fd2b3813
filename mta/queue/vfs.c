/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vfs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static int dirfd_of(struct vfs *v)
{
	return ((struct vfs_dir *)(void *)v)->dirfd;
}

static int real_open(struct vfs *v, const char *name, bool create)
{
	int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | (create ? O_CREAT | O_EXCL : 0);
	int fd = openat(dirfd_of(v), name, flags, 0600);

	return fd < 0 ? -errno : fd;
}

static int real_open_read(struct vfs *v, const char *name)
{
	int fd = openat(dirfd_of(v), name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	return fd < 0 ? -errno : fd;
}

static void real_close(struct vfs *v, int fd)
{
	(void)v;
	close(fd);
}

static ssize_t real_pread(struct vfs *v, int fd, void *buf, size_t len, uint64_t off)
{
	ssize_t n;

	(void)v;
	do
		n = pread(fd, buf, len, (off_t)off);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static ssize_t real_pwrite(struct vfs *v, int fd, const void *buf, size_t len, uint64_t off)
{
	ssize_t n;

	(void)v;
	do
		n = pwrite(fd, buf, len, (off_t)off);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static int real_sync(struct vfs *v, int fd)
{
	(void)v;
	return fdatasync(fd) ? -errno : 0;
}

static int real_refresh(struct vfs *v, int fd)
{
	int rc = real_sync(v, fd);

	return rc ? rc : -posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
}

static int real_rename(struct vfs *v, const char *from, const char *to)
{
	return renameat(dirfd_of(v), from, dirfd_of(v), to) ? -errno : 0;
}

static int real_unlink(struct vfs *v, const char *name)
{
	return unlinkat(dirfd_of(v), name, 0) ? -errno : 0;
}

static int real_mkdir(struct vfs *v, const char *name)
{
	return mkdirat(dirfd_of(v), name, 0700) && errno != EEXIST ? -errno : 0;
}

static int real_sync_dir(struct vfs *v, const char *name)
{
	int fd = openat(dirfd_of(v), name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc;

	if (fd < 0)
		return -errno;
	rc = fsync(fd) ? -errno : 0;
	close(fd);
	return rc;
}

static int real_list(struct vfs *v, const char *dir,
		     void (*fn)(const char *name, uint64_t size, void *arg), void *arg)
{
	int fd = openat(dirfd_of(v), dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *e;
	struct stat st;
	DIR *d;

	if (fd < 0)
		return -errno;
	d = fdopendir(fd);
	if (!d) {
		close(fd);
		return -ENOMEM;
	}
	while ((e = readdir(d)))
		if (!fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) && S_ISREG(st.st_mode))
			fn(e->d_name, (uint64_t)st.st_size, arg);
	closedir(d);
	return 0;
}

static int real_space(struct vfs *v, struct vfs_space *out)
{
	struct statvfs s;

	if (fstatvfs(dirfd_of(v), &s))
		return -errno;
	out->bytes = (uint64_t)s.f_bavail * s.f_frsize;
	out->inodes = s.f_files ? s.f_favail : UINT64_MAX; /* btrfs says 0 of 0 */
	return 0;
}

void vfs_dir_init(struct vfs_dir *d, int dirfd)
{
	*d = (struct vfs_dir){
		.vfs = { real_open, real_open_read, real_close, real_pread, real_pwrite, real_sync,
			 real_refresh, real_rename, real_unlink, real_mkdir, real_sync_dir,
			 real_list, real_space },
		.dirfd = dirfd,
	};
}

/* Options of the mount that holds @dirfd, by device number; NULL when not found. */
static char *mount_options(int dirfd)
{
	struct stat st;
	char *line = NULL, *found = NULL;
	size_t cap = 0;
	FILE *f;

	if (fstat(dirfd, &st))
		return NULL;
	f = fopen("/proc/self/mountinfo", "re");
	if (!f)
		return NULL;
	while (!found && getline(&line, &cap, f) > 0) {
		unsigned maj, min;
		char *dash = strstr(line, " - ");

		if (sscanf(line, "%*d %*d %u:%u", &maj, &min) == 2 && dash &&
		    makedev(maj, min) == st.st_dev)
			found = strdup(dash);
	}
	free(line);
	fclose(f);
	return found;
}

/* Value of "upperdir=" in a line of mountinfo, where blanks and the like are \ooo. */
static bool upper_dir(const char *opt, char *out, size_t cap)
{
	const char *p = opt ? strstr(opt, "upperdir=") : NULL;
	size_t n = 0;

	if (!p)
		return false;
	for (p += strlen("upperdir="); *p && *p != ',' && *p != '\n' && n + 1 < cap; p++) {
		unsigned c;

		if (*p == '\\' && sscanf(p + 1, "%3o", &c) == 1 && c < 256) {
			out[n++] = (char)c;
			p += 3;
		} else {
			out[n++] = *p;
		}
	}
	out[n] = 0;
	return true;
}

/* A new file there has a map of where it lies on the disk. */
static bool has_extents(int dirfd)
{
	static const char probe[] = "durable-probe";
	struct fiemap map = { .fm_length = FIEMAP_MAX_OFFSET };
	int fd = openat(dirfd, probe, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	bool yes;

	if (fd < 0)
		return true; /* full or read-only, say others */
	yes = !ioctl(fd, FS_IOC_FIEMAP, &map) || errno != EOPNOTSUPP;
	close(fd);
	unlinkat(dirfd, probe, 0);
	return yes;
}

static bool in_memory(const struct statfs *s)
{
	return s->f_type == TMPFS_MAGIC || s->f_type == RAMFS_MAGIC;
}

/*
 * Does what is written into this overlay go to memory? A live system or a container may have mounted its
 * upper layer where we cannot see it: then one without extents whose blocks are pages is one in memory.
 */
static bool upper_in_memory(int dirfd, const char *opt, const struct statfs *overlay)
{
	char upper[4096];
	struct statfs s;

	if (upper_dir(opt, upper, sizeof(upper)) && !statfs(upper, &s))
		return in_memory(&s);
	return overlay->f_bsize == sysconf(_SC_PAGESIZE) && !has_extents(dirfd);
}

int vfs_durable(int dirfd, const char *path, char *why, size_t cap)
{
	static const char change[] = "set state-dir in [mta] to a directory on a disk";
	const char *what;
	struct statfs s;
	char *opt;

	if (fstatfs(dirfd, &s))
		return -errno;
	if (in_memory(&s)) {
		snprintf(
		    why, cap,
		    "the queue directory %s is on a tmpfs: mail would be lost at power-off; %s",
		    path, change);
		return -EROFS;
	}
	if (s.f_type != OVERLAYFS_SUPER_MAGIC)
		return 0;
	opt = mount_options(dirfd);
	what = opt && strstr(opt, "volatile") ? "mounted volatile, which ignores fsync"
	       : upper_in_memory(dirfd, opt, &s)
		   ? "whose upper layer is in memory: mail would be lost at power-off"
		   : NULL;
	free(opt);
	if (!what)
		return 0;
	snprintf(why, cap, "the queue directory %s is on an overlay %s; %s or mount a volume there",
		 path, what, change);
	return -EROFS;
}

int vfs_write_all(struct vfs *v, int fd, const void *buf, size_t len, uint64_t off)
{
	const uint8_t *p = buf;

	while (len) {
		ssize_t n = v->pwrite(v, fd, p, len, off);

		if (n <= 0)
			return n ? (int)n : -EIO;
		p += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

int vfs_read_all(struct vfs *v, int fd, void *buf, size_t len, uint64_t off)
{
	uint8_t *p = buf;

	while (len) {
		ssize_t n = v->pread(v, fd, p, len, off);

		if (n <= 0)
			return n ? (int)n : -EIO;
		p += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}
