/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The inbound way of one ESP packet, from the SPI to the merge. */
#include "fit.h"
#include "probe.h"
#include "worker.h"

#define UNKNOWN_RATE_MAX 8  /* unknown SPIs looked at in one second: anybody can send them */
#define TOLD_AGAIN_MS 50 /* the same new tuple of the same SA is reported this often at most */

static void fill_event(struct dp_event *ev, enum dp_event_kind kind, const struct sa_in *sa,
		       const struct rx *rx, size_t bytes)
{
	memset(ev, 0, sizeof(*ev));
	ev->kind = kind;
	ev->peer = sa->peer->id;
	ev->spi = sa->key.spi;
	ev->generation = sa->generation;
	ev->path.sock = rx->sock->group;
	ev->path.local = rx->local;
	ev->path.ifindex = rx->ifindex;
	ev->bytes = (uint32_t)bytes;
	(void)endpoint_from_sockaddr(&ev->path.remote, (const struct sockaddr *)rx->from);
}

static bool same_tuple(const struct ep *ep, const struct rx *rx)
{
	const struct sockaddr *a = &ep->to.any, *b = (const struct sockaddr *)rx->from;

	if (ep->path.sock != rx->sock->group || a->sa_family != b->sa_family)
		return false;
	if (a->sa_family == AF_INET) {
		const struct sockaddr_in *x = &ep->to.v4, *y = (const void *)b;

		return x->sin_port == y->sin_port && x->sin_addr.s_addr == y->sin_addr.s_addr;
	} else {
		const struct sockaddr_in6 *x = &ep->to.v6, *y = (const void *)b;

		return x->sin6_port == y->sin6_port &&
		       !memcmp(&x->sin6_addr, &y->sin6_addr, sizeof(x->sin6_addr));
	}
}

/*
 * An authentic packet: where did it come from? Only one above every number accepted before it may
 * say something about the peer's place; an old one may be a copy that someone else sent on.
 */
static void peer_note_addr(struct worker *w, struct sa_in *sa, const struct rx *rx, size_t bytes,
			   bool newest, bool dummy)
{
	struct ep *ep = atomic_load_explicit(&sa->peer->ep, memory_order_acquire);
	struct dp_event ev;

	if (ep && same_tuple(ep, rx)) {
		worker_add(w, &ep->rx_bytes, bytes);
		return;
	}
	if (!newest)
		return;
	fill_event(&ev, DP_EV_ENDPOINT, sa, rx, bytes);
	if (sa->told_ms && w->now_ms - sa->told_ms < TOLD_AGAIN_MS &&
	    endpoint_eq(&sa->told, &ev.path.remote))
		return;
	sa->told = ev.path.remote;
	sa->told_ms = w->now_ms;
	ev.dummy = dummy;
	ev.newest = atomic_load_explicit(&sa->newest, memory_order_relaxed);
	worker_event(w, &ev);
}

static void first_and_limits(struct worker *w, struct sa_in *sa, const struct rx *rx, size_t bytes)
{
	struct dp_event ev;

	if (!sa->first_told) {
		sa->first_told = true;
		fill_event(&ev, DP_EV_FIRST_IN, sa, rx, bytes);
		worker_event(w, &ev);
	}
	if (!sa->soft_told &&
	    (sa->replay->top >= sa->soft_pkts || count_get(&sa->bytes) >= sa->soft_bytes)) {
		sa->soft_told = true;
		fill_event(&ev, DP_EV_REKEY, sa, rx, bytes);
		worker_event(w, &ev);
	}
}

static bool hard_limit(struct worker *w, struct sa_in *sa, const struct rx *rx)
{
	struct dp_event ev;

	if (count_get(&sa->bytes) < sa->hard_bytes && count_get(&sa->pkts) < sa->hard_pkts)
		return false;
	if (!sa->hard_told) {
		sa->hard_told = true;
		fill_event(&ev, DP_EV_EXPIRED, sa, rx, 0);
		worker_event(w, &ev);
	}
	return true;
}

/* RFC 6040 s4.2. False: drop. */
static bool decap_ecn(uint8_t *p, uint8_t outer)
{
	uint8_t inner = pkt_ecn(p);

	outer &= 3;
	if (outer == 3) {
		if (!inner)
			return false;
		if (inner != 3)
			pkt_set_ecn(p, 3);
	} else if (outer == 1 && inner == 2) {
		pkt_set_ecn(p, 1);
	}
	return true;
}

static void dummy_in(struct worker *w, struct sa_in *sa, const struct rx *rx,
		     const struct esp_inner *in, size_t bytes, bool newest)
{
	const uint8_t *token;
	struct dp_event ev;

	worker_count(w, DP_IN_DUMMY);
	fill_event(&ev, DP_EV_PROBE, sa, rx, bytes);
	ev.len = probe_parse(in->data, in->len, &token);
	if (!ev.len) {
		bench_in(w, sa, in->data, in->len);
		peer_note_addr(w, sa, rx, bytes, newest, true);
		return;
	}
	/* A probe comes from where its sender is not meant to be: it says nothing about the endpoint. */
	ev.data = token;
	worker_event(w, &ev);
}

/* The way back has its own size: what the far end's TCP is told must fit both. */
static uint16_t clamp_to(const struct worker *w, const struct peer *p)
{
	uint16_t mtu = atomic_load_explicit(&w->dp->tun_mtu, memory_order_relaxed), max;
	const struct sa_out *out = atomic_load_explicit(&p->out, memory_order_acquire);
	const struct ep *ep = atomic_load_explicit(&p->ep, memory_order_acquire);

	max = out ? fit_inner(p, ep, &out->key.shape) : UINT16_MAX;
	return max < mtu ? max : mtu;
}

