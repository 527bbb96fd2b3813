/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The outbound way, from a TUN read to the open batch; and the end of the inbound one. */
#include <errno.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>

#include "fit.h"
#include "log.h"
#include "probe.h"
#include "worker.h"

#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

unsigned tun_probe(int fd, unsigned without)
{
	unsigned found = 0, offload = TUN_F_CSUM;
	struct ifreq ifr = { 0 };
	int len = VNET_LEN;

	if (ioctl(fd, TUNGETIFF, &ifr) || !(ifr.ifr_flags & IFF_VNET_HDR) ||
	    ioctl(fd, TUNSETVNETHDRSZ, &len))
		return 0;
	/* The header is there whatever we wish; only what it may announce can be refused. */
	found = DP_F_VNET_HDR;
	if (!(without & DP_F_TSO) &&
	    !ioctl(fd, TUNSETOFFLOAD, offload | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN)) {
		offload |= TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
		found |= DP_F_TSO;
	}
	if (!(without & DP_F_USO) && !ioctl(fd, TUNSETOFFLOAD, offload | TUN_F_USO4 | TUN_F_USO6)) {
		offload |= TUN_F_USO4 | TUN_F_USO6;
		found |= DP_F_USO;
	}
	if (without & DP_F_VNET_HDR)
		offload = 0;
	if (ioctl(fd, TUNSETOFFLOAD, offload))
		return found & DP_F_VNET_HDR;
	return found;
}

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

static void note_sent(struct worker *w, struct sa_out *sa, struct ep *ep, size_t inner, unsigned n,
		      size_t outer)
{
	struct peer *p = sa->peer;
	struct dp_event ev = {
		.peer = p->id, .spi = sa->key.spi, .generation = sa->generation, .outbound = true
	};

	peer_stamp(&p->tx_data_ms, w->now_ms);
	if (count_get(&p->tx_first_ms) <= count_get(&p->rx_data_ms))
		peer_stamp(&p->tx_first_ms, w->now_ms);
	peer_stamp(&p->tx_any_ms, w->now_ms);
	count_set(&sa->last_ms, w->now_ms);
	worker_add(w, &p->tx_pkts, n);
	worker_add(w, &p->tx_bytes, inner);
	worker_add(w, &ep->tx_bytes, outer);
	stats_add(&w->stats, DP_OUT_PKT, n);
	stats_add(&w->stats, DP_OUT_BYTES, inner);
	if (atomic_load_explicit(&sa->soft_told, memory_order_relaxed))
		return;
	if (count_get(&sa->seq) < sa->soft_pkts && count_get(&sa->bytes) < sa->soft_bytes)
		return;
	if (!atomic_exchange(&sa->soft_told, true)) {
		ev.kind = DP_EV_REKEY;
		worker_event(w, &ev);
	}
}

static void expired(struct worker *w, struct sa_out *sa)
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

/* All pieces of one unit under numbers that were taken for it. */
static enum dp_verdict seal_unit(struct worker *w, struct sa_out *sa, struct ep *ep,
				 struct split *s, uint64_t seq)
{
	uint8_t nh = s->k.ver == 4 ? ESP_NH_IPV4 : ESP_NH_IPV6;
	uint8_t ecn = pkt_ecn(s->p); /* RFC 6040 s4.1, normal mode: the outer field is a copy */
	enum dp_verdict v = DP_OUT_PKT;
	struct piece piece;

	if (s->whole)
		udp_flush(w); /* its batch is its own */
	esp_key_use(&sa->key, w->now_ms);
	while (split_next(s, &piece)) {
		size_t len = esp_len(&sa->key.shape, piece.len);
		uint8_t *out = udp_room(w, ep, ecn, len), *behind = piece.data + piece.len;
		uint8_t save[ESP_TRAILER_MAX];
		int rc;

		if (!out) {
			seq++;
			continue; /* counted there; its number stays unused */
		}
		memcpy(save, behind, sizeof(save));
		rc = esp_seal(&sa->key, seq++, nh, piece.data, piece.len, out);
		memcpy(behind, save, sizeof(save));
		if (rc) {
			v = DP_DROP_SEAL;
			break;
		}
		udp_queue(w, len);
		if (s->whole) {
			w->tx->cut = true;
			udp_flush(w);
		}
	}
	esp_key_done(&sa->key);
	return v;
}

