/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is done in a child of its own: its result comes back whole, or there is none and the child is gone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "aside.h"

#define SOON_MS 60000 /* more than any of them needs */

static volatile pid_t *child; /* told by it, in memory of both */
static bool no_process;

pid_t __real_fork(void);
pid_t __wrap_fork(void);
pid_t __wrap_fork(void)
{
	if (!no_process)
		return __real_fork();
	errno = EAGAIN;
	return -1;
}

static bool stuck; /* a process that was killed does not go */
static bool waited; /* for it, without an end */

pid_t __real_waitpid(pid_t pid, int *status, int flags);
pid_t __wrap_waitpid(pid_t pid, int *status, int flags);
pid_t __wrap_waitpid(pid_t pid, int *status, int flags)
{
	if (stuck && flags & WNOHANG)
		return 0;
	waited |= !(flags & WNOHANG);
	return __real_waitpid(pid, status, flags);
}

static int descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void fill(void *arg, void *out)
{
	memset(out, *(const int *)arg, PIPE_BUF);
}

static void the_result_comes_back_whole(void **state)
{
	char *out = malloc(PIPE_BUF);
	int before = descriptors(), with = 'x';

	(void)state;
	assert_int_equal(aside(fill, &with, out, PIPE_BUF, SOON_MS), 0);
	for (int i = 0; i < PIPE_BUF; i++)
		assert_int_equal(out[i], 'x');
	assert_int_equal(descriptors(), before);
	assert_true(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD);
	free(out);
}

struct seen {
	int mine, dumpable;
	rlim_t core;
};

static int touched;

static void look(void *arg, void *out)
{
	struct seen *s = out;
	struct rlimit l;

	(void)arg;
	touched++;
	s->mine = (int)getpid();
	s->dumpable = prctl(PR_GET_DUMPABLE);
	s->core = getrlimit(RLIMIT_CORE, &l) ? 1 : l.rlim_cur;
}

static void it_writes_no_core_and_its_parent_still_does(void **state)
{
	int before = prctl(PR_GET_DUMPABLE);
	struct seen s;

	(void)state;
	assert_int_equal(aside(look, NULL, &s, sizeof(s), SOON_MS), 0);
	assert_int_not_equal(s.mine, getpid());
	assert_int_equal(s.dumpable, 0);
	assert_int_equal(s.core, 0);
	assert_int_equal(prctl(PR_GET_DUMPABLE), before);
	assert_int_equal(touched, 0);
}

static void fall(void *arg, void *out)
{
	(void)out;
	if (*(const int *)arg)
		raise(*(const int *)arg);
	_exit(0);
}

static void one_that_falls_has_no_result(void **state)
{
	static const int ways[] = { 0, SIGKILL };
	int out = 7, before = descriptors();

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		int way = ways[i];

		assert_int_equal(aside(fall, &way, &out, sizeof(out), SOON_MS), -ECANCELED);
		assert_int_equal(out, 7);
	}
	assert_non_null(strstr(aside_words(-ECANCELED), "without a result"));
	assert_int_equal(descriptors(), before);
}

static void hang(void *arg, void *out)
{
	(void)arg;
	(void)out;
	*child = getpid();
	signal(SIGTERM, SIG_IGN);
	for (;;)
		pause();
}

static void one_that_hangs_is_ended(void **state)
{
	char big[PIPE_BUF];
	int out = 7, before = descriptors();

	(void)state;
	*child = 0;
	for (int ms = 50; !*child && ms < SOON_MS; ms *= 2)
		assert_int_equal(aside(hang, NULL, &out, sizeof(out), ms), -ETIMEDOUT);
	assert_true(*child);
	while (!kill(*child, 0)) {
		usleep(1000);
		assert_int_equal(aside(fill, &out, big, sizeof(big), SOON_MS), 0);
	}
	assert_int_equal(errno, ESRCH);
	assert_int_equal(out, 7);
	assert_non_null(strstr(aside_words(-ETIMEDOUT), "too slow"));
	assert_int_equal(descriptors(), before);
}

static void one_that_cannot_be_ended_is_not_waited_for(void **state)
{
	int out = 7, rc = -ETIMEDOUT, hang_on = 0;
	char big[PIPE_BUF];

	(void)state;
	stuck = true;
	waited = false;
	while (rc == -ETIMEDOUT && hang_on <= 100) {
		rc = aside(hang, NULL, &out, sizeof(out), 0);
		hang_on++;
	}
	assert_false(waited);
	assert_int_equal(rc, -EAGAIN); /* there is an end to them */
	assert_in_range(hang_on, 2, 100);
	stuck = false;
	for (int i = 0; rc && i < SOON_MS; i++) {
		usleep(1000);
		rc = aside(fill, &out, big, sizeof(big), SOON_MS);
	}
	assert_int_equal(rc, 0);
	while (waitpid(-1, NULL, WNOHANG) >= 0)
		usleep(1000);
	assert_int_equal(errno, ECHILD);
}

static void where_no_process_can_be_started_that_is_told(void **state)
{
	int out = 7, before = descriptors();

	(void)state;
	no_process = true;
	assert_int_equal(aside(fall, &out, &out, sizeof(out), SOON_MS), -EAGAIN);
	no_process = false;
	assert_string_equal(aside_words(-EAGAIN), strerror(EAGAIN));
	assert_int_equal(out, 7);
	assert_int_equal(descriptors(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_result_comes_back_whole),
		cmocka_unit_test(it_writes_no_core_and_its_parent_still_does),
		cmocka_unit_test(one_that_falls_has_no_result),
		cmocka_unit_test(one_that_hangs_is_ended),
		cmocka_unit_test(one_that_cannot_be_ended_is_not_waited_for),
		cmocka_unit_test(where_no_process_can_be_started_that_is_told),
	};

	child = mmap(NULL, sizeof(*child), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (child == MAP_FAILED)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
