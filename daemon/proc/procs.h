/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DAEMON_PROC_PROCS_H
#define DAEMON_PROC_PROCS_H

/*
 * The processes of posternd: what each may do (design.md §2) and where each begins.
 */

#include <stdbool.h>

#include "proc_msg.h"
#include "sandbox.h"

/* By enum proc_id; the one list of what each process may do. */
extern const struct sandbox_role posternd_roles[PROC_IDS];
/* For sandbox_opened(): what each may still reach by name. */
extern const struct sandbox_path resolver_paths[];
extern const size_t resolver_path_count;

/**
 * proc_enter() - First thing in a child process: waits for PM_START on PROC_IPC_FD, sets up the log
 * and runs sandbox_start() as the user that it names. 0 or -errno; then exit.
 */
int proc_enter(enum proc_id who);

/* The program of child and keys has posternd's name with this behind it, and lies beside it. */
#define PROC_CHILD_PROGRAM "-child"

struct parent_options {
	const char *config; /* path */
	bool cleanup;	    /* remove what stands in the kernel, and end */
};

/** parent_main() - The root process; returns the exit status. */
int parent_main(const struct parent_options *o);
int keys_main(void);
int resolver_main(void);
/** child_main() - Not here but beside child_main.c: it stands above this layer. */
int child_main(void);

#endif
