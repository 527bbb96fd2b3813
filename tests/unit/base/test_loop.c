/* SPDX-License-Identifier: GPL-3.0-or-later */
/* clock.h, loop.h, hash.h: what every process turns on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "hash.h"
#include "loop.h"

#define N 2000

static struct timers ts;
static struct timer t[N];
static uint64_t last;
static int fired;

static void in_order(struct timer *x, uint64_t now_ms)
{
	assert_true(x->at_ms >= last && x->at_ms <= now_ms);
	assert_false(timer_armed(x));
	last = x->at_ms;
	fired++;
}

/* Every parent is due no later than its children, and each timer knows its place. */
static void heap_holds(void)
{
	for (size_t i = 1; i <= ts.count; i++) {
		assert_int_equal(ts.heap[i - 1]->slot, i);
		if (i > 1)
			assert_true(ts.heap[i / 2 - 1]->at_ms <= ts.heap[i - 1]->at_ms);
	}
}

static void timers_keep_the_heap_through_random_changes(void **state)
{
	uint32_t seed = 1;
	size_t armed = 0;

	(void)state;
	for (int i = 0; i < N; i++)
		t[i] = (struct timer){ .fire = in_order };
	for (int i = 0; i < 20000; i++) {
		struct timer *x;

		seed = seed * 1664525u + 1013904223u;
		x = &t[(seed >> 8) % N];
		if (seed >> 31)
			timer_clear(&ts, x);
		else
			assert_int_equal(timer_set(&ts, x, 1 + (seed >> 4) % 5000), 0);
		if (i % 500 == 0)
			heap_holds();
	}
	for (int i = 0; i < N; i++)
		armed += timer_armed(&t[i]);
	assert_int_equal(ts.count, armed);
	last = 0;
	fired = 0;
	timers_run(&ts, 2500);
	assert_true(timers_next_ms(&ts) > 2500);
	heap_holds();
	timers_run(&ts, 5001);
	assert_int_equal(fired, armed);
	assert_true(timers_next_ms(&ts) == UINT64_MAX);
	timers_free(&ts);
}

static void again(struct timer *x, uint64_t now_ms)
{
	fired++;
	if (fired < 5)
		timer_set(x->arg, x, now_ms); /* due at once: must not starve nor recurse */
}

static void a_timer_may_arm_itself(void **state)
{
	struct timers own = { 0 };
	struct timer x = { .fire = again, .arg = &own };

	(void)state;
	fired = 0;
	assert_int_equal(timer_set(&own, &x, 10), 0);
	for (int i = 0; i < 10; i++)
		timers_run(&own, 10);
	assert_int_equal(fired, 5);
	timers_free(&own);
}

static void clear_other(struct timer *x, uint64_t now_ms)
{
	(void)now_ms;
	fired++;
	timer_clear(&ts, x->arg);
}

static void a_timer_may_clear_another_that_is_due(void **state)
{
	struct timer b = { .fire = clear_other }, a = { .fire = clear_other, .arg = &b };

	(void)state;
	memset(&ts, 0, sizeof(ts));
	b.arg = &a;
	fired = 0;
	timer_set(&ts, &a, 5);
	timer_set(&ts, &b, 5);
	timers_run(&ts, 5);
	assert_int_equal(fired, 1);
	timers_free(&ts);
}

/* ---- loop ---- */

static struct loop *loop;
static int reads;

static void del_self(struct loop_fd *lf, uint32_t events)
{
	char c;

	assert_true(events & EPOLLIN);
	reads++;
	assert_int_equal(read(lf->fd, &c, 1), 1);
	if (lf->arg) { /* the other is ready in the same turn: it must not be called any more */
		loop_del(loop, lf->arg);
		((struct loop_fd *)lf->arg)->arg = NULL;
	}
	loop_del(loop, lf);
}

static void a_callback_may_remove_itself_and_its_neighbour(void **state)
{
	struct loop_fd a = { .ready = del_self }, b = { .ready = del_self };
	int p[2], q[2];

	(void)state;
	loop = loop_new();
	assert_true(!pipe(p) && !pipe(q));
	a.fd = p[0];
	b.fd = q[0];
	a.arg = &b;
	b.arg = &a;
	assert_int_equal(loop_add(loop, &a, EPOLLIN), 0);
	assert_int_equal(loop_add(loop, &b, EPOLLIN), 0);
	assert_true(write(p[1], "x", 1) == 1 && write(q[1], "x", 1) == 1);
	reads = 0;
	loop_once(loop, 100);
	loop_once(loop, 0);
	assert_int_equal(reads, 1);
	loop_free(loop);
	close(p[0]), close(p[1]), close(q[0]), close(q[1]);
}

static void stop_at(struct timer *x, uint64_t now_ms)
{
	assert_true(now_ms >= x->at_ms);
	fired++;
	loop_stop(x->arg);
}

