/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A letter that comes again is looked for in a cur of any size, and no try takes longer than its slice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "look.h"

#define LETTERS 1100 /* of others, in cur: 5 slices of 256 names */
#define NAME	"1700000000.P01R02.host"
#define OTHER	"1700000000.P03R04.host"

static char base[64];
static int tmp, new, cur;

static void make(int dir, const char *name)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	close(fd);
}

static int part(const char *name)
{
	char path[96];

	snprintf(path, sizeof(path), "%s/%s", base, name);
	if (mkdir(path, 0700))
		return -1;
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int begin(void **state)
{
	char name[64];

	(void)state;
	snprintf(base, sizeof(base), "/tmp/postern-look-XXXXXX");
	if (!mkdtemp(base))
		return -1;
	tmp = part("tmp");
	new = part("new");
	cur = part("cur");
	for (int i = 0; i < LETTERS; i++) {
		snprintf(name, sizeof(name), "16%08d.M1P2.host:2,S", i);
		make(cur, name);
	}
	return 0;
}

static int finish(void **state)
{
	char cmd[96];

	(void)state;
	close(tmp);
	close(new);
	close(cur);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", base);
	return system(cmd);
}

/* Tries of one slice each until there is an answer. */
static int tries(const char *name, int *answer)
{
	int n = 1;

	while ((*answer = look_for(tmp, new, cur, name, 0)) == -EAGAIN && n < 100)
		n++;
	return n;
}

static void nothing_is_left(void)
{
	assert_int_equal(faccessat(tmp, NAME ".look", F_OK, 0), -1);
}

static void a_letter_that_is_nowhere_is_known_to_be_so_after_some_slices(void **state)
{
	int answer;

	(void)state;
	assert_in_range(tries(NAME, &answer), 4, 6);
	assert_int_equal(answer, -ENOENT);
	nothing_is_left();
	assert_int_equal(look_for(tmp, new, cur, NAME, LOOK_SLICE_MS), -ENOENT);
}

static void one_with_any_flags_is_found_wherever_it_stands(void **state)
{
	static const char *const names[] = { NAME ":2,RST", NAME ",S=12:2,F" };
	int answer;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		make(cur, names[i]);
		assert_in_range(tries(NAME, &answer), 1, 6);
		assert_int_equal(answer, cur);
		nothing_is_left();
		unlinkat(cur, names[i], 0);
	}
}

static void a_usual_one_is_found_at_once(void **state)
{
	int answer;

	(void)state;
	make(cur, NAME ":2,S");
	assert_int_equal(tries(NAME, &answer), 1);
	assert_int_equal(answer, cur);
}

static void one_that_lies_in_new_after_all_ends_the_search(void **state)
{
	int answer;

	(void)state;
	assert_int_equal(look_for(tmp, new, cur, NAME, 0), -EAGAIN);
	assert_int_equal(faccessat(tmp, NAME ".look", F_OK, 0), 0);
	make(new, NAME);
	assert_int_equal(tries(NAME, &answer), 1);
	assert_int_equal(answer, new);
	nothing_is_left();
}

static void two_letters_in_turn_both_come_to_an_end(void **state)
{
	int a = -EAGAIN, b = -EAGAIN, n;

	(void)state;
	for (n = 0; n < 50 && (a == -EAGAIN || b == -EAGAIN); n++) {
		a = a == -EAGAIN ? look_for(tmp, new, cur, NAME, 0) : a;
		b = b == -EAGAIN ? look_for(tmp, new, cur, OTHER, 0) : b;
	}
	assert_in_range(n, 4, 6);
	assert_int_equal(a, -ENOENT);
	assert_int_equal(b, -ENOENT);
}

static void a_note_that_is_none_begins_anew(void **state)
{
	static const char *const forged[] = { "", "x", "-\n" };
	int answer;

	(void)state;
	for (size_t i = 0; i < sizeof(forged) / sizeof(forged[0]); i++) {
		int fd = openat(tmp, NAME ".look", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

		assert_int_equal(write(fd, forged[i], strlen(forged[i])), strlen(forged[i]));
		close(fd);
		assert_in_range(tries(NAME, &answer), 4, 6);
		assert_int_equal(answer, -ENOENT);
	}
	/* No file at all: a folder, and one that leads elsewhere. */
	assert_int_equal(mkdirat(tmp, NAME ".look", 0700), 0);
	assert_int_equal(look_for(tmp, new, cur, NAME, LOOK_SLICE_MS), -ENOENT);
	assert_int_equal(unlinkat(tmp, NAME ".look", AT_REMOVEDIR), 0);
	assert_int_equal(symlinkat("/etc/passwd", tmp, NAME ".look"), 0);
	assert_in_range(tries(NAME, &answer), 4, 6);
	assert_int_equal(answer, -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    a_letter_that_is_nowhere_is_known_to_be_so_after_some_slices, begin, finish),
		cmocka_unit_test_setup_teardown(one_with_any_flags_is_found_wherever_it_stands,
						begin, finish),
		cmocka_unit_test_setup_teardown(a_usual_one_is_found_at_once, begin, finish),
		cmocka_unit_test_setup_teardown(one_that_lies_in_new_after_all_ends_the_search,
						begin, finish),
		cmocka_unit_test_setup_teardown(two_letters_in_turn_both_come_to_an_end, begin,
						finish),
		cmocka_unit_test_setup_teardown(a_note_that_is_none_begins_anew, begin, finish),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
