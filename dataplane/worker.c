/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "worker.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "fit.h"
#include "log.h"
#include "stream.h"

#define REST_PKTS      256
#define REST_US	       300000
#define TURN_PAUSE_MS  10
#define TURN_FAILS_MAX 100

static void hand_done(struct worker *w, struct buf *b);

static void free_hands(struct worker *w)
{
	for (unsigned i = 0; i < DP_WORKERS_MAX; i++) {
		if (!w->hand_in[i])
			continue;
		if (w->hand_in[i]->slot)
			munmap(w->hand_in[i]->slot, HAND_SLOTS * sizeof(struct hand_slot));
		free(w->hand_in[i]);
	}
}

static int make_hands(struct worker *w)
{
	for (unsigned i = 0; i < w->dp->workers; i++) {
		struct hand *h;
		void *p;

		if (i == w->index)
			continue;
		h = aligned_alloc(64, sizeof(*h));
		if (!h)
			return -ENOMEM;
		memset(h, 0, sizeof(*h));
		w->hand_in[i] = h;
		p = mmap(NULL, HAND_SLOTS * sizeof(struct hand_slot), PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p == MAP_FAILED)
			return -ENOMEM;
		h->slot = p;
	}
	return 0;
}

struct worker *worker_new(struct dp *dp, unsigned index)
{
	struct worker *w = aligned_alloc(64, (sizeof(*w) + 63) & ~(size_t)63);

	if (!w)
		return NULL;
	memset(w, 0, sizeof(*w));
	w->dp = dp;
	w->index = index;
	w->tun_fd = -1;
	w->stream_epfd = -1;
	w->wake_fd = eventfd(0, EFD_CLOEXEC);
	w->tx_pool = w->tx_free = txbatch_pool(TX_POOL);
	w->tunw_pool = calloc(TUNW_POOL, sizeof(*w->tunw_pool));
	if (w->wake_fd < 0 || !w->tx_pool || !w->tunw_pool || make_hands(w) ||
	    stream_worker_open(w)) {
		worker_free(w);
		return NULL;
	}
	for (unsigned i = 0; i + 1 < TUNW_POOL; i++)
		w->tunw_pool[i].next = &w->tunw_pool[i + 1];
	w->tunw_free = w->tunw_pool;
	fq_init(&w->fq);
	w->rest.due_us = UINT64_MAX;
	w->merge.ops = &tun_merge_ops;
	w->merge.arg = w;
	w->hand_buf.done = hand_done;
	w->hand_buf.w = w;
	w->now_ms = clock_boot_ms();
	return w;
}

void worker_free(struct worker *w)
{
	if (!w)
		return;
	if (w->io)
		w->io->close(w);
	if (w->wake_fd >= 0)
		close(w->wake_fd);
	evq_free(&w->evq);
	stream_worker_close(w);
	free_hands(w);
	txbatch_pool_free(w->tx_pool, TX_POOL);
	free(w->tunw_pool);
	free(w);
}

/* What the kernel says while it is short of memory: a process started anew would be no better off. */
static bool is_scarce(int rc)
{
	return rc == -ENOMEM || rc == -ENOBUFS || rc == -EAGAIN || rc == -EBUSY;
}

/*
 * A turn fails when the kernel is short of memory, and then again succeeds, however long that takes. When it
 * has failed for a second for another reason nothing will come: a worker that ended in silence would
 * leave a tunnel that looks well and passes nothing, so the process ends and is started anew.
 */
static void go_on(struct worker *w)
{
	const struct timespec pause = { .tv_nsec = TURN_PAUSE_MS * 1000000L };
	unsigned failed = 0;

	while (!atomic_load_explicit(&w->stop, memory_order_acquire)) {
		int rc = w->io->turn(w);

		if (!rc) {
			failed = 0;
			continue;
		}
		if (!is_scarce(rc) && ++failed == TURN_FAILS_MAX)
			abort();
		rcu_offline(&w->rcu);
		nanosleep(&pause, NULL);
	}
}

