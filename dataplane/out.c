/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The outbound way, from a TUN read to the open batch. A read is parsed and put into the queue (fq.h); when its
 * turn comes it is looked up, made to fit, and sealed: whole, or on a slow line so much as that takes in a moment.
 */
#include "fit.h"
#include "worker.h"

#define SERVE_BYTES 131072 /* that leave in a turn before others are looked at: some 0.3 ms */
#define SERVE_UNITS 64
#define HELD_MAX    (TUN_BUFS - 8) /* so many reads may wait: the kernel needs some to read into */

static void acquire(struct worker *w, struct peer *p, const struct split *s)
{
	uint64_t was = atomic_load_explicit(&p->acquire_ms, memory_order_relaxed);
	struct dp_event ev = { .kind = DP_EV_ACQUIRE, .peer = p->id, .data = s->p };

	if (was && w->now_ms - was < 1000)
		return;
	if (!atomic_compare_exchange_strong(&p->acquire_ms, &was, w->now_ms))
		return;
	ev.len = s->k.total < 128 ? s->k.total : 128;
	worker_event(w, &ev);
}

/* What of a unit is sealed and in the open batch. */
struct sealed {
	unsigned pkts;
	size_t inner, outer; /* bytes */
};

static void note_sent(struct worker *w, struct sa_out *sa, const struct sealed *d)
{
	struct peer *p = sa->peer;

	peer_stamp(&p->tx_data_ms, w->now_ms);
	if (count_get(&p->tx_first_ms) <= count_get(&p->rx_data_ms))
		peer_stamp(&p->tx_first_ms, w->now_ms);
	peer_stamp(&p->tx_any_ms, w->now_ms);
	count_set(&sa->last_ms, w->now_ms);
	worker_add(w, &p->tx_pkts, d->pkts);
	worker_add(w, &p->tx_bytes, d->inner);
	stats_add(&w->stats, DP_OUT_PKT, d->pkts);
	stats_add(&w->stats, DP_OUT_BYTES, d->inner);
	out_soft(w, sa);
}

void out_soft(struct worker *w, struct sa_out *sa)
{
	struct dp_event ev = { .kind = DP_EV_REKEY,
			       .peer = sa->peer->id,
			       .spi = sa->key.spi,
			       .generation = sa->generation,
			       .outbound = true };

	if (atomic_load_explicit(&sa->soft_told, memory_order_relaxed))
		return;
	if (count_get(&sa->seq) < sa->soft_pkts && count_get(&sa->bytes) < sa->soft_bytes)
		return;
	if (!atomic_exchange(&sa->soft_told, true))
		worker_event(w, &ev);
}

void out_expired(struct worker *w, struct sa_out *sa)
{
	struct dp_event ev = { .kind = DP_EV_EXPIRED,
			       .peer = sa->peer->id,
			       .spi = sa->key.spi,
			       .generation = sa->generation,
			       .outbound = true };

	if (!atomic_exchange(&sa->hard_told, true))
		worker_event(w, &ev);
}

_Static_assert(SPLIT_SPARE >= ESP_TRAILER_MAX, "esp_seal() writes behind the last piece");

/* The pieces up to @until, under numbers that were taken for them. */
static enum dp_verdict seal_pieces(struct worker *w, struct sa_out *sa, struct ep *ep, struct split *s,
				   unsigned until, uint64_t seq, struct sealed *d)
{
	uint8_t nh = s->k.ver == 4 ? ESP_NH_IPV4 : ESP_NH_IPV6;
	uint8_t ecn = pkt_ecn(s->p); /* RFC 6040 s4.1, normal mode: the outer field is a copy */
	enum dp_verdict v = DP_OUT_PKT;
	struct esp_key *key = sa_out_key(sa, w->index);
	struct piece piece;

	if (s->whole)
		udp_flush(w); /* its batch is its own */
	esp_key_use(key, w->now_ms);
	while (s->i < until && split_next(s, &piece)) {
		size_t len = esp_len(&key->shape, piece.len);
		uint8_t *out = udp_room(w, ep, ecn, len), *behind = piece.data + piece.len;
		uint8_t save[ESP_TRAILER_MAX];
		int rc;

		if (!out) {
			seq++;
			continue; /* counted there; its number stays unused */
		}
		memcpy(save, behind, sizeof(save));
		rc = esp_seal(key, seq++, nh, piece.data, piece.len, out);
		memcpy(behind, save, sizeof(save));
		if (rc) {
			v = DP_DROP_SEAL;
			break;
		}
		udp_queue(w, len);
		d->pkts++;
		d->inner += piece.len;
		d->outer += len;
		if (s->whole) {
			w->tx->cut = true;
			udp_flush(w);
		}
	}
	esp_key_done(key);
	return v;
}

