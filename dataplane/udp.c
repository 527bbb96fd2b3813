/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The sockets: batches out (RFC 3948, UDP_SEGMENT), datagrams in, what a datagram is. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <unistd.h>

#include <linux/errqueue.h>

#include "frame.h"
#include "stream.h"
#include "udp_classify.h"
#include "worker.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#define UDP_GRO	    104
#endif

#define ERRQUEUE_BURST 16
#define ICMP_RATE_MAX  64 /* errors looked at in one second; anybody can forge them */
#define SOCKBUF_BYTES  (4 << 20)
#define IPV6_MTU_LEAST 1280
#define TOO_BIG_PAUSE_MS 500

int udp_setup(struct sock *s, unsigned without)
{
	int on = 1, off = 0, probe = IP_PMTUDISC_PROBE, size = SOCKBUF_BYTES, found = 0;
	bool v6 = s->family == AF_INET6;

	/*
	 * IPv4's options count on a dual-stack socket too. Those that a socket does not know are
	 * no loss; without PKTINFO we could not answer from where we were asked.
	 */
	(void)setsockopt(s->fd, IPPROTO_IP, IP_MTU_DISCOVER, &probe, sizeof(probe));
	(void)setsockopt(s->fd, IPPROTO_IP, IP_RECVTOS, &on, sizeof(on));
	(void)setsockopt(s->fd, IPPROTO_IP, IP_RECVERR, &on, sizeof(on));
	if (v6) {
		(void)setsockopt(s->fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &probe, sizeof(probe));
		(void)setsockopt(s->fd, IPPROTO_IPV6, IPV6_RECVTCLASS, &on, sizeof(on));
		(void)setsockopt(s->fd, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof(on));
		if (setsockopt(s->fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on)))
			return -errno;
	} else if (setsockopt(s->fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on))) {
		return -errno;
	}
	/* Super-packets are large: the default buffer holds three of them. Root's own call is not
	 * ours to make; whoever opened the socket may have raised it already. */
	if (setsockopt(s->fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)))
		(void)setsockopt(s->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	line_open(s);
	if (!(without & DP_F_UDP_GSO) &&
	    !setsockopt(s->fd, IPPROTO_UDP, UDP_SEGMENT, &off, sizeof(off)))
		found |= DP_F_UDP_GSO;
	if (!setsockopt(s->fd, IPPROTO_UDP, UDP_GRO, without & DP_F_UDP_GRO ? &off : &on,
			sizeof(on)) &&
	    !(without & DP_F_UDP_GRO))
		found |= DP_F_UDP_GRO;
	s->gso = found & DP_F_UDP_GSO;
	return found;
}

socklen_t udp_path_sockaddr(const struct dp_path *path, int family, struct sockaddr_storage *to)
{
	memset(to, 0, sizeof(*to));
	return endpoint_to_sockaddr(&path->remote, family, to);
}

int ep_address(struct ep *ep, int family)
{
	struct sockaddr_storage to;

	ep->to_len = udp_path_sockaddr(&ep->path, family, &to);
	if (!ep->to_len || ep->to_len > sizeof(ep->to))
		return -EINVAL;
	memcpy(&ep->to, &to, ep->to_len);
	return 0;
}

static uint8_t *put_cmsg(uint8_t *at, int level, int type, const void *data, size_t len)
{
	struct cmsghdr c = { .cmsg_len = CMSG_LEN(len), .cmsg_level = level, .cmsg_type = type };

	memcpy(at, &c, sizeof(c));
	memcpy(at + CMSG_LEN(0), data, len);
	return at + CMSG_SPACE(len);
}

