/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What each process of posternd may do. */
#include "procs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "log.h"
#include "proc.h"

#define CAP(x) (1ULL << CAP_##x)

/* Devices, sockets below 1024 and marks, the children's users, and nothing that reads files. */
#define PARENT_CAPS                                                                                \
	(CAP(NET_ADMIN) | CAP(NET_RAW) | CAP(NET_BIND_SERVICE) | CAP(SETUID) | CAP(SETGID) |       \
	 CAP(SETPCAP) | CAP(KILL) | CAP(CHOWN))

const struct sandbox_role posternd_roles[PROC_IDS] = {
	/*
	 * Reads every stranger's bytes: no file by name, no new socket, no process. Talks by
	 * what it was given. Its rings are closed to new operations (ring.h).
	 */
	[PROC_CHILD] = { .name = "child",
			 .calls = SANDBOX_IPC | SANDBOX_ACCEPT | SANDBOX_SYNC | SANDBOX_RING |
				  SANDBOX_TUN,
			 .ring_register = { -1 } },
	/* Holds keys, sees lengths and octets, answers results: no file, no socket at all. */
	[PROC_KEYS] = { .name = "keys", .calls = SANDBOX_IPC, .ring_register = { -1 } },
	/* Name services want their libraries, /etc, and sockets of all kinds, but nothing of ours. */
	[PROC_RESOLVER] = { .name = "resolver",
			    .calls = SANDBOX_IPC | SANDBOX_INET | SANDBOX_UNIX | SANDBOX_NETLINK |
				     SANDBOX_READ | SANDBOX_LIBS,
			    .ring_register = { -1 } },
	[PROC_PARENT] = { .name = "parent",
			  .calls = SANDBOX_DENY_ONLY | SANDBOX_FORK,
			  /* SYS_ADMIN: to go to another network namespace and back, netns.h. */
			  .caps_wish = CAP(SYS_ADMIN),
			  .caps_start = PARENT_CAPS,
			  .caps_run = PARENT_CAPS,
			  .ring_register = { -1 } },
};

const struct sandbox_path resolver_paths[] = {
	{ "/etc", SANDBOX_PATH_READ }, /* resolv.conf is replaced by rename: the whole folder */
	{ "/run", SANDBOX_PATH_READ }, /* what resolv.conf may be a link to; nscd, resolved */
	{ "/usr", SANDBOX_PATH_READ }, /* name service libraries, gai.conf */
	{ "/lib", SANDBOX_PATH_READ },	   { "/lib64", SANDBOX_PATH_READ },
	{ "/var/run", SANDBOX_PATH_READ },
};
const size_t resolver_path_count = sizeof(resolver_paths) / sizeof(*resolver_paths);

struct entering {
	enum proc_id who;
	bool done, gone;
	struct pm_start start;
};

static void on_message(struct ipc *ipc, struct ipc_msg *m, void *arg)
{
	struct entering *e = arg;

	if (m->type == PM_START && m->len == sizeof(e->start) && !m->fd_count) {
		memcpy(&e->start, m->data, sizeof(e->start));
		e->done = true;
	} else {
		e->gone = true;
	}
	/* What follows stays in the socket, for the process's own ipc. */
	ipc_free(ipc);
}

static void on_closed(struct ipc *ipc, void *arg)
{
	struct entering *e = arg;

	e->gone = true;
	ipc_free(ipc);
}

int proc_enter(enum proc_id who)
{
	static const struct ipc_ops ops = { .message = on_message, .closed = on_closed };
	struct entering e = { .who = who };
	char program[64];
	struct loop *l;
	int fd, rc = 0;

	snprintf(program, sizeof(program), "posternd/%s", posternd_roles[who].name);
	log_setup(program, LOG_LVL_INFO, STDERR_FILENO);
	/* "exe" is what the kernel knows it as; a log of refused calls should say more. */
	prctl(PR_SET_NAME, program + strlen("posternd/"), 0, 0, 0);
	fcntl(PROC_IPC_FD, F_SETFD, FD_CLOEXEC);
	fd = fcntl(PROC_IPC_FD, F_DUPFD_CLOEXEC, PROC_IPC_FD + 1);
	if (fd < 0)
		return -errno;
	l = loop_new();
	if (!l || !ipc_new(l, fd, &ops, &e)) {
		loop_free(l);
		return -errno;
	}
	while (!rc && !e.done && !e.gone)
		rc = loop_once(l, -1);
	loop_free(l);
	if (rc || e.gone)
		return rc ? rc : -EPIPE;
	log_setup(program, (enum log_level)e.start.log_level, STDERR_FILENO);
	return sandbox_start(&posternd_roles[who], e.start.uid, e.start.gid, PROC_IPC_FD);
}
