/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The data plane's events, brought to engine and supervisors. */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "child_int.h"

#define EVENTS_AT_ONCE 64

/* Our inbound SPI of the CHILD SA that an event is about; 0: not known any more. */
static uint32_t spi_in_of(struct peer *p, const struct dp_event *ev)
{
	for (size_t i = 0; i < p->pair_count; i++) {
		const struct pair *q = &p->pair[i];

		if (q->spi_in && (ev->outbound ? q->spi_out : q->spi_in) == ntohl(ev->spi))
			return q->spi_in;
	}
	return 0;
}

/* Source and destination of an inner packet; -EBADMSG. */
static int addrs_of(const uint8_t *pkt, size_t len, struct addr *from, struct addr *to)
{
	bool v6 = len && pkt[0] >> 4 == 6;
	size_t at = v6 ? 8 : 12, n = v6 ? 16 : 4;

	if (len < at + 2 * n)
		return -EBADMSG;
	*from = *to = (struct addr){ .family = v6 ? AF_INET6 : AF_INET };
	memcpy(from->b, pkt + at, n);
	memcpy(to->b, pkt + at + n, n);
	return 0;
}

static void on_acquire(struct child *c, struct peer *p, const struct dp_event *ev)
{
	struct addr from, to;

	/* The IKE SA lives but nothing on it carries this: what is missing is asked for now. */
	if (p->sup.ike && !addrs_of(ev->data, ev->len, &from, &to))
		(void)engine_acquire(c->engine, child_now(c), p->sup.ike, &from, &to, &c->fx);
	sup_on_inner_packet(&p->sup, child_now(c));
}

static void on_child_event(struct child *c, struct peer *p, const struct dp_event *ev)
{
	static const enum engine_child_event map[] = {
		[DP_EV_REKEY] = ENGINE_CHILD_SOFT,
		[DP_EV_EXPIRED] = ENGINE_CHILD_HARD,
		[DP_EV_FIRST_IN] = ENGINE_CHILD_FIRST_PACKET,
	};
	uint32_t spi_in = spi_in_of(p, ev);

	if (spi_in)
		engine_on_child_event(c->engine, child_now(c), spi_in, map[ev->kind], &c->fx);
}

static void on_event(struct child *c, const struct dp_event *ev)
{
	struct engine_path path = engine_path_of(c, &ev->path);
	uint64_t now = child_now(c);
	struct peer *p;

	if (ev->kind == DP_EV_IKE) {
		engine_on_datagram(c->engine, now, &path, ev->data, ev->len, &c->fx);
		return;
	}
	if (ev->kind == DP_EV_STREAM_OPEN || ev->kind == DP_EV_STREAM_GONE) {
		streams_on_event(c, ev);
		return;
	}
	p = child_peer(c, ev->peer);
	if (!p && ev->kind == DP_EV_UNKNOWN_SPI && !ev->peer)
		engine_on_unknown_spi(c->engine, now, 0, &path, ntohl(ev->spi), &c->fx);
	if (!p)
		return;
	switch (ev->kind) {
	case DP_EV_ENDPOINT:
		sup_on_endpoint(&p->sup, &path, ev->bytes, ev->newest, now);
		break;
	case DP_EV_ACQUIRE:
		on_acquire(c, p, ev);
		break;
	case DP_EV_REKEY:
	case DP_EV_EXPIRED:
	case DP_EV_FIRST_IN:
		on_child_event(c, p, ev);
		break;
	case DP_EV_UNKNOWN_SPI:
		engine_on_unknown_spi(c->engine, now, ev->peer, &path, ntohl(ev->spi), &c->fx);
		break;
	case DP_EV_ICMP:
		if (ev->icmp_errno == ECONNREFUSED)
			engine_unreachable(c->engine, now, ev->peer, &ev->path.remote, &c->fx);
		if (ev->icmp_errno == EMSGSIZE)
			path_mtu_event(p, ev);
		else
			sup_on_icmp(&p->sup, now);
		break;
	case DP_EV_STALLED:
	case DP_EV_TOO_BIG:
		path_mtu_event(p, ev);
		break;
	case DP_EV_PROBE:
		if (!path_mtu_probe(p, ev) && !wans_on_probe(p, ev))
			path_on_probe(&p->sup, &path, ev->data, ev->len, now);
		break;
	default:
		break;
	}
	peer_arm(p);
}

void effects_on_dp(struct child *c)
{
	struct dp_event ev;

	/* Under a flood there is always one more: timers, keys and the control socket have their turn too. */
	for (int i = 0; i < EVENTS_AT_ONCE && dp_event_next(c->dp, &ev); i++) {
		on_event(c, &ev);
		effects_apply(c);
	}
}
