/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Linked into a postern-deliver of the tests: users 3001 to 3003 with homes below $FAKE_HOMES, a disk
 * that never answers user 3001 nor below "slow..." user 3003, $FAKE_ALARM seconds for a delivery, and while
 * the file $FAKE_DIE is there a death between the delivery and the word of it.
 */
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

struct passwd *getpwuid(uid_t uid)
{
	static struct passwd pw;
	static char home[300];

	if (uid < 3001 || uid > 3003)
		return NULL;
	snprintf(home, sizeof(home), "%s/%u", getenv("FAKE_HOMES"), uid);
	pw = (struct passwd){ .pw_uid = uid, .pw_gid = uid, .pw_dir = home };
	return &pw;
}

int fsync(int fd)
{
	while (getuid() == 3001)
		poll(NULL, 0, -1);
	return (int)syscall(SYS_fsync, fd);
}

int mkdirat(int dir, const char *name, mode_t mode)
{
	while (getuid() == 3003 && !strncmp(name, "slow", 4))
		poll(NULL, 0, -1);
	return (int)syscall(SYS_mkdirat, dir, name, mode);
}

/* Somebody who may write in the socket's directory is quick. */
int bind(int fd, const struct sockaddr *addr, socklen_t len)
{
	const char *victim = getenv("FAKE_SWAP"), *path = ((const struct sockaddr_un *)(const void *)addr)->sun_path;
	long rc = syscall(SYS_bind, fd, addr, len);

	if (!rc && victim && (unlink(path) || symlink(victim, path)))
		abort();
	return (int)rc;
}

unsigned alarm(unsigned seconds)
{
	const char *own = getenv("FAKE_ALARM");
	struct itimerval t = { .it_value = { .tv_sec = own ? atoi(own) : (time_t)seconds } };

	return (unsigned)setitimer(ITIMER_REAL, &t, NULL);
}

ssize_t send(int fd, const void *data, size_t len, int flags)
{
	const char *die = getenv("FAKE_DIE");

	if (die && !access(die, F_OK))
		raise(SIGKILL);
	return sendto(fd, data, len, flags, NULL, 0);
}