size_t udp_control(uint8_t *out, const struct dp_path *path, int family, uint8_t ecn,
		   uint16_t seg)
{
	const struct addr *local = &path->local;
	bool v4 = path->remote.addr.family == AF_INET;
	bool ours = local->family && v4 == (local->family == AF_INET);
	uint8_t *at = out;

	memset(out, 0, 96);
	if (family == AF_INET && (ours || path->ifindex)) {
		struct in_pktinfo pi = { .ipi_ifindex = (int)path->ifindex };

		if (ours)
			memcpy(&pi.ipi_spec_dst, local->b, 4);
		at = put_cmsg(at, IPPROTO_IP, IP_PKTINFO, &pi, sizeof(pi));
	} else if (family == AF_INET6 && (ours || path->ifindex)) {
		struct in6_pktinfo pi = { .ipi6_ifindex = path->ifindex };

		if (v4)
			pi.ipi6_addr.s6_addr[10] = pi.ipi6_addr.s6_addr[11] = 0xff;
		if (v4 && ours)
			memcpy(&pi.ipi6_addr.s6_addr[12], local->b, 4);
		/*
		 * With a source of its own an IPv6 packet follows the best route, whatever interface is
		 * asked for (ip6_route_output_flags(): strict only without a source; measured). So an
		 * interface, where there is one, chooses the source as well.
		 */
		else if (!v4 && ours && !path->ifindex)
			memcpy(&pi.ipi6_addr, local->b, 16);
		at = put_cmsg(at, IPPROTO_IPV6, IPV6_PKTINFO, &pi, sizeof(pi));
	}
	if (ecn) {
		int tos = ecn;

		at = put_cmsg(at, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_TOS : IPV6_TCLASS, &tos,
			      sizeof(tos));
	}
	if (seg)
		at = put_cmsg(at, IPPROTO_UDP, UDP_SEGMENT, &seg, sizeof(seg));
	return (size_t)(at - out);
}

void udp_prepare(struct txbatch *b)
{
	/* The path was parked in control by udp_room(): the endpoint may be gone by now. */
	struct dp_path path;

	memcpy(&path, b->control, sizeof(path));
	b->msg.msg_controllen = udp_control(b->control, &path, b->sock->family, b->ecn,
					    b->pkts > 1 ? b->seg : 0);
	b->msg.msg_control = b->msg.msg_controllen ? b->control : NULL;
	b->msg.msg_name = &b->to;
	b->msg.msg_iov = &b->iov;
	b->msg.msg_iovlen = 1;
	b->iov.iov_base = b->mem;
	b->iov.iov_len = b->bytes;
}

/* Between two turns an endpoint may have gone, and another come where it was. */
static bool same_way(const struct txbatch *b, const struct ep *ep)
{
	return b->ep == ep && (!b->kept || (!ep->stream && !memcmp(b->control, &ep->path, sizeof(ep->path))));
}

static bool fits(const struct txbatch *b, const struct ep *ep, uint8_t ecn, size_t len)
{
	return same_way(b, ep) && !b->cut && b->ecn == ecn && len <= b->seg && b->sock->gso &&
	       b->bytes == (size_t)b->pkts * b->seg && b->bytes + len <= TX_BYTES_MAX &&
	       b->pkts < TX_SEGS_MAX;
}

/* No sizes to keep: each has its own length. */
static bool fits_stream(const struct txbatch *b, const struct ep *ep, size_t len)
{
	return same_way(b, ep) && b->bytes + FRAME_HEAD + len <= TX_BYTES_MAX;
}

uint8_t *udp_room(struct worker *w, struct ep *ep, uint8_t ecn, size_t len)
{
	struct txbatch *b = w->tx;

	if (b && b->pkts && !(ep->stream ? fits_stream(b, ep, len) : fits(b, ep, ecn, len))) {
		udp_flush(w);
		b = w->tx;
	}
	if (!b) {
		b = w->tx_free;
		if (!b) {
			worker_count(w, DP_DROP_NO_BUF);
			return NULL;
		}
		w->tx_free = b->next;
		b->bytes = 0;
		b->pkts = 0;
		b->cut = b->kept = false;
		w->tx = b;
	}
	if (ep->stream) {
		b->stream = ep->stream;
		b->ep = ep;
		return b->mem + b->bytes + FRAME_HEAD;
	}
	if (!b->pkts) {
		b->stream = NULL;
		b->sock = w->tx_sock[ep->path.sock];
		if (!b->sock) {
			worker_count(w, DP_DROP_NO_ENDPOINT);
			return NULL;
		}
		b->ep = ep;
		b->ecn = ecn;
		b->seg = (uint16_t)len;
		memcpy(&b->to, &ep->to, ep->to_len);
		b->msg.msg_namelen = ep->to_len;
		_Static_assert(sizeof(ep->path) <= sizeof(b->control), "parked there");
		memcpy(b->control, &ep->path, sizeof(ep->path));
	}
	return b->mem + b->bytes;
}

