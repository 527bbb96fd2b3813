/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_QUEUE_VFS_H
#define MTA_QUEUE_VFS_H

/*
 * Theory: every file operation of the queue goes through this table, so that a test can lose, tear
 * and reorder what was not synced, fail what it likes, and cut the power between any two calls.
 * Names are relative to the queue directory, "body/NAME" at most. All return 0 (or a count, or a
 * descriptor) or -errno. They are called from the loop's thread and from the worker's, never at
 * once on the same file.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct vfs_space {
	uint64_t bytes;	 /* free to us */
	uint64_t inodes; /* free; UINT64_MAX where the file system has no such bound */
};

struct vfs {
	/* @create: must not exist yet. Read and write. */
	int (*open)(struct vfs *v, const char *name, bool create);
	int (*open_read)(struct vfs *v, const char *name);
	void (*close)(struct vfs *v, int fd);
	ssize_t (*pread)(struct vfs *v, int fd, void *buf, size_t len, uint64_t off);
	ssize_t (*pwrite)(struct vfs *v, int fd, const void *buf, size_t len, uint64_t off);
	int (*sync)(struct vfs *v, int fd); /* fdatasync; the length is durable too */
	/*
	 * As sync, and then nothing of the file is cached: what is read from here on is what the disk has.
	 * After a kill the cache may hold what was never synced, or what a failed sync calls clean.
	 */
	int (*refresh)(struct vfs *v, int fd);
	int (*rename)(struct vfs *v, const char *from, const char *to);
	int (*unlink)(struct vfs *v, const char *name);
	int (*mkdir)(struct vfs *v, const char *name);	  /* that it exists is no error */
	int (*sync_dir)(struct vfs *v, const char *name); /* "." or "body" */
	/* Calls @fn for each regular file with its size. */
	int (*list)(struct vfs *v, const char *dir,
		    void (*fn)(const char *name, uint64_t size, void *arg), void *arg);
	int (*space)(struct vfs *v, struct vfs_space *out);
};

struct vfs_dir {
	struct vfs vfs;
	int dirfd;
};

/** vfs_dir_init() - The real one; @dirfd, an open directory, stays the caller's. */
void vfs_dir_init(struct vfs_dir *d, int dirfd);
/**
 * vfs_durable() - Does the file system behind @dirfd survive a power cut?
 * @why: on -EROFS, what it is and what to change.
 *
 * 0, or -EROFS for tmpfs, ramfs, an overlay mounted volatile and one whose upper layer is in memory.
 */
int vfs_durable(int dirfd, const char *path, char *why, size_t cap);
/** vfs_write_all() and vfs_read_all() - Whole or -errno (-EIO when the file is shorter). */
int vfs_write_all(struct vfs *v, int fd, const void *buf, size_t len, uint64_t off);
int vfs_read_all(struct vfs *v, int fd, void *buf, size_t len, uint64_t off);

#endif
