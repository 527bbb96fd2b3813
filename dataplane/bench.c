/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A measurement as the workers do it, and the control thread's side of it. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "fit.h"
#include "worker.h"

#define CRYPTO_LONG_NS 200000	/* a packet takes no such time: somebody else was running */
#define SERVE_PKTS     64
#define CLOCKS_APART   (1ull << 62)

uint64_t bench_clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

void bench_crypto(struct worker *w, uint64_t since_ns)
{
	uint64_t took = bench_clock_ns() - since_ns;

	if (took < CRYPTO_LONG_NS)
		peer_add(&w->dp->bench.crypto_ns, took * BENCH_SAMPLE);
}

static uint64_t own_cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

uint64_t bench_call(const struct worker *w)
{
	return bench_on(&w->dp->bench) ? own_cpu_ns() : 0;
}

void bench_sent(struct worker *w, uint64_t since_ns)
{
	if (since_ns)
		peer_add(&w->dp->bench.send_ns, own_cpu_ns() - since_ns);
}

void bench_read(struct worker *w, uint64_t since_ns)
{
	if (since_ns)
		peer_add(&w->dp->bench.read_ns, own_cpu_ns() - since_ns);
}

/* ---- in ---- */

static void raise_to(_Atomic uint64_t *c, uint64_t v)
{
	uint64_t was = count_get(c);

	while (was < v && !atomic_compare_exchange_weak_explicit(c, &was, v, memory_order_relaxed, memory_order_relaxed))
		;
}

/* The clocks are two, so the sum has an origin of its own: above 0 in any case. */
static void note_wait(struct bench *b, uint64_t sent_us, uint64_t now_us)
{
	uint64_t took = now_us - sent_us + CLOCKS_APART, least = count_get(&b->took_least),
		 last = count_get(&b->took_last);

	if (!least || took < least)
		count_set(&b->took_least, took);
	if (!last || took < last)
		count_set(&b->took_last, took);
}

static void on_load(struct worker *w, struct bench *b, const struct bench_head *h, size_t len)
{
	uint64_t first = count_get(&b->rx_first_us);

	if (!first) {
		first = w->now_us;
		count_set(&b->rx_first_us, first);
	}
	peer_add(&b->rx_pkts, 1);
	peer_add(&b->rx_bytes, len);
	raise_to(&b->rx_top, h->number);
	count_set(&b->rx_last_us, w->now_us);
	note_wait(b, h->stamp_us, w->now_us);
	if (count_get(&b->warm_us) ||
	    !(h->flags & BENCH_TELLS ? h->flags & BENCH_SETTLED : w->now_us - first >= BENCH_WARM_US))
		return;
	count_set(&b->warm_pkts, count_get(&b->rx_pkts));
	count_set(&b->warm_bytes, count_get(&b->rx_bytes));
	count_set(&b->warm_top, count_get(&b->rx_top));
	count_set(&b->warm_us, w->now_us);
}

static void on_far(struct bench *b, const struct bench_head *h)
{
	count_set(&b->far_rx, h->rx_pkts);
	count_set(&b->far_top, h->rx_top);
	count_set(&b->far_us, h->number);
	count_set(&b->far_waited, h->waited_us);
	atomic_fetch_add_explicit(&b->far_serial, 1, memory_order_release);
}

static void on_pong(struct bench *b, const struct bench_head *h)
{
	uint64_t took = worker_clock_us() - h->stamp_us;
	uint32_t at;

	if (took > UINT32_MAX)
		return;
	at = atomic_fetch_add_explicit(&b->rtts, 1, memory_order_relaxed);
	atomic_store_explicit(&b->rtt_us[at % DP_BENCH_RTTS], (uint32_t)took, memory_order_relaxed);
}

void bench_in(struct worker *w, struct sa_in *sa, const uint8_t *content, size_t len)
{
	struct bench *b = &w->dp->bench;
	struct bench_head h;

	if (!bench_on(b) || atomic_load_explicit(&b->peer, memory_order_relaxed) != sa->peer->id ||
	    !bench_head_parse(content, len, &h) || h.id != count_get(&b->id))
		return;
	if (h.kind == BENCH_LOAD) {
		/* What the peer may send is the same for what is no data. */
		if (limit_take(&sa->peer->in_limit, w->now_ms, 1, len))
			on_load(w, b, &h, len);
		else
			worker_count(w, DP_DROP_RATE_IN);
		return;
	}
	count_set(&b->heard_ms, w->now_ms);
	on_far(b, &h);
	if (h.kind == BENCH_PONG) {
		on_pong(b, &h);
		return;
	}
	count_set(&b->ping_stamp_us, h.stamp_us);
	atomic_fetch_add_explicit(&b->ping_serial, 1, memory_order_release);
	if (sa->peer->owner == w->index)
		bench_wake(w);
	else
		worker_wake(w->dp->worker[sa->peer->owner]);
}