void udp_queue(struct worker *w, size_t len)
{
	struct txbatch *b = w->tx;

	if (b->stream) {
		frame_head(b->mem + b->bytes, len);
		len += FRAME_HEAD;
	}
	b->bytes += len;
	b->pkts++;
}

static void release(struct worker *w, struct txbatch *b)
{
	b->next = w->tx_free;
	w->tx_free = b;
}

static void wait_for(struct worker *w, struct sock *s, struct txbatch *b, bool front)
{
	if (front) {
		b->next = s->waiting;
		s->waiting = b;
		if (!b->next)
			s->waiting_end = &b->next;
	} else {
		b->next = NULL;
		*s->waiting_end = b;
		s->waiting_end = &b->next;
	}
	if (s->blocked)
		return;
	s->blocked = true;
	w->tx_blocked = true;
	line_blocked(w, s);
	worker_count(w, DP_SEND_BLOCKED);
	w->io->blocked(w, s);
}

static bool to_v4(const struct txbatch *b)
{
	const struct sockaddr_in6 *s6 = (const struct sockaddr_in6 *)&b->to;

	return b->to.ss_family == AF_INET || IN6_IS_ADDR_V4MAPPED(&s6->sin6_addr);
}

/*
 * DF is the socket's, not the datagram's. This is rare, and what another thread sends meanwhile without it
 * is none the worse. IPv6 is fragmented by us alone, so as every path takes it.
 */
static void may_fragment(const struct txbatch *b, bool may)
{
	int fd = b->sock->fd, how = may ? IP_PMTUDISC_DONT : IP_PMTUDISC_PROBE, least = 0;

	if (to_v4(b)) {
		(void)setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &how, sizeof(how));
		return;
	}
	how = may ? IPV6_PMTUDISC_DONT : IPV6_PMTUDISC_PROBE;
	least = may ? IPV6_MTU_LEAST : 0;
	(void)setsockopt(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &how, sizeof(how));
	(void)setsockopt(fd, IPPROTO_IPV6, IPV6_MTU, &least, sizeof(least));
}

static int send_now(struct txbatch *b)
{
	int res;

	if (b->cut)
		may_fragment(b, true);
	res = sendmsg(b->sock->fd, &b->msg, MSG_DONTWAIT) < 0 ? -errno : 0;
	if (b->cut)
		may_fragment(b, false);
	return res;
}

static void timed_send(struct worker *w, struct txbatch *b)
{
	uint64_t since = bench_call(w);

	w->io->send(w, b);
	bench_sent(w, since);
}

bool udp_keep(struct worker *w)
{
	struct txbatch *b = w->tx;

	if (!b || b->kept || b->pkts < 2 || b->stream || b->cut || b->sock->line_bytes ||
	    b->bytes != (size_t)b->pkts * b->seg || b->bytes + b->seg > TX_BYTES_MAX)
		return false;
	b->kept = true;
	return true;
}

void udp_flush(struct worker *w)
{
	struct txbatch *b = w->tx;

	if (!b || !b->pkts)
		return;
	w->tx = NULL;
	if (b->stream) {
		stream_send(w, b->stream, b);
		release(w, b);
		return;
	}
	udp_prepare(b);
	/* One that is blocked is never overtaken. */
	if (b->sock->blocked)
		wait_for(w, b->sock, b, false);
	else if (b->cut)
		udp_on_sent(w, b, send_now(b));
	else
		timed_send(w, b);
}

static void took(struct worker *w, struct txbatch *b, size_t bytes)
{
	worker_count(w, DP_OUT_SENDS);
	line_took(&b->sock->line, bytes, bytes + LINE_SEND_COST, w->now_us);
}

