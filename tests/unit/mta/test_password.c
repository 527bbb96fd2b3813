/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include <errno.h>

#include "password.h"
#include "tables.h"

/* "secret", as hash-password makes it, and by SHA-512 with many rounds, as somebody brought it along. */
#define YESCRYPT "$y$j9T$8eDJtN2FLHR0l3Tq3Tq3T.$GrZOCpsE04PMHCanOOfBY8zwQ1maxflb1VmwO9CRZo6"
#define SHA512                                                                                     \
	"$6$rounds=200000$saltsaltsalt$"                                                           \
	"g38tM39iRpNX/1AV3Cvuz0xfSyMjBa26zlR5lEhQmXtJgw3PQ.bARiWY.h5uKjN.QebdIhln.MbFSAB3xi5Wx1"

struct said {
	int count;
	int right;
};

static void done(int right, void *arg)
{
	struct said *s = arg;

	s->count++;
	s->right = right;
}

/* CPU time of one answer, when that is less than @least. */
static uint64_t cost(struct passwords *p, struct loop *l, const char *hash, const char *password,
		     bool right, uint64_t least)
{
	struct said s = { 0 };
	struct timespec from, to;
	uint64_t ns;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
	assert_int_equal(passwords_check(p, hash, password, done, &s), 0);
	while (!s.count)
		loop_once(l, 1000);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
	assert_int_equal(s.right, right);
	ns = (uint64_t)(to.tv_sec - from.tv_sec) * 1000000000 + (uint64_t)to.tv_nsec -
	     (uint64_t)from.tv_nsec;
	return ns < least ? ns : least;
}

static void mail_case_048_an_unknown_user_costs_what_a_wrong_password_costs(void **state)
{
	static const char *const kinds[] = { YESCRYPT, SHA512 };
	struct loop *l = loop_new();
	struct passwords *p = passwords_new(l);

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		uint64_t wrong = UINT64_MAX, unknown = UINT64_MAX;

		passwords_usual(p, i ? kinds[i] : NULL);
		cost(p, l, kinds[i], "secret", true, 0);
		/* In turns: what else runs beside us takes from the processor of both. */
		for (int round = 0; round < 9; round++) {
			wrong = cost(p, l, kinds[i], "wrong", false, wrong);
			unknown = cost(p, l, NULL, "secret", false, unknown);
		}
		if (unknown * 3 < wrong * 2 || wrong * 3 < unknown * 2)
			fail_msg("kind %zu: wrong %llu ns, unknown %llu ns", i,
				 (unsigned long long)wrong, (unsigned long long)unknown);
	}
	passwords_free(p);
	loop_free(l);
}

static int answer(struct passwords *p, struct loop *l, const char *hash, const char *password)
{
	struct said s = { 0 };

	assert_int_equal(passwords_check(p, hash, password, done, &s), 0);
	while (!s.count)
		loop_once(l, 1000);
	return s.right;
}

static void what_cannot_be_computed_is_no_wrong_password(void **state)
{
	static const char *const unknown[] = { "$unheard-of$salt$hash", "x", "" };
	struct loop *l = loop_new();
	struct passwords *p = passwords_new(l);

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(answer(p, l, unknown[i], "secret"), -EINVAL);
		passwords_usual(p, unknown[i]);
		assert_int_equal(answer(p, l, NULL, "secret"), 0);
		assert_int_equal(answer(p, l, YESCRYPT, "secret"), 1);
		assert_int_equal(answer(p, l, YESCRYPT, "wrong"), 0);
	}
	passwords_free(p);
	loop_free(l);
}

static void any_of_a_table_is_one_of_it(void **state)
{
	struct table t = { 0 };
	char why[160];

	(void)state;
	assert_null(table_any(&t));
	assert_int_equal(table_parse(&t, "joe = x\nann = x\n", 16, "=", why, sizeof(why)), 0);
	assert_string_equal(table_any(&t), "x");
	table_clear(&t);
	/* Who has no password costs nothing, and is no measure of it. */
	assert_int_equal(table_parse(&t, "home = *\n", 9, "=", why, sizeof(why)), 0);
	assert_null(table_any(&t));
	assert_int_equal(table_parse(&t, "joe = x\nvps = *\n", 16, "=", why, sizeof(why)), 0);
	assert_string_equal(table_any(&t), "x");
	table_clear(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mail_case_048_an_unknown_user_costs_what_a_wrong_password_costs),
		cmocka_unit_test(what_cannot_be_computed_is_no_wrong_password),
		cmocka_unit_test(any_of_a_table_is_one_of_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