/*
 * What was handed over cannot wait here, so what is above the peer's rate stays behind; of fragments none is of use
 * without the others.
 */
static void police(struct worker *w, struct peer *p, struct split *s)
{
	unsigned n = s->frag ? 1 : s->count,
		 take = limit_take(&p->out_limit, w->now_ms, n, split_bytes(s, 0, s->count));

	if (take == n)
		return;
	s->take = take;
	stats_add(&w->stats, DP_OUT_RATE_HELD, s->count - take);
}

/*
 * It has waited too long, and nothing of it has left: a mark where the sender reads them, else its first packet is lost
 * (RFC 8289, RFC 3168); of fragments none is of use without the others.
 */
static void slow_down(struct worker *w, struct split *s)
{
	if (pkt_ecn(s->p)) { /* one that bears the mark already says what is to be said */
		pkt_set_ecn(s->p, 3);
		worker_count(w, DP_OUT_MARKED);
		return;
	}
	worker_count(w, DP_DROP_QUEUE_LONG);
	s->i = s->frag ? s->take : 1;
}

/* Looked up again each time: between turns the tables may have changed. */
static enum dp_verdict find(struct worker *w, const struct split *s, struct spd_hit *hit)
{
	*hit = spd_lookup(&w->dp->spd, &s->k);
	if (!hit->peer)
		return DP_DROP_NO_POLICY;
	if (hit->sa)
		return DP_OUT_PKT;
	acquire(w, hit->peer, s);
	return DP_DROP_NO_SA;
}

/* The first time: cut, fitted to the path and to the peer's rate. */
static enum dp_verdict prepare(struct worker *w, struct unit *u, const struct spd_hit *hit)
{
	struct split *s = &u->s;
	struct ep *ep = atomic_load_explicit(&hit->peer->ep, memory_order_acquire);
	uint16_t max = fit_inner(hit->peer, ep, &hit->sa->key.shape), mtu;
	enum dp_verdict v;
	bool clamped;

	if (!ep)
		return DP_DROP_NO_ENDPOINT;
	mtu = atomic_load_explicit(&w->dp->tun_mtu, memory_order_relaxed);
	v = split_init(s, u->vnet ? &u->v : NULL, max < mtu ? max : mtu, &clamped);
	if (v != DP_OUT_PKT)
		return v;
	if (clamped)
		worker_count(w, DP_MSS_CLAMPED);
	fit_watch(w, hit->peer, s);
	v = fit_unit(w, hit->sa, s, max);
	if (v != DP_OUT_PKT)
		return v;
	u->ready = true;
	return DP_OUT_PKT;
}

/* What a unit may do in this turn of its flow. */
struct leave {
	bool mark;	  /* it has waited too long */
	bool wait;	  /* it can wait for its peer's rate and the line; else what is above is lost */
	size_t sent;	  /* out: inner bytes that left */
	uint64_t wait_us; /* out: none may, for so long; 0: some did */
};

size_t out_line_room(const struct worker *w, const struct ep *ep)
{
	const struct sock *s = ep->stream ? NULL : w->tx_sock[ep->path.sock];
	const struct txbatch *b = w->tx;
	bool open = b && b->pkts && !b->stream && b->sock == s;

	if (!s || !s->line_bytes)
		return SIZE_MAX;
	return open && b->bytes < s->line_bytes ? s->line_bytes - b->bytes : s->line_bytes;
}

/* Up to which of its pieces it may leave now; one at least, where the rate lets it. */
static unsigned until(struct worker *w, struct peer *p, const struct ep *ep, const struct unit *u, struct leave *l)
{
	const struct split *s = &u->s;
	unsigned left = s->take - s->i, n;
	size_t each = s->head + s->gso, room = out_line_room(w, ep);

	if (!s->gso || s->frag || s->whole) {
		n = limit_pass(&p->out_limit, w->now_ms, 1, split_bytes(s, s->i, s->take), !u->held, &l->wait_us);
		return n ? s->take : s->i;
	}
	n = room / each < left ? (unsigned)(room / each) : left;
	n = n ? n : 1;
	return s->i + limit_pass(&p->out_limit, w->now_ms, n, split_bytes(s, s->i, s->i + n), !u->held,
				 &l->wait_us);
}

