/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MTA_CHECK_H
#define MTA_CHECK_H

/**
 * mta_check() - `postern-mta -n`, which `postern mail check` runs: the configuration and every file that it
 * names, tables, certificates and keys included. Tells on stdout or stderr; 0 or 1.
 */
int mta_check(const char *path);

#endif
