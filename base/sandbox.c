/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sandbox.h"

#include <asm/ioctls.h>
#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <malloc.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "lean.h"
#include "log.h"
#include "secret.h"

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#if SANITIZED
/* The leak checker wants clone and ptrace at exit, which a confined process does not have. */
static int confined;
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
	return confined;
}
#endif

/* ---- system calls ---- */

/*
 * Without restriction on arguments. close_range and the getters are harmless; mmap, mprotect,
 * prctl, tgkill, ioctl and fstat by newfstatat are added apart, with their arguments.
 */
static const char *const base_calls[] = {
	/* clang-format off */
	"read", "write", "readv", "writev", "pread64", "close", "close_range", "fstat", "lseek", "dup", "dup2", "dup3",
	"fcntl", "fcntl64", "pipe2", "_llseek",
	"munmap", "mremap", "madvise", "brk", "mlock", "munlock", "membarrier",
	"rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigtimedwait", "sigreturn", "sigaltstack",
	"futex", "futex_time64", "futex_waitv", "set_robust_list", "get_robust_list", "rseq", "set_tid_address",
	"clock_gettime", "clock_gettime64", "clock_getres", "clock_nanosleep", "clock_nanosleep_time64",
	"nanosleep", "gettimeofday", "time", "times", "getrusage", "sysinfo", "uname", "getcpu",
	"epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll",
	"ppoll_time64", "select", "pselect6", "pselect6_time64", "_newselect",
	"eventfd2", "timerfd_create", "timerfd_settime", "timerfd_gettime", "signalfd4",
	"getpid", "getppid", "gettid", "getuid", "geteuid", "getgid", "getegid", "getuid32", "geteuid32",
	"getgid32", "getegid32", "getresuid", "getresgid", "getrlimit", "ugetrlimit", "getrandom",
	"sched_yield", "sched_getaffinity", "exit", "exit_group", "restart_syscall",
	/* clang-format on */
};

static const char *const ipc_calls[] = { "sendmsg",    "recvmsg",  "sendto",	     "recvfrom",
					 "sendmmsg",   "recvmmsg", "send",	     "recv",
					 "getsockopt", "shutdown", "recvmmsg_time64" };
static const char *const accept_calls[] = { "accept",	   "accept4",	 "getpeername",
					    "getsockname", "setsockopt", "shutdown" };
static const char *const inet_calls[] = { "bind",	 "connect",	"setsockopt", "getsockopt",
					  "getpeername", "getsockname", "shutdown" };
static const char *const unix_calls[] = { "connect", "getpeername", "getsockname", "setsockopt" };
static const char *const netlink_calls[] = { "bind", "getsockname" };
static const char *const read_calls[] = {
	"stat",	     "lstat",	   "newfstatat", "statx",	  "access",
	"faccessat", "faccessat2", "readlink",	 "readlinkat",	  "getdents64",
	"statfs",    "fstatfs",	   "getcwd",	 "inotify_init1", "inotify_add_watch",
	"fstatat64", "stat64",	   "fstat64",	 "lstat64",	  "inotify_rm_watch",
	"fstatfs64", "statfs64",
};
static const char *const sync_calls[] = {
	"pwrite64",  "preadv",	  "pwritev",	 "preadv2",	    "pwritev2",	 "fsync",
	"fdatasync", "ftruncate", "ftruncate64", "sync_file_range", "fallocate",
};
static const char *const write_calls[] = {
	"open",	  "openat",   "openat2",  "rename",    "renameat", "renameat2",
	"unlink", "unlinkat", "link",	  "linkat",    "mkdir",	   "mkdirat",
	"rmdir",  "fchmod",   "fchmodat", "utimensat", "flock",	   "copy_file_range",
};
static const char *const fork_calls[] = {
	"fork",	  "vfork", "clone",   "clone3",	    "execve", "wait4",
	"waitid", "kill",  "setpgid", "pidfd_open", "setsid", "pidfd_send_signal",
};

