/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "loop.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define SIGNALS_MAX 8
#define BATCH	    64
#define SLEPT_MS    1000
#define NEVER_S	    (1LL << 33)

struct loop {
	int epfd;
	bool stop;
	uint64_t now_ms;
	struct timers timers;
	struct epoll_event batch[BATCH];
	int batch_len, batch_at;
	struct loop_fd sigfd;
	sigset_t sigset;
	struct {
		int signo;
		void (*fn)(int signo, void *arg);
		void *arg;
	} sig[SIGNALS_MAX];
	int sig_count;
	struct {
		struct loop_fd set; /* readable when the wall clock was set, as after each sleep */
		uint64_t slept_ms;
		void (*fn)(uint64_t slept_ms, void *arg);
		void *arg;
	} wake;
};

struct loop *loop_new(void)
{
	struct loop *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->epfd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epfd < 0) {
		free(l);
		return NULL;
	}
	l->sigfd.fd = l->wake.set.fd = -1;
	sigemptyset(&l->sigset);
	l->now_ms = clock_boot_ms();
	return l;
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	if (l->sigfd.fd >= 0)
		close(l->sigfd.fd);
	if (l->wake.set.fd >= 0)
		close(l->wake.set.fd);
	close(l->epfd);
	timers_free(&l->timers);
	free(l);
}

static int control(struct loop *l, int op, struct loop_fd *lf, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = lf };

	if (epoll_ctl(l->epfd, op, lf->fd, &ev) < 0)
		return -errno;
	lf->events = events;
	lf->added = true;
	return 0;
}

int loop_add(struct loop *l, struct loop_fd *lf, uint32_t events)
{
	return control(l, EPOLL_CTL_ADD, lf, events);
}

int loop_mod(struct loop *l, struct loop_fd *lf, uint32_t events)
{
	return lf->events == events ? 0 : control(l, EPOLL_CTL_MOD, lf, events);
}

void loop_del(struct loop *l, struct loop_fd *lf)
{
	if (!lf->added)
		return;
	epoll_ctl(l->epfd, EPOLL_CTL_DEL, lf->fd, NULL);
	lf->added = false;
	/* Events of this turn that wait behind the current one must not reach a freed owner. */
	for (int i = l->batch_at; i < l->batch_len; i++) {
		if (l->batch[i].data.ptr == lf)
			l->batch[i].data.ptr = NULL;
	}
}

struct timers *loop_timers(struct loop *l)
{
	return &l->timers;
}

uint64_t loop_now_ms(const struct loop *l)
{
	return l->now_ms;
}

static void on_signalfd(struct loop_fd *lf, uint32_t events)
{
	struct loop *l = lf->arg;
	struct signalfd_siginfo si;

	(void)events;
	while (read(lf->fd, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		for (int i = 0; i < l->sig_count; i++) {
			if (l->sig[i].signo == (int)si.ssi_signo)
				l->sig[i].fn(l->sig[i].signo, l->sig[i].arg);
		}
	}
}

int loop_signal(struct loop *l, int signo, void (*fn)(int signo, void *arg), void *arg)
{
	int fd;

	if (l->sig_count == SIGNALS_MAX)
		return -ENOSPC;
	sigaddset(&l->sigset, signo);
	if (sigprocmask(SIG_BLOCK, &l->sigset, NULL) < 0)
		return -errno;
	fd = signalfd(l->sigfd.fd, &l->sigset, SFD_NONBLOCK | SFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	l->sig[l->sig_count].signo = signo;
	l->sig[l->sig_count].fn = fn;
	l->sig[l->sig_count++].arg = arg;
	if (l->sigfd.fd >= 0)
		return 0;
	l->sigfd = (struct loop_fd){ .fd = fd, .ready = on_signalfd, .arg = l };
	return loop_add(l, &l->sigfd, EPOLLIN);
}

/* What there is to do is done in every turn: it woke us, and is readable no more. */
static void on_clock_set(struct loop_fd *lf, uint32_t events)
{
	uint64_t ticks;

	(void)events;
	(void)!read(lf->fd, &ticks, sizeof(ticks)); /* -ECANCELED: it was set */
}

int loop_on_wake(struct loop *l, void (*fn)(uint64_t slept_ms, void *arg), void *arg)
{
	const struct itimerspec never = { .it_value.tv_sec = NEVER_S };
	int fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, NULL) < 0) {
		int rc = -errno;

		close(fd);
		return rc;
	}
	l->wake.set = (struct loop_fd){ .fd = fd, .ready = on_clock_set, .arg = l };
	l->wake.slept_ms = clock_slept_ms();
	l->wake.fn = fn;
	l->wake.arg = arg;
	return loop_add(l, &l->wake.set, EPOLLIN);
}

static void look_awake(struct loop *l)
{
	uint64_t was = l->wake.slept_ms, is = clock_slept_ms();

	if (is < was + SLEPT_MS)
		return;
	l->wake.slept_ms = is;
	l->wake.fn(is - was, l->wake.arg);
}

static int wait_ms(const struct loop *l, int max_wait_ms)
{
	uint64_t next = timers_next_ms(&l->timers), now = clock_boot_ms(), d;

	if (next == UINT64_MAX)
		return max_wait_ms;
	d = next > now ? next - now : 0;
	if (d > 3600000)
		d = 3600000;
	return max_wait_ms >= 0 && (uint64_t)max_wait_ms < d ? max_wait_ms : (int)d;
}

int loop_once(struct loop *l, int max_wait_ms)
{
	int n = epoll_wait(l->epfd, l->batch, BATCH, wait_ms(l, max_wait_ms));

	if (n < 0 && errno != EINTR)
		return -errno;
	l->now_ms = clock_boot_ms();
	if (l->wake.fn)
		look_awake(l);
	l->batch_len = n > 0 ? n : 0;
	for (l->batch_at = 0; l->batch_at < l->batch_len;) {
		struct epoll_event *ev = &l->batch[l->batch_at++];
		struct loop_fd *lf = ev->data.ptr;

		if (lf)
			lf->ready(lf, ev->events);
	}
	l->batch_len = 0;
	timers_run(&l->timers, l->now_ms);
	return 0;
}

int loop_run(struct loop *l)
{
	int rc = 0;

	l->stop = false;
	while (!l->stop && !rc)
		rc = loop_once(l, -1);
	return rc;
}

void loop_stop(struct loop *l)
{
	l->stop = true;
}
