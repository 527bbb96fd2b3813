/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DAEMON_PROC_PARENT_INT_H
#define DAEMON_PROC_PARENT_INT_H

/* Inside of the parent: parent.c (life), parent_load.c (configuration), parent_ask.c (requests). */

#include "config.h"
#include "names.h"
#include "netns.h"
#include "hook.h"
#include "leak_guard.h"
#include "net.h"
#include "opening.h"
#include "outer.h"
#include "policy.h"
#include "proc.h"
#include "procs.h"

/* One reading of the configuration and of all files that it names. */
struct loaded {
	struct config *cfg;
	int bundle;
	int secrets; /* sealed memfd with all secret files, for the keys process alone */
};

/* An address that a peer gave us; peer "" when it was found standing at start. */
struct assigned {
	char peer[PROC_NAME_MAX];
	struct addr addr;
};

#define PARENT_CHILDREN 3

struct parent {
	struct loop *loop;
	const char *config_path;
	struct loaded now;
	uint64_t generation;
	struct {
		uid_t uid;
		gid_t gid;
	} user[PROC_IDS];
	uid_t name_uid[CONFIG_NAME_USERS_MAX];
	size_t name_uid_count;
	gid_t admin_gid;
	struct net *net;
	struct netns netns;
	struct proc_program program; /* of child and keys */
	int tun_ns_sock; /* a socket in the TUN's namespace, to ask about it */
	int tun[PROC_WORKERS_MAX];
	struct outer outer;
	int listener[PROC_LISTENERS];
	int state[PROC_STATE_FILES];
	struct pm_qcd qcd;
	struct pm_addresses addresses; /* as the child was told last */
	struct pm_drain drain;
	struct assigned assigned[NET_BYPASS_MAX * 16];
	size_t assigned_count;
	struct hook *hook;
	struct timer forget; /* unclaimed adopted addresses */
	struct timer stop;
	struct proc procs[PARENT_CHILDREN];
	struct proc_table table;
	struct log_limit limit;
	int status;
};

/**
 * loaded_read() - Read and check everything from disk.
 * @text: on failure all errors, one a line; the caller frees. Nothing of @l is left then.
 */
int loaded_read(struct loaded *l, const char *path, char **text);
void loaded_clear(struct loaded *l);
/** qcd_file() - The secret in @dir, made if there is none; 0 or -errno, logged. */
int qcd_file(const char *dir, uint8_t secret[static PROC_QCD_LEN]);
/** parent_log_lines() - Each error of a configuration is a line of its own. */
void parent_log_lines(const char *text);

/** parent_params() - What makes our part of the kernel's state ours. */
void parent_params(const struct parent *p, struct net_params *np);
/** parent_wish() - Tell net what the configuration wants (after net_new() and after each reload). */
void parent_wish(struct parent *p, const struct config *cfg);
/** parent_reload() - 0, or -errno with the reasons in @text, at most @cap with NUL. */
int parent_reload(struct parent *p, char *text, size_t cap);
void parent_send_config(struct parent *p, struct proc *proc);
/** parent_on_message() - A request of a child process. */
void parent_on_message(struct ipc *ipc, struct ipc_msg *m, void *arg);
struct policy parent_policy(struct parent *p);
bool parent_adopt(const struct addr *a, void *arg);
/** parent_forget_unclaimed() - Addresses found at start that no peer gave again. */
void parent_forget_unclaimed(struct parent *p);

#endif
