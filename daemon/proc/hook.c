/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "hook.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "config.h"
#include "log.h"

#define LOOK_MS 50 /* how often a running one is looked at */

struct entry {
	struct hook_word word; /* the last one that it was told */
	struct hook_word next;
	bool told, waits;
	uint64_t order;
};

struct hook {
	struct loop *loop;
	char device[IFNAMSIZ];
	char *path;
	struct entry *v;
	size_t count;
	uint64_t order;
	pid_t pid; /* 0: none runs */
	uint64_t since_ms;
	bool killed;
	char running[PROC_NAME_MAX];
	struct timer look;
};

static void on_look(struct timer *t, uint64_t now_ms);

struct hook *hook_new(struct loop *l, const char *device)
{
	struct hook *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->loop = l;
	snprintf(h->device, sizeof(h->device), "%s", device);
	h->look = (struct timer){ .fire = on_look, .arg = h };
	return h;
}

void hook_free(struct hook *h)
{
	if (!h)
		return;
	timer_clear(loop_timers(h->loop), &h->look);
	if (h->pid > 0)
		kill(-h->pid, SIGKILL);
	free(h->path);
	free(h->v);
	free(h);
}

/* ---- one run ---- */

static void list(char *out, size_t cap, const char *name, const struct addr *a, size_t count)
{
	size_t n = (size_t)snprintf(out, cap, "%s=", name);
	char text[ADDR_STR_MAX];

	for (size_t i = 0; i < count && n < cap; i++)
		n +=
		    (size_t)snprintf(out + n, cap - n, "%s%s", i ? " " : "", addr_str(&a[i], text));
}

static void close_all(void)
{
	struct rlimit r;

#ifdef SYS_close_range
	if (!syscall(SYS_close_range, 3u, ~0u, 0u))
		return;
#endif
	if (getrlimit(RLIMIT_NOFILE, &r) || r.rlim_cur > 1 << 20)
		r.rlim_cur = 1 << 20;
	for (int fd = 3; fd < (int)r.rlim_cur; fd++)
		close(fd);
}