/* What is above the peer's rate stays behind; of fragments none is of use without the others. */
static void police(struct worker *w, struct peer *p, struct split *s)
{
	unsigned n = s->frag ? 1 : s->count,
		 take = limit_take(&p->out_limit, w->now_ms, n, split_bytes(s));

	if (take == n)
		return;
	s->take = take;
	stats_add(&w->stats, DP_DROP_RATE_OUT, s->count - take);
}

static enum dp_verdict send_unit(struct worker *w, struct sa_out *sa, struct ep *ep,
				 struct split *s, uint16_t max)
{
	const struct esp_shape *h = &sa->key.shape;
	size_t inner, outer;
	enum dp_verdict v;
	uint64_t seq;

	if (!ep)
		return DP_DROP_NO_ENDPOINT;
	fit_watch(w, sa->peer, s);
	v = fit_unit(w, sa, s, max);
	if (v != DP_OUT_PKT)
		return v;
	police(w, sa->peer, s);
	if (!s->take)
		return DP_OUT_PKT;
	inner = split_bytes(s);
	outer = inner + s->take * ((size_t)h->head_len + 2 + h->align - 1 + h->icv_len);
	if (!ep_may_send(ep, outer))
		return DP_DROP_BUDGET;
	/* The queueing discipline has its place here: behind the lookup, before numbers are taken. */
	v = sa_out_next_seq(sa, s->take, inner, &seq);
	if (v != DP_OUT_PKT) {
		expired(w, sa);
		return v;
	}
	v = seal_unit(w, sa, ep, s, seq);
	if (v == DP_OUT_PKT)
		note_sent(w, sa, ep, inner, s->take, outer);
	return v;
}

static enum dp_verdict out(struct worker *w, uint8_t *p, size_t len)
{
	bool vnet = w->features & DP_F_VNET_HDR, clamped;
	struct virtio_net_hdr v;
	enum dp_verdict verdict;
	struct spd_hit hit;
	struct split s;
	struct ep *ep;
	uint16_t max, mtu;

	if (vnet) {
		if (len < VNET_LEN)
			return DP_DROP_TUN_SHORT;
		memcpy(&v, p, VNET_LEN);
	}
	verdict = split_parse(&s, vnet ? p + VNET_LEN : p, vnet ? len - VNET_LEN : len);
	if (verdict != DP_OUT_PKT)
		return verdict;
	hit = spd_lookup(&w->dp->spd, &s.k);
	if (!hit.peer)
		return DP_DROP_NO_POLICY;
	if (!hit.sa) {
		acquire(w, hit.peer, &s);
		return DP_DROP_NO_SA;
	}
	if (hit.peer->owner != w->index) {
		/* One worker numbers and sends for a peer, or its replay window would suffer. */
		worker_count(w, DP_HANDED_OVER);
		return hand_over(w, hit.peer->owner, NULL, p, len) ? DP_OUT_PKT
								   : DP_DROP_HANDOVER_FULL;
	}
	ep = atomic_load_explicit(&hit.peer->ep, memory_order_acquire);
	max = fit_inner(hit.peer, ep, &hit.sa->key.shape);
	mtu = atomic_load_explicit(&w->dp->tun_mtu, memory_order_relaxed);
	verdict = split_init(&s, vnet ? &v : NULL, max < mtu ? max : mtu, &clamped);
	if (verdict != DP_OUT_PKT)
		return verdict;
	if (clamped)
		worker_count(w, DP_MSS_CLAMPED);
	return send_unit(w, hit.sa, ep, &s, max);
}

