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
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"
#include "secret.h"

#define PAUSE_FIRST_MS 100
#define PAUSE_MAX_MS   10000
#define SETTLED_MS     60000
#define KEPT_COUNT     3

int proc_program(const char *suffix)
{
	char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path));
	int fd, high;

	if (n < 0)
		return -errno;
	if ((size_t)n + strlen(suffix) >= sizeof(path))
		return -ENAMETOOLONG;
	snprintf(path + n, sizeof(path) - (size_t)n, "%s", suffix);
	fd = open(path, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	high = fcntl(fd, F_DUPFD_CLOEXEC, PROC_IPC_FD + 1);
	if (high < 0)
		high = -errno;
	close(fd);
	return high;
}

/* By name, as for /proc/self/exe: the parent's filter lets no other way of it pass. */
int proc_exec(int program, char *const argv[], char *const envp[])
{
	char path[32];

	if (program < 0)
		return program;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", program);
	execve(path, argv, envp);
	return -errno;
}

static void exec_child(const struct proc_table *t, const struct proc_spec *spec, int fd)
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
		_exit(127);
	if (spec->beside)
		proc_exec(t->beside, argv, envp);
	else
		execve("/proc/self/exe", argv, envp);
	_exit(127);
}

static void on_closed(struct ipc *ipc, void *arg)
{
	/* SIGCHLD follows and tells the rest; a child that closed its end and lives is ended. */
	struct proc *p = arg;

	(void)ipc;
	if (p->pid > 0)
		kill(p->pid, SIGKILL);
}

static int start(struct proc *p)
{
	struct proc_table *t = p->table;
	int fds[2], rc = ipc_pair(fds);
	pid_t pid;

	if (rc)
		return rc;
	pid = fork();
	if (pid < 0) {
		rc = -errno;
		close(fds[0]);
		close(fds[1]);
		return rc;
	}
	if (!pid)
		exec_child(t, p->spec, fds[1]);
	close(fds[1]);
	p->pid = pid;
	p->started_ms = clock_boot_ms();
	p->ipc = ipc_new(t->loop, fds[0], t->ops, p);
	if (!p->ipc) {
		rc = -errno;
		kill(pid, SIGKILL);
		return rc;
	}
	log_info(NULL, "started proc=%s pid=%d", p->spec->name, (int)pid);
	t->started(p, t->arg);
	return 0;
}

static void on_restart(struct timer *timer, uint64_t now_ms)
{
	struct proc *p = timer->arg;
	int rc = start(p);

	if (rc) {
		log_err(NULL, "cannot start proc=%s: %s", p->spec->name, strerror(-rc));
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
	for (size_t i = 0; !rc && i < t->count; i++)
		rc = start(&t->procs[i]);
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
