/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Where a queue may lie: mounts made in a namespace of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/magic.h>

#include "vfs.h"

static char base[] = "/var/tmp/postern-vfs-XXXXXX";

static const char *at(const char *name)
{
	static char path[4][200];
	static unsigned n;

	n = (n + 1) % 4;
	snprintf(path[n], sizeof(path[0]), "%s/%s", base, name);
	return path[n];
}

/* What is said of a directory: 0, or the word that has to stand in the reason, or a failure. */
static int judge(const char *dir, const char *word)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;
	char why[512] = "";

	if (fd < 0)
		return 90;
	rc = vfs_durable(fd, dir, why, sizeof(why));
	close(fd);
	if (!word)
		return rc ? 91 : 0;
	return rc != -EROFS ? 92 : strstr(why, word) ? 0 : 93;
}

static int overlay(const char *upper, const char *work, const char *extra)
{
	char opt[900];

	snprintf(opt, sizeof(opt), "lowerdir=%s,upperdir=%s,workdir=%s%s", at("low"), at(upper),
		 at(work), extra);
	return mount("overlay", at("merged"), "overlay", 0, opt) ? -errno : 0;
}

/* 77: this place has no overlay for us. */
static int in_namespace(void)
{
	struct statfs s;
	int rc;

	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return 77;
	mkdir(at("low"), 0700);
	mkdir(at("merged"), 0700);
	mkdir(at("disk"), 0700);
	mkdir(at("memory"), 0700);
	if (mount("tmpfs", at("memory"), "tmpfs", 0, NULL) || mkdir(at("memory/up x"), 0700) ||
	    mkdir(at("memory/work"), 0700) || overlay("memory/up x", "memory/work", ""))
		return 77;
	rc = judge(at("memory"), "tmpfs");
	if (!rc)
		rc = judge(at("merged"), "in memory");
	/* The layer goes out of sight, as an initramfs's does. */
	if (!rc && umount2(at("memory"), MNT_DETACH))
		return 94;
	if (!rc)
		rc = judge(at("merged"), "in memory");
	if (rc || umount2(at("merged"), 0) || statfs(base, &s) ||
	    (unsigned long)s.f_type == OVERLAYFS_SUPER_MAGIC ||
	    (unsigned long)s.f_type == TMPFS_MAGIC)
		return rc;
	if (mkdir(at("disk/up"), 0700) || mkdir(at("disk/work"), 0700) ||
	    overlay("disk/up", "disk/work", ""))
		return 95;
	rc = judge(at("merged"), NULL);
	/* Seen from where its path means nothing, it has extents. */
	if (!rc && (mount("tmpfs", at("disk"), "tmpfs", 0, NULL)))
		return 96;
	if (!rc)
		rc = judge(at("merged"), NULL);
	return rc;
}

static void an_overlay_is_as_durable_as_its_upper_layer(void **state)
{
	char cmd[100];
	int status;
	pid_t pid;

	(void)state;
	assert_non_null(mkdtemp(base));
	pid = fork();
	if (!pid)
		_exit(in_namespace());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", base);
	assert_int_equal(system(cmd), 0);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip(); /* no right to mount, or no overlay in this kernel */
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_overlay_is_as_durable_as_its_upper_layer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
