/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "offload.h"

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_PSH 0x08
#define TCP_ACK 0x10
#define TCP_ECE 0x40
#define TCP_CWR 0x80
#define TCP_AE	0x01 /* in the byte before the flags (RFC 9768 s3.1.1) */

/* ---- out: one super-packet into pieces ---- */

static enum dp_verdict finish_csum(struct split *s, const struct virtio_net_hdr *v, size_t len)
{
	size_t start = v->csum_start, at = start + v->csum_offset;

	/* In the IP header it would change what was read from that. */
	if (at + 2 > len || start > len || start < s->k.l4)
		return DP_DROP_VNET;
	/* The field holds the pseudo header's sum, so it is part of what is summed. */
	csum_put(s->p + at, csum_add(s->p + start, len - start, 0));
	/* UDP's, which may also be that of a packet in the packet: no checksum is something else. */
	if (v->csum_offset == 6 && !s->p[at] && !s->p[at + 1])
		s->p[at] = s->p[at + 1] = 0xff;
	return DP_OUT_PKT;
}

static enum dp_verdict gso_init(struct split *s, const struct virtio_net_hdr *v)
{
	uint8_t type = v->gso_type & ~VIRTIO_NET_HDR_GSO_ECN;

	s->gso = v->gso_size;
	if (!s->gso || s->k.fragment)
		return DP_DROP_VNET;
	switch (type) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
	case VIRTIO_NET_HDR_GSO_TCPV6:
		if (s->k.proto != PKT_TCP ||
		    s->k.ver != (type == VIRTIO_NET_HDR_GSO_TCPV4 ? 4 : 6) ||
		    s->k.l4 + 20u > s->k.total)
			return DP_DROP_VNET;
		s->tcp = true;
		s->head = s->k.l4 + (s->p[s->k.l4 + 12] >> 4) * 4u;
		if (s->head < s->k.l4 + 20u)
			return DP_DROP_VNET;
		break;
	case VIRTIO_NET_HDR_GSO_UDP_L4:
		if (s->k.proto != PKT_UDP)
			return DP_DROP_VNET;
		s->head = s->k.l4 + 8u;
		break;
	default:
		return DP_DROP_VNET;
	}
	if (s->head >= s->k.total)
		return DP_DROP_VNET;
	split_begin(s);
	return DP_OUT_PKT;
}

void split_begin(struct split *s)
{
	s->payload = s->k.total - s->head;
	s->take = s->count = (unsigned)((s->payload + s->gso - 1) / s->gso);
	if (s->k.ver == 4) {
		s->id = get16(s->p + 4);
		s->frag_field = get16(s->p + 6);
	}
	if (s->tcp) {
		s->seq = get32(s->p + s->k.l4 + 4);
		s->flags = s->p[s->k.l4 + 13];
	}
}

enum dp_verdict split_parse(struct split *s, uint8_t *p, size_t len)
{
	s->p = p;
	return pkt_parse(p, len, &s->k) ? DP_DROP_TUN_SHORT : DP_OUT_PKT;
}

enum dp_verdict split_init(struct split *s, const struct virtio_net_hdr *v, uint16_t mtu,
			   bool *clamped)
{
	bool partial = v && (v->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM);

	*clamped = false;
	s->i = 0;
	s->count = s->take = 1;
	s->gso = 0;
	s->tcp = s->frag = s->whole = false;
	if (v && v->gso_type != VIRTIO_NET_HDR_GSO_NONE)
		return gso_init(s, v);
	if (s->k.proto == PKT_TCP)
		*clamped = pkt_clamp_mss(s->p, &s->k, mtu, partial);
	return partial ? finish_csum(s, v, s->k.total) : DP_OUT_PKT;
}

