/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Every wish of a peer against all that we may have under way: RFC 7296 s2.25.1, s2.25.2, s2.8.1. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "engine_int.h"

#define OURS  0x1001 /* the CHILD SA that the peer names */
#define OTHER 0x1002

#define ANS COLLIDE_ANSWER
#define RIV COLLIDE_RIVAL
#define FGT COLLIDE_FORGET
#define EMP COLLIDE_EMPTY
#define TMP COLLIDE_TEMPORARY
#define NFD COLLIDE_NOT_FOUND

enum { CREATE, REKEY, REKEY_NONE, DELETE, DELETE_NONE, IKE_REKEY, IKE_DELETE, WISHES };

static const struct {
	enum peer_wish wish;
	bool exists;
} wishes[WISHES] = {
	[CREATE] = { WISH_CREATE_CHILD, false },      [REKEY] = { WISH_REKEY_CHILD, true },
	[REKEY_NONE] = { WISH_REKEY_CHILD, false },   [DELETE] = { WISH_DELETE_CHILD, true },
	[DELETE_NONE] = { WISH_DELETE_CHILD, false }, [IKE_REKEY] = { WISH_REKEY_IKE, false },
	[IKE_DELETE] = { WISH_DELETE_IKE, false },
};

static const struct {
	enum task_kind ours;
	uint32_t spi;
	/* in the order of the enum: */
	enum collide_verdict sent[WISHES], waits[WISHES];
} rows[] = {
	/* clang-format off */
	/*			   create rekey none delete none IKE-rekey IKE-delete */
	{ TASK_NONE, 0,		 { ANS, ANS, NFD, ANS, EMP, ANS, ANS }, { ANS, ANS, NFD, ANS, EMP, ANS, ANS } },
	{ TASK_CREATE_CHILD, 0,	 { ANS, ANS, NFD, ANS, EMP, TMP, ANS }, { ANS, ANS, NFD, ANS, EMP, ANS, ANS } },
	{ TASK_REKEY_CHILD, OURS, { ANS, RIV, NFD, ANS, EMP, TMP, ANS }, { ANS, ANS, NFD, ANS, EMP, ANS, ANS } },
	{ TASK_REKEY_CHILD, OTHER, { ANS, ANS, NFD, ANS, EMP, TMP, ANS }, { ANS, ANS, NFD, ANS, EMP, ANS, ANS } },
	{ TASK_DELETE_CHILD, OURS, { ANS, TMP, NFD, EMP, EMP, TMP, ANS }, { ANS, TMP, NFD, ANS, EMP, ANS, ANS } },
	{ TASK_DELETE_CHILD, OTHER, { ANS, ANS, NFD, ANS, EMP, TMP, ANS }, { ANS, ANS, NFD, ANS, EMP, ANS, ANS } },
	{ TASK_REKEY_IKE, 0,	 { TMP, TMP, TMP, ANS, EMP, RIV, FGT }, { ANS, ANS, NFD, ANS, EMP, ANS, ANS } },
	{ TASK_DELETE_IKE, 0,	 { TMP, TMP, TMP, ANS, EMP, TMP, FGT }, { TMP, TMP, TMP, ANS, EMP, TMP, ANS } },
	{ TASK_LIVENESS, 0,	 { ANS, ANS, NFD, ANS, EMP, ANS, ANS }, { ANS, ANS, NFD, ANS, EMP, ANS, ANS } },
	{ TASK_PRIVATE, 0,	 { ANS, ANS, NFD, ANS, EMP, ANS, ANS }, { ANS, ANS, NFD, ANS, EMP, ANS, ANS } },
	/* clang-format on */
};

static struct ike_sa *sa;
static struct child_sa child;

static int setup(void **s)
{
	(void)s;
	sa = calloc(1, sizeof(*sa));
	assert_non_null(sa);
	sa->state = SA_UP;
	memset(&child, 0, sizeof(child));
	child.spi_in = OURS;
	child.state = CHILD_UP;
	return 0;
}

static int teardown(void **s)
{
	(void)s;
	free(sa);
	return 0;
}

static enum collide_verdict ask(int wish)
{
	return collide(sa, wishes[wish].wish, wishes[wish].exists ? &child : NULL);
}

