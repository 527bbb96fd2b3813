/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TESTS_QUEUE_CLOCK_H
#define TESTS_QUEUE_CLOCK_H

/*
 * Clocks of the test: linked so that each reading of one passes here, in the queue process and in its siblings
 * alike. One test alone includes it.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <time.h>

#include "queue_bench.h"

int __real_clock_gettime(clockid_t id, struct timespec *ts);
int __wrap_clock_gettime(clockid_t id, struct timespec *ts);
time_t __wrap_time(time_t *out);

#define CLOCK_FILE "POSTERN_TEST_CLOCK"

/* Seconds that are added, in memory that all of them share. */
static struct {
	volatile int64_t boot, wall;
} * shift;

int __wrap_clock_gettime(clockid_t id, struct timespec *ts)
{
	int rc = __real_clock_gettime(id, ts);

	if (!rc && shift)
		ts->tv_sec += id == CLOCK_REALTIME			      ? shift->wall
			      : id == CLOCK_BOOTTIME || id == CLOCK_MONOTONIC ? shift->boot
									      : 0;
	return rc;
}

time_t __wrap_time(time_t *out)
{
	struct timespec ts = { 0 };

	__wrap_clock_gettime(CLOCK_REALTIME, &ts);
	if (out)
		*out = ts.tv_sec;
	return ts.tv_sec;
}

static inline void share_clocks(void)
{
	char name[] = "/var/tmp/postern-clock-XXXXXX";
	const char *known = getenv(CLOCK_FILE);
	int fd = known ? open(known, O_RDWR | O_CLOEXEC) : mkstemp(name);

	if (fd < 0 || ftruncate(fd, 4096))
		abort();
	shift = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (shift == MAP_FAILED)
		abort();
	close(fd);
	if (!known)
		setenv(CLOCK_FILE, name, 1);
}

/* So much time passes; the process has noticed when this returns. */
static inline void later(struct driver *d, int64_t seconds)
{
	shift->boot += seconds;
	shift->wall += seconds;
	for (int i = 0; i < 3; i++) {
		driver_verb(d, "{\"verb\":\"routes\",\"args\":{}}");
		driver_turn(d, 1);
	}
}

#endif