/*
 * Several may send for a peer whose window is wide enough, each what its own TUN queue gives, so a flow stays in order. To any
 * other one worker numbers and sends, or its replay window would suffer; and one writes to a stream, which is one way.
 */
static bool is_ours(const struct worker *w, const struct spd_hit *hit)
{
	struct ep *ep;

	if (hit->peer->owner == w->index)
		return true;
	if (!hit->sa || !sa_out_key(hit->sa, w->index))
		return false;
	ep = atomic_load_explicit(&hit->peer->ep, memory_order_acquire);
	return !ep || !ep->stream;
}

static void pass_on(struct worker *w, const struct peer *p, const uint8_t *mem, size_t len)
{
	worker_count(w, DP_HANDED_OVER);
	if (!hand_over(w, p->owner, NULL, mem, len))
		worker_count(w, DP_DROP_HANDOVER_FULL);
}

/*
 * While it waited another SA came, that is not ours to send with. Of one that is cut already the rest is lost, and what was
 * handed over goes no further: between two lookups of it the tables have changed.
 */
static enum dp_verdict send_on(struct worker *w, struct unit *u, const struct peer *p)
{
	if (u->ready || !u->b)
		return DP_DROP_HANDOVER_FULL;
	pass_on(w, p, u->b->mem, u->q.bytes);
	u->s.i = u->s.take;
	return DP_OUT_PKT;
}

/* What the pieces from @from to before @to will be on the wire: all but the last are of one size. */
static size_t outer_bytes(const struct esp_shape *h, const struct split *s, unsigned from, unsigned to)
{
	return (to - from - 1) * esp_len(h, split_bytes(s, from, from + 1)) +
	       esp_len(h, split_bytes(s, to - 1, to));
}

/*
 * Send of @u what @l allows. DP_OUT_PKT while nothing is wrong; u->s.i says how far it is. On anything else @u is
 * done with.
 */
static enum dp_verdict send_unit(struct worker *w, struct unit *u, struct leave *l)
{
	struct split *s = &u->s;
	struct sealed done = { 0 };
	size_t outer;
	enum dp_verdict v;
	struct spd_hit hit;
	struct ep *ep;
	unsigned to, n;
	uint64_t seq;

	v = find(w, s, &hit);
	if (v == DP_OUT_PKT && !is_ours(w, &hit))
		return send_on(w, u, hit.peer);
	if (v == DP_OUT_PKT && !u->ready)
		v = prepare(w, u, &hit);
	if (v == DP_OUT_PKT && l->mark)
		slow_down(w, s); /* it may have been made ready before, and have waited for the rate since */
	if (v == DP_OUT_PKT && !l->wait)
		police(w, hit.peer, s);
	if (v != DP_OUT_PKT || s->i >= s->take)
		return v;
	ep = atomic_load_explicit(&hit.peer->ep, memory_order_acquire);
	if (!ep)
		return DP_DROP_NO_ENDPOINT;
	to = l->wait ? until(w, hit.peer, ep, u, l) : s->take;
	n = to - s->i;
	if (!n) {
		worker_count(w, DP_OUT_RATE_HELD);
		u->held = true;
		return DP_OUT_PKT;
	}
	l->sent = split_bytes(s, s->i, to);
	outer = outer_bytes(&hit.sa->key.shape, s, s->i, to);
	if (!ep_take(ep, outer))
		return DP_DROP_BUDGET;
	v = sa_out_next_seq(hit.sa, n, l->sent, &seq);
	if (v == DP_OUT_PKT)
		v = seal_pieces(w, hit.sa, ep, s, to, seq, &done);
	else
		out_expired(w, hit.sa);
	worker_charge(w, ep, outer, done.outer);
	if (done.pkts)
		note_sent(w, hit.sa, &done);
	return v;
}

