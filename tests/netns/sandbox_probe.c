/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * sandbox_probe ROLE UID WHAT: become what ROLE (child, keys, resolver) of posternd is, by the same calls
 * and the same tables, then try WHAT and print "ok" or the name of the error. Death by the
 * filter shows as the signal. ROLE "none" tries it unconfined: what shows that the test can fail.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "procs.h"
#include "ring.h"

static struct ring ring;

static int ring_try(uint8_t op)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring.u);
	struct io_uring_cqe *cqe;
	int rc;

	if (!sqe)
		return -ENOSPC;
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = op;
	sqe->fd = op == IORING_OP_OPENAT ? AT_FDCWD : AF_INET;
	if (op == IORING_OP_OPENAT)
		sqe->addr = (uint64_t)(uintptr_t) "/etc/passwd";
	else
		sqe->off = SOCK_DGRAM;
	rc = io_uring_submit_and_wait(&ring.u, 1);
	if (rc < 0)
		return rc;
	rc = io_uring_wait_cqe(&ring.u, &cqe);
	return rc ? rc : cqe->res;
}

static long attempt(const char *what)
{
	char *argv[] = { (char *)(uintptr_t) "/bin/true", NULL };
	struct io_uring_params up = { 0 };

	if (!strcmp(what, "open-etc"))
		return open("/etc/passwd", O_RDONLY);
	if (!strcmp(what, "open-root"))
		return open("/proc/version", O_RDONLY);
	if (!strcmp(what, "create"))
		return open("/tmp/sandbox-probe", O_WRONLY | O_CREAT, 0600);
	if (!strcmp(what, "socket-inet"))
		return socket(AF_INET, SOCK_DGRAM, 0);
	if (!strcmp(what, "socket-packet"))
		return socket(AF_PACKET, SOCK_RAW, 0);
	if (!strcmp(what, "ring-setup"))
		return syscall(SYS_io_uring_setup, 4, &up);
	if (!strcmp(what, "execve"))
		return execv(argv[0], argv);
	if (!strcmp(what, "mount"))
		return syscall(SYS_mount, "none", "/mnt", "tmpfs", 0, NULL);
	errno = EINVAL;
	return -1;
}

static int make_ring(bool locked)
{
	static const uint8_t ops[] = { IORING_OP_READ };
	int fds[] = { STDERR_FILENO };
	int rc = ring_open(&ring, 8, false);

	if (!rc)
		rc = ring_files(&ring, fds, 1);
	if (!rc && locked)
		rc = ring_restrict(&ring, ops, 1);
	return rc ? rc : ring_enable(&ring);
}

int main(int argc, char **argv)
{
	const struct sandbox_role *role = NULL;
	uid_t uid = argc > 2 ? (uid_t)atoi(argv[2]) : 0;
	bool by_ring = argc > 3 && !strncmp(argv[3], "by-ring-", 8);
	long rc;

	for (int i = 0; argc == 4 && i < PROC_IDS; i++) {
		if (!strcmp(posternd_roles[i].name, argv[1]))
			role = &posternd_roles[i];
	}
	if (argc != 4 || (!role && strcmp(argv[1], "none")))
		return 2;
	if (role && sandbox_start(role, uid, uid, STDERR_FILENO))
		return 3;
	if (role && (role == &posternd_roles[PROC_RESOLVER]
			 ? sandbox_opened(role, resolver_paths, resolver_path_count)
			 : sandbox_opened(role, NULL, 0)))
		return 3;
	if (by_ring && make_ring(role != NULL)) {
		puts("no-ring");
		return 0;
	}
	if (role && sandbox_run(role))
		return 3;
	if (by_ring) {
		rc = ring_try(!strcmp(argv[3], "by-ring-open") ? IORING_OP_OPENAT
							       : IORING_OP_SOCKET);
		errno = rc < 0 ? (int)-rc : 0;
	} else {
		rc = attempt(argv[3]);
	}
	printf("%s\n", rc < 0 ? strerrorname_np(errno) : "ok");
	fflush(stdout);
	_exit(0);
}