/* What an intruder wants and we never call: the process dies. */
static const char *const deadly_calls[] = {
	/* clang-format off */
	"ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "pidfd_getfd", "kcmp",
	"bpf", "perf_event_open", "userfaultfd", "fanotify_init", "lookup_dcookie",
	"mount", "umount", "umount2", "pivot_root", "move_mount", "open_tree", "fsopen", "fsconfig",
	"fsmount", "fspick", "mount_setattr", "open_by_handle_at", "quotactl", "quotactl_fd", "acct",
	"init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "reboot",
	"swapon", "swapoff", "setns", "keyctl", "add_key", "request_key", "ioperm", "iopl", "modify_ldt",
	"personality", "vhangup", "syslog", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex",
	"mbind", "set_mempolicy", "migrate_pages", "move_pages",
	/* clang-format on */
};
/* Deadly but in a parent, whose children are still to start. */
static const char *const deadly_run_calls[] = { "execve", "execveat", "unshare", "chroot" };

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

/* One rule; a call that this machine or this libseccomp does not know is no call to worry about. */
static int rule(scmp_filter_ctx ctx, uint32_t action, const char *name, unsigned args,
		const struct scmp_arg_cmp *cmp)
{
	int nr = seccomp_syscall_resolve_name(name), rc;

	if (nr == __NR_SCMP_ERROR)
		return 0;
	rc = seccomp_rule_add_array(ctx, action, nr, args, cmp);
	/* -EEXIST: in two groups; -EDOM: a pseudo call of another machine. */
	return rc == -EEXIST || rc == -EDOM ? 0 : rc;
}

static int allow(scmp_filter_ctx ctx, const char *const *names, size_t count)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < count; i++)
		rc = rule(ctx, SCMP_ACT_ALLOW, names[i], 0, NULL);
	return rc;
}

/* The low half of argument @arg, under @mask, is @value: ints and flags, whatever lies above them. */
static int allow_if(scmp_filter_ctx ctx, const char *name, unsigned arg, uint32_t mask,
		    uint32_t value)
{
	struct scmp_arg_cmp cmp = SCMP_CMP64(arg, SCMP_CMP_MASKED_EQ, mask, value);

	return rule(ctx, SCMP_ACT_ALLOW, name, 1, &cmp);
}

static int allow_socket(scmp_filter_ctx ctx, uint32_t family)
{
	return allow_if(ctx, "socket", 0, UINT32_MAX, family);
}

static int allow_base(scmp_filter_ctx ctx, const struct sandbox_role *role)
{
	bool libs = role->calls & SANDBOX_LIBS;
	uint32_t exec = libs ? 0 : PROT_EXEC;
	int rc = allow(ctx, base_calls, COUNT(base_calls));

	if (!rc)
		rc = allow_if(ctx, "mmap", 2, exec, 0);
	if (!rc)
		rc = allow_if(ctx, "mmap2", 2, exec, 0);
	if (!rc)
		rc = allow_if(ctx, "mprotect", 2, exec, 0);
	if (!rc)
		rc = allow_if(ctx, "prctl", 0, UINT32_MAX, PR_SET_NAME);
	if (!rc) /* abort() */
		rc = allow_if(ctx, "tgkill", 0, UINT32_MAX, (uint32_t)getpid());
	if (!rc) /* fstat() of newer C libraries */
		rc = allow_if(ctx, "newfstatat", 3, UINT32_MAX, AT_EMPTY_PATH);
	if (!rc)
		rc = allow_if(ctx, "ioctl", 1, UINT32_MAX, FIONREAD);
	if (!rc)
		rc = allow_if(ctx, "ioctl", 1, UINT32_MAX, FIONBIO);
	return rc;
}

static int allow_tun(scmp_filter_ctx ctx)
{
	static const uint32_t requests[] = { TUNSETOFFLOAD, TUNGETIFF, TUNSETVNETHDRSZ,
					     TUNGETVNETHDRSZ, TUNGETFEATURES };
	int rc = 0;

	for (size_t i = 0; !rc && i < COUNT(requests); i++)
		rc = allow_if(ctx, "ioctl", 1, UINT32_MAX, requests[i]);
	return rc;
}

