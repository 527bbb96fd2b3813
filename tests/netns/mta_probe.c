/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Linked into a postern-mta and a postern-deliver of the tests, whose calls of sandbox_run() come here
 * (ld --wrap). The real process, started by its real parent, is confined by its own table; then, before it
 * does anything else, it tries what it may not, and tells each outcome on stderr:
 *
 *	probe mta smtpd: open-shadow EPERM
 *
 * What a filter answers with death is tried by a copy of the process that confines itself in the same way.
 * The paths are those of tests/netns/mta_privileges.py.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox.h"

int __real_sandbox_run(const struct sandbox_role *role);
int __wrap_sandbox_run(const struct sandbox_role *role);

static const char *role_name;

static void tell(const char *what, const char *outcome)
{
	dprintf(STDERR_FILENO, "probe %s: %s %s\n", role_name, what, outcome);
}

/* ---- what is refused, or not ---- */

static long open_to(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0600);

	if (fd >= 0)
		close(fd);
	return fd;
}

static long of_parent(const char *file, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)getppid(), file);
	return open_to(path, flags);
}

static long open_shadow(void)
{
	return open_to("/etc/shadow", O_RDONLY);
}

static long open_passwd(void)
{
	return open_to("/etc/passwd", O_RDONLY);
}

static long open_key(void)
{
	return open_to("/etc/postern/tls/key.pem", O_RDONLY);
}

static long open_config(void)
{
	return open_to("/etc/postern/mta.conf", O_RDWR);
}

static long open_mail(void)
{
	return open_to("/home/bob/Maildir/new/letter", O_RDONLY);
}

static long open_queue(void)
{
	return open_to("/var/lib/postern/queue", O_RDONLY | O_DIRECTORY);
}

static long open_hop(void)
{
	return open_to("/var/lib/postern/hop.pem", O_RDONLY);
}

static long write_hops(void)
{
	return open_to("/var/lib/postern/hop-keys.0", O_RDWR);
}

static long open_program(void)
{
	return open_to("/usr/bin/env", O_RDONLY);
}

static long create(void)
{
	return open_to("/tmp/probe", O_WRONLY | O_CREAT);
}

static long parent_memory(void)
{
	return of_parent("mem", O_RDWR);
}

static long parent_environ(void)
{
	return of_parent("environ", O_RDONLY);
}

static long own_memory(void)
{
	return open_to("/proc/self/mem", O_RDWR);
}

static long reach(int family, int type, const char *address, uint16_t port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(family, type | SOCK_CLOEXEC, 0);
	long rc = fd;

	inet_pton(AF_INET, address, &to.sin_addr);
	if (fd >= 0) {
		rc = connect(fd, (struct sockaddr *)&to, sizeof(to));
		close(fd);
	}
	return rc;
}

static long connect_tcp(void)
{
	return reach(AF_INET, SOCK_STREAM, "203.0.113.9", 25);
}

static long connect_udp(void)
{
	return reach(AF_INET, SOCK_DGRAM, "203.0.113.9", 53);
}

static long reach_unix(const char *path, int type)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	long rc = fd;

	snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
	if (fd >= 0) {
		rc = connect(fd, (struct sockaddr *)&un, sizeof(un));
		close(fd);
	}
	return rc;
}

static long connect_control(void)
{
	return reach_unix("/run/postern/mta.sock", SOCK_STREAM);
}

static long connect_deliver(void)
{
	return reach_unix("/run/postern/deliver.sock", SOCK_SEQPACKET);
}

static long listen_tcp(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(2626) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	long rc = fd;

	if (fd >= 0) {
		rc = bind(fd, (struct sockaddr *)&at, sizeof(at));
		if (!rc)
			rc = listen(fd, 1);
		close(fd);
	}
	return rc;
}

static long close_if(long fd)
{
	if (fd >= 0)
		close((int)fd);
	return fd;
}

static long socket_packet(void)
{
	return close_if(socket(AF_PACKET, SOCK_RAW, 0));
}

static long socket_netlink(void)
{
	return close_if(socket(AF_NETLINK, SOCK_RAW, 0));
}

static long ring(void)
{
	struct io_uring_params p = { 0 };

	return close_if(syscall(SYS_io_uring_setup, 4, &p));
}

static long fork_one(void)
{
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	if (pid > 0)
		waitpid(pid, NULL, 0);
	return pid;
}

static long become_root(void)
{
	return setresuid(0, 0, 0);
}

static long become_bob(void)
{
	return syscall(SYS_setresuid, -1, 2101, -1);
}

static long kill_parent(void)
{
	return kill(getppid(), 0);
}

