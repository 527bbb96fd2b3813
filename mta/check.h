/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_CHECK_H
#define MTA_CHECK_H

#include <stddef.h>

/**
 * mta_check() - `postern-mta -n`, which `postern mail check` runs: the configuration and every file that it
 * names, tables, certificates and keys included. Tells on stdout or stderr; 0 or 1.
 */
int mta_check(const char *path);

struct mta_config;

/**
 * check_doors() - Before the start and before a reload: would a listener for submission, or one that demands TLS,
 * have none, or any listener or route have none for what it allows of TLS or whom it believes?
 * @path: of the configuration whose text is @text; @bundle: the bundle made of it, borrowed.
 * @why: lines, what is at fault, and of which listener or route; of at least 1024 bytes, and cut as by conf_told().
 *
 * 0 or 1. To be called in a process of its own: OpenSSL and keys are nothing to keep.
 */
int check_doors(const char *path, const char *text, size_t len, const struct mta_config *c,
		int bundle, char *why, size_t cap);

#endif
