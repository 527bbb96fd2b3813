/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BASE_SANDBOX_H
#define BASE_SANDBOX_H

/*
 * Theory: a process gives up what it holds in three steps, each at the earliest moment at which it
 * can, and each told by a comment at the function below. What a process may do is a row of a const
 * table (struct sandbox_role) that its daemon keeps beside its list of processes.
 *
 *	main -> sandbox_start -> [receive, open, parse own files] -> sandbox_opened
 *	     -> [make rings, start threads] -> sandbox_run -> [read the first byte of a stranger]
 *
 * seccomp answers an unforeseen call with EPERM and the kernel logs it (a new libc that tries a new
 * call must not take the tunnel down); calls that no process of ours has a use for and an intruder
 * has (execve, ptrace, bpf, mount, setns, ...) kill the process. Capabilities go by libcap-ng.
 * Landlock goes by system call; a kernel without it is tolerated and the log says so.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Groups of system calls. Memory, clocks, futex, poll, read and write on open descriptors, signals
 * and exit are in every role. */
enum sandbox_calls {
	SANDBOX_IPC = 1 << 0, /* send/recv with descriptors on open sockets, socketpair(AF_UNIX) */
	SANDBOX_ACCEPT = 1 << 1,  /* accept4, getpeername, getsockname, setsockopt, shutdown */
	SANDBOX_INET = 1 << 2,	  /* socket(AF_INET, AF_INET6), bind, connect, setsockopt */
	SANDBOX_UNIX = 1 << 3,	  /* socket(AF_UNIX), connect */
	SANDBOX_NETLINK = 1 << 4, /* socket(AF_NETLINK, NETLINK_ROUTE): getaddrinfo looks for v6 */
	SANDBOX_READ = 1 << 5,	  /* open for reading only, stat, getdents; where: Landlock */
	SANDBOX_WRITE = 1 << 6,	  /* open with any flag, rename, unlink, fsync, fallocate */
	SANDBOX_SYNC = 1 << 7, /* pread, pwrite, fsync, fdatasync, ftruncate on open descriptors */
	SANDBOX_THREADS = 1 << 8, /* new threads after sandbox_run (never processes) */
	SANDBOX_RING = 1 << 9,	/* io_uring_enter; io_uring_register as struct sandbox_role says */
	SANDBOX_TUN = 1 << 10,	/* ioctl TUNSETOFFLOAD, TUNGETIFF, TUNSETVNETHDRSZ */
	SANDBOX_FORK = 1 << 11, /* fork, exec, wait, kill: parents */
	SANDBOX_LIBS = 1 << 12, /* map executable pages: libraries loaded late (getaddrinfo) */
	/* All but the deadly calls: a parent, whose children inherit its filter and add their own. */
	SANDBOX_DENY_ONLY = 1 << 13,
};

#define SANDBOX_LIST_MAX  24
#define SANDBOX_PORTS_MAX 8

struct sandbox_role {
	const char *name;    /* in the log */
	unsigned calls;	     /* SANDBOX_* */
	uint64_t caps_start; /* capabilities (1ULL << CAP_x) kept by sandbox_start */
	uint64_t caps_run;   /* kept for life, a subset of them */
	uint64_t caps_wish;  /* as caps_start, but a unit may have taken them away */
	/*
	 * With SANDBOX_INET: the ports that TCP may go to, ended by 0; none: all. Landlock ABI 4; an older kernel
	 * lets it go everywhere.
	 */
	uint16_t tcp_ports[SANDBOX_PORTS_MAX];
	/* More system calls by name, ended by NULL; a name that this machine lacks is skipped. */
	const char *extra[SANDBOX_LIST_MAX];
	/* io_uring_register opcodes allowed while running, ended by -1 (SANDBOX_RING only; none: { -1 }). */
	int ring_register[SANDBOX_LIST_MAX];
};

enum sandbox_access {
	SANDBOX_PATH_READ = 1,	/* a file, or all beneath a directory */
	SANDBOX_PATH_WRITE = 2, /* write, create, rename, remove beneath */
	SANDBOX_PATH_EXEC = 4,
};

struct sandbox_path {
	const char *path; /* need not exist: then it grants nothing */
	unsigned access;  /* SANDBOX_PATH_* */
};

/**
 * sandbox_start() - First thing in main, before any configuration is read.
 * @role: what the process is.
 * @uid, @gid: whom to become; the present ones are allowed (a unit with User= has dropped already).
 * @keep: highest descriptor that stays open; those above it are closed (children: 3).
 *
 * Drops: supplementary groups, user, all capabilities but caps_start (bounding and ambient sets
 * too), new privileges, core dumps, tracing by others, inherited descriptors; umask is 077. A
 * process with @keep above 2 is a child and dies with its parent.
 * Still held: caps_start, for what the process opens itself; every system call, to load libraries
 * and name services; the file system as the user sees it, to read its own files.
 *
 * Returns 0 or -errno; a caller that gets an error must exit. Single thread.
 */
int sandbox_start(const struct sandbox_role *role, uid_t uid, gid_t gid, int keep);

/**
 * sandbox_opened() - All files and sockets are open; before threads are started.
 * @paths: what stays reachable by name, @count entries; NULL and 0 for nothing at all.
 *
 * Drops: capabilities down to caps_run; the file system but @paths (Landlock, also for root);
 * with Landlock ABI 4 TCP for roles without SANDBOX_INET, with ABI 6 abstract sockets (roles
 * without SANDBOX_UNIX) and signals (roles without SANDBOX_FORK) to the outside.
 * Still held: every system call, because rings and threads are made after this.
 *
 * Returns 0 also when the kernel has no Landlock, or one that does not fit (logged once, at info).
 */
int sandbox_opened(const struct sandbox_role *role, const struct sandbox_path *paths, size_t count);

/**
 * sandbox_run() - Rings and threads stand; before the first byte from a stranger is read.
 *
 * Drops, for all threads of the process: every system call outside @role. A role with SANDBOX_RING
 * loses io_uring_setup and all io_uring_register opcodes but its own; what its rings may do
 * was settled by their restrictions (ring.h), which seccomp cannot see.
 * Still held: the role's calls, caps_run, @paths of sandbox_opened. The start is over: lean_settle().
 */
int sandbox_run(const struct sandbox_role *role);

/**
 * sandbox_landlock_fits() - Does Landlock of this version (0: none) allow all that @paths ask for?
 *
 * Version 1 (Linux 5.13 to 5.18) answers EXDEV to each rename from one directory to another, whatever
 * was granted: where files are written it cannot be used.
 */
bool sandbox_landlock_fits(int abi, const struct sandbox_path *paths, size_t count);
/** sandbox_landlock_abi() - 0 when the kernel has none; for status and tests. */
int sandbox_landlock_abi(void);

#endif