static long map_code(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
		       -1, 0);

	if (p == MAP_FAILED)
		return -1;
	munmap(p, 4096);
	return 0;
}

static long dumpable(void)
{
	return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

static long core_limit(void)
{
	struct rlimit l = { 1, 1 };

	return setrlimit(RLIMIT_CORE, &l);
}

static long type_ahead(void)
{
	return ioctl(STDERR_FILENO, TIOCSTI, "x");
}

static long change_mode(void)
{
	return chmod("/home/bob", 0777);
}

static const struct {
	const char *what;
	long (*fn)(void);
	bool changes;
} tries[] = {
	{ "open-shadow", open_shadow },
	{ "open-passwd", open_passwd },
	{ "open-key", open_key },
	{ "write-config", open_config },
	{ "open-mail", open_mail },
	{ "open-queue", open_queue },
	{ "open-hop", open_hop },
	{ "write-hops", write_hops },
	{ "open-program", open_program },
	{ "create", create },
	{ "parent-memory", parent_memory },
	{ "parent-environ", parent_environ },
	{ "own-memory", own_memory },
	{ "connect-tcp", connect_tcp },
	{ "connect-udp", connect_udp },
	{ "connect-control", connect_control },
	{ "connect-deliver", connect_deliver },
	{ "listen", listen_tcp },
	{ "socket-packet", socket_packet },
	{ "socket-netlink", socket_netlink },
	{ "ring", ring },
	{ "fork", fork_one },
	{ "become-root", become_root, true },
	{ "become-bob", become_bob, true },
	{ "kill-parent", kill_parent },
	{ "map-code", map_code },
	{ "dumpable", dumpable, true },
	{ "core-limit", core_limit },
	{ "type-ahead", type_ahead },
	{ "chmod", change_mode },
};

/* ---- what is death, or else refused ---- */

static long run_program(void)
{
	char path[] = "/bin/true", *argv[] = { path, NULL };

	return execv(path, argv);
}

static long trace_parent(void)
{
	return ptrace(PTRACE_SEIZE, getppid(), NULL, NULL);
}

static long read_parent(void)
{
	char b[8];
	struct iovec in = { b, sizeof(b) }, out = { (void *)(uintptr_t)role_name, sizeof(b) };

	return process_vm_readv(getppid(), &in, 1, &out, 1, 0);
}

static long mount_tmp(void)
{
	return mount("none", "/mnt", "tmpfs", 0, NULL);
}

static long name_space(void)
{
	return unshare(CLONE_NEWUSER);
}

static long enter(void)
{
	return syscall(SYS_setns, 0, 0);
}

static long change_root(void)
{
	return chroot("/home");
}

static long key_ring(void)
{
	return syscall(SYS_keyctl, 0, 0, 0, 0, 0);
}

static long bpf_map(void)
{
	char attr[128] = { 0 };

	return syscall(SYS_bpf, 0, attr, sizeof(attr));
}

static const struct {
	const char *what;
	long (*fn)(void);
	bool run; /* deadly but in a parent */
} deadly[] = {
	{ "execve", run_program, true },
	{ "unshare", name_space, true },
	{ "chroot", change_root, true },
	{ "ptrace", trace_parent },
	{ "process_vm_readv", read_parent },
	{ "mount", mount_tmp },
	{ "setns", enter },
	{ "keyctl", key_ring },
	{ "bpf", bpf_map },
};

static void try_deadly(const struct sandbox_role *role, size_t i)
{
	int status = 0;
	pid_t pid = fork();

	if (!pid) {
		if (__real_sandbox_run(role))
			_exit(3);
		_exit(deadly[i].fn() < 0 ? 1 : 0);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFSIGNALED(status))
		tell(deadly[i].what, WTERMSIG(status) == SIGSYS ? "SIGSYS" : "signal");
	else
		tell(deadly[i].what, WEXITSTATUS(status) == 1 ? "refused" : "ok");
}

int __wrap_sandbox_run(const struct sandbox_role *role)
{
	bool parent = role->calls & SANDBOX_DENY_ONLY;
	int rc;

	role_name = role->name;
	for (size_t i = 0; i < sizeof(deadly) / sizeof(deadly[0]); i++) {
		if (!parent || !deadly[i].run)
			try_deadly(role, i);
	}
	rc = __real_sandbox_run(role);
	for (size_t i = 0; !rc && i < sizeof(tries) / sizeof(tries[0]); i++) {
		long got;

		/* What changes it, where it may, would be another process than the one that is looked at. */
		if (parent && tries[i].changes)
			continue;
		errno = 0;
		got = tries[i].fn();
		tell(tries[i].what, got < 0 ? strerrorname_np(errno) : "ok");
	}
	return rc;
}