static void *run(void *arg)
{
	struct worker *w = arg;
	char name[16];
	int rc;

	snprintf(name, sizeof(name), "dp-%u", w->index);
	prctl(PR_SET_NAME, name);
	rc = w->io->start(w);
	atomic_store(&w->started, rc ? rc : 1);
	if (!rc)
		go_on(w);
	if (rc)
		log_err(NULL, "worker %u: %s: %s", w->index, w->io->name, strerror(-rc));
	/* A ring belongs to the thread that enabled it: it is closed here. */
	w->io->close(w);
	rcu_offline(&w->rcu);
	return NULL;
}

int worker_start(struct worker *w)
{
	sigset_t all, was;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &was);
	rc = pthread_create(&w->thread, NULL, run, w);
	pthread_sigmask(SIG_SETMASK, &was, NULL);
	if (rc)
		return -rc;
	w->running = true;
	while (!(rc = atomic_load(&w->started))) {
		struct timespec ms = { .tv_nsec = 200000 };

		nanosleep(&ms, NULL);
	}
	return rc == 1 ? 0 : rc;
}

void worker_stop(struct worker *w)
{
	if (!w->running)
		return;
	atomic_store_explicit(&w->stop, true, memory_order_release);
	worker_wake(w);
	pthread_join(w->thread, NULL);
	w->running = false;
}

void worker_wake(struct worker *w)
{
	uint64_t one = 1;

	if (!atomic_exchange_explicit(&w->wake_told, true, memory_order_seq_cst)) {
		ssize_t n = write(w->wake_fd, &one, sizeof(one));

		(void)n; /* cannot overflow: written once per waking */
	}
}

void worker_event(struct worker *w, struct dp_event *ev)
{
	struct dp *dp = w->dp;
	uint64_t one = 1;

	ev->at_ms = w->now_ms;
	if (!evq_push(&w->evq, ev)) {
		worker_count(w, ev->kind == DP_EV_IKE ? DP_DROP_IKE_QUEUE : DP_EVENT_LOST);
		return;
	}
	if (!atomic_exchange_explicit(&dp->event_told, true, memory_order_seq_cst)) {
		ssize_t n = write(dp->event_fd, &one, sizeof(one));

		(void)n;
	}
}

static void take_inbox(struct worker *w)
{
	struct inbox *in = &w->inbox;
	uint32_t head = atomic_load_explicit(&in->head, memory_order_relaxed);

	while (head != atomic_load_explicit(&in->tail, memory_order_acquire)) {
		const struct cmd *c = &in->cmd[head % INBOX_CMDS];

		if (c->shrunk)
			fit_shrunk(w, c->peer);
		else if (c->bench)
			bench_wake(w);
		else
			tun_send_dummy(w, c);
		atomic_store_explicit(&in->head, ++head, memory_order_release);
	}
}

/* ---- hand-over between workers ---- */

unsigned worker_for_spi(const struct dp *dp, uint32_t spi)
{
	unsigned i = be32toh(spi) & dp->spi_mask;

	return i < dp->workers ? i : 0;
}

bool hand_over(struct worker *w, unsigned to, const struct rx *rx, const uint8_t *p, size_t len)
{
	struct worker *other = w->dp->worker[to];
	struct hand *h = other->hand_in[w->index];
	uint32_t tail = atomic_load_explicit(&h->tail, memory_order_relaxed);
	struct hand_slot *s = &h->slot[tail % HAND_SLOTS];

	if (tail - atomic_load_explicit(&h->head, memory_order_acquire) >= HAND_SLOTS ||
	    len > BUF_BYTES - SPLIT_SPARE)
		return false;
	s->kind = rx ? HAND_UDP : HAND_TUN;
	s->len = len;
	memcpy(s->mem, p, len);
	if (rx) {
		s->seg = rx->seg;
		s->framed = rx->framed;
		s->group = rx->sock->group;
		s->from = *rx->from;
		s->local = rx->local;
		s->ifindex = rx->ifindex;
		s->tos = rx->tos;
	}
	atomic_store_explicit(&h->tail, tail + 1, memory_order_release);
	worker_wake(other);
	return true;
}

