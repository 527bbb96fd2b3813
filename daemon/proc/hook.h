/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DAEMON_PROC_HOOK_H
#define DAEMON_PROC_HOOK_H

/*
 * Theory: the admin's program that is told when a tunnel comes up, with the name servers and
 * addresses that the peer gave, and when it goes. It runs as root, so all that reaches it is fixed or
 * checked: argv is the path alone, the environment these five variables and nothing else, no
 * descriptor but /dev/null, a session of its own, and HOOK_TIME_MS until SIGKILL for all of it.
 *
 *	POSTERN_EVENT	   up | down
 *	POSTERN_PEER	   name of its section
 *	POSTERN_DEVICE	   the tunnel device
 *	POSTERN_DNS	   addresses, a space between two; empty: none
 *	POSTERN_ADDRESSES  the same, of ours
 *
 * One runs at a time; what comes meanwhile waits, the latest word about each peer alone. The parent never
 * waits for it, but at its own end, and then for a bounded time.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "loop.h"
#include "proc_msg.h"

#define HOOK_TIME_MS 10000

struct hook_word {
	char peer[PROC_NAME_MAX];
	bool up;
	struct addr address[2];
	size_t address_count;
	struct addr dns[PROC_DNS_MAX];
	size_t dns_count;
};

struct hook;

/** hook_new() - @device is copied. NULL: out of memory. */
struct hook *hook_new(struct loop *l, const char *device);
void hook_free(struct hook *h);
/**
 * hook_tell() - Run @path soon, unless that peer's last word was the same. 0 or -ENOMEM.
 * @path: NULL: there is none (what was told before is forgotten). It is checked before each run.
 */
int hook_tell(struct hook *h, const char *path, const struct hook_word *w);
/**
 * hook_keep_only() - After a reload: "down" for each peer that is up and that @keep does not know any more.
 * @path: as of hook_tell(), of the new configuration.
 */
void hook_keep_only(struct hook *h, const char *path, bool (*keep)(const char *peer, void *arg),
		    void *arg);
/** hook_lost() - The tunnels went without a word (the child died): "down" for each peer that is up. */
void hook_lost(struct hook *h, const char *path);
/** hook_end() - "down" for each peer that is up; waits until all have run, at most @limit_ms. */
void hook_end(struct hook *h, const char *path, uint64_t limit_ms);

#endif