static int allow_read(scmp_filter_ctx ctx)
{
	const uint32_t writing =
	    O_ACCMODE | O_CREAT | O_TRUNC | O_APPEND | (O_TMPFILE & ~O_DIRECTORY);
	int rc = allow(ctx, read_calls, COUNT(read_calls));

	if (!rc)
		rc = allow_if(ctx, "open", 1, writing, O_RDONLY);
	return rc ? rc : allow_if(ctx, "openat", 2, writing, O_RDONLY);
}

static int allow_sockets(scmp_filter_ctx ctx, unsigned calls)
{
	int rc = 0;

	if (calls & SANDBOX_IPC) {
		rc = allow(ctx, ipc_calls, COUNT(ipc_calls));
		if (!rc)
			rc = allow_if(ctx, "socketpair", 0, UINT32_MAX, AF_UNIX);
	}
	if (!rc && calls & SANDBOX_ACCEPT)
		rc = allow(ctx, accept_calls, COUNT(accept_calls));
	if (!rc && calls & SANDBOX_INET) {
		rc = allow_socket(ctx, AF_INET);
		if (!rc)
			rc = allow_socket(ctx, AF_INET6);
		if (!rc)
			rc = allow(ctx, inet_calls, COUNT(inet_calls));
	}
	if (!rc && calls & SANDBOX_UNIX) {
		rc = allow_socket(ctx, AF_UNIX);
		if (!rc)
			rc = allow(ctx, unix_calls, COUNT(unix_calls));
	}
	if (!rc && calls & SANDBOX_NETLINK) {
		struct scmp_arg_cmp cmp[2] = {
			SCMP_CMP64(0, SCMP_CMP_MASKED_EQ, UINT32_MAX, AF_NETLINK),
			SCMP_CMP64(2, SCMP_CMP_MASKED_EQ, UINT32_MAX, NETLINK_ROUTE),
		};

		rc = rule(ctx, SCMP_ACT_ALLOW, "socket", 2, cmp);
		if (!rc)
			rc = allow(ctx, netlink_calls, COUNT(netlink_calls));
	}
	return rc;
}

static int allow_ring(scmp_filter_ctx ctx, const struct sandbox_role *role)
{
	int rc = rule(ctx, SCMP_ACT_ALLOW, "io_uring_enter", 0, NULL);

	for (size_t i = 0; !rc && i < SANDBOX_LIST_MAX && role->ring_register[i] >= 0; i++)
		rc = allow_if(ctx, "io_uring_register", 1, UINT32_MAX,
			      (uint32_t)role->ring_register[i]);
	return rc;
}

/* An absent clone3 makes the C library take clone, whose flags can be seen. */
static int allow_threads(scmp_filter_ctx ctx, unsigned calls)
{
	int rc = 0;

	if (calls & SANDBOX_FORK)
		return allow(ctx, fork_calls, COUNT(fork_calls));
	if (calls & SANDBOX_THREADS)
		rc = allow_if(ctx, "clone", 0, CLONE_THREAD, CLONE_THREAD);
	return rc ? rc : rule(ctx, SCMP_ACT_ERRNO(ENOSYS), "clone3", 0, NULL);
}

static int allow_role(scmp_filter_ctx ctx, const struct sandbox_role *role)
{
	unsigned calls = role->calls;
	int rc = allow_base(ctx, role);

	if (!rc)
		rc = allow_sockets(ctx, calls);
	if (!rc)
		rc = allow_threads(ctx, calls);
	if (!rc && calls & SANDBOX_READ)
		rc = allow_read(ctx);
	if (!rc && calls & SANDBOX_WRITE)
		rc = allow(ctx, write_calls, COUNT(write_calls));
	if (!rc && calls & SANDBOX_WRITE)
		rc = allow(ctx, read_calls, COUNT(read_calls));
	if (!rc && calls & (SANDBOX_SYNC | SANDBOX_WRITE))
		rc = allow(ctx, sync_calls, COUNT(sync_calls));
	if (!rc && calls & SANDBOX_RING)
		rc = allow_ring(ctx, role);
	if (!rc && calls & SANDBOX_TUN)
		rc = allow_tun(ctx);
	for (size_t i = 0; !rc && i < SANDBOX_LIST_MAX && role->extra[i]; i++)
		rc = rule(ctx, SCMP_ACT_ALLOW, role->extra[i], 0, NULL);
	return rc;
}

