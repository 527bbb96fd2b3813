/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fit.h"

#include <unistd.h>

#include "too_big.h"
#include "worker.h"

#define UDP_HEAD	 8
#define SEGMENT_MIN	 64   /* payload; with less than that cutting is no help */
#define ANSWERS_A_SECOND 100  /* that a worker gives; a sender needs one */
#define WATCHED_MIN	 500  /* smaller packets pass any path */
#define STALLED_PAUSE_MS 500
#define SHRUNK_RECENT_MS 10000
#define LARGE_PAUSE_MS	 10000 /* packets of which nobody can tell whether they arrive */
#define LARGE_SOON_MS	 1500  /* ... when there are so many of them that one more is nothing: */
#define LARGE_MANY	 32
#define TCP_SYN		 0x02
#define TCP_RST		 0x04
#define TCP_URG		 0x20

uint16_t fit_inner(const struct peer *p, const struct ep *ep, const struct esp_shape *shape)
{
	uint16_t path = atomic_load_explicit(&p->path_mtu, memory_order_relaxed);
	unsigned head;

	if (!path || !ep || ep->stream) /* a stream has segments of its own */
		return UINT16_MAX;
	head = (ep->path.remote.addr.family == AF_INET ? 20 : 40) + UDP_HEAD;
	return path < head ? 0 : (uint16_t)esp_room(shape, path - head);
}

/* ---- cutting ---- */

static bool header_holds(const struct split *s)
{
	return s->k.ver != 4 || csum_fold(csum_add(s->p, s->k.l4, 0)) == 0xffff;
}

bool split_recut(struct split *s, size_t max)
{
	const uint8_t *tcp = s->p + s->k.l4;
	size_t head;

	if (s->k.proto != PKT_TCP || s->k.fragment || s->k.l4 + 20u > s->k.total)
		return false;
	head = s->k.l4 + (tcp[12] >> 4) * 4u;
	if (head < s->k.l4 + 20u || head >= s->k.total ||
	    (tcp[13] & (TCP_SYN | TCP_RST | TCP_URG)) || max < head + SEGMENT_MIN)
		return false;
	if (!s->gso) {
		size_t len = s->k.total - s->k.l4;

		/* Each piece gets checksums made anew: one that is wrong must not become right. */
		if (!header_holds(s) ||
		    csum_fold(csum_add(tcp, len, csum_pseudo(s->p, PKT_TCP, len))) != 0xffff)
			return false;
		s->tcp = true;
		s->head = head;
	}
	s->gso = (uint16_t)(max - head);
	split_begin(s);
	return true;
}

bool split_fragment(struct split *s, size_t max)
{
	size_t head = s->k.l4;

	if (s->k.ver != 4 || s->gso || (s->p[6] & 0x40) || max < head + 8 || !header_holds(s))
		return false;
	s->frag = true;
	s->head = head;
	s->gso = (uint16_t)((max - head) & ~(size_t)7);
	split_begin(s);
	return true;
}

/* ---- answering ---- */

static void answer(struct worker *w, const uint8_t *p, const struct pkt *k, size_t bytes,
		   uint16_t mtu)
{
	uint8_t out[VNET_LEN + TOO_BIG_V6_MAX];
	size_t before = w->features & DP_F_VNET_HDR ? VNET_LEN : 0, len;

	if (w->now_ms - w->told_since_ms >= 1000) {
		w->told_since_ms = w->now_ms;
		w->told = 0;
	}
	if (w->told >= ANSWERS_A_SECOND)
		return;
	memset(out, 0, before);
	len = too_big_build(p, k, bytes, mtu, out + before);
	if (!len)
		return;
	w->told++;
	if (write(w->tun_fd, out, before + len) < 0)
		worker_count(w, DP_DROP_TUN_WRITE);
	else
		worker_count(w, DP_TOO_BIG_TOLD);
}

/* Do all selectors of the SA let packets pass whose ports cannot be seen? */
static bool any_port(const struct sa_out *sa)
{
	for (size_t i = 0; i < sa->local_count + sa->remote_count; i++) {
		if (!ts_any_port(&sa->ts[i]))
			return false;
	}
	return true;
}

enum dp_verdict fit_unit(struct worker *w, const struct sa_out *sa, struct split *s, uint16_t max)
{
	bool v4 = s->k.ver == 4, df = !v4 || s->p[6] & 0x40;
	size_t bytes = s->k.total;
	uint16_t mtu = max;