static void fix_tcp(struct split *s, uint8_t *ip, size_t slice)
{
	uint8_t *tcp = ip + s->k.l4;
	size_t len = s->head - s->k.l4 + slice;

	put32(tcp + 4, s->seq + s->i * s->gso);
	tcp[13] = s->flags;
	if (s->i)
		tcp[13] &= (uint8_t)~TCP_CWR; /* RFC 3168 s6.1.2: said once */
	if (s->i + 1 < s->count)
		tcp[13] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
	tcp[16] = tcp[17] = 0;
	csum_put(tcp + 16, csum_add(tcp, len, csum_pseudo(ip, PKT_TCP, len)));
}

static void fix_udp(struct split *s, uint8_t *ip, size_t slice)
{
	uint8_t *udp = ip + s->k.l4;
	size_t len = 8 + slice;

	put16(udp + 4, (uint16_t)len);
	udp[6] = udp[7] = 0;
	csum_put(udp + 6, csum_add(udp, len, csum_pseudo(ip, PKT_UDP, len)));
	if (!udp[6] && !udp[7])
		udp[6] = udp[7] = 0xff;
}

/* RFC 791 s3.2; an option that is not to be copied becomes No Operation in all but the first. */
static void fix_fragment(const struct split *s, uint8_t *ip)
{
	uint16_t off = (uint16_t)((s->frag_field & 0x1fff) + s->i * (s->gso / 8));
	bool more = s->frag_field & 0x2000 || s->i + 1 < s->count;

	put16(ip + 6, (uint16_t)((s->frag_field & 0xc000) | (more ? 0x2000 : 0) | off));
	for (size_t at = 20, n; s->i && at < s->head && ip[at]; at += n) {
		n = ip[at] == 1 ? 1 : at + 1 < s->head ? ip[at + 1] : 0;
		if (!n || (n == 1 && ip[at] != 1) || at + n > s->head)
			break;
		if (!(ip[at] & 0x80))
			memset(ip + at, 1, n);
	}
}

bool split_next(struct split *s, struct piece *piece)
{
	size_t slice, at;
	uint8_t *ip;

	if (s->i >= s->take)
		return false;
	if (!s->gso) {
		piece->data = s->p;
		piece->len = s->k.total;
		s->i++;
		return true;
	}
	at = (size_t)s->i * s->gso;
	slice = s->payload - at < s->gso ? s->payload - at : s->gso;
	ip = s->p + at;
	if (s->i)
		memmove(ip, ip - s->gso, s->head);
	if (s->k.ver == 4) {
		put16(ip + 2, (uint16_t)(s->head + slice));
		if (s->frag)
			fix_fragment(s, ip);
		else
			put16(ip + 4, (uint16_t)(s->id + s->i));
		csum_ipv4_header(ip);
	} else {
		put16(ip + 4, (uint16_t)(s->head + slice - 40));
	}
	if (s->tcp)
		fix_tcp(s, ip, slice);
	else if (!s->frag)
		fix_udp(s, ip, slice);
	piece->data = ip;
	piece->len = s->head + slice;
	s->i++;
	return true;
}

/* ---- in: packets into one write ---- */

static void finish(struct merge *m, struct mflow *f)
{
	struct virtio_net_hdr v = { 0 };
	struct tunw *w = f->w;
	uint8_t *ip = f->ip;

	if (w->pkts > 1) {
		uint8_t *l4 = ip + f->k.l4;
		size_t total = w->bytes;
		uint16_t sum;

		if (f->k.ver == 4) {
			put16(ip + 2, (uint16_t)total);
			csum_ipv4_header(ip);
		} else {
			put16(ip + 4, (uint16_t)(total - 40));
		}
		/* The kernel wants the pseudo header's sum in the field, not complemented. */
		sum = csum_fold(csum_pseudo(ip, f->k.proto, total - f->k.l4));
		v.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		v.hdr_len = f->head;
		v.gso_size = f->gso;
		v.csum_start = f->k.l4;
		if (f->k.proto == PKT_TCP) {
			l4[13] = f->flags;
			memcpy(l4 + 16, &sum, 2);
			v.csum_offset = 16;
			v.gso_type =
			    f->k.ver == 4 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6;
		} else {
			put16(l4 + 4, (uint16_t)(total - f->k.l4));
			memcpy(l4 + 6, &sum, 2);
			v.csum_offset = 6;
			v.gso_type = VIRTIO_NET_HDR_GSO_UDP_L4;
		}
	}
	if (m->vnet) {
		memcpy(ip - VNET_LEN, &v, VNET_LEN);
		w->iov[0].iov_base = ip - VNET_LEN;
		w->iov[0].iov_len += VNET_LEN;
	}
	f->w = NULL;
	m->open--;
	m->ops->ready(m->arg, w);
}

