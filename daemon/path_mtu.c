/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * How large packets to each peer may be: the rules of peer/mtu.c, brought to the data plane, to the
 * device and to the peer. A probe is a dummy with a token, the answer a small one with the same:
 *
 *	"mtu?" | round, be16 | bytes of the IP packet, be16; 0: the smallest
 *	"mtu!" | round	     | bytes
 *
 * Each peer has its own limit in the data plane. The device has the largest of them, so that nobody is
 * held to another one's path; with one peer it follows that one's.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "child_int.h"

#define OUTER_MTU_FIRST 1500
#define TUN_MTU_MIN	1280 /* IPv6 in the tunnel */
#define TOKEN_LEN	8

static const uint8_t ask[4] = { 'm', 't', 'u', '?' }, got[4] = { 'm', 't', 'u', '!' };

static bool over_v6(const struct peer *p)
{
	return p->sup.where.path.remote.addr.family == AF_INET6;
}

/* ---- the device ---- */

static void on_done(int status, void *arg)
{
	/* The parent has logged which rule it was; -ECONNRESET comes when we end. */
	(void)arg;
	if (status && status != -ECONNRESET)
		log_warn(NULL, "the parent did not set the MTU: %s", strerror(-status));
}

static void set_tun(struct child *c)
{
	uint16_t outer = c->path_max ? c->path_max : OUTER_MTU_FIRST;
	uint32_t inner;

	if (c->cfg->mtu)
		return;
	/* The larger header, so that a peer may go over from one family to the other. */
	inner = dp_tun_mtu(outer, AF_INET6, c->widest);
	if (inner < TUN_MTU_MIN)
		inner = TUN_MTU_MIN;
	if (inner == c->tun_mtu)
		return;
	c->tun_mtu = inner;
	dp_set_tun_mtu(c->dp, (uint16_t)inner);
	log_info(NULL, "tun=%s mtu=%u, for a path of %u", c->inv.tun_name, inner, outer);
	(void)priv_link_set(c->priv, inner, 0, 0, on_done, NULL);
}

static void settle_tun(struct child *c, uint16_t was, uint16_t is)
{
	if (is >= c->path_max) {
		c->path_max = is;
	} else if (was == c->path_max) {
		/* The largest got smaller: only now all are looked at. */
		c->path_max = is;
		for (const struct peer *q = NULL; (q = child_peer_next(c, q));)
			if (q->mtu.path > c->path_max)
				c->path_max = q->mtu.path;
	}
	set_tun(c);
}

void path_mtu_cipher(struct child *c, enum dp_cipher cipher)
{
	if (dp_tun_mtu(OUTER_MTU_FIRST, AF_INET6, cipher) >=
	    dp_tun_mtu(OUTER_MTU_FIRST, AF_INET6, c->widest))
		return;
	c->widest = cipher;
	set_tun(c);
}

/* ---- what the rules ask for ---- */

static bool o_probe(void *arg, uint32_t peer, uint16_t bytes, uint16_t round)
{
	struct child *c = arg;
	const struct peer *p = child_peer(c, peer);
	struct dp_dummy d = { .token_len = TOKEN_LEN };
	uint16_t head = over_v6(p) ? 48 : 28, word[2] = { htons(round), htons(bytes) };

	memcpy(d.token, ask, sizeof(ask));
	memcpy(d.token + sizeof(ask), word, sizeof(word));
	d.udp_bytes = bytes > head ? (uint16_t)(bytes - head) : 0;
	return !dp_send_dummy(c->dp, peer, &d);
}

