/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "aside.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "secret.h"

static void be_child(void (*work)(void *arg, void *out), void *arg, size_t len, int fd, pid_t parent)
{
	void *out = calloc(1, len);

	secret_process_harden();
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!out || getppid() != parent)
		_exit(1);
	work(arg, out);
	/* Not more than PIPE_BUF: whole or not at all. */
	_exit(write(fd, out, len) == (ssize_t)len ? 0 : 1);
}

static int await(int fd, void *out, size_t len, int wait_ms)
{
	uint64_t until = clock_boot_ms() + (uint64_t)wait_ms;
	struct pollfd p = { .fd = fd, .events = POLLIN };
	uint8_t got[PIPE_BUF];
	uint64_t now = clock_boot_ms();
	int ready = 0;
	ssize_t n;

	while (ready != 1) {
		ready = poll(&p, 1, now < until ? (int)(until - now) : 0);
		if (ready < 0 && errno != EINTR)
			return -errno;
		if (ready != 1 && now >= until)
			return -ETIMEDOUT;
		now = clock_boot_ms();
	}
	n = read(fd, got, len);
	if (n < 0)
		return -errno;
	if ((size_t)n != len)
		return -ECANCELED;
	memcpy(out, got, len);
	return 0;
}

#define LATE_MAX 8

/* Ended, but not gone: what waits for a disk that does not answer is not even killed before it does. */
static pid_t late[LATE_MAX];
static size_t late_count;

static void reap_late(void)
{
	size_t n = 0;

	for (size_t i = 0; i < late_count; i++) {
		if (!waitpid(late[i], NULL, WNOHANG))
			late[n++] = late[i];
	}
	late_count = n;
}

static void end(pid_t pid, bool hangs)
{
	kill(pid, SIGKILL); /* it has nothing more to do */
	if (hangs) {
		late[late_count++] = pid;
		return;
	}
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

int aside(void (*work)(void *arg, void *out), void *arg, void *out, size_t len, int wait_ms)
{
	pid_t parent = getpid(), pid;
	int fd[2], rc;

	assert(len && len <= PIPE_BUF);
	reap_late();
	if (late_count == LATE_MAX)
		return -EAGAIN;
	if (pipe2(fd, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (!pid)
		be_child(work, arg, len, fd[1], parent);
	rc = pid < 0 ? -errno : 0;
	close(fd[1]);
	if (!rc) {
		rc = await(fd[0], out, len, wait_ms);
		end(pid, rc == -ETIMEDOUT);
	}
	close(fd[0]);
	return rc;
}

const char *aside_words(int rc)
{
	return rc == -ETIMEDOUT	   ? "its process was too slow"
	       : rc == -ECANCELED ? "its process ended without a result"
				  : strerror(-rc);
}