void tun_out(struct worker *w, uint8_t *p, size_t len)
{
	enum dp_verdict v = out(w, p, len);

	if (v != DP_OUT_PKT)
		worker_count(w, v);
}

void tun_on_read(struct worker *w, struct buf *b, size_t len)
{
	worker_count(w, DP_OUT_UNITS);
	tun_out(w, b->mem, len);
	buf_put(b);
}

void tun_on_error(struct worker *w, int res)
{
	if (res == -EAGAIN || res == -EINTR || res == -ENOBUFS || res == -ECANCELED)
		return;
	worker_count(w, DP_TUN_ERROR);
	/* EBADFD: the interface was deleted under us. Inbound goes on to be counted as lost. */
	w->tun_dead = true;
	log_err(NULL, "worker %u: TUN read failed: %s", w->index, strerror(-res));
}

void tun_send_dummy(struct worker *w, const struct cmd *c)
{
	struct peer *p = atomic_load_explicit(&w->dp->peers[c->peer], memory_order_acquire);
	struct sa_out *sa = p ? atomic_load_explicit(&p->out, memory_order_acquire) : NULL;
	struct ep *ep = p ? atomic_load_explicit(&p->ep, memory_order_acquire) : NULL, via = { 0 };
	enum dp_verdict v;
	size_t len, total;
	uint8_t *to;
	int rc;
	uint64_t seq;

	if (c->has_via) {
		const struct sock *s = w->tx_sock[c->via.sock];

		via.path = c->via;
		ep = s && !ep_address(&via, s->family) ? &via : NULL;
	}
	if (!sa || !ep) {
		worker_count(w, sa ? DP_DROP_NO_ENDPOINT : DP_DROP_NO_SA);
		return;
	}
	len = probe_build(&sa->key.shape, c->token, c->token_len, c->udp_bytes, w->scratch,
			  DUMMY_MAX);
	total = esp_len(&sa->key.shape, len);
	if (!ep_may_send(ep, total)) {
		worker_count(w, DP_DROP_BUDGET);
		return;
	}
	v = sa_out_next_seq(sa, 1, 0, &seq);
	if (v != DP_OUT_PKT) {
		expired(w, sa);
		worker_count(w, v);
		return;
	}
	udp_flush(w);
	to = udp_room(w, ep, 0, total);
	if (!to)
		return;
	esp_key_glance(&sa->key, w->now_ms);
	rc = esp_seal(&sa->key, seq, ESP_NH_DUMMY, w->scratch, len, to);
	esp_key_done(&sa->key);
	if (rc) {
		worker_count(w, DP_DROP_SEAL);
		return;
	}
	udp_queue(w, total);
	udp_flush(w); /* also because @via does not outlive this call */
	if (!c->has_via) {
		peer_stamp(&p->tx_any_ms, w->now_ms);
		worker_add(w, &ep->tx_bytes, total);
	}
	worker_count(w, DP_OUT_DUMMY);
}

/* ---- the end of the inbound way ---- */

static struct tunw *tunw_get(void *arg)
{
	struct worker *w = arg;
	struct tunw *t = w->tunw_free;

	/* The pool is larger than what can be open or under way at once; see the backends. */
	w->tunw_free = t->next;
	return t;
}

static void tunw_ready(void *arg, struct tunw *t)
{
	struct worker *w = arg;

	w->io->write(w, t);
}

const struct merge_ops tun_merge_ops = {
	.get = tunw_get,
	.ready = tunw_ready,
	.hold = buf_get,
};

void tun_on_written(struct worker *w, struct tunw *t, int res)
{
	if (res < 0)
		stats_add(&w->stats, DP_DROP_TUN_WRITE, t->pkts);
	else
		worker_count(w, DP_IN_WRITES);
	for (unsigned i = 0; i < t->bufs; i++)
		buf_put(t->buf[i]);
	t->next = w->tunw_free;
	w->tunw_free = t;
}