static void o_changed(void *arg, uint32_t peer)
{
	struct child *c = arg;
	struct peer *p = child_peer(c, peer);
	uint16_t was = p->path_mtu;

	p->path_mtu = p->mtu.path;
	(void)dp_peer_set_mtu(c->dp, peer, p->path_mtu);
	settle_tun(c, was, p->path_mtu);
	if (!was)
		return;
	log_info(&p->log, "path takes %u bytes instead of %u (%s), inner packets of %u",
		 p->path_mtu, was, mtu_source_word(&p->mtu), dp_peer_inner_mtu(c->dp, peer));
	telling_send(c, json_pack("{s:s, s:s, s:i, s:i, s:s}", "event", "mtu", "peer", p->cfg->name,
				  "path", p->path_mtu, "inner", dp_peer_inner_mtu(c->dp, peer),
				  "source", mtu_source_word(&p->mtu)));
}

static void o_found(void *arg, uint32_t peer, uint16_t path)
{
	struct child *c = arg;
	const struct peer *p = child_peer(c, peer);
	uint8_t be[2] = { (uint8_t)(path >> 8), (uint8_t)path };

	/* Often both directions are the same links; the peer's own traffic may be what got lost. */
	if (p->sup.ike)
		(void)engine_private(c->engine, child_now(c), p->sup.ike, POSTERN_PROBE_MTU, be,
				     sizeof(be), &c->fx);
}

static uint64_t o_sent_ms(void *arg, uint32_t peer)
{
	struct child *c = arg;
	struct dp_activity a = { 0 };

	(void)dp_peer_activity(c->dp, peer, &a);
	return a.tx_data_ms;
}

static const struct mtu_ops ops = { o_probe, o_changed, o_found, o_sent_ms };

/* ---- what happens ---- */

static void arm(struct peer *p)
{
	struct timers *ts = loop_timers(p->child->loop);

	if (mtu_due_ms(&p->mtu) == UINT64_MAX)
		timer_clear(ts, &p->mtu_timer);
	else
		(void)timer_set(ts, &p->mtu_timer, mtu_due_ms(&p->mtu));
}

static void on_timer(struct timer *t, uint64_t now_ms)
{
	struct peer *p = t->arg;

	mtu_tick(&p->mtu, now_ms);
	arm(p);
	effects_apply(p->child);
}

void path_mtu_init(struct peer *p)
{
	mtu_init(&p->mtu, &ops, p->child, p->id);
	p->mtu_timer = (struct timer){ .fire = on_timer, .arg = p };
}

void path_mtu_clear(struct peer *p)
{
	mtu_down(&p->mtu);
	timer_clear(loop_timers(p->child->loop), &p->mtu_timer);
	if (p->path_mtu)
		settle_tun(p->child, p->path_mtu, 0);
}

static void begin(struct peer *p)
{
	if (!p->sup.ike || !p->sup.child)
		return;
	mtu_up(&p->mtu, p->sup.postern, over_v6(p), child_now(p->child));
	/* How large its first link is comes with the route. */
	(void)child_sup_ops.route(p->child, p->id, &p->sup.where.path.remote.addr);
	arm(p);
}

static void forget(struct peer *p)
{
	mtu_down(&p->mtu);
	timer_clear(loop_timers(p->child->loop), &p->mtu_timer);
	mtu_init(&p->mtu, &ops, p->child, p->id);
	p->path_mtu = 0;
	(void)dp_peer_set_mtu(p->child->dp, p->id, 0);
}

void path_mtu_reload(struct child *c)
{
	uint32_t fixed = c->cfg->mtu;

	if (fixed ? fixed == c->tun_mtu && c->mtu_fixed : !c->mtu_fixed)
		return;
	c->mtu_fixed = fixed != 0;
	c->path_max = 0;
	for (struct peer *p = NULL; (p = child_peer_next(c, p));) {
		forget(p);
		if (!fixed)
			begin(p);
	}
	if (!fixed) {
		set_tun(c);
		return;
	}
	c->tun_mtu = fixed; /* the parent has set the device's */
	dp_set_tun_mtu(c->dp, (uint16_t)fixed);
}

