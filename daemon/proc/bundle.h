/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DAEMON_PROC_BUNDLE_H
#define DAEMON_PROC_BUNDLE_H

/*
 * Theory: the parent alone opens files. It hands the configuration and the files that it names to
 * the other processes as one sealed memfd, so that all of them parse the same bytes with the same
 * code, whatever happens on disk meanwhile. Entries follow each other to the end:
 *
 *	+--------------+------+-----------------+---------+
 *	| path len be32| path | content len be32| content |   first entry: the main configuration
 *	+--------------+------+-----------------+---------+
 *
 * A path is absolute as conf.h makes it, has no NUL and stands once. Private keys and PSKs are only
 * in the bundle of the keys process. The parent reads files by conf_file_read(), which checks owner
 * and mode.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BUNDLE_MAX	(4u << 20) /* bytes of a whole bundle */
#define BUNDLE_PATH_MAX 4095
#define BUNDLE_FILE_MAX (1u << 20)
#define BUNDLE_ENTRIES	8192

struct bundle_entry {
	const char *path; /* terminated */
	const uint8_t *data;
	size_t len;
};

struct bundle {
	struct bundle_entry *entry;
	size_t count;
	char *paths;	/* owned storage of the paths */
	uint8_t *bytes; /* owned copy of the contents */
	size_t len;
};

/** bundle_parse() - Views into a copy of @data; 0, -EBADMSG, -ENOMEM. bundle_free() in the end. */
int bundle_parse(struct bundle *b, const void *data, size_t len);
/** bundle_load() - From a memfd; refuses one that is not sealed (-EPERM). Borrows @fd. */
int bundle_load(struct bundle *b, int fd);
/** bundle_find() - NULL when no entry has this path. */
const struct bundle_entry *bundle_find(const struct bundle *b, const char *path);
/** bundle_main() - The main configuration (first entry). */
const struct bundle_entry *bundle_main(const struct bundle *b);
/** bundle_free() - Wipes (a bundle may hold keys) and frees. */
void bundle_free(struct bundle *b);

/* Built in memory that is wiped and freed by bundle_out_free(); zero-initialised. */
struct bundle_out {
	uint8_t *bytes;
	size_t len, cap;
	size_t count;
	int error; /* sticky: -EMSGSIZE, -ENOMEM, -EINVAL */
};

void bundle_add(struct bundle_out *o, const char *path, const void *data, size_t len);
/** bundle_memfd() - Sealed (no write, grow, shrink) memfd, close-on-exec; or -errno. */
int bundle_memfd(const struct bundle_out *o);
void bundle_out_free(struct bundle_out *o);

#endif
