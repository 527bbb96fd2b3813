/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TESTS_DATAPLANE_UNDO_H
#define TESTS_DATAPLANE_UNDO_H

/*
 * What a kernel does with a super-packet, written byte by byte from the documents (virtio 1.2 s5.1.6, RFC 9293,
 * RFC 768) and sharing nothing with offload.c, so that the two can be compared.
 */

#include <linux/virtio_net.h>

#include "offload.h"
#include "packets.h"

typedef void undo_each(void *arg, const uint8_t *p, size_t len, bool merged);

static inline uint16_t naive_head(const uint8_t *ip)
{
	uint32_t s = 0;

	naive_sum(ip, (ip[0] & 15) * 4u, &s);
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return (uint16_t)~s;
}

/* Lengths and checksums of a packet of @total bytes; @at: of the checksum behind @l4, 0: it has none. */
static inline void naive_finish(uint8_t *p, size_t l4, size_t total, uint8_t proto, size_t at)
{
	if (p[0] >> 4 == 4)
		put16(p + 2, (uint16_t)total);
	else
		put16(p + 4, (uint16_t)(total - 40));
	if (at) {
		put16(p + l4 + at, 0);
		put16(p + l4 + at, naive_l4(p, l4, total, proto));
		if (proto == PKT_UDP && !get16(p + l4 + at))
			put16(p + l4 + at, 0xffff);
	}
	if (p[0] >> 4 == 4) {
		put16(p + 10, 0);
		put16(p + 10, naive_head(p));
	}
}

/* Cut @total bytes at @p, whose headers end at @head, into packets with @gso bytes of payload. */
static inline void ref_segment(const uint8_t *p, size_t total, size_t l4, size_t head, size_t gso,
			       bool tcp, undo_each *each, void *arg)
{
	uint8_t *seg = malloc(head + gso);
	size_t n = 0;

	for (size_t at = head; at < total; at += gso, n++) {
		size_t slice = total - at < gso ? total - at : gso;

		memcpy(seg, p, head);
		memcpy(seg + head, p + at, slice);
		if (p[0] >> 4 == 4)
			put16(seg + 4, (uint16_t)(get16(p + 4) + n));
		if (tcp) {
			put32(seg + l4 + 4, get32(p + l4 + 4) + (uint32_t)(at - head));
			if (n)
				seg[l4 + 13] &= 0x7f; /* CWR: in the first */
			if (at + slice < total)
				seg[l4 + 13] &= 0xf6; /* PSH, FIN: in the last */
		} else {
			put16(seg + l4 + 4, (uint16_t)(8 + slice));
		}
		naive_finish(seg, l4, head + slice, tcp ? PKT_TCP : PKT_UDP, tcp ? 16 : 6);
		each(arg, seg, head + slice, true);
	}
	free(seg);
}

/* The headers of a write that says it is several packets; NULL, or what no kernel would take. */
static inline const char *undo_check(const struct virtio_net_hdr *v, const uint8_t *p, size_t len)
{
	bool tcp = v->gso_type != VIRTIO_NET_HDR_GSO_UDP_L4;
	size_t l4 = v->csum_start, at = v->csum_offset;
	uint32_t sum;

	if (v->flags != VIRTIO_NET_HDR_F_NEEDS_CSUM)
		return "no partial checksum";
	if (v->gso_type !=
	    (tcp ? p[0] >> 4 == 4 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6
		 : VIRTIO_NET_HDR_GSO_UDP_L4))
		return "kind of segments";
	if (l4 != (p[0] >> 4 == 4 ? (p[0] & 15) * 4u : 40u) || at != (tcp ? 16 : 6))
		return "place of the checksum";
	if (p[p[0] >> 4 == 4 ? 9 : 6] != (tcp ? PKT_TCP : PKT_UDP))
		return "protocol";
	if (v->hdr_len != l4 + (tcp ? (p[l4 + 12] >> 4) * 4u : 8u) || v->hdr_len >= len)
		return "header length";
	if (!v->gso_size || v->gso_size >= len - v->hdr_len)
		return "segment size";
	if (get16(p + (p[0] >> 4 == 4 ? 2 : 4)) != len - (p[0] >> 4 == 4 ? 0 : 40))
		return "IP length";
	if (p[0] >> 4 == 4 && naive_head(p))
		return "IP checksum";
	if (!tcp && get16(p + l4 + 4) != len - l4)
		return "UDP length";
	/* The pseudo header's sum: naive_l4() of no bytes, with the length that it left out, not complemented. */
	sum = (uint16_t)~naive_l4(p, l4, l4, tcp ? PKT_TCP : PKT_UDP) + (uint32_t)(len - l4);
	if (get16(p + l4 + at) % 0xffff != sum % 0xffff)
		return "partial checksum";
	return NULL;
}

/** undo_write() - One write to a TUN as the packets that it is; NULL, or what is wrong with it. */
static inline const char *undo_write(const uint8_t *w, size_t len, bool vnet, undo_each *each,
				     void *arg)
{
	struct virtio_net_hdr v = { 0 };
	const char *wrong;

	if (vnet) {
		if (len < VNET_LEN + 20)
			return "short";
		memcpy(&v, w, VNET_LEN);
		w += VNET_LEN;
		len -= VNET_LEN;
	}
	if (v.gso_type == VIRTIO_NET_HDR_GSO_NONE) {
		each(arg, w, len, false);
		return v.flags ? "flags on a single packet" : NULL;
	}
	wrong = undo_check(&v, w, len);
	if (!wrong)
		ref_segment(w, len, v.csum_start, v.hdr_len, v.gso_size,
			    v.gso_type != VIRTIO_NET_HDR_GSO_UDP_L4, each, arg);
	return wrong;
}

/**
 * undo_same() - The packet @got is @want. One that was @merged may have another identification if it must not be
 * fragmented (RFC 6864 s4.1: it means nothing then); so its checksum is another, and right.
 */
static inline bool undo_same(const uint8_t *want, const uint8_t *got, size_t len, bool merged)
{
	if (!merged || want[0] >> 4 != 4 || !(want[6] & 0x40))
		return !memcmp(want, got, len);
	return !memcmp(want, got, 4) && !memcmp(want + 6, got + 6, 4) && !naive_head(got) &&
	       !memcmp(want + 12, got + 12, len - 12);
}

#endif