void path_mtu_route(struct peer *p, const struct addr *to, uint32_t first_link)
{
	if (p->child->cfg->mtu || !first_link)
		return;
	mtu_route(&p->mtu, (uint16_t)(first_link > UINT16_MAX ? UINT16_MAX : first_link),
		  to->family == AF_INET6, child_now(p->child));
	arm(p);
}

void path_mtu_fx(struct peer *p, const struct fx *fx)
{
	bool on = p->sup.ike && p->sup.child;
	uint64_t now = child_now(p->child);

	/* With `mtu` in the configuration the administrator has decided. */
	if (p->child->cfg->mtu)
		return;
	if (on && (!p->mtu.on || fx->kind == FX_PEER_UP))
		mtu_up(&p->mtu, p->sup.postern, over_v6(p), now);
	else if (!on && p->mtu.on)
		mtu_down(&p->mtu);
	else if (on && fx->kind == FX_PRIVATE && fx->private_notify.type == POSTERN_PROBE_MTU &&
		 fx->private_notify.len == 2)
		mtu_peer_says(&p->mtu,
			      (uint16_t)(fx->private_notify.bytes[0] << 8 |
					 fx->private_notify.bytes[1]),
			      now);
	else
		return;
	arm(p);
}

void path_mtu_moved(struct peer *p)
{
	if (!p->mtu.on)
		return;
	mtu_moved(&p->mtu, over_v6(p), child_now(p->child));
	arm(p);
}

static void answer(struct peer *p, const struct dp_event *ev)
{
	struct dp_dummy d = { .token_len = TOKEN_LEN };

	memcpy(d.token, ev->data, TOKEN_LEN);
	memcpy(d.token, got, sizeof(got));
	(void)dp_send_dummy(p->child->dp, p->id, &d);
}

bool path_mtu_probe(struct peer *p, const struct dp_event *ev)
{
	uint16_t word[2];

	if (ev->len != TOKEN_LEN)
		return false;
	if (!memcmp(ev->data, ask, sizeof(ask))) {
		answer(p, ev);
		return true;
	}
	if (memcmp(ev->data, got, sizeof(got)))
		return false;
	memcpy(word, ev->data + sizeof(got), sizeof(word));
	mtu_answer(&p->mtu, ntohs(word[0]), ntohs(word[1]), child_now(p->child));
	arm(p);
	return true;
}

static bool spi_lives(const struct peer *p, uint32_t spi)
{
	for (size_t i = 0; spi && i < p->pair_count; i++)
		if (p->pair[i].spi_in && p->pair[i].spi_out == ntohl(spi))
			return true;
	return false;
}

void path_mtu_event(struct peer *p, const struct dp_event *ev)
{
	uint64_t now = child_now(p->child);

	switch (ev->kind) {
	case DP_EV_STALLED:
		mtu_hint(&p->mtu, now);
		break;
	case DP_EV_TOO_BIG:
		/* Our own device refuses: what it takes now comes with the route. */
		if (p->sup.ike)
			(void)child_sup_ops.route(p->child, p->id, &p->sup.where.path.remote.addr);
		break;
	case DP_EV_ICMP:
		mtu_icmp(&p->mtu,
			 (uint16_t)(ev->icmp_mtu > UINT16_MAX ? UINT16_MAX : ev->icmp_mtu),
			 spi_lives(p, ev->spi), now);
		break;
	default:
		return;
	}
	arm(p);
}

json_t *path_mtu_json(const struct peer *p)
{
	const struct mtu *m = &p->mtu;
	uint64_t now = child_now(p->child);

	if (p->child->cfg->mtu || !m->path)
		return json_null();
	return json_pack("{s:i, s:i, s:s, s:o}", "path", m->path, "inner",
			 dp_peer_inner_mtu(p->child->dp, p->id), "source", mtu_source_word(m),
			 "last_probe_s",
			 m->last_ms && m->probes ? json_real((double)(now - m->last_ms) / 1000)
						 : json_null());
}