/* ---- out ---- */

/* By what the peer is reached now; false: not at all. */
static bool way(struct worker *w, struct sa_out **sa, struct ep **ep)
{
	uint32_t id = atomic_load_explicit(&w->dp->bench.peer, memory_order_relaxed);
	struct peer *p = atomic_load_explicit(&w->dp->peers[id], memory_order_acquire);

	if (!p || p->owner != w->index)
		return false;
	*sa = atomic_load_explicit(&p->out, memory_order_acquire);
	*ep = atomic_load_explicit(&p->ep, memory_order_acquire);
	return *sa && *ep;
}

/* As many as there is room for, of @n with @len bytes of content; the first @len bytes of scratch are theirs. */
static unsigned seal(struct worker *w, struct sa_out *sa, struct ep *ep, struct bench_head *h, size_t len, unsigned n)
{
	size_t total = esp_len(&sa->key.shape, len);
	enum dp_verdict v;
	unsigned done = 0;
	uint64_t seq;

	if (!ep_take(ep, n * total))
		return 0;
	v = sa_out_next_seq(sa, n, 0, &seq);
	if (v != DP_OUT_PKT) {
		worker_charge(w, ep, n * total, 0);
		out_expired(w, sa);
		return 0;
	}
	esp_key_use(&sa->key, w->now_ms);
	for (; done < n && (h->kind != BENCH_LOAD || !w->tx_blocked); done++) {
		uint8_t *to = udp_room(w, ep, 0, total);
		uint64_t timed;
		int rc;

		if (!to)
			break;
		if (h->kind == BENCH_LOAD)
			h->number++;
		bench_head_build(h, w->scratch);
		timed = worker_timed(w);
		rc = esp_seal(&sa->key, seq++, ESP_NH_DUMMY, w->scratch, len, to);
		if (timed)
			bench_crypto(w, timed);
		if (rc)
			break;
		udp_queue(w, total);
	}
	esp_key_done(&sa->key);
	peer_stamp(&sa->peer->tx_any_ms, w->now_ms);
	worker_charge(w, ep, n * total, done * total);
	stats_add(&w->stats, DP_OUT_DUMMY, done);
	out_soft(w, sa);
	return done;
}

/* What was counted until now; how long was waited is told once. */
static struct bench_head head_of(struct bench *b, enum bench_kind kind)
{
	uint64_t least = count_get(&b->took_least),
		 last = atomic_exchange_explicit(&b->took_last, 0, memory_order_relaxed),
		 waited = last > least ? last - least : 0;

	return (struct bench_head){ .id = count_get(&b->id),
				    .kind = kind,
				    .number = worker_clock_us(),
				    .waited_us = waited < UINT32_MAX ? (uint32_t)waited : UINT32_MAX,
				    .rx_pkts = count_get(&b->rx_pkts),
				    .rx_top = count_get(&b->rx_top) };
}

/* At once, as what has little to send goes first in the queue too. */
static void small(struct worker *w, enum bench_kind kind, uint64_t stamp_us)
{
	struct bench_head h = head_of(&w->dp->bench, kind);
	struct sa_out *sa;
	struct ep *ep;

	if (!h.id || !way(w, &sa, &ep))
		return;
	h.stamp_us = stamp_us;
	memset(w->scratch, 0, BENCH_HEAD + ESP_TRAILER_MAX);
	(void)seal(w, sa, ep, &h, BENCH_HEAD, 1);
	udp_flush(w);
}

