/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TESTS_SIMVFS_H
#define TESTS_SIMVFS_H

/*
 * A disk in memory that is as nasty as POSIX allows. What was written and not synced survives a
 * power cut sector by sector at the will of a random number; creations, renames and removals whose
 * directory was not synced survive singly, in any selection. A killed process loses nothing
 * that it wrote, but the operation at which it dies may be half done, and what it had not synced
 * the next power cut can still take. A failed sync loses some of what it was to write, while
 * readers see all of it until the file is refreshed.
 */

#include "vfs.h"

struct simfile;
struct simop;

struct simvfs {
	struct vfs vfs;
	uint32_t seed;
	long ops;    /* made so far */
	long die_at; /* the power goes at this operation; 0: never */
	long fail_at; /* this operation alone is -EIO and does nothing, or writes but a part; 0: none */
	bool dead;   /* since then everything is -EIO */
	long syncs;
	long fail_sync_at; /* this sync is -EIO, and what it should have written is lost in part */
	long fail_syncs;   /* and so many that follow it */
	uint64_t space;	   /* bytes of all files together; 0: no bound */
	bool full;	   /* room is a matter of chance, be it over what is there: it copies on write */
	uint64_t inodes;   /* as reported; 0: many */
	struct simfile *files;
	struct simop *pending;
	int next_fd;
};

struct simvfs *simvfs_new(uint32_t seed);
void simvfs_free(struct simvfs *s);
/** simvfs_restart() - After a kill (@power false) or a power cut: what the next process finds. */
void simvfs_restart(struct simvfs *s, bool power);
/** simvfs_data() - The cached content of a file, to be looked at or spoilt; NULL when not there. */
uint8_t *simvfs_data(struct simvfs *s, const char *name, size_t *len);
/** simvfs_count() - Files whose names begin so. */
size_t simvfs_count(struct simvfs *s, const char *prefix);

#endif