/* One after the other, by system call: what remains when the kernel refuses a batch. */
static void send_singles(struct worker *w, struct txbatch *b)
{
	size_t at = 0;

	/* From where and by which interface stays; the segment size, which stands last, goes. */
	b->msg.msg_controllen -= CMSG_SPACE(sizeof(b->seg));
	if (!b->msg.msg_controllen)
		b->msg.msg_control = NULL;
	while (at < b->bytes) {
		size_t len = b->bytes - at < b->seg ? b->bytes - at : b->seg;
		ssize_t n;

		b->iov.iov_base = b->mem + at;
		b->iov.iov_len = len;
		n = sendmsg(b->sock->fd, &b->msg, MSG_DONTWAIT);
		if (n >= 0)
			took(w, b, len);
		else
			worker_count(w, errno == EMSGSIZE ? DP_DROP_TOO_BIG : DP_DROP_SEND);
		at += len;
	}
}

/* The device takes no packet of this size: it may be another one now, or another path. */
static void too_big(struct worker *w, const struct txbatch *b)
{
	struct dp_event ev = { .kind = DP_EV_TOO_BIG };

	if (w->now_ms - w->big_ms < TOO_BIG_PAUSE_MS)
		return;
	w->big_ms = w->now_ms;
	ev.peer = udp_peer_at(w->dp, &b->to, b->sock->group);
	worker_event(w, &ev);
}

static bool icmp_word(int res)
{
	return res == -ECONNREFUSED || res == -EHOSTUNREACH || res == -ENETUNREACH ||
	       res == -EPROTO || res == -ENOPROTOOPT || res == -EACCES || res == -EHOSTDOWN;
}

void udp_on_sent(struct worker *w, struct txbatch *b, int res)
{
	uint64_t big = worker_counted(w, DP_DROP_TOO_BIG);

	/* An ICMP error of before is told to the next send: it was not tried. Once more then. */
	if (icmp_word(res) && send_now(b) >= 0)
		res = 0;
	if (res >= 0) {
		took(w, b, b->bytes);
	} else if (res == -EAGAIN) {
		wait_for(w, b->sock, b, false);
		return;
	} else if (b->pkts > 1 && (res == -EIO || res == -EINVAL || res == -EMSGSIZE)) {
		/* EIO: the device sums nothing itself. It will not learn: no more batches there. */
		worker_count(w, DP_GSO_FALLBACK);
		if (res == -EIO)
			b->sock->gso = false;
		send_singles(w, b);
	} else {
		stats_add(&w->stats, res == -EMSGSIZE ? DP_DROP_TOO_BIG : DP_DROP_SEND, b->pkts);
	}
	if (worker_counted(w, DP_DROP_TOO_BIG) != big)
		too_big(w, b);
	release(w, b);
}

void udp_on_writable(struct worker *w, struct sock *s)
{
	bool any = false;

	s->blocked = false;
	while (s->waiting && !s->blocked) {
		struct txbatch *b = s->waiting;
		int res;

		s->waiting = b->next;
		if (!s->waiting)
			s->waiting_end = &s->waiting;
		res = send_now(b);
		if (res == -EAGAIN)
			wait_for(w, s, b, true);
		else
			udp_on_sent(w, b, res);
	}
	for (unsigned i = 0; i < w->sock_count; i++)
		any |= w->socks[i].blocked;
	w->tx_blocked = any;
}

/* ---- in ---- */

void udp_parse_control(struct rx *rx, struct msghdr *msg)
{
	struct cmsghdr *c;

	rx->seg = 0;
	rx->tos = 0;
	rx->local.family = 0;
	rx->ifindex = 0;
	for (c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		const uint8_t *d = CMSG_DATA(c);

		if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
			int seg;

			memcpy(&seg, d, sizeof(seg));
			rx->seg = seg > 0 ? (size_t)seg : 0;
		} else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) {
			rx->tos = *d;
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS) {
			int tclass;

			memcpy(&tclass, d, sizeof(tclass));
			rx->tos = (uint8_t)tclass;
		} else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo pi;

			memcpy(&pi, d, sizeof(pi));
			(void)addr_from_bytes(&rx->local, &pi.ipi_addr, 4);
			rx->ifindex = (uint32_t)pi.ipi_ifindex;
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			struct in6_pktinfo pi;

			memcpy(&pi, d, sizeof(pi));
			(void)addr_from_bytes(&rx->local, &pi.ipi6_addr, 16);
			rx->ifindex = pi.ipi6_ifindex;
		}
	}
}