static void the_loop_sleeps_until_a_timer_and_stops(void **state)
{
	struct timer x = { .fire = stop_at };
	uint64_t began = clock_boot_ms(), took;

	(void)state;
	loop = loop_new();
	x.arg = loop;
	fired = 0;
	assert_int_equal(timer_set(loop_timers(loop), &x, began + 30), 0);
	assert_int_equal(loop_run(loop), 0);
	took = clock_boot_ms() - began;
	assert_int_equal(fired, 1);
	assert_in_range(took, 29, 60000);
	loop_free(loop);
}

static void on_usr1(int signo, void *arg)
{
	*(int *)arg += signo == SIGUSR1;
}

static void signals_arrive_in_the_loop(void **state)
{
	int got = 0;

	(void)state;
	loop = loop_new();
	assert_int_equal(loop_signal(loop, SIGUSR1, on_usr1, &got), 0);
	raise(SIGUSR1);
	assert_int_equal(got, 0);
	loop_once(loop, 100);
	assert_int_equal(got, 1);
	loop_free(loop);
}

/* ---- hash ---- */

struct item {
	struct hash_node node;
	uint32_t key;
};

static void drop_odd(struct hash_node *n, void *arg)
{
	struct item *i = (struct item *)(void *)n;

	if (i->key & 1) {
		hash_remove(arg, n);
		free(i);
	}
}

static void drop_all(struct hash_node *n, void *arg)
{
	hash_remove(arg, n);
	free(n);
}

static struct item *find(struct hash_table *h, uint32_t key)
{
	for (struct hash_node *n = hash_first(h, hash_bytes(&key, 4)); n; n = hash_next(n))
		if (((struct item *)(void *)n)->key == key)
			return (struct item *)(void *)n;
	return NULL;
}

static void a_table_finds_what_it_holds_while_it_grows_and_shrinks(void **state)
{
	struct hash_table h = { 0 };

	(void)state;
	assert_null(find(&h, 1));
	for (uint32_t k = 0; k < 5000; k++) {
		struct item *i = calloc(1, sizeof(*i));

		i->key = k;
		assert_int_equal(hash_insert(&h, &i->node, hash_bytes(&k, 4)), 0);
	}
	assert_int_equal(h.count, 5000);
	for (uint32_t k = 0; k < 5000; k++)
		assert_non_null(find(&h, k));
	assert_null(find(&h, 5000));
	hash_each(&h, drop_odd, &h);
	assert_int_equal(h.count, 2500);
	for (uint32_t k = 0; k < 5000; k++)
		assert_int_equal(find(&h, k) != NULL, !(k & 1));
	hash_each(&h, drop_all, &h);
	assert_int_equal(h.count, 0);
	hash_free(&h);
}

static void equal_hashes_are_all_given(void **state)
{
	struct hash_table h = { 0 };
	struct hash_node n[3];
	int seen = 0;

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_int_equal(hash_insert(&h, &n[i], i < 2 ? 7 : 7 + (1ull << 40)), 0);
	for (struct hash_node *x = hash_first(&h, 7); x; x = hash_next(x))
		seen++;
	assert_int_equal(seen, 2);
	hash_free(&h);
}

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

static uint64_t slept;

static void on_wake(uint64_t slept_ms, void *arg)
{
	(void)arg;
	slept += slept_ms;
}

/* CLOCK_BOOTTIME of this process goes @seconds ahead, as it does in a sleep; 0, or 77 where that is not allowed. */
static int sleep_for(const char *seconds)
{
	char text[64];
	int fd, len = snprintf(text, sizeof(text), "boottime %s 0\n", seconds);

	if (unshare(CLONE_NEWTIME))
		return 77;
	fd = open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, text, (size_t)len) != len || close(fd))
		return 77;
	fd = open("/proc/self/ns/time_for_children", O_RDONLY | O_CLOEXEC);
	return fd < 0 || setns(fd, CLONE_NEWTIME) ? 77 : 0;
}

static int wakes(void)
{
	struct loop *l = loop_new();
	int rc;

	if (!l || loop_on_wake(l, on_wake, NULL) || loop_once(l, 0) || slept)
		return 1;
	rc = sleep_for("9");
	if (rc)
		return rc;
	if (loop_once(l, 0) || slept < 8900 || slept > 9100)
		return 2;
	slept = 0;
	if (loop_once(l, 0) || slept) /* told once */
		return 3;
	loop_free(l);
	return 0;
}

static void a_sleep_of_the_machine_is_told_once(void **state)
{
	pid_t pid = fork();
	int status = 0;

	(void)state;
	if (!pid)
		_exit(wakes());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip(); /* no time namespace for us */
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(timers_keep_the_heap_through_random_changes),
		cmocka_unit_test(a_timer_may_arm_itself),
		cmocka_unit_test(a_timer_may_clear_another_that_is_due),
		cmocka_unit_test(a_callback_may_remove_itself_and_its_neighbour),
		cmocka_unit_test(the_loop_sleeps_until_a_timer_and_stops),
		cmocka_unit_test(signals_arrive_in_the_loop),
		cmocka_unit_test(a_sleep_of_the_machine_is_told_once),
		cmocka_unit_test(a_table_finds_what_it_holds_while_it_grows_and_shrinks),
		cmocka_unit_test(equal_hashes_are_all_given),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