void bench_wake(struct worker *w)
{
	struct bench *b = &w->dp->bench;
	uint64_t ping = atomic_load_explicit(&b->ping_serial, memory_order_acquire),
		 ask = atomic_load_explicit(&b->ask_serial, memory_order_acquire), until;
	struct sa_out *sa;
	struct ep *ep;

	if (!bench_on(b) || !way(w, &sa, &ep))
		return;
	if (w->bench.ping_serial != ping) {
		w->bench.ping_serial = ping;
		small(w, BENCH_PONG, count_get(&b->ping_stamp_us));
	}
	if (w->bench.ask_serial != ask) {
		w->bench.ask_serial = ask;
		small(w, BENCH_PING, worker_clock_us());
	}
	if (!count_get(&b->until_ms) || w->bench.begun == count_get(&b->begun))
		return;
	w->bench.begun = count_get(&b->begun);
	w->bench.number = 0;
	w->bench.far_serial = 0;
	until = count_get(&b->until_ms);
	bench_pace_init(&w->bench.pace, count_get(&b->rate), until > w->now_ms ? (until - w->now_ms) * 1000 : 0,
			w->now_us);
	w->bench.q.bytes = 0;
	if (!w->bench.queued)
		fq_add_apart(&w->fq, &w->bench.q, w->now_us);
	w->bench.queued = true;
}

static bool goes_on(const struct worker *w)
{
	const struct bench *b = &w->dp->bench;

	return count_get(&b->id) && count_get(&b->begun) == w->bench.begun &&
	       w->now_ms < count_get(&b->until_ms) && w->now_ms < count_get(&b->heard_ms) + BENCH_QUIET_MS;
}

static void hear(struct worker *w, size_t len)
{
	struct bench *b = &w->dp->bench;
	uint64_t serial = atomic_load_explicit(&b->far_serial, memory_order_acquire);
	struct bench_word word;

	if (serial == w->bench.far_serial)
		return;
	w->bench.far_serial = serial;
	word = (struct bench_word){ .rx = count_get(&b->far_rx),
				    .top = count_get(&b->far_top),
				    .far_us = count_get(&b->far_us),
				    .waited_us = (uint32_t)count_get(&b->far_waited) };
	bench_pace_heard(&w->bench.pace, &word, w->bench.number + 1, len, w->now_us);
}

void bench_serve(struct worker *w, size_t *left)
{
	struct bench_head h = { .id = count_get(&w->dp->bench.id), .kind = BENCH_LOAD };
	uint64_t until_us = w->now_us + 10000, wait_us = 0;
	uint16_t tun = atomic_load_explicit(&w->dp->tun_mtu, memory_order_relaxed), len;
	struct bench_tx *t = &w->bench;
	struct sa_out *sa;
	struct ep *ep;
	size_t room;
	unsigned n;

	if (!goes_on(w)) {
		fq_took(&w->fq, &t->q, 0, true);
		t->queued = false;
		count_set(&w->dp->bench.until_ms, 0);
		return;
	}
	if (!way(w, &sa, &ep)) {
		fq_park(&w->fq, &t->q, until_us);
		return;
	}
	len = fit_inner(sa->peer, ep, &sa->key.shape);
	len = len < tun ? len : tun;
	len = len < DUMMY_MAX ? len : DUMMY_MAX;
	hear(w, len);
	room = out_line_room(w, ep);
	n = (unsigned)((room < FQ_QUANTUM ? room : FQ_QUANTUM) / len + 1);
	n = n < SERVE_PKTS ? n : SERVE_PKTS;
	n = bench_pace_take(&t->pace, n, len, w->now_us, &until_us);
	if (n)
		n = limit_pass(&sa->peer->out_limit, w->now_ms, n, (uint64_t)n * len, false, &wait_us);
	if (!n) {
		fq_park(&w->fq, &t->q, wait_us ? w->now_us + wait_us : until_us);
		return;
	}
	memset(w->scratch, 0, len);
	h.number = t->number;
	h.stamp_us = worker_clock_us();
	h.flags = BENCH_TELLS | (bench_pace_settled(&t->pace, w->now_us) ? BENCH_SETTLED : 0);
	n = seal(w, sa, ep, &h, len, n);
	t->number = h.number;
	count_add(&w->dp->bench.tx_pkts, n);
	count_add(&w->dp->bench.tx_bytes, (uint64_t)n * len);
	if (!n) {
		fq_park(&w->fq, &t->q, until_us);
		return;
	}
	fq_took(&w->fq, &t->q, (uint32_t)(n * len), false);
	*left -= (size_t)n * len < *left ? (size_t)n * len : *left;
}

/* ---- control thread ---- */

static struct peer *peer_of(struct dp *dp, uint32_t id)
{
	return id < dp->peers_max ? atomic_load_explicit(&dp->peers[id], memory_order_acquire) : NULL;
}

