/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Another wall clock for all processes of a machine of the lab: named in its /etc/ld.so.preload. No namespace has
 * a wall clock of its own. /etc/wall holds seconds to add, eight bytes as this machine orders them, and may
 * be written while they run: it is mapped before they confine themselves. Eight more bytes are seconds that the
 * machine has slept.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *offset; /* of the wall clock, and of CLOCK_BOOTTIME */

__attribute__((constructor)) static void map(void)
{
	int fd = open("/etc/wall", O_RDONLY | O_CLOEXEC);
	void *p = fd < 0 ? MAP_FAILED : mmap(NULL, 2 * sizeof(*offset), PROT_READ, MAP_SHARED, fd, 0);

	offset = p == MAP_FAILED ? NULL : p;
	if (fd >= 0)
		close(fd);
}

__attribute__((visibility("default"))) int clock_gettime(clockid_t id, struct timespec *ts)
{
	static int (*real)(clockid_t, struct timespec *);
	int rc;

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
	rc = real(id, ts);
	if (!rc && id == CLOCK_REALTIME && offset)
		ts->tv_sec += offset[0];
	if (!rc && id == CLOCK_BOOTTIME && offset)
		ts->tv_sec += offset[1];
	return rc;
}

__attribute__((visibility("default"))) time_t time(time_t *out)
{
	struct timespec ts = { 0 };

	clock_gettime(CLOCK_REALTIME, &ts);
	if (out)
		*out = ts.tv_sec;
	return ts.tv_sec;
}