static int kill_on(scmp_filter_ctx ctx, const char *const *names, size_t count)
{
	int rc = 0;

	for (size_t i = 0; !rc && !SANITIZED && i < count; i++)
		rc = rule(ctx, SCMP_ACT_KILL_PROCESS, names[i], 0, NULL);
	return rc;
}

static int filter(scmp_filter_ctx ctx, const struct sandbox_role *role)
{
	/* ENOSYS elsewhere: a missing attribute (old libseccomp) costs the log line, not the filter. */
	int rc = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);

	if (!rc)
		rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);
	if (rc)
		return rc;
	(void)seccomp_attr_set(ctx, SCMP_FLTATR_CTL_LOG, 1);
	(void)seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (!(role->calls & SANDBOX_DENY_ONLY))
		rc = allow_role(ctx, role);
	if (!rc)
		rc = kill_on(ctx, deadly_calls, COUNT(deadly_calls));
	if (!rc && !(role->calls & (SANDBOX_DENY_ONLY | SANDBOX_FORK)))
		rc = kill_on(ctx, deadly_run_calls, COUNT(deadly_run_calls));
	return rc ? rc : seccomp_load(ctx);
}

int sandbox_run(const struct sandbox_role *role)
{
	uint32_t other = role->calls & SANDBOX_DENY_ONLY ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(EPERM);
	scmp_filter_ctx ctx = seccomp_init(other);
	int rc;

	if (!ctx)
		return -ENOMEM;
	rc = filter(ctx, role);
	seccomp_release(ctx);
	if (rc)
		log_err(NULL, "role %s: cannot load the seccomp filter: %s", role->name,
			strerror(-rc));
#if SANITIZED
	confined = !(role->calls & (SANDBOX_DENY_ONLY | SANDBOX_FORK));
#endif
	lean_settle();
	return rc;
}

/* ---- capabilities and user ---- */

#define ARENAS 2 /* of malloc: no thread of ours allocates while it works */

static int set_caps(uint64_t caps, capng_select_t which)
{
	capng_clear(CAPNG_SELECT_CAPS);
	for (unsigned cap = 0; cap < 64; cap++) {
		if (caps & 1ULL << cap &&
		    capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, cap) < 0)
			return -EINVAL;
	}
	return capng_apply(which) < 0 ? -EPERM : 0;
}

/* The bounding set holds what the role may keep; only who holds CAP_SETPCAP can narrow it. */
static int bound(uint64_t caps)
{
	for (unsigned cap = 0; cap < 64; cap++) {
		if (caps & 1ULL << cap)
			continue;
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			return errno == EINVAL ? 0 : -errno;
	}
	return 0;
}

/* Of @wish only what we have: what it is for says so itself when it comes to that. */
static int become(uint64_t caps, uint64_t wish, uid_t uid, gid_t gid)
{
	bool same = geteuid() == uid && getuid() == uid && getegid() == gid && getgid() == gid;
	int rc;

	if (capng_get_caps_process() < 0)
		return -EIO;
	for (unsigned cap = 0; cap < 64; cap++)
		if (wish & 1ULL << cap && capng_have_capability(CAPNG_PERMITTED, cap))
			caps |= 1ULL << cap;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 && errno != EINVAL)
		return -errno;
	if (capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP)) {
		rc = bound(caps);
		if (rc)
			return rc;
	}
	if (same && uid) {
		/* A unit with User= has dropped already, or a test runs as an ordinary user. */
		for (unsigned cap = 0; cap < 64; cap++) {
			if (caps & 1ULL << cap && !capng_have_capability(CAPNG_PERMITTED, cap))
				caps &= ~(1ULL << cap);
		}
		return set_caps(caps, CAPNG_SELECT_CAPS);
	}
	if (same)
		return set_caps(caps, CAPNG_SELECT_CAPS);
	/* Capabilities survive the change of user only by this flag, and only for this moment. */
	if (caps && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		return -errno;
	if (syscall(SYS_setgroups, 0, NULL) < 0 || setresgid(gid, gid, gid) < 0 ||
	    setresuid(uid, uid, uid) < 0)
		return -errno;
	if (caps && prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0)
		return -errno;
	rc = set_caps(caps, CAPNG_SELECT_CAPS);
	if (!rc && uid && setresuid(0, 0, 0) == 0)
		rc = -EPERM; /* the way back must be closed */
	return rc;
}

