/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Children that cannot be run: that is said, and is an error of the start. Those that run: every daemon's tests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "proc.h"

#define SUFFIX "-none"

static char beside[PROC_PATH_MAX];
static int started;

static void on_started(struct proc *p, void *arg)
{
	(void)p, (void)arg;
	started++;
}

static int make(void **state)
{
	ssize_t n = readlink("/proc/self/exe", beside, sizeof(beside) - sizeof(SUFFIX));

	(void)state;
	assert_true(n > 0);
	strcpy(beside + n, SUFFIX);
	started = 0;
	return 0;
}

static int drop(void **state)
{
	(void)state;
	unlink(beside);
	return 0;
}

static void put(const char *text, mode_t mode)
{
	int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static int beside_is(struct proc_program *p)
{
	int rc = proc_program(SUFFIX, p);

	assert_string_equal(p->path, beside);
	assert_int_equal(rc, p->fd < 0 ? p->fd : 0);
	if (!rc)
		close(p->fd);
	return rc;
}

static void a_program_that_may_not_be_run_is_found_out_before_anything_is_opened(void **state)
{
	struct proc_program p;

	(void)state;
	assert_int_equal(beside_is(&p), -ENOENT);
	assert_non_null(strstr(proc_cure(-ENOENT), "install"));
	put("#!/bin/sh\n", 0644);
	assert_int_equal(beside_is(&p), -EACCES);
	assert_non_null(strstr(proc_cure(-EACCES), "chmod 755"));
	put("#!/bin/sh\n", 0755);
	assert_int_equal(beside_is(&p), 0);
	unlink(beside);
	assert_int_equal(mkdir(beside, 0755), 0);
	assert_int_equal(beside_is(&p), -EACCES);
	rmdir(beside);
}

/* Starts the one beside us; its result, and in @said what was logged. */
static int start_it(char *said, size_t room)
{
	static const struct proc_spec specs[] = { { .name = "keys", .beside = true } };
	static const struct ipc_ops ops = { .closed = proc_default_closed };
	struct proc procs[1];
	struct proc_table t = { .program = "test", .procs = procs, .count = 1, .ops = &ops, .started = on_started };
	int fd = memfd_create("log", MFD_CLOEXEC), rc;
	ssize_t n;

	assert_true(fd >= 0);
	t.loop = loop_new();
	assert_non_null(t.loop);
	assert_int_equal(proc_program(SUFFIX, &t.beside), 0);
	log_setup("test", LOG_LVL_INFO, fd);
	rc = proc_start_all(&t, specs);
	proc_stop_all(&t, 0);
	log_setup("test", LOG_LVL_INFO, STDERR_FILENO);
	n = pread(fd, said, room - 1, 0);
	said[n > 0 ? n : 0] = '\0';
	close(t.beside.fd);
	close(fd);
	loop_free(t.loop);
	return rc;
}

static void one_that_is_no_program_fails_the_start_and_is_named(void **state)
{
	char said[8192];

	(void)state;
	put("this is no program\n", 0755);
	assert_int_equal(start_it(said, sizeof(said)), -ENOEXEC);
	assert_int_equal(started, 0);
	assert_non_null(strstr(said, beside));
	assert_non_null(strstr(said, strerror(ENOEXEC)));
	assert_non_null(strstr(said, proc_cure(-ENOEXEC)));
	assert_non_null(strstr(said, "proc=keys"));
	assert_null(strstr(said, "ended"));
}

static void one_that_runs_is_started(void **state)
{
	char said[8192];

	(void)state;
	put("#!/bin/sh\nexit 0\n", 0755);
	assert_int_equal(start_it(said, sizeof(said)), 0);
	assert_int_equal(started, 1);
	assert_non_null(strstr(said, "started proc=keys"));
}

#define T(f) cmocka_unit_test_setup_teardown(f, make, drop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_program_that_may_not_be_run_is_found_out_before_anything_is_opened),
		T(one_that_is_no_program_fails_the_start_and_is_named),
		T(one_that_runs_is_started),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