static uint64_t cpu_us(const struct dp *dp)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < dp->workers; i++) {
		struct timespec t;
		clockid_t clock;

		if (dp->worker[i]->running && !pthread_getcpuclockid(dp->worker[i]->thread, &clock) &&
		    !clock_gettime(clock, &t))
			sum += (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
	}
	return sum;
}

static void forget(struct bench *b)
{
	_Atomic uint64_t *const all[] = { &b->rx_pkts, &b->rx_bytes, &b->rx_top, &b->rx_first_us, &b->rx_last_us,
					  &b->warm_us, &b->warm_pkts, &b->warm_bytes, &b->warm_top, &b->crypto_ns,
					  &b->read_ns, &b->took_least, &b->took_last, &b->far_us, &b->far_waited,
					  &b->far_rx, &b->far_top, &b->tx_pkts, &b->tx_bytes, &b->send_ns };

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		count_set(all[i], 0);
	atomic_store_explicit(&b->rtts, 0, memory_order_relaxed);
}

int dp_bench_begin(struct dp *dp, const struct dp_bench *want)
{
	struct peer *p = peer_of(dp, want->peer);
	struct bench *b = &dp->bench;
	uint64_t now = clock_boot_ms();

	if (!want->id)
		return -EINVAL;
	if (bench_on(b))
		return -EBUSY;
	if (!p || !atomic_load(&p->out))
		return -ENOENT;
	forget(b);
	dp->bench_began_us = worker_clock_us();
	dp->bench_cpu_us = cpu_us(dp);
	atomic_store(&b->peer, want->peer);
	count_set(&b->begun, count_get(&b->begun) + 1);
	count_set(&b->heard_ms, now);
	count_set(&b->rate, want->rate_bits_s);
	count_set(&b->until_ms, want->load_ms ? now + want->load_ms : 0);
	atomic_store_explicit(&b->id, want->id, memory_order_release);
	if (want->load_ms)
		worker_wake(dp->worker[p->owner]);
	return 0;
}

void dp_bench_ping(struct dp *dp)
{
	struct bench *b = &dp->bench;
	struct peer *p = peer_of(dp, atomic_load(&b->peer));

	if (!bench_on(b) || !p)
		return;
	atomic_fetch_add_explicit(&b->ask_serial, 1, memory_order_release);
	worker_wake(dp->worker[p->owner]);
}

void dp_bench_read(struct dp *dp, struct dp_bench_counts *c)
{
	const struct bench *b = &dp->bench;
	uint64_t warm = count_get(&b->warm_us), from = warm ? warm : count_get(&b->rx_first_us),
		 last = count_get(&b->rx_last_us), top = count_get(&b->rx_top) - count_get(&b->warm_top);

	*c = (struct dp_bench_counts){ .tx_pkts = count_get(&b->tx_pkts),
				       .tx_bytes = count_get(&b->tx_bytes),
				       .rx_pkts = count_get(&b->rx_pkts) - count_get(&b->warm_pkts),
				       .rx_bytes = count_get(&b->rx_bytes) - count_get(&b->warm_bytes),
				       .rx_us = last > from ? last - from : 0,
				       .rx_all_pkts = count_get(&b->rx_pkts),
				       .heard_ms = count_get(&b->heard_ms),
				       .loading = bench_on(b) && count_get(&b->until_ms),
				       .wall_us = worker_clock_us() - dp->bench_began_us,
				       .cpu_us = cpu_us(dp) - dp->bench_cpu_us,
				       .crypto_us = count_get(&b->crypto_ns) / 1000,
				       .send_us = count_get(&b->send_ns) / 1000,
				       .read_us = count_get(&b->read_ns) / 1000 };
	c->rx_lost = top > c->rx_pkts ? top - c->rx_pkts : 0;
}

unsigned dp_bench_rtts(struct dp *dp, uint32_t *us, unsigned n)
{
	unsigned have = atomic_load(&dp->bench.rtts);

	if (have > DP_BENCH_RTTS)
		have = DP_BENCH_RTTS;
	n = have < n ? have : n;
	for (unsigned i = 0; i < n; i++)
		us[i] = atomic_load_explicit(&dp->bench.rtt_us[i], memory_order_relaxed);
	return n;
}

void dp_bench_end(struct dp *dp)
{
	count_set(&dp->bench.id, 0);
	count_set(&dp->bench.until_ms, 0);
}