static void close_above(int keep)
{
	if (syscall(SYS_close_range, keep + 1, ~0u, 0) == 0)
		return;
	for (int fd = keep + 1; fd < 65536; fd++)
		close(fd);
}

int sandbox_start(const struct sandbox_role *role, uid_t uid, gid_t gid, int keep)
{
	int rc;

	close_above(keep);
	umask(077);
	/* What libraries would read later, when they no longer can: the time zone, the CPU count (for
	 * malloc's arenas), random bytes for jansson's tables, which else are seeded by the time. */
	tzset();
	json_object_seed(0);
#ifdef M_ARENA_MAX
	mallopt(M_ARENA_MAX, ARENAS);
#endif
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	rc = become(role->caps_start | role->caps_run, role->caps_wish, uid, gid);
	if (rc) {
		log_err(NULL, "role %s: cannot become uid %u: %s", role->name, (unsigned)uid,
			strerror(-rc));
		return rc;
	}
	/* After the change of user, which clears the signal and would set us dumpable. */
	if (keep > 2 && prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return -errno;
	secret_process_harden();
	return 0;
}

/* ---- Landlock ---- */

/* Own names: the headers of Debian 12 know less than the kernels that we run on. */
struct ruleset_attr {
	uint64_t handled_fs, handled_net, scoped;
};

struct path_attr {
	uint64_t allowed;
	int32_t parent_fd;
} __attribute__((packed));

struct port_attr {
	uint64_t allowed, port;
};

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule	    445
#define SYS_landlock_restrict_self  446
#endif

#define RULESET_VERSION	  1u
#define RULE_PATH_BENEATH 1
#define RULE_NET_PORT	  2
#define FS_EXECUTE	  (1ULL << 0)
#define FS_WRITE_FILE	  (1ULL << 1)
#define FS_READ_FILE	  (1ULL << 2)
#define FS_READ_DIR	  (1ULL << 3)
#define FS_REMOVE_DIR	  (1ULL << 4)
#define FS_REMOVE_FILE	  (1ULL << 5)
#define FS_MAKE_DIR	  (1ULL << 7)
#define FS_MAKE_REG	  (1ULL << 8)
#define FS_MAKE_SOCK	  (1ULL << 9)
#define FS_REFER	  (1ULL << 13)
#define FS_TRUNCATE	  (1ULL << 14)
#define FS_ABI1		  ((1ULL << 13) - 1)
#define FS_ABI2		  (FS_ABI1 | FS_REFER)
#define FS_ABI3		  (FS_ABI2 | FS_TRUNCATE)
#define FS_ABI5		  (FS_ABI3 | 1ULL << 15) /* ioctl on devices */
#define NET_BIND_TCP	  (1ULL << 0)
#define NET_CONNECT_TCP	  (1ULL << 1)
#define SCOPE_ABSTRACT	  (1ULL << 0)
#define SCOPE_SIGNAL	  (1ULL << 1)
#define FS_OF_A_FILE	  (FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE)

int sandbox_landlock_abi(void)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, RULESET_VERSION);

	return abi > 0 ? (int)abi : 0;
}

static uint64_t handled_fs(int abi)
{
	return abi >= 5 ? FS_ABI5 : abi >= 3 ? FS_ABI3 : abi == 2 ? FS_ABI2 : FS_ABI1;
}

