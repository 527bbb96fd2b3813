/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BASE_PROC_H
#define BASE_PROC_H

/*
 * Theory: a daemon is a parent and a const table of children. A child is forked and re-executed
 * from /proc/self/exe, or, where its row says so, from the program beside it, so that no process loads
 * libraries of another (fresh address space layout, nothing of the parent's memory), with
 *
 *	argv = { program, "--proc", NAME }
 *	environment: PATH, TZ; as they are, if they are: OPENSSL_ia32cap and the sanitizers' options
 *	fd 3 = SOCK_SEQPACKET to the parent (struct ipc), other descriptors close-on-exec
 *
 * and gets all else (configuration, keys, sockets, a socketpair to a sibling) as messages on fd 3. The
 * child ends when fd 3 closes; the parent restarts a child that ends, at once the first time,
 * then with a pause that doubles to 10 s, and back to at once after a minute of life. A program that cannot be run
 * is an error of the start, and later one that is told, and tried again, every 10 s.
 */

#include <sys/types.h>

#include "ipc.h"
#include "loop.h"

#define PROC_IPC_FD   3
#define PROC_PATH_MAX 4096

struct proc_spec {
	const char *name; /* "child", "keys": what stands after --proc and in the log */
	int id;		  /* of the daemon's own enum */
	bool beside;	  /* it is of the program that proc_table.beside names */
};

struct proc {
	const struct proc_spec *spec;
	pid_t pid; /* 0: not running */
	struct ipc *ipc;
	uint64_t started_ms;
	uint64_t pause_ms;
	struct timer restart;
	struct proc_table *table;
};

struct proc_program {
	int fd; /* -errno: there is none to be run */
	char path[PROC_PATH_MAX];
};

struct proc_table {
	struct loop *loop;
	const char *program; /* "posternd" */
	struct proc_program beside; /* by proc_program(); only for rows that say so */
	struct proc *procs;  /* count of them, owned by the caller */
	size_t count;
	const struct ipc_ops *ops; /* arg is the struct proc; .closed: usually proc_default_closed */
	/* After a (re)start: send configuration and descriptors. */
	void (*started)(struct proc *p, void *arg);
	/* After a child ended; @status as of waitpid. It will be restarted unless stopping. */
	void (*ended)(struct proc *p, int status, void *arg);
	void *arg;
	bool stopping;
};

/** proc_start_all() - Installs the SIGCHLD handler and starts every child; 0 or -errno, of which a line says why. */
int proc_start_all(struct proc_table *t, const struct proc_spec *specs);
/** proc_stop_all() - SIGTERM to each, wait up to @grace_ms, then SIGKILL; children reaped. */
void proc_stop_all(struct proc_table *t, uint64_t grace_ms);
struct proc *proc_by_id(struct proc_table *t, int id);
/** proc_default_closed() - For ipc_ops.closed: a child that hung up but lives is killed. */
void proc_default_closed(struct ipc *ipc, void *arg);

/**
 * proc_program() - The program beside ours whose name is ours with @suffix behind it.
 *
 * Opened once, by a parent at its start: what is installed in its place later does not mix with who runs now.
 * @p: its path, and a descriptor above PROC_IPC_FD, close-on-exec; or -errno where there is no such program or it may
 *	not be run. Returns that too, or 0.
 */
int proc_program(const char *suffix, struct proc_program *p);
/** proc_exec() - Become the program of proc_program(); gives -errno if that fails. */
int proc_exec(const struct proc_program *p, char *const argv[], char *const envp[]);
/** proc_cure() - For people: what to do about a program that proc_program() or proc_exec() gave @rc for. */
const char *proc_cure(int rc);
/**
 * proc_child_name() - NULL in the parent; in a child the NAME after --proc.
 * The child's main then calls ipc_new(loop, PROC_IPC_FD, ...).
 */
const char *proc_child_name(int argc, char **argv);

/**
 * proc_user() - Resolve a user name or number; 0, -ENOENT.
 */
int proc_user(const char *name, uid_t *uid, gid_t *gid);
/**
 * proc_become() - Drop to @uid and @gid, no supplementary groups, no new privileges, not dumpable,
 * die with the parent. 0 or -errno; a caller that gets an error must exit.
 */
int proc_become(uid_t uid, gid_t gid);

#endif