/* The last write out of the slot is done: it is the sender's again. */
static void hand_done(struct worker *w, struct buf *b)
{
	struct hand *h = w->hand_now;

	(void)b;
	w->hand_now = NULL;
	atomic_store_explicit(&h->head, atomic_load_explicit(&h->head, memory_order_relaxed) + 1,
			      memory_order_release);
}

static struct sock *hand_sock(struct worker *w, const struct hand_slot *s)
{
	if (s->group < DP_STREAM_FIRST)
		return w->tx_sock[s->group];
	w->hand_stream.group = s->group;
	w->hand_stream.role = DP_SOCK_HOP;
	return &w->hand_stream;
}

static void take_slot(struct worker *w, struct hand *h)
{
	struct hand_slot *s =
	    &h->slot[atomic_load_explicit(&h->head, memory_order_relaxed) % HAND_SLOTS];

	w->hand_now = h;
	w->hand_buf.refs = 1;
	if (s->kind == HAND_TUN) {
		tun_out(w, s->mem, s->len);
		buf_put(&w->hand_buf);
	} else {
		struct rx rx = { .sock = hand_sock(w, s),
				 .data = s->mem,
				 .len = s->len,
				 .seg = s->seg,
				 .from = &s->from,
				 .local = s->local,
				 .ifindex = s->ifindex,
				 .tos = s->tos };

		if (s->framed) {
			(void)stream_frames(w, &rx, s->mem, s->len, &w->hand_buf);
			buf_put(&w->hand_buf);
		} else {
			udp_on_recv(w, &rx, &w->hand_buf);
		}
		merge_flush(&w->merge);
	}
}

/* One slot at a time: its memory may lie in a TUN write that is still under way. */
static void take_hands(struct worker *w)
{
	for (unsigned i = 0; i < w->dp->workers; i++) {
		struct hand *h = w->hand_in[i];

		while (h && !w->hand_now &&
		       atomic_load_explicit(&h->head, memory_order_relaxed) !=
			   atomic_load_explicit(&h->tail, memory_order_acquire))
			take_slot(w, h);
	}
}

void worker_on_wake(struct worker *w)
{
	/* Cleared before looking: what is told from here on wakes again. */
	atomic_exchange_explicit(&w->wake_told, false, memory_order_seq_cst);
	take_inbox(w);
	if (bench_on(&w->dp->bench))
		bench_wake(w); /* another worker may have a PING for us */
}

void worker_begin_turn(struct worker *w)
{
	rcu_online(&w->dp->rcu, &w->rcu);
	w->now_ms = clock_boot_ms();
	w->now_us = worker_clock_us();
}

uint64_t worker_clock_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/*
 * Bulk traffic touches all pools, 3 MB. Some time after it they are given back; a packet now and then uses the few
 * buffers that are at the front again.
 */
static void rest(struct worker *w)
{
	uint64_t moved = worker_counted(w, DP_IN_PKT) + worker_counted(w, DP_OUT_PKT);

	if (moved != w->rest.moved) {
		w->rest.moved = moved;
		if (moved - w->rest.rested > REST_PKTS)
			w->rest.due_us = w->now_us + REST_US;
	} else if (w->now_us >= w->rest.due_us) {
		w->rest.rested = moved;
		w->rest.due_us = UINT64_MAX;
		w->io->rest(w);
		txbatch_pool_rest(w->tx_pool, w->tx_free, TX_POOL);
	}
}

void worker_end_turn(struct worker *w)
{
	if (w->dp->workers > 1)
		take_hands(w);
	merge_flush(&w->merge);
	out_serve(w);
	rest(w); /* before it is asked when the next turn begins, which this changes */
	if (out_wait_us(w) || !udp_keep(w))
		udp_flush(w);
	line_settle(w);
}