void merge_flush(struct merge *m)
{
	/* Oldest first, so that flows leave in the order in which they came. */
	while (m->open) {
		struct mflow *first = NULL;

		for (int i = 0; i < MERGE_FLOWS; i++) {
			struct mflow *f = &m->flow[i];

			if (f->w && (!first || f->used < first->used))
				first = f;
		}
		finish(m, first);
	}
}

static void begin(struct merge *m, struct mflow *f, uint8_t *p, const struct pkt *k, struct buf *b)
{
	struct tunw *w = m->ops->get(m->arg);

	w->iov[0].iov_base = p;
	w->iov[0].iov_len = k->total;
	w->iovs = w->pkts = 1;
	w->bytes = k->total;
	w->buf[0] = b;
	w->bufs = 1;
	m->ops->hold(b);
	f->w = w;
	f->ip = p;
	f->k = *k;
	f->used = m->clock++;
	m->open++;
}

static void alone(struct merge *m, uint8_t *p, const struct pkt *k, struct buf *b)
{
	struct mflow f = { 0 };

	begin(m, &f, p, k, b);
	finish(m, &f);
}

static bool same_flow(const struct mflow *f, const struct pkt *k)
{
	return f->k.ver == k->ver && f->k.proto == k->proto && f->k.sport == k->sport &&
	       f->k.dport == k->dport && f->k.src[1] == k->src[1] && f->k.dst[1] == k->dst[1] &&
	       f->k.src[0] == k->src[0] && f->k.dst[0] == k->dst[0];
}

static bool csum_holds(const uint8_t *p, const struct pkt *k)
{
	size_t len = k->total - k->l4;

	return csum_fold(csum_add(p + k->l4, len, csum_pseudo(p, k->proto, len))) == 0xffff;
}

/* Header length when this packet may stand in a merged write at all, else 0. */
static uint16_t eligible(const struct merge *m, const uint8_t *p, const struct pkt *k)
{
	const uint8_t *l4 = p + k->l4;
	size_t head;

	if (!k->plain || !k->ports)
		return 0;
	if (k->ver == 4 && ((get16(p + 6) & 0x8000) || csum_fold(csum_add(p, 20, 0)) != 0xffff))
		return 0;
	if (k->proto == PKT_TCP) {
		if (!m->tcp || k->l4 + 20u > k->total)
			return 0;
		head = k->l4 + (l4[12] >> 4) * 4u;
		/* What CE marks were seen (ECE, AE) is said by many in a row; CWR would be by the first alone. */
		if (head < k->l4 + 20u || head >= k->total ||
		    (l4[13] & ~(TCP_PSH | TCP_ECE)) != TCP_ACK || (l4[12] & 0x0f & ~TCP_AE))
			return 0;
	} else if (k->proto == PKT_UDP) {
		head = k->l4 + 8u;
		if (!m->udp || head >= k->total || get16(l4 + 4) != k->total - k->l4 ||
		    (!l4[6] && !l4[7]))
			return 0;
	} else {
		return 0;
	}
	return csum_holds(p, k) ? (uint16_t)head : 0;
}