/* Parse; hand over what another worker sends. False: it is done with. */
static bool take_in(struct worker *w, struct unit *u, uint8_t *p, size_t len)
{
	enum dp_verdict v = DP_DROP_TUN_SHORT;
	struct spd_hit hit;

	u->ready = u->held = false;
	u->vnet = w->features & DP_F_VNET_HDR;
	if (!u->vnet || len >= VNET_LEN) {
		if (u->vnet)
			memcpy(&u->v, p, VNET_LEN);
		v = split_parse(&u->s, u->vnet ? p + VNET_LEN : p, u->vnet ? len - VNET_LEN : len);
	}
	u->s.i = 0;
	u->s.take = 1;
	if (v == DP_OUT_PKT && w->dp->workers > 1) {
		hit = spd_lookup(&w->dp->spd, &u->s.k);
		if (hit.peer && !is_ours(w, &hit)) {
			pass_on(w, hit.peer, p, len);
			return false;
		}
	}
	if (v != DP_OUT_PKT)
		worker_count(w, v);
	return v == DP_OUT_PKT;
}

void tun_out(struct worker *w, uint8_t *p, size_t len)
{
	struct unit u = { .b = NULL };
	struct leave l = { 0 };
	enum dp_verdict v;

	if (!take_in(w, &u, p, len))
		return;
	v = send_unit(w, &u, &l);
	if (v != DP_OUT_PKT)
		worker_count(w, v);
}

uint32_t out_flow(const struct pkt *k)
{
	return (uint32_t)hash_mix(k->src[1] ^ hash_mix(k->dst[1] ^ k->dst[0] ^ k->proto) ^
				  ((uint64_t)k->sport << 48 | (uint64_t)k->dport << 32));
}

/* The owner's, which would be handed it otherwise; or, where all may send, the flow's own. */
uint8_t out_queue(const struct worker *w, const struct peer *p, const struct pkt *k)
{
	const struct sa_out *sa = atomic_load_explicit(&p->out, memory_order_acquire);
	const struct ep *ep = atomic_load_explicit(&p->ep, memory_order_acquire);

	if (!sa || !sa->other || (ep && ep->stream))
		return p->owner;
	return (uint8_t)flowq_back(w->dp->flowq, k, w->dp->workers);
}

void tun_on_read(struct worker *w, struct buf *b, size_t len)
{
	struct unit *u = &w->unit[b->id];

	worker_count(w, DP_OUT_UNITS);
	if (!take_in(w, u, b->mem, len)) {
		buf_put(b);
		return;
	}
	if (w->dp->workers > 1)
		flowq_left(w->dp->flowq, &u->s.k, w->index);
	u->b = b;
	u->q.bytes = (uint32_t)len;
	fq_add(&w->fq, &u->q, out_flow(&u->s.k), w->now_us);
}

bool out_room(struct worker *w)
{
	struct unit *u;

	if (w->fq.units < HELD_MAX)
		return true;
	u = (struct unit *)fq_evict(&w->fq, w->now_us - FQ_TARGET_US);
	if (!u)
		return false;
	worker_count(w, DP_DROP_QUEUE_FULL);
	buf_put(u->b);
	return true;
}

/* A slow line has what it takes in a moment: does it take more? */
static void flush_slow(struct worker *w)
{
	const struct txbatch *b = w->tx;

	if (b && b->pkts && !b->stream && b->sock->line_bytes && b->bytes >= b->sock->line_bytes)
		udp_flush(w);
}

void out_serve(struct worker *w)
{
	size_t left = SERVE_BYTES;

	if (!w->fq.units)
		return;
	w->now_us = worker_clock_us();
	for (int n = 0; n < SERVE_UNITS && left && !w->tx_blocked; n++) {
		struct leave l = { .wait = true };
		struct fq_unit *q = fq_next(&w->fq, w->now_us, &l.mark);
		struct unit *u = (struct unit *)q;
		enum dp_verdict v;
		bool done;

		if (!q)
			break;
		if (q == &w->bench.q) {
			bench_serve(w, &left);
			flush_slow(w);
			continue;
		}
		v = send_unit(w, u, &l);
		if (v != DP_OUT_PKT)
			worker_count(w, v);
		done = v != DP_OUT_PKT || u->s.i >= u->s.take;
		if (!done && l.wait_us) {
			fq_park(&w->fq, q, w->now_us + l.wait_us);
			continue;
		}
		fq_took(&w->fq, q, (uint32_t)l.sent, done);
		left -= l.sent < left ? l.sent : left;
		if (done)
			buf_put(u->b);
		flush_slow(w);
	}
}
