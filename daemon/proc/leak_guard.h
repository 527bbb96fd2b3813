/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DAEMON_PROC_LEAK_GUARD_H
#define DAEMON_PROC_LEAK_GUARD_H

/*
 * `leak = never`, from before the daemon starts until it is uninstalled: which networks are guarded, told to
 * net (daemon/net/leak.c), and kept in STATE-DIR/leak-guard, so that a configuration that somebody
 * broke does not open what was closed. Root only: the parent, and `posternd --leak-guard`.
 */

#include "config.h"
#include "net.h"

enum leak_guard { LEAK_GUARD_NONE, LEAK_GUARD_APPLY, LEAK_GUARD_REMOVE };

/** leak_guard_wish() - What @cfg guards, to net and to the state folder. 0 or -errno. */
int leak_guard_wish(struct net *n, const struct config *cfg, const struct net_params *p);
/**
 * leak_guard_name_users() - The ids of `name-users`, into room for CONFIG_NAME_USERS_MAX; the count. One that
 * does not exist is told and left out.
 */
size_t leak_guard_name_users(const struct config *cfg, uid_t *uid);
/** leak_guard_forget() - Take the file in the state folder away; NULL: where it most likely is. */
void leak_guard_forget(const char *state_dir);
/**
 * leak_guard_main() - `posternd --leak-guard apply | remove`: exit status.
 *
 * apply: from the configuration at @path, or where that has errors from what was kept, and then the status
 * is 1 all the same.
 */
int leak_guard_main(enum leak_guard what, const char *path);

#endif
