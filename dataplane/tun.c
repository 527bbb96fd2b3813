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
	if (!ep_take(ep, total)) {
		worker_count(w, DP_DROP_BUDGET);
		return;
	}
	v = sa_out_next_seq(sa, 1, 0, &seq);
	if (v != DP_OUT_PKT) {
		worker_charge(w, ep, total, 0);
		out_expired(w, sa);
		worker_count(w, v);
		return;
	}
	udp_flush(w);
	to = udp_room(w, ep, 0, total);
	if (!to) {
		worker_charge(w, ep, total, 0);
		return;
	}
	esp_key_glance(&sa->key, w->now_ms);
	rc = esp_seal(&sa->key, seq, ESP_NH_DUMMY, w->scratch, len, to);
	esp_key_done(&sa->key);
	if (rc) {
		worker_charge(w, ep, total, 0);
		worker_count(w, DP_DROP_SEAL);
		return;
	}
	udp_queue(w, total);
	udp_flush(w); /* also because @via does not outlive this call */
	worker_charge(w, ep, total, total);
	if (!c->has_via)
		peer_stamp(&p->tx_any_ms, w->now_ms);
	worker_count(w, DP_OUT_DUMMY);
}

/* ---- the end of the inbound way ---- */

static struct tunw *tunw_get(void *arg)
{
	struct worker *w = arg;
	struct tunw *t = w->tunw_free;

	/* The pool is larger than what can be open or under way at once; see the backends. */
	w->tunw_free = t->next;
	t->queue = w->to_queue;
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
