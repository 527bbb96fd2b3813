/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The data plane when the kernel, the ring or the heap has nothing left: worse for a while, and then as before. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>

#include <liburing.h>

#include "spd.h"
#include "worker.h"

#include "pair.h"

/* How many calls fail from now on, and with what. */
static _Atomic int mallocs, sends, receives, turns, submits;
static _Atomic int why;

static bool fails(_Atomic int *left)
{
	return atomic_load(left) > 0 && atomic_fetch_sub(left, 1) > 0;
}

void *__real_malloc(size_t len);
void *__wrap_malloc(size_t len);
void *__wrap_malloc(size_t len)
{
	return fails(&mallocs) ? NULL : __real_malloc(len);
}

void *__real_calloc(size_t n, size_t len);
void *__wrap_calloc(size_t n, size_t len);
void *__wrap_calloc(size_t n, size_t len)
{
	return fails(&mallocs) ? NULL : __real_calloc(n, len);
}

static int failed(void)
{
	errno = atomic_load(&why);
	return -1;
}

ssize_t __real_sendmsg(int fd, const struct msghdr *m, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *m, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *m, int flags)
{
	return fails(&sends) ? failed() : __real_sendmsg(fd, m, flags);
}

ssize_t __real_recvmsg(int fd, struct msghdr *m, int flags);
ssize_t __wrap_recvmsg(int fd, struct msghdr *m, int flags);
ssize_t __wrap_recvmsg(int fd, struct msghdr *m, int flags)
{
	return fails(&receives) ? failed() : __real_recvmsg(fd, m, flags);
}

int __real_epoll_wait(int fd, struct epoll_event *ev, int n, int ms);
int __wrap_epoll_wait(int fd, struct epoll_event *ev, int n, int ms);
int __wrap_epoll_wait(int fd, struct epoll_event *ev, int n, int ms)
{
	return fails(&turns) ? failed() : __real_epoll_wait(fd, ev, n, ms);
}

int __real_io_uring_submit_and_wait(struct io_uring *r, unsigned n);
int __wrap_io_uring_submit_and_wait(struct io_uring *r, unsigned n);
int __wrap_io_uring_submit_and_wait(struct io_uring *r, unsigned n)
{
	if (fails(&turns))
		return -atomic_load(&why);
	return __real_io_uring_submit_and_wait(r, n);
}

/* What is not submitted stays in the queue, which is full soon. */
int __real_io_uring_submit(struct io_uring *r);
int __wrap_io_uring_submit(struct io_uring *r);
int __wrap_io_uring_submit(struct io_uring *r)
{
	return fails(&submits) ? -EBUSY : __real_io_uring_submit(r);
}

/* Within ten seconds what goes in comes out again, whatever was lost before. */
static bool passes(struct world *w, int from)
{
	struct made m = inner;
	uint8_t got[65536];

	for (int i = 0; i < 100; i++) {
		put_in(w, from, &m, 500);
		if (tun_read(w, &w->e[!from], got, 100))
			break;
		if (i == 99)
			return false;
	}
	while (tun_read(w, &w->e[!from], got, 50))
		;
	return true;
}

static void ike_case_118_sends_without_buffers_lose_packets_and_no_more(void **state)
{
	static const int reasons[] = { ENOBUFS, ENOMEM };
	struct world *w = *state;

	for (size_t i = 0; i < 2; i++) {
		assert_true(passes(w, 0));
		atomic_store(&why, reasons[i]);
		atomic_store(&sends, 20);
		assert_true(passes(w, 0));
		assert_true(passes(w, 1));
		atomic_store(&sends, 0);
	}
}

static void ike_case_118_receives_without_memory_are_tried_again(void **state)
{
	struct world *w = *state;

	assert_true(passes(w, 0));
	atomic_store(&why, ENOMEM);
	atomic_store(&receives, 20);
	assert_true(passes(w, 0));
	atomic_store(&receives, 0);
}

/* Three seconds of it: longer than the worker waits with what will not pass by itself. */
static void ike_case_118_a_worker_outlives_a_kernel_short_of_memory(void **state)
{
	struct world *w = *state;

	assert_true(passes(w, 0));
	atomic_store(&why, ENOMEM);
	atomic_store(&turns, 300 * 2); /* of both workers, 10 ms each */
	assert_true(passes(w, 0));
	assert_true(passes(w, 1));
	atomic_store(&turns, 0);
}

