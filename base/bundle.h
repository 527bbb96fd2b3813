/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BASE_BUNDLE_H
#define BASE_BUNDLE_H

/*
 * Theory: the children of a daemon see no file system. The parent opens and checks the
 * configuration and each public file that it names, and hands them over as one sealed memfd:
 *
 *	repeated { be32 path length, path, be32 content length, content }
 *
 * The first entry is the main configuration. Every process parses it with the same code. Of a
 * secret file only a mark goes along: a hash under the maker's own random key, which tells who has two
 * bundles of one maker whether the secret is still the same, and nothing else.
 */

#include <stddef.h>
#include <stdint.h>

#include "conf.h"

#define BUNDLE_SIZE_MAX (16u << 20)

struct bundle; /* parsed, borrows nothing */

/* Who takes the secrets, each file once, as it was read for its mark; what it refuses it says by conf_error(). */
struct bundle_secrets {
	/* Borrows @data. 0, or -errno, which ends it all. NULL: secrets are not even opened. */
	int (*take)(void *arg, const struct conf_key *k, const struct conf_value *v,
		    const char *data, size_t len);
	void *arg;
};

/**
 * bundle_make() - Build from disk: the main file @path, then each CONF_PUBLIC_FILE of @c once.
 * @text: what @c was parsed from. CONF_SECRET_FILE files are checked and marked, not put in.
 * @secrets: who gets them; NULL: nobody.
 *
 * Returns a sealed memfd (close-on-exec), or -errno after conf_error() for what was wrong.
 */
int bundle_make(struct conf *c, const char *text, size_t len, const struct bundle_secrets *secrets);
/** bundle_open() - Read and check a bundle; the caller keeps @fd. NULL and errno on failure. */
struct bundle *bundle_open(int fd);
/** bundle_parse() - The same from memory (copied). NULL and errno: EBADMSG, ENOMEM. */
struct bundle *bundle_parse(const void *data, size_t len);
void bundle_free(struct bundle *b);
/** bundle_conf() - conf_parse() of the first entry. */
struct conf *bundle_conf(const struct bundle *b, const struct conf_schema *schema);
/** bundle_forget_conf() - The text of the first entry goes: bundle_conf() is not to be called again. */
void bundle_forget_conf(struct bundle *b);
/** bundle_file() - Content of an entry by its path; NULL when it is not in the bundle. */
const char *bundle_file(const struct bundle *b, const char *path, size_t *len);
/** bundle_mark() - Of a secret file by its path; comparable among bundles of one maker. 0: none. */
uint64_t bundle_mark(const struct bundle *b, const char *path);
/** bundle_files() - For conf_files; borrows @b. */
struct conf_files bundle_files(const struct bundle *b);

#endif
