/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "publication.h"
#include "published.h"
#include "simvfs.h"

static const char old_set[] = "#recipients 1 1 1 +\nann@example.net\n";
static const char new_set[] = "#recipients 1 2 2 +\nann@example.net\njoe@example.net\n";

static bool reads(struct simvfs *s, const char *home, const char *want)
{
	char *text;
	size_t len;
	bool same;

	if (published_read(&s->vfs, home, &text, &len))
		return false;
	same = len == strlen(want) && !memcmp(text, want, len);
	free(text);
	return same;
}

static void a_set_is_kept_for_each_home(void **state)
{
	struct simvfs *s = simvfs_new(1);
	char *text;
	size_t len;

	(void)state;
	assert_int_equal(published_read(&s->vfs, "a", &text, &len), -ENOENT);
	assert_int_equal(published_write(&s->vfs, "a", old_set, strlen(old_set)), 0);
	assert_int_equal(published_write(&s->vfs, "new", new_set, strlen(new_set)), 0);
	assert_true(reads(s, "a", old_set));
	assert_true(reads(s, "new", new_set));
	assert_int_equal(published_write(&s->vfs, "a", new_set, strlen(new_set)), 0);
	assert_true(reads(s, "a", new_set));
	simvfs_free(s);
}

/* Wherever the power goes: the old set or the new one, and the new one once the call has returned. */
static void a_power_cut_leaves_the_old_set_or_the_new_one(void **state)
{
	int cut = 0, old = 0;

	(void)state;
	for (uint32_t seed = 1; seed <= 20; seed++) {
		for (long at = 1; at < 20; at++) {
			struct simvfs *s = simvfs_new(seed);
			int rc;

			assert_int_equal(published_write(&s->vfs, "a", old_set, strlen(old_set)), 0);
			s->die_at = s->ops + at;
			rc = published_write(&s->vfs, "a", new_set, strlen(new_set));
			cut += rc != 0;
			simvfs_restart(s, true);
			old += reads(s, "a", old_set);
			assert_true(reads(s, "a", new_set) || (rc && reads(s, "a", old_set)));
			/* And what the crash left is in nobody's way. */
			assert_int_equal(published_write(&s->vfs, "a", new_set, strlen(new_set)), 0);
			assert_true(reads(s, "a", new_set));
			simvfs_free(s);
		}
	}
	assert_true(cut > 20 && old > 20);
}

static void a_failed_sync_is_no_success(void **state)
{
	struct simvfs *s = simvfs_new(3);

	(void)state;
	assert_int_equal(published_write(&s->vfs, "a", old_set, strlen(old_set)), 0);
	s->fail_sync_at = s->syncs + 1;
	assert_int_not_equal(published_write(&s->vfs, "a", new_set, strlen(new_set)), 0);
	assert_true(reads(s, "a", old_set));
	simvfs_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_set_is_kept_for_each_home),
		cmocka_unit_test(a_power_cut_leaves_the_old_set_or_the_new_one),
		cmocka_unit_test(a_failed_sync_is_no_success),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