static void ike_case_118_a_full_submission_queue_is_waited_for(void **state)
{
	struct world *w = *state;

	assert_true(passes(w, 0));
	for (int i = 1; i < 20; i++) {
		struct made m = inner;

		atomic_store(&why, EBUSY);
		atomic_store(&submits, 1000);
		atomic_store(&turns, i);
		for (int k = 0; k < 100; k++)
			put_in(w, i & 1, &m, 40 + (size_t)k * 8 % 1000);
		assert_true(passes(w, i & 1));
		atomic_store(&submits, 0);
		atomic_store(&turns, 0);
	}
}

/* More than both completion queues hold, at once and from both sides. */
static void ike_case_118_a_full_completion_queue_loses_no_worker(void **state)
{
	struct world *w = *state;
	struct made m = inner;
	uint8_t p[100], got[65536];
	size_t len = make_packet(&m, p, 60);

	for (int i = 0; i < 20000; i++)
		(void)send(w->e[i & 1].tun[0][0], p, len, MSG_DONTWAIT);
	/* Unlike a TUN, a socket pair that is full lets its writer wait: the worker, and then us for the worker. */
	for (int idle = 0; idle < 100; idle++) {
		while (tun_read(w, &w->e[0], got, 0) || tun_read(w, &w->e[1], got, 0))
			idle = 0;
		usleep(5000);
	}
	assert_true(passes(w, 0));
	assert_true(passes(w, 1));
}

static void ike_case_118_an_sa_goes_though_no_memory_is_there_for_it(void **state)
{
	struct dp_ts any = { .port_to = 65535 };
	struct dp_sa d = { .peer = 1, .generation = 1, .cipher = DP_AES_128_GCM_16, .key_len = 20,
			   .local = &any, .remote = &any, .local_count = 1, .remote_count = 1 };
	uint8_t keymat[20] = { 1 }, p[100];
	struct made m = inner;
	struct peer peer[2] = { 0 };
	struct sa_out *sa[2];
	struct spd spd;
	struct rcu rcu;
	struct pkt k;
	size_t len = make_packet(&m, p, 60);

	(void)state;
	addr_parse("10.0.0.0", &any.from);
	addr_parse("10.0.255.255", &any.to);
	d.key = keymat;
	rcu_init(&rcu);
	assert_int_equal(spd_init(&spd), 0);
	assert_int_equal(pkt_parse(p, len, &k), 0);
	for (uint32_t i = 0; i < 2; i++) {
		d.spi = i + 1;
		d.generation = i;
		assert_int_equal(sa_out_new(&d, &peer[i], 1, &sa[i]), 0);
		assert_int_equal(spd_add_sa(&spd, &rcu, sa[i]), 0);
	}
	assert_ptr_equal(spd_lookup(&spd, &k).sa, sa[1]);
	atomic_store(&mallocs, 1);
	spd_del_sa(&spd, &rcu, sa[1]);
	assert_int_equal(atomic_load(&mallocs), 0); /* it was asked for, and denied */
	assert_ptr_equal(spd_lookup(&spd, &k).sa, sa[0]);
	spd_del_sa(&spd, &rcu, sa[0]);
	assert_null(spd_lookup(&spd, &k).sa);
	assert_null(spd_lookup(&spd, &k).peer);
	rcu_reap(&rcu, NULL, 0);
	sa_out_free(&sa[0]->rcu);
	sa_out_free(&sa[1]->rcu);
	spd_free(&spd);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest both[] = {
		T(ike_case_118_sends_without_buffers_lose_packets_and_no_more),
		T(ike_case_118_receives_without_memory_are_tried_again),
		T(ike_case_118_a_worker_outlives_a_kernel_short_of_memory),
		T(ike_case_118_a_full_submission_queue_is_waited_for),
		T(ike_case_118_a_full_completion_queue_loses_no_worker),
	};
	const struct CMUnitTest tables[] = {
		cmocka_unit_test(ike_case_118_an_sa_goes_though_no_memory_is_there_for_it),
	};
	int bad;

	backend = DP_IO_EPOLL;
	bad = cmocka_run_group_tests_name("epoll", both, NULL, NULL);
	backend = DP_IO_AUTO;
	bad += cmocka_run_group_tests_name("auto", both, NULL, NULL);
	bad += cmocka_run_group_tests_name("tables", tables, NULL, NULL);
	return bad != 0;
}