/* In the new process. */
static void become(const char *path, char *const envp[])
{
	char *argv[] = { (char *)(uintptr_t)path, NULL };
	int null = open("/dev/null", O_RDWR);
	sigset_t none;

	setsid();
	for (int fd = 0; fd < 3; fd++)
		if (null < 0 || dup2(null, fd) < 0)
			_exit(126);
	close_all();
	for (int signo = 1; signo < NSIG; signo++)
		signal(signo, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	umask(022);
	if (chdir("/"))
		_exit(126);
	execve(path, argv, envp);
	_exit(127);
}

static int run(struct hook *h, const struct hook_word *w)
{
	char event[32], peer[PROC_NAME_MAX + 16], device[IFNAMSIZ + 16], why[CONF_WHY_MAX];
	char dns[16 + PROC_DNS_MAX * (ADDR_STR_MAX + 1)], addresses[32 + 2 * (ADDR_STR_MAX + 1)];
	char *envp[] = { event, peer, device, dns, addresses, NULL };
	pid_t pid;

	if (config_hook_check(h->path, why, sizeof(why))) {
		log_err(NULL, "hook=%s is not run: %s", h->path, why);
		return -EACCES;
	}
	snprintf(event, sizeof(event), "POSTERN_EVENT=%s", w->up ? "up" : "down");
	snprintf(peer, sizeof(peer), "POSTERN_PEER=%s", w->peer);
	snprintf(device, sizeof(device), "POSTERN_DEVICE=%s", h->device);
	list(dns, sizeof(dns), "POSTERN_DNS", w->dns, w->dns_count);
	list(addresses, sizeof(addresses), "POSTERN_ADDRESSES", w->address, w->address_count);
	pid = fork();
	if (pid < 0) {
		int rc = -errno;

		log_err(NULL, "hook=%s is not run: %s", h->path, strerror(-rc));
		return rc;
	}
	if (!pid)
		become(h->path, envp);
	h->pid = pid;
	h->since_ms = clock_boot_ms();
	h->killed = false;
	memcpy(h->running, w->peer, sizeof(h->running));
	log_info(NULL, "peer=%s hook=%s event=%s", w->peer, h->path, w->up ? "up" : "down");
	return 0;
}

/* Has it ended? If not in time, it is killed; what hangs in the kernel ends when that lets it go. */
static bool ended(struct hook *h)
{
	int status;
	pid_t rc = waitpid(h->pid, &status, WNOHANG);

	if (!rc && !h->killed && clock_boot_ms() - h->since_ms >= HOOK_TIME_MS) {
		log_warn(NULL, "peer=%s hook=%s takes longer than %d s: killed", h->running,
			 h->path ? h->path : "", HOOK_TIME_MS / 1000);
		kill(-h->pid, SIGKILL);
		h->killed = true;
	}
	if (!rc)
		return false;
	if (rc > 0 && WIFEXITED(status) && WEXITSTATUS(status))
		log_warn(NULL, "peer=%s hook=%s ended with status %d", h->running,
			 h->path ? h->path : "", WEXITSTATUS(status));
	else if (rc > 0 && WIFSIGNALED(status))
		log_warn(NULL, "peer=%s hook=%s ended by signal %d", h->running,
			 h->path ? h->path : "", WTERMSIG(status));
	/* What it left behind in its session is no daemon of ours. */
	kill(-h->pid, SIGKILL);
	h->pid = 0;
	return true;
}

/* ---- what waits ---- */

static struct entry *entry_of(struct hook *h, const char *peer)
{
	struct entry *grown;

	for (size_t i = 0; i < h->count; i++)
		if (!strcmp(h->v[i].next.peer, peer))
			return &h->v[i];
	grown = realloc(h->v, (h->count + 1) * sizeof(*grown));
	if (!grown)
		return NULL;
	h->v = grown;
	memset(&grown[h->count], 0, sizeof(*grown));
	return &grown[h->count++];
}

static struct entry *first_waiting(struct hook *h)
{
	struct entry *best = NULL;

	for (size_t i = 0; i < h->count; i++)
		if (h->v[i].waits && (!best || h->v[i].order < best->order))
			best = &h->v[i];
	return best;
}

static void start_next(struct hook *h)
{
	struct entry *e;

	while (!h->pid && (e = first_waiting(h))) {
		e->waits = false;
		e->told = true;
		e->word = e->next;
		if (h->path)
			(void)run(h, &e->word);
	}
	if (h->pid)
		(void)timer_set(loop_timers(h->loop), &h->look, clock_boot_ms() + LOOK_MS);
}

static void on_look(struct timer *t, uint64_t now_ms)
{
	struct hook *h = t->arg;

	if (!ended(h))
		(void)timer_set(loop_timers(h->loop), &h->look, now_ms + LOOK_MS);
	else
		start_next(h);
}

static bool same(const struct hook_word *a, const struct hook_word *b)
{
	if (a->up != b->up)
		return false;
	if (!a->up)
		return true;
	if (a->address_count != b->address_count || a->dns_count != b->dns_count)
		return false;
	for (size_t i = 0; i < a->address_count; i++)
		if (!addr_eq(&a->address[i], &b->address[i]))
			return false;
	for (size_t i = 0; i < a->dns_count; i++)
		if (!addr_eq(&a->dns[i], &b->dns[i]))
			return false;
	return true;
}

static int set_path(struct hook *h, const char *path)
{
	char *copy = path ? strdup(path) : NULL;

	if (path && !copy)
		return -ENOMEM;
	if (!path || !h->path || strcmp(path, h->path) != 0)
		for (size_t i = 0; i < h->count; i++)
			h->v[i].told = false; /* another program knows nothing yet */
	free(h->path);
	h->path = copy;
	return 0;
}

int hook_tell(struct hook *h, const char *path, const struct hook_word *w)
{
	struct entry *e;

	if (set_path(h, path))
		return -ENOMEM;
	if (!path)
		return 0;
	e = entry_of(h, w->peer);
	if (!e)
		return -ENOMEM;
	e->next = *w;
	/* One that never heard of it need not hear that it is gone. */
	e->waits = e->told ? !same(&e->word, w) : w->up;
	e->order = ++h->order;
	start_next(h);
	return 0;
}

/* "down", if it was told "up" last. */
static void tell_down(struct hook *h, struct entry *e)
{
	e->waits = e->told && e->word.up;
	e->next = e->word;
	e->next.up = false;
	e->order = ++h->order;
}

void hook_keep_only(struct hook *h, const char *path, bool (*keep)(const char *peer, void *arg),
		    void *arg)
{
	size_t n = 0;

	if (set_path(h, path))
		return;
	for (size_t i = 0; i < h->count; i++) {
		struct entry *e = &h->v[i];

		if (!keep(e->next.peer, arg)) {
			if (!e->told || !e->word.up)
				continue;
			tell_down(h, e);
		}
		h->v[n++] = *e;
	}
	h->count = n;
	start_next(h);
}

void hook_lost(struct hook *h, const char *path)
{
	if (set_path(h, path) || !path)
		return;
	for (size_t i = 0; i < h->count; i++)
		tell_down(h, &h->v[i]);
	start_next(h);
}

void hook_end(struct hook *h, const char *path, uint64_t limit_ms)
{
	uint64_t until = clock_boot_ms() + limit_ms;

	if (!path)
		return;
	hook_lost(h, path);
	while (h->pid && clock_boot_ms() < until) {
		poll(NULL, 0, 5);
		if (ended(h))
			start_next(h);
	}
}