static enum dp_verdict inner_in(struct worker *w, struct sa_in *sa, const struct rx *rx,
				struct esp_inner *in, struct buf *b)
{
	struct pkt k;

	if (in->next_header != ESP_NH_IPV4 && in->next_header != ESP_NH_IPV6)
		return DP_DROP_NEXT_HEADER;
	/* What lies behind the IP length is TFC padding (RFC 4303 s2.7): k.total leaves it out. */
	if (pkt_parse(in->data, in->len, &k) || k.ver != (in->next_header == ESP_NH_IPV4 ? 4 : 6))
		return DP_DROP_INNER;
	if (!selector_check(sa, &k))
		return DP_DROP_SELECTOR;
	if (!decap_ecn(in->data, rx->tos))
		return DP_DROP_ECN;
	if (!limit_take(&sa->peer->in_limit, w->now_ms, 1, k.total))
		return DP_DROP_RATE_IN;
	if (k.proto == PKT_TCP && pkt_is_syn(in->data, &k) &&
	    pkt_clamp_mss(in->data, &k, clamp_to(w, sa->peer), false))
		worker_count(w, DP_MSS_CLAMPED);
	count_add(&sa->pkts, 1);
	count_add(&sa->bytes, k.total);
	stats_add(&w->stats, DP_IN_PKT, 1);
	stats_add(&w->stats, DP_IN_BYTES, k.total);
	worker_add(w, &sa->peer->rx_pkts, 1);
	worker_add(w, &sa->peer->rx_bytes, k.total);
	peer_stamp(&sa->peer->rx_data_ms, w->now_ms);
	if (w->dp->workers > 1)
		w->to_queue = out_queue(w, sa->peer, &k);
	merge_add(&w->merge, in->data, &k, b);
	return DP_IN_PKT;
}

static enum dp_verdict open_packet(struct worker *w, const struct rx *rx, uint8_t *pkt, size_t len,
				   struct sa_in *sa, struct buf *b)
{
	struct esp_inner in;
	enum dp_verdict v;
	uint64_t seq, timed;
	bool newest;

	if (hard_limit(w, sa, rx))
		return DP_DROP_HARD_LIMIT;
	seq = replay_infer(sa->replay, get32(pkt + 4));
	switch (replay_check(sa->replay, seq)) {
	case REPLAY_SEEN:
		count_add(&sa->replays, 1);
		return DP_DROP_REPLAY;
	case REPLAY_STALE:
		count_add(&sa->replays, 1);
		return DP_DROP_STALE;
	case REPLAY_NEW:
		break;
	}
	esp_key_glance(&sa->key, w->now_ms);
	timed = worker_timed(w);
	v = esp_open(&sa->key, seq, pkt, len, &in);
	if (timed)
		bench_crypto(w, timed);
	if (v == DP_IN_PKT && in.next_header != ESP_NH_DUMMY)
		esp_key_use(&sa->key, w->now_ms);
	esp_key_done(&sa->key);
	if (v == DP_DROP_ICV)
		count_add(&sa->bad_icv, 1);
	if (v == DP_DROP_ICV || v == DP_DROP_ESP_SHORT)
		return v;
	/* From here on it is authentic, whatever is in it. */
	newest = replay_commit(sa->replay, seq);
	count_set(&sa->top, sa->replay->top);
	count_set(&sa->last_ms, w->now_ms);
	peer_stamp(&sa->peer->rx_auth_ms, w->now_ms);
	first_and_limits(w, sa, rx, len);
	if (v != DP_IN_PKT)
		return v;
	if (in.next_header == ESP_NH_DUMMY) {
		dummy_in(w, sa, rx, &in, len, newest);
		return DP_IN_PKT;
	}
	peer_note_addr(w, sa, rx, len, newest, false);
	return inner_in(w, sa, rx, &in, b);
}

/* One of us has lost an SA; when it was we, by a restart, we do not know either where its peer is: 0. */
static void unknown_spi(struct worker *w, const struct rx *rx, uint32_t spi)
{
	struct dp_event ev = { .kind = DP_EV_UNKNOWN_SPI, .spi = spi };

	if (w->now_ms - w->unknown_since_ms >= 1000) {
		w->unknown_since_ms = w->now_ms;
		w->unknown_seen = 0;
	}
	if (w->unknown_seen >= UNKNOWN_RATE_MAX)
		return;
	w->unknown_seen++;
	ev.peer = udp_peer_at(w->dp, rx->from, rx->sock->group);
	ev.path.sock = rx->sock->group;
	ev.path.local = rx->local;
	ev.path.ifindex = rx->ifindex;
	if (ev.peer >= DP_PEERS_MAX)
		ev.peer = 0;
	if (!endpoint_from_sockaddr(&ev.path.remote, (const struct sockaddr *)rx->from))
		worker_event(w, &ev);
}

void esp_in(struct worker *w, const struct rx *rx, uint8_t *pkt, size_t len, struct buf *b)
{
	struct sa_in *sa;
	enum dp_verdict v;
	uint32_t spi;

	memcpy(&spi, pkt, 4);
	sa = sad_lookup(&w->dp->sad, spi);
	if (!sa || sa->worker != w->index) {
		worker_count(w, DP_DROP_SPI);
		if (!sa)
			unknown_spi(w, rx, spi);
		return;
	}
	v = open_packet(w, rx, pkt, len, sa, b);
	if (v != DP_IN_PKT)
		worker_count(w, v);
}