	if (s->gso && s->head + s->gso < bytes)
		bytes = s->head + s->gso;
	if (bytes <= max)
		return DP_OUT_PKT;
	if (!v4 && mtu < FIT_IPV6_MIN)
		mtu = FIT_IPV6_MIN;
	if (split_recut(s, max)) {
		worker_count(w, DP_OUT_RECUT);
		/* Where no smaller number may be told, nothing is said: it would not become smaller. */
		if (df && bytes > mtu)
			answer(w, s->p, &s->k, bytes, mtu);
		return DP_OUT_PKT;
	}
	if (!df && any_port(sa) && split_fragment(s, max)) {
		worker_count(w, DP_OUT_FRAGMENTED);
		return DP_OUT_PKT;
	}
	if (!df || (!v4 && bytes <= FIT_IPV6_MIN)) {
		s->whole = true;
		worker_count(w, DP_OUT_WITHOUT_DF);
		return DP_OUT_PKT;
	}
	answer(w, s->p, &s->k, bytes, mtu);
	return DP_DROP_INNER_BIG;
}

/* ---- watching ---- */

static void stalled(struct worker *w, struct peer *p)
{
	struct dp_event ev = { .kind = DP_EV_STALLED, .peer = p->id };

	count_set(&p->stalled_ms, w->now_ms);
	count_set(&p->large, 0);
	worker_event(w, &ev);
}

/*
 * TCP that sends the same bytes again has not heard that they arrived. Whether it was their size is for
 * a probe to find out; this only says when it is worth one.
 */
static bool again(struct worker *w, const struct peer *p, const struct split *s)
{
	const uint8_t *tcp = s->p + s->k.l4;
	uint32_t seq, end, key;
	struct flow *f;
	bool back;

	seq = get32(tcp + 4);
	end = seq + s->k.total - s->k.l4 - (tcp[12] >> 4) * 4u;
	key = out_flow(&s->k);
	f = &w->flow[key % WATCHED_FLOWS];
	back = f->key == key && (int32_t)(seq - f->top) < 0;
	if (f->key != key || !back || (int32_t)(end - f->top) > 0)
		f->top = end;
	f->key = key;
	f->again_ms = 0;
	if (back && s->k.l4 + 8u <= WATCHED_HEAD) {
		f->again_ms = w->now_ms;
		f->peer = p->id;
		f->k = s->k;
		memcpy(f->head, s->p, WATCHED_HEAD);
	}
	return back;
}

void fit_watch(struct worker *w, struct peer *p, const struct split *s)
{
	uint64_t since = w->now_ms - count_get(&p->stalled_ms);

	if (s->k.total < WATCHED_MIN)
		return;
	if (s->k.proto == PKT_TCP && !s->k.fragment && s->k.l4 + 20u <= s->k.total) {
		if (again(w, p, s) && since >= STALLED_PAUSE_MS)
			stalled(w, p);
		return;
	}
	count_add(&p->large, 1);
	if (since >= (count_get(&p->large) >= LARGE_MANY ? LARGE_SOON_MS : LARGE_PAUSE_MS))
		stalled(w, p);
}

void fit_shrunk(struct worker *w, uint32_t id)
{
	struct peer *p = atomic_load_explicit(&w->dp->peers[id], memory_order_acquire);
	struct sa_out *sa = p ? atomic_load_explicit(&p->out, memory_order_acquire) : NULL;
	struct ep *ep = p ? atomic_load_explicit(&p->ep, memory_order_acquire) : NULL;
	uint16_t max = sa ? fit_inner(p, ep, &sa->key.shape) : UINT16_MAX;

	for (unsigned i = 0; i < WATCHED_FLOWS; i++) {
		struct flow *f = &w->flow[i];
		size_t bytes = f->k.total < w->dp->tun_mtu ? f->k.total : w->dp->tun_mtu;
		uint16_t mtu = f->k.ver == 6 && max < FIT_IPV6_MIN ? FIT_IPV6_MIN : max;
		struct pkt k = f->k;

		if (!f->again_ms || f->peer != id || w->now_ms - f->again_ms > SHRUNK_RECENT_MS)
			continue;
		f->again_ms = 0;
		if (f->k.total <= mtu)
			continue;
		k.total = k.l4 + 8u; /* so much was kept, and is quoted */
		answer(w, f->head, &k, bytes > mtu ? bytes : mtu + 1u, mtu);
	}
}