static void ike(struct worker *w, const struct rx *rx, const uint8_t *p, size_t len)
{
	struct dp_event ev = { .kind = DP_EV_IKE, .data = p, .len = len };

	ev.path.sock = rx->sock->group;
	ev.path.local = rx->local;
	ev.path.ifindex = rx->ifindex;
	ev.ce = (rx->tos & 3) == 3;
	ev.opening = udp_ike_opening(p, len);
	if (endpoint_from_sockaddr(&ev.path.remote, (const struct sockaddr *)rx->from))
		return;
	worker_count(w, DP_IN_IKE);
	worker_event(w, &ev);
}

bool udp_ike_opening(const uint8_t *p, size_t len)
{
	/* RFC 7296 s3.1: SPIr at 8, next payload at 16, exchange at 18, flags at 19 */
	static const uint8_t none[8];

	return len >= 28 && !memcmp(p + 8, none, 8) && p[16] != 41 && p[18] == 34 &&
	       !(p[19] & 0x20);
}

enum udp_class udp_classify(bool natt, const uint8_t *p, size_t len)
{
	if (!natt)
		return len >= UDP_IKE_MIN ? UDP_IKE : UDP_RUNT;
	if (!len || (len == 1 && p[0] == 0xff))
		return UDP_KEEPALIVE;
	if (len < 4)
		return UDP_RUNT;
	if (!p[0] && !p[1] && !p[2] && !p[3])
		return len >= 4 + UDP_IKE_MIN ? UDP_IKE_MARKED : UDP_RUNT;
	if (len < ESP_HEAD_LEN)
		return UDP_RUNT;
	return p[0] || p[1] || p[2] ? UDP_ESP : UDP_RESERVED;
}

/* Segments from @at on that belong to the same other worker: their bytes. */
static size_t foreign_run(const struct worker *w, const struct rx *rx, size_t at, unsigned to)
{
	size_t from = at;

	while (at < rx->len) {
		size_t left = rx->len - at, len = rx->seg && rx->seg < left ? rx->seg : left;
		uint32_t spi;

		if (udp_classify(true, rx->data + at, len) != UDP_ESP)
			break;
		memcpy(&spi, rx->data + at, 4);
		if (worker_for_spi(w->dp, spi) != to)
			break;
		at += len;
	}
	return at - from;
}

/* An ESP packet; returns how many bytes of the receive were dealt with. */
static size_t esp(struct worker *w, const struct rx *rx, size_t at, size_t len, struct buf *b)
{
	uint8_t *p = rx->data + at;
	uint32_t spi;
	unsigned to;

	memcpy(&spi, p, 4);
	to = worker_for_spi(w->dp, spi);
	if (to == w->index) {
		esp_in(w, rx, p, len, b);
		return len;
	}
	len = foreign_run(w, rx, at, to);
	worker_count(w, DP_HANDED_OVER);
	if (!hand_over(w, to, rx, p, len))
		worker_count(w, DP_DROP_HANDOVER_FULL);
	return len;
}

size_t udp_on_datagram(struct worker *w, const struct rx *rx, size_t at, size_t len, struct buf *b)
{
	const uint8_t *p = rx->data + at;

	switch (udp_classify(rx->sock->role != DP_SOCK_IKE, p, len)) {
	case UDP_IKE:
		ike(w, rx, p, len);
		break;
	case UDP_IKE_MARKED:
		ike(w, rx, p + 4, len - 4);
		break;
	case UDP_KEEPALIVE:
		worker_count(w, DP_IN_KEEPALIVE);
		break;
	case UDP_RUNT:
		worker_count(w, DP_DROP_RUNT);
		break;
	case UDP_RESERVED:
		worker_count(w, DP_DROP_SPI);
		break;
	case UDP_ESP:
		len = esp(w, rx, at, len, b);
		break;
	}
	return len;
}

