/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proc.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"
#include "secret.h"

#define PAUSE_FIRST_MS 100
#define PAUSE_MAX_MS   10000
#define SETTLED_MS     60000
#define KEPT_COUNT     3

static int open_program(const char *path)
{
	struct stat st;
	int fd, high;

	/* Without this it were found out by each child, when all else is open. */
	if (access(path, X_OK) < 0)
		return -errno;
	fd = open(path, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	high = fstat(fd, &st) || !S_ISREG(st.st_mode) ? -EACCES : fcntl(fd, F_DUPFD_CLOEXEC, PROC_IPC_FD + 1);
	if (high == -1)
		high = -errno;
	close(fd);
	return high;
}

int proc_program(const char *suffix, struct proc_program *p)
{
	ssize_t n = readlink("/proc/self/exe", p->path, sizeof(p->path));

	if (n < 0 || (size_t)n + strlen(suffix) >= sizeof(p->path)) {
		p->fd = n < 0 ? -errno : -ENAMETOOLONG;
		snprintf(p->path, sizeof(p->path), "the program beside ours");
		return p->fd;
	}
	snprintf(p->path + n, sizeof(p->path) - (size_t)n, "%s", suffix);
	p->fd = open_program(p->path);
	return p->fd < 0 ? p->fd : 0;
}

/* By name, as for /proc/self/exe: the parent's filter lets no other way of it pass. */
int proc_exec(const struct proc_program *p, char *const argv[], char *const envp[])
{
	char path[32];

	if (p->fd < 0)
		return p->fd;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", p->fd);
	execve(path, argv, envp);
	return -errno;
}

const char *proc_cure(int rc)
{
	switch (rc) {
	case -ENOENT:
		return "it is installed beside the program that starts it: install both anew";
	case -EACCES:
	case -EPERM:
		return "make it executable (chmod 755), on a file system that is not mounted noexec";
	case -ENOEXEC:
	case -ELIBBAD:
		return "it is no program for this machine: install it anew";
	default:
		return "see what the machine is short of, or install it anew";
	}
}

/* Returns -errno, if at all. */
static int exec_child(const struct proc_table *t, const struct proc_spec *spec, int fd)
{
	char program[64], name[64], flag[] = "--proc";
	char path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin", tz[] = "TZ=UTC";
	char *argv[] = { program, flag, name, NULL };
	/* Of the environment: what a test needs inside, and what the admin says of this CPU (OPENSSL_ia32cap(3)). */
	static const char *const kept[KEPT_COUNT] = { "ASAN_OPTIONS", "UBSAN_OPTIONS", "OPENSSL_ia32cap" };
	char text[KEPT_COUNT][512], *envp[2 + KEPT_COUNT + 1] = { path, tz };
	int n = 2;
	sigset_t none;

	for (int i = 0; i < KEPT_COUNT; i++) {
		const char *value = getenv(kept[i]);

		if (!value)
			continue;
		snprintf(text[i], sizeof(text[i]), "%s=%s", kept[i], value);
		envp[n++] = text[i];
	}
	snprintf(program, sizeof(program), "%s", t->program);
	snprintf(name, sizeof(name), "%s", spec->name);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (fd == PROC_IPC_FD)
		fcntl(fd, F_SETFD, 0);
	else if (dup2(fd, PROC_IPC_FD) < 0)
		return -errno;
	if (spec->beside)
		return proc_exec(&t->beside, argv, envp);
	execve("/proc/self/exe", argv, envp);
	return -errno;
}

/* By @told the parent learns of an error; that it closes says that there was none. */
static void become(const struct proc_table *t, const struct proc_spec *spec, int fd, int told)
{
	int rc = exec_child(t, spec, fd);
	ssize_t n = write(told, &rc, sizeof(rc));

	_exit(n == sizeof(rc) ? 126 : 127);
}

/* What a child says of its exec; 0: it runs. */
static int became(int fd)
{
	int rc = 0;
	ssize_t n;

	do
		n = read(fd, &rc, sizeof(rc));
	while (n < 0 && errno == EINTR);
	return n == sizeof(rc) ? rc : 0;
}

static void on_closed(struct ipc *ipc, void *arg)
{
	/* SIGCHLD follows and tells the rest; a child that closed its end and lives is ended. */
	struct proc *p = arg;

	(void)ipc;
	if (p->pid > 0)
		kill(p->pid, SIGKILL);
}

/* A child that runs its program, and by @ipc_fd its end of the pair is kept; or -errno. */
static pid_t spawn(const struct proc *p, int *ipc_fd)
{
	int fds[2], told[2], rc = ipc_pair(fds);
	pid_t pid = -1;

	if (rc)
		return rc;
	if (pipe2(told, O_CLOEXEC) < 0) { /* behind the other one, so that PROC_IPC_FD is not of it */
		rc = -errno;
		goto close_fds;
	}
	pid = fork();
	if (!pid)
		become(p->table, p->spec, fds[1], told[1]);
	rc = pid < 0 ? -errno : 0;
	close(told[1]);
	if (!rc)
		rc = became(told[0]);
	close(told[0]);
	if (rc && pid > 0)
		waitpid(pid, NULL, 0);
close_fds:
	close(fds[1]);
	if (rc)
		close(fds[0]);
	*ipc_fd = fds[0];
	return rc ? rc : pid;
}

static int start(struct proc *p)
{
	struct proc_table *t = p->table;
	int fd = -1, rc;
	pid_t pid = spawn(p, &fd);

	if (pid < 0)
		return pid;
	p->pid = pid;
	p->started_ms = clock_boot_ms();
	p->ipc = ipc_new(t->loop, fd, t->ops, p);
	if (!p->ipc) {
		rc = -errno;
		kill(pid, SIGKILL);
		return rc;
	}
	log_info(NULL, "started proc=%s pid=%d", p->spec->name, (int)pid);
	t->started(p, t->arg);
	return 0;
}

static void say_failed(const struct proc *p, int rc)
{
	log_err(NULL, "cannot start proc=%s, %s: %s; %s", p->spec->name,
		p->spec->beside ? p->table->beside.path : p->table->program, strerror(-rc), proc_cure(rc));
}

static void on_restart(struct timer *timer, uint64_t now_ms)
{
	struct proc *p = timer->arg;
	int rc = start(p);

	if (rc) {
		say_failed(p, rc);
		timer_set(loop_timers(p->table->loop), timer, now_ms + PAUSE_MAX_MS);
	}
}

static void ended(struct proc *p, int status)
{
	struct proc_table *t = p->table;
	uint64_t now = clock_boot_ms();

	p->pid = 0;
	ipc_free(p->ipc);
	p->ipc = NULL;
	if (WIFSIGNALED(status))
		log_warn(NULL, "ended proc=%s signal=%d", p->spec->name, WTERMSIG(status));
	else
		log_warn(NULL, "ended proc=%s status=%d", p->spec->name, WEXITSTATUS(status));
	if (t->ended)
		t->ended(p, status, t->arg);
	if (t->stopping)
		return;
	if (now - p->started_ms > SETTLED_MS)
		p->pause_ms = 0;
	timer_set(loop_timers(t->loop), &p->restart, now + p->pause_ms);
	p->pause_ms = p->pause_ms ? p->pause_ms * 2 : PAUSE_FIRST_MS;
	if (p->pause_ms > PAUSE_MAX_MS)
		p->pause_ms = PAUSE_MAX_MS;
}

static void reap(struct proc_table *t)
{
	for (size_t i = 0; i < t->count; i++) {
		int status;

		if (t->procs[i].pid > 0 && waitpid(t->procs[i].pid, &status, WNOHANG) > 0)
			ended(&t->procs[i], status);
	}
}

static void on_sigchld(int signo, void *arg)
{
	(void)signo;
	reap(arg);
}

int proc_start_all(struct proc_table *t, const struct proc_spec *specs)
{
	int rc = loop_signal(t->loop, SIGCHLD, on_sigchld, t);

	for (size_t i = 0; !rc && i < t->count; i++) {
		t->procs[i] = (struct proc){ .spec = &specs[i], .table = t };
		t->procs[i].restart = (struct timer){ .fire = on_restart, .arg = &t->procs[i] };
	}
	for (size_t i = 0; !rc && i < t->count; i++) {
		rc = start(&t->procs[i]);
		if (rc)
			say_failed(&t->procs[i], rc);
	}
	return rc;
}

void proc_stop_all(struct proc_table *t, uint64_t grace_ms)
{
	uint64_t until = clock_boot_ms() + grace_ms;
	bool left = true;

	t->stopping = true;
	for (size_t i = 0; i < t->count; i++) {
		timer_clear(loop_timers(t->loop), &t->procs[i].restart);
		if (t->procs[i].pid > 0)
			kill(t->procs[i].pid, SIGTERM);
	}
	while (left) {
		bool late = clock_boot_ms() >= until;

		left = false;
		for (size_t i = 0; i < t->count; i++) {
			if (t->procs[i].pid > 0 && late)
				kill(t->procs[i].pid, SIGKILL);
			left |= t->procs[i].pid > 0;
		}
		if (left)
			poll(NULL, 0, 5);
		reap(t);
	}
}

struct proc *proc_by_id(struct proc_table *t, int id)
{
	for (size_t i = 0; i < t->count; i++) {
		if (t->procs[i].spec->id == id)
			return &t->procs[i];
	}
	return NULL;
}

void proc_default_closed(struct ipc *ipc, void *arg)
{
	on_closed(ipc, arg);
}

const char *proc_child_name(int argc, char **argv)
{
	return argc == 3 && !strcmp(argv[1], "--proc") ? argv[2] : NULL;
}

int proc_user(const char *name, uid_t *uid, gid_t *gid)
{
	char *end;
	unsigned long n = strtoul(name, &end, 10);
	struct passwd *pw;

	if (*name && !*end) {
		*uid = (uid_t)n;
		*gid = (gid_t)n;
		return 0;
	}
	pw = getpwnam(name);
	if (!pw)
		return -ENOENT;
	*uid = pw->pw_uid;
	*gid = pw->pw_gid;
	return 0;
}

int proc_become(uid_t uid, gid_t gid)
{
	if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
		return -errno;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return -errno;
	secret_process_harden();
	return 0;
}