static void every_wish_meets_every_work(void **s)
{
	(void)s;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		for (int wish = 0; wish < WISHES; wish++)
			for (int waiting = 0; waiting < 2; waiting++) {
				struct task t = { .kind = rows[i].ours, .spi = rows[i].spi };
				enum collide_verdict want =
				    waiting ? rows[i].waits[wish] : rows[i].sent[wish];

				sa->win.outstanding = !waiting && t.kind;
				sa->out.task = waiting ? (struct task){ 0 } : t;
				sa->task_count = waiting && t.kind;
				sa->tasks = &t;
				if (ask(wish) != want)
					fail_msg("row %zu, wish %d, %s: %d, expected %d", i, wish,
						 waiting ? "waiting" : "sent", (int)ask(wish),
						 (int)want);
			}
}

/* s2.8.1: what was rekeyed is about to be deleted, whoever did it. */
static void a_rekeyed_or_closing_child_is_not_rekeyed_again(void **s)
{
	(void)s;
	for (int st = CHILD_REKEYED; st <= CHILD_CLOSING; st++) {
		child.state = (enum child_state)st;
		assert_int_equal(ask(REKEY), TMP);
		assert_int_equal(ask(DELETE), ANS);
	}
}

/* s2.8.2: TEMPORARY_FAILURE, since it is an IKE SA that it is currently trying to close. */
static void a_rekeyed_or_retired_ike_sa_takes_deletes_only(void **s)
{
	static const enum collide_verdict want[WISHES] = { TMP, TMP, TMP, ANS, EMP, TMP, ANS };

	(void)s;
	for (int st = SA_REKEYED; st <= SA_RETIRED; st++)
		for (int wish = 0; wish < WISHES; wish++) {
			sa->state = (enum sa_state)st;
			assert_int_equal(ask(wish), want[wish]);
		}
}

static void a_second_rival_has_to_wait(void **s)
{
	(void)s;
	sa->win.outstanding = true;
	sa->out.task = (struct task){ .kind = TASK_REKEY_CHILD, .spi = OURS };
	assert_int_equal(ask(REKEY), RIV);
	sa->out.rival.active = true;
	assert_int_equal(ask(REKEY), TMP);
	sa->out.task = (struct task){ .kind = TASK_REKEY_IKE };
	assert_int_equal(ask(IKE_REKEY), TMP);
	sa->out.rival.active = false;
	assert_int_equal(ask(IKE_REKEY), RIV);
}

/* Its CREATE_CHILD_SA answer is still under way to us: it is not unknown for good. */
static void an_unknown_child_may_be_the_one_that_we_are_making(void **s)
{
	(void)s;
	sa->win.outstanding = true;
	sa->out.task = (struct task){ .kind = TASK_CREATE_CHILD };
	sa->out.new_child = &child;
	assert_int_equal(ask(REKEY_NONE), TMP);
	assert_int_equal(ask(DELETE_NONE), EMP);
}

static struct nonce nonce(const char *text)
{
	struct nonce n;

	nonce_set(&n, (struct span){ (const uint8_t *)text, strlen(text) });
	return n;
}

/* s2.8.1: octet by octet; "if you reach the end of one nonce, that nonce is the lower one". */
static void the_lowest_of_four_nonces_loses(void **s)
{
	static const struct {
		const char *ni, *nr, *rival;
		bool lost;
	} at[] = {
		{ "aaaa", "cccc", "bbbb", true },   { "cccc", "aaaa", "bbbb", true },
		{ "cccc", "dddd", "bbbb", false },  { "bbb", "dddd", "bbbb", true },
		{ "bbbbb", "dddd", "bbbb", false }, { "b\xff", "dddd", "b\x01", false },
	};

	(void)s;
	for (size_t i = 0; i < sizeof(at) / sizeof(*at); i++) {
		struct nonce ni = nonce(at[i].ni), nr = nonce(at[i].nr);
		struct nonce rival = nonce(at[i].rival);
		struct collision r = { .active = true, .lowest = nonce_head(&rival) };

		assert_int_equal(collide_lost(sa, &ni, &nr, &r), at[i].lost);
	}
	/* All four the same: one of the two sides gives in, and only one. */
	for (int series = 0; series < 2; series++) {
		struct nonce n = nonce("same");
		struct collision r = { .active = true, .lowest = nonce_head(&n) };

		sa->series_initiator = series;
		assert_int_equal(collide_lost(sa, &n, &n, &r), series);
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(every_wish_meets_every_work),
		T(a_rekeyed_or_closing_child_is_not_rekeyed_again),
		T(a_rekeyed_or_retired_ike_sa_takes_deletes_only),
		T(a_second_rival_has_to_wait),
		T(an_unknown_child_may_be_the_one_that_we_are_making),
		T(the_lowest_of_four_nonces_loses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