void udp_on_recv(struct worker *w, const struct rx *rx, struct buf *b)
{
	size_t at = 0;

	worker_count(w, DP_IN_RECVS);
	if (rx->truncated) {
		worker_count(w, DP_DROP_TRUNCATED);
		buf_put(b);
		return;
	}
	/* UDP_GRO merges by tuple and size alone: each segment may be anything. */
	do {
		size_t left = rx->len - at, len = rx->seg && rx->seg < left ? rx->seg : left;

		at += udp_on_datagram(w, rx, at, len, b);
	} while (at < rx->len);
	buf_put(b);
}

uint32_t udp_peer_at(const struct dp *dp, const struct sockaddr_storage *to, unsigned group)
{
	struct endpoint e;

	if (endpoint_from_sockaddr(&e, (const struct sockaddr *)to))
		return DP_PEERS_MAX;
	for (uint32_t i = 0, end = atomic_load(&dp->peers_end); i < end; i++) {
		struct peer *p = atomic_load_explicit(&dp->peers[i], memory_order_acquire);
		struct ep *ep = p ? atomic_load_explicit(&p->ep, memory_order_acquire) : NULL;

		if (ep && ep->path.sock == group && endpoint_eq(&ep->path.remote, &e))
			return i;
	}
	return DP_PEERS_MAX;
}

static void icmp(struct worker *w, struct sock *s, struct msghdr *msg, uint32_t spi)
{
	struct dp_event ev = { .kind = DP_EV_ICMP, .peer = DP_PEERS_MAX, .spi = spi };
	struct cmsghdr *c;

	for (c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		struct sock_extended_err e;

		if (!(c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) &&
		    !(c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR))
			continue;
		memcpy(&e, CMSG_DATA(c), sizeof(e));
		if (e.ee_origin != SO_EE_ORIGIN_ICMP && e.ee_origin != SO_EE_ORIGIN_ICMP6)
			continue;
		ev.icmp_errno = e.ee_errno;
		ev.icmp_type = e.ee_type;
		ev.icmp_code = e.ee_code;
		ev.icmp_mtu = e.ee_errno == EMSGSIZE ? e.ee_info : 0;
		ev.path.sock = s->group;
		if (endpoint_from_sockaddr(&ev.path.remote, msg->msg_name))
			return;
		ev.peer = udp_peer_at(w->dp, msg->msg_name, s->group);
		worker_event(w, &ev);
	}
}

/* An error is a hint and never more: a flood of them must cost nothing but its own reading. */
static bool icmp_wanted(struct worker *w)
{
	if (w->now_ms - w->icmp_since_ms >= 1000) {
		w->icmp_since_ms = w->now_ms;
		w->icmp_seen = 0;
	}
	return w->icmp_seen++ < ICMP_RATE_MAX;
}

void udp_on_error(struct worker *w, struct sock *s, int res)
{
	(void)res;
	worker_count(w, DP_RECV_ERROR);
	for (int i = 0; i < ERRQUEUE_BURST; i++) {
		_Alignas(8) uint8_t control[512];
		struct sockaddr_storage from = { 0 };
		uint8_t quoted[64];
		uint32_t spi = 0;
		ssize_t n;
		struct iovec iov = { quoted, sizeof(quoted) };
		struct msghdr msg = { .msg_name = &from,
				      .msg_namelen = sizeof(from),
				      .msg_iov = &iov,
				      .msg_iovlen = 1,
				      .msg_control = control,
				      .msg_controllen = sizeof(control) };

		n = recvmsg(s->fd, &msg, MSG_ERRQUEUE | MSG_DONTWAIT);
		if (n < 0)
			return;
		if (n >= (ssize_t)sizeof(spi) && s->role != DP_SOCK_IKE)
			memcpy(&spi, quoted, sizeof(spi)); /* 0: the non-ESP marker */
		if (icmp_wanted(w))
			icmp(w, s, &msg, spi);
	}
}