static uint64_t path_rights(unsigned access)
{
	uint64_t r = 0;

	if (access & SANDBOX_PATH_READ)
		r |= FS_READ_FILE | FS_READ_DIR;
	if (access & SANDBOX_PATH_WRITE)
		r |= FS_WRITE_FILE | FS_TRUNCATE | FS_REMOVE_FILE | FS_REMOVE_DIR | FS_MAKE_REG |
		     FS_MAKE_DIR | FS_MAKE_SOCK | FS_REFER;
	if (access & SANDBOX_PATH_EXEC)
		r |= FS_EXECUTE;
	return r;
}

static int add_path(int ruleset, const struct sandbox_path *p, uint64_t handled)
{
	struct path_attr attr = { .allowed = path_rights(p->access) & handled };
	struct stat st;
	int fd = open(p->path, O_PATH | O_CLOEXEC), rc = 0;

	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR || errno == EACCES ? 0 : -errno;
	if (fstat(fd, &st) == 0 && !S_ISDIR(st.st_mode))
		attr.allowed &= FS_OF_A_FILE;
	attr.parent_fd = fd;
	if (attr.allowed &&
	    syscall(SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &attr, 0) < 0)
		rc = -errno;
	close(fd);
	return rc;
}

static int add_ports(int ruleset, const uint16_t *ports)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < SANDBOX_PORTS_MAX && ports[i]; i++) {
		struct port_attr attr = { .allowed = NET_CONNECT_TCP, .port = ports[i] };

		if (syscall(SYS_landlock_add_rule, ruleset, RULE_NET_PORT, &attr, 0) < 0)
			rc = -errno;
	}
	return rc;
}

bool sandbox_landlock_fits(int abi, const struct sandbox_path *paths, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (paths[i].access & SANDBOX_PATH_WRITE && abi < 2)
			return false;
	return abi > 0;
}

static int landlock(const struct sandbox_role *role, const struct sandbox_path *paths, size_t count)
{
	int abi = sandbox_landlock_abi(), fd, rc = 0;
	struct ruleset_attr attr = { .handled_fs = handled_fs(abi) };
	size_t size = abi >= 6 ? sizeof(attr) : abi >= 4 ? 2 * sizeof(uint64_t) : sizeof(uint64_t);

	if (!sandbox_landlock_fits(abi, paths, count)) {
		log_info(NULL,
			 "role %s: this kernel has %s; files are held by user, mode and seccomp "
			 "alone",
			 role->name,
			 abi ? "a Landlock under which no file moves to another directory"
			     : "no Landlock");
		return 0;
	}
	if (abi >= 4 && !(role->calls & SANDBOX_INET))
		attr.handled_net = NET_BIND_TCP | NET_CONNECT_TCP;
	else if (abi >= 4 && role->tcp_ports[0])
		attr.handled_net = NET_CONNECT_TCP;
	if (abi >= 6) {
		attr.scoped = role->calls & SANDBOX_UNIX ? 0 : SCOPE_ABSTRACT;
		attr.scoped |= role->calls & SANDBOX_FORK ? 0 : SCOPE_SIGNAL;
	}
	fd = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
	if (fd < 0)
		return -errno;
	for (size_t i = 0; !rc && i < count; i++)
		rc = add_path(fd, &paths[i], attr.handled_fs);
	if (!rc && attr.handled_net)
		rc = add_ports(fd, role->tcp_ports);
	if (!rc && syscall(SYS_landlock_restrict_self, fd, 0) < 0)
		rc = -errno;
	close(fd);
	return rc;
}

int sandbox_opened(const struct sandbox_role *role, const struct sandbox_path *paths, size_t count)
{
	int rc = role->calls & SANDBOX_DENY_ONLY ? 0 : landlock(role, paths, count);

	if (!rc && capng_get_caps_process() < 0)
		rc = -EIO;
	if (!rc && capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP))
		rc = bound(role->caps_run);
	if (!rc)
		rc = set_caps(role->caps_run, CAPNG_SELECT_CAPS);
	if (rc)
		log_err(NULL, "role %s: cannot give up files and capabilities: %s", role->name,
			strerror(-rc));
	return rc;
}