static bool same_ip(const struct mflow *f, const uint8_t *p)
{
	const uint8_t *q = f->ip;

	if (f->k.ver == 4) {
		/* TOS, flags, TTL; the id runs on, or does not matter when DF is set. */
		return q[1] == p[1] && q[8] == p[8] && get16(q + 6) == get16(p + 6) &&
		       ((p[6] & 0x40) || get16(p + 4) == f->next_id);
	}
	return !memcmp(q, p, 4) && q[7] == p[7]; /* class and flow label, hop limit */
}

static bool may_join(const struct mflow *f, const uint8_t *p, const struct pkt *k, uint16_t head)
{
	const uint8_t *l4 = p + k->l4, *was = f->ip + f->k.l4;
	size_t payload = k->total - head;

	if (f->closed || head != f->head || payload > f->gso || f->w->pkts >= MERGE_PKTS_MAX ||
	    f->w->bytes + payload > UINT16_MAX || !same_ip(f, p))
		return false;
	if (k->proto == PKT_UDP)
		return true;
	return get32(l4 + 4) == f->next_seq && !memcmp(l4 + 8, was + 8, 4) && l4[12] == was[12] &&
	       !((l4[13] ^ was[13]) & TCP_ECE) && !memcmp(l4 + 14, was + 14, 2) &&
	       !memcmp(l4 + 18, was + 18, head - k->l4 - 18u);
}

static bool hold(struct merge *m, struct tunw *w, struct buf *b)
{
	if (w->buf[w->bufs - 1] == b)
		return true;
	if (w->bufs == MERGE_BUFS_MAX)
		return false;
	w->buf[w->bufs++] = b;
	m->ops->hold(b);
	return true;
}

static void noted(struct mflow *f, const uint8_t *p, const struct pkt *k, size_t payload)
{
	const uint8_t *l4 = p + k->l4;

	if (k->ver == 4)
		f->next_id = (uint16_t)(get16(p + 4) + 1);
	if (k->proto == PKT_TCP) {
		f->next_seq = get32(l4 + 4) + (uint32_t)payload;
		f->flags |= l4[13];
		f->closed |= (l4[13] & TCP_PSH) != 0;
	}
	f->closed |= payload < f->gso;
}

static struct mflow *free_flow(struct merge *m)
{
	struct mflow *pick = NULL;

	for (int i = 0; i < MERGE_FLOWS; i++) {
		struct mflow *f = &m->flow[i];

		if (!f->w)
			return f;
		if (!pick || f->used < pick->used)
			pick = f;
	}
	finish(m, pick);
	return pick;
}

void merge_add(struct merge *m, uint8_t *p, const struct pkt *k, struct buf *b)
{
	struct mflow *f = NULL;
	uint16_t head;

	if (!m->vnet || !(m->tcp || m->udp)) {
		alone(m, p, k, b);
		return;
	}
	head = eligible(m, p, k);
	for (int i = 0; m->open && i < MERGE_FLOWS && !f; i++) {
		if (m->flow[i].w && same_flow(&m->flow[i], k))
			f = &m->flow[i];
	}
	if (f && head && may_join(f, p, k, head) && hold(m, f->w, b)) {
		size_t payload = k->total - head;

		f->w->iov[f->w->iovs].iov_base = p + head;
		f->w->iov[f->w->iovs++].iov_len = payload;
		f->w->pkts++;
		f->w->bytes += payload;
		noted(f, p, k, payload);
		return;
	}
	if (f)
		finish(m, f);
	if (!head) {
		/* Fragments have no ports: keep them behind what came before them. */
		if (!k->plain)
			merge_flush(m);
		alone(m, p, k, b);
		return;
	}
	f = free_flow(m);
	begin(m, f, p, k, b);
	f->head = head;
	f->gso = (uint16_t)(k->total - head);
	f->closed = false;
	f->flags = 0;
	noted(f, p, k, f->gso);
}
